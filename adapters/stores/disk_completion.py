"""How the disk store makes an object of the parts of an upload, and tells whether it has (see `disk_parts`).

The parts are put together in one file in incoming/, which the file system may let share their blocks; that file is
hashed, and published as any other upload is. Then the upload ends. Whoever finds the object there already, made by this
upload, has nothing to do but that, and to sync the object's name before: its maker may have died just then.

All of this blocks, and to make an object may take minutes.
"""

import fcntl
import logging
import os
import stat
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import datetime
from threading import Event

from attrs import frozen

from adapters.stores.disk_format import DamagedFile, read_info
from adapters.stores.disk_incoming import IncomingFile
from adapters.stores.disk_parts import PartFile, UploadFolder, opened_upload
from adapters.stores.disk_tree import Tree, opened, sync, translated
from adapters.stores.served_uploads import became, check_digests, require_parts
from application.ports import ObjectExists, ObjectInfo, PartsChanged, Progress, StorageFailed
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import MultipartUpload

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 4 << 20
"""How much of a part is copied and hashed at once."""
_RETRY_SECONDS = 0.05
"""How soon whoever waits for an object that another makes notices that it is done, or that the store stops."""


def look_at(tree: Tree, key: ObjectKey, upload_id: UploadId) -> Progress | None:
    """Tell how far an upload has come; None if there is none at this key. Raises `StorageError`."""
    with translated("look at an upload"), opened_upload(tree, upload_id, key) as folder:
        arrived = None if folder is None else {number: file.part for number, file in folder.parts().items()}
        # In this order: an upload stays in its place until its object is there, and durable.
        if _has_become(tree, key, upload_id) and (folder is None or _is_finished(tree, key, folder)):
            return Progress({}, is_complete=True)
        return None if arrived is None else Progress(arrived)


@frozen
class Workshop:
    """Where objects are made of parts. A thread of `helpers` makes one of the digests; `stopping` ends all work."""

    tree: Tree
    helpers: Executor
    stopping: Event

    def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool
    ) -> None:
        """Make the object, durably, unless that is done. Raises what the port says, and `StorageError`."""
        key, upload_id = upload.upload.key, upload.upload_id
        with translated("complete an upload"), opened_upload(self.tree, upload_id, key) as folder:
            if folder is not None:
                self._wait_for(folder)
            info = _object_at(self.tree, key)
            if info is not None and became(upload_id, info):
                if folder is not None:
                    _finish(self.tree, key, folder)
                return
            if folder is None:
                raise PartsChanged("the upload has ended")
            if info is not None and not overwrite:
                raise ObjectExists("there is an object at this key already")
            self._make(folder, upload, parts, now, overwrite=overwrite)
            _clear_away(folder)

    def _wait_for(self, folder: UploadFolder) -> None:
        """Wait until nobody else makes the object; the lock ends when the folder is closed."""
        while True:
            self._go_on()
            try:
                fcntl.flock(folder.description, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.stopping.wait(_RETRY_SECONDS)
            else:
                return

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise StorageFailed("can't complete an upload: it is being stopped")

    def _make(
        self,
        folder: UploadFolder,
        upload: MultipartUpload,
        parts: Sequence[ArrivedPart],
        now: datetime,
        *,
        overwrite: bool,
    ) -> None:
        files = folder.parts()
        require_parts(parts, {number: file.part for number, file in files.items()})
        whole = IncomingFile.create(self.tree)
        try:
            for part in parts:
                self._append(folder, files[part.number], whole)
            check_digests(upload.upload.file, *whole.digests())
            whole.sync()  # which can take long, and nobody may have to wait for it
            attributes = folder.begun.attributes(upload.upload_id)
            with folder.held():
                whole.publish(upload.upload.key, attributes, now, overwrite=overwrite)
        finally:
            whole.remove()

    def _append(self, folder: UploadFolder, file: PartFile, whole: IncomingFile) -> None:
        source, length = folder.open_part(file), file.part.length
        if source is None:
            raise PartsChanged("a part was replaced, or the upload has ended")
        with opened(source):
            status = os.fstat(source)
            if not stat.S_ISREG(status.st_mode) or status.st_size != length:
                raise _damaged(folder, file)
            for start in range(0, length, _BLOCK_BYTES):
                self._go_on()
                try:
                    whole.append_from(source, start, min(_BLOCK_BYTES, length - start), self.helpers)
                except DamagedFile as damage:
                    raise _damaged(folder, file) from damage


def _damaged(folder: UploadFolder, file: PartFile) -> StorageFailed:
    _log.error("The part %s of the upload %s is damaged", file.name, folder.upload_id)
    return StorageFailed("can't complete an upload: one of its parts is damaged")


def _is_finished(tree: Tree, key: ObjectKey, folder: UploadFolder) -> bool:
    """Finish an upload whose object is there; say no if somebody makes it just now, who may yet take it back."""
    try:
        fcntl.flock(folder.description, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not _has_become(tree, key, folder.upload_id):
        return False
    _finish(tree, key, folder)
    return True


def _finish(tree: Tree, key: ObjectKey, folder: UploadFolder) -> None:
    """End an upload whose maker died: perhaps after the object got its name, and before that would survive."""
    with tree.place_of(key) as place:
        sync(place)
    _clear_away(folder)


def _clear_away(folder: UploadFolder) -> None:
    """End an upload whose object is there. If this fails, whoever completes or aborts it again does it."""
    try:
        with suppress(PartsChanged):
            folder.end()
    except OSError as error:
        _log.warning("The parts of an upload that was completed stay for now: %s", error)


def _has_become(tree: Tree, key: ObjectKey, upload_id: UploadId) -> bool:
    info = _object_at(tree, key)
    return info is not None and became(upload_id, info)


def _object_at(tree: Tree, key: ObjectKey) -> ObjectInfo | None:
    """Read what is known of the object; None if there isn't one, or its file is damaged, which reading it tells."""
    descriptor = tree.open_object(key)
    if descriptor is None:
        return None
    with opened(descriptor):
        try:
            info = read_info(descriptor)
        except DamagedFile:
            return None
        return info if info.key == key else None
