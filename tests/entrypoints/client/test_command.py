"""`bitstore push` and `bitstore pull` as a user meets them: exit codes, what is printed, and interruptions."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from attrs import frozen

from entrypoints.cli.main import main
from tests.entrypoints.client.support import LARGE, in_store, make_files, new_dataset, read_files
from tests.entrypoints.every_store import OF_THE_SERVICE, StoreClient
from tests.entrypoints.http.live_service import OWNER, LiveService
from tests.live import wait_until
from tests.serve import bitstore_serve
from tests.stores.proxy import Asked, Reply, StoreProxy
from tests.stores.servers import RunningStore

REPOSITORY = Path(__file__).parents[3]
FILES = {"a.csv": b"id,name\n1,Ada\n", "data/b.csv": b"2"}
MANY = {f"{number % 20:02}/{number:04}.csv": b"%d" % number for number in range(2_000)}

# Whoever starts the tests may ignore SIGINT, and what they start would too.
_MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from entrypoints.cli.main import main
sys.exit(main())
"""


@frozen
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@frozen
class Bitstore:
    """The command, for one user of one service."""

    url: str
    token: str
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        mine = {"BITSTORE_URL": self.url, "BITSTORE_TOKEN": self.token, "XDG_CACHE_HOME": str(self.cache)}
        return {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), **mine}

    def start(self, *arguments: str | Path, **streams: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", _MAIN, *arguments]
        return subprocess.Popen(command, env=self.environment, text=True, **streams)

    def run(self, *arguments: str | Path) -> Said:
        """Run it to its end; nothing that it prints may show the token, or a fault."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
        for text in (out, err):
            assert self.token not in text
            assert "Traceback" not in text
            assert "Signature" not in text
        return Said(process.returncode, out, err)

    def push(self, *arguments: str | Path, dataset: str) -> Said:
        return self.run("push", *arguments, "--owner", OWNER, "--dataset", dataset, "--findability", "private")


def bitstore(service: StoreClient, folder: Path) -> Bitstore:
    return Bitstore(service.root, service.token(), folder / "cache")


@pytest.fixture
def command(disk: StoreClient, tmp_path: Path) -> Bitstore:
    """The command, on the disk store."""
    return bitstore(disk, tmp_path)


class TestKilled:
    """A push of 2,000 files that is killed in the middle, and run again."""

    def test_on_disk(self, tmp_path: Path) -> None:
        objects = tmp_path / "objects"
        variables = {**OF_THE_SERVICE, **_embedded("disk"), "STORAGE_DISK_ROOT": str(objects)}

        def stored() -> dict[str, object]:
            return {str(file): file.stat().st_ino for file in objects.rglob("*.object")}

        with bitstore_serve(tmp_path, variables) as origin:
            service = LiveService(origin, urllib3.PoolManager(retries=False, timeout=20))
            self._kill_and_run_again(Bitstore(service.root, service.token(), tmp_path / "cache"), tmp_path, stored)

    def test_on_seaweedfs(self, on_seaweedfs: StoreClient, seaweedfs: RunningStore, tmp_path: Path) -> None:
        client = seaweedfs.client()

        def stored() -> dict[str, object]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=seaweedfs.bucket, Prefix=f"{OWNER}/killed/")
            return {one["Key"]: one["LastModified"] for page in pages for one in page.get("Contents", ())}

        self._kill_and_run_again(bitstore(on_seaweedfs, tmp_path), tmp_path, stored)

    def _kill_and_run_again(self, command: Bitstore, tmp_path: Path, stored: Callable[[], dict[str, object]]) -> None:
        folder = make_files(tmp_path / "files", MANY)
        arguments = "push", folder, "--owner", OWNER, "--dataset", "killed", "--findability", "private"
        with command.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            wait_until(lambda: len(stored()) > 200, seconds=60)
            process.kill()
            _, err = process.communicate()
        assert "hashing: 2000 of 2000 files" in err
        before = stored()
        assert len(before) < len(MANY)

        again = command.run(*arguments, "--json")
        (told,) = again.json["datasets"]
        assert (again.code, again.json["complete"]) == (0, True)
        assert told["counts"]["present"] >= len(before)
        assert told["counts"]["present"] + told["counts"]["sent"] == len(MANY)
        # What the store had is what it had before: nothing of that was sent again.
        after = stored()
        assert len(after) == len(MANY)
        assert {name: after[name] for name in before} == before
        assert "hashing" not in again.err  # all of it was remembered
        assert "sending" in again.err


def _embedded(backend: str) -> dict[str, str]:
    return {
        "STORAGE_BACKEND": backend,
        "STORAGE_BUCKET_NAME": "bitstore-tests",
        "STORAGE_ACCESS_KEY_ID": "bitstore",
        "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
    }


class TestInterrupted:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_ends_at_once_and_says_how_to_go_on(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path, number: signal.Signals
    ) -> None:
        command, dataset = bitstore(proxied, tmp_path), new_dataset()
        files = {f"{number}.csv": b"1" for number in range(100)} | {"large.bin": LARGE}
        folder = make_files(tmp_path / "files", files)

        async def instead(asked: Asked) -> Reply | None:
            if asked.method == "PUT" and proxy.asked["PUT"] > 50:
                await asked.stall()
            return None

        proxy.instead = instead
        arguments = "push", folder, "--owner", OWNER, "--dataset", dataset, "--findability", "private"
        with command.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_until(lambda: proxy.asked["PUT"] > 55, seconds=30)
            process.send_signal(number)
            out, err = process.communicate(timeout=10)  # requests under way would take longer
        assert process.returncode == 130
        assert err.endswith("interrupted; the same command goes on from here\n")
        assert "Traceback" not in err
        assert re.search(r"\d+ sent, but not verified, \d+ not sent", out)

        proxy.reset()
        again = command.run(*arguments)
        assert again.code == 0
        assert in_store(proxied, dataset, files) == files


class TestWhatItSays:
    def test_a_folder_goes_there_and_is_there(self, command: Bitstore, disk: StoreClient, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", FILES), new_dataset()
        said = command.push(folder, dataset=dataset)
        assert said.code == 0
        assert said.out == f"{dataset}: 2 of 2 files (15 B) are in the store: 2 sent and verified (15 B)\n"
        assert [line.split(" in ")[0] for line in said.err.splitlines()] == [
            "hashing: 2 of 2 files, 15 B of 15 B",
            "comparing: 2 of 2 files",
            "sending: 2 of 2 files, 15 B of 15 B",
            "verifying: 2 of 2 files",
        ]
        assert in_store(disk, dataset, FILES) == FILES
        said = command.push(folder, dataset=dataset)
        assert (said.code, said.out) == (0, f"{dataset}: 2 of 2 files (15 B) are in the store: 2 there already\n")

    def test_json_is_one_document(self, command: Bitstore, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", FILES), new_dataset()
        (folder / "link").symlink_to("/etc/passwd")
        said = command.push(folder, "--json", dataset=dataset)
        assert said.code == 0
        document = said.json
        (told,) = document.pop("datasets")
        assert said.json == {
            "complete": True,
            "dry_run": False,
            "interrupted": False,
            "error": None,
            "datasets": [told],
        }
        assert (told["owner"], told["dataset"]) == (OWNER, dataset)
        assert {name: count for name, count in told["counts"].items() if count} == {"sent": 2}
        assert [(file["path"], file["status"], file["length"]) for file in told["files"]] == [
            ("a.csv", "sent", 14),
            ("data/b.csv", "sent", 1),
        ]
        assert all(file["object_url"].startswith("http://") for file in told["files"])
        assert told["left_out"] == [{"path": "link", "reason": "a link that leads out of the folder"}]

    def test_quiet_is_silent(self, command: Bitstore, tmp_path: Path) -> None:
        said = command.push(make_files(tmp_path / "files", FILES), "--quiet", dataset=new_dataset())
        assert said == Said(0, "", "")

    def test_a_dry_run_says_what_would_be_sent(self, command: Bitstore, disk: StoreClient, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", FILES), new_dataset()
        command.push(folder / "a.csv", dataset=dataset)
        make_files(folder, {"a.csv": b"other"})
        said = command.push(folder, "--dry-run", dataset=dataset)
        assert said.code == 0
        assert said.out.splitlines() == [
            "would be sent: a.csv, 5 B (it replaces another one)",
            "would be sent: data/b.csv, 1 B",
            f"{dataset}: 0 of 2 files (0 B) are in the store: 2 not sent",
        ]
        assert in_store(disk, dataset, FILES) == {"a.csv": FILES["a.csv"]}

    def test_what_fails_is_told_and_is_the_exit_code(self, command: Bitstore, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", FILES), new_dataset()
        command.push(folder, dataset=dataset)
        make_files(folder, {"a.csv": b"other"})
        said = command.push(folder, "--no-overwrite", dataset=dataset)
        assert said.code == 1
        assert "failed: a.csv: there is another object at its key, and it isn't to be replaced\n" in said.err
        assert said.err.endswith("not all is well; the same command tries again what is missing\n")
        assert said.out == f"{dataset}: 1 of 2 files (1 B) are in the store: 1 there already, 1 failed\n"

    def test_names_that_cannot_be_are_told_and_can_do_nothing_to_the_terminal(
        self, command: Bitstore, tmp_path: Path
    ) -> None:
        folder = make_files(tmp_path / "files", {**FILES, "\x1b[2J.csv": b"", os.fsdecode(b"\xff.csv"): b""})
        said = command.push(folder, dataset=new_dataset())
        assert (said.code, said.out) == (1, "")
        assert said.err.splitlines()[0] == "nothing was sent:"
        assert "  - \\x1b[2J.csv: the path contains the forbidden character U+001B" in said.err
        assert "  - \\udcff.csv: the path contains the forbidden character U+DCFF" in said.err
        assert "\x1b" not in said.err
        (problem, _) = command.push(folder, "--json", dataset=new_dataset()).json["error"]["problems"]
        assert problem["path"] == "\x1b[2J.csv"

    def test_a_service_that_refuses_is_told(self, command: Bitstore, tmp_path: Path) -> None:
        folder = make_files(tmp_path / "files", FILES)
        said = command.run("push", folder, "--owner", "bob", "--dataset", "d", "--json")
        assert said.code == 1
        assert said.json["error"]["code"] == "not_owner"
        assert said.err.startswith("bitstore push can't go on: ")

    def test_it_comes_back(self, command: Bitstore, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", FILES), new_dataset()
        command.push(folder, dataset=dataset)
        arguments = "pull", dataset, "--owner", OWNER, "--into", tmp_path / "copies"
        said = command.run(*arguments, "--dry-run")
        assert (said.code, said.out.splitlines()[0]) == (0, "would be fetched: a.csv, 14 B")
        said = command.run(*arguments)
        assert (said.code, said.out) == (
            0,
            f"{dataset}: 2 of 2 files (15 B) are there: 2 fetched and verified (15 B)\n",
        )
        assert read_files(tmp_path / "copies" / dataset) == FILES
        said = command.run(*arguments, "--json")
        assert said.json["datasets"][0]["counts"]["present"] == 2
        said = command.run("pull", "nothing", "--owner", OWNER)
        assert said.code == 1
        assert "bitstore pull can't go on: alice has no dataset nothing" in said.err


class TestArguments:
    @pytest.fixture(autouse=True)
    def no_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("BITSTORE_URL", raising=False)
        monkeypatch.delenv("BITSTORE_TOKEN", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refused(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        try:
            code = main(arguments)
        except SystemExit as exit_of_argparse:
            code = int(exit_of_argparse.code or 0)
        said = capsys.readouterr()
        assert (code, said.out) == (2, "")
        return said.err

    def test_url_and_token_are_needed(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = self.refused(capsys, "push", ".", "--owner", "ada")
        assert "BITSTORE_URL" in said
        assert "BITSTORE_TOKEN" in said

    @pytest.mark.parametrize("token", ["two words", "new\nline", "ümlaut"])
    def test_a_token_that_is_none_is_refused_and_not_shown(
        self, capsys: pytest.CaptureFixture[str], token: str
    ) -> None:
        url = "http://127.0.0.1:1/rawstore"
        said = self.refused(capsys, "push", ".", "--owner", "ada", "--url", url, "--token", token)
        assert "the token must be one line" in said
        assert token not in said

    @pytest.mark.parametrize("url", ["data.example.org", "ftp://data.example.org/", "http://", "http://me:pw@host/x"])
    def test_a_url_that_is_none_is_refused(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        said = self.refused(capsys, "pull", "set", "--owner", "ada", "--url", url, "--token", "t")
        assert "the URL of the service must be one such as" in said
        assert "pw" not in said

    @pytest.mark.parametrize(
        "arguments",
        [
            ["push", "--owner", "ada"],
            ["push", "."],
            ["push", ".", "--owner", "ada", "--findability", "secret"],
            ["push", ".", "--owner", "ada", "--jobs", "0"],
            ["push", ".", "--owner", "ada", "--jobs", "1000"],
            ["push", ".", "--owner", "ada", "--cache", "x", "--no-cache"],
            ["pull", "--owner", "ada"],
            ["pull", "set"],
        ],
    )
    def test_what_makes_no_sense_is_refused(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        assert "usage: bitstore" in self.refused(capsys, *arguments)

    def test_a_dataset_without_a_name_is_refused(
        self, capsys: pytest.CaptureFixture[str], disk: StoreClient, tmp_path: Path
    ) -> None:
        folder = make_files(tmp_path / "files", FILES)
        said = self.refused(
            capsys, "push", str(folder), "--owner", OWNER, "--url", disk.root, "--token", disk.token(), "--quiet"
        )
        assert "the dataset needs a name" in said


class TestOnATerminal:
    def test_there_are_bars(self, command: Bitstore, tmp_path: Path) -> None:
        folder = make_files(tmp_path / "files", {**FILES, "large.bin": LARGE})
        shown = self.on_a_terminal(command, "push", folder, "--owner", OWNER, "--dataset", new_dataset())
        assert "━" in shown
        assert "large.bin" in shown
        assert re.search(r"sending +3 of 3 files, 11\.5 MB of 11\.5 MB in", shown)

    def on_a_terminal(self, command: Bitstore, *arguments: str | Path) -> str:
        """Run it with its standard error on a terminal; give what that shows, without what moves the cursor."""
        ours, theirs = pty.openpty()
        process = command.start(*arguments, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:  # on Linux, that the other side is closed
            pass
        finally:
            os.close(ours)
        assert process.wait(30) == 0
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_the_client_needs_nothing_of_the_service() -> None:
    script = "import sys, entrypoints.client, entrypoints.cli.push, entrypoints.cli.pull; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"aiohttp", "application", "adapters", "boto3", "botocore", "cryptography", "orjson", "rich", "starlette"}
    assert "entrypoints.client" in loaded
    assert heavy.isdisjoint(loaded)
