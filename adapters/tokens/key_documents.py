"""Reading the documents in which an auth service publishes its keys: a public key in PEM, or a JWK Set (RFC 7517).

No document makes us fetch another one: certificates and their addresses (`x5c`, `x5u`) are not looked at.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from adapters.tokens.jwt import KeyRing, VerificationKey, load_key, verification_key
from domain import strict_json
from domain.errors import Misconfigured

MAX_KEYS = 64

# Those that IANA's registry "JSON Web Key Parameters" classes as private.
_PRIVATE_MEMBERS = frozenset({"d", "dp", "dq", "k", "oth", "p", "priv", "q", "qi"})
_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
}
_MAX_SHOWN = 64

_log = logging.getLogger(__name__)


class UnusableKeys(ValueError):
    """A document, or one key of it, can't be used. The message says why, and repeats no key."""


def parse_public_key(data: bytes, algorithms: Sequence[str]) -> KeyRing:
    """Read one public key in PEM, for the first of `algorithms` that fits it. Raises `UnusableKeys`."""
    try:
        return KeyRing((load_key(data.decode("ascii"), algorithms),))
    except UnicodeDecodeError as error:
        raise UnusableKeys("the document is not a public key in PEM") from error
    except Misconfigured as error:
        raise UnusableKeys(error.message) from error


def parse_jwks(data: bytes, algorithms: Sequence[str]) -> KeyRing:
    """Read a JWK Set, and keep the keys that can verify with one of `algorithms`, each with one.

    A key's `alg` is the one; without it, the first of `algorithms` that fits its type. Keys for other purposes and of
    other kinds are left out (RFC 7517, section 5), with a line in the log. A key without a `kid` is of use only alone.

    Raises `UnusableKeys` for what is not a JWK Set in strict JSON, for more than 64 keys, for two keys of one `kid`,
    for private or symmetric key material anywhere in it, and if no key is left.
    """
    usable = []
    for number, jwk in enumerate(_entries(data), 1):
        try:
            usable.append(_key_of(jwk, algorithms))
        except UnusableKeys as reason:
            _log.info("key %d of the key set (kid %s) is not used: %s", number, _shown(jwk.get("kid")), reason)
    if len(usable) > 1 and any(key.kid is None for key in usable):
        usable = [key for key in usable if key.kid is not None]
        _log.info("a key without a kid is not used, because it is not the only one of the key set")
    if not usable:
        raise UnusableKeys(f"the key set has no key that can be used with {', '.join(algorithms)}")
    return KeyRing(tuple(usable))


def _entries(data: bytes) -> Sequence[dict[str, Any]]:
    try:
        document = strict_json.loads(data)
    except strict_json.NotStrictJson as error:
        raise UnusableKeys(f"the key set is not strict JSON: {error}") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnusableKeys("the document is not a key set: an object whose member keys is a list of objects")
    if len(entries) > MAX_KEYS:
        raise UnusableKeys(f"the key set has more than {MAX_KEYS} keys")
    if not all(_PRIVATE_MEMBERS.isdisjoint(entry) for entry in entries):
        raise UnusableKeys("the key set has private or symmetric key material; only public keys may be published")
    names = Counter(entry["kid"] for entry in entries if isinstance(entry.get("kid"), str))
    if any(count > 1 for count in names.values()):
        raise UnusableKeys("two keys of the key set have the same kid")
    return entries


def _key_of(jwk: dict[str, Any], algorithms: Sequence[str]) -> VerificationKey:
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise UnusableKeys("it is not meant for verifying signatures (use, key_ops)")
    if not isinstance(jwk.get("kid", ""), str):
        raise UnusableKeys("its kid is not a string")
    allowed = [algorithm for algorithm in algorithms if jwk.get("alg", algorithm) == algorithm]
    if not allowed:
        raise UnusableKeys(f"its alg is none of {', '.join(algorithms)}")
    kind = jwk.get("kty")
    if not isinstance(kind, str) or kind not in _READERS:
        raise UnusableKeys(f"its kty is none of {', '.join(_READERS)}")
    try:
        return verification_key(_READERS[kind](jwk), allowed, jwk.get("kid"))
    except Misconfigured as error:
        raise UnusableKeys(error.message) from error
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKeys(f"it is not a well-formed public key of the kty {kind}") from error


def _shown(kid: object) -> str:
    return repr(kid)[:_MAX_SHOWN] if isinstance(kid, str) else "absent"
