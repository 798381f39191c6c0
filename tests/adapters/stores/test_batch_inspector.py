"""Looking for a batch in listings: the truth is told whatever a store holds, and in whatever order it lists."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest import mock

import aiohttp
from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores import batch_inspector
from adapters.stores.batch_inspector import BatchInspector, Found, Reader
from adapters.stores.contract import declare
from domain.errors import InvalidInput
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Access, Upload

CONTENT, OTHER = b"tides", b"waves of another length"
PAGE, PAYS = 6, 2


@frozen
class _Page:
    """A page whose entries are all there is to know."""

    entries: Mapping[str, FoundObject]
    is_last: bool
    next_token: str

    def object_for(self, upload: Upload) -> FoundObject:
        return self.entries[upload.key]

    def objects(self) -> Iterable[tuple[str, FoundObject]]:
        return self.entries.items()


@define
class _Store:
    """A `Reader` of objects that are listed in the order in which they are given."""

    objects: Mapping[str, FoundObject]
    pages: list[str] = field(factory=list)
    """The prefix of each page that was asked for."""
    turns: int = 0
    """How often something else had its turn."""
    read_in: list[int] = field(factory=list)
    """In which of these turns each page was read."""

    async def page(self, prefix: str, token: str, limit: int) -> Callable[[], _Page]:
        self.pages.append(prefix)
        await asyncio.sleep(0)
        keys, start = [key for key in self.objects if key.startswith(prefix)], int(token or 0)
        end = start + limit
        page = _Page({key: self.objects[key] for key in keys[start:end]}, end >= len(keys), str(end))
        return partial(self._read, page)

    def _read(self, page: _Page) -> _Page:
        self.read_in.append(self.turns)
        return page

    async def at(self, key: ObjectKey) -> Found:
        return {key: self.objects.get(key)}

    async def others(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


@define
class _Inspector(BatchInspector):
    store: _Store

    def _reader(self, http: aiohttp.ClientSession, now: datetime) -> Reader:  # noqa: ARG002 - the base's
        return self.store


def look(store: _Store, keys: Iterable[str]) -> Found:
    """Inspect uploads of the same content at all keys."""
    uploads = [Upload(ObjectKey(key), declare("tides.csv", CONTENT), Access.PUBLIC) for key in keys]

    async def inspect() -> Found:
        inspector = _Inspector(store)
        await inspector.start()
        others = asyncio.create_task(store.others())
        try:
            inspection = await inspector.inspect(uploads, datetime.now(UTC), timedelta(minutes=1))
        finally:
            others.cancel()
            await inspector.stop()
        assert inspection.failure is None
        return dict(inspection.found)

    with mock.patch.multiple(batch_inspector, PAGE_SIZE=PAGE, LISTING_PAYS=PAYS, CONCURRENCY=4):
        return asyncio.run(inspect())


def found(content: bytes) -> FoundObject:
    file = declare("tides.csv", content)
    return FoundObject(file.length, file.md5, file.sha256)


def is_key(text: str) -> bool:
    try:
        return bool(ObjectKey(text))
    except InvalidInput:
        return False


_keys = st.lists(st.sampled_from("abc/é\U0001f30a"), min_size=1, max_size=6).map("".join).filter(is_key)


@given(
    wanted=st.sets(_keys, min_size=1, max_size=60),
    others=st.sets(_keys, max_size=30),
    data=st.data(),
)
def test_what_is_found_is_what_is_there(wanted: set[str], others: set[str], data: st.DataObject) -> None:
    there = data.draw(st.permutations(sorted(others | data.draw(st.sets(st.sampled_from(sorted(wanted)))))))
    contents = data.draw(st.lists(st.sampled_from([CONTENT, OTHER]), min_size=len(there), max_size=len(there)))
    store = _Store({key: found(content) for key, content in zip(there, contents, strict=True)})
    assert look(store, wanted) == {key: store.objects.get(key) for key in wanted}


def listed(keys: Sequence[str], there: Sequence[str]) -> Sequence[str]:
    """Look for keys of which some are there, and give the prefixes of the pages that it took."""
    store = _Store({key: found(CONTENT) for key in there})
    assert look(store, keys) == {key: store.objects.get(key) for key in keys}
    return store.pages


def test_what_fits_in_a_page_is_listed_once() -> None:
    keys = [f"f/{number}" for number in range(PAGE)]
    assert listed(keys, keys) == ["f/"]


def test_what_fits_in_two_pages_is_listed_page_by_page() -> None:
    keys = [f"f/{number:02}" for number in range(2 * PAGE)]
    assert listed(keys, keys) == ["f/", "f/"]


def test_what_is_left_for_several_pages_is_listed_by_its_beginnings_and_those_that_are_many_by_theirs() -> None:
    keys = [f"f/{letter}{number}" for letter in "ab" for number in range(PAGE)] + [
        f"f/c{letter}{number}" for letter in "xyz" for number in range(PAGE)
    ]
    assert listed(keys, keys) == ["f/", "f/b", "f/cx", "f/cy", "f/cz"]


def test_too_many_beginnings_are_listed_page_by_page() -> None:
    keys = [f"f/{letter}{number}" for letter in "abcdefgh" for number in range(2)]
    assert listed(keys, keys) == ["f/", "f/", "f/"]


def test_a_key_that_others_begin_with_leaves_them_together() -> None:
    keys = ["f/a", *(f"f/a{number:02}" for number in range(3 * PAGE - 1))]
    strangers = [f"f/0{number}" for number in range(PAGE - PAYS)]
    assert set(listed(keys, [*strangers, *reversed(keys)])) == {"f/"}


def test_others_have_their_turn_before_each_page_is_read() -> None:
    """However many arrive at the same time: to read a page takes milliseconds."""
    keys = [f"f/{letter}{number}" for letter in "abcd" for number in range(PAGE)]
    store = _Store({key: found(CONTENT) for key in keys})
    look(store, keys)
    assert len(store.read_in) == 4
    assert len(set(store.read_in)) == 4
