"""Parts of uploads at the store's endpoint ("UploadPart"); signatures come from boto3."""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import pytest

from adapters.stores.sigv4 import Credentials, Request, Signer
from application.ports import IncomingPart, PartsChanged, StorageFailed, StorageFull
from domain.files import Md5, Sha256
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import MultipartUpload
from tests.adapters.stores.test_served_parts import arrived, begin, make_upload
from tests.entrypoints.http.live_store import (
    ACCESS_KEY,
    BUCKET,
    MAX_BYTES,
    REGION,
    SECRET_KEY,
    Answer,
    LiveStore,
    boto_client,
    live_store,
)
from tests.entrypoints.http.test_store_connections import connected, has_begun, head
from tests.live import wait_until
from tests.stores.processes import reset_when_closed

CONTENT = b"0123456789abcdef" * 4096
OTHER_CONTENT = CONTENT[::-1]
GIB = 1024**3


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def begun(store: LiveStore, key: str = "parts/data.csv") -> MultipartUpload:
    """Begin an upload, as the service does: in the store's own process."""
    return asyncio.run(begin(store.objects, make_upload(key=ObjectKey(key))))


def there(store: LiveStore, upload: MultipartUpload) -> Mapping[int, ArrivedPart]:
    return asyncio.run(arrived(store.objects, upload)) or {}


def url_of(store: LiveStore, upload: MultipartUpload, number: int = 1, /, **params: object) -> str:
    return store.presign("upload_part", upload.upload.key, UploadId=upload.upload_id, PartNumber=number, **params)


def url_by_hand(
    store: LiveStore, upload: MultipartUpload, headers: Mapping[str, str] | None = None, **query: str
) -> str:
    """Sign what boto3 wouldn't."""
    signer = Signer(Credentials(ACCESS_KEY, SECRET_KEY), REGION, store.clock())
    path = f"/store/{BUCKET}/{upload.upload.key}"
    return signer.presign_url(Request("PUT", store.origin, path, list(query.items()), headers or {}), 60)


def result(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


@pytest.mark.parametrize("key", ["parts/a.csv", "parts/a b+c%20é☃#?&=.csv"])
@pytest.mark.parametrize("number", [1, 10_000])
@pytest.mark.parametrize("content", [CONTENT, b""], ids=["some bytes", "none"])
def test_a_part_arrives(store: LiveStore, key: str, number: int, content: bytes) -> None:
    upload = begun(store, key)
    answer = store.send("PUT", url_of(store, upload, number), content, Content_Type="text/html")
    assert (answer.status, answer.body) == (200, b"")
    digest = hashlib.md5(content)
    assert answer.headers["ETag"] == f'"{digest.hexdigest()}"'
    arrived = ArrivedPart(number, len(content), digest.hexdigest(), Md5.of(digest.digest()))
    assert there(store, upload) == {number: arrived}
    assert store.send("GET", store.presign("get_object", key)).status == 404


def test_a_part_may_be_longer_than_a_file_of_one_request(store: LiveStore) -> None:
    upload, content = begun(store), b"x" * (MAX_BYTES + 1)
    assert store.send("PUT", url_of(store, upload), content).status == 200
    assert there(store, upload)[1].length == len(content)


def test_a_part_sent_again_takes_the_place_of_the_first(store: LiveStore) -> None:
    upload = begun(store)
    url = url_of(store, upload)
    for content in (CONTENT, OTHER_CONTENT):
        assert store.send("PUT", url, content).status == 200
        assert [part.tag for part in there(store, upload).values()] == [hashlib.md5(content).hexdigest()]


def test_a_part_is_bound_to_what_was_signed(store: LiveStore) -> None:
    upload, other = begun(store), begun(store)
    url = url_of(store, upload, ContentLength=len(CONTENT))
    for changed in (
        url.replace("partNumber=1", "partNumber=2"),
        url.replace(upload.upload_id, other.upload_id),
        url.replace("data.csv", "other.csv"),
        url.replace("partNumber=1&", ""),
        url.replace(f"uploadId={upload.upload_id}&", ""),
    ):
        assert changed != url
        assert result(store.send("PUT", changed, CONTENT)) == (403, "SignatureDoesNotMatch")
    assert result(store.send("PUT", url, CONTENT + b"!")) == (403, "SignatureDoesNotMatch")
    assert result(store.send("GET", url)) == (400, "NotImplemented")
    store.clock.ahead = timedelta(hours=1, seconds=2)
    assert result(store.send("PUT", url, CONTENT)) == (403, "AccessDenied")
    assert (there(store, upload), there(store, other)) == ({}, {})
    store.clock.ahead = timedelta(0)
    assert store.send("PUT", url, CONTENT).status == 200


def test_a_url_for_a_whole_object_is_none_for_a_part(store: LiveStore) -> None:
    upload = begun(store)
    url = store.presign("put_object", upload.upload.key)
    answer = store.send("PUT", f"{url}&partNumber=1&uploadId={upload.upload_id}", CONTENT)
    assert result(answer) == (403, "SignatureDoesNotMatch")
    assert there(store, upload) == {}


def test_only_our_own_keys_sign(store: LiveStore) -> None:
    upload = begun(store)
    client = boto_client(store.origin, secret_key="another")
    params = {"Bucket": BUCKET, "Key": upload.upload.key, "UploadId": upload.upload_id, "PartNumber": 1}
    url = client.generate_presigned_url("upload_part", params)
    client.close()
    assert result(store.send("PUT", url, CONTENT)) == (403, "SignatureDoesNotMatch")
    unsigned = f"{store.url_of(upload.upload.key)}?partNumber=1&uploadId={upload.upload_id}"
    assert result(store.send("PUT", unsigned, CONTENT)) == (403, "AccessDenied")
    assert there(store, upload) == {}


@pytest.mark.parametrize("number", ["0", "10001", "-1", "+1", "1.0", "a", "", "\u0661", "9" * 5000])
def test_numbers_that_no_part_has_are_refused(store: LiveStore, number: str) -> None:
    upload = begun(store)
    url = url_by_hand(store, upload, partNumber=number, uploadId=upload.upload_id)
    assert result(store.send("PUT", url, CONTENT)) == (400, "InvalidArgument")
    assert there(store, upload) == {}


def test_number_and_upload_must_both_be_given(store: LiveStore) -> None:
    upload = begun(store)
    for url in (
        url_by_hand(store, upload, partNumber="1"),
        url_by_hand(store, upload, uploadId=upload.upload_id),
    ):
        answer = store.send("PUT", url, CONTENT)
        assert result(answer) == (400, "InvalidArgument")
    assert store.send("GET", store.presign("get_object", upload.upload.key)).status == 404


@pytest.mark.parametrize("upload_id", ["0", "f" * 32, "../../objects", "", "é", "a b", "x" * 2000])
def test_an_upload_that_is_none_is_not_found(store: LiveStore, upload_id: str) -> None:
    url = url_by_hand(store, begun(store), partNumber="1", uploadId=upload_id)
    assert result(store.send("PUT", url, CONTENT)) == (404, "NoSuchUpload")


def test_an_upload_of_another_key_is_not_found(store: LiveStore) -> None:
    upload = begun(store)
    url = store.presign("upload_part", "parts/another.csv", UploadId=upload.upload_id, PartNumber=1)
    assert result(store.send("PUT", url, CONTENT)) == (404, "NoSuchUpload")
    assert there(store, upload) == {}


def test_an_upload_that_was_aborted_is_not_found(store: LiveStore) -> None:
    upload = begun(store)
    url = url_of(store, upload)
    assert store.send("PUT", url, CONTENT).status == 200
    asyncio.run(store.objects.abort(upload.upload.key, upload.upload_id, store.clock()))
    # More than fits in between: the answer is read nevertheless.
    assert result(store.send("PUT", url, b"x" * (16 * MAX_BYTES))) == (404, "NoSuchUpload")


@pytest.mark.parametrize("key", ["a//b", "a/", "x" * 1025])
def test_keys_that_are_none_are_refused(store: LiveStore, key: str) -> None:
    url = store.presign("upload_part", key, UploadId="f" * 32, PartNumber=1)
    assert store.send("PUT", url, CONTENT).status == 400


@pytest.mark.parametrize(
    ("param", "header", "digest"),
    [("ContentMD5", "Content-MD5", md5), ("ChecksumSHA256", "x-amz-checksum-sha256", sha256)],
)
def test_a_part_with_another_digest_than_signed_does_not_count(
    store: LiveStore, param: str, header: str, digest: Callable[[bytes], str]
) -> None:
    upload = begun(store)
    url = url_of(store, upload, 1, **{param: digest(CONTENT)})
    sent = {header: digest(CONTENT)}
    assert store.send("PUT", url, CONTENT, **sent).status == 200
    before = there(store, upload), store.contents()
    assert result(store.send("PUT", url, OTHER_CONTENT, **sent)) == (400, "BadDigest")
    assert result(store.send("PUT", url, OTHER_CONTENT, **{header: digest(OTHER_CONTENT)})) == (
        403,
        "SignatureDoesNotMatch",
    )
    assert (there(store, upload), store.contents()) == before
    assert result(store.send("PUT", url_of(store, upload), CONTENT, Content_MD5="?")) == (400, "InvalidDigest")


@pytest.mark.parametrize(
    ("headers", "signed", "expected"),
    [
        ({"x-amz-copy-source": "/datasets/k"}, True, (400, "NotImplemented")),
        ({"x-amz-server-side-encryption": "AES256"}, True, (400, "NotImplemented")),
        ({"x-amz-acl": "authenticated-read"}, True, (400, "NotImplemented")),
        ({"x-amz-acl": "public-read"}, False, (403, "AccessDenied")),
        ({"x-amz-meta-note": "mine"}, False, (403, "AccessDenied")),
        ({"if-none-match": "*"}, False, (400, "NotImplemented")),
        ({"if-match": '"0"'}, False, (400, "NotImplemented")),
        ({"content-encoding": "aws-chunked"}, False, (400, "NotImplemented")),
    ],
)
def test_what_can_not_be_honoured_is_refused(
    store: LiveStore, headers: dict[str, str], signed: bool, expected: tuple[int, str]
) -> None:
    upload = begun(store)
    url = url_by_hand(store, upload, headers if signed else {}, partNumber="1", uploadId=upload.upload_id)
    assert result(store.send("PUT", url, CONTENT, **headers)) == expected
    assert there(store, upload) == {}


def test_a_part_says_nothing_of_the_object(store: LiveStore) -> None:
    upload = begun(store, f"parts/says-{store.kind}")
    headers = {"x-amz-acl": "public-read", "x-amz-meta-note": "mine"}
    url = url_by_hand(store, upload, headers, partNumber="1", uploadId=upload.upload_id)
    assert store.send("PUT", url, CONTENT, Content_Type="text/html", **headers).status == 200
    declared = make_upload(CONTENT, upload.upload.key)
    complete = MultipartUpload(declared, upload.upload_id, upload.plan)
    asyncio.run(store.objects.complete(complete, list(there(store, upload).values()), store.clock()))
    assert store.send("GET", store.url_of(declared.key)).status == 403
    answer = store.send("GET", store.presign("get_object", declared.key))
    assert (answer.body, answer.headers["Content-Type"]) == (CONTENT, "text/csv")
    assert "x-amz-meta-note" not in answer.headers


def part_head(store: LiveStore, upload: MultipartUpload, *headers: str) -> bytes:
    target = url_of(store, upload).removeprefix(store.origin)
    return head("PUT", target, *headers)


@pytest.mark.parametrize(
    ("framing", "expected"),
    [
        ("Transfer-Encoding: chunked", b"<Code>MissingContentLength</Code>"),
        (f"Content-Length: {5 * GIB + 1}", b"<Code>EntityTooLarge</Code>"),
    ],
    ids=["no length", "over the limit of S3"],
)
def test_a_part_must_say_a_length_that_parts_may_have(store: LiveStore, framing: str, expected: bytes) -> None:
    upload = begun(store)
    with connected(store) as connection:
        connection.sendall(part_head(store, upload, framing))
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 4")
    assert expected in answer


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_goes_away_leaves_the_part_that_was_there(store: LiveStore, reset: bool) -> None:
    upload = begun(store)
    assert store.send("PUT", url_of(store, upload), CONTENT).status == 200
    before = store.contents()
    with connected(store) as connection:
        connection.sendall(part_head(store, upload, f"Content-Length: {MAX_BYTES}") + OTHER_CONTENT)
        wait_until(lambda: has_begun(store, before))
        if reset:
            reset_when_closed(connection)
    wait_until(lambda: store.contents() == before)
    assert [part.tag for part in there(store, upload).values()] == [hashlib.md5(CONTENT).hexdigest()]


@pytest.fixture(scope="module", params=["disk", "memory"])
def impatient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStore]:
    """A store that gives up a silent client at once."""
    with live_store(request.param, tmp_path_factory.mktemp("impatient"), idle_seconds=0.2) as store:
        yield store


def test_a_silent_client_is_given_up(impatient: LiveStore) -> None:
    upload = begun(impatient)
    before = impatient.contents()
    with connected(impatient) as connection:
        connection.sendall(part_head(impatient, upload, f"Content-Length: {len(CONTENT)}") + CONTENT[:-1])
        answer = connection.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"<Code>RequestTimeout</Code>" in answer
    wait_until(lambda: impatient.contents() == before)
    assert there(impatient, upload) == {}


class FailingPart(IncomingPart):
    """A part that fails at one step, and tells whether it was given up in order."""

    def __init__(self, step: str, error: Exception) -> None:
        self._step = step
        self._error = error
        self._received = 0
        self.discarded = False

    def reach(self, step: str) -> None:
        if step == self._step:
            raise self._error

    @property
    def received(self) -> int:
        return self._received

    async def write(self, chunk: bytes) -> None:
        self._received += len(chunk)
        self.reach("write")

    async def digests(self) -> tuple[Md5, Sha256]:
        return Md5(md5(b"")), Sha256(sha256(b""))

    async def commit(self) -> ArrivedPart:
        self.reach("commit")
        raise NotImplementedError

    async def discard(self) -> None:
        self.discarded = True


SECRET = "/var/lib/secret/place"


@pytest.mark.parametrize(
    ("step", "error", "expected"),
    [
        *(
            (step, error, expected)
            for step in ("receive", "write", "commit")
            for error, expected in (
                (StorageFull(SECRET), (507, "InsufficientStorage")),
                (StorageFailed(SECRET), (503, "ServiceUnavailable")),
                (ZeroDivisionError(SECRET), (500, "InternalError")),
            )
        ),
        ("commit", PartsChanged(SECRET), (404, "NoSuchUpload")),
    ],
)
def test_a_part_says_what_kind_of_fault_and_no_more(
    store: LiveStore, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception, expected: tuple[int, str]
) -> None:
    part = FailingPart(step, error)

    async def receive_part(key: ObjectKey, upload_id: UploadId, number: int) -> IncomingPart:
        assert (key, upload_id, number) == ("k", "an-id", 7)
        part.reach("receive")
        return part

    monkeypatch.setattr(store.objects, "receive_part", receive_part)
    answer = store.send("PUT", store.presign("upload_part", "k", UploadId="an-id", PartNumber=7), CONTENT)
    assert result(answer) == expected
    assert SECRET.encode() not in answer.body
    assert part.discarded == (step != "receive")
