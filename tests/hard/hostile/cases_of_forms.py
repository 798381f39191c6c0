"""What becomes of POST-policy forms after they were signed: fields, parts, body and request."""

import gzip
from base64 import b64encode
from collections.abc import Mapping, Sequence

from tests.entrypoints.http.live_store import ACCESS_KEY, BOUNDARY, BUCKET, CONTENT_TYPE, REGION
from tests.hard.hostile.forms import (
    KEY,
    OWN_FIELDS,
    SIGNED_FIELDS,
    TAKEN,
    Row,
    doubled,
    field,
    field_part,
    file_part,
    left_out,
    more,
    moved_behind_the_file,
    part,
    renamed,
    replacing,
    requesting,
    to,
    with_header,
)
from tests.hard.hostile.store import (
    ARGUMENT,
    BAD_DIGEST,
    BAD_TOKEN,
    BUCKET_PATH,
    CONTENT,
    DENIED,
    FIELDS_TOO_LARGE,
    KEY_TOO_LONG,
    MALFORMED,
    MISMATCH,
    NO_ANSWER,
    NO_BUCKET,
    NO_FORM,
    NO_HTTP,
    NO_METHOD,
    NO_ONE_FILE,
    NOT_IMPLEMENTED,
    POLICY,
    TOO_LARGE,
    TOO_SMALL,
    UNKNOWN_KEY,
    Expected,
)

_MISSING: Mapping[str, Expected] = dict.fromkeys(OWN_FIELDS, DENIED) | dict.fromkeys(("key", *SIGNED_FIELDS), ARGUMENT)
# What comes of a value with something added. The fields of the signature are looked at before the policy's conditions.
_SPOILED: Mapping[str, Expected] = {
    **dict.fromkeys(OWN_FIELDS, DENIED),
    **dict.fromkeys(SIGNED_FIELDS, ARGUMENT),
    "policy": POLICY,
    "x-amz-signature": MISMATCH,
}


def _of_each_field(name: str) -> Sequence[Row]:
    """Do all that can be done to any field."""
    missing, spoiled = _MISSING[name], _SPOILED[name]
    # Whose blank or comma it is can't be told.
    kept_as_key = UNKNOWN_KEY if name == "x-amz-credential" else spoiled
    return [
        (f"no {name}", missing, left_out(name)),
        (f"{name} in other letter case", TAKEN, renamed(name, name.swapcase())),
        (f"{name} twice", ARGUMENT, doubled(name)),
        (f"{name} twice, in another letter case", ARGUMENT, doubled(name, name.swapcase())),
        (f"another {name} too", ARGUMENT, more((name, "x"))),
        (f"another {name} before it", ARGUMENT, lambda fields: [(name, "x"), *fields]),
        (f"{name} with a blank", missing, renamed(name, f"{name} ")),
        (f"{name} with a blank in front", missing, renamed(name, f" {name}")),
        (f"{name} with NUL", missing, renamed(name, f"{name}\0")),
        (f"{name} with brackets", missing, renamed(name, f"{name}[]")),
        (f"{name} to be ignored", missing, renamed(name, f"x-ignore-{name}")),
        (f"{name} in wide letters", missing, renamed(name, f"{chr(ord(name[0]) + 0xFEE0)}{name[1:]}")),
        (f"nothing in {name}", spoiled, field(name, lambda _: "")),
        (f"a letter behind {name}", spoiled, field(name, lambda value: f"{value}x")),
        (f"a blank before {name}", kept_as_key, field(name, lambda value: f" {value}")),
        (f"a line end behind {name}", spoiled, field(name, lambda value: f"{value}\r\n")),
        (f"NUL behind {name}", spoiled, field(name, lambda value: f"{value}\0")),
        (f"{name} in other letters", spoiled, field(name, lambda value: f"{value[:-1]}\u0430")),
        (f"a comma and another {name}", kept_as_key, field(name, lambda value: f"{value},{value}")),
        (f"a long {name}", FIELDS_TOO_LARGE, field(name, lambda value: value + "x" * 20_480)),
    ]


FIELDS: Sequence[Row] = [
    *[row for name in (*OWN_FIELDS, *SIGNED_FIELDS) for row in _of_each_field(name)],
    ("another order", TAKEN, lambda fields: fields[::-1]),
    ("a field to ignore", TAKEN, more(("x-ignore-this", "x"))),
    ("many fields to ignore", TAKEN, more(*[(f"x-ignore-{number}", "") for number in range(180)])),
    ("too many fields", FIELDS_TOO_LARGE, more(*[(f"x-ignore-{number}", "") for number in range(200)])),
    ("too much in many fields", FIELDS_TOO_LARGE, more(*[(f"x-ignore-{number}", "x" * 199) for number in range(100)])),
    *[
        (f"the field {name!r} that is not covered", DENIED, more((name, value)))
        for name, value in {
            "acl": "public-read",
            "x-amz-acl": "public-read",
            "Cache-Control": "no-store",
            "Content-Disposition": "inline",
            "Content-Encoding": "gzip",
            "Expires": "0",
            "success_action_redirect": "https://evil.example/",
            "redirect": "https://evil.example/",
            "tagging": "<Tagging/>",
            "x-amz-storage-class": "GLACIER",
            "x-amz-meta-other": "x",
            "x-amz-checksum-sha256": "x",
            "x-amz-server-side-encryption": "AES256",
            "x-amz-website-redirect-location": "/",
            "submit": "Upload",
            "_charset_": "utf-16",
            "bucket": "others",
            "": "x",
            "$key": KEY,
            "key[0]": KEY,
            "x-ignore": "x",
            "ignore-x-": "x",
        }.items()
    ],
    ("a token that there is none of", BAD_TOKEN, more(("x-amz-security-token", "x"))),
    ("another key at the same time", MISMATCH, field("x-amz-signature", lambda value: value[::-1])),
    ("a signature in capitals", MISMATCH, field("x-amz-signature", str.upper)),
    ("half a signature", MISMATCH, field("x-amz-signature", lambda value: value[:32])),
    ("a signature of noughts", MISMATCH, field("x-amz-signature", lambda _: "0" * 64)),
    (
        "another form's policy",
        MISMATCH,
        field("policy", to(b64encode(b'{"expiration": "2099-01-01T00:00:00Z", "conditions": []}').decode())),
    ),
    ("another digest", DENIED, field("Content-MD5", lambda _: "AAAAAAAAAAAAAAAAAAAAAA==")),
    *[
        (f"the date {date!r}", ARGUMENT, field("x-amz-date", to(date)))
        for date in (
            "20260101",
            "20260230T000000Z",
            "20260101T250000Z",
            "20260101T000000",
            "\uff120260101T000000Z",
            "now",
        )
    ],
    *[
        (f"the credential {credential!r}", ARGUMENT, field("x-amz-credential", to(credential)))
        for credential in (
            "x",
            "////",
            "/" * 9,
            ACCESS_KEY,
            f"{ACCESS_KEY}/20260101/{REGION}/s3",
            f"{ACCESS_KEY}\\a\\b\\c\\d",
        )
    ],
]


_DISPOSITION = b"Content-Disposition: form-data; "
_NAME = b'name="key"'

PARTS: Sequence[Row] = [
    *[
        (f"{name} behind the file", _MISSING[name], moved_behind_the_file(name))
        for name in (*OWN_FIELDS, *SIGNED_FIELDS)
    ],
    ("the file first", ARGUMENT, lambda parts: [parts[-1], *parts[:-1]]),
    ("no file", NO_ONE_FILE, lambda parts: parts[:-1]),
    ("two files", NO_ONE_FILE, lambda parts: [*parts, parts[-1]]),
    ("a file called File", TAKEN, part("file", replacing(b'"file"', b'"File"'))),
    ("a file called file2", NO_ONE_FILE, part("file", replacing(b'"file"', b'"file2"'))),
    ("a file called file[]", NO_ONE_FILE, part("file", replacing(b'"file"', b'"file[]"'))),
    ("other parts behind the file", TAKEN, lambda parts: [*parts, field_part("acl", "public-read")]),
    ("nothing in the file", TOO_SMALL, lambda parts: [*parts[:-1], file_part(content=b"")]),
    ("other bytes in the file", BAD_DIGEST, lambda parts: [*parts[:-1], file_part(content=CONTENT[::-1])]),
    ("a byte less in the file", TOO_SMALL, lambda parts: [*parts[:-1], file_part(content=CONTENT[:-1])]),
    ("a byte more in the file", TOO_LARGE, lambda parts: [*parts[:-1], file_part(content=CONTENT + b"x")]),
    ("another type of the file", TAKEN, part("file", replacing(b"text/csv", b"text/html"))),
    ("the name without quotes", TAKEN, part("key", replacing(_NAME, b"name=key"))),
    ("the parameter name in capitals", TAKEN, part("key", replacing(b"name=", b"NAME="))),
    ("the header in capitals", TAKEN, part("key", replacing(b"Content-Disposition", b"CONTENT-DISPOSITION"))),
    ("a field with a filename", TAKEN, part("key", replacing(_NAME, _NAME + b'; filename="x"'))),
    ("a field with a type", TAKEN, part("key", replacing(_NAME, _NAME + b"\r\nContent-Type: text/plain"))),
    ("a name in single quotes", ARGUMENT, part("key", replacing(_NAME, b"name='key'"))),
    ("a name that is encoded", ARGUMENT, part("key", replacing(_NAME, b'name="%6Bey"'))),
    ("a name as mail encodes it", ARGUMENT, part("key", replacing(_NAME, b'name="=?utf-8?q?key?="'))),
    ("a name with an escape", ARGUMENT, part("key", replacing(_NAME, b'name="key\\"; x="'))),
    ("a name with NUL", ARGUMENT, part("key", replacing(_NAME, b'name="key\0"'))),
    ("NUL before the name", ARGUMENT, part("key", replacing(_NAME, b'name="\0key"'))),
    ("a name twice", MALFORMED, part("key", replacing(_NAME, _NAME + b'; name="acl"'))),
    ("a name twice, the other way round", MALFORMED, part("key", replacing(_NAME, b'name="acl"; ' + _NAME))),
    ("a name and an extended one", TAKEN, part("key", replacing(_NAME, _NAME + b"; name*=utf-8''acl"))),
    ("an extended name", MALFORMED, part("key", replacing(_NAME, b"name*=utf-8''key"))),
    ("a name in pieces", MALFORMED, part("key", replacing(_NAME, b'name*0="ke"; name*1="y"'))),
    ("an empty name", ARGUMENT, part("key", replacing(_NAME, b'name=""'))),
    ("no name", MALFORMED, part("key", replacing(b"; " + _NAME, b""))),
    ("a name that is not utf-8", MALFORMED, part("key", replacing(_NAME, b'name="key\xff"'))),
    ("a value that is not utf-8", MALFORMED, part("key", replacing(KEY.encode(), b"\xff"))),
    ("a value in utf-16", MALFORMED, part("key", replacing(KEY.encode(), KEY.encode("utf-16")))),
    ("no disposition", MALFORMED, part("key", replacing(_DISPOSITION + _NAME, b"X-Header: x"))),
    ("no headers", MALFORMED, part("key", replacing(_DISPOSITION + _NAME + b"\r\n", b""))),
    ("another disposition", MALFORMED, part("key", replacing(b"form-data", b"attachment"))),
    ("an empty disposition", MALFORMED, part("key", replacing(b" form-data; ", b" ; "))),
    (
        "two dispositions",
        MALFORMED,
        part("key", replacing(_DISPOSITION, _DISPOSITION + b'name="acl"\r\n' + _DISPOSITION)),
    ),
    ("two types", MALFORMED, part("file", replacing(b"Content-Type: ", b"Content-Type: text/html\r\nContent-Type: "))),
    ("a header without a colon", MALFORMED, part("key", replacing(_DISPOSITION, b"X-Header\r\n" + _DISPOSITION))),
    ("a header without a name", MALFORMED, part("key", replacing(_DISPOSITION, b": x\r\n" + _DISPOSITION))),
    (
        "a blank in a header's name",
        MALFORMED,
        part("key", replacing(b"Content-Disposition:", b"Content-Disposition :")),
    ),
    ("a folded header", MALFORMED, part("key", replacing(b"; name", b";\r\n name"))),
    ("NUL in a header's name", MALFORMED, part("key", replacing(b"Content-", b"Content\0-"))),
    ("many headers", MALFORMED, part("key", replacing(_DISPOSITION, b"X-Header: x\r\n" * 9 + _DISPOSITION))),
    (
        "a long header",
        MALFORMED,
        part("key", replacing(_DISPOSITION, b"X-Header: " + b"x" * 5_000 + b"\r\n" + _DISPOSITION)),
    ),
    ("a long filename", MALFORMED, part("file", replacing(b"form.csv", b"x" * 5_000))),
    ("a bare line feed", MALFORMED, part("key", replacing(b"\r\n\r\n", b"\n\n"))),
    ("a bare carriage return", MALFORMED, part("key", replacing(b"\r\n\r\n", b"\r\r"))),
    ("base64 of a value", TAKEN, part("key", replacing(_NAME, _NAME + b"\r\nContent-Transfer-Encoding: base64"))),
    ("a form in the file", TOO_LARGE, lambda parts: [*parts[:-1], file_part(content=b"--x\r\n" * 9 + CONTENT)]),
    (
        "files in a part of many",
        TOO_LARGE,
        lambda parts: [
            *parts[:-1],
            parts[-1]
            .replace(b"text/csv", b"multipart/mixed; boundary=inner")
            .replace(CONTENT, b"--inner\r\nContent-Disposition: file\r\n\r\n" + CONTENT + b"\r\n--inner--"),
        ],
    ),
    ("no part at all", NO_ONE_FILE, to([])),
    ("an empty part", MALFORMED, lambda parts: [f"--{BOUNDARY}\r\n\r\n\r\n".encode(), *parts]),
    ("a boundary alone", MALFORMED, lambda parts: [f"--{BOUNDARY}\r\n".encode(), *parts]),
]

_LAST = f"--{BOUNDARY}--".encode()

BODIES: Sequence[Row] = [
    ("no line end at its end", TAKEN, lambda body: body.removesuffix(b"\r\n")),
    ("an epilogue", TAKEN, lambda body: body + b"epilogue"),
    ("parts behind its end", TAKEN, lambda body: body + field_part("acl", "public-read") + file_part()),
    ("much behind its end", MALFORMED, lambda body: body + b"x" * 400_000),
    ("an empty line before it", TAKEN, lambda body: b"\r\n" + body),
    ("a preamble", MALFORMED, lambda body: b"preamble\r\n" + body),
    ("a long preamble", MALFORMED, lambda body: b"x" * 70_000 + b"\r\n" + body),
    ("nothing", MALFORMED, lambda _: b""),
    ("only its end", NO_ONE_FILE, lambda _: _LAST + b"\r\n"),
    ("only line ends", FIELDS_TOO_LARGE, lambda _: b"\r\n" * 200_000),
    ("no end", TOO_LARGE, lambda body: body.replace(_LAST, b"")),
    ("half an end", TOO_LARGE, lambda body: body.replace(_LAST, _LAST[:-1])),
    ("a boundary as its end", MALFORMED, lambda body: body.replace(_LAST, _LAST[:-2])),
    ("another boundary", MALFORMED, lambda body: body.replace(BOUNDARY.encode(), b"another")),
    ("another letter case of the boundary", MALFORMED, lambda body: body.replace(BOUNDARY.encode(), b"FRONTIER")),
    ("one hyphen in front", MALFORMED, lambda body: body.replace(b"--" + BOUNDARY.encode(), b"-" + BOUNDARY.encode())),
    ("three hyphens in front", MALFORMED, replacing(b"--" + BOUNDARY.encode(), b"---" + BOUNDARY.encode())),
    ("a first boundary with more behind", MALFORMED, replacing(BOUNDARY.encode(), BOUNDARY.encode() + b"x")),
    ("a blank behind the first boundary", MALFORMED, replacing(BOUNDARY.encode(), BOUNDARY.encode() + b" ")),
    ("a bare line feed behind the first boundary", MALFORMED, replacing(b"\r\n", b"\n")),
    ("line feeds alone", MALFORMED, lambda body: body.replace(b"\r\n", b"\n")),
    ("an end in the middle", NO_ONE_FILE, lambda body: _LAST + b"\r\n" + body),
    ("an end in the file", TOO_SMALL, replacing(b"Ada", b"Ada\r\n" + _LAST + b"\r\n")),
    ("a part in the file", TOO_SMALL, replacing(b"Ada", b"Ada\r\n" + field_part("acl", "public-read"))),
    ("a file in the file", NO_ONE_FILE, replacing(b"Ada", b"Ada\r\n" + file_part())),
    ("backwards", MALFORMED, lambda body: body[::-1]),
    ("twice", TAKEN, lambda body: body + body),
    ("compressed", MALFORMED, gzip.compress),
    *[
        (f"{kept} % of it", MALFORMED, lambda body, kept=kept: body[: len(body) * kept // 100])
        for kept in range(0, 100, 7)
    ],
    *[(f"all but {cut} bytes", MALFORMED, lambda body, cut=cut: body[:-cut]) for cut in range(3, 20)],
]

REQUESTS: Sequence[Row] = [
    ("a boundary in quotes", TAKEN, with_header("Content-Type", f'multipart/form-data; boundary="{BOUNDARY}"')),
    ("capitals", TAKEN, with_header("Content-Type", f"MULTIPART/FORM-DATA; BOUNDARY={BOUNDARY}")),
    ("a charset", TAKEN, with_header("Content-Type", f"multipart/form-data; charset=utf-7; boundary={BOUNDARY}")),
    ("no type", NO_FORM, with_header("Content-Type")),
    ("an empty type", NO_FORM, with_header("Content-Type", "")),
    ("a form in a URL's way", NO_FORM, with_header("Content-Type", "application/x-www-form-urlencoded")),
    ("JSON", NO_FORM, with_header("Content-Type", "application/json")),
    ("mixed parts", NO_FORM, with_header("Content-Type", CONTENT_TYPE.replace("form-data", "mixed"))),
    ("no boundary", NO_FORM, with_header("Content-Type", "multipart/form-data")),
    ("an empty boundary", NO_FORM, with_header("Content-Type", "multipart/form-data; boundary=")),
    ("an empty boundary in quotes", NO_FORM, with_header("Content-Type", 'multipart/form-data; boundary=""')),
    ("a long boundary", NO_FORM, with_header("Content-Type", "multipart/form-data; boundary=" + "b" * 300)),
    ("another boundary", MALFORMED, with_header("Content-Type", "multipart/form-data; boundary=another")),
    ("half the boundary", MALFORMED, with_header("Content-Type", f"multipart/form-data; boundary={BOUNDARY[:4]}")),
    ("a comma for a semicolon", NO_FORM, with_header("Content-Type", CONTENT_TYPE.replace(";", ","))),
    ("two types", NO_FORM, with_header("Content-Type", CONTENT_TYPE, "text/plain")),
    ("two types, the other way round", NO_FORM, with_header("Content-Type", "text/plain", CONTENT_TYPE)),
    ("two boundaries", NO_FORM, with_header("Content-Type", CONTENT_TYPE, CONTENT_TYPE.replace(BOUNDARY, "another"))),
    ("two boundaries in one", NO_FORM, with_header("Content-Type", f"{CONTENT_TYPE}; boundary=another")),
    (
        "two boundaries in one, the other way round",
        NO_FORM,
        with_header("Content-Type", f"multipart/form-data; boundary=another; boundary={BOUNDARY}"),
    ),
    ("a body that is shorter than it is said to be", NO_ANSWER, requesting(framing="Content-Length: 9999")),
    ("a body that is longer than it is said to be", MALFORMED, requesting(framing="Content-Length: 100")),
    ("no body", MALFORMED, requesting(framing="Content-Length: 0")),
    ("neither length nor chunks", MALFORMED, requesting(framing="X-Length: 1")),
    ("a length and chunks", NO_HTTP, requesting(framing="Transfer-Encoding: chunked\r\nContent-Length: 5")),
    ("chunks that are none", NO_HTTP, requesting(framing="Transfer-Encoding: chunked")),
    (
        "a body that is said to be compressed in transfer",
        NO_HTTP,
        requesting(framing="Transfer-Encoding: gzip, chunked"),
    ),
    ("a slash behind the bucket", TAKEN, requesting(target=f"{BUCKET_PATH}/")),
    ("another bucket", NO_BUCKET, requesting(target="/store/others")),
    ("another letter case of the bucket", NO_BUCKET, requesting(target=f"/store/{BUCKET.title()}")),
    ("an encoded bucket", NO_BUCKET, requesting(target="/store/%64atasets")),
    ("a longer bucket", NO_BUCKET, requesting(target=f"{BUCKET_PATH}x")),
    ("a shorter bucket", NO_BUCKET, requesting(target=BUCKET_PATH[:-1])),
    ("no bucket", NO_BUCKET, requesting(target="/store/")),
    ("a bucket with NUL", NO_BUCKET, requesting(target=f"{BUCKET_PATH}%00")),
    ("dots", NO_BUCKET, requesting(target=f"/store/./{BUCKET}")),
    ("dots back", NO_BUCKET, requesting(target=f"/store/others/../{BUCKET}")),
    ("two slashes", NO_BUCKET, requesting(target=f"/store//{BUCKET}")),
    ("a key", NO_METHOD, requesting(target=f"{BUCKET_PATH}/{KEY}")),
    ("two slashes behind the bucket", NO_METHOD, requesting(target=f"{BUCKET_PATH}//")),
    ("another method", NO_METHOD, requesting(method="PUT")),
    ("a patch", NO_METHOD, requesting(method="PATCH")),
    ("a deletion", NO_METHOD, requesting(method="DELETE")),
    *[
        (f"the query {query}", NOT_IMPLEMENTED, requesting(target=f"{BUCKET_PATH}?{query}"))
        for query in ("delete", "acl", "uploads", "uploadId=1", "policy", "tagging=", "versionId=1", "%61cl", "x&acl=1")
    ],
]

FILENAMES: Sequence[Row] = [
    *[
        (f"the filename {name!r}", expected, part("file", replacing(b"form.csv", name)))
        for name, expected in {
            b"other/form.csv": TAKEN,
            b"../../form.csv": TAKEN,
            b"C:\\\\temp\\\\form.csv": TAKEN,
            b"": ARGUMENT,
            b".": ARGUMENT,
            b"..": ARGUMENT,
            b"a/..": ARGUMENT,
            b"a/": ARGUMENT,
            b"a\\\\": ARGUMENT,
            b"/": ARGUMENT,
            b" ": ARGUMENT,
            b".. ": ARGUMENT,
            b"a\0b": ARGUMENT,
            b"a\x1bb": ARGUMENT,
            b"a\x7fb": ARGUMENT,
            b"a\xffb": ARGUMENT,
            b"a\xc0\xafb": ARGUMENT,
            b"a\xed\xa0\x80b": ARGUMENT,
            "a\u202eb".encode(): ARGUMENT,
            "a\x85b".encode(): ARGUMENT,
            "e\u0301".encode(): ARGUMENT,
            b"x" * 256: ARGUMENT,
            b"x" * 1_100: KEY_TOO_LONG,
            b"${filename}": ARGUMENT,
            b"${FILENAME}": ARGUMENT,
            b"a\r\n b": MALFORMED,
        }.items()
    ],
    ("no filename", ARGUMENT, part("file", replacing(b'; filename="form.csv"', b""))),
    ("two filenames", MALFORMED, part("file", replacing(b"; filename", b'; filename="x"; filename'))),
    ("an extended filename too", TAKEN, part("file", replacing(b"; filename", b"; filename*=utf-8''x; filename"))),
    ("an extended filename", ARGUMENT, part("file", replacing(b'="form.csv"', b"*=utf-8''form.csv"))),
]


STAGES: Mapping[str, Sequence[Row]] = {"fields": FIELDS, "parts": PARTS, "body": BODIES, "request": REQUESTS}
"""Each table by the stage that its rows change."""
