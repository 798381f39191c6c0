"""When the storage itself fails: full, broken or at fault, before, during and after the bytes."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import urllib3

from adapters.stores.memory import MemoryObjects
from application.ports import (
    IncomingObject,
    ObjectAttributes,
    ObjectInfo,
    StorageFailed,
    StorageFull,
    StoredObject,
)
from domain.files import Md5, Sha256
from domain.keys import ObjectKey
from tests.entrypoints.http.live_store import BUCKET, LiveStore, live_store, signed_fields

CONTENT = b"x" * 700_000  # more than one piece, so that a download can break in the middle


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LiveStore]:
    with live_store("memory", tmp_path) as store:
        yield store


class FailingUpload(IncomingObject):
    """An upload that fails at one step, and tells whether it was given up in order."""

    def __init__(self, step: str, error: Exception) -> None:
        self._step = step
        self._error = error
        self.discarded = False

    def _reach(self, step: str) -> None:
        if step == self._step:
            raise self._error

    @property
    def received(self) -> int:
        return 0

    async def write(self, chunk: bytes) -> None:
        assert chunk
        self._reach("write")

    async def digests(self) -> tuple[Md5, Sha256]:
        raise NotImplementedError

    async def commit(self, attributes: ObjectAttributes, now: object, *, overwrite: bool = True) -> ObjectInfo:
        self._reach("commit")
        raise NotImplementedError(attributes, now, overwrite)

    async def discard(self) -> None:
        self.discarded = True


SECRET = "/var/lib/secret/place"
FAULTS = [
    (StorageFull(SECRET), 507, "InsufficientStorage"),
    (StorageFailed(SECRET), 503, "ServiceUnavailable"),
    (ZeroDivisionError(SECRET), 500, "InternalError"),
]


@pytest.mark.parametrize(("error", "status", "code"), FAULTS, ids=str)
@pytest.mark.parametrize("step", ["receive", "write", "commit"])
def test_an_upload_says_what_kind_of_fault_and_no_more(
    store: LiveStore, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception, status: int, code: str
) -> None:
    upload = FailingUpload(step, error)

    async def receive(key: ObjectKey) -> IncomingObject:
        assert key == "k"
        upload._reach("receive")
        return upload

    monkeypatch.setattr(store.objects, "receive", receive)
    fields = signed_fields([{"bucket": BUCKET}, {"key": "k"}], {"key": "k"})
    answer = store.post(fields, CONTENT)
    assert (answer.status, answer.code) == (status, code)
    assert SECRET.encode() not in answer.body
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert upload.discarded == (step != "receive")


@pytest.mark.parametrize(("error", "status", "code"), FAULTS[1:], ids=str)
def test_a_download_that_can_not_begin_says_so(
    store: LiveStore, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    async def open_object(_key: ObjectKey) -> StoredObject | None:
        raise error

    monkeypatch.setattr(store.objects, "open", open_object)
    answer = store.send("GET", store.presign("get_object", "k"))
    assert (answer.status, answer.code) == (status, code)


class Breaking(StoredObject):
    """An object whose second piece can't be read."""

    def __init__(self, stored: StoredObject) -> None:
        self._stored = stored

    @property
    def info(self) -> ObjectInfo:
        return self._stored.info

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        async for piece in self._stored.read(start, end):
            yield piece
            raise StorageFailed("can't read")

    async def close(self) -> None:
        await self._stored.close()


def test_a_download_that_breaks_is_never_taken_for_whole(
    store: LiveStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("k", CONTENT)
    assert isinstance(store.objects, MemoryObjects)
    whole = store.objects.open

    async def open_object(key: ObjectKey) -> StoredObject | None:
        stored = await whole(key)
        return None if stored is None else Breaking(stored)

    monkeypatch.setattr(store.objects, "open", open_object)
    with caplog.at_level(logging.WARNING), pytest.raises(urllib3.exceptions.ProtocolError):
        store.send("GET", store.presign("get_object", "k"))
    assert "A download was broken off: the store can't read" in caplog.text
    assert "Signature" not in caplog.text
