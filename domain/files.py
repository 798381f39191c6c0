"""What a client declares of a file: its digests, media type, length and name."""

import hashlib
import mimetypes
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import Self, TypeVar, cast

from attrs import evolve, frozen

from domain.errors import ErrorCode, InvalidInput
from domain.keys import RelativePath
from domain.values import CheckedText, each_matches, frozen_by_type

DEFAULT_MEDIA_TYPE = "application/octet-stream"
MAX_NAME_BYTES = 1024
MAX_TYPE_LENGTH = 255

_HEX = re.compile(r"[0-9A-Fa-f]+")
# RFC 9110, section 8.3.1: type "/" subtype *( OWS ";" OWS token "=" ( token / quoted-string ) ); printable ASCII only.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's name
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))*")
_PLAIN_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}")
UNPRINTABLE_CHARACTERS = r"\x00-\x1f\x7f-\x9f\ufffe\uffff"
"""What no file's name has, as in the brackets of a regular expression; nor has it surrogates, which aren't text."""
_UNPRINTABLE = re.compile(rf"[{UNPRINTABLE_CHARACTERS}\ud800-\udfff]")

# The tables of the Python version alone, so that a type doesn't depend on what the machine has installed.
_TYPES_BY_EXTENSION = mimetypes.MimeTypes().types_map[True] | {
    ".geojson": "application/geo+json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


class _Digest(CheckedText):
    """A digest in canonical base64, as `Content-MD5` has it (RFC 1864)."""

    __slots__ = ()

    @property
    def raw(self) -> bytes:
        """The digest's bytes."""
        return a2b_base64(self)

    @property
    def hex(self) -> str:
        """The digest in lower-case hexadecimal."""
        return self.raw.hex()

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Make the digest whose bytes are `raw`."""
        return cls(b2a_base64(raw, newline=False).decode("ascii"))


_AnyDigest = TypeVar("_AnyDigest", bound=_Digest)


def _fault_in_digest(value: str, canonical: re.Pattern[str], size: int) -> str | None:
    if canonical.fullmatch(value):
        return None
    if len(value) == 2 * size and _HEX.fullmatch(value):
        return "is in hexadecimal; it must be in base64"
    return f"must be the canonical base64 of exactly {size} bytes"


# In canonical base64 the bits of the last character that carry no data are zero (RFC 4648, section 3.5).
MD5_BASE64 = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
SHA256_BASE64 = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")


class Md5(_Digest):
    """The MD5 of a file: 16 bytes. Refused with `invalid_md5`."""

    __slots__ = ()
    code = ErrorCode.INVALID_MD5
    noun = "md5"
    plain = staticmethod(MD5_BASE64.fullmatch)
    all_plain = staticmethod(each_matches(MD5_BASE64.pattern))

    @staticmethod
    def fault(value: str) -> str | None:
        """Refuse all but the canonical base64 of 16 bytes."""
        return _fault_in_digest(value, MD5_BASE64, 16)


class Sha256(_Digest):
    """The SHA-256 of a file: 32 bytes. Refused with `invalid_sha256`."""

    __slots__ = ()
    code = ErrorCode.INVALID_SHA256
    noun = "sha256"
    plain = staticmethod(SHA256_BASE64.fullmatch)
    all_plain = staticmethod(each_matches(SHA256_BASE64.pattern))

    @staticmethod
    def fault(value: str) -> str | None:
        """Refuse all but the canonical base64 of 32 bytes."""
        return _fault_in_digest(value, SHA256_BASE64, 32)


class MediaType(CheckedText):
    """A media type with optional parameters (RFC 9110, section 8.3.1), of at most 255 characters.

    Refused with `invalid_type`.
    """

    __slots__ = ()
    code = ErrorCode.INVALID_TYPE
    noun = "type"
    plain = staticmethod(_PLAIN_TYPE.fullmatch)

    @staticmethod
    def fault(value: str) -> str | None:
        """Refuse what is not `type/subtype`, optionally with `; name=value` parameters."""
        if "${filename}" in value.lower():
            return "contains ${filename}, which object stores replace"
        if len(value) <= MAX_TYPE_LENGTH and MEDIA_TYPE.fullmatch(value):
            return None
        return f"must be a media type such as text/csv, of at most {MAX_TYPE_LENGTH} characters"

    @classmethod
    @lru_cache(maxsize=256)
    def of_extension(cls, extension: str) -> Self:
        """Guess the type from an extension with its dot; `application/octet-stream` where that says nothing."""
        return cls(_TYPES_BY_EXTENSION.get(extension.lower(), DEFAULT_MEDIA_TYPE))


class FileName(CheckedText):
    """A file's name as people should see it: not a key, so any printable text. Refused with `invalid_name`."""

    __slots__ = ()
    code = ErrorCode.INVALID_NAME
    noun = "name"
    plain = staticmethod(str.isprintable)
    all_plain = staticmethod(lambda names: "".join(names).isprintable())

    @staticmethod
    def fault(value: str) -> str | None:
        """Refuse control characters, surrogates, and more than 1,024 bytes."""
        if len(value) > MAX_NAME_BYTES:
            return f"is longer than {MAX_NAME_BYTES} bytes"
        found = _UNPRINTABLE.search(value)
        if found:
            return f"contains the forbidden character U+{ord(found[0]):04X}"
        return f"is longer than {MAX_NAME_BYTES} bytes" if len(value.encode()) > MAX_NAME_BYTES else None


_known_media_type = lru_cache(maxsize=256)(MediaType)  # ten thousand files have a handful of types


@frozen
class FileRules:
    """What the operator and the store demand of each file.

    `max_bytes` is the longest file of one signed request, and `max_bytes_in_parts` the longest that may come in parts;
    0 where none may.
    """

    max_bytes: int
    require_digest: bool = True
    max_bytes_in_parts: int = 0

    @property
    def in_parts(self) -> "FileRules":
        """The rules for files that need not come in one request."""
        return evolve(self, max_bytes=max(self.max_bytes, self.max_bytes_in_parts))


@frozen_by_type
class DeclaredParts:
    """How a client cuts a file: into parts of `size` bytes, the last perhaps shorter; and the MD5 of each, in order."""

    size: int
    md5: tuple[Md5, ...] | None = None

    @classmethod
    def parse(cls, value: object, length: int) -> Self:
        """Read the parts of a file of `length` bytes: an object with `size`, and perhaps `md5`.

        Raises `InvalidInput`: `invalid_parts`, `invalid_md5`.
        """
        if not isinstance(value, Mapping):
            raise _bad_parts("parts must be an object with size, and perhaps md5")
        size, md5 = value.get("size"), value.get("md5")
        if type(size) is not int or size < 1:
            raise _bad_parts("parts.size must be a whole number of bytes")
        if md5 is None:
            return cls(size)
        if not isinstance(md5, list | tuple):
            raise _bad_parts("parts.md5 must be a list")
        if len(md5) != -(-length // size):
            raise _bad_parts(f"parts.md5 must have one digest for each part of {size} bytes")
        return cls(size, tuple(map(Md5, md5)))

    @property
    def composite(self) -> str | None:
        """What S3 makes of the parts' MD5s for an entity tag: the MD5 in hexadecimal of all of them, "-", their number.

        (Amazon S3 User Guide, "Checking object integrity", on multipart uploads.)
        """
        if not self.md5:
            return None
        digest = hashlib.md5(b"".join(part.raw for part in self.md5), usedforsecurity=False).hexdigest()
        return f"{digest}-{len(self.md5)}"


def _bad_parts(message: str) -> InvalidInput:
    return InvalidInput(ErrorCode.INVALID_PARTS, message, field="parts")


@frozen_by_type
class DeclaredFile:
    """What a client says of one file. `length` is in bytes. At least one digest, unless the operator waived it."""

    path: RelativePath
    length: int
    media_type: MediaType
    name: FileName
    md5: Md5 | None = None
    sha256: Sha256 | None = None
    parts: DeclaredParts | None = None

    @classmethod
    def parse(cls, path: object, declaration: object, rules: FileRules) -> Self:
        """Make the file that a client declares at `path`.

        `declaration` is a mapping with `length`, `md5`, `sha256`, `type`, `name` and `parts`. Unknown members are
        ignored; members that are None count as absent. Raises `InvalidInput`.
        """
        relative_path = RelativePath(path)
        if type(declaration) is not dict and not isinstance(declaration, Mapping):
            raise _fault_in_declaration()
        get = declaration.get
        md5, sha256, media_type, name, parts = get("md5"), get("sha256"), get("type"), get("name"), get("parts")
        if md5 is None and sha256 is None and rules.require_digest:
            raise _fault_in_digests()
        length = _length(get("length"), rules)
        # By position, which is twice as fast as by name; there are ten thousand of these.
        return cls(
            relative_path,
            length,
            _media_type(media_type, relative_path),
            FileName(relative_path.basename if name is None else name),
            None if md5 is None else Md5(md5),
            None if sha256 is None else Sha256(sha256),
            _parts(parts, length),
        )

    @classmethod
    def parse_all(cls, declared: Sequence[tuple[object, object]], rules: FileRules) -> Sequence[Self]:
        """Make the files that a client declares, each as `parse` makes it of its path and its declaration.

        All paths are checked, then all digests, and so on, which takes less time. Raises `InvalidInput` if `parse`
        would for one of them; what, and for which, isn't told.
        """
        paths = RelativePath.each([path for path, _ in declared])
        declarations = [one for _, one in declared if type(one) is dict or isinstance(one, Mapping)]
        if len(declarations) < len(paths):
            raise _fault_in_declaration()

        def each(member: str) -> Sequence[object]:
            return [declaration.get(member) for declaration in declarations]

        md5, sha256 = each("md5"), each("sha256")
        if rules.require_digest and _has_none(md5) and any(map(_are_none, md5, sha256)):
            raise _fault_in_digests()
        lengths = _each_length(each("length"), rules)
        types = _each_media_type(each("type"), paths)
        names = [path.basename if name is None else name for name, path in zip(each("name"), paths, strict=True)]
        parts = _each_parts(each("parts"), lengths)
        digests = _each_given(Md5, md5), _each_given(Sha256, sha256)
        return list(map(cls, paths, lengths, types, FileName.each(names), *digests, parts))

    @property
    def content(self) -> tuple[int, Md5 | None, Sha256 | None]:
        """What identifies the bytes."""
        return (self.length, self.md5, self.sha256)


def _media_type(value: object, path: RelativePath) -> MediaType:
    if value is None:
        return MediaType.of_extension(path.extension)
    return (_known_media_type if type(value) is str else MediaType)(value)


def _each_media_type(values: Sequence[object], paths: Sequence[RelativePath]) -> Iterable[MediaType]:
    if set(map(type, values)) == {str}:
        return map(_known_media_type, cast(Sequence[str], values))
    return map(_media_type, values, paths)


def _fault_in_declaration() -> InvalidInput:
    return InvalidInput(ErrorCode.INVALID_FILE, "a file is declared as an object with length, md5, type and name")


def _fault_in_digests() -> InvalidInput:
    return InvalidInput(ErrorCode.DIGEST_REQUIRED, "md5 or sha256 is required", field="md5")


def _has_none(values: Sequence[object]) -> bool:
    return NoneType in map(type, values)


def _are_none(one: object, other: object) -> bool:
    return one is None and other is None


def _each_given(kind: type[_AnyDigest], values: Sequence[object]) -> Sequence[_AnyDigest | None]:
    if _has_none(values):
        return [None if value is None else kind(value) for value in values]
    return kind.each(values)


def _length(value: object, rules: FileRules) -> int:
    # `True` is an int to Python, and 5.0 equals 5: only a real integer is a length.
    if type(value) is not int or not 0 <= value <= rules.max_bytes:
        raise _fault_in_length(value, rules)
    return value


def _each_length(values: Sequence[object], rules: FileRules) -> Sequence[int]:
    if set(map(type, values)) == {int}:
        lengths = cast(Sequence[int], values)
        if min(lengths) >= 0 and max(lengths) <= rules.max_bytes:
            return lengths
    return [_length(value, rules) for value in values]


def _parts(value: object, length: int) -> DeclaredParts | None:
    return None if value is None else DeclaredParts.parse(value, length)


def _each_parts(values: Sequence[object], lengths: Sequence[int]) -> Iterable[DeclaredParts | None]:
    if values.count(None) == len(values):
        return cast(Sequence[None], values)
    return map(_parts, values, lengths)


def _fault_in_length(value: object, rules: FileRules) -> InvalidInput:
    if type(value) is not int:
        return InvalidInput(
            ErrorCode.INVALID_LENGTH, "length must be an integer: the file's size in bytes", field="length"
        )
    if value < 0:
        return InvalidInput(ErrorCode.INVALID_LENGTH, "length must not be negative", field="length")
    limit = f"length is over the limit of {rules.max_bytes} bytes"
    if value <= rules.max_bytes_in_parts:
        limit += ' for one request; the file can come in parts: send "accept": ["MULTIPART", "PUT", "POST"]'
    return InvalidInput(ErrorCode.FILE_TOO_LARGE, limit, field="length")
