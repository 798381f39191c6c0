"""The disk store: objects as files, for an embedded store on one machine.

The directories are in `disk_tree`, the order of calls that makes an object durable in `disk_incoming`, the file format
in `disk_format`; all of that blocks, and runs in threads of the store's own, but for looking for objects while the disk
answers from memory. Files in parts are in `disk_multipart`.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Generator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

from adapters.stores.disk_files import ObjectFile, look_for
from adapters.stores.disk_incoming import IncomingFile
from adapters.stores.disk_listing import FolderListing
from adapters.stores.disk_multipart import DiskMultipart
from adapters.stores.disk_threads import Arriving, as_unavailable, finished, taken
from adapters.stores.disk_tree import Tree
from adapters.stores.disk_walk import path_of_folder, path_to
from application.ports import (
    IncomingObject,
    Inspection,
    ListingPage,
    ObjectAttributes,
    ObjectInfo,
    ObjectInspector,
    ObjectLister,
    ObjectReader,
    ObjectRemover,
    ObjectWriter,
    PageRequest,
    Preparation,
    Probe,
    Startable,
    StorageError,
    StoredObject,
)
from domain.errors import ErrorCode, Unavailable
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Upload

_PIECE_BYTES = 1 << 19
"""How much of a download is read at once."""
_THREADS = 32
"""More than there are processors, because most of them wait for the disk."""
_TURN_SECONDS = 0.001
"""How long objects are looked for before other tasks get their turn."""
_SLOW_SECONDS = 0.01
"""A step of looking that takes longer had to wait for the medium: memory answers in millionths of a second."""
_WARY_SECONDS = 1.0
"""How long the event loop isn't risked again after two slow steps that were less than twice as far apart.

One alone may only mean that another process had the processor.
"""


class _NothingThere:
    """What a glance at a folder told that isn't there."""

    nothing_there = True

    def drop(self) -> None:
        """Do nothing: the glance is over."""


_NOTHING_THERE = _NothingThere()


class DiskObjects(
    DiskMultipart, ObjectWriter, ObjectReader, ObjectInspector, ObjectLister, ObjectRemover, Startable, Probe
):
    """Objects as files under `root`, which is made if it is missing. Files get mode 0600, directories 0700.

    Several processes may serve one root; the directories that they make there must belong to the user that they run
    as. Truncation, foreign files and damaged metadata are noticed when an object is opened; its bytes aren't hashed
    again. `all_private` is for files in parts: see `DiskMultipart`.
    """

    def __init__(self, root: Path, *, all_private: bool = False) -> None:
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="disk-store")
        super().__init__(Tree(root), threads, all_private=all_private)
        self._slow_at = -math.inf
        self._wary_until = -math.inf

    async def start(self) -> None:
        """Make the directories, and remove the uploads whose process died.

        A disk that can't be used is logged, not raised: `check` tells, and every later call tries again.
        """
        self._stopping.clear()
        with suppress(StorageError):
            await finished(self._threads.submit(self._tree.sweep))

    async def stop(self) -> None:
        """Give up the objects that are being made of parts, which stay.

        All else is short, only uploads and downloads hold files, and idle threads end with the store itself.
        """
        self._stopping.set()

    async def check(self) -> None:
        """Make an empty file and remove it. Raises `Unavailable` (`store_unavailable`)."""
        with as_unavailable():
            await finished(self._threads.submit(self._tree.probe))

    async def receive(self, key: ObjectKey) -> IncomingObject:
        """Begin to take an object. Raises `StorageFull` or `StorageFailed`."""
        file = await taken(self._threads, lambda: IncomingFile.create(self._tree), IncomingFile.remove)
        return _IncomingDiskObject(key, file, self._threads)

    async def open(self, key: ObjectKey) -> StoredObject | None:
        """Open the object at exactly `key`, or give None. Raises `StorageFailed`, also when its file is damaged."""
        file = await taken(self._threads, lambda: ObjectFile.open(self._tree, key), _close)
        return None if file is None else _StoredDiskObject(file, self._threads)

    async def remove(self, key: ObjectKey, now: datetime) -> None:  # noqa: ARG002 - the port's
        """Remove the object's file, durably; its directories stay. Raises `Unavailable` (`store_unavailable`)."""
        with as_unavailable():
            await finished(self._threads.submit(self._tree.remove, key))

    def prepare(self, folder: str, files: int, now: datetime) -> Preparation | None:  # noqa: ARG002 - the port's
        """Glance at the folder: before a dataset's first files there is none, which tells of all."""
        if folder and self._is_missing(path_of_folder(folder.removesuffix("/"))):
            return _NOTHING_THERE
        return None

    async def inspect(
        self,
        uploads: Sequence[Upload],
        now: datetime,  # noqa: ARG002 - the port's
        patience: timedelta,
        prepared: Preparation | None = None,  # noqa: ARG002 - after a glance that told something nobody asks
    ) -> Inspection:
        """Look at the keys of `uploads`: what the disk says is exact, at any time.

        A local disk answers from memory in millionths of a second, which is less than it takes to wake a thread: so
        the event loop looks itself, and gives others their turn between the steps. When a step had to wait for the
        medium, a thread does the rest, and isn't awaited longer than `patience`; when this happens again soon, threads
        do all for a second. So a disk that is slow holds others up for one step, once a second. A file system that
        hangs, as a network mount can without its server, holds up the process for as long as the call that meets this
        first: have the root on a local disk, or mounted so that calls fail after a short while.
        """
        found: dict[ObjectKey, FoundObject | None] = {}
        reason = "took too long"
        try:
            if len(uploads) == 1 and self._is_missing(path_to(uploads[0].key)):
                return Inspection({uploads[0].key: None})
            deadline = time.perf_counter() + patience.total_seconds()
            steps = look_for(self._tree, uploads, found)
            if await self._look_here(steps, deadline) or await self._look_elsewhere(steps, deadline):
                return Inspection(found)
        except StorageError as error:
            reason = str(error)
        # A copy, because a thread that hangs may yet go on.
        return Inspection(found.copy(), Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the disk store {reason}"))

    async def list_page(
        self,
        request: PageRequest,
        now: datetime,  # noqa: ARG002 - the port's
        patience: timedelta,
    ) -> ListingPage:
        """List, as the port says, where `inspect` would look: here while the disk is fast, else in a thread.

        A file that is damaged is a failure here as well: that an object is missing is never said without reason.
        """
        listing = FolderListing(self._tree, request)
        deadline = time.perf_counter() + patience.total_seconds()
        reason = "took too long"
        try:
            steps = listing.steps()
            if await self._look_here(steps, deadline) or await self._look_elsewhere(steps, deadline):
                return listing.page()
        except StorageError as error:
            reason = str(error)
        raise Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the disk store {reason}")

    def _is_missing(self, path: str) -> bool:
        """Glance at one path, which may tell already that there is nothing."""
        began = time.perf_counter()
        if began < self._wary_until:
            return False
        missing = self._tree.is_missing(path)
        self._beware(began, time.perf_counter())
        return missing

    async def _look_here(self, steps: Generator[None, None, None], deadline: float) -> bool:
        """Take steps while the disk is fast and there is time; return whether these were all."""
        now = turn = time.perf_counter()
        if now < self._wary_until:
            return False
        try:
            for _ in steps:
                began, now = now, time.perf_counter()
                if now - began > _SLOW_SECONDS or now > deadline:
                    self._beware(began, now)
                    return False
                if now - turn > _TURN_SECONDS:
                    await asyncio.sleep(0)
                    now = turn = time.perf_counter()
        except BaseException:
            steps.close()
            raise
        self._beware(now, time.perf_counter())
        return True

    def _beware(self, began: float, now: float) -> None:
        """Remember a step that had to wait for the medium, and be wary if it isn't the first."""
        if now - began > _SLOW_SECONDS:
            if now - self._slow_at < 2 * _WARY_SECONDS:
                self._wary_until = now + _WARY_SECONDS
            self._slow_at = now

    async def _look_elsewhere(self, steps: Generator[None, None, None], deadline: float) -> bool:
        """Let a thread take the steps that are left; return whether it took all in time."""
        job = self._threads.submit(_take_all, steps, deadline)
        try:
            async with asyncio.timeout(deadline - time.perf_counter()):
                return await finished(job)
        except TimeoutError:
            return False


def _take_all(steps: Generator[None, None, None], deadline: float) -> bool:
    with closing(steps):
        while time.perf_counter() < deadline:
            if next(steps, True):  # a step gives None
                return True
    return False


def _close(file: ObjectFile | None) -> None:
    if file is not None:
        file.close()


class _IncomingDiskObject(Arriving, IncomingObject):
    """An upload of a whole object."""

    def __init__(self, key: ObjectKey, file: IncomingFile, threads: Executor) -> None:
        super().__init__(file, threads)
        self._key = key

    async def commit(self, attributes: ObjectAttributes, now: datetime, *, overwrite: bool = True) -> ObjectInfo:
        await self._flush()
        return await finished(self._threads.submit(self._file.publish, self._key, attributes, now, overwrite=overwrite))


class _StoredDiskObject(StoredObject):
    """A download. While one piece is sent, a thread reads the next."""

    def __init__(self, file: ObjectFile, threads: Executor) -> None:
        self._file = file
        self._threads = threads

    @property
    def info(self) -> ObjectInfo:
        return self._file.info

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        end = min(end, self.info.length)  # behind it the file has its metadata
        ahead = self._read_ahead(start, end)
        while ahead is not None:
            piece = await finished(ahead)
            start += len(piece)
            ahead = self._read_ahead(start, end)
            yield piece

    async def close(self) -> None:
        await finished(self._threads.submit(self._file.close))

    def _read_ahead(self, start: int, end: int) -> Future[bytes] | None:
        if start >= end:
            return None
        return self._threads.submit(self._file.read, start, min(end - start, _PIECE_BYTES))
