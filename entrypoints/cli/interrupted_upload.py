"""What a client does with a large file: it sends parts, and those that are missing after a broken connection."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from entrypoints.cli.round_trip import Client, RoundTripFailed, expect, human_size, md5_base64, timing

PART_BYTES = 5 * 1024**2
"""The shortest that parts may be."""


@frozen
class InterruptedUpload:
    """A file that is sent in parts until the connection breaks; then another process sends the rest.

    `first` and `second` are the two: clients that share nothing but the user's token.
    """

    first: Client
    second: Client
    dataset: str
    path: str
    content: bytes = field(repr=False)

    def run(self) -> bool:
        """Send the file; return whether it came back byte for byte."""
        signed = self._begin()
        if not signed["exists"]:
            self._break_off(signed["parts"])
            self._resume(signed["upload_id"])
            self._complete(signed["upload_id"])
        return self.second.download(self.path, self.content, signed)

    def _begin(self) -> Mapping[str, Any]:
        with timing() as elapsed:
            declared = {self.path: self._declaration()}
            answer = self.first.ask("authorize", self.dataset, filedata=declared, accept=["MULTIPART"])
        signed: Mapping[str, Any] = answer["fileData"][self.path]
        size, count = human_size(len(self.content)), signed["part_count"]
        what = "it is there already" if signed["exists"] else "a signed request for each"
        self.first.report("authorize", f"{self.path}, {size} in {count} parts: {what}", elapsed())
        return signed

    def _break_off(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Send one part, and half of the next."""
        whole, half = parts[0], parts[1]
        with timing() as elapsed:
            self._send(self.first, whole)
            self._send_half(half)
        self.first.report("parts", f"{whole['number']} sent; the connection breaks in {half['number']}", elapsed())

    def _resume(self, upload_id: str) -> None:
        with timing() as elapsed:
            resumed = self.second.ask("multipart/resume", self.dataset, **self._known(upload_id))
        arrived, missing = ([part["number"] for part in resumed[which]] for which in ("arrived", "parts"))
        self.second.report("resume", f"another process asks: {_list(arrived)} arrived, {_list(missing)} not", elapsed())
        with timing() as elapsed:
            for part in resumed["parts"]:
                self._send(self.second, part)
        self.second.report("parts", f"{_list(missing)} sent", elapsed())

    def _complete(self, upload_id: str) -> None:
        with timing() as elapsed:
            verdict = self.second.ask("multipart/complete", self.dataset, **self._known(upload_id))
        if verdict["status"] != "stored":
            raise RoundTripFailed(f"{self.path} is {verdict['status']}")
        self.second.report("complete", f"{self.path}: {verdict['status']}", elapsed())

    def _send(self, client: Client, part: Mapping[str, Any]) -> None:
        expect(client.http.request("PUT", part["url"], body=self._bytes_of(part), headers=part["headers"]), 200, 201)

    def _send_half(self, part: Mapping[str, Any]) -> None:
        """Begin to send a part, and close the connection in the middle of it."""
        url, content = urlsplit(part["url"]), self._bytes_of(part)
        headers = "".join(f"{name}: {value}\r\n" for name, value in {"Host": url.netloc, **part["headers"]}.items())
        with socket.create_connection((url.hostname or "", url.port or 80)) as connection:
            connection.sendall(f"PUT {url.path}?{url.query} HTTP/1.1\r\n{headers}\r\n".encode())
            connection.sendall(content[: len(content) // 2])

    def _declaration(self) -> Mapping[str, Any]:
        cuts = range(0, len(self.content), PART_BYTES)
        digests = [md5_base64(self.content[cut : cut + PART_BYTES]) for cut in cuts]
        parts = {"size": PART_BYTES, "md5": digests}
        return {"length": len(self.content), "md5": md5_base64(self.content), "parts": parts}

    def _known(self, upload_id: str) -> Mapping[str, Any]:
        return {"path": self.path, "file": self._declaration(), "upload_id": upload_id}

    def _bytes_of(self, part: Mapping[str, Any]) -> bytes:
        start = (part["number"] - 1) * PART_BYTES
        return self.content[start : start + part["length"]]


def _list(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers)) or "none"
