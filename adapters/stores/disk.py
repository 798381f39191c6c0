"""The disk store: objects as files, for an embedded store on one machine.

The directories are in `disk_tree`, the order of calls that makes an object durable in `disk_files`, the file format in
`disk_format`; all of that blocks, and here it meets the event loop. It runs in threads of the store's own. Cancelling
a task never stops a thread half way: what it does is finished, and what nobody waits for any longer is given back.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from adapters.stores.disk_files import IncomingFile, ObjectFile
from adapters.stores.disk_tree import Tree, file_name, translated
from application.ports import (
    IncomingObject,
    Inspection,
    ObjectAttributes,
    ObjectInfo,
    ObjectInspector,
    ObjectReader,
    ObjectWriter,
    Preparation,
    Probe,
    Startable,
    StorageError,
    StoredObject,
)
from domain.errors import ErrorCode, Unavailable
from domain.files import Md5, Sha256
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Upload

_T = TypeVar("_T")

_BLOCK_BYTES = 1 << 20
"""How much of an upload is gathered before a thread writes it."""
_PIECE_BYTES = 1 << 19
"""How much of a download is read at once."""
_THREADS = 32
"""More than there are processors, because most of them wait for the disk."""


class DiskObjects(ObjectWriter, ObjectReader, ObjectInspector, Startable, Probe):
    """Objects as files under `root`, which is made if it is missing. Files get mode 0600, directories 0700.

    Several processes may serve one root; the directories that they make there must belong to the user that they run
    as. Truncation, foreign files and damaged metadata are noticed when an object is opened; its bytes aren't hashed
    again.
    """

    def __init__(self, root: Path) -> None:
        self._tree = Tree(root)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="disk-store")

    async def start(self) -> None:
        """Make the directories, and remove the uploads whose process died.

        A disk that can't be used is logged, not raised: `check` tells, and every later call tries again.
        """
        with suppress(StorageError):
            await _finished(self._threads.submit(self._tree.sweep))

    async def stop(self) -> None:
        """Do nothing: only uploads and downloads hold files, and idle threads end with the store itself."""

    async def check(self) -> None:
        """Make an empty file and remove it. Raises `Unavailable` (`store_unavailable`)."""
        try:
            await _finished(self._threads.submit(self._tree.probe))
        except StorageError as error:
            raise Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the disk store {error}") from error

    async def receive(self, key: ObjectKey) -> IncomingObject:
        """Begin to take an object. Raises `StorageFull` or `StorageFailed`."""
        file = await self._take(lambda: IncomingFile.create(self._tree, key), IncomingFile.remove)
        return _IncomingDiskObject(file, self._threads)

    async def open(self, key: ObjectKey) -> StoredObject | None:
        """Open the object at exactly `key`, or give None. Raises `StorageFailed`, also when its file is damaged."""
        file = await self._take(lambda: ObjectFile.open(self._tree, key), _close)
        return None if file is None else _StoredDiskObject(file, self._threads)

    def prepare(self, folder: str, files: int, now: datetime) -> None:
        """Do nothing: looking costs too little to begin ahead."""

    async def inspect(
        self,
        uploads: Sequence[Upload],
        now: datetime,  # noqa: ARG002 - the port's, as what follows
        patience: timedelta,
        prepared: Preparation | None = None,  # noqa: ARG002
    ) -> Inspection:
        """Look at the keys of `uploads`: what the disk says is exact, at any time. A disk that hangs isn't awaited."""
        found: dict[ObjectKey, FoundObject | None] = {}
        seconds = patience.total_seconds()
        job = self._threads.submit(self._look_at, uploads, found, time.monotonic() + seconds)
        reason = "took too long"
        try:
            async with asyncio.timeout(seconds):
                if await _finished(job):
                    return Inspection(found)
        except TimeoutError:
            pass
        except StorageError as error:
            reason = str(error)
        # A copy, because a thread that hangs may yet go on.
        return Inspection(found.copy(), Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the disk store {reason}"))

    def _look_at(self, uploads: Sequence[Upload], found: dict[ObjectKey, FoundObject | None], deadline: float) -> bool:
        """Return whether all was looked at before the deadline."""
        in_place = sorted(uploads, key=lambda upload: file_name(upload.key))
        with translated("look for objects"), self._tree.lookup() as lookup:
            for upload in in_place:
                if time.monotonic() > deadline:
                    return False
                file = ObjectFile.open(lookup, upload.key)
                found[upload.key] = None if file is None else file.info.found
                _close(file)
        return True

    async def _take(self, make: Callable[[], _T], give_back: Callable[[_T], None]) -> _T:
        """Make something that holds a file; if we are cancelled meanwhile, the thread that made it gives it back."""
        job = self._threads.submit(make)
        try:
            return await _finished(job)
        except asyncio.CancelledError:
            job.add_done_callback(lambda done: None if done.exception() else give_back(done.result()))
            raise


def _close(file: ObjectFile | None) -> None:
    if file is not None:
        file.close()


async def _finished(job: Future[_T]) -> _T:
    """Wait for a thread's work. If we are cancelled, the work isn't: nothing may be left half done."""
    if job.done():
        return job.result()
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            loop.call_soon_threadsafe(done.set)

    job.add_done_callback(wake)
    await done.wait()
    return job.result()


class _IncomingDiskObject(IncomingObject):
    """An upload. Chunks are gathered into blocks; while a thread writes one block, the next is gathered."""

    def __init__(self, file: IncomingFile, threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._threads = threads
        self._received = 0
        self._gathered = bytearray()
        self._writing: Future[None] | None = None

    @property
    def received(self) -> int:
        return self._received

    async def write(self, chunk: bytes) -> None:
        self._received += len(chunk)
        self._gathered += chunk
        if len(self._gathered) >= _BLOCK_BYTES:
            await self._hand_over()

    async def digests(self) -> tuple[Md5, Sha256]:
        await self._flush()
        return self._file.digests()

    async def commit(self, attributes: ObjectAttributes, now: datetime, *, overwrite: bool = True) -> ObjectInfo:
        await self._flush()
        return await _finished(self._threads.submit(self._file.publish, attributes, now, overwrite=overwrite))

    async def discard(self) -> None:
        await _finished(self._threads.submit(self._file.remove))

    async def _hand_over(self) -> None:
        await self._written()
        block, self._gathered = self._gathered, bytearray()
        self._writing = self._threads.submit(self._file.append, block)

    async def _flush(self) -> None:
        if self._gathered:
            await self._hand_over()
        await self._written()

    async def _written(self) -> None:
        # A write that failed stays here, so that whatever is tried next fails as well.
        if self._writing is not None:
            await _finished(self._writing)


class _StoredDiskObject(StoredObject):
    """A download. While one piece is sent, a thread reads the next."""

    def __init__(self, file: ObjectFile, threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._threads = threads

    @property
    def info(self) -> ObjectInfo:
        return self._file.info

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        end = min(end, self.info.length)  # behind it the file has its metadata
        ahead = self._read_ahead(start, end)
        while ahead is not None:
            piece = await _finished(ahead)
            start += len(piece)
            ahead = self._read_ahead(start, end)
            yield piece

    async def close(self) -> None:
        await _finished(self._threads.submit(self._file.close))

    def _read_ahead(self, start: int, end: int) -> Future[bytes] | None:
        if start >= end:
            return None
        return self._threads.submit(self._file.read, start, min(end - start, _PIECE_BYTES))
