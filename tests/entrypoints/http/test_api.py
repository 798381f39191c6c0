"""The service as an HTTP server: tokens, routes, methods, bodies, CORS, health; whatever comes in, JSON comes out."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoints.limits import Limits, Pace
from tests import strategies as bits
from tests.entrypoints.http.live_service import OWNER, S3, Answer, LiveService, batch, live_service
from tests.stores.processes import free_port
from tests.tokens import make_token, rsa_key

AUTHORIZE = ("POST", "/rawstore/authorize")
INFO = ("GET", "/rawstore/info")
PRESIGN = ("GET", "/rawstore/presign")
GUARDED = [AUTHORIZE, ("POST", "/rawstore/"), INFO, PRESIGN]


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as running:
        yield running


@pytest.fixture(scope="module")
def small() -> Iterator[LiveService]:
    """A service that takes bodies of at most 1 KiB, and waits for them for a fifth of a second."""
    with live_service(MAX_BODY_BYTES="1024", limits=Limits(Pace(0.2))) as running:
        yield running


def seconds_from_now(seconds: int) -> int:
    return int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp())


class TestTokens:
    """SECURITY "Token", as far as HTTP goes; `tests/adapters/tokens` has the forgeries."""

    def ask(self, service: LiveService, headers: Mapping[str, str], query: str = "") -> Answer:
        return service.send("GET", f"/rawstore/info{query}", headers=headers)

    @pytest.mark.parametrize(
        "place",
        [
            lambda token: ({"Auth-Token": token}, ""),
            lambda token: ({"auth-token": token}, ""),
            lambda token: ({"Authorization": f"Bearer {token}"}, ""),
            lambda token: ({"Authorization": f"bearer  {token} "}, ""),
            lambda token: ({}, f"?jwt={token}"),
            lambda token: ({}, f"?x=1&jwt={quote(token)}&y=2"),
            lambda token: ({"Auth-Token": token, "Authorization": f"Bearer {token}"}, f"?jwt={token}"),
            lambda token: ({"Auth-Token": token, "Authorization": "Basic bWU6c2VjcmV0"}, ""),
        ],
    )
    def test_a_token_is_found_in_each_of_its_places(
        self, service: LiveService, place: Callable[[str], tuple[Mapping[str, str], str]]
    ) -> None:
        assert self.ask(service, *place(service.token())).status == 200

    @pytest.mark.parametrize(("method", "path"), GUARDED)
    def test_without_a_token_nothing_is_told(self, service: LiveService, method: str, path: str) -> None:
        answer = service.send(method, path, body=b"{}" if method == "POST" else None)
        assert (answer.status, answer.code) == (401, "token_missing")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="rawstore"'

    @pytest.mark.parametrize(
        "make",
        [
            lambda _: "",
            lambda _: "testing-token",
            lambda _: "\u00e9",
            lambda service: f"Bearer {service.token()}",
            lambda service: f"{service.token()},{service.token('bob')}",
            lambda service: service.token()[:-2],
            lambda _: make_token(bits.good_claims(now=datetime.now(UTC)), key=rsa_key(1024)),
            lambda _: make_token(bits.good_claims(now=datetime.now(UTC)), header={"alg": "none"}),
            lambda service: service.token(service="other"),
            lambda service: service.token(userid="../bob"),
            lambda service: service.token(exp=None),
            lambda service: service.token(exp="tomorrow"),
            lambda service: service.token(exp=seconds_from_now(90_000)),
            lambda service: service.token(nbf=seconds_from_now(90)),
            lambda service: service.token(iat=seconds_from_now(90)),
            lambda service: service.token(permissions=["datapackage-upload"]),
            lambda _: "x" * 9_000,
        ],
    )
    def test_a_bad_token_is_refused_everywhere(self, service: LiveService, make: Callable[[LiveService], str]) -> None:
        token = make(service)
        for method, path in GUARDED:
            answer = service.send(method, path, headers={"Auth-Token": token}, body=b"{}" if method == "POST" else None)
            assert (answer.status, answer.code) == (401, "token_invalid")
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="rawstore", error="invalid_token"'
            assert not token or token.encode() not in answer.body

    def test_an_expired_token_says_so(self, service: LiveService) -> None:
        answer = self.ask(service, {"Auth-Token": service.token(exp=seconds_from_now(-60))})
        assert (answer.status, answer.code) == (401, "token_expired")
        assert self.ask(service, {"Auth-Token": service.token(exp=seconds_from_now(-20))}).status == 200

    def test_a_bad_token_is_not_rescued_by_a_good_one(self, service: LiveService) -> None:
        good, other = service.token(), service.token("bob")
        for headers, query in [
            ({"Auth-Token": "bad"}, f"?jwt={good}"),
            ({"Auth-Token": ""}, f"?jwt={good}"),
            ({"Auth-Token": good}, "?jwt=bad"),
            ({"Auth-Token": good}, "?jwt="),
            ({"Auth-Token": good}, "?jwt=%ff"),
            ({"Auth-Token": good}, f"?jwt={other}"),
            ({"Auth-Token": good, "Authorization": f"Bearer {other}"}, ""),
            ({"Auth-Token": good, "Authorization": "Bearer"}, ""),
            ({}, f"?jwt={good}&jwt={other}"),
        ]:
            answer = self.ask(service, headers, query)
            assert (answer.status, answer.code) == (401, "token_invalid")

    def test_a_header_that_comes_twice_with_two_tokens_is_refused(self, service: LiveService) -> None:
        lines = f"Auth-Token: {service.token()}\r\nAuth-Token: {service.token('bob')}"
        assert b" 401 " in service.raw(f"GET /rawstore/info HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode())

    @pytest.mark.parametrize(("method", "path"), GUARDED)
    def test_a_token_without_the_permission_allows_nothing(self, service: LiveService, method: str, path: str) -> None:
        body = json.dumps(batch()) if method == "POST" else None
        query = f"?ownerid={OWNER}&url=x" if path.endswith("presign") else ""
        answer = service.send(method, f"{path}{query}", token=service.token(permissions={}), body=body)
        assert (answer.status, answer.code) == (403, "permission_missing")

    @settings(max_examples=60)
    @given(token=st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=60))
    def test_any_text_is_refused(self, service: LiveService, token: str) -> None:
        assert self.ask(service, {"Auth-Token": token.encode("latin-1").decode("latin-1")}).status in (400, 401)
        assert self.ask(service, {}, f"?jwt={quote(token)}").status == 401


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("GET", "/rawstore/authorize", {"POST"}),
            ("PUT", "/rawstore/authorize", {"POST"}),
            ("DELETE", "/rawstore/authorize", {"POST"}),
            ("OPTIONS", "/rawstore/authorize", {"POST"}),
            ("HEAD", "/rawstore/authorize", {"POST"}),
            ("GET", "/rawstore/", {"POST"}),
            ("GET", "/rawstore", {"POST"}),
            ("POST", "/rawstore/info", {"GET", "HEAD"}),
            ("PUT", "/rawstore/presign", {"GET", "HEAD", "POST"}),
            ("POST", "/rawstore/objects", {"GET", "HEAD"}),
            ("POST", "/healthz", {"GET", "HEAD"}),
            ("PATCH", "/readyz", {"GET", "HEAD"}),
        ],
    )
    def test_another_method_is_told_which_is_right(
        self, service: LiveService, method: str, path: str, allowed: set[str]
    ) -> None:
        answer = service.send(method, path)
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == allowed
        assert method == "HEAD" or answer.code == "method_not_allowed"

    @pytest.mark.parametrize(
        "path",
        [
            *("/", "/rawstore/authorize/", "/rawstore/x", "/rawstore//authorize", "/RAWSTORE/authorize", "/authorize"),
            *(
                "/rawstore/authorize/x",
                "/favicon.ico",
                "/healthz/",
                "/%00",
                "/%ff",
                "/..%2f..%2fetc/passwd",
                "/" + "x" * 5_000,
            ),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_another_path_is_told_that_nothing_is_there(self, service: LiveService, method: str, path: str) -> None:
        answer = service.send(method, path)
        assert (answer.status, answer.code) == (404, "not_found")

    def test_the_service_answers_under_its_name(self) -> None:
        with live_service(SERVICE_NAME="bits") as service:
            token = service.token(service="bits")
            assert service.send("GET", "/bits/info", token=token).json["service"] == "bits"
            assert service.send("GET", "/rawstore/info", token=token).status == 404
            answer = service.send("GET", "/bits/info", token=service.token())
            assert (answer.status, answer.headers["WWW-Authenticate"].startswith('Bearer realm="bits"')) == (401, True)

    def test_head_is_get_without_a_body(self, service: LiveService) -> None:
        for path in ("/rawstore/info", "/healthz", "/readyz"):
            got = service.send("GET", path, token=service.token())
            head = service.send("HEAD", path, token=service.token())
            assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(got.body)))

    @pytest.mark.parametrize("line", ["GET /\x00 HTTP/1.1", "G@T / HTTP/1.1", "FROBNICATE / HTTP/1.1", "nonsense"])
    def test_what_is_not_http_is_refused(self, service: LiveService, line: str) -> None:
        assert service.raw(f"{line}\r\nHost: x\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")


class TestBodies:
    def test_a_body_up_to_the_limit_is_read(self, small: LiveService) -> None:
        body = json.dumps(batch()).encode().ljust(1024)
        assert small.authorize(body).status == 200
        assert small.authorize(body, chunked=True).status == 200

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_longer_body_is_refused(self, small: LiveService, chunked: bool) -> None:
        answer = small.authorize(json.dumps(batch()).encode().ljust(1025), chunked=chunked)
        assert (answer.status, answer.code) == (413, "body_too_large")

    def test_a_body_that_says_it_will_be_longer_is_not_waited_for(self, small: LiveService) -> None:
        head = f"POST /rawstore/authorize HTTP/1.1\r\nHost: x\r\nAuth-Token: {small.token()}\r\n"
        for length in ("1025", "99999999999", "9" * 19):
            assert b" 413 " in small.raw(f"{head}Content-Length: {length}\r\n\r\n".encode())

    def test_nothing_is_read_without_a_token(self, small: LiveService) -> None:
        answer = small.raw(b"POST /rawstore/authorize HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert b" 401 " in answer

    @pytest.mark.parametrize("sent", [b"", b'{"metadata": '])
    @pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
    def test_a_body_that_does_not_arrive_is_given_up(self, small: LiveService, sent: bytes, framing: str) -> None:
        head = f"POST /rawstore/authorize HTTP/1.1\r\nHost: x\r\nAuth-Token: {small.token()}\r\n{framing}\r\n\r\n"
        chunk = b"%x\r\n%s\r\n" % (len(sent), sent) if "chunked" in framing and sent else sent
        answer = small.raw(head.encode() + chunk, until=b"}}")
        assert b" 408 " in answer
        assert b'"body_timeout"' in answer

    def test_more_requests_at_once_than_there_are_places_are_turned_away_until_one_is_free(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as silent_store,
            ThreadPoolExecutor() as threads,
            live_service(
                S3,
                STORAGE_HOSTNAME=f"http://127.0.0.1:{silent_store.getsockname()[1]}",
                INSPECT_ON_AUTHORIZE="true",
                INSPECT_TIMEOUT_SECONDS="1",
                limits=Limits(requests_at_once=1),
            ) as service,
        ):
            lines = f"Host: x\r\nAuth-Token: {service.token()}\r\nContent-Length: 9\r\n\r\n"
            with pytest.raises(TimeoutError):  # half of a request takes no place
                service.raw(f"POST /rawstore/authorize HTTP/1.1\r\n{lines}".encode(), seconds=0.1)
            waiting = threads.submit(service.authorize, batch())
            silent_store.settimeout(20)
            asked, _ = silent_store.accept()  # now the first request waits for the store
            with asked:
                turned_away = service.authorize(batch(), expect_unavailable=True)
                assert (turned_away.status, turned_away.code) == (503, "overloaded")
                assert turned_away.headers["Retry-After"] == "1"
                assert service.info()
                assert waiting.result().status == 200
                assert service.authorize(batch()).status == 200

    def test_requests_that_wait_for_nothing_do_not_turn_each_other_away(self) -> None:
        """However many arrive in one moment, and however few places there are."""
        body = json.dumps(batch()).encode()
        with live_service(limits=Limits(requests_at_once=4)) as service, ExitStack() as stack:
            lines = f"Host: x\r\nAuth-Token: {service.token()}\r\nContent-Length: {len(body)}\r\n\r\n"
            request = f"POST /rawstore/authorize HTTP/1.1\r\n{lines}".encode() + body
            url = urlsplit(service.origin)
            address = url.hostname or "", url.port or 80
            connections = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(64)]
            for sent in (request[:-1], request[-1:]):
                for connection in connections:
                    connection.sendall(sent)
            assert {connection.recv(12) for connection in connections} == {b"HTTP/1.1 200"}

    def test_others_are_served_while_a_body_does_not_arrive(self, service: LiveService) -> None:
        lines = f"Host: x\r\nAuth-Token: {service.token()}\r\nContent-Length: 9\r\n\r\n"
        with pytest.raises(TimeoutError):
            service.raw(f"POST /rawstore/authorize HTTP/1.1\r\n{lines}".encode(), seconds=0.1)
        start = time.monotonic()
        assert service.authorize(batch()).status == 200
        assert time.monotonic() - start < 20

    @pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "identity, gzip", "x"])
    def test_a_compressed_body_is_refused(self, service: LiveService, encoding: str) -> None:
        answer = service.authorize(batch(), headers={"Content-Encoding": encoding})
        assert (answer.status, answer.code) == (415, "unsupported_media_type")
        assert service.authorize(batch(), headers={"Content-Encoding": "identity"}).status == 200

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "nonsense"])
    def test_the_type_of_a_body_does_not_matter(self, service: LiveService, content_type: str) -> None:
        """Deployed clients send JSON under whatever name their libraries choose."""
        assert service.authorize(batch(), headers={"Content-Type": content_type}).status == 200


class TestCors:
    PREFLIGHT: Mapping[str, str] = {
        "Origin": "https://portal.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "auth-token, content-type",
    }

    def test_a_browser_may_ask_from_anywhere(self, service: LiveService) -> None:
        answer = service.send("OPTIONS", "/rawstore/authorize", headers=self.PREFLIGHT)
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert {"GET", "HEAD", "POST", "PUT"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert answer.headers["Access-Control-Allow-Headers"] == "auth-token, content-type"
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        assert "Access-Control-Allow-Credentials" not in answer.headers

    def test_a_browser_may_send_forms_to_the_store(self, service: LiveService) -> None:
        answer = service.send("OPTIONS", "/store/datasets", headers=self.PREFLIGHT)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")

    @pytest.mark.parametrize(("method", "path"), [INFO, AUTHORIZE, ("GET", "/nowhere"), ("GET", "/healthz")])
    @pytest.mark.parametrize("cookie", [{}, {"Cookie": "session=1"}])
    def test_scripts_may_read_answers_and_errors(
        self, service: LiveService, method: str, path: str, cookie: Mapping[str, str]
    ) -> None:
        answer = service.send(method, path, headers={"Origin": "https://portal.example.com", **cookie})
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://portal.example.com")
        assert "Access-Control-Allow-Credentials" not in answer.headers
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"ETag", "Location", "Retry-After", "WWW-Authenticate"} <= exposed

    @pytest.mark.parametrize("origins", ["*", "https://portal.example.com"])
    def test_what_a_cache_kept_for_others_is_not_given_to_a_browser(self, origins: str) -> None:
        with live_service(CORS_ALLOW_ORIGINS=origins) as service:
            assert "Origin" in service.send("GET", "/store/datasets/alice/a.csv").headers["Vary"]

    def test_origins_can_be_limited(self) -> None:
        with live_service(CORS_ALLOW_ORIGINS="https://portal.example.com") as service:
            mine = service.send("OPTIONS", "/rawstore/authorize", headers=self.PREFLIGHT)
            assert mine.headers["Access-Control-Allow-Origin"] == "https://portal.example.com"
            theirs = service.send(
                "OPTIONS", "/rawstore/info", headers={**self.PREFLIGHT, "Origin": "https://evil.example"}
            )
            assert theirs.status == 400
            assert "Access-Control-Allow-Origin" not in theirs.headers


class TestHealth:
    def test_a_service_that_is_up_is_alive_and_ready(self, service: LiveService) -> None:
        assert service.send("GET", "/healthz").json == {"status": "ok"}
        assert service.send("GET", "/readyz").json == {"status": "ready"}

    @pytest.mark.parametrize("acl", ["none", "auto"])
    def test_a_store_that_is_down_stops_no_signing(self, acl: str) -> None:
        host = f"http://127.0.0.1:{free_port()}"
        with live_service(S3, STORAGE_HOSTNAME=host, STORAGE_ACL=acl, INSPECT_ON_AUTHORIZE="true") as service:
            assert service.send("GET", "/healthz").status == 200
            answer = service.send("GET", "/readyz", expect_unavailable=True)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert answer.json["status"] == "not ready"
            assert len(answer.json["problems"]) == 1
            file = service.sign(batch())["a.csv"]
            assert (file["exists"], file["upload_query"].get("acl")) == (
                None,
                {"none": None, "auto": "public-read"}[acl],
            )


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "666"},
        {"Forwarded": "host=evil.example;proto=https", "X-Original-URL": "/evil", "X-Rewrite-URL": "/evil"},
        {"X-Forwarded-Prefix": "/evil", "X-Script-Name": "/evil", "Origin": "https://evil.example"},
    ],
)
def test_what_a_client_says_of_our_host_decides_nothing(service: LiveService, headers: Mapping[str, str]) -> None:
    host = urlsplit(service.origin).netloc
    post, put = (service.sign(batch(more={"accept": [way]}), headers=headers)["a.csv"] for way in ("POST", "PUT"))
    assert {urlsplit(file[name]).netloc for file in (post, put) for name in ("upload_url", "object_url")} == {host}
    presigned = service.presign(f"ownerid={OWNER}&url={post['object_url']}", headers=headers)
    assert urlsplit(presigned.json["url"]).netloc == host
    info = service.send("GET", "/rawstore/info", token=service.token(), headers=headers)
    assert all("evil" not in json.dumps(told) for told in (post, put, presigned.json, info.json))
