"""Authorize uploads: declared files in, one signed request per file out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from application.ports import Background, ObjectInspector, UploadSigner
from domain.batches import BatchRules, plan_uploads
from domain.identity import Principal
from domain.inspection import Status, compare
from domain.keys import RelativePath
from domain.uploads import SignedUpload, Upload, UploadMethod, UploadTerms, UploadWishes


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

        Raises what `plan_uploads`, `UploadWishes.choose_method` and `UploadSigner.sign_uploads` raise.
        """
        uploads = await self.background(
            lambda: plan_uploads(principal, request.metadata, request.filedata, self.rules), files=len(request.filedata)
        )
        method = request.wishes.choose_method(self.signer.capabilities, self.preferred_method)
        terms = UploadTerms(method, self.lifetime, request.wishes.overwrite)
        signed = self.signer.sign_uploads(uploads, terms, now)
        return AuthorizedUploads(signed, len(uploads), await self._existing(uploads, now))

    async def _existing(self, uploads: Sequence[Upload], now: datetime) -> Mapping[RelativePath, bool]:
        if self.inspector is None:
            return {}
        # A store that is slow or down doesn't stop signing, so its failure is not ours.
        found = (await self.inspector.inspect(uploads, now, self.patience)).found
        known = [upload for upload in uploads if upload.key in found]
        statuses = ((upload.file.path, compare(upload.file, found[upload.key])) for upload in known)
        return {path: status is Status.STORED for path, status in statuses if status is not Status.UNKNOWN}
