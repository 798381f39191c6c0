"""POST /authorize: what is signed, what it looks like, and everything for which nothing is signed."""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identity import UPLOAD_PERMISSION
from tests import strategies as bits
from tests.entrypoints.http.live_service import (
    BUCKET,
    CONTENT,
    OWNER,
    S3,
    LiveService,
    batch,
    declaration,
    live_service,
    sha256,
)

GIB = 1024**3
HEX_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as running:
        yield running


class TestAnswer:
    def test_has_every_documented_member(self, service: LiveService) -> None:
        before = datetime.now(UTC)
        answer = service.authorize(batch({"data/a.csv": declaration(sha256=sha256(), name="Tides", type="text/plain")}))
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json.keys() == {"fileData", "filedata"}
        assert answer.json["fileData"] == answer.json["filedata"]
        file = answer.json["fileData"]["data/a.csv"]
        url = f"{service.origin}/store/{BUCKET}"
        expires_at = datetime.fromisoformat(file.pop("expires_at"))
        assert timedelta(seconds=3_598) <= expires_at - before <= timedelta(seconds=3_601)
        fields = file.pop("upload_query")
        assert file == {
            "md5-hash": declaration()["md5"],
            "sha256-hash": sha256(),
            "name": "Tides",
            "type": "text/plain",
            "length": len(CONTENT),
            "upload_method": "POST",
            "upload_url": url,
            "object_url": f"{url}/alice/tides/data/a.csv",
            "exists": False,
        }
        assert list(fields) == [
            *("acl", "Content-Type", "Content-MD5", "x-amz-checksum-sha256", "key"),
            *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "policy", "x-amz-signature"),
        ]
        assert all(isinstance(value, str) for value in fields.values())
        assert (fields["key"], fields["acl"]) == ("alice/tides/data/a.csv", "public-read")

    def test_binds_all_that_was_declared(self, service: LiveService) -> None:
        file = service.sign(batch({"a.csv": declaration(sha256=sha256())}))["a.csv"]
        fields = file["upload_query"]
        policy = json.loads(base64.b64decode(fields["policy"]))
        exact = {
            name: value
            for condition in policy["conditions"]
            if isinstance(condition, dict)
            for name, value in condition.items()
        }
        assert exact == {
            **{name: fields[name] for name in fields.keys() - {"policy", "x-amz-signature"}},
            "bucket": BUCKET,
        }
        assert [one for one in policy["conditions"] if isinstance(one, list)] == [
            ["content-length-range", len(CONTENT), len(CONTENT)]
        ]
        assert datetime.fromisoformat(policy["expiration"]) == datetime.fromisoformat(file["expires_at"])

    def test_guesses_what_is_not_said(self, service: LiveService) -> None:
        paths = {"data/a.csv": "text/csv", "b.unheard-of": "application/octet-stream", "c.JSON": "application/json"}
        files = service.sign(batch(dict.fromkeys(paths, declaration())))
        assert {path: file["type"] for path, file in files.items()} == paths
        assert files["data/a.csv"]["name"] == "a.csv"
        assert "sha256-hash" not in files["data/a.csv"]

    def test_a_sha256_alone_is_enough(self, service: LiveService) -> None:
        file = service.sign(batch({"a.csv": declaration(md5=None, sha256=sha256())}))["a.csv"]
        assert "md5-hash" not in file
        assert file["upload_query"]["x-amz-checksum-sha256"] == file["sha256-hash"] == sha256()

    def test_keeps_the_order_and_the_paths_as_declared(self, service: LiveService) -> None:
        paths = [f"{number}/ä b+%2e.csv" for number in range(20, 0, -1)]
        answer = service.authorize(batch(dict.fromkeys(paths, declaration())))
        assert list(answer.json["fileData"]) == list(answer.json["filedata"]) == paths

    @pytest.mark.parametrize("path", ["/rawstore/authorize", "/rawstore/", "/rawstore"])
    def test_is_the_same_at_every_route(self, service: LiveService, path: str) -> None:
        answer = service.send("POST", path, token=service.token(), body=json.dumps(batch()))
        assert (answer.status, list(answer.json["filedata"])) == (200, ["a.csv"])

    @pytest.mark.parametrize(
        ("findability", "acl"), [("published", "public-read"), ("unlisted", "public-read"), ("private", "private")]
    )
    def test_findability_decides_who_may_read(self, service: LiveService, findability: str, acl: str) -> None:
        file = service.sign(batch(metadata={"findability": findability}))["a.csv"]
        assert file["upload_query"]["acl"] == acl

    def test_the_dataset_has_two_names(self, service: LiveService) -> None:
        for metadata in ({"name": None, "dataset": "x"}, {"name": "x", "dataset": "x"}):
            assert service.sign(batch(metadata=metadata))["a.csv"]["upload_query"]["key"] == "alice/x/a.csv"

    def test_members_that_nobody_knows_are_ignored(self, service: LiveService) -> None:
        odd = {"key": "bob/x", "acl": "x", "path": "../x", "upload_url": "http://evil.example", "owner": "bob"}
        files = service.sign(
            batch({"a.csv": declaration(**odd)}, metadata={"key": "bob/x", "path": "x"}, more={"key": "bob/x"})
        )
        assert files["a.csv"]["upload_query"]["key"] == "alice/tides/a.csv"
        assert files["a.csv"]["upload_url"].startswith(service.origin)

    def test_a_name_is_not_needed_where_keys_are_not_made_of_it(self) -> None:
        with live_service(STORAGE_PATH_PATTERN="{md5_hex}{extension}") as service:
            files = service.sign(batch({"a.csv": declaration(), "b/c.csv": declaration()}, metadata={"name": None}))
            raw = base64.b64decode(str(declaration()["md5"]))
            assert {file["upload_query"]["key"] for file in files.values()} == {f"{raw.hex()}.csv"}
            assert list(files) == ["a.csv", "b/c.csv"]

    def test_an_old_client_of_the_stack_needs_neither_name_nor_type(self) -> None:
        with live_service(STORAGE_PATH_PATTERN="{owner}/{path}") as service:
            body = {
                "metadata": {"owner": OWNER, "findability": "unlisted"},
                "filedata": {"a.csv": declaration(name="a.csv")},
            }
            assert service.sign(body)["a.csv"]["upload_query"]["key"] == "alice/a.csv"


class TestRefusals:
    """Nothing is signed, and a stable code says why; `tests/hard/hostile` has what else is refused."""

    def refused(self, service: LiveService, body: object, status: int, code: str, **options: Any) -> Any:
        answer = service.authorize(body, **options)
        assert (answer.status, answer.code) == (status, code)
        assert b"x-amz-signature" not in answer.body.lower()
        assert b"upload_url" not in answer.body
        assert len(answer.body) <= 64 * 1024
        return answer.json["error"]

    def test_many_bad_files_are_all_told_in_order(self, service: LiveService) -> None:
        files = {
            "z.csv": declaration(length=-1),
            "good.csv": declaration(),
            "../up.csv": declaration(),
            "a.csv": declaration(md5=HEX_MD5),
            "also-good.csv": declaration(),
            "m.csv": declaration(type="x"),
        }
        answer = service.authorize(batch(files))
        assert (answer.status, answer.code) == (400, "invalid_batch")
        assert list(answer.detail_codes.items()) == [
            ("z.csv", "invalid_length"),
            ("../up.csv", "invalid_path"),
            ("a.csv", "invalid_md5"),
            ("m.csv", "invalid_type"),
        ]
        assert "4 files" in answer.json["error"]["message"]
        assert "base64" in answer.json["error"]["details"][2]["message"]

    @pytest.mark.parametrize("filler", ["x", "\x01", "é", "🚀", '"'])
    def test_thousands_of_bad_files_are_told_as_far_as_there_is_room_and_the_rest_is_counted(
        self, service: LiveService, filler: str
    ) -> None:
        files = {f"../{number}{filler * 100}": declaration() for number in range(3_000)}
        error = self.refused(service, batch(files), 400, "invalid_batch")
        assert len(error["details"]) > 20
        assert len(error["details"]) + error["details_omitted"] == 3_000
        assert "3000 files" in error["message"]

    def test_two_paths_of_one_key(self) -> None:
        with live_service(STORAGE_PATH_PATTERN="{owner}/{name}/{basename}") as service:
            files = {"x/a.csv": declaration(), "b.csv": declaration(), "y/a.csv": declaration()}
            answer = service.authorize(batch(files))
            assert (answer.status, answer.detail_codes) == (400, {"y/a.csv": "key_conflict"})

    def test_an_empty_batch(self, service: LiveService) -> None:
        self.refused(service, batch({}), 400, "empty_batch")

    def test_too_many_files(self) -> None:
        with live_service(MAX_FILES="2", MAX_FILE_BYTES="10") as service:
            files = {f"{number}.csv": declaration(b"x") for number in range(3)}
            self.refused(service, batch(files), 413, "too_many_files")
            files.popitem()
            assert service.sign(batch(files)).keys() == files.keys()
            error = self.refused(service, batch({"a": declaration(b"x" * 11)}), 400, "invalid_batch")
            assert error["details"][0]["code"] == "file_too_large"

    def test_a_digest_may_be_waived(self) -> None:
        with live_service(REQUIRE_DIGEST="false") as service:
            file = service.sign(batch({"a.csv": {"length": 1}}))["a.csv"]
            assert not {"Content-MD5", "x-amz-checksum-sha256"} & file["upload_query"].keys()

    @pytest.mark.parametrize(
        "permissions", [{}, {UPLOAD_PERMISSION: False}, {UPLOAD_PERMISSION: "true"}, {UPLOAD_PERMISSION: 1}]
    )
    def test_no_permission(self, service: LiveService, permissions: object) -> None:
        self.refused(service, batch(), 403, "permission_missing", token=service.token(permissions=permissions))

    def test_over_quota(self, service: LiveService) -> None:
        half_a_megabyte = {"a": declaration(length=500_000), "b": declaration(length=500_001)}
        for findability, name in [("published", "max_public_storage_mb"), ("private", "max_private_storage_mb")]:
            body = batch(half_a_megabyte, metadata={"findability": findability})
            for quota, enough in [(1, False), (1.5, True), (0, False), (10**400, True)]:
                token = service.token(permissions={UPLOAD_PERMISSION: True, name: quota})
                if enough:
                    service.sign(body, token=token)
                else:
                    self.refused(service, body, 403, "over_quota", token=token)


class TestWays:
    """`accept`, `overwrite` and `require`: how the files are sent, and what the store must keep."""

    @pytest.mark.parametrize(
        ("wishes", "method"),
        [
            ({}, "POST"),
            ({"accept": None}, "POST"),
            ({"accept": ["POST"]}, "POST"),
            ({"accept": ["PUT"]}, "PUT"),
            ({"accept": ["POST", "PUT"]}, "PUT"),
            ({"accept": ["MULTIPART", "POST"]}, "POST"),
            ({"accept": ["PUT", "PUT", "carrier pigeon"]}, "PUT"),
            ({"require": ["length", "md5", "sha256", "type", "key", "expiry", "access"]}, "POST"),
            ({"require": ["length", "md5"], "accept": ["PUT"]}, "PUT"),
            ({"require": [], "overwrite": True}, "POST"),
            ({"overwrite": False, "accept": ["PUT"]}, "PUT"),
            ({"overwrite": False, "accept": ["POST", "PUT"]}, "PUT"),
            ({"require": ["no-overwrite"], "accept": ["POST", "PUT"]}, "PUT"),
        ],
    )
    def test_that_can_be_had(self, service: LiveService, wishes: Mapping[str, object], method: str) -> None:
        file = service.sign(batch(more=wishes))["a.csv"]
        assert file["upload_method"] == method
        assert ("upload_query" in file, "upload_headers" in file) == (method == "POST", method == "PUT")

    def test_a_refusal_says_what_would_help(self, service: LiveService) -> None:
        message = service.authorize(batch(more={"overwrite": False})).json["error"]["message"]
        assert '"accept": ["PUT"]' in message

    def test_a_put_says_which_headers_to_send(self, service: LiveService) -> None:
        wishes = {"accept": ["PUT"], "overwrite": False}
        file = service.sign(batch({"a b.csv": declaration(sha256=sha256())}, more=wishes))["a b.csv"]
        assert file["upload_headers"] == {
            "Content-Length": str(len(CONTENT)),
            "Content-Type": "text/csv",
            "Content-MD5": declaration()["md5"],
            "x-amz-checksum-sha256": sha256(),
            "x-amz-acl": "public-read",
            "If-None-Match": "*",
        }
        assert file["upload_url"].startswith(f"{file['object_url']}?X-Amz-Algorithm=")
        assert "upload_query" not in file

    def test_the_operator_may_prefer_one_and_the_client_wins(self) -> None:
        with live_service(STORAGE_UPLOAD_METHOD="PUT") as service:
            assert service.sign(batch())["a.csv"]["upload_method"] == "PUT"
            assert service.sign(batch(more={"accept": ["POST"]}))["a.csv"]["upload_method"] == "POST"

    def test_a_store_without_forms_is_sent_to_by_put(self) -> None:
        with live_service(S3, STORAGE_FLAVOUR="r2") as service:
            assert service.sign(batch())["a.csv"]["upload_method"] == "PUT"
            answer = service.authorize(batch(more={"accept": ["POST"]}))
            assert (answer.status, answer.code) == (400, "unsupported_by_store")
            answer = service.authorize(batch(more={"require": ["sha256"]}))
            assert (answer.status, answer.code) == (400, "unsupported_by_store")


class TestProperties:
    @settings(max_examples=60)
    @given(body=bits.json_like)
    def test_any_json_is_answered(self, service: LiveService, body: object) -> None:
        assert service.authorize(json.dumps(body).encode()).status == 400

    @settings(max_examples=60)
    @given(
        files=st.dictionaries(
            bits.any_text,
            bits.json_like
            | st.fixed_dictionaries(
                {"length": bits.json_like, "md5": st.just(MD5) | bits.json_like}, optional={"type": bits.any_text}
            ),
            min_size=1,
            max_size=4,
        ),
        changes=st.dictionaries(
            st.sampled_from(["owner", "name", "dataset", "findability"]), bits.json_like, max_size=2
        ),
    )
    def test_any_batch_is_signed_or_refused(
        self, service: LiveService, files: dict[str, object], changes: dict[str, object]
    ) -> None:
        answer = service.authorize(batch(files, metadata=changes))
        if answer.status == 200:
            assert answer.json["fileData"].keys() == files.keys()
        else:
            assert answer.status in (400, 403)
            assert answer.code
