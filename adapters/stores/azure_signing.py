"""Signing for Azure Blob Storage: declared uploads to Put Blob requests, keys to download URLs, each by a SAS.

What a SAS binds is the blob, what may be done with it, and until when. It binds no header: a client may send any
length and type, and leave out Content-MD5, which the service would otherwise check ("Put Blob" in the Azure Storage
REST API reference). So none of these is claimed to be enforced; whether what arrived is what was declared is seen
afterwards, when the blob is inspected.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import field, frozen

from adapters.stores.addresses import BucketAddress, key_of_url, url_prefixes
from adapters.stores.azure_sas import (
    CREATE,
    CREATE_OR_REPLACE,
    READ,
    SasTerms,
    SigningKey,
    blob_template,
    expiry,
)
from adapters.stores.content_disposition import attachment
from adapters.stores.sigv4 import uri_encode_path
from domain.errors import ErrorCode, InvalidInput
from domain.keys import ObjectKey
from domain.uploads import (
    Access,
    Capabilities,
    Guarantee,
    PutRequest,
    SignedDownload,
    SignedUpload,
    Upload,
    UploadMethod,
    UploadTerms,
)

MAX_BLOB_BYTES = 5_000 * 1024**2
"""The longest blob of one Put Blob ("Scalability and performance targets for Blob storage")."""

MAX_LIFETIME = timedelta(days=7)
"""What a user delegation key can live for; an account key knows no limit, but neither should a URL live for ever."""

CAPABILITIES = Capabilities(
    # Who may read is a property of the container, which no upload can change; so there is nothing to enforce.
    {UploadMethod.PUT: frozenset({Guarantee.KEY, Guarantee.EXPIRY, Guarantee.NO_OVERWRITE})},
    MAX_BLOB_BYTES,
    MAX_LIFETIME,
)


@frozen
class AzureSigning:
    """An `UploadSigner` and a `DownloadSigner` for one container.

    `address` is the container as clients reach it: its `base_path` is the account where that is part of the path.
    `key` gives the key that is valid now, and `is_public` whether the container is known to be publicly readable;
    neither may block. `other_addresses` are further ones at which the container's URLs are recognised.
    """

    address: BucketAddress
    key: Callable[[], SigningKey] = field(repr=False)
    is_public: Callable[[], bool]
    other_addresses: Sequence[BucketAddress] = ()

    @property
    def capabilities(self) -> Capabilities:
        """What a SAS enforces."""
        return CAPABILITIES

    def sign_uploads(self, uploads: Iterable[Upload], terms: UploadTerms, now: datetime) -> Iterable[SignedUpload]:
        """Sign a batch, as the port says."""
        if self.is_public():
            uploads = list(uploads)
            _refuse_private(uploads)
        # Without `w` a blob that exists can't be replaced, whatever headers a client sends or leaves out.
        permissions = CREATE_OR_REPLACE if terms.overwrite else CREATE
        key = self.key()
        sas = self._terms(key, permissions, terms.lifetime, now)
        template, expires_at, url = blob_template(key, self.address.bucket, sas), sas.expires_at, self.address.url

        def signed(upload: Upload) -> SignedUpload:
            object_url = f"{url}/{uri_encode_path(upload.key)}"
            request = PutRequest(f"{object_url}?{template.sign(upload.key)}", _headers_of(upload, terms))
            return SignedUpload(upload, request, object_url, expires_at)

        return map(signed, uploads)

    def sign_download(
        self, key: ObjectKey, lifetime: timedelta, now: datetime, filename: str | None = None
    ) -> SignedDownload:
        """Sign a GET, as the port says."""
        signing_key = self.key()
        disposition = "" if filename is None else attachment(filename)
        sas = self._terms(signing_key, READ, lifetime, now, disposition)
        query = blob_template(signing_key, self.address.bucket, sas).sign(key)
        return SignedDownload(f"{self.address.url}/{uri_encode_path(key)}?{query}", sas.expires_at)

    def url_prefixes(self, key_prefix: str) -> Sequence[str]:
        """Give the one form that a container's URLs have."""
        return url_prefixes([self.address], key_prefix)

    def key_of_url(self, url: str) -> ObjectKey | None:
        """Recognise the URLs of every address."""
        return key_of_url([self.address, *self.other_addresses], url)

    def _terms(
        self, key: SigningKey, permissions: str, lifetime: timedelta, now: datetime, disposition: str = ""
    ) -> SasTerms:
        https_only = self.address.origin.startswith("https:")
        return SasTerms(permissions, expiry(key, lifetime, now), https_only, disposition)


def _refuse_private(uploads: Iterable[Upload]) -> None:
    if any(upload.access is Access.PRIVATE for upload in uploads):
        raise InvalidInput(
            ErrorCode.UNSUPPORTED_BY_STORE,
            "private files can't be kept in this store: everybody may read its container",
        )


def _headers_of(upload: Upload, terms: UploadTerms) -> Mapping[str, str]:
    file = upload.file
    headers: dict[str, str] = {
        "Content-Length": str(file.length),
        "Content-Type": file.media_type,
        "x-ms-blob-type": "BlockBlob",
    }
    if file.md5 is not None:
        headers["Content-MD5"] = file.md5
    if not terms.overwrite:
        headers["If-None-Match"] = "*"
    return headers
