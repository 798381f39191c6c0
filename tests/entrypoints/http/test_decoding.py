"""Bodies and queries are decoded by their types, and what doesn't fit is refused in words for people."""

import asyncio
import json
from typing import Annotated, Any

import pytest
from attrs import field, frozen
from msgspec import Struct
from starlette.requests import Request

from domain.errors import ErrorCode, InvalidInput
from domain.keys import Owner
from domain.multipart import UploadId
from entrypoints.http.decoding import decode_any_body, decode_body, decode_query
from entrypoints.http.wire_types import MultipartBody, PresignQuery, UploadBody
from entrypoints.runtime import FairTurns


@frozen
class _CountedTurns(FairTurns):
    pauses: list[None] = field(factory=list)

    async def pause(self) -> None:
        self.pauses.append(None)


def asked(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


def refusal(kind: type[Struct], body: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        decode_body(json.dumps(body).encode(), kind)
    return raised.value


def refusal_of(query: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        decode_query(asked(query), PresignQuery)
    return raised.value


UPLOAD = {"metadata": {"owner": "ada"}, "filedata": {"a.csv": {"length": 1}}}
IN_PARTS = {"metadata": {"owner": "ada"}, "path": "a.csv", "file": {"length": 1}, "upload_id": "id"}


class TestBodies:
    def test_members_that_are_absent_have_their_defaults(self) -> None:
        body = decode_body(json.dumps(UPLOAD).encode(), UploadBody)

        assert (body.accept, body.overwrite, body.require) == (None, True, None)

    def test_what_the_domain_reads_stays_as_it_is(self) -> None:
        files: dict[str, Any] = {"a": 1, "b": None, "c": [{"x": 1.5}], "": {}}

        assert decode_body(json.dumps({**UPLOAD, "filedata": files}).encode(), UploadBody).filedata == files

    def test_other_members_are_ignored(self) -> None:
        assert decode_body(json.dumps({**UPLOAD, "more": 1}).encode(), UploadBody).overwrite

    def test_texts_of_the_domain_are_made_by_it(self) -> None:
        assert type(decode_body(json.dumps(IN_PARTS).encode(), MultipartBody).upload_id) is UploadId

    def test_a_long_body_is_read_likewise_and_in_turns(self) -> None:
        files: dict[str, Any] = {f"{number:0200}": {"length": 1} for number in range(2_000)}
        turns = _CountedTurns()

        body = json.dumps({**UPLOAD, "filedata": files})
        assert asyncio.run(decode_any_body(body.encode(), UploadBody, turns)).filedata == files
        assert len(turns.pauses) == 3

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ('{"metadata":{},"metadata":{}}', ErrorCode.INVALID_JSON),
            ('{"metadata":NaN}', ErrorCode.INVALID_JSON),
            ("[]", ErrorCode.INVALID_REQUEST),
        ],
    )
    @pytest.mark.parametrize("padding", [0, 500_000])
    def test_however_long_it_is_the_same_is_refused(self, body: str, code: ErrorCode, padding: int) -> None:
        with pytest.raises(InvalidInput) as raised:
            asyncio.run(decode_any_body(body.encode() + b" " * padding, UploadBody, FairTurns()))
        assert raised.value.code is code

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"metadata": []}, "metadata must be an object"),
            ({"metadata": None}, "metadata must be an object"),
            ({"filedata": "x"}, "filedata must be an object"),
            ({"overwrite": None}, "overwrite must be true or false"),
            ({"overwrite": "false"}, "overwrite must be true or false"),
            ({"accept": "PUT"}, "accept must be a list of strings"),
            ({"accept": [1]}, "accept must be a list of strings"),
            ({"require": 1}, "require must be a list of strings"),
            ({"require": [["md5"]]}, "require must be a list of strings"),
            (
                {"require": ["md5", "sha1"]},
                "require has the unknown 'sha1'; it knows key, length, type, expiry, md5, sha256, access, no-overwrite",
            ),
        ],
    )
    def test_what_does_not_fit_is_named(self, changes: dict[str, Any], message: str) -> None:
        error = refusal(UploadBody, {**UPLOAD, **changes})

        assert (error.code, error.message) == (ErrorCode.INVALID_REQUEST, message)
        assert error.field == next(iter(changes))

    @pytest.mark.parametrize(
        ("absent", "message"),
        [
            ("path", "path must be a string"),
            ("file", "file must be an object"),
            ("metadata", "metadata must be an object"),
        ],
    )
    def test_what_is_missing_is_named(self, absent: str, message: str) -> None:
        error = refusal(MultipartBody, {name: value for name, value in IN_PARTS.items() if name != absent})

        assert (error.code, error.field) == (ErrorCode.INVALID_REQUEST, absent)
        assert error.message == message

    @pytest.mark.parametrize("upload_id", [{}, {"upload_id": None}, {"upload_id": 5}, {"upload_id": "a b"}])
    def test_the_domain_says_what_is_wrong_with_its_texts(self, upload_id: dict[str, Any]) -> None:
        others = {name: value for name, value in IN_PARTS.items() if name != "upload_id"}

        assert refusal(MultipartBody, {**others, **upload_id}).code == ErrorCode.INVALID_UPLOAD_ID

    @pytest.mark.parametrize("after", [-1, 1.0, True, "1", None, 2**53, 2**70])
    def test_a_number_is_a_whole_one_that_all_readers_understand(self, after: object) -> None:
        assert refusal(MultipartBody, {**IN_PARTS, "after": after}).message == "after must be the number of a part"

    @pytest.mark.parametrize("body", [[], 1, "x", None])
    def test_a_body_that_is_no_object_is_told_what_it_must_have(self, body: object) -> None:
        expected = "the body must be a JSON object with metadata, path, file and upload_id"

        assert refusal(MultipartBody, body).message == expected

    def test_a_type_without_words_of_its_own_is_refused_all_the_same(self) -> None:
        class Anything(Struct):
            one: Annotated[int, "no words"]

        assert refusal(Anything, {"one": "x"}).field == "one"
        assert refusal(Anything, {}).field == "one"


class TestQueries:
    def test_parameters_have_the_types_that_they_must(self) -> None:
        query = decode_query(asked("url=a+b%2Fc&ownerid=ada&expires_in=0060&other=1&other=2"), PresignQuery)

        assert (query.url, query.ownerid, query.filename, query.expires_in) == ("a+b/c", "ada", None, 60)
        assert type(query.ownerid) is Owner

    @pytest.mark.parametrize("query", ["", "url=x", "ownerid=ada", "url=x&owner=ada"])
    def test_what_is_needed_is_said(self, query: str) -> None:
        error = refusal_of(query)

        assert (error.code, error.message) == (
            ErrorCode.INVALID_REQUEST,
            "the query parameters url and ownerid are needed",
        )

    @pytest.mark.parametrize("seconds", ["", "0", "-1", "+5", " 5", "5.0", "1e3", "٣", "1_0", "1000000000", "9" * 40])
    def test_a_number_that_does_not_fit_is_refused(self, seconds: str) -> None:
        error = refusal_of(f"url=x&ownerid=ada&expires_in={seconds}")

        assert (error.code, error.field) == (ErrorCode.INVALID_EXPIRY, "expires_in")
        assert error.message == "expires_in must be a whole number of seconds, 1 or more"

    @pytest.mark.parametrize("name", ["url", "ownerid", "filename", "expires_in"])
    def test_a_parameter_that_comes_twice_is_refused(self, name: str) -> None:
        error = refusal_of(f"{name}=1&url=x&{name}=1&ownerid=ada")

        assert (error.code, error.field) == (ErrorCode.INVALID_REQUEST, name)
