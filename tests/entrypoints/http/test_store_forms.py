"""POST-policy forms at the store's endpoint: what gets in, what doesn't, and what is stored then.

Forms come from boto3, or are signed by hand; the rules are those of "POST Object" and "POST Policy" in the Amazon S3
API reference. Each refusal is also asked whether it left anything behind.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from attrs import evolve, frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.flavours import EMBEDDED
from adapters.stores.signing import S3Signing
from adapters.stores.sigv4 import Credentials
from domain.files import DeclaredFile, FileRules
from domain.keys import ObjectKey
from domain.uploads import Access, PostForm, Upload, UploadMethod, UploadTerms
from tests.entrypoints.http.live_store import (
    ACCESS_KEY,
    BUCKET,
    CONTENT_TYPE,
    MAX_BYTES,
    REGION,
    SECRET_KEY,
    Answer,
    Fields,
    LiveStore,
    boto_client,
    form_body,
    signed_fields,
)

CONTENT = b"a,b\n1,2\n"
MD5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
SHA256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
ETAG = f'"{hashlib.md5(CONTENT).hexdigest()}"'


def boto_form(
    store: LiveStore,
    key: str,
    conditions: Sequence[object] = (),
    fields: Mapping[str, str] | None = None,
    expires: int = 600,
) -> list[tuple[str, str]]:
    form = store.boto.generate_presigned_post(BUCKET, key, dict(fields or {}), list(conditions), expires)
    assert form["url"] == store.url
    return list(form["fields"].items())


def stored(store: LiveStore, key: str) -> Answer:
    return store.send("GET", store.presign("get_object", key))


def refuse(store: LiveStore, fields: Fields, content: bytes = CONTENT, **file: str | None) -> tuple[int, str]:
    """Send a form that must not get in, and give status and code."""
    before = store.contents()
    answer = store.post(fields, content, **file)
    assert store.contents() == before
    return answer.status, answer.code


def test_a_form_of_boto3_is_taken(store: LiveStore) -> None:
    answer = store.post(boto_form(store, "boto/a.csv"), CONTENT)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["ETag"] == ETAG
    assert answer.headers["Location"] == store.url_of("boto/a.csv")
    found = stored(store, "boto/a.csv")
    assert (found.status, found.body) == (200, CONTENT)
    assert found.headers["Content-Type"] == "binary/octet-stream"


def test_a_form_of_our_signer_is_taken_and_binds_what_it_says(store: LiveStore) -> None:
    signing = S3Signing(
        BucketAddress(store.origin, BUCKET, base_path="/store"),
        REGION,
        EMBEDDED,
        lambda: Credentials(ACCESS_KEY, SECRET_KEY),
        lambda: "public-read",
    )
    file = DeclaredFile.parse(
        "données é.csv", {"length": len(CONTENT), "md5": MD5, "sha256": SHA256}, FileRules(max_bytes=MAX_BYTES)
    )
    upload = Upload(ObjectKey("alice/données é.csv"), file, Access.PUBLIC)
    terms = UploadTerms(UploadMethod.POST, timedelta(minutes=5))
    [signed] = signing.sign_uploads([upload], terms, store.clock())
    assert isinstance(signed.request, PostForm)
    fields = list(signed.request.fields.items())
    for content in (CONTENT + b"!", CONTENT[:-1], b"x" * len(CONTENT)):
        assert refuse(store, fields, content)[0] == 400
    assert refuse(store, [(name, value.replace("alice", "bob")) for name, value in fields])[0] == 403
    answer = store.send("POST", signed.request.url, form_body(fields, CONTENT), Content_Type=CONTENT_TYPE)
    assert answer.status == 204
    found = store.send("GET", signed.object_url)
    assert (found.status, found.body, found.headers["Content-Type"]) == (200, CONTENT, "text/csv")


@pytest.mark.parametrize("url", ["/", "/?x-id=PutObject"])
def test_a_slash_or_a_meaningless_query_after_the_bucket_changes_nothing(store: LiveStore, url: str) -> None:
    body = form_body(boto_form(store, "slash"), CONTENT)
    assert store.send("POST", store.url + url, body, Content_Type=CONTENT_TYPE).status == 204


@frozen
class Case:
    """Fields, and conditions that they meet or don't (None: each exactly); `code` is empty for a form that is taken."""

    about: str
    fields: Mapping[str, str]
    code: str = ""
    conditions: Sequence[object] | None = None
    content: bytes = CONTENT

    def __str__(self) -> str:
        return f"{self.about}: {self.code or 'taken'}"


CSV, META = {"Content-Type": "text/csv"}, {"x-amz-meta-a": "1"}
IMAGE = ["starts-with", "$Content-Type", "image/"]
ANY_META = ["starts-with", "$x-amz-meta-a", ""]


def length(*least_and_greatest: int) -> list[object]:
    return ["content-length-range", *least_and_greatest]


POLICY_RULES = [
    Case("eq as an object", CSV, conditions=[CSV]),
    Case("eq as an object", {"Content-Type": "text/html"}, "AccessDenied", [CSV]),
    Case("eq as an object", {}, "AccessDenied", [CSV]),
    Case("eq as a list", META, conditions=[["eq", "$x-amz-meta-a", "1"]]),
    Case("eq as a list", {"x-amz-meta-a": "11"}, "AccessDenied", [["eq", "$x-amz-meta-a", "1"]]),
    Case("letter case of names", {"content-TYPE": "text/csv"}, conditions=[["EQ", "$CONTENT-type", "text/csv"]]),
    Case("letter case of values", {"Content-Type": "TEXT/csv"}, "AccessDenied", [CSV]),
    Case("starts-with", {"Content-Type": "image/png"}, conditions=[IMAGE]),
    Case("starts-with", {"Content-Type": "text/png"}, "AccessDenied", [IMAGE]),
    Case("starts-with anything", META, conditions=[ANY_META]),
    Case("both conditions", META, conditions=[ANY_META, META]),
    Case("both conditions", {"x-amz-meta-a": "2"}, "AccessDenied", [ANY_META, META]),
    Case("a field that is not covered", META, "AccessDenied", []),
    Case("an acl that is not covered", {"acl": "public-read"}, "AccessDenied", []),
    Case("a field to ignore", {"x-ignore-this": "1"}, conditions=[]),
    Case("length in the range", {}, conditions=[length(8, 8)]),
    Case("length over the range", {}, "EntityTooLarge", [length(0, 7)]),
    Case("length under the range", {}, "EntityTooSmall", [length(9, 99)]),
    Case("no byte at all", {}, conditions=[length(0, 0)], content=b""),
    Case("one byte too few", {}, "EntityTooSmall", [length(1, 9)], b""),
    Case("several ranges", {}, "EntityTooLarge", [length(0, 9), length(0, 7)]),
    Case("the longest object", {}, content=b"x" * MAX_BYTES),
    Case("a byte over the longest", {}, "EntityTooLarge", [length(0, 1 << 40)], b"x" * (MAX_BYTES + 1)),
    Case("md5", {"Content-MD5": MD5}),
    Case("md5 of other bytes", {"Content-MD5": MD5}, "BadDigest", content=b"1,2\na,b\n"),
    Case("md5 in hex", {"Content-MD5": ETAG.strip('"')}, "InvalidDigest"),
    Case("sha256", {"x-amz-checksum-sha256": SHA256}),
    Case("sha256 of other bytes", {"x-amz-checksum-sha256": SHA256}, "BadDigest", content=b"1,2\na,b\n"),
    Case("sha256 that is none", {"x-amz-checksum-sha256": MD5}, "InvalidRequest"),
    Case("private", {"acl": "private"}),
    Case("public", {"acl": "public-read"}),
    Case("another acl", {"acl": "public-read-write"}, "NotImplemented"),
    Case("an unknown acl", {"acl": "public"}, "InvalidArgument"),
    Case("two acls", {"acl": "private", "x-amz-acl": "public-read"}, "InvalidArgument"),
    Case("storage class", {"x-amz-storage-class": "STANDARD"}),
    Case("storage class", {"x-amz-storage-class": "GLACIER"}, "NotImplemented"),
    Case("encryption", {"x-amz-server-side-encryption": "AES256"}, "NotImplemented"),
    Case("tagging", {"tagging": "<Tagging/>"}, "NotImplemented"),
    Case("website redirect", {"x-amz-website-redirect-location": "/"}, "NotImplemented"),
    Case("streamed content", {"Content-Encoding": "aws-chunked"}, "NotImplemented"),
    Case("header splitting", {"Expires": "0\r\nSet-Cookie: a=b"}, "InvalidArgument"),
    Case("header splitting", {"Content-Type": "text/csv\r\nSet-Cookie: a=b"}, "InvalidArgument"),
    Case("a long header", {"Cache-Control": "a" * 1024}),
    Case("too long a header", {"Cache-Control": "a" * 1025}, "InvalidArgument"),
    Case("metadata that is no header", {"x-amz-meta-ü": "1"}, "InvalidArgument"),
    Case("much metadata", {"x-amz-meta-a": "a" * 2047}),
    Case("too much metadata", {"x-amz-meta-a": "a" * 2048}, "MetadataTooLarge"),
]


@pytest.mark.parametrize("case", POLICY_RULES, ids=str)
def test_the_rules_of_a_policy(store: LiveStore, case: Case) -> None:
    key = f"rules/{POLICY_RULES.index(case)}"
    exact = [{name: value} for name, value in case.fields.items()]
    fields = boto_form(store, key, exact if case.conditions is None else case.conditions, case.fields)
    if case.code:
        assert refuse(store, fields, case.content) == (403 if case.code == "AccessDenied" else 400, case.code)
        assert stored(store, key).status == 404
    else:
        assert store.post(fields, case.content).status == 204
        assert stored(store, key).body == case.content


BUCKET_CONDITION, KEY_CONDITION = {"bucket": BUCKET}, {"key": "k"}
BOTH = [BUCKET_CONDITION, KEY_CONDITION]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (signed_fields(BOTH, {"key": "k"}, scope="{day}/us-east-1/s3/aws4_request"), (400, "InvalidArgument")),
        (signed_fields(BOTH, {"key": "k"}, scope="{day}/" + REGION + "/ec2/aws4_request"), (400, "InvalidArgument")),
        (signed_fields(BOTH, {"key": "k"}, scope="20130524/" + REGION + "/s3/aws4_request"), (400, "InvalidArgument")),
        (signed_fields(BOTH, {"key": "k"}, scope="{day}/" + REGION + "/s3/aws5_request"), (400, "InvalidArgument")),
        (signed_fields(BOTH, {"key": "k"}, secret_key="another"), (403, "SignatureDoesNotMatch")),
        (signed_fields(BOTH, {"key": "k"}, access_key="AKIDNOBODY"), (403, "InvalidAccessKeyId")),
        (signed_fields([KEY_CONDITION], {"key": "k"}), (403, "AccessDenied")),
        (signed_fields([BUCKET_CONDITION], {"key": "k"}), (403, "AccessDenied")),
        (signed_fields([{"bucket": "another"}, KEY_CONDITION], {"key": "k"}), (403, "AccessDenied")),
        (signed_fields(BOTH, {"key": "other"}), (403, "AccessDenied")),
        (signed_fields(BOTH, {"key": "k", "Key": "k"}), (400, "InvalidArgument")),
        (signed_fields(BOTH, {}), (400, "InvalidArgument")),
        # The policy is looked at before its signature: a wrong one would be 403.
        (signed_fields([], {"key": "k"}, policy=b"{", secret_key="another"), (400, "InvalidPolicyDocument")),
        (signed_fields([], {"key": "k"}, policy=b'{"conditions": []}'), (400, "InvalidPolicyDocument")),
        (signed_fields([*BOTH, {"x": 1}], {"key": "k"}), (400, "InvalidPolicyDocument")),
        (signed_fields([*BOTH, ["like", "$x", "1"]], {"key": "k"}), (400, "InvalidPolicyDocument")),
    ],
)
def test_forms_that_are_signed_wrong(store: LiveStore, fields: Fields, expected: tuple[int, str]) -> None:
    assert refuse(store, fields) == expected


def test_forms_that_are_signed_by_hand_are_taken_when_they_are_right(store: LiveStore) -> None:
    assert store.post(signed_fields(BOTH, {"key": "k"})).status == 204


@pytest.mark.parametrize(
    "name", ["key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"]
)
def test_each_field_of_the_signature_is_needed_before_the_file(store: LiveStore, name: str) -> None:
    fields = boto_form(store, "needed")
    without = [field for field in fields if field[0] != name]
    assert len(without) == len(fields) - 1
    assert refuse(store, without) == (400, "InvalidArgument")
    assert refuse(store, without, after=name) == (400, "InvalidArgument")


def test_fields_may_come_in_any_order_and_what_follows_the_file_means_nothing(store: LiveStore) -> None:
    assert store.post(boto_form(store, "order")[::-1], after="acl").status == 204


def test_a_tampered_policy_is_refused(store: LiveStore) -> None:
    mine, other = boto_form(store, "mine"), dict(boto_form(store, "other"))
    swapped = [(name, other["policy"] if name == "policy" else value) for name, value in mine]
    assert refuse(store, swapped) == (403, "SignatureDoesNotMatch")


def test_a_form_is_good_until_its_policy_expires(store: LiveStore) -> None:
    fields = boto_form(store, "expiry", expires=60)
    store.clock.ahead = timedelta(seconds=55)
    assert store.post(fields).status == 204
    store.clock.ahead = timedelta(seconds=62)
    assert refuse(store, fields) == (403, "AccessDenied")


def test_another_secret_or_bucket_is_refused(store: LiveStore) -> None:
    stranger = evolve(store, boto=boto_client(store.origin, secret_key="another"))
    assert refuse(store, boto_form(stranger, "stranger")) == (403, "SignatureDoesNotMatch")
    stranger.boto.close()
    answer = store.send("POST", store.url + "2", form_body(boto_form(store, "x"), CONTENT), Content_Type=CONTENT_TYPE)
    assert (answer.status, answer.code) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("filename", "key"),
    [
        ("b c.csv", "b c.csv"),
        ("données ☃.csv", "données ☃.csv"),
        (r"C:\temp\b.csv", "b.csv"),
        ("/home/me/b.csv", "b.csv"),
    ],
)
def test_the_filename_takes_its_place_in_the_key(store: LiveStore, filename: str, key: str) -> None:
    fields = boto_form(store, "named/${filename}")
    assert store.post(fields, filename=filename).headers["Location"] == store.url_of(f"named/{key}")
    assert stored(store, f"named/{key}").status == 200


@pytest.mark.parametrize("filename", ["..", "", None, "a\u202eb", "x" * 256])
def test_a_filename_never_makes_a_key_that_is_none(store: LiveStore, filename: str | None) -> None:
    assert refuse(store, boto_form(store, "named/${filename}"), filename=filename) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        *[(key, "InvalidArgument") for key in ("../up", "a//b", "/a", "a/", "e\u0301", "a\\b", "a\x7fb")],
        ("/".join(["x" * 250] * 4) + "/" + "y" * 20, ""),
        ("/".join(["x" * 250] * 4) + "/" + "y" * 21, "KeyTooLongError"),
    ],
)
def test_keys_are_valid_or_refused(store: LiveStore, key: str, code: str) -> None:
    fields = signed_fields([BUCKET_CONDITION, {"key": key}], {"key": key})
    if code:
        assert refuse(store, fields) == (400, code)
    else:
        assert store.post(fields).status == 204


def test_a_file_without_filename_or_type_is_the_file(store: LiveStore) -> None:
    fields = boto_form(store, "nameless", [], {})
    assert store.post(fields, CONTENT, filename=None).status == 204
    assert stored(store, "nameless").body == CONTENT


def test_the_field_content_type_counts_and_the_part_s_does_not(store: LiveStore) -> None:
    fields = boto_form(store, "typed", [{"Content-Type": "text/csv"}], {"Content-Type": "text/csv"})
    assert store.post(fields, media_type="text/html").status == 204
    assert stored(store, "typed").headers["Content-Type"] == "text/csv"


@pytest.mark.parametrize(("wanted", "status"), [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)])
def test_success_action_status(store: LiveStore, wanted: str, status: int) -> None:
    chosen = {"success_action_status": wanted}
    answer = store.post(boto_form(store, "status/é&<.csv", [chosen], chosen))
    assert answer.status == status
    assert answer.headers["ETag"]
    if status == 201:
        location = store.url_of("status/é&<.csv")
        expected = {"Location": location, "Bucket": BUCKET, "Key": "status/é&<.csv", "ETag": answer.headers["ETag"]}
        assert answer.xml == expected
    else:
        assert answer.body == b""


@pytest.mark.parametrize("field", ["success_action_redirect", "redirect"])
@pytest.mark.parametrize("url", ["https://portal.example/done", "http://portal.example/done?step=2&x=é#end"])
def test_success_action_redirect(store: LiveStore, field: str, url: str) -> None:
    chosen = {field: url}
    answer = store.post(boto_form(store, "redirect/é.csv", [chosen], chosen), CONTENT)
    assert answer.status == 303
    location, target = urlsplit(answer.headers["Location"]), urlsplit(url)
    assert (location.scheme, location.netloc, location.path) == (target.scheme, target.netloc, target.path)
    assert location.fragment == target.fragment
    stored_there = [("bucket", BUCKET), ("key", "redirect/é.csv"), ("etag", ETAG)]
    assert parse_qsl(location.query) == parse_qsl(target.query) + stored_there


@pytest.mark.parametrize("url", ["/done", "javascript:alert(1)", "https://[", ""])
def test_a_redirect_to_nowhere_counts_as_absent(store: LiveStore, url: str) -> None:
    chosen = {"success_action_redirect": url, "success_action_status": "200"}
    answer = store.post(boto_form(store, "nowhere", [{name: value} for name, value in chosen.items()], chosen))
    assert answer.status == 200
    assert "Location" in answer.headers


def test_a_redirect_can_not_add_headers(store: LiveStore) -> None:
    chosen = {"success_action_redirect": "https://portal.example/\r\nSet-Cookie: a=b"}
    answer = store.post(boto_form(store, "split", [chosen], chosen))
    assert answer.status == 303
    assert "Set-Cookie" not in answer.headers


def test_headers_and_metadata_come_back(store: LiveStore) -> None:
    chosen = {
        "Cache-Control": "max-age=60",
        "Content-Disposition": 'attachment; filename="x.csv"',
        "Content-Encoding": "gzip",
        "Content-Language": "fr",
        "Expires": "Wed, 21 Oct 2026 07:28:00 GMT",
        "x-amz-meta-Author": "Ada",
    }
    fields = boto_form(store, "headers", [{name: value} for name, value in chosen.items()], chosen)
    assert store.post(fields).status == 204
    headers = stored(store, "headers").headers
    assert {name: headers[name] for name in chosen} == chosen


def test_metadata_that_is_not_ascii_comes_back_as_s3_gives_it(store: LiveStore) -> None:
    chosen = {"x-amz-meta-author": "Žofie ☃"}
    assert store.post(boto_form(store, "mail-safe", [chosen], chosen)).status == 204
    encoded = base64.b64encode("Žofie ☃".encode()).decode()
    assert stored(store, "mail-safe").headers["x-amz-meta-author"] == f"=?UTF-8?B?{encoded}?="


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"key=k", "application/x-www-form-urlencoded", (412, "RequestIsNotMultiPartContent")),
        (b"", CONTENT_TYPE, (400, "MalformedPOSTRequest")),
        (b"nonsense", CONTENT_TYPE, (400, "MalformedPOSTRequest")),
        (form_body([("key", "k")], None), CONTENT_TYPE, (400, "IncorrectNumberOfFilesInPostRequest")),
        (form_body([], b""), CONTENT_TYPE, (400, "InvalidArgument")),
        (form_body([("k", "v" * 21_000)], b""), CONTENT_TYPE, (400, "MaxPostPreDataLengthExceededError")),
    ],
)
def test_what_is_no_form(store: LiveStore, body: bytes, content_type: str, expected: tuple[int, str]) -> None:
    answer = store.send("POST", store.url, body, Content_Type=content_type)
    assert (answer.status, answer.code) == expected


def test_a_form_without_its_end_leaves_nothing(store: LiveStore) -> None:
    before = store.contents()
    body = form_body(boto_form(store, "endless"), CONTENT)
    answer = store.send("POST", store.url, body.removesuffix(b"--\r\n"), Content_Type=CONTENT_TYPE)
    assert (answer.status, answer.code) == (400, "MalformedPOSTRequest")
    assert store.contents() == before


def test_an_error_says_what_and_where_and_nothing_secret(store: LiveStore) -> None:
    fields = boto_form(store, "secret", [{"x-amz-meta-a": "<&>\"'"}], {"x-amz-meta-a": "no"})
    answer = store.post(fields)
    assert answer.status == 403
    assert set(answer.xml) == {"Code", "Message", "Resource", "RequestId"}
    assert answer.xml["Resource"] == f"/store/{BUCKET}"
    assert answer.xml["RequestId"] == answer.headers["x-amz-request-id"]
    assert "<&>" in answer.xml["Message"]
    for secret in (dict(fields)["policy"], dict(fields)["x-amz-signature"], SECRET_KEY):
        assert secret.encode() not in answer.body


def test_a_new_form_replaces_the_object_and_a_refused_one_does_not(store: LiveStore) -> None:
    assert store.post(boto_form(store, "again"), b"first").status == 204
    assert store.post(boto_form(store, "again"), b"second").status == 204
    refuse(store, boto_form(store, "again", [["content-length-range", 0, 1]]), b"third")
    assert stored(store, "again").body == b"second"


def test_no_clock_is_read_but_the_one_that_is_given(store: LiveStore) -> None:
    fields = boto_form(store, "clock")
    store.clock.ahead = timedelta(minutes=3)
    assert store.post(fields).status == 204
    store.clock.ahead = timedelta(0)
    modified = parsedate_to_datetime(stored(store, "clock").headers["Last-Modified"])
    assert modified > datetime.now(UTC) + timedelta(minutes=2)


def test_the_location_is_encoded(store: LiveStore) -> None:
    key = "loc/a b+c%20é#?.csv"
    answer = store.post(boto_form(store, key), CONTENT)
    assert answer.headers["Location"] == f"{store.url}/{quote(key)}"
    assert stored(store, key).body == CONTENT
