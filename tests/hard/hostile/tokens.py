"""Honest tokens, and how a forged one differs from them."""

import json
from collections.abc import Callable, Mapping
from functools import cache

from attrs import evolve, frozen
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.tokens import PrivateKey, make_token, private_key, rsa_key, segment


@frozen
class Good:
    """What an honest token is made of; `now` is the second in which it is shown."""

    claims: Mapping[str, object]
    header: Mapping[str, object]
    now: int

    @property
    def algorithm(self) -> str:
        """The algorithm of its key."""
        return str(self.header["alg"])

    @property
    def permissions(self) -> Mapping[str, object]:
        """What it permits."""
        permissions = self.claims["permissions"]
        assert isinstance(permissions, Mapping)
        return permissions

    @property
    def key(self) -> PrivateKey:
        """The key that signs it."""
        return private_key(self.algorithm)

    def token(
        self,
        *,
        header: bytes | None = None,
        payload: bytes | None = None,
        signed_as: str = "",
        key: PrivateKey | None = None,
    ) -> str:
        """Make the token, with another header or payload, or signed in another way; its signature is always good."""
        return make_token(
            self.payload if payload is None else payload,
            signed_as or self.algorithm,
            header=json.dumps(self.header).encode() if header is None else header,
            key=key,
        )

    @property
    def payload(self) -> bytes:
        """The claims as they are written."""
        return json.dumps(self.claims).encode()

    @property
    def segments(self) -> list[str]:
        """The three parts of the token."""
        return self.token().split(".")


Forgery = Callable[[Good], str]
"""Makes a token that isn't honest of what an honest one is made of."""


@cache
def stranger_key(algorithm: str) -> PrivateKey:
    """Give a key that nobody trusts."""
    if algorithm == "ES256":
        return generate_ec_key(SECP256R1())
    return Ed25519PrivateKey.generate() if algorithm == "EdDSA" else rsa_key(1024)


def header(**members: object) -> Forgery:
    """Change members of the header."""
    return lambda good: evolve(good, header={**good.header, **members}).token(signed_as=good.algorithm)


def claims(**members: object) -> Forgery:
    """Change claims."""
    return lambda good: evolve(good, claims={**good.claims, **members}).token()


def claim_at(name: str, seconds: float) -> Forgery:
    """Set a claim to a moment so many seconds from now."""
    return lambda good: evolve(good, claims={**good.claims, name: good.now + seconds}).token()


def without(name: str) -> Forgery:
    """Leave a claim out."""
    return lambda good: evolve(good, claims={key: value for key, value in good.claims.items() if key != name}).token()


def header_text(change: Callable[[str], str | bytes]) -> Forgery:
    """Change how the header is written."""
    return lambda good: good.token(header=_encoded(change(json.dumps(good.header))))


def payload_text(change: Callable[[str], str | bytes]) -> Forgery:
    """Change how the claims are written."""
    return lambda good: good.token(payload=_encoded(change(good.payload.decode())))


def number(name: str, written: str) -> Forgery:
    """Write the number of a claim in another way."""
    return lambda good: good.token(payload=json.dumps({**good.claims, name: "@"}).replace('"@"', written).encode())


def written(change: Callable[[str, str, str], str]) -> Forgery:
    """Put the three parts together in another way."""
    return lambda good: change(*good.segments)


def signature(make: Callable[[bytes, PrivateKey], bytes]) -> Forgery:
    """Give something else for the signature of the first two parts."""

    def forge(good: Good) -> str:
        signed = good.token().rpartition(".")[0]
        return f"{signed}.{segment(make(signed.encode(), good.key))}"

    return forge


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
