"""Folders that are pushed, on real stores: what arrives, what is sent again, and what is said of what can't be."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from entrypoints.client import (
    BadSources,
    Client,
    NotUnderstood,
    Outcome,
    Phase,
    PushOptions,
    ServiceRefused,
    Stopped,
    WrongArguments,
)
from tests.entrypoints.client.support import (
    LARGE,
    MIB,
    PART,
    Recorder,
    StopAfter,
    in_store,
    lengths,
    make_client,
    make_files,
    new_dataset,
    options,
)
from tests.entrypoints.every_store import StoreClient
from tests.entrypoints.http.live_service import OWNER, md5

FILES = {
    "a.csv": b"id,name\n1,Ada\n",
    "empty.csv": b"",
    ".hidden/config": b"1",
    "Größe/日本語 🚀 +%20[1]'\"&=;.csv": b"\xff\x00\r\n--" * 1_000,
    "below.bin": bytes(1_000_000),
}


class TestThereAndAgain:
    def test_a_folder_arrives_and_is_not_sent_again(self, service: StoreClient, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", FILES), new_dataset()
        with make_client(service) as client:
            first, again = Recorder(), Recorder()
            report = client.push(options(folder, dataset), first)
            assert report.is_complete
            assert report.counts == {Outcome.SENT: len(FILES)}
            assert in_store(service, dataset, FILES) == FILES
            assert first.files_in(Phase.SEND) == first.files_in(Phase.VERIFY) == len(FILES)
            assert first.bytes_sent == lengths(FILES)

            report = client.push(options(folder, dataset), again)
            assert report.is_complete
            assert report.counts == {Outcome.PRESENT: len(FILES)}
            assert again.files_in(Phase.SEND) is None

    def test_only_what_is_new_or_changed_is_sent(self, disk: StoreClient, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", FILES), new_dataset()
        with make_client(disk, tmp_path / "cache") as client:
            client.push(options(folder, dataset))
            changed = {"a.csv": b"id,name\n2,Ada\n", "new/b.csv": b"2"}
            make_files(folder, changed)
            recorder = Recorder()
            report = client.push(options(folder, dataset), recorder)
        assert report.is_complete
        assert {file.path for file in report.with_outcome(Outcome.SENT)} == set(changed)
        assert set(recorder.bytes_sent) == set(changed)
        assert in_store(disk, dataset, changed) == changed

    def test_a_large_file_goes_in_parts_beside_small_ones(self, service: StoreClient, tmp_path: Path) -> None:
        files = {"large.bin": LARGE, "small.bin": b"1"}
        folder, dataset, recorder = make_files(tmp_path / "files", files), new_dataset(), Recorder()
        with make_client(service) as client:
            report = client.push(options(folder, dataset), recorder)
            assert report.is_complete, report.files
            assert in_store(service, dataset, files) == files
            assert recorder.bytes_sent == lengths(files)
            assert client.push(options(folder, dataset)).counts == {Outcome.PRESENT: 2}

    def test_a_store_that_tells_no_digest_is_believed_what_it_checked(
        self, on_azurite: StoreClient, tmp_path: Path
    ) -> None:
        folder, dataset = make_files(tmp_path / "files", {"large.bin": LARGE, "small.bin": b"1"}), new_dataset()
        with make_client(on_azurite, tmp_path / "cache") as client:
            report = client.push(options(folder, dataset))
            assert report.counts == {Outcome.SENT: 2}
            # What was sent from here, and is of the right length, isn't sent again; from elsewhere it may be.
            assert client.push(options(folder, dataset)).counts == {Outcome.PRESENT: 2}
        assert in_store(on_azurite, dataset, ["large.bin"]) == {"large.bin": LARGE}
        with make_client(on_azurite) as client:
            assert client.push(options(folder, dataset)).counts == {Outcome.SENT: 1, Outcome.PRESENT: 1}

    def test_a_dry_run_sends_nothing(self, disk: StoreClient, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", {"a.csv": b"1", "b.csv": b"2"}), new_dataset()
        with make_client(disk) as client:
            client.push(options(folder, dataset, exclude=["b.csv"]))
            make_files(folder, {"a.csv": b"other", "c.csv": b"3"})
            report = client.push(options(folder, dataset, dry_run=True))
            assert [(file.path, file.outcome, file.reason) for file in report.files] == [
                ("a.csv", Outcome.WAITING, "it replaces another one"),
                ("b.csv", Outcome.WAITING, None),
                ("c.csv", Outcome.WAITING, None),
            ]
        assert in_store(disk, dataset, ["a.csv", "b.csv", "c.csv"]) == {"a.csv": b"1"}

    def test_what_is_there_is_kept_if_one_wants(self, service: StoreClient, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "files", {"a.csv": b"1", "b.csv": b"2"}), new_dataset()
        with make_client(service) as client:
            client.push(options(folder, dataset))
            make_files(folder, {"a.csv": b"other", "c.csv": b"3"})
            report = client.push(options(folder, dataset, overwrite=False))
        assert [(file.path, file.outcome) for file in report.files] == [
            ("a.csv", Outcome.FAILED),
            ("b.csv", Outcome.PRESENT),
            ("c.csv", Outcome.SENT),
        ]
        assert "isn't to be replaced" in (report.files[0].reason or "")
        assert in_store(service, dataset, ["a.csv", "c.csv"]) == {"a.csv": b"1", "c.csv": b"3"}

    def test_the_folder_s_own_description_counts(self, service: StoreClient, tmp_path: Path) -> None:
        dataset = new_dataset()
        described = f'{{"name": "{dataset}", "resources": [{{"path": "a.bin", "mediatype": "text/x-tides"}}]}}'
        folder = make_files(tmp_path, {"datapackage.json": described.encode(), "a.bin": b"1"})
        with make_client(service) as client:
            report = client.push(options(folder))
        assert (report.dataset, report.is_complete) == (dataset, True)
        assert in_store(service, dataset, ["datapackage.json", "a.bin"]).keys() == {"datapackage.json", "a.bin"}
        url = next(file.object_url for file in report.files if file.path == "a.bin")
        assert service.download(url or "").headers["Content-Type"] == "text/x-tides"


class TestInterrupted:
    def test_an_upload_in_parts_goes_on_where_it_was_cut_off(self, service: StoreClient, tmp_path: Path) -> None:
        folder, dataset, cache = make_files(tmp_path / "files", {"large.bin": LARGE}), new_dataset(), tmp_path / "cache"
        with make_client(service, cache, jobs=1) as client, pytest.raises(Stopped):
            client.push(options(folder, dataset), StopAfter(6 * MIB, client))
        (upload_id,) = upload_ids(cache)
        known = service.ask_of_parts("resume", declared(dataset), "large.bin", upload_id)
        assert known["arrived"] == [{"number": 1, "length": PART}]

        recorder = Recorder()
        with make_client(service, cache) as client:
            report = client.push(options(folder, dataset), recorder)
        assert report.is_complete
        assert recorder.bytes_sent["large.bin"] == len(LARGE) - PART
        assert recorder.bytes_moved["large.bin"] == len(LARGE)
        assert in_store(service, dataset, ["large.bin"]) == {"large.bin": LARGE}
        assert upload_ids(cache) == []

    @pytest.mark.parametrize("change", ["aborted", "content", "findability"])
    def test_an_upload_in_parts_that_is_of_no_use_is_begun_anew(
        self, disk: StoreClient, tmp_path: Path, change: str
    ) -> None:
        folder, dataset, cache = make_files(tmp_path / "files", {"large.bin": LARGE}), new_dataset(), tmp_path / "cache"
        with make_client(disk, cache, jobs=1) as client, pytest.raises(Stopped):
            client.push(options(folder, dataset), StopAfter(6 * MIB, client))
        (before,) = upload_ids(cache)
        content, findability = LARGE, "private"
        if change == "aborted":
            disk.ask_of_parts("abort", declared(dataset), "large.bin", before)
        elif change == "content":
            content = bytes(len(LARGE))
            make_files(folder, {"large.bin": content})
        else:
            findability = "published"
        recorder = Recorder()
        with make_client(disk, cache) as client:
            report = client.push(options(folder, dataset, findability=findability), recorder)
        assert report.is_complete
        assert recorder.bytes_sent["large.bin"] == len(content)
        assert in_store(disk, dataset, ["large.bin"]) == {"large.bin": content}


def upload_ids(cache: Path) -> list[str]:
    """The ids of uploads in parts that a cache remembers."""
    with closing(sqlite3.connect(cache)) as connection:
        return [str(upload_id) for (upload_id,) in connection.execute("SELECT upload_id FROM uploads")]


def declared(dataset: str) -> dict[str, Any]:
    """Declare the large file as the client should."""
    cut = [md5(LARGE[start : start + PART]) for start in range(0, len(LARGE), PART)]
    file = {"length": len(LARGE), "md5": md5(LARGE), "parts": {"size": PART, "md5": cut}}
    return {
        "metadata": {"owner": OWNER, "name": dataset, "findability": "private"},
        "filedata": {"large.bin": file},
    }


class TestRefused:
    def test_nothing_is_sent_if_the_service_refuses_a_path(self, service: StoreClient, tmp_path: Path) -> None:
        long_path = "/".join(["x" * 200] * 5)  # a path, but with owner and dataset no key
        folder, dataset = make_files(tmp_path, {"a.csv": b"1", long_path: b"2"}), new_dataset()
        with make_client(service) as client, pytest.raises(BadSources) as raised:
            client.push(options(folder, dataset))
        (problem,) = raised.value.problems
        assert problem.path == long_path
        assert "longer than 1024 bytes" in problem.reason
        assert in_store(service, dataset, ["a.csv"]) == {}

    def test_nothing_is_hashed_for_a_token_that_is_not_the_owner_s(self, disk: StoreClient, tmp_path: Path) -> None:
        recorder = Recorder()
        with make_client(disk, token=disk.token("mallory")) as client, pytest.raises(ServiceRefused) as raised:
            client.push(options(make_files(tmp_path, FILES), new_dataset()), recorder)
        assert (raised.value.status, raised.value.code, recorder.phases) == (403, "not_owner", [])

    def test_a_bad_token_is_told_and_not_shown(self, disk: StoreClient, tmp_path: Path) -> None:
        token = disk.token(exp=1)
        with make_client(disk, token=token) as client, pytest.raises(ServiceRefused) as raised:
            client.push(options(make_files(tmp_path, FILES), new_dataset()))
        assert (raised.value.status, raised.value.code) == (401, "token_expired")
        assert token not in str(raised.value)
        assert token not in repr(client)

    def test_a_url_that_is_no_service_is_told(self, disk: StoreClient, tmp_path: Path) -> None:
        options_ = options(make_files(tmp_path, FILES), new_dataset())
        elsewhere = Client(f"{disk.origin}/elsewhere", disk.token(), cache=None)
        with elsewhere as client, pytest.raises(ServiceRefused, match="nothing at this URL"):
            client.push(options_)
        of_the_store = Client(f"{disk.origin}/store", disk.token(), cache=None)
        with of_the_store as client, pytest.raises(NotUnderstood, match="is its URL right"):
            client.push(options_)

    def test_files_that_cannot_be_read_are_told_together_and_nothing_is_sent(
        self, disk: StoreClient, tmp_path: Path
    ) -> None:
        files = {"a.csv": b"1", "back\\slash.csv": b"2", "new\nline.csv": b"3"}
        folder, dataset, recorder = make_files(tmp_path, files), new_dataset(), Recorder()
        with make_client(disk) as client, pytest.raises(BadSources) as raised:
            client.push(options(folder, dataset), recorder)
        assert {problem.path for problem in raised.value.problems} == set(files) - {"a.csv"}
        assert recorder.phases == []

    def test_a_dataset_needs_a_name_that_can_be_one(self, disk: StoreClient, tmp_path: Path) -> None:
        folder = make_files(tmp_path, {"a.csv": b"1"})
        with make_client(disk) as client:
            with pytest.raises(WrongArguments, match="needs a name"):
                client.push(options(folder))
            with pytest.raises(WrongArguments, match="contains '/'"):
                client.push(options(folder, "a/b"))
            with pytest.raises(WrongArguments, match="the owner"):
                client.push(PushOptions(folder, owner="../bob", dataset="a"))


class TestChanged:
    @pytest.mark.parametrize("path", ["small.bin", "large.bin"])
    def test_a_file_that_changes_after_it_was_hashed_is_not_sent_as_if_it_had_not(
        self, service: StoreClient, tmp_path: Path, path: str
    ) -> None:
        files = {"other.bin": b"1", path: LARGE if path == "large.bin" else b"before"}
        folder, dataset = make_files(tmp_path / "files", files), new_dataset()

        class Change(Recorder):
            def phase(self, phase: Phase, files: int, size: int) -> None:
                super().phase(phase, files, size)
                if phase is Phase.SEND:
                    os.utime(folder / path)

        recorder = Change()
        with make_client(service, tmp_path / "cache") as client:
            report = client.push(options(folder, dataset), recorder)
            (failed,) = report.with_outcome(Outcome.FAILED)
            assert (failed.path, report.is_complete) == (path, False)
            assert "changed after it was hashed" in (failed.reason or "")
            assert recorder.problems == {path: failed.reason}
            assert in_store(service, dataset, files) == {"other.bin": b"1"}
            assert upload_ids(tmp_path / "cache") == []
            assert client.push(options(folder, dataset)).is_complete
        assert in_store(service, dataset, files) == files

    def test_bytes_that_change_without_a_sign_of_it_are_refused_by_the_store(
        self, service: StoreClient, tmp_path: Path
    ) -> None:
        folder, dataset, old = make_files(tmp_path / "files", {"a.bin": b"before"}), new_dataset(), 1_700_000_000
        os.utime(folder / "a.bin", (old, old))
        with make_client(service, tmp_path / "cache") as client:
            client.push(options(folder, dataset, dry_run=True))
            (folder / "a.bin").write_bytes(b"aftern")
            os.utime(folder / "a.bin", (old, old))
            report = client.push(options(folder, dataset))
            (failed,) = report.files
            assert failed.outcome is Outcome.FAILED
            assert in_store(service, dataset, ["a.bin"]) == {}
            # What was remembered of it is not believed again.
            assert client.push(options(folder, dataset)).is_complete
        assert in_store(service, dataset, ["a.bin"]) == {"a.bin": b"aftern"}
