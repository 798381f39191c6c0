"""What the domain's values are made of: text that is checked once, when it is made, and records that never change."""

import re
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, ClassVar, Self, cast

from attrs import define

from domain.errors import ErrorCode, InvalidInput

if TYPE_CHECKING:
    # For the records that each request, or even each of its files, has several of. To the type checker they are frozen,
    # and it sees all of our code; to make one takes a third of the time that attrs needs to watch every assignment.
    from attrs import frozen as frozen_by_type
else:
    frozen_by_type = define(unsafe_hash=True, weakref_slot=False)

__all__ = ["CheckedText", "each_matches", "frozen_by_type"]

_MAX_PLAIN = 255
_make = str.__new__


def _never(_: object) -> bool:
    return False


def each_matches(pattern: str) -> Callable[[Sequence[str]], bool]:
    """Give what tells in one step whether each of some strings matches `pattern`, which matches no line break."""
    are_lines = re.compile(rf"(?:{pattern}\n)*+").fullmatch

    def told(texts: Sequence[str]) -> bool:
        lines = "\n".join((*texts, ""))
        return lines.count("\n") == len(texts) and are_lines(lines) is not None

    return told


class CheckedText(str):
    """A string that can't exist unless it keeps its type's rules, so that having one is proof.

    A subclass says `noun` and `code` for its refusals and implements `fault`. It stays a `str`: it is compared byte
    for byte, and costs nothing to render. `plain` may recognise, in one step, most of the strings of at most 255
    characters that have no fault: a request can have tens of thousands. `all_plain` may likewise recognise that all of
    many are such strings.
    """

    __slots__ = ()
    code: ClassVar[ErrorCode]
    noun: ClassVar[str]
    plain: ClassVar["staticmethod[[str], object]"] = staticmethod(_never)
    all_plain: ClassVar["staticmethod[[Sequence[str]], object]"] = staticmethod(_never)

    def __new__(cls, value: object) -> Self:
        """Check `value`; raise `InvalidInput` with the type's code if it is not a string that keeps the rules."""
        if type(value) is str and len(value) <= _MAX_PLAIN and cls.plain(value):
            return _make(cls, value)
        if not isinstance(value, str):
            raise InvalidInput(cls.code, f"{cls.noun} must be a string")
        fault = cls.fault(value)
        if fault is not None:
            raise InvalidInput(cls.code, f"{cls.noun} {fault}")
        return _make(cls, value)

    @classmethod
    def each(cls, values: Sequence[object]) -> Sequence[Self]:
        """Make one of each of `values`; raise what making the first bad one raises."""
        if set(map(type, values)) == {str}:
            texts = cast(Sequence[str], values)
            if max(map(len, texts)) <= _MAX_PLAIN and cls.all_plain(texts):
                return list(map(_make, repeat(cls), texts))
        return [cls(value) for value in values]

    @staticmethod
    def fault(value: str) -> str | None:
        """Say what is wrong with `value`, as the end of a sentence whose subject is the noun; None if nothing is."""
        raise NotImplementedError
