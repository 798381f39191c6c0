"""Ports at which only so many requests wait for the store, so that one that stalls keeps those out who don't need it.

A request that waits keeps its place among all that are worked on. When a store goes silent, each new one would wait as
long as it may, and soon all places would be taken. Those that are too many are told at once that nothing is known.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from application.ports import (
    Inspection,
    ListingPage,
    MultipartStore,
    ObjectInspector,
    ObjectLister,
    PageRequest,
    PendingUpload,
    Preparation,
    Progress,
    Store,
)
from domain.errors import ErrorCode, Unavailable
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import MultipartUpload, Upload
from entrypoints.limits import AtOnce

NEEDY_AT_ONCE: Final = 256
"""How many may wait that can't be answered without the store: half of those that are worked on at once."""

CURIOUS_AT_ONCE: Final = 128
"""How many may wait that can: a quarter; several times as many as there are connections to the store."""


def waiting_room(places: int) -> AtOnce:
    """Give places to wait in; whoever finds none free gets `Unavailable` (`overloaded`)."""
    return AtOnce(places, _overcrowded)


def _overcrowded() -> Unavailable:
    message = "too many requests are waiting for the object store; try again"
    return Unavailable(ErrorCode.OVERLOADED, message, retry_after=1)


def limited(store: Store) -> Store:
    """Give the same store, at which not all can wait at once."""
    room = waiting_room(NEEDY_AT_ONCE)
    return evolve(
        store,
        inspector=LimitedInspector(store.inspector, room),
        multipart=None if store.multipart is None else LimitedMultipart(store.multipart, room),
        lister=None if store.lister is None else LimitedLister(store.lister, room),
    )


@frozen
class LimitedInspector:
    """An `ObjectInspector` at which no more wait than have room."""

    inspector: ObjectInspector
    room: AtOnce

    def prepare(self, folder: str, files: int, now: datetime) -> Preparation | None:
        """Begin to ask, as the port says, if there is room to wait for the answer."""
        return self.inspector.prepare(folder, files, now) if self.room.free > 0 else None

    async def inspect(
        self, uploads: Sequence[Upload], now: datetime, patience: timedelta, prepared: Preparation | None = None
    ) -> Inspection:
        """Look at the keys of `uploads`, as the port says."""
        try:
            with self.room:
                return await self.inspector.inspect(uploads, now, patience, prepared)
        except Unavailable as error:
            return Inspection({}, error)


@frozen
class LimitedLister:
    """An `ObjectLister` at which no more wait than have room."""

    lister: ObjectLister
    room: AtOnce

    async def list_page(self, request: PageRequest, now: datetime, patience: timedelta) -> ListingPage:
        """Ask for one page, as the port says."""
        with self.room:
            return await self.lister.list_page(request, now, patience)


@frozen
class LimitedMultipart:
    """A `MultipartStore` at which no more wait than have room."""

    store: MultipartStore
    room: AtOnce

    async def begin(self, uploads: Sequence[Upload], now: datetime) -> Sequence[UploadId]:
        """Begin an upload for each, as the port says."""
        with self.room:
            return await self.store.begin(uploads, now)

    async def progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:
        """Tell what has arrived, as the port says."""
        with self.room:
            return await self.store.progress(key, upload_id, now)

    async def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool = True
    ) -> None:
        """Make the object, as the port says."""
        with self.room:
            await self.store.complete(upload, parts, now, overwrite=overwrite)

    async def abort(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> None:
        """Drop an upload, as the port says."""
        with self.room:
            await self.store.abort(key, upload_id, now)

    def pending(self, now: datetime) -> AsyncIterator[PendingUpload]:
        """Give all uploads that are pending, as the port says."""
        return self.store.pending(now)
