"""`bitstore token`: mint a permission token for development, as the auth service does in production."""

import argparse
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from adapters.tokens.jwt import ALGORITHMS, load_key
from domain.errors import InvalidInput, Misconfigured
from domain.identity import UPLOAD_PERMISSION
from domain.keys import Owner
from entrypoints.http.app import utc_now

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
_ALGORITHM_BY_KEY: Mapping[type[PrivateKey], str] = {
    RSAPrivateKey: "RS256",
    EllipticCurvePrivateKey: "ES256",
    Ed25519PrivateKey: "EdDSA",
}


def mint(  # noqa: PLR0913 - a token's claims
    key: PrivateKey, *, owner: Owner, service: str, now: datetime, lifetime: timedelta, algorithm: str | None = None
) -> str:
    """Make a token that lets `owner` upload to `service` until `now` plus `lifetime`."""
    claims = {
        "userid": owner,
        "service": service,
        "permissions": {UPLOAD_PERMISSION: True},
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    chosen = algorithm or next(name for kind, name in _ALGORITHM_BY_KEY.items() if isinstance(key, kind))
    return jwt.encode(claims, key, chosen)


def print_token(options: argparse.Namespace) -> int:
    """Print one token, and nothing else, so that it can be captured by a shell."""
    if options.algorithm is not None and options.algorithm not in ALGORITHMS:
        raise Misconfigured([f"--algorithm must be one of {', '.join(ALGORITHMS)}"])
    key = load_private_key(options.private_key)
    algorithm = _algorithm_for(key, options.algorithm)
    try:
        owner = Owner(options.owner)
    except InvalidInput as error:
        raise Misconfigured([f"--owner: {error.message}"]) from error
    token = mint(
        key,
        owner=owner,
        service=options.service,
        now=utc_now(),
        lifetime=timedelta(seconds=options.expires_in),
        algorithm=algorithm,
    )
    sys.stdout.write(f"{token}\n")
    return 0


def _algorithm_for(key: PrivateKey, wanted: str | None) -> str:
    """Pick what the service would pick for the public key; where it would refuse that key, no token is any use."""
    public_key = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    try:
        return load_key(public_key, ALGORITHMS if wanted is None else [wanted]).algorithm
    except Misconfigured as error:
        raise Misconfigured([f"--private-key: {problem}" for problem in error.problems]) from error


def load_private_key(path: Path) -> PrivateKey:
    """Read a private key in PEM. Raises `Misconfigured`."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise Misconfigured([f"--private-key can't be read: {error.strerror}"]) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misconfigured(["--private-key is not an unencrypted private key in PEM"]) from error
    if not isinstance(key, PrivateKey):
        raise Misconfigured(["--private-key is of a kind that no token algorithm here uses"])
    return key
