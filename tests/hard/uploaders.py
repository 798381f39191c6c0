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


KINDS = ["object", "object", "begin", "part", "complete", "abort"]
"""Of writes: whole objects, and all that is done with uploads in parts."""


@frozen
class Moment:
    """A moment of the `number`-th write of a kind.

    It comes when that share of the body was `sent`; or, if that is None, when after the last byte the share `waited` of
    the time has passed which an answer usually takes.
    """

    kind: str
    number: int
    sent: float | None
    waited: float = 0

    @classmethod
    def of(cls, random: Random) -> Self:
        """Choose one: more of them after the body, where the most is done."""
        kind, number = random.choice(KINDS), random.randrange(1, 4)
        if kind in ("object", "part") and random.random() < 0.4:
            return cls(kind, number, random.random())
        return cls(kind, number, None, random.uniform(0, 1.2))


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
    _begun: int = 0
    _lock: threading.Lock = field(factory=threading.Lock)

    def is_aimed_at(self, kind: str) -> bool:
        """Tell of a write that begins whether it is the one."""
        if kind != self.moment.kind:
            return False
        with self._lock:
            self._begun += 1
            return self._begun == self.moment.number

    def sent(self, share: float) -> None:
        """Note how much was sent of the body of that write."""
        moment = self.moment
        if self.blown.is_set():
            return
        if moment.sent is None and share == 1:
            time.sleep(moment.waited * self.usual.of(moment.kind))
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
    completing: Write[str | None] | None = None
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
    cut_short: list[bool] = field(factory=list)
    """Of each write that was never answered, whether it was aimed at."""


@define
class Client:
    """One of several clients of a service, which write the same files and files of their own."""

    number: int
    origin: str
    token: str
    fuse: Fuse
    records: Records
    random: Random
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
        file = self._authorize(path, declared_in_parts(content), accept=["MULTIPART"], kind="begin")
        pending = PendingParts(path, content, file["upload_id"])
        self.records.pending.append(pending)
        for part in file["parts"]:
            start = (part["number"] - 1) * PART_BYTES
            self._write(
                "PUT", part["url"], part["headers"], content[start : start + part["length"]], kind="part", accept={200}
            )
            pending.arrived.add(part["number"])
        if self.random.random() < 0.3:
            pending.may_be_aborted = True
            self._ask("/rawstore/multipart/abort", pending.request, kind="abort")
            self.records.aborted.append(pending)
        else:
            with self._noted(path, content) as write:
                pending.completing = write
                answer = self._ask("/rawstore/multipart/complete", pending.request, kind="complete")
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

    def _authorize(self, path: str, file: object, *, kind: str = "", **wishes: object) -> dict[str, Any]:
        asked = {"metadata": {"owner": OWNER, "name": DATASET}, "filedata": {path: file}, **wishes}
        signed: dict[str, Any] = self._ask("/rawstore/authorize", asked, kind=kind)["filedata"][path]
        return signed

    def _ask(self, path: str, body: object, *, kind: str) -> dict[str, Any]:
        """Ask the service itself; `kind` is empty where nothing is written."""
        send = partial(self._write, kind=kind) if kind else self._send
        _, answer = send("POST", path, {"Auth-Token": self.token}, json.dumps(body).encode(), accept={200})
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
        kind: str = "object",
    ) -> tuple[int, bytes]:
        sent_at = 0.0
        aimed = self.fuse.is_aimed_at(kind)

        def note(share: float) -> None:
            nonlocal sent_at
            sent_at = time.perf_counter()
            if aimed:
                self.fuse.sent(share)

        try:
            answer = self._send(method, url, headers, body, accept=accept, note=note)
        except Dead:
            self.records.cut_short.append(aimed)
            raise
        self.fuse.usual.note(kind, time.perf_counter() - sent_at)
        return answer

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        accept: Collection[int],
        note: Callable[[float], None] = lambda _: None,
    ) -> tuple[int, bytes]:
        """Send a request, and tell `note` again and again which share of its body was sent. Raises `Dead`."""
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        try:
            self._connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()
            for start in range(0, len(body), _CHUNK_BYTES):
                note(start / len(body))
                self._connection.send(body[start : start + _CHUNK_BYTES])
            note(1)
            response = self._connection.getresponse()
            answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Dead from error
        assert answer[0] in accept, answer
        return answer
