"""The service on the disk store is killed in the middle of uploads, again and again: nothing acknowledged is lost."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
import urllib3
from attrs import define

from adapters.stores.disk import DiskObjects
from tests.adapters.stores.test_served_parts import pending
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import DATASET, MEMORY, OWNER, LiveService, md5
from tests.entrypoints.http.test_objects import all_objects
from tests.hard.mortal_server import Server, forked_server, server_of_workers
from tests.hard.uploaders import PART_BYTES, Client, Fuse, Moment, PendingParts, Records, Usual
from tests.tried import Tried

CLIENTS = 5
KILLS = 16
KILLS_OF_WORKERS = 2

METADATA = {"owner": OWNER, "name": DATASET}


@define
class Checker:
    """Looks at what the service has after it was started again, when nobody writes."""

    service: LiveService
    records: Records

    def check(self, *, all_bytes: bool = False) -> None:
        resumed = [(upload, self._resume(upload)) for upload in self.records.pending]
        history = self.records.history
        listed = {one["path"]: one for one in all_objects(self.service, limit=1_000)}
        for path in {*history.keys, *listed}:
            md5_there = listed[path]["md5"] if path in listed else None
            assert md5_there in history.possible(path), path
        self._check_verdicts(listed)
        self._check_bytes({path: one for path, one in listed.items() if all_bytes or history.has_changed(path)})
        for path in history.keys:
            history.settle(path, listed[path]["md5"] if path in listed else None)
        for upload, missing in resumed:
            if missing is not None:
                self._finish(upload, missing)
        self.records.pending.clear()
        for upload in self.records.aborted:
            assert self._ask("resume", upload) is None
        self.records.aborted.clear()

    def _resume(self, upload: PendingParts) -> Sequence[Mapping[str, Any]] | None:
        """Give the parts that are missing of an upload; None if it has ended."""
        resumed = self._ask("resume", upload)
        if resumed is not None and not resumed["complete"]:
            assert upload.arrived <= {part["number"] for part in resumed["arrived"]}
            missing: Sequence[Mapping[str, Any]] = resumed["parts"]
            return missing
        if upload.completing is not None:
            self.records.history.confirm(upload.completing)
        else:
            assert upload.may_be_aborted
        return None

    def _check_verdicts(self, listed: Mapping[str, Mapping[str, Any]]) -> None:
        files = {path: {"length": one["length"], "md5": one["md5"]} for path, one in listed.items()}
        if files:
            answer = self._post("/rawstore/verify", {"metadata": METADATA, "filedata": files})
            assert {verdict["status"] for verdict in answer["files"].values()} == {"stored"}

    def _check_bytes(self, listed: Mapping[str, Mapping[str, Any]]) -> None:
        if not listed:
            return
        signed = self._post("/rawstore/presign", {"metadata": METADATA, "paths": list(listed)})["urls"]
        for path, one in listed.items():
            content = self.service.send("GET", signed[path]["url"]).body
            assert (len(content), md5(content)) == (one["length"], one["md5"]), path

    def _finish(self, upload: PendingParts, missing: Sequence[Mapping[str, Any]]) -> None:
        for part in missing:
            start = (part["number"] - 1) * PART_BYTES
            body = upload.content[start : start + part["length"]]
            answer = self.service.http.request("PUT", part["url"], body=body, headers=part["headers"])
            assert answer.status == 200, answer.data
        completed = self._ask("complete", upload)
        assert completed is not None
        assert completed["status"] == "stored"
        self.records.history.settle(upload.path, md5(upload.content))

    def _ask(self, what: str, upload: PendingParts) -> dict[str, Any] | None:
        """Ask about an upload; None if there is none."""
        body = json.dumps(upload.request).encode()
        answer = self.service.send("POST", f"/rawstore/multipart/{what}", token=self.service.token(), body=body)
        if answer.status == 404:
            return None
        assert answer.status == 200, answer.body
        told: dict[str, Any] = answer.json
        return told

    def _post(self, path: str, body: object) -> Any:
        answer = self.service.send("POST", path, token=self.service.token(), body=json.dumps(body).encode())
        assert answer.status == 200, answer.body
        return answer.json


def assert_nothing_is_lost(server: Server, root: Path, kills: int, tried: Tried) -> None:
    random, usual, records = Random(), Usual(), Records()
    hits = cut_short = 0
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        service = LiveService(server.origin, http)
        checker = Checker(service, records)
        server.start()
        for _ in range(kills):
            upload_until_killed(server, Moment.of(random), usual, records, service.token())
            hits += any(records.cut_short)
            cut_short += len(records.cut_short)
            records.cut_short.clear()
            server.start()
            assert list((root / "incoming").iterdir()) == []
            checker.check()
        checker.check(all_bytes=True)
    asyncio.run(assert_all_pending_can_be_aborted(root))
    tried("kill points", kills)
    tried("kill points within the very write that was aimed at", hits)
    tried("writes cut short by a kill", cut_short)


def upload_until_killed(server: Server, moment: Moment, usual: Usual, records: Records, token: str) -> None:
    fuse = Fuse(moment, usual, server.kill)
    clients = [Client(number, server.origin, token, fuse, records, Random()) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(Client.run, clients))


async def assert_all_pending_can_be_aborted(root: Path) -> None:
    """Those too of whose id no client was told."""
    store = DiskObjects(root)
    for upload in await pending(store):
        await store.abort(upload.key, upload.upload_id, datetime.now(UTC))
    assert list((root / "uploads").iterdir()) == []
    assert list((root / "incoming").iterdir()) == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


def settings(root: Path) -> Mapping[str, str]:
    return {**MEMORY, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(root)}


def test_one_process_that_is_killed_loses_nothing(tmp_path: Path, root: Path, tried: Tried) -> None:
    with forked_server(tmp_path, settings(root)) as server:
        assert_nothing_is_lost(server, root, KILLS * EFFORT, tried)


def test_workers_that_are_killed_lose_nothing(tmp_path: Path, root: Path, tried: Tried) -> None:
    with server_of_workers(tmp_path, settings(root)) as server:
        assert_nothing_is_lost(server, root, KILLS_OF_WORKERS * EFFORT, tried)
