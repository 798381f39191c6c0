"""Presigned URLs: what is done to all of them, and to those of one kind."""

from collections.abc import Mapping, Sequence

from tests.entrypoints.http.live_store import ACCESS_KEY, REGION, SECRET_KEY
from tests.hard.hostile.forms import Row, doubled, left_out, renamed, replacing, requesting, setting, to
from tests.hard.hostile.signed_urls import (
    KEY,
    PARAMETERS,
    for_key,
    later,
    parameter,
    saying,
    with_headers,
    without_header,
)
from tests.hard.hostile.store import (
    ARGUMENT,
    BAD_DIGEST,
    BAD_TOKEN,
    BAD_URI,
    DENIED,
    KEY_TOO_LONG,
    MAX_FILE_BYTES,
    MISMATCH,
    NO_ANSWER,
    NO_BUCKET,
    NO_DIGEST,
    NO_HTTP,
    NO_KEY,
    NO_LENGTH,
    NO_METHOD,
    NO_RANGE,
    NO_ROUTE,
    NO_UPLOAD,
    NOT_IMPLEMENTED,
    PRECONDITION,
    TOO_LARGE,
    UNKNOWN_KEY,
    Expected,
)
from tests.hard.hostile.store import (
    PARAMETERS as BAD_PARAMETERS,
)

TAKEN: Expected = (200, "")
PART: Expected = (206, "")
UNCHANGED: Expected = (304, "")

_RAW_KEY = KEY.replace(" ", "%20")
_LAST = _RAW_KEY.rpartition("/")[2]

_CLAIMS: Sequence[Row] = [
    ("another secret", MISMATCH, setting(secret="AWS4another")),
    ("the bare secret", MISMATCH, setting(secret=SECRET_KEY)),
    ("no secret", MISMATCH, setting(secret="")),
    ("another access key", UNKNOWN_KEY, setting(access_key="AKIDNOBODY")),
    ("another letter case of the access key", UNKNOWN_KEY, setting(access_key=ACCESS_KEY.lower())),
    ("an access key with a slash", UNKNOWN_KEY, setting(access_key=f"{ACCESS_KEY}/x")),
    ("an access key with NUL", UNKNOWN_KEY, setting(access_key=f"{ACCESS_KEY}\0")),
    ("no access key", BAD_PARAMETERS, setting(access_key="")),
    ("another region", BAD_PARAMETERS, setting(region="us-east-1")),
    ("another letter case of the region", BAD_PARAMETERS, setting(region=REGION.upper())),
    ("no region", BAD_PARAMETERS, setting(region="")),
    ("another service", BAD_PARAMETERS, setting(service="sts")),
    ("another terminator", BAD_PARAMETERS, setting(terminator="aws5_request")),
    ("another day than the date's", BAD_PARAMETERS, setting(day="20130524")),
    ("a token that there is none of", BAD_TOKEN, saying(**{"X-Amz-Security-Token": "x"})),
    ("a host of others", MISMATCH, setting(host="evil.example")),
    ("another method", NO_METHOD, lambda claims: {**claims, "method": "DELETE"}),
    ("expired", DENIED, later(hours=-1)),
    ("expired long ago", DENIED, later(days=-10_000)),
    ("a clock that is a little ahead", TAKEN, later(minutes=10)),
    ("not valid yet", DENIED, later(minutes=20)),
    ("not valid for long", DENIED, later(days=100_000)),
    *[
        (f"the date {date!r}", BAD_PARAMETERS, setting(date=date, day=date[:8]))
        for date in (
            *("20260101", "20260101T000000", "20260230T000000Z", "20260101T250000Z", "2026-01-01T00:00:00Z"),
            *(
                "20260101T000000+0000",
                "20260101t000000z",
                " 20260101T000000Z",
                "20260101T000000Z\n",
                "0" * 8 + "T000000Z",
            ),
            "\uff12\uff10260101T000000Z",
        )
    ],
    *[
        (f"the lifetime {seconds!r}", BAD_PARAMETERS, setting(expires=seconds))
        for seconds in (
            *("0", "-1", "+60", "6e2", "60.0", "0x258", " 600", "600 ", "600\n", "600\0", "604801", "9" * 40, "x"),
            *("\u0666\u0660\u0660", "\u00b2", "infinity", "nan", "1_000"),
        )
    ],
    *[
        (f"the algorithm {algorithm!r}", BAD_PARAMETERS, setting(algorithm=algorithm))
        for algorithm in (
            *("AWS4-HMAC-SHA1", "AWS4-HMAC-SHA512", "aws4-hmac-sha256", "none", "AWS4-ECDSA-P256-SHA256"),
            *("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256\0"),
        )
    ],
    *[
        (f"the signed headers {names!r}", expected, setting(names=names))
        for names, expected in {
            "x": DENIED,
            "content-type": DENIED,
            "host;": BAD_PARAMETERS,
            ";host": BAD_PARAMETERS,
            "Host": BAD_PARAMETERS,
            "host;host": BAD_PARAMETERS,
            "x;host": BAD_PARAMETERS,
            "host,x": BAD_PARAMETERS,
            "host; x": BAD_PARAMETERS,
            "host\n": BAD_PARAMETERS,
            "*": DENIED,
            "host;not-sent": MISMATCH,
        }.items()
    ],
]


def _of_each_parameter(name: str) -> Sequence[Row]:
    """Do all that can be done to any parameter."""
    spoiled = {"X-Amz-Signature": MISMATCH}.get(name, BAD_PARAMETERS)
    with_a_letter = {"X-Amz-SignedHeaders": DENIED}.get(name, spoiled)
    in_front = {"X-Amz-Credential": UNKNOWN_KEY}.get(name, spoiled)
    return [
        (f"no {name}", BAD_PARAMETERS, left_out(name)),
        (f"nothing in {name}", BAD_PARAMETERS, parameter(name, to(""))),
        (f"{name} twice", BAD_PARAMETERS, doubled(name)),
        (f"{name} twice, in another letter case", BAD_PARAMETERS, doubled(name, name.lower())),
        (f"another {name} too", BAD_PARAMETERS, lambda query: [*query, (name, "x")]),
        (f"another {name} before it", BAD_PARAMETERS, lambda query: [(name, "x"), *query]),
        (f"{name} in lower case", BAD_PARAMETERS, renamed(name, name.lower())),
        (f"{name} with a blank", BAD_PARAMETERS, renamed(name, f"{name}%20")),
        (f"{name} with brackets", BAD_PARAMETERS, renamed(name, f"{name}[]")),
        (f"{name} with NUL", BAD_PARAMETERS, renamed(name, f"{name}%00")),
        (f"{name}, encoded", TAKEN, renamed(name, name.replace("X", "%58"))),
        (f"{name}, encoded twice", BAD_PARAMETERS, renamed(name, name.replace("X", "%2558"))),
        (f"a letter behind {name}", with_a_letter, parameter(name, lambda value: f"{value}x")),
        (f"a blank before {name}", in_front, parameter(name, lambda value: f"+{value}")),
        (f"a line end behind {name}", spoiled, parameter(name, lambda value: f"{value}%0D%0A")),
        (f"no UTF-8 behind {name}", BAD_URI, parameter(name, lambda value: f"{value}%ff")),
    ]


_QUERY: Sequence[Row] = [
    *[row for name in PARAMETERS for row in _of_each_parameter(name)],
    ("another order", TAKEN, lambda query: query[::-1]),
    ("another date", MISMATCH, parameter("X-Amz-Date", lambda date: f"{date[:-2]}{(int(date[-2]) + 1) % 10}Z")),
    ("another lifetime", MISMATCH, parameter("X-Amz-Expires", to("601"))),
    ("a week", MISMATCH, parameter("X-Amz-Expires", to("604800"))),
    ("more signed headers", MISMATCH, parameter("X-Amz-SignedHeaders", lambda names: f"{names}%3Bx-request-id")),
    ("a signature in capitals", MISMATCH, parameter("X-Amz-Signature", str.upper)),
    ("half a signature", MISMATCH, parameter("X-Amz-Signature", lambda value: value[:32])),
    ("a signature of noughts", MISMATCH, parameter("X-Amz-Signature", to("0" * 64))),
    ("a signature of other letters", MISMATCH, parameter("X-Amz-Signature", to("%C3%A9" * 64))),
    ("a long signature", MISMATCH, parameter("X-Amz-Signature", to("0" * 20_000))),
    ("a slash that is not encoded", TAKEN, parameter("X-Amz-Credential", replacing("%2F", "/"))),
    ("a slash in lower case", TAKEN, parameter("X-Amz-Credential", replacing("%2F", "%2f"))),
    ("slashes encoded twice", BAD_PARAMETERS, parameter("X-Amz-Credential", lambda text: text.replace("%", "%25"))),
    *[
        (f"the parameter {name}", NOT_IMPLEMENTED, lambda query, name=name: [*query, (name, "")])
        for name in ("acl", "versionId", "uploads", "tagging", "torrent", "%61cl")
    ],
    *[
        (f"the parameter {name}", MISMATCH, lambda query, name=name: [*query, (name, "x")])
        for name in ("x", "", "x-id", "response-content-type", "x-amz-acl", "x-amz-meta-a", "%00", "ACL")
    ],
]


_TARGETS: Sequence[Row] = [
    ("empty parameters", TAKEN, replacing("?", "?&&")),
    ("a letter of the path, encoded", TAKEN, replacing("alice", "%61lice")),
    ("a slash of the key, encoded", TAKEN, replacing("alice/", "alice%2F")),
    ("two question marks", BAD_PARAMETERS, replacing("?", "??")),
    ("semicolons", BAD_PARAMETERS, lambda target: target.replace("&", ";")),
    ("no query", DENIED, lambda target: target.partition("?")[0]),
    ("a query of nothing", DENIED, lambda target: target.partition("?")[0] + "?"),
    ("a query in the path", DENIED, replacing("?", "/")),
    ("half a query in the path", DENIED, lambda target: target.replace("?", "/").replace("X-Amz-Algorithm", "X-Amz")),
    ("a query that is encoded", DENIED, replacing("?", "%3F")),
    ("a part of the path in capitals", MISMATCH, replacing("alice", "ALICE")),
    *[
        (f"the key {path}", MISMATCH, replacing(f"{_RAW_KEY}?", f"{path}?"))
        for path in (
            *(f"{_RAW_KEY}/", f"{_RAW_KEY}%2F", f"/{_RAW_KEY}", f"%2F{_RAW_KEY}", f"{_RAW_KEY}%00", f"{_RAW_KEY}%20"),
            *(f"./{_RAW_KEY}", f"%2e/{_RAW_KEY}", f"x/../{_RAW_KEY}", f"x/%2e%2e/{_RAW_KEY}", f"x%2F..%2F{_RAW_KEY}"),
            *(f"../datasets/{_RAW_KEY}", f"x/%252e%252e/{_RAW_KEY}", f"alice//tides/{_LAST}", f"alice/./tides/{_LAST}"),
            *(
                f"alice%5Ctides%5C{_LAST}",
                f"alice\\tides\\{_LAST}",
                f"alice%252Ftides/{_LAST}",
                f"alice/tides%00/{_LAST}",
            ),
            *(
                f"bob/tides/{_LAST}",
                f"bob/../alice/tides/{_LAST}",
                f"alice/tides/{_LAST};x",
                f"alice/tides;x=1/{_LAST}",
            ),
            *(f"alice/tides/{_LAST.replace('%20', '+')}", f"alice/tides/{_LAST.replace('%20', '%2B')}"),
            *(f"alice/tides/{_LAST.replace('%20', '%2520')}", f"alice/tides/{_LAST}%e2%80%8b", f"%EF%BB%BF{_RAW_KEY}"),
            *(f"{_RAW_KEY}%", f"{_RAW_KEY}%zz", f"{_RAW_KEY}%2", f"%C4%B1{_RAW_KEY}", _RAW_KEY[:-1]),
        )
    ],
    ("a key that is not UTF-8", BAD_URI, replacing("alice", "%ff")),
    ("a key with an overlong slash", BAD_URI, replacing("alice/", "alice%c0%af")),
    ("a key with a surrogate", BAD_URI, replacing("alice", "%ed%a0%80")),
    ("another bucket", NO_BUCKET, replacing("datasets", "others")),
    ("a bucket in capitals", NO_BUCKET, replacing("datasets", "Datasets")),
    ("an encoded bucket", NO_BUCKET, replacing("datasets", "%64atasets")),
    ("a bucket and an encoded slash", NO_BUCKET, replacing("datasets/", "datasets%2F")),
    ("two slashes before the bucket", NO_BUCKET, replacing("/datasets", "//datasets")),
    ("dots before the bucket", NO_BUCKET, replacing("/datasets", "/../store/datasets")),
    ("an encoded mount", NO_BUCKET, replacing("/store", "/%73tore")),
    ("a mount in capitals", NO_ROUTE, replacing("/store", "/STORE")),
    ("a longer mount", NO_ROUTE, replacing("/store", "/store2")),
    ("two slashes in front", NO_ROUTE, replacing("/store", "//store")),
    ("dots in front", NO_ROUTE, replacing("/store", "/./store")),
    ("NUL", NO_HTTP, replacing("alice", "ali\0ce")),
    ("a blank", NO_HTTP, replacing("alice", "ali ce")),
    ("a letter that is not ASCII", NO_HTTP, replacing("alice", "\xe9")),
    ("the whole URL", TAKEN, lambda target: f"http://evil.example{target}"),
]

_REQUESTS: Sequence[Row] = [
    ("no host", NO_HTTP, without_header("Host")),
    ("two hosts", NO_HTTP, with_headers(("Host", "other.example"))),
    (
        "another host behind a proxy",
        TAKEN,
        with_headers(("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil")),
    ),
    (
        "another path behind a proxy",
        TAKEN,
        with_headers(("X-Original-URL", "/store/datasets/x"), ("X-Rewrite-URL", "/x")),
    ),
    ("another method in a header", TAKEN, with_headers(("X-HTTP-Method-Override", "DELETE"))),
    ("an acl that is not signed", DENIED, with_headers(("x-amz-acl", "public-read"))),
    ("metadata that is not signed", DENIED, with_headers(("X-Amz-Meta-A", "x"))),
    ("a copy that is not signed", DENIED, with_headers(("x-amz-copy-source", "datasets/x"))),
    ("a header of S3's without a value", DENIED, with_headers(("x-amz-", ""))),
    ("another signature in a header", ARGUMENT, with_headers(("Authorization", "AWS4-HMAC-SHA256 Credential=x"))),
    ("a password in a header", ARGUMENT, with_headers(("Authorization", "Basic eDp5"))),
    ("to be deleted", NO_METHOD, requesting(method="DELETE")),
    ("to be posted", NO_METHOD, requesting(method="POST")),
    ("to be patched", NO_METHOD, requesting(method="PATCH")),
    ("to be traced", NO_METHOD, requesting(method="TRACE")),
]

_NO_KEYS = (
    *(
        "",
        " ",
        ".",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "./a",
        "/a",
        "a/",
        "a//b",
        "a/ /b",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x1bb",
    ),
    *("a\x7fb", "a\x85b", "a\u202eb", "e\u0301", "a\ufffeb", "x" * 256, "a/${filename}", "a/${FileName}/b"),
)

_UPLOADS: Sequence[Row] = [
    *[(f"the key {key!r}", ARGUMENT, for_key(key)) for key in _NO_KEYS if key],
    ("a long key", KEY_TOO_LONG, for_key("/".join(["x" * 250] * 5))),
    ("no key", NO_METHOD, for_key("")),
]

CLAIMS_OF: Mapping[str, Sequence[Row]] = {
    "PUT": [
        *_UPLOADS,
        ("an upload that is none", ARGUMENT, saying(uploadId="x")),
        ("a part of nothing", ARGUMENT, saying(partNumber="1")),
        ("a hoisted wish", NOT_IMPLEMENTED, saying(**{"x-amz-storage-class": "GLACIER"})),
        ("a hoisted acl that is none", ARGUMENT, saying(**{"x-amz-acl": "x"})),
    ],
    "part": [
        *_UPLOADS,
        *[
            (f"the number {number!r}", ARGUMENT, saying(partNumber=number))
            for number in (
                "",
                "0",
                "-1",
                "+1",
                "1.0",
                "1e0",
                " 1",
                "1 ",
                "1\n",
                "10001",
                "9" * 40,
                "x",
                "\u0661",
                "0x1",
            )
        ],
        ("a number with noughts", TAKEN, saying(partNumber="01")),
        *[
            (f"the upload {upload!r}", NO_UPLOAD, saying(uploadId=upload))
            for upload in ("x", "0" * 32, "..", "../" * 9, "/etc/passwd", "a\0b", "a\nb", "x" * 2_000, "*", "\u00e9")
        ],
        ("another key", NO_UPLOAD, for_key("alice/tides/other.csv")),
        ("another user's key", NO_UPLOAD, for_key("bob/tides/parts.csv")),
    ],
    "GET": [
        *[(f"the key {key!r}", NO_KEY, for_key(key)) for key in _NO_KEYS if key],
        ("another key", NO_KEY, for_key("alice/tides/other.csv")),
        ("another letter case", NO_KEY, for_key(KEY.upper())),
        ("a key below", NO_KEY, for_key(f"{KEY}/x")),
        ("a key above", NO_KEY, for_key(KEY.rpartition("/")[0])),
        ("a long key", NO_KEY, for_key("/".join(["x" * 250] * 5))),
        ("a type with a line end", ARGUMENT, saying(**{"response-content-type": "a\r\nSet-Cookie: a=b"})),
        ("a disposition with NUL", ARGUMENT, saying(**{"response-content-disposition": "a\0"})),
        ("a type of other letters", TAKEN, saying(**{"response-content-type": "text/\u2603"})),
    ],
    "HEAD": [("another key", NO_KEY, for_key("alice/tides/other.csv"))],
}

_CONTENTS: Sequence[Row] = [
    ("no length", NO_LENGTH, requesting(framing="X-Length: 1")),
    ("chunks", NO_LENGTH, requesting(framing="Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n\r\n")),
    ("chunks that are compressed", NO_HTTP, requesting(framing="Transfer-Encoding: gzip, chunked")),
    ("a body that is shorter than it is said to be", NO_ANSWER, requesting(framing="Content-Length: 9999")),
    ("other bytes than those of the digest", BAD_DIGEST, with_headers(("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="))),
    ("a digest that is none", NO_DIGEST, with_headers(("Content-MD5", "x"))),
    ("two digests", ARGUMENT, with_headers(("Content-MD5", "x"), ("Content-MD5", "x"))),
    ("a condition on what is there", NOT_IMPLEMENTED, with_headers(("If-Match", "*"))),
    ("a condition on another", NOT_IMPLEMENTED, with_headers(("If-None-Match", '"x"'))),
    ("a condition on a date", NOT_IMPLEMENTED, with_headers(("If-Unmodified-Since", "yesterday"))),
    ("an encoding of chunks", NOT_IMPLEMENTED, with_headers(("Content-Encoding", "aws-chunked"))),
    ("a language that is not UTF-8", ARGUMENT, with_headers(("Content-Language", "\xff"))),
    ("a long header", ARGUMENT, with_headers(("Cache-Control", "x" * 2_000))),
]

REQUESTS_OF: Mapping[str, Sequence[Row]] = {
    "PUT": [
        *_CONTENTS,
        ("read with it", MISMATCH, requesting(method="GET", body=b"")),
        ("looked at with it", MISMATCH, requesting(method="HEAD", body=b"")),
        ("a body over the limit", TOO_LARGE, requesting(body=b"x" * (MAX_FILE_BYTES + 1))),
        ("no type", MISMATCH, without_header("content-type")),
        ("another type too", MISMATCH, with_headers(("Content-Type", "text/html"))),
        (
            "another type",
            MISMATCH,
            lambda request: without_header("content-type")(with_headers(("Content-Type", "x"))(request)),
        ),
        ("not to replace", PRECONDITION, with_headers(("If-None-Match", "*"))),
    ],
    "part": [*_CONTENTS, ("not to replace", NOT_IMPLEMENTED, with_headers(("If-None-Match", "*")))],
    "GET": [
        ("written with it", MISMATCH, requesting(method="PUT", body=b"x")),
        ("looked at with it", MISMATCH, requesting(method="HEAD")),
        ("with a body", TAKEN, requesting(body=b"GET /metrics HTTP/1.1\r\nHost: any\r\n\r\n")),
        *[
            (f"the range {text[:40]!r}", expected, with_headers(("Range", text)))
            for text, expected in {
                "bytes=0-0": PART,
                "bytes=0-": PART,
                "bytes=-1": PART,
                "bytes=0-999999999999999999": PART,
                "bytes=-9999999999999999999": PART,
                "BYTES=0-0": PART,
                "bytes=22-": NO_RANGE,
                "bytes=9999999999999999999-": NO_RANGE,
                "bytes=9999999999999999998-9999999999999999999": NO_RANGE,
                "bytes=-0": NO_RANGE,
                "bytes=1-0": TAKEN,
                "bytes=0-0,0-0": TAKEN,
                "bytes=0-,0-,0-": TAKEN,
                "bytes=" + "0-," * 3_000 + "0-": TAKEN,
                "bytes=" + ",".join(f"{start}-{start + 5}" for start in range(3_000)): TAKEN,
                "bytes=-1,-2": TAKEN,
                "bytes=": TAKEN,
                "bytes=-": TAKEN,
                "bytes=--1": TAKEN,
                "bytes=0--1": TAKEN,
                "bytes=a-b": TAKEN,
                "bytes=0x0-0x1": TAKEN,
                "bytes=1e0-": TAKEN,
                "bytes 0-0": TAKEN,
                "bytes=0 - 0": TAKEN,
                "bits=0-0": TAKEN,
                "bytes=\xb2-": TAKEN,
                "bytes=" + "9" * 5_000 + "-": TAKEN,
            }.items()
        ],
        ("two ranges in two headers", TAKEN, with_headers(("Range", "bytes=0-0,1-1"), ("Range", "bytes=0-0"))),
        *[
            (f"{name}: {text[:40]!r}", expected, with_headers((name, text)))
            for name, text, expected in (
                ("If-Match", "*", TAKEN),
                ("If-Match", '"x"', PRECONDITION),
                ("If-Match", "", PRECONDITION),
                ("If-Match", '"x", ' * 2_000, PRECONDITION),
                ("If-Match", '"', PRECONDITION),
                ("If-None-Match", "*", UNCHANGED),
                ("If-None-Match", '"x", ' * 2_000, TAKEN),
                ("If-None-Match", "W/" * 2_000, TAKEN),
                ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", PRECONDITION),
                ("If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT", UNCHANGED),
                *[
                    (name, date, TAKEN)
                    for name in ("If-Modified-Since", "If-Unmodified-Since")
                    for date in (
                        *(
                            "",
                            " ",
                            "x",
                            ",",
                            "now",
                            "0",
                            "-1",
                            "Thu",
                            "Thu,",
                            "Thu, 01",
                            "Thu, 01 Jan",
                            "Thu, 01 Jan x",
                        ),
                        *(
                            "Thu, 32 Jan 2099 00:00:00 GMT",
                            "Thu, 01 Jan 99999 00:00:00 GMT",
                            "01 Jan 2099 99:99:99 GMT",
                        ),
                        *("Thu, 01 Jan 2099 00:00:00 +999999", "9" * 5_000),
                        *(
                            f"Thu, 01 Jan {'9' * 5_000} 00:00:00 GMT",
                            "Thu, 01 Jan 1 00:00:00 -9999",
                            ":" * 99,
                            "(" * 99,
                        ),
                        *("Thu, 01 Jan 2099 00:00:00:00:00 GMT", "\xff", "Thu, \xb2 Jan 2099 00:00:00 GMT"),
                    )
                ],
            )
        ],
    ],
    "HEAD": [("read with it", MISMATCH, requesting(method="GET"))],
}

STAGES: Mapping[str, Sequence[Row]] = {
    "claims": _CLAIMS,
    "query": _QUERY,
    "target": _TARGETS,
    "request": _REQUESTS,
}
"""What is done to requests of all kinds, by the stage that it changes."""

# What goes by the name of the first parameter.
_NOT_OF_PARTS = frozenset({"two question marks", "semicolons"})
# The parameters of a part make another operation of any other method.
_OF_PARTS: Mapping[Expected, Expected] = {NO_METHOD: NOT_IMPLEMENTED}


def of(kind: str, stage: str) -> Sequence[Row]:
    """Give all that is done to a kind of request at a stage."""
    rows: list[Row] = [*STAGES[stage]]
    for name, tables in (("claims", CLAIMS_OF), ("request", REQUESTS_OF)):
        if name == stage:
            rows.extend(tables[kind])
    if kind != "part":
        return rows
    return [(about, _OF_PARTS.get(code, code), change) for about, code, change in rows if about not in _NOT_OF_PARTS]
