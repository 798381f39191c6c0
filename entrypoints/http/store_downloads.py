"""Downloads from the stores whose bytes we serve: GET and HEAD of objects, presigned or public."""

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from attrs import frozen
from starlette.datastructures import Headers
from starlette.types import Send

from adapters.stores.content_disposition import attachment
from adapters.stores.sigv4_verify import PresignedRequest
from application.ports import ObjectInfo, ObjectReader, StorageError, StoredObject
from domain.uploads import Access
from entrypoints.counters import ServedCounts
from entrypoints.http.s3_errors import S3Refusal
from entrypoints.http.store_requests import StoreRequest
from entrypoints.limits import AtOnce

_log = logging.getLogger(__name__)

_METADATA = "x-amz-meta-"
_OVERRIDES: Final[Mapping[str, str]] = {
    f"response-{name}": name
    for name in (
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    )
}
# Uploads are other people's content in our origin: saved as files, never run or framed there, their type not guessed.
_SAFETY: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A position has at most 19 digits: that many write any number of bytes that a file system knows.
_RANGE = re.compile(r"bytes=(?:([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19}))", re.IGNORECASE)


@frozen
class Plan:
    """The answer that an object gets: status, headers by lower-case name, and the offsets of the bytes to send."""

    status: int
    headers: Mapping[str, str]
    start: int = 0
    end: int = 0


@frozen
class Downloads:
    """Gives objects out, as many `at_once` as there are places."""

    reader: ObjectReader
    at_once: AtOnce
    counts: ServedCounts

    async def serve(self, request: StoreRequest, grant: PresignedRequest | None, send: Send) -> None:
        """Answer a GET or HEAD; `grant` is what its verified signature allows, None for a stranger.

        Raises, before anything was sent, S3Refusal and `StorageFailed`.
        """
        with self.at_once:
            await self._serve(request, grant, send)

    async def _serve(self, request: StoreRequest, grant: PresignedRequest | None, send: Send) -> None:
        overrides = _overrides_of(request, grant)
        key = request.key_to_read()
        stored = None if key is None else await self.reader.open(key)
        if stored is None:
            raise _missing(grant)
        try:
            if grant is None and stored.info.access is not Access.PUBLIC:
                raise _missing(grant)
            plan = plan_answer(stored.info, request.headers, overrides)
            await self._send(plan, stored, request, send)
        finally:
            await stored.close()

    async def _send(self, plan: Plan, stored: StoredObject, request: StoreRequest, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in plan.headers.items()]
        await send({"type": "http.response.start", "status": plan.status, "headers": headers})
        if request.method == "HEAD" or plan.start == plan.end:
            await send({"type": "http.response.body"})
            return
        watch = asyncio.create_task(request.body.gone())
        try:
            await self._send_bytes(plan, stored, watch, send)
        except StorageError as error:
            # Only a connection that ends early can still say that this isn't the whole object.
            _log.warning("A download was broken off: the store %s", error)
            self.counts.errors += 1
        finally:
            watch.cancel()

    async def _send_bytes(self, plan: Plan, stored: StoredObject, watch: asyncio.Task[None], send: Send) -> None:
        left = plan.end - plan.start
        async for piece in stored.read(plan.start, plan.end):
            if watch.done():
                return
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
            self.counts.sent_bytes += len(piece)


def plan_answer(info: ObjectInfo, request: Headers, overrides: Mapping[str, str]) -> Plan:
    """Decide on conditions and range, in the order of RFC 9110, section 13.2.2. Raises S3Refusal (412, 416)."""
    common = {
        "etag": info.etag,
        "last-modified": format_datetime(_whole_second(info.modified), usegmt=True),
        "accept-ranges": "bytes",
        **_SAFETY,
    }
    if not _preconditions_hold(info, request):
        raise S3Refusal("PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    if _is_unchanged(info, request):
        kept = {name: value for name, value in info.headers.items() if name in ("cache-control", "expires")}
        return Plan(304, {**kept, **common})
    headers = {**_stored_headers(info), **overrides, **common}
    chosen = _range_of(info, request)
    if chosen is None:
        whole = {"content-length": str(info.length), "x-amz-checksum-sha256": info.sha256}
        return Plan(200, {**headers, **whole}, 0, info.length)
    start, end = chosen
    part = {"content-length": str(end - start), "content-range": f"bytes {start}-{end - 1}/{info.length}"}
    return Plan(206, {**headers, **part}, start, end)


def _missing(grant: PresignedRequest | None) -> S3Refusal:
    """Say that there is no such object, but not to strangers: they can't tell it from a private one."""
    if grant is None:
        return S3Refusal("AccessDenied", "Access Denied")
    return S3Refusal("NoSuchKey", "The specified key does not exist.")


def _overrides_of(request: StoreRequest, grant: PresignedRequest | None) -> Mapping[str, str]:
    """Read the response-* parameters, by the header that each replaces."""
    given = request.query if grant is None else grant.query
    overrides = {_OVERRIDES[name]: value for name, value in given.items() if name in _OVERRIDES}
    if overrides and grant is None:
        raise S3Refusal(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests."
        )
    if any(_CONTROL.search(value) for value in overrides.values()):
        raise S3Refusal("InvalidArgument", "Header values must not have control characters.")
    return overrides


def _stored_headers(info: ObjectInfo) -> Mapping[str, str]:
    headers = {name: _mail_safe(name, value) for name, value in info.headers.items()}
    given = headers.get("content-disposition", "")
    # A stranger's `inline` would show the stranger's page in our origin.
    if given.partition(";")[0].strip().lower() != "attachment":
        headers["content-disposition"] = attachment(info.key.rpartition("/")[2])
    return {"content-type": info.media_type, **headers}


def _mail_safe(name: str, value: str) -> str:
    """Encode metadata that isn't ASCII as S3 does: by RFC 2047 (User Guide, "Working with object metadata")."""
    if value.isascii() or not name.startswith(_METADATA):
        return value
    return f"=?UTF-8?B?{b64encode(value.encode()).decode()}?="


def _preconditions_hold(info: ObjectInfo, request: Headers) -> bool:
    if "if-match" in request:
        return _names_etag(request["if-match"], info)
    limit = _http_date(request.get("if-unmodified-since"))
    return limit is None or _whole_second(info.modified) <= limit


def _is_unchanged(info: ObjectInfo, request: Headers) -> bool:
    if "if-none-match" in request:
        return _names_etag(request["if-none-match"], info)
    limit = _http_date(request.get("if-modified-since"))
    return limit is not None and _whole_second(info.modified) <= limit


def _names_etag(condition: str, info: ObjectInfo) -> bool:
    # ETags here are hexadecimal, so a comma is always a separator; S3 takes them with and without quotes.
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in condition.split(",")}
    return "*" in tags or info.md5.hex in tags


def _http_date(text: str | None) -> datetime | None:
    """Read a date; one that can't be read counts as absent (RFC 9110, section 13.1.3)."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _range_of(info: ObjectInfo, request: Headers) -> tuple[int, int] | None:
    """Give the offsets of the one range that is asked for, the end exclusive; None for the whole object.

    As in S3, what is no single well-formed range is ignored. Raises S3Refusal for one that the object doesn't have.
    """
    wanted = _RANGE.fullmatch(request.get("range", "").strip())
    if wanted is None or not _if_range_holds(info, request):
        return None
    first, last, suffix = wanted.groups()
    if suffix is not None:
        start, end = max(info.length - int(suffix), 0), info.length
    else:
        start, end = int(first), info.length if last is None else int(last) + 1
        if start >= end and last is not None:
            return None
    end = min(end, info.length)
    if start >= end:
        raise S3Refusal(
            "InvalidRange", "The requested range is not satisfiable", {"Content-Range": f"bytes */{info.length}"}
        )
    return start, end


def _if_range_holds(info: ObjectInfo, request: Headers) -> bool:
    condition = request.get("if-range")
    return condition is None or condition == info.etag or _http_date(condition) == _whole_second(info.modified)
