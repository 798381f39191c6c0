"""Credentials from the AWS SDK's own chain: found, refreshed, rotated, expired; and what they sign."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from adapters.stores import credentials
from adapters.stores.contract import CONTENT, make_upload, send, sign
from adapters.stores.credentials import ChainCredentials
from adapters.stores.sigv4 import Credentials
from domain.errors import ErrorCode, Unavailable
from domain.uploads import SINGLE_REQUEST, UploadMethod
from tests.entrypoints.http.live_service import S3, batch, live_service
from tests.live import serving
from tests.stores.servers import RunningStore
from tests.stores.test_contract import s3_harness

IN_FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def empty_chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the chain find only what a test puts into the environment or into the file `credentials`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


def found_by_chain(then: Callable[[ChainCredentials], Awaitable[Any]] | None = None) -> Credentials:
    async def look() -> Credentials:
        chain = ChainCredentials()
        await chain.start()
        try:
            if then is not None:
                await then(chain)
            return chain()
        finally:
            await chain.stop()

    return asyncio.run(look())


def write_profile(folder: Path, key_id: str) -> None:
    (folder / "credentials").write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = secret\n")


class RoleServer:
    """What a container or an instance asks for its role's credentials; they live for five minutes."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False
        self.lifetime = IN_FIVE_MINUTES
        self.garbage: str | None = None

    def app(self, _origin: str) -> Starlette:
        role = "/latest/meta-data/iam/security-credentials"
        return Starlette(
            routes=[
                Route("/credentials", self.credentials),
                Route("/sts", self.assumed_role, methods=["POST"]),
                Route("/latest/api/token", lambda _: PlainTextResponse("imds-token"), methods=["PUT"]),
                Route(f"{role}/", lambda _: PlainTextResponse("a-role")),
                Route(f"{role}/a-role", self.credentials),
            ]
        )

    def credentials(self, _request: Request) -> Response:
        if self.down:
            return PlainTextResponse("down", 500)
        if self.garbage is not None:
            return Response(self.garbage)
        role = self.new_credentials()
        return JSONResponse({"Code": "Success", **role, "Token": role["SessionToken"]})

    def assumed_role(self, _request: Request) -> Response:
        members = "".join(f"<{name}>{value}</{name}>" for name, value in self.new_credentials().items())
        result = (
            f"<AssumeRoleWithWebIdentityResult><Credentials>{members}</Credentials></AssumeRoleWithWebIdentityResult>"
        )
        document = f"<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>"
        return Response(document, media_type="text/xml")

    def new_credentials(self) -> dict[str, str]:
        self.asked += 1
        return {
            "AccessKeyId": f"role-key-{self.asked}",
            "SecretAccessKey": "role-secret",
            "SessionToken": "role-token",
            "Expiration": (datetime.now(UTC) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@pytest.fixture
def role_server() -> Iterator[tuple[RoleServer, str]]:
    server = RoleServer()
    with serving(server.app) as origin:
        yield server, origin


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert found_by_chain() == Credentials("from-environment", "secret", "token")


def test_a_key_that_is_rotated_in_the_profile_is_picked_up_while_running(tmp_path: Path) -> None:
    write_profile(tmp_path, "old-key")

    async def rotate(chain: ChainCredentials) -> None:
        assert chain().access_key_id == "old-key"
        write_profile(tmp_path, "new-key")
        await chain.refresh()

    assert found_by_chain(rotate).access_key_id == "new-key"


def test_a_chain_that_finds_nothing_signs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unavailable) as refused:
        found_by_chain()
    assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE
    assert not caplog.records or "secret" not in caplog.text


def test_a_containers_role_gives_credentials_that_say_when_they_expire(
    role_server: tuple[RoleServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{role_server[1]}/credentials")
    _assert_role_credentials(found_by_chain())


def test_an_instances_role_gives_credentials_that_say_when_they_expire(
    role_server: tuple[RoleServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", role_server[1])
    _assert_role_credentials(found_by_chain())


def _assert_role_credentials(found: Credentials) -> None:
    assert found.access_key_id.startswith("role-key-")
    assert found.session_token == "role-token"
    assert found.expires_at is not None
    assert found.expires_at <= datetime.now(UTC) + IN_FIVE_MINUTES


def test_role_credentials_are_refreshed_and_outlive_a_failed_refresh(
    role_server: tuple[RoleServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, origin = role_server
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{origin}/credentials")

    async def refresh(chain: ChainCredentials) -> None:
        first = chain().access_key_id
        await chain.refresh()
        assert chain().access_key_id != first
        server.down = True
        second = chain()
        await chain.refresh()
        assert chain() == second

    found_by_chain(refresh)


def test_role_credentials_that_have_expired_sign_nothing(
    role_server: tuple[RoleServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, origin = role_server
    server.lifetime = timedelta(minutes=-1)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{origin}/credentials")
    with pytest.raises(Unavailable) as refused:
        found_by_chain()
    assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE


GOOD = {"AccessKeyId": "key", "SecretAccessKey": "canary", "Token": "token", "Expiration": "2099-01-01T00:00:00Z"}
GARBAGE: Mapping[str, object] = {
    "a list": [],
    "no members": {},
    "no time": {**GOOD, "Expiration": "soon"},
    "no text": {**GOOD, "AccessKeyId": 5},
    "no secret": {**GOOD, "SecretAccessKey": ""},
    "no one line": {**GOOD, "SecretAccessKey": "can\nary"},
}


@pytest.mark.parametrize("name", GARBAGE)
def test_whatever_a_role_server_says_it_is_asked_again(
    role_server: tuple[RoleServer, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    server, origin = role_server
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{origin}/credentials")
    server.garbage = json.dumps(GARBAGE[name])

    async def look() -> None:
        chain = ChainCredentials()
        await chain.start()
        try:
            with pytest.raises(Unavailable):
                chain()
            server.garbage = None
            await chain.refresh()
            found = chain()
            server.garbage = json.dumps(GARBAGE[name])
            await chain.refresh()
            assert chain() == found
        finally:
            await chain.stop()

    asyncio.run(look())
    assert not any(secret in caplog.text for secret in ("canary", "role-secret"))


@pytest.mark.parametrize(
    "content", ["", "[default]\n", "[default]\naws_access_key_id = new-key\n", "[default\n", "\x00", None]
)
def test_a_profile_that_is_being_written_takes_nothing_away(tmp_path: Path, content: str | None) -> None:
    write_profile(tmp_path, "old-key")

    async def rotate(chain: ChainCredentials) -> None:
        if content is None:
            (tmp_path / "credentials").unlink()
        else:
            (tmp_path / "credentials").write_text(content)
        await chain.refresh()
        assert chain().access_key_id == "old-key"
        write_profile(tmp_path, "new-key")
        await chain.refresh()

    assert found_by_chain(rotate).access_key_id == "new-key"


def test_a_chain_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it asked a second time, or held against what was found before."""
    write_profile(tmp_path, "old-key")
    hangs, begun = threading.Event(), list[int]()

    def session() -> Any:
        begun.append(1)
        if len(begun) > 1:
            hangs.wait(60)
        return credentials.sdk_session()

    async def look() -> None:
        chain = ChainCredentials(session)
        await chain.start()
        monkeypatch.setattr(credentials, "PATIENCE_SECONDS", 0.1)
        write_profile(tmp_path, "new-key")
        for _ in range(3):
            await chain.refresh()
        assert (chain().access_key_id, len(begun)) == ("old-key", 2)
        await chain.stop()

    asyncio.run(look())  # which waits for all threads that it knows
    assert not hangs.is_set()
    hangs.set()


def test_a_web_identity_becomes_role_credentials(
    role_server: tuple[RoleServer, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "web-identity").write_text("a-token-of-the-cluster")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "web-identity"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/uploader")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"{role_server[1]}/sts")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    _assert_role_credentials(found_by_chain())


@pytest.mark.parametrize("method", SINGLE_REQUEST)
def test_temporary_credentials_sign_what_a_store_accepts(ministack: RunningStore, method: UploadMethod) -> None:
    answer = ministack.client("sts").get_session_token(DurationSeconds=900)["Credentials"]
    temporary = Credentials(
        answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], answer["Expiration"]
    )
    harness = s3_harness(ministack, temporary)
    upload = make_upload()
    signed = sign(harness.store.signer, upload, method)
    assert send(harness.http, signed.request, CONTENT) in (200, 201, 204)
    assert harness.read(upload.key) == CONTENT
    url = harness.store.downloads.sign_download(upload.key, timedelta(minutes=1), datetime.now(UTC)).url
    assert urllib3.request("GET", url, retries=False).data == CONTENT


@pytest.mark.parametrize("method", SINGLE_REQUEST)
def test_nothing_signed_outlives_its_credentials(ministack: RunningStore, method: UploadMethod) -> None:
    now = datetime.now(UTC)
    expiring = Credentials("id", "secret", "token", now + timedelta(minutes=5))
    harness = s3_harness(ministack, expiring)
    assert sign(harness.store.signer, make_upload(), method, now=now).expires_at <= now + timedelta(minutes=5)
    assert (
        harness.store.downloads.sign_download(make_upload().key, timedelta(days=1), now).expires_at
        <= now + IN_FIVE_MINUTES
    )
    with pytest.raises(Unavailable):
        sign(harness.store.signer, make_upload(), method, now=now + timedelta(minutes=5))


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials("key-id", "the-secret", "the-token"))
    assert "the-secret" not in shown
    assert "the-token" not in shown
    assert json.dumps(shown)


def test_the_service_says_when_role_credentials_end_and_signs_nothing_with_expired_ones(
    role_server: tuple[RoleServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, origin = role_server
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{origin}/credentials")
    chain = {name: value for name, value in S3.items() if not name.endswith(("_KEY_ID", "_ACCESS_KEY"))}
    with live_service(chain) as service:
        signed = service.sign(batch())["a.csv"]
        assert datetime.fromisoformat(signed["expires_at"]) <= datetime.now(UTC) + IN_FIVE_MINUTES
        assert signed["upload_query"]["x-amz-security-token"] == "role-token"
    server.lifetime = timedelta(minutes=-1)
    with live_service(chain) as service:
        refused = service.authorize(batch(), expect_unavailable=True)
        assert (refused.status, refused.code) == (503, ErrorCode.CREDENTIALS_UNAVAILABLE)
        assert "Retry-After" in refused.headers
