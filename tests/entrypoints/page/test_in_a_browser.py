"""Datasets go from a real browser into real stores: what a person sees, and what the stores then hold."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from entrypoints.http.app import create_app
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests import strategies as bits
from tests.entrypoints.http.live_service import MEMORY
from tests.entrypoints.page.chromium import Chromium
from tests.entrypoints.page.site import Site, embedded_site, refusal, seaweedfs_site
from tests.entrypoints.page.upload_page import UploadPage, make_dataset, only_about, write, write_large
from tests.live import serving, wait_until
from tests.stores.proxy import Reply
from tests.stores.servers import RunningStore
from tests.tokens import make_token

pytestmark = pytest.mark.debian

MB = 1_000_000
BAD_DIGEST = refusal(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
SLOW_DOWN = refusal(503, "SlowDown", "Please reduce your request rate.")


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module", params=["disk", "seaweedfs"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """On the disk store large files are sent whole, on SeaweedFS in parts."""
    if request.param == "disk":
        with embedded_site(tmp_path_factory.mktemp("objects"), MULTIPART_THRESHOLD=str(1_000 * MB)) as site:
            yield site
    else:
        with seaweedfs_site(request.getfixturevalue("seaweedfs")) as site:
            yield site


@pytest.fixture(scope="module")
def memory() -> Iterator[Site]:
    with embedded_site() as site:
        yield site


def test_a_folder_of_200_files(site: Site, browser: Chromium, tmp_path: Path) -> None:
    """Of mixed size, with empty ones, one of 200 MB, and names in many scripts; one is refused at first."""
    folder = tmp_path / "tides"
    files = make_dataset(folder, 200, largest=200 * MB)
    refused = next(path for path in files if "日本語" in path and (folder / path).stat().st_size)
    answered = site.refuse(refused, BAD_DIGEST)
    with UploadPage.open(browser, site.page_for_alice) as page:
        assert page.drop(folder).startswith("200 files, ")
        page.start()
        assert page.outcome() == "1 file couldn't be uploaded. The other 199 have arrived."
        statuses = page.statuses()
        assert statuses.pop(refused) == (
            "The store refused it: The Content-MD5 you specified did not match what we received (BadDigest)."
        )
        assert statuses == dict.fromkeys(files.keys() - {refused}, "Verified")
        assert len(answered) == 1  # what can't go away isn't tried again

        site.proxy.reset()
        page.retry(refused)
        assert page.outcome() == "All 200 files are verified: the store holds exactly these bytes."
        assert page.statuses() == dict.fromkeys(files, "Verified")
        assert len(page.page.faults()) == 1
        assert only_about(page.page.faults(), "%E6%97%A5%E6%9C%AC%E8%AA%9E")

    for path, file in files.items():
        assert md5_of(site.content_of("tides", path)) == md5_of(file.read_bytes())


def test_what_is_there_is_not_sent_again(site: Site, browser: Chromium, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    files = make_dataset(folder, 10)
    with UploadPage.open(browser, site.page_for_alice) as page:
        page.upload(folder)
        page.page.click("#another")
        write(folder / "new.csv", b"new")
        site.proxy.asked.clear()
        assert page.upload(folder) == "All 11 files are verified: the store holds exactly these bytes."
        assert page.statuses() == {**dict.fromkeys(files, "Verified, was there before"), "new.csv": "Verified"}
        assert site.proxy.asked["PUT"] == 1
        assert page.page.faults() == []


def test_behind_a_prefix_that_a_proxy_takes_away(browser: Chromium, tmp_path: Path) -> None:
    make_dataset(tmp_path / "behind", 10)
    token = make_token(bits.good_claims("alice", now=datetime.now(UTC)))

    def make_app(origin: str) -> ASGIApp:
        return _without(
            "/data", create_app(wire(Settings.from_environment({**MEMORY, "PUBLIC_URL": f"{origin}/data"})))
        )

    with serving(make_app) as origin, UploadPage.open(browser, f"{origin}/data/rawstore/upload#token={token}") as page:
        assert page.upload(tmp_path / "behind") == "All 10 files are verified: the store holds exactly these bytes."
        assert page.page.faults() == []


def _without(prefix: str, app: ASGIApp) -> ASGIApp:
    async def shortened(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(prefix)
            path, raw_path = scope["path"].removeprefix(prefix), scope["raw_path"].removeprefix(prefix.encode())
            scope = {**scope, "path": path, "raw_path": raw_path}
        await app(scope, receive, send)

    return shortened


class TestParts:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "large.bin"
        write_large(file, 45 * MB)
        return file

    @pytest.fixture(params=["disk", "seaweedfs"])
    def site(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
        """A file of 45 MB has three parts."""
        settings = {"MULTIPART_THRESHOLD": str(10 * MB)}
        if request.param == "disk":
            with embedded_site(tmp_path / "objects", **settings) as site:
                yield site
        else:
            with seaweedfs_site(request.getfixturevalue("seaweedfs"), **settings) as site:
                yield site

    def test_a_part_that_fails_is_sent_again_by_itself(self, site: Site, browser: Chromium, file: Path) -> None:
        site.refuse("large.bin", SLOW_DOWN, part=2, times=2)
        with UploadPage.open(browser, site.page_for_alice, hurry=True) as page:
            assert page.upload(file, dataset="parts") == "The file is verified: the store holds exactly these bytes."
            assert only_about(page.page.faults(), "partNumber=2&")
        assert site.proxy.asked["PUT"] == 3 + 2
        assert site.content_of("parts", "large.bin") == file.read_bytes()

    def test_what_has_arrived_isn_t_sent_again(self, site: Site, browser: Chromium, file: Path) -> None:
        failures = site.refuse("large.bin", SLOW_DOWN, part=3)
        with UploadPage.open(browser, site.page_for_alice, hurry=True) as page:
            assert page.upload(file, dataset="parts") == "1 file couldn't be uploaded."
            assert page.statuses() == {
                "large.bin": "The store couldn't take it: Please reduce your request rate (SlowDown)."
            }
            assert len(failures) == 6
            site.proxy.reset()
            page.page.click("#retryAll")
            assert page.outcome() == "The file is verified: the store holds exactly these bytes."
        assert site.proxy.asked["PUT"] == 1
        assert site.content_of("parts", "large.bin") == file.read_bytes()

    def test_of_a_file_that_was_refused_nothing_is_kept(self, site: Site, browser: Chromium, file: Path) -> None:
        site.refuse("large.bin", BAD_DIGEST, part=3)
        with UploadPage.open(browser, site.page_for_alice) as page:
            assert page.upload(file, dataset="parts") == "1 file couldn't be uploaded."
            site.proxy.reset()
            page.retry("large.bin")
            assert page.outcome() == "The file is verified: the store holds exactly these bytes."
        assert site.proxy.asked["PUT"] == 3


class TestCancelling:
    def test_it_stops_at_once_leaves_nothing_and_can_go_on(
        self, seaweedfs: RunningStore, browser: Chromium, tmp_path: Path
    ) -> None:
        write_large(tmp_path / "set" / "large.bin", 45 * MB)
        write(tmp_path / "set" / "z.csv", b"last")
        store = seaweedfs.client()
        with (
            seaweedfs_site(seaweedfs, MULTIPART_THRESHOLD=str(10 * MB)) as site,
            UploadPage.open(browser, site.page_for_alice) as page,
        ):
            bucket = site.client.variables["STORAGE_BUCKET_NAME"]
            page.drop(tmp_path / "set")
            with site.holding("large.bin"):
                page.start()
                page.page.wait("/Sending [1-9]/.test(document.querySelector('#rows').textContent)")
                assert store.list_multipart_uploads(Bucket=bucket)["Uploads"]
                page.page.click("#cancel")
                assert page.outcome().startswith("Cancelled. ")
                assert page.statuses()["large.bin"] == "Cancelled"
                wait_until(lambda: "Uploads" not in store.list_multipart_uploads(Bucket=bucket))

            site.proxy.reset()
            page.page.click("#retryAll")
            assert page.outcome() == "All 2 files are verified: the store holds exactly these bytes."
            assert page.page.faults() == []


class TestWhatGoesWrong:
    def test_a_bad_name_stops_no_other_file(self, memory: Site, browser: Chromium, tmp_path: Path) -> None:
        folder = tmp_path / "names"
        files = make_dataset(folder, 30)
        for name in ("turned\u202e.csv", "back\\slash.csv"):
            write(folder / name, b"x")
        with UploadPage.open(browser, memory.page_for_alice) as page:
            assert page.upload(folder) == "2 files couldn't be uploaded. The other 30 have arrived."
            statuses = page.statuses()
            assert statuses.pop("turned\u202e.csv") == "The path contains the forbidden character U+202E."
            assert statuses.pop("back\\slash.csv") == "The path contains the forbidden character U+005C."
            assert statuses == dict.fromkeys(files, "Verified")
            assert only_about(page.page.faults(), "/rawstore/authorize")

    def test_a_decomposed_name_is_declared_composed(self, memory: Site, browser: Chromium, tmp_path: Path) -> None:
        write(tmp_path / "nfd" / "Gro\u0308\u00dfe.csv", b"1")
        with UploadPage.open(browser, memory.page_for_alice) as page:
            page.upload(tmp_path / "nfd")
            assert page.statuses() == {"Gr\u00f6\u00dfe.csv": "Verified"}

    def test_a_service_that_takes_small_requests_gets_such(self, browser: Chromium, tmp_path: Path) -> None:
        make_dataset(tmp_path / "small", 60)
        with (
            embedded_site(MAX_BODY_BYTES="2000", MAX_FILES="20") as site,
            UploadPage.open(browser, site.page_for_alice) as page,
        ):
            page.upload(tmp_path / "small")
            assert page.outcome() == "All 60 files are verified: the store holds exactly these bytes."

    def test_a_file_that_changes_after_it_was_chosen(self, memory: Site, browser: Chromium, tmp_path: Path) -> None:
        write(tmp_path / "changing" / "a.csv", b"one")
        with UploadPage.open(browser, memory.page_for_alice) as page:
            page.drop(tmp_path / "changing")
            write(tmp_path / "changing" / "a.csv", b"another")
            page.start()
            assert page.outcome() == "1 file couldn't be uploaded."
            assert page.statuses() == {
                "a.csv": "The file can't be read: it was changed, moved or deleted after it was chosen. "
                "Choose it again."
            }

    def test_a_store_without_a_rule_for_the_page(
        self, seaweedfs: RunningStore, browser: Chromium, tmp_path: Path
    ) -> None:
        write(tmp_path / "no-rule" / "a.csv", b"1")
        with (
            seaweedfs_site(seaweedfs, origins=["https://portal.example"]) as site,
            UploadPage.open(browser, site.page_for_alice, hurry=True) as page,
        ):
            assert page.upload(tmp_path / "no-rule") == "1 file couldn't be uploaded."
            (status,) = page.statuses().values()
            assert status == (
                "The store can't be reached: the connection failed, "
                "or the store has no CORS rule that lets this page in."
            )

    def test_a_store_that_lost_a_file_is_found_out(self, memory: Site, browser: Chromium, tmp_path: Path) -> None:
        write(tmp_path / "lost" / "a.csv", b"1")
        accepted = Reply(200, b"", {"Access-Control-Allow-Origin": "*"})
        memory.refuse("lost/a.csv", accepted)
        with UploadPage.open(browser, memory.page_for_alice) as page:
            assert page.upload(tmp_path / "lost") == "1 file couldn't be uploaded."
            assert page.statuses() == {"a.csv": "The store doesn't have it, though it took it."}
            memory.proxy.reset()
            page.page.click("#retryAll")
            assert page.outcome() == "The file is verified: the store holds exactly these bytes."
            assert page.page.faults() == []
