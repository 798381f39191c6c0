"""The digests of files, made in one pass over each."""

import hashlib
import os
from collections.abc import Callable
from io import FileIO

from attrs import evolve, frozen

from domain.files import DeclaredParts, Md5, Sha256
from entrypoints.client.answers import Json
from entrypoints.client.errors import FileChanged, FileTrouble, words_of
from entrypoints.client.folder import LocalFile
from entrypoints.client.retrying import Stop

_READ_BYTES = 1024**2

Moved = Callable[[int], None]
"""Is told how many bytes went by; fewer than none where they must go again."""


@frozen
class Wanted:
    """What must be known of a file: the MD5 always, of its parts too if they have a size, and the SHA-256 perhaps."""

    part_size: int | None = None
    sha256: bool = False


@frozen
class Digests:
    """The digests of a file, and of its parts where it is to come in parts."""

    md5: Md5
    sha256: Sha256 | None = None
    parts: DeclaredParts | None = None

    def serve(self, wanted: Wanted) -> bool:
        """Whether these are all that is wanted."""
        size = None if self.parts is None else self.parts.size
        return size == wanted.part_size and (self.sha256 is not None or not wanted.sha256)


@frozen
class HashedFile:
    """A file with its digests; `media_type` None leaves the type to the service."""

    local: LocalFile
    digests: Digests
    media_type: str | None = None

    @property
    def path(self) -> str:
        """The path inside the dataset."""
        return self.local.path

    @property
    def length(self) -> int:
        """The length in bytes."""
        return self.local.length

    @property
    def declaration(self) -> Json:
        """Give what the service must be told of it."""
        digests, parts = self.digests, self.digests.parts
        members = {
            "length": self.length,
            "md5": digests.md5,
            "sha256": digests.sha256,
            "type": self.media_type,
            "parts": None if parts is None else {"size": parts.size, "md5": parts.md5},
        }
        return {name: value for name, value in members.items() if value is not None}


def hash_file(file: LocalFile, wanted: Wanted, moved: Moved, stop: Stop) -> tuple[LocalFile, Digests]:
    """Read a file once, and give it as it is now, with its digests.

    Raises `FileTrouble`: it can't be read, or changes meanwhile; and `Stopped`.
    """
    try:
        with file.source.open("rb", buffering=0) as source:
            before = os.fstat(source.fileno())
            now = evolve(file, length=before.st_size, mtime_ns=before.st_mtime_ns)
            digests = _digest(source, wanted, moved, stop)
            if not now.is_same(os.fstat(source.fileno())):
                raise FileChanged("it changed while it was hashed")
    except OSError as error:
        raise FileTrouble(f"can't read it: {words_of(error)}") from error
    return now, digests


def _digest(source: FileIO, wanted: Wanted, moved: Moved, stop: Stop) -> Digests:
    md5, sha256 = _new_md5(), hashlib.sha256()
    parts = None if wanted.part_size is None else _PartDigests(wanted.part_size)
    buffer = memoryview(bytearray(_READ_BYTES))
    while count := source.readinto(buffer):
        stop.check()
        chunk = buffer[:count]
        md5.update(chunk)
        if wanted.sha256:
            sha256.update(chunk)
        if parts is not None:
            parts.update(chunk)
        moved(count)
    return Digests(
        Md5.of(md5.digest()),
        Sha256.of(sha256.digest()) if wanted.sha256 else None,
        None if parts is None else parts.finish(),
    )


class _PartDigests:
    """The MD5s of parts of `size` bytes."""

    def __init__(self, size: int) -> None:
        self._size = self._room = size
        self._md5 = _new_md5()
        self._done: list[Md5] = []

    def update(self, chunk: memoryview) -> None:
        while chunk:
            piece, chunk = chunk[: self._room], chunk[self._room :]
            self._md5.update(piece)
            self._room -= len(piece)
            if not self._room:
                self._end_part()

    def finish(self) -> DeclaredParts:
        if self._room < self._size:
            self._end_part()
        return DeclaredParts(self._size, tuple(self._done))

    def _end_part(self) -> None:
        self._done.append(Md5.of(self._md5.digest()))
        self._md5, self._room = _new_md5(), self._size


def _new_md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
