"""`bitstore sweep`: what was begun long ago and never completed goes, and nothing else."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.stores.contract import CONTENT, declare
from adapters.stores.disk import DiskObjects
from domain.keys import ObjectKey
from domain.uploads import Access, Upload
from entrypoints.cli.main import main
from entrypoints.cli.sweep import lifecycle_rule
from tests.entrypoints.http.live_service import GCS, MEMORY
from tests.live import wait_until
from tests.stores.servers import RunningStore

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=8)


def set_environment(monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def begin(root: Path, begun: Mapping[str, datetime]) -> None:
    """Begin an upload to each key, at its moment."""

    async def run() -> None:
        objects = DiskObjects(root)
        for key, moment in begun.items():
            await objects.begin([Upload(ObjectKey(key), declare("a.csv", CONTENT), Access.PRIVATE)], moment)

    asyncio.run(run())


def pending(root: Path) -> list[str]:
    async def run() -> list[str]:
        return sorted([upload.key async for upload in DiskObjects(root).pending(NOW)])

    return asyncio.run(run())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "objects"
    set_environment(monkeypatch, {**MEMORY, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(root)})
    begin(root, {"alice/a/old.csv": OLD, "alice/a/new.csv": NOW, "bob/b/old.csv": OLD})
    return root


@pytest.mark.parametrize(
    ("arguments", "left", "said"),
    [
        ([], ["alice/a/new.csv"], "2 aborted, 1 younger left alone"),
        (["--prefix", "bob/"], ["alice/a/new.csv", "alice/a/old.csv"], "1 aborted, 0 younger"),
        (
            ["--older-than", "9d"],
            ["alice/a/new.csv", "alice/a/old.csv", "bob/b/old.csv"],
            "0 aborted, 3 younger",
        ),
        (["--older-than", "190h"], ["alice/a/new.csv"], "2 aborted, 1 younger"),
        (
            ["--dry-run"],
            ["alice/a/new.csv", "alice/a/old.csv", "bob/b/old.csv"],
            "2 would be aborted, 1 younger",
        ),
    ],
)
def test_what_is_old_is_aborted(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], left: Sequence[str], said: str
) -> None:
    assert main(["sweep", *arguments]) == 0
    assert pending(root) == left
    printed = capsys.readouterr().out
    assert said in printed
    for key in {"alice/a/old.csv", "bob/b/old.csv"} - set(left):
        assert f"aborted  {key}  begun {OLD:%Y-%m-%d}" in printed


def test_programs_read_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["dry_run"], told["younger"]) == (False, 1)
    assert sorted(upload["key"] for upload in told["uploads"]) == ["alice/a/old.csv", "bob/b/old.csv"]
    assert {upload["failed"] for upload in told["uploads"]} == {None}
    assert pending(root) == ["alice/a/new.csv"]


@pytest.mark.parametrize("age", ["", "7", "d", "0d", "-1d", "7w", "1.5d", "٣d", "7d ", "9999999d"])
def test_an_age_is_a_number_with_a_unit(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_of_argparse:
        main(["sweep", f"--older-than={age}"])
    assert exit_of_argparse.value.code == 2
    assert "is not an age such as 7d" in capsys.readouterr().err


def test_a_store_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    down = {"STORAGE_BACKEND": "s3", "STORAGE_HOSTNAME": "http://127.0.0.1:1", "STORAGE_ACL": "none"}
    set_environment(monkeypatch, {**MEMORY, **down})
    assert main(["sweep"]) == 1
    assert capsys.readouterr().err.startswith("bitstore sweep: ")


def test_a_store_without_parts_has_nothing_to_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, GCS)
    assert main(["sweep"]) == 2
    assert "takes no files in parts" in capsys.readouterr().err


def test_uploads_of_others_are_swept_on_a_real_store(
    seaweedfs: RunningStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = seaweedfs.client()
    client.create_multipart_upload(Bucket=seaweedfs.bucket, Key="sweep/left by somebody.bin")
    settings = {
        "DATAHUB_PUBLIC_KEY": MEMORY["DATAHUB_PUBLIC_KEY"],
        "STORAGE_HOSTNAME": seaweedfs.endpoint_url,
        "STORAGE_FLAVOUR": seaweedfs.flavour,
        "STORAGE_BUCKET_NAME": seaweedfs.bucket,
        "STORAGE_ACCESS_KEY_ID": seaweedfs.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": seaweedfs.secret_access_key,
    }
    set_environment(monkeypatch, settings)

    def is_swept() -> bool:
        assert main(["sweep", "--older-than", "1s", "--prefix", "sweep/"]) == 0
        return "aborted  sweep/left by somebody.bin" in capsys.readouterr().out

    wait_until(is_swept)
    listed = client.list_multipart_uploads(Bucket=seaweedfs.bucket, Prefix="sweep/")
    assert listed.get("Uploads", []) == []


@pytest.mark.parametrize(("age", "days"), [(timedelta(days=7), 7), (timedelta(hours=25), 2), (timedelta(seconds=1), 1)])
def test_a_rule_for_the_store_has_whole_days(age: timedelta, days: int) -> None:
    (rule,) = lifecycle_rule(age, "alice/")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": days}
    assert rule["Filter"] == {"Prefix": "alice/"}


def test_the_rule_is_one_that_a_store_accepts(ministack: RunningStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--print-rule"]) == 0
    rule = json.loads(capsys.readouterr().out)
    client = ministack.client()
    client.put_bucket_lifecycle_configuration(Bucket=ministack.bucket, LifecycleConfiguration=rule)
    try:
        (stored,) = client.get_bucket_lifecycle_configuration(Bucket=ministack.bucket)["Rules"]
        assert stored["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    finally:
        client.delete_bucket_lifecycle(Bucket=ministack.bucket)
