"""The whole service while the auth service is in trouble, or replaces its keys: whoever has a valid token is served."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests import strategies as bits
from tests.adapters.tokens import auth_server as scripted
from tests.adapters.tokens.auth_server import Answer as Said
from tests.adapters.tokens.auth_server import AuthServer, Exchange, answering, auth_server, jwk, key_set
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import MEMORY, OWNER, Answer, LiveService, batch
from tests.hard.store_questions import patient_client
from tests.live import wait_until
from tests.serve import bitstore_serve
from tests.stores.trouble import TroubledStore, troubled_store
from tests.tokens import PrivateKey, make_token
from tests.tried import Tried

COOLDOWN = 1.0
BODY = json.dumps(batch()).encode()
STREAMS = 4
KEYS: dict[str, PrivateKey] = {name: Ed25519PrivateKey.generate() for name in ("first", "second", "twin", "stranger")}


def token(kid: str, key: PrivateKey | None = None) -> str:
    header = {"alg": "EdDSA", "kid": kid}
    return make_token(bits.good_claims(OWNER, now=datetime.now(UTC)), "EdDSA", header=header, key=key or KEYS[kid])


def published(*kids: str) -> Said:
    return answering(key_set([jwk(KEYS[kid], kid) for kid in kids]))


@frozen
class Stage:
    """The service; the auth service, whose answers are scripted; and what can cut one off from the other."""

    service: LiveService
    auth: AuthServer
    relay: TroubledStore

    @property
    def fetches(self) -> int:
        return len(self.auth.requests)

    def authorize(self, shown: str) -> Answer:
        return self.service.send("POST", "/rawstore/authorize", token=shown, body=BODY, expect_unavailable=True)

    def status(self, kid: str) -> int:
        return self.authorize(token(kid)).status

    def statuses(self, tokens: Sequence[str]) -> Counter[int]:
        """Show all these tokens at once."""
        with ThreadPoolExecutor(32) as threads:
            return Counter(answer.status for answer in threads.map(self.authorize, tokens))

    def readiness(self) -> int:
        answer = self.service.send("GET", "/readyz", expect_unavailable=True)
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status

    def cool_down(self) -> None:
        """Let so much time pass that an unknown key is asked for."""
        time.sleep(COOLDOWN + 0.1)


@contextmanager
def staged(folder: Path, said: Said, *, is_up: bool = True) -> Iterator[Stage]:
    with auth_server() as auth, troubled_store(auth.origin) as relay, patient_client() as http:
        auth.answer = said
        if not is_up:
            relay.go_down()
        settings = {name: value for name, value in MEMORY.items() if name != "DATAHUB_PUBLIC_KEY"} | {
            "AUTH_JWKS_URL": f"{relay.origin}/jwks",
            "AUTH_COOLDOWN_SECONDS": f"{COOLDOWN:.0f}",
            "TOKEN_ALGORITHMS": "EdDSA",
        }
        with bitstore_serve(folder, settings) as origin:
            yield Stage(LiveService(origin, http), auth, relay)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("service"), published("first")) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    """A service that knows the first key alone."""
    running.auth.answer = published("first")
    wait_until(lambda: running.status("first") == 200 and refused_after_a_fetch(running), seconds=20)
    running.auth.requests.clear()
    return running


def refused_after_a_fetch(stage: Stage) -> bool:
    stage.cool_down()
    return {stage.status(kid) for kid in KEYS.keys() - {"first"}} == {401}


def test_a_service_that_starts_before_its_auth_service_gets_ready_by_itself(tmp_path: Path, tried: Tried) -> None:
    with staged(tmp_path, answering(b"", status=500), is_up=False) as stage:
        for go_on in (stage.relay.go_down, stage.relay.go_up):
            go_on()
            assert stage.readiness() == 503
            refused = stage.authorize(token("first"))
            assert (refused.status, refused.code) == (503, "keys_unavailable")
            assert int(refused.headers["Retry-After"]) > 0
            assert stage.service.send("GET", "/healthz").status == 200
        say(stage, published("first"))
        wait_until(lambda: stage.readiness() == 200, seconds=30)
        assert stage.status("first") == 200
    tried("requests under fault", 6)


def say(stage: Stage, said: Said) -> None:
    stage.auth.answer = said


BAD_ANSWERS: Mapping[str, Said] = {
    "an error": answering(b"", status=503),
    "a redirect": answering(b"", status=302, headers={"Location": "/jwks"}),
    "another document": answering(b"<html>Log in</html>"),
    "no keys": answering(b'{"keys": []}'),
    "twins": answering(key_set([jwk(KEYS["first"], "twin"), jwk(KEYS["twin"], "twin")])),
    "more than anybody reads": scripted.as_long_as(50_000_000, b'{"keys": ['),
    "no HTTP": scripted.raw(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "nothing": scripted.raw(b""),
    "a head a byte at a time": scripted.dripping_head,
    "a body a byte at a time": scripted.dripping_body,
    "silence": scripted.stalling,
    "silence in the body": scripted.stalling_in_the_body,
}
# The keys of a service are tried with each of them anyway; here, those that do the worst.
EVERY_DAY = ("a redirect", "twins", "more than anybody reads", "a head a byte at a time")


def test_whoever_has_a_token_of_a_known_key_is_served_whatever_the_auth_service_says(
    stage: Stage, tried: Tried
) -> None:
    troubles = BAD_ANSWERS if EFFORT > 1 else {name: BAD_ANSWERS[name] for name in EVERY_DAY}
    for name, said in troubles.items():
        say(stage, said)
        assert_only_the_first_counts(stage, name)
    stage.relay.go_down()
    stage.cool_down()
    assert stage.statuses([token("first"), token("second")]) == {200: 1, 401: 1}
    assert stage.readiness() == 200
    stage.relay.go_up()

    say(stage, published("first", "second"))
    stage.cool_down()
    assert stage.statuses([token("first"), token("second")]) == {200: 2}
    tried("requests under fault", 9 * len(troubles) + 2)


def assert_only_the_first_counts(stage: Stage, name: str) -> None:
    """While the keys are being fetched in vain for some, others are answered; nobody is answered as if it was known."""
    stage.cool_down()
    before = stage.fetches
    with ThreadPoolExecutor() as threads:
        strangers = [threads.submit(stage.status, "twin") for _ in range(3)]
        wait_until(lambda: stage.fetches == before + 1)
        assert stage.statuses([token("first") for _ in range(5)]) == {200: 5}, name
        assert stage.readiness() == 200
        assert {stranger.result() for stranger in strangers} == {401}, name
    assert stage.fetches == before + 1, name


def test_a_flood_of_unknown_keys_is_fetched_for_once_in_a_while(stage: Stage, tried: Tried) -> None:
    strangers = [token(f"stranger-{number}", KEYS["twin"]) for number in range(200 * EFFORT)]
    begins = time.monotonic()
    assert stage.statuses(strangers) == {401: len(strangers)}
    assert stage.fetches <= 1 + (time.monotonic() - begins) / COOLDOWN
    assert stage.status("first") == 200
    tried("requests under fault", len(strangers))


def test_keys_that_are_replaced_under_load_refuse_nobody(stage: Stage, tried: Tried) -> None:
    """Each key counts from when it is published until it no longer is, and each replacement is fetched once."""
    ended, valid, answered = threading.Event(), {"first"}, Counter[str]()

    def show_what_is_valid() -> None:
        while not ended.wait(0.005):
            for kid in sorted(valid):
                assert stage.status(kid) == 200, kid
                answered[kid] += 1

    with ThreadPoolExecutor(STREAMS) as threads:
        streams = [threads.submit(show_what_is_valid) for _ in range(STREAMS)]
        try:
            for old, new in pairwise(["first", *(f"key-{number}" for number in range(2 * EFFORT))]):
                KEYS[new] = Ed25519PrivateKey.generate()
                stage.cool_down()
                before = stage.fetches
                say(stage, slowly(published(old, new)))
                valid.add(new)
                wait_until(partial(has_often, answered, new, streams))
                assert stage.fetches == before + 1
                valid.discard(old)
        finally:
            ended.set()
        for stream in streams:
            stream.result()
    stage.cool_down()
    say(stage, published(new))
    assert stage.status("stranger") == stage.status(old) == 401
    tried("requests under fault", answered.total())


def has_often(answered: Mapping[str, int], kid: str, streams: Sequence[Future[None]]) -> bool:
    """Whether tokens of a key were shown many times; or something is wrong."""
    return answered.get(kid, 0) > 10 * len(streams) or any(stream.done() for stream in streams)


def slowly(said: Said) -> Said:
    """Give the others time to ask as well."""

    def answer(exchange: Exchange) -> None:
        time.sleep(0.2)
        said(exchange)

    return answer
