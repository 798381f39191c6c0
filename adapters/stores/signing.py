"""Signing for everything that speaks S3: declared uploads to POST forms and PUT requests, keys to download URLs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import define, evolve, field, frozen

from adapters.stores.addresses import BucketAddress, key_of_url, url_prefixes
from adapters.stores.content_disposition import attachment
from adapters.stores.flavours import Flavour
from adapters.stores.s3_upload_ids import id_of_store
from adapters.stores.sigv4 import (
    Credentials,
    PostTemplate,
    Request,
    Signer,
    uri_encode_path,
)
from application.ports import SignedParts
from domain.keys import ObjectKey
from domain.uploads import (
    Access,
    Capabilities,
    Guarantee,
    MultipartUpload,
    PostForm,
    PutRequest,
    SignedDownload,
    SignedPart,
    SignedUpload,
    Upload,
    UploadMethod,
    UploadTerms,
)

PRIVATE_ACL = "private"
PUBLIC_ACL = "public-read"


@define
class _Latest:
    """The latest batch, and what it was made of."""

    batch: "_Forms | _Puts | None" = None
    common: tuple[object, ...] = ()


@frozen
class S3Signing:
    """An `UploadSigner`, a `PartSigner` and a `DownloadSigner` for a bucket that understands Signature Version 4.

    `credentials` gives those that are valid now, and `public_acl` the acl of public uploads, None where the bucket
    takes no ACLs; neither may block. `other_addresses` are further ones at which the bucket's URLs are recognised.
    """

    address: BucketAddress
    region: str
    flavour: Flavour
    credentials: Callable[[], Credentials] = field(repr=False)
    public_acl: Callable[[], str | None]
    other_addresses: Sequence[BucketAddress] = ()
    _with_acl: Capabilities = field(init=False, repr=False)
    _without_acl: Capabilities = field(init=False, repr=False)
    _latest: _Latest = field(factory=_Latest, init=False, repr=False, eq=False)

    @_with_acl.default
    def _capabilities_with_acl(self) -> Capabilities:
        return _capabilities(self.flavour)

    @_without_acl.default
    def _capabilities_without_acl(self) -> Capabilities:
        return _capabilities(self.flavour, unsigned=Guarantee.ACCESS)

    @property
    def capabilities(self) -> Capabilities:
        """What the flavour enforces; access only where an acl is signed."""
        return self._without_acl if self.public_acl() is None else self._with_acl

    def sign_uploads(self, uploads: Iterable[Upload], terms: UploadTerms, now: datetime) -> Iterable[SignedUpload]:
        """Sign a batch, as the port says."""
        return map(self._batch(terms, now).sign, uploads)

    def _batch(self, terms: UploadTerms, now: datetime) -> "_Forms | _Puts":
        """Give what batches of these terms have in common; those of one second have it from each other."""
        credentials = self.credentials()
        common = (credentials, self.public_acl(), terms, now.replace(microsecond=0))
        latest = self._latest
        if latest.batch is None or latest.common != common:
            kind = _Forms if terms.method is UploadMethod.POST else _Puts
            latest.batch = kind(self, Signer(credentials, self.region, now), terms)
            latest.common = common
        return latest.batch

    def sign_parts(
        self, upload: MultipartUpload, numbers: Iterable[int], lifetime: timedelta, now: datetime
    ) -> SignedParts:
        """Sign a PUT for each of these parts ("UploadPart"), as the port says."""
        signer = Signer(self.credentials(), self.region, now)
        origin, path = self.address.bucket_origin, self.address.path_of(upload.upload.key)
        seconds, declared = int(lifetime.total_seconds()), upload.upload.file.parts

        def signed(number: int) -> SignedPart:
            length = upload.plan.length_of(number)
            headers = {"Content-Length": str(length)}
            if declared is not None and declared.md5 is not None:
                headers["Content-MD5"] = declared.md5[number - 1]
            query = [("uploadId", id_of_store(upload.upload_id)), ("partNumber", str(number))]
            url = signer.presign_url(Request("PUT", origin, path, query, headers), seconds)
            return SignedPart(number, length, url, headers)

        return SignedParts(signer.expires_at(seconds), map(signed, numbers))

    def sign_download(
        self, key: ObjectKey, lifetime: timedelta, now: datetime, filename: str | None = None
    ) -> SignedDownload:
        """Sign a GET, as the port says."""
        signer = Signer(self.credentials(), self.region, now)
        query = [] if filename is None else [("response-content-disposition", attachment(filename))]
        request = Request("GET", self.address.bucket_origin, self.address.path_of(key), query)
        seconds = int(lifetime.total_seconds())
        return SignedDownload(signer.presign_url(request, seconds), signer.expires_at(seconds))

    def url_prefixes(self, key_prefix: str) -> Sequence[str]:
        """Give the prefixes in both addressing styles, that of `object_url` first."""
        return url_prefixes(self.address.forms(), key_prefix)

    def key_of_url(self, url: str) -> ObjectKey | None:
        """Recognise both addressing styles, of every address."""
        addresses = [self.address, *self.other_addresses]
        return key_of_url((form for address in addresses for form in address.forms()), url)

    def acl_for(self, access: Access) -> str | None:
        """Give the acl to sign; None where the bucket takes none."""
        public_acl = self.public_acl()
        return PRIVATE_ACL if public_acl is not None and access is Access.PRIVATE else public_acl


def _capabilities(flavour: Flavour, *, unsigned: Guarantee | None = None) -> Capabilities:
    methods = {method: enforced - {unsigned} for method, enforced in flavour.methods.items()}
    return evolve(flavour.capabilities, methods=methods)


_MAX_TEMPLATES = 256
"""How many templates are kept at most; files have a handful of types."""


class _Batch:
    """What the signed requests of a batch have in common."""

    def __init__(self, signing: S3Signing, signer: Signer, terms: UploadTerms) -> None:
        self._signing = signing
        self._signer = signer
        self._seconds = int(terms.lifetime.total_seconds())
        self._expires_at = signer.expires_at(self._seconds)
        self._url = signing.address.url
        self._url_prefix = f"{self._url}/"


class _Forms(_Batch):
    """The POST forms of a batch: one template for all files of one type."""

    def __init__(self, signing: S3Signing, signer: Signer, terms: UploadTerms) -> None:
        super().__init__(signing, signer, terms)
        self._takes_md5, self._takes_sha256 = signing.flavour.form_md5, signing.flavour.form_sha256
        self._templates: dict[tuple[Access, str], PostTemplate] = {}

    def sign(self, upload: Upload) -> SignedUpload:
        key, file = upload.key, upload.file
        kind = (upload.access, file.media_type)
        template = self._templates.get(kind) or self._template(kind)
        fields = template.sign(
            key,
            file.length,
            file.md5 if self._takes_md5 else None,
            file.sha256 if self._takes_sha256 else None,
        )
        form = PostForm(self._url, fields)
        return SignedUpload(upload, form, self._url_prefix + uri_encode_path(key), self._expires_at)

    def _template(self, kind: tuple[Access, str]) -> PostTemplate:
        access, media_type = kind
        acl = self._signing.acl_for(access)
        template = self._signer.post_template(
            self._signing.address.bucket,
            self._seconds,
            fixed={"Content-Type": media_type} if acl is None else {"acl": acl, "Content-Type": media_type},
            ascii_only=self._signing.flavour.ascii_policy,
        )
        if len(self._templates) >= _MAX_TEMPLATES:
            self._templates.clear()
        self._templates[kind] = template
        return template


class _Puts(_Batch):
    """The presigned PUT requests of a batch."""

    def __init__(self, signing: S3Signing, signer: Signer, terms: UploadTerms) -> None:
        super().__init__(signing, signer, terms)
        self._create_only = not terms.overwrite

    def sign(self, upload: Upload) -> SignedUpload:
        address = self._signing.address
        headers = self._headers_of(upload)
        request = Request("PUT", address.bucket_origin, address.path_of(upload.key), headers=headers)
        put = PutRequest(self._signer.presign_url(request, self._seconds), headers)
        return SignedUpload(upload, put, self._url_prefix + uri_encode_path(upload.key), self._expires_at)

    def _headers_of(self, upload: Upload) -> Mapping[str, str]:
        file, acl = upload.file, self._signing.acl_for(upload.access)
        headers: dict[str, str] = {"Content-Length": str(file.length), "Content-Type": file.media_type}
        if file.md5 is not None:
            headers["Content-MD5"] = file.md5
        if file.sha256 is not None and self._signing.flavour.put_sha256:
            headers["x-amz-checksum-sha256"] = file.sha256
        if acl is not None:
            headers["x-amz-acl"] = acl
        if self._create_only:
            headers["If-None-Match"] = "*"
        return headers
