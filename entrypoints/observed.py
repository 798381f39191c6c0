"""Ports that count what goes through them, and are otherwise the ports that they stand for."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from attrs import evolve, frozen

from application.ports import (
    Inspection,
    MultipartStore,
    ObjectInspector,
    PendingUpload,
    Preparation,
    Progress,
    Store,
)
from domain.errors import Unavailable
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import MultipartUpload, Upload
from entrypoints.counters import Counters, PartsEvent, StoreOperation

_log = logging.getLogger(__name__)


def observed(store: Store, counters: Counters) -> Store:
    """Give the same store, counting what it is asked and whether it answers."""
    multipart = None if store.multipart is None else ObservedMultipart(store.multipart, counters)
    return evolve(store, inspector=ObservedInspector(store.inspector, counters), multipart=multipart)


@frozen
class ObservedInspector:
    """An `ObjectInspector` whose inspections are timed by `clock`, in seconds."""

    inspector: ObjectInspector
    counters: Counters
    clock: Callable[[], float] = time.perf_counter

    def prepare(self, folder: str, files: int, now: datetime) -> Preparation | None:
        """Begin to ask, as the port says."""
        start = self.clock()
        prepared = self.inspector.prepare(folder, files, now)
        if prepared is not None and prepared.nothing_there:
            self.counters.inspections.add(self.clock() - start)
        return prepared

    async def inspect(
        self, uploads: Sequence[Upload], now: datetime, patience: timedelta, prepared: Preparation | None = None
    ) -> Inspection:
        """Look at the keys of `uploads`, as the port says."""
        start = self.clock()
        inspection = await self.inspector.inspect(uploads, now, patience, prepared)
        self.counters.inspections.add(self.clock() - start)
        if inspection.failure is not None:
            self.counters.store_errors[StoreOperation.INSPECT] += 1
            _log.warning("%s", inspection.failure.message)
        return inspection


@frozen
class ObservedMultipart:
    """A `MultipartStore` whose uploads and failures are counted."""

    store: MultipartStore
    counters: Counters

    async def begin(self, uploads: Sequence[Upload], now: datetime) -> Sequence[UploadId]:
        """Begin an upload for each, as the port says."""
        with self._failures(StoreOperation.BEGIN_PARTS):
            ids = await self.store.begin(uploads, now)
        self.counters.parts[PartsEvent.BEGUN] += len(ids)
        return ids

    async def progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:
        """Tell what has arrived, as the port says."""
        with self._failures(StoreOperation.LIST_PARTS):
            return await self.store.progress(key, upload_id, now)

    async def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool = True
    ) -> None:
        """Make the object, as the port says."""
        with self._failures(StoreOperation.COMPLETE_PARTS):
            await self.store.complete(upload, parts, now, overwrite=overwrite)
        self.counters.parts[PartsEvent.COMPLETED] += 1

    async def abort(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> None:
        """Drop an upload, as the port says."""
        with self._failures(StoreOperation.ABORT_PARTS):
            await self.store.abort(key, upload_id, now)
        self.counters.parts[PartsEvent.ABORTED] += 1

    def pending(self, now: datetime) -> AsyncIterator[PendingUpload]:
        """Give all uploads that are pending, as the port says."""
        return self.store.pending(now)

    @contextmanager
    def _failures(self, operation: StoreOperation) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            self.counters.store_errors[operation] += 1
            _log.warning("%s", error.message)
            raise
