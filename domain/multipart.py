"""Files that come in parts: how one is cut, and which of its parts have arrived as they should."""

import re
from collections.abc import Mapping
from typing import Self

from attrs import frozen

from domain.errors import ErrorCode, InvalidInput
from domain.files import DeclaredFile, Md5
from domain.values import CheckedText, frozen_by_type

MIB = 1024**2

USUAL_PART_BYTES = 16 * MIB
"""The size of parts where nothing asks for another: little is lost with one, and 1,000 of them make 16 GiB."""

UPLOAD_ID = re.compile(r"[!-~]{1,1024}")


@frozen
class PartLimits:
    """What a store allows of an object that comes in parts. The least size is for all parts but the last."""

    min_part_bytes: int
    max_part_bytes: int
    max_parts: int
    max_object_bytes: int

    @property
    def longest_object(self) -> int:
        """The longest object in bytes that keeps all the limits."""
        return min(self.max_object_bytes, self.max_parts * self.max_part_bytes)


class UploadId(CheckedText):
    """The name of an object that is coming in parts, as its store understands it. Refused with `invalid_upload_id`."""

    __slots__ = ()
    code = ErrorCode.INVALID_UPLOAD_ID
    noun = "upload_id"

    @staticmethod
    def fault(value: str) -> str | None:
        """Refuse all but 1 to 1,024 printable characters of ASCII without blanks."""
        return None if UPLOAD_ID.fullmatch(value) else "must be the one that was given for this file"


@frozen_by_type
class PartPlan:
    """How a file of `length` bytes is cut: into parts of `part_size` bytes, numbered from 1, the last perhaps shorter.

    It follows from what a client declares and the store allows, so nobody has to remember it.
    """

    length: int
    part_size: int

    @classmethod
    def of(cls, file: DeclaredFile, limits: PartLimits) -> Self:
        """Cut as the client asks, or else into the fewest whole MiB that the limits allow, but not less than usual.

        Raises `InvalidInput`: `invalid_parts` for parts that the store doesn't allow and for an empty file, and
        `file_too_large`.
        """
        if not file.length:
            raise InvalidInput(ErrorCode.INVALID_PARTS, "an empty file has no parts; accept POST or PUT for it as well")
        if file.length > limits.longest_object:
            raise InvalidInput(
                ErrorCode.FILE_TOO_LARGE, f"length is over the limit of {limits.longest_object} bytes", field="length"
            )
        if file.parts is None:
            return cls(file.length, _size_for(file.length, limits))
        plan = cls(file.length, file.parts.size)
        fault = plan._fault(limits)
        if fault is not None:
            raise InvalidInput(ErrorCode.INVALID_PARTS, f"parts.size {fault}", field="parts")
        return plan

    @property
    def count(self) -> int:
        """The number of parts."""
        return -(-self.length // self.part_size)

    def length_of(self, number: int) -> int:
        """Give the length in bytes of a part, by its number."""
        return min(self.part_size, self.length - (number - 1) * self.part_size)

    def _fault(self, limits: PartLimits) -> str | None:
        if self.count > 1 and self.part_size < limits.min_part_bytes:
            return f"is under this store's limit of {limits.min_part_bytes} bytes"
        if self.length_of(1) > limits.max_part_bytes:
            return f"is over this store's limit of {limits.max_part_bytes} bytes"
        if self.count > limits.max_parts:
            return f"makes {self.count} parts; this store takes {limits.max_parts} at most"
        return None


def _size_for(length: int, limits: PartLimits) -> int:
    needed = max(-(-length // limits.max_parts), limits.min_part_bytes, USUAL_PART_BYTES)
    return min(-(-needed // MIB) * MIB, limits.max_part_bytes)


@frozen_by_type
class ArrivedPart:
    """A part that a store holds. `tag` is the store's own name for these bytes, `md5` theirs if the store tells."""

    number: int
    length: int
    tag: str
    md5: Md5 | None = None


def unfit_parts(plan: PartPlan, file: DeclaredFile, arrived: Mapping[int, ArrivedPart]) -> list[int]:
    """Give the numbers, in order, of the parts that haven't arrived, or not with the length and digest they must have.

    A digest counts only if the client declared it and the store knows it.
    """
    digests = file.parts.md5 if file.parts is not None else None
    return [
        number
        for number in range(1, plan.count + 1)
        if not _is_fit(arrived.get(number), plan.length_of(number), digests[number - 1] if digests else None)
    ]


def _is_fit(part: ArrivedPart | None, length: int, md5: Md5 | None) -> bool:
    return part is not None and part.length == length and (md5 is None or part.md5 is None or part.md5 == md5)
