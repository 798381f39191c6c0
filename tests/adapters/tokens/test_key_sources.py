"""Keys that are fetched from a real server, which replaces them, goes away, lies and dawdles."""

import asyncio
import gzip
import logging
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import pytest
from attrs import define, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.tokens.jwt import ALGORITHMS, JwtVerifier
from adapters.tokens.key_servers import DocumentKind, KeyServer
from adapters.tokens.key_sources import MAX_DOCUMENT_BYTES, FetchedKeys
from application.authenticate import Authenticate
from domain.errors import ErrorCode, Unauthenticated, Unavailable
from domain.keys import Owner
from tests import strategies as bits
from tests.adapters.tokens import auth_server as scripted
from tests.adapters.tokens.auth_server import Answer, AuthServer, answering, auth_server, gzipped, jwk, key_set, raw
from tests.adapters.tokens.test_jwt import RULES
from tests.tokens import PrivateKey, ec_key, make_token, private_pem, public_pem, rsa_key, segment

COOLDOWN = 30
CLAIMS = bits.good_claims("alice")
STORM = 200
NEVER = 10.0**6
FAST = 0.5
SLOW = 20.0
MIB = 1024**2

JWKS, PEM = DocumentKind.JWKS, DocumentKind.PEM


@cache
def key(name: str) -> tuple[PrivateKey, str]:
    """Give the key of a name, and the algorithm that it is for; names without one of their own have Ed25519 keys."""
    special: Mapping[str, Callable[[], tuple[PrivateKey, str]]] = {
        "rs": lambda: (rsa_key(), "RS256"),
        "ps": lambda: (rsa_key(2304), "PS256"),
        "es": lambda: (ec_key(), "ES256"),
    }
    return special.get(name, lambda: (Ed25519PrivateKey.generate(), "EdDSA"))()


def token(name: str, *, signed_like: str | None = None) -> str:
    """Make a token that names the key `name`, and is signed by it or by another."""
    signer, algorithm = key(signed_like or name)
    return make_token(CLAIMS, algorithm, header={"alg": algorithm, "kid": name}, key=signer)


def published(*names: str) -> bytes:
    return key_set([jwk(key(name)[0], name, use="sig", alg=key(name)[1]) for name in names])


@define
class Clock:
    """Seconds that pass only when a test says so."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@frozen
class World:
    """An auth service, and what we hold of its keys; `clock` drives the cooldown, and no interval ever ends."""

    server: AuthServer
    keys: FetchedKeys
    authenticate: Authenticate
    clock: Clock

    async def accepts(self, token: str) -> bool:
        try:
            principal = await self.authenticate(token, bits.NOW)
        except Unauthenticated:
            return False
        return principal.userid == Owner("alice")


@asynccontextmanager
async def world(
    kind: DocumentKind = JWKS,
    *,
    answer: Answer | None = None,
    started: bool = True,
    refresh: float = NEVER,
    retry: float = NEVER,
    host: str = "127.0.0.1",
) -> AsyncIterator[World]:
    """Make a world in which the key `old` has been fetched, unless the answer is another."""
    clock = Clock()
    with auth_server() as server:
        server.answer = answer or answering(published("old") if kind is JWKS else public_pem(key("old")[0]).encode())
        source = KeyServer(f"http://{host}:{server.server_port}/keys", kind, ALGORITHMS, refresh, COOLDOWN)
        keys = FetchedKeys(source, clock, timeout_seconds=SLOW, retry_seconds=retry)
        try:
            if started:
                await keys.start()
            yield World(server, keys, Authenticate(JwtVerifier(keys, RULES), keys), clock)
        finally:
            await keys.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SLOW):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.002)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * SLOW):
            await test

    asyncio.run(bounded())


Step = Callable[[World], Awaitable[None]]


def publishes(*names: str) -> Step:
    return serves(answering(published(*names)))


def publishes_pem(name: str) -> Step:
    return serves(answering(public_pem(key(name)[0]).encode()))


def serves(answer: Answer) -> Step:
    async def step(world: World) -> None:
        world.server.answer = answer

    return step


fails = serves(answering(b"", status=500))


def later(seconds: float) -> Step:
    async def step(world: World) -> None:
        world.clock.seconds += seconds

    return step


async def starts(world: World) -> None:
    await world.keys.start()


async def refreshes(world: World) -> None:
    await world.keys.refresh()


def accepts(*names: str) -> Step:
    async def step(world: World) -> None:
        assert all([await world.accepts(token(name)) for name in names])

    return step


def refuses(*names: str) -> Step:
    async def step(world: World) -> None:
        assert not any([await world.accepts(token(name)) for name in names])

    return step


async def confuses_keys(world: World) -> None:
    """Refuse every token that names one key, and is signed by another with the other's algorithm."""
    names = ["rs", "ps", "es", "ed"]
    pairs = [(name, other) for name in names for other in names if name != other]
    assert not any([await world.accepts(token(name, signed_like=other)) for name, other in pairs])


def storm(kid: str) -> Step:
    """Send many tokens at once, each of a key of its own that nobody has published."""

    async def step(world: World) -> None:
        tokens = [token(f"{kid}-{number}", signed_like="stranger") for number in range(STORM)]
        assert not any(await asyncio.gather(*map(world.accepts, tokens)))

    return step


def all_accept(name: str) -> Step:
    async def step(world: World) -> None:
        assert all(await asyncio.gather(*[world.accepts(token(name)) for _ in range(STORM)]))

    return step


def fetches(times: int) -> Step:
    async def step(world: World) -> None:
        assert len(world.server.requests) == times

    return step


async def ready(world: World) -> None:
    await world.keys.check()


def unavailable(name: str) -> Step:
    async def step(world: World) -> None:
        for attempt in (world.authenticate(token(name), bits.NOW), world.keys.check()):
            with pytest.raises(Unavailable) as refused:
                await attempt
            assert refused.value.code is ErrorCode.KEYS_UNAVAILABLE

    return step


SCENARIOS: dict[str, tuple[DocumentKind, Sequence[Step]]] = {
    "old and new key overlap": (
        JWKS,
        [
            *(publishes("old"), starts, ready, accepts("old"), fetches(1)),
            *(publishes("old", "new"), later(COOLDOWN), accepts("new", "old", "new"), fetches(2)),
            *(publishes("new"), later(COOLDOWN), refreshes, accepts("new"), refuses("old"), fetches(3)),
        ],
    ),
    "a new key replaces the old one": (
        JWKS,
        [publishes("old"), starts, publishes("new"), later(COOLDOWN), all_accept("new"), refuses("old"), fetches(2)],
    ),
    "a new key comes within the cooldown": (
        JWKS,
        [
            *(publishes("old"), starts, publishes("old", "new")),
            *(later(COOLDOWN - 1), refuses("new"), accepts("old"), fetches(1)),
            *(later(1), accepts("new"), fetches(2)),
        ],
    ),
    "a key is withdrawn": (
        JWKS,
        [
            *(publishes("old", "new"), starts, publishes("new"), later(COOLDOWN)),
            *(accepts("old", "new"), fetches(1)),
            *(refuses("stranger"), fetches(2), refuses("old"), accepts("new"), fetches(2)),
        ],
    ),
    "a storm of unknown keys": (
        JWKS,
        [
            *(publishes("old"), starts, later(COOLDOWN), fetches(1)),
            *(storm("first"), fetches(2), storm("second"), fetches(2)),
            *(later(COOLDOWN - 1), storm("third"), fetches(2)),
            *(later(1), storm("fourth"), fetches(3), accepts("old"), fetches(3)),
        ],
    ),
    "a storm right after the start": (JWKS, [publishes("old"), starts, storm("first"), fetches(1), accepts("old")]),
    "a storm while the auth service is down": (
        JWKS,
        [
            *(publishes("old"), starts, fails, later(COOLDOWN), storm("first"), fetches(2)),
            *(publishes("old", "new"), later(COOLDOWN - 1), refuses("new"), fetches(2)),
            *(later(1), accepts("new", "old"), fetches(3)),
        ],
    ),
    "down for a week": (
        JWKS,
        [
            *(publishes("old"), starts, fails, later(7 * 86_400), accepts("old"), ready, fetches(1)),
            *(refuses("stranger"), accepts("old"), ready, fetches(2)),
        ],
    ),
    "down at the start": (
        JWKS,
        [
            *(fails, starts, unavailable("old"), fetches(1)),
            *(publishes("old"), later(COOLDOWN), unavailable("old"), fetches(1)),
            *(refreshes, ready, accepts("old"), fetches(2)),
        ],
    ),
    "a key keeps its name and changes": (
        JWKS,
        [
            *(serves(answering(key_set([jwk(key("impostor")[0], "old")]))), starts, refuses("old"), fetches(1)),
            *(publishes("old"), later(COOLDOWN), refuses("old"), fetches(1), refreshes, accepts("old"), fetches(2)),
        ],
    ),
    "several algorithms, one for each key": (
        JWKS,
        [
            *(publishes("rs", "ps", "es", "ed"), starts, accepts("rs", "ps", "es", "ed")),
            *(later(COOLDOWN), confuses_keys, fetches(1)),
        ],
    ),
    "the one public key is replaced": (
        PEM,
        [
            *(publishes_pem("old"), starts, ready, accepts("old"), publishes_pem("new"), accepts("old")),
            *(refuses("new"), fetches(1), later(COOLDOWN), all_accept("new"), refuses("old"), fetches(2)),
        ],
    ),
    "the one public key, and forgeries": (
        PEM,
        [
            *(publishes_pem("old"), starts, later(COOLDOWN), storm("first"), storm("second"), fetches(2)),
            *(accepts("old"), fetches(2)),
        ],
    ),
    "the one public key, and the auth service is down": (
        PEM,
        [
            *(publishes_pem("old"), starts, fails, later(86_400), refuses("new"), accepts("old"), fetches(2)),
            *(publishes_pem("new"), later(COOLDOWN), accepts("new"), refuses("old"), fetches(3)),
        ],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_rotation(name: str) -> None:
    kind, steps = SCENARIOS[name]

    async def play() -> None:
        async with world(kind, started=False) as stage:
            for step in steps:
                await step(stage)

    run(play())


NEW = published("old", "new")
SECRET = segment(b"a secret that nobody may see")
GZIP = {"Content-Encoding": "gzip"}


def with_a_long_name(compressed: bytes, size: int) -> bytes:
    """Put a file's name into the head of gzip data (RFC 1952, section 2.3), which makes the data so long."""
    name = b"x" * (size - len(compressed) - 1) + b"\0"
    return compressed[:3] + b"\x08" + compressed[4:10] + name + compressed[10:]


# None of these may replace the good keys. All have the new key in them where they can.
BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "status 500": (answering(NEW, status=500), "status 500"),
    "status 404": (answering(NEW, status=404), "status 404"),
    "status 201": (answering(NEW, status=201), "status 201"),
    "status 204": (answering(b"", status=204), "status 204"),
    "a redirect": (answering(NEW, status=302, headers={"Location": "/elsewhere"}), "status 302"),
    "a permanent redirect": (answering(NEW, status=308, headers={"Location": "/elsewhere"}), "status 308"),
    "not JSON": (answering(b"<html>" + NEW), "not strict JSON"),
    "JSON of another type": (answering(b"[" + NEW + b"]"), "not a key set"),
    "keys of another type": (answering(b'{"keys": {}}'), "not a key set"),
    "nothing": (answering(b""), "not strict JSON"),
    "no keys": (answering(key_set([])), "no key"),
    "two keys of one name": (answering(key_set([jwk(key(name)[0], "new") for name in ("old", "new")])), "same kid"),
    "a private key": (answering(key_set([jwk(key("new")[0], "new", d=SECRET)])), "private or symmetric"),
    "a symmetric key": (answering(key_set([{"kty": "oct", "kid": "new", "k": SECRET}])), "private or symmetric"),
    "a symmetric key without material": (answering(key_set([{"kty": "oct", "kid": "new"}])), "no key"),
    "a private key in PEM": (answering(private_pem(key("new")[0]).encode()), "not strict JSON"),
    "65 keys": (answering(key_set([jwk(key("new")[0], f"new{number}") for number in range(65)])), "more than 64"),
    "a body one byte too long": (answering(NEW.ljust(MAX_DOCUMENT_BYTES + 1)), "longer than 262144"),
    "50 MB": (scripted.as_long_as(50 * MIB, NEW), "longer than 262144"),
    "50 MB, compressed": (answering(gzip.compress(NEW.ljust(50 * MIB)), headers=GZIP), "longer than 262144"),
    "a long head, compressed": (
        answering(with_a_long_name(gzip.compress(NEW), MAX_DOCUMENT_BYTES + 1), headers=GZIP),
        "longer than 262144",
    ),
    "one byte too long, compressed": (gzipped(NEW.ljust(MAX_DOCUMENT_BYTES + 1)), "longer than 262144"),
    "compressed in no known way": (gzipped(NEW, encoding="br"), "content encoding"),
    "compressed twice": (gzipped(gzip.compress(NEW), encoding="gzip, gzip"), "content encoding"),
    "not compressed": (answering(NEW, headers=GZIP), "not gzip data"),
    "half of what was compressed": (answering(gzip.compress(NEW)[:-20], headers=GZIP), "not whole gzip data"),
    "compressed, and more": (answering(gzip.compress(NEW) + b"more", headers=GZIP), "not whole gzip data"),
    "a body that ends early": (answering(NEW, headers={"Content-Length": str(len(NEW) + 1)}), "ClientPayloadError"),
    "a reset": (scripted.resetting, "ClientOSError"),
    "not HTTP": (raw(b"SSH-2.0-" + NEW + b"\r\n\r\n"), "Error"),
    "a header without end": (raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * MIB), "Error"),
    "a hang-up": (raw(b""), "ServerDisconnectedError"),
    "silence": (scripted.stalling, "in time"),
    "silence in the body": (scripted.stalling_in_the_body, "in time"),
    "a head a byte at a time": (scripted.dripping_head, "in time"),
    "a body a byte at a time": (scripted.dripping_body, "in time"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_keeps_the_old_keys(name: str, caplog: pytest.LogCaptureFixture) -> None:
    answer, reason = BAD_ANSWERS[name]
    timeout = FAST if reason == "in time" else SLOW

    async def play() -> None:
        async with world() as stage:
            stage.keys.timeout_seconds = timeout
            stage.server.answer = answer
            stage.clock.seconds += COOLDOWN
            assert not await stage.accepts(token("new"))
            assert await stage.accepts(token("old"))
            await stage.keys.check()
            await until(lambda: len(stage.server.requests) > 1)
            assert [path for path, _ in stage.server.requests] == ["/keys", "/keys"]

    run(play())
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert reason in warning
    assert len(warning) < 250
    assert not any(text in caplog.text for text in (SECRET, published("new")[20:60].decode(), "Traceback"))


@pytest.mark.parametrize("name", ["50 MB", "50 MB, compressed"])
def test_a_long_answer_is_not_held_in_memory(name: str) -> None:
    async def play() -> None:
        async with world() as stage:
            stage.server.answer = BAD_ANSWERS[name][0]
            stage.clock.seconds += COOLDOWN
            tracemalloc.start()
            try:
                assert not await stage.keys.refresh()
                assert tracemalloc.get_traced_memory()[1] < 4 * MIB
            finally:
                tracemalloc.stop()

    run(play())


class TestGoodAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            gzipped(NEW),
            gzipped(NEW, encoding="GZIP"),
            answering(NEW, headers={"Content-Encoding": "identity"}),
            answering(NEW, headers={"Content-Type": "text/html; charset=utf-16"}),
            answering(NEW.ljust(MAX_DOCUMENT_BYTES)),
            gzipped(NEW.ljust(MAX_DOCUMENT_BYTES)),
            answering(with_a_long_name(gzip.compress(NEW), MAX_DOCUMENT_BYTES), headers=GZIP),
            raw(b"HTTP/1.0 200 OK\r\n\r\n" + NEW),
        ],
    )
    def test_bring_keys(self, answer: Answer) -> None:
        async def play() -> None:
            async with world(answer=answer) as stage:
                assert await stage.accepts(token("new"))

        run(play())

    def test_that_say_the_same_leave_the_keys_as_they_are(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

        async def play() -> None:
            async with world() as stage:
                before = stage.keys()
                stage.clock.seconds += COOLDOWN
                assert await stage.keys.refresh()
                assert stage.keys() is before

        run(play())
        assert [record.getMessage() for record in caplog.records] == ["keys of the auth service: 'old' (EdDSA)"]

    def test_that_are_in_pem_have_keys_without_a_name(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

        async def play() -> None:
            async with world(PEM) as stage:
                assert await stage.accepts(token("old"))

        run(play())
        assert [record.getMessage() for record in caplog.records] == ["keys of the auth service: EdDSA"]


class TestFailures:
    @pytest.mark.parametrize(
        ("before", "rest"),
        [(answering(NEW), "those fetched before stay in use"), (answering(b"", status=500), "there are none yet")],
    )
    def test_are_told_with_what_is_left(self, before: Answer, rest: str, caplog: pytest.LogCaptureFixture) -> None:
        async def play() -> None:
            async with world(answer=before) as stage:
                caplog.clear()
                stage.server.answer = answering(b"", status=404)
                stage.clock.seconds += COOLDOWN
                assert await stage.keys.refresh() is False

        run(play())
        reason = "it answered with the status 404"
        (line,) = [record.getMessage() for record in caplog.records]
        assert line == f"the keys of the auth service can't be fetched ({reason}); {rest}"


class TestRequests:
    def test_are_none_within_the_cooldown(self) -> None:
        async def play() -> None:
            async with world() as stage:
                stage.clock.seconds += COOLDOWN - 1
                assert await stage.keys.refresh() is False
                assert len(stage.server.requests) == 1
                stage.clock.seconds += 1
                assert await stage.keys.refresh() is True
                assert len(stage.server.requests) == 2

        run(play())

    def test_bear_nothing_of_the_environment_and_nothing_of_earlier_answers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")

        async def play() -> None:
            # Hosts that are only an address get no cookies back from any client.
            answer = answering(NEW, headers={"Set-Cookie": "session=1"})
            async with world(answer=answer, host="localhost") as stage:
                stage.clock.seconds += COOLDOWN
                assert await stage.keys.refresh()
                for _, headers in stage.server.requests:
                    assert headers.keys() <= {"host", "accept", "accept-encoding", "user-agent", "connection"}
                    assert (headers["accept-encoding"], headers["user-agent"]) == ("gzip", "bitstore")
                    assert headers["connection"] == "close"

        run(play())

    def test_go_nowhere_that_a_token_or_a_document_names(self) -> None:
        async def play() -> None:
            async with world() as stage:
                url = f"{stage.server.origin}/elsewhere"
                stage.server.answer = answering(key_set([jwk(key("new")[0], "new", x5u=url, jku=url)], next=url))
                stage.clock.seconds += COOLDOWN
                for member in ("jku", "x5u"):
                    header = {"alg": "EdDSA", "kid": "unknown", member: url}
                    assert not await stage.accepts(make_token(CLAIMS, "EdDSA", header=header, key=key("new")[0]))
                assert await stage.accepts(token("new"))
                assert [path for path, _ in stage.server.requests] == ["/keys", "/keys"]

        run(play())


class TestOneFetchAtATime:
    def test_those_who_come_later_wait_for_it(self) -> None:
        async def play() -> None:
            async with world() as stage:
                gate = threading.Event()
                stage.server.answer = scripted.when(gate, answering(NEW))
                stage.clock.seconds += COOLDOWN
                early = [asyncio.create_task(stage.accepts(token("new"))) for _ in range(STORM)]
                await until(lambda: len(stage.server.requests) == 2)
                stage.clock.seconds += COOLDOWN
                late = [asyncio.create_task(stage.accepts(token("new"))) for _ in range(STORM)]
                await asyncio.sleep(0)
                gate.set()
                assert all(await asyncio.gather(*early, *late))
                assert len(stage.server.requests) == 2

        run(play())

    def test_it_outlives_the_one_who_asked_for_it(self) -> None:
        async def play() -> None:
            async with world() as stage:
                gate = threading.Event()
                stage.server.answer = scripted.when(gate, answering(NEW))
                stage.clock.seconds += COOLDOWN
                first, second = (asyncio.create_task(stage.keys.refresh()) for _ in range(2))
                await until(lambda: len(stage.server.requests) == 2)
                first.cancel()
                await asyncio.wait([first])
                gate.set()
                assert first.cancelled()
                assert await second

        run(play())

    def test_the_cooldown_counts_from_its_beginning(self) -> None:
        async def play() -> None:
            async with world() as stage:
                gate = threading.Event()
                stage.server.answer = scripted.when(gate, answering(NEW))
                stage.clock.seconds += COOLDOWN
                fetch = asyncio.create_task(stage.keys.refresh())
                await until(lambda: len(stage.server.requests) == 2)
                stage.clock.seconds += COOLDOWN
                gate.set()
                assert await fetch
                assert await stage.keys.refresh()
                assert len(stage.server.requests) == 3

        run(play())


class TestInTheBackground:
    def test_keys_are_fetched_again_and_again(self) -> None:
        async def play() -> None:
            async with world(refresh=0.01) as stage:
                stage.server.answer = answering(published("new"))
                await until(lambda: stage.keys().keys[0].kid == "new")
                stage.server.answer = answering(published("newer"))
                await until(lambda: stage.keys().keys[0].kid == "newer")
                assert not await stage.accepts(token("old"))

        run(play())

    def test_an_auth_service_that_comes_late_is_found(self) -> None:
        async def play() -> None:
            async with world(answer=answering(b"", status=503), retry=0.01) as stage:
                with pytest.raises(Unavailable):
                    await stage.keys.check()
                await until(lambda: len(stage.server.requests) > 3)
                stage.server.answer = answering(NEW)
                await until(lambda: bool(stage.keys().keys))
                await stage.keys.check()
                assert await stage.accepts(token("new"))

        run(play())

    def test_the_time_between_two_attempts_grows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Up to the cooldown while there are no keys, so that nobody can be served; then up to the interval."""
        stage: World
        pauses: list[float] = []
        pause = asyncio.sleep

        async def note(seconds: float) -> None:
            if seconds < 1:
                await pause(seconds)
                return
            pauses.append(seconds)
            if len(pauses) == 8:
                stage.server.answer = answering(NEW)
            if len(pauses) == 10:
                stage.server.answer = answering(b"", status=503)
            await pause(0 if len(pauses) < 20 else seconds)

        async def play() -> None:
            nonlocal stage
            async with world(answer=answering(b"", status=503), retry=1, refresh=300, started=False) as stage:
                monkeypatch.setattr(asyncio, "sleep", note)
                await stage.keys.start()
                await until(lambda: len(pauses) == 20)

        run(play())
        assert pauses[:8] == [1, 2, 4, 8, 16, COOLDOWN, COOLDOWN, COOLDOWN]
        assert pauses[8:10] == [300, 300]
        assert pauses[10:] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]

    def test_after_a_success_the_first_of_them_comes_soon_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        pause = asyncio.sleep
        answers = [503, 503, 200, 503, 503]

        async def play() -> None:
            async with world(answer=answering(b"", status=503), retry=1, refresh=300, started=False) as stage:

                async def note(seconds: float) -> None:
                    if seconds < 1:
                        await pause(seconds)
                        return
                    pauses.append(seconds)
                    status = answers[len(pauses)] if len(pauses) < len(answers) else 503
                    stage.server.answer = answering(NEW if status == 200 else b"", status=status)
                    await pause(0 if len(pauses) < 6 else NEVER)

                monkeypatch.setattr(asyncio, "sleep", note)
                await stage.keys.start()
                await until(lambda: len(pauses) == 6)

        run(play())
        assert pauses == [1, 2, 300, 1, 2, 4]


class TestTheEnd:
    @pytest.mark.parametrize("answer", [scripted.stalling, scripted.dripping_body])
    def test_waits_for_no_answer(self, answer: Answer) -> None:
        async def play() -> None:
            async with world() as stage:
                stage.server.answer = answer
                stage.clock.seconds += COOLDOWN
                waiting = asyncio.create_task(stage.keys.refresh())
                await until(lambda: len(stage.server.requests) == 2)
                await stage.keys.stop()
                assert await waiting is False
                stage.clock.seconds += COOLDOWN
                assert await stage.keys.refresh() is False
                assert await stage.accepts(token("old"))
                assert len(stage.server.requests) == 2

        run(play())

    @pytest.mark.parametrize("fetching", [False, True])
    def test_leaves_nothing_running(self, fetching: bool) -> None:
        async def play() -> None:
            async with world() as stage:
                known = {asyncio.current_task()}
                if fetching:
                    stage.server.answer = scripted.stalling
                    stage.clock.seconds += COOLDOWN
                    known.add(asyncio.create_task(stage.keys.refresh()))
                    await until(lambda: len(stage.server.requests) == 2)
                assert len(asyncio.all_tasks() - known) == 1 + fetching
                await stage.keys.stop()
                assert asyncio.all_tasks() <= known

        run(play())

    def test_may_come_before_the_start_is_over(self) -> None:
        async def play() -> None:
            async with world(answer=scripted.stalling, started=False) as stage:
                starting = asyncio.create_task(stage.keys.start())
                await until(lambda: len(stage.server.requests) == 1)
                starting.cancel()
                await asyncio.wait([starting])

        run(play())

    def test_may_come_without_a_start(self) -> None:
        async def play() -> None:
            async with world(started=False):
                pass

        run(play())


def test_nobody_listening_is_no_fault_of_the_start(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        with auth_server() as server:
            url = f"{server.origin}/keys?secret={SECRET}"
        keys = FetchedKeys(KeyServer(url, JWKS, ALGORITHMS))
        try:
            await keys.start()
            with pytest.raises(Unavailable) as refused:
                await keys.check()
            assert refused.value.code is ErrorCode.KEYS_UNAVAILABLE
        finally:
            await keys.stop()
        assert SECRET not in repr(keys)

    run(play())
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "Cannot connect to host 127.0.0.1" in warning
    assert SECRET not in warning


def test_keys_are_not_shown() -> None:
    async def play() -> None:
        async with world() as stage:
            numbers = str(jwk(key("old")[0])["x"])
            assert numbers.encode() in published("old")
            assert numbers not in repr(stage.keys)

    run(play())
