"""A client of its own process that sends a generated file in parts, until it is cut off or done.

`python -m tests.clients.parts_sender` reads a `Task` in JSON from its standard input, and prints a line of JSON for
each event: `{"begun": upload id}`, `{"resumed": numbers of the parts that had arrived}`, `{"trying": number}`,
`{"sent": number}`, `{"verdict": …}`. It knows nothing of the store, and holds nothing but the user's token.
"""

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from attrs import asdict, define, field, frozen
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

MIB = 1024**2
_KEY = bytes(range(16))


def generated(start: int, end: int) -> Iterator[bytes]:
    """Make the bytes of the file from offset `start` to `end`: a key stream, which looks random and is made fast."""
    assert start % 16 == 0
    stream = Cipher(AES(_KEY), CTR((start // 16).to_bytes(16, "big"))).encryptor()
    for offset in range(start, end, MIB):
        yield stream.update(bytes(min(MIB, end - offset)))


def declaration(length: int, part_size: int) -> dict[str, Any]:
    """Declare the file, with the digests of the whole and of each part."""
    whole = hashlib.md5(usedforsecurity=False)
    parts = []
    for start in range(0, length, part_size):
        digest = hashlib.md5(usedforsecurity=False)
        for piece in generated(start, min(start + part_size, length)):
            digest.update(piece)
            whole.update(piece)
        parts.append(base64.b64encode(digest.digest()).decode())
    md5 = base64.b64encode(whole.digest()).decode()
    return {"length": length, "md5": md5, "parts": {"size": part_size, "md5": parts}}


@frozen
class Task:
    """What to send, and how far. Without `upload_id` it is begun; after `cut_at` bytes the process ends at once."""

    service_url: str
    token: str = field(repr=False)
    metadata: Mapping[str, str]
    path: str
    declared: Mapping[str, Any]
    upload_id: str | None = None
    cut_at: int | None = None
    at_once: int = 2

    def json(self) -> str:
        return json.dumps(asdict(self))


@define
class _Sender:
    task: Task
    http: urllib3.PoolManager = field(factory=lambda: urllib3.PoolManager(retries=False, timeout=300, maxsize=8))
    sent_bytes: int = 0

    def run(self) -> None:
        upload_id, parts, next_part = self._begin() if self.task.upload_id is None else self._resume(0)
        while parts:
            with ThreadPoolExecutor(self.task.at_once) as threads:
                list(threads.map(self._send, parts))
            if next_part is None:
                break
            _, parts, next_part = self._resume(next_part - 1, upload_id)
        _tell(verdict=self._ask("multipart/complete", **self._known(upload_id)))

    def _begin(self) -> tuple[str, Sequence[Mapping[str, Any]], int | None]:
        task = self.task
        answer = self._ask("authorize", filedata={task.path: task.declared}, accept=["MULTIPART"])
        file = answer["fileData"][task.path]
        _tell(begun=file["upload_id"])
        return file["upload_id"], file["parts"], file["next_part"]

    def _resume(self, after: int, upload_id: str | None = None) -> tuple[str, Sequence[Mapping[str, Any]], int | None]:
        known = self._known(upload_id or self.task.upload_id or "")
        answer = self._ask("multipart/resume", after=after, **known)
        _tell(resumed=[part["number"] for part in answer["arrived"]])
        return answer["upload_id"], answer["parts"], answer["next_part"]

    def _known(self, upload_id: str) -> dict[str, Any]:
        return {"path": self.task.path, "file": self.task.declared, "upload_id": upload_id}

    def _ask(self, route: str, **members: object) -> Mapping[str, Any]:
        body = json.dumps({"metadata": self.task.metadata, **members})
        url = f"{self.task.service_url}/{route}"
        answer = self.http.request("POST", url, body=body, headers={"Auth-Token": self.task.token})
        assert answer.status == 200, (route, answer.status, answer.data[:1000])
        told: Mapping[str, Any] = answer.json()
        return told

    def _send(self, part: Mapping[str, Any]) -> None:
        _tell(trying=part["number"])
        answer = self.http.request("PUT", part["url"], body=self._bytes_of(part), headers=part["headers"])
        assert answer.status == 200, (answer.status, answer.data[:1000])
        _tell(sent=part["number"])

    def _bytes_of(self, part: Mapping[str, Any]) -> Iterator[bytes]:
        start = (part["number"] - 1) * self.task.declared["parts"]["size"]
        for piece in generated(start, start + part["length"]):
            self.sent_bytes += len(piece)
            if self.task.cut_at is not None and self.sent_bytes >= self.task.cut_at:
                sys.stdout.flush()
                os._exit(9)
            yield piece


def _tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _Sender(Task(**json.loads(sys.stdin.read()))).run()
