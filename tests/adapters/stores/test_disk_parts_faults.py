"""Files in parts in the disk store when the system refuses a call, and when things happen at the same moment."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from adapters.stores.disk import DiskObjects
from application.ports import ObjectExists, PartsChanged, StorageFailed, StorageFull
from domain.errors import ErrorCode, Unavailable
from domain.keys import ObjectKey
from domain.uploads import MultipartUpload
from tests.adapters.stores.test_disk import files, place
from tests.adapters.stores.test_disk_concurrency import Gate, cancelled, done_soon, until
from tests.adapters.stores.test_disk_faults import Fault, on_directory, on_file, on_trailer
from tests.adapters.stores.test_disk_parts import folder, part_file
from tests.adapters.stores.test_served_objects import CONTENT, KEY, NOW, get, opened, put, run
from tests.adapters.stores.test_served_parts import (
    LATER,
    PARTS,
    arrived,
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


def are_left(root: Path, *expected: Path) -> bool:
    """Whether these files alone are there, while directories may be vanishing."""
    try:
        return files(root) == list(expected)
    except FileNotFoundError:
        return False


# Calls that fail

PART_FAULTS: dict[str, tuple[Callable[[], Fault], type[Exception]]] = {
    "create": (lambda: Fault("open", errno.EMFILE), StorageFailed),
    "write": (lambda: Fault("write", errno.ENOSPC), StorageFull),
    "quota": (lambda: Fault("write", errno.EDQUOT), StorageFull),
    "sync of the part": (lambda: Fault("fsync", errno.EIO, on_file), StorageFailed),
    "rename": (lambda: Fault("rename", errno.EROFS), StorageFailed),
    "no room for the name": (lambda: Fault("rename", errno.ENOSPC), StorageFull),
    "sync of the directory": (lambda: Fault("fsync", errno.EIO, on_directory), StorageFailed),
    "list": (lambda: Fault("listdir", errno.EIO), StorageFailed),
}


@pytest.mark.parametrize(("fault", "expected"), PART_FAULTS.values(), ids=PART_FAULTS)
@pytest.mark.parametrize("replacing", [True, False], ids=["replacing", "new"])
def test_when_a_part_fails_all_is_as_before(
    store: DiskObjects, root: Path, fault: Callable[[], Fault], expected: type[Exception], replacing: bool
) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        if replacing:
            await send(store, begun, 1, b"earlier")
        before = files(root), await arrived(store, begun)
        with fault().injected(), pytest.raises(expected):
            await send(store, begun, 1, CONTENT)
        assert (files(root), await arrived(store, begun)) == before
        part = await send(store, begun, 1, CONTENT)
        assert await arrived(store, begun) == {1: part}

    run(scenario())


def test_an_earlier_part_that_can_not_be_removed_does_not_count(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        await send(store, begun, 1, b"earlier")
        earlier = part_file(root, begun, 1, b"earlier")
        with Fault("unlink", errno.EIO, lambda name: name == earlier.name).injected():
            part = await send(store, begun, 1, CONTENT)
        assert earlier.exists()
        assert await arrived(store, begun) == {1: part}

    run(scenario())


OBJECT_FAULTS = {
    "copy": lambda: Fault("copy_file_range", errno.EIO),
    "no room for the second half": lambda: Fault("copy_file_range", errno.ENOSPC, after=2),
    "read": lambda: Fault("pread", errno.EIO, after=3),
    "trailer": lambda: Fault("write", errno.ENOSPC, on_trailer),
    "sync of the bytes": lambda: Fault("fsync", errno.EIO, on_file),
    "sync of all": lambda: Fault("fsync", errno.EIO, on_file, after=1),
    "sync of a directory": lambda: Fault("fsync", errno.EIO, on_directory),
    "sync of the name": lambda: Fault("fsync", errno.EIO, on_directory, after=2),
    "rename": lambda: Fault("replace", errno.EROFS),
    "list": lambda: Fault("listdir", errno.EIO),
}


@pytest.mark.parametrize("fault", OBJECT_FAULTS.values(), ids=OBJECT_FAULTS)
@pytest.mark.parametrize("replacing", [True, False], ids=["replacing", "new"])
def test_when_an_object_fails_all_is_as_before(
    store: DiskObjects, root: Path, fault: Callable[[], Fault], replacing: bool
) -> None:
    async def scenario() -> None:
        if replacing:
            await put(store, b"old")
        begun = await begin_with_parts(store)
        fresh = DiskObjects(root)  # to which no directory is known to be durable
        before = files(root), await arrived(store, begun)
        with fault().injected(), pytest.raises(Unavailable) as caught:
            await complete(fresh, begun)
        assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
        assert (files(root), await arrived(store, begun)) == before
        if replacing:
            assert await get(store) == b"old"
        else:
            assert await store.open(KEY) is None
        await complete(store, begun)
        assert await get(store) == CONTENT

    run(scenario())


def test_adding_fails_as_replacing_does(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        with Fault("link", errno.EIO).injected(), pytest.raises(Unavailable):
            await complete(store, begun, overwrite=False)
        assert await store.open(KEY) is None
        await complete(store, begun, overwrite=False)
        assert files(root) == [place(root)]

    run(scenario())


def test_nothing_is_copied_for_an_object_that_may_not_be_replaced(store: DiskObjects) -> None:
    async def scenario() -> None:
        await put(store, b"old")
        begun = await begin_with_parts(store)
        refused = Fault("open", errno.ENOSPC, lambda _, flags, *__: bool(flags & os.O_CREAT))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", refused)
            with pytest.raises(ObjectExists):
                await complete(store, begun, overwrite=False)
        assert not refused.raised

    run(scenario())


def not_yet_in(uploads: Path) -> Callable[..., bool]:
    return lambda source, *_: not (uploads / source).exists()


BEGIN_FAULTS: dict[str, Callable[[Path], Fault]] = {
    "make": lambda _: Fault("mkdir", errno.ENOSPC, after=2),
    "write": lambda _: Fault("write", errno.ENOSPC, after=2),
    "sync of the description": lambda _: Fault("fsync", errno.EIO, on_file, after=2),
    "sync of the directory": lambda _: Fault("fsync", errno.EIO, on_directory, after=2),
    "rename": lambda root: Fault("rename", errno.EIO, not_yet_in(root / "uploads"), after=2),
}


@pytest.mark.parametrize("fault", BEGIN_FAULTS.values(), ids=BEGIN_FAULTS)
def test_uploads_are_begun_all_or_none(store: DiskObjects, root: Path, fault: Callable[[Path], Fault]) -> None:
    async def scenario() -> None:
        await store.start()
        uploads = [make_upload(key=ObjectKey(f"alice/{number}")) for number in range(4)]
        with fault(root).injected(), pytest.raises(Unavailable):
            await store.begin(uploads, NOW)
        assert await pending(store) == []
        await DiskObjects(root).start()  # for what couldn't be removed, because that was refused as well
        assert files(root) == []
        assert list((root / "incoming").iterdir()) == []

    run(scenario())


def test_an_abort_that_fails_changes_nothing(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        before = files(root)
        with Fault("rename", errno.EROFS).injected(), pytest.raises(Unavailable):
            await store.abort(KEY, begun.upload_id, NOW)
        assert files(root) == before
        await complete(store, begun)

    run(scenario())


def test_what_an_abort_can_not_remove_is_no_upload_and_swept_at_the_next_start(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        with Fault("unlink", errno.EIO).injected(), pytest.raises(Unavailable):
            await store.abort(KEY, begun.upload_id, NOW)
        assert await arrived(store, begun) is None
        assert await pending(store) == []
        assert len(files(root)) == 5
        await DiskObjects(root).start()
        assert files(root) == []

    run(scenario())


def test_what_can_not_be_looked_at_is_an_error(store: DiskObjects) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        for call in ("open", "listdir"):
            with Fault(call, errno.EIO).injected():
                with pytest.raises(Unavailable):
                    await store.progress(KEY, begun.upload_id, NOW)
                with pytest.raises(Unavailable):
                    await pending(store)

    run(scenario())


# What was synced before it is acknowledged


@pytest.fixture
def synced(store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced from now on, as it is called at that moment."""
    run(store.start())
    seen: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        (path,) = [path for path in [root, *root.rglob("*")] if path.stat().st_ino == number]
        real(descriptor)
        seen.append(str(path.relative_to(root)))

    monkeypatch.setattr(os, "fsync", note)
    return seen


def test_an_upload_is_acknowledged_only_when_it_is_durable(store: DiskObjects, synced: list[str]) -> None:
    (upload_id,) = run(store.begin([make_upload()], NOW))
    # The description and its name in a directory that is not yet in its place; then that directory's name.
    assert synced == [f"incoming/{upload_id}/upload", f"incoming/{upload_id}", "uploads"]


def test_a_part_is_acknowledged_only_when_it_is_durable(store: DiskObjects, root: Path, synced: list[str]) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        for content in (b"first", b"second"):
            synced.clear()
            await send(store, begun, 1, content)
            file, directory = synced
            assert file.startswith("incoming/")
            assert directory == str(folder(root, begun).relative_to(root))

    run(scenario())


@pytest.mark.parametrize("ask", [is_complete, lambda store, begun: store.complete(begun, [], NOW)])
def test_an_object_is_durable_before_it_is_told_that_it_is_complete(
    store: DiskObjects, root: Path, synced: list[str], ask: Callable[[DiskObjects, MultipartUpload], Awaitable[object]]
) -> None:
    """Whoever made it died when it had its name, and before that was synced."""

    async def scenario() -> None:
        begun = await begin_with_parts(store)
        with Fault("rename", errno.EIO).injected():
            await complete(store, begun)
        synced.clear()
        await ask(store, begun)
        assert synced == [str(place(root).parent.relative_to(root)), "uploads"]

    run(scenario())


def test_an_earlier_part_stays_until_the_later_is_durable(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        await send(store, begun, 1, b"earlier")
        gate = Gate(monkeypatch, os, "fsync", applies=on_directory)
        sending = asyncio.create_task(send(store, begun, 1, b"later"))
        await gate.entered()
        assert len(files(folder(root, begun))) == 3
        gate.open()
        await sending
        assert len(files(folder(root, begun))) == 2

    run(scenario())


# At the same moment


def test_a_cancelled_beginning_leaves_nothing(store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        await store.start()
        gate = Gate(monkeypatch, os, "fsync", applies=on_file)
        beginning = asyncio.create_task(store.begin([make_upload(), make_upload()], NOW))
        await gate.entered()
        await cancelled(beginning)
        gate.open()
        await until(lambda: are_left(root))

    run(scenario())


def test_a_part_whose_client_has_gone_leaves_nothing(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        before = files(root)
        with monkeypatch.context() as patch:
            gate = Gate(patch, fcntl, "flock")
            receiving = asyncio.create_task(store.receive_part(KEY, begun.upload_id, 1))
            await gate.entered()
            await cancelled(receiving)
            gate.open()
            await until(lambda: are_left(root, *before))

    run(scenario())


def test_a_cancelled_completion_goes_on(store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        gate = Gate(monkeypatch, os, "copy_file_range")
        making = asyncio.create_task(complete(store, begun))
        await gate.entered()
        await cancelled(making)
        gate.open()
        await until(lambda: are_left(root, place(root)))
        assert await is_complete(store, begun)

    run(scenario())


@pytest.mark.parametrize("same_process", [True, False])
def test_whoever_completes_second_waits_and_finds_it_done(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch, same_process: bool
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        parts = await parts_of(store, begun)
        gate = Gate(monkeypatch, os, "copy_file_range")
        first = asyncio.create_task(store.complete(begun, parts, NOW))
        await gate.entered()
        other = store if same_process else DiskObjects(root)
        second = asyncio.create_task(other.complete(begun, parts, LATER, overwrite=False))
        assert not await done_soon(second)
        gate.open()
        await asyncio.gather(first, second)
        async with opened(store) as stored:
            assert stored.info.modified == NOW
        assert files(root) == [place(root)]

    run(scenario())


def test_an_object_that_may_yet_be_taken_back_is_not_told_to_be_complete(
    store: DiskObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await put(store, b"old")
        begun = await begin_with_parts(store)
        parts = await arrived(store, begun)
        with monkeypatch.context() as patch:
            gate = Gate(patch, os, "fsync", then=Fault("fsync", errno.EIO), applies=on_directory)
            making = asyncio.create_task(complete(store, begun))
            await gate.entered()
            assert await get(store) == CONTENT
            assert await arrived(store, begun) == parts
            gate.open()
            with pytest.raises(Unavailable):
                await making
        assert await get(store) == b"old"
        assert await arrived(store, begun) == parts
        await complete(store, begun)
        assert await is_complete(store, begun)

    run(scenario())


def test_whoever_completes_second_finds_the_parts_if_the_first_failed(
    store: DiskObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        with monkeypatch.context() as patch:
            gate = Gate(patch, os, "copy_file_range", then=Fault("copy_file_range", errno.EIO))
            first = asyncio.create_task(complete(store, begun))
            await gate.entered()
            second = asyncio.create_task(complete(store, begun))
            assert not await done_soon(second)
        gate.open()
        with pytest.raises(Unavailable):
            await first
        await second
        assert await get(store) == CONTENT

    run(scenario())


def test_an_abort_ends_a_completion_that_is_under_way(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        gate = Gate(monkeypatch, os, "copy_file_range")
        making = asyncio.create_task(complete(store, begun))
        await gate.entered()
        await store.abort(KEY, begun.upload_id, NOW)
        gate.open()
        with pytest.raises(PartsChanged):
            await making
        assert files(root) == []

    run(scenario())


def test_an_abort_that_comes_when_all_is_copied_ends_it_too(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        with monkeypatch.context() as patch:
            gate = Gate(patch, os, "fsync", applies=on_file)
            making = asyncio.create_task(complete(store, begun))
            await gate.entered()
        await store.abort(KEY, begun.upload_id, NOW)
        gate.open()
        with pytest.raises(PartsChanged):
            await making
        assert files(root) == []

    run(scenario())


def test_an_abort_that_comes_too_late_waits_and_leaves_the_object(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        gate = Gate(monkeypatch, os, "replace")
        making = asyncio.create_task(complete(store, begun))
        await gate.entered()
        aborting = asyncio.create_task(store.abort(KEY, begun.upload_id, NOW))
        assert not await done_soon(aborting)
        gate.open()
        await asyncio.gather(making, aborting)
        assert files(root) == [place(root)]
        assert await get(store) == CONTENT

    run(scenario())


def test_a_part_that_is_replaced_while_it_is_copied_counts_as_it_was(
    store: DiskObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        gate = Gate(monkeypatch, os, "copy_file_range")
        making = asyncio.create_task(complete(store, begun))
        await gate.entered()
        await send(store, begun, 1, bytes(len(PARTS[1])))
        gate.open()
        await making
        assert await get(store) == CONTENT

    run(scenario())


def test_a_part_that_is_replaced_before_it_is_copied_is_told(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        with monkeypatch.context() as patch:
            gate = Gate(patch, os, "copy_file_range")
            making = asyncio.create_task(complete(store, begun))
            await gate.entered()
        await send(store, begun, 4, bytes(len(PARTS[4])))
        gate.open()
        with pytest.raises(PartsChanged):
            await making
        assert list((root / "incoming").iterdir()) == []
        assert await store.open(KEY) is None

    run(scenario())


def test_the_sweep_leaves_alone_what_is_being_begun(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await store.start()
        gate = Gate(monkeypatch, os, "fsync", applies=on_file)
        beginning = asyncio.create_task(begin(store))
        await gate.entered()
        await DiskObjects(root).start()
        gate.open()
        begun = await beginning
        assert files(root) == [folder(root, begun) / "upload"]

    run(scenario())


def test_an_upload_that_is_swept_before_its_lock_begins_anew(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await store.start()
        with monkeypatch.context() as patch:
            gate = Gate(patch, fcntl, "flock")
            beginning = asyncio.create_task(begin(store))
            await gate.entered()
            (unlocked,) = (root / "incoming").iterdir()
            unlocked.rmdir()  # as a sweep in another process would
            gate.open()
            begun = await beginning
        await send(store, begun, 1, CONTENT)
        assert len(await parts_of(store, begun)) == 1

    run(scenario())


def test_a_sweep_that_comes_late_touches_no_upload_that_has_begun(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has opened the directory where that was made, and gets the lock when it is in its place."""

    async def scenario() -> None:
        await store.start()
        with monkeypatch.context() as patch:
            made = Gate(patch, os, "fsync", applies=on_file)
            beginning = asyncio.create_task(begin(store))
            await made.entered()
            swept = Gate(patch, fcntl, "flock", applies=lambda _, how: bool(how & fcntl.LOCK_NB))
            sweeping = asyncio.create_task(DiskObjects(root).start())
            await swept.entered()
            made.open()
            begun = await beginning
            swept.open()
            await sweeping
        await send(store, begun, 1, CONTENT)
        assert len(await parts_of(store, begun)) == 1

    run(scenario())


# Stopping, and others that wait


def test_the_stop_gives_up_an_object_that_is_being_made(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await store.start()
        begun = await begin_with_parts(store)
        before = files(root)
        with monkeypatch.context() as patch:
            gate = Gate(patch, os, "copy_file_range")
            making = asyncio.create_task(complete(store, begun))
            await gate.entered()
            await store.stop()
            gate.open()
            with pytest.raises(Unavailable, match="stopped"):
                await making
        assert files(root) == before
        await store.start()
        await complete(store, begun)
        assert await get(store) == CONTENT

    run(scenario())


def hold(root: Path, upload: MultipartUpload) -> int:
    """Lock an upload as a process does that makes an object of it."""
    descriptor = os.open(folder(root, upload) / "upload", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_the_stop_gives_up_waiting_for_another_process(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        held = hold(root, begun)
        making = asyncio.create_task(complete(store, begun))
        assert not await done_soon(making)
        await store.stop()
        with pytest.raises(Unavailable, match="stopped"):
            await making
        os.close(held)

    run(scenario())


def test_nobody_else_waits_for_an_object_that_takes_long(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        slow = await begin_with_parts(store)
        other = await begin_with_parts(store, make_upload(key=ObjectKey("bob/other")))
        held = hold(root, slow)
        try:
            parts = await parts_of(store, slow)
            waiting = [asyncio.create_task(store.complete(slow, parts, NOW)) for _ in range(50)]
            assert not await done_soon(*waiting)
            async with asyncio.timeout(30):
                await complete(store, other)
            assert await get(store, ObjectKey("bob/other")) == CONTENT
        finally:
            os.close(held)
        await asyncio.gather(*waiting)
        assert await get(store) == CONTENT

    run(scenario())
