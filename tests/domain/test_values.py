"""What all checked texts have in common."""

import pytest

from domain.errors import ErrorCode
from domain.values import CheckedText


class Ruleless(CheckedText):
    """A text whose author has forgotten to say what is wrong with one."""

    __slots__ = ()
    code = ErrorCode.INVALID_NAME
    noun = "the text"


@pytest.mark.parametrize("text", ["", "x", "x" * 1_000])
def test_a_type_without_rules_accepts_nothing(text: str) -> None:
    with pytest.raises(NotImplementedError):
        Ruleless(text)
