"""Judge AWS Signature Version 4 signatures that others made: the receiving side of an S3 endpoint of our own.

Errors carry the codes of "Error responses" in the Amazon S3 API reference. Messages say what is wrong, and never repeat
what the client sent.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from adapters.stores.sigv4 import (
    ALGORITHM,
    MAX_PRESIGNED_SECONDS,
    UNSIGNED_PAYLOAD,
    Credentials,
    Scope,
    canonical_query,
    canonical_request,
    signature,
    signing_key,
    string_to_sign,
)

MAX_SKEW = timedelta(minutes=15)
"""How far the signer's clock may be ahead of ours."""

_PARAMETERS = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
_AMZ_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_HEADER_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*")


class SignatureRefused(Exception):
    """A signature that doesn't allow its request, with the error code that S3 answers."""

    def __init__(self, s3_code: str, message: str) -> None:
        super().__init__(message)
        self.s3_code = s3_code
        self.message = message


@frozen
class ReceivedRequest:
    """A request as it came over the wire, nothing decoded yet; ASGI's scope has all four.

    `raw_path` has no query, `raw_query` no question mark. Behind a proxy, path and `host` must be those that the
    client used.
    """

    method: str
    raw_path: bytes
    raw_query: bytes = field(repr=False)
    headers: Iterable[tuple[bytes, bytes]] = field(repr=False)


@frozen
class PresignedRequest:
    """What a valid presigned URL allows: this path and query (both percent-decoded once, the signature left out)."""

    access_key_id: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    signed_headers: frozenset[str]
    expires_at: datetime


@frozen
class Verifier:
    """Verifies what was signed for one region; `find_credentials` knows the access keys that count, by their id."""

    find_credentials: Callable[[str], Credentials | None]
    region: str

    def verify_presigned(self, request: ReceivedRequest, now: datetime) -> PresignedRequest:
        """Verify a presigned URL ("Authenticating Requests: Using Query Parameters"), or raise SignatureRefused.

        Every `x-amz-*` header of the request must be signed, and host; other headers may come unsigned, and then
        prove nothing. The body is never signed.
        """
        path, pairs = _decoded(request)
        query = dict(pairs)
        if len({name.lower() for name in query}) != len(pairs):
            raise _bad_parameter("Query parameters must not be repeated.")
        if not all(query.get(name) for name in _PARAMETERS):
            raise _bad_parameter(
                f"Query-string authentication version 4 requires the {', '.join(_PARAMETERS)} parameters."
            )
        if query["X-Amz-Algorithm"] != ALGORITHM:
            raise _bad_parameter(f'X-Amz-Algorithm only supports "{ALGORITHM}".')
        claim = self._claim(query["X-Amz-Credential"], query["X-Amz-Date"], _bad_parameter)
        lifetime = _lifetime(query["X-Amz-Expires"])
        headers = _signed_headers(query["X-Amz-SignedHeaders"], request.headers)
        for payload_hash in (query.get("X-Amz-Content-Sha256"), headers.get("x-amz-content-sha256")):
            if payload_hash not in (None, UNSIGNED_PAYLOAD):
                raise _bad_argument(f"x-amz-content-sha256 must be {UNSIGNED_PAYLOAD} in a presigned URL.")
        credentials = self._credentials(claim, query.get("X-Amz-Security-Token"), now)
        expires_at = claim.signed_at + lifetime
        if now > expires_at:
            raise SignatureRefused("AccessDenied", "Request has expired")
        signed_query = canonical_query(pair for pair in pairs if pair[0] != "X-Amz-Signature")
        canonical = canonical_request(_ascii(request.method), path, signed_query, headers, UNSIGNED_PAYLOAD)
        _compare(credentials, claim, string_to_sign(claim.date, claim.scope, canonical), query["X-Amz-Signature"])
        allowed = {name: value for name, value in pairs if name not in (*_PARAMETERS, "X-Amz-Security-Token")}
        return PresignedRequest(claim.access_key_id, path, allowed, frozenset(headers), expires_at)

    def verify_post(self, fields: Mapping[str, str], now: datetime) -> str:
        """Verify a POST form's signature over its policy, and give the access key id, or raise SignatureRefused.

        `fields` are by lower-case name ("Authenticating Requests: Browser-Based Uploads Using POST"). A signature
        counts for seven days at most, whatever the policy says (the condition key s3:signatureAge in "Amazon S3
        Signature Version 4 Authentication Specific Policy Keys").
        """
        if fields.get("x-amz-algorithm") != ALGORITHM:
            raise _bad_argument(f'X-Amz-Algorithm only supports "{ALGORITHM}".')
        claim = self._claim(fields.get("x-amz-credential", ""), fields.get("x-amz-date", ""), _bad_argument)
        credentials = self._credentials(claim, fields.get("x-amz-security-token"), now)
        if now - claim.signed_at > timedelta(seconds=MAX_PRESIGNED_SECONDS):
            raise SignatureRefused("AccessDenied", "Request has expired")
        _compare(credentials, claim, fields.get("policy", ""), fields.get("x-amz-signature", ""))
        return claim.access_key_id

    def _claim(self, credential: str, date: str, bad: Callable[[str], SignatureRefused]) -> "_Claim":
        """Check what needs no key: date and scope."""
        signed_at = _moment(date)
        if signed_at is None:
            raise bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        try:
            access_key_id, scope = Scope.parse(credential)
        except ValueError as error:
            raise bad(f"Error parsing the X-Amz-Credential parameter; {error}") from None
        if scope.day != date[:8]:
            raise bad("Invalid credential date. This date is not the same as X-Amz-Date.")
        if scope.region != self.region:
            raise bad(f"Error parsing the X-Amz-Credential parameter; the region is wrong; expecting '{self.region}'")
        if scope.service != "s3":
            raise bad('Error parsing the X-Amz-Credential parameter; incorrect service. This endpoint belongs to "s3".')
        return _Claim(access_key_id, scope, date, signed_at)

    def _credentials(self, claim: "_Claim", session_token: str | None, now: datetime) -> Credentials:
        """Find the credentials that are said to have signed; they, and the claimed moment, must count now."""
        credentials = self.find_credentials(claim.access_key_id)
        if credentials is None:
            raise SignatureRefused(
                "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
            )
        if not _same(session_token or "", credentials.session_token or ""):
            raise SignatureRefused("InvalidToken", "The provided token is malformed or otherwise invalid.")
        if credentials.expires_at is not None and now > credentials.expires_at:
            raise SignatureRefused("ExpiredToken", "The provided token has expired.")
        if claim.signed_at > now + MAX_SKEW:
            raise SignatureRefused("AccessDenied", "Request is not yet valid")
        return credentials


@frozen
class _Claim:
    access_key_id: str
    scope: Scope
    date: str
    signed_at: datetime


def _bad_parameter(message: str) -> SignatureRefused:
    return SignatureRefused("AuthorizationQueryParametersError", message)


def _bad_argument(message: str) -> SignatureRefused:
    return SignatureRefused("InvalidArgument", message)


def _mismatch() -> SignatureRefused:
    return SignatureRefused(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
    )


def _decoded(request: ReceivedRequest) -> tuple[str, list[tuple[str, str]]]:
    """Percent-decode path and query once; a plus sign is a space in a query alone."""
    pairs = []
    try:
        path = unquote_to_bytes(request.raw_path).decode()
        for parameter in request.raw_query.replace(b"+", b" ").split(b"&"):
            if parameter:
                name, _, value = parameter.partition(b"=")
                pairs.append((unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()))
    except UnicodeDecodeError:
        raise SignatureRefused("InvalidURI", "Couldn't parse the specified URI.") from None
    return path, pairs


def _ascii(text: str) -> str:
    if not text.isascii():
        raise _mismatch()
    return text


def _moment(date: str) -> datetime | None:
    if not _AMZ_DATE.fullmatch(date):
        return None
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _lifetime(expires: str) -> timedelta:
    if not (expires.isascii() and expires.isdigit()):
        raise _bad_parameter("X-Amz-Expires should be a number")
    if len(expires) > len(str(MAX_PRESIGNED_SECONDS)) or int(expires) > MAX_PRESIGNED_SECONDS:
        raise _bad_parameter(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{MAX_PRESIGNED_SECONDS} seconds"
        )
    if int(expires) < 1:
        raise _bad_parameter("X-Amz-Expires must be at least 1 second")
    return timedelta(seconds=int(expires))


def _signed_headers(names: str, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Collect the headers that are said to be signed, and refuse those that had to be and are not."""
    present: dict[str, list[str]] = {}
    for name, value in headers:
        present.setdefault(name.decode("latin-1").lower(), []).append(value.decode("utf-8", "surrogateescape"))
    signed = names.split(";")
    if not _HEADER_NAMES.fullmatch(names) or signed != sorted(set(signed)):
        raise _bad_parameter("X-Amz-SignedHeaders must be lower-case header names, sorted and separated by semicolons")
    if "authorization" in present:
        raise _bad_argument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
        )
    required = {"host"} | {name for name in present if name.startswith("x-amz-")}
    if not required.issubset(signed):
        raise SignatureRefused("AccessDenied", "There were headers present in the request which were not signed")
    if not present.keys() >= set(signed):
        raise _mismatch()
    return {name: ",".join(present[name]) for name in signed}


def _compare(credentials: Credentials, claim: _Claim, text: str, given: str) -> None:
    scope = claim.scope
    key = signing_key(credentials.secret_access_key, scope.day, scope.region, scope.service)
    if not _same(signature(key, _ascii(text)), given):
        raise _mismatch()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
