"""The disk store alone: what lies on the disk, and what is never followed or believed there."""

import hashlib
import json
import logging
import os
import stat
import struct
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.stores.contract import declare
from adapters.stores.disk import DiskObjects
from application.ports import ObjectExists, StorageFailed
from domain.errors import ErrorCode, Unavailable
from domain.keys import ObjectKey
from domain.uploads import Access, Upload
from tests.adapters.stores.test_served_objects import CONTENT, KEY, MIB, NOW, PLAIN, get, opened, put, read, run

MISSING = ObjectKey("alice/weather/missing.csv")
PATIENCE = timedelta(seconds=30)


def upload_to(key: ObjectKey) -> Upload:
    """An upload whose key alone matters."""
    return Upload(key, declare("any"), Access.PRIVATE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "not" / "yet" / "there"


@pytest.fixture
def store(root: Path) -> DiskObjects:
    return DiskObjects(root)


def files(root: Path) -> list[Path]:
    """All that lies under `root` and isn't a directory."""
    return sorted(path for path in root.rglob("*") if not path.is_dir())


def place(root: Path, key: ObjectKey = KEY) -> Path:
    """Where the documentation says that the object's file lies."""
    *folders, last = (hashlib.sha256(segment.encode()).hexdigest() for segment in key.split("/"))
    return Path(root, "objects", *folders, f"{last}.object")


# What lies on the disk


def test_an_object_is_one_file_of_ours_alone(store: DiskObjects, root: Path) -> None:
    run(put(store, CONTENT))
    assert files(root) == [place(root)]
    assert place(root).read_bytes().startswith(CONTENT)
    assert stat.S_IMODE(place(root).stat().st_mode) == 0o600
    for folder in (root, root / "objects", root / "incoming", place(root).parent.parent, place(root).parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_in_a_folder_lies_in_one_subtree(store: DiskObjects, root: Path) -> None:
    names = ["alice/weather", "alice/weather/a", "alice/weather/b", "alice/weather/a/c"]
    keys = [ObjectKey(name) for name in names]

    async def scenario() -> None:
        for key in keys:
            await put(store, key.encode(), key)
        for key in keys:
            assert await get(store, key) == key.encode()

    run(scenario())
    assert files(root) == sorted(place(root, key) for key in keys)
    assert files(place(root, keys[1]).parent) == sorted(place(root, key) for key in keys[1:])


def test_a_discarded_upload_leaves_nothing(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        await incoming.write(CONTENT)
        await incoming.digests()
        assert len(files(root)) == 1
        await incoming.discard()
        assert files(root) == []

    run(scenario())


def test_the_loser_of_a_race_leaves_nothing(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        first, second = await store.receive(KEY), await store.receive(KEY)
        await first.write(b"first")
        await second.write(b"second")
        await first.commit(PLAIN, NOW, overwrite=False)
        with pytest.raises(ObjectExists):
            await second.commit(PLAIN, NOW, overwrite=False)
        assert files(root) == [place(root)]

    run(scenario())


def test_objects_outlive_the_process_that_took_them(root: Path) -> None:
    run(put(DiskObjects(root), CONTENT))
    run(DiskObjects(root).start())
    assert run(get(DiskObjects(root))) == CONTENT


def test_the_documented_format_is_the_one_on_the_disk(store: DiskObjects, root: Path) -> None:
    run(put(store, b"content"))
    data = place(root).read_bytes()
    size, checksum, magic = struct.unpack(">II8s", data[-16:])
    metadata = data[-16 - size : -16]
    assert (data[: -16 - size], magic, checksum) == (b"content", b"BitStor\x01", zlib.crc32(metadata))
    assert json.loads(metadata) == {
        "key": "alice/weather/data.csv",
        "length": 7,
        "md5": "mgNkuembtIDdJeHwKEyFVQ==",
        "sha256": "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=",
        "media_type": "text/csv",
        "access": "private",
        "modified": "2026-03-04T05:06:07.890123+00:00",
        "headers": {},
    }


# What somebody planted or damaged


def test_a_symbolic_link_in_an_objects_place_is_not_followed(store: DiskObjects, root: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        await put(store, b"real")
        stolen = tmp_path / "stolen"
        place(root).rename(stolen)
        before = stolen.read_bytes()
        place(root).symlink_to(stolen)
        with pytest.raises(StorageFailed):
            await store.open(KEY)
        with pytest.raises(ObjectExists):
            await put(store, b"new", overwrite=False)
        with pytest.raises(StorageFailed):
            await put(store, b"new")
        assert stolen.read_bytes() == before
        assert list((root / "incoming").iterdir()) == []

    run(scenario())


DIRECTORIES: dict[str, Callable[[Path], Path]] = {
    "objects": lambda root: root / "objects",
    "the owner's": lambda root: place(root).parent.parent,
    "the dataset's": lambda root: place(root).parent,
    "incoming": lambda root: root / "incoming",
}


@pytest.fixture(params=DIRECTORIES.values(), ids=list(DIRECTORIES))
def directory(request: pytest.FixtureRequest, store: DiskObjects, root: Path) -> Path:
    """One of the directories on the way of an upload, or to the object that is stored at KEY."""
    run(put(store, b"real"))
    folder: Path = request.param(root)
    return folder


async def assert_refused(store: DiskObjects, *, on_the_way: bool) -> None:
    """That nothing is written to a directory, nor read if it is on the way to objects."""
    with pytest.raises(StorageFailed):
        await put(store, b"new")
    if on_the_way:
        with pytest.raises(StorageFailed):
            await store.open(KEY)
        inspection = await store.inspect([upload_to(KEY), upload_to(MISSING)], NOW, PATIENCE)
        assert inspection.failure is not None
        assert inspection.found == {}


def test_a_symbolic_link_in_a_directorys_place_is_not_followed(
    store: DiskObjects, directory: Path, tmp_path: Path
) -> None:
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    before = files(tmp_path / "elsewhere")
    run(assert_refused(store, on_the_way=directory.name != "incoming"))
    assert files(tmp_path / "elsewhere") == before


def test_directories_of_other_users_are_refused(
    store: DiskObjects, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, real = directory.stat().st_ino, os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        others = [*status[:4], status.st_uid + 1, *status[5:]]
        return os.stat_result(others) if status.st_ino == number else status

    monkeypatch.setattr(os, "fstat", fstat)
    run(assert_refused(store, on_the_way=directory.name != "incoming"))


def test_a_file_in_a_directorys_place_is_an_error(store: DiskObjects, directory: Path) -> None:
    directory.rename(directory.with_name("moved"))
    directory.write_bytes(b"")
    run(assert_refused(store, on_the_way=directory.name != "incoming"))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "truncated by a byte": lambda data: data[:-1],
    "truncated to the half": lambda data: data[: len(data) // 2],
    "without its first byte": lambda data: data[1:],
    "with a byte more": lambda data: data + b"\0",
    "with a byte more in front": lambda data: b"\0" + data,
    "of another version": lambda data: data[:-1] + b"\x02",
    "with other metadata": lambda data: data.replace(b"text/csv", b"text/css"),
    "with an impossible length of metadata": lambda data: data[:-16] + b"\xff" * 4 + data[-12:],
    "foreign": lambda _: b"somebody else's file, which is long enough",
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_an_error_and_is_logged(
    store: DiskObjects, root: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    async def scenario() -> None:
        await put(store, b"content")
        place(root).write_bytes(damage(place(root).read_bytes()))
        with caplog.at_level(logging.ERROR), pytest.raises(StorageFailed):
            await store.open(KEY)
        assert place(root).name in caplog.text
        assert KEY in caplog.text
        assert (await store.inspect([upload_to(KEY)], NOW, PATIENCE)).failure is not None
        await put(store, b"again")
        assert await get(store) == b"again"

    run(scenario())


def test_the_file_of_another_object_is_an_error(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        other = ObjectKey("bob/secret")
        await put(store, b"alice's")
        await put(store, b"bob's", other)
        place(root, other).replace(place(root))
        with pytest.raises(StorageFailed):
            await store.open(KEY)
        assert (await store.inspect([upload_to(KEY)], NOW, PATIENCE)).failure is not None

    run(scenario())


@pytest.mark.parametrize(
    "metadata",
    [
        b"{}",
        b"[]",
        b"no json",
        b'{"key": "../up", "length": 0, "md5": "", "sha256": "", "media_type": "", "access": "", "modified": ""}',
    ],
)
def test_metadata_that_makes_no_sense_is_an_error(store: DiskObjects, root: Path, metadata: bytes) -> None:
    run(put(store, b""))
    place(root).write_bytes(metadata + struct.pack(">II8s", len(metadata), zlib.crc32(metadata), b"BitStor\x01"))
    with pytest.raises(StorageFailed):
        run(store.open(KEY))
    assert run(store.inspect([upload_to(KEY)], NOW, PATIENCE)).failure is not None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_is_no_file_in_an_objects_place_makes_nobody_wait(
    store: DiskObjects, root: Path, make: Callable[[Path], None]
) -> None:
    run(put(store, b""))
    place(root).unlink()
    make(place(root))
    with pytest.raises(StorageFailed):
        run(store.open(KEY))
    assert run(store.inspect([upload_to(KEY)], NOW, PATIENCE)).failure is not None


def test_a_file_that_shrinks_under_its_reader_is_an_error(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        await put(store, CONTENT)
        async with opened(store) as stored:
            os.truncate(place(root), MIB)
            with pytest.raises(StorageFailed):
                await read(stored)

    run(scenario())


def test_the_sweep_ignores_what_is_not_ours(store: DiskObjects, root: Path, tmp_path: Path) -> None:
    run(store.start())
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    incoming = root / "incoming"
    (incoming / "link").symlink_to(outside)
    (incoming / "folder").mkdir()
    os.mkfifo(incoming / "pipe")
    (incoming / "leftover").write_bytes(b"x")
    run(DiskObjects(root).start())
    assert outside.read_bytes() == b"precious"
    assert sorted(path.name for path in incoming.iterdir()) == ["folder", "link", "pipe"]


# Whether it is there


def test_a_root_that_is_gone_is_no_empty_store(store: DiskObjects, root: Path) -> None:
    async def refused() -> None:
        with pytest.raises(StorageFailed):
            await store.open(KEY)
        with pytest.raises(StorageFailed):
            await store.receive(KEY)
        with pytest.raises(Unavailable) as caught:
            await store.check()
        assert caught.value.code is ErrorCode.STORE_UNAVAILABLE

    run(put(store, b"mine"))
    unmounted = root.rename(root.with_name("unmounted"))
    run(refused())
    assert not root.exists()
    unmounted.rename(root)
    run(store.check())
    assert run(get(store)) == b"mine"


def test_a_root_that_is_a_file_is_told_by_the_probe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        run(DiskObjects(tmp_path / "file").check())


def test_the_root_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "volume", target_is_directory=True)
    run(put(DiskObjects(tmp_path / "root"), b"x"))
    assert files(tmp_path / "volume") == [place(tmp_path / "volume")]
