"""Answers of /authorize, which can have megabytes."""

from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# An answer has the same object twice: the original README spells its name one way, deployed clients read another.
_BEFORE, _BETWEEN, _AFTER = b'{"fileData":{', b'},"filedata":{', b"}}"


class FilesAnswer(Response):
    """An answer of /authorize; what was made in several pieces is sent so, and neither put together nor copied."""

    media_type = "application/json"

    def __init__(self, pieces: Sequence[bytes], headers: dict[str, str]) -> None:
        whole = (_BEFORE, *pieces, _BETWEEN, *pieces, _AFTER)
        self.pieces = (b"".join(whole),) if len(pieces) == 1 else whole
        super().__init__(headers={"content-length": str(sum(map(len, self.pieces))), **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the answer."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for left, piece in zip(range(len(self.pieces) - 1, -1, -1), self.pieces, strict=True):
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
