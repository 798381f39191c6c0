"""One object on its way back: into a partial file first, which takes its place when it is whole and checked."""

import hashlib
import os
import re
from collections.abc import Sequence
from functools import partial
from io import FileIO
from pathlib import Path

import urllib3
from attrs import frozen

from domain.errors import InvalidInput
from domain.keys import RelativePath
from domain.multipart import MIB
from entrypoints.client.answers import StoredObject
from entrypoints.client.cache import Cache
from entrypoints.client.connections import CHUNK_BYTES, Answer, Connections
from entrypoints.client.errors import FileTrouble, StoreRefused, Unreachable, words_of
from entrypoints.client.folder import PARTIAL_FOLDER, LocalFile
from entrypoints.client.hashing import Digests, Moved, Wanted, hash_file
from entrypoints.client.retrying import Retries
from entrypoints.client.sending import check_answer

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/")
# Sizes that programs cut by, in MiB, where it isn't the service's own rule; those in use are few.
_USUAL_PART_MIB = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512, 1024)
_COMPOSITE = re.compile(r"[0-9a-f]{32}-([1-9]\d{0,5})")


@frozen
class Target:
    """Where an object goes: the file `path` in `folder`, and nowhere else."""

    folder: Path
    path: RelativePath
    stored: StoredObject

    @property
    def file(self) -> Path:
        """The place of the file."""
        return self.folder / self.path

    @property
    def partial(self) -> Path:
        """The place of what has arrived of it; another object has another one."""
        stored = self.stored
        identity = repr((stored.key, stored.length, stored.md5, stored.sha256, stored.md5_of_parts))
        return self.folder / PARTIAL_FOLDER / f"{hashlib.sha256(identity.encode()).hexdigest()[:40]}.part"

    def make_way(self) -> None:
        """Make the folders that are missing. Raises `FileTrouble` where a link might lead elsewhere."""
        for folder in (self.folder, self.partial.parent, *reversed(self.file.parents[: self.path.count("/")])):
            if folder.is_symlink():
                raise FileTrouble(f"{folder} is a link, and nothing is written through links")
            folder.mkdir(exist_ok=True)

    def as_local(self, file: Path) -> LocalFile | None:
        """Look at a file; None if it isn't a plain one."""
        if file.is_symlink() or not file.is_file():
            return None
        seen = file.stat()
        return LocalFile(self.path, file, seen.st_size, seen.st_mtime_ns)


def check_path(stored: StoredObject) -> RelativePath:
    """Give the path under which an object may be written. Raises `FileTrouble`."""
    if stored.path is None:
        raise FileTrouble("this service's keys don't say under which path it was sent")
    try:
        path = RelativePath(stored.path)
    except InvalidInput as error:
        raise FileTrouble(error.message) from error
    if path.split("/")[0] == PARTIAL_FOLDER:
        raise FileTrouble(f"{PARTIAL_FOLDER} is where files are kept that are being fetched")
    return path


@frozen
class Checker:
    """Compares files with what the store says of an object."""

    cache: Cache
    connections: Connections

    def is_same(self, file: LocalFile, stored: StoredObject, moved: Moved) -> bool | None:
        """Whether a file has the length and digest of an object; None if the store knows no digest that fits.

        Raises `FileTrouble` and `Stopped`.
        """
        if file.length != stored.length:
            return False
        if stored.md5 is not None or stored.sha256 is not None:
            digests = self._digests(file, Wanted(sha256=stored.sha256 is not None), moved)
            return stored.md5 in (None, digests.md5) and stored.sha256 in (None, digests.sha256)
        for size in _part_sizes(stored):
            parts = self._digests(file, Wanted(part_size=size), moved).parts
            if parts is not None and parts.composite == stored.md5_of_parts:
                return True
        return None

    def _digests(self, file: LocalFile, wanted: Wanted, moved: Moved) -> Digests:
        known = self.cache.digests(file, wanted)
        if known is not None:
            return known
        now, digests = hash_file(file, wanted, moved, self.connections.stop)
        self.cache.keep_digests(now, digests)
        return digests


def _part_sizes(stored: StoredObject) -> Sequence[int]:
    """Guess by what part sizes an object was cut, from its length and the number of its parts."""
    composite = _COMPOSITE.fullmatch(stored.md5_of_parts or "")
    if composite is None:
        return ()
    count = int(composite[1])
    if count == 1:
        return (max(stored.length, 1),)
    least, most = -(-stored.length // count), (stored.length - 1) // (count - 1)
    fewest_mib = -(-least // MIB)  # as `domain.multipart.PartPlan` cuts long files
    return [size * MIB for size in sorted({fewest_mib, *_USUAL_PART_MIB}) if least <= size * MIB <= most]


@frozen
class Fetcher:
    """Fetches objects. Raises `FileTrouble`, `StoreRefused`, `Unreachable` or `Stopped`."""

    connections: Connections
    retries: Retries
    checker: Checker

    def fetch(self, target: Target, url: str, moved: Moved) -> bool:
        """Fetch an object, from where an earlier attempt broke off; say whether its digest could be checked."""
        stored = target.stored
        try:
            target.make_way()
            self._fill(target, url, moved)
            same = self._check(target)
            if same is False:
                # What was there of it, or the object, was another one.
                moved(-stored.length)
                target.partial.unlink()
                self._fill(target, url, moved)
                same = self._check(target)
            if same is False:
                target.partial.unlink()
                raise FileTrouble("what arrived isn't what the service says of it")
            target.partial.replace(target.file)
        except OSError as error:
            raise FileTrouble(f"can't write it: {words_of(error)}") from error
        return same is True

    def _check(self, target: Target) -> bool | None:
        local = target.as_local(target.partial)
        return False if local is None else self.checker.is_same(local, target.stored, lambda _: None)

    def _fill(self, target: Target, url: str, moved: Moved) -> None:
        """Bring the partial file to its length, however often the connection breaks, as long as it grows."""
        reached = _Reached(moved)
        while True:
            before = reached.length
            try:
                return self.retries.run(partial(self._append, target, url, reached), self.connections.stop)
            except Unreachable:
                if reached.length <= before:
                    raise

    def _append(self, target: Target, url: str, reached: "_Reached") -> None:
        """Fetch what the partial file lacks."""
        length = target.stored.length
        with _open_partial(target.partial) as file:
            there = file.seek(0, os.SEEK_END)
            if there > length:
                there = file.truncate(0)
            reached.now(there)
            if there == length:
                return
            with self.connections.download(url, {"Range": f"bytes={there}-"} if there else {}) as response:
                there = _start_of(response, there)
                file.truncate(there)
                file.seek(there)
                for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                    self.connections.stop.check()
                    there += len(chunk)
                    if there > length:
                        raise FileTrouble(f"more than the {length} bytes arrive that the service says there are")
                    file.write(chunk)
                    reached.now(there)
        if there < length:
            raise Unreachable("the answer broke off")


class _Reached:
    """How much of a file is there; tells how that changes."""

    def __init__(self, moved: Moved) -> None:
        self._moved = moved
        self.length = 0

    def now(self, length: int) -> None:
        """Take note of the length that is reached."""
        self._moved(length - self.length)
        self.length = length


def _open_partial(file: Path) -> FileIO:
    """Open a file to be written, made if need be; a link in its place isn't followed. Raises OSError."""
    return FileIO(os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666), "r+")


def _start_of(response: urllib3.BaseHTTPResponse, wanted: int) -> int:
    """Say where what follows begins (RFC 9110, section 14.4). Raises `StoreRefused` and `Unreachable`."""
    if response.status == 200:
        return 0
    if response.status == 206:
        begins = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        if begins and int(begins[1]) == wanted:
            return wanted
        raise StoreRefused(response.status, "InvalidRange")
    check_answer(Answer(response.status, response.headers, response.read(4_096)))
    raise StoreRefused(response.status, "")
