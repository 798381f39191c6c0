"""What POST-policy forms claim and sign: who, until when, under which conditions, and how that is written."""

import json
import re
from base64 import b16encode, b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from tests.entrypoints.http.live_store import ACCESS_KEY, BUCKET, REGION, SECRET_KEY
from tests.hard.hostile.forms import (
    KEY,
    LENGTH,
    OWN_FIELDS,
    TAKEN,
    Change,
    Row,
    adding,
    later,
    on,
    putting,
    replacing,
    setting,
    to,
    without,
)
from tests.hard.hostile.store import (
    ARGUMENT,
    DENIED,
    FIELDS_TOO_LARGE,
    KEY_TOO_LONG,
    MD5,
    MISMATCH,
    NO_DIGEST,
    POLICY,
    PREFIX,
    TOO_LARGE,
    TOO_SMALL,
    UNKNOWN_KEY,
)

OWN: Sequence[Row] = [
    *[
        (f"the key {key!r}", ARGUMENT, setting(key=key))
        for key in (
            *("", " ", ".", "..", "/", "../x", "a/../b", "a/..", "./a", "/a", "a/", "a//b", "a/ /b", "a/. /b", "a/.. "),
            *("a\\b", "..\\..\\b", "a\0", "a\0/../b", "a\nb", "a\r\nb", "a\x1bb", "a\x7fb", "a\x85b", "a\x9fb"),
            *(
                "a\u202eb",
                "a\u2066b",
                "a\u200fb",
                "e\u0301",
                "\u212b",
                "a\ufffeb",
                "a\uffffb",
                "x" * 256,
                "\u00e9" * 128,
            ),
            *("a/${FileName}/b", "a/${FILENAME}"),
        )
    ],
    ("a long key", KEY_TOO_LONG, setting(key="/".join(["x" * 250] * 5))),
    ("a very long key", KEY_TOO_LONG, setting(key="x" * 5_000)),
    *[
        (f"the MD5 {digest!r}", NO_DIGEST, putting("Content-MD5", digest))
        for digest in (
            *("", "x", "=" * 24, "A" * 24, "A" * 22, "A" * 21 + "B==", "AAAAAAAAAAAAAAAAAAAAAA=", f"{MD5}=", f" {MD5}"),
            *(f"{MD5}\n", f"{MD5}, {MD5}", b64decode(MD5).hex(), "-" * 22 + "==", "\uff21" * 22 + "==", f"{MD5}\0"),
        )
    ],
    *[
        (f"{what} in {name}", ARGUMENT, putting(name, text))
        for name in ("Content-Type", "x-amz-meta-note")
        for what, text in {
            "a header": "x\r\nSet-Cookie: a=b",
            "a line feed": "x\ny",
            "NUL": "x\0y",
            "an escape": "\x1b[2J",
            "a deletion": "x\x7f",
        }.items()
    ],
    *[
        (f"the metadata {name!r}", ARGUMENT, putting(name, "x"))
        for name in ("x-amz-meta-a b", "x-amz-meta-\u00e9", "x-amz-meta-a:b", "x-amz-meta-a/b")
    ],
]

SIGNERS: Sequence[Row] = [
    ("another secret", MISMATCH, setting(secret="AWS4another")),
    ("the bare secret", MISMATCH, setting(secret=SECRET_KEY)),
    ("no secret", MISMATCH, setting(secret="")),
    ("the access key as secret", MISMATCH, setting(secret=f"AWS4{ACCESS_KEY}")),
    ("sha1", MISMATCH, setting(digest="sha1")),
    ("sha512", MISMATCH, setting(digest="sha512")),
    ("another access key", UNKNOWN_KEY, setting(access_key="AKIDNOBODY")),
    ("another letter case of the access key", UNKNOWN_KEY, setting(access_key=ACCESS_KEY.lower())),
    ("an access key with a slash", UNKNOWN_KEY, setting(access_key=f"{ACCESS_KEY}/x")),
    ("an access key with a blank", UNKNOWN_KEY, setting(access_key=f" {ACCESS_KEY}")),
    ("an access key with NUL", UNKNOWN_KEY, setting(access_key=f"{ACCESS_KEY}\0")),
    ("no access key", ARGUMENT, setting(access_key="")),
    ("another region", ARGUMENT, setting(region="us-east-1")),
    ("no region", ARGUMENT, setting(region="")),
    ("another letter case of the region", ARGUMENT, setting(region=REGION.upper())),
    ("a region for all", ARGUMENT, setting(region="*")),
    ("another service", ARGUMENT, setting(service="sts")),
    ("the service of express buckets", ARGUMENT, setting(service="s3express")),
    ("another letter case of the service", ARGUMENT, setting(service="S3")),
    ("another terminator", ARGUMENT, setting(terminator="aws5_request")),
    ("no terminator", ARGUMENT, setting(terminator="")),
    ("another day than the date's", ARGUMENT, setting(day="20130524")),
    ("a day that is none", ARGUMENT, setting(day="2013-5-4")),
    ("a day in other digits", ARGUMENT, setting(day="\uff12\uff10\uff12\uff16\uff10\uff11\uff10\uff11")),
    *[
        (f"the algorithm {algorithm!r}", ARGUMENT, setting(algorithm=algorithm))
        for algorithm in (
            *("AWS4-HMAC-SHA1", "AWS4-HMAC-SHA512", "AWS4-ECDSA-P256-SHA256", "aws4-hmac-sha256", "none", "AWS4"),
            *("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256\0", "AWS4-HMAC-SHA256,none", "AWS4-HMAC-SHA256-PAYLOAD"),
        )
    ],
    ("signed six days ago", TAKEN, later(days=-6)),
    ("signed eight days ago", DENIED, later(days=-8)),
    ("signed long ago", DENIED, later(days=-10_000)),
    ("a clock that is a little ahead", TAKEN, later(minutes=10)),
    ("signed in the future", DENIED, later(minutes=20)),
    ("signed in the far future", DENIED, later(days=100_000)),
]

_KEY_EXACT = {"key": KEY}

_NO_CONDITIONS: tuple[Any, ...] = (
    *(None, 1, True, "eq", "", [], {}, [[]], [{}], ["eq"], ["eq", "$key"], ["eq", "$key", KEY, ""]),
    *(["eq", "key", KEY], ["eq", "$", KEY], ["eq", "", KEY], ["eq", None, KEY], ["eq", 1, KEY]),
    *(["eq", "$key", None], ["eq", "$key", 1], ["eq", "$key", [KEY]], ["eq", "$key", {"a": KEY}]),
    *(["eq", ["$key"], KEY], [["eq", "$key", KEY]], [1, "$key", KEY], [None, "$key", KEY]),
    *(["like", "$key", KEY], ["ends-with", "$key", KEY], ["in", "$key", [KEY]], ["starts_with", "$key", ""]),
    *(["startswith", "$key", ""], ["ne", "$key", "x"], ["", "$key", KEY], ["eq ", "$key", KEY]),
    *(["\ufb05arts-with", "$key", ""], ["eq\0", "$key", KEY], ["not", ["eq", "$key", KEY]]),
    *({"key": None}, {"key": 1}, {"key": True}, {"key": [KEY]}, {"key": {"eq": KEY}}, {"": "x"}),
    *({"key": KEY, "acl": "private"}, {"key": "\ud800"}, {"x-amz-meta-\udfff": "x"}),
)
_NO_EXPIRATIONS: tuple[Any, ...] = (
    *(None, True, 4_070_908_800, 4e9, [], {}, ["2099-01-01T00:00:00Z"], "", "never", "0", "Infinity"),
    *("2099-01-01", "2099-01-01T00:00Z", "2099-01-01T00:00:00", "2099-01-01T00:00:00+00:00"),
    *("2099-01-01T00:00:00z", "2099-01-01t00:00:00Z", "2099-01-01 00:00:00Z", "20990101T000000Z"),
    *("2099-01-01T00:00:00.Z", "2099-01-01T00:00:00.1Z", "2099-01-01T00:00:00.123456Z"),
    *("2099-01-01T00:00:00,123Z", "2099-W01-1T00:00:00Z", "2099-001T00:00:00Z", "2099-02-29T00:00:00Z"),
    *("2099-13-01T00:00:00Z", "2099-00-01T00:00:00Z", "2099-01-01T25:00:00Z", "2099-01-01T24:00:00Z"),
    *("2099-01-01T00:60:00Z", "2099-01-01T00:00:60Z", "0000-01-01T00:00:00Z", "12099-01-01T00:00:00Z"),
    *("+2099-01-01T00:00:00Z", "-2099-01-01T00:00:00Z", " 2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z "),
    *("2099-01-01T00:00:00Z\n", "2099-01-01T00:00:00Z\0", "2099-1-1T0:0:0Z", "209\uff19-01-01T00:00:00Z"),
    *("Thu, 01 Jan 2099 00:00:00 GMT", "2099-01-01T00:00:00ZZ", "2099-01-01T00:00:00-23:59"),
)

CONDITIONS: Sequence[Row] = [
    *[(f"no condition on {name}", DENIED, on(name)) for name in ("bucket", *OWN_FIELDS)],
    ("no condition on the date", DENIED, on("x-amz-date")),
    ("no condition on the credential", DENIED, on("x-amz-credential")),
    ("no condition on the algorithm", DENIED, on("x-amz-algorithm")),
    ("no range of lengths", TAKEN, on("content-length-range")),
    ("a condition twice", TAKEN, adding(_KEY_EXACT)),
    ("conditions that contradict each other", DENIED, adding({"key": f"{PREFIX}/other.csv"})),
    ("a condition on a field that is not there", DENIED, adding({"acl": "private"})),
    ("a condition on a field that is not there, any value", DENIED, adding(["starts-with", "$acl", ""])),
    ("a condition on no value", DENIED, adding({"x-amz-meta-other": ""})),
    ("another bucket", DENIED, on("bucket", {"bucket": "others"})),
    ("another letter case of the bucket", DENIED, on("bucket", {"bucket": BUCKET.upper()})),
    ("any bucket", DENIED, on("bucket", ["starts-with", "$bucket", ""])),
    ("the beginning of the bucket", DENIED, on("bucket", ["starts-with", "$bucket", BUCKET[:4]])),
    ("another key", DENIED, on("key", {"key": f"{PREFIX}/other.csv"})),
    ("another letter case of the key", DENIED, on("key", {"key": KEY.upper()})),
    ("a longer key", DENIED, on("key", {"key": f"{KEY}x"})),
    ("the beginning of the key, exactly", DENIED, on("key", {"key": PREFIX})),
    ("an encoded key", DENIED, on("key", {"key": KEY.replace("/", "%2F")})),
    ("a pattern of keys", DENIED, on("key", {"key": f"{PREFIX}/*"})),
    ("the beginning of the key", TAKEN, on("key", ["starts-with", "$key", PREFIX])),
    ("another beginning of the key", DENIED, on("key", ["starts-with", "$key", "bob/"])),
    ("operators and names in other letter case", TAKEN, on("key", ["EQ", "$KEY", KEY])),
    ("a name with two dollars", DENIED, on("key", ["eq", "$$key", KEY])),
    ("a name with a dollar in an object", DENIED, on("key", {"$key": KEY})),
    ("a name with a blank", DENIED, on("key", {"key ": KEY})),
    ("a name with NUL", DENIED, on("key", {"key\0": KEY})),
    ("a name with a Kelvin sign", DENIED, on("key", {"\u212aey": KEY})),
    ("the type of a list of types", DENIED, on("Content-Type", ["starts-with", "$Content-Type", "text/csv,"])),
    ("an algorithm that starts with", DENIED, on("x-amz-algorithm", ["starts-with", "$x-amz-algorithm", "AWS4"])),
    ("a status that starts with", DENIED, on("success_action_status", ["starts-with", "$success_action_status", ""])),
    ("a condition on the policy", DENIED, adding({"policy": "x"})),
    ("a condition on the file", DENIED, adding({"file": "x"})),
    *[(f"the condition {condition!r}", POLICY, adding(condition)) for condition in _NO_CONDITIONS],
    *[
        (f"the conditions {conditions!r}", POLICY, setting(conditions=conditions))
        for conditions in (None, 1, True, "x", "", {}, {"0": _KEY_EXACT}, {"bucket": BUCKET, "key": KEY})
    ],
    ("no conditions", DENIED, setting(conditions=[])),
    ("conditions within a list", POLICY, lambda policy: {**policy, "conditions": [policy["conditions"]]}),
    ("no member conditions", POLICY, without("conditions")),
    ("another member", POLICY, setting(version="2012-10-17")),
    ("another letter case of conditions", POLICY, setting(Conditions=[])),
    ("another letter case of expiration", POLICY, setting(Expiration="2099-01-01T00:00:00Z")),
]


def _range(*bounds: Any) -> Change:
    return on("content-length-range", ["content-length-range", *bounds])


RANGES: Sequence[Row] = [
    ("a wide range", TAKEN, _range(0, 1 << 40)),
    ("a range without end", TAKEN, _range(0, 10**30)),
    ("operator in other letter case", TAKEN, on("content-length-range", ["Content-Length-Range", LENGTH, LENGTH])),
    ("a range below", TOO_LARGE, _range(0, LENGTH - 1)),
    ("a range above", TOO_SMALL, _range(LENGTH + 1, 1 << 40)),
    ("a range far above", TOO_SMALL, _range(10**30, 10**31)),
    ("nothing", TOO_LARGE, _range(0, 0)),
    ("an inverted range", TOO_LARGE, _range(LENGTH, 0)),
    ("an inverted range above", TOO_SMALL, _range(LENGTH + 9, LENGTH + 1)),
    ("a greatest length that is negative", TOO_LARGE, _range(0, -1)),
    ("a second range", TOO_LARGE, adding(["content-length-range", 0, 1])),
    ("a second range in other letter case", TOO_LARGE, adding(["CONTENT-LENGTH-RANGE", 0, 1])),
    ("a range in an object", DENIED, adding({"content-length-range": "1"})),
    *[
        (f"the range {bounds!r}", POLICY, _range(*bounds))
        for bounds in (
            *((), (LENGTH,), (0, LENGTH, LENGTH), ([0, LENGTH],), ({"least": 0},), ("$x", "1"), (None, None)),
            *((-1, LENGTH), (0.0, LENGTH), (0, LENGTH + 0.0), (0, 1e3), (0.5, LENGTH), ("0", LENGTH), (0, str(LENGTH))),
            *((False, LENGTH), (0, True), (None, LENGTH), (0, None), ([0], [LENGTH]), (-(10**30), LENGTH)),
            *((float("nan"), LENGTH), (0, float("inf")), (float("-inf"), float("inf")), (0, float("nan"))),
        )
    ],
]

EXPIRATIONS: Sequence[Row] = [
    ("no expiration", POLICY, without("expiration")),
    ("just expired", DENIED, setting(expiration="2024-02-29T12:00:00Z")),
    ("expired in the first year", DENIED, setting(expiration="0001-01-01T00:00:00Z")),
    ("never expiring", TAKEN, setting(expiration="9999-12-31T23:59:59Z")),
    ("milliseconds", TAKEN, setting(expiration="2099-01-01T00:00:00.123Z")),
    *[(f"the expiration {text!r}", POLICY, setting(expiration=text)) for text in _NO_EXPIRATIONS],
]


def _with_member(text: bytes) -> Change:
    """Put text in front of the first member."""
    return replacing(b"{", b"{" + text)


DOCUMENTS: Sequence[Row] = [
    ("white space around", TAKEN, lambda document: b" \t\r\n" + document + b"\n "),
    ("escapes", TAKEN, replacing(b'"key"', b'"\\u006bey"')),
    ("bytes as they are", TAKEN, lambda document: document.replace(b", ", b",")),
    ("nothing", POLICY, lambda _: b""),
    ("a byte order mark", POLICY, lambda document: b"\xef\xbb\xbf" + document),
    ("utf-16", POLICY, lambda document: document.decode().encode("utf-16")),
    ("utf-16 without a mark", POLICY, lambda document: document.decode().encode("utf-16-le")),
    ("utf-32", POLICY, lambda document: document.decode().encode("utf-32-be")),
    ("utf-7", POLICY, lambda document: document.replace(b'"', b"+ACI-")),
    ("not utf-8", POLICY, replacing(b"????", b"\xff")),
    ("an overlong encoding", POLICY, replacing(b"????", b"\xc0\xaf")),
    ("a surrogate in utf-8", POLICY, replacing(b"????", b"\xed\xa0\x80")),
    ("half a pair of surrogates", POLICY, replacing(b"????", b"\\ud83d")),
    ("an expiration twice", POLICY, _with_member(b'"expiration": "2099-01-01T00:00:00Z", ')),
    ("an expiration twice, once escaped", POLICY, _with_member(b'"\\u0065xpiration": "2099-01-01T00:00:00Z", ')),
    ("conditions twice", POLICY, _with_member(b'"conditions": [], ')),
    ("a condition with a name twice", POLICY, replacing(b'{"key": ', b'{"key": "x", "key": ')),
    ("not a number", POLICY, replacing(str(LENGTH).encode(), b"NaN")),
    ("infinity", POLICY, replacing(str(LENGTH).encode(), b"Infinity")),
    ("a hexadecimal number", POLICY, replacing(str(LENGTH).encode(), hex(LENGTH).encode())),
    ("an octal number", POLICY, replacing(str(LENGTH).encode(), b"026")),
    ("a number with a plus", POLICY, replacing(str(LENGTH).encode(), f"+{LENGTH}".encode())),
    ("an exponent", POLICY, replacing(str(LENGTH).encode(), b"22e0")),
    ("more digits than Python reads", POLICY, replacing(str(LENGTH).encode(), b"1" + b"0" * 5_000)),
    ("a comma too much", POLICY, replacing(b"]}", b"],}")),
    ("a comment", POLICY, _with_member(b"/* comment */")),
    ("single quotes", POLICY, lambda document: document.replace(b'"', b"'")),
    ("names without quotes", POLICY, replacing(b'"conditions"', b"conditions")),
    ("a line end in a text", POLICY, replacing(b"????", b"\n")),
    ("NUL in a text", POLICY, replacing(b"????", b"\0")),
    ("NUL behind", POLICY, lambda document: document + b"\0"),
    ("another document behind", POLICY, lambda document: document + document),
    ("text behind", POLICY, lambda document: document + b"x"),
    ("a document that is cut off", POLICY, lambda document: document[:-1]),
    ("within a list", POLICY, lambda document: b"[" + document + b"]"),
    ("within a text", POLICY, lambda document: json.dumps(document.decode()).encode()),
    *[(f"{text!r}", POLICY, to(text)) for text in (b"null", b"1", b'"x"', b"[]", b"true", b"{}")],
    ("many lists", POLICY, lambda _: b"[" * 10_000),
    ("many lists in a condition", POLICY, replacing(b'"conditions": [', b'"conditions": [' + b"[" * 500 + b"]" * 500)),
    ("many objects", POLICY, lambda _: b'{"a":' * 2_000 + b"1" + b"}" * 2_000),
    ("too long", FIELDS_TOO_LARGE, lambda document: document + b" " * 20_000),
]

ENCODINGS: Sequence[Row] = [
    ("the alphabet of URLs", POLICY, lambda text: text.replace("+", "-").replace("/", "_")),
    ("a minus", POLICY, replacing("+", "-")),
    ("an underscore", POLICY, replacing("/", "_")),
    ("a plus that became a blank", POLICY, replacing("+", " ")),
    ("percent signs", POLICY, lambda text: text.replace("+", "%2B").replace("/", "%2F")),
    ("white space in front", POLICY, lambda text: f" {text}"),
    ("a line end behind", POLICY, lambda text: f"{text}\n"),
    ("lines", POLICY, lambda text: "\r\n".join(re.findall(".{1,76}", text))),
    ("too much padding", POLICY, lambda text: f"{text}="),
    ("much padding", POLICY, lambda text: f"{text}===="),
    ("padding in the middle", POLICY, lambda text: f"{text[:40]}=={text[40:]}"),
    ("padding in front", POLICY, lambda text: f"={text}"),
    ("no padding", POLICY, lambda text: f"{text.rstrip('=')[:-2]}"),
    ("one character less", POLICY, lambda text: text[:-1]),
    ("one character more", POLICY, lambda text: f"{text}A"),
    ("twice", POLICY, lambda text: b64encode(text.encode()).decode()),
    ("two of them", POLICY, lambda text: text + text),
    ("hexadecimal", POLICY, lambda text: b16encode(text.encode()).decode()),
    ("a URL", POLICY, lambda text: f"data:application/json;base64,{text}"),
    ("a byte order mark", POLICY, lambda text: f"\ufeff{text}"),
    ("NUL behind", POLICY, lambda text: f"{text}\0"),
    ("NUL in the middle", POLICY, lambda text: f"{text[:40]}\0{text[40:]}"),
    ("a letter of another alphabet", POLICY, lambda text: f"\u0430{text[1:]}"),
    ("wide letters", POLICY, lambda text: chr(ord(text[0]) + 0xFEE0) + text[1:]),
    ("lower case", POLICY, str.lower),
    ("nothing", POLICY, lambda _: ""),
    ("JSON itself", POLICY, lambda _: '{"expiration": "2099-01-01T00:00:00Z", "conditions": []}'),
]

STAGES: Mapping[str, Sequence[Row]] = {
    "own": OWN,
    "signer": SIGNERS,
    "policy": [*CONDITIONS, *RANGES, *EXPIRATIONS],
    "document": DOCUMENTS,
    "encoded": ENCODINGS,
}
"""Each table by the stage that its rows change."""
