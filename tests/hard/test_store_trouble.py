"""The whole service while its store is in trouble: what needs no store goes on, the rest is refused in time, none lies.

A store is relayed by `tests/stores/trouble.py`, which spoils its answers; `bitstore serve` is a process of its own.
"""

import gzip
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from operator import itemgetter
from random import Random
from urllib.parse import unquote

import pytest
from attrs import frozen

from tests.effort import EFFORT
from tests.entrypoints.http.live_service import OWNER, LiveService
from tests.hard.store_questions import (
    DONE,
    DOWN,
    KNOWN,
    PARTS,
    QUESTIONS,
    TROUBLED_PART,
    UNKNOWN,
    Asker,
    Begun,
    Crowd,
    peak_memory,
    pending,
    prepare,
    serving_store,
)
from tests.stores.servers import RunningStore
from tests.stores.trouble import Chooser, End, Trouble, TroubledStore, troubled_store
from tests.tried import Tried

MIB = 1024**2
LISTING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


def answer(status: str, body: bytes = b"", *headers: bytes, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), b"Content-Length: %d" % (len(body) if length is None else length), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def failing(status: str, code: str) -> Trouble:
    return Trouble.saying(answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()))


def endless() -> Iterator[bytes]:
    """More than anybody has a use for; after it the answer is whole."""
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n" + LISTING
    yield from repeat(b" " * MIB, 96)
    yield b"</ListBucketResult>"


# Within what expat takes for harmless: it looks at how much more than was sent comes of it, and allows a hundredfold.
BOMB = (
    b'<!DOCTYPE ListBucketResult [<!ENTITY e "' + b"x" * MIB + b'">]>' + LISTING + b"<Contents><Key>" + b"&e;" * 90
) + b"</Key><Size>1</Size><ETag/></Contents><IsTruncated>false</IsTruncated></ListBucketResult>"
GZIP_BOMB = gzip.compress(LISTING + b" " * 96 * MIB)


@frozen
class Met:
    """A trouble, and whether requests meet it whose answers are nothing but a status: HEAD and DELETE."""

    trouble: Trouble
    everywhere: bool = True
    spoils: bool = True

    @property
    def is_slow(self) -> bool:
        return self.trouble.end is End.STALL or bool(self.trouble.pace)


TROUBLES: Mapping[str, Met] = {
    "hang-up": Met(Trouble.saying()),
    "reset": Met(Trouble.saying(end=End.RESET)),
    "half-closed": Met(Trouble.saying(b"HTTP/1.1 200 OK\r\nContent-Ty", end=End.HALF_CLOSE)),
    "no-http": Met(Trouble.saying(b"SSH-2.0-OpenSSH_9.2p1\r\n")),
    "no-status": Met(Trouble.saying(b"HTTP/1.1 200000 OK\r\n\r\n")),
    "silent": Met(Trouble.saying(end=End.STALL)),
    "silent-in-the-head": Met(Trouble.saying(b"HTTP/1.1 200 OK\r\nContent-Ty", end=End.STALL)),
    "silent-in-the-body": Met(
        Trouble.saying(answer("200 OK", LISTING, length=10_000), end=End.STALL), everywhere=False
    ),
    "dripping-head": Met(Trouble.saying(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 1_000, pace=0.1)),
    "dripping-body": Met(Trouble.saying(answer("200 OK", LISTING + b" " * 9_000), pace=0.1), everywhere=False),
    "cut-in-the-head": Met(Trouble(most=60)),
    "reset-in-the-head": Met(Trouble(most=60, end=End.RESET)),
    "500": Met(failing("500 Internal Server Error", "InternalError")),
    "502": Met(Trouble.saying(answer("502 Bad Gateway", b"<html><h1>Bad Gateway</h1></html>"))),
    "slow-down": Met(failing("503 Slow Down", "SlowDown")),
    "504": Met(Trouble.saying(answer("504 Gateway Timeout"))),
    "429": Met(failing("429 Too Many Requests", "TooManyRequests")),
    "redirect": Met(Trouble.saying(answer("301 Moved Permanently", b"", b"Location: /"))),
    "temporary-redirect": Met(Trouble.saying(answer("307 Temporary Redirect", b"", b"Location: /"))),
    "page": Met(Trouble.saying(answer("200 OK", b"<!DOCTYPE html><html><body>Log in</body></html>")), everywhere=False),
    "half-a-document": Met(Trouble.saying(answer("200 OK", LISTING + b"<Contents><Key>a")), everywhere=False),
    "half-an-answer": Met(Trouble.saying(answer("200 OK", LISTING, length=10_000)), everywhere=False),
    "endless": Met(Trouble(endless), everywhere=False),
    "bomb": Met(Trouble.saying(answer("200 OK", BOMB)), everywhere=False),
    "gzip-bomb": Met(Trouble.saying(answer("200 OK", GZIP_BOMB, b"Content-Encoding: gzip")), everywhere=False),
    "byte-by-byte": Met(Trouble(pace=0), spoils=False),
}
"""By the datasets that meet them."""

NEEDY = ("verify one file", "objects", "resume", "abort", "authorize parts")
CURIOUS = ("authorize one file",)
IMPATIENT = 40
STREAMS = 8
CROWD = 600
"""More than there are places."""

# What must be asked of the store first is a HEAD request or a DELETE; or is nothing.
STATUS_ONLY = {"authorize one file": KNOWN, "verify one file": KNOWN, "abort": DONE}
# These wait for 20 seconds, which is for those who make an effort.
UNHURRIED = ("verify one file", "verify many files", "objects")
WITHOUT_STORE = {"presign": DONE, "presign many": DONE}
DOCUMENTED = {
    "authorize one file": UNKNOWN,
    "authorize many files": UNKNOWN,
    **dict.fromkeys(QUESTIONS.keys() - {"authorize one file", "authorize many files"}, DOWN),
    **WITHOUT_STORE,
}
UNTROUBLED = {question: KNOWN if question.startswith(("authorize", "verify")) else DONE for question in QUESTIONS} | {
    "authorize parts": KNOWN
}


def expected(met: Met) -> Mapping[str, str]:
    if not met.spoils:
        return UNTROUBLED
    return DOCUMENTED if met.everywhere else {**DOCUMENTED, **STATUS_ONLY}


def is_documented(which: tuple[str, str], what: str) -> bool:
    dataset, question = which
    wanted = expected(TROUBLES[dataset.removesuffix("-half")])[question]
    # Whoever asks for uploads isn't kept waiting for what is stored, also where the store is just slow.
    return what == wanted or (what == UNKNOWN and wanted == KNOWN and question.startswith("authorize"))


def in_trouble(method: str, target: str) -> Trouble | None:
    """Find the trouble of the dataset that a request is about, if it is one of those that meet it."""
    decoded = unquote(target)
    for name, met in TROUBLES.items():
        if f"{OWNER}/{name}/" in decoded and (met.everywhere or method not in ("HEAD", "DELETE")):
            return met.trouble
        if f"{OWNER}/{name}-half/{TROUBLED_PART}" in decoded and method == "POST":
            return met.trouble
    return None


def untroubled(_method: str, _target: str) -> None:
    """Let the store answer."""


@pytest.fixture(scope="module")
def relay(seaweedfs: RunningStore) -> Iterator[TroubledStore]:
    with troubled_store(seaweedfs.endpoint_url) as relay:
        yield relay


@pytest.fixture(scope="module")
def running(
    seaweedfs: RunningStore, relay: TroubledStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveService]:
    with serving_store(tmp_path_factory.mktemp("service"), seaweedfs, relay) as service:
        yield service


@pytest.fixture
def service(running: LiveService, relay: TroubledStore) -> Iterator[LiveService]:
    relay.choose = untroubled
    yield running
    relay.choose = untroubled
    relay.hang_up()


def test_every_trouble_is_answered_as_documented_on_every_route_and_nothing_is_left(
    service: LiveService, relay: TroubledStore, seaweedfs: RunningStore, tried: Tried
) -> None:
    askers = {name: prepare(service, seaweedfs, name) for name in TROUBLES}
    memory = peak_memory(service)
    relay.choose = in_trouble
    told: dict[tuple[str, str], str] = {}
    for asking in _rounds(askers):
        with ThreadPoolExecutor(len(asking)) as threads:
            asked = {(asker.dataset, question): threads.submit(asker.ask, question) for asker, question in asking}
            told |= {which: answer.result() for which, answer in asked.items()}
    assert {which: what for which, what in told.items() if not is_documented(which, what)} == {}
    assert peak_memory(service) - memory < 256 * MIB
    _assert_nothing_half_begun(pending(seaweedfs))

    relay.choose = untroubled
    assert_recovered(askers["silent"])
    tried("requests under fault", len(told))


def _rounds(askers: Mapping[str, Asker]) -> Iterable[Sequence[tuple[Asker, str]]]:
    """Give who asks what at once: what is over soon not together with what isn't.

    What must go well comes last, when no connections are left that a trouble breaks as they are used again.
    """
    rounds: dict[tuple[bool, bool], list[tuple[Asker, str]]] = {}
    for name, met in TROUBLES.items():
        for question in QUESTIONS:
            goes_well = expected(met)[question] in (KNOWN, DONE)
            if EFFORT > 1 or question not in UNHURRIED or not met.is_slow:
                rounds.setdefault((goes_well, met.is_slow), []).append((askers[name], question))
        half = Asker(askers[name].service, f"{name}-half", Begun({}))
        rounds.setdefault((not met.spoils, met.is_slow), []).append((half, "authorize parts"))
    return (asking for _, asking in sorted(rounds.items(), key=itemgetter(0)))


def assert_recovered(asker: Asker) -> None:
    for question, wanted in UNTROUBLED.items():
        told = asker.ask(question)
        if told == UNKNOWN:  # it took a second, on a machine that is very busy
            told = asker.ask(question)
        assert told == wanted, question


def _assert_nothing_half_begun(left: Mapping[str, Sequence[str]]) -> None:
    """Of a batch in which one couldn't be begun none may stay, but the one whose beginning the store never told of."""
    for name, met in TROUBLES.items():
        lost = [f"{OWNER}/{name}-half/{TROUBLED_PART}"] if met.trouble.instead is None else []
        whole = [f"{OWNER}/{name}-half/{path}" for path in PARTS]
        assert sorted(left.get(f"{name}-half", [])) in ((lost, []) if met.spoils else (whole,)), name


def test_a_service_whose_store_is_in_trouble_is_alive_and_not_ready(
    service: LiveService, relay: TroubledStore, tried: Tried
) -> None:
    def ask_for_bucket(met: Met) -> Chooser:
        return lambda method, target: met.trouble if method == "HEAD" and target.count("/") == 1 else None

    quick = [met for met in TROUBLES.values() if met.everywhere and met.spoils and not met.is_slow]
    for met in quick:
        relay.choose = ask_for_bucket(met)
        assert readiness(service) == 503
    relay.go_down()
    assert readiness(service) == 503
    relay.go_up()
    relay.choose = untroubled
    assert readiness(service) == 200

    relay.choose = ask_for_bucket(TROUBLES["dripping-head"])
    with ThreadPoolExecutor(IMPATIENT) as threads:
        asking = [threads.submit(readiness, service) for _ in range(IMPATIENT)]
        for path in ("/healthz", "/metrics", "/rawstore/openapi.json"):
            assert service.send("GET", path).status == 200
        assert service.info()
        assert {answer.result() for answer in asking} == {503}
    relay.choose = untroubled
    assert readiness(service) == 200
    tried("requests under fault", len(quick) + 1 + IMPATIENT)


def readiness(service: LiveService) -> int:
    answer = service.send("GET", "/readyz", expect_unavailable=True)
    if answer.status == 503:
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json["status"] == "not ready"
    return answer.status


def test_those_who_wait_for_a_silent_store_keep_nobody_out(
    service: LiveService, relay: TroubledStore, seaweedfs: RunningStore, tried: Tried
) -> None:
    """More requests than there are places wait for the store; meanwhile all that needs no store is answered."""
    asker = prepare(service, seaweedfs, "crowd")
    relay.choose = lambda _method, _target: Trouble.saying(end=End.STALL)
    with Crowd.asking(asker, NEEDY, CROWD) as needy, Crowd.asking(asker, CURIOUS, CROWD) as curious:
        assert curious.answers() == {200: CROWD}
        assert {question: asker.ask(question) for question in WITHOUT_STORE} == WITHOUT_STORE
        assert service.send("GET", "/healthz").status == 200
        relay.choose = untroubled
        relay.hang_up()
        assert needy.answers().keys() <= {200, 503}
    assert_recovered(asker)
    tried("requests under fault", 2 * CROWD)


def test_a_store_that_comes_and_goes_is_not_lied_about(
    service: LiveService, relay: TroubledStore, seaweedfs: RunningStore, tried: Tried
) -> None:
    """Every answer is that of a store that is well, or the documented one of a store that isn't."""
    asker, ended = prepare(service, seaweedfs, "weather"), threading.Event()
    random = Random(1 if EFFORT == 1 else None)
    with ThreadPoolExecutor(STREAMS) as threads:
        streams = [threads.submit(ask_on, asker, Random(random.random()), ended) for _ in range(STREAMS)]
        ends = time.monotonic() + 2.0 * EFFORT
        while time.monotonic() < ends and not any(stream.done() for stream in streams):
            change_weather(relay, random)
            time.sleep(random.uniform(0.02, 0.2))
        relay.go_up()
        relay.choose = untroubled
        relay.hang_up()
        assert_recovered(asker)
        ended.set()
        tried("requests under fault", sum(stream.result() for stream in streams))


def ask_on(asker: Asker, random: Random, ended: threading.Event) -> int:
    """Ask whatever comes to mind until it has ended; give how often that was."""
    times = 0
    while not ended.is_set():
        question = random.choice(list(QUESTIONS))
        told = asker.ask(question)
        partly = told == UNKNOWN and question.startswith("authorize")  # when the store came or went in between
        assert partly or told in {UNTROUBLED[question], DOCUMENTED[question]}, question
        times += 1
    return times


def change_weather(relay: TroubledStore, random: Random) -> None:
    """Have all be well, or meet one trouble, or some meet any; or nobody listens. Who was kept waiting no longer is."""
    often = random.choice((0.0, 0.2, 1.0))
    troubles = list(TROUBLES.values()) if often < 1 else [random.choice(list(TROUBLES.values()))]

    def choose(method: str, _target: str) -> Trouble | None:
        met = random.choice(troubles)
        meets = random.random() < often and (met.everywhere or method not in ("HEAD", "DELETE"))
        return met.trouble if meets else None

    relay.choose = choose
    relay.hang_up()
    if random.random() < 0.2:
        relay.go_down()
    else:
        relay.go_up()
