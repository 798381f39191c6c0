"""Files in parts in the disk store alone: what lies on the disk, and what is never followed or believed there."""

import asyncio
import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from adapters.stores.disk import DiskObjects
from application.ports import PartsChanged, StorageFailed
from domain.errors import ErrorCode, Unavailable
from domain.keys import ObjectKey
from domain.multipart import UploadId
from domain.uploads import MultipartUpload
from tests.adapters.stores.test_disk import files, place
from tests.adapters.stores.test_disk_faults import Fault
from tests.adapters.stores.test_served_objects import CONTENT, KEY, NOW, get, opened, put, run
from tests.adapters.stores.test_served_parts import (
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


def folder(root: Path, upload: MultipartUpload) -> Path:
    """Where the documentation says that the upload's directory lies."""
    return root / "uploads" / upload.upload_id


def part_file(root: Path, upload: MultipartUpload, number: int, content: bytes, generation: int = 1) -> Path:
    """Where it says that a part lies."""
    return folder(root, upload) / f"{number}-{generation}-{hashlib.md5(content).hexdigest()}-{len(content)}"


async def assert_no_upload(store: DiskObjects, upload: MultipartUpload) -> None:
    assert await store.progress(KEY, upload.upload_id, NOW) is None
    assert await store.receive_part(KEY, upload.upload_id, 1) is None
    with pytest.raises(PartsChanged):
        await store.complete(upload, [], NOW)
    await store.abort(KEY, upload.upload_id, NOW)


# What lies on the disk


def test_an_upload_is_a_directory_of_ours_alone(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        assert files(root) == [folder(root, begun) / "upload"]
        assert json.loads((folder(root, begun) / "upload").read_bytes()) == {
            "key": "alice/weather/data.csv",
            "media_type": "text/csv",
            "access": "private",
            "begun": "2026-03-04T05:06:07.890123+00:00",
        }
        await send(store, begun, 7, b"content")
        assert files(root) == [part_file(root, begun, 7, b"content"), folder(root, begun) / "upload"]
        assert part_file(root, begun, 7, b"content").read_bytes() == b"content"
        for file in files(root):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    run(scenario())


def test_of_a_part_sent_again_only_the_last_stays(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        for content in (b"first", b"second", b"second"):
            await send(store, begun, 1, content)
        await send(store, begun, 11, b"another")
        assert files(folder(root, begun)) == [
            part_file(root, begun, 1, b"second", generation=3),
            part_file(root, begun, 11, b"another"),
            folder(root, begun) / "upload",
        ]

    run(scenario())


def test_nothing_but_the_object_stays(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun, aborted = await begin_with_parts(store), await begin_with_parts(store)
        incoming = await store.receive_part(KEY, begun.upload_id, 9)
        assert incoming is not None
        await incoming.write(CONTENT)
        await incoming.discard()
        await store.abort(KEY, aborted.upload_id, NOW)
        await complete(store, begun)
        assert files(root) == [place(root)]
        assert list((root / "uploads").iterdir()) == list((root / "incoming").iterdir()) == []

    run(scenario())


def test_uploads_outlive_the_process_that_began_them(root: Path) -> None:
    begun = run(begin_with_parts(DiskObjects(root)))
    run(DiskObjects(root).start())
    run(complete(DiskObjects(root), begun))
    assert run(get(DiskObjects(root))) == CONTENT
    assert run(is_complete(DiskObjects(root), begun))


def test_of_two_files_of_a_part_the_later_counts(store: DiskObjects, root: Path) -> None:
    """A process may have died before it could remove the earlier one."""

    async def scenario() -> None:
        begun = await begin_with_parts(store)
        part_file(root, begun, 2, b"earlier").write_bytes(b"earlier")
        await send(store, begun, 2, PARTS[2])
        part_file(root, begun, 2, b"earlier").write_bytes(b"earlier")
        part_file(root, begun, 3, PARTS[3]).rename(part_file(root, begun, 3, PARTS[3], generation=10))
        part_file(root, begun, 3, b"earlier", generation=9).write_bytes(b"earlier")
        assert [part.length for part in await parts_of(store, begun)] == [len(content) for content in PARTS.values()]
        await complete(store, begun)
        assert await get(store) == CONTENT
        assert files(root) == [place(root)]

    run(scenario())


def test_the_start_leaves_uploads_alone(store: DiskObjects, root: Path) -> None:
    run(begin_with_parts(store))
    before = files(root)
    run(DiskObjects(root).start())
    assert files(root) == before


def test_the_start_removes_what_was_left_of_uploads_that_ended(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        ended, stays = await begin_with_parts(store), await begin(store)
        folder(root, ended).rename(root / "incoming" / ended.upload_id)
        foreign = root / "incoming" / stays.upload_id
        (foreign / "of somebody else").mkdir(parents=True)
        await DiskObjects(root).start()
        assert list((root / "incoming").iterdir()) == [foreign]
        assert files(root) == [folder(root, stays) / "upload"]

    run(scenario())


# Ends that were not quite reached


@pytest.fixture
def half_ended(store: DiskObjects, root: Path, caplog: pytest.LogCaptureFixture) -> MultipartUpload:
    """An upload whose object is there, and whose directory couldn't be removed any more."""

    def leaves_its_place(source: str, *_: object) -> bool:
        return (root / "uploads" / source).exists()

    async def scenario() -> MultipartUpload:
        begun = await begin_with_parts(store)
        with Fault("rename", 5, leaves_its_place).injected():
            await complete(store, begun)
        return begun

    begun = run(scenario())
    assert "stay for now" in caplog.text
    assert len(files(root)) == 6
    return begun


def test_it_is_pending(store: DiskObjects, half_ended: MultipartUpload) -> None:
    assert [upload.upload_id for upload in run(pending(store))] == [half_ended.upload_id]


def test_to_ask_whether_it_is_complete_removes_the_parts(
    store: DiskObjects, root: Path, half_ended: MultipartUpload
) -> None:
    assert run(is_complete(store, half_ended))
    assert files(root) == [place(root)]
    assert run(is_complete(store, half_ended))


def test_to_complete_it_again_removes_the_parts(store: DiskObjects, root: Path, half_ended: MultipartUpload) -> None:
    before = place(root).stat().st_ino
    run(store.complete(half_ended, [], NOW, overwrite=False))
    assert files(root) == [place(root)]
    assert place(root).stat().st_ino == before
    assert run(get(store)) == CONTENT


def test_to_abort_it_removes_the_parts_and_nothing_else(
    store: DiskObjects, root: Path, half_ended: MultipartUpload
) -> None:
    run(store.abort(KEY, half_ended.upload_id, NOW))
    assert files(root) == [place(root)]
    assert run(is_complete(store, half_ended))


# What somebody planted or damaged


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "truncated": lambda data: data[:-1],
    "no JSON": lambda _: b"somebody else's file",
    "no object": lambda _: b"[]",
    "without members": lambda _: b"{}",
    "a key that is none": lambda data: data.replace(b"alice/", b"../../"),
    "a type that is none": lambda data: data.replace(b"text/csv", b"text"),
    "an access that is none": lambda data: data.replace(b"private", b"secret"),
    "a moment that is none": lambda data: data.replace(b"2026", b"year"),
    "a number for a moment": lambda data: data.replace(b'"2026-03-04T05:06:07.890123+00:00"', b"1"),
    "endless": lambda data: data + b"," * 99_999,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_upload_with_a_damaged_description_is_none_and_is_logged(
    store: DiskObjects, root: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    async def scenario() -> None:
        damaged, whole = await begin_with_parts(store), await begin(store)
        description = folder(root, damaged) / "upload"
        description.write_bytes(damage(description.read_bytes()))
        with caplog.at_level(logging.ERROR):
            assert [upload.upload_id for upload in await pending(store)] == [whole.upload_id]
        assert damaged.upload_id in caplog.text
        await assert_no_upload(store, damaged)
        await store.abort(KEY, damaged.upload_id, NOW)
        assert files(root) == [folder(root, whole) / "upload"]

    run(scenario())


def test_an_upload_without_a_description_is_none_and_is_logged(
    store: DiskObjects, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        (folder(root, begun) / "upload").unlink()
        with caplog.at_level(logging.ERROR):
            assert await pending(store) == []
        assert begun.upload_id in caplog.text
        await assert_no_upload(store, begun)
        await store.abort(KEY, begun.upload_id, NOW)
        assert files(root) == []

    run(scenario())


def test_what_is_no_directory_of_ours_among_uploads_is_none(store: DiskObjects, root: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        elsewhere = tmp_path / "elsewhere"
        folder(root, begun).rename(elsewhere)
        before = files(elsewhere)
        folder(root, begun).symlink_to(elsewhere, target_is_directory=True)
        (root / "uploads" / ("0" * 32)).write_bytes(b"")
        (root / "uploads" / "lost+found").mkdir()
        assert await pending(store) == []
        await assert_no_upload(store, begun)
        await assert_no_upload(store, evolve(begun, upload_id=UploadId("0" * 32)))
        assert files(elsewhere) == before

    run(scenario())


async def assert_refused(store: DiskObjects, begun: MultipartUpload) -> None:
    with pytest.raises(StorageFailed):
        await store.receive_part(KEY, begun.upload_id, 1)
    for asked in (
        store.begin([make_upload()], NOW),
        store.progress(KEY, begun.upload_id, NOW),
        store.complete(begun, [], NOW),
        store.abort(KEY, begun.upload_id, NOW),
        pending(store),
    ):
        with pytest.raises(Unavailable) as caught:
            await asked
        assert caught.value.code is ErrorCode.STORE_UNAVAILABLE


def test_a_symbolic_link_in_the_place_of_all_uploads_is_not_followed(
    store: DiskObjects, root: Path, tmp_path: Path
) -> None:
    begun = run(begin_with_parts(store))
    (root / "uploads").rename(tmp_path / "elsewhere")
    (root / "uploads").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    before = files(tmp_path / "elsewhere")
    run(assert_refused(store, begun))
    assert files(tmp_path / "elsewhere") == before


def test_a_root_that_is_gone_is_no_store_without_uploads(store: DiskObjects, root: Path) -> None:
    begun = run(begin_with_parts(store))
    unmounted = root.rename(root.with_name("unmounted"))
    run(assert_refused(store, begun))
    assert not root.exists()
    unmounted.rename(root)
    run(complete(store, begun))


def test_a_directory_of_another_user_is_refused(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = run(begin(store))
    number, real = folder(root, begun).stat().st_ino, os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        others = [*status[:4], status.st_uid + 1, *status[5:]]
        return os.stat_result(others) if status.st_ino == number else status

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(StorageFailed):
        run(store.receive_part(KEY, begun.upload_id, 1))


def _truncate(file: Path) -> None:
    os.truncate(file, 5)


def _lengthen(file: Path) -> None:
    os.truncate(file, file.stat().st_size + 1)


def _replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _replace_by_link(file: Path) -> None:
    file.symlink_to(file.rename(file.parents[2] / "elsewhere"))


@pytest.mark.parametrize("damage", [_truncate, _lengthen, _replace_by_pipe, _replace_by_directory, _replace_by_link])
def test_a_damaged_part_becomes_no_object(store: DiskObjects, root: Path, damage: Callable[[Path], None]) -> None:
    async def scenario() -> None:
        await put(store, b"old")
        begun = await begin_with_parts(store)
        damage(part_file(root, begun, 2, PARTS[2]))
        with pytest.raises(Unavailable):
            await complete(store, begun)
        assert await get(store) == b"old"
        assert list((root / "incoming").iterdir()) == []

    run(scenario())


def test_a_part_of_the_right_length_and_other_bytes_is_noticed_by_the_digests(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        part_file(root, begun, 2, PARTS[2]).write_bytes(bytes(len(PARTS[2])))
        with pytest.raises(Exception, match="other bytes"):
            await complete(store, begun)
        await send(store, begun, 2, PARTS[2])
        await complete(store, begun)
        assert await get(store) == CONTENT

    run(scenario())


def test_a_damaged_object_is_replaced(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        await put(store, b"old")
        place(root).write_bytes(b"damaged")
        begun = await begin_with_parts(store)
        assert len(await arrived(store, begun) or {}) == 4
        await complete(store, begun)
        assert await get(store) == CONTENT

    run(scenario())


def test_an_object_of_parts_is_a_file_as_any_other(store: DiskObjects, root: Path) -> None:
    async def scenario() -> None:
        info = await put(store, CONTENT, ObjectKey("alice/weather/other.csv"))
        begun = await begin_with_parts(store)
        await complete(store, begun)
        async with opened(store) as stored:
            assert (stored.info.md5, stored.info.sha256) == (info.md5, info.sha256)
        data = place(root).read_bytes()
        assert data.startswith(CONTENT)
        assert json.loads(data[len(CONTENT) : -16])["headers"] == {"x-amz-meta-bitstore-upload": begun.upload_id}

    run(scenario())


# Where the kernel doesn't copy by itself


def share_all_but(count: Callable[[int], int]) -> Callable[..., int]:
    real = os.copy_file_range
    return lambda source, target, size, offset: real(source, target, count(size), offset) if count(size) else 0


NO_COPIES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no such call": lambda patch: patch.delattr(os, "copy_file_range"),
    "in small pieces": lambda patch: patch.setattr(os, "copy_file_range", share_all_but(lambda n: min(n, 100_001))),
    "nothing": lambda patch: patch.setattr(os, "copy_file_range", share_all_but(lambda _: 0)),
}


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="this system has no copy_file_range")
@pytest.mark.parametrize("change", NO_COPIES.values(), ids=NO_COPIES)
def test_parts_are_copied_however_the_system_helps(
    store: DiskObjects, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None]
) -> None:
    begun = run(begin_with_parts(store))
    change(monkeypatch)
    run(complete(store, begun))
    assert run(get(store)) == CONTENT


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="this system has no copy_file_range")
@pytest.mark.parametrize("code", ["EXDEV", "EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM"])
@pytest.mark.parametrize("after", [0, 1])
def test_parts_are_copied_by_hand_where_the_system_refuses(store: DiskObjects, code: str, after: int) -> None:
    begun = run(begin_with_parts(store))
    with Fault("copy_file_range", getattr(errno, code), after=after).injected():
        run(complete(store, begun))
    assert run(get(store)) == CONTENT


@pytest.fixture(autouse=True)
def _no_descriptor_stays_open(store: DiskObjects) -> Iterator[None]:
    run(store.check())
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - of what pathlib gives, only the number would matter
    yield
    run(asyncio.sleep(0))
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
