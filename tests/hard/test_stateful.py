"""Users whose names are near each other do everything that the service lets them do, and try everything else.

The whole service is asked, wired as in production, with its time in the test's hand. What it must hold is kept in a
plain dict beside it; after every step both must be the same, byte for byte, and each object its owner's work.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from domain.uploads import Access
from entrypoints.http.wire import iso_time
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import BUCKET
from tests.hard.in_process import ORIGIN, Answer, InProcess, SetClock, in_process
from tests.hard.model import (
    FORGERIES,
    LEAST_PART,
    LIFETIME,
    Declared,
    Grant,
    Link,
    PartGrant,
    Parts,
    Stored,
    Token,
    cut,
    listed,
    token_for,
    without_permission,
)
from tests.hard.requests import FORM_TAMPERINGS, URL_TAMPERINGS, Form, Signed, swapped
from tests.strategies import NOW
from tests.tried import Tried

USERS = (
    *("alice", "alic", "alice2", "alice.", "alice ", "Alice", "ALICE"),
    *("\u0430lice", "\uff41lice", "alice\u200b", "al\u0131ce", "%61lice", "a"),
)
DATASETS = ("tides", "Tides")
PATHS = ("a.csv", "A.csv", "tides/a b+c%2F..csv", "\u2603/\u00e9.csv")
PATTERNS = ("{owner}/{name}/{path}", "{owner}/{path}")
_LARGE = bytes(LEAST_PART) + b"the end"
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


class Users(RuleBasedStateMachine):
    """What users do to each other. `self.stored` is what the store must hold."""

    services: Mapping[str, InProcess]
    done: Counter[str]

    grants = Bundle[Grant]("grants")
    uploads = Bundle[Parts]("uploads")
    links = Bundle[Link]("links")

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

    def must_be_refused(self, request: Form | Signed, tampered: Sequence[Form | Signed]) -> None:
        """Send what was made of a request, and see each refused; what it was made of may be among it."""
        for sent in tampered:
            if sent.wire != request.wire:
                answer = self.send(sent)
                assert 400 <= answer.status < 500, (answer, sent)

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

    # Files that come in parts

    @rule(
        target=uploads,
        who=people,
        other=others,
        dataset=datasets,
        path=paths,
        content=contents,
        is_large=st.integers(0, 9).map(lambda number: number == 9),
        is_public=st.booleans(),
        with_digests=st.booleans(),
    )
    def begin(
        self,
        who: int,
        other: int | None,
        dataset: str,
        path: str,
        content: bytes,
        is_large: bool,
        is_public: bool,
        with_digests: bool,
    ) -> MultipleResults[Parts]:
        token = self.token(who)
        owner = self.owner(token, other)
        content = _LARGE if is_large else content
        file = self.declare(owner, dataset, path, content, is_public=is_public)
        parts = Parts(file, LEAST_PART if is_large else max(len(content), 1), with_digests, "")
        body = {**self.batch([file]), "accept": ["MULTIPART"]}
        answer = self.ask("authorize", token, {**body, "filedata": {path: parts.declaration(content)}})
        if self.is_refused(answer, token, owner):
            return multiple()
        if not content:
            assert answer.detail_codes == {path: "invalid_parts"}
            return multiple()
        assert answer.status == 200, answer.body
        signed = answer.json["filedata"][path]
        stored = self.stored.get(file.key)
        assert signed["exists"] == (stored is not None and stored.content == content)
        if signed["exists"]:
            assert (signed["upload_id"], signed["parts"]) == (None, [])
            return multiple()
        parts.upload_id = signed["upload_id"]
        self.all_uploads.append(parts)
        self.take_parts(parts, content, signed["parts"], range(1, len(cut(content, parts.size)) + 1))
        return multiple(parts)

    def take_parts(
        self, upload: Parts, content: bytes, signed: Sequence[Mapping[str, Any]], numbers: Sequence[int]
    ) -> None:
        """Take the requests for these parts of `content`, which are all that must be there."""
        assert [part["number"] for part in signed] == list(numbers)
        pieces = cut(content, upload.size)
        for part in signed:
            piece = pieces[part["number"] - 1]
            assert part["length"] == len(piece)
            request = Signed("PUT", part["url"], tuple(part["headers"].items()), piece)
            upload.grants.append(PartGrant(part["number"], piece, upload.with_digests, request, self.now + LIFETIME))

    @rule(upload=uploads, number=st.integers(0, 9), tamperings=url_tamperings, victim=users)
    def send_part_tampered(self, upload: Parts, number: int, tamperings: set[str], victim: int) -> None:
        request = upload.grants[number % len(upload.grants)].request
        key = self.key_of(self.users[victim], "tides", "a.csv")
        self.must_be_refused(request, [URL_TAMPERINGS[how](request, key) for how in sorted(tamperings)])

    @rule(upload=uploads, number=st.integers(0, 9), is_swapped=st.booleans(), pieces=cuts)
    def send_part(self, upload: Parts, number: int, is_swapped: bool, pieces: Sequence[int]) -> None:
        grant = upload.grants[number % len(upload.grants)]
        content = swapped(grant.content) if is_swapped else grant.content
        answer = self.send(evolve(grant.request, content=content), pieces)
        if self.now > grant.until:
            assert answer.status == 403, answer
        elif upload.has_ended:
            assert answer.status == 404, answer
        elif is_swapped and grant.is_bound:
            assert answer.status == 400, answer
        else:
            assert answer.status == 200, answer
            upload.arrived[grant.number] = content

    @rule(upload=uploads, who=people, other=others, change=st.sampled_from(["", "", "swapped", "longer"]))
    def resume(self, upload: Parts, who: int, other: int | None, change: str) -> None:
        token = self.token(who)
        owner = self.owner(token, other)
        content = self.declared_again(upload, change)
        answer = self.ask_of(upload, "resume", token, owner, content)
        if self.is_refused(answer, token, owner) or self.is_unplannable(answer, upload, content):
            return
        if self.became(upload, owner):
            assert (answer.status, answer.json["complete"], answer.json["parts"]) == (200, True, [])
        elif upload.has_ended or owner != upload.file.by:
            assert answer.code == "upload_not_found"
        else:
            missing = upload.missing(content)
            there = [number for number in sorted(upload.arrived) if number not in missing]
            assert (answer.status, answer.json["complete"]) == (200, False)
            assert [part["number"] for part in answer.json["arrived"]] == there
            self.take_parts(upload, content, answer.json["parts"], missing)

    @rule(
        upload=uploads,
        who=people,
        other=others,
        change=st.sampled_from(["", "", "", "swapped", "longer"]),
        overwrite=st.booleans(),
    )
    def complete(self, upload: Parts, who: int, other: int | None, change: str, overwrite: bool) -> None:
        token = self.token(who)
        owner = self.owner(token, other)
        content = self.declared_again(upload, change)
        answer = self.ask_of(upload, "complete", token, owner, content, overwrite=overwrite)
        if self.is_refused(answer, token, owner) or self.is_unplannable(answer, upload, content):
            return
        if self.became(upload, owner):
            stored = self.stored[upload.file.key]
            status = "stored" if stored.content == content else "different"
            assert (answer.status, answer.json["status"]) == (200, status)
        elif upload.has_ended or owner != upload.file.by:
            assert answer.code == "upload_not_found"
        elif upload.missing(content):
            assert answer.code == "upload_incomplete"
        elif b"".join(upload.arrived[number] for number in sorted(upload.arrived)) != content:
            assert answer.code == "digest_mismatch"
        elif not overwrite and upload.file.key in self.stored:
            assert answer.code == "object_exists"
        else:
            assert (answer.status, answer.json["status"]) == (200, "stored")
            self.stored[upload.file.key] = evolve(upload.file.stored(upload.upload_id), content=content)
            upload.has_ended = True

    @rule(upload=uploads)
    def finish(self, upload: Parts) -> None:
        user = self.users.index(upload.file.by)
        self.resume(upload, user, None, "")
        if not upload.has_ended:
            for number in upload.missing(upload.file.content):
                newest = max(index for index, grant in enumerate(upload.grants) if grant.number == number)
                self.send_part(upload, newest, False, [])
        self.complete(upload, user, None, "", True)

    @rule(upload=uploads, who=people, other=others)
    def abort(self, upload: Parts, who: int, other: int | None) -> None:
        token = self.token(who)
        owner = self.owner(token, other)
        answer = self.ask_of(upload, "abort", token, owner, upload.file.content)
        if not self.is_refused(answer, token, owner):
            assert answer.status == 200
            upload.has_ended = upload.has_ended or owner == upload.file.by

    def ask_of(
        self, upload: Parts, what: str, token: Token, owner: str, content: bytes, *, overwrite: bool = True
    ) -> Answer:
        body = {
            "metadata": {"owner": owner, "name": upload.file.dataset},
            "path": upload.file.path,
            "file": upload.declaration(content),
            "upload_id": upload.upload_id,
            "overwrite": overwrite,
        }
        return self.ask(f"multipart/{what}", token, body)

    @staticmethod
    def declared_again(upload: Parts, change: str) -> bytes:
        content = upload.file.content
        return swapped(content) if change == "swapped" else content + b"!" if change else content

    @staticmethod
    def is_unplannable(answer: Answer, upload: Parts, content: bytes) -> bool:
        """Tell whether the file can't be cut as it is declared, and expect to be told so."""
        if len(content) <= upload.size or upload.size >= LEAST_PART:
            return False
        assert answer.code == "invalid_parts"
        return True

    def became(self, upload: Parts, owner: str) -> bool:
        """Whether the object that is there is this upload, and this owner's."""
        stored = self.stored.get(upload.file.key)
        return owner == upload.file.by and stored is not None and stored.upload_id == upload.upload_id

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


def url_of(key: str) -> str:
    """Give the address of an object."""
    return f"{ORIGIN}/store/{BUCKET}/{quote(key)}"


@pytest.fixture(scope="module")
def services() -> Iterator[Mapping[str, InProcess]]:
    with ExitStack() as stack:
        yield {pattern: stack.enter_context(in_process({"STORAGE_PATH_PATTERN": pattern})) for pattern in PATTERNS}


def test_no_user_reads_or_writes_what_is_anothers(services: Mapping[str, InProcess], tried: Tried) -> None:
    done = Counter[str]()
    machine = type("UsersOfTheService", (Users,), {"services": services, "done": done})
    run_state_machine_as_test(machine, settings=settings(max_examples=40 * EFFORT, stateful_step_count=60))
    tried("steps of users against each other", done["steps"])
