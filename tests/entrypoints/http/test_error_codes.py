"""Every error code has an answer, and the kind of an error fits the status of its code."""

from http import HTTPStatus

import pytest

from domain.errors import (
    AccessDenied,
    BitstoreError,
    ErrorCode,
    InvalidBatch,
    InvalidInput,
    Unauthenticated,
    Unavailable,
)
from entrypoints.http.error_codes import ANSWERS
from entrypoints.http.errors import error_response


def test_every_code_has_an_answer() -> None:
    assert ANSWERS.keys() == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_an_answer_is_an_error_and_says_what_it_means(code: ErrorCode) -> None:
    answer = ANSWERS[code]

    assert HTTPStatus(answer.status) >= HTTPStatus.BAD_REQUEST
    assert answer.meaning
    assert not answer.meaning.endswith(".")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput(ErrorCode.INVALID_PATH, ""), 400),
        (InvalidBatch([]), 400),
        (Unauthenticated(ErrorCode.TOKEN_EXPIRED, ""), 401),
        (AccessDenied(ErrorCode.NOT_OWNER, ""), 403),
        (InvalidInput(ErrorCode.UPLOAD_NOT_FOUND, ""), 404),
        (BitstoreError(ErrorCode.METHOD_NOT_ALLOWED, ""), 405),
        (BitstoreError(ErrorCode.BODY_TIMEOUT, ""), 408),
        (InvalidInput(ErrorCode.OBJECT_EXISTS, ""), 409),
        (InvalidInput(ErrorCode.TOO_MANY_FILES, ""), 413),
        (BitstoreError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, ""), 415),
        (BitstoreError(ErrorCode.HEAD_TOO_LARGE, ""), 431),
        (BitstoreError(ErrorCode.INTERNAL_ERROR, ""), 500),
        (Unavailable(ErrorCode.STORE_UNAVAILABLE, ""), 503),
    ],
)
def test_each_kind_of_error_has_its_status(error: BitstoreError, status: int) -> None:
    assert error_response(error).status_code == status
