"""The whole service in this process: the real application, wired from an environment as in production, asked by ASGI.

There is no socket between a test and the service, so a hundred times as many requests fit into a second; all else is
as it is behind uvicorn.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen
from starlette.applications import Starlette
from starlette.types import Message, Scope

from adapters.stores.memory import MemoryObjects
from entrypoints.http.app import create_app
from entrypoints.settings import Settings
from entrypoints.wiring import ServedStore, wire
from tests.entrypoints.http.live_service import MEMORY
from tests.strategies import NOW

ORIGIN = "http://bitstore.example"

Headers = Sequence[tuple[str, str | bytes]]


@define
class SetClock:
    """A clock that stands until it is set."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)


@frozen
class Answer:
    """What came back; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of one of the service's own errors."""
        return str(self.json["error"]["code"])

    @property
    def detail_codes(self) -> dict[str, str]:
        """The codes of the bad files, by path."""
        return {detail["path"]: detail["code"] for detail in self.json["error"]["details"]}


@frozen
class InProcess:
    """A service on an embedded memory store, whose time is the test's."""

    app: Starlette
    objects: MemoryObjects
    clock: SetClock
    runner: asyncio.Runner = field(repr=False)

    def send(
        self, method: str, url: str, headers: Headers = (), body: Sequence[bytes] = (b"",), *, cut: bool = False
    ) -> Answer:
        """Send a request to a URL (or what follows the origin) and give the answer, which is no fault of our own.

        `body` comes in these pieces; `cut` is a client that goes away before the last one. What went away so gets no
        answer, which is given as a status of 0.
        """
        parts = urlsplit(url)
        answer = self.runner.run(
            self._ask(method, parts.path, parts.query.encode("latin-1"), headers, body, cut=cut),
        )
        assert answer.status < 500, (answer, method, url)
        return answer

    def ask(self, what: str, token: str, body: object) -> Answer:
        """Post a body to one of the service's routes."""
        return self.send("POST", f"/rawstore/{what}", [("Auth-Token", token)], [json.dumps(body).encode()])

    async def _ask(
        self, method: str, path: str, query: bytes, headers: Headers, body: Sequence[bytes], *, cut: bool
    ) -> Answer:
        messages = list(_messages(body, cut=cut))
        sent: list[Message] = []

        async def receive() -> Message:
            if not messages:
                # As behind a server: nothing more is to come, and the client waits for its answer.
                await asyncio.Event().wait()
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(_scope(method, path, query, headers), receive, send)
        if not sent:
            return Answer(0, {}, b"")
        start, *pieces = sent
        return Answer(
            start["status"],
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]},
            b"".join(piece.get("body", b"") for piece in pieces),
        )


def _messages(body: Sequence[bytes], *, cut: bool) -> Iterator[Message]:
    for number, piece in enumerate(body, start=1):
        if cut and number == len(body):
            yield {"type": "http.disconnect"}
        else:
            yield {"type": "http.request", "body": piece, "more_body": number < len(body)}


def _scope(method: str, path: str, query: bytes, headers: Headers) -> Scope:
    named = [
        (name.lower().encode("latin-1"), value if isinstance(value, bytes) else value.encode())
        for name, value in headers
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"bitstore.example"), *named],
        "client": ("192.0.2.1", 50_000),
        "server": ("192.0.2.2", 80),
    }


@contextmanager
def in_process(changes: Mapping[str, str] | None = None) -> Iterator[InProcess]:
    """Wire and start a service with an empty store in memory."""
    service = wire(Settings.from_environment({**MEMORY, "PUBLIC_URL": ORIGIN, **(changes or {})}))
    assert isinstance(service.store, ServedStore)
    assert isinstance(service.store.objects, MemoryObjects)
    clock = SetClock()
    app = create_app(service, clock)
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        yield InProcess(app, service.store.objects, clock, runner)
        runner.run(lifespan.__aexit__(None, None, None))
