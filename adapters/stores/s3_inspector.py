"""Looking into an S3 bucket: HEAD requests for few keys, listings for many.

A listing tells of up to 1,000 keys in about the time of ten HEAD requests, so a large batch is looked for in the
listing of the folder that all its keys share. A listing knows an object's length and ETag. Where that leaves a doubt,
and where the folder turns out to hold mostly other things, the keys are asked for one by one. Nothing is concluded from
a listing's order, which not every store keeps. ("HeadObject" and "ListObjectsV2" in the Amazon S3 API reference.)
"""

import asyncio
import os.path
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Self
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import aiohttp
from attrs import define, evolve, field, frozen
from yarl import URL

from adapters.stores.addresses import BucketAddress
from adapters.stores.sigv4 import Credentials, Request, Signer, canonical_query, uri_encode_path
from application.ports import Inspection, Preparation
from domain.errors import ErrorCode, Unavailable
from domain.files import Md5, Sha256
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey
from domain.uploads import Upload

CONCURRENCY = 32
"""How many requests are under way at once, over all batches."""

LISTING_PAYS = 16
"""How many wanted keys one listing must tell of to be cheaper than asking for each."""

_ETAG_MD5 = re.compile(r'"?([0-9a-fA-F]{32})"?')
_LENGTH = re.compile(r"[0-9]{1,19}")
_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_OK, _FORBIDDEN, _MISSING = 200, 403, 404

Found = dict[ObjectKey, FoundObject | None]


@define
class S3Inspector:
    """An `ObjectInspector` of the bucket at `address`, as the service itself reaches it."""

    address: BucketAddress
    region: str
    credentials: Callable[[], Credentials] = field(repr=False)
    _http: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)

    async def start(self) -> None:
        """Open the pool of connections; nothing is asked yet."""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONCURRENCY),
            # What compresses on the way takes an object's length away.
            headers={"Accept-Encoding": "identity"},
            trust_env=False,
        )

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
            return _FirstPage(folder, asyncio.create_task(self._look(now).page(folder, "")))
        except Unavailable:  # `inspect` will say so
            return None

    async def inspect(
        self, uploads: Sequence[Upload], now: datetime, patience: timedelta, prepared: Preparation | None = None
    ) -> Inspection:
        """Look at the keys of `uploads`, as the port says."""
        found: Found = {}
        failure = None
        try:
            look = evolve(self._look(now), found=found)
            async with asyncio.timeout(patience.total_seconds()):
                first = prepared if isinstance(prepared, _FirstPage) else None
                await look.at({upload.key: upload for upload in uploads}, first)
        except Unavailable as error:
            failure = error
        except TimeoutError:
            failure = _unavailable("it took too long")
        except (aiohttp.ClientError, OSError) as error:
            failure = _unavailable(type(error).__name__)
        return Inspection(found, failure)

    def _look(self, now: datetime) -> "_Look":
        if self._http is None:
            raise _unavailable("the inspector has not been started")
        return _Look(self._http, self.address, Signer(self.credentials(), self.region, now))


@frozen
class _FirstPage:
    """The first page of a folder's listing, asked for ahead."""

    folder: str
    page: "asyncio.Task[_Page | None]"

    def drop(self) -> None:
        # A failure that nobody will look at any more is no news.
        self.page.add_done_callback(lambda page: page.cancelled() or page.exception())
        self.page.cancel()


@frozen
class _Look:
    """One inspection; what is learnt goes into `found` at once, so that it outlives a failure."""

    http: aiohttp.ClientSession
    address: BucketAddress
    signer: Signer
    found: Found = field(factory=dict)

    async def at(self, wanted: Mapping[ObjectKey, Upload], first: _FirstPage | None) -> None:
        if len(wanted) > LISTING_PAYS:
            await self._list(wanted, first)
        await self._head_all([upload for upload in wanted.values() if upload.key not in self.found])

    async def _list(self, wanted: Mapping[ObjectKey, Upload], first: _FirstPage | None) -> None:
        """Read listings for as long as each tells of enough wanted keys; what is absent at their end is missing."""
        folder, listed = _shared_folder(wanted), set[ObjectKey]()
        page = await (self.page(folder, "") if first is None else first.page)
        while page is not None:
            news = self._take(page, wanted, listed)
            if page.is_last:
                self.found.update({key: None for key in wanted if key not in listed})
                return
            if first is not None and first.folder != folder:
                # What was listed ahead holds more than the files' own folder: begin again in there.
                first, token = None, ""
            elif page.next_token and news >= LISTING_PAYS:
                token = page.next_token
            else:
                return
            page = await self.page(folder, token)

    def _take(self, page: "_Page", wanted: Mapping[ObjectKey, Upload], listed: set[ObjectKey]) -> int:
        """Note what a page says of wanted keys; return how many it told of that no page before it had."""
        news = [upload for key, upload in wanted.items() if key in page.entries and key not in listed]
        for upload in news:
            listed.add(upload.key)
            found = page.object_for(upload)
            if _is_settled(upload, found):
                self.found[upload.key] = found
        return len(news)

    async def page(self, prefix: str, token: str) -> "_Page | None":
        query = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)]
        if token:
            query.append(("continuation-token", token))
        request = Request("GET", self.address.bucket_origin, self.address.bucket_path or "/", query)
        async with self._send(request) as answer:
            if answer.status == _FORBIDDEN:
                return None  # we may not list; perhaps we may still ask for single objects
            _expect(answer, _OK)
            return _Page.parse(await answer.read())

    async def _head_all(self, uploads: Sequence[Upload]) -> None:
        waiting = iter(uploads)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(CONCURRENCY, len(uploads))):
                    group.create_task(self._head_next(waiting))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _head_next(self, waiting: Iterator[Upload]) -> None:
        for upload in waiting:
            request = Request(
                "HEAD",
                self.address.bucket_origin,
                self.address.path_of(upload.key),
                headers={"x-amz-checksum-mode": "ENABLED"},
            )
            async with self._send(request) as answer:
                if answer.status == _MISSING:
                    self.found[upload.key] = None
                elif answer.status != _FORBIDDEN:  # the store won't tell, which is not a failure
                    _expect(answer, _OK)
                    self.found[upload.key] = _object_of(answer.headers)

    def _send(self, request: Request) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = self.signer.sign_headers(request, _EMPTY_SHA256)
        query = canonical_query(request.query)
        url = URL(f"{request.origin}{uri_encode_path(request.path)}?{query}".rstrip("?"), encoded=True)
        return self.http.request(request.method, url, headers=headers, allow_redirects=False)


def _is_settled(upload: Upload, listed: FoundObject) -> bool:
    """Tell whether what a listing says is enough; if not, the object must be asked for itself.

    An ETag can look like an MD5 and be none (SSE-KMS), and a listing has no SHA-256.
    """
    return listed.length != upload.file.length or compare(upload.file, listed) is Status.STORED


def _shared_folder(keys: Iterable[str]) -> str:
    """Give the longest start, up to a slash, that all keys share."""
    shared = os.path.commonprefix([min(keys), max(keys)])  # noqa: RUF071 - of characters; the slash comes next
    return shared[: shared.rfind("/") + 1]


def _unavailable(reason: str) -> Unavailable:
    return Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the object store can't be looked into: {reason}")


def _expect(answer: aiohttp.ClientResponse, status: int) -> None:
    if answer.status != status:
        raise _unavailable(f"it answered {answer.status}")


def _object_of(headers: Mapping[str, str]) -> FoundObject:
    """Read the answer to a HEAD request ("HeadObject")."""
    encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256" or any(
        name.lower().startswith("x-amz-server-side-encryption-customer") for name in headers
    )
    checksum = headers.get("x-amz-checksum-sha256", "")
    # A composite checksum, of parts, has "-" and their number behind it; and is not one of the bytes.
    return FoundObject(
        length=_length_of(headers.get("Content-Length", "")),
        md5=None if encrypted else _md5_of(headers.get("ETag", "")),
        sha256=None if Sha256.fault(checksum) else Sha256(checksum),
    )


def _length_of(digits: str) -> int:
    if not _LENGTH.fullmatch(digits):
        raise _unavailable("it didn't tell an object's length")
    return int(digits)


def _md5_of(etag: str) -> Md5 | None:
    """Read an ETag, which is an MD5 in hexadecimal for what was uploaded in one request ("Object", ETag)."""
    digits = _ETAG_MD5.fullmatch(etag)
    return Md5.of(bytes.fromhex(digits[1])) if digits else None


@frozen
class _Page:
    """One answer of ListObjectsV2. A page that isn't the last, and has no `next_token`, can't be gone on from.

    `entries` are the texts of size and ETag by key. A folder may hold many objects that nobody asks for, so an entry
    is read only when it is wanted.
    """

    entries: Mapping[str, tuple[str, str]]
    is_last: bool
    next_token: str

    def object_for(self, upload: Upload) -> FoundObject:
        size, etag = self.entries[upload.key]
        expected = upload.file.md5
        # Most objects are what was declared; their digest needn't be made, and checked, once more.
        if expected is not None and etag.strip('"') == expected.hex:
            return FoundObject(_length_of(size), expected)
        return FoundObject(_length_of(size), _md5_of(etag))

    @classmethod
    def parse(cls, document: bytes) -> Self:
        root = _root_of(document)
        namespace = root.tag.removesuffix("ListBucketResult")
        decode = unquote_plus if root.findtext(f"{namespace}EncodingType") == "url" else str
        # No other member of a listing has these names; walking the document by name is several times faster than
        # looking into each entry.
        keys, sizes, etags = (
            [text.text or "" for text in root.iter(namespace + tag)] for tag in ("Key", "Size", "ETag")
        )
        if not len(keys) == len(sizes) == len(etags):
            raise _unavailable("its listing has entries without a key, a size or an ETag")
        entries = dict(zip(map(decode, keys), zip(sizes, etags, strict=True), strict=True))
        is_last = root.findtext(f"{namespace}IsTruncated") == "false"
        return cls(entries, is_last, root.findtext(f"{namespace}NextContinuationToken", ""))


def _root_of(document: bytes) -> ET.Element:
    try:
        root = ET.fromstring(document)  # noqa: S314 - from our own store, and expat expands no external entities
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter two: an encoding that expat doesn't know
        raise _unavailable("its listing can't be read") from error
    # Whatever else is well-formed, such as the page of a proxy, has no objects in it either.
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise _unavailable("it answered with something else than a listing")
    return root
