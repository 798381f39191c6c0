"""The protocol of a connection: its order, its bounds, and what becomes of trailers and upgrades.

What it refuses is in `tests/hard/hostile/cases_of_raw_http.py`.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from entrypoints.http.protocol import MAX_HEAD_BYTES, MAX_HEADERS
from tests.live import serving

GET = b"GET /%d HTTP/1.1\r\nHost: any\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"
NONSENSE = b"\x16\x03\x01nonsense"


async def telling(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once with the path and the headers; under /read, after the body has been read."""
    request = Request(scope, receive)
    if request.url.path == "/read":
        await request.body()
    said = f"<{request.url.path} {' '.join(request.headers.keys())}>".encode()
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]}
    await send(head)
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving(lambda _: telling) as origin:
        yield origin


@contextmanager
def connected(origin: str) -> Iterator[socket.socket]:
    address = urlsplit(origin)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as connection:
        yield connection


def told(connection: socket.socket, *sent: bytes) -> bytes:
    """Send, and read until the server closes the connection."""
    for piece in sent:
        connection.sendall(piece)
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_trailers_are_no_headers(origin: str) -> None:
    chunked = b"POST /read HTTP/1.1\r\nHost: any\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: t\r\n\r\n"
    with connected(origin) as connection:
        answers = told(connection, chunked, LAST)
    assert b"</read host transfer-encoding>" in answers
    assert b"</last host connection>" in answers


@pytest.mark.parametrize("wanted", ["websocket", "h2c", "TLS/1.3"])
def test_what_follows_a_request_for_an_upgrade_is_http(origin: str, wanted: str) -> None:
    upgrade = f"GET /up HTTP/1.1\r\nHost: any\r\nConnection: Upgrade\r\nUpgrade: {wanted}\r\n\r\n".encode()
    with connected(origin) as connection:
        answers = told(connection, upgrade + upgrade + LAST)
    assert answers.count(b"HTTP/1.1 200 ") == 3
    assert answers.endswith(b"</last host connection>")


@pytest.mark.parametrize("requests", [1, 2, 5])
def test_what_arrived_before_nonsense_is_answered_in_order_or_not_at_all(origin: str, requests: int) -> None:
    good = b"".join(GET % number for number in range(requests))
    with connected(origin) as connection:
        answers = told(connection, good + NONSENSE)
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert b"</0 host>" in answers
    assert b"HTTP/1.1 400 " not in answers.partition(b"</0 host>")[0]
    assert answers.count(b"HTTP/1.1 ") <= requests + 1


@pytest.mark.parametrize(("path", "status"), [("/read", b"400"), ("/early", b"200")])
def test_nonsense_in_a_body_ends_its_request(origin: str, path: str, status: bytes) -> None:
    begun = f"POST {path} HTTP/1.1\r\nHost: any\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n".encode()
    with connected(origin) as connection:
        connection.sendall(begun)
        early = connection.recv(1 << 16) if path == "/early" else b""
        answers = early + told(connection, b"nonsense\r\n")
    assert answers.startswith(b"HTTP/1.1 " + status)
    assert answers.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"X: y\r\n" * (MAX_HEADERS - 2), b"200"),
        (b"X: y\r\n" * (MAX_HEADERS - 1), b"431"),
        (b"X: " + b"y" * (MAX_HEAD_BYTES - 100) + b"\r\n", b"200"),
        (b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n", b"431"),
    ],
)
def test_heads_are_bounded(origin: str, lines: bytes, status: bytes) -> None:
    with connected(origin) as connection:
        assert told(connection, LAST.replace(b"Conn", lines + b"Conn")).startswith(b"HTTP/1.1 " + status)
