"""What is counted, as Prometheus reads it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.exceptions import HTTPError

from domain.errors import ErrorCode
from entrypoints.counters import BUCKET_SECONDS, Durations
from entrypoints.http.s3_errors import STATUS_BY_S3_CODE
from entrypoints.limits import Limits
from tests.entrypoints.http.live_service import (
    BUCKET,
    CONTENT,
    OWNER,
    S3,
    LiveService,
    batch,
    declaration,
    live_service,
)
from tests.scraped import Scraped, scrape
from tests.stores.processes import free_port


@pytest.fixture
def service() -> Iterator[LiveService]:
    """A service of its own for each test: counts begin with 0."""
    with live_service() as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[LiveService]:
    with live_service() as running:
        yield running


def refusals(scraped: Scraped) -> dict[str, float]:
    codes = {code: scraped.value("bitstore_refusals_total", code=code) for code in ErrorCode}
    return {code.value: value for code, value in codes.items() if value}


class TestAuthorizations:
    def test_files_and_bytes_are_counted_by_how_they_are_sent(self, service: LiveService) -> None:
        service.sign(batch({"a": declaration(b"12345"), "b": declaration(b"678")}))
        service.sign(batch({"c": declaration(b"1")}, more={"accept": ["PUT"]}))
        service.sign(batch({"d": declaration(CONTENT * 10)}, more={"accept": ["MULTIPART"]}))
        scraped = scrape(service.origin)
        expected = {"POST": (2, 8), "PUT": (1, 1), "MULTIPART": (1, len(CONTENT) * 10)}
        for method, (files, size) in expected.items():
            assert scraped.value("bitstore_authorized_files_total", upload_method=method) == files
            assert scraped.value("bitstore_authorized_bytes_total", upload_method=method) == size
        assert scraped.value("bitstore_authorized_files_total") == 4

    def test_a_batch_may_be_sent_in_both_ways(self) -> None:
        with live_service(MULTIPART_THRESHOLD="6") as service:
            files = {"whole": declaration(b"123456"), "parts": declaration(b"1234567")}
            service.sign(batch(files, more={"accept": ["MULTIPART", "PUT"]}))
            scraped = scrape(service.origin)
        for method, size in {"PUT": 6, "MULTIPART": 7}.items():
            assert scraped.value("bitstore_authorized_files_total", upload_method=method) == 1
            assert scraped.value("bitstore_authorized_bytes_total", upload_method=method) == size

    def test_what_the_store_has_already_is_counted(self, service: LiveService) -> None:
        file = service.sign(batch(more={"accept": ["PUT"]}))["a.csv"]
        service.http.request("PUT", file["upload_url"], body=CONTENT, headers=file["upload_headers"])
        service.sign(batch({"a.csv": declaration(), "b.csv": declaration()}))
        assert scrape(service.origin).value("bitstore_existing_files_total") == 1

    def test_what_was_refused_is_not_counted_as_authorized(self, service: LiveService) -> None:
        service.authorize(batch({"good": declaration(), "bad": declaration(length=-1)}))
        scraped = scrape(service.origin)
        assert scraped.value("bitstore_authorized_files_total") == 0
        assert scraped.value("bitstore_refused_files_total", code="invalid_length") == 1
        assert scraped.value("bitstore_refused_files_total") == 1

    def test_tokens_are_recognised_or_verified(self, service: LiveService) -> None:
        token = service.token()
        for _ in range(3):
            service.send("GET", "/rawstore/info", token=token)
        service.send("GET", "/rawstore/info", token=service.token("bob"))
        scraped = scrape(service.origin)
        assert scraped.value("bitstore_token_cache_hits_total") == 2
        assert scraped.value("bitstore_token_cache_misses_total") == 2


class TestRequests:
    def test_they_are_counted_by_route_method_and_status(self, service: LiveService) -> None:
        service.sign(batch())
        service.authorize(batch({}))
        service.send("GET", "/rawstore/authorize")
        service.send("GET", "/rawstore/info")
        scraped = scrape(service.origin)

        def requests(**labels: str) -> float:
            return scraped.value("bitstore_http_requests_total", **labels)

        assert requests(route="/rawstore/authorize", method="POST", status="200") == 1
        assert requests(route="/rawstore/authorize", method="POST", status="400") == 1
        assert requests(route="/rawstore/authorize", method="GET", status="405") == 1
        assert requests(route="/rawstore/info", method="GET", status="401") == 1
        assert refusals(scraped) == {"empty_batch": 1, "method_not_allowed": 1, "token_missing": 1}

    def test_a_histogram_has_all_statuses_of_a_route(self, service: LiveService) -> None:
        service.sign(batch())
        service.authorize(batch({}))
        scraped = scrape(service.origin)
        name, labels = "bitstore_http_request_duration_seconds", {"route": "/rawstore/authorize", "method": "POST"}
        assert scraped.value(f"{name}_count", **labels) == 2
        assert scraped.value(f"{name}_bucket", le="+Inf", **labels) == 2
        assert scraped.value(f"{name}_sum", **labels) > 0

    @settings(max_examples=25)
    @given(
        method=st.sampled_from(["GET", "POST", "TRACE", "PROPFIND", "MKCOL", "DELETE"]),
        path=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=30),
        folder=st.sampled_from(["/", "/rawstore/", "/store/", "/store/datasets/", "/metrics/"]),
    )
    def test_clients_make_no_labels(self, shared: LiveService, method: str, path: str, folder: str) -> None:
        with suppress(HTTPError):  # some of these are no requests
            shared.http.request(method, f"{shared.origin}{folder}{path}", headers={"X-Request-Id": path})
        scraped = scrape(shared.origin)
        known = {"other", "/store/", "/metrics", "/healthz", "/readyz", "/rawstore", "/rawstore/"}
        below = {f"/rawstore/{name}" for name in ("authorize", "verify", "info", "presign")}
        assert {route for route in scraped.values_of("route") if not route.startswith("/rawstore/multipart/")} <= (
            known | below
        )
        assert scraped.values_of("method") <= {"GET", "POST", "DELETE", "other"}
        assert all(
            status == "none" or (status.isdigit() and len(status) == 3) for status in scraped.values_of("status")
        )
        assert scraped.values_of("code") == {*ErrorCode, *STATUS_BY_S3_CODE}

    def test_one_that_is_under_way_is_in_progress(self, service: LiveService) -> None:
        assert scrape(service.origin).value("bitstore_http_requests_in_progress") == 1  # the scrape itself
        assert scrape(service.origin).value("bitstore_places_free") == 512

    def test_a_service_without_a_free_place_still_tells_how_it_is(self) -> None:
        with live_service(limits=Limits(requests_at_once=0)) as service:
            assert service.authorize(batch(), expect_unavailable=True).code == "overloaded"
            assert service.send("GET", "/healthz").status == 200
            scraped = scrape(service.origin)
        assert refusals(scraped) == {"overloaded": 1}
        assert scraped.value("bitstore_places_free") == 0

    def test_head_gives_no_body(self, service: LiveService) -> None:
        answer = service.send("HEAD", "/metrics")
        assert (answer.status, answer.body) == (200, b"")

    def test_versions_are_told(self, service: LiveService) -> None:
        assert scrape(service.origin).value("bitstore_build_info") == 1


class TestStores:
    def test_bytes_and_refusals_of_the_embedded_store(self, service: LiveService) -> None:
        file = service.sign(batch(more={"accept": ["PUT"]}))["a.csv"]
        address = f"{service.origin}/store/{BUCKET}/{OWNER}/tides/a.csv"
        for content, status in ((CONTENT.swapcase(), 400), (CONTENT, 200)):
            answer = service.http.request("PUT", file["upload_url"], body=content, headers=file["upload_headers"])
            assert answer.status == status
        assert service.http.request("GET", address).data == CONTENT
        assert service.http.request("GET", address, headers={"Range": "bytes=0-4"}).data == CONTENT[:5]
        assert service.http.request("GET", f"{address}.none").status == 403
        scraped = scrape(service.origin)
        assert scraped.value("bitstore_store_received_bytes_total") == 2 * len(CONTENT)
        assert scraped.value("bitstore_store_sent_bytes_total") == len(CONTENT) + 5
        assert scraped.value("bitstore_store_refusals_total", code="BadDigest") == 1
        assert scraped.value("bitstore_store_refusals_total", code="AccessDenied") == 1
        assert scraped.value("bitstore_store_refusals_total") == 2
        assert scraped.value("bitstore_http_requests_total", route="/store/", method="PUT", status="200") == 1

    def test_inspections_are_timed(self, service: LiveService) -> None:
        service.sign(batch())
        assert scrape(service.origin).value("bitstore_inspect_duration_seconds_count") == 1

    def test_so_is_a_glance_that_tells_of_a_whole_dataset(self, tmp_path: Path) -> None:
        with live_service(STORAGE_BACKEND="disk", STORAGE_DISK_ROOT=str(tmp_path / "store")) as service:
            for _ in range(2):  # the first look makes the directories of an empty store
                assert service.sign(batch())["a.csv"]["exists"] is False
            assert scrape(service.origin).value("bitstore_inspect_duration_seconds_count") == 2

    def test_a_store_that_is_down_is_an_error_of_the_store_and_no_refusal(self) -> None:
        host = f"http://127.0.0.1:{free_port()}"
        with live_service(S3, STORAGE_HOSTNAME=host, INSPECT_ON_AUTHORIZE="true") as service:
            assert service.sign(batch())["a.csv"]["exists"] is None
            scraped = scrape(service.origin)
            assert scraped.value("bitstore_store_errors_total", operation="inspect") == 1
            assert refusals(scraped) == {}
            service.authorize(batch(more={"accept": ["MULTIPART"]}), expect_unavailable=True)
            upload_id = f"{'0' * 32}.of-the-store"
            for what in ("resume", "abort"):
                self.ask_of_parts(service, what, upload_id, expect_unavailable=True)
            scraped = scrape(service.origin)
        for operation in ("begin_parts", "list_parts", "abort_parts"):
            assert scraped.value("bitstore_store_errors_total", operation=operation) == 1
        assert refusals(scraped) == {"store_unavailable": 3}
        assert scraped.value("bitstore_parts_uploads_total") == 0

    def ask_of_parts(self, service: LiveService, what: str, upload_id: str, **options: Any) -> None:
        body = {"metadata": batch()["metadata"], "path": "a.csv", "file": declaration(), "upload_id": upload_id}
        encoded = json.dumps(body).encode()
        service.send("POST", f"/rawstore/multipart/{what}", token=service.token(), body=encoded, **options)

    def test_what_becomes_of_uploads_in_parts_is_counted(self, service: LiveService) -> None:
        for end in ("abort", "complete"):
            file = service.sign(batch(more={"accept": ["MULTIPART"]}))["a.csv"]
            (part,) = file["parts"]
            service.http.request("PUT", part["url"], body=CONTENT, headers=part["headers"])
            self.ask_of_parts(service, end, file["upload_id"])
        scraped = scrape(service.origin)
        for event, uploads in {"begun": 2, "completed": 1, "aborted": 1}.items():
            assert scraped.value("bitstore_parts_uploads_total", event=event) == uploads


@given(st.lists(st.sampled_from([*BUCKET_SECONDS, 0.0, 1e9, *(bound * 1.01 for bound in BUCKET_SECONDS)])))
def test_durations_are_in_the_class_that_they_belong_to(seconds: list[float]) -> None:
    durations = Durations()
    for one in seconds:
        durations.add(one)
    for number, bound in enumerate(BUCKET_SECONDS):
        assert sum(durations.buckets[: number + 1]) == sum(one <= bound for one in seconds)
    assert sum(durations.buckets) == len(seconds)
    assert durations.seconds == pytest.approx(sum(seconds))
