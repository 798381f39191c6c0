"""Looking into an S3 bucket: HEAD requests for few keys, listings for many.

A listing knows an object's length and ETag. ("HeadObject" and "ListObjectsV2" in the Amazon S3 API reference.)
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Self
from urllib.parse import unquote_plus

import aiohttp
from attrs import define, field, frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.batch_inspector import (
    BatchInspector,
    Found,
    expect,
    expect_page,
    length_of,
    listing_root,
    unavailable,
)
from adapters.stores.connections import body_of
from adapters.stores.s3_api import composite_of_etag, has_digests_as_etags, md5_of_etag, send
from adapters.stores.sigv4 import Credentials, Request, Signer
from domain.files import Sha256
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Upload

_OK, _FORBIDDEN, _MISSING = 200, 403, 404


@define
class S3Inspector(BatchInspector):
    """An `ObjectInspector` of the bucket at `address`, as the service itself reaches it."""

    address: BucketAddress
    region: str
    credentials: Callable[[], Credentials] = field(repr=False)

    def _reader(self, http: aiohttp.ClientSession, now: datetime) -> "_Reader":
        return _Reader(http, self.address, Signer(self.credentials(), self.region, now))


@frozen
class _Reader:
    """Asks with signed requests."""

    http: aiohttp.ClientSession
    address: BucketAddress
    signer: Signer

    async def page(self, prefix: str, token: str, limit: int) -> "Callable[[], _Page] | None":
        query = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix), ("max-keys", str(limit))]
        if token:
            query.append(("continuation-token", token))
        request = Request("GET", self.address.bucket_origin, self.address.bucket_path or "/", query)
        async with send(self.http, self.signer, request) as answer:
            if answer.status == _FORBIDDEN:
                return None  # we may not list; perhaps we may still ask for single objects
            expect_page(answer, token)
            return partial(_Page.parse, await body_of(answer))

    async def at(self, key: ObjectKey) -> Found:
        request = Request(
            "HEAD", self.address.bucket_origin, self.address.path_of(key), headers={"x-amz-checksum-mode": "ENABLED"}
        )
        async with send(self.http, self.signer, request) as answer:
            if answer.status == _MISSING:
                return {key: None}
            if answer.status == _FORBIDDEN:  # the store won't tell, which is not a failure
                return {}
            expect(answer, _OK)
            return {key: _object_of(answer.headers)}


def _url_decoded(key: str) -> str:
    # Most keys have nothing encoded but slashes, which this does several times faster than what decodes anything.
    return unquote_plus(key.replace("%2F", "/"))


def _object_of(headers: Mapping[str, str]) -> FoundObject:
    """Read the answer to a HEAD request ("HeadObject")."""
    etag = headers.get("ETag", "") if has_digests_as_etags(headers) else ""
    checksum = headers.get("x-amz-checksum-sha256", "")
    # A composite checksum, of parts, has "-" and their number behind it; and is not one of the bytes.
    return FoundObject(
        length=length_of(headers.get("Content-Length", "")),
        md5=md5_of_etag(etag),
        sha256=None if Sha256.fault(checksum) else Sha256(checksum),
        composite=composite_of_etag(etag),
    )


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
            return FoundObject(length_of(size), expected)
        return FoundObject(length_of(size), md5_of_etag(etag), composite=composite_of_etag(etag))

    def objects(self) -> Iterator[tuple[str, FoundObject]]:
        for key, (size, etag) in self.entries.items():
            yield key, FoundObject(length_of(size), md5_of_etag(etag), composite=composite_of_etag(etag))

    @classmethod
    def parse(cls, document: bytes) -> Self:
        root = listing_root(document, "ListBucketResult")
        namespace = root.tag.removesuffix("ListBucketResult")
        decode = _url_decoded if root.findtext(f"{namespace}EncodingType") == "url" else str
        # No other member of a listing has these names; walking the document by name is several times faster than
        # looking into each entry.
        keys, sizes, etags = (
            [text.text or "" for text in root.iter(namespace + tag)] for tag in ("Key", "Size", "ETag")
        )
        if not len(keys) == len(sizes) == len(etags):
            raise unavailable("its listing has entries without a key, a size or an ETag")
        entries = dict(zip(map(decode, keys), zip(sizes, etags, strict=True), strict=True))
        is_last = root.findtext(f"{namespace}IsTruncated") == "false"
        return cls(entries, is_last, root.findtext(f"{namespace}NextContinuationToken", ""))
