"""Files in parts on stores that speak S3: the service begins, lists, completes and aborts; clients send the parts.

("CreateMultipartUpload", "ListParts", "CompleteMultipartUpload", "AbortMultipartUpload" and "ListMultipartUploads" in
the Amazon S3 API reference; "Multipart upload API and permissions" in its user guide. In a bucket that encrypts with
KMS, the service needs `kms:GenerateDataKey` and `kms:Decrypt` as well.)
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import TypeVar

from attrs import define, field

from adapters.stores.addresses import BucketAddress
from adapters.stores.s3_api import has_digests_as_etags
from adapters.stores.s3_calls import Answer, Call, Operation, S3Calls
from adapters.stores.s3_parts import ListedParts, completion_of
from adapters.stores.s3_upload_ids import S3UploadId, id_of_store
from adapters.stores.sigv4 import Credentials
from application.ports import ObjectExists, PartsChanged, PendingUpload, Progress
from domain.errors import InvalidInput, Unavailable
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import Access, MultipartUpload, Upload

CONCURRENCY = 32
"""How many uploads of a batch are begun at once."""

_BEGIN_SECONDS, _CLEAR_SECONDS, _PROGRESS_SECONDS = 60.0, 20.0, 60.0
"""How long the calls of one method may take together."""

_CREATE = Operation("CreateMultipartUpload", "POST", "s3:PutObject")
_LIST_PARTS = Operation("ListParts", "GET", "s3:ListMultipartUploadParts")
# "Processing of a CompleteMultipartUpload request could take over several minutes to complete."
_COMPLETE = Operation("CompleteMultipartUpload", "POST", "s3:PutObject", seconds=300.0)
_ABORT = Operation("AbortMultipartUpload", "DELETE", "s3:AbortMultipartUpload")
_LIST_UPLOADS = Operation("ListMultipartUploads", "GET", "s3:ListBucketMultipartUploads")
# Without the second, a missing object is answered like a forbidden one.
_HEAD = Operation("HeadObject", "HEAD", "s3:GetObject and s3:ListBucket")

_NONCE_HEADER = "x-amz-meta-bitstore-upload"

_OK, _NO_CONTENT, _BAD_REQUEST, _MISSING, _PRECONDITION_FAILED, _FAILED = 200, 204, 400, 404, 412, 500

_GONE = frozenset({"NoSuchUpload", "NoSuchKey"})  # the latter is Ceph's
_NO_ID = frozenset({"InvalidArgument", "InvalidRequest"})
_CHANGED = _GONE | {"InvalidPart", "InvalidPartOrder", "ConditionalRequestConflict"}

_Item = TypeVar("_Item")


@define
class S3Multipart:
    """A `MultipartStore` in the bucket at `address`, as the service itself reaches it.

    `acl_for` gives the acl of an object, None where the bucket takes none; it may not block.
    """

    address: BucketAddress
    region: str
    credentials: Callable[[], Credentials] = field(repr=False)
    acl_for: Callable[[Access], str | None]
    _s3: S3Calls = field(init=False, repr=False)

    @_s3.default
    def _calls(self) -> S3Calls:
        return S3Calls(self.address, self.region, self.credentials)

    async def start(self) -> None:
        """Open the pool of connections; nothing is asked yet."""
        await self._s3.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self._s3.stop()

    async def begin(self, uploads: Sequence[Upload], now: datetime) -> Sequence[UploadId]:
        """Begin all, many at once, as the port says."""
        begun: dict[int, UploadId] = {}

        async def begin_one(item: tuple[int, Upload]) -> None:
            begun[item[0]] = await self._begin(item[1], now)

        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                await _for_all(enumerate(uploads), begin_one)
        except BaseException as error:
            await self._clear([(uploads[index].key, upload_id) for index, upload_id in begun.items()], now)
            if isinstance(error, TimeoutError):
                raise _CREATE.failure("it took too long") from error
            raise
        return [begun[index] for index in range(len(uploads))]

    async def _begin(self, upload: Upload, now: datetime) -> UploadId:
        nonce, acl = secrets.token_hex(16), self.acl_for(upload.access)
        headers = {"Content-Type": upload.file.media_type, _NONCE_HEADER: nonce}
        if acl is not None:
            headers["x-amz-acl"] = acl
        answer = await self._s3.answer(Call(_CREATE, upload.key, [("uploads", "")], headers), now)
        answer.expect("InitiateMultipartUploadResult")
        try:
            UploadId(of_store := answer.text("UploadId"))
            return S3UploadId(nonce, of_store, has_digests_as_etags(answer.headers)).text
        except InvalidInput as error:
            raise _CREATE.failure("it gave no id that can be passed on") from error

    async def _clear(self, begun: Iterable[tuple[ObjectKey, UploadId]], now: datetime) -> None:
        """Abort as many of these as one can, in a short time."""

        async def abort_one(item: tuple[ObjectKey, UploadId]) -> None:
            with suppress(Unavailable):  # what stays is for the sweep
                await self.abort(*item, now)

        with suppress(TimeoutError):
            async with asyncio.timeout(_CLEAR_SECONDS):
                await _for_all(begun, abort_one)

    async def progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:
        """Ask for the parts; where the upload has ended, look whether the object is what became of it."""
        ours = S3UploadId.parse(upload_id)
        if ours is None:
            return None
        try:
            async with asyncio.timeout(_PROGRESS_SECONDS):
                parts = await self._parts(key, ours, now)
                if parts is not None:
                    return Progress(parts)
                return Progress({}, is_complete=True) if await self._became_object(key, ours, now) else None
        except TimeoutError as error:
            raise _LIST_PARTS.failure("it took too long") from error

    async def _parts(self, key: ObjectKey, upload: S3UploadId, now: datetime) -> Mapping[int, ArrivedPart] | None:
        """List all parts, page by page; None where there is no such upload."""
        listed, marker = ListedParts(upload.has_digests), 0
        while True:
            query = [("uploadId", upload.of_store), *([("part-number-marker", str(marker))] if marker else [])]
            answer = await self._s3.answer(Call(_LIST_PARTS, key, query), now)
            if _is_gone(answer):
                return None
            answer.expect("ListPartsResult")
            listed.add(answer)
            if answer.text("IsTruncated") != "true":
                return listed.arrived()
            before, marker = marker, answer.number(answer.text("NextPartNumberMarker"))
            if marker <= before:
                raise _LIST_PARTS.failure("its listing goes round in circles")

    async def _became_object(self, key: ObjectKey, upload: S3UploadId, now: datetime) -> bool:
        answer = await self._s3.answer(Call(_HEAD, key), now)
        if answer.status not in (_OK, _MISSING):
            raise answer.unexpected()
        return answer.status == _OK and answer.headers.get(_NONCE_HEADER) == upload.nonce

    async def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool = True
    ) -> None:
        """Put the parts together, as the port says."""
        key, ours = upload.upload.key, S3UploadId.parse(upload.upload_id)
        if ours is None:
            raise PartsChanged("there is no such upload")
        headers = {"Content-Type": "application/xml", **({} if overwrite else {"If-None-Match": "*"})}
        call = Call(_COMPLETE, key, [("uploadId", ours.of_store)], headers, completion_of(parts))
        answer = await self._s3.answer(call, now)
        if answer.status == _OK and answer.document == "CompleteMultipartUploadResult":
            return
        if not overwrite and (answer.status == _PRECONDITION_FAILED or answer.code == "PreconditionFailed"):
            raise ObjectExists("there is an object at this key already")
        if answer.code in _CHANGED:
            raise PartsChanged(answer.code)
        # Ceph says InternalError where there's no such upload.
        if answer.status >= _FAILED and await self._parts(key, ours, now) is None:
            raise PartsChanged("the upload has ended")
        raise answer.unexpected()

    async def abort(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> None:
        """Abort by an id of ours, or by one of the store's own, as `pending` gives them."""
        answer = await self._s3.answer(Call(_ABORT, key, [("uploadId", id_of_store(upload_id))]), now)
        if answer.status not in (_OK, _NO_CONTENT) and not _is_gone(answer):
            raise answer.unexpected()

    async def pending(self, now: datetime) -> AsyncIterator[PendingUpload]:
        """List all uploads, page by page, by the store's own ids; those to keys that can't be ours are left out."""
        began, markers = monotonic(), list[tuple[str, str]]()
        while True:
            # Whoever reads this may take longer than a signature counts.
            moment = now + timedelta(seconds=monotonic() - began)
            answer = await self._s3.answer(Call(_LIST_UPLOADS, query=[("uploads", ""), *markers]), moment)
            answer.expect("ListMultipartUploadsResult")
            for upload in _uploads_of(answer):
                yield upload
            if answer.text("IsTruncated") != "true":
                return
            before, markers = markers, _next_markers(answer)
            if not markers or markers == before:
                raise _LIST_UPLOADS.failure("its listing goes round in circles")


async def _for_all(items: Iterable[_Item], work: Callable[[_Item], Awaitable[None]]) -> None:
    """Do the work for all items, many at once. After a failure no more is begun; what is under way ends first."""
    waiting = deque(items)

    async def go_on() -> None:
        while waiting:
            try:
                await work(waiting.popleft())
            except BaseException:
                waiting.clear()
                raise

    workers = (go_on() for _ in range(min(CONCURRENCY, len(waiting))))
    for failure in await asyncio.gather(*workers, return_exceptions=True):
        if failure is not None:
            raise failure


def _is_gone(answer: Answer) -> bool:
    """Tell whether there is no such upload; an id that the store can't have given is answered in other words."""
    return (answer.status == _MISSING and answer.code in _GONE) or (
        answer.status == _BAD_REQUEST and answer.code in _NO_ID
    )


def _uploads_of(page: Answer) -> Iterator[PendingUpload]:
    for upload in page.each("Upload"):
        with suppress(InvalidInput):  # a key that can't be ours
            key, upload_id = ObjectKey(upload.get("Key")), UploadId(upload.get("UploadId"))
            yield PendingUpload(key, upload_id, page.moment(upload.get("Initiated", "")))


def _next_markers(page: Answer) -> list[tuple[str, str]]:
    """Give the parameters that ask for the page after this one. SeaweedFS gives no key."""
    markers = [("key-marker", page.text("NextKeyMarker")), ("upload-id-marker", page.text("NextUploadIdMarker"))]
    return [(name, value) for name, value in markers if value]
