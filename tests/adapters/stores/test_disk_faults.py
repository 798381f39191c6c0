"""The disk store when the operating system refuses a call: all is as before, and nothing is acknowledged."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.stores import disk_tree
from adapters.stores.disk import DiskObjects
from application.ports import StorageFailed, StorageFull
from domain.errors import Unavailable
from domain.keys import ObjectKey
from tests.adapters.stores.test_disk import files, place
from tests.adapters.stores.test_served_objects import CONTENT, KEY, NOW, PLAIN, get, opened, put, read, run

NEIGHBOUR = ObjectKey("neighbour")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "not" / "yet" / "there"


@pytest.fixture
def store(root: Path) -> DiskObjects:
    return DiskObjects(root)


class Fault:
    """An operating system call that fails, from its `after`-th time on, when `applies` says so of its arguments."""

    def __init__(self, call: str, code: int, applies: Callable[..., bool] = lambda *_: True, after: int = 0) -> None:
        self._call = call
        self._real = getattr(os, call)
        self._code = code
        self._applies = applies
        self._left = after
        self.raised = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._applies(*args):
            return self._real(*args, **kwargs)
        if self._left:
            self._left -= 1
            return self._real(*args, **kwargs)
        self.raised += 1
        raise OSError(self._code, os.strerror(self._code))

    @contextmanager
    def injected(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, self._call, self)
            yield
        assert self.raised, "the call that should fail was never made"


def on_directory(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def on_file(descriptor: int) -> bool:
    return not on_directory(descriptor)


def on_trailer(_: int, data: bytes) -> bool:
    return b"BitStor" in bytes(data[-16:])


FAULTS = {
    "write": (lambda: Fault("write", errno.ENOSPC), StorageFull),
    "later write": (lambda: Fault("write", errno.ENOSPC, after=2), StorageFull),
    "quota": (lambda: Fault("write", errno.EDQUOT), StorageFull),
    "trailer": (lambda: Fault("write", errno.EIO, on_trailer), StorageFailed),
    "sync of the file": (lambda: Fault("fsync", errno.EIO, on_file), StorageFailed),
    "late news of a full disk": (lambda: Fault("fsync", errno.ENOSPC, on_file), StorageFull),
    "sync of the first directory": (lambda: Fault("fsync", errno.EIO, on_directory), StorageFailed),
    "rename": (lambda: Fault("replace", errno.EROFS), StorageFailed),
    "no room for the name": (lambda: Fault("replace", errno.ENOSPC), StorageFull),
}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("replacing", [True, False], ids=["replacing", "new"])
def test_when_the_disk_fails_all_is_as_before(
    store: DiskObjects, root: Path, fault: Callable[[], Fault], expected: type[Exception], replacing: bool
) -> None:
    async def scenario() -> None:
        if replacing:
            await put(store, b"old")
        await put(store, b"neighbour", NEIGHBOUR)
        before = files(root)
        with fault().injected(), pytest.raises(expected):
            await put(store, CONTENT)
        assert files(root) == before
        if replacing:
            assert await get(store) == b"old"
        else:
            assert await store.open(KEY) is None
        assert await get(store, NEIGHBOUR) == b"neighbour"
        await put(store, CONTENT)
        assert await get(store) == CONTENT

    run(scenario())


ADDING_FAULTS = {
    "link": (lambda: Fault("link", errno.EIO), False),
    "sync of the new directory": (lambda: Fault("fsync", errno.EIO, on_directory), False),
    "sync of the new directory in it": (lambda: Fault("fsync", errno.EIO, on_directory, after=1), False),
    "sync of the linked name": (lambda: Fault("fsync", errno.EIO, on_directory, after=2), False),
    "sync of the renamed name": (lambda: Fault("fsync", errno.EIO, on_directory, after=2), True),
}


@pytest.mark.parametrize(("fault", "overwrite"), ADDING_FAULTS.values(), ids=ADDING_FAULTS)
def test_when_adding_fails_there_is_no_object(
    store: DiskObjects, root: Path, fault: Callable[[], Fault], overwrite: bool
) -> None:
    async def scenario() -> None:
        await store.start()
        with fault().injected(), pytest.raises(StorageFailed):
            await put(store, b"first", overwrite=overwrite)
        assert files(root) == []
        await put(store, b"second", overwrite=False)
        assert await get(store) == b"second"

    run(scenario())


def test_after_a_failed_write_nothing_can_be_committed(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        await incoming.write(b"lost")
        with Fault("write", errno.ENOSPC).injected(), pytest.raises(StorageFull):
            await incoming.digests()
        with pytest.raises(StorageFull):
            await incoming.write(CONTENT)
        with pytest.raises(StorageFull):
            await incoming.commit(PLAIN, NOW)
        assert files(root) == []
        await incoming.discard()
        assert await store.open(KEY) is None

    run(scenario())


def test_writes_that_the_system_cuts_short_are_finished(store: DiskObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:100_001]))
    run(put(store, CONTENT))
    assert run(get(store)) == CONTENT


def test_reads_that_the_system_cuts_short_are_finished(store: DiskObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    run(put(store, CONTENT))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: real(descriptor, min(size, 100_001), offset))
    assert run(get(store)) == CONTENT


def test_what_cannot_be_read_is_an_error(store: DiskObjects) -> None:
    async def scenario() -> None:
        await put(store, CONTENT)
        async with opened(store) as stored:
            with Fault("pread", errno.EIO, after=1).injected(), pytest.raises(StorageFailed):
                await read(stored)
        with Fault("pread", errno.EIO).injected(), pytest.raises(StorageFailed):
            await store.open(KEY)
        with Fault("open", errno.EACCES).injected(), pytest.raises(StorageFailed):
            await store.open(KEY)

    run(scenario())


def test_an_upload_that_cannot_begin_is_an_error(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        with Fault("open", errno.ENOSPC).injected(), pytest.raises(StorageFull):
            await store.receive(KEY)
        with Fault("mkdir", errno.EROFS).injected(), pytest.raises(StorageFailed):
            await store.receive(KEY)
        await put(store, CONTENT)
        assert files(root) == [place(root)]

    run(scenario())


def test_a_file_that_can_neither_be_begun_nor_removed_is_not_kept_open(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        await store.start()
        troubles = Fault("fstat", errno.EIO, after=1), Fault("unlink", errno.EIO)
        with troubles[0].injected(), troubles[1].injected(), pytest.raises(StorageFailed):
            await store.receive(KEY)
        assert len(files(root)) == 1
        await DiskObjects(root).start()  # a sweep leaves alone what somebody has open
        assert files(root) == []

    run(scenario())


@pytest.fixture
def synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What is synced from now on, and whether the object was in its place before."""
    seen: list[tuple[str, bool]] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        status, folder = os.fstat(descriptor), place(root).parent
        names = {
            path.stat().st_ino: name
            for name, path in {"objects": root / "objects", "owner": folder.parent, "dataset": folder}.items()
            if path.exists()
        }
        there = place(root).exists()
        real(descriptor)
        seen.append((names.get(status.st_ino, "object"), there))

    monkeypatch.setattr(os, "fsync", note)
    return seen


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("made", [False, True], ids=["new folder", "folder of a process that died before syncing it"])
def test_it_is_acknowledged_only_when_it_is_durable(
    store: DiskObjects, root: Path, synced: list[tuple[str, bool]], overwrite: bool, made: bool
) -> None:
    run(store.start())
    if made:
        place(root).parent.mkdir(parents=True)
    synced.clear()
    run(put(store, CONTENT, overwrite=overwrite))
    # The bytes before anybody can see them; then each directory's name in its parent; then the object's name.
    assert synced == [("object", False), ("objects", False), ("owner", False), ("dataset", True)]


def test_the_way_to_the_root_is_durable_though_the_process_died_that_made_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.mkdir(parents=True)
    ways = [root, *root.parents[:3]]
    numbers = [path.stat().st_ino for path in ways]
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    run(DiskObjects(root).start())
    assert [number for number in synced if number in numbers] == numbers[::-1]


def test_what_is_known_to_be_durable_is_not_synced_again(store: DiskObjects, synced: list[tuple[str, bool]]) -> None:
    run(put(store, b"first"))
    synced.clear()
    run(put(store, b"second"))
    assert synced == [("object", True), ("dataset", True)]


def test_how_much_is_remembered_to_be_durable_has_a_limit(store: DiskObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_tree, "_REMEMBERED", 3)
    keys = [ObjectKey(f"{number}/of/many") for number in range(5)]

    async def scenario() -> None:
        for key in keys:
            await put(store, key.encode(), key)
            assert len(store._tree._durable) <= 3
        for key in keys:
            assert await get(store, key) == key.encode()

    run(scenario())


def test_a_disk_that_fails_at_the_start_is_told_by_the_probe(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        with Fault("mkdir", errno.EROFS).injected():
            await store.start()
            with pytest.raises(Unavailable, match="Read-only file system"):
                await store.check()
        await store.check()
        assert files(root) == []

    run(scenario())
