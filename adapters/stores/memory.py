"""Objects in memory: for trying things out and for tests. They live as long as the process, and it alone sees them."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from application.ports import (
    IncomingObject,
    Inspection,
    ObjectAttributes,
    ObjectExists,
    ObjectInfo,
    ObjectInspector,
    ObjectReader,
    ObjectWriter,
    Preparation,
    Probe,
    Startable,
    StorageFailed,
    StoredObject,
)
from domain.files import Md5, Sha256
from domain.keys import ObjectKey
from domain.uploads import Upload

_PIECE_BYTES = 1 << 19


class MemoryObjects(ObjectWriter, ObjectReader, ObjectInspector, Startable, Probe):
    """Objects in this process. Use it from one event loop; with several workers each would have objects of its own."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, _StoredMemoryObject] = {}

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


class _IncomingMemoryObject(IncomingObject):
    def __init__(self, key: ObjectKey, objects: dict[ObjectKey, _StoredMemoryObject]) -> None:
        self._key = key
        self._objects = objects
        self._content: bytearray | None = bytearray()
        self._received = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    @property
    def received(self) -> int:
        return self._received

    async def write(self, chunk: bytes) -> None:
        self._open().extend(chunk)
        self._received += len(chunk)
        self._md5.update(chunk)
        self._sha256.update(chunk)

    async def digests(self) -> tuple[Md5, Sha256]:
        return Md5.of(self._md5.digest()), Sha256.of(self._sha256.digest())

    async def commit(self, attributes: ObjectAttributes, now: datetime, *, overwrite: bool = True) -> ObjectInfo:
        content, self._content = self._open(), None
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

    async def discard(self) -> None:
        self._content = None

    def _open(self) -> bytearray:
        if self._content is None:
            raise StorageFailed("can't go on with an upload that has ended")
        return self._content
