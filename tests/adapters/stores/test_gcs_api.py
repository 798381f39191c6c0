"""Asking Cloud Storage: access tokens as Google's own library gets them, the bucket's health, and its ACLs."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import aiohttp
import google.auth.transport.requests
import jwt
import pytest
import requests
from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.stores import asking, gcs, gcs_api
from adapters.stores.addresses import BucketAddress
from adapters.stores.contract import make_upload, sign
from adapters.stores.gcs import GcsBucket, GcsSigning
from adapters.stores.gcs_account import GRANT_TYPE, READ_ONLY_SCOPE
from adapters.stores.gcs_api import RENEWAL_SECONDS, BucketApi
from adapters.stores.signing import PUBLIC_ACL
from domain.errors import ErrorCode, Unavailable
from domain.uploads import Access, PostForm, UploadMethod
from tests.adapters.stores.aws import NOW
from tests.adapters.stores.google import EMAIL, TOKEN_URI, account, credentials, private_key
from tests.live import serving
from tests.stores.gcs import RunningGcs
from tests.stores.processes import free_port
from tests.stores.trouble import Trouble, troubled_store

T = TypeVar("T")

UNIFORM = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
FINE_GRAINED = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}}}


@define
class Google:
    """A scripted Google: it gives tokens, and answers about the bucket, as it is told.

    `forms` are those that tokens were asked for with, `authorizations` those that the bucket was asked with, by path.
    """

    origin: str
    token_status: int = 200
    token_body: object = None
    lifetime: float = 3_599
    answers: list[tuple[int, object]] = field(factory=lambda: [(200, {})])
    forms: list[Mapping[str, str]] = field(factory=list)
    headers: list[Mapping[str, str]] = field(factory=list)
    asked: list[tuple[str, str]] = field(factory=list)
    hold: Callable[[Request], Coroutine[None, None, None]] | None = None

    @property
    def token_uri(self) -> str:
        return f"{self.origin}/token"

    @property
    def api(self) -> BucketApi:
        return BucketApi(self.origin, "a bucket", account(self.token_uri))

    async def give_token(self, request: Request) -> Response:
        async with request.form() as form:
            self.forms.append({name: str(value) for name, value in form.items()})
        self.headers.append(request.headers)
        if self.hold is not None:
            await self.hold(request)
        token = {"access_token": f"token-{len(self.forms)}", "expires_in": self.lifetime, "token_type": "Bearer"}
        return _response(self.token_status, token if self.token_body is None else self.token_body)

    async def hang(self, request: Request) -> None:
        """Answer nothing until the client has given up."""
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async def answer(self, request: Request) -> Response:
        self.asked.append((request.scope["raw_path"].decode(), request.headers.get("Authorization", "")))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return _response(status, body)


def _response(status: int, body: object) -> Response:
    return Response(body if isinstance(body, bytes) else json.dumps(body), status, media_type="application/json")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[Google]]]:
    """A server's origin, and who answers there: the last one."""
    answering: list[Google] = []

    async def give_token(request: Request) -> Response:
        return await answering[-1].give_token(request)

    async def answer(request: Request) -> Response:
        return await answering[-1].answer(request)

    routes = [Route("/token", give_token, methods=["POST"]), Route("/{path:path}", answer)]
    with serving(lambda _origin: Starlette(routes=routes)) as origin:
        yield origin, answering


@pytest.fixture
def scripted(server: tuple[str, list[Google]]) -> Google:
    origin, answering = server
    answering.append(Google(origin))
    return answering[-1]


def run(api: BucketApi, scenario: Callable[[BucketApi], Coroutine[None, None, T]]) -> T:
    async def started() -> T:
        await api.start()
        try:
            return await scenario(api)
        finally:
            await api.stop()

    return asyncio.run(started())


async def ask(api: BucketApi) -> int:
    return (await api.list_objects({})).status


def claims_of(assertion: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(assertion, private_key().public_key(), ["RS256"], audience=TOKEN_URI)
    return claims


class TestTokens:
    def test_are_asked_for_as_by_googles_own_library(self, scripted: Google) -> None:
        run(scripted.api, ask)
        theirs = credentials(scripted.token_uri).with_scopes([READ_ONLY_SCOPE])
        with requests.Session() as session:
            theirs.refresh(google.auth.transport.requests.Request(session))
        forms, signed, claims = [dict(form) for form in scripted.forms], [], []
        for form in forms:
            assertion = form.pop("assertion")
            signed.append(jwt.get_unverified_header(assertion))
            claims.append(claims_of(assertion))
        assert forms[0] == forms[1] == {"grant_type": GRANT_TYPE}
        assert signed[0] == signed[1] == {"alg": "RS256", "typ": "JWT", "kid": "0123456789abcdef"}
        began = {claim.pop("iat"): claim.pop("exp") for claim in claims}
        assert all(end - start == 3_600 for start, end in began.items())
        assert max(began) - min(began) < 60
        assert claims[0] == claims[1] == {"iss": EMAIL, "aud": TOKEN_URI, "scope": READ_ONLY_SCOPE}

    def test_are_shown_with_every_request_and_fetched_once(self, scripted: Google) -> None:
        async def many(api: BucketApi) -> list[int]:
            return await asyncio.gather(*(ask(api) for _ in range(20)))

        assert set(run(scripted.api, many)) == {200}
        assert scripted.asked == [("/storage/v1/b/a%20bucket/o", "Bearer token-1")] * 20
        assert len(scripted.forms) == 1

    def test_are_renewed_before_they_end_while_nobody_waits(self, scripted: Google) -> None:
        scripted.lifetime = RENEWAL_SECONDS - 10

        async def twice(api: BucketApi) -> None:
            await ask(api)
            await ask(api)
            assert api._fetching is not None
            await api._fetching
            scripted.lifetime = 3_599
            await ask(api)

        run(scripted.api, twice)
        assert [shown for _, shown in scripted.asked] == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]

    def test_that_have_ended_are_not_shown(self, scripted: Google) -> None:
        scripted.lifetime = 0

        async def twice(api: BucketApi) -> None:
            await ask(api)
            await ask(api)

        run(scripted.api, twice)
        assert [shown for _, shown in scripted.asked] == ["Bearer token-1", "Bearer token-2"]

    def test_that_are_refused_are_replaced(self, scripted: Google) -> None:
        scripted.answers = [(401, {}), (200, {})]

        async def twice(api: BucketApi) -> list[int]:
            return [await ask(api), await ask(api)]

        assert run(scripted.api, twice) == [401, 200]
        assert [shown for _, shown in scripted.asked] == ["Bearer token-1", "Bearer token-2"]

    def test_a_renewal_that_fails_spoils_nothing(self, scripted: Google, caplog: pytest.LogCaptureFixture) -> None:
        scripted.lifetime = RENEWAL_SECONDS - 10

        async def twice(api: BucketApi) -> int:
            await ask(api)
            scripted.token_status = 503
            await ask(api)
            assert api._fetching is not None
            await asyncio.wait([api._fetching])
            return await ask(api)

        assert run(scripted.api, twice) == 200
        assert not caplog.records

    @pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 503])
    def test_an_endpoint_that_gives_none_is_a_failure(self, scripted: Google, status: int) -> None:
        scripted.token_status = status
        scripted.token_body = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        with pytest.raises(Unavailable, match=f"gives no token: it answered {status}") as refused:
            run(scripted.api, ask)
        assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE
        assert scripted.asked == []

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>Log in</html>",
            [],
            {},
            {"access_token": "", "expires_in": 1},
            {"access_token": 5, "expires_in": 1},
            {"access_token": "t"},
            {"access_token": "t", "expires_in": "soon"},
        ],
        ids=repr,
    )
    def test_an_answer_without_one_is_a_failure(self, scripted: Google, body: object) -> None:
        scripted.token_body = body
        with pytest.raises(Unavailable, match="gives no token") as refused:
            run(scripted.api, ask)
        assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE

    @pytest.mark.parametrize("token_uri", ["http://127.0.0.1:1/token", "token", "://", "https://exa mple/"])
    def test_an_endpoint_that_is_not_there_is_a_failure(self, scripted: Google, token_uri: str) -> None:
        api = BucketApi(scripted.origin, "a-bucket", account(token_uri))
        with pytest.raises(Unavailable) as refused:
            run(api, ask)
        assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE

    def test_an_endpoint_that_drips_is_given_up(self, scripted: Google, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gcs_api, "_TOKEN_SECONDS", 0.3)
        slowly = Trouble.saying(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 1_000, pace=0.05)
        with troubled_store(scripted.origin) as relay:
            relay.choose = lambda _method, _target: slowly
            api = BucketApi(scripted.origin, "a-bucket", account(f"{relay.origin}/token"))
            with pytest.raises(Unavailable, match="took too long") as refused:
                run(api, ask)
        assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE

    def test_one_who_gives_up_waiting_takes_it_from_nobody(self, scripted: Google) -> None:
        async def scenario(api: BucketApi) -> int:
            arrived, go_on = asyncio.Event(), asyncio.Event()
            here = asyncio.get_running_loop()

            async def hold(_request: Request) -> None:
                here.call_soon_threadsafe(arrived.set)
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_wait(go_on), here))

            scripted.hold = hold
            impatient, patient = asyncio.create_task(ask(api)), asyncio.create_task(ask(api))
            await arrived.wait()
            impatient.cancel()
            go_on.set()
            return await patient

        assert run(scripted.api, scenario) == 200
        assert len(scripted.forms) == 1

    def test_stopping_waits_for_no_token(self, scripted: Google) -> None:
        async def scenario() -> None:
            arrived, here = asyncio.Event(), asyncio.get_running_loop()

            async def hold(request: Request) -> None:
                here.call_soon_threadsafe(arrived.set)
                await scripted.hang(request)

            scripted.hold = hold
            api = scripted.api
            await api.start()
            asking = asyncio.create_task(ask(api))
            await arrived.wait()
            await api.stop()
            with pytest.raises(asyncio.CancelledError):
                await asking

        asyncio.run(scenario())

    def test_are_shown_to_nobody_else(self, scripted: Google) -> None:
        async def shown(api: BucketApi) -> str:
            await ask(api)
            return repr(api)

        assert "token-1" not in run(scripted.api, shown)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_a_silent_store_is_not_waited_for_long(scripted: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs_api, "_TIMEOUT", aiohttp.ClientTimeout(sock_read=0.2))

    scripted.hold = scripted.hang
    began = time.monotonic()
    with pytest.raises(Unavailable, match="Timeout"):
        run(scripted.api, ask)
    assert time.monotonic() - began < 10


# Health


def check(api: BucketApi) -> None:
    run(api, lambda started: GcsBucket(started).check())


class TestHealth:
    def test_a_bucket_that_can_be_listed_is_ready(self, fake_gcs: RunningGcs) -> None:
        check(BucketApi(fake_gcs.origin, fake_gcs.bucket, account(fake_gcs.token_uri)))

    def test_a_bucket_that_is_not_there_is_not_ready(self, fake_gcs: RunningGcs) -> None:
        with pytest.raises(Unavailable, match="404") as refused:
            check(BucketApi(fake_gcs.origin, "nobody-made-this", account(fake_gcs.token_uri)))
        assert refused.value.code is ErrorCode.STORE_UNAVAILABLE

    @pytest.mark.parametrize("status", [204, 301, 401, 403, 404, 429, 500, 503])
    def test_a_bucket_that_answers_otherwise_is_not_ready(self, scripted: Google, status: int) -> None:
        scripted.answers = [(status, {"error": {"code": status}})]
        with pytest.raises(Unavailable, match=str(status)):
            check(scripted.api)

    def test_a_page_of_something_else_is_not_ready(self, scripted: Google) -> None:
        scripted.answers = [(200, b"<html>Log in</html>")]
        with pytest.raises(Unavailable, match="no JSON object"):
            check(scripted.api)


# Which acl is signed


def learnt(api: BucketApi, *, and_then: Callable[[GcsBucket], Coroutine[None, None, None]] | None = None) -> GcsBucket:
    """Start a bucket whose acl is left open, as `STORAGE_ACL=auto` does."""

    async def scenario(started: BucketApi) -> GcsBucket:
        bucket = GcsBucket(started, auto_acl=True)
        await bucket.start()
        try:
            if and_then is not None:
                await and_then(bucket)
            return bucket
        finally:
            await bucket.stop()

    return run(api, scenario)


class TestAcls:
    @pytest.mark.parametrize(
        ("configuration", "acl"),
        [
            (UNIFORM, None),
            (FINE_GRAINED, PUBLIC_ACL),
            ({"iamConfiguration": {"publicAccessPrevention": "enforced"}}, None),
            ({"iamConfiguration": {"publicAccessPrevention": "inherited"}}, PUBLIC_ACL),
            ({"iamConfiguration": {"uniformBucketLevelAccess": {}}}, PUBLIC_ACL),
            ({"iamConfiguration": {"uniformBucketLevelAccess": []}}, PUBLIC_ACL),
            ({"iamConfiguration": []}, PUBLIC_ACL),
            ({}, PUBLIC_ACL),
        ],
    )
    def test_the_bucket_decides(self, scripted: Google, configuration: object, acl: str | None) -> None:
        scripted.answers = [(200, configuration)]
        bucket = learnt(scripted.api)
        assert bucket.public_acl() == acl
        assert bucket._asking.task is None
        assert [path for path, _ in scripted.asked] == ["/storage/v1/b/a%20bucket"]

    @pytest.mark.parametrize("status", [400, 403, 404, 412])
    def test_a_bucket_that_will_not_say_is_not_asked_again(
        self, scripted: Google, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        scripted.answers = [(status, {})]
        bucket = learnt(scripted.api)
        assert bucket.public_acl() == PUBLIC_ACL
        assert bucket._asking.task is None
        (record,) = [record for record in caplog.records if record.name == gcs.__name__]
        assert record.levelno == logging.WARNING
        assert "STORAGE_ACL" in record.getMessage()

    @pytest.mark.parametrize("failure", [(401, {}), (429, {}), (500, {}), (503, b""), (200, b"<html>a page")])
    def test_a_store_that_fails_is_asked_again_until_it_answers(
        self,
        scripted: Google,
        failure: tuple[int, object],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(asking, "RETRY_SECONDS", 0.01)
        scripted.answers = [failure, failure, (200, UNIFORM)]

        async def wait(bucket: GcsBucket) -> None:
            assert bucket.public_acl() == PUBLIC_ACL
            assert bucket._asking.task is not None
            await asyncio.wait_for(bucket._asking.task, 10)

        assert learnt(scripted.api, and_then=wait).public_acl() is None
        assert caplog.text.count("can't ask the bucket") == 2

    def test_a_store_that_is_down_stops_neither_start_nor_signing(self) -> None:
        origin = f"http://127.0.0.1:{free_port()}"
        signer = account(f"{origin}/token")
        bucket = learnt(BucketApi(origin, "datasets", signer))
        signing = GcsSigning(BucketAddress(origin, "datasets"), signer, bucket.public_acl)
        for access, acl in ((Access.PUBLIC, PUBLIC_ACL), (Access.PRIVATE, "private")):
            request = sign(signing, make_upload(access=access), UploadMethod.POST, now=NOW).request
            assert isinstance(request, PostForm)
            assert request.fields["acl"] == acl

    @pytest.mark.parametrize("acl", [None, "private", "project-private"])
    def test_an_acl_that_was_chosen_is_not_asked_for(self, scripted: Google, acl: str | None) -> None:
        async def scenario(api: BucketApi) -> str | None:
            bucket = GcsBucket(api, acl)
            await bucket.start()
            await bucket.stop()
            return bucket.public_acl()

        assert run(scripted.api, scenario) == acl
        assert scripted.asked == []


def test_stopping_is_safe_at_any_time(scripted: Google) -> None:
    scripted.answers = [(503, {})]

    async def scenario() -> None:
        api = scripted.api
        bucket = GcsBucket(api, auto_acl=True)
        for one in (bucket, api):
            await one.stop()
        for one in (api, bucket):
            await one.start()
        for _ in range(2):
            for one in (bucket, api):
                await one.stop()

    asyncio.run(scenario())
