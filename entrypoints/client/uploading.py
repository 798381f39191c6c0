"""One file on its way to the store, by whatever requests the service signs for it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from time import monotonic

from attrs import define, frozen

from domain.inspection import Status
from domain.uploads import PostForm, PutRequest, UploadMethod
from entrypoints.client.answers import PartsPage, SignedFile
from entrypoints.client.batches import declarations
from entrypoints.client.cache import Cache
from entrypoints.client.destination import Destination
from entrypoints.client.errors import (
    ClientError,
    FileTrouble,
    NotUnderstood,
    ServiceRefused,
    StoreRefused,
    TooLate,
    Unreachable,
)
from entrypoints.client.hashing import HashedFile, Moved
from entrypoints.client.parts import PartsSender, has_md5
from entrypoints.client.sending import Sender
from entrypoints.client.service import PartsUpload, Service

# How often a file is authorized anew, because its requests came too late or its upload is gone.
_RENEWALS = 2
_NOT_ALLOWED = frozenset({401, 403})


@frozen
class Sent:
    """How a file was sent; and whether each request had a Content-MD5, by which the store checks the bytes."""

    method: UploadMethod
    carried_md5: bool


@define
class Uploader:
    """Sends files of one dataset; `workers` send the parts of those that come in parts."""

    service: Service
    destination: Destination
    sender: Sender
    cache: Cache
    overwrite: bool
    workers: Executor

    def sign(self, files: Sequence[HashedFile]) -> Mapping[str, SignedFile]:
        """Have requests signed for files, by path; uploads in parts that this begins are remembered."""
        signed = self.service.authorize(self.destination.metadata, declarations(files), overwrite=self.overwrite)
        begun = [(file, signed[file.path].request) for file in files]
        self.cache.keep_uploads(
            [
                (self.destination.place(file), self.destination.identity(file), page.upload_id)
                for file, page in begun
                if isinstance(page, PartsPage)
            ]
        )
        return signed

    def pending(self, file: HashedFile) -> str | None:
        """Give the id of an upload in parts of exactly this file, if one is under way."""
        if file.digests.parts is None:
            return None
        known = self.cache.upload(self.destination.place(file))
        if known is None:
            return None
        of_file, upload_id = known
        if of_file == self.destination.identity(file):
            return upload_id
        self._drop(file, self._upload(file, upload_id))  # the file has changed since
        return None

    def send(self, file: HashedFile, signed: SignedFile | None, moved: Moved) -> Sent | None:
        """Send a file, by signed requests or else by its pending upload, and say how; None if it was there already.

        Raises `ClientError`: `FileTrouble` and `StoreRefused` are this file's alone.
        """
        for left in reversed(range(_RENEWALS + 1)):
            if signed is None and self.pending(file) is None:
                signed = self.sign([file])[file.path]
            progress = _Progress(moved)
            try:
                return self._send(file, signed, progress)
            except (StoreRefused, ServiceRefused, TooLate) as error:
                if not left or not _is_mended_by_renewal(error):
                    raise
                progress.take_back()
                signed = None
        raise AssertionError

    def _send(self, file: HashedFile, signed: SignedFile | None, moved: Moved) -> Sent | None:
        if signed is None:
            return self._send_parts(file, self.pending(file) or "", None, moved)
        if isinstance(signed.request, PartsPage):
            return self._send_parts(file, signed.request.upload_id, signed.request, moved)
        if signed.request is None or signed.exists:
            return None
        request = signed.request
        attempt = partial(self._attempt, request, signed.fresh_until, file, moved)
        self.service.retries.run(attempt, self.service.connections.stop)
        if isinstance(request, PutRequest):
            return Sent(UploadMethod.PUT, has_md5(request.headers))
        return Sent(UploadMethod.POST, carried_md5=False)  # stores may ignore a field that they don't know

    def _attempt(self, request: PostForm | PutRequest, fresh_until: float, file: HashedFile, moved: Moved) -> None:
        if monotonic() > fresh_until:
            raise TooLate
        self.sender.send(request, file.local, moved)

    def _send_parts(self, file: HashedFile, upload_id: str, page: PartsPage | None, moved: Moved) -> Sent:
        upload = self._upload(file, upload_id)
        sender = PartsSender(upload, file.local, self.sender, self.service.retries, self.workers, moved)
        try:
            verdict = sender.run(page)
        except ServiceRefused as refused:
            if refused.status not in _NOT_ALLOWED:
                self._drop(file, upload)  # begun anew, it may do better
            raise
        except FileTrouble:
            self._drop(file, upload)
            raise
        self.cache.forget_upload(self.destination.place(file))
        if verdict.status == Status.DIFFERENT:
            raise FileTrouble("its parts don't make the bytes that were hashed; run again to send it as it is now")
        return Sent(UploadMethod.MULTIPART, sender.carried_md5)

    def _drop(self, file: HashedFile, upload: PartsUpload) -> None:
        with suppress(ServiceRefused, NotUnderstood, Unreachable):  # what stays is for the operator's sweep
            upload.abort()
        self.cache.forget_upload(self.destination.place(file))

    def _upload(self, file: HashedFile, upload_id: str) -> PartsUpload:
        return self.service.upload(
            self.destination.metadata, file.path, file.declaration, upload_id, overwrite=self.overwrite
        )


def _is_mended_by_renewal(error: ClientError) -> bool:
    match error:
        case StoreRefused():
            return error.status in _NOT_ALLOWED  # a store says so of what has expired
        case ServiceRefused():
            return error.code == "upload_not_found"
        case _:
            return isinstance(error, TooLate)


class _Progress:
    """Counts what a file has moved, so that it can be taken back; called from several threads."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        self._moved = moved
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, count: int) -> None:
        with self._lock:
            self._count += count
        self._moved(count)

    def take_back(self) -> None:
        """Everything goes again."""
        self(-self._count)
