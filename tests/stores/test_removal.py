"""Removing objects, on every store that runs here: exactly one, and nothing is left of it."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
from attrs import define, field

from adapters.stores.contract import CONTENT, make_folder, make_upload, send, sign
from adapters.stores.contract_inspection import PATIENCE
from adapters.stores.disk import DiskObjects
from adapters.stores.memory import MemoryObjects
from application.ports import Store
from domain.errors import Unavailable
from domain.keys import ObjectKey
from domain.uploads import Upload, UploadMethod
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.adapters.stores.test_served_objects import KEY, get, put, run
from tests.entrypoints.every_store import CHECKING, FAKE_GCS, OF_THE_SERVICE, Variables, s3_variables
from tests.entrypoints.http.live_service import S3
from tests.stores.servers import RunningStore

NETWORKED = [choice for choice in (*CHECKING, FAKE_GCS) if choice.start]
PATHS = ("a.csv", "a.csv.bak", "a b+é%20/ü🚀.csv")
NOW = datetime.now(UTC)


@define
class Removing:
    """A wired store, and what runs its coroutines."""

    store: Store
    _runner: asyncio.Runner = field(repr=False)

    def stored(self) -> list[Upload]:
        """Store objects by PUT, as a client would, in a folder of their own."""
        folder = make_folder()
        uploads = [make_upload(path, folder=folder) for path in PATHS]
        for upload in uploads:
            self.put(upload)
        return uploads

    def put(self, upload: Upload) -> None:
        with urllib3.PoolManager(retries=False, timeout=30) as http:
            assert send(http, sign(self.store.signer, upload, UploadMethod.PUT).request, CONTENT) in (200, 201)

    def remove(self, key: ObjectKey) -> None:
        assert self.store.remover is not None
        self._runner.run(self.store.remover.remove(key, datetime.now(UTC)))

    def there(self, uploads: Sequence[Upload]) -> list[str]:
        """The paths of those that the store has."""
        inspection = self._runner.run(self.store.inspector.inspect(uploads, datetime.now(UTC), PATIENCE))
        assert inspection.failure is None
        return [upload.file.path for upload in uploads if inspection.found[upload.key] is not None]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=[pytest.param(choice, id=choice.name, marks=choice.marks) for choice in NETWORKED])
def removing(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[Removing]:
    variables = request.param.variables(request.getfixturevalue(request.param.fixture))
    with wired({**OF_THE_SERVICE, **variables}, runner) as removing:
        yield removing


@contextmanager
def wired(variables: Variables, runner: asyncio.Runner) -> Iterator[Removing]:
    store = wire(Settings.from_environment(variables)).store
    try:
        for startable in store.startables:
            runner.run(startable.start())
        yield Removing(store, runner)
    finally:
        for startable in reversed(store.startables):
            runner.run(startable.stop())


def test_exactly_one_is_removed(removing: Removing) -> None:
    uploads = removing.stored()
    assert removing.there(uploads) == list(PATHS)
    left = list(PATHS)
    for upload in uploads:
        removing.remove(upload.key)
        left.remove(upload.file.path)
        assert removing.there(uploads) == left


def test_what_is_not_there_may_be_removed(removing: Removing) -> None:
    removing.remove(make_upload().key)


@pytest.fixture(params=["seaweedfs", "ministack"])
def s3(request: pytest.FixtureRequest) -> RunningStore:
    running: RunningStore = request.getfixturevalue(request.param)
    return running


def test_no_version_is_left_in_a_bucket_that_keeps_them(s3: RunningStore, runner: asyncio.Runner) -> None:
    client, bucket = s3.client(), "with-versions"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with wired({**OF_THE_SERVICE, **s3_variables(s3), "STORAGE_BUCKET_NAME": bucket}, runner) as removing:
        uploads = removing.stored()
        removing.put(uploads[0])
        assert _versions(client, bucket) == sorted(upload.key for upload in (uploads[0], *uploads))
        removing.remove(uploads[0].key)
        assert _versions(client, bucket) == sorted(upload.key for upload in uploads[1:])
        for upload in uploads[1:]:
            removing.remove(upload.key)
        assert _versions(client, bucket) == []


def _versions(client: Any, bucket: str) -> list[str]:
    listing = client.list_object_versions(Bucket=bucket)
    return sorted(entry["Key"] for kind in ("Versions", "DeleteMarkers") for entry in listing.get(kind, []))


def test_a_refusal_is_told_without_the_signed_url(s3: RunningStore, runner: asyncio.Runner) -> None:
    with wired({**OF_THE_SERVICE, **s3_variables(s3), "STORAGE_SECRET_ACCESS_KEY": "wrong"}, runner) as removing:
        with pytest.raises(Unavailable) as refused:
            removing.remove(make_upload().key)
        assert refused.value.message == "the object store didn't remove it: it answered 403 SignatureDoesNotMatch"


def test_nobody_there_is_told(runner: asyncio.Runner) -> None:
    with wired({**S3, "STORAGE_HOSTNAME": "http://127.0.0.1:1"}, runner) as removing:
        with pytest.raises(Unavailable) as refused:
            removing.remove(make_upload().key)
        assert re.fullmatch(r"the object store didn't remove it: \w+", refused.value.message)


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_served_objects_are_removed_and_readers_keep_theirs(kind: str, tmp_path: Path) -> None:
    objects = DiskObjects(tmp_path) if kind == "disk" else MemoryObjects()
    neighbour = ObjectKey(f"{KEY}.bak")

    async def there_and_gone() -> None:
        await put(objects, CONTENT)
        await put(objects, CONTENT, neighbour)
        reader = await objects.open(KEY)
        assert reader is not None
        await objects.remove(KEY, NOW)
        await objects.remove(KEY, NOW)
        await objects.remove(ObjectKey("no/such/folder.csv"), NOW)
        assert await objects.open(KEY) is None
        assert b"".join([piece async for piece in reader.read(0, len(CONTENT))]) == CONTENT
        await reader.close()
        assert await get(objects, neighbour) == CONTENT

    run(there_and_gone())
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == (1 if kind == "disk" else 0)


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    objects = DiskObjects(tmp_path / "file" / "root")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable, match="the disk store can't remove an object: Not a directory"):
        run(objects.remove(KEY, NOW))
