"""Datasets that are fetched, from real stores: what comes back, what is fetched again, and where nothing is written."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from attrs import evolve

from entrypoints.client import (
    Client,
    FileTrouble,
    NothingThere,
    NotUnderstood,
    Outcome,
    Phase,
    PullOptions,
    ServiceRefused,
    Stopped,
    StoredObject,
    Unreachable,
    WrongArguments,
)
from entrypoints.client.fetching import check_path
from tests.entrypoints.client.support import (
    LARGE,
    MIB,
    QUICK,
    Files,
    Recorder,
    StopAfter,
    failing,
    lengths,
    make_client,
    make_files,
    new_dataset,
    options,
    read_files,
)
from tests.entrypoints.every_store import StoreClient
from tests.entrypoints.http.live_service import OWNER
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy, with_headers

FILES = {
    "a.csv": b"id,name\n1,Ada\n",
    "empty.csv": b"",
    ".hidden/config": b"1",
    "Größe/日本語 🚀 +%20[1]'\"&=;.csv": b"\xff\x00\r\n--" * 1_000,
    "large.bin": LARGE,
}


def store(service: StoreClient, folder: Path, files: Files) -> str:
    """Store a dataset; give its name."""
    dataset = new_dataset()
    with make_client(service) as client:
        assert client.push(options(make_files(folder, files), dataset)).is_complete
    return dataset


def wanted(dataset: str, folder: Path, **more: bool) -> PullOptions:
    return PullOptions(dataset, owner=OWNER, folder=folder, **more)


class TestThereAndAgain:
    def test_a_dataset_comes_back_and_is_not_fetched_again(self, service: StoreClient, tmp_path: Path) -> None:
        dataset, first, again = store(service, tmp_path / "source", FILES), Recorder(), Recorder()
        with make_client(service) as client:
            (report,) = client.pull(wanted(dataset, tmp_path / "new/copies"), first)
            assert report.is_complete, report.files
            assert report.counts == {Outcome.FETCHED: len(FILES)}
            assert read_files(tmp_path / "new/copies") == {f"{dataset}/{path}": text for path, text in FILES.items()}
            assert first.bytes_sent == lengths(FILES)

            (report,) = client.pull(wanted(dataset, tmp_path / "new/copies"), again)
            assert report.counts == {Outcome.PRESENT: len(FILES)}
            assert again.files_in(Phase.FETCH) is None

    def test_only_what_differs_is_fetched(self, disk: StoreClient, tmp_path: Path) -> None:
        files = {"a.csv": b"1", "b.csv": b"2", "c.csv": b"3", "d.csv": b"4"}
        dataset, recorder = store(disk, tmp_path / "source", files), Recorder()
        folder = tmp_path / dataset
        make_files(folder, {"a.csv": b"1", "b.csv": b"X", "c.csv": b"33", "mine.csv": b"mine"})
        with make_client(disk) as client:
            (report,) = client.pull(wanted(dataset, tmp_path), recorder)
        assert {file.path for file in report.with_outcome(Outcome.FETCHED)} == {"b.csv", "c.csv", "d.csv"}
        assert read_files(folder) == {**files, "mine.csv": b"mine"}

    def test_what_has_no_digest_is_fetched_and_not_called_verified(
        self, on_azurite: StoreClient, tmp_path: Path
    ) -> None:
        files = {"large.bin": LARGE, "small.bin": b"1"}
        dataset = store(on_azurite, tmp_path / "source", files)
        with make_client(on_azurite) as client:
            (report,) = client.pull(wanted(dataset, tmp_path))
        assert report.counts == {Outcome.UNVERIFIED: 1, Outcome.FETCHED: 1}
        assert not report.is_complete
        assert read_files(tmp_path / dataset) == files

    def test_a_dry_run_fetches_nothing(self, disk: StoreClient, tmp_path: Path) -> None:
        dataset = store(disk, tmp_path / "source", {"a.csv": b"1"})
        with make_client(disk) as client:
            (report,) = client.pull(wanted(dataset, tmp_path / "copy", dry_run=True))
        assert report.counts == {Outcome.WAITING: 1}
        assert not (tmp_path / "copy").exists()

    def test_several_datasets_go_into_folders_of_their_names(self, disk: StoreClient, tmp_path: Path) -> None:
        one, two = (store(disk, tmp_path / name, {"a.csv": name.encode()}) for name in ("one", "two"))
        with make_client(disk) as client:
            reports = client.pull(PullOptions([one, two, one], owner=OWNER, folder=tmp_path / "copies"))
        assert [report.dataset for report in reports] == [one, two]
        assert read_files(tmp_path / "copies") == {f"{one}/a.csv": b"one", f"{two}/a.csv": b"two"}

    def test_objects_come_in_several_pages(self, disk: StoreClient, tmp_path: Path) -> None:
        files = {f"{number}.csv": b"%d" % number for number in range(7)}
        dataset, pages = store(disk, tmp_path / "source", files), list[str]()

        async def instead(asked: Asked) -> Reply | None:
            if not asked.path.endswith("/objects"):
                return None
            pages.append(asked.query)
            answer = disk.send("GET", f"{asked.path}?{asked.query}&limit=3", token=disk.token())
            return Reply(answer.status, answer.body)

        with store_proxy(disk.origin) as front:
            front.instead = instead
            with Client(f"{front.origin}/rawstore", disk.token(), cache=None) as client:
                (report,) = client.pull(wanted(dataset, tmp_path / "copies"))
        assert report.counts == {Outcome.FETCHED: len(files)}
        assert read_files(tmp_path / "copies" / dataset) == files
        assert len(pages) == 3

    def test_a_list_that_does_not_end_is_told(self, disk: StoreClient, tmp_path: Path) -> None:
        async def instead(asked: Asked) -> Reply | None:
            return Reply(200, b'{"objects": [], "next": "again"}') if asked.path.endswith("/objects") else None

        with store_proxy(disk.origin) as front:
            front.instead = instead
            client = Client(f"{front.origin}/rawstore", disk.token(), cache=None)
            with client, pytest.raises(NotUnderstood, match="doesn't end"):
                client.pull(wanted("set", tmp_path))

    def test_what_is_not_there_is_told_before_anything_is_written(self, disk: StoreClient, tmp_path: Path) -> None:
        dataset = store(disk, tmp_path / "source", {"a.csv": b"1"})
        with make_client(disk) as client:
            with pytest.raises(NothingThere, match="alice has no dataset nothing"):
                client.pull(PullOptions([dataset, "nothing"], owner=OWNER, folder=tmp_path / "copies"))
            with pytest.raises(WrongArguments, match="segment that is blank"):
                client.pull(PullOptions("..", owner=OWNER, folder=tmp_path / "copies"))
            with pytest.raises(ServiceRefused, match="not_owner"):
                client.pull(PullOptions(dataset, owner="bob", folder=tmp_path / "copies"))
        assert not (tmp_path / "copies").exists()


class TestInterrupted:
    def test_a_file_goes_on_where_it_was_cut_off(self, service: StoreClient, tmp_path: Path) -> None:
        dataset = store(service, tmp_path / "source", {"large.bin": LARGE})
        with make_client(service) as client, pytest.raises(Stopped):
            client.pull(wanted(dataset, tmp_path), StopAfter(len(LARGE) // 2, client))
        (partial,) = (tmp_path / dataset).rglob("*.part")
        arrived = partial.stat().st_size
        assert not (tmp_path / dataset / "large.bin").exists()
        assert partial.read_bytes() == LARGE[:arrived]

        recorder = Recorder()
        with make_client(service) as client:
            (report,) = client.pull(wanted(dataset, tmp_path), recorder)
        assert report.is_complete
        assert recorder.bytes_sent["large.bin"] == len(LARGE) - arrived
        assert recorder.bytes_moved["large.bin"] == len(LARGE)
        assert read_files(tmp_path / dataset) == {"large.bin": LARGE}

    def test_what_arrived_of_it_is_not_believed(self, disk: StoreClient, tmp_path: Path) -> None:
        dataset = store(disk, tmp_path / "source", {"large.bin": LARGE})
        with make_client(disk) as client, pytest.raises(Stopped):
            client.pull(wanted(dataset, tmp_path), StopAfter(len(LARGE) // 2, client))
        (partial,) = (tmp_path / dataset).rglob("*.part")
        with partial.open("r+b") as file:
            file.write(b"something else")
        with make_client(disk) as client:
            (report,) = client.pull(wanted(dataset, tmp_path))
        assert report.is_complete
        assert read_files(tmp_path / dataset) == {"large.bin": LARGE}


class TestFaults:
    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_what_may_pass_is_tried_again(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path, status: int
    ) -> None:
        dataset = store(proxied, tmp_path / "source", FILES)
        proxy.instead = failing(2, Reply(status, b"", {"Retry-After": "0"}), "GET")
        proxy.instead = only_objects(proxy.instead, dataset)
        with make_client(proxied) as client:
            (report,) = client.pull(wanted(dataset, tmp_path))
        assert report.is_complete
        assert read_files(tmp_path / dataset) == FILES

    def test_a_download_that_breaks_off_goes_on_from_there_however_often(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path
    ) -> None:
        dataset, ranges = store(proxied, tmp_path / "source", {"large.bin": LARGE}), list[str]()

        def amend(asked: Asked, reply: Reply) -> Reply:
            if asked.method != "GET" or not asked.path.endswith("/large.bin"):
                return reply
            ranges.append(asked.headers.get("range", ""))
            length = str(len(reply.body))
            return with_headers(evolve(reply, body=reply.body[:MIB]), Content_Length=length)

        proxy.amend = amend
        recorder = Recorder()
        with make_client(proxied) as client:
            (report,) = client.pull(wanted(dataset, tmp_path), recorder)
        assert report.is_complete, report.files
        assert ranges == ["", *(f"bytes={number * MIB}-" for number in range(1, 11))]
        assert read_files(tmp_path / dataset) == {"large.bin": LARGE}
        assert recorder.bytes_sent["large.bin"] == len(LARGE)

    def test_a_server_that_knows_no_ranges_gives_all_of_it_again(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path
    ) -> None:
        dataset, answers = store(proxied, tmp_path / "source", {"large.bin": LARGE}), [Reply(200, LARGE)]
        answers += [Reply(503)] * (2 * QUICK.attempts - 1)  # one more round, since the first got on
        answers += [Reply(200, LARGE[:MIB], {"Content-Length": str(len(LARGE))})]

        async def instead(asked: Asked) -> Reply | None:
            return answers.pop() if asked.method == "GET" and asked.path.endswith("/large.bin") else None

        proxy.instead = instead
        with make_client(proxied) as client:
            (report,) = client.pull(wanted(dataset, tmp_path))
            assert report.counts == {Outcome.FAILED: 1}
            (partial,) = (tmp_path / dataset).rglob("*.part")
            assert partial.read_bytes() == LARGE[:MIB]
            (report,) = client.pull(wanted(dataset, tmp_path))
            assert report.is_complete
        assert answers == []
        assert read_files(tmp_path / dataset) == {"large.bin": LARGE}

    def test_what_expired_is_signed_anew(self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path) -> None:
        dataset = store(proxied, tmp_path / "source", FILES)
        proxy.instead = only_objects(failing(1, Reply(403), "GET"), dataset)
        with make_client(proxied) as client:
            (report,) = client.pull(wanted(dataset, tmp_path))
        assert report.is_complete
        assert read_files(tmp_path / dataset) == FILES

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Reply(200, b"2"), "what arrived isn't what the service says of it"),
            (Reply(200, b"12345"), "more than the 1 bytes arrive"),
            (Reply(404, b"<Error><Code>NoSuchKey</Code></Error>"), "the store refused it: 404 NoSuchKey"),
            (Reply(206, b"1"), "the store refused it: 206 InvalidRange"),
            (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), "the store refused it: 302"),
        ],
    )
    def test_what_is_not_the_file_does_not_take_its_place(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path, reply: Reply, reason: str
    ) -> None:
        dataset = store(proxied, tmp_path / "source", {"a.csv": b"1", "b.csv": b"22"})
        make_files(tmp_path / dataset, {"a.csv": b"before"})

        async def instead(asked: Asked) -> Reply | None:
            return reply if asked.path.endswith("/a.csv") else None

        proxy.instead = instead
        recorder = Recorder()
        with make_client(proxied) as client:
            (report,) = client.pull(wanted(dataset, tmp_path), recorder)
        (failed,) = report.with_outcome(Outcome.FAILED)
        assert failed.path == "a.csv"
        assert reason in (failed.reason or "")
        assert recorder.problems == {"a.csv": failed.reason}
        assert (tmp_path / dataset / "a.csv").read_bytes() == b"before"
        assert (tmp_path / dataset / "b.csv").read_bytes() == b"22"

    def test_a_store_that_is_down_ends_it_soon(self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path) -> None:
        dataset = store(proxied, tmp_path / "source", {f"{number}.csv": b"1" for number in range(100)})
        proxy.instead = only_objects(failing(10**6, Reply(503), "GET"), dataset)
        with make_client(proxied) as client, client.pulling(wanted(dataset, tmp_path)) as pull:
            with pytest.raises(Unreachable, match="the store answers 503"):
                pull.run()
            assert pull.reports[0].counts[Outcome.WAITING] > 50


def only_objects(
    instead: Callable[[Asked], Awaitable[Reply | None]], dataset: str
) -> Callable[[Asked], Awaitable[Reply | None]]:
    """Leave alone what the service itself asks of the store."""

    async def only(asked: Asked) -> Reply | None:
        return await instead(asked) if f"/{dataset}/" in asked.path else None

    return only


_ELSEWHERE = ["../a.csv", "/etc/passwd", "a/../../b", "a\\b", "", ".", "a//b", "a\0b", ".bitstore-pull/a"]


class TestNowhereElse:
    """Nothing is written outside the folder, whatever the service says."""

    @pytest.mark.parametrize("path", _ELSEWHERE)
    def test_a_path_that_leads_elsewhere_is_refused(self, path: str) -> None:
        with pytest.raises(FileTrouble):
            check_path(StoredObject(key="alice/set/x", path=path, length=1, object_url="http://x/"))

    def test_a_key_that_says_no_path_is_refused(self) -> None:
        with pytest.raises(FileTrouble, match="don't say under which path"):
            check_path(StoredObject(key="abc.csv", path=None, length=1, object_url="http://x/"))

    @pytest.mark.parametrize("link", ["", "data", ".bitstore-pull"])
    def test_nothing_is_written_through_links(self, disk: StoreClient, tmp_path: Path, link: str) -> None:
        dataset = store(disk, tmp_path / "source", {"data/deep/a.csv": b"1"})
        (tmp_path / "elsewhere").mkdir()
        place = tmp_path / "copies" / dataset / link
        place.parent.mkdir(parents=True)
        place.symlink_to(tmp_path / "elsewhere")
        with make_client(disk) as client:
            (report,) = client.pull(wanted(dataset, tmp_path / "copies"))
        (failed,) = report.files
        assert failed.outcome is Outcome.FAILED
        assert "nothing is written through links" in (failed.reason or "")
        assert read_files(tmp_path / "elsewhere") == {}

    def test_a_file_takes_the_place_of_a_link(self, disk: StoreClient, tmp_path: Path) -> None:
        dataset = store(disk, tmp_path / "source", {"a.csv": b"1"})
        make_files(tmp_path, {"elsewhere.csv": b"1", f"{dataset}/b.csv": b""})
        (tmp_path / dataset / "a.csv").symlink_to(tmp_path / "elsewhere.csv")
        with make_client(disk) as client:
            (report,) = client.pull(wanted(dataset, tmp_path))
        assert report.counts == {Outcome.FETCHED: 1}
        assert not (tmp_path / dataset / "a.csv").is_symlink()
        assert (tmp_path / "elsewhere.csv").read_bytes() == b"1"

    def test_a_folder_in_a_file_s_place_is_told(self, disk: StoreClient, tmp_path: Path) -> None:
        dataset = store(disk, tmp_path / "source", {"a.csv": b"1", "b/c.csv": b"2", "d.csv": b"3"})
        make_files(tmp_path / dataset, {"a.csv/x": b"", "b": b""})
        with make_client(disk) as client:
            (report,) = client.pull(wanted(dataset, tmp_path))
        assert {file.path: (file.reason or "")[:16] for file in report.with_outcome(Outcome.FAILED)} == {
            "a.csv": "can't write it: ",
            "b/c.csv": "can't write it: ",
        }
        assert (tmp_path / dataset / "d.csv").read_bytes() == b"3"
