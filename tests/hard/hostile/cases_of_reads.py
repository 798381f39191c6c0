"""What is wrong with requests that read: with their queries, cursors and lists."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

from attrs import evolve

from tests.entrypoints.http.live_service import DATASET, OWNER
from tests.hard.hostile.cases_of_files import body
from tests.hard.hostile.service import ABSENT, MAX_FILES, Case, Change, Request, cases, percent_encoded


def _query(change: Callable[[str], str]) -> Change:
    """Change the query as it is sent."""

    def changed(request: Request) -> Request:
        start, _, query = request.path.partition("?")
        return evolve(request, path=f"{start}?{change(query)}")

    return changed


def _parameter(name: str, value: str) -> Change:
    """Set a parameter, as it is sent."""

    def changed(query: str) -> str:
        return "&".join([*(pair for pair in query.split("&") if not pair.startswith(f"{name}=")), f"{name}={value}"])

    return _query(changed)


def _without(name: str) -> Change:
    return _query(lambda query: "&".join(pair for pair in query.split("&") if not pair.startswith(f"{name}=")))


def _again(name: str) -> Change:
    """Give a parameter twice, with the same value."""
    return _query(lambda query: f"{query}&{next(pair for pair in query.split('&') if pair.startswith(f'{name}='))}")


_FOREIGN_OWNERS = (
    *("bob", "Alice", "alice%20", "%20alice", "%D0%B0lice", "alice+", "alice2", "%2561lice", "alice%E2%80%8B", "*"),
)
_NO_OWNERS = (
    *("", "%20", ".", "..", "../bob", "%2e%2e", "alice/", "alice%2F", "a%00", "alice%0a", "a%5Cb", "e%CC%81"),
    "alice/tides",
    *("%EF%BF%BF", "%E2%80%AEalice", "$%7Bfilename%7D", "x" * 256, "x" * 10_000),
)
_NOT_UTF8 = ("%ff", "alice%ff", "%C0%AF", "%ED%A0%80", "%E2%82", "%F4%90%80%80")
_NOT_NUMBERS = (
    *("0", "-1", "+1", "1.5", "1.0", "1e3", "", "x", "%201", "1%20", "0x1", "1_0", "%D9%A3", "%C2%B2", "%00", "9" * 16),
    *("9" * 5_000, "NaN", "Infinity", "true", "null", "1,2", "[1]"),
)

_NO_NAMES = (*("a%0Ab", "a%0D%0AX-Evil:1", "%00", "%1b[2J", "%7f", "%C2%85", "%EF%BF%BE", "x" * 1_025, "%C3%A9" * 513),)

PRESIGN: Sequence[Case] = [
    *cases("ownerid", _FOREIGN_OWNERS, partial(_parameter, "ownerid"), 403, "not_owner"),
    *cases("ownerid", _NO_OWNERS, partial(_parameter, "ownerid"), 400, "invalid_owner"),
    *(
        case
        for name in ("ownerid", "url", "filename")
        for case in cases(name, _NOT_UTF8, partial(_parameter, name), 400, "invalid_request")
    ),
    *cases("without", ("ownerid", "url"), _without, 400, "invalid_request"),
    *cases("twice", ("ownerid", "url"), _again, 400, "invalid_request"),
    Case("no query", _query(lambda _: ""), 400, "invalid_request"),
    Case("a query of nothing but ampersands", _query(lambda _: "&" * 10_000), 400, "invalid_request"),
    Case("names in upper case", _query(str.upper), 400, "invalid_request"),
    Case("an encoded name", _query(lambda query: query.replace("ownerid", "owneri%64")), 400, "invalid_request"),
    Case("semicolons between parameters", _query(lambda query: query.replace("&", ";")), 400, "invalid_request"),
    Case("brackets behind a name", _query(lambda query: query.replace("ownerid", "ownerid[]")), 400, "invalid_request"),
    Case("another owner too", _query(lambda query: f"{query}&ownerid=bob"), 400, "invalid_request"),
    Case("another owner before", _query(lambda query: f"ownerid=bob&{query}"), 400, "invalid_request"),
    *cases("filename", _NO_NAMES, partial(_parameter, "filename"), 400, "invalid_name"),
    *cases(
        "expires_in",
        (*_NOT_NUMBERS, "1000000000"),
        partial(_parameter, "expires_in"),
        400,
        "invalid_expiry",
    ),
]
"""Of `presign`."""


def _forged_cursor(token: str, folder: str = f"{OWNER}/{DATASET}", check: bytes | None = None) -> str:
    """Make a cursor as the code shows how: it is no secret."""
    made = hashlib.sha256(f"{folder}\0{token}".encode()).digest()[:6] if check is None else check
    return quote(base64.urlsafe_b64encode(made + token.encode()).decode().rstrip("="))


_NO_DATASETS = (
    *("", "..", ".", "%20", "a/b", "tides/data", "tides%2F..%2Fother", "tides%2F", "%2Ftides", "a%5Cb", "a%00", "a%0A"),
    *("e%CC%81", "%E2%80%AEx", "$%7Bfilename%7D", "x" * 256, "x" * 10_000),
)
_NO_CURSORS = (
    *("", "x", "AAAA", "AAAAAAAA", "null", "0", "-1", "/../..", "%2e%2e", "%C3%A9", "====", "A" * 9_000, "%00", "*"),
    *("AAAAAAAAYWxpY2U", "AAAAAAAAYWxpY2Uv=", "AAAAAAAA/w", "AAAAAAAA_w", "'%20OR%201=1%20--"),
    # Of another dataset, and of another owner
    _forged_cursor(f"{OWNER}/another/a.csv", f"{OWNER}/another"),
    _forged_cursor("mallory/tides/theirs.csv", "mallory/tides"),
    # With no check, and with another; with nothing in it; with something behind
    _forged_cursor(f"{OWNER}/{DATASET}/a.csv", check=b""),
    _forged_cursor(f"{OWNER}/{DATASET}/a.csv", check=bytes(6)),
    _forged_cursor(""),
    _forged_cursor(f"{OWNER}/{DATASET}/a.csv") + "A",
    _forged_cursor(f"{OWNER}/{DATASET}/a.csv") + "=",
)

OBJECTS: Sequence[Case] = [
    *cases("owner", _FOREIGN_OWNERS, partial(_parameter, "owner"), 403, "not_owner"),
    *cases("owner", _NO_OWNERS, partial(_parameter, "owner"), 400, "invalid_owner"),
    *(
        case
        for name in ("owner", "name", "after")
        for case in cases(name, _NOT_UTF8, partial(_parameter, name), 400, "invalid_request")
    ),
    *cases("name", _NO_DATASETS, partial(_parameter, "name"), 400, "invalid_dataset"),
    Case("without owner", _without("owner"), 400, "invalid_request"),
    Case("without name", _without("name"), 400, "invalid_dataset"),
    *cases("twice", ("owner", "name", "limit"), _again, 400, "invalid_request"),
    Case("after twice", _query(lambda query: f"{query}&after=x&after=x"), 400, "invalid_request"),
    *cases("limit", (*_NOT_NUMBERS, "1001", "9" * 15), partial(_parameter, "limit"), 400, "invalid_request"),
    *cases("after", _NO_CURSORS, partial(_parameter, "after"), 400, "invalid_cursor"),
]
"""Of `objects`."""

_NOT_LISTS: Sequence[object] = (
    *("stored.csv", {"stored.csv": 1}, 1, True, "", [1], [None], [["stored.csv"]], [{}], ["stored.csv", 1], ABSENT),
)
_NOT_LIFETIMES: Sequence[object] = (
    *(0, -1, 1.0, 1.5, True, False, "60", "", [60], {}, 10**9, 10**18, 2**64, 10**30, -(2**63), 1e300),
)

MANY: Sequence[Case] = [
    *cases("paths", _NOT_LISTS, lambda value: body(paths=value), 400, "invalid_request"),
    Case("paths and urls", body(urls=["x"]), 400, "invalid_request"),
    Case("paths, and no urls", body(urls=[]), 400, "invalid_request"),
    Case("no paths", body(paths=[]), 400, "empty_batch"),
    Case("one path too often", body(paths=["stored.csv"] * (MAX_FILES + 1)), 413, "too_many_files"),
    *cases("expires_in", _NOT_LIFETIMES, lambda value: body(expires_in=value), 400, "invalid_expiry"),
]
"""Of `presign paths`."""


def address_in_query(address: str) -> Change:
    """Ask for one object, by an address that is encoded as it should be."""
    return _parameter("url", percent_encoded(address))


def address_among_others(address: str) -> Change:
    """Ask for several, one of which can't be read."""
    return lambda request: body(urls=[*request.body["urls"], address])(request)
