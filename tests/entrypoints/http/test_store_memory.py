"""Large objects go through the disk store's endpoint in flat memory, in both directions."""

import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from tests.entrypoints.http.live_store import (
    BOUNDARY,
    BUCKET,
    CONTENT_TYPE,
    boto_client,
    form_body,
    signed_fields,
)

MIB = 1 << 20
LENGTH = (2048 if os.environ.get("BITSTORE_LARGE") else 160) * MIB
"""2 GiB takes some 15 s; 160 MiB would show as well what grows with the object."""
ALLOWED_GROWTH = 64 * MIB
ZEROS = bytes(MIB)


@frozen
class DiskServer:
    pid: int
    port: int

    def peak_memory(self) -> int:
        """The most bytes that the process has ever had resident."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def send(self, head: str, *body: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(head.encode())
        for piece in body:
            connection.sendall(piece)
        return connection


@contextmanager
def disk_server(root: str) -> Iterator[DiskServer]:
    command = [sys.executable, "-m", "tests.entrypoints.http.disk_server", root, str(LENGTH)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield DiskServer(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process's memory is read from /proc")
def test_memory_does_not_grow_with_the_object() -> None:
    with TemporaryDirectory() as root, disk_server(root) as server:
        before = server.peak_memory()
        upload(server)
        assert server.peak_memory() - before < ALLOWED_GROWTH
        assert download(server) == LENGTH
        assert server.peak_memory() - before < ALLOWED_GROWTH


def upload(server: DiskServer) -> None:
    fields = signed_fields(
        [{"bucket": BUCKET}, {"key": "zeros"}, ["content-length-range", LENGTH, LENGTH]], {"key": "zeros"}
    )
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    start = form_body(fields, b"").removesuffix(end)
    head = (
        f"POST /store/{BUCKET} HTTP/1.1\r\nHost: any\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(start) + LENGTH + len(end)}\r\nConnection: close\r\n\r\n"
    )
    with server.send(head, start, *([ZEROS] * (LENGTH // MIB)), end) as connection:
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert etag_of_zeros() in answer


def etag_of_zeros() -> bytes:
    digest = hashlib.md5()
    for _ in range(LENGTH // MIB):
        digest.update(ZEROS)
    return f'"{digest.hexdigest()}"'.encode()


def download(server: DiskServer) -> int:
    """Read the object to its end, and say how long it was."""
    client = boto_client(f"http://127.0.0.1:{server.port}")
    url = urlsplit(client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "zeros"}))
    client.close()
    head = f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"
    with server.send(head) as connection, connection.makefile("rb") as answer:
        assert answer.readline().startswith(b"HTTP/1.1 200 ")
        while answer.readline() != b"\r\n":
            pass
        return sum(map(len, iter(lambda: answer.read(MIB), b"")))
