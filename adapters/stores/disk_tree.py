"""The directories of the disk store, and how its files are told apart from what a dead process left.

The tree under the root
    objects/<folder>/…/<file>.object   one directory for each folder of a key, one file for each object
    incoming/<random name>             files that are being written, directories that are being made or removed
    uploads/<upload id>/               one directory for each upload in parts that is pending (see `disk_parts`)

<folder> and <file> are the SHA-256, in hex, of one segment of the key. So no part of a key becomes a name: there is no
traversal, no reserved name, no name that is too long, no clash between keys that differ by case only, nor between a
file and a folder. And what is under a prefix is in one subtree: all of a folder that isn't there is answered at once.

Whoever is at work in incoming/ holds an exclusive flock on the file or directory, which ends with the process, however
that dies. The sweep removes what it can lock. So any number of processes of one machine may share a root.
"""

import errno
import fcntl
import logging
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adapters.stores.disk_walk import Walk, file_name, folder_of
from adapters.stores.served_uploads import is_our_id
from application.ports import StorageError, StorageFailed, StorageFull
from domain.keys import ObjectKey

_log = logging.getLogger(__name__)

_OBJECTS = "objects"
_INCOMING = "incoming"
_UPLOADS = "uploads"

_REMEMBERED = 10_000
"""Of how many directories a process remembers that they are durable, before it begins anew."""
_SEEN = 256
"""Of how many paths, which can have 33 kB, it remembers that something was there."""

READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # opening a planted FIFO must not wait
CREATE_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def failure(doing: str, error: OSError) -> StorageError:
    """Translate what the operating system refuses. The log names the file; the error, which may travel, doesn't."""
    _log.error("The disk store can't %s: %s", doing, error)
    kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageFailed
    return kind(f"can't {doing}: {error.strerror}")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise the `failure` for what the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise failure(doing, error) from error


def sync(descriptor: int) -> None:
    """Return when what was written would survive a loss of power."""
    if sys.platform == "darwin":
        # fsync stops at the drive's cache there (fsync(2), macOS); file systems that can't do more refuse the call.
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


@contextmanager
def opened(descriptor: int) -> Iterator[int]:
    """Close a descriptor in the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def enter_directory(name: str, parent: int | None = None) -> int:
    """Open a directory that must be a real one which belongs to us, not a symbolic link; give its descriptor."""
    descriptor = os.open(name, _READ_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        _check_owner(descriptor, name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_owner(descriptor: int, name: str) -> None:
    if os.fstat(descriptor).st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "Directory belongs to another user", name)


def _make_directory(name: str, parent: int) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    return True


class Tree:
    """The directories of one store. Each use opens them anew, so that a disk that went away is an error at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._objects = str(root / _OBJECTS)
        self._incoming = str(root / _INCOMING)
        self._uploads = str(root / _UPLOADS)
        self._made = False
        self._durable = set[tuple[int, int]]()
        self._seen = set[str]()

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
        with translated("be written to"), self.incoming() as incoming, self.walk():
            name, descriptor = create_locked(incoming)
            try:
                os.unlink(name, dir_fd=incoming)
            finally:
                os.close(descriptor)

    @contextmanager
    def incoming(self) -> Iterator[int]:
        """Open the directory of the uploads that are under way."""
        self._make()
        with opened(enter_directory(self._incoming)) as incoming:
            yield incoming

    @contextmanager
    def uploads(self) -> Iterator[int]:
        """Open the directory of the uploads in parts that are pending."""
        self._make()
        with opened(enter_directory(self._uploads)) as uploads:
            yield uploads

    @contextmanager
    def place_of(self, key: ObjectKey) -> Iterator[int]:
        """Open the directory of the object's file, made if it is missing, and lock it: one object at a time gets in."""
        with self.walk(self._enter_durable) as walk:
            directory = walk.go(folder_of(key))
            if directory is None:
                raise FileNotFoundError(errno.ENOENT, "Directory was removed as soon as it was made")
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield directory

    def is_missing(self, path: str) -> bool:
        """Tell at a glance that there surely is nothing at a path below the directory of all objects.

        False means that one has to look: something may be there, the path may be longer than paths can be, or all may
        be missing. A path that leads elsewhere, by a symbolic link, can't do harm here: it only makes us look. Where
        something was once, no glance is worth its time: the folder of a dataset stays.
        """
        if not self._made or path in self._seen:
            return False
        try:
            os.lstat(f"{self._objects}/{path}")
        except FileNotFoundError:
            return os.access(self._objects, os.F_OK)
        except OSError:
            return False
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add(path)
        return False

    def open_object(self, key: ObjectKey) -> int | None:
        """Open the object's file for reading; None if there isn't one. That the root itself is gone is an error."""
        with self.walk() as walk:
            directory = walk.go(folder_of(key))
            return None if directory is None else open_file(file_name(key), directory)

    def remove(self, key: ObjectKey) -> None:
        """Remove the object's file, if there is one; return when it would not come back. Raises `StorageError`."""
        with translated("remove an object"), self.walk() as walk:
            directory = walk.go(folder_of(key))
            if directory is None:
                return
            fcntl.flock(directory, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                os.unlink(file_name(key), dir_fd=directory)
                sync(directory)

    def walk(self, enter: Callable[[str, int], int] = enter_directory) -> Walk:
        """Begin at the directory of all objects. That it is gone is an error."""
        self._make()
        return Walk(enter_directory(self._objects), enter)

    def walk_by_names(self) -> Walk:
        """Begin likewise, to go where names of directories lead, instead of folders."""
        self._make()
        return Walk(enter_directory(self._objects), enter_directory, str)

    def _enter_durable(self, name: str, parent: int) -> int:
        """Open a directory, made if it is missing, once its name would survive a loss of power."""
        made = _make_directory(name, parent)
        descriptor = enter_directory(name, parent)
        try:
            status = os.fstat(descriptor)
            identity = (status.st_dev, status.st_ino)
            # One that another process made may not be on the medium yet: sync it once ourselves before relying on it.
            if made or identity not in self._durable:
                sync(parent)
                self._remember(identity)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _remember(self, identity: tuple[int, int]) -> None:
        if len(self._durable) >= _REMEMBERED:
            self._durable.clear()  # costs no more than syncing them once again
        self._durable.add(identity)

    def _make(self) -> None:
        """Make the tree where it is missing, once: later on, a root that is gone is a fault and not a wish."""
        if self._made:
            return
        self._make_root()
        with opened(os.open(self._root, _READ_DIRECTORY)) as root:
            for name in (_OBJECTS, _INCOMING, _UPLOADS):
                _make_directory(name, root)
            sync(root)
        self._made = True

    def _make_root(self) -> None:
        """Make what is missing on the way to the root, durably.

        What is there may have been made by a process that died before it had synced it.
        """
        for path in reversed((self._root, *self._root.parents)):
            if not path.exists():
                path.mkdir(mode=0o700, exist_ok=True)
            elif not _may_be_ours(path):
                continue
            with opened(os.open(path.parent, _READ_DIRECTORY)) as parent:
                sync(parent)


def _may_be_ours(path: Path) -> bool:
    """Tell whether we can have made this directory: it is ours, and so is the right to make another one beside it."""
    is_ours = path.stat().st_uid == os.geteuid() and not path.is_mount()
    return is_ours and os.access(path.parent, os.R_OK | os.W_OK)


def open_file(name: str, directory: int) -> int | None:
    """Open a file for reading; None if there isn't one."""
    try:
        return os.open(name, READ_FILE, dir_fd=directory)
    except FileNotFoundError:
        return None


def names_in(directory: int) -> list[str]:
    """List what is in a directory. Raises OSError."""
    return os.listdir(directory)


def create_locked(incoming: int) -> tuple[str, int]:
    """Create a file that no sweep will touch while its descriptor is open; give its name and the descriptor."""
    while True:
        name = secrets.token_hex(16)
        descriptor = os.open(name, CREATE_FILE, 0o600, dir_fd=incoming)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return name, descriptor
        except OSError:
            with suppress(OSError):  # it stays for the next sweep
                os.unlink(name, dir_fd=incoming)
            os.close(descriptor)
            raise
        # A sweep came between its creation and its lock, and took it for a leftover.
        os.close(descriptor)


def make_locked_directory(name: str, incoming: int) -> int:
    """Make a directory that no sweep will touch while its descriptor is open; give the descriptor."""
    while True:
        os.mkdir(name, 0o700, dir_fd=incoming)
        try:
            descriptor = _lock_directory(name, incoming)
        except OSError:
            with suppress(OSError):  # it stays for the next sweep
                os.rmdir(name, dir_fd=incoming)
            raise
        if descriptor is not None:
            return descriptor


def _lock_directory(name: str, incoming: int) -> int | None:
    """Open a directory that was just made, and lock it; None if a sweep came between, and took it for a leftover."""
    try:
        descriptor = enter_directory(name, incoming)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if is_at(name, incoming, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def is_at(name: str, parent: int, descriptor: int) -> bool:
    """Tell whether what is open still has this name."""
    try:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def remove_directory(name: str, parent: int, descriptor: int) -> None:
    """Remove a directory, which is open, and the files in it; others may be doing the same."""
    for entry in names_in(descriptor):
        with suppress(FileNotFoundError):
            os.unlink(entry, dir_fd=descriptor)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def _remove_leftover(incoming: int, name: str) -> bool:
    try:
        descriptor = os.open(name, READ_FILE, dir_fd=incoming)
    except OSError as error:  # gone meanwhile, or a symbolic link, which is none of ours
        _log.debug("Not swept: %s", error)
        return False
    with opened(descriptor):
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode) and is_our_id(name):
            return _remove_left_directory(incoming, name, descriptor)
        if not stat.S_ISREG(mode):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=incoming)
        except (BlockingIOError, FileNotFoundError):  # its writer lives, or has just finished
            return False
    return True


def _remove_left_directory(incoming: int, name: str, descriptor: int) -> bool:
    try:
        _check_owner(descriptor, name)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever made it may have had the lock until now, and have given it its place.
        is_left = is_at(name, incoming, descriptor)
        if is_left:
            remove_directory(name, incoming, descriptor)
    except OSError as error:  # somebody is at work there, or it has what none of ours has
        _log.debug("Not swept: %s", error)
        return False
    return is_left
