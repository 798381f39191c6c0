"""Presigned requests, against botocore's signer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlencode

from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from adapters.stores.sigv4 import Credentials
from adapters.stores.sigv4_verify import ReceivedRequest, SignatureRefused, Verifier
from tests.hard.targets.target import Target

_NOW = datetime(2026, 2, 28, 12, tzinfo=UTC)
_METHODS = ("GET", "PUT", "HEAD", "DELETE")
_REGION = "us-east-1"
_CREDENTIALS = Credentials("AKIDEXAMPLE", "a-secret-of-the-store")
_STORE_VERIFIER = Verifier({_CREDENTIALS.access_key_id: _CREDENTIALS}.get, _REGION)
_DATE = _NOW.strftime("%Y%m%dT%H%M%SZ")


def signature(data: bytes) -> str:
    """Send a request that botocore has signed: it is accepted, or refused for another reason than its signature.

    Path, query, and headers are parted by NUL, a name and its value by LF; the first byte says the method. The same
    with another signature is never accepted.
    """
    raw_path, raw_query, *lines = (b"/" + data[1:] + b"\0" * 2).split(b"\0")
    method = _METHODS[(data or b"\0")[0] % len(_METHODS)]
    headers = [(name.lower(), value) for name, lf, value in (line.partition(b"\n") for line in lines) if lf]
    signed = sorted({b"host", *(name for name, _ in headers)})
    own = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{_CREDENTIALS.access_key_id}/{_DATE[:8]}/{_REGION}/s3/aws4_request",
        "X-Amz-Date": _DATE,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": b";".join(signed).decode("latin-1"),
    }
    query = b"&".join([*([raw_query] if raw_query else []), urlencode(own).encode()])
    made = _botocore_signature(method, raw_path, query, headers)
    if made is None:
        return _judged(method, raw_path, query, headers, "0" * 64)
    flipped = ("1" if made[0] == "0" else "0") + made[1:]
    outcome = _judged(method, raw_path, query, headers, made)
    assert _judged(method, raw_path, query, headers, flipped) != "accepted"
    if outcome == "accepted":
        assert _judged(method, raw_path + b"2", query, headers, made) != "accepted"
        assert _judged(method, raw_path, query + b"&a=b", headers, made) != "accepted"
    assert outcome != "SignatureDoesNotMatch" or not _is_plain(headers)
    return outcome


def _judged(method: str, path: bytes, query: bytes, headers: Sequence[tuple[bytes, bytes]], made: str) -> str:
    received = ReceivedRequest(
        method, path, query + f"&X-Amz-Signature={made}".encode(), [(b"host", b"bitstore.example"), *headers]
    )
    try:
        _STORE_VERIFIER.verify_presigned(received, _NOW)
    except SignatureRefused as refusal:
        return refusal.s3_code
    return "accepted"


def _is_plain(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether botocore signs these headers as a server sees them: each once, none that it passes over, in ASCII.

    No server gets a name with a semicolon (RFC 9110, section 5.1), which is two in a list of signed ones.
    """
    names = [name for name, _ in headers]
    return (
        len(set(names)) == len(names)
        and b";" not in b"".join(names)
        and not {b"host", *(name.encode() for name in SIGNED_HEADERS_BLACKLIST)} & set(names)
        and all(value.isascii() and value.decode().isprintable() for _, value in headers)
    )


def _botocore_signature(
    method: str, raw_path: bytes, raw_query: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> str | None:
    """Have botocore sign what the request means; None for what means nothing to it."""
    try:
        path = unquote_to_bytes(raw_path).decode()
        pairs = [
            (unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode())
            for name, _, value in (pair.partition(b"=") for pair in raw_query.replace(b"+", b" ").split(b"&") if pair)
        ]
        named = {name.decode("ascii"): value.decode() for name, value in headers}
    except UnicodeDecodeError:
        return None
    url = f"https://bitstore.example{quote(path, safe='/~')}"
    request = AWSRequest(method=method, url=url, headers={**named, "host": "bitstore.example"}, params=pairs)
    request.context["timestamp"] = _DATE
    signer = S3SigV4QueryAuth(
        BotocoreCredentials(_CREDENTIALS.access_key_id, _CREDENTIALS.secret_access_key), "s3", _REGION
    )
    text = signer.string_to_sign(request, signer.canonical_request(request))
    made: str = signer.signature(text, request)
    return made


SIGNATURE: Final = Target(
    signature,
    seeds=[
        b"\0store/datasets/alice/a.csv\0",
        b"\1store/datasets/alice/a%20b%2Bc\0partNumber=1&uploadId=x\0content-length\n4\0x-amz-acl\nprivate",
        "\0é/%E2%98%83//..\0response-content-type=text%2Fhtml&a=&b".encode(),
        b"\0a\0a=1&a=2",
        b"\0a\0\0content-type\n text/csv  ;  a ",
        b"\0%ff\0",
        b"\0a\0\0x-amz-content-sha256\n0",
        b"\0a\0\0authorization\nx",
        b"\0a\0\0-sh;a356\n0",
        b"\0a\0\0te\n te",
    ],
    words=[
        *(b"%2F", b"%20", b"+", b"%2B", b"&", b"=", b";", b"//", b"/../", b"%25", b"%C3%A9", b"\xc3\xa9", b"\0"),
        *(b"\0content-md5\n", b"\0x-amz-meta-a\n", b"X-Amz-Expires=1", b"x-amz-date=1", b"X-Amz-Security-Token=a"),
        *(b"\n", b"  ", b"\t", b"~", b"*", b"%7E", b"X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"),
    ],
    outcomes=frozenset(["accepted", "AuthorizationQueryParametersError", "InvalidURI", "InvalidArgument"]),
    max_length=300,
)
