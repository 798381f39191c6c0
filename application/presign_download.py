"""Presign a download: the address of an object of ours in, a signed URL that gives its bytes out."""

from datetime import datetime, timedelta

from attrs import frozen

from application.ports import DownloadSigner
from domain.errors import AccessDenied, ErrorCode, InvalidInput
from domain.files import FileName
from domain.identity import Principal
from domain.keys import ObjectKey, Owner
from domain.patterns import KeyPattern
from domain.uploads import SignedDownload


@frozen
class DownloadRequest:
    """What a client asks: the object's address, whose it is, and optionally a file name and a lifetime."""

    url: str
    owner: Owner
    filename: FileName | None = None
    lifetime: timedelta | None = None


@frozen
class GrantedDownload:
    """The object that may be read, and the signed request that reads it."""

    key: ObjectKey
    signed: SignedDownload


@frozen
class PresignDownload:
    """The use-case. `lifetime` is how long a URL is valid, at most and by default."""

    signer: DownloadSigner
    pattern: KeyPattern
    lifetime: timedelta

    def __call__(self, principal: Principal, request: DownloadRequest, now: datetime) -> GrantedDownload:
        """Sign a GET of the object that `request` names. The URL is only read, never fetched.

        Raises `AccessDenied` (`not_owner`, `permission_missing`), `InvalidInput` (`invalid_url`, `invalid_expiry`),
        and `Unavailable`.
        """
        principal.require_upload_permission()
        principal.require_ownership(request.owner)
        key = self.key_at(request.url, request.owner)
        lifetime = self.lifetime_for(request.lifetime)
        return GrantedDownload(key, self.signer.sign_download(key, lifetime, now, request.filename))

    def key_at(self, url: str, owner: Owner) -> ObjectKey:
        """Give the key of the object at `url`. Raises `InvalidInput` (`invalid_url`), `AccessDenied` (`not_owner`)."""
        key = self.signer.key_of_url(url)
        if key is None:
            raise InvalidInput(ErrorCode.INVALID_URL, "the URL is not that of an object in this store", field="url")
        if not self.pattern.allows(owner, key):
            raise AccessDenied(ErrorCode.NOT_OWNER, "the object is not the owner's", field="url")
        return key

    def lifetime_for(self, asked: timedelta | None) -> timedelta:
        """Give how long a URL will be valid. Raises `InvalidInput` (`invalid_expiry`)."""
        lifetime = self.lifetime if asked is None else min(asked, self.lifetime)
        if lifetime < timedelta(seconds=1):
            raise InvalidInput(ErrorCode.INVALID_EXPIRY, "expires_in must be at least 1 second", field="expires_in")
        return lifetime
