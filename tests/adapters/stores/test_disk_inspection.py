"""What the disk store tells of its objects when the disk is damaged, gone, or hangs."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.stores.contract import CONTENT, make_folder, make_upload
from adapters.stores.disk import DiskObjects
from adapters.stores.disk_tree import Lookup
from application.ports import Inspection
from domain.errors import ErrorCode
from domain.keys import ObjectKey
from domain.uploads import Upload
from tests.adapters.stores.test_served_objects import NOW, put

PATIENCE = timedelta(seconds=30)


def look(store: DiskObjects, uploads: Sequence[Upload], patience: timedelta = PATIENCE) -> Inspection:
    return asyncio.run(store.inspect(uploads, NOW, patience))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def uploads(root: Path) -> Sequence[Upload]:
    """Three objects that are stored, in the order in which the store looks for them: that of their files' names."""
    folder = make_folder()
    uploads = sorted((make_upload(f"{number}.csv", folder=folder) for number in range(3)), key=_file_name)
    for upload in uploads:
        asyncio.run(put(DiskObjects(root), CONTENT, upload.key))
    return uploads


def _file_name(upload: Upload) -> str:
    return hashlib.sha256(upload.key.encode()).hexdigest()


def assert_failed_after(inspection: Inspection, told: Sequence[Upload]) -> None:
    assert inspection.failure is not None
    assert inspection.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert inspection.found.keys() == {upload.key for upload in told}


def test_a_damaged_file_is_a_failure_and_nobody_s_absence(root: Path, uploads: Sequence[Upload]) -> None:
    name = _file_name(uploads[1])
    (root / "objects" / name[:2] / name).write_bytes(CONTENT)
    assert_failed_after(look(DiskObjects(root), uploads), uploads[:1])


def test_a_disk_that_is_gone_is_a_failure_and_nobody_s_absence(root: Path, uploads: Sequence[Upload]) -> None:
    store = DiskObjects(root)
    assert look(store, uploads).failure is None
    root.rename(root.with_name("elsewhere"))
    assert_failed_after(look(store, uploads), [])


@pytest.fixture
def hanging_at(monkeypatch: pytest.MonkeyPatch, uploads: Sequence[Upload]) -> Iterator[ObjectKey]:
    """A disk that hangs, as a network file system does, when one object is opened."""
    released, open_object = threading.Event(), Lookup.open_object

    def hang(lookup: Lookup, key: ObjectKey) -> int | None:
        if key == uploads[2].key:
            released.wait(20)
        return open_object(lookup, key)

    monkeypatch.setattr(Lookup, "open_object", hang)
    yield uploads[2].key
    released.set()


@pytest.mark.usefixtures("hanging_at")
def test_a_disk_that_hangs_is_not_waited_for(root: Path, uploads: Sequence[Upload]) -> None:
    began = time.monotonic()
    inspection = look(DiskObjects(root), uploads, timedelta(seconds=0.5))
    assert time.monotonic() - began < 10.5
    assert_failed_after(inspection, uploads[:2])
