"""Signing: AWS's published examples stage by stage, then byte identity with boto3 over generated requests."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from types import SimpleNamespace
from urllib.parse import urlsplit

import botocore.auth
import botocore.credentials
import pytest
from attrs import evolve
from botocore.awsrequest import AWSRequest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.stores.sigv4 import (
    MAX_PRESIGNED_SECONDS,
    UNSIGNED_PAYLOAD,
    Credentials,
    Request,
    Scope,
    Signer,
    canonical_query,
    canonical_request,
    host_header,
    signature,
    signing_key,
    string_to_sign,
    uri_encode,
    uri_encode_path,
)
from domain.errors import ErrorCode, Unavailable
from tests.adapters.stores.aws import (
    AWKWARD,
    BUCKET,
    EXAMPLE,
    HOST,
    NOW,
    ORIGIN,
    boto,
    frozen,
    header_values,
    keys,
    lifetimes,
    signers,
    text,
)

EXAMPLE_TIME = datetime(2013, 5, 24, tzinfo=UTC)
EXAMPLE_ORIGIN = "https://examplebucket.s3.amazonaws.com"
EMPTY = sha256(b"").hexdigest()
WELCOME = sha256(b"Welcome to Amazon S3.").hexdigest()

# The section "Examples: Signature Calculations" of the page "Signature Calculations for the Authorization Header:
# Transferring Payload in a Single Chunk (AWS Signature Version 4)": request, payload hash, hash of the canonical
# request, signature.
HEADER_EXAMPLES = {
    "GET Object": (
        Request("GET", EXAMPLE_ORIGIN, "/test.txt", headers={"Range": "bytes=0-9"}),
        EMPTY,
        "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "PUT Object": (
        Request(
            "PUT",
            EXAMPLE_ORIGIN,
            "/test$file.text",
            headers={"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        ),
        WELCOME,
        "9e0e90d9c76de8fa5b200d8c849cd5b8dc7a3be3951ddb7f6a76b4158342019d",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "GET Bucket Lifecycle": (
        Request("GET", EXAMPLE_ORIGIN, "/", [("lifecycle", "")]),
        EMPTY,
        "9766c798316ff2757b517bc739a67f6213b4ab36dd5da2f94eaebf79c77395ca",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "GET Bucket (List Objects)": (
        Request("GET", EXAMPLE_ORIGIN, "/", [("prefix", "J"), ("max-keys", "2")]),
        EMPTY,
        "df57d21db20da04d7fa30298dd4488ba3a2b47ca3a489c74750e0f1e7df1b9b7",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.mark.parametrize(
    ("request_", "payload_hash", "hashed", "signed"), HEADER_EXAMPLES.values(), ids=HEADER_EXAMPLES
)
def test_the_published_header_examples_stage_by_stage(
    request_: Request, payload_hash: str, hashed: str, signed: str
) -> None:
    signer = Signer(EXAMPLE, "us-east-1", EXAMPLE_TIME)
    headers = {
        **request_.headers,
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-content-sha256": payload_hash,
        "x-amz-date": "20130524T000000Z",
    }
    query = canonical_query(request_.query)
    canonical = canonical_request(request_.method, request_.path, query, headers, payload_hash)
    assert sha256(canonical.encode()).hexdigest() == hashed
    text_to_sign = string_to_sign("20130524T000000Z", Scope("20130524", "us-east-1"), canonical)
    assert text_to_sign == f"AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{hashed}"
    assert signature(signing_key(EXAMPLE.secret_access_key, "20130524", "us-east-1"), text_to_sign) == signed
    names = ";".join(sorted(headers))
    assert signer.sign_headers(request_, payload_hash) == {
        **headers,
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signed}",
    }


def test_the_published_presigned_url() -> None:
    """Reproduce the example of "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"."""
    query = canonical_query(
        [
            ("X-Amz-SignedHeaders", "host"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"),
            ("X-Amz-Expires", "86400"),
            ("X-Amz-Date", "20130524T000000Z"),
        ]
    )
    canonical = canonical_request(
        "GET", "/test.txt", query, {"host": "examplebucket.s3.amazonaws.com"}, UNSIGNED_PAYLOAD
    )
    hashed = "3bfa292879f6447bbcda7001decf97f4a54dc650c8942174ae0a9121cf58ad04"
    assert sha256(canonical.encode()).hexdigest() == hashed
    url = Signer(EXAMPLE, "us-east-1", EXAMPLE_TIME).presign_url(Request("GET", EXAMPLE_ORIGIN, "/test.txt"), 86_400)
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize(
    ("secret", "day", "derived"),
    [
        # "Examples of how to derive a signing key for Signature Version 4"
        (
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "20120215",
            "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d",
        ),
        # "Calculate the signature for AWS Signature Version 4"
        (
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "20150830",
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9",
        ),
    ],
)
def test_the_published_signing_keys(secret: str, day: str, derived: str) -> None:
    assert signing_key(secret, day, "us-east-1", "iam").hex() == derived


def test_the_secret_the_day_and_the_region_each_change_the_key() -> None:
    derived = {
        signing_key(secret, day, region)
        for secret in ("a", "b")
        for day in ("20260101", "20260102")
        for region in ("us-east-1", "us-west-1")
    }
    assert len(derived) == 8


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("-._~aZ09", "-._~aZ09"),
        ("a b+c", "a%20b%2Bc"),
        ("/%", "%2F%25"),
        ("é🦆", "%C3%A9%F0%9F%A6%86"),
        ("'!*()", None),
    ],
)
def test_all_but_the_unreserved_characters_are_encoded(plain: str, encoded: str | None) -> None:
    assert uri_encode(plain) == (encoded or "".join(f"%{ord(character):02X}" for character in plain))


def test_the_query_is_sorted_by_encoded_name_and_then_by_value() -> None:
    pairs = [("a-b", "1"), ("a", "2"), ("B", "é"), ("a", "1"), ("ü", "")]
    assert canonical_query(pairs) == "%C3%BC=&B=%C3%A9&a=1&a=2&a-b=1"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://S3.Example.com", "s3.example.com"),
        ("https://s3.example.com:443", "s3.example.com"),
        ("http://s3.example.com:80", "s3.example.com"),
        ("http://s3.example.com:443", "s3.example.com:443"),
        ("http://127.0.0.1:8333", "127.0.0.1:8333"),
        ("http://[::1]:8333", "[::1]:8333"),
    ],
)
def test_the_host_header_is_what_clients_send(origin: str, host: str) -> None:
    assert host_header(origin) == host == botocore.auth._host_from_url(origin)


class TestScope:
    @given(text, st.integers(0, 99_999_999), st.sampled_from(["us-east-1", ""]), st.sampled_from(["s3", "iam"]))
    def test_parsing_undoes_rendering(self, access_key_id: str, day: int, region: str, service: str) -> None:
        scope = Scope(f"{day:08}", region, service)
        assert Scope.parse(f"{access_key_id}/{scope.text}") == (access_key_id, scope)

    @pytest.mark.parametrize(
        "credential",
        [
            "",
            "AK",
            "AK/20260101/us-east-1/s3",
            "/20260101/us-east-1/s3/aws4_request",
            "AK/20260101/us-east-1/s3/aws5_request",
            "AK/20260101/us-east-1/s3/aws4_request/",
            "AK/2026-1-1/us-east-1/s3/aws4_request",
            "AK/2026011/us-east-1/s3/aws4_request",
            "AK/٢٠٢٦٠١٠١/us-east-1/s3/aws4_request",
        ],
    )
    def test_what_is_no_credential_is_refused(self, credential: str) -> None:
        with pytest.raises(ValueError, match=r"mal-formed|incorrect"):
            Scope.parse(credential)


FIELD_NAMES = ("acl", "Content-Type", "Cache-Control", "x-amz-meta-Ünï %s")
form_fields = st.lists(st.sampled_from(FIELD_NAMES), unique=True).flatmap(
    lambda names: st.fixed_dictionaries(dict.fromkeys(names, text))
)
digests = st.sampled_from([(), ("Content-MD5",), ("x-amz-checksum-sha256",), ("Content-MD5", "x-amz-checksum-sha256")])
digest_fields = digests.flatmap(
    lambda names: st.tuples(*[text] * len(names)).map(lambda values: dict(zip(names, values, strict=True)))
)
lengths = st.integers(0, 2**45)


class TestPostForm:
    @given(signers, keys, lengths, form_fields, digest_fields, lifetimes)
    @example(Signer(EXAMPLE, "us-east-1", NOW), AWKWARD[-1], 0, {"acl": "%s"}, {"Content-MD5": "%s"}, 3600)
    def test_a_template_gives_the_very_form_of_boto3(
        self,
        signer: Signer,
        key: str,
        length: int,
        fixed: Mapping[str, str],
        digests: Mapping[str, str],
        seconds: int,
    ) -> None:
        template = signer.post_template(BUCKET, seconds, fixed=fixed)
        md5, sha256 = digests.get("Content-MD5"), digests.get("x-amz-checksum-sha256")
        template.sign("another", length + 1, md5 and md5 * 2, sha256 and sha256 * 2)
        ours = template.sign(key, length, md5, sha256)
        fields = {**fixed, **digests}
        conditions = [*({name: value} for name, value in fields.items()), ["content-length-range", length, length]]
        with boto(signer) as client:
            theirs = client.generate_presigned_post(
                BUCKET, key, Fields=fields, Conditions=conditions, ExpiresIn=seconds
            )["fields"]
        assert list(ours.items()) == list(theirs.items())
        assert template.expires_at == signer.now + timedelta(seconds=seconds)

    def test_the_published_form(self) -> None:
        """Sign the policy of "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)"."""
        key = signing_key(EXAMPLE.secret_access_key, "20151229", "us-east-1")
        expected = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
        assert signature(key, PUBLISHED_POLICY) == expected

    def test_a_key_with_filename_cannot_be_signed(self) -> None:
        template = Signer(EXAMPLE, "us-east-1", NOW).post_template(BUCKET, 60)
        with pytest.raises(ValueError, match="filename"):
            template.sign("a/${filename}", 1)

    @pytest.mark.parametrize(
        "names",
        [["acl", "ACL"], ["key"], ["Policy"], ["X-Amz-Date"], ["bucket"], ["file"], ["content-md5"]],
    )
    def test_fields_that_would_come_twice_are_refused(self, names: list[str]) -> None:
        with pytest.raises(ValueError, match="distinct"):
            Signer(EXAMPLE, "us-east-1", NOW).post_template(BUCKET, 60, fixed=dict.fromkeys(names, "x"))

    def test_a_batch_across_midnight_is_signed_for_one_day(self) -> None:
        before = Signer(EXAMPLE, "us-east-1", NOW)
        after = Signer(EXAMPLE, "us-east-1", NOW + timedelta(seconds=2))
        assert (before.scope.day, after.scope.day) == ("20260228", "20260301")
        assert before.post_template(BUCKET, 60).sign("k", 1) != after.post_template(BUCKET, 60).sign("k", 1)


# The operation and the headers and query that it is made of, by boto3's parameters.
GET_QUERY = {
    "ResponseContentDisposition": "response-content-disposition",
    "ResponseContentType": "response-content-type",
    "VersionId": "versionId",
}
PUT_HEADERS = {
    "ContentMD5": "Content-MD5",
    "ContentType": "Content-Type",
    "IfNoneMatch": "If-None-Match",
    "ACL": "x-amz-acl",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "CacheControl": "Cache-Control",
}
styles = st.sampled_from(["path", "virtual"])


def some(names: Mapping[str, str], values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.lists(st.sampled_from(sorted(names)), unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries(dict.fromkeys(chosen, values))
    )


def addressed(style: str, key: str) -> tuple[str, str]:
    return (ORIGIN, f"/{BUCKET}/{key}") if style == "path" else (f"https://{BUCKET}.{HOST}", f"/{key}")


class TestPresignedUrl:
    @given(signers, styles, keys, some(GET_QUERY, text), lifetimes, st.sampled_from(["get_object", "head_object"]))
    def test_downloads_are_signed_as_by_boto3(
        self, signer: Signer, style: str, key: str, params: dict[str, str], seconds: int, operation: str
    ) -> None:
        query = [(GET_QUERY[name], value) for name, value in params.items()]
        method = "GET" if operation == "get_object" else "HEAD"
        ours = signer.presign_url(Request(method, *addressed(style, key), query), seconds)
        with boto(signer, style) as client:
            assert ours == client.generate_presigned_url(operation, {"Bucket": BUCKET, "Key": key, **params}, seconds)

    @given(signers, styles, keys, some(PUT_HEADERS, header_values), st.none() | st.integers(0, 2**40), lifetimes)
    def test_uploads_are_signed_as_by_boto3(
        self, signer: Signer, style: str, key: str, params: dict[str, str], length: int | None, seconds: int
    ) -> None:
        headers = {PUT_HEADERS[name]: value for name, value in params.items()}
        lengths = {} if length is None else {"ContentLength": length}
        if length is not None:
            headers["Content-Length"] = str(length)
        ours = signer.presign_url(Request("PUT", *addressed(style, key), headers=headers), seconds)
        with boto(signer, style) as client:
            wanted = {"Bucket": BUCKET, "Key": key, **params, **lengths}
            assert ours == client.generate_presigned_url("put_object", wanted, seconds)

    @given(signers, styles, keys, st.integers(1, 10_000), text, lifetimes)
    def test_parts_are_signed_as_by_boto3(
        self, signer: Signer, style: str, key: str, number: int, upload_id: str, seconds: int
    ) -> None:
        query = [("partNumber", str(number)), ("uploadId", upload_id)]
        ours = signer.presign_url(Request("PUT", *addressed(style, key), query, {"content-length": "5"}), seconds)
        with boto(signer, style) as client:
            wanted = {"Bucket": BUCKET, "Key": key, "PartNumber": number, "UploadId": upload_id, "ContentLength": 5}
            assert ours == client.generate_presigned_url("upload_part", wanted, seconds)

    @pytest.mark.parametrize("seconds", [0, -1, MAX_PRESIGNED_SECONDS + 1])
    def test_a_lifetime_outside_of_one_second_to_seven_days_is_refused(self, seconds: int) -> None:
        with pytest.raises(ValueError, match="second"):
            Signer(EXAMPLE, "us-east-1", NOW).presign_url(Request("GET", ORIGIN, "/b/k"), seconds)


class TestSignedHeaders:
    @given(
        signers,
        st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
        keys,
        st.dictionaries(text, text, max_size=4),
        st.dictionaries(st.sampled_from(["Content-MD5", "range", "X-Amz-Acl", "if-match"]), header_values),
        st.none() | st.binary(),
    )
    def test_headers_are_signed_as_by_botocore(
        self,
        signer: Signer,
        method: str,
        key: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: bytes | None,
    ) -> None:
        payload_hash = UNSIGNED_PAYLOAD if body is None else sha256(body).hexdigest()
        path = f"/{BUCKET}/{key}"
        ours = signer.sign_headers(Request(method, ORIGIN, path, list(query.items()), headers), payload_hash)
        url = f"{ORIGIN}{uri_encode_path(path)}"
        theirs = AWSRequest(method, url, headers, body or b"", params=query)
        theirs.context["client_config"] = SimpleNamespace(s3={"payload_signing_enabled": body is not None})
        own = signer.credentials
        keys_of_theirs = botocore.credentials.Credentials(own.access_key_id, own.secret_access_key, own.session_token)
        with frozen(signer.now):
            botocore.auth.S3SigV4Auth(keys_of_theirs, "s3", signer.region).add_auth(theirs)
        sent = {name.lower(): value for name, value in theirs.headers.items()}
        assert ours == {**sent, "host": urlsplit(url).netloc}


class TestExpiringCredentials:
    SOON = evolve(EXAMPLE, session_token="token", expires_at=NOW + timedelta(seconds=90, microseconds=5))

    def test_nothing_signed_outlives_the_credentials(self) -> None:
        signer = Signer(self.SOON, "us-east-1", NOW)
        template = signer.post_template(BUCKET, 3600)
        assert template.expires_at == signer.expires_at(3600) == NOW + timedelta(seconds=90)
        policy = json.loads(base64.b64decode(template.sign("k", 1)["policy"]))
        assert policy["expiration"] == "2026-03-01T00:01:28Z"
        assert "&X-Amz-Expires=90&" in signer.presign_url(Request("GET", ORIGIN, "/b/k"), 3600)
        assert "&X-Amz-Expires=60&" in signer.presign_url(Request("GET", ORIGIN, "/b/k"), 60)

    def test_expired_credentials_sign_nothing(self) -> None:
        signer = Signer(self.SOON, "us-east-1", NOW + timedelta(seconds=90))
        request = Request("GET", ORIGIN, "/b/k")
        for sign in (
            lambda: signer.post_template(BUCKET, 60),
            lambda: signer.post_template(BUCKET, 60).sign("k", 1),
            lambda: signer.presign_url(request, 60),
            lambda: signer.sign_headers(request),
        ):
            with pytest.raises(Unavailable) as caught:
                sign()
            assert caught.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE


def test_the_moment_is_told_in_utc_and_whole_seconds() -> None:
    tokyo = datetime(2026, 1, 1, 8, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=9)))
    signer = Signer(EXAMPLE, "us-east-1", tokyo)
    assert (signer.date, signer.scope.text) == ("20251231T230000Z", "20251231/us-east-1/s3/aws4_request")


def test_no_representation_shows_a_secret() -> None:
    secrets = Credentials("AKID", "the-secret", "the-token")
    signer = Signer(secrets, "us-east-1", NOW)
    template = signer.post_template(BUCKET, 60)
    for shown in (repr(secrets), repr(signer), repr(template)):
        assert "the-secret" not in shown
        assert "the-token" not in shown


# The base64 of the policy in "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)".
PUBLISHED_POLICY = (
    "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2"
    "NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMt"
    "cmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29t"
    "L3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4"
    "LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0s"
    "DQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZP"
    "RE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1B"
    "Qy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9"
)
