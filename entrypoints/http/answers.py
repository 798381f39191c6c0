"""Answers that can have megabytes."""

import asyncio
from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_SMALL_BYTES = 16 * 1024


class JsonInPieces(Response):
    """JSON that was made in pieces. If it is large, it is sent so: neither put together nor copied."""

    media_type = "application/json"

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str]) -> None:
        length = sum(map(len, pieces))
        self.pieces = (b"".join(pieces),) if length < _SMALL_BYTES else pieces
        super().__init__(headers={"content-length": str(length), **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the answer."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        *others, last = self.pieces
        for piece in others:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            # A client that reads as fast as we write would never make us wait, and so nobody else be served.
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": last})
