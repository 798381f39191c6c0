"""What tests of the client share: files to send, a client that soon loses patience, and a watcher that remembers."""

import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from attrs import define, field

from entrypoints.client import Client, Phase, PushOptions, Retries, Watcher
from entrypoints.client.connections import CHUNK_BYTES
from tests.entrypoints.http.live_service import OWNER, LiveService
from tests.stores.proxy import Asked, Reply

QUICK = Retries(attempts=4, first_pause=0.01, longest_pause=0.05, longest_wait=1.0)

MIB = 1024**2
PART = 5 * MIB
"""The shortest that S3 allows."""
LARGE = random.Random(1).randbytes(11 * MIB)
"""A file of three parts."""

Files = Mapping[str, bytes]


def make_files(folder: Path, files: Files) -> Path:
    """Write files into a folder."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def lengths(files: Files) -> Counter[str]:
    """How many bytes each file has."""
    return Counter({path: len(content) for path, content in files.items()})


def make_client(service: LiveService, cache: Path | None = None, *, jobs: int = 4, token: str | None = None) -> Client:
    """Make a client of a service."""
    return Client(service.root, token or service.token(), jobs=jobs, cache=cache, retries=QUICK, part_size=PART)


def new_dataset() -> str:
    """Name a dataset that no other test has."""
    return f"set-{uuid4().hex}"


def options(source: Path, dataset: str | None = None, **more: object) -> PushOptions:
    """Ask for a folder to be sent into alice's private dataset."""
    return PushOptions(source, owner=OWNER, **{"dataset": dataset, "findability": "private", **more})  # type: ignore[arg-type]  # any option


def in_store(service: LiveService, dataset: str, paths: Iterable[str]) -> dict[str, bytes]:
    """Fetch what a store has, without the client: by URLs that the service signs."""
    prefix, found = service.info()["prefixes"][0], {}
    for path in paths:
        url = quote(f"{prefix}/{quote(f'{dataset}/{path}')}", safe="")
        signed = service.presign(f"ownerid={OWNER}&url={url}")
        assert signed.status == 200, signed.body
        answer = service.http.request("GET", signed.json["url"])
        if answer.status == 200:
            found[path] = answer.data
    return found


@define
class Recorder(Watcher):
    """Remembers what it is told."""

    phases: list[tuple[Phase, int, int]] = field(factory=list)
    bytes_moved: Counter[str] = field(factory=Counter)
    bytes_sent: Counter[str] = field(factory=Counter)
    problems: dict[str, str] = field(factory=dict)
    notes: list[str] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def phase(self, phase: Phase, files: int, size: int) -> None:
        self.phases.append((phase, files, size))

    def moved(self, path: str, count: int) -> None:
        with self._lock:
            self.bytes_moved[path] += count
            # What goes over the line does so in chunks; what was found there already is told in one go.
            if self.phases[-1][0] in (Phase.SEND, Phase.FETCH) and abs(count) <= CHUNK_BYTES:
                self.bytes_sent[path] += count

    def ended(self, path: str, problem: str | None = None) -> None:
        if problem is not None:
            self.problems[path] = problem

    def noted(self, note: str) -> None:
        self.notes.append(note)

    def files_in(self, phase: Phase) -> int | None:
        """How many files a phase had; None if there was no such phase."""
        return next((files for seen, files, _ in self.phases if seen is phase), None)


class StopAfter(Recorder):
    """Stops a client when so many bytes were sent."""

    def __init__(self, size: int, client: Client) -> None:
        super().__init__()
        self._left, self._client = size, client

    def moved(self, path: str, count: int) -> None:
        super().moved(path, count)
        if self.bytes_sent[path] >= self._left:
            self._client.stop()


def failing(times: int, reply: Reply, method: str = "PUT") -> Callable[[Asked], Awaitable[Reply | None]]:
    """Answer the first requests for each path in the store's place."""
    seen: Counter[str] = Counter()

    async def instead(asked: Asked) -> Reply | None:
        if asked.method != method:
            return None
        seen[asked.path] += 1
        return reply if seen[asked.path] <= times else None

    return instead
