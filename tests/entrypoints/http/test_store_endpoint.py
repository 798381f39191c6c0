"""Presigned PUT, GET and HEAD, and public reading, at the store's endpoint; signatures come from boto3."""

import base64
import hashlib
import inspect
import re
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from adapters.stores import post_policy, sigv4_verify
from adapters.stores.sigv4 import Credentials, Request, Signer
from entrypoints.http import (
    form_reader,
    s3_errors,
    store_downloads,
    store_endpoint,
    store_requests,
    store_uploads,
)
from entrypoints.http.s3_errors import STATUS_BY_S3_CODE, S3Refusal, error_response
from tests.entrypoints.http.live_store import (
    ACCESS_KEY,
    BUCKET,
    CONTENT_TYPE,
    MAX_BYTES,
    REGION,
    SECRET_KEY,
    Answer,
    LiveStore,
    boto_client,
    form_body,
    live_store,
    signed_fields,
)

CONTENT = b"0123456789abcdef"
MD5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
SHA256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
ETAG = f'"{hashlib.md5(CONTENT).hexdigest()}"'


def get(store: LiveStore, key: str, **headers: str) -> Answer:
    return store.send("GET", store.presign("get_object", key), None, **headers)


def result(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


# --- Presigned PUT ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["put/a.csv", "put/a b+c%20é☃#?&=.csv", "put/..a/~x"])
@pytest.mark.parametrize("content", [CONTENT, b"", b"x" * MAX_BYTES], ids=len)
def test_what_is_put_comes_back(store: LiveStore, key: str, content: bytes) -> None:
    answer = store.put(key, content)
    assert answer.status == 200
    assert answer.headers["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    found = get(store, key)
    assert (found.status, found.body, found.headers["ETag"]) == (200, content, answer.headers["ETag"])
    assert found.headers["Content-Length"] == str(len(content))
    assert found.headers["Content-Type"] == "binary/octet-stream"


def test_a_signed_digest_of_other_bytes_is_refused(store: LiveStore) -> None:
    for name, header, value in (
        ("ContentMD5", "Content-MD5", MD5),
        ("ChecksumSHA256", "x-amz-checksum-sha256", SHA256),
    ):
        url = store.presign("put_object", "digest", **{name: value})
        before = store.contents()
        assert result(store.send("PUT", url, CONTENT[::-1], **{header: value})) == (400, "BadDigest")
        assert store.contents() == before
        assert store.send("PUT", url, CONTENT, **{header: value}).status == 200


def test_digests_that_are_none_are_refused(store: LiveStore) -> None:
    url = store.presign("put_object", "digest")
    assert result(store.send("PUT", url, CONTENT, Content_MD5="?")) == (400, "InvalidDigest")
    url = store.presign("put_object", "digest", ChecksumSHA256=MD5)
    assert result(store.send("PUT", url, CONTENT, x_amz_checksum_sha256=MD5)) == (400, "InvalidRequest")


def test_another_method_key_header_or_moment_than_signed_is_refused(store: LiveStore) -> None:
    url = store.presign("put_object", "bound", ContentType="text/csv", ContentLength=len(CONTENT))
    before = store.contents()
    sent = {"Content_Type": "text/csv"}
    assert result(store.send("PUT", url, CONTENT)) == (403, "SignatureDoesNotMatch")
    assert result(store.send("PUT", url, CONTENT, Content_Type="text/html")) == (403, "SignatureDoesNotMatch")
    assert result(store.send("PUT", url, CONTENT + b"!", **sent)) == (403, "SignatureDoesNotMatch")
    assert result(store.send("PUT", url.replace("bound", "other"), CONTENT, **sent)) == (403, "SignatureDoesNotMatch")
    assert result(store.send("PUT", url, CONTENT, x_amz_acl="public-read", **sent)) == (403, "AccessDenied")
    assert result(store.send("GET", url)) == (403, "SignatureDoesNotMatch")
    store.clock.ahead = timedelta(hours=1, seconds=2)
    assert result(store.send("PUT", url, CONTENT, **sent)) == (403, "AccessDenied")
    assert store.contents() == before
    store.clock.ahead = timedelta(0)
    assert store.send("PUT", url, CONTENT, **sent).status == 200


def test_only_our_own_keys_sign(store: LiveStore) -> None:
    for client, expected in (
        (boto_client(store.origin, secret_key="another"), (403, "SignatureDoesNotMatch")),
        (boto_client(store.origin, region="us-east-1"), (400, "AuthorizationQueryParametersError")),
    ):
        url = client.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "k"})
        assert result(store.send("PUT", url, CONTENT)) == expected
        client.close()
    assert result(store.send("PUT", store.url_of("k"), CONTENT)) == (403, "AccessDenied")


def test_if_none_match_keeps_an_object_that_is_there(store: LiveStore) -> None:
    url = store.presign("put_object", f"once/{store.kind}", IfNoneMatch="*")
    assert store.send("PUT", url, CONTENT, If_None_Match="*").status == 200
    assert result(store.send("PUT", url, b"other", If_None_Match="*")) == (412, "PreconditionFailed")
    assert get(store, f"once/{store.kind}").body == CONTENT


@pytest.mark.parametrize("header", ["If_None_Match", "If_Match", "If_Unmodified_Since"])
def test_conditions_that_are_not_kept_are_refused(store: LiveStore, header: str) -> None:
    url = store.presign("put_object", "condition")
    assert result(store.send("PUT", url, CONTENT, **{header: ETAG})) == (400, "NotImplemented")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content_Encoding": "aws-chunked"}, "NotImplemented"),
        ({"Cache_Control": "a" * 1025}, "InvalidArgument"),
        ({"Content_Language": "d\xe9"}, "InvalidArgument"),
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=..."}, "InvalidArgument"),
    ],
)
def test_headers_that_can_not_be_honoured_are_refused(store: LiveStore, headers: dict[str, str], code: str) -> None:
    assert result(store.send("PUT", store.presign("put_object", "no"), CONTENT, **headers)) == (400, code)


@pytest.mark.parametrize(
    ("params", "headers", "code"),
    [
        ({"ACL": "authenticated-read"}, {"x_amz_acl": "authenticated-read"}, "NotImplemented"),
        ({"StorageClass": "GLACIER"}, {"x_amz_storage_class": "GLACIER"}, "NotImplemented"),
        ({"ServerSideEncryption": "AES256"}, {"x_amz_server_side_encryption": "AES256"}, "NotImplemented"),
        ({"Tagging": "a=b"}, {"x_amz_tagging": "a=b"}, "NotImplemented"),
        ({"ChecksumCRC32": "AAAAAA=="}, {"x_amz_checksum_crc32": "AAAAAA=="}, "NotImplemented"),
    ],
)
def test_signed_wishes_that_can_not_be_honoured_are_refused(
    store: LiveStore, params: dict[str, str], headers: dict[str, str], code: str
) -> None:
    url = store.presign("put_object", "no", **params)
    assert result(store.send("PUT", url, CONTENT, **headers)) == (400, code)


def test_a_copy_is_refused(store: LiveStore) -> None:
    url = store.boto.generate_presigned_url(
        "copy_object", {"Bucket": BUCKET, "Key": "copy", "CopySource": {"Bucket": BUCKET, "Key": "k"}}
    )
    assert result(store.send("PUT", url, x_amz_copy_source=f"{BUCKET}/k")) == (400, "NotImplemented")


def test_wishes_may_be_signed_in_the_query(store: LiveStore) -> None:
    signer = Signer(Credentials(ACCESS_KEY, SECRET_KEY), REGION, store.clock())
    path = f"/store/{BUCKET}/hoisted"
    query = [("x-amz-acl", "public-read"), ("x-amz-checksum-sha256", SHA256), ("x-id", "PutObject")]
    url = signer.presign_url(Request("PUT", store.origin, path, query), 60)
    assert result(store.send("PUT", url, CONTENT[::-1])) == (400, "BadDigest")
    assert store.send("PUT", url, CONTENT).status == 200
    assert store.send("GET", store.url_of("hoisted")).body == CONTENT
    twice = Request("PUT", store.origin, path, query, {"x-amz-acl": "private"})
    answer = store.send("PUT", signer.presign_url(twice, 60), CONTENT, x_amz_acl="private")
    assert result(answer) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("key", "code"), [("a//b", "InvalidArgument"), ("a/", "InvalidArgument"), ("x" * 1025, "KeyTooLongError")]
)
def test_keys_that_are_none_are_refused(store: LiveStore, key: str, code: str) -> None:
    assert result(store.send("PUT", store.presign("put_object", key), CONTENT)) == (400, code)


def test_an_object_over_the_limit_is_refused(store: LiveStore) -> None:
    before = store.contents()
    answer = store.send("PUT", store.presign("put_object", "big"), b"x" * (MAX_BYTES + 1))
    assert result(answer) == (400, "EntityTooLarge")
    assert store.contents() == before


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_strangers_read_public_objects_and_can_not_tell_private_from_missing(store: LiveStore) -> None:
    store.put("open", CONTENT, ACL="public-read", ContentType="text/plain")
    store.put("closed", CONTENT)
    for method in ("GET", "HEAD"):
        assert store.send(method, store.url_of("open")).status == 200
        for key in ("closed", "missing", "a//b", "missing%00"):
            answer = store.send(method, f"{store.url}/{key}")
            assert (answer.status, answer.headers["Content-Type"]) == (403, "application/xml")
    closed, missing = (store.send("GET", store.url_of(key)) for key in ("closed", "missing"))
    assert closed.xml["Message"] == missing.xml["Message"]


def test_a_private_object_is_read_with_a_signature(store: LiveStore) -> None:
    store.put("mine", CONTENT)
    assert get(store, "mine").body == CONTENT
    assert result(get(store, "mine-not")) == (404, "NoSuchKey")
    head = store.send("HEAD", store.presign("head_object", "mine"))
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(CONTENT)))
    assert head.headers["x-amz-checksum-sha256"] == SHA256
    url = store.presign("get_object", "mine")
    assert result(store.send("GET", re.sub("Signature=....", "Signature=0000", url))) == (403, "SignatureDoesNotMatch")
    store.clock.ahead = timedelta(hours=1, seconds=2)
    assert result(store.send("GET", url)) == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("wanted", "content_range", "body"),
    [
        ("bytes=0-0", "bytes 0-0/16", b"0"),
        ("bytes=3-5", "bytes 3-5/16", b"345"),
        ("bytes=10-", "bytes 10-15/16", b"abcdef"),
        ("bytes=-3", "bytes 13-15/16", b"def"),
        ("bytes=-999", "bytes 0-15/16", CONTENT),
        ("bytes=15-999999", "bytes 15-15/16", b"f"),
    ],
)
def test_a_range_gives_a_part(store: LiveStore, wanted: str, content_range: str, body: bytes) -> None:
    store.put("range", CONTENT)
    answer = get(store, "range", Range=wanted)
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (206, content_range, body)
    assert answer.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,3-4", "bytes=5-3", "bytes=", "bytes=-", "bytes=a-b", "lines=0-1", "0-1", "bytes=0-" + "9" * 5000],
)
def test_what_is_no_single_range_gives_the_whole(store: LiveStore, wanted: str) -> None:
    store.put("range", CONTENT)
    answer = get(store, "range", Range=wanted)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(("content", "wanted"), [(CONTENT, "bytes=16-"), (CONTENT, "bytes=-0"), (b"", "bytes=0-")])
def test_a_range_that_is_not_there_is_refused(store: LiveStore, content: bytes, wanted: str) -> None:
    store.put("range/none", content)
    answer = get(store, "range/none", Range=wanted)
    assert result(answer) == (416, "InvalidRange")
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"


LONG = bytes(range(256)) * 4096


@given(data=st.data())
def test_every_range_gives_its_bytes(shared_store: LiveStore, data: DataObject) -> None:
    if get(shared_store, "long", Range="bytes=0-0").status != 206:
        shared_store.put("long", LONG)
    start = data.draw(st.integers(0, len(LONG) - 1))
    end = data.draw(st.integers(start, len(LONG) - 1))
    assert get(shared_store, "long", Range=f"bytes={start}-{end}").body == LONG[start : end + 1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_Match": ETAG}, 200),
        ({"If_Match": ETAG.strip('"')}, 200),
        ({"If_Match": f'"other", {ETAG}'}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"other"'}, 412),
        ({"If_None_Match": ETAG}, 304),
        ({"If_None_Match": f"W/{ETAG}"}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_Modified_Since": "{before}"}, 200),
        ({"If_Modified_Since": "{modified}"}, 304),
        ({"If_Modified_Since": "yesterday"}, 200),
        ({"If_Unmodified_Since": "{before}"}, 412),
        ({"If_Unmodified_Since": "{modified}"}, 200),
        # RFC 9110, section 13.2.2: an entity tag is believed, and the date beside it isn't looked at.
        ({"If_Match": ETAG, "If_Unmodified_Since": "{before}"}, 200),
        ({"If_None_Match": '"other"', "If_Modified_Since": "{modified}"}, 200),
        ({"Range": "bytes=0-3", "If_Range": ETAG}, 206),
        ({"Range": "bytes=0-3", "If_Range": '"other"'}, 200),
        ({"Range": "bytes=0-3", "If_Range": "{modified}"}, 206),
        ({"Range": "bytes=0-3", "If_Range": "{before}"}, 200),
        ({"Range": "bytes=0-3", "If_None_Match": ETAG}, 304),
    ],
)
@pytest.mark.parametrize("method", ["get_object", "head_object"])
def test_conditions(store: LiveStore, method: str, headers: dict[str, str], status: int) -> None:
    store.put("condition", CONTENT)
    modified = parsedate_to_datetime(get(store, "condition").headers["Last-Modified"])
    moments = {
        "modified": format_datetime(modified, usegmt=True),
        "before": format_datetime(modified - timedelta(seconds=1), usegmt=True),
    }
    sent = {name: value.format(**moments) for name, value in headers.items()}
    answer = store.send(method.removesuffix("_object").upper(), store.presign(method, "condition"), None, **sent)
    assert answer.status == status
    if status == 304:
        assert (answer.body, answer.headers["ETag"]) == (b"", ETAG)


def test_what_is_uploaded_never_becomes_a_page_of_ours(store: LiveStore) -> None:
    page = b"<script>alert(document.domain)</script>"
    store.put("page/é x.html", page, ACL="public-read", ContentType="text/html", ContentDisposition="inline")
    for answer in (store.send("GET", store.url_of("page/é x.html")), get(store, "page/é x.html", Range="bytes=0-9")):
        assert answer.headers["Content-Type"] == "text/html"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        disposition = "attachment; filename=\"_ x.html\"; filename*=UTF-8''%C3%A9%20x.html"
        assert answer.headers["Content-Disposition"] == disposition


def test_an_attachment_keeps_the_name_that_its_uploader_gave(store: LiveStore) -> None:
    store.put("named", CONTENT, ContentDisposition='Attachment; filename="mine.csv"')
    assert get(store, "named").headers["Content-Disposition"] == 'Attachment; filename="mine.csv"'


def test_signed_overrides_are_honoured_and_others_refused(store: LiveStore) -> None:
    store.put("override", CONTENT, ACL="public-read")
    wishes = {
        "ResponseContentType": "text/plain",
        "ResponseContentDisposition": 'attachment; filename="b.txt"',
        "ResponseCacheControl": "no-store",
    }
    answer = store.send("GET", store.presign("get_object", "override", **wishes))
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="b.txt"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("response-content-type", "response-content-disposition"):
        assert result(store.send("GET", f"{store.url_of('override')}?{name}=text/html")) == (400, "InvalidRequest")
    split = store.presign("get_object", "override", ResponseContentType="a\r\nSet-Cookie: a=b")
    answer = store.send("GET", split)
    assert result(answer) == (400, "InvalidArgument")
    assert "Set-Cookie" not in answer.headers


def test_an_unsigned_override_can_not_be_added_to_a_signed_url(store: LiveStore) -> None:
    store.put("override", CONTENT)
    url = store.presign("get_object", "override") + "&response-content-type=text/html"
    assert result(store.send("GET", url)) == (403, "SignatureDoesNotMatch")


# --- Everything else is an error in XML -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "", (405, "MethodNotAllowed")),
        ("PUT", "", (405, "MethodNotAllowed")),
        ("DELETE", "", (405, "MethodNotAllowed")),
        ("DELETE", "/k", (405, "MethodNotAllowed")),
        ("POST", "/k", (405, "MethodNotAllowed")),
        ("PATCH", "/k", (405, "MethodNotAllowed")),
        ("GET", "?list-type=2", (400, "NotImplemented")),
        ("POST", "?delete", (400, "NotImplemented")),
        ("POST", "/k?uploads", (400, "NotImplemented")),
        ("PUT", "/k?uploadId=1&partNumber=1", (403, "AccessDenied")),
        ("GET", "/k?partNumber=1", (400, "NotImplemented")),
        ("GET", "/k?uploadId=1", (400, "NotImplemented")),
        ("POST", "/k?uploadId=1", (400, "NotImplemented")),
        ("DELETE", "/k?uploadId=1", (400, "NotImplemented")),
        ("PUT", "?uploadId=1&partNumber=1", (400, "NotImplemented")),
        ("GET", "/k?acl", (400, "NotImplemented")),
        ("GET", "/k?t%61gging=", (400, "NotImplemented")),
        ("GET", "/k?versionId=1", (400, "NotImplemented")),
        ("GET", "/%ff", (400, "InvalidURI")),
        ("GET", "/a%0Ab", (403, "AccessDenied")),
        ("GET", "/k?Signature=1&AWSAccessKeyId=1&Expires=1", (400, "InvalidRequest")),
        ("GET", "/k?X-Amz-Signature=1", (400, "AuthorizationQueryParametersError")),
        ("GET", "/k?x-amz-signature=1", (400, "AuthorizationQueryParametersError")),
        ("GET", "2/k", (404, "NoSuchBucket")),
        ("GET", "%2Fk", (404, "NoSuchBucket")),
    ],
)
def test_other_requests_are_refused(store: LiveStore, method: str, path: str, expected: tuple[int, str]) -> None:
    answer = store.send(method, store.url + path)
    assert result(answer) == expected
    if expected[0] == 405:
        assert answer.headers["Allow"] == ("GET, HEAD, PUT" if "/" in path else "POST")


@pytest.mark.parametrize("path", ["/store/", "/store//", "/%73tore/datasets/k"])
def test_other_paths_are_refused(store: LiveStore, path: str) -> None:
    assert result(store.send("GET", store.origin + path)) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("authorization", "code"), [("AWS4-HMAC-SHA256 Credential=a", "NotImplemented"), ("Basic eDp5", "InvalidArgument")]
)
def test_signatures_in_headers_are_refused(store: LiveStore, authorization: str, code: str) -> None:
    assert result(store.send("GET", store.url_of("k"), Authorization=authorization)) == (400, code)


@given(method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]), path=st.text("/%.0aAF?&=X-Amz+é", max_size=20))
def test_no_url_is_a_fault_of_ours(shared_store: LiveStore, method: str, path: str) -> None:
    answer = shared_store.send(method, f"{shared_store.url}/{path.encode().decode('latin-1')}")
    assert 400 <= answer.status < 500


def test_every_error_code_has_a_status() -> None:
    modules = (
        *(form_reader, s3_errors, store_downloads, store_endpoint, store_requests, store_uploads),
        *(post_policy, sigv4_verify),
    )
    raised = re.compile(r"(?:Refusal|Refused)\(\s*\"(\w+)\"")
    codes = {code for module in modules for code in raised.findall(inspect.getsource(module))}
    assert len(codes) > 20
    assert codes <= STATUS_BY_S3_CODE.keys()


def test_an_error_is_well_formed_whatever_it_repeats() -> None:
    text = "<&\"'>]]>\x00\x0b\ud800\ufffe\x1b ☃\U0001f600" + "x" * 5000
    response = error_response(S3Refusal("AccessDenied", text), text)
    answer = Answer(response.status_code, {"Content-Type": "application/xml"}, bytes(response.body))
    assert answer.xml["Message"] == answer.xml["Resource"]
    assert answer.xml["Message"].startswith("<&\"'>]]> ☃\U0001f600xxx")
    assert len(answer.body) < 4096


# --- Behind a proxy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_signatures_are_for_the_public_address_whatever_the_proxy_sends(kind: str, tmp_path: Path) -> None:
    with live_store(kind, tmp_path, public="https://data.example") as store:
        client = boto_client("https://data.example/bitstore")
        for operation, method, body in (("put_object", "PUT", CONTENT), ("get_object", "GET", None)):
            url = client.generate_presigned_url(operation, {"Bucket": BUCKET, "Key": "a b/é.csv"})
            assert url.startswith(f"https://data.example/bitstore/store/{BUCKET}/")
            local = url.replace("https://data.example/bitstore", store.origin)
            for host in ("data.example", "10.0.0.7:8000", "evil.example"):
                assert store.send(method, local, body, Host=host).status == 200
        client.close()
        fields = signed_fields([{"bucket": BUCKET}, {"key": "form"}], {"key": "form"})
        answer = store.send("POST", store.url, form_body(fields, CONTENT), Content_Type=CONTENT_TYPE)
        assert answer.headers["Location"] == f"https://data.example/bitstore/store/{BUCKET}/form"
        assert result(get(store, "form")) == (403, "SignatureDoesNotMatch")
