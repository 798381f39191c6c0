"""`bitstore explain`: the cause of a refused upload, from what somebody pasted; and nothing secret said again."""

import base64
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores.contract import CONTENT, make_upload, sign
from adapters.stores.contract_cheats import Request
from domain.errors import ErrorCode
from domain.uploads import Access, PostForm, PutRequest, UploadMethod
from entrypoints.cli.explain.answers import Answer, parse
from entrypoints.cli.explain.causes import Topic
from entrypoints.cli.explain.diagnosis import diagnose
from entrypoints.cli.main import main
from entrypoints.http.s3_errors import STATUS_BY_S3_CODE
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.entrypoints.every_store import OF_THE_SERVICE, azure_variables, s3_variables
from tests.entrypoints.http.live_service import LiveService, batch, declaration, live_service
from tests.stores.azure_server import RunningAzurite
from tests.stores.servers import RunningStore


def s3_error(code: str, message: str = "", **members: str) -> str:
    """The body that S3 documents ("Error responses", REST error responses)."""
    more = "".join(f"<{name}>{text}</{name}>" for name, text in members.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
    )


def curl_i(status: int, body: str, **headers: str) -> str:
    """What `curl -i` prints."""
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n{body}"


# What was answered, its topic, and a word that must be in the cause or in what to do.
TABLE: Mapping[str, tuple[str, Topic, str]] = {
    "wrong secret": (s3_error("SignatureDoesNotMatch"), Topic.CREDENTIALS, "STORAGE_SECRET_ACCESS_KEY"),
    "wrong key id": (s3_error("InvalidAccessKeyId"), Topic.CREDENTIALS, "STORAGE_ACCESS_KEY_ID"),
    "session token": (s3_error("ExpiredToken"), Topic.CREDENTIALS, "refreshed"),
    "clock": (s3_error("RequestTimeTooSkewed"), Topic.CLOCK, "clock"),
    "not yet": (s3_error("AccessDenied", "Request is not yet valid"), Topic.CLOCK, "clock"),
    "expired": (s3_error("AccessDenied", "Request has expired"), Topic.EXPIRED, "UPLOAD_EXPIRES_SECONDS"),
    "policy expired": (
        s3_error("AccessDenied", "Invalid according to Policy: Policy expired."),
        Topic.EXPIRED,
        "UPLOAD_EXPIRES_SECONDS",
    ),
    "unsigned header": (
        s3_error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned="x-amz-acl",
        ),
        Topic.HEADERS,
        "upload_headers",
    ),
    "policy condition": (
        s3_error(
            "AccessDenied", 'Invalid according to Policy: Policy Condition failed: ["eq", "$Content-Type", "text/csv"]'
        ),
        Topic.POLICY,
        "upload_query",
    ),
    "extra field": (
        s3_error("AccessDenied", "Invalid according to Policy: Extra input fields: x-amz-meta-a"),
        Topic.POLICY,
        "no others",
    ),
    "unknown condition (SeaweedFS)": (
        s3_error(
            "AccessDenied",
            "Invalid according to Policy: Policy Condition failed: [eq, $content-md5, 4UaZ]: unknown condition key",
        ),
        Topic.POLICY,
        "STORAGE_FLAVOUR",
    ),
    "policy (Ceph)": (
        s3_error("AccessDenied", "Policy check failed, variable not met condition: Content-Type"),
        Topic.POLICY,
        "upload_query",
    ),
    "no permission": (s3_error("AccessDenied", "Access Denied"), Topic.PERMISSION, "s3:PutObject"),
    "acl": (
        s3_error("AccessControlListNotSupported", "The bucket does not allow ACLs"),
        Topic.ACL,
        "STORAGE_ACL=none",
    ),
    "bytes": (s3_error("BadDigest", CalculatedDigest="x", ExpectedDigest="y"), Topic.DIGEST, "digest"),
    "hex": (s3_error("InvalidDigest"), Topic.DIGEST, "base64"),
    "longer": (s3_error("EntityTooLarge", ProposedSize="11", MaxSizeAllowed="10"), Topic.LENGTH, "longer"),
    "shorter": (s3_error("EntityTooSmall"), Topic.LENGTH, "shorter"),
    "no length": (s3_error("MissingContentLength"), Topic.LENGTH, "Content-Length"),
    "cut off": (s3_error("IncompleteBody"), Topic.LENGTH, "Content-Length"),
    "region": (
        s3_error(
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'",
            Region="eu-west-1",
        ),
        Topic.REGION,
        "STORAGE_REGION",
    ),
    "redirect": (curl_i(301, s3_error("PermanentRedirect"), x_amz_bucket_region="eu-west-1"), Topic.REGION, "REGION"),
    "redirected HEAD": (curl_i(301, "", x_amz_bucket_region="eu-west-1"), Topic.REGION, "STORAGE_REGION"),
    "no bucket": (s3_error("NoSuchBucket"), Topic.BUCKET, "STORAGE_BUCKET_NAME"),
    "no key": (s3_error("NoSuchKey"), Topic.MISSING, "/verify"),
    "there already": (s3_error("PreconditionFailed"), Topic.OVERWRITE, "overwrite"),
    "preflight": (
        s3_error("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket."),
        Topic.CORS,
        "doctor --origin",
    ),
    "busy": (s3_error("SlowDown"), Topic.OVERLOAD, "after a while"),
    "form": (s3_error("MalformedPOSTRequest"), Topic.REQUEST, "multipart/form-data"),
    "azure: bytes": (
        curl_i(400, s3_error("Md5Mismatch"), x_ms_error_code="Md5Mismatch"),
        Topic.DIGEST,
        "declare the file",
    ),
    "azure: late": (
        s3_error(
            "AuthenticationFailed",
            "Server failed to authenticate the request.",
            AuthenticationErrorDetail="Signature not valid in the specified time frame: Start [..] - Expiry [..]",
        ),
        Topic.EXPIRED,
        "new one",
    ),
    "azure: wrong key": (
        curl_i(403, s3_error("AuthenticationFailed", "Server failed to authenticate the request."), x_ms_version="1"),
        Topic.CREDENTIALS,
        "STORAGE_SECRET_ACCESS_KEY",
    ),
    "azure: firewall": (
        curl_i(
            403,
            s3_error("AuthorizationFailure", "This request is not authorized to perform this operation."),
            x_ms_error_code="AuthorizationFailure",
        ),
        Topic.PERMISSION,
        "firewall",
    ),
    "azure: HEAD": (curl_i(404, "", x_ms_error_code="ContainerNotFound"), Topic.BUCKET, "STORAGE_BUCKET_NAME"),
    "azure: preflight": (s3_error("CorsPreflightFailure"), Topic.CORS, "doctor --origin"),
    "azure: there already": (s3_error("BlobAlreadyExists"), Topic.OVERWRITE, "overwrite"),
    "azure: no type of blob": (s3_error("MissingRequiredHeader"), Topic.HEADERS, "x-ms-blob-type"),
    "gcs: acl": (
        curl_i(
            400,
            s3_error(
                "InvalidArgument", "Cannot use ACL API to update bucket policy when uniform bucket-level access is on"
            ),
            x_guploader_uploadid="A",
        ),
        Topic.ACL,
        "STORAGE_ACL=none",
    ),
    "gcs: wrong key": (
        curl_i(403, s3_error("SignatureDoesNotMatch"), x_guploader_uploadid="A"),
        Topic.CREDENTIALS,
        "STORAGE_GCS_CREDENTIALS",
    ),
    "gcs: json": (
        json.dumps(
            {"error": {"code": 403, "message": "a@b does not have access", "errors": [{"reason": "forbidden"}]}}
        ),
        Topic.PERMISSION,
        "storage.objects.create",
    ),
    "bitstore: token": (
        '{"error": {"code": "token_invalid", "message": "its signature doesn\'t match", "details": []}}',
        Topic.TOKEN,
        "DATAHUB_PUBLIC_KEY",
    ),
    "bitstore: not ready": ('{"status":"not ready","problems":["the bucket"]}', Topic.SERVICE, "bitstore doctor"),
    "a browser: status 0": ("status 0", Topic.CORS, "doctor --origin"),
    "a browser: nothing": ("", Topic.CORS, "doctor --origin"),
    "a browser: words": ("TypeError: Failed to fetch", Topic.CORS, "doctor --origin"),
    "a browser: blocked": (
        "Access to fetch at 'https://s3.example' has been blocked by CORS policy: No 'Access-Control-Allow-Origin'",
        Topic.CORS,
        "doctor --origin",
    ),
    "a browser: mixed": ("Mixed Content: the page was loaded over HTTPS", Topic.HOST, "https"),
    "curl: name": ("curl: (6) Could not resolve host: s3.exampel.com", Topic.HOST, "STORAGE_PUBLIC_URL"),
    "curl: nobody": ("curl: (7) Failed to connect to 127.0.0.1 port 1", Topic.HOST, "listens"),
    "curl: certificate": ("curl: (60) SSL certificate problem: self-signed certificate", Topic.HOST, "trust"),
    "curl: tls": ("curl: (35) error:0A00010B:SSL routines::wrong version number", Topic.HOST, "http://"),
    "curl: reset": ("curl: (56) Recv failure: Connection reset by peer", Topic.PROXY, "limit"),
    "go: http to https": (
        "HTTP/1.0 400 Bad Request\n\nClient sent an HTTP request to an HTTPS server.",
        Topic.HOST,
        "https",
    ),
    "nginx: too large": (curl_i(413, "<html>nginx</html>", Server="nginx"), Topic.PROXY, "client_max_body_size"),
    "a page": (curl_i(403, "<!DOCTYPE html>\n<html><body>Forbidden</body></html>"), Topic.PROXY, "web page"),
    "a bad gateway": (curl_i(502, ""), Topic.PROXY, "proxy"),
    "refused without a word": ("403", Topic.PERMISSION, "bitstore doctor"),
    "length required": ("HTTP 411 Length Required", Topic.LENGTH, "Content-Length"),
    "success": (curl_i(204, ""), Topic.SUCCESS, "/verify"),
}


@pytest.mark.parametrize("name", TABLE)
def test_says_the_cause_and_what_to_do(name: str) -> None:
    pasted, topic, word = TABLE[name]
    diagnosis = diagnose(parse(pasted))
    assert (diagnosis.topic, diagnosis.known) == (topic, True)
    assert word in f"{diagnosis.cause} {diagnosis.remedy}"
    assert diagnosis.source


@pytest.mark.parametrize("code", [*STATUS_BY_S3_CODE, *ErrorCode])
def test_all_that_we_answer_ourselves_is_known(code: str) -> None:
    body = (
        json.dumps({"error": {"code": code, "message": "", "details": []}})
        if code in set(ErrorCode)
        else s3_error(code)
    )
    assert diagnose(parse(body)).known


@given(code=st.from_regex(r"[A-Z][A-Za-z]{5,20}Zz", fullmatch=True), status=st.integers(400, 599))
def test_an_unknown_code_gets_an_answer_that_helps(code: str, status: int) -> None:
    diagnosis = diagnose(parse(curl_i(status, s3_error(code))))
    assert not diagnosis.known
    assert "bitstore doctor" in diagnosis.remedy
    assert diagnosis.cause


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_whatever_is_pasted_there_is_an_answer(pasted: str) -> None:
    answer = parse(pasted)
    assert diagnose(answer).cause
    assert all(name and "\n" not in text for name, text in answer.facts())


# What is pasted


BODY = s3_error("RequestTimeTooSkewed", "too large", ServerTime="2026-01-01T00:20:00Z", Key="a.csv")


VERBOSE = f"""\
> PUT /a?X-Amz-Signature=00 HTTP/1.1
> Host: x
>
* upload completely sent off
< HTTP/1.1 403 Forbidden
< Server: AmazonS3
<
{{ [243 bytes data]
{BODY}
* Closing connection
"""


@pytest.mark.parametrize(
    "pasted",
    [
        curl_i(403, BODY, Server="AmazonS3"),
        curl_i(403, BODY, Server="AmazonS3").replace("\r\n", "\n"),
        "\ufeff" + curl_i(403, BODY, Server="AmazonS3"),
        "HTTP/1.1 100 Continue\r\n\r\n" + curl_i(403, BODY, server="AmazonS3"),
        "HTTP/1.1 200 Connection established\r\n\r\n" + curl_i(403, BODY, server="AmazonS3"),
        "HTTP/2 403 \r\nserver: AmazonS3\r\n\r\n" + BODY,
        VERBOSE,
        f"status: 403\nServer: AmazonS3\n\n{BODY}",
        f"403 Forbidden\nServer: AmazonS3\n{BODY}",
        f"the server responded with a status of 403 (Forbidden)\nServer: AmazonS3\n{BODY}",
    ],
    ids=["curl", "unix", "bom", "continue", "proxy", "http2", "verbose", "words", "line", "sentence"],
)
def test_is_read_however_it_is_pasted(pasted: str) -> None:
    answer = parse(pasted)
    assert (answer.status, answer.code, answer.headers.get("server")) == (403, "RequestTimeTooSkewed", "AmazonS3")
    assert {"ServerTime": "2026-01-01T00:20:00Z", "Key": "a.csv", "Message": "too large"}.items() <= dict(
        answer.facts()
    ).items()


def test_an_error_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    answer = parse(s3_error("BadDigest", "no").partition("</Message>")[0])
    assert answer.code == "BadDigest"


def test_every_bad_file_of_a_batch_is_told_and_no_endless_list() -> None:
    details = [{"path": f"{number}.csv", "code": "invalid_md5", "message": "is hex"} for number in range(30)]
    answer = parse(json.dumps({"error": {"code": "invalid_batch", "message": "30 files", "details": details}}))
    files = [text for name, text in answer.facts() if name == "file"]
    assert files[0] == "0.csv: is hex"
    assert files[-1] == "… and 20 more"


# Secrets

SECRETS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=24, max_size=60)
PLACES = (
    curl_i(403, s3_error("AccessDenied", "no", StringToSign="{}", SignatureProvided="{}", AWSAccessKeyId="{}")),
    curl_i(403, s3_error("AccessDenied", "https://s3/b/k?X-Amz-Signature={}&X-Amz-Credential={}/20260101/x")),
    curl_i(403, s3_error("AccessDenied", "https://s3/b/k?X-Amz-Security-Token={}")),
    curl_i(403, s3_error("AccessDenied", "X-Goog-Signature={}", Resource="/b/k?X-Amz-Signature={}", Key="k?sig={}")),
    curl_i(403, s3_error("AccessDenied", 'Policy Condition failed: ["eq", "$x-amz-credential", "{}"]')),
    curl_i(403, s3_error("AccessDenied", 'Condition: {{"policy": "{}"}} signature={}')),
    curl_i(403, s3_error("ExpiredToken", "jwt={} has expired", **{"Token-0": "{}"})),
    curl_i(403, s3_error("AuthenticationFailed", "no", AuthenticationErrorDetail="String to sign used was r\n{}\n{}")),
    curl_i(301, s3_error("PermanentRedirect"), Location="https://s3/b/k?X-Amz-Signature={}&sig={}"),
    curl_i(401, '{{"error":{{"code":"token_invalid","message":"Auth-Token: {}","details":[]}}}}', Set_Cookie="id={}"),
    curl_i(400, '{{"error":{{"code":"invalid_batch","details":[{{"path":"a?jwt={}","message":"sig={}"}}]}}}}'),
    curl_i(403, "Authorization: AWS4-HMAC-SHA256 Credential={}, Signature={}", Authorization="Bearer {}"),
    curl_i(403, s3_error("AccessDenied", "the header Authorization: Basic {} is not acceptable")),
    "PUT https://s3/b/k?X-Amz-Signature={} failed\n403",
    curl_i(403, s3_error("{}", "?", Reason="eyJ{}.eyJ{}.{}")),
)  # fmt: skip


@given(secret=SECRETS, place=st.sampled_from(PLACES), as_json=st.booleans())
def test_no_secret_is_said_again(secret: str, place: str, as_json: bool) -> None:
    if "<Code>{}" in place:
        secret = secret.ljust(40, "A")
    pasted = place.replace("{{", "\0").replace("}}", "\1").replace("{}", secret).replace("\0", "{").replace("\1", "}")
    said = explained(pasted, *(["--json"] if as_json else []))
    assert secret not in said.replace("\n         ", "")


def explained(pasted: str, *options: str) -> str:
    """Run the command on standard input, in this process; give what it prints."""
    stdin, stdout, printed = sys.stdin, sys.stdout, io.StringIO()
    sys.stdin, sys.stdout = io.TextIOWrapper(io.BytesIO(pasted.encode("utf-8", "surrogateescape"))), printed
    try:
        assert main(["explain", *options]) == 0
    finally:
        sys.stdin, sys.stdout = stdin, stdout
    return printed.getvalue()


# The command


def test_reads_a_file_and_prints_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answer.txt"
    path.write_text(curl_i(403, BODY))
    assert main(["explain", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("403 RequestTimeTooSkewed: clock\n  what   ")
    assert "ServerTime: 2026-01-01T00:20:00Z" in said
    assert 'see    Amazon S3 API reference, "Error responses"' in said


def test_prints_json_for_programs() -> None:
    assert json.loads(explained(curl_i(403, BODY), "--json")) == {
        "status": 403,
        "code": "RequestTimeTooSkewed",
        "topic": "clock",
        "cause": diagnose(parse(BODY)).cause,
        "remedy": diagnose(parse(BODY)).remedy,
        "known": True,
        "source": 'Amazon S3 API reference, "Error responses"',
        "said": [
            {"name": "Message", "text": "too large"},
            {"name": "ServerTime", "text": "2026-01-01T00:20:00Z"},
            {"name": "Key", "text": "a.csv"},
        ],
    }


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "/nowhere.txt"]) == 2
    assert "/nowhere.txt can't be read: No such file" in capsys.readouterr().err


# What real stores answer


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        yield http


def answered(http: urllib3.PoolManager, request: Request, content: bytes = CONTENT, **changes: str) -> Answer:
    """Send a request, with fields or headers changed; read the answer as it would be pasted."""
    if isinstance(request, PostForm):
        fields = {**request.fields, **changes}
        answer = http.request("POST", request.url, fields=[*fields.items(), ("file", ("x", content, "text/csv"))])
    else:
        headers = {**request.headers, "Content-Length": str(len(content)), **changes}
        answer = http.request("PUT", request.url, body=content, headers=headers)
    return parse(curl_i(answer.status, answer.data.decode(), **dict(answer.headers)))


STORES = ["seaweedfs", "ministack", pytest.param("ceph", marks=pytest.mark.debian)]


class TestS3:
    @pytest.fixture(params=STORES)
    def variables(self, request: pytest.FixtureRequest) -> Mapping[str, str]:
        running: RunningStore = request.getfixturevalue(request.param)
        return {**OF_THE_SERVICE, **s3_variables(running), "STORAGE_ACL": "none"}

    def request(
        self,
        variables: Mapping[str, str],
        method: UploadMethod,
        *,
        now: datetime | None = None,
        changes: Mapping[str, str] | None = None,
    ) -> Request:
        signer = wire(Settings.from_environment({**variables, **(changes or {})})).store.signer
        return sign(signer, make_upload(), method, now=now).request

    @pytest.mark.parametrize(
        ("changes", "topic"),
        [
            ({"STORAGE_SECRET_ACCESS_KEY": "wrong"}, Topic.CREDENTIALS),
            ({"STORAGE_ACCESS_KEY_ID": "nobody"}, Topic.CREDENTIALS),
        ],
    )
    def test_wrong_credentials(
        self, variables: Mapping[str, str], http: urllib3.PoolManager, changes: dict[str, str], topic: Topic
    ) -> None:
        request = self.request(variables, UploadMethod.PUT, changes=changes)
        assert diagnose(answered(http, request)).topic is topic

    def test_other_bytes_and_lengths(self, variables: Mapping[str, str], http: urllib3.PoolManager) -> None:
        put, form = (self.request(variables, method) for method in (UploadMethod.PUT, UploadMethod.POST))
        assert diagnose(answered(http, put, CONTENT.swapcase())).topic is Topic.DIGEST
        assert diagnose(answered(http, form, CONTENT + b"!")).topic is Topic.LENGTH
        assert diagnose(answered(http, form, CONTENT, **{"Content-Type": "text/html"})).topic is Topic.POLICY

    def test_too_late(self, variables: Mapping[str, str], http: urllib3.PoolManager) -> None:
        form = self.request(variables, UploadMethod.POST, now=datetime.now(UTC) - timedelta(hours=1))
        assert diagnose(answered(http, form)).topic is Topic.EXPIRED


def test_an_acl_that_the_bucket_does_not_take(ministack: RunningStore, http: urllib3.PoolManager) -> None:
    variables = {**OF_THE_SERVICE, **s3_variables(ministack), "STORAGE_ACL": "public-read"}
    signer = wire(Settings.from_environment(variables)).store.signer
    public = evolve(make_upload(), access=Access.PUBLIC)
    for method in UploadMethod:
        assert diagnose(answered(http, sign(signer, public, method).request)).topic is Topic.ACL


def test_another_region(ministack: RunningStore, http: urllib3.PoolManager) -> None:
    variables = {**OF_THE_SERVICE, **s3_variables(ministack), "STORAGE_REGION": "eu-west-9", "STORAGE_ACL": "none"}
    signer = wire(Settings.from_environment(variables)).store.signer
    answer = answered(http, sign(signer, make_upload(), UploadMethod.PUT).request)
    assert diagnose(answer).topic is Topic.REGION
    assert ("x-amz-bucket-region", "us-east-1") in answer.facts()


def test_azure(azurite: RunningAzurite, http: urllib3.PoolManager) -> None:
    def put(**changes: str) -> PutRequest:
        variables = {**OF_THE_SERVICE, **azure_variables(azurite), **changes}
        request = sign(wire(Settings.from_environment(variables)).store.signer, make_upload(), UploadMethod.PUT).request
        assert isinstance(request, PutRequest)
        return request

    wrong_key = base64.b64encode(bytes(32)).decode()
    for request, content, topic in (
        (put(STORAGE_SECRET_ACCESS_KEY=wrong_key), CONTENT, Topic.CREDENTIALS),
        (put(STORAGE_BUCKET_NAME="nobody"), CONTENT, Topic.BUCKET),
        (put(), CONTENT.swapcase(), Topic.DIGEST),
    ):
        assert diagnose(answered(http, request, content)).topic is topic


def test_the_service_and_its_store() -> None:
    with live_service() as service:
        assert topic_of(service, "/rawstore/info") is Topic.TOKEN
        assert topic_of(service, "/nowhere") is Topic.REQUEST
        refused = service.authorize(batch({"a.csv": declaration(length=-1)}))
        assert diagnose(parse(refused.body.decode())).topic is Topic.REQUEST
        form = service.sign(batch())["a.csv"]
        answer = service.http.request(
            "POST", form["upload_url"], fields=[*form["upload_query"].items(), ("file", b"!")]
        )
        assert diagnose(parse(curl_i(answer.status, answer.data.decode()))).topic is Topic.LENGTH


def topic_of(service: LiveService, path: str) -> Topic:
    answer = service.send("GET", path)
    pasted = curl_i(answer.status, answer.body.decode(), **dict(answer.headers))
    assert not re.search(r"Traceback", pasted)
    return diagnose(parse(pasted)).topic
