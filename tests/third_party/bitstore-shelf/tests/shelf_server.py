"""Shelf: an HTTP file server that does what signed URLs allow, and nothing else. It keeps its files in memory.

    python shelf_server.py SECRET    serves on a free port of 127.0.0.1, and prints its URL

A signed URL is `/{shelf}/{name}?expires=…&…&signature=…`. The signature, an HMAC-SHA256 in hexadecimal, covers the
method, a space, and the URL up to `&signature=`. Parameters of all methods: `expires`, in Unix seconds. Of PUT:
`length`, `type`, optional `md5` (base64), optional `create=only`. Of GET: optional `filename`, for saving.
"""

import base64
import hashlib
import hmac
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Self
from urllib.parse import parse_qsl, quote, unquote

from attrs import field, frozen


class Fault(StrEnum):
    """What a Shelf can be made to do wrong, to see that tests notice."""

    BINDS_A_PREFIX = "binds_a_prefix"
    IGNORES_LENGTH = "ignores_length"
    IGNORES_TYPE = "ignores_type"
    LOSES_TYPE = "loses_type"
    ACCEPTS_LATE = "accepts_late"
    SKIPS_MD5 = "skips_md5"
    FORGETS_CREATE_ONLY = "forgets_create_only"
    KEEPS_WHAT_IT_REFUSES = "keeps_what_it_refuses"
    NEEDS_NO_SIGNATURE = "needs_no_signature"


@frozen
class Refused(Exception):
    """A request that is not allowed, with the status that says why."""

    status: int


@frozen
class File:
    """What is on the shelf."""

    content: bytes
    media_type: str

    @property
    def md5(self) -> str:
        """The digest of the content, in base64."""
        return base64.b64encode(hashlib.md5(self.content).digest()).decode()


@frozen
class SignedUrl:
    """What a request asks for: the path as it was sent, what the URL allows, and the text that was signed."""

    path: str
    allowed: Mapping[str, str]
    signed_query: str
    signature: str

    @classmethod
    def parse(cls, target: str) -> Self:
        path, _, query = target.partition("?")
        signed_query, _, signature = query.rpartition("&signature=")
        return cls(path, dict(parse_qsl(signed_query, keep_blank_values=True)), signed_query, signature)


@frozen
class Shelf:
    """The files by path, and the rules. Two requests for one path take turns."""

    secret: str = field(repr=False)
    fault: Fault | None = None
    files: dict[str, File] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def read(self, shelf: str, key: str) -> bytes | None:
        """Give a file's content by no signature at all, or None."""
        file = self.files.get(f"/{shelf}/{key}")
        return None if file is None else file.content

    def list_keys(self, shelf: str, prefix: str) -> list[str]:
        """Give the keys on a shelf that start with `prefix`, by no signature at all."""
        keys = (path.removeprefix(f"/{shelf}/") for path in self.files if path.startswith(f"/{shelf}/"))
        return sorted(key for key in keys if key.startswith(prefix))

    def get(self, method: str, url: SignedUrl) -> File:
        """Give the file at a URL that allows it. Raises `Refused`."""
        self._check(method, url)
        file = self.files.get(unquote(url.path))
        if file is None:
            raise Refused(404)
        return file

    def put(self, url: SignedUrl, content: bytes, media_type: str) -> None:
        """Keep a file, if all is as the URL says. Raises `Refused`."""
        self._check("PUT", url)
        path, file = unquote(url.path), File(content, media_type)
        with self._lock:
            exists = path in self.files
            if self.fault is Fault.KEEPS_WHAT_IT_REFUSES:
                self.files[path] = file
            self._check_file(url.allowed, file)
            if exists and "create" in url.allowed and self.fault is not Fault.FORGETS_CREATE_ONLY:
                raise Refused(409)
            self.files[path] = File(content, "application/octet-stream") if self.fault is Fault.LOSES_TYPE else file

    def _check(self, method: str, url: SignedUrl) -> None:
        if self.fault is not Fault.NEEDS_NO_SIGNATURE and not self._is_signed(method, url):
            raise Refused(403)
        expires = url.allowed.get("expires", "0")
        if not (expires.isdecimal() and time.time() <= int(expires)) and self.fault is not Fault.ACCEPTS_LATE:
            raise Refused(403)

    def _is_signed(self, method: str, url: SignedUrl) -> bool:
        paths = [url.path]
        if self.fault is Fault.BINDS_A_PREFIX:
            paths += [url.path[:end] for end in range(1, len(url.path))]
        return any(
            hmac.compare_digest(self._sign(f"{method} {path}?{url.signed_query}"), url.signature) for path in paths
        )

    def _sign(self, text: str) -> str:
        return hmac.digest(self.secret.encode(), text.encode(), "sha256").hex()

    def _check_file(self, allowed: Mapping[str, str], file: File) -> None:
        if allowed.get("length") != str(len(file.content)) and self.fault is not Fault.IGNORES_LENGTH:
            raise Refused(400)
        if allowed.get("type") != file.media_type and self.fault is not Fault.IGNORES_TYPE:
            raise Refused(400)
        if allowed.get("md5", file.md5) != file.md5 and self.fault is not Fault.SKIPS_MD5:
            raise Refused(400)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.shelf = shelf

    def server_bind(self) -> None:
        """Bind, and don't ask the network what this machine is called, as the class above does."""
        TCPServer.server_bind(self)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_PUT(self) -> None:
        self._answering(self._put)

    def do_GET(self) -> None:
        self._answering(self._get)

    def do_HEAD(self) -> None:
        self._answering(self._get)

    def do_DELETE(self) -> None:
        self._answer(405)

    def _answering(self, answer: Callable[[SignedUrl], None]) -> None:
        try:
            answer(SignedUrl.parse(self.path))
        except Refused as refusal:
            self._answer(refusal.status)

    def _put(self, url: SignedUrl) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._drop_chunks()
            raise Refused(411)
        content = self.rfile.read(int(length))
        self.server.shelf.put(url, content, self.headers.get("Content-Type", ""))
        self._answer(201)

    def _drop_chunks(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()

    def _get(self, url: SignedUrl) -> None:
        file = self.server.shelf.get(self.command, url)
        headers = {"Content-Type": file.media_type, "Content-MD5": file.md5}
        if "filename" in url.allowed:
            name = quote(url.allowed["filename"], safe="")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
        self._answer(200, headers, file.content)

    def _answer(self, status: int, headers: Mapping[str, str] | None = None, content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: a signed URL is as good as a key."""


@contextmanager
def serving(shelf: Shelf) -> Iterator[str]:
    """Serve a Shelf in threads, and give its URL."""
    with _Server(shelf) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with serving(Shelf(secret=sys.argv[1])) as url_of_shelf:
        sys.stdout.write(f"{url_of_shelf}\n")
        sys.stdout.flush()
        threading.Event().wait()
