"""The disk store and other processes: those that are killed, those that live, and one that is short of memory."""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from adapters.stores.disk import DiskObjects
from application.ports import ObjectInfo
from domain.keys import ObjectKey
from tests.adapters.stores.test_disk import PATIENCE, files, place, upload_to
from tests.adapters.stores.test_served_objects import CONTENT, KEY, MIB, NOW, PLAIN, get, put, run

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "not" / "yet" / "there"


@pytest.fixture
def store(root: Path) -> DiskObjects:
    return DiskObjects(root)


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from adapters.stores.disk import DiskObjects
from application.ports import ObjectAttributes
from domain.keys import ObjectKey
from domain.uploads import Access

async def main():
    incoming = await DiskObjects(Path(sys.argv[1])).receive(ObjectKey("alice/weather/data.csv"))
    await incoming.write(b"x" * 3_000_000)
    await incoming.digests()
    print("written", flush=True)
    sys.stdin.readline()
    await incoming.commit(ObjectAttributes("a/b", Access.PRIVATE, {}), datetime.now(UTC))

asyncio.run(main())
"""


@contextmanager
def other_process(program: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def other_writer(root: Path) -> Iterator[subprocess.Popen[str]]:
    with other_process(WRITER, root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process


def test_what_a_killed_process_wrote_is_never_seen_and_swept_at_the_next_start(store: DiskObjects, root: Path) -> None:
    run(put(store, b"old"))
    with other_writer(root) as writer:
        writer.kill()
    leftovers = [path for path in files(root) if path != place(root)]
    assert [path.stat().st_size for path in leftovers] == [3_000_000]
    assert run(get(store)) == b"old"
    run(DiskObjects(root).start())
    assert files(root) == [place(root)]
    assert run(get(store)) == b"old"


def test_the_sweep_leaves_the_uploads_of_living_processes_alone(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        own = await store.receive(ObjectKey("own"))
        await own.write(b"own")
        with other_writer(root) as writer:
            await DiskObjects(root).start()
            assert len(files(root)) == 2
            assert await store.open(KEY) is None
            writer.communicate("go on\n")
            assert writer.returncode == 0
        await own.commit(PLAIN, NOW)
        assert await get(store) == b"x" * 3_000_000
        assert await get(store, ObjectKey("own")) == b"own"

    run(scenario())


def peak_memory() -> int:
    """The most bytes that this process has ever had resident."""
    # Unlike ru_maxrss, this high-water mark isn't inherited from the process that started us.
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024


GREEDY = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from adapters.stores.disk import DiskObjects
from application.ports import ObjectAttributes
from domain.keys import ObjectKey
from domain.uploads import Access
from tests.adapters.stores.test_disk_processes import peak_memory

KEY = ObjectKey("large")

async def main():
    store = DiskObjects(Path(sys.argv[1]))
    await (await store.receive(KEY)).discard()
    before = peak_memory()
    incoming = await store.receive(KEY)
    for number in range(128):
        await incoming.write(bytes([number]) * (1 << 20))
    info = await incoming.commit(ObjectAttributes("a/b", Access.PRIVATE, {}), datetime.now(UTC))
    stored = await store.open(KEY)
    length = 0
    async for piece in stored.read(0, info.length):
        length += len(piece)
    assert length == 128 << 20
    print(peak_memory() - before)

asyncio.run(main())
"""


def test_memory_stays_flat_however_long_the_object_is(root: Path) -> None:
    with other_process(GREEDY, root) as process:
        printed, _ = process.communicate(timeout=120)
    assert int(printed) < 64 * MIB


def test_many_at_once_share_the_threads(store: DiskObjects) -> None:
    async def one(number: int) -> None:
        key = ObjectKey(f"many/{number % 40}")
        info = await put(store, CONTENT[: number * 1000], key)
        assert isinstance(info, ObjectInfo)
        assert len(await get(store, key)) % 1000 == 0

    async def scenario() -> None:
        await asyncio.gather(*map(one, range(200)))

    run(scenario())


NEIGHBOUR = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from adapters.stores.disk import DiskObjects
from application.ports import ObjectAttributes
from domain.keys import ObjectKey
from domain.uploads import Access

async def main():
    store = DiskObjects(Path(sys.argv[1]))
    await store.start()
    print("ready", flush=True)
    name = sys.stdin.readline().strip()
    for number in range(30):
        incoming = await store.receive(ObjectKey(f"new/{number // 3}/folder/{number}/{name}"))
        await incoming.write(name.encode())
        await incoming.commit(ObjectAttributes("a/b", Access.PRIVATE, {}), datetime.now(UTC), overwrite=False)

asyncio.run(main())
"""


def test_processes_may_make_the_same_folders_at_the_same_moment(store: DiskObjects, root: Path) -> None:
    names = ["one", "two", "three"]
    with ExitStack() as stack:
        processes = [stack.enter_context(other_process(NEIGHBOUR, root)) for _ in names]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process, name in zip(processes, names, strict=True):
            assert process.stdin is not None
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
        assert [process.wait(30) for process in processes] == [0, 0, 0]
    keys = [ObjectKey(f"new/{number // 3}/folder/{number}/{name}") for number in range(30) for name in names]
    inspection = run(store.inspect([upload_to(key) for key in keys], NOW, PATIENCE))
    assert inspection.failure is None
    assert None not in inspection.found.values()
    assert files(root) == sorted(place(root, key) for key in keys)
