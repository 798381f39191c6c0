"""Requests as bytes on a connection, and all that comes back: nothing is tidied up, as HTTP libraries do it."""

import json
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from select import select
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from attrs import field, frozen

HANG_SECONDS = 10.0
"""Whoever has asked, and is neither answered nor cut off within this time, is left hanging."""

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]+\r\n")
_CODE_OF_AN_ERROR = re.compile(r"[A-Za-z_]+")


@frozen
class Request:
    """A request; text goes out as Latin-1. `headers` are all but those that `wire` adds."""

    method: str
    target: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    framing: str | None = None
    """The header that tells the body's length, if another than the true Content-Length."""

    def wire(self, *more: str) -> bytes:
        """Write it, as the last one on its connection."""
        length = f"Content-Length: {len(self.body)}" if self.body or self.method in ("PUT", "POST") else ""
        lines = [
            f"{self.method} {self.target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in self.headers),
            *more,
            length if self.framing is None else self.framing,
            "Connection: close",
        ]
        return "\r\n".join([*filter(None, lines), "", ""]).encode("latin-1") + self.body


@frozen
class Answer:
    """What came back; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an error, in XML or JSON, which must be well-formed; empty where there is none."""
        if self.status < 400 or not self.body:
            return ""
        if self.headers["content-type"] == "application/xml":
            code = ET.fromstring(self.body).findtext("Code") or ""
        else:
            assert self.headers["content-type"] == "application/json"
            code = json.loads(self.body)["error"]["code"]
        assert _CODE_OF_AN_ERROR.fullmatch(code)
        return code


def exchange(
    origin: str, sent: bytes, *, then_ends: bool = False, is_head: bool = False, patience: float = 0.0
) -> list[Answer]:
    """Send bytes on a new connection, and read until the server closes it. AssertionError if it leaves us hanging.

    With `then_ends` nothing more can come, and the server is told so: it need not answer what is not whole. Where
    nobody knows whether it is, the server is told when it has been quiet for `patience`, in seconds.
    """
    address = urlsplit(origin)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=HANG_SECONDS) as connection:
        # It may be cut off before all is sent, and reset because of what nobody read.
        with suppress(ConnectionError):
            connection.sendall(sent)
        pieces: list[bytes] = []
        if patience:
            pieces.extend(_pieces_until_quiet(connection, patience))
            then_ends = True
        if then_ends:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        return list(_answers(b"".join([*pieces, *_pieces(connection)]), is_head=is_head))


def _pieces(connection: socket.socket) -> Iterator[bytes]:
    """Read to the end, a reset included."""
    try:
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                yield piece
    except TimeoutError as error:
        raise AssertionError("no end came") from error


def _pieces_until_quiet(connection: socket.socket, seconds: float) -> Iterator[bytes]:
    with suppress(ConnectionError):
        while select([connection], [], [], seconds)[0] and (piece := connection.recv(1 << 16)):
            yield piece


def _answers(stream: bytes, *, is_head: bool) -> Iterator[Answer]:
    """Take apart what a server wrote on a connection; it must be nothing but answers."""
    while stream:
        status_line = _STATUS_LINE.match(stream)
        assert status_line is not None, stream
        head, _, stream = stream[status_line.end() :].partition(b"\r\n\r\n")
        pairs = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")] if head else []
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs) or "set-cookie" not in headers, head
        status = int(status_line[1])
        if is_head:
            # A body has only what is answered before anybody knows of the HEAD.
            body, stream = stream, b""
            assert not body or status in (400, 431), body
        elif status < 200 or status in (204, 304):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", ""):
            body, stream = _from_chunks(stream)
        else:
            length = int(headers["content-length"])
            body, stream = stream[:length], stream[length:]
        yield Answer(status, headers, body)


def _from_chunks(stream: bytes) -> tuple[bytes, bytes]:
    pieces: list[bytes] = []
    while True:
        line, _, stream = stream.partition(b"\r\n")
        size = int(line, 16)
        pieces.append(stream[:size])
        stream = stream[size + 2 :]
        if not size:
            return b"".join(pieces), stream


def check_each(cases: Iterable[tuple[str, Any]], check: Callable[[Any], None]) -> int:
    """Check all cases, tell of each that fails by its name, and give how many there are."""
    failures: list[str] = []
    count = 0
    for name, case in cases:
        count += 1
        try:
            check(case)
        except AssertionError as error:
            failures.append(f"{name}: {str(error) or 'it is otherwise'}")
    assert not failures, "\n".join(failures)
    return count


def only(answers: Sequence[Answer]) -> Answer:
    """Give the one answer that there must be."""
    assert len(answers) == 1, answers
    return answers[0]
