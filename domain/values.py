"""The base of values that are plain text with rules: checked once, when they are made."""

import re
from typing import ClassVar, Self

from domain.errors import ErrorCode, InvalidInput

_NOTHING = re.compile(r"(?!)")


class CheckedText(str):
    """A string that can't exist unless it keeps its type's rules, so that having one is proof.

    A subclass says `noun` and `code` for its refusals and implements `fault`. It stays a `str`: it is compared byte
    for byte, and costs nothing to render. `plain` may recognise, in one step, most of the strings that have no fault,
    of which a request can have tens of thousands.
    """

    __slots__ = ()
    code: ClassVar[ErrorCode]
    noun: ClassVar[str]
    plain: ClassVar[re.Pattern[str]] = _NOTHING

    def __new__(cls, value: object) -> Self:
        """Check `value`; raise `InvalidInput` with the type's code if it is not a string that keeps the rules."""
        if type(value) is not str or not cls.plain.fullmatch(value):
            if not isinstance(value, str):
                raise InvalidInput(cls.code, f"{cls.noun} must be a string")
            fault = cls.fault(value)
            if fault is not None:
                raise InvalidInput(cls.code, f"{cls.noun} {fault}")
        return str.__new__(cls, value)

    @staticmethod
    def fault(value: str) -> str | None:
        """Say what is wrong with `value`, as the end of a sentence whose subject is the noun; None if nothing is."""
        raise NotImplementedError
