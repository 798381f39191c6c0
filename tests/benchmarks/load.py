"""The load: clients of a few kept-alive connections, in processes of their own, that cost far less than what they ask.

Answers are counted when they are complete, and only 200 will do. All times are those of `time.monotonic`, which the
processes of one machine share.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

import httptools
import uvloop
from attrs import frozen

_P = ParamSpec("_P")
_T = TypeVar("_T")
_MAX_SECONDS = 120.0


@frozen
class Answers:
    """When each answer was asked for, and when it was there whole; in the order of the latter."""

    asked: Sequence[float]
    complete: Sequence[float]

    @property
    def rate(self) -> float:
        """Answers a second, from the first question to the last answer."""
        return len(self.asked) / (self.ended - self.started)

    @property
    def latencies(self) -> Sequence[float]:
        return [complete - asked for asked, complete in zip(self.asked, self.complete, strict=True)]

    @property
    def started(self) -> float:
        return min(self.asked)

    @property
    def ended(self) -> float:
        return self.complete[-1]

    def within(self, other: "Answers") -> "Answers":
        """Give those that were asked for while the other load was on."""
        pairs = zip(self.asked, self.complete, strict=True)
        kept = [pair for pair in pairs if other.started <= pair[0] <= other.ended]
        return Answers([asked for asked, _ in kept], [complete for _, complete in kept])


@frozen
class Clients:
    """The processes that ask; each of them does one thing at a time."""

    pool: ProcessPoolExecutor

    def start(self, load: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        return self.pool.submit(load, *args, **kwargs)

    def run(self, load: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self.start(load, *args, **kwargs).result()


@contextmanager
def clients(processes: int = 1) -> Iterator[Clients]:
    """Start the processes."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        # One that is busy makes the pool start the next.
        for ready in [pool.submit(time.sleep, 0.1) for _ in range(processes)]:
            ready.result()
        yield Clients(pool)


def saturate(origin: str, request: bytes, connections: int, seconds: float) -> Answers:
    """Ask on each connection again as soon as there is an answer, for so long; the last answers are awaited."""
    deadline = time.monotonic() + seconds
    return uvloop.run(_saturate(origin, _until(deadline, request), connections))


def ask_each(origin: str, requests: Sequence[bytes], connections: int) -> Answers:
    """Send each request once, the next one on whichever connection has its answer."""
    return uvloop.run(_saturate(origin, iter(requests), connections))


def ask_steadily(origin: str, request: bytes, connections: int, per_second: float, seconds: float) -> Answers:
    """Ask at fixed moments, however long answers take: what has to wait for a connection has been asked for already."""
    return uvloop.run(_steadily(origin, request, connections, per_second, int(per_second * seconds)))


def _until(deadline: float, request: bytes) -> Iterator[bytes]:
    yield request
    while time.monotonic() < deadline:
        yield request


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, on_answer: Callable[["_Connection"], None], failure: asyncio.Future[None]) -> None:
        self._on_answer = on_answer
        self._failure = failure
        self._parser = httptools.HttpResponseParser(self)
        self._transport = asyncio.Transport()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are one without being its subclass

    def ask(self, request: bytes) -> None:
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 200:
            self._on_answer(self)
        else:
            self._fail(f"the answer was {status}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was closed ({exc})")

    def close(self) -> None:
        self._transport.close()

    def _fail(self, reason: str) -> None:
        if not self._failure.done():
            self._failure.set_exception(RuntimeError(reason))


class _Load:
    """Connections, and what has been asked and answered over them."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending: dict[_Connection, float] = {}
        self._asked: list[float] = []
        self._complete: list[float] = []

    async def connect(
        self, origin: str, connections: int, on_answer: Callable[[_Connection], None]
    ) -> Sequence[_Connection]:
        host, _, port = urlsplit(origin).netloc.partition(":")
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: _Connection(on_answer, self.done), host, int(port))
            for _ in range(connections)
        ]
        return [connection for _, connection in made]

    def ask(self, connection: _Connection, request: bytes, asked: float) -> None:
        self._pending[connection] = asked
        connection.ask(request)

    def note_answer(self, connection: _Connection) -> None:
        self._complete.append(time.monotonic())
        self._asked.append(self._pending.pop(connection))

    @property
    def is_quiet(self) -> bool:
        return not self._pending

    @property
    def answered(self) -> int:
        return len(self._complete)

    async def finish(self, connections: Iterable[_Connection]) -> Answers:
        await asyncio.wait_for(self.done, _MAX_SECONDS)
        for connection in connections:
            connection.close()
        return Answers(self._asked, self._complete)


async def _saturate(origin: str, requests: Iterator[bytes], connections: int) -> Answers:
    load = _Load()

    def ask_next(connection: _Connection) -> None:
        if request := next(requests, None):
            load.ask(connection, request, time.monotonic())
        elif load.is_quiet and not load.done.done():
            load.done.set_result(None)

    def on_answer(connection: _Connection) -> None:
        load.note_answer(connection)
        ask_next(connection)

    opened = await load.connect(origin, connections, on_answer)
    for connection in opened:
        ask_next(connection)
    return await load.finish(opened)


async def _steadily(origin: str, request: bytes, connections: int, per_second: float, total: int) -> Answers:
    load = _Load()
    loop = asyncio.get_running_loop()
    waiting: deque[float] = deque()

    def on_answer(connection: _Connection) -> None:
        load.note_answer(connection)
        free.append(connection)
        send()
        if load.answered == total:
            load.done.set_result(None)

    def send() -> None:
        while waiting and free:
            load.ask(free.pop(), request, waiting.popleft())

    def ask() -> None:
        waiting.append(time.monotonic())
        send()

    opened = await load.connect(origin, connections, on_answer)
    free = list(opened)
    start = loop.time()
    for number in range(total):
        loop.call_at(start + number / per_second, ask)
    return await load.finish(opened)
