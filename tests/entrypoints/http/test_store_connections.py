"""Clients that go away, fall silent, lie about lengths or read slowly: nothing of theirs stays, nobody else waits."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.stores.memory import MemoryObjects
from application.ports import ObjectInfo, StoredObject
from domain.keys import ObjectKey
from tests.entrypoints.http.live_store import (
    BUCKET,
    CONTENT_TYPE,
    MAX_BYTES,
    LiveStore,
    form_body,
    live_store,
    signed_fields,
)
from tests.live import wait_until
from tests.stores.processes import reset_when_closed

CONTENT = b"x" * (MAX_BYTES // 2)


def signed_form(key: str) -> bytes:
    fields = signed_fields([{"bucket": BUCKET}, {"key": key}], {"key": key})
    return form_body(fields, CONTENT)


def post_head(length: int | None = None, *more: str) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return head("POST", f"/store/{BUCKET}", f"Content-Type: {CONTENT_TYPE}", framing, *more)


def head(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: any", *headers, "", ""]).encode()


def put_head(store: LiveStore, key: str, *headers: str) -> bytes:
    url = urlsplit(store.presign("put_object", key))
    return head("PUT", f"{url.path}?{url.query}", *headers)


@contextmanager
def connected(store: LiveStore) -> Iterator[socket.socket]:
    address = urlsplit(store.origin)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def has_begun(store: LiveStore, before: set[str]) -> bool:
    # In memory an unfinished upload is nowhere to be seen.
    return isinstance(store.objects, MemoryObjects) or store.contents() != before


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_client_that_goes_away_leaves_nothing(store: LiveStore, method: str, *, reset: bool) -> None:
    before = store.contents()
    if method == "POST":
        body = signed_form("gone")
        request = post_head(len(body)) + body[:-100]
    else:
        request = put_head(store, "gone", f"Content-Length: {len(CONTENT)}") + CONTENT[:-100]
    with connected(store) as connection:
        connection.sendall(request)
        wait_until(lambda: has_begun(store, before))
        if reset:
            reset_when_closed(connection)
    wait_until(lambda: store.contents() == before)
    assert store.send("GET", store.presign("get_object", "gone")).status == 404


def test_a_client_that_goes_away_does_not_touch_the_object_that_was_there(store: LiveStore) -> None:
    assert store.put("kept", b"old").status == 200
    before = store.contents()
    with connected(store) as connection:
        connection.sendall(put_head(store, "kept", f"Content-Length: {len(CONTENT)}") + CONTENT[:-1])
        wait_until(lambda: has_begun(store, before))
    wait_until(lambda: store.contents() == before)
    assert store.send("GET", store.presign("get_object", "kept")).body == b"old"


@pytest.fixture(scope="module", params=["disk", "memory"])
def impatient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStore]:
    """A store that gives up a silent client at once."""
    with live_store(request.param, tmp_path_factory.mktemp("impatient"), idle_seconds=0.2) as store:
        yield store


@pytest.mark.parametrize("sent", [0, 100, -100], ids=["before", "in a field", "in the file"])
def test_a_silent_client_is_given_up(impatient: LiveStore, sent: int) -> None:
    before = impatient.contents()
    body = signed_form("silent")
    with connected(impatient) as connection:
        connection.sendall(post_head(len(body)) + body[:sent])
        # Half a close: the client waits for an answer, and would still take one.
        answer = connection.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"<Code>RequestTimeout</Code>" in answer
        assert b"connection: close\r\n" in answer.lower()
    wait_until(lambda: impatient.contents() == before)


class Watched(StoredObject):
    """An object that is open, and tells how much of it has been read, and whether it has been closed."""

    def __init__(self, stored: StoredObject) -> None:
        self._stored = stored
        self.given = 0
        self.closed = False

    @property
    def info(self) -> ObjectInfo:
        return self._stored.info

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        async for piece in self._stored.read(start, end):
            self.given += len(piece)
            yield piece

    async def close(self) -> None:
        await self._stored.close()
        self.closed = True


@pytest.mark.parametrize(("idle_seconds", "leaves"), [(0.2, False), (60.0, True)], ids=["takes nothing", "goes away"])
@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_a_download_that_nobody_takes_ends(
    kind: str, idle_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    length = 32 * MAX_BYTES  # more than the system's buffers hold
    opened: list[Watched] = []
    with live_store(kind, tmp_path, idle_seconds=idle_seconds, max_bytes=length) as store:
        open_object = store.objects.open

        async def watched_open(key: ObjectKey) -> StoredObject | None:
            stored = await open_object(key)
            if stored is None:
                return None
            opened.append(Watched(stored))
            return opened[-1]

        monkeypatch.setattr(store.objects, "open", watched_open)
        assert store.put("large", b"x" * length).status == 200
        url = urlsplit(store.presign("get_object", "large"))
        with connected(store) as connection:
            connection.sendall(head("GET", f"{url.path}?{url.query}"))
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
            if leaves:
                connection.close()
            wait_until(lambda: opened[0].closed)
            assert opened[0].given < length


def test_an_answer_does_not_wait_for_the_rest_of_the_body_and_is_not_lost_to_it(store: LiveStore) -> None:
    with connected(store) as connection:
        connection.sendall(put_head(store, "a//b", f"Content-Length: {MAX_BYTES}"))
        first = connection.recv(1 << 16)
        assert first.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close\r\n" in first.lower()
        # A client that sends all before it reads gets through with it, and only then is the connection closed.
        connection.sendall(b"x" * MAX_BYTES)
        connection.shutdown(socket.SHUT_WR)
        assert (first + read_all(connection)).endswith(b"</Error>")


def test_a_client_that_asks_first_need_not_send_what_would_be_refused(store: LiveStore) -> None:
    with connected(store) as connection:
        headers = (f"Content-Length: {MAX_BYTES}", "Expect: 100-continue")
        connection.sendall(put_head(store, "a//b", *headers))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")
    with connected(store) as connection:
        connection.sendall(put_head(store, "asked", *headers, "Connection: close"))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"x" * MAX_BYTES)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_a_file_that_is_too_long_is_cut_off_at_once(store: LiveStore) -> None:
    before = store.contents()
    fields = signed_fields([{"bucket": BUCKET}, {"key": "k"}, ["content-length-range", 0, 10]], {"key": "k"})
    start = form_body(fields, b"y" * 11).removesuffix(b"\r\n--frontier--\r\n")
    with connected(store) as connection:
        connection.sendall(post_head(1 << 40) + start + b"y" * 1000)
        assert b"<Code>EntityTooLarge</Code>" in connection.recv(1 << 16)
    wait_until(lambda: store.contents() == before)


def test_a_form_may_come_in_chunks_and_a_put_may_not(store: LiveStore) -> None:
    body = signed_form("chunked")
    chunked = b"".join(
        b"%x\r\n%s\r\n" % (len(body[i : i + 70_000]), body[i : i + 70_000]) for i in range(0, len(body), 70_000)
    )
    with connected(store) as connection:
        connection.sendall(post_head(None, "Connection: close") + chunked + b"0\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 204 ")
    assert store.send("GET", store.presign("get_object", "chunked")).body == CONTENT
    with connected(store) as connection:
        connection.sendall(put_head(store, "chunked", "Transfer-Encoding: chunked"))
        assert b"<Code>MissingContentLength</Code>" in connection.recv(1 << 16)
    with connected(store) as connection:
        connection.sendall(put_head(store, "chunked"))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 411 ")


def test_a_connection_serves_one_request_after_the_other(store: LiveStore) -> None:
    body = signed_form("first")
    second = put_head(store, "second", "Content-Length: 3", "Connection: close") + b"abc"
    with connected(store) as connection:
        connection.sendall(post_head(len(body)) + body + second)
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 204 ") == 1
    assert answers.count(b"HTTP/1.1 200 ") == 1


def test_bytes_behind_the_declared_length_are_not_the_objects(store: LiveStore) -> None:
    with connected(store) as connection:
        connection.sendall(put_head(store, "exact", "Content-Length: 3", "Connection: close") + b"abcdef")
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    assert store.send("GET", store.presign("get_object", "exact")).body == b"abc"


def test_the_last_of_two_writers_wins_whole(store: LiveStore) -> None:
    before = store.contents()
    with connected(store) as slow:
        slow.sendall(put_head(store, "race", "Content-Length: 4", "Connection: close") + b"sl")
        wait_until(lambda: has_begun(store, before))
        assert store.put("race", b"quick!").status == 200
        slow.sendall(b"ow")
        assert read_all(slow).startswith(b"HTTP/1.1 200 ")
    assert store.send("GET", store.presign("get_object", "race")).body == b"slow"
