"""What is wrong with files, where JSON is as it should be: with their paths, and with what is declared of them."""

from collections.abc import Mapping, Sequence

from attrs import evolve

from tests.entrypoints.http.live_service import declaration, md5, sha256
from tests.hard.hostile.service import ABSENT, Case, Change, Request, cases

DECLARING = ("authorize", "verify", "resume", "complete", "abort")
"""The kinds of requests that declare files."""
OF_PATHS = (*DECLARING, "presign paths")
"""The kinds that name files by their paths."""
LONGEST_FILE = 5 * 1024**4

_MD5 = md5()
_HEX_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
_BAD_BATCH = (400, "invalid_batch")


def _changed(members: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**members, **changes}.items() if value is not ABSENT}


def body(**changes: object) -> Change:
    """Change members of the body."""
    return lambda request: evolve(request, body=_changed(request.body, changes))


def metadata(**changes: object) -> Change:
    """Change members of the metadata."""
    return lambda request: body(metadata=_changed(request.body["metadata"], changes))(request)


def file(declared: object) -> Change:
    """Declare something else of a file; where there may be others, beside a good one."""

    def changed(request: Request) -> Request:
        if "file" in request.body:
            return body(file=declared)(request)
        return body(filedata={"bad.csv": declared, "good.csv": declaration()})(request)

    return changed


def members(**changes: object) -> Change:
    """Change members of a file's declaration."""
    return file(_changed(declaration(), changes))


def path(text: str) -> Change:
    """Give another path; where there may be others, beside a good one."""

    def changed(request: Request) -> Request:
        if "path" in request.body:
            return body(path=text)(request)
        if "paths" in request.body:
            return body(paths=["good.csv", text])(request)
        return body(filedata={text: declaration(), "good.csv": declaration()})(request)

    return changed


_PATHS = (
    # Segments
    *("", ".", "..", "/", "//", "/a.csv", "a.csv/", "a//b.csv", "./a.csv", "../a.csv", "a/../b.csv", "a/./b.csv"),
    "a/..",
    *("../../../etc/passwd", "a/../../bob/x.csv", "..\u00a0/a.csv", "\u3000/a.csv", " ../a.csv", ".. /a.csv"),
    "a/ . /b",
    *(" ", "\u2003", "\u2028", "a/ /b.csv", "/store/datasets/bob/x", "//evil.example/x"),
    # Characters
    *(f"a{sign}b.csv" for sign in "\\\x01\x07\x08\t\n\x0b\r\x1b\x1f\x7f\x80\x85\x9f\ufffe\uffff"),
    *(f"a{sign}b.csv" for sign in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"),
    *("a\x00.csv", "\x00", "a.csv\x00.png", "..\\..\\x", "C:\\x", "\\\\host\\share", "a\r\nX-Evil: 1", "\u202egpj.csv"),
    # Not in NFC
    *("e\u0301.csv", "A\u030a.csv", "q\u0301\u0323", "\u212b.csv", "\u2126", "\u037e", "\u1112\u1161\u11ab", "\u0958"),
    # What stores put something else for
    *("${filename}", "a/${filename}.csv", "a/${FileName}.csv", "x${FILENAME}y", "$${filename}"),
    "${filename}${filename}",
    # Lengths
    *("x" * 256, "é" * 128, "\U0001f600" * 64, "x/" * 511 + "xyz", "a/" * 5_000 + "a", "x" * 100_000),
)
_NOT_OBJECTS: Sequence[object] = (None, [], "x", 1, True, 1.5, "", [{"length": 1}])
_NOT_LENGTHS: Sequence[object] = (
    *(None, True, False, "1", "", "0x1", 1.0, 0.5, 1e3, 1e300, -0.0, -1, -(2**63), -(10**30), [], [1], {}),
    {"length": 1},
    *("٣", "1e3", " 1", 2**64, 10**30),
)
_TOO_LONG = (LONGEST_FILE + 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_NOT_MD5S: Sequence[object] = (
    *("", _HEX_MD5, _HEX_MD5.upper(), f"0x{_HEX_MD5}", f'"{_HEX_MD5}"', _MD5[:-1], _MD5[:-2], f"{_MD5}=", f" {_MD5}"),
    *(f"{_MD5}\n", f"{_MD5} ", f"{_MD5}\0", f"{_MD5[:9]}\n{_MD5[9:]}", "1B2M2Y8AsgTpgAmY7PhCfh==", "AAAA", sha256()),
    *("1B2M2Y8AsgTpgAmY7PhC_g==", "1B2M2Y8AsgTpgAmY7PhC-g==", f"md5={_MD5}", f"{_MD5}{_MD5}", "=" * 24, "é" * 24),
    *("\uff21" * 22 + "==", "A" * 100_000, 1, [_MD5], {"md5": _MD5}, True, 1.5, "*", "../../../etc/passwd"),
)
_NOT_SHA256S: Sequence[object] = (
    *("", _MD5, "ab" * 32, sha256()[:-1], f"{sha256()}=", f" {sha256()}", f"{sha256()}\n", "A" * 42 + "B=", "A" * 64),
    *(f"sha-256=:{sha256()}:", sha256().rstrip("="), sha256() * 2, "UNSIGNED-PAYLOAD", 1, [sha256()], {}, False),
)
_NOT_TYPES: Sequence[object] = (
    *("", "text", "/", "text/", "/csv", "text//csv", "text/csv/x", "text/html\r\nX-Evil: 1", "text/csv\n"),
    "text/csv\0",
    *("text/csv;", "text/csv; x", "text/csv; x=", "text/csv; =x", "text/csv; x = y", "a b/c", " text/csv", "text/csv "),
    *("é/x", "text/\u0441sv", 'text/csv; x="', 'text/csv; x="\n"', "text/csv, text/html", "text/*;"),
    "text/" + "x" * 251,
    *("text/csv\\x", "text/${filename}", 'a/b; x="${FileName}"', "(text)/csv", "text/[csv]", "text\u2215csv"),
    *(1, ["text/csv"], {"type": "text/csv"}, True, "x" * 100_000),
)
_NOT_NAMES: Sequence[object] = (
    *("a\nb", "a\r\nX-Evil: 1", "\x00", "\x1b[2J", "\x7f", "\x85", "a\ufffeb", "\uffff", "x" * 1_025, "é" * 513),
    *(1, ["a"], {"name": "a"}, True, 0),
)
_NOT_PARTS: Sequence[object] = (
    *([], "x", 1, True, {}, {"size": None}, {"size": 0}, {"size": -1}, {"size": "5"}, {"size": 1.5}, {"size": True}),
    *({"size": 2**64}, {"size": [5]}, {"size": 100, "md5": _MD5}, {"size": 100, "md5": {}}, {"size": 100, "md5": []}),
    *({"size": 100, "md5": [_MD5, _MD5]}, {"size": 1, "md5": [_MD5]}),
)

_NOT_BOTH: Sequence[Mapping[str, object]] = (
    *({"md5": ABSENT}, {"md5": None}, {"md5": None, "sha256": None}, {"md5": ABSENT, "MD5": _MD5, "hash": _MD5}),
)

NOT_FILES: Sequence[Case] = cases("declared as", _NOT_OBJECTS, file, *_BAD_BATCH, "invalid_file")
"""A file that isn't declared by an object, of `authorize` and `verify`."""

FILES: Sequence[Case] = [
    *cases("length", _NOT_LENGTHS, lambda value: members(length=value), *_BAD_BATCH, "invalid_length"),
    *cases("length", _TOO_LONG, lambda value: members(length=value), *_BAD_BATCH, "file_too_large"),
    Case("length by another name", members(length=ABSENT, Length=1), *_BAD_BATCH, "invalid_length"),
    *cases("md5", _NOT_MD5S, lambda value: members(md5=value), *_BAD_BATCH, "invalid_md5"),
    *cases("sha256", _NOT_SHA256S, lambda value: members(sha256=value), *_BAD_BATCH, "invalid_sha256"),
    *cases(
        "sha256 alone", _NOT_SHA256S, lambda value: members(md5=ABSENT, sha256=value), *_BAD_BATCH, "invalid_sha256"
    ),
    *cases("digests", _NOT_BOTH, lambda changes: members(**changes), *_BAD_BATCH, "digest_required"),
    *cases("type", _NOT_TYPES, lambda value: members(type=value), *_BAD_BATCH, "invalid_type"),
    *cases("name", _NOT_NAMES, lambda value: members(name=value), *_BAD_BATCH, "invalid_name"),
    *cases("parts", _NOT_PARTS, lambda value: members(parts=value), *_BAD_BATCH, "invalid_parts"),
    *cases(
        "a part of the md5",
        (None, "", _HEX_MD5, 1, [_MD5]),
        lambda value: members(parts={"size": 100, "md5": [value]}),
        *_BAD_BATCH,
        "invalid_md5",
    ),
]
"""One bad file, of `DECLARING`."""

PATHS: Sequence[Case] = [
    *cases("path", _PATHS, path, *_BAD_BATCH, "invalid_path"),
    Case("a key that is too long", path("/".join(["x" * 250] * 4) + "/" + "y" * 18), *_BAD_BATCH, "invalid_key"),
]
"""One file with a bad path, of `OF_PATHS`."""
