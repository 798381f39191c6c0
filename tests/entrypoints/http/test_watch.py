"""What every answer has: a request's id, and CORS headers, also where something broke."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import pytest
import urllib3
from attrs import evolve
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send
from urllib3.exceptions import HTTPError

from application.describe_store import DescribeStore
from domain.identity import Principal
from entrypoints.counters import Counters
from entrypoints.http.app import create_app
from entrypoints.http.audit import Audit
from entrypoints.http.watch import Routes, Watch
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.entrypoints.http.live_service import MEMORY, LiveService, batch, live_service
from tests.live import serving
from tests.scraped import scrape

ORIGIN = {"Origin": "https://portal.example.com"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "auth-token"}


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as running:
        yield running


class TestRequestIds:
    @pytest.mark.parametrize("given", ["1", "a-B_c.9", "6f9619ff-8b86-d011-b42d-00c04fc964ff", "x" * 128])
    def test_one_that_is_given_is_kept(self, service: LiveService, given: str) -> None:
        assert service.send("GET", "/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given

    @pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "<script>", "a;b", "a\tb", "ä", "%0a", "a,b"])
    def test_one_that_could_do_harm_is_replaced(self, service: LiveService, given: str) -> None:
        answer = service.send("GET", "/healthz", headers={"X-Request-Id": given.encode().decode("latin-1")})
        assert answer.headers["X-Request-Id"] != given
        assert answer.headers["X-Request-Id"].isalnum()

    @pytest.mark.parametrize(
        ("method", "path", "headers", "status"),
        [
            ("GET", "/healthz", {}, 200),
            ("GET", "/healthz", ORIGIN, 200),
            ("GET", "/metrics", {}, 200),
            ("GET", "/rawstore/info", {}, 401),
            ("GET", "/nowhere", {}, 404),
            ("DELETE", "/healthz", {}, 405),
            ("GET", "/store/datasets/alice/none", {}, 403),
            ("OPTIONS", "/rawstore/authorize", PREFLIGHT, 200),
        ],
    )
    def test_every_answer_has_one_of_its_own(
        self, service: LiveService, method: str, path: str, headers: Mapping[str, str], status: int
    ) -> None:
        answers = [service.send(method, path, headers=headers) for _ in range(2)]
        assert {answer.status for answer in answers} == {status}
        assert len({answer.headers["X-Request-Id"] for answer in answers}) == 2

    def test_the_store_calls_it_as_s3_does(self, service: LiveService) -> None:
        answer = service.send("GET", "/store/datasets/alice/none", headers={"X-Request-Id": "mine"})
        assert (answer.headers["X-Request-Id"], answer.headers["x-amz-request-id"]) == ("mine", "mine")
        assert b"<RequestId>mine</RequestId>" in answer.body

    def test_bodies_of_errors_stay_as_they_were(self, service: LiveService) -> None:
        answer = service.send("GET", "/rawstore/info", headers={"X-Request-Id": "mine"})
        assert answer.code == "token_missing"
        assert b"mine" not in answer.body

    def test_scripts_may_read_it(self, service: LiveService) -> None:
        exposed = service.send("GET", "/healthz", headers=ORIGIN).headers["Access-Control-Expose-Headers"]
        assert "X-Request-Id" in exposed.split(", ")


class _Faulty(DescribeStore):
    def __call__(self, _: Principal) -> NoReturn:
        raise RuntimeError("a fault\nof our own")


@contextmanager
def broken_service(**changes: str) -> Iterator[LiveService]:
    """A service that fails whenever it is asked for /info."""

    def make_app(origin: str) -> Starlette:
        service = wire(Settings.from_environment({"PUBLIC_URL": origin, **MEMORY, **changes}))
        whole = service.describe_store
        faulty = _Faulty(whole.signer, whole.rules, whole.lifetime, whole.threshold)
        return create_app(evolve(service, describe_store=faulty))

    with serving(make_app) as origin, urllib3.PoolManager(retries=False, timeout=20) as http:
        yield LiveService(origin, http)


class TestFaults:
    def ask(self, service: LiveService, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        shown = {"Auth-Token": service.token(), "X-Request-Id": "mine", **headers}
        return service.http.request("GET", f"{service.root}/info", headers=shown)

    @pytest.mark.parametrize(
        ("origins", "allowed"), [("*", "*"), (ORIGIN["Origin"], ORIGIN["Origin"]), ("https://else.example", None)]
    )
    def test_scripts_may_read_that_something_went_wrong(self, origins: str, allowed: str | None) -> None:
        with broken_service(CORS_ALLOW_ORIGINS=origins) as service:
            answer = self.ask(service, ORIGIN)
        assert answer.status == 500
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert "Origin" in answer.headers["Vary"]

    def test_a_fault_is_answered_in_json_without_saying_more(self, caplog: pytest.LogCaptureFixture) -> None:
        with broken_service() as service:
            answer = self.ask(service, {})
            scraped = scrape(service.origin)
        assert (answer.status, answer.headers["X-Request-Id"]) == (500, "mine")
        assert json.loads(answer.data)["error"]["code"] == "internal_error"
        assert b"fault" not in answer.data
        assert scraped.value("bitstore_http_requests_total", route="/rawstore/info", status="500") == 1
        assert scraped.value("bitstore_refusals_total", code="internal_error") == 1
        assert scraped.value("bitstore_http_requests_in_progress") == 1
        logged = [record for record in caplog.records if record.exc_info]
        assert [str(record.exc_info[1]) for record in logged if record.exc_info] == ["a fault\nof our own"]

    def test_a_fault_in_the_middle_of_an_answer_breaks_the_connection(self) -> None:
        counters = Counters()

        async def fail(_: Scope, __: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError

        def make_app(_: str) -> ASGIApp:
            routes = Routes(frozenset())
            return Watch(fail, audit=Audit(counters), routes=routes, cors_origins=["*"], log_requests=False)

        with serving(make_app) as origin, pytest.raises(HTTPError):
            urllib3.request("GET", origin, retries=False, timeout=20)
        assert [*counters.answers] == [("other", "GET", "200")]
        assert counters.in_progress == 0


class TestLogOfRequests:
    def test_it_is_written_if_it_is_wanted(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "bitstore.requests")
        with live_service(LOG_REQUESTS="true") as service:
            service.send("GET", f"/rawstore/info?jwt={service.token()}")
        (record,) = [record for record in caplog.records if record.name == "bitstore.requests"]
        fields = vars(record)["fields"]
        assert fields.pop("seconds") > 0
        assert fields.pop("request_id")
        assert fields == {"method": "GET", "path": "/rawstore/info", "status": "200"}

    def test_it_is_not_written_otherwise(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        with live_service() as service:
            service.sign(batch())
        assert not [record for record in caplog.records if record.name == "bitstore.requests"]
