"""A disk that is really full, or really read-only, under a service that runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from attrs import frozen

from tests.entrypoints.http.live_service import DATASET, MEMORY, OWNER, LiveService, batch, declaration
from tests.hard.small_disk import SmallDisk, can_mount, small_disk

LARGE = bytes(range(256)) * 10_000
HALF = LARGE[: len(LARGE) // 2]
SMALL = LARGE[:100_000]


@frozen
class Rig:
    """The service and a client, on a disk with room for one large object and a half."""

    disk: SmallDisk
    service: LiveService

    def put(self, path: str, content: bytes) -> int:
        file = self.service.sign(batch({path: declaration(content)}, None, {"accept": ["PUT"]}))[path]
        answer = self.service.http.request("PUT", file["upload_url"], body=content, headers=file["upload_headers"])
        assert answer.status != 507 or b"<Code>InsufficientStorage</Code>" in answer.data
        assert answer.status != 503 or "Retry-After" in answer.headers
        return answer.status

    def get(self, path: str) -> bytes | None:
        answer = self.service.http.request("GET", f"{self.disk.origin}/store/datasets/{OWNER}/{DATASET}/{path}")
        return answer.data if answer.status == 200 else None

    def ready(self) -> dict[str, Any]:
        answer = self.service.send("GET", "/readyz", expect_unavailable=True)
        told: dict[str, Any] = answer.json
        assert (answer.status == 200) == (told["status"] == "ready")
        return told

    def begin(self, path: str, content: bytes) -> dict[str, Any]:
        file: dict[str, Any] = self.service.sign(batch({path: declaration(content)}, None, {"accept": ["MULTIPART"]}))[
            path
        ]
        return file

    def send_part(self, file: dict[str, Any], content: bytes) -> int:
        (part,) = file["parts"]
        return self.service.http.request("PUT", part["url"], body=content, headers=part["headers"]).status

    def complete(self, path: str, content: bytes, upload_id: str) -> int:
        body = {"metadata": batch()["metadata"], "path": path, "file": declaration(content), "upload_id": upload_id}
        answer = self.service.send(
            "POST",
            "/rawstore/multipart/complete",
            token=self.service.token(),
            body=json.dumps(body).encode(),
            expect_unavailable=True,
        )
        return answer.status


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    if not can_mount(tmp_path):
        pytest.skip("this system doesn't let us mount a file system of our own")
    with small_disk(tmp_path, MEMORY, size="4m") as disk, urllib3.PoolManager(retries=False, timeout=20) as http:
        disk.start()
        yield Rig(disk, LiveService(disk.origin, http))


def test_a_disk_that_is_full(rig: Rig) -> None:
    assert rig.put("a", LARGE) == 200
    for _ in range(3):  # each leaves nothing that would take room
        assert rig.put("b", LARGE) == 507
        assert rig.put("a", LARGE[::-1]) == 507
        assert (rig.get("a"), rig.get("b")) == (LARGE, None)
    assert rig.put("b", SMALL) == 200
    assert rig.get("b") == SMALL

    begun = rig.begin("c", HALF)
    assert rig.send_part(rig.begin("d", LARGE), LARGE) == 507
    assert rig.send_part(begun, HALF) == 200
    assert rig.complete("c", HALF, begun["upload_id"]) == 503  # the parts are kept until the object is there
    assert rig.get("c") is None
    assert rig.put("a", SMALL) == 200
    assert rig.complete("c", HALF, begun["upload_id"]) == 200
    assert (rig.get("a"), rig.get("b"), rig.get("c")) == (SMALL, SMALL, HALF)


def test_a_disk_that_becomes_read_only(rig: Rig) -> None:
    assert rig.put("a", LARGE) == 200
    begun = rig.begin("b", SMALL)
    rig.disk.make_read_only()
    for started_again in (False, True):
        if started_again:
            rig.disk.stop()
            rig.disk.start()
        assert rig.ready()["problems"] == ["the disk store can't be written to: Read-only file system"]
        assert rig.service.send("GET", "/healthz").status == 200
        assert rig.put("a", SMALL) == 503
        assert rig.send_part(begun, SMALL) == 503
        assert rig.service.sign(batch({"a": declaration(LARGE)}))["a"]["exists"] is True
        assert rig.get("a") == LARGE
    rig.disk.make_writable()
    assert rig.ready() == {"status": "ready"}
    assert rig.send_part(begun, SMALL) == 200
    assert rig.complete("b", SMALL, begun["upload_id"]) == 200
    assert rig.put("a", SMALL) == 200
    assert (rig.get("a"), rig.get("b")) == (SMALL, SMALL)
