"""How tests say that something is refused."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import pytest

from domain.errors import BitstoreError, ErrorCode, InvalidInput

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


def assert_refused(make: Callable[[Any], object], value: object, code: ErrorCode) -> None:
    """Check that `make(value)` raises `InvalidInput` with `code`, and never repeats what was sent."""
    with pytest.raises(InvalidInput) as refusal:
        make(value)
    assert refusal.value.code is code
    assert_fit_to_be_shown(refusal.value)


def assert_fit_to_be_shown(error: BitstoreError) -> None:
    """Check that an error has a code, and a message that is short and can be encoded, whatever was sent."""
    assert isinstance(error.code, ErrorCode)
    assert len(error.message.encode()) < 200


def attempt(make: Callable[Arguments, Made], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Made | BitstoreError:
    """Give what `make` gives, or the error that it raises on purpose; any other exception is a failure."""
    try:
        return make(*args, **kwargs)
    except BitstoreError as error:
        return error
