"""The files of the disk store: how an upload becomes an object, and how objects are read and looked for.

The file in incoming/ is written and synced. One rename (or one link, where nothing may be replaced) gives it its place,
and the directory of that place is synced; if this fails, the step is taken back. Only then is it acknowledged. The
directory incoming/ isn't synced: at worst a name comes back there after a loss of power, for the next sweep.

All of this blocks. What lies where is told in `disk_tree`, and what is in an object's file in `disk_format`.
"""

import fcntl
import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Self

from adapters.stores.disk_format import DamagedFile, encode_trailer, read_exactly, read_found, read_info
from adapters.stores.disk_tree import Tree, create_locked, failure, file_name, folder_of, open_file, sync, translated
from application.ports import ObjectAttributes, ObjectExists, ObjectInfo, StorageFailed
from domain.files import Md5, Sha256
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Upload

_log = logging.getLogger(__name__)

_SORTED_AT_ONCE = 1_000
"""How many keys are sorted into folders in one step."""
_BELIEVED_AT_ONCE = 64
"""Of how many missing files it is believed that they are, once opening one of them has shown that the disk tells."""


class IncomingFile:
    """A file in which an upload arrives.

    Any thread may call: one at a time gets in, and after `publish` or `remove` there is nothing left to touch. So a
    `remove` that is called while another thread still writes waits for it, and can't be undone by it.
    """

    def __init__(self, tree: Tree, key: ObjectKey, name: str, descriptor: int) -> None:
        self._tree = tree
        self._key = key
        self._name = name
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()
        self._length = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    @classmethod
    def create(cls, tree: Tree, key: ObjectKey) -> Self:
        """Begin an upload. Raises `StorageError`."""
        with translated("begin an upload"), tree.incoming() as incoming:
            name, descriptor = create_locked(incoming)
        return cls(tree, key, name, descriptor)

    def append(self, block: bytes | bytearray) -> None:
        """Write and hash. Raises `StorageError`; then the file is gone, and nothing more can be done with it."""
        with self._lock:
            try:
                with translated("write an upload"):
                    _write_all(self._open(), block)
                self._md5.update(block)
                self._sha256.update(block)
                self._length += len(block)
            except BaseException:
                self._remove()
                raise

    def digests(self) -> tuple[Md5, Sha256]:
        """Give the digests of all that was appended."""
        return Md5.of(self._md5.digest()), Sha256.of(self._sha256.digest())

    def publish(self, attributes: ObjectAttributes, now: datetime, *, overwrite: bool) -> ObjectInfo:
        """Make it the object at its key, durably. Raises `StorageError` or `ObjectExists`; then the file is gone."""
        with self._lock:
            md5, sha256 = self.digests()
            info = ObjectInfo(
                key=self._key,
                length=self._length,
                md5=md5,
                sha256=sha256,
                media_type=attributes.media_type,
                access=attributes.access,
                modified=now,
                headers=dict(attributes.headers),
            )
            try:
                with translated("store an object"):
                    descriptor = self._open()
                    _write_all(descriptor, encode_trailer(info))
                    sync(descriptor)
                    self._move_into_place(overwrite=overwrite)
            finally:
                self._remove()
            return info

    def remove(self) -> None:
        """Forget the upload, unless it was published. Never raises."""
        with self._lock:
            self._remove()

    def _open(self) -> int:
        if self._descriptor is None:
            raise StorageFailed("can't go on with an upload that has ended")
        return self._descriptor

    def _move_into_place(self, *, overwrite: bool) -> None:
        name = file_name(self._key)
        with self._tree.incoming() as incoming, self._tree.place_of(self._key) as folder:
            if overwrite:
                _replace(self._name, incoming, name, folder)
            else:
                _add(self._name, incoming, name, folder)

    def _remove(self) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            with self._tree.incoming() as incoming, suppress(FileNotFoundError):  # a rename has taken the name away
                os.unlink(self._name, dir_fd=incoming)
        except OSError as error:
            _log.warning("An unfinished upload stays until the next start: %s", error)
        with suppress(OSError):  # what matters was synced before
            os.close(descriptor)


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.write(descriptor, view[written:])


def _add(source: str, incoming: int, name: str, folder: int) -> None:
    try:
        os.link(source, name, src_dir_fd=incoming, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise ObjectExists("there is an object at this key already") from None
    try:
        sync(folder)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise


def _replace(source: str, incoming: int, name: str, folder: int) -> None:
    with _second_name(name, folder, incoming) as old:
        os.replace(source, name, src_dir_fd=incoming, dst_dir_fd=folder)
        try:
            sync(folder)
        except OSError:
            if old is None:
                os.unlink(name, dir_fd=folder)
            else:
                os.replace(old, name, src_dir_fd=incoming, dst_dir_fd=folder)
            raise


@contextmanager
def _second_name(name: str, folder: int, incoming: int) -> Iterator[str | None]:
    """Keep the object that is about to be replaced under another name, safe from sweeps; None if there isn't one."""
    descriptor = open_file(name, folder)
    if descriptor is None:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        other_name = secrets.token_hex(16)
        os.link(name, other_name, src_dir_fd=folder, dst_dir_fd=incoming, follow_symlinks=False)
        try:
            yield other_name
        finally:
            with suppress(OSError):  # it has been put back; or it stays for the next sweep
                os.unlink(other_name, dir_fd=incoming)
    finally:
        os.close(descriptor)


class ObjectFile:
    """An object's file, open for reading. Any thread may call; reading waits for reading."""

    def __init__(self, descriptor: int, info: ObjectInfo) -> None:
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()
        self.info = info

    @classmethod
    def open(cls, tree: Tree, key: ObjectKey) -> Self | None:
        """Open the object at `key`, if there is one. Raises `StorageFailed`, also when the file is damaged."""
        with _reading(key):
            descriptor = tree.open_object(key)
            if descriptor is None:
                return None
            try:
                return cls(descriptor, _read_info_of(key, descriptor))
            except BaseException:
                os.close(descriptor)
                raise

    def read(self, offset: int, size: int) -> bytes:
        """Give the `size` bytes from `offset` on. Raises `StorageFailed`."""
        with self._lock, _reading(self.info.key):
            if self._descriptor is None:
                raise StorageFailed("can't read an object that was closed")
            return read_exactly(self._descriptor, offset, size)

    def close(self) -> None:
        """Close the file, once no thread reads. Never raises."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                with suppress(OSError):
                    os.close(descriptor)


@contextmanager
def _reading(key: ObjectKey) -> Iterator[None]:
    with translated("read an object"):
        try:
            yield
        except DamagedFile as damage:
            raise _damaged(key, damage) from damage


def _damaged(key: ObjectKey, damage: DamagedFile) -> StorageFailed:
    _log.error("The file %s of the object %r is damaged: %s", file_name(key), str(key), damage)
    return StorageFailed("can't read an object: its file is damaged")


def _read_info_of(key: ObjectKey, descriptor: int) -> ObjectInfo:
    info = read_info(descriptor)
    _compare(info.key, key)
    return info


def _compare(stored: str, key: ObjectKey) -> None:
    if stored != key:
        raise DamagedFile(f"it holds the object {stored!r}")


def look_for(
    tree: Tree, uploads: Sequence[Upload], found: dict[ObjectKey, FoundObject | None]
) -> Generator[None, None, None]:
    """Look for objects in small steps, and note in `found` what is at each key of `uploads`.

    In a step the disk is asked for one directory or one file. Raises `StorageFailed`, also when a file is damaged;
    what was noted before is true.
    """
    folders: dict[str, list[ObjectKey]] = {}
    for start in range(0, len(uploads), _SORTED_AT_ONCE):
        if start:
            yield
        for upload in uploads[start : start + _SORTED_AT_ONCE]:
            folders.setdefault(folder_of(upload.key), []).append(upload.key)
    yield
    try:
        with tree.walk() as walk:
            for folder in sorted(folders, key=_in_tree_order):
                yield
                more = walk.turn(folder)
                while more:
                    yield
                    more = walk.step()
                if walk.directory is None:
                    found.update(dict.fromkeys(folders[folder]))
                else:
                    yield from _look_in(walk.directory, folders[folder], found)
    except OSError as error:
        raise failure("look for objects", error) from error


def _in_tree_order(folder: str) -> str:
    """Let each folder be followed by all that is under it: "/" comes first, and NUL is in no key."""
    return folder.replace("/", "\0")


def _look_in(
    directory: int, keys: Sequence[ObjectKey], found: dict[ObjectKey, FoundObject | None]
) -> Generator[None, None, None]:
    """Look for objects of one folder.

    Asking whether there is a file costs a third of failing to open it. But the answer, where it is no, may as well
    mean that the disk, or a sandbox, refuses to tell. So it is believed only of a directory that it doesn't deny
    itself, and noted only when opening one more file has shown that there was no such trouble.
    """
    can_tell = len(keys) > 1 and os.access(".", os.X_OK, dir_fd=directory, follow_symlinks=False)
    expected = False
    for start in range(0, len(keys), _BELIEVED_AT_ONCE):
        some = keys[start : start + _BELIEVED_AT_ONCE]
        missing = []
        for key in some:
            yield
            name = file_name(key)
            if (
                can_tell
                and not expected
                and key is not some[-1]
                and not os.access(name, os.F_OK, dir_fd=directory, follow_symlinks=False)
            ):
                missing.append(key)
            else:
                found[key] = _find(name, directory, key)
                expected = found[key] is not None
        found.update(dict.fromkeys(missing))


def _find(name: str, directory: int, key: ObjectKey) -> FoundObject | None:
    descriptor = open_file(name, directory)
    if descriptor is None:
        return None
    try:
        stored, found = read_found(descriptor)
        _compare(stored, key)
    except DamagedFile as damage:
        raise _damaged(key, damage) from damage
    finally:
        os.close(descriptor)
    return found
