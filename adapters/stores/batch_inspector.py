"""Looking into a store over HTTP, whatever language it speaks: requests for single keys, listings for many.

A listing tells of a thousand keys or more in about the time of ten requests for single ones, so a large batch is looked
for in the listing of the folder that all its keys share. A page of it can only be asked for after the one before it; so
what is left for several is listed at once, by how the keys go on after what they share. Where a listing leaves a doubt,
and where the folder turns out to hold mostly other things, keys are asked for one by one. Nothing is concluded from a
listing's order, which not every store keeps.
"""

import asyncio
import os.path
import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Container, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Protocol
from xml.etree import ElementTree as ET

import aiohttp
from attrs import define, field, frozen

from adapters.stores.connections import open_connections, parse_document
from application.ports import Inspection, ListedObject, ListingPage, PageRequest, Preparation
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey
from domain.uploads import Upload

CONCURRENCY = 32
"""How many requests are under way at once, over all batches."""

PAGE_SIZE = 1_000
"""How many objects a page of a listing may tell of: of more, where there can be, reading would hold up other requests.
"""

LISTING_PAYS = 16
"""How many wanted keys one listing must tell of to be cheaper than asking for each."""

_OK, _REFUSED = 200, 400
_LENGTH = re.compile(r"[0-9]{1,19}")

Found = dict[ObjectKey, FoundObject | None]


class Page(Protocol):
    """One answer to a listing. A page that isn't the last, and has no `next_token`, can't be gone on from."""

    @property
    def entries(self) -> Container[str]:
        """The keys that it tells of."""

    @property
    def is_last(self) -> bool:
        """Whether it is known that no page comes after it."""

    @property
    def next_token(self) -> str:
        """What asks for the next page; empty where there is none."""

    def object_for(self, upload: Upload) -> FoundObject:
        """Read the entry of the upload's key, which is one of `entries`. Raises `Unavailable`."""

    def objects(self) -> Iterable[tuple[str, FoundObject]]:
        """Read all entries, by key. Raises `Unavailable`."""


class Reader(Protocol):
    """Asks one store, with the credentials of one moment.

    Raises `Unavailable` for an answer that is none, and what aiohttp raises.
    """

    async def page(self, prefix: str, token: str, limit: int) -> Callable[[], Page] | None:
        """Ask for a page of at most `limit` keys that start with `prefix`; None where the store won't list them.

        The prefix may end anywhere, also within a name. What is given reads the answer, which takes milliseconds, and
        raises `Unavailable` if that is none.
        """

    async def at(self, key: ObjectKey) -> Found:
        """Ask for what is at exactly `key`; the answer is empty where the store won't tell."""


@define
class BatchInspector:
    """An `ObjectInspector` for a store that a `Reader` can ask; and an `ObjectLister`, if the store has listings."""

    _http: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)
    _reading: asyncio.Lock = field(init=False, repr=False, eq=False)

    @abstractmethod
    def _reader(self, http: aiohttp.ClientSession, now: datetime) -> Reader:
        """Make what asks the store. Raises `Unavailable` when there are no valid credentials."""

    async def start(self) -> None:
        """Open the pool of connections; nothing is asked yet."""
        self._http, self._reading = open_connections(CONCURRENCY), asyncio.Lock()

    async def stop(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    def prepare(self, folder: str, files: int, now: datetime) -> "_FirstPage | None":
        """Ask for the first page of the folder's listing, if a listing pays."""
        if files <= LISTING_PAYS or not folder:
            return None
        try:
            return _FirstPage(folder, asyncio.create_task(self._asking(now).first_page(folder)))
        except Unavailable:  # `inspect` will say so
            return None

    async def inspect(
        self, uploads: Sequence[Upload], now: datetime, patience: timedelta, prepared: Preparation | None = None
    ) -> Inspection:
        """Look at the keys of `uploads`, as the port says."""
        found: Found = {}
        failure = None
        try:
            look = _Look(self._asking(now), found)
            async with answering_within(patience):
                first = prepared if isinstance(prepared, _FirstPage) else None
                await look.at({upload.key: upload for upload in uploads}, first)
        except Unavailable as error:
            failure = error
        return Inspection(found, failure)

    async def list_page(self, request: PageRequest, now: datetime, patience: timedelta) -> ListingPage:
        """Ask for a page of the store's own listing, as the port says."""
        prefix = f"{request.folder}/"
        try:
            async with answering_within(patience):
                page = await self._asking(now).page(prefix, request.token, request.limit)
        except RefusedToken as error:
            raise InvalidInput(ErrorCode.INVALID_CURSOR, "the object store doesn't know this cursor") from error
        if page is None:
            raise unavailable("it won't list its objects")
        if not page.is_last and page.next_token in ("", request.token):
            raise unavailable("its listing can't be gone on with")
        return ListingPage(listed_objects(page.objects(), prefix), None if page.is_last else page.next_token)

    def _started_reader(self, now: datetime) -> Reader:
        if self._http is None:
            raise unavailable("the inspector has not been started")
        return self._reader(self._http, now)

    def _asking(self, now: datetime) -> "_Asking":
        return _Asking(self._started_reader(now), self._reading)


@frozen
class _Asking:
    """Asks by a `reader`, and reads pages one at a time, however many arrive."""

    reader: Reader
    reading: asyncio.Lock

    async def first_page(self, prefix: str) -> Page | None:
        return await self.page(prefix, "", PAGE_SIZE)

    async def page(self, prefix: str, token: str, limit: int) -> Page | None:
        read = await self.reader.page(prefix, token, limit)
        if read is None:
            return None
        async with self.reading:
            await asyncio.sleep(0)  # whoever else can go on does so before each
            return read()


@frozen
class _FirstPage:
    """The first page of a folder's listing, asked for ahead."""

    folder: str
    page: asyncio.Task[Page | None]
    nothing_there = False  # nobody has answered yet

    def drop(self) -> None:
        # A failure that nobody will look at any more is no news.
        self.page.add_done_callback(lambda page: page.cancelled() or page.exception())
        self.page.cancel()


@frozen
class _Look:
    """One inspection; what is learnt goes into `found` at once, so that it outlives a failure."""

    asking: _Asking
    found: Found

    async def at(self, wanted: Mapping[ObjectKey, Upload], first: _FirstPage | None) -> None:
        if len(wanted) > LISTING_PAYS:
            await self._list(wanted, first)
        await self._ask_for_all([key for key in wanted if key not in self.found])

    async def _list(self, wanted: Mapping[ObjectKey, Upload], first: _FirstPage | None) -> None:
        """Read the listing of the folder that all wanted keys share."""
        folder = shared_folder(wanted)
        page = await (self.asking.first_page(folder) if first is None else first.page)
        if page is not None and not page.is_last and first is not None and first.folder != folder:
            # What was listed ahead holds more than the files' own folder: begin again in there.
            page = await self.asking.first_page(folder)
        await self._go_on(folder, wanted, page)

    async def _list_below(self, prefix: str, wanted: Mapping[ObjectKey, Upload]) -> None:
        """Read listings of what starts with `prefix`."""
        if not await self._list_parts(wanted):
            await self._go_on(prefix, wanted, await self.asking.first_page(prefix))

    async def _go_on(self, prefix: str, wanted: Mapping[ObjectKey, Upload], page: Page | None) -> None:
        """Read a listing from `page` on, while it tells of enough wanted keys; what is absent at its end is missing."""
        left = wanted
        while page is not None:
            before, left = left, self._take(page, left)
            if page.is_last:
                self.found.update(dict.fromkeys(left))
                return
            if await self._list_parts(left) or not page.next_token or len(before) - len(left) < LISTING_PAYS:
                return
            page = await self.asking.page(prefix, page.next_token, PAGE_SIZE)

    async def _list_parts(self, wanted: Mapping[ObjectKey, Upload]) -> bool:
        """Look for keys in several listings at once, where one would have several pages; tell whether that was done."""
        parts = _by_next_character(wanted) if len(wanted) > PAGE_SIZE else {}
        await all_at_once(self._list_below(prefix, part) for prefix, part in parts.items())
        return bool(parts)

    def _take(self, page: Page, wanted: Mapping[ObjectKey, Upload]) -> Mapping[ObjectKey, Upload]:
        """Note what a page says of wanted keys; return those of which it says nothing."""
        left = {}
        for key, upload in wanted.items():
            if key in page.entries:
                found = page.object_for(upload)
                if _is_settled(upload, found):
                    self.found[key] = found
            else:
                left[key] = upload
        return left

    async def _ask_for_all(self, keys: Sequence[ObjectKey]) -> None:
        waiting = iter(keys)
        await all_at_once(self._ask_for_next(waiting) for _ in range(min(CONCURRENCY, len(keys))))

    async def _ask_for_next(self, waiting: Iterator[ObjectKey]) -> None:
        for key in waiting:
            self.found.update(await self.asking.reader.at(key))


async def all_at_once(works: Iterable[Coroutine[None, None, None]]) -> None:
    """Do all of it at once; the first failure ends the rest."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _is_settled(upload: Upload, listed: FoundObject) -> bool:
    """Tell whether what a listing says is enough; if not, the object must be asked for itself.

    A listing tells less than the object does: on S3 an ETag that looks like an MD5 can be none, and no SHA-256.
    """
    return listed.length != upload.file.length or compare(upload.file, listed) is Status.STORED


def _shared_start(keys: Iterable[str]) -> str:
    """Give the longest start that all keys share; it may end within a name."""
    return os.path.commonprefix([min(keys), max(keys)])  # noqa: RUF071 - of characters, not of whole names


def shared_folder(keys: Iterable[str]) -> str:
    """Give the longest start, up to a slash, that all keys share."""
    shared = _shared_start(keys)
    return shared[: shared.rfind("/") + 1]


def _by_next_character(wanted: Mapping[ObjectKey, Upload]) -> Mapping[str, Mapping[ObjectKey, Upload]]:
    """Part uploads by how their keys go on after what all share; not at all into too many parts, or into one."""
    shared = _shared_start(wanted)
    parts: dict[str, dict[ObjectKey, Upload]] = {}
    for key, upload in wanted.items():
        parts.setdefault(key[: len(shared) + 1], {})[key] = upload
    # What starts with one of the keys may be any of them.
    return {} if shared in parts or len(parts) > CONCURRENCY else parts


@asynccontextmanager
async def answering_within(patience: timedelta) -> AsyncIterator[None]:
    """Turn it into `Unavailable` if the store takes longer than that, or can't be reached."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            yield
    except TimeoutError as error:
        raise unavailable("it took too long") from error
    except (aiohttp.ClientError, OSError) as error:
        raise unavailable(type(error).__name__) from error


def listed_objects(entries: Iterable[tuple[str, FoundObject]], prefix: str) -> Sequence[ListedObject]:
    """Take those entries of a listing that are objects of ours under a prefix.

    Anybody may have put others there: what some tools take for folders ends in a slash, which is no key.
    """
    listed = []
    for key, found in entries:
        if key.startswith(prefix):
            with suppress(InvalidInput):
                listed.append(ListedObject(ObjectKey(key), found))
    return listed


class RefusedToken(Unavailable):
    """A listing can't be gone on with, because the store doesn't take the token that says from where."""


def unavailable(reason: str) -> Unavailable:
    """Make the error for a store that doesn't answer as it should."""
    return Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the object store doesn't answer as it should: {reason}")


def expect(answer: aiohttp.ClientResponse, status: int) -> None:
    """Raise `Unavailable` unless the answer has this status."""
    if answer.status != status:
        raise unavailable(f"it answered {answer.status}")


def expect_page(answer: aiohttp.ClientResponse, token: str) -> None:
    """Raise `Unavailable` unless the answer is a page; `RefusedToken` if it is the `token` that was refused."""
    if token and answer.status == _REFUSED:
        raise RefusedToken(ErrorCode.STORE_UNAVAILABLE, "the object store doesn't know the token of a listing")
    expect(answer, _OK)


def length_of(digits: str) -> int:
    """Read the length of an object. Raises `Unavailable`."""
    if not _LENGTH.fullmatch(digits):
        raise unavailable("it didn't tell an object's length")
    return int(digits)


def listing_root(document: bytes, name: str) -> ET.Element:
    """Parse a listing, whose outermost element has this name, in whatever namespace. Raises `Unavailable`."""
    try:
        root = parse_document(document)
    except ValueError as error:
        raise unavailable("its listing can't be read") from error
    # Whatever else is well-formed, such as the page of a proxy, has no objects in it either.
    if root.tag.rpartition("}")[2] != name:
        raise unavailable("it answered with something else than a listing")
    return root
