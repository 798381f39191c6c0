"""What both stores of bytes promise, on disk and in memory: the contracts of `ObjectWriter` and `ObjectReader`."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.stores.disk import DiskObjects
from adapters.stores.memory import MemoryObjects
from application.ports import (
    ObjectAttributes,
    ObjectExists,
    ObjectInfo,
    ObjectReader,
    ObjectWriter,
    Probe,
    Startable,
    StorageFailed,
    StoredObject,
)
from domain.keys import ObjectKey
from domain.uploads import Access
from tests.strategies import path_texts

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
KEY = ObjectKey("alice/weather/data.csv")
PLAIN = ObjectAttributes(media_type="text/csv", access=Access.PRIVATE, headers={})
MIB = 1 << 20
# Not a multiple of any block, and no two stretches alike: a piece that is lost, doubled or swapped is seen.
CONTENT = b"".join(hashlib.sha512(number.to_bytes(4, "big")).digest() for number in range(3 * MIB // 64)) + b"tail"

run = asyncio.run


class Store(ObjectWriter, ObjectReader, Startable, Probe, Protocol):
    """All that a store of bytes is."""


@contextmanager
def new_store(kind: str) -> Iterator[Store]:
    if kind == "memory":
        yield MemoryObjects()
    else:
        with TemporaryDirectory() as root:
            yield DiskObjects(Path(root))


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with new_store(request.param) as store:
        yield store


@pytest.fixture(scope="module", params=["disk", "memory"])
def full_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that holds CONTENT at KEY, and that the examples of a property share."""
    with new_store(request.param) as store:
        run(put(store, CONTENT))
        yield store


async def put(
    store: ObjectWriter,
    content: bytes,
    key: ObjectKey = KEY,
    attributes: ObjectAttributes = PLAIN,
    now: datetime = NOW,
    *,
    overwrite: bool = True,
) -> ObjectInfo:
    incoming = await store.receive(key)
    try:
        for offset in range(0, len(content), 65_536):
            await incoming.write(content[offset : offset + 65_536])
        return await incoming.commit(attributes, now, overwrite=overwrite)
    finally:
        await incoming.discard()


@asynccontextmanager
async def opened(store: ObjectReader, key: ObjectKey = KEY) -> AsyncIterator[StoredObject]:
    stored = await store.open(key)
    assert stored is not None
    try:
        yield stored
    finally:
        await stored.close()


async def read(stored: StoredObject, start: int = 0, end: int | None = None) -> bytes:
    pieces = [piece async for piece in stored.read(start, stored.info.length if end is None else end)]
    assert all(pieces), "an empty piece"
    return b"".join(pieces)


async def get(store: ObjectReader, key: ObjectKey = KEY) -> bytes:
    async with opened(store, key) as stored:
        return await read(stored)


def test_an_object_comes_back_with_all_that_is_known_of_it(store: Store) -> None:
    headers = {"content-disposition": 'attachment; filename="ä.csv"', "x-amz-meta-note": "a b"}
    attributes = ObjectAttributes(media_type="text/csv; charset=utf-8", access=Access.PUBLIC, headers=headers)

    async def scenario() -> None:
        info = await put(store, CONTENT, attributes=attributes)
        headers.clear()
        async with opened(store) as stored:
            assert stored.info == info
            assert await read(stored) == CONTENT
        assert (info.key, info.length, info.modified) == (KEY, len(CONTENT), NOW)
        assert (info.media_type, info.access) == ("text/csv; charset=utf-8", Access.PUBLIC)
        assert info.headers == {"content-disposition": 'attachment; filename="ä.csv"', "x-amz-meta-note": "a b"}
        assert info.md5 == base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
        assert info.sha256 == base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()

    run(scenario())


def test_nothing_is_visible_before_commit(store: Store) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        assert incoming.received == 0
        await incoming.write(CONTENT)
        await incoming.write(b"more")
        assert incoming.received == len(CONTENT) + 4
        md5, sha256 = await incoming.digests()
        assert md5.raw == hashlib.md5(CONTENT + b"more").digest()
        assert sha256.raw == hashlib.sha256(CONTENT + b"more").digest()
        assert await store.open(KEY) is None
        info = await incoming.commit(PLAIN, NOW)
        assert (info.md5, info.sha256) == (md5, sha256)
        assert await get(store) == CONTENT + b"more"

    run(scenario())


def test_digests_may_be_asked_for_at_any_time(store: Store) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        for size in (0, 5, MIB + 1):
            await incoming.write(CONTENT[incoming.received : incoming.received + size])
            md5, _ = await incoming.digests()
            assert md5.raw == hashlib.md5(CONTENT[: incoming.received]).digest()
        await incoming.discard()

    run(scenario())


def test_what_is_discarded_is_gone(store: Store) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        await incoming.write(CONTENT)
        await incoming.discard()
        await incoming.discard()
        with pytest.raises(StorageFailed):
            await incoming.commit(PLAIN, NOW)
        assert await store.open(KEY) is None

    run(scenario())


def test_discarding_after_commit_changes_nothing(store: Store) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        await incoming.write(b"kept")
        await incoming.commit(PLAIN, NOW)
        await incoming.discard()
        assert await get(store) == b"kept"

    run(scenario())


def test_an_upload_is_committed_once(store: Store) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        await incoming.write(b"once")
        await incoming.commit(PLAIN, NOW)
        with pytest.raises(StorageFailed):
            await incoming.commit(PLAIN, NOW)
        assert await get(store) == b"once"

    run(scenario())


def test_an_object_may_be_empty(store: Store) -> None:
    async def scenario() -> None:
        info = await put(store, b"")
        assert (info.length, info.etag) == (0, '"d41d8cd98f00b204e9800998ecf8427e"')  # RFC 1321: MD5 ("")
        assert await get(store) == b""

    run(scenario())


def test_the_last_writer_wins_with_all_that_it_said(store: Store) -> None:
    async def scenario() -> None:
        await put(store, CONTENT)
        later = ObjectAttributes(media_type="image/png", access=Access.PUBLIC, headers={"x-amz-meta-v": "2"})
        info = await put(store, b"short", attributes=later, now=NOW + timedelta(hours=1))
        async with opened(store) as stored:
            assert stored.info == info
            assert (info.length, info.media_type, info.headers) == (5, "image/png", {"x-amz-meta-v": "2"})
            assert await read(stored) == b"short"

    run(scenario())


def test_without_overwriting_an_object_stays_as_it_is(store: Store) -> None:
    async def scenario() -> None:
        first = await put(store, b"first", overwrite=False)
        with pytest.raises(ObjectExists):
            await put(store, b"second", overwrite=False)
        async with opened(store) as stored:
            assert stored.info == first
            assert await read(stored) == b"first"

    run(scenario())


@pytest.mark.parametrize("overwrite", [True, False])
def test_of_writers_at_the_same_moment_one_whole_object_wins(store: Store, overwrite: bool) -> None:
    async def scenario() -> None:
        contents = [bytes([number]) * (MIB + number) for number in range(8)]
        writers = (put(store, content, overwrite=overwrite) for content in contents)
        outcomes = await asyncio.gather(*writers, return_exceptions=True)
        winners = [outcome for outcome in outcomes if isinstance(outcome, ObjectInfo)]
        assert len(winners) == (8 if overwrite else 1)
        assert all(isinstance(outcome, ObjectInfo | ObjectExists) for outcome in outcomes)
        async with opened(store) as stored:
            assert stored.info in winners
            content = await read(stored)
            assert content in contents
            assert stored.info.md5.raw == hashlib.md5(content).digest()

    run(scenario())


def test_a_reader_keeps_the_object_that_it_opened(store: Store) -> None:
    async def scenario() -> None:
        info = await put(store, CONTENT)
        async with opened(store) as stored:
            pieces = stored.read(0, len(CONTENT))
            seen = await anext(pieces)
            await put(store, b"new")
            async for piece in pieces:
                seen += piece
            assert seen == CONTENT
            assert stored.info == info
        assert await get(store) == b"new"

    run(scenario())


@given(data=st.data())
def test_a_range_is_a_slice(full_store: Store, data: st.DataObject) -> None:
    near_an_edge = st.sampled_from([0, MIB // 2, MIB, 2 * MIB, len(CONTENT)]).flatmap(
        lambda edge: st.integers(max(edge - 2, 0), edge + 2)
    )
    start, end = (data.draw(near_an_edge | st.integers(0, len(CONTENT) + 999)) for _ in range(2))

    async def scenario() -> None:
        async with opened(full_store) as stored:
            assert await read(stored, start, end) == CONTENT[start:end]

    run(scenario())


@settings(max_examples=50)
@given(
    key=path_texts.map(ObjectKey),
    headers=st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3),
    content=st.binary(),
)
def test_any_key_and_any_headers_come_back(
    full_store: Store, key: ObjectKey, headers: dict[str, str], content: bytes
) -> None:
    async def scenario() -> None:
        info = await put(full_store, content, key, ObjectAttributes("a/b", Access.PUBLIC, headers))
        async with opened(full_store, key) as stored:
            assert stored.info == info
            assert (info.key, info.headers, await read(stored)) == (key, headers, content)

    run(scenario())


LOOKALIKES = [
    ("a", "a/b"),
    ("a/b", "a/b/c"),
    ("Data.csv", "data.csv"),
    ("stra\N{LATIN SMALL LETTER SHARP S}e", "strasse"),
    ("\N{LATIN SMALL LIGATURE FI}le", "file"),
    ("a.", "a"),
    ("a b", "a%20b"),
    ("a:b", "a"),
]


@pytest.mark.parametrize(("one", "other"), LOOKALIKES)
def test_keys_that_a_file_system_might_confuse_are_two_objects(store: Store, one: str, other: str) -> None:
    async def scenario() -> None:
        await put(store, b"one", ObjectKey(one))
        assert await store.open(ObjectKey(other)) is None
        await put(store, b"other", ObjectKey(other))
        assert await get(store, ObjectKey(one)) == b"one"
        assert await get(store, ObjectKey(other)) == b"other"

    run(scenario())


def test_a_store_that_works_says_so(store: Store) -> None:
    async def scenario() -> None:
        await store.start()
        await store.check()
        await put(store, b"x")
        await store.stop()

    run(scenario())
