"""Files in parts in the disk store, and other processes: killed, alive, or short of memory."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from adapters.stores.disk import DiskObjects
from domain.multipart import ArrivedPart, PartPlan, UploadId
from domain.uploads import MultipartUpload
from tests.adapters.stores.test_disk import files, place
from tests.adapters.stores.test_disk_processes import other_process
from tests.adapters.stores.test_served_objects import CONTENT, KEY, MIB, NOW, get, run
from tests.adapters.stores.test_served_parts import (
    PARTS,
    begin,
    begin_with_parts,
    complete,
    is_complete,
    make_upload,
    parts_of,
    pending,
    send,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "not" / "yet" / "there"


@pytest.fixture
def store(root: Path) -> DiskObjects:
    return DiskObjects(root)


# Killed at every call that changes something

SENT = [(1, b"something else"), (2, b"the end"), (1, b"the beginning, ")]
"""The parts as they are sent, and sent again."""
WHOLE = b"the beginning, the end"

VICTIM = """
import asyncio, os, signal, sys
from itertools import count
from pathlib import Path
from adapters.stores.disk import DiskObjects
from tests.adapters.stores.test_disk_parts_processes import SENT, WHOLE
from tests.adapters.stores.test_served_objects import put
from tests.adapters.stores.test_served_parts import begin, complete, make_upload, send

CHANGING = ("write", "fsync", "mkdir", "rename", "replace", "link", "unlink", "rmdir", "copy_file_range")

def die_at(fatal):
    calls = count(1)
    def dying(call):
        def called(*args, **kwargs):
            if call is not real_open or args[1] & os.O_CREAT:
                if next(calls) == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return called
    real_open = os.open
    for name in ("open", *CHANGING):
        setattr(os, name, dying(getattr(os, name)))

async def scenario(root, log, fatal):
    store = DiskObjects(root)
    await put(store, b"old")
    die_at(fatal)
    begun = await begin(store, make_upload(WHOLE))
    print("begun", begun.upload_id, file=log)
    for number, content in SENT:
        await send(store, begun, number, content)
        print("sent", file=log)
    await complete(store, begun)
    print("completed", file=log)

folder = Path(sys.argv[1])
for fatal in count(1):
    child = os.fork()
    if not child:
        with open(folder / f"{fatal}.log", "w", buffering=1) as log:
            asyncio.run(scenario(folder / str(fatal), log, fatal))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_wherever_a_process_is_killed_nothing_is_half_done_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with other_process(VICTIM, tmp_path) as process:
        assert process.wait(120) == 0
    logs = sorted(tmp_path.glob("*.log"), key=lambda path: int(path.stem))
    assert len(logs) > 40
    acknowledged = [log.read_text().split() for log in logs]
    assert acknowledged[0] == []
    assert acknowledged[-1][-1] == "completed"
    for log, words in zip(logs, acknowledged, strict=True):
        run(assert_intact(log.with_suffix(""), words))


async def assert_intact(root: Path, acknowledged: Sequence[str]) -> None:
    """That a store in which a process died after it had acknowledged this is whole, and can be used as before."""
    store = DiskObjects(root)
    await store.start()
    assert list((root / "incoming").iterdir()) == []
    assert await get(store) in (b"old", WHOLE)
    if not acknowledged:
        for left in await pending(store):
            await store.abort(left.key, left.upload_id, NOW)
        assert (await get(store), files(root)) == (b"old", [place(root)])
        return
    upload = make_upload(WHOLE)
    begun = MultipartUpload(upload, UploadId(acknowledged[1]), PartPlan(len(WHOLE), len(WHOLE)))
    if not await is_complete(store, begun):
        assert "completed" not in acknowledged
        assert await get(store) == b"old"
        await assert_nothing_lost(store, begun, acknowledged.count("sent"))
        for number, content in SENT:
            await send(store, begun, number, content)
    await store.complete(begun, await parts_of_any(store, begun), NOW)
    assert (await get(store), files(root)) == (WHOLE, [place(root)])


async def assert_nothing_lost(store: DiskObjects, begun: MultipartUpload, sent: int) -> None:
    there = {part.number: part.tag for part in await parts_of(store, begun)}
    acknowledged = tags(SENT[:sent])
    # The next part may be there already: that it arrived just wasn't said any more.
    assert there in (acknowledged, tags(SENT[: sent + 1]))


def tags(parts: Sequence[tuple[int, bytes]]) -> dict[int, str]:
    return {number: hashlib.md5(content).hexdigest() for number, content in parts}


async def parts_of_any(store: DiskObjects, begun: MultipartUpload) -> Sequence[ArrivedPart]:
    progress = await store.progress(KEY, begun.upload_id, NOW)
    assert progress is not None
    return [part for _, part in sorted(progress.arrived.items())]


# Several that live

COMPLETER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from adapters.stores.disk import DiskObjects
from domain.multipart import PartPlan, UploadId
from domain.uploads import MultipartUpload
from tests.adapters.stores.test_served_objects import CONTENT
from tests.adapters.stores.test_served_parts import make_upload, parts_of

async def main():
    store = DiskObjects(Path(sys.argv[1]))
    await store.start()
    print("ready", flush=True)
    begun = MultipartUpload(make_upload(), UploadId(sys.stdin.readline().strip()), PartPlan(len(CONTENT), len(CONTENT)))
    parts = await parts_of(store, begun)
    print("seen", flush=True)
    sys.stdin.readline()
    await store.complete(begun, parts, datetime.now(UTC), overwrite=False)

asyncio.run(main())
"""


def tell(processes: Sequence[Popen[str]], line: str, *, until: str | None = None) -> None:
    """Write a line to each process; then read one from each."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        assert until is None or process.stdout.readline() == f"{until}\n"


@contextmanager
def processes(program: str, root: Path, count: int) -> Iterator[Sequence[Popen[str]]]:
    with ExitStack() as stack:
        started = [stack.enter_context(other_process(program, root)) for _ in range(count)]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started


def test_processes_may_complete_an_upload_at_the_same_moment(store: DiskObjects, root: Path) -> None:
    begun = run(begin_with_parts(store))
    with processes(COMPLETER, root, 3) as others:
        tell(others, begun.upload_id, until="seen")
        tell(others, "go on")
        assert [process.wait(30) for process in others] == [0, 0, 0]
    assert run(get(store)) == CONTENT
    assert files(root) == [place(root)]


SENDER = """
import asyncio, os, sys
from pathlib import Path
from adapters.stores.disk import DiskObjects
from domain.multipart import PartPlan, UploadId
from domain.uploads import MultipartUpload
from tests.adapters.stores.test_served_objects import CONTENT
from tests.adapters.stores.test_served_parts import PARTS, make_upload, send

async def main():
    store = DiskObjects(Path(sys.argv[1]))
    await store.start()
    print("ready", flush=True)
    begun = MultipartUpload(make_upload(), UploadId(sys.stdin.readline().strip()), PartPlan(len(CONTENT), len(CONTENT)))
    for _ in range(3):
        await asyncio.gather(*(send(store, begun, number, os.urandom(99)) for number in PARTS))
        await asyncio.gather(*(send(store, begun, number, content) for number, content in PARTS.items()))

asyncio.run(main())
"""


def test_processes_may_send_the_same_parts_at_the_same_moment(store: DiskObjects, root: Path) -> None:
    begun = run(begin(store))
    with processes(SENDER, root, 3) as others:
        tell(others, begun.upload_id)
        assert [process.wait(60) for process in others] == [0, 0, 0]
    assert len(files(root)) == len(PARTS) + 1
    for number in PARTS:
        run(send(store, begun, number, PARTS[number]))
    run(complete(store, begun))
    assert run(get(store)) == CONTENT


# A large one

GREEDY = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from adapters.stores.disk import DiskObjects
from tests.adapters.stores.test_disk_processes import peak_memory
from tests.adapters.stores.test_served_objects import KEY
from tests.adapters.stores.test_served_parts import begin, begin_with_parts, complete, make_upload, without_digests

async def main():
    store = DiskObjects(Path(sys.argv[1]))
    await complete(store, await begin_with_parts(store))
    before = peak_memory()
    begun = await begin(store, without_digests(make_upload()))
    for number in (1, 2):
        incoming = await store.receive_part(KEY, begun.upload_id, number)
        for block in range(64):
            await incoming.write(bytes([block]) * (1 << 20))
        await incoming.commit()
    await complete(store, begun)
    print(peak_memory() - before)

asyncio.run(main())
"""


def test_memory_stays_flat_however_long_the_object_is(root: Path) -> None:
    with other_process(GREEDY, root) as process:
        printed, _ = process.communicate(timeout=120)
    assert int(printed) < 64 * MIB
    assert place(root).stat().st_size > 128 * MIB
