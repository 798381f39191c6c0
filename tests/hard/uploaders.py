"""Clients that upload all the time, keep in mind what they were told, and see to it that the service is killed."""

import http.client
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from random import Random
from statistics import median
from typing import Any, Self
from urllib.parse import urlsplit

import urllib3
from attrs import define, field, frozen

from tests.entrypoints.http.live_service import DATASET, OWNER, declaration, md5
from tests.hard.history import History, Write

_CHUNK_BYTES = 1 << 16
PART_BYTES = 5 << 20  # the least that a part may have that isn't the last
_SIZES = [0, 1_000, 100_000, 1_200_000]
_PART_SIZES = [1_000, 1_200_000, PART_BYTES + 1_000]


class Dead(Exception):
    """The service doesn't answer any more."""


@frozen
class Moment:
    """A moment of a client's `write`-th write.

    It comes when that share of the body was `sent`; or, if that is None, when after the last byte the share `waited` of
    the time has passed which an answer usually takes.
    """

    client: int
    write: int
    sent: float | None
    waited: float = 0

    @classmethod
    def of(cls, random: Random, clients: int) -> Self:
        """Choose one: more of them after the body, where the most is done."""
        client, write = random.randrange(clients), random.randrange(1, 4)
        if random.random() < 0.4:
            return cls(client, write, random.random())
        return cls(client, write, None, random.uniform(0, 1.2))


@define
class Usual:
    """How long answers take, by what is asked, in seconds."""

    _taken: dict[str, deque[float]] = field(factory=dict)

    def note(self, what: str, seconds: float) -> None:
        self._taken.setdefault(what, deque(maxlen=20)).append(seconds)

    def of(self, what: str) -> float:
        return median(self._taken.get(what, [0.01]))


@define
class Fuse:
    """Kills the service at a moment."""

    moment: Moment
    usual: Usual
    kill: Callable[[], None]
    blown: threading.Event = field(factory=threading.Event)

    def sent(self, client: int, write: int, what: str, share: float) -> None:
        """Note how much of the body of a write was sent."""
        moment = self.moment
        if (client, write) != (moment.client, moment.write) or self.blown.is_set():
            return
        if moment.sent is None and share == 1:
            time.sleep(moment.waited * self.usual.of(what))
        elif moment.sent is None or share < moment.sent:
            return
        self.blown.set()
        self.kill()


@define(eq=False)
class PendingParts:
    """An upload in parts that was begun: the parts that have arrived, and whether somebody tried to end it."""

    path: str
    content: bytes
    upload_id: str
    arrived: set[int] = field(factory=set)
    may_be_complete: bool = False
    may_be_aborted: bool = False

    @property
    def request(self) -> dict[str, object]:
        """The body of a request about it."""
        return {
            "metadata": {"owner": OWNER, "name": DATASET},
            "path": self.path,
            "file": declared_in_parts(self.content),
            "upload_id": self.upload_id,
        }


def declared_in_parts(content: bytes) -> dict[str, object]:
    return declaration(content, parts={"size": PART_BYTES})


@define
class Records:
    """What all clients know. Of a path, the history has the MD5 of the content; None where there is none."""

    history: History[str | None] = field(factory=lambda: History(partial(next, count()), None))
    pending: list[PendingParts] = field(factory=list)
    aborted: list[PendingParts] = field(factory=list)
    cut_short: list[tuple[int, int]] = field(factory=list)
    """Which writes, of which clients, were never answered."""


@define
class Client:
    """One of several clients of a service, which write the same files and files of their own."""

    number: int
    origin: str
    token: str
    fuse: Fuse
    records: Records
    random: Random
    _writes: int = 0
    _connection: http.client.HTTPConnection = field(init=False)

    @_connection.default
    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.origin).netloc, timeout=30)

    def run(self) -> None:
        """Upload until the service is killed. Raises `Dead` if that wasn't by us."""
        uploads = [self._post, self._put, self._put, self._add, self._send_parts]
        try:
            while not self.fuse.blown.is_set():
                self.random.choice(uploads)()
        except Dead:
            if not self.fuse.blown.is_set():
                raise
        finally:
            self._connection.close()

    def _path(self) -> str:
        return f"{self.random.choice(['shared', self.number])}/{self.random.randrange(3)}"

    def _post(self) -> None:
        path, content = self._path(), self._content()
        file = self._authorize(path, declaration(content), accept=["POST"])
        body, content_type = urllib3.encode_multipart_formdata([*file["upload_query"].items(), ("file", content)])
        with self._noted(path, content) as write:
            self._write("POST", file["upload_url"], {"Content-Type": content_type}, body, accept={204})
            self.records.history.acknowledge(write)

    def _put(self) -> None:
        path, content = self._path(), self._content()
        file = self._authorize(path, declaration(content), accept=["PUT"])
        with self._noted(path, content) as write:
            self._write("PUT", file["upload_url"], file["upload_headers"], content, accept={200})
            self.records.history.acknowledge(write)

    def _add(self) -> None:
        """Write a file that may not be there yet; others try the same."""
        path, content = f"once/{self.random.randrange(300)}", self._content()
        file = self._authorize(path, declaration(content), accept=["PUT"], overwrite=False)
        with self._noted(path, content) as write:
            status, _ = self._write("PUT", file["upload_url"], file["upload_headers"], content, accept={200, 412})
            if status == 200:
                self.records.history.acknowledge(write)
            else:
                self.records.history.refuse(path, write)

    def _send_parts(self) -> None:
        path, content = f"parts/{self._path()}", self.random.randbytes(self.random.choice(_PART_SIZES))
        file = self._authorize(path, declared_in_parts(content), accept=["MULTIPART"], what="begin")
        pending = PendingParts(path, content, file["upload_id"])
        self.records.pending.append(pending)
        for part in file["parts"]:
            start = (part["number"] - 1) * PART_BYTES
            self._write(
                "PUT", part["url"], part["headers"], content[start : start + part["length"]], what="part", accept={200}
            )
            pending.arrived.add(part["number"])
        if self.random.random() < 0.3:
            pending.may_be_aborted = True
            self._ask("/rawstore/multipart/abort", pending.request, what="abort")
            self.records.aborted.append(pending)
        else:
            pending.may_be_complete = True
            with self._noted(path, content) as write:
                answer = self._ask("/rawstore/multipart/complete", pending.request, what="complete")
                assert answer["status"] in ("stored", "different"), answer  # others write the same path
                self.records.history.acknowledge(write)
        self.records.pending.remove(pending)

    def _content(self) -> bytes:
        return self.random.randbytes(self.random.choice(_SIZES))

    @contextmanager
    def _noted(self, path: str, content: bytes) -> Iterator[Write[str | None]]:
        write = self.records.history.begin(path, md5(content))
        try:
            yield write
        finally:
            self.records.history.end(write)

    def _authorize(self, path: str, file: object, *, what: str = "", **wishes: object) -> dict[str, Any]:
        asked = {"metadata": {"owner": OWNER, "name": DATASET}, "filedata": {path: file}, **wishes}
        signed: dict[str, Any] = self._ask("/rawstore/authorize", asked, what=what)["filedata"][path]
        return signed

    def _ask(self, path: str, body: object, *, what: str) -> dict[str, Any]:
        """Ask the service itself; `what` is empty where nothing is written."""
        send = self._write if what else self._send
        _, answer = send("POST", path, {"Auth-Token": self.token}, json.dumps(body).encode(), what=what, accept={200})
        told: dict[str, Any] = json.loads(answer)
        return told

    def _write(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        accept: Collection[int],
        what: str = "object",
    ) -> tuple[int, bytes]:
        self._writes += 1
        try:
            return self._send(method, url, headers, body, accept=accept, what=what)
        except Dead:
            self.records.cut_short.append((self.number, self._writes))
            raise

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, accept: Collection[int], what: str
    ) -> tuple[int, bytes]:
        """Send a request; raise `Dead` if there is no answer."""
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        try:
            self._connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()
            self._send_body(body, what)
            began = time.perf_counter()
            response = self._connection.getresponse()
            answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Dead from error
        self.fuse.usual.note(what, time.perf_counter() - began)
        assert answer[0] in accept, answer
        return answer

    def _send_body(self, body: bytes, what: str) -> None:
        for start in range(0, len(body), _CHUNK_BYTES):
            if what:
                self.fuse.sent(self.number, self._writes, what, start / len(body))
            self._connection.send(body[start : start + _CHUNK_BYTES])
        if what:
            self.fuse.sent(self.number, self._writes, what, 1)
