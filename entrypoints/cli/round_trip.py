"""What a client does, over HTTP alone: authorize, upload, download, compare."""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import urllib3
from attrs import field, frozen

Report = Callable[[str, str, float], None]
"""Takes a step's name, what happened in words, and the seconds it took."""


class RoundTripFailed(Exception):
    """A step of the round trip was not answered as it should be."""


@frozen
class Client:
    """A client of the service at `service_url` (`http://host:port/rawstore`) that holds one user's token."""

    service_url: str
    owner: str
    token: str = field(repr=False)
    report: Report
    http: urllib3.PoolManager = field(factory=lambda: urllib3.PoolManager(timeout=60.0, retries=False), repr=False)

    def ask(self, route: str, dataset: str, **members: object) -> Mapping[str, Any]:
        """Post a request about a dataset. Raises `RoundTripFailed`."""
        body = {"metadata": {"owner": self.owner, "name": dataset}, **members}
        answer = self.http.request(
            "POST", f"{self.service_url}/{route}", body=json.dumps(body), headers={"Auth-Token": self.token}
        )
        expect(answer, 200)
        told: Mapping[str, Any] = answer.json()
        return told

    def download(self, path: str, content: bytes, signed: Mapping[str, Any]) -> bool:
        """Get a file back by a signed URL, and say whether it is the same byte for byte. Raises `RoundTripFailed`."""
        query = f"ownerid={quote(self.owner, safe='')}&url={quote(signed['object_url'], safe='')}"
        with timing() as elapsed:
            presigned = self.http.request(
                "GET", f"{self.service_url}/presign?{query}", headers={"Auth-Token": self.token}
            )
            expect(presigned, 200)
            answer = self.http.request("GET", presigned.json()["url"])
        expect(answer, 200)
        same = answer.data == content
        self.report("download", f"{path}: {'identical' if same else 'DIFFERENT'}", elapsed())
        return same


@frozen
class RoundTrip:
    """A dataset that goes there and back."""

    client: Client

    def run(self, dataset: str, files: Mapping[str, bytes]) -> int:
        """Send the files there and back; return how many came back byte for byte."""
        signed = self._authorize(dataset, files)
        for path, content in files.items():
            self._upload(path, content, signed[path])
        self._tamper(*max(files.items(), key=lambda item: len(item[1])), signed)
        return sum(self.client.download(path, content, signed[path]) for path, content in files.items())

    def _authorize(self, dataset: str, files: Mapping[str, bytes]) -> Mapping[str, Any]:
        declared = {path: {"length": len(content), "md5": md5_base64(content)} for path, content in files.items()}
        with timing() as elapsed:
            answer = self.client.ask("authorize", dataset, filedata=declared)
        total = human_size(sum(map(len, files.values())))
        self.client.report("authorize", f"{len(files)} files, {total}: one signed request for each", elapsed())
        signed: Mapping[str, Any] = answer["fileData"]
        return signed

    def _upload(self, path: str, content: bytes, signed: Mapping[str, Any]) -> None:
        with timing() as elapsed:
            answer = self._send(signed, content)
        expect(answer, 200, 201, 204)
        self.client.report("upload", f"{path} ({human_size(len(content))}): {answer.status}", elapsed())

    def _tamper(self, path: str, content: bytes, signed: Mapping[str, Any]) -> None:
        with timing() as elapsed:
            answer = self._send(signed[path], content + b"!")
        if answer.status < 400:
            raise RoundTripFailed(f"{path} with one byte more was accepted: {answer.status}")
        self.client.report("tamper", f"{path} with one byte more: refused ({answer.status})", elapsed())

    def _send(self, signed: Mapping[str, Any], content: bytes) -> urllib3.BaseHTTPResponse:
        fields = [*signed["upload_query"].items(), ("file", ("file", content, signed["type"]))]
        return self.client.http.request("POST", signed["upload_url"], fields=fields)


def md5_base64(content: bytes) -> str:
    """Give the MD5 as requests declare it."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def expect(answer: urllib3.BaseHTTPResponse, *statuses: int) -> None:
    """Raise `RoundTripFailed` for an answer with another status."""
    if answer.status not in statuses:
        raise RoundTripFailed(f"{answer.status} from {(answer.url or '').split('?')[0]}: {answer.data[:500].decode()}")


@contextmanager
def timing() -> Iterator[Callable[[], float]]:
    """Give what tells, afterwards, how many seconds it took."""
    start = time.perf_counter()
    took = 0.0
    yield lambda: took
    took = time.perf_counter() - start


def human_size(count: int) -> str:
    """Write a number of bytes for people, in powers of ten."""
    size, units = float(count), ["B", "kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"
