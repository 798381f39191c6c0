"""AWS Signature Version 4 for S3: its stages, and a signer that shares what a batch has in common.

The stages carry the names of the specification ("Signature Calculations for the Authorization Header", "Authenticating
Requests: Using Query Parameters" and "Authenticating Requests: Browser-Based Uploads Using POST" in the Amazon S3 API
reference), so that each can be looked at, and tested, alone:

    request -> canonical_request -> string_to_sign -> signature (under signing_key)

All text is Unicode; S3 sees its UTF-8. `path` is always the plain absolute path (`/bucket/key`), never yet
percent-encoded; S3 paths are encoded once and not normalised. Signatures made by others are judged in `sigv4_verify`.
"""

import hmac
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import compress
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlsplit

from attrs import evolve, field, frozen

from domain.errors import ErrorCode, Unavailable

if TYPE_CHECKING:
    from hashlib import _Hash

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_PRESIGNED_SECONDS = 604_800
"""A signing key lives for seven days, and so does what it signed."""

_BLANKS = re.compile(r"[ \t]+")
_PLAIN_PATH_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
_PERCENT = ord("%")
_PERCENT_FOR_OTHERS = bytes(byte if byte in _PLAIN_PATH_BYTES else _PERCENT for byte in range(256))
_SIGNERS_FIELDS = frozenset(
    {"bucket", "file", "key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token"}
    | {"x-amz-signature", "content-md5", "x-amz-checksum-sha256"}
)


@frozen
class Credentials:
    """What signs. `session_token` belongs to temporary credentials; nothing signed outlives `expires_at`."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


@frozen
class Scope:
    """Where and when a signature counts; `day` is YYYYMMDD, in UTC."""

    day: str
    region: str
    service: str = "s3"

    @property
    def text(self) -> str:
        """The credential scope, as it stands in a string to sign."""
        return f"{self.day}/{self.region}/{self.service}/{TERMINATOR}"

    @classmethod
    def parse(cls, credential: str) -> tuple[str, Self]:
        """Take an X-Amz-Credential value apart, into the access key id and the scope; ValueError says what is wrong."""
        access_key_id, *parts = credential.rsplit("/", 4)
        if len(parts) != 4 or not access_key_id:
            raise ValueError(
                'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
            )
        day, region, service, terminator = parts
        if not (len(day) == 8 and day.isascii() and day.isdigit()):
            raise ValueError('incorrect date format. This date in the credential must be in the format "yyyyMMdd".')
        if terminator != TERMINATOR:
            raise ValueError(f'incorrect terminal. This endpoint uses "{TERMINATOR}".')
        return access_key_id, cls(day, region, service)


def _lower_names(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@frozen
class Request:
    """A request to sign: `origin` is `https://host[:port]`, `headers` are those that the client must send, but host."""

    method: str
    origin: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(factory=dict, converter=_lower_names)


def amz_date(moment: datetime) -> str:
    """Render an aware datetime as X-Amz-Date does: `YYYYMMDDTHHMMSSZ`."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def uri_encode(text: str) -> str:
    """Percent-encode the UTF-8 of all but the unreserved characters of RFC 3986."""
    return quote(text, safe="")


def uri_encode_path(path: str) -> str:
    """Percent-encode all but the unreserved characters and the slashes."""
    return quote(path, safe="/") if _PERCENT in path.encode().translate(_PERCENT_FOR_OTHERS) else path


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Encode the parameters and sort them, by name and then by value."""
    return _query(sorted(_encoded(pairs)))


def _encoded(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(uri_encode(name), uri_encode(value)) for name, value in pairs]


def _query(encoded: Iterable[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" for name, value in encoded])


def signed_header_names(headers: Mapping[str, str]) -> str:
    """List lower-case header names as X-Amz-SignedHeaders does."""
    return ";".join(sorted(headers))


def canonical_request(method: str, path: str, query: str, headers: Mapping[str, str], payload_hash: str) -> str:
    """Write a request as both sides write it, before hashing.

    `query` is canonical already; `headers` are the signed ones, by lower-case name; `payload_hash` is the hex SHA-256
    of the body, or UNSIGNED-PAYLOAD. Blanks around and within header values are folded.
    """
    lines = "".join([f"{name}:{_BLANKS.sub(' ', headers[name]).strip(' ')}\n" for name in sorted(headers)])
    encoded = uri_encode_path(path) or "/"
    return f"{method}\n{encoded}\n{query}\n{lines}\n{signed_header_names(headers)}\n{payload_hash}"


def string_to_sign(date: str, scope: Scope, canonical: str) -> str:
    """Bind the hash of a canonical request to a moment (an X-Amz-Date) and a scope.

    What could not be decoded as UTF-8, and was escaped as surrogates, is hashed as the bytes that it was.
    """
    return f"{ALGORITHM}\n{date}\n{scope.text}\n{sha256(canonical.encode('utf-8', 'surrogateescape')).hexdigest()}"


@lru_cache(maxsize=256)
def signing_key(secret_access_key: str, day: str, region: str, service: str = "s3") -> bytes:
    """Derive the key that signs for one day, region and service."""
    key = f"AWS4{secret_access_key}".encode()
    for part in (day, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, text: str) -> str:
    """Sign a string to sign, or the base64 of a POST policy; lower-case hex."""
    return hmac.digest(key, text.encode(), "sha256").hex()


@lru_cache(maxsize=256)
def host_header(origin: str) -> str:
    """Give the Host header that clients send to `origin` (`https://host[:port]`): lower case, no default port."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, default) else f"{host}:{parts.port}"


_IPAD = bytes(byte ^ 0x36 for byte in range(256))
_OPAD = bytes(byte ^ 0x5C for byte in range(256))


@frozen
class _SavedHmac:
    """HMAC-SHA256 (RFC 2104) under one key of at most 64 bytes.

    The two SHA-256 states that depend on the key alone are computed once and copied for each message, which takes
    half the time of `hmac.digest`.
    """

    _inner: "_Hash"
    _outer: "_Hash"

    @classmethod
    def under(cls, key: bytes) -> Self:
        block = key.ljust(64, b"\0")
        return cls(sha256(block.translate(_IPAD)), sha256(block.translate(_OPAD)))

    def starting_with(self, beginning: bytes) -> Self:
        """Take in what many messages begin with; the messages are then given without it."""
        inner = self._inner.copy()
        inner.update(beginning)
        return evolve(self, inner=inner)

    def hexdigest(self, message: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()


@frozen
class PostTemplate:
    """The POST forms of a batch: they differ in digests, length and key, the rest is rendered once.

    The policy's document is a beginning, the digests, the length, `middle`, the key, and an end.
    """

    expires_at: datetime
    _blanks: Sequence[Sequence[dict[str, str]]] = field(repr=False)
    """Forms whose fields are all in their place; by whether they have an MD5 (0, 1), and a SHA-256."""
    _encoded: str = field(repr=False)
    """As much of the beginning as can be encoded apart from the rest, in base64."""
    _beginning: str = field(repr=False)
    """What is left of the beginning."""
    _middle: str = field(repr=False)
    _ends: Sequence[tuple[bytes, bytes]] = field(repr=False)
    """The end, in base64 as far as it can be encoded apart from what stands before it; before that, the bytes that
    can't. By how many bytes stand before it, modulo 3."""
    _escape: Callable[[str], str] = field(repr=False)
    _mac: _SavedHmac = field(repr=False, eq=False)
    """It has taken in what is encoded."""

    def sign(self, key: str, length: int, md5: str | None = None, sha256: str | None = None) -> dict[str, str]:
        """Make one form: the fields that a client sends, in order, before the part `file`, which has `length` bytes.

        All that is given is bound exactly. A key in which S3 would replace `${filename}` can't be bound: ValueError.
        """
        if "${filename}" in key:
            raise ValueError("a key with ${filename} would not be bound exactly")
        form, escape, digests = self._blanks[md5 is not None][sha256 is not None].copy(), self._escape, ""
        if md5 is not None:
            form["Content-MD5"] = md5
            digests = f'{{"Content-MD5": {escape(md5)}}}, '
        if sha256 is not None:
            form["x-amz-checksum-sha256"] = sha256
            digests += f'{{"x-amz-checksum-sha256": {escape(sha256)}}}, '
        form["key"] = key
        count = f"{length}"
        own = f'{self._beginning}{digests}["content-length-range", {count}, {count}{self._middle}{escape(key)}'.encode()
        missing, end = self._ends[len(own) % 3]
        policy = b2a_base64(own + missing, newline=False) + end
        form["policy"] = self._encoded + policy.decode("ascii")
        form["x-amz-signature"] = self._mac.hexdigest(policy)
        return form


def _blank_forms(before: Mapping[str, str], after: Mapping[str, str]) -> Sequence[Sequence[dict[str, str]]]:
    """Give forms in which all fields have their place, by whether a file has an MD5 (0, 1), and a SHA-256."""

    def blank(*present: bool) -> dict[str, str]:
        own = [*compress(("Content-MD5", "x-amz-checksum-sha256"), present), "key"]
        return {**before, **dict.fromkeys(own, ""), **after, "policy": "", "x-amz-signature": ""}

    return [[blank(has_md5, has_sha256) for has_sha256 in (False, True)] for has_md5 in (False, True)]


def _ends(end: str) -> Sequence[tuple[bytes, bytes]]:
    # Base64 makes four characters of three bytes.
    cuts = [-before % 3 for before in range(3)]
    return [(end[:cut].encode("ascii"), b2a_base64(end[cut:].encode("ascii"), newline=False)) for cut in cuts]


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


@frozen
class Signer:
    """Signs at one moment with one set of credentials: make one per batch, so that no batch straddles midnight.

    `now` is an aware datetime. Every signing method raises `Unavailable` when the credentials have expired, and cuts
    the lifetime of what it signs to theirs.
    """

    credentials: Credentials
    region: str
    now: datetime = field(converter=_whole_second)
    date: str = field(init=False)
    scope: Scope = field(init=False)
    credential: str = field(init=False)
    _presigned: tuple[tuple[str, str], ...] = field(init=False, repr=False)
    _mac: _SavedHmac = field(init=False, repr=False, eq=False)

    @date.default
    def _date(self) -> str:
        return amz_date(self.now)

    @scope.default
    def _scope(self) -> Scope:
        return Scope(self.date[:8], self.region)

    @credential.default
    def _credential(self) -> str:
        return f"{self.credentials.access_key_id}/{self.scope.text}"

    @_presigned.default
    def _constant_parameters(self) -> tuple[tuple[str, str], ...]:
        return (
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", uri_encode(self.credential)),
            ("X-Amz-Date", self.date),
        )

    @_mac.default
    def _saved_mac(self) -> _SavedHmac:
        scope = self.scope
        return _SavedHmac.under(signing_key(self.credentials.secret_access_key, scope.day, scope.region, scope.service))

    def lifetime(self, seconds: int) -> int:
        """Cut a lifetime to what the credentials have left, in whole seconds."""
        if seconds < 1:
            raise ValueError("a signed request lives for at least one second")
        expires_at = self.credentials.expires_at
        if expires_at is None:
            return seconds
        left = (expires_at - self.now) // timedelta(seconds=1)
        if left < 1:
            raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "the credentials of the object store have expired")
        return min(seconds, left)

    def expires_at(self, seconds: int) -> datetime:
        """Say until when something signed now for `seconds` is valid."""
        return self.now + timedelta(seconds=self.lifetime(seconds))

    def post_template(
        self,
        bucket: str,
        expires_seconds: int,
        *,
        fixed: Mapping[str, str] | None = None,
        ascii_only: bool = True,
    ) -> PostTemplate:
        """Render what the POST forms of a batch have in common (S3 API reference, "POST Policy").

        `fixed` are form fields that all files share (acl, Content-Type), and that are bound exactly. The document is
        the one that boto3's `generate_presigned_post` makes of the same fields and digests, with one condition each and
        then a content-length-range; where it need not be `ascii_only`, keys stand in it without escapes.
        """
        before = dict(fixed or {})
        folded = {name.lower() for name in before}
        if len(folded) != len(before) or not _SIGNERS_FIELDS.isdisjoint(folded):
            raise ValueError("form fields must be distinct, and none that the signer sets itself")
        after = {"x-amz-algorithm": ALGORITHM, "x-amz-credential": self.credential, "x-amz-date": self.date}
        if self.credentials.session_token is not None:
            after["x-amz-security-token"] = self.credentials.session_token
        expires_at = self.expires_at(expires_seconds)
        expiration = expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        beginning = f'{{"expiration": "{expiration}", "conditions": [' + "".join(
            [f"{_exact(name, value)}, " for name, value in before.items()]
        )
        cut = len(beginning) // 3 * 3
        encoded = b2a_base64(beginning[:cut].encode("ascii"), newline=False)
        return PostTemplate(
            expires_at=expires_at,
            blanks=_blank_forms(before, after),
            encoded=encoded.decode("ascii"),
            beginning=beginning[cut:],
            middle=f'], {_exact("bucket", bucket)}, {{"key": ',
            ends=_ends("}, " + ", ".join([_exact(name, value) for name, value in after.items()]) + "]}"),
            escape=encode_basestring_ascii if ascii_only else encode_basestring,
            mac=self._mac.starting_with(encoded),
        )

    def presign_url(self, request: Request, expires_seconds: int) -> str:
        """Sign a URL ("Authenticating Requests: Using Query Parameters").

        The client must send exactly the request's headers; the body isn't signed. ValueError for more than seven days.
        """
        if expires_seconds > MAX_PRESIGNED_SECONDS:
            raise ValueError(f"a presigned URL lives for at most {MAX_PRESIGNED_SECONDS} seconds")
        headers = {**request.headers, "host": host_header(request.origin)}
        query = [
            *_encoded(request.query),
            *self._presigned,
            ("X-Amz-Expires", str(self.lifetime(expires_seconds))),
            ("X-Amz-SignedHeaders", uri_encode(signed_header_names(headers))),
        ]
        if self.credentials.session_token is not None:
            query.append(("X-Amz-Security-Token", uri_encode(self.credentials.session_token)))
        canonical = canonical_request(request.method, request.path, _query(sorted(query)), headers, UNSIGNED_PAYLOAD)
        url = f"{request.origin}{uri_encode_path(request.path)}?{_query(query)}"
        return f"{url}&X-Amz-Signature={self._sign(canonical)}"

    def sign_headers(self, request: Request, payload_hash: str = UNSIGNED_PAYLOAD) -> dict[str, str]:
        """Sign a request in its headers ("Signature Calculations for the Authorization Header").

        `payload_hash` is the hex SHA-256 of the body, or UNSIGNED-PAYLOAD. Gives all headers to send, by lower-case
        name: the request's own, host, x-amz-* and authorization.
        """
        self.lifetime(1)
        headers = {
            **request.headers,
            "host": host_header(request.origin),
            "x-amz-date": self.date,
            "x-amz-content-sha256": payload_hash,
        }
        if self.credentials.session_token is not None:
            headers["x-amz-security-token"] = self.credentials.session_token
        query = canonical_query(request.query)
        canonical = canonical_request(request.method, request.path, query, headers, payload_hash)
        authorization = f"{ALGORITHM} Credential={self.credential}, SignedHeaders={signed_header_names(headers)}"
        return headers | {"authorization": f"{authorization}, Signature={self._sign(canonical)}"}

    def _sign(self, canonical: str) -> str:
        return self._mac.hexdigest(string_to_sign(self.date, self.scope, canonical).encode())


def _exact(name: str, value: str) -> str:
    """Write an exact condition."""
    return f"{{{encode_basestring_ascii(name)}: {encode_basestring_ascii(value)}}}"
