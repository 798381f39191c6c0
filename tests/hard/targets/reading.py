"""What a reader says: ranges and conditions of downloads, and cursors of listings."""

import base64
from datetime import UTC, datetime
from typing import Final

from starlette.datastructures import Headers

from application.list_objects import _cursor_of, _token_of
from application.ports import ObjectInfo
from domain.errors import InvalidInput
from domain.files import Md5, Sha256
from domain.keys import ObjectKey
from domain.uploads import Access
from entrypoints.http.s3_errors import S3Refusal
from entrypoints.http.store_downloads import plan_answer
from tests.hard.targets.target import Target

_NOW = datetime(2026, 2, 28, 12, tzinfo=UTC)
_LENGTH = 1000
_INFO = ObjectInfo(
    key=ObjectKey("alice/a.csv"),
    length=_LENGTH,
    md5=Md5(base64.b64encode(bytes(16)).decode()),
    sha256=Sha256(base64.b64encode(bytes(32)).decode()),
    media_type="text/csv",
    access=Access.PUBLIC,
    modified=_NOW,
    headers={},
)
_CONDITIONS = (
    *(b"range", b"if-range", b"if-match", b"if-none-match"),
    *(b"if-modified-since", b"if-unmodified-since"),
)


def condition(data: bytes) -> str:
    """Ask for a part, with a condition: the first byte says which; the range and it are parted by LF."""
    which = _CONDITIONS[data[0] % len(_CONDITIONS)] if data else b"range"
    wanted, _, more = data[1:].partition(b"\n")
    headers = Headers(raw=[(b"range", wanted), *([(which, more)] if which != b"range" else [])])
    try:
        plan = plan_answer(_INFO, headers, {})
    except S3Refusal as refusal:
        return refusal.s3_code
    if plan.status == 206:
        assert (plan.start, plan.end) == _reference_range(wanted.decode("latin-1"))
        assert plan.headers["content-length"] == str(plan.end - plan.start)
    elif plan.status == 200:
        assert (plan.start, plan.end) == (0, _LENGTH)
        assert which == b"if-range" or _reference_range(wanted.decode("latin-1")) is None
    return str(plan.status)


def _reference_range(text: str) -> tuple[int, int] | None:
    """Give the bytes of the one range that is satisfiable (RFC 9110, sections 14.1.2 and 14.2), or None."""
    unit, equals, ranges = text.strip().partition("=")
    first, dash, last = ranges.partition("-")
    if unit.lower() != "bytes" or not equals or not dash or not set(first + last) <= set("0123456789"):
        return None
    if max(len(first), len(last)) > 19 or not first + last:
        return None
    if not first:
        return (max(_LENGTH - int(last), 0), _LENGTH) if int(last) else None
    end = min(int(last) + 1, _LENGTH) if last else _LENGTH
    return (int(first), end) if int(first) < end else None


CONDITION: Final = Target(
    condition,
    seeds=[
        b"\0bytes=0-9",
        b"\0bytes=-9",
        b"\0bytes=990-",
        b"\0bytes=1000-",
        b"\0bytes=0-1,3-4",
        b'\x01bytes=0-9\n"' + b"0" * 32 + b'"',
        b"\x02bytes=0-9\n*",
        b"\x02\nW/x",
        b"\x03\n*",
        b"\x04bytes=1-\nSat, 28 Feb 2026 12:00:00 GMT",
        b"\x05bytes=1-\nSat, 28 Feb 2026 11:00:00 GMT",
    ],
    words=[
        *(b"bytes=", b"-", b",", b"999", b"1000", b"18446744073709551616", b"GMT", b"Sat, ", b" Feb ", b"2026", b":"),
        *(b"+0000", b"-9999", b"(", b")", b"00:00:00", b"W/", b'"', b"*", b"\n"),
    ],
    outcomes=frozenset(["200", "206", "304", "InvalidRange", "PreconditionFailed"]),
    max_length=120,
)


def cursor(data: bytes) -> str:
    """Read a cursor that somebody made, and one of ours: only ours is one, and only in its own folder."""
    folder, other = ObjectKey("alice/tides"), ObjectKey("alice/tides2")
    text = data.decode("utf-8", "replace")
    if text:
        made = _cursor_of(text, folder)
        assert made.isascii()
        assert _token_of(made, folder) == text
        for spelled, place in ((made, other), (f"{made}=", folder), (f" {made}", folder), (made[:-1], folder)):
            assert _token_in(spelled, place) is None
    read = _token_in(text, folder)
    if read is None:
        return "none"
    assert _cursor_of(read, folder) == text
    return "ours"


def _token_in(text: str, folder: ObjectKey) -> str | None:
    try:
        return _token_of(text, folder)
    except InvalidInput:
        return None


CURSOR: Final = Target(
    cursor,
    seeds=[_cursor_of("alice/tides/a.csv", ObjectKey("alice/tides")).encode(), "é☃".encode(), b"AAAA", b"===="],
    words=[b"=", b"-", b"_", b"+", b"/", b"\n"],
    outcomes=frozenset(["none", "ours"]),
    max_length=100,
)
