"""Looking into a Cloud Storage bucket: metadata of few objects one by one, listings for many.

A listing ("Objects: list" in the JSON API reference) tells of up to 1,000 objects, in the order of their names' UTF-8,
and from any name to any other: what is wanted is sorted, and the range from the first to the last is listed. One page
settles every wanted key up to its last name, the missing ones too. What is left is listed in several ranges at once.
Listings and metadata are strongly consistent, and hold the same length and MD5 ("Cloud Storage consistency").

The MD5 of a composite object isn't known ("Composite objects"), and a SHA-256 never is.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import define, frozen

from adapters.stores.batch_inspector import all_at_once, listed_objects, shared_folder
from adapters.stores.gcs_api import CONCURRENCY, BucketApi, unavailable
from application.ports import Inspection, ListingPage, PageRequest, Preparation
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.files import Md5
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Upload

PAGE_SIZE = 1_000
"""How many objects one page of a listing holds at most."""

LISTING_PAYS = 16
"""How many wanted keys one page must settle to be cheaper than asking for each."""

_REFUSED, _FORBIDDEN, _MISSING = 400, 403, 404
_METADATA = "name,size,md5Hash"

Found = dict[ObjectKey, FoundObject | None]


@define
class GcsInspector:
    """An `ObjectInspector` and `ObjectLister` of the bucket that `api` asks about."""

    api: BucketApi

    def prepare(self, folder: str, files: int, now: datetime) -> None:
        """Do nothing: signing takes longer than a listing, and they go on side by side."""

    async def inspect(
        self,
        uploads: Sequence[Upload],
        now: datetime,  # noqa: ARG002 - the port's, as what follows
        patience: timedelta,
        prepared: Preparation | None = None,  # noqa: ARG002
    ) -> Inspection:
        """Look at the keys of `uploads`, as the port says."""
        found: Found = {}
        failure = None
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await _Look(self.api, found).at({upload.key for upload in uploads})
        except Unavailable as error:
            failure = error
        except TimeoutError:
            failure = unavailable("it took too long")
        return Inspection(found, failure)

    async def list_page(
        self,
        request: PageRequest,
        now: datetime,  # noqa: ARG002 - the port's
        patience: timedelta,
    ) -> ListingPage:
        """Ask for a page of the bucket's own listing, as the port says."""
        prefix = f"{request.folder}/"
        query = {
            "prefix": prefix,
            "maxResults": str(request.limit),
            "fields": f"items({_METADATA}),nextPageToken",
            **({"pageToken": request.token} if request.token else {}),
        }
        try:
            async with asyncio.timeout(patience.total_seconds()):
                answer = await self.api.list_objects(query)
        except TimeoutError as error:
            raise unavailable("it took too long") from error
        if request.token and answer.status == _REFUSED:
            raise InvalidInput(ErrorCode.INVALID_CURSOR, "Cloud Storage doesn't know this cursor")
        document = answer.document()
        entries = ((name, _object_of(item)) for name, item in _items_of(document))
        return ListingPage(listed_objects(entries, prefix), _next_token_of(document, request.token))


@frozen
class _Look:
    """One inspection; what is learnt goes into `found` at once, so that it outlives a failure."""

    api: BucketApi
    found: Found

    async def at(self, wanted: Iterable[ObjectKey]) -> None:
        keys = sorted(wanted)
        if len(keys) > LISTING_PAYS:
            await self._list(keys)
        waiting = iter([key for key in keys if key not in self.found])
        await all_at_once(self._get_next(waiting) for _ in range(min(CONCURRENCY, len(keys))))

    async def _list(self, keys: Sequence[ObjectKey]) -> None:
        """List the range of `keys`, which are sorted, for as long as each page settles enough of them."""
        page = await self._page(keys)
        if page is None:
            return
        settled = len(keys) if page.last is None else bisect_right(keys, page.last)
        self.found.update((key, page.object_at(key)) for key in keys[:settled])
        left = keys[settled:]
        if settled >= LISTING_PAYS and len(left) > LISTING_PAYS:
            await all_at_once(self._list(left[start : start + PAGE_SIZE]) for start in range(0, len(left), PAGE_SIZE))

    async def _page(self, keys: Sequence[ObjectKey]) -> "_Page | None":
        first, last = keys[0], keys[-1]
        answer = await self.api.list_objects(
            {
                "prefix": shared_folder((first, last)),
                "startOffset": first,
                "endOffset": f"{last}!",  # not among them itself, and behind the last key with hardly anything between
                "maxResults": str(PAGE_SIZE),
                "fields": f"items({_METADATA}),nextPageToken",
            }
        )
        if answer.status == _FORBIDDEN:
            return None  # we may not list; perhaps we may still ask for single objects
        return _Page.of(answer.document())

    async def _get_next(self, waiting: Iterator[ObjectKey]) -> None:
        for key in waiting:
            answer = await self.api.get_object(key, _METADATA)
            if answer.status == _MISSING:
                self.found[key] = None
            elif answer.status != _FORBIDDEN:  # the store won't tell, which is not a failure
                self.found[key] = _object_of(answer.document())


@frozen
class _Page:
    """One page of a listing: objects by name, and the last name up to which it is complete (None: to its end).

    A range may hold many objects that nobody asks for, so an entry is read only when it is wanted.
    """

    entries: Mapping[str, Mapping[str, object]]
    last: str | None

    def object_at(self, key: ObjectKey) -> FoundObject | None:
        entry = self.entries.get(key)
        return None if entry is None else _object_of(entry)

    @classmethod
    def of(cls, document: Mapping[str, object]) -> "_Page":
        items = _items_of(document)
        names = [name for name, _ in items]
        if names != sorted(names):
            raise unavailable("its listing is out of order")
        # A page without objects that isn't the last is complete up to nowhere.
        last = (names[-1] if names else "") if document.get("nextPageToken") else None
        return cls(dict(items), last)


def _items_of(document: Mapping[str, object]) -> Sequence[tuple[str, Mapping[str, object]]]:
    """Read what a page of a listing has, by name."""
    items = document.get("items", [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise unavailable("its listing can't be read")
    if not all(isinstance(item.get("name"), str) for item in items):
        raise unavailable("its listing has entries without a name")
    return [(item["name"], item) for item in items]


def _next_token_of(document: Mapping[str, object], token: str) -> str | None:
    next_token = document.get("nextPageToken") or None
    if not isinstance(next_token, str | None) or (next_token and next_token == token):
        raise unavailable("its listing can't be gone on with")
    return next_token


def _object_of(metadata: Mapping[str, object]) -> FoundObject:
    """Read what the API says of an object ("Objects", size and md5Hash)."""
    size, md5 = metadata.get("size"), metadata.get("md5Hash")
    if not isinstance(size, str) or not (size.isascii() and size.isdigit() and len(size) < 20):
        raise unavailable("it didn't tell an object's length")
    return FoundObject(int(size), Md5(md5) if isinstance(md5, str) and Md5.fault(md5) is None else None)
