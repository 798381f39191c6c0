"""One signed request to the store: the bytes of a file, or of a part of it, as they are read."""

import os
import re
import threading
from collections.abc import Iterator, Mapping
from io import FileIO

from attrs import field, frozen
from urllib3.fields import RequestField
from urllib3.filepost import choose_boundary

from domain.uploads import PostForm, PutRequest, SignedPart
from entrypoints.client.connections import CHUNK_BYTES, Answer, Connections
from entrypoints.client.errors import FileChanged, FileTrouble, StoreRefused, Unreachable, words_of
from entrypoints.client.folder import LocalFile
from entrypoints.client.hashing import Moved

# What S3's errors are called that say more of a connection than of the request (Amazon S3 API reference, "Error
# responses"); these come with statuses that otherwise mean no.
_TEMPORARY_CODES = frozenset({"IncompleteBody", "OperationAborted", "RequestTimeout", "SlowDown"})
# What stores call it when the digest isn't that of the bytes: S3's two, and Azure's.
_DIGEST_CODES = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "Md5Mismatch"})
_CODE = re.compile(rb"<Code>([A-Za-z0-9_.]{1,64})</Code>")


@frozen
class Slice:
    """A run of bytes of a file: `start` and `length` in bytes."""

    file: LocalFile
    start: int
    length: int

    @classmethod
    def whole(cls, file: LocalFile) -> "Slice":
        """Take all of a file."""
        return cls(file, 0, file.length)

    def read(self, moved: Moved) -> Iterator[bytes]:
        """Read the bytes, in chunks; `moved` is told of each when the next is asked for.

        Raises `FileChanged`: it isn't what it was; `FileTrouble`: it can't be read.
        """
        try:
            with self.file.source.open("rb", buffering=0) as source:
                self._check(source)
                source.seek(self.start)
                yield from self._chunks(source, moved)
                self._check(source)
        except OSError as error:
            raise FileTrouble(f"can't read it: {words_of(error)}") from error

    def _chunks(self, source: FileIO, moved: Moved) -> Iterator[bytes]:
        left = self.length
        while left:
            chunk = source.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise _changed()
            left -= len(chunk)
            yield chunk
            moved(len(chunk))

    def _check(self, source: FileIO) -> None:
        if not self.file.is_same(os.fstat(source.fileno())):
            raise _changed()


def _changed() -> FileChanged:
    return FileChanged("it was changed after it was hashed; run again to send it as it is now")


class Sender:
    """Carries out signed requests, as many at once as there is room for.

    Each raises `StoreRefused`, `Unreachable`, `Stopped`, or what `Slice.read` raises.
    """

    def __init__(self, connections: Connections, at_once: int) -> None:
        self.connections = connections
        self._room = threading.BoundedSemaphore(at_once)

    def send(self, request: PostForm | PutRequest, file: LocalFile, moved: Moved) -> None:
        """Send a whole file."""
        if isinstance(request, PutRequest):
            self._put(request.url, request.headers, Slice.whole(file), moved)
        else:
            self._post(request, Slice.whole(file), moved)

    def send_part(self, part: SignedPart, piece: Slice, moved: Moved) -> None:
        """Send one part of a file."""
        self._put(part.url, part.headers, piece, moved)

    def _put(self, url: str, headers: Mapping[str, str], piece: Slice, moved: Moved) -> None:
        headers = {**headers, "Content-Length": str(piece.length)}
        self._carry_out(_Request("PUT", url, headers, piece), moved)

    def _post(self, form: PostForm, piece: Slice, moved: Moved) -> None:
        boundary = choose_boundary()
        head, tail = _form_around_file(form, boundary)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + piece.length + len(tail)),
        }
        self._carry_out(_Request("POST", form.url, headers, piece, head, tail), moved)

    def _carry_out(self, request: "_Request", moved: Moved) -> None:
        """Send a request; what was counted as moved is taken back if it fails."""
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            self.connections.stop.check()
            counted += size
            moved(size)

        try:
            with self._room:
                body = request.body(count)
                answer = self.connections.request(request.method, request.url, headers=request.headers, body=body)
            check_answer(answer)
        except BaseException:
            moved(-counted)
            raise


@frozen
class _Request:
    """A request whose body is a run of bytes of a file, with something before and after."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    piece: Slice
    head: bytes = field(default=b"", repr=False)
    tail: bytes = b""

    def body(self, moved: Moved) -> Iterator[bytes]:
        yield self.head
        yield from self.piece.read(moved)
        yield self.tail


def _form_around_file(form: PostForm, boundary: str) -> tuple[bytes, bytes]:
    """Write all of a form but the bytes of its file, which is the last part and has a name (RFC 7578)."""
    parts = [RequestField(name, value) for name, value in form.fields.items()]
    for part in parts:
        part.make_multipart()
    file = RequestField("file", b"", filename="file")
    file.make_multipart(content_type=form.fields.get("Content-Type", "application/octet-stream"))
    written = "".join(f"--{boundary}\r\n{part.render_headers()}{part.data!s}\r\n" for part in parts)
    return f"{written}--{boundary}\r\n{file.render_headers()}".encode(), f"\r\n--{boundary}--\r\n".encode()


def check_answer(answer: Answer) -> None:
    """Raise `StoreRefused`, `Unreachable` or `FileChanged` for an answer that isn't one of success."""
    if 200 <= answer.status < 300:
        return
    found = _CODE.search(answer.body)
    code = found[1].decode() if found else answer.headers.get("x-ms-error-code", "")
    if code in _DIGEST_CODES:
        raise FileChanged("the store received other bytes than were hashed; run again to hash it anew")
    if answer.is_temporary or code in _TEMPORARY_CODES:
        raise Unreachable(f"the store answers {answer.status} {code}".rstrip(), retry_after=answer.retry_after)
    raise StoreRefused(answer.status, code)
