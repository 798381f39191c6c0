"""A Google service account: its RSA key, which signs without a network, and asks for access tokens."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Self

import jwt
from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""How a token is asked for with a signed assertion (RFC 7523, section 2.1)."""

READ_ONLY_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
"""All that looking needs. Nothing is ever written with a token; clients write with what was signed for them."""

TOKEN_ENDPOINT = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
"""Where tokens are given, unless the key file says otherwise; assertions are for it wherever they are sent."""

_ASSERTION_LIFETIME = timedelta(hours=1)
_PADDING, _HASH = PKCS1v15(), SHA256()


@frozen
class ServiceAccount:
    """What a key file of the type `service_account` holds; the key is parsed once."""

    email: str
    token_uri: str
    key_id: str | None
    _key: RSAPrivateKey = field(repr=False, eq=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the JSON of a key file. ValueError says what is wrong, and repeats nothing of it.

        Credentials of other types (a user's, impersonated, federated, a machine's own) hold no key: each signature is
        a request to Google (IAM Credentials API, signBlob), for which a batch of files would have to wait.
        """
        info = _json_object(text)
        kind = info.get("type")
        if kind != "service_account":
            described = f"of the type {kind[:40]!r}" if isinstance(kind, str) else "without a type"
            raise ValueError(f"signing needs the key of a service account, and these are credentials {described}")
        key_id = info.get("private_key_id")
        return cls(
            email=_member(info, "client_email"),
            token_uri=_member(info, "token_uri") if "token_uri" in info else TOKEN_ENDPOINT,
            key_id=key_id if isinstance(key_id, str) else None,
            key=_rsa_key(_member(info, "private_key")),
        )

    def sign(self, message: bytes) -> bytes:
        """Sign with RSASSA-PKCS1-v1_5 and SHA-256: about 0.7 ms of work, and no network."""
        return self._key.sign(message, _PADDING, _HASH)

    def assertion(self, now: datetime) -> str:
        """Sign what an access token is asked for with ("Using OAuth 2.0 for Server to Server Applications")."""
        claims = {
            "iss": self.email,
            "scope": READ_ONLY_SCOPE,
            "aud": TOKEN_ENDPOINT,
            "iat": now,
            "exp": now + _ASSERTION_LIFETIME,
        }
        return jwt.encode(claims, self._key, "RS256", headers=None if self.key_id is None else {"kid": self.key_id})


def _json_object(text: str) -> Mapping[str, object]:
    try:
        info = json.loads(text)
    except ValueError:  # not kept as the cause: it holds the whole text
        info = None
    if isinstance(info, dict):
        return info
    raise ValueError("a service account's key is a JSON object, as Google Cloud hands it out")


def _member(info: Mapping[str, object], name: str) -> str:
    value = info.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"the service account's key has no {name}")
    return value


def _rsa_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, RSAPrivateKey):
        return key
    raise ValueError("the service account's private_key is no RSA key in PEM, without a password")
