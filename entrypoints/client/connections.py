"""Connections to the service and the store: one pool for all threads, which can be cut off from any of them."""

import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from time import time
from weakref import WeakSet

import urllib3
from attrs import frozen
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import parse_url

from entrypoints.client.errors import NotUnderstood, Stopped, Unreachable
from entrypoints.client.retrying import Stop

CHUNK_BYTES = 64 * 1024
"""How much of a file is in memory per connection: what even a slow line takes within `_SEND_SECONDS`."""

# urllib3 has one timeout for connecting and for sending a chunk.
_SEND_SECONDS = 20.0
_ANSWER_SECONDS = 120.0
_BUSY = frozenset({408, 429})

Body = bytes | Iterable[bytes] | None


@frozen
class Answer:
    """What a server said; the names of headers are in any letter case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may well be answered in another way later."""
        return self.status >= 500 or self.status in _BUSY

    @property
    def retry_after(self) -> float | None:
        """How many seconds to wait (RFC 9110, section 10.2.3); None where the server doesn't say."""
        value = self.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit():
            return float(value[:9])
        with suppress(ValueError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - time())
        return None


class Connections:
    """A pool of connections, `many` at once to each server. `stop` cuts off those that are at work."""

    def __init__(self, many: int, stop: Stop) -> None:
        self.stop = stop
        self._open = _Open(stop)
        timeout = urllib3.Timeout(connect=_SEND_SECONDS, read=_ANSWER_SECONDS)
        self._pool = urllib3.PoolManager(maxsize=many, timeout=timeout, retries=False)
        self._pool.pool_classes_by_scheme = _pool_classes(self._open)

    def request(self, method: str, url: str, *, headers: Mapping[str, str], body: Body = None) -> Answer:
        """Send a request and read the whole answer, whatever its status.

        Raises `Unreachable` for no answer, `Stopped`, and what `body` raises.
        """
        with self._as_client_errors(url, HTTPError, OSError):
            answer = self._pool.request(method, url, body=body, headers=headers, redirect=False)
            return Answer(answer.status, answer.headers, answer.data)

    @contextmanager
    def download(self, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """Get what is at a URL, to be read within the context. Raises what `request` raises, also while it is read."""
        with self._as_client_errors(url, HTTPError):
            response = self._pool.request(
                "GET",
                url,
                headers={**headers, "Accept-Encoding": "identity"},
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                yield response
            finally:
                # What was not read would be taken for the beginning of the next answer.
                if response.length_remaining == 0:
                    response.release_conn()
                else:
                    response.close()

    def cut(self) -> None:
        """Stop everything: requests under way end at once, and raise `Stopped`. May be called from any thread."""
        self.stop.set()
        self._open.cut()

    def close(self) -> None:
        """Close the connections that no request uses."""
        self._pool.clear()

    @contextmanager
    def _as_client_errors(self, url: str, *kinds: type[Exception]) -> Iterator[None]:
        self.stop.check()
        try:
            yield
        except LocationValueError as error:
            raise NotUnderstood("the URL is none that can be reached") from error
        except kinds as error:
            self.stop.check()
            raise Unreachable(f"{_host_of(url)}: {_words_for(error)}") from error


class _Open:
    """The connections that are open now."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._connections: WeakSet[HTTPConnection] = WeakSet()

    def add(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._connections.add(connection)
        if self._stop.is_set:
            connection.close()
            raise Stopped

    def cut(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            if connection.sock is not None:
                # Whoever waits for this socket wakes up. TLS isn't said goodbye to: that would wait for its turn.
                with suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _pool_classes(opened: _Open) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Make pools whose connections are known to `opened`; urllib3 gives no other way to learn of them."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            opened.add(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            opened.add(self)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _host_of(url: str) -> str:
    return parse_url(url).netloc or "the server"


def _words_for(error: Exception) -> str:
    # The text of an error may hold the URL, and with it a signature; so it is not passed on.
    words: Mapping[type[Exception], str] = {
        NameResolutionError: "there is no such host",
        NewConnectionError: "it can't be connected to",
        ConnectTimeoutError: f"no connection within {_SEND_SECONDS:.0f} s",
        ReadTimeoutError: f"no answer within {_ANSWER_SECONDS:.0f} s",
        SSLError: "the TLS connection failed; is the certificate one that this machine trusts?",
        IncompleteRead: "the answer broke off",
    }
    return next((said for kind, said in words.items() if isinstance(error, kind)), "the connection broke")
