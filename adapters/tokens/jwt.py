"""Token verification: the signature by PyJWT's algorithms, all else of the compact form by ourselves, strictly.

The rules are those of RFC 8725 ("JSON Web Token Best Current Practices"): the key is chosen first, and the key decides
the one algorithm that may have been used; the token's header never does.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import jwt
from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from domain import strict_json
from domain.errors import ErrorCode, Misconfigured, Unauthenticated, Unavailable, UnknownKey
from domain.identity import Principal, TokenRules, principal_of

MAX_TOKEN_BYTES = 8192
MIN_RSA_BITS = 2048

# Base64url with no padding (RFC 7515, section 2), in its one canonical spelling: the bits of the last character that
# carry no data are zero (RFC 4648, section 3.5), so that one token has one text.
_LAST = r"[A-Za-z0-9_-]{4}|[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]"
_SEGMENT = rf"(?:[A-Za-z0-9_-]{{4}})*(?:{_LAST})"
_COMPACT_FORM = re.compile(rf"{_SEGMENT}\.{_SEGMENT}\.{_SEGMENT}")
# RFC 7515, section 4.1: members that name or carry a key, or that change how the token is to be read.
_FORBIDDEN_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip"})

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_KEY_TYPES: Mapping[str, type[PublicKey]] = {
    "RS256": RSAPublicKey,
    "PS256": RSAPublicKey,
    "ES256": EllipticCurvePublicKey,
    "EdDSA": Ed25519PublicKey,
}
ALGORITHMS = tuple(_KEY_TYPES)
_WRONG_SIGNATURE = "the token is not acceptable: its signature doesn't match"


@frozen
class VerificationKey:
    """A public key, the one algorithm that it may be used with, and its name in token headers, if it has one."""

    public_key: PublicKey
    algorithm: str
    kid: str | None = None


@frozen
class KeyRing:
    """The keys of one issuer at one time; at most one for each `kid`."""

    keys: tuple[VerificationKey, ...] = ()

    def choose(self, kid: str | None) -> VerificationKey:
        """Pick the key before anything else of a token is believed: by name, where keys have names.

        A single key without a name (a PEM file has none) is the issuer's only one, whatever a token calls it. Raises
        `UnknownKey`, `Unauthenticated` where a token must name one of several, or `Unavailable` without any key.
        """
        if not self.keys:
            raise Unavailable(ErrorCode.KEYS_UNAVAILABLE, "no key to verify tokens with has been loaded yet")
        first, *others = self.keys
        if not others and (kid is None or first.kid is None):
            return first
        if kid is None:
            raise _refusal("it doesn't say which key signed it (kid)")
        for key in self.keys:
            if key.kid == kid:
                return key
        raise UnknownKey(ErrorCode.TOKEN_INVALID, "the token is not acceptable: no known key has its name (kid)")


def load_key(pem: str, algorithms: Sequence[str]) -> VerificationKey:
    """Read a public key in PEM, and pick the first of `algorithms` that fits its type.

    Raises `Misconfigured` for a private or symmetric key, and as `verification_key`. Key material is never repeated in
    the message.
    """
    if "PRIVATE KEY" in pem:
        raise Misconfigured(["the token key is a private key; give the public key that belongs to it"])
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Misconfigured(["the token key is not a public key in PEM (-----BEGIN PUBLIC KEY-----)"]) from error
    return verification_key(key, algorithms)


def verification_key(key: object, algorithms: Sequence[str], kid: str | None = None) -> VerificationKey:
    """Pair a public key with the first of `algorithms` that fits its type.

    Raises `Misconfigured` for an RSA key under 2,048 bits, a curve other than P-256, or what none of the algorithms can
    use, private keys among it.
    """
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise Misconfigured([f"the token key has {key.key_size} bits; an RSA key needs at least {MIN_RSA_BITS}"])
    if isinstance(key, EllipticCurvePublicKey) and not isinstance(key.curve, SECP256R1):
        raise Misconfigured([f"the token key is on the curve {key.curve.name}; ES256 needs P-256"])
    for algorithm in algorithms:
        kind = _KEY_TYPES[algorithm]
        if isinstance(key, kind):
            return VerificationKey(key, algorithm, kid)
    raise Misconfigured([f"the token key's type fits none of the algorithms {', '.join(algorithms)}"])


@frozen
class JwtVerifier:
    """A `TokenVerifier`. `keys` gives the keys that are valid now; it must not block."""

    keys: Callable[[], KeyRing] = field(repr=False)
    rules: TokenRules

    def verify(self, token: str, now: datetime) -> Principal:
        """Choose the key, check the signature, then the claims, as the port says."""
        header = _read_header(token)
        key = self.keys().choose(_checked_kid(header))
        if header.get("alg") != key.algorithm:
            raise _refusal(f"it is not signed with {key.algorithm}")
        return principal_of(_object(_verified_payload(token, key)), self.rules, now)


def _checked_kid(header: Mapping[str, object]) -> str | None:
    if not _FORBIDDEN_HEADERS.isdisjoint(header):
        raise _refusal("its header has a member that is not accepted")
    if "kid" not in header:
        return None
    kid = header["kid"]
    if not isinstance(kid, str):
        raise _refusal("its kid is not a string")
    return kid


def _refusal(reason: str) -> Unauthenticated:
    return Unauthenticated(ErrorCode.TOKEN_INVALID, f"the token is not acceptable: {reason}")


def _read_header(token: str) -> Mapping[str, object]:
    if len(token) > MAX_TOKEN_BYTES:
        raise _refusal(f"it is longer than {MAX_TOKEN_BYTES} bytes")
    if not _COMPACT_FORM.fullmatch(token):
        raise _refusal("it is not of the form header.payload.signature")
    return _object(_decoded(token.partition(".")[0]))


def _object(data: bytes) -> Mapping[str, object]:
    try:
        value = strict_json.loads(data)
    except strict_json.NotStrictJson as error:
        raise _refusal(f"not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise _refusal("its header or payload is not a JSON object")
    return value


def _verified_payload(token: str, key: VerificationKey) -> bytes:
    signed, _, signature = token.rpartition(".")
    algorithm = jwt.get_algorithm_by_name(key.algorithm)
    try:
        matches = algorithm.verify(signed.encode("ascii"), key.public_key, _decoded(signature))
    # PyJWT lets more escape than its own errors, and nothing that a token says may become anything but a refusal.
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unauthenticated(ErrorCode.TOKEN_INVALID, _WRONG_SIGNATURE) from error
    if matches is not True:
        # A key without a name may have been replaced by another.
        raise (UnknownKey if key.kid is None else Unauthenticated)(ErrorCode.TOKEN_INVALID, _WRONG_SIGNATURE)
    return _decoded(signed.partition(".")[2])


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
