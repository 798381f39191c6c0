"""Signatures that aren't, by algorithm, each by one change from a good one; and good ones that look odd.

The rules are those of the JSON Web Signature vectors of C2SP Wycheproof, made anew for our keys: encodings inside RSA
signatures that a verifier who parses them might let pass, and numbers out of range.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from tests.hard.hostile.service import turns
from tests.tokens import PrivateKey, sign

Maker = Callable[[bytes, PrivateKey], bytes]
"""Makes a signature of data, with a key."""

_SIZE = 256  # bytes of an RSA signature
_HASH = 32

# --- RSA itself (RFC 8017, sections 5.2 and 4.1) ---------------------------------------------------------------------


def _raised(number: int, key: PrivateKey) -> int:
    """Do RSA's private operation, by the Chinese remainder theorem."""
    assert isinstance(key, RSAPrivateKey)
    secret = key.private_numbers()
    first, second = pow(number, secret.dmp1, secret.p), pow(number, secret.dmq1, secret.q)
    return second + secret.q * ((first - second) * secret.iqmp % secret.p)


def _signature_of(encoded: bytes, key: PrivateKey) -> bytes:
    return _raised(int.from_bytes(encoded, "big"), key).to_bytes(_SIZE, "big")


def _modulus(key: PrivateKey) -> int:
    assert isinstance(key, RSAPrivateKey)
    return key.public_key().public_numbers().n


def _number(value: Callable[[int], int]) -> Maker:
    """Take a number that depends on the modulus alone."""
    return lambda _data, key: value(_modulus(key)).to_bytes(_SIZE, "big")


def _shifted(algorithm: str) -> Maker:
    """Add the modulus: the same number to RSA, if it were reduced (RFC 8017, section 5.2.2, asks for its range)."""

    def make(data: bytes, key: PrivateKey) -> bytes:
        number = int.from_bytes(sign(algorithm, data), "big") + _modulus(key)
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    return make


def _changed(algorithm: str, change: Callable[[bytes], bytes]) -> Maker:
    """Change the bytes of a good signature."""
    return lambda data, _key: change(sign(algorithm, data))


def _numbers_for_rsa(algorithm: str) -> Mapping[str, Maker]:
    return {
        "the number 0": _number(lambda _: 0),
        "the number 1": _number(lambda _: 1),
        "the modulus less 1": _number(lambda modulus: modulus - 1),
        "the modulus": _number(lambda modulus: modulus),
        "all bits set": _number(lambda _: 2 ** (8 * _SIZE) - 1),
        "the modulus added": _shifted(algorithm),
        **_lengths(algorithm),
    }


def _lengths(algorithm: str) -> Mapping[str, Maker]:
    return {
        "a zero before": _changed(algorithm, lambda raw: b"\0" + raw),
        "a zero behind": _changed(algorithm, lambda raw: raw + b"\0"),
        "its first byte missing": _changed(algorithm, lambda raw: raw[1:]),
        "its last byte missing": _changed(algorithm, lambda raw: raw[:-1]),
        "one byte of it": _changed(algorithm, lambda raw: raw[:1]),
        "twice": _changed(algorithm, lambda raw: raw + raw),
        "backwards": _changed(algorithm, lambda raw: raw[::-1]),
        "a bit changed at its start": _changed(algorithm, lambda raw: bytes([raw[0] ^ 1]) + raw[1:]),
        "a bit changed at its end": _changed(algorithm, lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
        "of other data": lambda data, _key: sign(algorithm, data + b" "),
    }


# --- RSASSA-PKCS1-v1_5 (RFC 8017, sections 8.2 and 9.2) --------------------------------------------------------------

_Encoding = Callable[[int, bytes], bytes]
"""Writes a tag and a content in DER, or nearly so."""


def _der(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


_ENCODINGS: Mapping[str, _Encoding] = {
    "a length in two bytes": lambda tag, content: bytes([tag, 0x81, len(content)]) + content,
    "a length that begins with zero": lambda tag, content: bytes([tag, 0x82, 0, len(content)]) + content,
    "a length of one more": lambda tag, content: bytes([tag, len(content) + 1]) + content,
    "a length of one less": lambda tag, content: bytes([tag, (len(content) - 1) % 128]) + content,
    "a length over 32 bits": lambda tag, content: bytes([tag, 0x85, 1, 0, 0, 0, len(content)]) + content,
    "a length over 64 bits": lambda tag, content: bytes([tag, 0x89, 1, *bytes(7), len(content)]) + content,
    "a length of 2 GiB": lambda tag, content: bytes([tag, 0x84, 0x80, 0, 0, 0]) + content,
    "the greatest length of 64 bits": lambda tag, content: bytes([tag, 0x88]) + b"\xff" * 8 + content,
    "an open length": lambda tag, content: bytes([tag, 0x80]) + content,
    "an open length, and an end": lambda tag, content: bytes([tag, 0x80]) + content + bytes(2),
    "a length that is cut": lambda tag, content: bytes([tag, 0x82]) + content,
    "a tag alone": lambda tag, _: bytes([tag]),
    "another tag": lambda tag, content: _der(tag ^ 0x80, content),
    "it missing": lambda *_: b"",
    "a number instead": lambda *_: b"\x02\1\0",
    "zeros in it": lambda tag, content: _der(tag, content + bytes(2)),
    "NULL in it": lambda tag, content: _der(tag, content + b"\x05\0"),
    "zeros behind it": lambda tag, content: _der(tag, content) + bytes(2),
    "garbage before it": lambda tag, content: b"\x49\x77" + _der(tag, content),
    "another one around it": lambda tag, content: _der(0x30, _der(tag, content)),
}
_SHA256 = bytes.fromhex("608648016503040201")
_ALIEN_HASHES = {"SHA-1": bytes.fromhex("2b0e03021a"), "SHA-512": bytes.fromhex("608648016503040203")}
_NODES = ("DigestInfo", "its algorithm", "its OID", "its parameters", "its digest")


def _digest_info(data: bytes, node: str = "", encoding: _Encoding = _der, oid: bytes = _SHA256) -> bytes:
    """Write a DigestInfo, one of whose nodes is encoded in another way."""

    def written(name: str, tag: int, content: bytes) -> bytes:
        return (encoding if name == node else _der)(tag, content)

    names = written("its OID", 6, oid) + written("its parameters", 5, b"")
    digest = written("its digest", 4, hashlib.sha256(data).digest())
    return written("DigestInfo", 0x30, written("its algorithm", 0x30, names) + digest)


def _padded(
    info: bytes, *, start: bytes = b"\0\1", filler: bytes = b"\xff", separator: bytes = b"\0", behind: bytes = b""
) -> bytes:
    room = _SIZE - len(start) - len(separator) - len(info) - len(behind)
    return start + (filler * room)[:room] + separator + info + behind


def _pkcs1(info: Callable[[bytes], bytes], **padding: bytes) -> Maker:
    return lambda data, key: _signature_of(_padded(info(data), **padding), key)


def _short_padding(data: bytes, key: PrivateKey) -> bytes:
    """Have garbage where padding should be, behind the digest (Bleichenbacher's forgery, CVE-2006-4339)."""
    start = b"\0\1" + b"\xff" * 8 + b"\0" + _digest_info(data)
    return _signature_of(start + b"g" * (_SIZE - len(start)), key)


_RS256: Mapping[str, Maker] = {
    **{
        f"{node}: {what}": _pkcs1(partial(_digest_info, node=node, encoding=encoding))
        for number, (what, encoding) in enumerate(_ENCODINGS.items())
        for node in turns(_NODES, number)
    },
    **{f"the OID of {name}": _pkcs1(partial(_digest_info, oid=oid)) for name, oid in _ALIEN_HASHES.items()},
    "the digest alone": _pkcs1(lambda data: hashlib.sha256(data).digest()),
    "the data itself": _pkcs1(lambda data: data[:100]),
    "nothing but padding": _pkcs1(lambda _: b""),
    "a digest of zeros": _pkcs1(lambda data: _digest_info(data)[:-_HASH] + bytes(_HASH)),
    "padding of another kind": _pkcs1(_digest_info, start=b"\0\2"),
    "padding of no kind": _pkcs1(_digest_info, start=b"\0\0"),
    "padding of other bytes": _pkcs1(_digest_info, filler=b"\xfe"),
    "padding with a zero in it": _pkcs1(_digest_info, start=b"\0\1" + b"\xff" * 8 + b"\0"),
    "padding that never ends": _pkcs1(_digest_info, separator=b"\xff"),
    "zeros behind the digest": _pkcs1(_digest_info, behind=bytes(8)),
    "a byte behind the digest": _pkcs1(_digest_info, behind=b"\1"),
    "short padding, and garbage": _short_padding,
    "a PSS signature": lambda data, _key: sign("PS256", data),
    **_numbers_for_rsa("RS256"),
}

# --- RSASSA-PSS (RFC 8017, sections 8.1 and 9.1) ---------------------------------------------------------------------

_Change = Callable[[bytes], bytes]


def _same(data: bytes) -> bytes:
    return data


def _mask(seed: bytes, size: int, digest: str) -> bytes:
    """MGF1 (RFC 8017, appendix B.2.1)."""
    blocks = (hashlib.new(digest, seed + counter.to_bytes(4, "big")).digest() for counter in range(size))
    made = b""
    while len(made) < size:
        made += next(blocks)
    return made[:size]


def _pss(
    *,
    salt: bytes = b"s" * _HASH,
    digest: str = "sha256",
    mask_digest: str = "sha256",
    of_data: _Change = _same,
    of_hash: _Change = _same,
    of_block: _Change = _same,
    of_masked: _Change = _same,
    of_whole: _Change = _same,
) -> Maker:
    """Encode as EMSA-PSS does, but for one change at one of its steps."""

    def make(data: bytes, key: PrivateKey) -> bytes:
        hashed = hashlib.new(digest, bytes(8) + of_data(hashlib.new(digest, data).digest()) + salt).digest()
        room = _SIZE - len(hashed) - 1
        block = of_block(bytes(room - len(salt) - 1) + b"\1" + salt)
        mask = _mask(hashed, room, mask_digest)
        masked = of_masked(bytes(one ^ other for one, other in zip(block, mask, strict=True)))
        # One bit less than the modulus has (section 9.1.1, step 11).
        return _signature_of(of_whole(bytes([masked[0] & 0x7F]) + masked[1:] + of_hash(hashed) + b"\xbc"), key)

    return make


def _xor(position: int, mask: int = 1) -> _Change:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[position] ^= mask
        return bytes(changed)

    return change


_PS256: Mapping[str, Maker] = {
    **{f"a salt of {size} bytes": _pss(salt=b"s" * size) for size in (0, 1, 20, 31, 33, 64, _SIZE - _HASH - 2)},
    "SHA-512 throughout": _pss(digest="sha512", mask_digest="sha512"),
    "SHA-1 throughout": _pss(digest="sha1", mask_digest="sha1"),
    "SHA-1 for the mask": _pss(mask_digest="sha1"),
    "SHA-512 for the mask": _pss(mask_digest="sha512"),
    **{f"byte {place} of the data's hash changed": _pss(of_data=_xor(place)) for place in (0, 15, 31)},
    **{f"byte {place} of the hash changed": _pss(of_hash=_xor(place)) for place in (0, 15, 31)},
    "a hash of zeros": _pss(of_hash=lambda hashed: bytes(len(hashed))),
    **{f"byte {place} of the padding changed": _pss(of_block=_xor(place)) for place in (1, 100, 189)},
    "another byte before the salt": _pss(of_block=_xor(190, 3)),
    **{f"byte {place} of the salt changed": _pss(of_block=_xor(place)) for place in (191, 222)},
    **{f"byte {place} of the masked block changed": _pss(of_masked=_xor(place)) for place in (1, 110, 222)},
    "another byte at the end": _pss(of_whole=lambda whole: whole[:-1] + b"\xcc"),
    "a zero at the end": _pss(of_whole=lambda whole: whole[:-1] + b"\0"),
    "its greatest bit set": _pss(of_whole=lambda whole: bytes([whole[0] | 0x80]) + whole[1:]),
    "a PKCS #1 v1.5 signature": lambda data, _key: sign("RS256", data),
    **_numbers_for_rsa("PS256"),
}

# --- ECDSA on P-256 (RFC 7518, section 3.4) --------------------------------------------------------------------------

# The group's order (FIPS 186-5, by way of SEC 2, section 2.4.2).
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_EDGES: Mapping[str, int] = {"0": 0, "1": 1, "n - 1": _ORDER - 1, "n": _ORDER, "2^256 - 1": 2**256 - 1}


def _pair(first: int, second: int) -> bytes:
    size = max(32, *((number.bit_length() + 7) // 8 for number in (first, second)))
    return first.to_bytes(size, "big") + second.to_bytes(size, "big")


def _fixed(raw: bytes) -> Maker:
    return lambda _data, _key: raw


def _halves(change: Callable[[int, int], tuple[int, int]]) -> Maker:
    def make(data: bytes, _key: PrivateKey) -> bytes:
        raw = sign("ES256", data)
        return _pair(*change(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")))

    return make


def _in_der(data: bytes, key: PrivateKey) -> bytes:
    assert isinstance(key, EllipticCurvePrivateKey)
    return key.sign(data, ECDSA(SHA256()))


_ES256: Mapping[str, Maker] = {
    **{
        f"r {name}, s {other}": _fixed(_pair(first, second))
        for name, first in _EDGES.items()
        for other, second in _EDGES.items()
    },
    "n added to r": _halves(lambda r, s: (r + _ORDER, s)),
    "n added to s": _halves(lambda r, s: (r, s + _ORDER)),
    "2^256 added to r": _halves(lambda r, s: (r + 2**256, s)),
    "2^384 added to s": _halves(lambda r, s: (r, s + 2**384)),
    "r less n, as a number below zero would be": _halves(lambda r, s: ((r - _ORDER) % 2**256, s)),
    "r and s exchanged": _halves(lambda r, s: (s, r)),
    "r for both": _halves(lambda r, _: (r, r)),
    "DER": _in_der,
    **_lengths("ES256"),
}

# --- Ed25519 (RFC 8032, section 5.1) ---------------------------------------------------------------------------------

_ED_ORDER = 2**252 + 27742317777372353535851937790883648493
_NEUTRAL = b"\1" + bytes(31)


def _s_shifted(data: bytes, _key: PrivateKey) -> bytes:
    """Add the group's order to S, which section 5.1.7 has verifiers refuse."""
    raw = sign("EdDSA", data)
    return raw[:32] + (int.from_bytes(raw[32:], "little") + _ED_ORDER).to_bytes(32, "little")


_EDDSA: Mapping[str, Maker] = {
    "S out of range": _s_shifted,
    "zeros": _fixed(bytes(64)),
    "the neutral point, and zero": _fixed(_NEUTRAL + bytes(32)),
    "the neutral point written in another way, and zero": _fixed(b"\xee" + b"\xff" * 30 + b"\x7f" + bytes(32)),
    "the neutral point, and the group's order": _fixed(_NEUTRAL + _ED_ORDER.to_bytes(32, "little")),
    "no point": _changed("EdDSA", lambda raw: b"\2" + bytes(31) + raw[32:]),
    "all bits set": _fixed(b"\xff" * 64),
    "its halves exchanged": _changed("EdDSA", lambda raw: raw[32:] + raw[:32]),
    "of the data's hash": lambda data, _key: sign("EdDSA", hashlib.sha512(data).digest()),
    **_lengths("EdDSA"),
}

BAD: Mapping[str, Mapping[str, Maker]] = {"RS256": _RS256, "PS256": _PS256, "ES256": _ES256, "EdDSA": _EDDSA}
"""Signatures that prove nothing, by algorithm and name."""

GOOD: Sequence[object] = (
    pytest.param("RS256", _pkcs1(_digest_info), id="RS256 made by hand"),
    pytest.param("PS256", _pss(), id="PS256 made by hand"),
    pytest.param("PS256", _pss(salt=bytes(_HASH)), id="PS256 with a salt of zeros"),
    pytest.param("PS256", _pss(salt=b"\xff" * _HASH), id="PS256 with a salt of ones"),
    pytest.param("ES256", _halves(lambda r, s: (r, s)), id="ES256 put together"),
    pytest.param("EdDSA", _changed("EdDSA", bytes), id="EdDSA"),
)
"""Good ones, made as the bad ones are: so it is the change that makes those bad."""
