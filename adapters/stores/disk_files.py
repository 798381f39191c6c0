"""The objects' files of the disk store: how they are read and looked for.

All of this blocks. How they came there is told in `disk_incoming`, what lies where in `disk_tree`, and what is in an
object's file in `disk_format`.
"""

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from adapters.stores.disk_format import DamagedFile, read_exactly, read_found, read_info
from adapters.stores.disk_tree import Tree, failure, open_file, translated
from adapters.stores.disk_walk import file_name, folder_of
from application.ports import ObjectInfo, StorageFailed
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Upload

_log = logging.getLogger(__name__)

_SORTED_AT_ONCE = 1_000
"""How many keys are sorted into folders in one step."""
_BELIEVED_AT_ONCE = 64
"""Of how many missing files it is believed that they are, once opening one of them has shown that the disk tells."""


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
    folders = defaultdict[str, list[ObjectKey]](list)
    for start in range(0, len(uploads), _SORTED_AT_ONCE):
        if start:
            yield
        for upload in uploads[start : start + _SORTED_AT_ONCE]:
            folders[folder_of(upload.key)].append(upload.key)
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
