"""Files in parts in the disk store: here what `disk_parts` and `disk_completion` do meets the event loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from threading import Event
from weakref import WeakValueDictionary

from adapters.stores import disk_parts
from adapters.stores.disk_completion import Workshop, look_at
from adapters.stores.disk_incoming import IncomingFile
from adapters.stores.disk_threads import Arriving, as_unavailable, finished, taken
from adapters.stores.disk_tree import Tree
from adapters.stores.served_uploads import BegunUpload, new_upload_id
from application.ports import IncomingPart, MultipartStore, PartWriter, PendingUpload, Progress
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import MultipartUpload, Upload

_OBJECTS_AT_ONCE = 4
"""Of how many uploads an object is made at the same time: each keeps a processor and the disk busy."""
_READ_AT_ONCE = 100
"""Of how many uploads the descriptions are read in one step."""


class DiskMultipart(MultipartStore, PartWriter):
    """That half of the disk store which takes files in parts.

    With `all_private` nobody may read without a signature what came in parts, whatever was declared.
    """

    def __init__(self, tree: Tree, threads: Executor, *, all_private: bool) -> None:
        self._tree = tree
        self._threads = threads
        self._all_private = all_private
        # Threads of their own: an object can take minutes, and all else would have to wait.
        self._makers = ThreadPoolExecutor(_OBJECTS_AT_ONCE, thread_name_prefix="disk-store-maker")
        self._stopping = Event()
        self._workshop = Workshop(tree, threads, self._stopping)
        self._turns = WeakValueDictionary[UploadId, asyncio.Lock]()

    async def begin(self, uploads: Sequence[Upload], now: datetime) -> Sequence[UploadId]:
        """Begin an upload for each, or none, durably. Raises `Unavailable`."""
        begun = {new_upload_id(): BegunUpload.of(upload, now, all_private=self._all_private) for upload in uploads}
        with as_unavailable():
            return await taken(
                self._threads, lambda: disk_parts.begin(self._tree, begun), partial(disk_parts.drop_all, self._tree)
            )

    async def receive_part(self, key: ObjectKey, upload_id: UploadId, number: int) -> IncomingPart | None:
        """Begin to take a part; None if there is no such upload at this key. Raises as the port says."""
        file = await taken(self._threads, lambda: disk_parts.take_part(self._tree, key, upload_id), _remove)
        return None if file is None else _IncomingDiskPart(self._tree, upload_id, number, file, self._threads)

    async def progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:  # noqa: ARG002 - the port's
        """Tell what has arrived. Raises `Unavailable`."""
        with as_unavailable():
            return await finished(self._threads.submit(look_at, self._tree, key, upload_id))

    async def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool = True
    ) -> None:
        """Make the object, also if we are cancelled meanwhile. Raises as the port says."""
        make = partial(self._workshop.complete, upload, parts, now, overwrite=overwrite)
        # However often it is asked for, one thread at a time makes an object.
        turn = self._turns.setdefault(upload.upload_id, asyncio.Lock())
        with as_unavailable():
            async with turn:
                await finished(self._makers.submit(make))

    async def abort(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> None:  # noqa: ARG002 - the port's
        """Drop an upload and its parts; does nothing if there is none at this key. Raises `Unavailable`."""
        with as_unavailable():
            await finished(self._threads.submit(disk_parts.drop, self._tree, upload_id, key))

    async def pending(self, now: datetime) -> AsyncIterator[PendingUpload]:  # noqa: ARG002 - the port's
        """Give all uploads that are pending. Raises `Unavailable`.

        Also those whose object is there, if a process died before it could remove their parts: to abort them is right.
        """
        with as_unavailable():
            upload_ids = await finished(self._threads.submit(disk_parts.list_pending, self._tree))
        for start in range(0, len(upload_ids), _READ_AT_ONCE):
            some = upload_ids[start : start + _READ_AT_ONCE]
            with as_unavailable():
                described = await finished(self._threads.submit(disk_parts.read_pending, self._tree, some))
            for upload in described:
                yield upload


def _remove(file: IncomingFile | None) -> None:
    if file is not None:
        file.remove()


class _IncomingDiskPart(Arriving, IncomingPart):
    """A part that arrives."""

    def __init__(self, tree: Tree, upload_id: UploadId, number: int, file: IncomingFile, threads: Executor) -> None:
        super().__init__(file, threads)
        self._tree = tree
        self._upload_id = upload_id
        self._number = number

    async def commit(self) -> ArrivedPart:
        await self._flush()
        keep = partial(disk_parts.keep_part, self._tree, self._upload_id, self._number, self._file)
        return await finished(self._threads.submit(keep))
