"""The one table that turns errors into HTTP answers."""

from collections.abc import Mapping
from typing import Final

import orjson
from attrs import frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from domain.errors import (
    AccessDenied,
    BitstoreError,
    ErrorCode,
    InvalidBatch,
    InvalidInput,
    Unauthenticated,
    Unavailable,
)
from entrypoints.http.audit import Audit

_STATUS_BY_KIND: Final[Mapping[type[BitstoreError], int]] = {
    InvalidInput: 400,
    Unauthenticated: 401,
    AccessDenied: 403,
    Unavailable: 503,
}
_STATUS_BY_CODE: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.UPLOAD_NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.BODY_TIMEOUT: 408,
    ErrorCode.OBJECT_EXISTS: 409,
    ErrorCode.UPLOAD_INCOMPLETE: 409,
    ErrorCode.BODY_TOO_LARGE: 413,
    ErrorCode.TOO_MANY_FILES: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
}

MAX_ERROR_BYTES = 64 * 1024
_MAX_ECHO = 256
_MAX_DETAILS_BYTES = MAX_ERROR_BYTES - 4 * 1024


def status_of(error: BitstoreError) -> int:
    """Give the HTTP status of an error: by its code where the code has one of its own, else by its kind."""
    by_kind = (status for kind, status in _STATUS_BY_KIND.items() if isinstance(error, kind))
    return _STATUS_BY_CODE.get(error.code) or next(by_kind, 500)


def error_response(error: BitstoreError, *, realm: str = "bitstore") -> Response:
    """Answer with an error, in at most 64 KiB; further details are counted, not listed."""
    problems = error.problems if isinstance(error, InvalidBatch) else ()
    details, size = [], 0
    for problem in problems:
        encoded = orjson.dumps(_describe(problem))
        size += len(encoded) + 1
        if size > _MAX_DETAILS_BYTES:
            break
        details.append(orjson.Fragment(encoded))
    body = _describe(error) | {"details": details}
    if len(details) < len(problems):
        body["details_omitted"] = len(problems) - len(details)
    headers = {}
    if isinstance(error, Unauthenticated):
        reason = "" if error.code is ErrorCode.TOKEN_MISSING else ', error="invalid_token"'
        headers["WWW-Authenticate"] = f'Bearer realm="{realm}"{reason}'
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    return Response(orjson.dumps({"error": body}), status_of(error), headers, "application/json")


def _describe(error: BitstoreError) -> dict[str, object]:
    described: dict[str, object] = {"code": error.code, "message": _echo(error.message)}
    if error.path is not None:
        described["path"] = _echo(error.path)
    if error.field is not None:
        described["field"] = error.field
    return described


def _echo(text: str) -> str:
    """Cut what may repeat a client's text, and make it printable: a lone surrogate can't be sent as JSON."""
    cut = text if len(text) <= _MAX_ECHO else f"{text[:_MAX_ECHO]}…"
    return cut.encode("utf-8", "backslashreplace").decode()


@frozen
class Refusals:
    """Answers what was raised while a request was worked on, and has it noted."""

    audit: Audit
    realm: str

    async def answer(self, _request: Request, error: Exception) -> Response:
        """Answer what a use-case or a port raised."""
        if not isinstance(error, BitstoreError):
            raise error
        answer = error_response(error, realm=self.realm)
        self.audit.refused(error, answer.status_code)
        return answer

    async def answer_router(self, _request: Request, error: Exception) -> Response:
        """Answer what the router raised: no such route, or not with this method."""
        refusal = _ROUTER_REFUSALS.get(error.status_code if isinstance(error, HTTPException) else 500, _NOT_UNDERSTOOD)
        answer = error_response(refusal)
        answer.headers.update(getattr(error, "headers", None) or {})
        self.audit.unrouted(refusal.code)
        return answer


_NOT_UNDERSTOOD = InvalidInput(ErrorCode.INVALID_REQUEST, "the request can't be understood")
_ROUTER_REFUSALS: Final[Mapping[int, BitstoreError]] = {
    404: BitstoreError(ErrorCode.NOT_FOUND, "there is nothing at this URL"),
    405: BitstoreError(ErrorCode.METHOD_NOT_ALLOWED, "this URL doesn't take this method"),
}


def fault_response() -> Response:
    """Answer a fault of our own without saying more; the log has it."""
    return error_response(BitstoreError(ErrorCode.INTERNAL_ERROR, "something went wrong here; it has been logged"))
