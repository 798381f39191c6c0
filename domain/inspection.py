"""Whether what a store holds is what was declared."""

from enum import StrEnum

from domain.files import DeclaredFile, Md5, Sha256
from domain.values import frozen_by_type


class Status(StrEnum):
    """How a declared file compares with what the store holds at exactly its key."""

    STORED = "stored"
    MISSING = "missing"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """There is an object of that length, but the store can't tell a digest that was declared."""


@frozen_by_type
class FoundObject:
    """What a store says of an object. A digest that it doesn't know, or that is not one of the whole bytes, is None.

    `composite` is what it made of the MD5s of the parts in which the object came, as `DeclaredParts.composite`.
    """

    length: int
    md5: Md5 | None = None
    sha256: Sha256 | None = None
    composite: str | None = None


def compare(file: DeclaredFile, found: FoundObject | None) -> Status:
    """Compare a declaration with what was found; None is no object. Length and digest must both match.

    Where a file declares two digests and the store knows both, both must match. Digests of parts count where the store
    knows none of the whole bytes.
    """
    if found is None:
        return Status.MISSING
    if found.length != file.length:
        return Status.DIFFERENT
    same_md5 = None if file.md5 is None or found.md5 is None else file.md5 == found.md5
    same_sha256 = None if file.sha256 is None or found.sha256 is None else file.sha256 == found.sha256
    if same_md5 is False or same_sha256 is False:
        return Status.DIFFERENT
    return Status.STORED if same_md5 or same_sha256 or _has_same_parts(file, found) else Status.UNKNOWN


def _has_same_parts(file: DeclaredFile, found: FoundObject) -> bool:
    # Only equality says something: the same bytes, cut in another way, have another composite.
    return file.parts is not None and found.composite is not None and file.parts.composite == found.composite
