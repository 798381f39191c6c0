"""The reader of forms: any bytes, cut anywhere."""

import re
from collections.abc import AsyncIterator, Coroutine, Iterable
from itertools import pairwise
from typing import Any, Final, TypeVar

from entrypoints.http.form_reader import open_form
from entrypoints.http.s3_errors import S3Refusal
from tests.hard.targets.target import Target

_T = TypeVar("_T")

BOUNDARY: Final = b"frontier"
DELIMITER = b"\r\n--" + BOUNDARY


def form(data: bytes) -> str:
    """Read a form whole, in pieces, and byte by byte: it must be the same, and what is in the bytes.

    The first two bytes say where it is cut.
    """
    cuts, body = data[:2], data[2:]
    ends = sorted({0, *(at * len(body) // 256 for at in cuts), len(body)})
    pieces = [body[start:end] for start, end in pairwise(ends)]
    whole = _read_form([body])
    assert _read_form(pieces) == whole
    assert _read_form([body[at : at + 1] for at in range(len(body))]) == whole
    if isinstance(whole, str):
        return whole
    fields, content = whole
    assert [*(value.encode() for _, value in fields), content] == _contents(body)[: len(fields) + 1]
    return "read"


def _read_form(pieces: Iterable[bytes]) -> str | tuple[list[tuple[str, str]], bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            if piece:
                yield piece

    async def read() -> tuple[list[tuple[str, str]], bytes]:
        opened = await open_form(f"multipart/form-data; boundary={BOUNDARY.decode()}", chunks())
        return list(opened.fields), b"".join([chunk async for chunk in opened.chunks])

    try:
        return finish(read())
    except S3Refusal as refusal:
        return refusal.s3_code


def finish(work: Coroutine[Any, Any, _T]) -> _T:
    """Run what waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        value: _T = end.value
        return value
    raise AssertionError("it waits")


def _contents(body: bytes) -> list[bytes]:
    """Give the bytes of each part by nothing but RFC 2046, section 5.1.1."""
    _, *parts = re.split(rb"\r\n--frontier(?=--|[ \t]*\r\n)", b"\r\n" + body)
    # The line of the boundary ends the part before; a part without headers begins with its empty line.
    return [part.partition(b"\r\n\r\n")[2] for part in parts]


def part(disposition: bytes, content: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"--" + BOUNDARY, b"Content-Disposition: form-data; " + disposition, *headers, b"", content]
    return b"\r\n".join(lines) + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"
FILE = part(b'name="file"; filename="a.csv"', b"a,b\r\n--frontie", b"Content-Type: text/csv")
FORM: Final = Target(
    form,
    seeds=[
        b"\x10\x80" + part(b'name="key"', b"k") + FILE + END,
        b"\x80\x90" + FILE + part(b'name="late"', b"x") + END,
        b"\x01\x02\r\n" + part(b"name=file") + END + b"epilogue",
        b"\x01\xff" + part(b'name="key"', b"\xc3\xa9") + END,
        b"\x20\xff" + part(b'name="key"') + FILE,
        b"\x20\xff" + FILE + FILE + END,
        b"\x20\xff" + part(b'name="k"', b"v" * 30) * 2 + FILE + END,
    ],
    words=[
        DELIMITER,
        END,
        b'Content-Disposition: form-data; name="file"',
        b'; filename="',
        b"\r\n\r\n",
        b"Content-Type: ",
        b"--",
        b"filename*=UTF-8''%e2%82%ac",
    ],
    outcomes=frozenset(["read", "MalformedPOSTRequest", "IncorrectNumberOfFilesInPostRequest"]),
    max_length=400,
)
