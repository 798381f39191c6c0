"""Users whose names are near each other do everything that the service lets them do, and try everything else.

The whole service is asked, wired as in production, with its time in the test's hand. What it must hold is kept in a
plain dict beside it; after every step both must be the same, byte for byte, and each object its owner's work.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    MultipleResults,
    multiple,
    rule,
    run_state_machine_as_test,
)

from entrypoints.http.wire import iso_time
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import BUCKET
from tests.hard.in_process import ORIGIN, Answer, InProcess, in_process
from tests.hard.life import (
    PATTERNS,
    contents,
    cuts,
    datasets,
    form_tamperings,
    grants,
    links,
    others,
    paths,
    people,
    types,
    url_of,
    url_tamperings,
    users,
)
from tests.hard.life_in_parts import LifeInParts
from tests.hard.model import (
    LIFETIME,
    Declared,
    Grant,
    Link,
    listed,
)
from tests.hard.requests import FORM_TAMPERINGS, URL_TAMPERINGS, Form, Signed
from tests.tried import Tried


class Users(LifeInParts):
    """What users do to each other."""

    # Files that come in one request

    @rule(
        target=grants,
        who=people,
        other=others,
        dataset=datasets,
        files=st.dictionaries(paths, contents, min_size=1, max_size=2),
        how=st.sampled_from(["POST", "PUT", "PUT once", "POST once"]),
        is_public=st.booleans(),
        media_type=types,
    )
    def authorize(
        self,
        who: int,
        other: int | None,
        dataset: str,
        files: Mapping[str, bytes],
        how: str,
        is_public: bool,
        media_type: str,
    ) -> MultipleResults[Grant]:
        token = self.token(who)
        owner = self.owner(token, other)
        declared = [
            self.declare(owner, dataset, path, content, media_type, is_public) for path, content in files.items()
        ]
        method, _, once = how.partition(" ")
        body = {**self.batch(declared), "accept": [method], "overwrite": not once}
        answer = self.ask("authorize", token, body)
        if self.is_refused(answer, token, owner):
            return multiple()
        if how == "POST once":
            assert answer.code == "unsupported_by_store"
            return multiple()
        return multiple(*(self.granted(answer, file, overwrite=not once) for file in declared))

    def granted(self, answer: Answer, file: Declared, *, overwrite: bool) -> Grant:
        """Take what was signed for a file, and see that nothing but the truth was said of it."""
        assert answer.status == 200, answer.body
        signed = answer.json["filedata"][file.path]
        stored = self.stored.get(file.key)
        assert signed["exists"] == (stored is not None and stored.content == file.content)
        assert signed["object_url"] == url_of(file.key)
        until = self.now + LIFETIME
        assert signed["expires_at"] == iso_time(until)
        request: Form | Signed
        if signed["upload_method"] == "POST":
            assert signed["upload_query"]["key"] == file.key
            request = Form(signed["upload_url"], tuple(signed["upload_query"].items()), file.content)
        else:
            request = Signed("PUT", signed["upload_url"], tuple(signed["upload_headers"].items()), file.content)
        return Grant(file, request, until, overwrite)

    @rule(who=people, dataset=datasets, path=paths, content=contents, how=st.sampled_from(["POST", "MULTIPART"]))
    def authorize_with_a_bad_file(self, who: int, dataset: str, path: str, content: bytes, how: str) -> None:
        token = self.token(who)
        owner = self.owner(token)
        good, bad = (self.declare(owner, dataset, name, content) for name in (path, f"x/../{path}"))
        answer = self.ask("authorize", token, {**self.batch([good, bad]), "accept": [how]})
        assert self.is_refused(answer, token, owner) or answer.code == "invalid_batch"

    @rule(grant=grants, of_form=form_tamperings, of_url=url_tamperings, victim=users)
    def upload_tampered(self, grant: Grant, of_form: set[str], of_url: set[str], victim: int) -> None:
        request = grant.request
        key = self.key_of(self.users[victim], "tides", "a.csv")
        if isinstance(request, Form):
            self.must_be_refused(request, [FORM_TAMPERINGS[how](request, key) for how in sorted(of_form)])
        else:
            self.must_be_refused(request, [URL_TAMPERINGS[how](request, key) for how in sorted(of_url)])

    @rule(
        user=users,
        dataset=datasets,
        path=paths,
        content=contents,
        how=st.sampled_from(["POST", "PUT"]),
        is_public=st.booleans(),
    )
    def upload_at_once(self, user: int, dataset: str, path: str, content: bytes, how: str, is_public: bool) -> None:
        granted = self.authorize(user, None, dataset, {path: content}, how, is_public, "text/csv")
        assert isinstance(granted, MultipleResults)
        self.upload_as_it_is(granted.values[0], [])

    @rule(grant=grants, pieces=cuts)
    def upload_as_it_is(self, grant: Grant, pieces: Sequence[int]) -> None:
        request = grant.request
        answer = self.send(request if isinstance(request, Form) else request.respelled(), pieces)
        if self.now > grant.until:
            assert answer.status == 403, answer
        else:
            self.note_upload(grant, answer)

    def note_upload(self, grant: Grant, answer: Answer) -> None:
        """Expect what must come of a good upload."""
        if not grant.overwrite and grant.file.key in self.stored:
            assert answer.status == 412, answer
        else:
            assert answer.status == (204 if isinstance(grant.request, Form) else 200), answer
            self.stored[grant.file.key] = grant.file.stored()

    @rule(grant=grants, pieces=cuts)
    def break_off(self, grant: Grant, pieces: Sequence[int]) -> None:
        if grant.request.wire[-1]:  # a request without a body is whole when it has begun
            assert self.send(grant.request, pieces, cut=True).status in (0, 403)

    @rule(one=grants, two=grants, names=st.sets(st.sampled_from(["key", "policy", "x-amz-signature", "content-md5"])))
    def mix(self, one: Grant, two: Grant, names: set[str]) -> None:
        """Send a form with some fields of another one."""
        if not isinstance(one.request, Form) or not isinstance(two.request, Form):
            return
        mixed = one.request.having(**{name.replace("-", "_"): two.request.field(name) for name in names})
        answer = self.send(mixed)
        for grant in (one, two):
            if isinstance(grant.request, Form) and mixed == grant.request and self.now <= grant.until:
                self.note_upload(grant, answer)
                return
        assert 400 <= answer.status < 500, (answer, mixed)

    # What is read

    @rule(who=people, other=others, dataset=datasets, files=st.dictionaries(paths, contents, min_size=1, max_size=4))
    def verify(self, who: int, other: int | None, dataset: str, files: Mapping[str, bytes]) -> None:
        token = self.token(who)
        owner = self.owner(token, other)
        declared = [self.declare(owner, dataset, path, content) for path, content in files.items()]
        answer = self.ask("verify", token, self.batch(declared))
        if self.is_refused(answer, token, owner):
            return
        assert answer.status == 200
        told = {path: verdict["status"] for path, verdict in answer.json["files"].items()}
        assert told == {file.path: self.status_of(file) for file in declared}

    def status_of(self, file: Declared) -> str:
        stored = self.stored.get(file.key)
        return "missing" if stored is None else "stored" if stored.content == file.content else "different"

    @rule(who=people, other=others, dataset=datasets, limit=st.sampled_from([1, 2, 1_000]))
    def list_objects(self, who: int, other: int | None, dataset: str, limit: int) -> None:
        token = self.token(who)
        owner = self.owner(token, other)
        query = {"owner": owner, "name": dataset, "limit": limit}
        start = self.key_of(owner, dataset, "")
        expected = [
            listed(key, key.removeprefix(start), stored, url_of(key))
            for key, stored in sorted(self.stored.items())
            if key.startswith(start)
        ]
        found: list[object] = []
        while True:
            answer = self.get("objects", token, query)
            if self.is_refused(answer, token, owner):
                return
            assert answer.status == 200
            found += answer.json["objects"]
            assert len(answer.json["objects"]) <= limit
            if answer.json["next"] is None:
                break
            query["after"] = answer.json["next"]
            elsewhere = self.get("objects", token, {**query, "name": f"{dataset}2", "owner": owner})
            assert elsewhere.status == (400 if "{name}" in self.pattern else 200)
        assert found == expected

    @rule(target=links, who=people, other=others, which=st.integers(0, 9), seconds=st.sampled_from([1, 3_000, 99_999]))
    def presign(self, who: int, other: int | None, which: int, seconds: int) -> MultipleResults[Link]:
        token = self.token(who)
        owner = self.owner(token, other)
        keys = sorted(self.stored) or [self.key_of(owner, "tides", "a.csv")]
        key = keys[which % len(keys)]
        query = {"ownerid": owner, "url": url_of(key), "expires_in": seconds}
        answer = self.get("presign", token, query)
        if self.is_refused(answer, token, owner):
            return multiple()
        if key.partition("/")[0] != token.userid:
            assert answer.code == "not_owner"
            return multiple()
        assert answer.status == 200
        return multiple(self.link(key, owner, answer.json, seconds))

    def link(self, key: str, by: str, signed: Mapping[str, Any], seconds: int = 86_400) -> Link:
        until = evolve(self.clock)
        until.advance(min(seconds, 86_400))
        assert signed["expires_at"] == iso_time(until.now)
        return Link(key, by, Signed("GET", signed["url"]), until.now)

    @rule(target=links, who=people, other=others, dataset=datasets, names=st.lists(paths, min_size=1, max_size=3))
    def presign_many(self, who: int, other: int | None, dataset: str, names: Sequence[str]) -> MultipleResults[Link]:
        token = self.token(who)
        owner = self.owner(token, other)
        answer = self.ask("presign", token, {"metadata": {"owner": owner, "name": dataset}, "paths": names})
        if self.is_refused(answer, token, owner):
            return multiple()
        assert answer.json["urls"].keys() == set(names)
        return multiple(
            *(self.link(self.key_of(owner, dataset, name), owner, answer.json["urls"][name]) for name in set(names))
        )

    @rule(
        who=people,
        victim=users,
        dataset=datasets,
        path=paths,
        way=st.sampled_from(
            ["{me}/../{key}", "{key}", "{me}/%2e%2e/{key}", "{me}%2F..%2F{key}", "/{key}", "{me}/\\{key}"]
        ),
    )
    def presign_by_a_detour(self, who: int, victim: int, dataset: str, path: str, way: str) -> None:
        token = self.token(who)
        owner = self.owner(token)
        if self.users[victim] == owner:
            return
        key = quote(self.key_of(self.users[victim], dataset, path))
        url = f"{ORIGIN}/store/{BUCKET}/{way.format(me=quote(owner), key=key)}"
        for spelled in (url, quote(url, safe="")):
            answer = self.service.send(
                "GET", f"/rawstore/presign?ownerid={quote(owner)}&url={spelled}", [("Auth-Token", token.text)]
            )
            if not self.is_refused(answer, token, owner) and answer.status not in (400, 403):
                # What is decoded once too often may name something else, but nothing of anybody else's.
                given = unquote(urlsplit(answer.json["url"]).path)
                assert given.startswith(f"/store/{BUCKET}/{owner}/"), (given, spelled)

    @rule(link=links, tamperings=url_tamperings, victim=users, respelled=st.booleans())
    def download(self, link: Link, tamperings: set[str], victim: int, respelled: bool) -> None:
        request = link.request
        key = self.key_of(self.users[victim], "tides", "a.csv")
        self.must_be_refused(request, [URL_TAMPERINGS[how](request, key) for how in sorted(tamperings)])
        answer = self.send(request.respelled() if respelled else request)
        if self.now > link.until:
            assert answer.status == 403, answer
        elif link.key not in self.stored:
            assert answer.status == 404
        else:
            assert (answer.status, answer.body) == (200, self.stored[link.key].content)
            assert link.by == self.stored[link.key].by

    @rule(owner=users, dataset=datasets, path=paths, method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]))
    def come_as_a_stranger(self, owner: int, dataset: str, path: str, method: str) -> None:
        key = self.key_of(self.users[owner], dataset, path)
        answer = self.service.send(method, url_of(key), [("Content-Length", "4")], [b"evil"])
        stored = self.stored.get(key)
        if method in ("GET", "HEAD") and stored is not None and stored.is_public:
            assert (answer.status, answer.body) == (200, stored.content if method == "GET" else b"")
        else:
            assert answer.status in (403, 405), answer


@pytest.fixture(scope="module")
def services() -> Iterator[Mapping[str, InProcess]]:
    with ExitStack() as stack:
        yield {pattern: stack.enter_context(in_process({"STORAGE_PATH_PATTERN": pattern})) for pattern in PATTERNS}


def test_no_user_reads_or_writes_what_is_anothers(services: Mapping[str, InProcess], tried: Tried) -> None:
    done = Counter[str]()
    machine = type("UsersOfTheService", (Users,), {"services": services, "done": done})
    run_state_machine_as_test(machine, settings=settings(max_examples=40 * EFFORT, stateful_step_count=60))
    tried("steps of users against each other", done["steps"])
