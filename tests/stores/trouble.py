"""A TCP relay in front of a store that spoils answers as networks and failing servers do, byte by byte.

`proxy.py` speaks HTTP, and so can answer no worse than HTTP allows; this one passes bytes on.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen

from tests.stores.processes import reset_when_closed

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ")
_PIECE = 65_536
_BACKLOG = 1_024
_SECONDS = 20.0


class End(Enum):
    """What comes after the bytes of an answer."""

    CLOSE = auto()
    HALF_CLOSE = auto()
    """The end of the answer is told, and requests are still listened to."""
    RESET = auto()
    STALL = auto()
    """Nothing, until the client gives up, or `TroubledStore.hang_up`."""


@frozen
class Trouble:
    """What becomes of an answer: the store's own, or `instead` of it other bytes; `most` of them, then the `end`.

    With a `pace` they come one by one, so many seconds apart.
    """

    instead: Callable[[], Iterable[bytes]] | None = None
    most: int | None = None
    pace: float | None = None
    end: End = End.CLOSE

    @classmethod
    def saying(cls, *pieces: bytes, end: End = End.CLOSE, pace: float | None = None) -> "Trouble":
        """Give this answer, which the store is not asked for."""
        return cls(lambda: pieces, pace=pace, end=end)


Chooser = Callable[[str, str], Trouble | None]
"""Given a request's method and target as they were sent; None: the store answers."""


@define
class TroubledStore:
    """Passes everything on, signatures and all, as long as `choose` finds no trouble for a request.

    It runs in a thread of its own; what it has may be set and called from any.
    """

    upstream: str
    choose: Chooser = field(default=lambda _method, _target: None)
    asked: Counter[str] = field(factory=Counter)
    """How many requests have come in, by method."""
    _place: socket.socket = field(factory=lambda: _bound(0), init=False, repr=False)
    """Keeps the port, at which nobody listens by this socket, while the store is down."""
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop, init=False, repr=False)
    _listening: asyncio.Server | None = field(default=None, init=False, repr=False)
    _open: set["asyncio.Task[None]"] = field(factory=set, init=False, repr=False)

    @property
    def port(self) -> int:
        port: int = self._place.getsockname()[1]
        return port

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def go_up(self) -> None:
        """Take connections."""
        self._run(self._listen())

    def go_down(self) -> None:
        """Refuse connections, and end those that there are."""
        self._run(self._stop_listening())
        self.hang_up()

    def hang_up(self) -> None:
        """End all connections that there are."""
        self._run(self._end_all())

    @contextmanager
    def running(self) -> Iterator["TroubledStore"]:
        """Run the thread, with the store up."""
        thread = threading.Thread(target=self._loop.run_forever, name=f"relay at {self.origin}")
        thread.start()
        try:
            self.go_up()
            yield self
        finally:
            self.go_down()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(_SECONDS)
            self._loop.close()
            self._place.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(self._serve, sock=_bound(self.port), backlog=_BACKLOG)

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            self._loop.remove_reader(listening.sockets[0].fileno())
            await asyncio.sleep(0.01)  # what has been accepted needs the server until it has got a transport
            listening.close()

    async def _end_all(self) -> None:
        connections = list(self._open)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._relay(client, to_client))
        self._open.add(connection)
        try:
            await asyncio.wait([connection])
        finally:
            self._open.discard(connection)
            connection.cancelled() or connection.exception()
            _reset(to_client)

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Pass on whatever comes, in both directions; a request begins a piece, as nobody sends two at once."""
        where = urlsplit(self.upstream)
        store, to_store = await asyncio.open_connection(where.hostname, where.port)
        answers = asyncio.ensure_future(_pass_on(store, to_client))
        try:
            while piece := await client.read(_PIECE):
                trouble = self._trouble_of(piece) if piece.startswith(_METHODS) else None
                if trouble is not None:
                    answers.cancel()
                    await asyncio.wait([answers])
                    if trouble.instead is None:
                        to_store.write(piece.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                    await _spoil(trouble, (client, to_client), (store, to_store))
                    return
                to_store.write(piece)
        finally:
            answers.cancel()
            to_store.transport.abort()

    def _trouble_of(self, request: bytes) -> Trouble | None:
        method, target = request.split(b" ", 2)[:2]
        self.asked[method.decode()] += 1
        return self.choose(method.decode(), target.decode())


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _spoil(trouble: Trouble, client: _Stream, store: _Stream) -> None:
    """Answer as `trouble` says. What is left of the request goes where the request went."""
    left = asyncio.ensure_future(_pass_on(client[0], store[1] if trouble.instead is None else None))
    try:
        sent = 0
        async for piece in _answer_of(trouble, store[0]):
            cut = piece if trouble.most is None else piece[: trouble.most - sent]
            for one in [cut] if trouble.pace is None else [bytes([byte]) for byte in cut]:
                client[1].write(one)
                await client[1].drain()
                if trouble.pace is not None:
                    await asyncio.sleep(trouble.pace)
            sent += len(cut)
            if sent == trouble.most or left.done():
                break
        if trouble.end is End.HALF_CLOSE:
            client[1].write_eof()
        if trouble.end in (End.HALF_CLOSE, End.STALL):
            await asyncio.wait([left])
        elif trouble.end is End.CLOSE:
            client[1].close()
            await client[1].wait_closed()
    finally:
        left.cancel()


async def _answer_of(trouble: Trouble, store: asyncio.StreamReader) -> AsyncIterator[bytes]:
    if trouble.instead is not None:
        for piece in trouble.instead():
            yield piece
        return
    while piece := await store.read(_PIECE):
        yield piece


async def _pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter | None) -> None:
    """Pass on until the source ends, or somebody goes away."""
    with suppress(OSError):
        while piece := await source.read(_PIECE):
            if to is not None:
                to.write(piece)
                await to.drain()
        if to is not None:
            to.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection, if it isn't ended yet, without a good-bye."""
    connection = writer.get_extra_info("socket")
    if connection.fileno() >= 0:
        reset_when_closed(connection)
        writer.transport.abort()


def _bound(port: int) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken.bind(("127.0.0.1", port))
    return taken


@contextmanager
def troubled_store(upstream: str) -> Iterator[TroubledStore]:
    """Serve a relay at `origin`, in front of the store at `upstream`."""
    with TroubledStore(upstream).running() as store:
        yield store
