"""Authorize uploads: declared files in, one signed request per file out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice

from attrs import evolve, frozen

from application.ports import Background, ObjectInspector, UploadSigner
from domain.batches import Batch, BatchRules
from domain.identity import Principal
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey, RelativePath
from domain.uploads import SignedUpload, Upload, UploadMethod, UploadTerms, UploadWishes

SIGNED_AHEAD = 2_000
"""How many files are signed while the store is still being asked what it has; the rest when their answer is made."""


@frozen
class UploadRequest:
    """What a client asks: files by relative path, as declared, of one dataset; and how it can send them."""

    metadata: Mapping[str, object]
    filedata: Mapping[str, object]
    wishes: UploadWishes


@frozen
class AuthorizedUploads:
    """The signed requests, in the order of the declarations, and which of the files are there already.

    `signed` can be iterated over once: each request is signed when it is asked for. `exists` is best effort: a path
    that it doesn't have could not be asked about in time.
    """

    signed: Iterable[SignedUpload]
    count: int
    exists: Mapping[RelativePath, bool]


@frozen
class AuthorizeUploads:
    """The use-case. `preferred_method` is the operator's choice, where a client leaves it open.

    With an `inspector` the store is asked which files it has, for as long as `patience`; signing never waits longer.
    """

    signer: UploadSigner
    rules: BatchRules
    lifetime: timedelta
    background: Background
    preferred_method: UploadMethod | None = None
    inspector: ObjectInspector | None = None
    patience: timedelta = timedelta(seconds=2)

    async def __call__(self, principal: Principal, request: UploadRequest, now: datetime) -> AuthorizedUploads:
        """Sign every declared file, in order, or none: all are validated before the first is signed.

        Raises what `Batch.open`, `Batch.decide`, `UploadWishes.choose_method` and `UploadSigner.sign_uploads` raise.
        """
        batch = Batch.open(principal, request.metadata, request.filedata, self.rules)
        if self.inspector is None:
            uploads, signed = await self._decide(batch, request.wishes, now)
            return AuthorizedUploads(signed, len(uploads), {})
        prepared = self.inspector.prepare(batch.pattern.folder, len(request.filedata), now)
        try:
            uploads, signed = await self._decide(batch, request.wishes, now)
            inspection, ahead = await self.background.while_waiting(
                self.inspector.inspect(uploads, now, self.patience, prepared),
                lambda: list(islice(signed, SIGNED_AHEAD)),
                files=min(len(uploads), SIGNED_AHEAD),
            )
        finally:
            if prepared is not None:
                prepared.drop()
        # A store that is slow or down doesn't stop signing, so its failure is not ours.
        return AuthorizedUploads(chain(ahead, signed), len(uploads), _existing(uploads, inspection.found))

    async def _decide(
        self, batch: Batch, wishes: UploadWishes, now: datetime
    ) -> tuple[Sequence[Upload], Iterator[SignedUpload]]:
        """Decide all uploads, and get ready to sign them."""
        uploads = await self.background(batch.decide, files=len(batch.filedata))
        wishes = evolve(wishes, require=wishes.require | self.rules.pattern.needs)
        method = wishes.choose_method(self.signer.capabilities, self.preferred_method)
        terms = UploadTerms(method, self.lifetime, wishes.overwrite)
        return uploads, iter(self.signer.sign_uploads(uploads, terms, now))


def _existing(uploads: Sequence[Upload], found: Mapping[ObjectKey, FoundObject | None]) -> Mapping[RelativePath, bool]:
    exists: dict[RelativePath, bool] = {}
    for upload in uploads:
        if upload.key in found:
            status = compare(upload.file, found[upload.key])
            if status is not Status.UNKNOWN:
                exists[upload.file.path] = status is Status.STORED
    return exists
