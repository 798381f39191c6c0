"""What all that asks an S3 bucket shares: requests that are signed in their headers, and what entity tags tell."""

import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from hashlib import sha256

import aiohttp
from yarl import URL

from adapters.stores.sigv4 import Request, Signer, canonical_query, uri_encode_path
from domain.files import Md5

_MD5_ETAG = re.compile(r'"?([0-9a-fA-F]{32})"?')
_COMPOSITE_ETAG = re.compile(r'"?([0-9a-fA-F]{32}-[1-9][0-9]{0,4})"?')


def send(
    http: aiohttp.ClientSession, signer: Signer, request: Request, body: bytes = b""
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """Send a request as it is signed, body and all; no redirect is followed, which would need another signature.

    Raises `Unavailable` when the credentials have expired, and what aiohttp raises.
    """
    headers = signer.sign_headers(request, sha256(body).hexdigest())
    query = canonical_query(request.query)
    url = URL(f"{request.origin}{uri_encode_path(request.path)}?{query}".rstrip("?"), encoded=True)
    return http.request(request.method, url, headers=headers, data=body or None, allow_redirects=False)


def has_digests_as_etags(headers: Mapping[str, str]) -> bool:
    """Tell by the headers of an answer, which say how an object is or will be encrypted, whether ETags can be MD5s.

    They aren't where the keys are those of KMS, or of a client ("Object", ETag).
    """
    return headers.get("x-amz-server-side-encryption", "AES256") == "AES256" and not any(
        name.lower().startswith("x-amz-server-side-encryption-customer") for name in headers
    )


def md5_of_etag(etag: str) -> Md5 | None:
    """Read an ETag, which is an MD5 in hexadecimal of what was uploaded in one request, be it an object or a part."""
    digits = _MD5_ETAG.fullmatch(etag)
    return Md5.of(bytes.fromhex(digits[1])) if digits else None


def composite_of_etag(etag: str) -> str | None:
    """Read the ETag of an object that came in parts, as `DeclaredParts.composite` has it; None for any other."""
    composite = _COMPOSITE_ETAG.fullmatch(etag)
    return composite[1].lower() if composite else None
