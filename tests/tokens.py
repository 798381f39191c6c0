"""Keys and tokens for tests. Tokens are made by hand with `cryptography`, independently of PyJWT, and may be faulty."""

import base64
import json
from collections.abc import Callable, Mapping
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


@cache
def rsa_key(bits: int = 2048) -> RSAPrivateKey:
    return generate_rsa_key(65_537, bits)


@cache
def ec_key() -> EllipticCurvePrivateKey:
    return generate_ec_key(SECP256R1())


@cache
def ed25519_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def private_key(algorithm: str) -> PrivateKey:
    """Give the key that all tests use with one algorithm."""
    makers: Mapping[str, Callable[[], PrivateKey]] = {
        "RS256": rsa_key,
        "PS256": rsa_key,
        "ES256": ec_key,
        "EdDSA": ed25519_key,
    }
    return makers[algorithm]()


def public_pem(key: PrivateKey) -> str:
    """Write the public key that belongs to a private one."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: PrivateKey) -> str:
    """Write a private key, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def segment(data: bytes) -> str:
    """Encode one part of a token (RFC 7515, section 2: base64url with no padding)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(algorithm: str, data: bytes, key: PrivateKey | None = None) -> bytes:
    """Sign as RFC 7518, section 3, and RFC 8037, section 3.1, say."""
    key = key or private_key(algorithm)
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        return b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(key.sign(data, ECDSA(SHA256()))))
    padding = PKCS1v15() if algorithm == "RS256" else PSS(MGF1(SHA256()), salt_length=32)
    return key.sign(data, padding, SHA256())


def make_token(
    claims: Mapping[str, object] | bytes,
    algorithm: str = "RS256",
    *,
    header: Mapping[str, object] | bytes | None = None,
    key: PrivateKey | None = None,
) -> str:
    """Make a signed token; `claims` and `header` may be any bytes, and `header` need not name the true algorithm."""
    header = {"alg": algorithm, "typ": "JWT"} if header is None else header
    data = f"{segment(_bytes(header))}.{segment(_bytes(claims))}"
    return f"{data}.{segment(sign(algorithm, data.encode(), key))}"


def _bytes(value: Mapping[str, object] | bytes) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()
