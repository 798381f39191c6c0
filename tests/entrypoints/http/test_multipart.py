"""Files in parts over HTTP: planned by /authorize; then resumed, completed and aborted, each only by its owner."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, field, frozen

from tests.entrypoints.http.live_service import (
    CONTENT,
    MEMORY,
    OWNER,
    S3,
    Answer,
    LiveService,
    batch,
    declaration,
    live_service,
)
from tests.live import wait_until
from tests.stores.servers import RunningStore

MIB = 1024**2
PART = 5 * MIB
PATH = "data/large.bin"
# No two parts are alike, and the last is a short one.
LARGE = b"".join(letter * PART for letter in (b"a", b"b")) + b"the end"
OTHER = LARGE.swapcase()
ROUTES = ("resume", "complete", "abort")


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def in_parts(content: bytes, *, size: int = PART, digests: bool = True, **changes: object) -> dict[str, object]:
    """Declare a file and how it is cut."""
    parts: dict[str, object] = {"size": size}
    if digests:
        parts["md5"] = [md5(content[start : start + size]) for start in range(0, len(content), size)]
    return declaration(content, parts=parts, **changes)


@frozen
class Sender:
    """A client that has an upload in parts."""

    service: LiveService
    declared: Mapping[str, object]
    upload_id: str
    owner: str = OWNER
    path: str = PATH

    def ask(self, what: str, *, token: str | None = None, **changes: object) -> Answer:
        """Ask something of the upload; changes to None take a member away."""
        metadata = {"owner": self.owner, "name": "tides"}
        body = {"metadata": metadata, "path": self.path, "file": self.declared, "upload_id": self.upload_id, **changes}
        encoded = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        shown = token or self.service.token(self.owner)
        return self.service.send("POST", f"/rawstore/multipart/{what}", token=shown, body=encoded)

    def send(self, part: Mapping[str, Any], content: bytes) -> int:
        """Send one part of `content`."""
        start = (part["number"] - 1) * PART
        return self.put(part, content[start : start + part["length"]])

    def put(self, part: Mapping[str, Any], content: bytes) -> int:
        headers = {**part["headers"], "Content-Length": str(len(content))}
        return self.service.http.request("PUT", part["url"], body=content, headers=headers).status

    @property
    def stored(self) -> bytes | None:
        """What the store has at the object's address."""
        address = f"{self.service.info(self.owner)['prefixes'][0]}/tides/{self.path}"
        signed = self.service.presign(f"ownerid={self.owner}&url={address}", userid=self.owner).json["url"]
        answer = self.service.http.request("GET", signed)
        return answer.data if answer.status == 200 else None


def begin(
    service: LiveService, content: bytes = LARGE, declared: Mapping[str, object] | None = None, path: str = PATH
) -> tuple[Sender, Sequence[Mapping[str, Any]]]:
    """Have a file signed for in parts; give what sends it, and the parts."""
    declared = declared or in_parts(content)
    file = service.sign(batch({path: declared}, more={"accept": ["MULTIPART"]}))[path]
    return Sender(service, declared, file["upload_id"], path=path), file["parts"]


def id_in(part: Mapping[str, Any]) -> str:
    """Give the store's own id of an upload, as it stands in the URL of a part."""
    found = re.search("uploadId=([^&]+)", part["url"])
    assert found is not None
    return found[1]


@define
class MovableClock:
    """The service's clock."""

    ahead: timedelta = field(factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


LIMITS = {"MULTIPART_THRESHOLD": str(6 * MIB), "MAX_FILE_BYTES": str(8 * MIB)}


def settings_for(backend: str, request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The variables that choose a store."""
    if backend == "memory":
        return {**MEMORY, **LIMITS}
    if backend == "disk":
        root = request.getfixturevalue("tmp_path_factory").mktemp("objects")
        return {**MEMORY, **LIMITS, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(root)}
    store: RunningStore = request.getfixturevalue("seaweedfs")
    return {
        **LIMITS,
        "DATAHUB_PUBLIC_KEY": MEMORY["DATAHUB_PUBLIC_KEY"],
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_FLAVOUR": store.flavour,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
    }


@pytest.fixture(scope="module", params=["memory", "disk", "seaweedfs"])
def service(request: pytest.FixtureRequest) -> Iterator[LiveService]:
    with live_service(settings_for(request.param, request)) as running:
        yield running


def checks_whole_files(service: LiveService) -> bool:
    """Whether the store knows digests of all bytes of a file in parts."""
    return "md5" in service.info()["store"]["methods"]["MULTIPART"]["enforced"]


class TestPlan:
    def test_has_every_documented_member(self, service: LiveService) -> None:
        answer = service.authorize(batch({PATH: in_parts(LARGE)}, more={"accept": ["MULTIPART", "PUT"]}))
        file = answer.json["fileData"][PATH]
        url = f"{service.info()['prefixes'][0]}/tides/{PATH}"
        parts, upload_id = file.pop("parts"), file.pop("upload_id")
        datetime.fromisoformat(file.pop("expires_at"))
        assert isinstance(upload_id, str)
        assert file == {
            "md5-hash": md5(LARGE),
            "name": "large.bin",
            "type": "application/octet-stream",
            "length": len(LARGE),
            "upload_method": "MULTIPART",
            "object_url": url,
            "exists": False,
            "part_size": PART,
            "part_count": 3,
            "next_part": None,
            "then": {name: f"multipart/{name}" for name in ROUTES},
        }
        assert [(part["number"], part["length"]) for part in parts] == [(1, PART), (2, PART), (3, 7)]
        assert all(part["url"].startswith(f"{url}?") for part in parts)
        assert parts[2]["headers"] == {"Content-Length": "7", "Content-MD5": md5(b"the end")}

    def test_is_made_for_files_over_the_threshold_in_their_order(self, service: LiveService) -> None:
        lengths = {"a": 6 * MIB + 1, "b": 6 * MIB, "c": 5, "d": 7 * MIB, "e": 0}
        files = {path: {"length": length, "md5": md5(b"")} for path, length in lengths.items()}
        signed = service.sign(batch(files, more={"accept": ["MULTIPART", "PUT", "POST"]}))
        assert {path: file["upload_method"] for path, file in signed.items()} == {
            "a": "MULTIPART",
            "b": "PUT",
            "c": "PUT",
            "d": "MULTIPART",
            "e": "PUT",
        }
        assert list(signed) == list(lengths)
        assert [signed[path]["length"] for path in lengths] == list(lengths.values())

    def test_is_made_for_every_file_of_a_client_that_can_nothing_else(self, service: LiveService) -> None:
        sender, (part,) = begin(service, CONTENT, declaration())
        assert sender.send(part, CONTENT) == 200
        assert sender.ask("complete").json["status"] == ("stored" if checks_whole_files(service) else "unknown")
        assert sender.stored == CONTENT

    def test_is_never_made_for_a_client_that_does_not_ask(self, service: LiveService) -> None:
        files = {PATH: {"length": 7 * MIB, "md5": md5(b"")}}
        for more in ({}, {"accept": ["POST"]}, {"accept": ["PUT", "POST"]}):
            assert service.sign(batch(files, more=more))[PATH]["upload_method"] in ("POST", "PUT")

    def test_a_file_over_the_limit_is_told_what_to_send(self, service: LiveService) -> None:
        answer = service.authorize(batch({PATH: {"length": 8 * MIB + 1, "md5": md5(b"")}}))
        (detail,) = answer.json["error"]["details"]
        assert (answer.status, detail["code"]) == (400, "file_too_large")
        assert '"accept": ["MULTIPART"' in detail["message"]

    def test_unusable_parts_are_refused_by_file_and_nothing_is_begun(self, service: LiveService) -> None:
        files = {
            "good": in_parts(LARGE),
            "small": in_parts(LARGE, size=PART - 1),
            "empty": declaration(b""),
            "huge": {"length": 6 * 1024**4, "md5": md5(b"")},
            "odd": declaration(parts={"size": "5"}),
        }
        answer = service.authorize(batch(files, more={"accept": ["MULTIPART"]}))
        assert answer.status == 400
        assert answer.detail_codes == {"huge": "file_too_large", "odd": "invalid_parts"}
        del files["huge"], files["odd"]
        answer = service.authorize(batch(files, more={"accept": ["MULTIPART"]}))
        assert answer.detail_codes == {"small": "invalid_parts", "empty": "invalid_parts"}

    def test_what_the_store_can_not_keep_of_parts_is_refused(self) -> None:
        with live_service(S3) as service:
            body = batch({PATH: {"length": 5, "md5": md5(b"")}}, more={"accept": ["MULTIPART"], "require": ["md5"]})
            answer = service.authorize(body)
            assert (answer.status, answer.code) == (400, "unsupported_by_store")

    def test_a_store_that_is_down_is_said_to_be_and_whole_files_are_signed_all_the_same(self) -> None:
        with live_service(S3, STORAGE_HOSTNAME="http://127.0.0.1:1") as service:
            files = {"a": {"length": 200 * MIB, "md5": md5(b"")}}
            answer = service.authorize(batch(files, more={"accept": ["MULTIPART", "PUT"]}), expect_unavailable=True)
            assert (answer.status, answer.code) == (503, "store_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert service.sign(batch(files, more={"accept": ["PUT"]}))["a"]["upload_method"] == "PUT"

    def test_a_file_of_thousands_of_parts_comes_in_pages(self, service: LiveService) -> None:
        declared = {"length": 2_500 * PART, "md5": md5(b""), "parts": {"size": PART}}
        file = service.sign(batch({PATH: declared}, more={"accept": ["MULTIPART"]}))[PATH]
        assert (file["part_count"], len(file["parts"]), file["next_part"]) == (2_500, 1_000, 1_001)
        sender = Sender(service, declared, file["upload_id"])
        numbers, after = [part["number"] for part in file["parts"]], file["next_part"]
        while after is not None:
            page = sender.ask("resume", after=after - 1).json
            numbers += [part["number"] for part in page["parts"]]
            after = page["next_part"]
        assert numbers == list(range(1, 2_501))
        assert sender.ask("abort").status == 200

    def test_many_files_share_the_room_of_an_answer(self, service: LiveService) -> None:
        declared = {"length": 1_200 * PART, "md5": md5(b""), "parts": {"size": PART}}
        files = {f"{number:02}": declared for number in range(12)}
        signed = service.sign(batch(files, more={"accept": ["MULTIPART"]}))
        pages = [(len(file["parts"]), file["next_part"]) for file in signed.values()]
        assert pages == [(1_000, 1_001)] * 10 + [(0, 1)] * 2
        for path, file in signed.items():
            Sender(service, declared, file["upload_id"], path=path).ask("abort")

    def test_what_is_there_already_is_not_begun_again(self, service: LiveService) -> None:
        sender, parts = begin(service, path="twice.bin")
        for part in parts:
            sender.send(part, LARGE)
        assert sender.ask("complete").json["status"] == "stored"
        again = service.sign(batch({"twice.bin": in_parts(LARGE)}, more={"accept": ["MULTIPART"]}))["twice.bin"]
        assert (again["exists"], again["upload_id"], again["parts"]) == (True, None, [])

    def test_info_tells_what_parts_may_be(self, service: LiveService) -> None:
        store = service.info()["store"]
        assert store["parts"] == {
            "min_bytes": PART,
            "max_bytes": 5 * 1024 * MIB,
            "max_count": 10_000,
            "max_file_bytes": 5 * 1024**4,
            "threshold_bytes": 6 * MIB,
        }
        assert "MULTIPART" in store["methods"]


class TestParts:
    def test_make_the_file_in_whatever_order_they_come(self, service: LiveService) -> None:
        sender, parts = begin(service, path="order.bin")
        for part in reversed(parts):
            assert sender.stored is None
            assert sender.send(part, LARGE) == 200
        assert sender.stored is None
        verdict = sender.ask("complete")
        assert verdict.status == 200
        assert verdict.json["status"] == "stored"
        assert verdict.json["found"]["length"] == len(LARGE)
        if checks_whole_files(service):
            assert verdict.json["found"]["md5"] == md5(LARGE)
        else:
            assert verdict.json["found"]["md5_of_parts"].endswith("-3")
        assert sender.stored == LARGE
        verified = service.send(
            "POST", "/rawstore/verify", token=service.token(), body=json.dumps(batch({"order.bin": sender.declared}))
        )
        assert verified.json["files"]["order.bin"]["status"] == "stored"

    def test_are_resumed_where_they_were_left(self, service: LiveService) -> None:
        sender, parts = begin(service, path="left.bin")
        sender.send(parts[1], LARGE)
        resumed = sender.ask("resume").json
        assert resumed["complete"] is False
        assert resumed["arrived"] == [{"number": 2, "length": PART}]
        assert [part["number"] for part in resumed["parts"]] == [1, 3]
        for part in resumed["parts"]:
            assert sender.send(part, LARGE) == 200
        assert sender.ask("resume").json["parts"] == []
        assert sender.ask("complete").json["status"] == "stored"
        finished = sender.ask("resume").json
        assert (finished["complete"], finished["arrived"], finished["parts"]) == (True, [], [])

    def test_of_another_length_are_refused(self, service: LiveService) -> None:
        sender, parts = begin(service, path="length.bin")
        for content in (b"the en", b"the end!", b""):
            assert sender.put(parts[2], content) == 403
        assert sender.ask("resume").json["arrived"] == []

    def test_of_other_bytes_than_declared_are_refused(self, service: LiveService) -> None:
        sender, parts = begin(service, path="bytes.bin")
        assert sender.send(parts[2], OTHER) == 400
        assert sender.ask("resume").json["arrived"] == []

    def test_of_other_bytes_never_become_the_file_though_no_part_was_declared(self, service: LiveService) -> None:
        sender, parts = begin(service, declared=in_parts(LARGE, digests=False), path="swapped.bin")
        for part in parts:
            assert sender.send(part, OTHER) == 200
        answer = sender.ask("complete")
        if not checks_whole_files(service):
            assert (answer.status, answer.json["status"]) == (200, "unknown")
            return
        assert (answer.status, answer.code) == (400, "digest_mismatch")
        assert sender.stored is None
        for part in parts:
            assert sender.send(part, LARGE) == 200
        assert sender.ask("complete").json["status"] == "stored"

    def test_of_one_upload_are_no_parts_of_another(self, service: LiveService) -> None:
        one, parts = begin(service, path="one.bin")
        other, others = begin(service, path="other.bin")
        aimed = {**parts[2], "url": parts[2]["url"].replace("one.bin", "other.bin")}
        renamed = {**parts[2], "url": parts[2]["url"].replace(id_in(parts[2]), id_in(others[2]))}
        renumbered = {**parts[0], "url": parts[0]["url"].replace("partNumber=1", "partNumber=2")}
        for part in (aimed, renamed, renumbered):
            assert one.send(part, LARGE) == 403
        assert other.send(others[2], LARGE) == 200
        assert one.ask("resume").json["arrived"] == []
        assert [part["number"] for part in other.ask("resume").json["arrived"]] == [3]


class TestCompletion:
    def test_names_the_parts_that_are_missing(self, service: LiveService) -> None:
        sender, parts = begin(service, path="missing.bin")
        sender.send(parts[1], LARGE)
        answer = sender.ask("complete")
        assert (answer.status, answer.code) == (409, "upload_incomplete")
        assert "2 of 3 parts" in answer.json["error"]["message"]
        assert "(1, 3)" in answer.json["error"]["message"]
        assert sender.stored is None

    def test_may_be_asked_for_again(self, service: LiveService) -> None:
        sender, parts = begin(service, path="again.bin")
        for part in parts:
            sender.send(part, LARGE)
        answers = [sender.ask("complete") for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert answers[0].json == answers[1].json == answers[2].json

    def test_after_an_abort_finds_nothing(self, service: LiveService) -> None:
        sender, parts = begin(service, path="aborted.bin")
        for part in parts:
            sender.send(part, LARGE)
        assert [sender.ask("abort").json for _ in range(2)] == [{"aborted": True}] * 2
        for what in ("complete", "resume"):
            answer = sender.ask(what)
            assert (answer.status, answer.code) == (404, "upload_not_found")
        assert sender.send(parts[0], LARGE) == 404
        assert sender.stored is None

    def test_leaves_an_object_alone_that_was_not_to_be_replaced(self, service: LiveService) -> None:
        first, (part,) = begin(service, CONTENT, declaration(), path="kept.bin")
        first.send(part, CONTENT)
        assert first.ask("complete", overwrite=False).status == 200
        other = CONTENT.swapcase()
        second, (part,) = begin(service, other, declaration(other), path="kept.bin")
        second.send(part, other)
        answer = second.ask("complete", overwrite=False)
        assert (answer.status, answer.code) == (409, "object_exists")
        assert first.stored == CONTENT
        assert second.ask("complete").status == 200
        assert first.stored == other

    def test_of_another_declaration_is_refused(self, service: LiveService) -> None:
        sender, parts = begin(service, path="declared.bin")
        for part in parts:
            sender.send(part, LARGE)
        for declared in (in_parts(LARGE + b"!"), in_parts(OTHER), in_parts(LARGE, size=6 * MIB)):
            assert sender.ask("complete", file=declared).status in (400, 409)
        assert sender.stored is None
        assert sender.ask("complete").status == 200


class TestOwnership:
    @pytest.mark.parametrize("what", ROUTES)
    def test_an_upload_is_its_owners_alone(self, service: LiveService, what: str) -> None:
        sender, (part,) = begin(service, CONTENT, declaration(), path="mine.bin")
        sender.send(part, CONTENT)
        answer = sender.ask(what, token=service.token("bob"))
        assert (answer.status, answer.code) == (403, "not_owner")
        as_his_own = Sender(service, sender.declared, sender.upload_id, "bob", "mine.bin").ask(what)
        assert as_his_own.status == (200 if what == "abort" else 404)
        elsewhere = sender.ask(what, path="other.bin")
        assert elsewhere.status == (200 if what == "abort" else 404)
        assert [one["number"] for one in sender.ask("resume").json["arrived"]] == [1]
        assert sender.ask("abort").status == 200

    @pytest.mark.parametrize("what", ROUTES)
    def test_a_token_that_may_upload_is_needed(self, service: LiveService, what: str) -> None:
        sender, _ = begin(service, CONTENT, declaration(), path="token.bin")
        assert service.send("POST", f"/rawstore/multipart/{what}", body=b"{}").status == 401
        assert sender.ask(what, token="x.y.z").status == 401
        assert sender.ask(what, token=service.token(permissions={})).code == "permission_missing"


class TestBadRequests:
    @pytest.mark.parametrize("what", ROUTES)
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"path": None}, "invalid_request"),
            ({"path": 5}, "invalid_request"),
            ({"path": "../x"}, "invalid_batch"),
            ({"file": None}, "invalid_request"),
            ({"file": []}, "invalid_request"),
            ({"file": {"length": 5}}, "invalid_batch"),
            ({"file": {"length": 0, "md5": md5(b"")}}, "invalid_parts"),
            ({"upload_id": None}, "invalid_upload_id"),
            ({"upload_id": ""}, "invalid_upload_id"),
            ({"upload_id": 7}, "invalid_upload_id"),
            ({"upload_id": "a b"}, "invalid_upload_id"),
            ({"upload_id": "x" * 1025}, "invalid_upload_id"),
            ({"metadata": None}, "invalid_request"),
            ({"metadata": {"owner": OWNER}}, "invalid_dataset"),
            ({"after": -1}, "invalid_request"),
            ({"after": "1"}, "invalid_request"),
            ({"after": True}, "invalid_request"),
            ({"overwrite": "no"}, "invalid_request"),
        ],
    )
    def test_are_refused_with_a_code(
        self, service: LiveService, what: str, changes: Mapping[str, Any], code: str
    ) -> None:
        answer = Sender(service, declaration(), "0" * 32).ask(what, **changes)
        assert (answer.status, answer.code) == (400, code)

    @pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a": 1, "a": 2}', b"\xff", b"NaN"])
    def test_bodies_are_strict_json(self, service: LiveService, body: bytes) -> None:
        answer = service.send("POST", "/rawstore/multipart/complete", token=service.token(), body=body)
        assert answer.status == 400

    @pytest.mark.parametrize("upload_id", ["0", "0" * 32, "../../etc/passwd", "%2e%2e", "A" * 1024, ".", "x.y"])
    def test_an_unknown_id_is_not_found(self, service: LiveService, upload_id: str) -> None:
        sender = Sender(service, declaration(), upload_id)
        for what in ("resume", "complete"):
            answer = sender.ask(what)
            assert (answer.status, answer.code) == (404, "upload_not_found")
        assert sender.ask("abort").status == 200

    @pytest.mark.parametrize("what", ROUTES)
    def test_other_methods_are_not_allowed(self, service: LiveService, what: str) -> None:
        assert service.send("GET", f"/rawstore/multipart/{what}", token=service.token()).status == 405


def test_parts_whose_signatures_have_expired_are_signed_anew_and_nothing_is_lost() -> None:
    clock = MovableClock()
    with live_service(MEMORY, clock=clock, TOKEN_MAX_LIFETIME_SECONDS="864000") as service:
        sender, parts = begin(service)
        assert sender.send(parts[0], LARGE) == 200
        clock.ahead = timedelta(hours=2)
        assert sender.send(parts[1], LARGE) == 403
        token = service.token(exp=(clock() + timedelta(hours=1)).timestamp())
        resumed = sender.ask("resume", token=token).json
        assert [part["number"] for part in resumed["arrived"]] == [1]
        for part in resumed["parts"]:
            assert sender.send(part, LARGE) == 200
        assert sender.ask("complete", token=token).json["status"] == "stored"
        clock.ahead = timedelta()
        assert sender.stored == LARGE


@pytest.mark.parametrize("backend", ["disk", "seaweedfs"])
def test_what_has_expired_is_refused_by_the_store_and_signed_anew(backend: str, request: pytest.FixtureRequest) -> None:
    with live_service(settings_for(backend, request), UPLOAD_EXPIRES_SECONDS="2") as service:
        sender, (part,) = begin(service, CONTENT, in_parts(CONTENT), path=f"expired on {backend}.bin")
        wait_until(lambda: sender.send(part, CONTENT) == 403)
        wait_until(lambda: all(sender.send(fresh, CONTENT) == 200 for fresh in sender.ask("resume").json["parts"]))
        assert sender.ask("complete").json["status"] == "stored"
        assert sender.stored == CONTENT
