"""Answers that are too large to be made in one go."""

import asyncio
from collections.abc import Iterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# An answer has the same object twice: the original README spells its name one way, deployed clients read another.
_BEFORE, _BETWEEN, _AFTER = b'{"fileData":{', b'},"filedata":{', b"}}"


def whole_files_answer(pieces: Iterator[bytes]) -> bytes:
    """Give an answer of /authorize as one body."""
    files = b"".join(pieces)
    return b"".join((_BEFORE, files, _BETWEEN, files, _AFTER))


class StreamedFilesAnswer(Response):
    """An answer of /authorize that is sent while it is made; between its pieces other requests are served."""

    media_type = "application/json"

    def __init__(self, pieces: Iterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the answer."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": _BEFORE, "more_body": True})
        sent = []
        for piece in self._pieces:
            sent.append(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": _BETWEEN, "more_body": True})
        for piece in sent:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": _AFTER})
