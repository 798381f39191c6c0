"""What a running service can be asked that has to do with its store, and what its answers come to."""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from attrs import frozen

from tests.entrypoints.http.conformance import Conformance
from tests.entrypoints.http.live_service import CONTENT, OWNER, LiveService, batch, declaration
from tests.serve import bitstore_serve
from tests.stores.servers import RunningStore
from tests.stores.trouble import TroubledStore
from tests.tokens import public_pem, rsa_key

STORED = "stored.csv"
FEW = {STORED: declaration()}
MANY = {STORED: declaration(), **{f"missing-{number}.csv": declaration() for number in range(20)}}
PARTS = {f"part-{number}.bin": declaration() for number in range(4)}
TROUBLED_PART = "part-2.bin"

KNOWN, UNKNOWN, DONE, DOWN = "what is stored is known", "signed, but not all known", "done", "store_unavailable"
# Whoever waits for so long has given up the idea of a deadline.
_CLIENT_SECONDS = 90.0


@contextmanager
def serving_store(folder: Path, store: RunningStore, relay: TroubledStore, **more: str) -> Iterator[LiveService]:
    """`bitstore serve` in front of a store that it reaches by the relay, and clients directly."""
    settings = {
        "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
        "STORAGE_HOSTNAME": relay.origin,
        "STORAGE_PUBLIC_URL": store.endpoint_url,
        "STORAGE_FLAVOUR": store.flavour,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
        "INSPECT_TIMEOUT_SECONDS": "1",
        **more,
    }
    with bitstore_serve(folder, settings) as origin, patient_client() as http:
        document = http.request("GET", f"{origin}/rawstore/openapi.json").json()
        yield LiveService(origin, http, described=Conformance.to(document))


@contextmanager
def patient_client() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(maxsize=1_024, retries=False, timeout=_CLIENT_SECONDS) as http:
        yield http


@frozen
class Begun:
    """Uploads in parts that a service has begun in one dataset, and the one part of each has arrived."""

    ids: Mapping[str, str]

    @classmethod
    def at(cls, service: LiveService, dataset: str, paths: Sequence[str]) -> "Begun":
        """Begin, and send."""
        body = batch({path: declaration() for path in paths}, {"name": dataset}, {"accept": ["MULTIPART"]})
        signed = service.sign(body)
        for file in signed.values():
            (part,) = file["parts"]
            assert service.http.request("PUT", part["url"], body=CONTENT, headers=part["headers"]).status == 200
        return cls({path: file["upload_id"] for path, file in signed.items()})


@frozen
class Question:
    """A request of alice's."""

    method: str
    path: str
    body: bytes | None = None

    @classmethod
    def posting(cls, path: str, body: Mapping[str, object]) -> "Question":
        return cls("POST", f"/rawstore/{path}", json.dumps(body).encode())


@frozen
class Asker:
    """Asks about one dataset, in which `STORED` is stored, and nothing else that is asked for."""

    service: LiveService
    dataset: str
    begun: Begun

    def ask(self, name: str) -> str:
        """Say what the answer comes to. It is checked that it is none that would mislead."""
        question = self.question(name)
        answer = self.service.send(
            question.method, question.path, token=self.service.token(), body=question.body, expect_unavailable=True
        )
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
            return answer.code
        assert answer.status == 200, answer.body
        if name.startswith("authorize"):
            told = {path: file["exists"] for path, file in answer.json["fileData"].items()}
            return _knowledge({path: None if known is None else str(known) for path, known in told.items()})
        if name.startswith("verify"):
            told = {path: verdict["status"] for path, verdict in answer.json["files"].items()}
            return _knowledge({path: None if status == "unknown" else status for path, status in told.items()})
        assert name != "objects" or STORED in [file["path"] for file in answer.json["objects"]]
        return DONE

    def question(self, name: str) -> Question:
        return QUESTIONS[name](self)

    def about(self, files: Mapping[str, object], **more: object) -> Mapping[str, object]:
        return batch(files, self.metadata, more)

    @property
    def metadata(self) -> Mapping[str, object]:
        return {"owner": OWNER, "name": self.dataset}

    def presign(self) -> Question:
        (prefix, *_) = self.service.info()["prefixes"]
        return Question("GET", f"/rawstore/presign?ownerid={OWNER}&url={prefix}/{self.dataset}/{STORED}")

    def parts(self, what: str) -> Question:
        path = f"{what}.bin"
        body = {"metadata": self.metadata, "path": path, "file": declaration(), "upload_id": self.begun.ids[path]}
        return Question.posting(f"multipart/{what}", body)


def _knowledge(told: Mapping[str, str | None]) -> str:
    """Nothing may be told of a file that isn't so."""
    for path, known in told.items():
        assert known in ((None, "True", "stored") if path == STORED else (None, "False", "missing")), (path, known)
    return UNKNOWN if None in told.values() else KNOWN


QUESTIONS: Mapping[str, Callable[[Asker], Question]] = {
    "authorize one file": lambda asker: Question.posting("authorize", asker.about(FEW)),
    "authorize many files": lambda asker: Question.posting("authorize", asker.about(MANY)),
    "authorize parts": lambda asker: Question.posting("authorize", asker.about(PARTS, accept=["MULTIPART"])),
    "verify one file": lambda asker: Question.posting("verify", asker.about(FEW)),
    "verify many files": lambda asker: Question.posting("verify", asker.about(MANY)),
    "objects": lambda asker: Question("GET", f"/rawstore/objects?owner={OWNER}&name={asker.dataset}"),
    "presign": Asker.presign,
    "presign many": lambda asker: Question.posting("presign", {"metadata": asker.metadata, "paths": [STORED]}),
    "resume": lambda asker: asker.parts("resume"),
    "complete": lambda asker: asker.parts("complete"),
    "abort": lambda asker: asker.parts("abort"),
}
BEGUN = ("resume.bin", "complete.bin", "abort.bin")


@frozen
class Crowd:
    """Many who have asked the same, each on a connection of its own."""

    connections: Sequence[socket.socket]

    @classmethod
    @contextmanager
    def asking(cls, asker: Asker, names: Sequence[str], size: int) -> Iterator["Crowd"]:
        """Ask these questions in turn, so many in all, without waiting for an answer."""
        where = urlsplit(asker.service.origin)
        requests = [_as_bytes(asker.question(name), asker.service.token()) for name in names]
        with ExitStack() as stack:
            connections = []
            for request in islice(cycle(requests), size):
                connection = socket.create_connection((where.hostname, where.port or 80), timeout=_CLIENT_SECONDS)
                connections.append(stack.enter_context(connection))
                connection.sendall(request)
            yield cls(connections)

    def answers(self) -> Mapping[int, int]:
        """Wait for all answers, and count them by their status."""
        return Counter(int(connection.recv(12).split(b" ")[1]) for connection in self.connections)


def _as_bytes(question: Question, token: str) -> bytes:
    body = question.body or b""
    lines = ("Host: x", f"Auth-Token: {token}", f"Content-Length: {len(body)}", "Connection: close", "", "")
    return "\r\n".join([f"{question.method} {question.path} HTTP/1.1", *lines]).encode() + body


def prepare(service: LiveService, store: RunningStore, dataset: str) -> Asker:
    """Store what must be there, by a service that isn't in trouble."""
    store.client().put_object(Bucket=store.bucket, Key=f"{OWNER}/{dataset}/{STORED}", Body=CONTENT)
    return Asker(service, dataset, Begun.at(service, dataset, BEGUN))


def pending(store: RunningStore) -> Mapping[str, Sequence[str]]:
    """The keys of all uploads in parts that the store knows of, by dataset."""
    found: dict[str, list[str]] = {}
    for page in store.client().get_paginator("list_multipart_uploads").paginate(Bucket=store.bucket):
        for upload in page.get("Uploads", []):
            found.setdefault(upload["Key"].split("/")[1], []).append(upload["Key"])
    return found


def peak_memory(service: LiveService) -> int:
    """The most memory that the process of the service has ever had, in bytes (`VmHWM`, proc_pid_status(5))."""
    port = service.origin.rpartition(":")[2].encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _command(process)[-4:-2] == [b"--port", port]:
            lines = (process / "status").read_text().splitlines()
            (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
            return int(peak) * 1024
    raise ProcessLookupError(port)


def _command(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:  # it has ended meanwhile
        return []
