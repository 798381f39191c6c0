"""Where a file may go: owners, dataset names, relative paths and object keys.

Nothing here is ever normalised, trimmed or decoded on the way in. What is not acceptable as it stands is refused,
because two spellings that mean one object are how one user reaches another's files. A percent sequence is just three
literal characters.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import repeat
from typing import Self

from domain.errors import ErrorCode
from domain.values import CheckedText, each_matches

MAX_SEGMENT_BYTES = 255
"""The longest segment in bytes of UTF-8: the name limit of most file systems, where downloads end up."""

MAX_KEY_BYTES = 1024
"""The longest key in bytes of UTF-8 (Amazon S3 User Guide, "Naming Amazon S3 objects")."""

FORBIDDEN_CHARACTERS = (
    r"\x00-\x1f\x7f-\x9f"  # control characters: C0, DEL, C1
    r"\\"  # a separator to some clients, a character to others
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls: names that are shown as other names
    r"\ufffe\uffff"  # non-characters, which are refused by XML
)
"""What no key has, as in the brackets of a regular expression; nor has it surrogates, which can't be encoded."""

_FORBIDDEN_CHARACTER = re.compile(rf"[{FORBIDDEN_CHARACTERS}\ud800-\udfff]")
_FILENAME_VARIABLE = re.compile(r"\$\{filename\}", re.IGNORECASE)

# Most are words with single separators between them: one match answers for them.
_is_plain_segment = re.compile(r"[A-Za-z0-9_-]++(?:[. ][A-Za-z0-9_-]++)*+").fullmatch
_PLAIN_PATH = r"[A-Za-z0-9_-]++(?:[./ ][A-Za-z0-9_-]++)*+"
_is_plain_path = re.compile(_PLAIN_PATH).fullmatch

_unchecked = str.__new__


def _fault_in_text(text: str) -> str | None:
    if len(text) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    found = _FORBIDDEN_CHARACTER.search(text)
    if found:
        return f"contains the forbidden character U+{ord(found[0]):04X}"
    if len(text.encode()) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    if _FILENAME_VARIABLE.search(text):
        return "contains ${filename}, which object stores replace"
    if not unicodedata.is_normalized("NFC", text):
        return "is not in Unicode normalisation form C"
    return None


def _fault_in_segment(segment: str) -> str | None:
    if not segment:
        return "has an empty segment"
    if segment.strip() in ("", ".", ".."):
        return "has a segment that is blank, '.' or '..'"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"has a segment of more than {MAX_SEGMENT_BYTES} bytes"
    return None


def _fault_in_path(path: str) -> str | None:
    if not path:
        return "is empty"
    fault = _fault_in_text(path)
    if fault is not None:
        return fault
    if path.startswith("/") or path.endswith("/"):
        return "starts or ends with '/'"
    return next(filter(None, map(_fault_in_segment, path.split("/"))), None)


class _Segment(CheckedText):
    """Exactly one segment of a key."""

    __slots__ = ()
    plain = staticmethod(_is_plain_segment)

    @staticmethod
    def fault(value: str) -> str | None:
        """Refuse '/', and everything that a `RelativePath` refuses."""
        return "contains '/'" if "/" in value else _fault_in_path(value)


class Owner(_Segment):
    """A user id, as the first segment of the keys that the user owns. Refused with `invalid_owner`."""

    __slots__ = ()
    code = ErrorCode.INVALID_OWNER
    noun = "the owner"


class Dataset(_Segment):
    """A dataset's name, as one segment of a key. Refused with `invalid_dataset`."""

    __slots__ = ()
    code = ErrorCode.INVALID_DATASET
    noun = "the dataset's name"


class RelativePath(CheckedText):
    """A file's path inside its dataset. Refused with `invalid_path` unless all of this holds.

    - No empty, `.` or `..` segment (nor one that is after trimming white space); no leading or trailing `/`.
    - No backslash, control character (C0, DEL, C1), bidirectional control, surrogate, U+FFFE or U+FFFF.
    - In Unicode normalisation form C.
    - Nowhere `${filename}`, in any letter case.
    - Segments of at most 255 bytes, and at most 1,024 bytes in all.
    """

    __slots__ = ()
    code = ErrorCode.INVALID_PATH
    noun = "the path"
    plain = staticmethod(_is_plain_path)
    all_plain = staticmethod(each_matches(_PLAIN_PATH))

    @staticmethod
    def fault(value: str) -> str | None:
        """Say which of the rules above is broken."""
        return _fault_in_path(value)

    @property
    def basename(self) -> str:
        """The last segment."""
        return self.rpartition("/")[2]

    @property
    def dirname(self) -> str:
        """All but the last segment; empty when there is only one."""
        return self.rpartition("/")[0]

    @property
    def extension(self) -> str:
        """The last extension with its dot, or nothing. A leading dot starts none: `.profile` has no extension."""
        stem, _, extension = self.basename.rpartition(".")
        return f".{extension}" if stem.strip(".") and extension else ""


class ObjectKey(CheckedText):
    """Where an object lives in its bucket. The rules are those of a `RelativePath`; refused with `invalid_key`."""

    __slots__ = ()
    code = ErrorCode.INVALID_KEY
    noun = "the key"
    plain = staticmethod(_is_plain_path)

    @classmethod
    def inside(cls, folder: "ObjectKey", path: RelativePath) -> Self:
        """Join a folder, which keeps all rules of a key itself, and a path in there.

        Only the rule of the length looks across a slash, which isn't part of any composed character either; so this is
        a key if the result is short enough.
        """
        key = folder + "/" + path  # an f-string takes three times as long for subclasses of str
        return _unchecked(cls, key) if len(key) <= MAX_SEGMENT_BYTES else cls(key)

    @classmethod
    def each_inside(cls, folder: "ObjectKey", paths: Sequence[RelativePath]) -> Sequence[Self]:
        """Join a folder and each of some paths likewise."""
        start = f"{folder}/"
        keys = [start + path for path in paths]
        if max(map(len, keys), default=0) <= MAX_SEGMENT_BYTES:
            return list(map(_unchecked, repeat(cls), keys))
        return [cls(key) for key in keys]

    @staticmethod
    def fault(value: str) -> str | None:
        """Say which rule of a `RelativePath` is broken."""
        return _fault_in_path(value)
