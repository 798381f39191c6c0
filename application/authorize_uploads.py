"""Authorize uploads: declared files in, one signed request per file out."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from application.ports import UploadSigner
from domain.batches import BatchRules, plan_uploads
from domain.identity import Principal
from domain.uploads import SignedUpload, UploadMethod, UploadTerms, UploadWishes


@frozen
class UploadRequest:
    """What a client asks: files by relative path, as declared, of one dataset; and how it can send them."""

    metadata: Mapping[str, object]
    filedata: Mapping[str, object]
    wishes: UploadWishes


@frozen
class AuthorizeUploads:
    """The use-case. `preferred_method` is the operator's choice, where a client leaves it open."""

    signer: UploadSigner
    rules: BatchRules
    lifetime: timedelta
    preferred_method: UploadMethod | None = None

    def __call__(self, principal: Principal, request: UploadRequest, now: datetime) -> Sequence[SignedUpload]:
        """Sign every declared file, in order, or none.

        Raises what `plan_uploads`, `UploadWishes.choose_method` and `UploadSigner.sign_uploads` raise.
        """
        uploads = plan_uploads(principal, request.metadata, request.filedata, self.rules)
        method = request.wishes.choose_method(self.signer.capabilities, self.preferred_method)
        return self.signer.sign_uploads(uploads, UploadTerms(method, self.lifetime, request.wishes.overwrite), now)
