"""What goes wrong on the way: stores and services that fail, answers that are lost, requests that come too late."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from entrypoints.client import (
    Client,
    NotUnderstood,
    Outcome,
    Phase,
    ServiceRefused,
    Unreachable,
)
from entrypoints.client.answers import PartsPage
from entrypoints.client.cache import Cache
from entrypoints.client.connections import Connections
from entrypoints.client.destination import Destination
from entrypoints.client.gathering import Gathered
from entrypoints.client.hashing import HashedFile, Wanted, hash_file
from entrypoints.client.retrying import Stop
from entrypoints.client.sending import Sender
from entrypoints.client.service import Metadata, Service
from entrypoints.client.uploading import Uploader
from tests.entrypoints.client.support import (
    LARGE,
    PART,
    QUICK,
    Recorder,
    failing,
    in_store,
    make_client,
    make_files,
    new_dataset,
    options,
)
from tests.entrypoints.every_store import StoreClient
from tests.entrypoints.http.live_service import OWNER, live_service
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy

FILES = {f"{number}.csv": b"%d" % number for number in range(10)}


class TestTheStore:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry-After": "0"}),
            Reply(500, b"oops"),
            Reply(429),
            Reply(400, b"<Error><Code>RequestTimeout</Code></Error>"),
            Reply(200, b"cut", {"Content-Length": "100"}),
        ],
    )
    def test_what_may_pass_is_tried_again(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path, reply: Reply
    ) -> None:
        files = {"a.csv": b"1", "large.bin": LARGE}
        folder, dataset, recorder = make_files(tmp_path, files), new_dataset(), Recorder()
        proxy.instead = failing(2, reply)
        with make_client(proxied) as client:
            report = client.push(options(folder, dataset), recorder)
        assert report.is_complete, report.files
        assert in_store(proxied, dataset, files) == files
        # What was counted, and had to go again, was taken back.
        assert {path: recorder.bytes_moved[path] for path in files} == {"a.csv": 2, "large.bin": 2 * len(LARGE)}

    def test_what_expired_is_signed_anew(self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path) -> None:
        files = {"a.csv": b"1", "large.bin": LARGE}
        folder, dataset = make_files(tmp_path, files), new_dataset()
        proxy.instead = failing(1, Reply(403, b"<Error><Code>AccessDenied</Code></Error>"))
        with make_client(proxied) as client:
            report = client.push(options(folder, dataset))
        assert report.is_complete, report.files
        assert in_store(proxied, dataset, files) == files

    def test_one_file_that_is_refused_stops_no_other(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path
    ) -> None:
        folder, dataset, recorder = make_files(tmp_path, FILES), new_dataset(), Recorder()

        async def instead(asked: Asked) -> Reply | None:
            is_it = asked.method == "PUT" and asked.path.endswith("/3.csv")
            return Reply(403, b"<Error><Code>AccessDenied</Code><Message>a-secret</Message></Error>") if is_it else None

        proxy.instead = instead
        with make_client(proxied) as client:
            report = client.push(options(folder, dataset), recorder)
        (failed,) = report.with_outcome(Outcome.FAILED)
        assert (failed.path, failed.reason) == ("3.csv", "the store refused it: 403 AccessDenied")
        assert recorder.problems == {"3.csv": failed.reason}
        assert report.counts[Outcome.SENT] == len(FILES) - 1

    def test_a_store_that_is_down_ends_it_soon(self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path, {f"{number}.csv": b"1" for number in range(200)}), new_dataset()
        proxy.instead = failing(10**6, Reply(503))
        with make_client(proxied) as client, client.pushing(options(folder, dataset)) as push:
            with pytest.raises(Unreachable, match="the store answers 503"):
                push.run()
            assert push.report.counts[Outcome.WAITING] > 100
        assert proxy.asked["PUT"] <= 10 * QUICK.attempts

    def test_what_arrived_although_the_answer_was_lost_is_no_other_object(
        self, proxied: StoreClient, proxy: StoreProxy, tmp_path: Path
    ) -> None:
        folder, dataset = make_files(tmp_path, FILES), new_dataset()
        lost: Counter[str] = Counter()

        def amend(asked: Asked, reply: Reply) -> Reply:
            lost[asked.path] += asked.method == "PUT"
            return Reply(503) if asked.method == "PUT" and lost[asked.path] == 1 else reply

        proxy.amend = amend
        with make_client(proxied) as client:
            report = client.push(options(folder, dataset, overwrite=False))
        assert report.counts == {Outcome.SENT: len(FILES)}

    def test_what_another_one_stored_meanwhile_is_kept(self, proxied: StoreClient, tmp_path: Path) -> None:
        folder, dataset = make_files(tmp_path / "ours", {"a.csv": b"ours"}), new_dataset()
        others = make_files(tmp_path / "others", {"a.csv": b"others"})

        class Meanwhile(Recorder):
            def phase(self, phase: Phase, files: int, size: int) -> None:
                super().phase(phase, files, size)
                if phase is Phase.SEND:
                    with make_client(proxied) as other:
                        assert other.push(options(others, dataset)).is_complete

        with make_client(proxied) as client:
            report = client.push(options(folder, dataset, overwrite=False), Meanwhile())
        (failed,) = report.files
        assert failed.outcome is Outcome.FAILED
        assert "isn't to be replaced" in (failed.reason or "")
        assert in_store(proxied, dataset, ["a.csv"]) == {"a.csv": b"others"}


class TestTheService:
    @pytest.fixture
    def front(self, disk: StoreClient) -> Iterator[StoreProxy]:
        """A proxy in front of the service."""
        with store_proxy(disk.origin) as proxy:
            yield proxy

    def client_of(self, front: StoreProxy, disk: StoreClient, cache: Path | None = None) -> Client:
        return Client(f"{front.origin}/rawstore", disk.token(), jobs=4, cache=cache, retries=QUICK, part_size=PART)

    def test_one_that_is_down_for_a_moment_is_asked_again(
        self, disk: StoreClient, front: StoreProxy, tmp_path: Path
    ) -> None:
        folder, dataset, recorder = make_files(tmp_path, {"a.csv": b"1", "large.bin": LARGE}), new_dataset(), Recorder()
        down = failing(2, Reply(503, b"", {"Retry-After": "0"}), "POST")
        front.instead = down
        with self.client_of(front, disk) as client:
            report = client.push(options(folder, dataset), recorder)
        assert report.is_complete
        assert any("the service answers 503; trying again" in note for note in recorder.notes)

    def test_one_that_stays_down_is_told(self, disk: StoreClient, front: StoreProxy, tmp_path: Path) -> None:
        front.instead = failing(10**6, Reply(503, b'{"error": {"code": "overloaded", "message": "busy"}}'), "GET")
        with self.client_of(front, disk) as client, pytest.raises(Unreachable, match=r"503: busy \(overloaded\)"):
            client.push(options(make_files(tmp_path, FILES), new_dataset()))
        assert front.asked["GET"] == QUICK.attempts

    def test_a_token_that_expires_meanwhile_ends_it(self, disk: StoreClient, front: StoreProxy, tmp_path: Path) -> None:
        folder, dataset, cache = make_files(tmp_path / "f", {"large.bin": LARGE}), new_dataset(), tmp_path / "cache"

        async def instead(asked: Asked) -> Reply | None:
            expired = b'{"error": {"code": "token_expired", "message": "the token has expired", "details": []}}'
            return Reply(401, expired) if asked.path.endswith("/complete") else None

        front.instead = instead
        with self.client_of(front, disk, cache) as client, pytest.raises(ServiceRefused, match="expired"):
            client.push(options(folder, dataset))
        front.instead = None
        recorder = Recorder()
        with self.client_of(front, disk, cache) as client:
            assert client.push(options(folder, dataset), recorder).is_complete
        assert recorder.bytes_sent["large.bin"] == 0  # all parts had arrived

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"fileData": {}}', b'{"fileData": {"a.csv": {}}}'])
    def test_answers_that_make_no_sense_are_told(
        self, disk: StoreClient, front: StoreProxy, tmp_path: Path, body: bytes
    ) -> None:
        async def instead(asked: Asked) -> Reply | None:
            return Reply(200, body) if asked.path.endswith("/authorize") else None

        front.instead = instead
        with self.client_of(front, disk) as client, pytest.raises(NotUnderstood):
            client.push(options(make_files(tmp_path, {"a.csv": b"1"}), new_dataset()))

    def test_many_files_go_in_several_requests(self, tmp_path: Path) -> None:
        folder = make_files(tmp_path, {f"{number:03}.csv": b"%d" % number for number in range(250)})
        asked: Counter[str] = Counter()

        async def instead(one: Asked) -> Reply | None:
            asked[one.path.rpartition("/")[2]] += 1
            return None

        with live_service(MAX_FILES="100") as service, store_proxy(service.origin) as front:
            front.instead = instead
            with Client(f"{front.origin}/rawstore", service.token(), cache=None, retries=QUICK) as client:
                assert client.push(options(folder, new_dataset())).counts == {Outcome.SENT: 250}
        assert asked == {"info": 1, "verify": 1 + 3 + 3, "authorize": 3}


class TestTooLate:
    """Requests whose time is over aren't sent."""

    @pytest.fixture
    def asked(self) -> Counter[str]:
        """What the service is asked."""
        return Counter()

    @pytest.fixture
    def uploader(self, disk: StoreClient, asked: Counter[str]) -> Iterator[Uploader]:
        async def instead(one: Asked) -> Reply | None:
            asked[one.path.rpartition("/")[2]] += 1
            return None

        with store_proxy(disk.origin) as front, ThreadPoolExecutor(4) as workers:
            front.instead = instead
            connections = Connections(4, Stop())
            service = Service(f"{front.origin}/rawstore", disk.token(), connections, QUICK)
            destination = Destination(service.url, Metadata(OWNER, new_dataset()))
            yield Uploader(service, destination, Sender(connections, 4), Cache.open(None, print), True, workers)

    @pytest.mark.parametrize(
        ("content", "fresh_ones"),
        [(b"1", {"authorize": 2}), (LARGE, {"authorize": 1, "resume": 1, "complete": 1})],
        ids=["whole", "in parts"],
    )
    def test_fresh_ones_are_asked_for(
        self,
        disk: StoreClient,
        uploader: Uploader,
        asked: Counter[str],
        tmp_path: Path,
        content: bytes,
        fresh_ones: Mapping[str, int],
    ) -> None:
        (local,) = Gathered.of([make_files(tmp_path, {"a.bin": content})], ()).files
        wanted = Wanted(PART if content is LARGE else None)
        file = HashedFile(*hash_file(local, wanted, lambda _: None, Stop()))
        signed = uploader.sign([file])["a.bin"]
        late = evolve(signed, fresh_until=0.0)
        if isinstance(signed.request, PartsPage):
            late = evolve(signed, request=evolve(signed.request, fresh_until=0.0))
        moved: list[int] = []
        assert uploader.send(file, late, moved.append) is not None
        assert asked == fresh_ones
        assert sum(moved) == len(content)
        assert in_store(disk, uploader.destination.metadata.dataset, ["a.bin"]) == {"a.bin": content}
