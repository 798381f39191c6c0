"""Shelf, a small HTTP file server, as a store of BitStore: `STORAGE_BACKEND=shelf`.

A URL of Shelf carries all that it allows as query parameters, and last an HMAC of the method and of all that stands
before it. So nothing that a client may change is left to headers.
"""

import asyncio
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from adapters.stores.addresses import BucketAddress
from adapters.stores.batch_inspector import BatchInspector, Found, expect, length_of, unavailable
from application.ports import SettingsReader, Store
from domain.files import Md5
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import (
    Capabilities,
    Guarantee,
    PutRequest,
    SignedDownload,
    SignedUpload,
    Upload,
    UploadMethod,
    UploadTerms,
)

_ENFORCED = {Guarantee.KEY, Guarantee.LENGTH, Guarantee.TYPE, Guarantee.EXPIRY, Guarantee.MD5, Guarantee.NO_OVERWRITE}
_CAPABILITIES = Capabilities({UploadMethod.PUT: frozenset(_ENFORCED)}, max_request_bytes=1024**3)

_PATIENCE = 5.0
_PROBED_KEY = ObjectKey("bitstore-probe")
_SHELF_NAME = re.compile(r"[a-z0-9-]{3,63}")


@frozen
class ShelfSigning:
    """An `UploadSigner` and a `DownloadSigner` for one shelf."""

    address: BucketAddress
    secret: str = field(repr=False)

    @property
    def capabilities(self) -> Capabilities:
        """What Shelf checks of a signed PUT."""
        return _CAPABILITIES

    def sign_uploads(self, uploads: Iterable[Upload], terms: UploadTerms, now: datetime) -> Iterable[SignedUpload]:
        """Sign a batch, as the port says: `map` signs each upload when it is asked for."""
        expires_at = (now + terms.lifetime).replace(microsecond=0)

        def sign(upload: Upload) -> SignedUpload:
            file = upload.file
            allowed = {"length": str(file.length), "type": file.media_type}
            if file.md5 is not None:
                allowed["md5"] = file.md5
            if not terms.overwrite:
                allowed["create"] = "only"
            url = self.url_for("PUT", upload.key, expires_at, **allowed)
            headers = {"Content-Length": str(file.length), "Content-Type": file.media_type}
            return SignedUpload(upload, PutRequest(url, headers), url.partition("?")[0], expires_at)

        return map(sign, uploads)

    def sign_download(
        self, key: ObjectKey, lifetime: timedelta, now: datetime, filename: str | None = None
    ) -> SignedDownload:
        """Sign a GET, as the port says."""
        expires_at = (now + lifetime).replace(microsecond=0)
        allowed = {} if filename is None else {"filename": filename}
        return SignedDownload(self.url_for("GET", key, expires_at, **allowed), expires_at)

    def url_prefixes(self, key_prefix: str) -> Sequence[str]:
        """Give the one form that URLs of a shelf have."""
        return [f"{self.address.url}/{quote(key_prefix)}" if key_prefix else self.address.url]

    def key_of_url(self, url: str) -> ObjectKey | None:
        """Give the key that a URL of this shelf names."""
        return self.address.key_of(url)

    def url_for(self, method: str, key: ObjectKey, expires_at: datetime, **allowed: str) -> str:
        """Sign one URL. What is signed is what stands in the request's first line."""
        query = urlencode({"expires": str(int(expires_at.timestamp())), **allowed}, quote_via=quote)
        target = f"{quote(self.address.path_of(key))}?{query}"
        signature = hmac.digest(self.secret.encode(), f"{method} {target}".encode(), "sha256").hex()
        return f"{self.address.origin}{target}&signature={signature}"


@define
class ShelfInspector(BatchInspector):
    """An `ObjectInspector`, `Startable` and `Probe`. Of each key Shelf must be asked: it has no listings."""

    signing: ShelfSigning

    def _reader(self, http: aiohttp.ClientSession, now: datetime) -> "_Reader":
        return _Reader(http, self.signing, now + timedelta(minutes=1))

    async def check(self) -> None:
        """Ask for an object, which need not be there: Shelf tells only those who know the secret."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._started_reader(datetime.now(UTC)).at(_PROBED_KEY)
        except (aiohttp.ClientError, OSError) as error:  # of which TimeoutError is one
            raise unavailable(type(error).__name__) from error


@frozen
class _Reader:
    http: aiohttp.ClientSession
    signing: ShelfSigning
    expires_at: datetime

    async def page(self, prefix: str, token: str, limit: int) -> None:  # noqa: ARG002 - the protocol's
        return None

    async def at(self, key: ObjectKey) -> Found:
        url = URL(self.signing.url_for("HEAD", key, self.expires_at), encoded=True)
        async with self.http.head(url, allow_redirects=False) as answer:
            if answer.status == 404:
                return {key: None}
            expect(answer, 200)
            md5 = answer.headers.get("Content-MD5", "")
            length = length_of(answer.headers.get("Content-Length", ""))
            return {key: FoundObject(length, None if Md5.fault(md5) else Md5(md5))}


def make_store(settings: SettingsReader) -> Store | None:
    """Make the store that the settings describe; None when one of them is faulty, which has then been noted."""
    hostname = settings.required("STORAGE_HOSTNAME", "the URL of the Shelf, such as https://shelf.example")
    origin = settings.parsed("STORAGE_HOSTNAME", _origin, hostname)
    name = settings.required("STORAGE_BUCKET_NAME", "the shelf that files go on")
    shelf = settings.parsed("STORAGE_BUCKET_NAME", _shelf, name)
    secret = settings.required("STORAGE_SHELF_SECRET", "the secret that the Shelf checks signatures with", secret=True)
    if origin is None or shelf is None or not secret:
        return None
    signing = ShelfSigning(BucketAddress(origin, shelf), secret)
    inspector = ShelfInspector(signing)
    return Store(signing, signing, inspector, startables=[inspector], probes=[inspector])


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in text or parts.path.strip("/"):
        raise ValueError("not the http(s) URL of a host, and nothing else")
    return f"{parts.scheme}://{parts.netloc}"


def _shelf(text: str) -> str:
    if not _SHELF_NAME.fullmatch(text):
        raise ValueError("the name of a shelf is 3 to 63 small letters, digits and hyphens")
    return text
