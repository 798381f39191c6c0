"""A file of many parts whose sender is cut off three times at random; each time another process goes on.

With BITSTORE_LARGE in the environment it has 6 GiB (`make test-large`), otherwise as much as makes a few parts.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import urllib3
from attrs import evolve

from tests import strategies as bits
from tests.clients.parts_sender import MIB, Task, declaration, generated
from tests.serve import bitstore_serve
from tests.stores.servers import start_seaweedfs
from tests.tokens import make_token, public_pem, rsa_key

LARGE = bool(os.environ.get("BITSTORE_LARGE"))
LENGTH = 6 * 1024 * MIB + 12_345 if LARGE else 42 * MIB + 12_345
PART = (16 if LARGE else 5) * MIB
CUTS = 3
AT_ONCE = 2
METADATA = {"owner": "alice", "name": "tides"}
COMMON: Mapping[str, str] = {"DATAHUB_PUBLIC_KEY": public_pem(rsa_key()), "STORAGE_BUCKET_NAME": "bitstore-tests"}


@contextmanager
def settings_of(backend: str, folder: Path) -> Iterator[Mapping[str, str]]:
    if backend == "disk":
        keys = {"STORAGE_ACCESS_KEY_ID": "bitstore", "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store"}
        yield {**COMMON, **keys, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(folder / "objects")}
        return
    with start_seaweedfs(folder) as store:
        yield {
            **COMMON,
            "STORAGE_BUCKET_NAME": store.bucket,
            "STORAGE_ACCESS_KEY_ID": store.access_key_id,
            "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
            "STORAGE_HOSTNAME": store.endpoint_url,
            "STORAGE_FLAVOUR": store.flavour,
        }


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that goes away with the test: pytest keeps its own for some runs."""
    with TemporaryDirectory(prefix="bitstore-large-") as name:
        yield Path(name)


@cache
def declared() -> Mapping[str, Any]:
    return declaration(LENGTH, PART)


def fresh_token() -> str:
    return make_token(bits.good_claims("alice", now=datetime.now(UTC)))


def run(task: Task) -> tuple[int, Sequence[Mapping[str, Any]]]:
    """Let a process of its own do it; give its exit status, and what it told."""
    command = [sys.executable, "-m", "tests.clients.parts_sender"]
    repository = Path(__file__).parents[2]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(repository)}
    done = subprocess.run(
        command, input=task.json(), env=environment, capture_output=True, text=True, timeout=1_200, check=False
    )
    assert done.returncode in (0, 9), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def told(events: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [event[name] for event in events if name in event]


@pytest.mark.parametrize("backend", ["disk", "seaweedfs"])
def test_what_is_cut_off_goes_on_where_it_was(backend: str, folder: Path) -> None:
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")  # shown if the test fails
    cuts = random.Random(seed)
    count = len(declared()["parts"]["md5"])
    with settings_of(backend, folder) as settings, bitstore_serve(folder, settings) as origin:
        task = Task(f"{origin}/rawstore", fresh_token(), METADATA, "large.bin", declared(), at_once=AT_ONCE)
        tried, acknowledged = list[int](), set[int]()
        for _ in range(CUTS):
            left = LENGTH - len(acknowledged) * PART
            status, events = run(evolve(task, cut_at=cuts.randint(MIB, left // 2)))
            assert status == 9
            tried += told(events, "trying")
            acknowledged |= set(told(events, "sent"))
            task = evolve(task, token=fresh_token(), upload_id=task.upload_id or told(events, "begun")[0])
        status, events = run(task)
        assert status == 0
        assert acknowledged <= set(told(events, "resumed")[0])
        tried += told(events, "trying")
        assert set(tried) == set(range(1, count + 1))
        assert len(tried) <= count + CUTS * AT_ONCE
        (verdict,) = told(events, "verdict")
        assert (verdict["status"], verdict["found"]["length"]) == ("stored", LENGTH)
        assert digest_of(downloaded(origin, task)) == digest_of(generated(0, LENGTH))


def downloaded(origin: str, task: Task) -> Iterator[bytes]:
    """Get the object by a URL that the service signs."""
    body = json.dumps({"metadata": METADATA, "filedata": {task.path: declared()}, "accept": ["MULTIPART"]})
    headers = {"Auth-Token": task.token}
    with urllib3.PoolManager(retries=False, timeout=300) as http:
        file = http.request("POST", f"{origin}/rawstore/authorize", body=body, headers=headers).json()["fileData"]
        assert file[task.path]["exists"] is True
        query = {"ownerid": "alice", "url": file[task.path]["object_url"]}
        url = http.request("GET", f"{origin}/rawstore/presign", fields=query, headers=headers).json()["url"]
        answer = http.request("GET", url, preload_content=False)
        assert answer.status == 200
        yield from answer.stream(4 * MIB)


def digest_of(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
