"""Uploads in parts on the disk: how they begin and end, and how parts arrive. `disk_completion` makes objects of them.

The directory of a pending upload
    uploads/<upload id>/
        upload                                what was said when it was begun (see `disk_format`)
        <number>-<generation>-<md5>-<length>  a part's bytes; of a number, the highest generation counts

The directory is made in incoming/, and one rename begins the upload; another one, back to there, ends it. A part is
written in incoming/ as an object is, synced, and renamed to its place under a generation of its own: so it takes the
place of an earlier one in one step, and a listing tells all that has arrived. What is acknowledged was synced before.

Two locks (flock) end with the process that holds them. That on the directory is held for a moment, to let a part in or
to end the upload: so nothing comes into an upload that has ended. That on the description is held by whoever makes the
object, so that others wait and then find it done.

All of this blocks.
"""

import fcntl
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from attrs import frozen

from adapters.stores.disk_format import DamagedFile, encode_begun, read_begun
from adapters.stores.disk_incoming import IncomingFile, write_all
from adapters.stores.disk_tree import (
    CREATE_FILE,
    Tree,
    enter_directory,
    is_at,
    make_locked_directory,
    names_in,
    open_file,
    opened,
    remove_directory,
    sync,
    translated,
)
from adapters.stores.served_uploads import BegunUpload, arrived_part, is_our_id
from application.ports import PartsChanged, PendingUpload, StorageError
from domain.files import Md5
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId

_log = logging.getLogger(__name__)

_DESCRIPTION = "upload"
_PART = re.compile(r"([1-9][0-9]{0,4})-([1-9][0-9]*)-([0-9a-f]{32})-(0|[1-9][0-9]*)")


@frozen
class PartFile:
    """The file of a part."""

    name: str
    generation: int
    part: ArrivedPart


class UploadPlace:
    """The directory of a pending upload, open, whatever is in it. It may end at any time, except while `held`."""

    def __init__(self, tree: Tree, upload_id: UploadId, directory: int) -> None:
        self._tree = tree
        self._directory = directory
        self.upload_id = upload_id

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from ending the upload and from letting parts in. Raises `PartsChanged` if it has ended."""
        fcntl.flock(self._directory, fcntl.LOCK_EX)
        try:
            with self._tree.uploads() as uploads:
                if not is_at(self.upload_id, uploads, self._directory):
                    raise PartsChanged("the upload has ended")
            yield
        finally:
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def end(self) -> None:
        """Take the upload from its place, durably, and remove it. Raises `PartsChanged` if it has ended, or OSError.

        What has left its place is removed even if the disk doesn't take that for good: nobody finds it there again.
        """
        with self._tree.uploads() as uploads, self._tree.incoming() as incoming:
            with self.held():
                os.rename(self.upload_id, self.upload_id, src_dir_fd=uploads, dst_dir_fd=incoming)
            try:
                sync(uploads)
            finally:
                remove_directory(self.upload_id, incoming, self._directory)


class UploadFolder(UploadPlace):
    """The directory of a pending upload, open, with its description. Raises `DamagedFile` or OSError."""

    def __init__(self, tree: Tree, upload_id: UploadId, directory: int, description: int) -> None:
        super().__init__(tree, upload_id, directory)
        self.description = description
        self.begun = read_begun(description)

    def parts(self) -> Mapping[int, PartFile]:
        """List the parts that have arrived, by number."""
        latest: dict[int, PartFile] = {}
        for file in _part_files(names_in(self._directory)):
            other = latest.get(file.part.number)
            if other is None or other.generation < file.generation:
                latest[file.part.number] = file
        return latest

    def let_in(self, part: ArrivedPart, source: str, incoming: int) -> None:
        """Give a file in incoming/, which is synced, its place. Raises `PartsChanged` or OSError."""
        with self.held():
            same_number = f"{part.number}-"
            earlier = list(_part_files([name for name in names_in(self._directory) if name.startswith(same_number)]))
            generation = 1 + max((file.generation for file in earlier), default=0)
            name = f"{part.number}-{generation}-{part.tag}-{part.length}"
            os.rename(source, name, src_dir_fd=incoming, dst_dir_fd=self._directory)
        try:
            sync(self._directory)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._directory)
            raise
        for file in earlier:
            with suppress(OSError):  # gone meanwhile; or it stays, and doesn't count
                os.unlink(file.name, dir_fd=self._directory)

    def open_part(self, file: PartFile) -> int | None:
        """Open a part for reading; None if it was replaced, or the upload has ended. Raises OSError."""
        return open_file(file.name, self._directory)


def _part_files(names: Iterable[str]) -> Iterator[PartFile]:
    for name in names:
        found = _PART.fullmatch(name)
        if found is not None:
            number, generation, md5, length = found.groups()
            part = arrived_part(int(number), int(length), Md5.of(bytes.fromhex(md5)))
            yield PartFile(name, int(generation), part)


@contextmanager
def opened_upload(tree: Tree, upload_id: UploadId, key: ObjectKey | None = None) -> Iterator[UploadFolder | None]:
    """Open a pending upload, of any key if none is given; None if there is none, or nothing can be made of it."""
    with ExitStack() as stack:
        folder = _find(tree, upload_id, stack) if is_our_id(upload_id) else None
        yield folder if folder is not None and key in (None, folder.begun.key) else None


def _find(tree: Tree, upload_id: UploadId, stack: ExitStack) -> UploadFolder | None:
    directory = _enter(tree, upload_id, stack)
    return None if directory is None else _read(tree, upload_id, directory, stack)


def _enter(tree: Tree, upload_id: UploadId, stack: ExitStack) -> int | None:
    with tree.uploads() as uploads:
        try:
            return stack.enter_context(opened(enter_directory(upload_id, uploads)))
        except (FileNotFoundError, NotADirectoryError):
            return None


def _read(tree: Tree, upload_id: UploadId, directory: int, stack: ExitStack) -> UploadFolder | None:
    description = open_file(_DESCRIPTION, directory)
    try:
        if description is not None:
            return UploadFolder(tree, upload_id, directory, stack.enter_context(opened(description)))
        problem = "it isn't there"
    except DamagedFile as damage:
        problem = str(damage)
    with tree.uploads() as uploads:
        if is_at(upload_id, uploads, directory):
            _log.error("The description of the upload %s is damaged: %s", upload_id, problem)
    return None


def begin(tree: Tree, uploads: Mapping[UploadId, BegunUpload]) -> Sequence[UploadId]:
    """Begin them all, durably, or none. Raises `StorageError`."""
    begun: list[UploadId] = []
    try:
        with translated("begin an upload"), tree.uploads() as pending:
            for upload_id, upload in uploads.items():
                begun.append(upload_id)
                _make_folder(tree, upload_id, upload, pending)
            sync(pending)
    except BaseException:
        drop_all(tree, begun)
        raise
    return begun


def _make_folder(tree: Tree, upload_id: UploadId, upload: BegunUpload, pending: int) -> None:
    with tree.incoming() as incoming, opened(make_locked_directory(upload_id, incoming)) as folder:
        try:
            with opened(os.open(_DESCRIPTION, CREATE_FILE, 0o600, dir_fd=folder)) as description:
                write_all(description, encode_begun(upload))
                sync(description)
            sync(folder)
            os.rename(upload_id, upload_id, src_dir_fd=incoming, dst_dir_fd=pending)
        except BaseException:
            with suppress(OSError):  # it stays for the next sweep
                remove_directory(upload_id, incoming, folder)
            raise


def drop_all(tree: Tree, upload_ids: Iterable[UploadId]) -> None:
    """Drop uploads as far as possible. Never raises."""
    for upload_id in upload_ids:
        with suppress(StorageError):
            drop(tree, upload_id)


def drop(tree: Tree, upload_id: UploadId, key: ObjectKey | None = None) -> None:
    """Drop an upload, if there is one at this key, and its parts. Raises `StorageError`.

    Where nobody can tell its key any more, whoever knows its id may drop it: nothing else can be done with it.
    """
    if not is_our_id(upload_id):
        return
    with translated("abort an upload"), ExitStack() as stack, suppress(PartsChanged):
        directory = _enter(tree, upload_id, stack)
        if directory is None:
            return
        folder = _read(tree, upload_id, directory, stack)
        if folder is None or key in (None, folder.begun.key):
            UploadPlace(tree, upload_id, directory).end()


def take_part(tree: Tree, key: ObjectKey, upload_id: UploadId) -> IncomingFile | None:
    """Begin to take a part; None if there is no such upload at this key. Raises `StorageError`."""
    with translated("begin a part"), opened_upload(tree, upload_id, key) as folder:
        return None if folder is None else IncomingFile.create(tree)


def keep_part(tree: Tree, upload_id: UploadId, number: int, file: IncomingFile) -> ArrivedPart:
    """Make what arrived the part of this number, durably. Raises `StorageError` or `PartsChanged`."""
    md5, _ = file.digests()
    part = arrived_part(number, file.length, md5)

    def place(source: str, incoming: int) -> None:
        with opened_upload(tree, upload_id) as folder:
            if folder is None:
                raise PartsChanged("the upload has ended")
            folder.let_in(part, source, incoming)

    file.keep("store a part", b"", place)
    return part


def list_pending(tree: Tree) -> Sequence[UploadId]:
    """List what is pending, whether or not anything can be made of it. Raises `StorageError`."""
    with translated("list uploads"), tree.uploads() as uploads:
        return [UploadId(name) for name in names_in(uploads) if is_our_id(name)]


def read_pending(tree: Tree, upload_ids: Iterable[UploadId]) -> Sequence[PendingUpload]:
    """Describe those that are still pending. Raises `StorageError`."""
    described = []
    with translated("list uploads"):
        for upload_id in upload_ids:
            with opened_upload(tree, upload_id) as folder:
                if folder is not None:
                    described.append(PendingUpload(folder.begun.key, upload_id, folder.begun.begun))
    return described
