"""An auth service as a script: a real HTTP server whose answers, good or bad, are chosen as a test goes along."""

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from select import select
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.stores.processes import reset_when_closed
from tests.tokens import PrivateKey, segment

Jwk = Mapping[str, object]
_Script = TypeVar("_Script", bound=ThreadingHTTPServer)
_PIECE = b" " * 65_536
_DRIP_SECONDS = 0.01


class Exchange(BaseHTTPRequestHandler):
    """One request, and the answer that the script has for it."""

    def do_GET(self) -> None:
        script = self.server
        assert isinstance(script, AuthServer)
        script.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        script.answer(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""

    def begin(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def wait_for_hang_up(self) -> None:
        self.connection.recv(1)

    def drip(self, data: Iterator[bytes]) -> None:
        """Send a byte now and then; only the client ends it."""
        while not select([self.connection], [], [], _DRIP_SECONDS)[0]:
            self.wfile.write(next(data))


Answer = Callable[[Exchange], None]


class AuthServer(ThreadingHTTPServer):
    """Answers every request with `answer`, and remembers the paths and headers of all requests."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.answer: Answer = answering(b"", status=404)
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up: many do, and must."""


@contextmanager
def auth_server() -> Iterator[AuthServer]:
    with serving(AuthServer()) as server:
        yield server


@contextmanager
def serving(script: _Script) -> Iterator[_Script]:
    """Answer requests in a thread of its own, until the end."""
    with script as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def jwk(key: PrivateKey, kid: str | None = None, **members: object) -> Jwk:
    """Write a public key as RFC 7518, section 6, and RFC 8037, section 2, say; members that are None are left out."""
    public = key.public_key()
    described: dict[str, object]
    if isinstance(key, RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        described = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    elif isinstance(key, EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        size = (key.curve.key_size + 7) // 8
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp256k1": "secp256k1"}[key.curve.name]
        described = {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}
    else:
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        described = {"kty": "OKP", "crv": "Ed25519", "x": segment(raw)}
    described |= {"kid": kid, **members}
    return {name: value for name, value in described.items() if value is not None}


def _number(value: int, size: int | None = None) -> str:
    return segment(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def key_set(keys: Sequence[object], **more: object) -> bytes:
    return json.dumps({"keys": keys, **more}).encode()


def answering(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    def answer(exchange: Exchange) -> None:
        exchange.begin(status, {"Content-Length": str(len(body)), **(headers or {})})
        exchange.wfile.write(body)

    return answer


def gzipped(body: bytes, *, encoding: str = "gzip") -> Answer:
    return answering(gzip.compress(body), headers={"Content-Encoding": encoding})


def raw(data: bytes) -> Answer:
    """Answer with bytes that need not be HTTP, and hang up."""
    return lambda exchange: _write(exchange, data)


def _write(exchange: Exchange, data: bytes) -> None:
    exchange.wfile.write(data)


def resetting(exchange: Exchange) -> None:
    """Break the connection off, instead of ending it."""
    reset_when_closed(exchange.connection)
    os.close(exchange.connection.detach())


def stalling(exchange: Exchange) -> None:
    """Answer nothing at all."""
    exchange.wait_for_hang_up()


def stalling_in_the_body(exchange: Exchange) -> None:
    exchange.begin()
    exchange.wfile.write(b'{"keys": [')
    exchange.wait_for_hang_up()


def dripping_head(exchange: Exchange) -> None:
    exchange.drip(_single_bytes(b"HTTP/1.1 200 OK\r\n", b"X-Filler: x\r\n"))


def dripping_body(exchange: Exchange) -> None:
    exchange.begin()
    exchange.drip(_single_bytes(b'{"keys": [', b" "))


def _single_bytes(start: bytes, rest: bytes) -> Iterator[bytes]:
    yield from (bytes([byte]) for byte in start)
    while True:
        yield from (bytes([byte]) for byte in rest)


def as_long_as(size: int, start: bytes = b"") -> Answer:
    """Answer with spaces, `size` bytes in all."""

    def answer(exchange: Exchange) -> None:
        exchange.begin(headers={"Content-Length": str(size)})
        exchange.wfile.write(start)
        for sent in range(len(start), size, len(_PIECE)):
            exchange.wfile.write(_PIECE[: size - sent])

    return answer


def when(gate: threading.Event, answer: Answer) -> Answer:
    """Answer as soon as the gate is open."""

    def wait_and_answer(exchange: Exchange) -> None:
        gate.wait(20)
        answer(exchange)

    return wait_and_answer
