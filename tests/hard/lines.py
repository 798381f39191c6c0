"""A client that keeps count of what it was promised: whether a request was answered, refused or lost.

It speaks HTTP/1.1 as RFC 9112 has it, over one connection at a time: one that the server has said it closes, or has
closed already, is not used again. Whatever is lost then, the server lost.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from attrs import define, field, frozen


class Refused(Exception):
    """Nobody listens: nothing was sent."""


class Lost(Exception):
    """The connection ended after a request was sent, before all of an answer had come."""


@frozen
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, target: str, body: bytes = b"", /, **headers: str) -> bytes:
    """Write a request; underscores in names of headers are dashes."""
    given = {"Host": "bitstore.test", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if method not in ("GET", "HEAD") and "Content-Length" not in given:
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@define
class Line:
    """A client's connection to `origin`, one after the other."""

    origin: str
    answered: int = 0
    _reader: asyncio.StreamReader | None = field(default=None, init=False, repr=False)
    _writer: asyncio.StreamWriter | None = field(default=None, init=False, repr=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def ask(self, message: bytes) -> Reply:
        """Send a request whole, and read its answer. Raises `Refused` or `Lost`."""
        await self.send(message)
        return await self.read()

    async def send(self, message: bytes) -> None:
        """Send some bytes, over a new connection if there is none that can be used. Raises `Refused` or `Lost`."""
        if self._reader is None or self._reader.at_eof():
            await self.connect()
        assert self._writer is not None
        try:
            self._writer.write(message)
            await self._writer.drain()
        except ConnectionError as error:
            raise Lost(f"while sending: {error}") from error

    async def read(self) -> Reply:
        """Read an answer. Raises `Lost`."""
        assert self._reader is not None
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await self._read_body(headers)
        except asyncio.IncompleteReadError as error:
            self.close()
            raise Lost(f"closed after {error.partial!r:.80}") from error
        except ConnectionError as error:
            self.close()
            raise Lost(f"reset: {error}") from error
        if headers.get("connection", "").lower() == "close":
            self.close()
        self.answered += 1
        return Reply(int(first.split()[1]), headers, body)

    async def ended(self) -> bytes:
        """Wait until the server closes the connection; give what it said until then."""
        assert self._reader is not None
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def connect(self) -> None:
        """Begin a new connection. Raises `Refused`."""
        self.close()
        address = urlsplit(self.origin)
        try:
            self._reader, self._writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 24)
        except ConnectionRefusedError as error:
            raise Refused from error

    async def _read_body(self, headers: Mapping[str, str]) -> bytes:
        assert self._reader is not None
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._reader.readexactly(int(headers.get("content-length", "0")))
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body
