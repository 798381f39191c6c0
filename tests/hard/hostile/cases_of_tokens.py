"""Tokens that aren't honest, each by one change from one of an RS256 key, and honest ones that look odd.

The confusions are those of RFC 8725 ("JSON Web Token Best Current Practices"), and the rules of the JSON Web Signature
vectors of C2SP Wycheproof, made anew for our keys. Those about signatures themselves are in `cases_of_signatures`.
"""

import base64
import hmac
import json
from collections.abc import Callable, Mapping

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.identity import UPLOAD_PERMISSION
from tests.adapters.tokens.auth_server import jwk
from tests.hard.hostile.tokens import (
    Forgery,
    Good,
    claim_at,
    claims,
    header,
    header_text,
    number,
    payload_text,
    stranger_key,
    without,
    written,
)
from tests.tokens import public_pem, segment

MAX_TOKEN_BYTES = 8192
LEEWAY_SECONDS = 30
MAX_LIFETIME_SECONDS = 86_400

_BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _unsigned(alg: str) -> Forgery:
    return lambda good: f"{header(alg=alg)(good).rpartition('.')[0]}."


def _called(other: str, *, honestly: bool) -> Forgery:
    """Sign as another algorithm does, with the key that tests use with it, and say so or not."""
    return lambda good: good.token(
        header=json.dumps({**good.header, "alg": other} if honestly else good.header).encode(), signed_as=other
    )


def _mac(secret: Callable[[Good], bytes], alg: str | None, digest: str = "sha256") -> Forgery:
    """Take what everybody knows for a shared secret."""

    def forge(good: Good) -> str:
        told = {**good.header, "alg": good.algorithm if alg is None else alg}
        data = f"{segment(json.dumps(told).encode())}.{segment(good.payload)}"
        return f"{data}.{segment(hmac.digest(secret(good), data.encode(), digest))}"

    return forge


def _der(good: Good) -> bytes:
    return good.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(good: Good) -> bytes:
    return public_pem(good.key).encode()


def _jwk(good: Good) -> bytes:
    return json.dumps(jwk(good.key)).encode()


def _numbers(good: Good) -> bytes:
    """The modulus of an RSA key, or the point of another."""
    if isinstance(good.key, RSAPrivateKey):
        return good.key.public_key().public_numbers().n.to_bytes(256, "big")
    described = jwk(good.key)
    return b"".join(base64.urlsafe_b64decode(f"{described[name]}==") for name in ("x", "y") if name in described)


def _with_own_key(**members: object) -> Forgery:
    """Bring a key along, and sign with it."""

    def forge(good: Good) -> str:
        own = stranger_key(good.algorithm)
        told = {**good.header, "jwk": jwk(own, str(good.header.get("kid", "")), alg=good.algorithm), **members}
        return good.token(header=json.dumps(told).encode(), key=own)

    return forge


def _respelled(position: int) -> Forgery:
    """Set a bit of a segment's last character that carries no data: the same bytes, in another spelling."""

    def forge(good: Good) -> str:
        # Spaces bring header and payload to a length at which such bits exist; signatures have one.
        padded = [text + b" " * ((1 - len(text)) % 3) for text in (json.dumps(good.header).encode(), good.payload)]
        pieces = good.token(header=padded[0], payload=padded[1]).split(".")
        piece = pieces[position]
        pieces[position] = piece[:-1] + _BASE64URL[_BASE64URL.index(piece[-1]) ^ 1]
        assert _bytes_of(pieces[position]) == _bytes_of(piece)
        return ".".join(pieces)

    return forge


def _bytes_of(piece: str) -> bytes:
    return base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))


def _flipped(position: int) -> Forgery:
    """Change the first bits of a segment, and leave the others as they were."""

    def forge(good: Good) -> str:
        pieces = good.segments
        pieces[position] = ("X" if pieces[position][0] != "X" else "Y") + pieces[position][1:]
        return ".".join(pieces)

    return forge


def _in_json(*, flat: bool) -> Forgery:
    """Write the token in the JSON serialization (RFC 7515, section 7.2), which isn't for tokens."""

    def forge(good: Good) -> str:
        protected, payload, signed = good.segments
        one = {"protected": protected, "signature": signed}
        return json.dumps({"payload": payload, **(one if flat else {"signatures": [one]})})

    return forge


def _sized(size: int) -> Forgery:
    """Make a token of so many bytes; white space in the header makes up for what base64 can't come to."""

    def forge(good: Good) -> str:
        spare = (size - len(good.token())) * 3 // 4
        candidates = (
            good.token(header=json.dumps(good.header).encode() + b" " * spaces, payload=good.payload + b" " * more)
            for more in range(spare - 6, spare + 1)
            for spaces in range(4)
        )
        return next(token for token in candidates if len(token) == size)

    return forge


_ALGORITHM: Mapping[str, Forgery] = {  # RFC 8725, sections 2.1 and 3.1
    "alg none, unsigned": _unsigned("none"),
    "alg None, unsigned": _unsigned("None"),
    "alg nOnE, unsigned": _unsigned("nOnE"),
    "alg as it must be, unsigned": lambda good: f"{good.token().rpartition('.')[0]}.",
    "alg none, signed": header(alg="none"),
    "alg NONE, signed": header(alg="NONE"),
    "alg missing": lambda good: good.token(
        header=json.dumps({name: value for name, value in good.header.items() if name != "alg"}).encode()
    ),
    "alg null": header(alg=None),
    "alg empty": header(alg=""),
    "alg a list": lambda good: header(alg=[good.algorithm])(good),
    "alg an object": lambda good: header(alg={good.algorithm: 1})(good),
    "alg a number": header(alg=256),
    "alg in lower case": lambda good: header(alg=good.algorithm.lower())(good),
    "alg with a space": lambda good: header(alg=f"{good.algorithm} ")(good),
    "alg with a NUL": lambda good: header(alg=f"{good.algorithm}\0")(good),
    "alg a sibling": lambda good: header(alg=good.algorithm[:2] + "512")(good),
    "alg unknown": header(alg="XX256"),
    "alg by another name": header_text(lambda text: text.replace('"alg"', '"Alg"')),
    **{
        f"signed with {other}, and {'says so' if honestly else 'denies it'}": _called(other, honestly=honestly)
        for other in ("PS256", "ES256", "EdDSA")
        for honestly in (True, False)
    },
    "signed by another key": lambda good: good.token(key=stranger_key(good.algorithm)),
    "HS256 with the public key as secret": _mac(_pem, "HS256"),
    "HS384 with the public key as secret": _mac(_pem, "HS384", "sha384"),
    "HS512 with the public key as secret": _mac(_pem, "HS512", "sha512"),
    "HS256 with the public key without its last line end as secret": _mac(lambda good: _pem(good).strip(), "HS256"),
    "HS256 with the public key in DER as secret": _mac(_der, "HS256"),
    "HS256 with the public key's numbers as secret": _mac(_numbers, "HS256"),
    "HS256 with the public key as a JWK as secret": _mac(_jwk, "HS256"),
    "HS256 with nothing as secret": _mac(lambda _: b"", "HS256"),
    "a MAC with the public key as secret, called as it must be": _mac(_pem, None),
}

_HEADER: Mapping[str, Forgery] = {  # RFC 8725, sections 2.10, 3.1 and 3.10
    "an embedded key": _with_own_key(),
    "an embedded key, and a kid that is a number": _with_own_key(kid=1),
    "an embedded key that signed nothing": header(jwk={"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
    "an embedded key that is null": header(jwk=None),
    "a URL of keys": header(jku="http://127.0.0.1:9/jwks"),
    "a URL of keys that is a file": header(jku="file:///etc/passwd"),
    "a URL of a certificate": header(x5u="http://127.0.0.1:9/x"),
    "a certificate": header(x5c=["AQAB"]),
    "crit": header(crit=["exp"], exp=1),
    "crit that is empty": header(crit=[]),
    "crit of what is unknown": header(crit=["x"], x=1),
    "b64 false": header(b64=False),
    "b64 false, and critical": header(b64=False, crit=["b64"]),
    "b64 true": header(b64=True),
    "zip": header(zip="DEF"),
    "kid a number": header(kid=1),
    "kid null": header(kid=None),
    "kid true": header(kid=True),
    "kid a list": header(kid=["RS256"]),
    "kid an object": header(kid={}),
}

_TWO_READINGS: Mapping[str, Forgery] = {  # RFC 8725, section 2.4: text that parsers disagree about
    "alg twice, none first": header_text(lambda text: text.replace("{", '{"alg": "none", ', 1)),
    "alg twice, none last": header_text(lambda text: f'{text[:-1]}, "alg": "none"}}'),
    "alg twice, once escaped": header_text(lambda text: text.replace("{", '{"\\u0061lg": "none", ', 1)),
    "kid twice": header_text(lambda text: f'{text[:-1]}, "kid": "x", "kid": "y"}}'),
    "userid twice, ours last": payload_text(lambda text: text.replace("{", '{"userid": "bob", ', 1)),
    "userid twice, ours first": payload_text(lambda text: f'{text[:-1]}, "userid": "bob"}}'),
    "a member twice, deep inside": payload_text(lambda text: f'{text[:-1]}, "x": {{"a": {{"b": 1, "b": 1}}}}}}'),
    "NaN in the header": header_text(lambda text: f'{text[:-1]}, "x": NaN}}'),
    "NaN": number("exp", "NaN"),
    "Infinity": number("exp", "Infinity"),
    "-Infinity": number("exp", "-Infinity"),
    "a number beyond all floats": number("exp", "1e999"),
    "a number of 5,000 digits": number("exp", "9" * 5_000),
    "a number in hexadecimal": number("exp", "0x7FFFFFFF"),
    "a number with a plus sign": number("exp", "+1900000000"),
    "a number that begins with zero": number("exp", "01900000000"),
    "header not UTF-8": header_text(lambda text: text[:-1].encode() + b', "x": "\xff"}'),
    "header with a byte order mark": header_text(lambda text: b"\xef\xbb\xbf" + text.encode()),
    "payload not UTF-8": payload_text(lambda text: text[:-1].encode() + b', "x": "\xe9"}'),
    "payload with an overlong encoding": payload_text(lambda text: text[:-1].encode() + b', "x": "\xc0\xaf"}'),
    "payload in UTF-16": payload_text(lambda text: text.encode("utf-16")),
    "payload in UTF-32": payload_text(lambda text: text.encode("utf-32")),
    "payload with a byte order mark": payload_text(lambda text: b"\xef\xbb\xbf" + text.encode()),
    "payload with an encoded surrogate": payload_text(lambda text: text[:-1].encode() + b', "x": "\xed\xa0\x80"}'),
    "a userid with a surrogate": claims(userid="alice\ud800"),
    "header deep": header_text(lambda text: f'{text[:-1]}, "x": {"[" * 1_500}{"]" * 1_500}}}'),
    "header deep and open": header_text(lambda _: "[" * 5_000),
    "payload deep": payload_text(lambda text: f'{text[:-1]}, "x": {"[" * 2_500}{"]" * 2_500}}}'),
    "payload deep and open": payload_text(lambda _: '{"x":' * 1_000),
    "header in a list": header_text(lambda text: f"[{text}]"),
    "header a string": header_text(json.dumps),
    "header not JSON": header_text(lambda _: "alg=RS256"),
    "header a token": lambda good: good.token(header=good.token().encode()),
    "payload in a list": payload_text(lambda text: f"[{text}]"),
    "payload a string": payload_text(json.dumps),
    "payload null": payload_text(lambda _: "null"),
    "payload a number": payload_text(lambda _: "1"),
    "payload an empty object": payload_text(lambda _: "{}"),
    "payload empty": payload_text(lambda _: ""),
    "payload cut": payload_text(lambda text: text[:-1]),
    "payload followed by more": payload_text(lambda text: f"{text}{{}}"),
    "payload with a comma too many": payload_text(lambda text: f"{text[:-1]},}}"),
    "payload with a comment": payload_text(lambda text: f"{text}/**/"),
    "payload in single quotes": payload_text(lambda text: text.replace('"', "'")),
    "payload a token": lambda good: good.token(payload=good.token().encode()),
}

_COMPACT_FORM: Mapping[str, Forgery] = {  # RFC 7515, section 7.1; each part absent, doubled or changed
    "empty": written(lambda *_: ""),
    "a space": written(lambda *_: " "),
    "one dot": written(lambda *_: "."),
    "dots": written(lambda *_: ".."),
    "many dots": written(lambda *_: "." * 8_000),
    "header alone": written(lambda h, _p, _s: h),
    "payload alone": written(lambda _h, p, _s: p),
    "signature alone": written(lambda _h, _p, s: s),
    "signature missing, with its dot": written(lambda h, p, _s: f"{h}.{p}"),
    "payload missing": written(lambda h, _p, s: f"{h}..{s}"),
    "payload missing, with its dot": written(lambda h, _p, s: f"{h}.{s}"),
    "header missing": written(lambda _h, p, s: f".{p}.{s}"),
    "header missing, with its dot": written(lambda _h, p, s: f"{p}.{s}"),
    "header and signature missing": written(lambda _h, p, _s: f".{p}."),
    "four segments": written(lambda h, p, s: f"{h}.{p}.{s}.{s}"),
    "four segments, the last of them not base64": written(lambda h, p, s: f"{h}.{p}.{s}.!"),
    "five segments, as of an encrypted token": written(lambda h, p, s: f"{h}.{p}.{s}.{p}.{s}"),
    "a dot before": written(lambda h, p, s: f".{h}.{p}.{s}"),
    "a dot behind": written(lambda h, p, s: f"{h}.{p}.{s}."),
    "header changed": _flipped(0),
    "payload changed": _flipped(1),
    "signature changed": _flipped(2),
    "header of another token": lambda good: ".".join([segment(b'{"alg":"none"}'), *good.segments[1:]]),
    "payload of another token": lambda good: ".".join(
        [good.segments[0], evolve(good, claims={**good.claims, "userid": "bob"}).segments[1], good.segments[2]]
    ),
    "header padded": written(lambda h, p, s: f"{h}=.{p}.{s}"),
    "payload padded": written(lambda h, p, s: f"{h}.{p}==.{s}"),
    "signature padded": written(lambda h, p, s: f"{h}.{p}.{s}=="),
    "header in another spelling": _respelled(0),
    "payload in another spelling": _respelled(1),
    "signature in another spelling": _respelled(2),
    "a character too many": written(lambda h, p, s: f"{h}.{p}.{s}A"),
    "a character too few": written(lambda h, p, s: f"{h}.{p}.{s[:-1]}"),
    "a foreign character in the header": written(lambda h, p, s: f"{h[:4]}*{h[4:]}.{p}.{s}"),
    "a foreign character in the payload": written(lambda h, p, s: f"{h}.*{p}.{s}"),
    "a foreign character in the signature": written(lambda h, p, s: f"{h}.{p}.{s[:9]}%{s[9:]}"),
    "the other alphabet of base64": written(lambda h, p, s: f"{h}.{p}+/.{s}"),
    "the other alphabet of base64 in the signature": written(lambda h, p, s: f"{h}.{p}.+/{s[2:]}"),
    "a space inside": written(lambda h, p, s: f"{h} .{p}.{s}"),
    "a space in the signature": written(lambda h, p, s: f"{h}.{p}.{s[:5]} {s[5:]}"),
    "a tab inside": written(lambda h, p, s: f"{h}\t.{p}.{s}"),
    "a line end behind": written(lambda h, p, s: f"{h}.{p}.{s}\n"),
    "a line end inside": written(lambda h, p, s: f"{h}\n.{p}.{s}"),
    "another log line inside": written(lambda h, p, s: f"{h}.{p}.{s}\r\n2024-02-29T12:00:00.000Z INFO    all is well"),
    "an escape sequence": written(lambda h, p, s: f"\x1b[2J{h}.{p}.{s}"),
    "a scheme before": written(lambda h, p, s: f"Bearer {h}.{p}.{s}"),
    "in quotes": written(lambda h, p, s: f'"{h}.{p}.{s}"'),
    "in angle brackets": written(lambda h, p, s: f"<{h}.{p}.{s}>"),
    "a no-break space behind": written(lambda h, p, s: f"{h}.{p}.{s}\u00a0"),
    "a next-line character behind": written(lambda h, p, s: f"{h}.{p}.{s}\u0085"),
    "an information separator before": written(lambda h, p, s: f"\x1f{h}.{p}.{s}"),
    "two tokens": written(lambda h, p, s: f"{h}.{p}.{s},{h}.{p}.{s}"),
    "a NUL behind": written(lambda h, p, s: f"{h}.{p}.{s}\0"),
    "percent-encoded twice": written(lambda h, p, s: f"{h}%2E{p}%2E{s}"),
    "not ASCII": written(lambda h, p, s: f"{h}.{p}.{s[:-1]}é"),
    "a letter of another script": written(lambda h, p, s: f"{h}.{p}.\u0430{s[1:]}"),
    "a digit of another script": written(lambda h, p, s: f"{h}.{p}.\u0661{s[1:]}"),
    "a full-width letter": written(lambda h, p, s: f"{h}.{p}.\uff21{s[1:]}"),
    "a dot of another script": written(lambda h, p, s: f"{h}\uff0e{p}.{s}"),
    "a surrogate": written(lambda h, p, s: f"{h}.{p}.{s[:-1]}\ud800"),
    "more than 8 KiB": _sized(MAX_TOKEN_BYTES + 1),
    "60 KiB": written(lambda h, p, s: f"{h}.{p}.{s * 170}"),
    "the JSON serialization": _in_json(flat=False),
    "the flat JSON serialization": _in_json(flat=True),
    "the old built-in token": written(lambda *_: "testing-token"),
    "a template": written(lambda *_: "${jndi:ldap://127.0.0.1:9/x}"),
}

NOT_NUMBERS: tuple[object, ...] = (True, False, None, [], {}, "", "1900000000", [1_900_000_000])
OTHER_SERVICES: tuple[object, ...] = ("other", "Rawstore", "rawstore ", "", None, 1, ["rawstore"], {"rawstore": 1})
NO_OWNERS: tuple[object, ...] = (
    *("", " ", ".", "..", "a/b", "a\\b", "\0", "a\n", "e\u0301", "x" * 256, "${FileName}", "\u202ea", 1, None, True),
    *(["alice"], {"alice": 1}, "/alice", "alice/", "../alice", "\uffff"),
)
NOT_PERMISSIONS: tuple[object, ...] = ([UPLOAD_PERMISSION], UPLOAD_PERMISSION, 1, None, True)
NOT_TRUE: tuple[object, ...] = ("true", "True", 1, "yes", [True], {}, None, False)
_NOT_SIZES: tuple[object, ...] = (-1, "5", True, None, [5])

_CLAIMS: Mapping[str, Forgery] = {  # RFC 8725, sections 3.8, 3.9 and 3.11
    **{f"{name} {value!r}": claims(**{name: value}) for name in ("exp", "nbf", "iat") for value in NOT_NUMBERS},
    "exp missing": without("exp"),
    "exp too far away": claim_at("exp", MAX_LIFETIME_SECONDS + LEEWAY_SECONDS + 60),
    "exp beyond all floats": claims(exp=10**400),
    "exp as far as floats go": claims(exp=1e308),
    "exp in milliseconds": lambda good: claims(exp=(good.now + 60) * 1_000)(good),
    "nbf to come": claim_at("nbf", LEEWAY_SECONDS + 60),
    "nbf beyond all floats": claims(nbf=10**400),
    "iat to come": claim_at("iat", LEEWAY_SECONDS + 60),
    "service missing": without("service"),
    **{f"service {value!r}": claims(service=value) for value in OTHER_SERVICES},
    "userid missing": without("userid"),
    **{f"userid {value!r:.40}": claims(userid=value) for value in NO_OWNERS},
    **{f"permissions {value!r}": claims(permissions=value) for value in NOT_PERMISSIONS},
    **{
        f"a quota of {value!r}": claims(permissions={UPLOAD_PERMISSION: True, "max_public_storage_mb": value})
        for value in _NOT_SIZES
    },
}

FORGERIES: dict[str, Forgery] = {**_ALGORITHM, **_HEADER, **_TWO_READINGS, **_COMPACT_FORM}
"""What no verifier may take for a token of its issuer."""

INVALID: dict[str, Forgery] = {**FORGERIES, **_CLAIMS}
"""What proves nothing: `token_invalid`."""

NAMING_NO_KEY: dict[str, Forgery] = {
    "kid missing": lambda good: good.token(
        header=json.dumps({name: value for name, value in good.header.items() if name != "kid"}).encode()
    ),
    **{
        f"kid {kid!r:.40}": header(kid=kid)
        for kid in ("", "rs256", "RS256 ", " RS256", "RS256\0", "\u0420S256", "../../etc/passwd", "' OR 1=1 --", "*")
    },
    "kid of a log line": header(kid="x\r\n2024-02-29T12:00:00.000Z INFO    all is well"),
    "kid of 4 KiB": header(kid="k" * 4_096),
}
"""Tokens that don't name one of several keys, though their signature is good: `token_invalid`."""

EXPIRED: Mapping[str, Forgery] = {
    "a minute ago": claim_at("exp", -LEEWAY_SECONDS - 60),
    "in 1970": claims(exp=0),
    "before all time": claims(exp=-(10**400)),
    "before the year 1": claims(exp=-1e15),
}
"""What was good once: `token_expired`."""

WITHOUT_PERMISSION: Mapping[str, Forgery] = {
    "no permissions": claims(permissions={}),
    "permissions missing": without("permissions"),
    "another permission": claims(permissions={UPLOAD_PERMISSION.upper(): True}),
    "permission beside": claims(permissions={}, **{UPLOAD_PERMISSION: True}),
    **{f"permission {value!r}": claims(permissions={UPLOAD_PERMISSION: value}) for value in NOT_TRUE},
}
"""Good tokens of users who may not upload: `permission_missing`."""

HONEST: Mapping[str, Forgery] = {
    "as it should be": lambda good: good.token(),
    "white space in the header": header_text(lambda text: text.replace(":", " :\n\t")),
    "white space in the payload": payload_text(lambda text: f" {text}\r\n"),
    "no typ": header_text(lambda text: text.replace('"typ": "JWT", ', "")),
    "another typ": header(typ="at+jwt"),
    "members that nobody knows": header(x=1, y=[2]),
    "claims that nobody knows": claims(iss="anybody", aud=["anything"], jti="1", x={"y": 1}),
    "escaped letters": payload_text(lambda text: text.replace('"userid": "a', '"userid": "\\u0061')),
    "exp a fraction": claim_at("exp", 60.5),
    "exp just over": claim_at("exp", 10 - LEEWAY_SECONDS),
    "nbf just to come": claim_at("nbf", LEEWAY_SECONDS - 10),
    "as long as may be": _sized(MAX_TOKEN_BYTES),
}
"""Good tokens, some of them odd."""
