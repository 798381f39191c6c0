"""Files in parts in Azure Blob Storage: clients put blocks, and the service makes the blob of them.

("Put Block", "Put Block List" and "Get Block List" in the Azure Storage REST API reference.) Azure knows blocks and no
uploads. An upload is begun by naming it, and which blocks are its own is seen by their ids. So

- an upload that was just begun, and one of which nothing is left, look alike;
- to abort an upload is to put one more block, which marks it; Azure drops its blocks a week after the last one;
- to make a blob of one upload, or to put the whole blob, drops what is uncommitted of all others to the same key, and
  their marks: of several at once only one is spared sending its parts again.
"""

import asyncio
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Self
from urllib.parse import quote
from xml.etree import ElementTree as ET

import aiohttp
from attrs import define, field, frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.azure_requests import NO_CONTAINER, OWN_LIFETIME, error_code, send
from adapters.stores.azure_sas import READ_AND_WRITE, WRITE, SigningKey, blob_template, terms_for
from adapters.stores.azure_signing import refuse_private
from adapters.stores.batch_inspector import (
    CONCURRENCY,
    answering_within,
    expect,
    length_of,
    listing_root,
    unavailable,
)
from adapters.stores.connections import body_of, open_connections
from adapters.stores.sigv4 import uri_encode_path
from application.ports import ObjectExists, PartsChanged, PendingUpload, Progress, SignedParts
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import MultipartUpload, SignedPart, Upload

PATIENCE = timedelta(seconds=30)
"""How long one operation may take; none of them moves the bytes of a part."""

_LONGEST_LIST = 64 * 1024**2
"""In bytes; 50,000 blocks that make a blob, and 100,000 that might, take less than half of it."""

_RANDOM_BYTES, _ID_START = 8, 16

_ABORTED = 0
"""The number of the block that marks an upload as aborted; parts are numbered from 1."""
_MARK = b"-"  # a block can't be empty

_OK, _CREATED, _MISSING = 200, 201, 404
_NOT_THESE = "InvalidBlockList"
_EXISTS = frozenset({"BlobAlreadyExists", "ConditionNotMet"})
_OTHER_IDS = "InvalidBlobOrBlock"

_NUMBER = re.compile(rb"[0-9]{6}")


@frozen
class Blocks:
    """How the blocks of one upload are named: by its id, "-", and six digits, in base64.

    All ids have one length, as those of the uncommitted blocks of one blob must.
    """

    upload_id: UploadId
    _start: str = field(init=False, repr=False, eq=False)

    @_start.default
    def _shared_start(self) -> str:
        # Of 33 bytes, so that it ends where a group of base64 does.
        return _base64(f"{self.upload_id}-")

    @classmethod
    def begin(cls, key: ObjectKey) -> Self:
        """Name a new upload: by 16 random hexadecimal digits, and 16 of a digest that ties them to the key."""
        start = secrets.token_hex(_RANDOM_BYTES)
        return cls(UploadId(start + _tie(start, key)))

    @classmethod
    def of(cls, key: ObjectKey, upload_id: UploadId) -> Self | None:
        """Recognise an upload; None if its id wasn't made for this key."""
        start = upload_id[:_ID_START]
        return cls(upload_id) if upload_id == start + _tie(start, key) else None

    def id_of(self, number: int) -> str:
        """Name a block."""
        return self._start + _base64(f"{number:06}")

    def number_of(self, block_id: str) -> int | None:
        """Give the number of a block; None if it isn't of this upload."""
        if not block_id.startswith(self._start):
            return None
        try:
            digits = b64decode(block_id[len(self._start) :], validate=True)
        except ValueError:
            return None
        return int(digits) if _NUMBER.fullmatch(digits) else None


def _tie(start: str, key: ObjectKey) -> str:
    return sha256(f"{start}{key}".encode()).hexdigest()[:_ID_START]


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")


@frozen
class AzurePartSigner:
    """A `PartSigner` for the container at `address`, as clients reach it.

    `key` and `is_public` are as in `AzureSigning`.
    """

    address: BucketAddress
    key: Callable[[], SigningKey] = field(repr=False)
    is_public: Callable[[], bool]

    def sign_parts(
        self, upload: MultipartUpload, numbers: Iterable[int], lifetime: timedelta, now: datetime
    ) -> SignedParts:
        """Sign a Put Block for each of these parts, as the port says; but which block it is isn't bound."""
        if self.is_public():
            refuse_private([upload.upload])
        key, blob, declared = self.key(), upload.upload.key, upload.upload.file.parts
        terms = terms_for(self.address.origin, key, WRITE, lifetime, now)
        sas = blob_template(key, self.address.bucket, terms).sign(blob)
        blocks, url = Blocks(upload.upload_id), f"{self.address.url}/{uri_encode_path(blob)}?comp=block&blockid="

        def signed(number: int) -> SignedPart:
            length = upload.plan.length_of(number)
            headers = {"Content-Length": str(length)}
            if declared is not None and declared.md5 is not None:
                headers["Content-MD5"] = declared.md5[number - 1]
            return SignedPart(number, length, f"{url}{quote(blocks.id_of(number), safe='')}&{sas}", headers)

        return SignedParts(terms.expires_at, map(signed, numbers))


@define
class AzureMultipart:
    """A `MultipartStore` in the container at `address`, as the service itself reaches it.

    `key` and `is_public` are as in `AzureSigning`.
    """

    address: BucketAddress
    key: Callable[[], SigningKey] = field(repr=False)
    is_public: Callable[[], bool]
    _http: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)

    async def start(self) -> None:
        """Open the pool of connections; nothing is asked yet."""
        self._http = open_connections(CONCURRENCY)

    async def stop(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def begin(self, uploads: Sequence[Upload], now: datetime) -> Sequence[UploadId]:  # noqa: ARG002 - the port's
        """Name the uploads. Nothing is asked, and nobody need abort what was begun in vain."""
        if self.is_public():
            refuse_private(uploads)
        return [Blocks.begin(upload.key).upload_id for upload in uploads]

    async def progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:
        """Tell which blocks of the upload there are; it is complete if the blob is made of nothing else.

        None if it was aborted, or if the id wasn't made for this key. An upload of which there is nothing has made no
        progress: Azure can't tell whether it was just begun, dropped, or aborted long ago.
        """
        async with answering_within(PATIENCE):
            return await self._progress(key, upload_id, now)

    async def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool = True
    ) -> None:
        """Commit exactly these blocks, with the declared media type.

        No MD5 of the whole is stored, since nobody has computed it.
        """
        if self.is_public():
            refuse_private([upload.upload])
        key, upload_id = upload.upload.key, upload.upload_id
        async with answering_within(PATIENCE):
            progress = await self._progress(key, upload_id, now)
            if progress is None or any(progress.arrived.get(part.number) != part for part in parts):
                raise PartsChanged
            block_ids = [part.tag for part in parts]
            refusal = await self._blob(key, now).commit(block_ids, upload.upload.file.media_type, overwrite=overwrite)
            if refusal in _EXISTS and not await self._is_complete(key, upload_id, now):
                raise ObjectExists
            if refusal:
                raise PartsChanged

    async def abort(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> None:
        """Mark the upload as aborted, so that there is no such upload any more, whatever parts arrive."""
        async with answering_within(PATIENCE):
            progress = await self._progress(key, upload_id, now)
            if progress is not None and not progress.is_complete:
                await self._blob(key, now).put_block(Blocks(upload_id).id_of(_ABORTED), _MARK)

    async def pending(self, now: datetime) -> AsyncIterator[PendingUpload]:  # noqa: ARG002 - the port's
        """Give none: Azure drops blocks by itself, a week after the last one was put to their blob."""
        none: Sequence[PendingUpload] = ()
        for upload in none:
            yield upload

    async def _progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:
        blocks = Blocks.of(key, upload_id)
        if blocks is None:
            return None
        document = await self._blob(key, now).block_list()
        # Of 100,000 blocks, the most there can be, reading takes half a second.
        return Progress({}) if document is None else await asyncio.to_thread(_read_progress, document, blocks)

    async def _is_complete(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> bool:
        progress = await self._progress(key, upload_id, now)
        return progress is not None and progress.is_complete

    def _blob(self, key: ObjectKey, now: datetime) -> "_Blob":
        if self._http is None:
            raise unavailable("the store has not been started")
        signing_key, address = self.key(), self.address
        terms = terms_for(address.origin, signing_key, READ_AND_WRITE, OWN_LIFETIME, now)
        sas = blob_template(signing_key, address.bucket, terms).sign(key)
        return _Blob(self._http, f"{address.url}/{uri_encode_path(key)}", sas)


@frozen
class _Blob:
    """One blob, asked in our own name. Raises `Unavailable` for an answer that is none, and what aiohttp raises."""

    http: aiohttp.ClientSession
    url: str
    sas: str = field(repr=False)

    async def block_list(self) -> bytes | None:
        """Ask for the committed and the uncommitted blocks; None where there are none of either."""
        async with send(self.http, "GET", f"{self.url}?comp=blocklist&blocklisttype=all&{self.sas}") as answer:
            if answer.status == _MISSING and error_code(answer) != NO_CONTAINER:
                return None
            expect(answer, _OK)
            return await body_of(answer, _LONGEST_LIST)

    async def put_block(self, block_id: str, content: bytes) -> None:
        """Put a block, if there can be any of its upload."""
        url = f"{self.url}?comp=block&blockid={quote(block_id, safe='')}&{self.sas}"
        async with send(self.http, "PUT", url, content) as answer:
            # Then the uncommitted blocks have ids of another length, and none of ours can be among them.
            if error_code(answer) != _OTHER_IDS:
                expect(answer, _CREATED)

    async def commit(self, block_ids: Iterable[str], media_type: str, *, overwrite: bool) -> str:
        """Make the blob of uncommitted blocks; give the error code if it isn't made, because of what is there."""
        named = "".join(f"<Uncommitted>{block_id}</Uncommitted>" for block_id in block_ids)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{named}</BlockList>'.encode()
        headers = {"Content-Type": "application/xml", "x-ms-blob-content-type": media_type}
        if not overwrite:
            headers["If-None-Match"] = "*"
        async with send(self.http, "PUT", f"{self.url}?comp=blocklist&{self.sas}", body, headers) as answer:
            code = error_code(answer)
            if code == _NOT_THESE or code in _EXISTS:
                return code
            expect(answer, _CREATED)
            return ""


def _read_progress(document: bytes, blocks: Blocks) -> Progress | None:
    root = listing_root(document, "BlockList")
    committed, uncommitted = root.find("CommittedBlocks"), root.find("UncommittedBlocks")
    if committed is None or uncommitted is None:
        raise unavailable("its list of blocks is not whole")
    of_the_blob = [blocks.number_of(_text_of(block, "Name")) for block in committed.iterfind("Block")]
    if of_the_blob and all(of_the_blob):  # neither another's, nor a mark
        return Progress({}, is_complete=True)
    arrived = {}
    for block in uncommitted.iterfind("Block"):
        name = _text_of(block, "Name")
        number = blocks.number_of(name)
        if number == _ABORTED:
            return None
        if number is not None:
            arrived[number] = ArrivedPart(number, length_of(_text_of(block, "Size")), name)
    return Progress(arrived)


def _text_of(block: ET.Element, name: str) -> str:
    return block.findtext(name) or ""
