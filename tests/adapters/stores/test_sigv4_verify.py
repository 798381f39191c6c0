"""Verifying: what boto3 signs is accepted, each single change of it is refused, and nothing else ever comes out."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.stores.sigv4 import Credentials, Request, Signer
from adapters.stores.sigv4_verify import PresignedRequest, ReceivedRequest, SignatureRefused, Verifier
from tests.adapters.stores.aws import (
    BUCKET,
    EXAMPLE,
    HOST,
    NOW,
    ORIGIN,
    boto,
    header_values,
    keys,
    lifetimes,
    signers,
    text,
)

TOKEN = evolve(EXAMPLE, session_token="a/session+token=")
SIGNER = Signer(EXAMPLE, "us-east-1", NOW)
PUT_HEADERS = {"ContentMD5": "Content-MD5", "ContentType": "Content-Type", "ACL": "x-amz-acl"}


def verifier(*known: Credentials, region: str = "us-east-1") -> Verifier:
    return Verifier({one.access_key_id: one for one in known or (EXAMPLE,)}.get, region)


def received(method: str, url: str, headers: Mapping[str, str] | None = None) -> ReceivedRequest:
    """Turn a URL into what a server gets when a client sends it."""
    parts = urlsplit(url)
    sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return ReceivedRequest(method, parts.path.encode(), parts.query.encode(), [(b"host", parts.netloc.encode()), *sent])


def presigned(**params: Any) -> str:
    with boto(SIGNER) as client:
        url: str = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "a/k.csv", **params}, 600)
        return url


def refusal(judge: Callable[[], object]) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        judge()
    assert EXAMPLE.secret_access_key not in caught.value.message
    assert str(caught.value) == caught.value.message
    return caught.value


def with_parameter(url: str, name: str, value: str | None) -> str:
    """Replace one query parameter, or leave it out."""
    parts = urlsplit(url)
    pairs = [(n, value if n == name else v) for n, v in parse_qsl(parts.query, keep_blank_values=True)]
    return parts._replace(query=urlencode([(n, v) for n, v in pairs if v is not None], quote_via=quote)).geturl()


def reordered(url: str) -> str:
    start, _, query = url.partition("?")
    return f"{start}?{'&'.join(reversed(query.split('&')))}"


class TestWhatBoto3SignsIsAccepted:
    @given(signers, keys, st.dictionaries(st.sampled_from(["ResponseContentType", "VersionId"]), text), lifetimes)
    def test_downloads(self, signer: Signer, key: str, params: dict[str, str], seconds: int) -> None:
        with boto(signer) as client:
            url = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key, **params}, seconds)
        judge = verifier(signer.credentials, region=signer.region)
        allowed = judge.verify_presigned(received("GET", url), signer.now + timedelta(seconds=seconds))
        names = {"ResponseContentType": "response-content-type", "VersionId": "versionId"}
        assert allowed == PresignedRequest(
            signer.credentials.access_key_id,
            f"/{BUCKET}/{key}",
            {names[name]: value for name, value in params.items()},
            frozenset({"host"}),
            signer.now + timedelta(seconds=seconds),
        )

    @given(signers, keys, st.dictionaries(st.sampled_from(sorted(PUT_HEADERS)), header_values))
    def test_uploads_with_the_signed_headers_and_others_that_prove_nothing(
        self, signer: Signer, key: str, params: dict[str, str]
    ) -> None:
        with boto(signer) as client:
            url = client.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": key, **params}, 60)
        headers = {PUT_HEADERS[name]: value for name, value in params.items()}
        request = received("PUT", url, {**headers, "Content-Length": "5", "User-Agent": "curl", "x-amzn-trace-id": "1"})
        allowed = verifier(signer.credentials, region=signer.region).verify_presigned(request, signer.now)
        assert allowed.signed_headers == {"host", *map(str.lower, headers)}

    @given(signers, keys, st.dictionaries(st.sampled_from(["acl", "Content-Type"]), text))
    def test_forms(self, signer: Signer, key: str, fields: dict[str, str]) -> None:
        with boto(signer) as client:
            form = client.generate_presigned_post(BUCKET, key, Fields=fields)["fields"]
        lowered = {name.lower(): value for name, value in form.items()}
        judge = verifier(signer.credentials, region=signer.region)
        assert judge.verify_post(lowered, signer.now) == signer.credentials.access_key_id

    @pytest.mark.parametrize(
        "rewrite",
        [
            lambda url: url.replace("%20", "+", 1),
            lambda url: url.replace("%2F", "/").replace("%3D", "="),
            lambda url: url.replace("a%20b", "a%20%62"),
            reordered,
            lambda url: f"{url}&&".replace("?", "?&"),
            lambda url: url.replace("X-Amz-Date", "X%2DAmz%2dDat%65"),
        ],
        ids=["plus", "unescaped", "over-escaped", "reordered", "with empty parameters", "with escaped names"],
    )
    def test_a_url_that_a_client_library_writes_differently(self, rewrite: Callable[[str], str]) -> None:
        url = presigned(ResponseContentDisposition="attachment; filename=a b")
        rewritten = rewrite(url)
        assert rewritten != url
        allowed = verifier().verify_presigned(received("GET", rewritten), NOW)
        assert allowed.query == {"response-content-disposition": "attachment; filename=a b"}

    def test_header_values_are_compared_with_blanks_folded(self) -> None:
        url = SIGNER.presign_url(Request("PUT", ORIGIN, "/b/k", headers={"Content-Type": "text/csv; a=b"}), 60)
        verifier().verify_presigned(received("PUT", url, {"Content-Type": "  text/csv;   a=b "}), NOW)

    @pytest.mark.parametrize("name", ["!#$%&'*+.^_`|~0-9a-z", "z!#$%&'*+.^_`|~0-9a-z"])
    def test_headers_may_have_any_name_of_http(self, name: str) -> None:
        url = SIGNER.presign_url(Request("PUT", ORIGIN, "/b/k", headers={name: "value"}), 60)
        assert verifier().verify_presigned(received("PUT", url, {name: "value"}), NOW).signed_headers == {"host", name}

    def test_a_header_that_comes_twice_is_a_list(self) -> None:
        url = SIGNER.presign_url(Request("PUT", ORIGIN, "/b/k", headers={"x-amz-meta-a": "1,2"}), 60)
        request = received("PUT", url)
        twice = [*request.headers, (b"x-amz-meta-a", b"1"), (b"X-Amz-Meta-A", b"2")]
        verifier().verify_presigned(evolve(request, headers=twice), NOW)

    @pytest.mark.parametrize("signed", ["header", "query"])
    def test_a_payload_may_be_said_to_be_unsigned(self, signed: str) -> None:
        headers = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"} if signed == "header" else {}
        query = [("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")] if signed == "query" else []
        url = SIGNER.presign_url(Request("PUT", ORIGIN, "/b/k", query, headers), 60)
        verifier().verify_presigned(received("PUT", url, headers), NOW)


class TestTampering:
    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            (received("PUT", presigned()), "SignatureDoesNotMatch"),
            (received("HEAD", presigned()), "SignatureDoesNotMatch"),
            (received("gét", presigned()), "SignatureDoesNotMatch"),
            (received("\ud800", presigned()), "SignatureDoesNotMatch"),
            (received("GET", presigned().replace("/k.csv", "/l.csv")), "SignatureDoesNotMatch"),
            (received("GET", presigned().replace("/k.csv", "/K.csv")), "SignatureDoesNotMatch"),
            (received("GET", presigned().replace("/a/k.csv", "//a/k.csv")), "SignatureDoesNotMatch"),
            (received("GET", presigned().replace("/a/k.csv", "/a/%ff")), "InvalidURI"),
            (received("GET", presigned() + "&x=%ff"), "InvalidURI"),
            (received("GET", presigned().replace(HOST, "other.example.com")), "SignatureDoesNotMatch"),
            (received("GET", presigned() + "&response-content-type=text/html"), "SignatureDoesNotMatch"),
            (received("GET", presigned() + "&acl"), "SignatureDoesNotMatch"),
        ],
    )
    def test_of_the_request(self, request_: ReceivedRequest, code: str) -> None:
        assert refusal(lambda: verifier().verify_presigned(request_, NOW)).s3_code == code

    @pytest.mark.parametrize(
        ("name", "value", "code"),
        [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA512", "AuthorizationQueryParametersError"),
            ("X-Amz-Algorithm", "aws4-hmac-sha256", "AuthorizationQueryParametersError"),
            ("X-Amz-Credential", "AKIDOTHER/20260228/us-east-1/s3/aws4_request", "InvalidAccessKeyId"),
            (
                "X-Amz-Credential",
                f"{EXAMPLE.access_key_id}/20260227/us-east-1/s3/aws4_request",
                "AuthorizationQueryParametersError",
            ),
            (
                "X-Amz-Credential",
                f"{EXAMPLE.access_key_id}/20260228/us-west-1/s3/aws4_request",
                "AuthorizationQueryParametersError",
            ),
            (
                "X-Amz-Credential",
                f"{EXAMPLE.access_key_id}/20260228/us-east-1/iam/aws4_request",
                "AuthorizationQueryParametersError",
            ),
            (
                "X-Amz-Credential",
                f"{EXAMPLE.access_key_id}/20260228/us-east-1/s3/aws5_request",
                "AuthorizationQueryParametersError",
            ),
            ("X-Amz-Credential", EXAMPLE.access_key_id, "AuthorizationQueryParametersError"),
            ("X-Amz-Date", "20260228T235957Z", "SignatureDoesNotMatch"),
            ("X-Amz-Date", "2026-02-28T23:59:58Z", "AuthorizationQueryParametersError"),
            ("X-Amz-Date", "20260228T23595Z", "AuthorizationQueryParametersError"),
            ("X-Amz-Date", "20260228T235960Z", "AuthorizationQueryParametersError"),
            ("X-Amz-Date", "20260230T235958Z", "AuthorizationQueryParametersError"),
            ("X-Amz-Date", "2026022\N{ARABIC-INDIC DIGIT EIGHT}T235958Z", "AuthorizationQueryParametersError"),
            ("X-Amz-Expires", "601", "SignatureDoesNotMatch"),
            ("X-Amz-Expires", "0600", "SignatureDoesNotMatch"),
            ("X-Amz-Expires", "0", "AuthorizationQueryParametersError"),
            ("X-Amz-Expires", "-1", "AuthorizationQueryParametersError"),
            ("X-Amz-Expires", "604801", "AuthorizationQueryParametersError"),
            ("X-Amz-Expires", "9" * 5000, "AuthorizationQueryParametersError"),
            ("X-Amz-Expires", "6e2", "AuthorizationQueryParametersError"),
            ("X-Amz-Expires", "٦٠٠", "AuthorizationQueryParametersError"),
            ("X-Amz-SignedHeaders", "accept", "AccessDenied"),
            ("X-Amz-SignedHeaders", "content-type;host", "SignatureDoesNotMatch"),
            ("X-Amz-SignedHeaders", "Host", "AuthorizationQueryParametersError"),
            ("X-Amz-SignedHeaders", "accept;hosT", "AuthorizationQueryParametersError"),
            ("X-Amz-SignedHeaders", "host;accept", "AuthorizationQueryParametersError"),
            ("X-Amz-SignedHeaders", "host;host", "AuthorizationQueryParametersError"),
            ("X-Amz-SignedHeaders", "host;", "AuthorizationQueryParametersError"),
            ("X-Amz-Signature", "0" * 64, "SignatureDoesNotMatch"),
            ("X-Amz-Signature", "é", "SignatureDoesNotMatch"),
        ],
    )
    def test_of_a_parameter(self, name: str, value: str, code: str) -> None:
        url = with_parameter(presigned(), name, value)
        request = received("GET", url, {"accept": "*/*"})
        assert refusal(lambda: verifier().verify_presigned(request, NOW)).s3_code == code

    @pytest.mark.parametrize(
        "name",
        [
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        ],
    )
    def test_each_parameter_is_needed_and_comes_once(self, name: str) -> None:
        url = presigned()
        repeated = f"{url}&{name}={dict(parse_qsl(urlsplit(url).query))[name]}"
        for changed in (with_parameter(url, name, None), with_parameter(url, name, ""), repeated):
            caught = refusal(partial(verifier().verify_presigned, received("GET", changed), NOW))
            assert caught.s3_code == "AuthorizationQueryParametersError"

    @pytest.mark.parametrize("again", ["versionId=2", "VERSIONID=2", "versionId=1"])
    def test_a_query_parameter_comes_once(self, again: str) -> None:
        url = f"{presigned(VersionId='1')}&{again}"
        caught = refusal(lambda: verifier().verify_presigned(received("GET", url), NOW))
        assert caught.s3_code == "AuthorizationQueryParametersError"

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({"Content-Type": "text/html", "x-amz-acl": "private"}, "SignatureDoesNotMatch"),
            ({"Content-Type": "text/csv\u00a0", "x-amz-acl": "private"}, "SignatureDoesNotMatch"),
            ({"Content-Type": "text/csv", "x-amz-acl": "public-read"}, "SignatureDoesNotMatch"),
            ({"Content-Type": "text/csv"}, "SignatureDoesNotMatch"),
            ({"x-amz-acl": "private"}, "SignatureDoesNotMatch"),
            ({"Content-Type": "text/csv", "x-amz-acl": "private", "x-amz-meta-a": "b"}, "AccessDenied"),
            ({"Content-Type": "text/csv", "x-amz-acl": "private", "X-AMZ-Tagging": "b"}, "AccessDenied"),
            ({"Content-Type": "text/csv", "x-amz-acl": "private", "Authorization": "Basic eA=="}, "InvalidArgument"),
            ({"Content-Type": "text/csv", "x-amz-acl": "private", "content-type": "text/csv"}, "SignatureDoesNotMatch"),
        ],
    )
    def test_of_a_header(self, headers: dict[str, str], code: str) -> None:
        with boto(SIGNER) as client:
            params = {"Bucket": BUCKET, "Key": "k", "ContentType": "text/csv", "ACL": "private"}
            url = client.generate_presigned_url("put_object", params)
        verifier().verify_presigned(received("PUT", url, {"Content-Type": "text/csv", "x-amz-acl": "private"}), NOW)
        assert refusal(lambda: verifier().verify_presigned(received("PUT", url, headers), NOW)).s3_code == code

    def test_a_header_that_is_not_utf_8(self) -> None:
        url = SIGNER.presign_url(Request("PUT", ORIGIN, "/b/k", headers={"Content-Type": "é"}), 60)
        verifier().verify_presigned(received("PUT", url, {"Content-Type": "é"}), NOW)
        request = evolve(received("PUT", url), headers=[(b"host", HOST.encode()), (b"content-type", b"\xe9")])
        assert refusal(lambda: verifier().verify_presigned(request, NOW)).s3_code == "SignatureDoesNotMatch"

    @pytest.mark.parametrize("signed", ["header", "query"])
    def test_a_payload_hash_is_not_silently_ignored(self, signed: str) -> None:
        headers = {"x-amz-content-sha256": "0" * 64} if signed == "header" else {}
        query = [("X-Amz-Content-Sha256", "0" * 64)] if signed == "query" else []
        url = SIGNER.presign_url(Request("PUT", ORIGIN, "/b/k", query, headers), 60)
        caught = refusal(lambda: verifier().verify_presigned(received("PUT", url, headers), NOW))
        assert caught.s3_code == "InvalidArgument"

    @given(st.data())
    def test_of_any_one_byte_of_path_or_query(self, data: st.DataObject) -> None:
        request = received("GET", presigned(VersionId="1"))
        of_path = data.draw(st.booleans())
        raw = request.raw_path if of_path else request.raw_query
        at, byte = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(1, 255))
        changed = raw[:at] + bytes([byte]) + raw[at + 1 :]
        assume(meaning(changed) != meaning(raw))
        tampered = evolve(request, raw_path=changed) if of_path else evolve(request, raw_query=changed)
        refusal(lambda: verifier().verify_presigned(tampered, NOW))


def meaning(raw: bytes) -> list[str]:
    """Tell raw paths or queries apart that are more than two spellings of one."""
    return sorted(unquote(part, "latin-1") for part in raw.replace(b"+", b" ").decode("latin-1").split("&") if part)


class TestTime:
    @pytest.mark.parametrize(
        ("now", "code"),
        [
            (NOW - timedelta(minutes=15), None),
            (NOW - timedelta(minutes=15, seconds=1), "AccessDenied"),
            (NOW + timedelta(seconds=600), None),
            (NOW + timedelta(seconds=600, microseconds=1), "AccessDenied"),
            (NOW + timedelta(days=400), "AccessDenied"),
        ],
    )
    def test_a_url_counts_from_its_date_until_it_expires(self, now: datetime, code: str | None) -> None:
        request = received("GET", presigned())
        if code is None:
            verifier().verify_presigned(request, now)
        else:
            assert refusal(lambda: verifier().verify_presigned(request, now)).s3_code == code

    def test_the_last_day_of_the_calendar(self) -> None:
        signer = Signer(EXAMPLE, "us-east-1", datetime(9999, 12, 30, tzinfo=UTC))
        last = with_parameter(signer.presign_url(Request("GET", ORIGIN, "/b/k"), 60), "X-Amz-Expires", "604800")
        assert refusal(lambda: verifier().verify_presigned(received("GET", last), NOW)).s3_code == "AccessDenied"

    @pytest.mark.parametrize(
        ("now", "code"),
        [
            (NOW - timedelta(minutes=15), None),
            (NOW - timedelta(minutes=16), "AccessDenied"),
            (NOW + timedelta(days=7), None),
            (NOW + timedelta(days=7, seconds=1), "AccessDenied"),
        ],
    )
    def test_a_form_counts_for_seven_days_at_most(self, now: datetime, code: str | None) -> None:
        form = SIGNER.post_template(BUCKET, 10_000_000).sign("k", 1)
        if code is None:
            verifier().verify_post(form, now)
        else:
            assert refusal(lambda: verifier().verify_post(form, now)).s3_code == code


def test_no_signature_is_shown() -> None:
    request = received("GET", presigned(ResponseContentType="a/type-that-was-signed"), {"Cookie": "a-cookie"})
    allowed = verifier().verify_presigned(request, NOW)
    shown = repr((request, allowed))
    assert request.raw_path.decode() in shown
    for secret in (dict(parse_qsl(request.raw_query.decode()))["X-Amz-Signature"], "a-cookie", "type-that-was-signed"):
        assert secret not in shown


class TestCredentials:
    def test_the_secret_decides(self) -> None:
        other = evolve(EXAMPLE, secret_access_key="another")
        request = received("GET", presigned())
        assert refusal(lambda: verifier(other).verify_presigned(request, NOW)).s3_code == "SignatureDoesNotMatch"

    @pytest.mark.parametrize(("signs", "known"), [(TOKEN, EXAMPLE), (EXAMPLE, TOKEN)])
    def test_the_session_token_must_be_the_known_one(self, signs: Credentials, known: Credentials) -> None:
        signer = Signer(signs, "us-east-1", NOW)
        request = received("GET", signer.presign_url(Request("GET", ORIGIN, "/b/k"), 60))
        form = signer.post_template(BUCKET, 60).sign("k", 1)
        verifier(signs).verify_presigned(request, NOW)
        verifier(signs).verify_post(form, NOW)
        assert refusal(lambda: verifier(known).verify_presigned(request, NOW)).s3_code == "InvalidToken"
        assert refusal(lambda: verifier(known).verify_post(form, NOW)).s3_code == "InvalidToken"

    def test_expired_credentials_count_no_more(self) -> None:
        expired = evolve(EXAMPLE, expires_at=NOW)
        request = received("GET", presigned())
        verifier(expired).verify_presigned(request, NOW)
        later = NOW + timedelta(seconds=1)
        assert refusal(lambda: verifier(expired).verify_presigned(request, later)).s3_code == "ExpiredToken"


class TestForm:
    @pytest.mark.parametrize(
        ("name", "value", "code"),
        [
            ("x-amz-algorithm", "AWS4-HMAC-SHA1", "InvalidArgument"),
            ("x-amz-algorithm", None, "InvalidArgument"),
            ("x-amz-credential", None, "InvalidArgument"),
            ("x-amz-credential", "AKIDOTHER/20260228/us-east-1/s3/aws4_request", "InvalidAccessKeyId"),
            ("x-amz-credential", f"{EXAMPLE.access_key_id}/20260227/us-east-1/s3/aws4_request", "InvalidArgument"),
            ("x-amz-credential", f"{EXAMPLE.access_key_id}/20260228/us-west-1/s3/aws4_request", "InvalidArgument"),
            ("x-amz-credential", f"{EXAMPLE.access_key_id}/20260228/us-east-1/iam/aws4_request", "InvalidArgument"),
            ("x-amz-date", "20260228", "InvalidArgument"),
            ("x-amz-date", None, "InvalidArgument"),
            ("policy", "e30=", "SignatureDoesNotMatch"),
            ("policy", "é\ud800", "SignatureDoesNotMatch"),
            ("policy", None, "SignatureDoesNotMatch"),
            ("x-amz-signature", "0" * 64, "SignatureDoesNotMatch"),
            ("x-amz-signature", "é\ud800", "SignatureDoesNotMatch"),
            ("x-amz-signature", None, "SignatureDoesNotMatch"),
            ("x-amz-security-token", "token", "InvalidToken"),
            ("x-amz-security-token", "\ud800", "InvalidToken"),
        ],
    )
    def test_each_change_of_a_field_is_refused(self, name: str, value: str | None, code: str) -> None:
        form = {**SIGNER.post_template(BUCKET, 600).sign("k", 1), name: value}
        kept = {name: value for name, value in form.items() if value is not None}
        assert refusal(lambda: verifier().verify_post(kept, NOW)).s3_code == code

    def test_another_region_refuses(self) -> None:
        form = SIGNER.post_template(BUCKET, 600).sign("k", 1)
        caught = refusal(lambda: verifier(region="eu-west-1").verify_post(form, NOW))
        assert caught.s3_code == "InvalidArgument"
        assert "expecting 'eu-west-1'" in caught.message


raw_headers = st.lists(st.tuples(st.binary(max_size=12) | st.just(b"host"), st.binary(max_size=12)), max_size=4)


class TestWhateverComes:
    @given(st.text(), st.binary(), st.binary(), raw_headers)
    def test_nothing_but_a_refusal_comes_of_garbage(
        self, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        refusal(lambda: verifier().verify_presigned(ReceivedRequest(method, path, query, headers), NOW))

    @given(
        st.text(),
        st.binary(),
        st.dictionaries(
            st.sampled_from(["Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token"]),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        raw_headers,
    )
    def test_nothing_but_a_refusal_comes_of_a_url_that_is_nearly_right(
        self, method: str, path: bytes, parameters: dict[str, str], headers: list[tuple[bytes, bytes]]
    ) -> None:
        query = dict(parse_qsl(urlsplit(presigned()).query)) | {f"X-Amz-{n}": v for n, v in parameters.items()}
        request = ReceivedRequest(method, path, urlencode(query).encode(), [(b"host", HOST.encode()), *headers])
        refusal(lambda: verifier().verify_presigned(request, NOW))

    @given(st.dictionaries(st.sampled_from(sorted(SIGNER.post_template(BUCKET, 60).sign("k", 1))), st.text()))
    def test_nothing_but_a_refusal_comes_of_a_form(self, changes: dict[str, str]) -> None:
        form = SIGNER.post_template(BUCKET, 60).sign("k", 1)
        assume(changes.keys() - {"key"})
        refusal(lambda: verifier().verify_post(form | changes, NOW))
