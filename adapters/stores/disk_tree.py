"""The directories of the disk store, and how its files are told apart from what a dead process left.

The tree under the root
    objects/<first two hex digits>/<SHA-256 of the key in hex>   one file for each object
    incoming/<random name>                                       uploads that are under way

A key never becomes a file name. So there is no traversal, no reserved name, no clash between keys that differ by case
or between a file and a folder.

Whoever writes a file in incoming/ holds an exclusive flock on it, which ends with the process, however that dies. The
sweep removes what it can lock. So any number of processes of one machine may share a root.
"""

import errno
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from application.ports import StorageError, StorageFailed, StorageFull
from domain.keys import ObjectKey

_log = logging.getLogger(__name__)

_OBJECTS = "objects"
_INCOMING = "incoming"

READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # opening a planted FIFO must not wait
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def _failure(doing: str, error: OSError) -> StorageError:
    _log.error("The disk store can't %s: %s", doing, error)
    kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageFailed
    return kind(f"can't {doing}: {error.strerror}")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate what the operating system refuses. The log names the file; the error, which may travel, doesn't."""
    try:
        yield
    except OSError as error:
        raise _failure(doing, error) from error


def sync(descriptor: int) -> None:
    """Return when what was written would survive a loss of power."""
    if sys.platform == "darwin":
        # fsync stops at the drive's cache there (fsync(2), macOS); file systems that can't do more refuse the call.
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


@contextmanager
def _directory(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """Open a directory; inside a `parent` it must be a real one that belongs to us, not a symbolic link."""
    descriptor = os.open(name, _READ_DIRECTORY | (0 if parent is None else os.O_NOFOLLOW), dir_fd=parent)
    try:
        if parent is not None and os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "Directory belongs to another user", str(name))
        yield descriptor
    finally:
        os.close(descriptor)


def _make_directory(name: str, parent: int) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def file_name(key: ObjectKey) -> str:
    """Give the name of the object's file; its first two characters name the shard."""
    return hashlib.sha256(key.encode()).hexdigest()


class Tree:
    """The directories of one store. Each use opens them anew, so that a disk that went away is an error at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made = False
        self._durable_shards = set[str]()

    def sweep(self) -> None:
        """Remove what uploads left behind whose process has died. Raises `StorageError`."""
        with translated("sweep unfinished uploads"), self.incoming() as incoming:
            with os.scandir(incoming) as entries:
                names = [entry.name for entry in entries]
            removed = sum(_remove_leftover(incoming, name) for name in names)
        if removed:
            _log.info("The disk store removed %d unfinished uploads", removed)

    def probe(self) -> None:
        """Make an empty file where uploads arrive, and remove it. Raises `StorageError`."""
        with translated("be written to"), self.incoming() as incoming, self._objects():
            name, descriptor = create_locked(incoming)
            try:
                os.unlink(name, dir_fd=incoming)
            finally:
                os.close(descriptor)

    @contextmanager
    def incoming(self) -> Iterator[int]:
        """Open the directory of the uploads that are under way."""
        self._make()
        with _directory(self._root) as root, _directory(_INCOMING, root) as incoming:
            yield incoming

    @contextmanager
    def shard_of(self, key: ObjectKey) -> Iterator[int]:
        """Open the directory of the object's file and lock it: one object at a time gets its place there."""
        name = file_name(key)[:2]
        with self._objects() as objects:
            # One that another process made may not be on the medium yet: sync it once ourselves before relying on it.
            if _make_directory(name, objects) or name not in self._durable_shards:
                sync(objects)
                self._durable_shards.add(name)
            with _directory(name, objects) as shard:
                fcntl.flock(shard, fcntl.LOCK_EX)
                yield shard

    def open_object(self, key: ObjectKey) -> int | None:
        """Open the object's file for reading; None if there isn't one. That the root itself is gone is an error."""
        with self.lookup() as lookup:
            return lookup.open_object(key)

    @contextmanager
    def lookup(self) -> Iterator["Lookup"]:
        """Get ready to open many objects in a row, best in the order of their files' names."""
        with self._objects() as objects, closing(Lookup(objects)) as lookup:
            yield lookup

    @contextmanager
    def _objects(self) -> Iterator[int]:
        self._make()
        with _directory(self._root) as root, _directory(_OBJECTS, root) as objects:
            yield objects

    def _make(self) -> None:
        """Make the tree where it is missing, once: later on, a root that is gone is a fault and not a wish."""
        if self._made:
            return
        self._make_root()
        with _directory(self._root) as root:
            for name in (_OBJECTS, _INCOMING):
                _make_directory(name, root)
            sync(root)
        self._made = True

    def _make_root(self) -> None:
        missing = [path for path in (self._root, *self._root.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            with _directory(path.parent) as parent:
                sync(parent)


class Lookup:
    """Opens objects, and keeps the directory of the last one open: most of the cost is finding the way there."""

    def __init__(self, objects: int) -> None:
        self._objects = objects
        self._name = ""
        self._shard: int | None = None
        self._opened = ExitStack()

    def open_object(self, key: ObjectKey) -> int | None:
        """Open the object's file for reading; None if there isn't one."""
        name = file_name(key)
        if name[:2] != self._name:
            self._enter(name[:2])
        if self._shard is None:
            return None
        try:
            return os.open(name, READ_FILE, dir_fd=self._shard)
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Close the directory that is open."""
        self._opened.close()

    def _enter(self, name: str) -> None:
        self._opened.close()
        self._name, self._shard = name, None
        with suppress(FileNotFoundError):
            self._shard = self._opened.enter_context(_directory(name, self._objects))


def create_locked(incoming: int) -> tuple[str, int]:
    """Create a file that no sweep will touch while its descriptor is open; give its name and the descriptor."""
    while True:
        name = secrets.token_hex(16)
        descriptor = os.open(name, _CREATE_FILE, 0o600, dir_fd=incoming)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return name, descriptor
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=incoming)
            os.close(descriptor)
            raise
        # A sweep came between its creation and its lock, and took it for a leftover.
        os.close(descriptor)


def _remove_leftover(incoming: int, name: str) -> bool:
    try:
        descriptor = os.open(name, READ_FILE, dir_fd=incoming)
    except OSError as error:  # gone meanwhile, or a symbolic link, which is none of ours
        _log.debug("Not swept: %s", error)
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=incoming)
    except (BlockingIOError, FileNotFoundError):  # its writer lives, or has just finished
        return False
    finally:
        os.close(descriptor)
    return True
