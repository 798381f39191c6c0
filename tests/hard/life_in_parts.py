"""What users do with files that come in parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import (
    MultipleResults,
    multiple,
    rule,
)

from tests.hard.in_process import Answer
from tests.hard.life import (
    LARGE,
    Life,
    contents,
    cuts,
    datasets,
    others,
    paths,
    people,
    uploads,
    url_tamperings,
    users,
)
from tests.hard.model import (
    LEAST_PART,
    LIFETIME,
    PartGrant,
    Parts,
    Token,
    cut,
)
from tests.hard.requests import URL_TAMPERINGS, Signed, swapped


class LifeInParts(Life):
    """Uploads in parts: begun, sent, resumed, completed and aborted, by whom they belong to and by others."""

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
        content = LARGE if is_large else content
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
