"""The base of values that are plain text with rules: checked once, when they are made."""

from typing import ClassVar, Self

from domain.errors import ErrorCode, InvalidInput


class CheckedText(str):
    """A string that can't exist unless it keeps its type's rules, so that having one is proof.

    A subclass says `noun` and `code` for its refusals and implements `fault`. It stays a `str`: it is compared byte
    for byte, and costs nothing to render.
    """

    __slots__ = ()
    code: ClassVar[ErrorCode]
    noun: ClassVar[str]

    def __new__(cls, value: object) -> Self:
        """Check `value`; raise `InvalidInput` with the type's code if it is not a string that keeps the rules."""
        if not isinstance(value, str):
            raise InvalidInput(cls.code, f"{cls.noun} must be a string")
        fault = cls.fault(value)
        if fault is not None:
            raise InvalidInput(cls.code, f"{cls.noun} {fault}")
        return super().__new__(cls, value)

    @staticmethod
    def fault(value: str) -> str | None:
        """Say what is wrong with `value`, as the end of a sentence whose subject is the noun; None if nothing is."""
        raise NotImplementedError
