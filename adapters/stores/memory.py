"""Objects in memory: for trying things out and for tests. They live as long as the process, and it alone sees them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from heapq import nsmallest

from attrs import define, field

from adapters.stores.served_uploads import (
    BegunUpload,
    arrived_part,
    became,
    check_digests,
    new_upload_id,
    require_parts,
)
from application.ports import (
    IncomingObject,
    IncomingPart,
    Inspection,
    ListedObject,
    ListingPage,
    MultipartStore,
    ObjectAttributes,
    ObjectExists,
    ObjectInfo,
    ObjectInspector,
    ObjectLister,
    ObjectReader,
    ObjectRemover,
    ObjectWriter,
    PageRequest,
    PartsChanged,
    PartWriter,
    PendingUpload,
    Preparation,
    Probe,
    Progress,
    Startable,
    StorageFailed,
    StoredObject,
)
from domain.files import Md5, Sha256
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import MultipartUpload, Upload

_PIECE_BYTES = 1 << 19


class MemoryObjects(
    ObjectWriter,
    ObjectReader,
    ObjectInspector,
    ObjectLister,
    ObjectRemover,
    MultipartStore,
    PartWriter,
    Startable,
    Probe,
):
    """Objects in this process. Use it from one event loop; with several workers each would have objects of its own.

    With `all_private` nobody may read without a signature what came in parts, whatever was declared.
    """

    def __init__(self, *, all_private: bool = False) -> None:
        self._objects: dict[ObjectKey, _StoredMemoryObject] = {}
        self._uploads: dict[UploadId, _MemoryUpload] = {}
        self._all_private = all_private

    async def start(self) -> None:
        """Do nothing: there is nothing to prepare."""

    async def stop(self) -> None:
        """Do nothing: the objects end with the process."""

    async def check(self) -> None:
        """Return: memory is always there."""

    async def receive(self, key: ObjectKey) -> IncomingObject:
        """Begin to take an object."""
        return _IncomingMemoryObject(key, self._objects)

    async def open(self, key: ObjectKey) -> StoredObject | None:
        """Give the object at exactly `key`, or None."""
        return self._objects.get(key)

    async def remove(self, key: ObjectKey, now: datetime) -> None:  # noqa: ARG002 - the port's
        """Forget the object; one that is being read stays whole for its reader."""
        self._objects.pop(key, None)

    def prepare(self, folder: str, files: int, now: datetime) -> None:
        """Do nothing: looking costs too little to begin ahead."""

    async def inspect(
        self,
        uploads: Sequence[Upload],
        now: datetime,  # noqa: ARG002 - the port's, as what follows
        patience: timedelta,  # noqa: ARG002
        prepared: Preparation | None = None,  # noqa: ARG002
    ) -> Inspection:
        """Look at the keys of `uploads`; memory is never slow."""
        stored = {upload.key: self._objects.get(upload.key) for upload in uploads}
        return Inspection({key: None if object_ is None else object_.info.found for key, object_ in stored.items()})

    async def list_page(
        self,
        request: PageRequest,
        now: datetime,  # noqa: ARG002 - the port's, as what follows
        patience: timedelta,  # noqa: ARG002
    ) -> ListingPage:
        """List in the order of the keys; the token is the last key of the page before."""
        prefix, last = f"{request.folder}/", request.token
        keys = nsmallest(request.limit + 1, (key for key in self._objects if key.startswith(prefix) and key > last))
        page = keys[: request.limit]
        listed = [ListedObject(key, self._objects[key].info.found) for key in page]
        return ListingPage(listed, page[-1] if len(keys) > len(page) else None)

    async def begin(self, uploads: Sequence[Upload], now: datetime) -> Sequence[UploadId]:
        """Begin an upload for each; this can't fail."""
        begun = {new_upload_id(): BegunUpload.of(upload, now, all_private=self._all_private) for upload in uploads}
        self._uploads.update({upload_id: _MemoryUpload(upload) for upload_id, upload in begun.items()})
        return list(begun)

    async def receive_part(self, key: ObjectKey, upload_id: UploadId, number: int) -> IncomingPart | None:
        """Begin to take a part; None if there is no such upload at this key."""
        upload = self._pending(key, upload_id)
        return None if upload is None else _IncomingMemoryPart(number, upload)

    async def progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:  # noqa: ARG002 - the port's
        """Tell what has arrived."""
        if self._is_complete(key, upload_id):
            return Progress({}, is_complete=True)
        upload = self._pending(key, upload_id)
        return None if upload is None else Progress(dict(upload.parts))

    async def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool = True
    ) -> None:
        """Make the object, and give others their turn meanwhile. Raises as the port says, but never `Unavailable`."""
        key, upload_id = upload.upload.key, upload.upload_id
        pending = self._pending(key, upload_id)
        if self._is_complete(key, upload_id):
            return
        if pending is None:
            raise PartsChanged("the upload has ended")
        incoming = _IncomingMemoryObject(key, self._objects)
        for content in pending.contents(parts):
            for start in range(0, len(content), _PIECE_BYTES):
                await incoming.write(content[start : start + _PIECE_BYTES])
                await asyncio.sleep(0)
        # From here on nobody else has a turn.
        if self._is_complete(key, upload_id):
            return
        pending.contents(parts)
        check_digests(upload.upload.file, *await incoming.digests())
        await incoming.commit(pending.begun.attributes(upload_id), now, overwrite=overwrite)
        self._end(upload_id)

    async def abort(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> None:  # noqa: ARG002 - the port's
        """Drop an upload and its parts; does nothing if there is none at this key."""
        if self._pending(key, upload_id) is not None:
            self._end(upload_id)

    async def pending(self, now: datetime) -> AsyncIterator[PendingUpload]:  # noqa: ARG002 - the port's
        """Give all uploads that are pending."""
        for upload_id, upload in list(self._uploads.items()):
            yield PendingUpload(upload.begun.key, upload_id, upload.begun.begun)

    def _pending(self, key: ObjectKey, upload_id: UploadId) -> "_MemoryUpload | None":
        upload = self._uploads.get(upload_id)
        return upload if upload is not None and upload.begun.key == key else None

    def _is_complete(self, key: ObjectKey, upload_id: UploadId) -> bool:
        stored = self._objects.get(key)
        return stored is not None and became(upload_id, stored.info)

    def _end(self, upload_id: UploadId) -> None:
        self._uploads.pop(upload_id).has_ended = True


@define
class _MemoryUpload:
    """An upload whose parts are arriving."""

    begun: BegunUpload
    parts: dict[int, ArrivedPart] = field(factory=dict)
    bytes_of: dict[int, bytearray] = field(factory=dict)
    has_ended: bool = False

    def contents(self, wanted: Sequence[ArrivedPart]) -> Sequence[bytearray]:
        """Give the bytes of these parts. Raises `PartsChanged` if they are no longer all there."""
        if self.has_ended:
            raise PartsChanged("the upload has ended")
        require_parts(wanted, self.parts)
        return [self.bytes_of[part.number] for part in wanted]


class _StoredMemoryObject(StoredObject):
    def __init__(self, info: ObjectInfo, content: bytearray) -> None:
        self._info = info
        self._content = content

    @property
    def info(self) -> ObjectInfo:
        return self._info

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        end = min(end, len(self._content))
        for offset in range(start, end, _PIECE_BYTES):
            yield bytes(self._content[offset : min(offset + _PIECE_BYTES, end)])

    async def close(self) -> None:
        pass


class _Arriving:
    """Bytes that arrive, and their digests."""

    def __init__(self) -> None:
        self._content: bytearray | None = bytearray()
        self._received = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    @property
    def received(self) -> int:
        return self._received

    async def write(self, chunk: bytes | bytearray) -> None:
        self._open().extend(chunk)
        self._received += len(chunk)
        self._md5.update(chunk)
        self._sha256.update(chunk)

    async def digests(self) -> tuple[Md5, Sha256]:
        return Md5.of(self._md5.digest()), Sha256.of(self._sha256.digest())

    async def discard(self) -> None:
        self._content = None

    def _end(self) -> bytearray:
        content, self._content = self._open(), None
        return content

    def _open(self) -> bytearray:
        if self._content is None:
            raise StorageFailed("can't go on with an upload that has ended")
        return self._content


class _IncomingMemoryObject(_Arriving, IncomingObject):
    def __init__(self, key: ObjectKey, objects: dict[ObjectKey, _StoredMemoryObject]) -> None:
        super().__init__()
        self._key = key
        self._objects = objects

    async def commit(self, attributes: ObjectAttributes, now: datetime, *, overwrite: bool = True) -> ObjectInfo:
        content = self._end()
        md5, sha256 = await self.digests()
        if not overwrite and self._key in self._objects:
            raise ObjectExists("there is an object at this key already")
        info = ObjectInfo(
            key=self._key,
            length=len(content),
            md5=md5,
            sha256=sha256,
            media_type=attributes.media_type,
            access=attributes.access,
            modified=now,
            headers=dict(attributes.headers),
        )
        self._objects[self._key] = _StoredMemoryObject(info, content)
        return info


class _IncomingMemoryPart(_Arriving, IncomingPart):
    def __init__(self, number: int, upload: _MemoryUpload) -> None:
        super().__init__()
        self._number = number
        self._upload = upload

    async def commit(self) -> ArrivedPart:
        content = self._end()
        if self._upload.has_ended:
            raise PartsChanged("the upload has ended")
        md5, _ = await self.digests()
        part = arrived_part(self._number, len(content), md5)
        self._upload.parts[self._number] = part
        self._upload.bytes_of[self._number] = content
        return part
