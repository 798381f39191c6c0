"""`bitstore stores`, and starting with a store whose extra is missing."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from entrypoints.cli.main import main
from entrypoints.cli.matrix import list_stores
from tests.distributions import CLAIMS, FACTORY, install
from tests.tokens import ed25519_key, public_pem

REPOSITORY = Path(__file__).parents[2]
ANY_STORE = {
    "DATAHUB_PUBLIC_KEY": public_pem(ed25519_key()),
    "TOKEN_ALGORITHMS": "EdDSA",
    "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
    "STORAGE_BUCKET_NAME": "datasets",
}
DISK = {**ANY_STORE, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": "objects"}
S3 = {**ANY_STORE, "STORAGE_HOSTNAME": "s3.example.org"}
AZURE = {
    **ANY_STORE,
    "STORAGE_BACKEND": "azure",
    "STORAGE_HOSTNAME": "account.blob.core.windows.net",
    "STORAGE_ACCESS_KEY_ID": "account",
    "STORAGE_SECRET_ACCESS_KEY": "c2VjcmV0",
    "STORAGE_A_SETTING_OF_ITS_OWN": "x",
}
WITHOUT_AZURE = "import sys; sys.modules['azure'] = None; from entrypoints.cli.main import main; sys.exit(main())"
HINT = (
    "the store 'azure' can't be used: it needs the package azure.core, which isn't installed: "
    "pip install 'bitstore-service[azure]'"
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose distributions are installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def python(
    code: str, *arguments: str, folder: Path, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run some code in a process of its own, with nothing but `settings` in its environment."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), **(settings or {})}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What `bitstore stores` prints, with one space between words."""
    assert main(["stores", *arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return [" ".join(line.split()) for line in said.out.splitlines()]


class TestStores:
    def test_names_all_that_can_be_chosen_and_where_they_are_from(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = lines(capsys)
        assert "s3 built in; STORAGE_FLAVOUR can be aws, seaweedfs, ceph, minio, ministack, r2, generic" in said
        assert {"disk built in", "memory built in"} <= set(said)
        for name in ("azure", "gcs"):
            assert any(line.startswith(f"{name} bitstore-service ") for line in said)

    def test_says_what_each_enforces_by_each_way_in(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = lines(capsys)
        guarantees = "key length type expiry md5 sha256 access no-overwrite"
        assert f"store way in {guarantees} longest request max lifetime known from" in said
        # As Amazon S3 documents it: a form has no If-None-Match.
        assert "s3 (aws) POST yes yes yes yes yes yes yes - 5 GiB 7 days documentation" in said
        assert "s3 (aws) PUT yes yes yes yes yes yes yes yes 5 GiB 7 days documentation" in said
        # A SAS binds no header, and Put Blob takes 5,000 MiB.
        assert "azure PUT yes - - yes - - - yes 5,000 MiB 7 days seen on Azurite" in said
        assert not any(line.startswith("azure POST") for line in said)

    def test_prints_the_same_as_a_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        said, printed = lines(capsys), lines(capsys, "--markdown")
        table = [line.strip("| ").replace(" | ", " ") for line in printed if line.startswith("|")]
        heading, rule, *rows = table
        assert set(rule) == {"-", " "}
        first = said.index(heading) + 1
        assert said[first : first + len(rows)] == rows
        assert said[first + len(rows)] == ""

    def test_prints_the_same_in_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["stores", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert [store["name"] for store in said["stores"]] == [store.name for store in list_stores()]
        assert {
            "store": "s3",
            "flavour": "r2",
            "method": "PUT",
            "enforced": ["expiry", "key", "length", "md5", "no-overwrite", "type"],
            "max_request_bytes": 5 * 1024**3,
            "max_lifetime_seconds": 604_800,
            "seen_on": None,
        } in said["matrix"]
        assert {row["store"] for row in said["matrix"]} >= {"s3", "disk", "memory", "azure", "gcs"}

    def test_a_store_of_others_has_a_row_if_it_says_what_it_enforces(
        self, capsys: pytest.CaptureFixture[str], site: Path
    ) -> None:
        install(site, FACTORY + CLAIMS, store="talker", distribution="their-stores")
        install(site, FACTORY, store="mute", distribution="other-stores")
        said = lines(capsys)
        assert "talker their-stores 1.2" in said
        assert "talker PUT yes - - - yes - - - 3 KiB 36 hours documentation" in said
        assert "mute other-stores 1.2; it doesn't say what it enforces" in said
        assert not any(line.startswith("mute PUT") for line in said)

    def test_a_broken_store_is_one_line_and_stops_no_other(
        self, capsys: pytest.CaptureFixture[str], site: Path
    ) -> None:
        install(site, "raise RuntimeError('it\\nbroke')")
        said = lines(capsys)
        assert "made-up a-distribution 1.2; the store 'made-up' can't be used: RuntimeError: it broke" in said
        assert any(line.startswith("azure PUT") for line in said)

    def test_a_store_that_has_the_name_of_a_built_in_one_is_told(
        self, capsys: pytest.CaptureFixture[str], site: Path
    ) -> None:
        install(site, "raise SystemExit('imported')", store="disk")
        (told,) = [line for line in lines(capsys) if line.startswith("disk a-distribution 1.2; ")]
        assert "can't be chosen" in told

    def test_a_missing_extra_is_one_line_with_its_command(self, tmp_path: Path) -> None:
        answer = python(WITHOUT_AZURE, "stores", folder=tmp_path)
        assert (answer.returncode, answer.stderr) == (0, "")
        (told,) = [line for line in answer.stdout.splitlines() if "azure" in line]
        assert told.endswith(HINT)
        assert "gcs" in answer.stdout


class TestStart:
    def test_a_missing_extra_is_all_that_is_told(self, tmp_path: Path) -> None:
        answer = python(WITHOUT_AZURE, "serve", folder=tmp_path, settings=AZURE)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert answer.stderr.splitlines() == ["bitstore can't start:", f"  - STORAGE_BACKEND: {HINT}"]

    def test_what_else_is_wrong_is_told_too(self, tmp_path: Path) -> None:
        answer = python(WITHOUT_AZURE, "serve", folder=tmp_path, settings={**AZURE, "MAX_FILES": "many"})
        assert len(answer.stderr.splitlines()) == 3

    def test_no_store_but_the_chosen_one_is_imported(self, tmp_path: Path) -> None:
        imported = _imported(DISK, tmp_path)
        assert "adapters.stores.disk" in imported
        assert [name for name in imported if name.startswith(("adapters.stores.azure", "adapters.stores.gcs"))] == []
        assert imported.isdisjoint({"azure", "google", "aiohttp", "botocore"})

    def test_the_sdk_is_imported_only_where_its_credentials_are_asked_for(self, tmp_path: Path) -> None:
        imported = _imported(S3, tmp_path)
        assert "adapters.stores.s3" in imported
        assert "botocore" not in imported


def _imported(settings: Mapping[str, str], folder: Path) -> set[str]:
    """Import and wire what `bitstore serve` does; tell all modules that this took."""
    code = (
        "import os, sys; before = set(sys.modules)\n"
        "import entrypoints.cli.main, entrypoints.cli.serve\n"
        "from entrypoints.settings import Settings\n"
        "from entrypoints.wiring import wire\n"
        "wire(Settings.from_environment(os.environ))\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    answer = python(code, folder=folder, settings=settings)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())
