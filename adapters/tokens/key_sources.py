"""The keys of an auth service, fetched over HTTP and kept fresh, so that it can replace them while we run."""

import asyncio
import logging
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

import aiohttp
from attrs import define, field

from adapters.tokens.jwt import KeyRing
from adapters.tokens.key_documents import UnusableKeys, parse_jwks, parse_public_key
from adapters.tokens.key_servers import DocumentKind, KeyServer
from domain.errors import ErrorCode, Unavailable

MAX_DOCUMENT_BYTES = 256 * 1024
"""The longest key document that is read, on the wire and decompressed."""

TIMEOUT_SECONDS = 5.0
"""How long a fetch may take in all, from looking up the name to the last byte."""

RETRY_SECONDS = 1.0
"""How long after the first of several failures the next fetch begins; twice as long after each further one."""

_GZIP = 31
"""The `wbits` of zlib for the gzip format (RFC 1952) alone."""

_log = logging.getLogger(__name__)


_PARSERS: Mapping[DocumentKind, Callable[[bytes, Sequence[str]], KeyRing]] = {
    DocumentKind.PEM: parse_public_key,
    DocumentKind.JWKS: parse_jwks,
}


@define
class FetchedKeys:
    """The keys that `server` published last; a `KeyRefresher`, a `Startable` and a `Probe`.

    The last good keys stay in use for as long as no others can be had, since an auth service that is down must not
    stop those who have a token. `clock` counts seconds from any moment, and never goes back.
    """

    server: KeyServer
    clock: Callable[[], float] = time.monotonic
    timeout_seconds: float = TIMEOUT_SECONDS
    retry_seconds: float = RETRY_SECONDS
    _keys: KeyRing = field(factory=KeyRing, init=False, repr=False)
    _document: bytes = field(default=b"", init=False, repr=False)
    _session: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)
    _fetch: asyncio.Task[bool] | None = field(default=None, init=False, repr=False)
    _fetch_began: float = field(default=-math.inf, init=False, repr=False)
    _keeper: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    def __call__(self) -> KeyRing:
        """Give the keys that were fetched last; none while there never were any."""
        return self._keys

    async def start(self) -> None:
        """Fetch the keys once, and go on fetching in the background, whether or not there were any."""
        # Each fetch has a connection of its own: minutes lie between two, and it may have been left half read.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "gzip", "User-Agent": "bitstore"},
            auto_decompress=False,
            middlewares=(_send_once,),
            trust_env=False,
        )
        self._keeper = asyncio.create_task(self._keep_fresh(fetched=await self._fetch_or_join()))

    async def stop(self) -> None:
        """Stop fetching."""
        session, self._session = self._session, None
        tasks = [task for task in (self._keeper, self._fetch) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if session is not None:
            await session.close()

    async def check(self) -> None:
        """Raise `Unavailable` while no keys have ever been loaded."""
        if not self._keys.keys:
            raise Unavailable(ErrorCode.KEYS_UNAVAILABLE, "the keys of the auth service have not been fetched yet")

    async def refresh(self) -> bool:
        """Fetch the keys unless that was begun within the cooldown, as the port says; failures count too."""
        cooling = self.clock() - self._fetch_began < self.server.cooldown_seconds
        if cooling and not self._is_fetching():
            return False
        return await self._fetch_or_join()

    async def _keep_fresh(self, *, fetched: bool) -> None:
        retry = self.retry_seconds
        while True:
            longest = self._longest_pause()
            await asyncio.sleep(self.server.refresh_seconds if fetched else min(retry, longest))
            retry = self.retry_seconds if fetched else min(retry * 2, longest)
            fetched = await self._fetch_or_join()

    def _longest_pause(self) -> float:
        """Give the longest time between two attempts: while there are no keys at all, nobody is served."""
        refresh = self.server.refresh_seconds
        return refresh if self._keys.keys else min(refresh, self.server.cooldown_seconds)

    def _is_fetching(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    async def _fetch_or_join(self) -> bool:
        """Wait for the fetch that is under way, or for a new one, and return whether it brought keys."""
        if self._fetch is None or self._fetch.done():
            if self._session is None:
                return False
            self._fetch_began = self.clock()
            self._fetch = asyncio.create_task(self._load(self._session))
        fetch = self._fetch
        # One who waits may be cancelled; the fetch goes on for the others.
        await asyncio.wait([fetch])
        return not fetch.cancelled() and fetch.result()

    async def _load(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                document = await _download(session, self.server.url)
            if document != self._document:
                self._keys = _PARSERS[self.server.kind](document, self.server.algorithms)
                self._document = document
                _log.info("keys of the auth service: %s", ", ".join(_names(self._keys)))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            rest = "those fetched before stay in use" if self._keys.keys else "there are none yet"
            _log.warning("the keys of the auth service can't be fetched (%s); %s", _cause(error), rest)
            return False
        return True


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Turn the loss of a connection into an error that aiohttp doesn't answer by sending the request again."""
    try:
        return await send(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise UnusableKeys(_cause(error)) from error


async def _download(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise UnusableKeys(f"it answered with the status {answer.status}")
        return await _body_of(answer)


async def _body_of(answer: aiohttp.ClientResponse) -> bytes:
    """Read a body in pieces, never more of it than is accepted, be it compressed or not."""
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise UnusableKeys("its answer has a content encoding that was not asked for")
    gunzip = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    received, body = 0, b""
    async for piece in answer.content.iter_any():
        received += len(piece)
        body += piece if gunzip is None else _inflated(gunzip, piece, MAX_DOCUMENT_BYTES + 1 - len(body))
        if max(received, len(body)) > MAX_DOCUMENT_BYTES:
            raise UnusableKeys(f"its answer is longer than {MAX_DOCUMENT_BYTES} bytes")
    if gunzip is not None and (not gunzip.eof or gunzip.unused_data):
        raise UnusableKeys("its answer is not whole gzip data")
    return body


def _inflated(gunzip: "zlib._Decompress", piece: bytes, max_bytes: int) -> bytes:
    try:
        return gunzip.decompress(piece, max_bytes)
    except zlib.error as error:
        raise UnusableKeys("its answer is not gzip data") from error


def _names(keys: KeyRing) -> Sequence[str]:
    return [key.algorithm if key.kid is None else f"{key.kid!r} ({key.algorithm})" for key in keys.keys]


def _cause(error: Exception) -> str:
    """Say what went wrong; what others say may repeat what was received, so of most errors only the name is given."""
    if isinstance(error, UnusableKeys | aiohttp.ClientConnectorError):
        return str(error)
    return "no whole answer in time" if isinstance(error, TimeoutError) else type(error).__name__
