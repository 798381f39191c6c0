"""A running service for hostile requests, and what must hold of every answer to one.

A hostile request is a good one with one change, so that it can only be refused for that change. It is answered with a
4xx and a code; nothing is signed, nothing of a token is repeated, and the log has one line for it, of printable ASCII.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

import urllib3
from attrs import evolve, field, frozen

from tests import strategies as bits
from tests.adapters.tokens.auth_server import AuthServer, answering, auth_server, jwk, key_set
from tests.effort import EFFORT
from tests.entrypoints.http.conformance import Conformance
from tests.entrypoints.http.live_service import (
    BUCKET,
    CONTENT,
    DATASET,
    MEMORY,
    OWNER,
    Answer,
    LiveService,
    batch,
    declaration,
)
from tests.hard.hostile.tokens import Good
from tests.live import wait_until
from tests.serve import bitstore_serve
from tests.tokens import private_key

MAX_BODY_BYTES = 1024**2
MAX_FILES = 1_000
STRANGER = "mallory"
"""Another user, who has a token and files too."""
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")

_Item = TypeVar("_Item")

TRIED = "hostile requests"
"""What they are counted as."""

_HANG_SECONDS = 10.0
_MAX_ERROR_BYTES = 64 * 1024
_MAX_REPEATED = 12
_UNROUTED = {"not_found", "method_not_allowed"}


@frozen
class Request:
    """A request as a client sends it. `path` may have a query; `body` is sent as JSON unless it is bytes."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(factory=dict)
    is_chunked: bool = False

    @property
    def content(self) -> bytes | None:
        """The body in bytes."""
        return self.body if self.body is None or isinstance(self.body, bytes) else json.dumps(self.body).encode()


Change = Callable[[Request], Request]


class Absent(Enum):
    """What a member is that isn't there; its name is the same in every process, as the names of tests must be."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@frozen
class Case:
    """How a request differs from a good one, and what it is answered with.

    `detail` is the code of the one bad file, where a file is what is bad.
    """

    name: str
    change: Change
    status: int
    code: str
    detail: str | None = None


def cases(
    name: str, values: Iterable[Any], change: Callable[[Any], Change], status: int, code: str, detail: str | None = None
) -> Sequence[Case]:
    """Make a case for each of several values."""
    return [
        Case(f"{name} {'missing' if value is ABSENT else repr(value):.48}", change(value), status, code, detail)
        for value in values
    ]


def turns(items: Sequence[_Item], number: int) -> Sequence[_Item]:
    """Give one of several, each in its turn, where a number says whose it is; with more effort also the next ones."""
    return [items[(number + turn) % len(items)] for turn in range(min(EFFORT, len(items)))]


def then(first: Change, second: Change) -> Change:
    """Make one change after another."""
    return lambda request: second(first(request))


def with_headers(request: Request, **headers: str) -> Request:
    """Add headers; an underscore stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return evolve(request, headers={**request.headers, **named})


def in_header(request: Request, token: str) -> Request:
    """Show a token in `Auth-Token`."""
    return with_headers(request, Auth_Token=token)


def as_bearer(request: Request, token: str) -> Request:
    """Show a token in `Authorization`."""
    return with_headers(request, Authorization=f"Bearer {token}")


def in_query(request: Request, token: str) -> Request:
    """Show a token in the URL."""
    return evolve(request, path=f"{request.path}{'&' if '?' in request.path else '?'}jwt={percent_encoded(token)}")


def fits_in_header(text: str) -> bool:
    """Tell whether a header can have it (RFC 9110, section 5.5); what it can't, a URL can."""
    return re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text) is None


PLACES = {"Auth-Token": in_header, "Authorization": as_bearer, "jwt": in_query}
"""Where a token can be shown."""


def percent_encoded(text: str) -> str:
    """Encode all but what may stand in a URL as it is; surrogates too, as a careless program would."""
    return re.sub(r"[^A-Za-z0-9._~-]", lambda found: "".join(f"%{byte:02X}" for byte in _bytes(found[0])), text)


def good_token(algorithm: str = "RS256", userid: str = OWNER) -> Good:
    """Give what an honest token of now is made of, for one of the keys, which are named like their algorithms."""
    now = datetime.now(UTC)
    header = {"alg": algorithm, "typ": "JWT", "kid": algorithm}
    return Good(bits.good_claims(userid, now=now), header, int(now.timestamp()))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _for_header(text: str) -> str:
    """Write it in Latin-1, as urllib3 does, or else in UTF-8."""
    return text if all(sign <= "\xff" for sign in text) else _bytes(text).decode("latin-1")


@frozen
class Target:
    """A service in a process of its own, and what was asked of it.

    Its store has files of alice's, one of them half sent, and of a stranger's.
    """

    live: LiveService
    auth: AuthServer
    log: Path
    token: str = field(repr=False)
    """Alice's."""
    _described: Conformance = field(repr=False)
    _expected: dict[str, tuple[int, str | None]] = field(factory=dict, init=False, repr=False)
    _tokens: set[str] = field(factory=set, init=False, repr=False)

    def grants(self, request: Request, *, token: str | None = None) -> Answer:
        """Send a request that must be granted; alice's, unless there is another token."""
        answer = self.ask(in_header(request, token or self.token))
        assert answer.status == 200, answer.body
        return answer

    def refuses(self, request: Request, status: int, code: str, *, secret: str = "") -> Answer:
        """Send a request that must be refused, and nothing be told of `secret`, the token in it."""
        answer = self.ask(request, secret=secret)
        assert (answer.status, answer.code) == (status, code), answer.body
        return answer

    def ask(self, request: Request, *, secret: str = "") -> Answer:
        """Send a request, and check what must hold of all answers."""
        request_id = f"h{len(self._expected)}"
        url = f"{self.live.root}{request.path}"
        got = self.live.http.request(
            request.method,
            url,
            body=request.content,
            headers={
                **{name: _for_header(value) for name, value in request.headers.items()},
                "X-Request-Id": request_id,
            },
            chunked=request.is_chunked,
            timeout=_HANG_SECONDS,
        )
        answer = Answer(got.status, got.headers, got.data)
        assert answer.status < 500, answer.body
        assert answer.headers["X-Request-Id"] == request_id
        self._described.check(request.method, url, answer.status, answer.headers, answer.body)
        is_error = answer.status >= 400
        self._expected[request_id] = answer.status, answer.code if is_error and request.method != "HEAD" else None
        if is_error:
            assert len(answer.body) <= _MAX_ERROR_BYTES
            assert b"x-amz-" not in answer.body.lower()
        if secret:
            self._tokens.add(secret)
            assert not _repeated(f"{answer.headers}{answer.body.decode()}", [secret])
        return answer

    def is_well(self) -> None:
        """Check that it is alive and ready, and has answered nothing by a fault of its own."""
        assert self.live.send("GET", "/healthz").json == {"status": "ok"}
        assert self.live.send("GET", "/readyz").json == {"status": "ready"}
        metrics = self.live.send("GET", "/metrics").body.decode()
        assert 'status="200"' in metrics
        assert 'status="5' not in metrics
        assert not _repeated(metrics, self._tokens)

    def has_clean_log(self) -> None:
        """Check that the log has what it must have of all requests so far, and nothing that it mustn't."""
        last = f'"request_id":"{list(self._expected)[-1]}"'
        wait_until(lambda: last in self.log.read_text())
        log = self.log.read_bytes().decode("ascii")
        lines = log.removesuffix("\n").split("\n")
        assert all(line.isprintable() for line in lines)
        events = defaultdict(list)
        for event in map(json.loads, lines):
            assert event["level"] == "info", event
            events[event.get("request_id")].append(event)
        for request_id, expected in self._expected.items():
            _check_events(events[request_id], *expected)
        assert not _repeated(log, self._tokens)


def _check_events(events: list[dict[str, Any]], status: int, code: str | None) -> None:
    """Check that a request was told of once, and its refusal too."""
    assert [event["status"] for event in events if event["logger"] == "bitstore.requests"] == [str(status)]
    refusals = [(event["status"], event["code"]) for event in events if event["message"] == "refuse"]
    assert refusals == ([] if code is None or code in _UNROUTED else [(status, code)])


def _repeated(told: str, secrets: Iterable[str]) -> set[str]:
    """Find what stands in `told` of any of the secrets, be it only twelve characters in a row."""
    kept = "\n".join(secrets)
    words = set(re.findall(rf"[A-Za-z0-9_+/=.-]{{{_MAX_REPEATED},}}", told))
    pieces = {word[start : start + _MAX_REPEATED] for word in words for start in range(len(word) - _MAX_REPEATED + 1)}
    return {piece for piece in pieces if piece in kept}


@contextmanager
def hostile_target(folder: Path) -> Iterator[Target]:
    """Run a service that verifies tokens with four keys, one of each algorithm, named like it."""
    with auth_server() as auth, urllib3.PoolManager(retries=False, timeout=20) as http:
        auth.answer = answering(key_set([jwk(private_key(name), name, alg=name, use="sig") for name in ALGORITHMS]))
        settings = {
            **{name: value for name, value in MEMORY.items() if name != "DATAHUB_PUBLIC_KEY"},
            "AUTH_JWKS_URL": f"{auth.origin}/jwks",
            "TOKEN_ALGORITHMS": ",".join(ALGORITHMS),
            "MAX_BODY_BYTES": str(MAX_BODY_BYTES),
            "MAX_FILES": str(MAX_FILES),
            "LOG_FORMAT": "json",
            "LOG_REQUESTS": "true",
        }
        with bitstore_serve(folder, settings) as origin:
            live = LiveService(origin, http)
            (log,) = folder.glob("bitstore-*.log")
            described = Conformance.to(live.send("GET", "/rawstore/openapi.json").json)
            yield Target(live, auth, log, good_token().token(), described)


KINDS = (
    *("authorize", "verify", "presign paths", "presign urls", "resume", "complete", "abort"),
    *("presign", "objects"),
)
"""The kinds of requests that a token with the permission is needed for."""


@frozen
class Uploads:
    """What is in the store, as its owners would ask for it."""

    stored: Mapping[str, Any]
    coming: Mapping[str, Any]
    """Begun in parts, and not sent yet."""
    theirs: Mapping[str, Any]
    """Likewise; the stranger's."""
    url: str
    cursor: str

    @classmethod
    def into(cls, target: Target) -> "Uploads":
        """Make them."""
        stored, also = (_begun(target, OWNER, path) for path in ("stored.csv", "also.csv"))
        for upload in (stored, also):
            target.grants(Request("POST", "/multipart/complete", upload))
        listed = target.grants(Request("GET", f"/objects?owner={OWNER}&name={DATASET}&limit=1")).json
        url = f"{target.live.origin}/store/{BUCKET}/{OWNER}/{DATASET}/stored.csv"
        return cls(
            stored, _begun(target, OWNER, "coming.csv"), _begun(target, STRANGER, "theirs.csv"), url, listed["next"]
        )

    @property
    def requests(self) -> Mapping[str, Request]:
        """A good request of each of `KINDS`."""
        metadata = self.stored["metadata"]
        return {
            "authorize": Request("POST", "/authorize", batch()),
            "verify": Request("POST", "/verify", batch()),
            "presign paths": Request("POST", "/presign", {"metadata": metadata, "paths": ["stored.csv"]}),
            "presign urls": Request("POST", "/presign", {"metadata": metadata, "urls": [self.url]}),
            "resume": Request("POST", "/multipart/resume", self.coming),
            "complete": Request("POST", "/multipart/complete", self.stored),
            "abort": Request("POST", "/multipart/abort", self.stored),
            "presign": Request("GET", f"/presign?ownerid={OWNER}&url={self.url}"),
            "objects": Request("GET", f"/objects?owner={OWNER}&name={DATASET}&limit=1"),
        }


def _begun(target: Target, owner: str, path: str) -> Mapping[str, Any]:
    """Send a file in one part, which is not complete by that; give what is asked of it from then on."""
    body = batch({path: declaration()}, {"owner": owner}, {"accept": ["MULTIPART"]})
    answer = target.grants(Request("POST", "/authorize", body), token=good_token(userid=owner).token())
    file = answer.json["filedata"][path]
    (part,) = file["parts"]
    assert target.live.send("PUT", part["url"], body=CONTENT, headers=part["headers"]).status == 200
    return {"metadata": body["metadata"], "path": path, "file": declaration(), "upload_id": file["upload_id"]}
