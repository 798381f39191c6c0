"""Google Cloud Storage: declared uploads to POST forms and signed PUT requests, keys to download URLs.

What it enforces, by its documentation:

- Of a form: everything that the policy document says, and it says the exact key, media type and acl, the length and
  the end ("Signatures", policy document; "Upload an object with HTML forms"). No field of a form has a digest.
- Of a signed URL: the method, the path, all parameters, and the headers that are signed; a request without one of
  them, or with another value, has another signature ("Canonical requests"). So what these headers ask for is done:
  `x-goog-content-length-range` ("HTTP headers and query string parameters for XML API"), `Content-MD5`,
  `Content-Type`, `x-goog-acl` and `x-goog-if-generation-match: 0`, which creates objects and replaces none ("PUT
  object"). A SHA-256 is never checked.

A bucket with uniform bucket-level access takes no ACLs, and refuses requests that have one: who may read its objects
is then decided by the bucket's policy alone, for public and private files alike.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from attrs import define, evolve, field, frozen

from adapters.stores.addresses import BucketAddress, key_of_url, url_prefixes
from adapters.stores.asking import Asking
from adapters.stores.content_disposition import attachment
from adapters.stores.gcs_account import ServiceAccount
from adapters.stores.gcs_api import BucketApi
from adapters.stores.gcs_inspector import GcsInspector
from adapters.stores.gcs_remover import GcsRemover
from adapters.stores.gcs_v4 import MAX_SIGNED_SECONDS, V4Signer
from adapters.stores.sigv4 import Request, uri_encode_path
from application.ports import SettingsReader, Store
from domain.errors import Unavailable
from domain.keys import ObjectKey
from domain.uploads import (
    Access,
    Capabilities,
    Guarantee,
    PostForm,
    PutRequest,
    SignedDownload,
    SignedUpload,
    Upload,
    UploadMethod,
    UploadTerms,
)

DEFAULT_HOSTNAME = "https://storage.googleapis.com"
MAX_REQUEST_BYTES = 5 * 1024**4
"""The longest object, in one request or not ("Quotas & limits")."""

AUTO_ACL, NO_ACL = "auto", "none"
PRIVATE_ACL, PUBLIC_ACL = "private", "public-read"
CANNED_ACLS = (
    PRIVATE_ACL,
    PUBLIC_ACL,
    "authenticated-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "project-private",
)
"""The predefined ACLs that an object can have ("Access control lists (ACLs)", names of the XML API)."""

_BOUND = frozenset({Guarantee.KEY, Guarantee.LENGTH, Guarantee.TYPE, Guarantee.EXPIRY, Guarantee.ACCESS})
CAPABILITIES = Capabilities(
    {UploadMethod.POST: _BOUND, UploadMethod.PUT: _BOUND | {Guarantee.MD5, Guarantee.NO_OVERWRITE}},
    MAX_REQUEST_BYTES,
    timedelta(seconds=MAX_SIGNED_SECONDS),
)
"""What Cloud Storage enforces where the bucket takes ACLs."""

# "Bucket naming": dots part components of at most 63 characters each.
_COMPONENT = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_BUCKET_NAME = re.compile(rf"(?=.{{3,222}}\Z){_COMPONENT}(?:\.{_COMPONENT})*")
_SETTLED = range(400, 500)
_PASSING = (401, 408, 429)

_log = logging.getLogger(__name__)


@frozen
class GcsSigning:
    """An `UploadSigner` and a `DownloadSigner` for the bucket at `address`, where clients reach it.

    `public_acl` gives the acl of public uploads, None where the bucket takes no ACLs; it may not block.
    `other_addresses` are further ones at which the bucket's URLs are recognised.
    """

    address: BucketAddress
    account: ServiceAccount
    public_acl: Callable[[], str | None]
    other_addresses: Sequence[BucketAddress] = ()

    @property
    def capabilities(self) -> Capabilities:
        """What Cloud Storage enforces; access only where an acl is signed."""
        unsigned = frozenset({Guarantee.ACCESS} if self.public_acl() is None else ())
        methods = {method: enforced - unsigned for method, enforced in CAPABILITIES.methods.items()}
        return evolve(CAPABILITIES, methods=methods)

    def sign_uploads(self, uploads: Iterable[Upload], terms: UploadTerms, now: datetime) -> Iterable[SignedUpload]:
        """Sign a batch, as the port says: most of a millisecond for each upload, when it is asked for."""
        signer, seconds = self._signer(now), int(terms.lifetime.total_seconds())
        expires_at, url = signer.expires_at(seconds), self.address.url
        request_for = self._form if terms.method is UploadMethod.POST else self._put
        return (
            SignedUpload(
                upload,
                request_for(upload, signer, terms, seconds),
                f"{url}/{uri_encode_path(upload.key)}",
                expires_at,
            )
            for upload in uploads
        )

    def sign_download(
        self, key: ObjectKey, lifetime: timedelta, now: datetime, filename: str | None = None
    ) -> SignedDownload:
        """Sign a GET, as the port says."""
        signer, seconds = self._signer(now), int(lifetime.total_seconds())
        query = [] if filename is None else [("response-content-disposition", attachment(filename))]
        request = Request("GET", self.address.bucket_origin, self.address.path_of(key), query)
        return SignedDownload(signer.signed_url(request, seconds), signer.expires_at(seconds))

    def url_prefixes(self, key_prefix: str) -> Sequence[str]:
        """Give the prefixes in both forms that a bucket's URL has ("Request endpoints"), that of `object_url` first."""
        return url_prefixes(self.address.forms(), key_prefix)

    def key_of_url(self, url: str) -> ObjectKey | None:
        """Recognise both forms, of every address."""
        addresses = [self.address, *self.other_addresses]
        return key_of_url((form for address in addresses for form in address.forms()), url)

    def _signer(self, now: datetime) -> V4Signer:
        return V4Signer(self.account.email, self.account.sign, now)

    def _acl_for(self, access: Access) -> str | None:
        public_acl = self.public_acl()
        return PRIVATE_ACL if public_acl is not None and access is Access.PRIVATE else public_acl

    def _form(self, upload: Upload, signer: V4Signer, _terms: UploadTerms, seconds: int) -> PostForm:
        file, acl = upload.file, self._acl_for(upload.access)
        fields: dict[str, str] = {"Content-Type": file.media_type}
        if acl is not None:
            fields["acl"] = acl
        form = signer.post_form(self.address.bucket, upload.key, (file.length, file.length), fields, seconds)
        return PostForm(self.address.url, form)

    def _put(self, upload: Upload, signer: V4Signer, terms: UploadTerms, seconds: int) -> PutRequest:
        file, acl = upload.file, self._acl_for(upload.access)
        headers: dict[str, str] = {
            "Content-Type": file.media_type,
            "x-goog-content-length-range": f"{file.length},{file.length}",
        }
        if file.md5 is not None:
            headers["Content-MD5"] = file.md5
        if acl is not None:
            headers["x-goog-acl"] = acl
        if not terms.overwrite:
            headers["x-goog-if-generation-match"] = "0"
        request = Request("PUT", self.address.bucket_origin, self.address.path_of(upload.key), headers=headers)
        # Not signed, because what stands between may leave it out: the range above binds the length.
        return PutRequest(signer.signed_url(request, seconds), {"Content-Length": str(file.length), **headers})


@define
class GcsBucket:
    """What has to be asked of the bucket itself: whether it is there, and whether it takes ACLs.

    `acl` is what the operator chose for public uploads: an acl, None, or `auto` as `auto_acl`.
    """

    api: BucketApi
    acl: str | None = None
    auto_acl: bool = False
    _asking: Asking = field(init=False, repr=False)

    @_asking.default
    def _asking_until_answered(self) -> Asking:
        return Asking(self._learn_acl)

    def public_acl(self) -> str | None:
        """Give the acl of public uploads.

        While the bucket has not said that it takes none, one is signed: an upload that is refused is better than a
        private file that a bucket's own default makes public.
        """
        return self.acl

    async def start(self) -> None:
        """Ask once whether the bucket takes ACLs, if that is left open; go on in the background if it can't tell."""
        if self.auto_acl:
            self.acl = PUBLIC_ACL
            await self._asking.start()

    async def stop(self) -> None:
        """Stop asking."""
        await self._asking.stop()

    async def check(self) -> None:
        """Raise `Unavailable` unless the bucket can be listed, which is also how files are looked for."""
        (await self.api.list_objects({"maxResults": "1", "fields": "nextPageToken"})).document()

    async def _learn_acl(self) -> bool:
        """Return whether the answer is final."""
        try:
            answer = await self.api.get_bucket("iamConfiguration")
            if answer.status in _SETTLED and answer.status not in _PASSING:
                _log.warning(
                    "the bucket won't say whether it takes ACLs (status %d; asking needs storage.buckets.get); "
                    "signing %r: set STORAGE_ACL to choose",
                    answer.status,
                    self.acl,
                )
                return True
            document = answer.document()
        except Unavailable as error:
            _log.warning("can't ask the bucket whether it takes ACLs (%s); signing %r", error.message, self.acl)
            return False
        self.acl = None if _refuses_public_acls(document.get("iamConfiguration")) else PUBLIC_ACL
        return True


def _refuses_public_acls(configuration: object) -> bool:
    """Read a bucket's `iamConfiguration` ("Buckets" in the JSON API reference).

    With uniform bucket-level access there are no ACLs, and with public access prevention no public ones.
    """
    if not isinstance(configuration, Mapping):
        return False
    uniform = configuration.get("uniformBucketLevelAccess")
    is_uniform = isinstance(uniform, Mapping) and uniform.get("enabled") is True
    return is_uniform or configuration.get("publicAccessPrevention") == "enforced"


def make_store(settings: SettingsReader) -> Store | None:
    """Read what Cloud Storage needs from the environment, and wire it; None when a fault was noted."""
    name = settings.required("STORAGE_BUCKET_NAME", "the bucket that files go to")
    bucket = settings.parsed("STORAGE_BUCKET_NAME", _bucket_name, name)
    origin = settings.parsed("STORAGE_HOSTNAME", _origin, settings.text("STORAGE_HOSTNAME", DEFAULT_HOSTNAME))
    public_url = settings.text("STORAGE_PUBLIC_URL", unset="as STORAGE_HOSTNAME")
    public_origin = settings.parsed("STORAGE_PUBLIC_URL", _origin, public_url) if public_url else origin
    acl = settings.choice("STORAGE_ACL", (AUTO_ACL, NO_ACL, *CANNED_ACLS), AUTO_ACL) or AUTO_ACL
    account = _account(settings)
    if bucket is None or origin is None or public_origin is None or account is None:
        return None
    internal, public = BucketAddress(origin, bucket), BucketAddress(public_origin, bucket)
    api = BucketApi(internal.origin, bucket, account)
    asked = GcsBucket(api, None if acl in (AUTO_ACL, NO_ACL) else acl, auto_acl=acl == AUTO_ACL)
    signing = GcsSigning(public, account, asked.public_acl, [internal])
    inspector, remover = GcsInspector(api), GcsRemover(internal, account)
    return Store(
        signing, signing, inspector, startables=[api, asked], probes=[asked], remover=remover, lister=inspector
    )


def _bucket_name(text: str) -> str:
    if _BUCKET_NAME.fullmatch(text):
        return text
    raise ValueError(f"{text!r} is not the name of a bucket in Cloud Storage")


def _account(settings: SettingsReader) -> ServiceAccount | None:
    for name in ("STORAGE_GCS_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"):
        text = settings.text(name, secret=True)  # which is what it is if it holds the key, and no path
        if text is not None:
            return settings.parsed(name, _read_account, text)
    settings.fault(
        "STORAGE_GCS_CREDENTIALS is missing: a service account's key file, or the JSON in it "
        "(GOOGLE_APPLICATION_CREDENTIALS will do too)"
    )
    return None


def _read_account(text: str) -> ServiceAccount:
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the file that it names can't be read ({type(error).__name__})") from error
    return ServiceAccount.parse(text)


def _origin(text: str) -> str:
    """Read the origin of an http(s) URL, or of a host; without a scheme it is https. Raises ValueError."""
    url = text if "://" in text else f"https://{text}"
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or not plain:
        raise ValueError("it must be a host, host:port or http(s) URL")
    if "@" in parts.netloc or parts.path.strip("/") or "?" in url or "#" in url:
        raise ValueError("it must be a host, host:port or http(s) URL with nothing before or behind")
    return f"{parts.scheme}://{parts.netloc}"
