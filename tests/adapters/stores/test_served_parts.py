"""What both stores of bytes promise of files in parts: the contracts of `MultipartStore` and `PartWriter`."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.stores.contract import declare
from adapters.stores.disk import DiskObjects
from adapters.stores.memory import MemoryObjects
from application.ports import (
    DigestMismatch,
    MultipartStore,
    ObjectExists,
    ObjectReader,
    ObjectWriter,
    PartsChanged,
    PartWriter,
    PendingUpload,
    StorageFailed,
)
from domain.files import DeclaredFile, Md5
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, PartPlan, UploadId
from domain.uploads import Access, MultipartUpload, Upload
from tests.adapters.stores.test_served_objects import CONTENT, KEY, MIB, NOW, get, opened, put, read, run

KINDS = ["disk", "memory"]
LATER = NOW + timedelta(hours=1)
PART_SIZE = MIB + 1
PARTS = {
    number: CONTENT[start : start + PART_SIZE] for number, start in enumerate(range(0, len(CONTENT), PART_SIZE), 1)
}
OTHER_KEY = ObjectKey("bob/weather/data.csv")


class Store(ObjectWriter, ObjectReader, MultipartStore, PartWriter, Protocol):
    """A store of bytes that takes them in parts."""


@contextmanager
def new_store(kind: str, *, all_private: bool = False) -> Iterator[Store]:
    if kind == "memory":
        yield MemoryObjects(all_private=all_private)
    else:
        with TemporaryDirectory() as root:
            yield DiskObjects(Path(root), all_private=all_private)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def store(kind: str) -> Iterator[Store]:
    with new_store(kind) as store:
        yield store


def make_upload(content: bytes = CONTENT, key: ObjectKey = KEY, access: Access = Access.PRIVATE) -> Upload:
    return Upload(key, declare("data.csv", content), access)


def without_digests(upload: Upload) -> Upload:
    return evolve(upload, file=evolve(upload.file, md5=None, sha256=None))


async def begin(store: MultipartStore, upload: Upload | None = None, part_size: int = PART_SIZE) -> MultipartUpload:
    upload = upload or make_upload()
    (upload_id,) = await store.begin([upload], NOW)
    return MultipartUpload(upload, upload_id, PartPlan(upload.file.length, part_size))


async def send(store: PartWriter, upload: MultipartUpload, number: int, content: bytes) -> ArrivedPart:
    incoming = await store.receive_part(upload.upload.key, upload.upload_id, number)
    assert incoming is not None
    try:
        for offset in range(0, len(content), 65_536):
            await incoming.write(content[offset : offset + 65_536])
        return await incoming.commit()
    finally:
        await incoming.discard()


async def begin_with_parts(
    store: Store, upload: Upload | None = None, parts: Mapping[int, bytes] = PARTS
) -> MultipartUpload:
    begun = await begin(store, upload)
    for number, content in parts.items():
        await send(store, begun, number, content)
    return begun


async def arrived(store: MultipartStore, upload: MultipartUpload) -> Mapping[int, ArrivedPart] | None:
    """What has arrived of an upload that is pending; None if there is none."""
    progress = await store.progress(upload.upload.key, upload.upload_id, NOW)
    assert progress is None or not progress.is_complete
    return None if progress is None else progress.arrived


async def is_complete(store: MultipartStore, upload: MultipartUpload) -> bool:
    progress = await store.progress(upload.upload.key, upload.upload_id, NOW)
    return progress is not None and progress.is_complete


async def parts_of(store: MultipartStore, upload: MultipartUpload) -> Sequence[ArrivedPart]:
    return [part for _, part in sorted((await arrived(store, upload) or {}).items())]


async def complete(store: MultipartStore, upload: MultipartUpload, *, overwrite: bool = True) -> None:
    await store.complete(upload, await parts_of(store, upload), LATER, overwrite=overwrite)


async def pending(store: MultipartStore) -> Sequence[PendingUpload]:
    return [upload async for upload in store.pending(NOW)]


def part_as_sent(number: int, content: bytes) -> ArrivedPart:
    digest = hashlib.md5(content)
    return ArrivedPart(number, len(content), digest.hexdigest(), Md5.of(digest.digest()))


def test_parts_in_any_order_become_the_object_that_was_declared(store: Store) -> None:
    async def scenario() -> None:
        upload = make_upload(access=Access.PUBLIC)
        begun = await begin(store, upload)
        assert await arrived(store, begun) == {}
        seen = {}
        for number in (3, 1, 4, 2):
            seen[number] = await send(store, begun, number, PARTS[number])
            assert await arrived(store, begun) == seen
            assert await store.open(KEY) is None
        assert seen == {number: part_as_sent(number, content) for number, content in PARTS.items()}
        await complete(store, begun)
        async with opened(store) as stored:
            assert await read(stored) == CONTENT
            assert (stored.info.length, stored.info.md5, stored.info.sha256) == upload.file.content
            assert (stored.info.media_type, stored.info.access) == ("text/csv", Access.PUBLIC)
            assert (stored.info.key, stored.info.modified) == (KEY, LATER)
            assert stored.info.headers == {"x-amz-meta-bitstore-upload": begun.upload_id}

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_may_keep_all_private(kind: str) -> None:
    async def scenario(store: Store) -> None:
        await complete(store, await begin_with_parts(store, make_upload(access=Access.PUBLIC)))
        async with opened(store) as stored:
            assert stored.info.access is Access.PRIVATE

    with new_store(kind, all_private=True) as store:
        run(scenario(store))


@settings(max_examples=25)
@given(parts=st.lists(st.binary(max_size=9), min_size=1, max_size=9), sent_first=st.binary(max_size=9), data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_the_object_is_its_parts_one_after_the_other(
    kind: str, parts: Sequence[bytes], sent_first: bytes, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(1, len(parts) + 1)))

    async def scenario(store: Store) -> None:
        begun = await begin(store, make_upload(b"".join(parts)))
        await send(store, begun, order[-1], sent_first)
        for number in order:
            await send(store, begun, number, parts[number - 1])
        await complete(store, begun)
        assert await get(store) == b"".join(parts)

    with new_store(kind) as store:
        run(scenario(store))


def test_a_part_sent_again_takes_the_place_of_the_first(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        first = await send(store, begun, 2, b"something else")
        assert (await parts_of(store, begun))[1] == first
        second = await send(store, begun, 2, PARTS[2])
        assert (await parts_of(store, begun))[1] == second
        assert first.tag != second.tag
        assert len(await parts_of(store, begun)) == 4

    run(scenario())


def test_of_writers_of_one_part_at_the_same_moment_one_whole_part_wins(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        contents = [bytes([number]) * (MIB + number) for number in range(8)]
        sent = await asyncio.gather(*(send(store, begun, 1, content) for content in contents))
        (part,) = await parts_of(store, begun)
        assert part in sent
        winner = contents[sent.index(part)]
        await complete(store, evolve(begun, upload=make_upload(winner)))
        assert await get(store) == winner

    run(scenario())


def test_a_part_counts_only_once_it_was_committed(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        incoming = await store.receive_part(KEY, begun.upload_id, 1)
        assert incoming is not None
        await incoming.write(CONTENT)
        assert incoming.received == len(CONTENT)
        md5, sha256 = await incoming.digests()
        assert (md5.raw, sha256.raw) == (hashlib.md5(CONTENT).digest(), hashlib.sha256(CONTENT).digest())
        assert await arrived(store, begun) == {}
        await incoming.discard()
        await incoming.discard()
        with pytest.raises(StorageFailed):
            await incoming.commit()
        assert await arrived(store, begun) == {}

    run(scenario())


def test_a_part_is_committed_once(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin(store)
        incoming = await store.receive_part(KEY, begun.upload_id, 1)
        assert incoming is not None
        await incoming.write(b"once")
        part = await incoming.commit()
        await incoming.discard()
        with pytest.raises(StorageFailed):
            await incoming.commit()
        assert await parts_of(store, begun) == [part]

    run(scenario())


def test_parts_that_were_replaced_meanwhile_make_no_object(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        seen = await parts_of(store, begun)
        await send(store, begun, 2, bytes(len(PARTS[2])))
        with pytest.raises(PartsChanged):
            await store.complete(begun, seen, LATER)
        with pytest.raises(PartsChanged):
            await store.complete(begun, [*seen, part_as_sent(5, b"never sent")], LATER)
        assert await store.open(KEY) is None
        await send(store, begun, 2, PARTS[2])
        await complete(store, begun)
        assert await get(store) == CONTENT

    run(scenario())


def with_one_digest(file: DeclaredFile, digest: str) -> DeclaredFile:
    return evolve(file, md5=None) if digest == "sha256" else evolve(file, sha256=None)


@pytest.mark.parametrize("digest", ["md5", "sha256"])
def test_other_bytes_than_declared_never_become_the_object(store: Store, digest: str) -> None:
    async def scenario() -> None:
        await put(store, b"old")
        upload = make_upload()
        upload = evolve(upload, file=with_one_digest(upload.file, digest))
        begun = await begin_with_parts(store, upload, {**PARTS, 3: bytes(len(PARTS[3]))})
        with pytest.raises(DigestMismatch):
            await complete(store, begun)
        assert await get(store) == b"old"
        assert len(await parts_of(store, begun)) == 4
        await send(store, begun, 3, PARTS[3])
        await complete(store, begun)
        assert await get(store) == CONTENT

    run(scenario())


def test_digests_that_were_not_declared_are_not_asked_for(store: Store) -> None:
    async def scenario() -> None:
        upload = without_digests(make_upload())
        await complete(store, await begin_with_parts(store, upload, {1: b"other", 2: b"bytes"}))
        assert await get(store) == b"otherbytes"

    run(scenario())


def test_without_overwriting_an_object_stays_as_it_is(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        old = await put(store, b"old")
        with pytest.raises(ObjectExists):
            await complete(store, begun, overwrite=False)
        async with opened(store) as stored:
            assert stored.info == old
        assert len(await parts_of(store, begun)) == 4
        await complete(store, begun)
        assert await get(store) == CONTENT

    run(scenario())


@pytest.mark.parametrize("overwrite", [True, False])
def test_to_complete_again_does_nothing(store: Store, overwrite: bool) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        parts = await parts_of(store, begun)
        for when in (NOW, LATER):
            await store.complete(begun, parts, when, overwrite=overwrite)
            assert await is_complete(store, begun)
        async with opened(store) as stored:
            assert stored.info.modified == NOW
        assert await store.receive_part(KEY, begun.upload_id, 1) is None

    run(scenario())


def test_one_may_complete_twice_at_the_same_moment(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        parts = await parts_of(store, begun)
        await asyncio.gather(*(store.complete(begun, parts, NOW, overwrite=False) for _ in range(8)))
        assert await get(store) == CONTENT
        assert await is_complete(store, begun)

    run(scenario())


def test_that_it_was_completed_is_told_while_its_object_is_there(store: Store) -> None:
    async def scenario() -> None:
        first, second = await begin_with_parts(store), await begin_with_parts(store)
        await complete(store, first)
        assert await is_complete(store, first)
        await complete(store, second)
        assert await is_complete(store, second)
        assert await store.progress(KEY, first.upload_id, NOW) is None
        await put(store, b"new")
        assert await store.progress(KEY, second.upload_id, NOW) is None

    run(scenario())


def test_what_was_aborted_is_gone(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        parts = await parts_of(store, begun)
        for _ in range(2):
            await store.abort(KEY, begun.upload_id, NOW)
        assert await arrived(store, begun) is None
        assert await store.receive_part(KEY, begun.upload_id, 1) is None
        with pytest.raises(PartsChanged):
            await store.complete(begun, parts, NOW)
        assert await store.open(KEY) is None
        assert await pending(store) == []

    run(scenario())


@pytest.mark.parametrize("ending", ["abort", "complete"])
def test_a_part_that_is_just_arriving_comes_too_late(store: Store, ending: str) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        incoming = await store.receive_part(KEY, begun.upload_id, 1)
        assert incoming is not None
        await incoming.write(CONTENT)
        if ending == "abort":
            await store.abort(KEY, begun.upload_id, NOW)
        else:
            await complete(store, begun)
        with pytest.raises(PartsChanged):
            await incoming.commit()
        await incoming.discard()
        assert await pending(store) == []
        assert await is_complete(store, begun) is (ending == "complete")

    run(scenario())


def test_what_was_completed_stays_when_it_is_aborted(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        await complete(store, begun)
        await store.abort(KEY, begun.upload_id, NOW)
        assert await get(store) == CONTENT

    run(scenario())


def test_an_upload_of_another_key_is_none(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        parts = await parts_of(store, begun)
        assert await store.receive_part(OTHER_KEY, begun.upload_id, 1) is None
        assert await store.progress(OTHER_KEY, begun.upload_id, NOW) is None
        with pytest.raises(PartsChanged):
            await store.complete(evolve(begun, upload=make_upload(key=OTHER_KEY)), parts, NOW)
        await store.abort(OTHER_KEY, begun.upload_id, NOW)
        assert await parts_of(store, begun) == parts
        assert await store.open(OTHER_KEY) is None

    run(scenario())


@pytest.mark.parametrize("text", ["0", "f" * 32, "F" * 32, "../../incoming", ".", "..", "a/b", "\\", "A" * 1024, "%00"])
def test_an_id_that_nobody_gave_names_nothing(store: Store, text: str) -> None:
    async def scenario() -> None:
        begun, upload_id = await begin(store), UploadId(text)
        assert await store.receive_part(KEY, upload_id, 1) is None
        assert await store.progress(KEY, upload_id, NOW) is None
        await store.abort(KEY, upload_id, NOW)
        with pytest.raises(PartsChanged):
            await store.complete(evolve(begun, upload_id=upload_id), [], NOW)
        assert await arrived(store, begun) == {}

    run(scenario())


def test_what_is_pending_is_told(store: Store) -> None:
    async def scenario() -> None:
        assert await pending(store) == []
        uploads = [make_upload(key=ObjectKey(f"alice/{number}")) for number in range(30)]
        ids = await store.begin(uploads, NOW)
        assert len(set(ids)) == 30
        begun = {upload_id: upload.key for upload_id, upload in zip(ids, uploads, strict=True)}
        told = await pending(store)
        assert {upload.upload_id: upload.key for upload in told} == begun
        assert {upload.begun for upload in told} == {NOW}
        for upload in told[1:]:
            await store.abort(upload.key, upload.upload_id, NOW)
        assert await pending(store) == told[:1]

    run(scenario())


@pytest.mark.parametrize("change", ["replace", "abort"])
def test_what_changes_while_memory_makes_an_object_is_told(change: str) -> None:
    """On the disk, parts that are being copied stay until that is done; see the tests of its own."""
    store = MemoryObjects()

    async def scenario() -> None:
        begun = await begin_with_parts(store)
        making = asyncio.create_task(complete(store, begun))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if change == "replace":
            await send(store, begun, 1, bytes(len(PARTS[1])))
        else:
            await store.abort(KEY, begun.upload_id, NOW)
        assert not making.done()
        with pytest.raises(PartsChanged):
            await making
        assert await store.open(KEY) is None

    run(scenario())


def test_others_have_their_turn_while_an_object_is_made(store: Store) -> None:
    async def scenario() -> None:
        begun = await begin_with_parts(store)
        making = asyncio.create_task(complete(store, begun))
        turns = 0
        while not making.done():
            await asyncio.sleep(0)
            turns += 1
        await making
        assert turns > len(CONTENT) // MIB

    run(scenario())
