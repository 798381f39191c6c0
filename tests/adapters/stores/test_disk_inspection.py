"""What the disk store tells of its objects, also when the disk is damaged, gone, slow, or hangs."""

import asyncio
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.stores import disk
from adapters.stores.contract import CONTENT, make_folder, make_upload
from adapters.stores.disk import DiskObjects
from application.ports import Inspection
from domain.errors import ErrorCode
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Upload
from tests.adapters.stores.test_disk import PATIENCE, place, upload_to
from tests.adapters.stores.test_disk_concurrency import Gate, cancelled, until
from tests.adapters.stores.test_disk_faults import Fault
from tests.adapters.stores.test_served_objects import NOW, put


def look(store: DiskObjects, uploads: Sequence[Upload], patience: timedelta = PATIENCE) -> Inspection:
    return asyncio.run(store.inspect(uploads, NOW, patience))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> DiskObjects:
    return DiskObjects(root)


@pytest.fixture
def uploads(store: DiskObjects) -> Sequence[Upload]:
    """Three objects that are stored, in one folder."""
    folder = make_folder()
    uploads = [make_upload(f"{number}.csv", folder=folder) for number in range(3)]
    for upload in uploads:
        asyncio.run(put(store, CONTENT, upload.key))
    return uploads


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - of what pathlib gives, only the number would matter


# What is there

# Few segments and long ways, so that keys are often neighbours, ancestors of each other, or far away.
_keys = st.lists(st.sampled_from("ab"), min_size=1, max_size=20).map(lambda segments: ObjectKey("/".join(segments)))


@settings(max_examples=40, deadline=None)
@given(stored=st.sets(_keys, max_size=6), others=st.sets(_keys, max_size=20), order=st.randoms(use_true_random=False))
def test_it_tells_of_exactly_the_objects_that_are_there(
    stored: set[ObjectKey], others: set[ObjectKey], order: Any
) -> None:
    keys = sorted(stored | others)
    order.shuffle(keys)

    async def scenario(store: DiskObjects) -> Inspection:
        for key in stored:
            await put(store, key.encode(), key)
        return await store.inspect([upload_to(key) for key in keys], NOW, PATIENCE)

    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        inspection = asyncio.run(scenario(DiskObjects(Path(root))))
    assert inspection.failure is None
    lengths = {key: None if found is None else found.length for key, found in inspection.found.items()}
    assert lengths == {key: len(key) if key in stored else None for key in keys}


@pytest.mark.parametrize("every", [1, 2, 7, 150])
def test_a_folder_may_hold_some_of_many_files(store: DiskObjects, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    uploads = [upload_to(ObjectKey(f"a/b/{number}")) for number in range(150)]
    monkeypatch.setattr(os, "fsync", lambda _: None)

    async def scenario() -> Inspection:
        for upload in uploads[::every]:
            await put(store, CONTENT, upload.key)
        return await store.inspect(uploads, NOW, PATIENCE)

    inspection = asyncio.run(scenario())
    assert inspection.failure is None
    assert inspection.found.keys() == {upload.key for upload in uploads}
    assert [key for key in (upload.key for upload in uploads) if inspection.found[key]] == [
        upload.key for upload in uploads[::every]
    ]


def test_it_tells_length_and_digests(store: DiskObjects, uploads: Sequence[Upload]) -> None:
    file = uploads[0].file
    assert look(store, uploads[:1]).found == {uploads[0].key: FoundObject(len(CONTENT), file.md5, file.sha256)}


def test_metadata_may_be_long(store: DiskObjects) -> None:
    key = ObjectKey("/".join(["\N{GRINNING FACE}" * 60] * 4))
    asyncio.run(put(store, CONTENT, key))
    found = look(store, [upload_to(key)]).found[key]
    assert found is not None
    assert found.length == len(CONTENT)


def test_a_missing_folder_answers_for_all_that_would_be_in_it(
    store: DiskObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(store.start())
    wanted = [upload_to(ObjectKey(f"new/{folder}/deep/{number}")) for folder in range(40) for number in range(25)]
    asked: list[str] = []
    for name in ("open", "access"):
        monkeypatch.setattr(os, name, _noting(asked, getattr(os, name)))
    assert look(store, wanted).found == {upload.key: None for upload in wanted}
    assert len(asked) == 2  # for the directory of all objects, and for the one that isn't there


# Many files of one folder


def nothing_there(store: DiskObjects, folder: str, files: int = 50) -> bool:
    prepared = store.prepare(folder, files, NOW)
    return prepared is not None and prepared.nothing_there


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, uploads: Sequence[Upload]) -> list[str]:
    """What the disk is asked for from now on."""
    assert uploads  # are stored already
    asked: list[str] = []
    for name in ("open", "access", "lstat"):
        monkeypatch.setattr(os, name, _noting(asked, getattr(os, name)))
    return asked


@pytest.mark.parametrize("files", [1, 50])
def test_a_dataset_that_has_no_folder_yet_has_no_files_either(
    store: DiskObjects, asked: Sequence[str], files: int
) -> None:
    assert nothing_there(store, "alice/new/", files)
    assert len(asked) == 2  # for the folder, and for the directory of all objects


def test_a_folder_that_is_there_has_to_be_looked_into(store: DiskObjects, uploads: Sequence[Upload]) -> None:
    folder = uploads[0].key.removesuffix("0.csv")
    assert not nothing_there(store, folder)
    wanted = [*uploads, upload_to(ObjectKey(f"{folder}3.csv"))]
    assert [found is not None for found in look(store, wanted).found.values()] == [True] * 3 + [False]


def test_a_folder_that_was_there_is_glanced_at_no_more_and_still_told_of_truly(
    store: DiskObjects, root: Path, uploads: Sequence[Upload], asked: list[str]
) -> None:
    folder = uploads[0].key.removesuffix("0.csv")
    assert not nothing_there(store, folder)
    asked.clear()
    assert not nothing_there(store, folder)
    assert not asked
    shutil.rmtree(root / "objects")
    (root / "objects").mkdir(mode=0o700)
    assert look(store, uploads).found == {upload.key: None for upload in uploads}


def test_where_keys_have_no_folder_in_common_none_is_glanced_at(store: DiskObjects, asked: Sequence[str]) -> None:
    assert not nothing_there(store, "")
    assert not asked


def test_a_glance_at_a_disk_that_is_gone_tells_nothing(
    store: DiskObjects, root: Path, uploads: Sequence[Upload]
) -> None:
    assert look(store, uploads).failure is None
    root.rename(root.with_name("elsewhere"))
    assert not nothing_there(store, "alice/new/")
    assert_failed_after(look(store, uploads), [])


def _noting(asked: list[str], call: Callable[..., Any]) -> Callable[..., Any]:
    def noting(path: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(path)
        return call(path, *args, **kwargs)

    return noting


# What can't be told


def assert_failed_after(inspection: Inspection, told: Sequence[Upload]) -> None:
    assert inspection.failure is not None
    assert inspection.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert inspection.found.keys() == {upload.key for upload in told}


def test_a_damaged_file_is_a_failure_and_nobody_s_absence(
    store: DiskObjects, root: Path, uploads: Sequence[Upload]
) -> None:
    place(root, uploads[1].key).write_bytes(CONTENT)
    assert_failed_after(look(store, uploads), uploads[:1])


def test_a_disk_that_is_gone_is_a_failure_and_nobody_s_absence(
    store: DiskObjects, root: Path, uploads: Sequence[Upload]
) -> None:
    assert look(store, uploads).failure is None
    root.rename(root.with_name("elsewhere"))
    assert_failed_after(look(store, uploads), [])


@pytest.fixture
def missing(uploads: Sequence[Upload]) -> Sequence[Upload]:
    """Three objects that aren't there, in the same folder."""
    return [upload_to(ObjectKey(f"{upload.key}.missing")) for upload in uploads]


def test_a_disk_that_refuses_to_tell_is_a_failure_and_nobody_s_absence(
    store: DiskObjects, missing: Sequence[Upload]
) -> None:
    def on_object(name: str, *_: object) -> bool:
        return str(name).endswith(".object")

    with Fault("open", errno.EIO, on_object).injected():
        assert_failed_after(look(store, missing), [])


def test_a_root_that_can_not_be_opened_is_a_failure_and_nobody_s_absence(root: Path, uploads: Sequence[Upload]) -> None:
    newly_started = DiskObjects(root)
    with Fault("open", errno.ENOENT, lambda name, *_: str(name) == str(root)).injected():
        assert_failed_after(look(newly_started, uploads[:1]), [])


def test_a_sandbox_that_hides_files_from_access_hides_no_object(
    store: DiskObjects, uploads: Sequence[Upload], missing: Sequence[Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    found = look(store, [*missing, *uploads]).found
    assert [bool(found[upload.key]) for upload in (*missing, *uploads)] == [False] * 3 + [True] * 3


# Where it is looked, and who waits


class Disk:
    """Counts in which threads files are opened, and lets each take as long as `seconds` says, by its own clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.threads: list[str] = []
        self.seconds: Callable[[], float] = lambda: 0.0
        self._open = os.open
        monkeypatch.setattr(os, "open", self._timed)
        monkeypatch.setattr(disk, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def _timed(self, *args: Any, **kwargs: Any) -> int:
        self.threads.append(threading.current_thread().name.partition("_")[0])
        self.now += self.seconds()
        return self._open(*args, **kwargs)


LOOP, THREAD = "MainThread", "disk-store"


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, uploads: Sequence[Upload]) -> Disk:
    assert uploads  # are stored already
    return Disk(monkeypatch)


def test_a_fast_disk_needs_no_thread(store: DiskObjects, timed: Disk, uploads: Sequence[Upload]) -> None:
    timed.seconds = lambda: 0.005
    assert look(store, uploads).failure is None
    assert set(timed.threads) == {LOOP}


def test_after_a_slow_step_a_thread_does_the_rest(store: DiskObjects, timed: Disk, uploads: Sequence[Upload]) -> None:
    timed.seconds = lambda: 0.02 if len(timed.threads) == 2 else 0.0
    assert None not in look(store, uploads).found.values()
    assert timed.threads == [LOOP] * 2 + [THREAD] * 4
    timed.now += 2.1
    assert None not in look(store, uploads).found.values()
    assert timed.threads[6:] == [LOOP] * 6


def test_when_steps_are_slow_again_threads_do_all_for_a_second(
    store: DiskObjects, timed: Disk, uploads: Sequence[Upload]
) -> None:
    def where() -> Sequence[str]:
        timed.threads.clear()
        assert None not in look(store, uploads).found.values()
        return timed.threads

    timed.seconds = lambda: 0.02 if threading.current_thread().name == LOOP else 0.0
    for _ in range(2):
        assert where() == [LOOP] + [THREAD] * 5
    assert where() == [THREAD] * 6
    assert store.prepare("alice/new/", 50, NOW) is None
    timed.now += 1.1
    assert store.prepare("alice/new/", 50, NOW) is not None
    assert where() == [LOOP] + [THREAD] * 5
    assert where() == [THREAD] * 6
    timed.now += 2.1
    timed.seconds = lambda: 0.0
    assert where() == [LOOP] * 6


def test_a_last_step_that_is_slow_counts_as_well(store: DiskObjects, timed: Disk, uploads: Sequence[Upload]) -> None:
    timed.seconds = lambda: 0.02 if len(timed.threads) == 6 else 0.0
    for where in (LOOP, LOOP, THREAD):
        timed.threads.clear()
        assert look(store, uploads).failure is None
        assert timed.threads == [where] * 6


def test_other_tasks_get_their_turn_while_there_is_much_to_look_for(
    store: DiskObjects, timed: Disk, uploads: Sequence[Upload]
) -> None:
    timed.seconds = lambda: 0.002
    seen = set[int]()

    async def watch() -> None:
        while True:
            seen.add(len(timed.threads))
            await asyncio.sleep(0)

    async def scenario() -> None:
        watching = asyncio.create_task(watch())
        await store.inspect(uploads, NOW, PATIENCE)
        watching.cancel()

    asyncio.run(scenario())
    assert seen >= set(range(1, len(timed.threads)))


@pytest.mark.parametrize("slow", [0.005, 0.02], ids=["in the event loop", "in a thread"])
def test_a_slow_disk_is_not_waited_for(store: DiskObjects, timed: Disk, uploads: Sequence[Upload], slow: float) -> None:
    timed.seconds = lambda: slow
    inspection = look(store, uploads, timedelta(seconds=slow * 4.5))  # three directories, and a file and a half
    assert_failed_after(inspection, uploads[:2])
    assert (THREAD in timed.threads) is (slow > 0.01)


def test_what_was_learnt_in_time_is_no_failure_because_the_last_step_took_long(
    store: DiskObjects, timed: Disk, uploads: Sequence[Upload]
) -> None:
    timed.seconds = lambda: 20.0 if len(timed.threads) == 6 else 0.0
    inspection = look(store, uploads, timedelta(seconds=1))
    assert inspection.failure is None
    assert None not in inspection.found.values()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, root: Path, uploads: Sequence[Upload]) -> Iterator[Gate]:
    """A disk that hangs, as a network file system does, when the last object is opened."""
    name = place(root, uploads[2].key).name
    monkeypatch.setattr(disk, "_SLOW_SECONDS", -1.0)  # whatever it takes is slow
    gate = Gate(monkeypatch, os, "open", applies=lambda path, *_: path == name)
    yield gate
    gate.open()


@pytest.mark.usefixtures("gate")
def test_a_disk_that_hangs_is_not_waited_for(store: DiskObjects, uploads: Sequence[Upload]) -> None:
    began = time.monotonic()
    inspection = look(store, uploads, timedelta(seconds=0.5))
    assert time.monotonic() - began < 10.5
    assert_failed_after(inspection, uploads[:2])


def test_who_is_cancelled_in_a_turn_leaves_nothing_open(
    store: DiskObjects, timed: Disk, uploads: Sequence[Upload]
) -> None:
    async def scenario() -> None:
        def cancel() -> float:
            inspecting.cancel()
            return 0.002

        timed.seconds = cancel
        inspecting = asyncio.create_task(store.inspect(uploads, NOW, PATIENCE))
        with pytest.raises(asyncio.CancelledError):
            await inspecting

    before = open_descriptors()
    asyncio.run(scenario())
    assert open_descriptors() == before


def test_who_is_cancelled_while_a_thread_looks_leaves_nothing_open(
    store: DiskObjects, gate: Gate, uploads: Sequence[Upload]
) -> None:
    async def scenario() -> None:
        inspecting = asyncio.create_task(store.inspect(uploads, NOW, PATIENCE))
        await gate.entered()
        await cancelled(inspecting)
        gate.open()
        await until(lambda: open_descriptors() == before)

    async def count() -> int:
        await asyncio.to_thread(len, "")  # has what a loop with a thread has open
        return open_descriptors()

    before = asyncio.run(count())
    asyncio.run(scenario())


def test_nothing_stays_open_after_a_failure(store: DiskObjects, root: Path, uploads: Sequence[Upload]) -> None:
    place(root, uploads[1].key).write_bytes(CONTENT)
    before = open_descriptors()
    assert look(store, uploads).failure is not None
    assert open_descriptors() == before


# Deep folders


def test_folders_may_be_hundreds_deep(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: _remove(root))  # its paths are too long for what cleans up after tests
    deep, deeper = ObjectKey("a/" * 500 + "b"), ObjectKey("a/" * 511 + "b")
    most, real = open_descriptors() + 40, os.open

    def limited(*args: Any, **kwargs: Any) -> int:
        assert open_descriptors() < most
        return real(*args, **kwargs)

    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "open", limited)
    for key in (deep, deeper):
        asyncio.run(put(store, key.encode(), key))
    keys = [deep, deeper, ObjectKey(f"{deep}/missing"), ObjectKey("a/a/missing"), ObjectKey("missing/" * 120 + "a")]
    found = look(store, [upload_to(key) for key in keys]).found
    assert [key for key in keys if found[key]] == [deep, deeper]


def _remove(root: Path) -> None:
    """Remove a tree whose paths may be too long to be named: take the folders out of each other."""
    for number in range(600):
        folders = [folder for folder in (root / "objects").iterdir() if folder.is_dir()]
        if not folders:
            break
        for folder in folders:
            for inner in folder.iterdir():
                inner.rename(root / "objects" / f"{number}-{inner.name}")
            folder.rmdir()
