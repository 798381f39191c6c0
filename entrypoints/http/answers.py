"""Answers that can have megabytes, and answers that never change."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from attrs import define, field, frozen
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_SMALL_BYTES = 16 * 1024
_JSON_NOT_CACHED = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class JsonInPieces:
    """JSON that was made in pieces, for no cache to keep. If it is large, it is sent so: neither joined nor copied.

    It is an ASGI application, as Starlette's responses are.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        length = sum(map(len, pieces))
        self.pieces = (b"".join(pieces),) if length < _SMALL_BYTES else pieces
        self._headers = [*_JSON_NOT_CACHED, (b"content-length", b"%d" % length)]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        *others, last = self.pieces
        for piece in others:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            # A client that reads as fast as we write would never make us wait, and so nobody else be served.
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": last})


@frozen
class Constant:
    """An answer that is the same for everybody until the service is started anew: a client that has it keeps it."""

    content: bytes
    headers: Mapping[str, str]

    @classmethod
    def of(cls, content: bytes, media_type: str, headers: Mapping[str, str]) -> Self:
        """Name the content by its digest."""
        tag = hashlib.sha256(content).hexdigest()[:32]
        return cls(content, {"Content-Type": media_type, "ETag": f'"{tag}"', **headers})

    async def answer(self, request: Request) -> Response:
        """Give it, unless the client has it."""
        known = request.headers.get("if-none-match", "").split(",")
        # The weak comparison of RFC 9110, section 13.1.2.
        if self.headers["ETag"] in {tag.strip().removeprefix("W/") for tag in known}:
            return Response(None, 304, self.headers)
        return Response(self.content, headers=self.headers)


@define
class MadeOnce:
    """A constant that `make` makes when it is first asked for: most services are never asked."""

    make: Callable[[], Constant]
    _made: Constant | None = field(default=None, init=False, repr=False)

    async def answer(self, request: Request) -> Response:
        """Give it, unless the client has it."""
        if self._made is None:
            self._made = self.make()
        return await self._made.answer(request)
