"""Errors as HTTP answers."""

from collections.abc import Mapping
from typing import Final

import orjson
from attrs import frozen
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.errors import (
    BitstoreError,
    ErrorCode,
    InvalidBatch,
    InvalidInput,
    Unauthenticated,
    Unavailable,
)
from entrypoints.http.audit import Audit
from entrypoints.http.error_codes import ANSWERS
from entrypoints.http.wire_types import ErrorAnswer, Problem, Refusal

MAX_ERROR_BYTES = 64 * 1024
_MAX_ECHO = 256
_MAX_DETAILS_BYTES = MAX_ERROR_BYTES - 4 * 1024


def error_response(error: BitstoreError, *, realm: str = "bitstore") -> Response:
    """Answer with an error, in at most 64 KiB; further details are counted, not listed."""
    headers = {}
    if isinstance(error, Unauthenticated):
        reason = "" if error.code is ErrorCode.TOKEN_MISSING else ', error="invalid_token"'
        headers["WWW-Authenticate"] = f'Bearer realm="{realm}"{reason}'
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    answer: ErrorAnswer = {"error": _refusal(error)}
    return Response(orjson.dumps(answer), ANSWERS[error.code].status, headers, "application/json")


def _refusal(error: BitstoreError) -> Refusal:
    problems = error.problems if isinstance(error, InvalidBatch) else ()
    details: list[Problem] = []
    size = 0
    for problem in map(_problem, problems):
        size += len(orjson.dumps(problem)) + 1
        if size > _MAX_DETAILS_BYTES:
            break
        details.append(problem)
    refusal: Refusal = {"code": error.code, "message": _echo(error.message), "details": details}
    _say_where(refusal, error)
    if len(details) < len(problems):
        refusal["details_omitted"] = len(problems) - len(details)
    return refusal


def _problem(error: BitstoreError) -> Problem:
    problem: Problem = {"code": error.code, "message": _echo(error.message)}
    _say_where(problem, error)
    return problem


def _say_where(problem: Problem, error: BitstoreError) -> None:
    if error.path is not None:
        problem["path"] = _echo(error.path)
    if error.field is not None:
        problem["field"] = error.field


def _echo(text: str) -> str:
    """Cut what may repeat a client's text, and make it printable: a lone surrogate can't be sent as JSON."""
    cut = text if len(text) <= _MAX_ECHO else f"{text[:_MAX_ECHO]}…"
    return cut.encode("utf-8", "backslashreplace").decode()


@frozen
class Refusals:
    """Answers what was raised while a request was worked on, and has it noted."""

    audit: Audit
    realm: str

    def answer(self, error: BitstoreError) -> Response:
        """Answer what a use-case or a port raised."""
        answer = error_response(error, realm=self.realm)
        self.audit.refused(error, answer.status_code)
        return answer

    def answer_router(self, error: HTTPException) -> Response:
        """Answer what the router raised: no such route, or not with this method."""
        refusal = _ROUTER_REFUSALS.get(error.status_code, _NOT_UNDERSTOOD)
        answer = error_response(refusal)
        answer.headers.update(error.headers or {})
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
