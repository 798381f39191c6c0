"""Signing for Azure Blob Storage: declared uploads to Put Blob requests, keys to download URLs, each by a SAS.

What a SAS binds is the blob, what may be done with it, and until when. It binds no header: a client may send any
length and type, and leave out Content-MD5, which the service would otherwise check ("Put Blob" in the Azure Storage
REST API reference). So none of these is claimed to be enforced; whether what arrived is what was declared is seen
afterwards, when the blob is inspected.

Nor does it bind the block that a part was signed for. Put Block takes the permission `w` ("Create an account SAS", the
table of operations), by which the blob itself can be put as well: whoever holds the URL of a part may put any block, or
make or replace the blob, until the URL expires. So of files in parts only key and expiry are claimed, although it is
the service that completes them, and then replaces nothing that mustn't be replaced.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import evolve, field, frozen

from adapters.stores.addresses import BucketAddress, key_of_url, url_prefixes
from adapters.stores.azure_sas import (
    CREATE,
    CREATE_OR_REPLACE,
    READ,
    SigningKey,
    blob_template,
    terms_for,
)
from adapters.stores.content_disposition import attachment
from adapters.stores.sigv4 import uri_encode_path
from domain.errors import ErrorCode, InvalidInput
from domain.keys import ObjectKey
from domain.multipart import MIB, PartLimits
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

MAX_BLOB_BYTES = 5_000 * MIB
"""The longest blob of one Put Blob ("Scalability and performance targets for Blob storage")."""

PART_LIMITS = PartLimits(
    min_part_bytes=1, max_part_bytes=4_000 * MIB, max_parts=50_000, max_object_bytes=50_000 * 4_000 * MIB
)
"""What a blob's blocks may be (as above)."""

MAX_LIFETIME = timedelta(days=7)
"""What a user delegation key can live for; an account key knows no limit, but neither should a URL live for ever."""

CAPABILITIES = Capabilities(
    # Who may read is a property of the container, which no upload can change; so there is nothing to enforce.
    {
        UploadMethod.PUT: frozenset({Guarantee.KEY, Guarantee.EXPIRY, Guarantee.NO_OVERWRITE}),
        UploadMethod.MULTIPART: frozenset({Guarantee.KEY, Guarantee.EXPIRY}),
    },
    MAX_BLOB_BYTES,
    MAX_LIFETIME,
    PART_LIMITS,
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
            refuse_private(uploads)
        # Without `w` a blob that exists can't be replaced, whatever headers a client sends or leaves out.
        permissions = CREATE_OR_REPLACE if terms.overwrite else CREATE
        key = self.key()
        sas = terms_for(self.address.origin, key, permissions, terms.lifetime, now)
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
        sas = terms_for(self.address.origin, signing_key, READ, lifetime, now)
        if filename is not None:
            sas = evolve(sas, disposition=attachment(filename))
        query = blob_template(signing_key, self.address.bucket, sas).sign(key)
        return SignedDownload(f"{self.address.url}/{uri_encode_path(key)}?{query}", sas.expires_at)

    def url_prefixes(self, key_prefix: str) -> Sequence[str]:
        """Give the one form that a container's URLs have."""
        return url_prefixes([self.address], key_prefix)

    def key_of_url(self, url: str) -> ObjectKey | None:
        """Recognise the URLs of every address."""
        return key_of_url([self.address, *self.other_addresses], url)


def refuse_private(uploads: Iterable[Upload]) -> None:
    """Raise `InvalidInput` (`unsupported_by_store`) if one is private; for a container that everybody may read."""
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
