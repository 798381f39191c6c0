"""JSON, and tokens, which are made of it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from adapters.tokens.jwt import JwtVerifier, KeyRing, VerificationKey
from domain import strict_json
from domain.errors import BitstoreError
from domain.identity import UPLOAD_PERMISSION, TokenRules
from tests import strategies as bits
from tests.hard.targets.target import Target
from tests.tokens import ed25519_key, make_token


def strict(data: bytes) -> str:
    """Read JSON by both parsers: nothing that can be read in two ways, and all that can't."""
    reference = _reference_json(data)
    for parse in (None, orjson.loads):
        try:
            read = strict_json.loads(data) if parse is None else strict_json.loads(data, parse)
        except strict_json.NotStrictJson:
            # orjson is stricter: what no other parser must understand (RFC 8259, sections 6 and 8.2).
            assert reference is _NONE or (parse is not None and _is_beyond(reference))
        else:
            assert reference is not _NONE
            assert _same(read, reference)
    return "refused" if reference is _NONE else "read"


_NONE = object()


def _reference_json(data: bytes) -> object:
    def members(pairs: Sequence[tuple[str, object]]) -> object:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    def constant(_: str) -> object:
        raise ValueError

    try:
        value = json.loads(data.decode(), object_pairs_hook=members, parse_constant=constant)
    except (ValueError, RecursionError):
        return _NONE
    return _NONE if data.startswith(b"\xef\xbb\xbf") or _depth(value) > strict_json.MAX_DEPTH else value


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _is_beyond(value: object) -> bool:
    """Whether there is a number or a text in it that orjson doesn't take."""
    match value:
        case dict():
            return any(map(_is_beyond, [*value, *value.values()]))
        case list():
            return any(map(_is_beyond, value))
        case str():
            return any("\ud800" <= letter <= "\udfff" for letter in value)
        case float():
            return value in (float("inf"), float("-inf"))
        case _:
            return False


def _same(one: object, other: object) -> bool:
    """Compare; an integer of more than 64 bits is a float to orjson."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
        case list(), list():
            return len(one) == len(other) and all(map(_same, one, other))
        case float(), int() if abs(other) >= 2**63:
            return one == float(other)
        case _:
            return type(one) is type(other) and one == other


JSON: Final = Target(
    strict,
    seeds=[
        b'{"a": [1, -2.5e3, true, null, "\\u00e9\\ud83e\\udd86"], "b": {}}',
        b'{"a": 1, "\\u0061": 2}',
        b'[{"a":{"a":{"a":":"}}}]',
        b"[NaN]",
        b"[" * 33 + b"]" * 33,
        '"é\u2028"'.encode(),
        b"18446744073709551616",
    ],
    words=[
        *(b'"a":', b"\\u", b"\\ud800", b"\\", b'"', b":", b"{", b"}", b"[", b"]", b"NaN", b"Infinity", b"1e999", b"-0"),
        *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xff", b"\x00", b"9999999999999999999", b"null", b"\x7f"),
    ],
    outcomes=frozenset(["read", "refused"]),
    max_length=200,
)


_NOW = datetime(2026, 2, 28, 12, tzinfo=UTC)
_RULES = TokenRules(service="rawstore")
_RING = KeyRing((VerificationKey(ed25519_key().public_key(), "EdDSA"),))
_VERIFIER = JwtVerifier(lambda: _RING, _RULES)
_FORBIDDEN = {"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip"}


def token(data: bytes) -> str:
    """Show a token as it stands, and one whose header and payload (parted by NUL) were really signed."""
    assert _userid_of(data.decode("latin-1")) is None
    header, _, payload = data.partition(b"\0")
    shown = _userid_of(make_token(payload, "EdDSA", header=header))
    if shown is None:
        return "refused"
    head, claims = _reference_json(header), _reference_json(payload)
    assert isinstance(head, dict)
    assert isinstance(claims, dict)
    assert head["alg"] == "EdDSA"
    assert not head.keys() & _FORBIDDEN
    assert isinstance(head.get("kid", ""), str)
    assert claims["service"] == "rawstore"
    assert shown == claims["userid"]
    assert bits.is_legal_segment(shown)
    now = _NOW.timestamp()
    assert type(claims["exp"]) in (int, float)
    assert now - 30 < claims["exp"] <= now + 86_400 + 30
    assert all(claims[name] <= now + 30 for name in ("iat", "nbf") if name in claims)
    return "accepted"


def _userid_of(text: str) -> str | None:
    try:
        principal = _VERIFIER.verify(text, _NOW)
    except BitstoreError:
        return None
    assert principal.may_upload in (True, False)
    return principal.userid


_CLAIMS = json.dumps(
    {
        "service": "rawstore",
        "userid": "alice",
        "exp": int((_NOW + timedelta(hours=1)).timestamp()),
        "permissions": {UPLOAD_PERMISSION: True},
    }
).encode()
TOKEN: Final = Target(
    token,
    seeds=[
        b'{"alg":"EdDSA","typ":"JWT"}\0' + _CLAIMS,
        b'{"alg":"EdDSA","kid":"1"}\0' + _CLAIMS.replace(b'"exp"', b'"nbf": 1, "iat": 2.5, "exp"'),
        b'{"alg":"none"}\0' + _CLAIMS,
        b'{"alg":"EdDSA"}\0' + _CLAIMS.replace(b"alice", "\u00e9/..".encode()),
        b"eyJhbGciOiJFZERTQSJ9.e30.AAAA",
    ],
    words=[
        *(b'"alg":', b'"EdDSA"', b'"none"', b'"kid":', b'"jwk":', b'"crit":', b'"b64":', b'"zip":', b'"x5c":', b"\0"),
        *(b'"exp":', b'"nbf":', b'"iat":', b'"userid":', b'"service":', b'"permissions":', b'"max_public_storage_mb":'),
        *(b"1e999", b"-1", b"true", b"null", b"[", b"{", b"\\u0000", b".", b"eyJ", b"1772283600"),
    ],
    outcomes=frozenset(["accepted", "refused"]),
    max_length=600,
)
