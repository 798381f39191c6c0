"""What is common to all that users do: who they are, what they have, how time goes by, and what must always be true."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from domain.uploads import Access
from tests.entrypoints.http.live_service import BUCKET
from tests.hard.in_process import ORIGIN, Answer, InProcess, SetClock
from tests.hard.model import (
    FORGERIES,
    LEAST_PART,
    Declared,
    Grant,
    Link,
    Parts,
    Stored,
    Token,
    token_for,
    without_permission,
)
from tests.hard.requests import FORM_TAMPERINGS, URL_TAMPERINGS, Form, Signed
from tests.strategies import NOW

USERS = (
    *("alice", "alic", "alice2", "alice.", "alice ", "Alice", "ALICE"),
    *("\u0430lice", "\uff41lice", "alice\u200b", "al\u0131ce", "%61lice", "a"),
)
DATASETS = ("tides", "Tides")
PATHS = ("a.csv", "A.csv", "tides/a b+c%2F..csv", "\u2603/\u00e9.csv")
PATTERNS = ("{owner}/{name}/{path}", "{owner}/{path}")
LARGE = bytes(LEAST_PART) + b"the end"
CONTENTS = (b"", b"a", b"b", b"a,b\n1,2\n", b"a,b\n1,3\n", b"\r\n--frontier--\r\n"[2:], b"\0\xff\r\n--frontie" * 3)

users = st.integers(0, 2)
people = st.integers(0, 2) | st.integers(0, 2) | st.integers(0, 99)
others = st.none() | st.none() | users
datasets = st.sampled_from(DATASETS)
paths = st.sampled_from(PATHS)
contents = st.sampled_from(CONTENTS)
types = st.sampled_from(["text/csv", "application/x-tides"])
cuts = st.lists(st.integers(0, 2_000), max_size=3)
form_tamperings = st.sets(st.sampled_from(sorted(FORM_TAMPERINGS)), min_size=1, max_size=6)
url_tamperings = st.sets(st.sampled_from(sorted(URL_TAMPERINGS)), min_size=1, max_size=6)

grants = Bundle[Grant]("grants")
uploads = Bundle[Parts]("uploads")
links = Bundle[Link]("links")


class Life(RuleBasedStateMachine):
    """A service, its users, and what it must hold: `stored`, and of `all_uploads` those that haven't ended."""

    services: Mapping[str, InProcess]
    done: Counter[str]

    @initialize(people=st.permutations(USERS), pattern=st.sampled_from(PATTERNS))
    def begin_to_live(self, people: Sequence[str], pattern: str) -> None:
        self.users = people[:3]
        self.pattern = pattern
        self.service = self.services[pattern]
        self.service.clock.now = NOW
        self.service.objects._objects.clear()
        self.service.objects._uploads.clear()
        self.stored: dict[str, Stored] = {}
        self.all_uploads: list[Parts] = []
        self.good = [token_for(user, NOW, 3_000) for user in self.users]
        self.old_and_bad: list[Token] = []

    # Tokens and time

    def token(self, who: int) -> Token:
        """Give a token that somebody shows: one that was good once, or a forged one; else one that is good.

        Whose has expired gets another one.
        """
        if who >= 3 and self.old_and_bad:
            return self.old_and_bad[who % len(self.old_and_bad)]
        user = who % 3
        if self.now >= self.good[user].until:
            self.good[user] = token_for(self.users[user], self.now, 3_000)
        return self.good[user]

    @rule(user=users, seconds=st.sampled_from([1, 600, 86_400]))
    def issue(self, user: int, seconds: int) -> None:
        self.old_and_bad.append(token_for(self.users[user], self.now, seconds))

    @rule(user=users, victim=users, how=st.sampled_from(sorted(FORGERIES)))
    def forge(self, user: int, victim: int, how: str) -> None:
        forged = FORGERIES[how](self.good[user].text, self.users[victim], self.now)
        self.old_and_bad.append(Token(forged, None, self.now))

    @rule(user=users)
    def issue_without_permission(self, user: int) -> None:
        self.old_and_bad.append(without_permission(self.users[user], self.now))

    @rule(seconds=st.sampled_from([1, 29, 31, 900, 3_599, 3_601, 86_400]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # What must always be true

    @invariant()
    def the_store_holds_what_it_must(self) -> None:
        self.done["steps"] += 1
        held = {
            str(key): (bytes(object_._content), object_.info.media_type, object_.info.access is Access.PUBLIC)
            for key, object_ in self.service.objects._objects.items()
        }
        assert held == {key: (one.content, one.media_type, one.is_public) for key, one in self.stored.items()}

    @invariant()
    def every_object_is_its_owners_work(self) -> None:
        assert all(key.partition("/")[0] == stored.by for key, stored in self.stored.items())

    @invariant()
    def what_is_coming_is_what_was_begun(self) -> None:
        coming = {upload_id: upload.bytes_of for upload_id, upload in self.service.objects._uploads.items()}
        assert coming == {one.upload_id: one.arrived for one in self.all_uploads if not one.has_ended}

    # How it is done

    @property
    def clock(self) -> SetClock:
        return self.service.clock

    @property
    def now(self) -> Any:
        return self.clock.now

    def owner(self, token: Token, other: int | None = None) -> str:
        """Give the user whom a request is about: the token's, unless another is wanted."""
        return (token.userid or self.users[0]) if other is None else self.users[other]

    def key_of(self, owner: str, dataset: str, path: str) -> str:
        return f"{owner}/{dataset}/{path}" if "{name}" in self.pattern else f"{owner}/{path}"

    def declare(
        self,
        owner: str,
        dataset: str,
        path: str,
        content: bytes,
        media_type: str = "text/csv",
        is_public: bool = True,
    ) -> Declared:
        return Declared(owner, dataset, path, self.key_of(owner, dataset, path), content, media_type, is_public)

    def batch(self, files: Sequence[Declared]) -> dict[str, object]:
        """Declare files of one dataset."""
        first = files[0]
        findability = "published" if first.is_public else "private"
        metadata = {"owner": first.by, "name": first.dataset, "findability": findability}
        return {"metadata": metadata, "filedata": {file.path: file.declaration() for file in files}}

    def is_refused(self, answer: Answer, token: Token, owner: str) -> bool:
        """Tell whether the token doesn't allow this, and expect the answer to say so."""
        status = token.refusal(owner, self.now)
        if status is None:
            return False
        assert answer.status == status, (answer, token)
        return True

    def ask(self, what: str, token: Token, body: object) -> Answer:
        return self.service.ask(what, token.text, body)

    def get(self, what: str, token: Token, query: Mapping[str, object]) -> Answer:
        url = f"/rawstore/{what}?{urlencode(query, quote_via=quote)}"
        return self.service.send("GET", url, [("Auth-Token", token.text)])

    def send(self, request: Form | Signed, pieces: Sequence[int] = (), *, cut: bool = False) -> Answer:
        """Send what was signed, cut at these offsets."""
        method, url, headers, body = request.wire
        ends = [0, *sorted(min(end, len(body)) for end in pieces), len(body)]
        return self.service.send(method, url, headers, [body[a:b] for a, b in pairwise(ends)], cut=cut)

    def must_be_refused(self, request: Form | Signed, tampered: Sequence[Form | Signed]) -> None:
        """Send what was made of a request, and see each refused; what it was made of may be among it."""
        for sent in tampered:
            if sent.wire != request.wire:
                answer = self.send(sent)
                assert 400 <= answer.status < 500, (answer, sent)


def url_of(key: str) -> str:
    """Give the address of an object."""
    return f"{ORIGIN}/store/{BUCKET}/{quote(key)}"
