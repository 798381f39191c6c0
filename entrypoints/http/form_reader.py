"""Read a multipart/form-data upload (RFC 7578) as a stream: first the fields, then the one file, piece by piece.

The file is the part named `file`, with or without a filename; the fields stand before it, and parts after it mean
nothing ("POST Object" in the Amazon S3 API reference). Everything but the file is bounded, and of the file there is
never more in memory than one piece of the body.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from attrs import field, frozen
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from entrypoints.http.s3_errors import S3Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELDS = 200
MAX_FIELDS_BYTES = 20 * 1024
"""The most that names and values of all fields may have together ("POST Object")."""

MAX_OVERHEAD_BYTES = 64 * 1024
"""How much of the body may stand before the file, with boundaries and part headers, and how much after it."""

MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 4 * 1024
_MAX_BOUNDARY_BYTES = 200
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@frozen
class FileForm:
    """A form whose fields have arrived, and whose file is about to.

    `fields` are in the order in which they came, repetitions included. `filename` and `media_type` are what the part
    `file` says, None where it doesn't; what is not UTF-8 in the filename is escaped as surrogates.
    `chunks` gives the file, and ends only after the form was found whole; it raises S3Refusal if it isn't.
    """

    fields: Sequence[tuple[str, str]] = field(repr=False)
    filename: str | None
    media_type: str | None
    chunks: AsyncIterator[bytes] = field(repr=False)


async def open_form(content_type: str | None, body: AsyncIterator[bytes]) -> FileForm:
    """Read the body of a request up to the first byte of its file.

    Raises S3Refusal: the body is no multipart/form-data, has no file, is cut off or malformed, or has too much before
    its file. What `body` raises passes through.
    """
    parts = _Parts(_boundary_of(content_type))
    overhead = 0
    async for chunk in body:
        parts.feed(chunk)
        if parts.file is not None:
            filename, media_type = parts.file
            return FileForm(parts.fields, filename, media_type, _file_chunks(parts, body))
        overhead += len(chunk)
        if overhead > MAX_OVERHEAD_BYTES:
            _refuse_fields()
    if parts.complete:
        raise S3Refusal("IncorrectNumberOfFilesInPostRequest", "POST requires exactly one file upload per request.")
    raise _malformed("The form ends before its closing boundary.")


async def _file_chunks(parts: "_Parts", body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in parts.take_file_pieces():
        yield piece
    overhead = 0
    async for chunk in body:
        if parts.file_complete:
            overhead += len(chunk)
            if overhead > MAX_OVERHEAD_BYTES:
                raise _malformed("There is too much after the file.")
        parts.feed(chunk)
        for piece in parts.take_file_pieces():
            yield piece
    if not parts.complete:
        raise _malformed("The form ends before its closing boundary.")


class _Parts:
    """The parts of a form, sorted as they are parsed."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: list[tuple[str, str]] = []
        self.file: tuple[str | None, str | None] | None = None
        self.file_complete = False
        self.complete = False
        self._file_pieces: list[bytes] = []
        self._has_begun = False
        self._fields_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._field_name: str | None = None
        self._field_value = bytearray()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_name,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_part,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        self._parser = MultipartParser(
            boundary, callbacks, max_header_count=MAX_PART_HEADERS, max_header_size=MAX_PART_HEADER_BYTES
        )

    def feed(self, chunk: bytes) -> None:
        if not self._has_begun:
            # What else the parser passes over before the first boundary depends on where the body is cut.
            chunk = chunk.lstrip(b"\r\n")
            self._has_begun = bool(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _malformed() from None

    def take_file_pieces(self) -> list[bytes]:
        """Give what the last `feed` held of the file."""
        pieces, self._file_pieces = self._file_pieces, []
        return pieces

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        name = self._header_name.lower()
        if name in self._headers:
            raise _malformed("A part has a header more than once.")
        self._headers[name] = self._header_value
        self._header_name = self._header_value = b""

    def _on_part(self) -> None:
        disposition, options = _taken_apart(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        if disposition != b"form-data" or b"name" not in options:
            raise _malformed("Each part needs a Content-Disposition with a name.")
        name = _utf8(options[b"name"])
        if name.lower() != "file":
            self._begin_field(name)
        elif self.file is not None:
            raise S3Refusal("IncorrectNumberOfFilesInPostRequest", "POST requires exactly one file upload per request.")
        else:
            filename, media_type = options.get(b"filename"), self._headers.get(b"content-type")
            self.file = (
                None if filename is None else filename.decode("utf-8", "surrogateescape"),
                None if media_type is None else _utf8(media_type),
            )

    def _begin_field(self, name: str) -> None:
        if self.file is None:
            self._field_name = name
            self._count(len(name.encode()))
            if len(self.fields) == MAX_FIELDS:
                _refuse_fields()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._field_name is not None:
            self._count(end - start)
            self._field_value += data[start:end]
        elif not self.file_complete:
            self._file_pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        if self._field_name is None:
            self.file_complete = True
        else:
            self.fields.append((self._field_name, _utf8(bytes(self._field_value))))
            self._field_name = None
            self._field_value.clear()

    def _on_end(self) -> None:
        self.complete = True

    def _count(self, size: int) -> None:
        self._fields_bytes += size
        if self._fields_bytes > MAX_FIELDS_BYTES:
            _refuse_fields()


def _boundary_of(content_type: str | None) -> bytes:
    media_type, options = _taken_apart(content_type or "")
    boundary = options.get(b"boundary", b"")
    if media_type != b"multipart/form-data" or not 0 < len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise S3Refusal(
            "RequestIsNotMultiPartContent", "Bucket POST must be of the enclosure-type multipart/form-data."
        )
    return boundary


def _taken_apart(header: str) -> tuple[bytes, Mapping[bytes, bytes]]:
    """Give the value and the parameters of a header; nothing of one that has a parameter twice."""
    names = [parameter.partition("=")[0].strip().lower() for parameter in _QUOTED.sub("", header).split(";")[1:]]
    return parse_options_header(header) if len(set(names)) == len(names) else (b"", {})


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _malformed("Names and values of fields must be UTF-8.") from None


def _malformed(reason: str = "") -> S3Refusal:
    message = f"The body of your POST request is not well-formed multipart/form-data. {reason}"
    return S3Refusal("MalformedPOSTRequest", message.rstrip())


def _refuse_fields() -> NoReturn:
    raise S3Refusal(
        "MaxPostPreDataLengthExceededError", "Your POST request fields preceding the upload file were too large."
    )
