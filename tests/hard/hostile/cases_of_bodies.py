"""Bodies that aren't what a body must be: not strict JSON, of another shape, too long, or compressed."""

import gzip
import json
import zlib
from collections.abc import Callable, Sequence

from attrs import evolve

from tests.hard.hostile.service import MAX_BODY_BYTES, Case, Change, Request, cases, with_headers

WITH_BODY = ("authorize", "verify", "presign paths", "presign urls", "resume", "complete", "abort")
"""The kinds of requests that have a body."""


def _text(change: Callable[[str], str | bytes]) -> Change:
    """Write a good body in another way."""

    def changed(request: Request) -> Request:
        text = change(json.dumps(request.body))
        return evolve(request, body=text if isinstance(text, bytes) else text.encode())

    return changed


def _more(member: str | bytes) -> Change:
    """Write a member behind those of a good body, where every other member would be ignored."""
    raw = member if isinstance(member, bytes) else member.encode()
    return _text(lambda text: text[:-1].encode() + b', "more": ' + raw + b"}")


def _deep(opening: str, closing: str, levels: int) -> str:
    return opening * levels + "1" + closing * levels


_MEMBERS: dict[str, str | bytes] = {
    # RFC 8259, sections 6 and 7: numbers and strings
    **{
        f"the number {number}": number
        for number in (
            *("NaN", "nan", "Infinity", "-Infinity", "inf", "+1", ".5", "-.5", "1.", "01", "-01", "-", "0x1F", "1e"),
            *("1e+", "1.e1", "1_000", "1,5", "0b1", "0o7", "\u0661", "\uff11", "- 1", "1 2", "1n"),
        )
    },
    "a number of 5,000 digits": "9" * 5_000,
    "a number beyond all floats": "1e400",
    "a number below all floats": "-1e400",
    "undefined": "undefined",
    "None": "None",
    "True": "True",
    "nothing": "",
    "a word": "word",
    "single quotes": "'x'",
    "an open string": '"x',
    "a line end in a string": '"a\nb"',
    "a tab in a string": '"a\tb"',
    "a NUL in a string": '"a\0b"',
    "an unknown escape": '"\\x41"',
    "an escape of a line end": '"a\\\nb"',
    "half an escape": '"\\u12"',
    "an escape in braces": '"\\u{41}"',
    "an escape with a sign": '"\\u+041"',
    "a high surrogate": '"\\ud800"',
    "a low surrogate": '"\\udc00"',
    "surrogates in the wrong order": '"\\udc00\\ud800"',
    "a high surrogate and a letter": '"\\ud800a"',
    "a surrogate as a name": '{"\\udfff": 1}',
    # RFC 3629, section 3: UTF-8
    "a byte that begins nothing": b'"\x80"',
    "a byte that is never used": b'"\xff"',
    "Latin-1": b'"\xe9"',
    "a character that is cut": b'"\xe2\x82"',
    "an overlong slash": b'"\xc0\xaf"',
    "an overlong NUL": b'"\xc0\x80"',
    "an overlong dot of three bytes": b'"\xe0\x80\xae"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a pair of surrogates in UTF-8": b'"\xed\xa0\xbd\xed\xb8\x80"',
    "a character beyond Unicode": b'"\xf4\x90\x80\x80"',
    "a character of five bytes": b'"\xf8\x88\x80\x80\x80"',
    "not UTF-8 outside of strings": b"\xa0 1",
    # Containers
    "a comma too many in a list": "[1,]",
    "a comma before": "[,1]",
    "two commas": "[1,,2]",
    "a list that is open": "[1",
    "a list closed by a brace": "[1}",
    "an object closed by a bracket": '{"a": 1]',
    "an object with a comma too many": '{"a": 1,}',
    "a name without a value": '{"a"}',
    "a name and a colon": '{"a":}',
    "two colons": '{"a":: 1}',
    "a name without quotes": "{a: 1}",
    "a number as a name": "{1: 1}",
    "null as a name": "{null: 1}",
    # Twice
    "a member twice": '{"a": 1, "a": 2}',
    "the same member twice": '{"a": 1, "a": 1}',
    "a member twice, once escaped": '{"a": 1, "\\u0061": 2}',
    "a member twice, both escaped in their own ways": '{"\\u002f": 1, "\\/": 2}',
    "a name without letters twice": '{"": 1, "": 2}',
    "a name of colons twice": '{"a:b": ":", "a:b": "\\":"}',
    "a member twice, among others": '{"b": {"a": 1}, "a": [1], "b": 1}',
    "a member twice, deep inside": '[[[[{"x": [{"a": 1, "a": 2}]}]]]]',
    "an object twice": '{"a": {}, "a": {}}',
    # Depth
    "lists 32 deep": _deep("[", "]", 32),
    "objects 32 deep": _deep('{"a":', "}", 32),
    "lists 1,000 deep": _deep("[", "]", 1_000),
    "lists 100,000 deep": _deep("[", "]", 100_000),
    "lists 100,000 deep, and open": "[" * 100_000,
    "objects 100,000 deep": _deep('{"a":', "}", 100_000),
    "lists and objects by turns": _deep('[{"a":', "}]", 5_000),
}

_TEXTS: dict[str, Callable[[str], str | bytes]] = {
    "nothing": lambda _: "",
    "white space": lambda _: " \r\n\t",
    "a NUL": lambda _: "\0",
    "cut": lambda text: text[:-1],
    "half of it": lambda text: text[: len(text) // 2],
    "without its start": lambda text: text[1:],
    "twice": lambda text: f"{text}{text}",
    "in two lines": lambda text: f"{text}\n{text}",
    "more behind": lambda text: f"{text}x",
    "a NUL behind": lambda text: f"{text}\0",
    "a bracket behind": lambda text: f"{text}]",
    "a comma behind": lambda text: f"{text},",
    "a comma too many": lambda text: f"{text[:-1]},}}",
    "a comment before": lambda text: f"/* x */{text}",
    "a comment behind": lambda text: f"{text}// x",
    "a comment inside": lambda text: text.replace(":", ":/**/", 1),
    "in parentheses": lambda text: f"({text})",
    "what keeps scripts from reading it": lambda text: f")]}}',\n{text}",
    "in single quotes": lambda text: text.replace('"', "'"),
    "in typographic quotes": lambda text: text.replace('"', "\u201c", 1),
    "without quotes": lambda text: text.replace('"', ""),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "form feeds": lambda text: text.replace(" ", "\f"),
    "the line ends of other scripts": lambda text: text.replace(" ", "\u2028"),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "UTF-7": lambda text: text.encode("utf-7").replace(b"{", b"+AHs-"),
    "compressed, without a word of it": lambda text: gzip.compress(text.encode()),
    "a form": lambda text: f"body={text}",
    "a form of parts": lambda text: f'--x\r\nContent-Disposition: form-data; name="body"\r\n\r\n{text}\r\n--x--\r\n',
    "XML": lambda _: '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "YAML": lambda _: "metadata:\n  owner: alice\n",
    "metadata twice": lambda text: text.replace("{", '{"metadata": {"owner": "bob"}, ', 1),
    "metadata twice, once escaped": lambda text: text.replace("{", '{"metad\\u0061ta": {}, ', 1),
    "owner twice, ours last": lambda text: text.replace('"owner"', '"owner": "bob", "owner"', 1),
    "owner twice, ours first": lambda text: text.replace('"owner": "alice"', '"owner": "alice", "owner": "bob"', 1),
    "the same owner twice": lambda text: text.replace('"owner"', '"owner": "alice", "owner"', 1),
}

_NO_OBJECTS = ("[]", "null", "1", '"x"', "true", "[{}]", '[["metadata", {}]]', "[" * 32 + "]" * 32)

NOT_STRICT: Sequence[Case] = [
    *(Case(f"a member: {name}", _more(raw), 400, "invalid_json") for name, raw in _MEMBERS.items()),
    *(Case(name, _text(change), 400, "invalid_json") for name, change in _TEXTS.items()),
    *cases("instead", _NO_OBJECTS, lambda text: _text(lambda _: str(text)), 400, "invalid_request"),
]
"""Bodies that aren't strict JSON, or no object."""


_BOMB = gzip.compress(bytes(10**7))


def _of_size(size: int, *, is_chunked: bool) -> Change:
    return lambda request: evolve(request, body=(request.content or b"").ljust(size), is_chunked=is_chunked)


def _coded(coding: str, encode: Callable[[bytes], bytes] = bytes) -> Change:
    return lambda request: evolve(with_headers(request, Content_Encoding=coding), body=encode(request.content or b""))


NOT_TAKEN: Sequence[Case] = [
    *(
        Case(
            f"{size:,} bytes{', in chunks' * is_chunked}",
            _of_size(size, is_chunked=is_chunked),
            413,
            "body_too_large",
        )
        for size in (MAX_BODY_BYTES + 1, 3 * MAX_BODY_BYTES)
        for is_chunked in (False, True)
    ),
    Case("gzip", _coded("gzip", gzip.compress), 415, "unsupported_media_type"),
    Case("deflate", _coded("deflate", zlib.compress), 415, "unsupported_media_type"),
    Case("much in little", _coded("gzip", lambda _: _BOMB), 415, "unsupported_media_type"),
    *(
        Case(f"the coding {coding!r}", _coded(coding), 415, "unsupported_media_type")
        for coding in (
            *("GZIP", "br", "zstd", "compress", "x-gzip", "aws-chunked", "identity, gzip", "gzip, identity", "*"),
            *("gzip;q=0", "identity;q=1", "chunked", "x", "", '"identity"', "identity,identity", "\u00e9"),
            "\u0130dentity",
        )
    ),
]
"""Bodies that aren't even read, or not to their end."""
