"""A reverse proxy in front of a store: it counts what is asked, and can be told to answer in the store's place."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from io import BytesIO

import aiohttp
from attrs import define, evolve, field, frozen
from multidict import CIMultiDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send
from yarl import URL

from tests.live import serving

_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})
_CONNECTIONS = 64
_STALL_SECONDS = 20


@frozen
class Asked:
    """A request as it came in: `path` and `query` are still percent-encoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    _receive: Receive

    async def stall(self) -> None:
        """Return when the client has given up; in the end also if it never does, so that a test fails and goes on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STALL_SECONDS):
                while (await self._receive())["type"] != "http.disconnect":
                    pass


@frozen
class Reply:
    """An answer. It is cut off if there is a Content-Length among its headers that promises more than `body`."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict)


@define
class StoreProxy:
    """Passes everything on, signatures and all, as long as nothing else is set.

    `instead` gives the answer to a request, or None to have the store asked, and `amend` changes what the store said.
    """

    upstream: str
    origin: str = ""
    instead: Callable[[Asked], Awaitable[Reply | None]] | None = None
    amend: Callable[[Asked, Reply], Reply] | None = None
    asked: Counter[str] = field(factory=Counter)
    """How many requests have come in, by method."""
    most_at_once: int = 0
    _under_way: int = 0
    _http: aiohttp.ClientSession | None = None

    def reset(self) -> None:
        """Pass everything on again, and count from zero."""
        self.instead = self.amend = None
        self.asked.clear()
        self.most_at_once = 0

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        asked = Asked(request.method, path, query, request.headers, receive)
        self.asked[asked.method] += 1
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            body = await request.body()
            reply = await self.instead(asked) if self.instead else None
            reply = reply or await self._from_store(asked, body)
        finally:
            self._under_way -= 1
        await Response(reply.body, reply.status, reply.headers)(scope, receive, send)

    async def _from_store(self, asked: Asked, body: bytes) -> Reply:
        assert self._http is not None
        url = URL(f"{self.upstream}{asked.path}?{asked.query}".rstrip("?"), encoded=True)
        headers = CIMultiDict((name, value) for name, value in asked.headers.items() if name not in _OF_ONE_CONNECTION)
        async with self._http.request(
            asked.method, url, headers=headers, data=BytesIO(body) if body else None, allow_redirects=False
        ) as answer:
            passed_on = {n: value for n, value in answer.headers.items() if n.lower() not in _OF_ONE_CONNECTION}
            reply = Reply(answer.status, await answer.read(), passed_on)
        return self.amend(asked, reply) if self.amend else reply

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            auto_decompress=False,
            skip_auto_headers=["Accept", "Accept-Encoding", "Content-Type", "User-Agent"],
        ) as self._http:
            yield

    def _app(self, origin: str) -> Starlette:
        self.origin = origin
        return Starlette(routes=[Mount("", app=self._answer)], lifespan=self._lifespan)


@contextmanager
def store_proxy(upstream: str) -> Iterator[StoreProxy]:
    """Serve a proxy at `origin`, in front of the store at `upstream`."""
    proxy = StoreProxy(upstream)
    with serving(proxy._app):
        yield proxy


def with_headers(reply: Reply, **changes: str) -> Reply:
    """Change headers of an answer; underscores in their names are dashes."""
    changed = {name.replace("_", "-").lower(): value for name, value in changes.items()}
    kept = {name: value for name, value in reply.headers.items() if name.lower() not in changed}
    return evolve(reply, headers={**kept, **changed})
