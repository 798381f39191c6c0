"""The whole service with keys that it fetches: not ready without any, and open to the tokens of a rotated key."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests import strategies as bits
from tests.adapters.tokens.auth_server import AuthServer, answering, auth_server, jwk, key_set
from tests.entrypoints.http.live_service import MEMORY, OWNER, LiveService, batch, live_service
from tests.live import wait_until
from tests.tokens import PrivateKey, make_token, public_pem, rsa_key

NO_KEY = {name: value for name, value in MEMORY.items() if name != "DATAHUB_PUBLIC_KEY"}
OLD, NEW = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@frozen
class Stage:
    service: LiveService
    auth: AuthServer

    def publish(self, **keys: PrivateKey) -> None:
        self.auth.answer = answering(key_set([jwk(key, kid) for kid, key in keys.items()]))

    def authorize(self, kid: str, key: PrivateKey, *, expect_unavailable: bool = False) -> int:
        claims = bits.good_claims(OWNER, now=datetime.now(UTC))
        token = make_token(claims, "EdDSA", header={"alg": "EdDSA", "kid": kid}, key=key)
        answer = self.service.authorize(batch(), token=token, expect_unavailable=expect_unavailable)
        if answer.status == 503:
            assert answer.code == "keys_unavailable"
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status

    def readiness(self) -> int:
        return self.service.send("GET", "/readyz", expect_unavailable=True).status


@pytest.fixture
def stage() -> Iterator[Stage]:
    """The service beside an auth service that answers nothing but errors yet."""
    with auth_server() as auth:
        auth.answer = answering(b"", status=500)
        url = f"{auth.origin}/jwks?tenant=a"
        with live_service(NO_KEY, AUTH_JWKS_URL=url, AUTH_COOLDOWN_SECONDS="1", TOKEN_ALGORITHMS="EdDSA") as service:
            yield Stage(service, auth)


def test_the_service_is_not_ready_until_it_has_keys_and_follows_their_rotation(stage: Stage) -> None:
    answer = stage.service.send("GET", "/readyz", expect_unavailable=True)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["problems"] == ["the keys of the auth service have not been fetched yet"]
    assert stage.authorize("old", OLD, expect_unavailable=True) == 503
    assert stage.service.send("GET", "/healthz").status == 200

    stage.publish(old=OLD)
    wait_until(lambda: stage.readiness() == 200)
    assert stage.authorize("old", OLD) == 200
    assert stage.authorize("old", NEW) == 401

    stage.publish(old=OLD, new=NEW)
    wait_until(lambda: stage.authorize("new", NEW) == 200)
    assert stage.authorize("old", OLD) == 200

    stage.publish(new=NEW)
    wait_until(lambda: stage.authorize("stranger", OLD) == 401 and stage.authorize("old", OLD) == 401)

    stage.auth.answer = answering(b"", status=500)
    assert stage.authorize("stranger", OLD) == 401
    assert stage.authorize("new", NEW) == 200
    assert stage.readiness() == 200
    assert {path for path, _ in stage.auth.requests} == {"/jwks?tenant=a"}


def test_the_one_public_key_is_found_where_the_stack_publishes_it() -> None:
    with auth_server() as auth:
        auth.answer = answering(public_pem(rsa_key()).encode())
        with live_service(NO_KEY, AUTH_SERVER=f"{auth.origin}/prefix/") as service:
            assert service.send("GET", "/readyz").status == 200
            assert service.authorize(batch()).status == 200
        assert [path for path, _ in auth.requests] == ["/prefix/auth/public-key"]
