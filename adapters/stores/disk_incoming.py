"""How bytes arrive on the disk, and become an object.

The file in incoming/ is written and synced. One rename (or one link, where nothing may be replaced) gives it its place,
and the directory of that place is synced; if this fails, the step is taken back. Only then is it acknowledged. The
directory incoming/ isn't synced: at worst a name comes back there after a loss of power, for the next sweep.

All of this blocks. What lies where is told in `disk_tree`, and what is in an object's file in `disk_format`.
"""

import errno
import fcntl
import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Self

from adapters.stores.disk_format import encode_trailer, read_exactly
from adapters.stores.disk_tree import Tree, create_locked, open_file, sync, translated
from adapters.stores.disk_walk import file_name
from application.ports import ObjectAttributes, ObjectExists, ObjectInfo, StorageFailed
from domain.files import Md5, Sha256
from domain.keys import ObjectKey

_log = logging.getLogger(__name__)

_CANT_SHARE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES})
"""What copy_file_range(2) says where a kernel, a file system or a sandbox doesn't do this for these files."""


class IncomingFile:
    """A file in which bytes arrive.

    Any thread may call: one at a time gets in, and after `keep`, `publish` or `remove` there is nothing left to touch.
    So a `remove` that is called while another thread still writes waits for it, and can't be undone by it.
    """

    def __init__(self, tree: Tree, name: str, descriptor: int) -> None:
        self._tree = tree
        self._name = name
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()
        self._length = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    @classmethod
    def create(cls, tree: Tree) -> Self:
        """Begin. Raises `StorageError`."""
        with translated("begin an upload"), tree.incoming() as incoming:
            name, descriptor = create_locked(incoming)
        return cls(tree, name, descriptor)

    @property
    def length(self) -> int:
        """How many bytes were appended."""
        return self._length

    def append(self, block: bytes | bytearray) -> None:
        """Write and hash. Raises `StorageError`; then the file is gone, and nothing more can be done with it."""
        with self._writing("write an upload") as descriptor:
            write_all(descriptor, block)
            self._md5.update(block)
            self._sha256.update(block)
            self._length += len(block)

    def append_from(self, source: int, offset: int, size: int, helper: Executor) -> None:
        """Append `size` bytes of another file from `offset` on, which the file system may let both files share.

        One of the digests is made by a thread of `helper` meanwhile. Raises `StorageError` as `append` does, and
        `DamagedFile` if there are fewer bytes.
        """
        with self._writing("complete an upload") as descriptor:
            _copy(source, offset, descriptor, size)
            block = read_exactly(descriptor, self._length, size)
            md5 = helper.submit(self._md5.update, block)
            self._sha256.update(block)
            md5.result()
            self._length += size

    def digests(self) -> tuple[Md5, Sha256]:
        """Give the digests of all that was appended."""
        return Md5.of(self._md5.digest()), Sha256.of(self._sha256.digest())

    def sync(self) -> None:
        """Return when what was appended would survive a loss of power. Raises `StorageError` as `append` does."""
        with self._writing("write an upload") as descriptor:
            sync(descriptor)

    def publish(self, key: ObjectKey, attributes: ObjectAttributes, now: datetime, *, overwrite: bool) -> ObjectInfo:
        """Make it the object at `key`, durably. Raises `StorageError` or `ObjectExists`; then the file is gone."""
        md5, sha256 = self.digests()
        info = ObjectInfo(
            key=key,
            length=self._length,
            md5=md5,
            sha256=sha256,
            media_type=attributes.media_type,
            access=attributes.access,
            modified=now,
            headers=dict(attributes.headers),
        )

        def place(source: str, incoming: int) -> None:
            with self._tree.place_of(key) as folder:
                if overwrite:
                    _replace(source, incoming, file_name(key), folder)
                else:
                    _add(source, incoming, file_name(key), folder)

        self.keep("store an object", encode_trailer(info), place)
        return info

    def keep(self, doing: str, end: bytes, place: Callable[[str, int], None]) -> None:
        """Append what isn't hashed any more, sync, and let `place` find a place for the file.

        It is given the file's name and directory, and syncs what it changes itself. Raises `StorageError`, and what
        `place` raises; then the file is gone.
        """
        with self._lock:
            try:
                with translated(doing):
                    descriptor = self._open()
                    write_all(descriptor, end)
                    sync(descriptor)
                    with self._tree.incoming() as incoming:
                        place(self._name, incoming)
            finally:
                self._remove()

    def remove(self) -> None:
        """Forget what arrived, unless it has found its place. Never raises."""
        with self._lock:
            self._remove()

    @contextmanager
    def _writing(self, doing: str) -> Iterator[int]:
        with self._lock:
            try:
                with translated(doing):
                    yield self._open()
            except BaseException:
                self._remove()
                raise

    def _open(self) -> int:
        if self._descriptor is None:
            raise StorageFailed("can't go on with an upload that has ended")
        return self._descriptor

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


def _copy(source: int, offset: int, target: int, size: int) -> None:
    """Copy to where `target` stands."""
    copied = _copy_inside(source, offset, target, size) if hasattr(os, "copy_file_range") else 0
    write_all(target, read_exactly(source, offset + copied, size - copied))


def _copy_inside(source: int, offset: int, target: int, size: int) -> int:
    """Let the kernel copy, or the file system share, as much as they do of themselves."""
    copied = 0
    try:
        while copied < size:
            count = os.copy_file_range(source, target, size - copied, offset + copied)
            if not count:
                break
            copied += count
    except OSError as error:
        if error.errno not in _CANT_SHARE:
            raise
    return copied


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write, however often it takes. Raises OSError."""
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
