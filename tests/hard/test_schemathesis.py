"""What can be asked according to the API's description, and what can't, is asked of a running service by schemathesis.

In everyday tests the same questions each time, with more effort others.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import urllib3
from attrs import frozen

from tests import strategies as bits
from tests.effort import EFFORT
from tests.entrypoints.http.example_exchanges import CUT, ORIGIN, PEOPLE
from tests.entrypoints.http.live_service import MEMORY
from tests.hard.schema_hooks import UPLOAD_VARIABLE, USER
from tests.serve import bitstore_serve
from tests.tokens import make_token
from tests.tried import Tried

REPOSITORY = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")

_SUMMARY = re.compile(r"(\d+) generated, \1 passed")


@frozen
class Served:
    """A running service, a token for it, and an upload in parts that has been begun there."""

    origin: str
    token: str
    upload: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {**MEMORY, "STORAGE_BUCKET_NAME": "files", "PUBLIC_URL": ORIGIN}
    with bitstore_serve(tmp_path_factory.mktemp("service"), settings) as origin:
        token = make_token(bits.good_claims(USER, now=datetime.now(UTC)))
        yield Served(origin, token, json.dumps(begun_upload(origin, token)))


def begun_upload(origin: str, token: str) -> dict[str, object]:
    path = "data/raw.bin"
    body = {"metadata": PEOPLE, "filedata": {path: CUT}, "accept": ["MULTIPART"]}
    answer = urllib3.request("POST", f"{origin}/rawstore/authorize", json=body, headers={"Auth-Token": token})
    return {"metadata": PEOPLE, "path": path, "file": CUT, "upload_id": answer.json()["filedata"][path]["upload_id"]}


def test_the_service_answers_as_it_is_described(served: Served, tmp_path: Path, tried: Tried) -> None:
    how = ["--generation-deterministic"] if EFFORT == 1 else []
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", f"{served.origin}/rawstore/openapi.json", "--url", served.origin),
            *("--header", f"Auth-Token: {served.token}", "--warnings", "off"),
            *("--max-examples", str(8 * EFFORT), *how),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), UPLOAD_VARIABLE: served.upload},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    summary = _SUMMARY.search(done.stdout)
    assert summary is not None, done.stdout
    tried("requests of schemathesis", int(summary[1]))
