"""Uploads in parts that an authorization began: resumed, completed or aborted by whoever may.

Nothing is remembered between requests. What an upload is follows from the declaration, which each request repeats;
what has arrived of it, from the store.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from application.multipart import Multipart
from application.ports import (
    DigestMismatch,
    ObjectExists,
    ObjectInspector,
    PartsChanged,
    Progress,
)
from application.verify_uploads import Verdict
from domain.batches import Batch, BatchRules, Decision
from domain.errors import BitstoreError, ErrorCode, InvalidInput
from domain.identity import Principal
from domain.inspection import Status, compare
from domain.multipart import ArrivedPart, PartPlan, UploadId, unfit_parts
from domain.uploads import MultipartUpload, SignedMultipart, UploadMethod, UploadWishes
from domain.values import frozen_by_type

_NAMED = 10
"""How many parts a message names."""
_ATTEMPTS = 2
"""How often parts are put together, if they change while one looks."""


@frozen_by_type
class MultipartRequest:
    """What a client asks of an upload in parts: everything that it said of the file before, and the upload's id.

    `after` is the number of a part: those up to it are not asked for.
    """

    metadata: Mapping[str, object]
    path: str
    declaration: object
    upload_id: UploadId
    after: int = 0
    overwrite: bool = True


@frozen
class KnownUploads:
    """What the use-cases share: to find out which upload is meant, and that it is the principal's.

    `multipart` is None where the store takes no parts; `rules` are those for files that may come in parts.
    """

    multipart: Multipart | None
    rules: BatchRules

    def find(self, principal: Principal, request: MultipartRequest) -> tuple[Multipart, MultipartUpload]:
        """Decide the upload anew, and cut it as before.

        Raises what `Batch.open`, `Decision.uploads`, `UploadWishes.require_parts` and `PartPlan.of` raise.
        """
        batch = Batch.open(principal, request.metadata, {request.path: request.declaration}, self.rules)
        (upload,) = Decision(batch).uploads()
        if self.multipart is None:
            raise InvalidInput(ErrorCode.UNSUPPORTED_BY_STORE, "this store takes no files in parts")
        wishes = UploadWishes(frozenset({UploadMethod.MULTIPART}), request.overwrite, self.rules.pattern.needs)
        wishes.require_parts(self.multipart.signer.capabilities)
        plan = PartPlan.of(upload.file, self.multipart.limits)
        return self.multipart, MultipartUpload(upload, request.upload_id, plan)


@frozen_by_type
class Resumed:
    """How far an upload has come, and the next requests for what is missing.

    `arrived` are the parts that are as they must be; of a complete upload nothing is told any more.
    """

    arrived: Sequence[ArrivedPart]
    signed: SignedMultipart
    is_complete: bool


@frozen
class ResumeUpload:
    """The use-case: what has arrived, and fresh requests for what hasn't."""

    uploads: KnownUploads

    async def __call__(self, principal: Principal, request: MultipartRequest, now: datetime) -> Resumed:
        """Ask the store, and sign what is missing.

        Raises what `KnownUploads.find` raises, `InvalidInput` (`upload_not_found`) and `Unavailable`.
        """
        multipart, upload = self.uploads.find(principal, request)
        progress = await _progress(multipart, upload, now)
        if progress.is_complete:
            return Resumed((), await multipart.sign(upload, (), now), is_complete=True)
        unfit = unfit_parts(upload.plan, upload.upload.file, progress.arrived)
        wanted = [number for number in unfit if number > request.after]
        absent = set(unfit)
        arrived = [
            part
            for number, part in sorted(progress.arrived.items())
            if number <= upload.plan.count and number not in absent
        ]
        return Resumed(arrived, await multipart.sign(upload, wanted, now), is_complete=False)


@frozen
class CompleteUpload:
    """The use-case: the object is made of its parts, if all have arrived, and is as long as it must be.

    The store is asked what the object is for at most `patience`.
    """

    uploads: KnownUploads
    inspector: ObjectInspector
    patience: timedelta

    async def __call__(self, principal: Principal, request: MultipartRequest, now: datetime) -> Verdict:
        """Say what is at the key then, however often one asks.

        Raises what `KnownUploads.find` raises; `InvalidInput`: `upload_not_found`, `upload_incomplete`,
        `object_exists`, `digest_mismatch`; and `Unavailable`: then it is not known whether the object was made, and
        asking again tells.
        """
        multipart, upload = self.uploads.find(principal, request)
        await self._complete(multipart, upload, now, overwrite=request.overwrite)
        inspection = await self.inspector.inspect([upload.upload], now, self.patience)
        if inspection.failure is not None:
            raise inspection.failure
        found = inspection.found.get(upload.upload.key)
        if upload.upload.key not in inspection.found:
            return Verdict(Status.UNKNOWN)
        if found is None:
            raise _not_found()
        return Verdict(compare(upload.upload.file, found), found)

    async def _complete(self, multipart: Multipart, upload: MultipartUpload, now: datetime, *, overwrite: bool) -> None:
        for _ in range(_ATTEMPTS):
            progress = await _progress(multipart, upload, now)
            if progress.is_complete:
                return
            _refuse_incomplete(upload, progress)
            parts = [progress.arrived[number] for number in range(1, upload.plan.count + 1)]
            try:
                await multipart.store.complete(upload, parts, now, overwrite=overwrite)
            except PartsChanged:
                continue
            except ObjectExists as error:
                raise InvalidInput(
                    ErrorCode.OBJECT_EXISTS, "there is an object at this key already, and it was not to be replaced"
                ) from error
            except DigestMismatch as error:
                raise InvalidInput(
                    ErrorCode.DIGEST_MISMATCH,
                    "the parts that arrived don't make the bytes that were declared; send them again, or abort",
                ) from error
            return
        raise InvalidInput(ErrorCode.UPLOAD_INCOMPLETE, "parts were replaced while they were put together; ask again")


@frozen
class AbortUpload:
    """The use-case: an upload and its parts are dropped."""

    uploads: KnownUploads

    async def __call__(self, principal: Principal, request: MultipartRequest, now: datetime) -> None:
        """Do nothing where there is no such upload any more. Raises what `KnownUploads.find` raises, `Unavailable`."""
        multipart, upload = self.uploads.find(principal, request)
        await multipart.store.abort(upload.upload.key, upload.upload_id, now)


async def _progress(multipart: Multipart, upload: MultipartUpload, now: datetime) -> Progress:
    progress = await multipart.store.progress(upload.upload.key, upload.upload_id, now)
    if progress is None:
        raise _not_found()
    return progress


def _not_found() -> BitstoreError:
    return InvalidInput(
        ErrorCode.UPLOAD_NOT_FOUND, "there is no such upload of this file: it was aborted, or never begun"
    )


def _refuse_incomplete(upload: MultipartUpload, progress: Progress) -> None:
    unfit = unfit_parts(upload.plan, upload.upload.file, progress.arrived)
    if unfit:
        named = ", ".join(map(str, unfit[:_NAMED])) + (", …" if len(unfit) > _NAMED else "")
        raise InvalidInput(
            ErrorCode.UPLOAD_INCOMPLETE,
            f"{len(unfit)} of {upload.plan.count} parts haven't arrived as declared ({named}); resume the upload",
        )
