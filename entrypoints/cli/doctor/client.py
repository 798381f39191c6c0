"""A client that holds no credentials, and says in words why a host can't be reached. Nothing takes it long."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import urllib3
from attrs import define, field
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from domain.uploads import PostForm, PutRequest
from entrypoints.cli.explain.answers import Answer

_T = TypeVar("_T")

AT_ONCE: Final = 8
"""How many requests may be under way to one host."""
_MAX_BODY: Final = 64 * 1024
_PIECE_BYTES: Final = 4_096
_NOT_TLS: Final = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
)


class Reason(StrEnum):
    """Why nothing came back, in words."""

    NAME = "its name doesn't resolve"
    NOBODY = "nothing listens there"
    SILENT = "there is no answer in time"
    CERTIFICATE = "its certificate isn't trusted, or is another host's"
    NO_TLS = "it speaks no TLS at that port"
    BROKEN = "the connection is closed without an HTTP answer"


class Unreachable(Exception):
    """No answer came back from `host`."""

    def __init__(self, host: str, reason: Reason) -> None:
        super().__init__(f"{host} can't be reached: {reason}")
        self.reason = reason


@define
class Client:
    """Sends requests. Whatever is for a URL below `detours` goes where that leads."""

    connect_seconds: float = 3.0
    read_seconds: float = 6.0
    detours: dict[str, str] = field(factory=dict, init=False)
    _http: urllib3.PoolManager = field(init=False, repr=False)

    @_http.default
    def _new_pool(self) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=self.connect_seconds, read=self.read_seconds)
        return urllib3.PoolManager(retries=False, timeout=timeout, maxsize=AT_ONCE)

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401 - urllib3's
    ) -> Answer:
        """Send one request, and read its answer; redirects aren't followed. Raises `Unreachable`."""
        target = self._detour(url)
        try:
            try:
                return await _in_thread(lambda: self._send(method, target, headers, options))
            except ProtocolError:  # a server may close a connection just as it is used again
                return await _in_thread(lambda: self._send(method, target, headers, options))
        except (HTTPError, OSError) as error:
            raise Unreachable(urlsplit(url).netloc, _reason_of(error)) from error

    async def upload(self, request: PostForm | PutRequest, content: bytes, *, chunked: bool = False) -> Answer:
        """Carry out a signed request as a client would. Raises `Unreachable`."""
        if isinstance(request, PutRequest):
            length = {} if chunked else {"Content-Length": str(len(content))}
            body = [content] if chunked else content
            return await self.send("PUT", request.url, {**request.headers, **length}, body=body, chunked=chunked)
        part = ("doctor.csv", content, request.fields.get("Content-Type", "application/octet-stream"))
        return await self.send("POST", request.url, fields=[*request.fields.items(), ("file", part)])

    def close(self) -> None:
        """Give back the connections."""
        self._http.clear()

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None, options: Mapping[str, Any]) -> Answer:
        answer = self._http.request(method, url, headers=headers, preload_content=False, **options)
        try:
            body = b"".join(self._pieces(answer))
        finally:
            answer.close()
        return Answer.read(answer.status, dict(answer.headers), body.decode("utf-8", "replace"))

    def _pieces(self, answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        """Read a body, but no long one, and none that drips for ever."""
        deadline, received = time.monotonic() + self.read_seconds, 0
        for piece in answer.stream(_PIECE_BYTES):
            yield piece
            received += len(piece)
            if received >= _MAX_BODY or time.monotonic() > deadline:
                return

    def _detour(self, url: str) -> str:
        for start, elsewhere in self.detours.items():
            if url.startswith(start):
                return f"{elsewhere}{url[len(start) :]}"
        return url


def _reason_of(error: Exception) -> Reason:
    match error:
        case NameResolutionError() | LocationParseError():
            return Reason.NAME
        case ConnectTimeoutError() | ReadTimeoutError() | TimeoutError() if not isinstance(error, NewConnectionError):
            return Reason.SILENT
        case NewConnectionError():
            return Reason.NOBODY
        case SSLError():
            return Reason.NO_TLS if any(word in str(error) for word in _NOT_TLS) else Reason.CERTIFICATE
        case _:
            return Reason.BROKEN


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Wait for what blocks, such as looking up a name; who gives up waiting isn't held up by it at the end either."""
    outcome = Future[_T]()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await asyncio.wrap_future(outcome)
