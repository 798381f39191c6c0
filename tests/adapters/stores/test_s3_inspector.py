"""Looking into S3 buckets: what it costs, counted in requests, and what comes of a store that misbehaves."""

import asyncio
import hashlib
import io
import socketserver
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from attrs import evolve
from boto3.s3.transfer import TransferConfig
from yarl import URL

from adapters.stores.addresses import BucketAddress
from adapters.stores.batch_inspector import CONCURRENCY, LISTING_PAYS
from adapters.stores.contract import CONTENT, OTHER_CONTENT, declare, make_folder, make_upload
from adapters.stores.flavours import FLAVOURS
from adapters.stores.s3_inspector import S3Inspector
from adapters.stores.signing import S3Signing
from adapters.stores.sigv4 import Credentials
from application.ports import Inspection
from domain.errors import ErrorCode, Unavailable
from domain.inspection import FoundObject, Status, compare
from domain.uploads import PutRequest, Upload, UploadMethod, UploadTerms
from tests.live import wait_until
from tests.stores.processes import free_port
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy, with_headers
from tests.stores.servers import RunningStore

PATIENCE = timedelta(seconds=30)
FOLDER_SIZE = 1_000
FOLDERS = 5

Instead = Callable[[Asked], Awaitable[Reply | None]]


def inspector_of(store: RunningStore, origin: str | None = None) -> S3Inspector:
    credentials = Credentials(store.access_key_id, store.secret_access_key)
    return S3Inspector(BucketAddress(origin or store.endpoint_url, store.bucket), store.region, lambda: credentials)


def look(inspector: S3Inspector, *batches: Sequence[Upload], patience: timedelta = PATIENCE) -> list[Inspection]:
    """Inspect several batches at once."""

    async def inspect() -> list[Inspection]:
        await inspector.start()
        try:
            now = datetime.now(UTC)
            return await asyncio.gather(*(inspector.inspect(batch, now, patience) for batch in batches))
        finally:
            await inspector.stop()

    return asyncio.run(inspect())


def look_prepared(inspector: S3Inspector, uploads: Sequence[Upload], folder: str) -> Inspection:
    """Inspect a batch after its folder was asked for ahead."""

    async def inspect() -> Inspection:
        await inspector.start()
        try:
            now = datetime.now(UTC)
            prepared = inspector.prepare(folder, len(uploads), now)
            assert prepared is not None
            inspection = await inspector.inspect(uploads, now, PATIENCE, prepared)
            prepared.drop()
            return inspection
        finally:
            await inspector.stop()

    return asyncio.run(inspect())


def statuses(uploads: Sequence[Upload], inspection: Inspection) -> list[Status]:
    """Compare what was found; everything must have been told about."""
    assert inspection.failure is None
    return [compare(upload.file, inspection.found[upload.key]) for upload in uploads]


def make_uploads(count: int, folder: str | None = None, content: bytes = CONTENT) -> list[Upload]:
    folder = folder or make_folder()
    return [make_upload(f"file-{number:04}.csv", content, folder=folder) for number in range(count)]


def put(store: RunningStore, uploads: Sequence[Upload], content: bytes = CONTENT) -> None:
    """Store the same bytes at all keys, quickly."""
    signing = S3Signing(
        address=BucketAddress(store.endpoint_url, store.bucket),
        region=store.region,
        flavour=FLAVOURS["generic"],
        credentials=lambda: Credentials(store.access_key_id, store.secret_access_key),
        public_acl=lambda: None,
    )
    described = [evolve(upload, file=declare(upload.file.path, content)) for upload in uploads]
    signed = signing.sign_uploads(described, UploadTerms(UploadMethod.PUT, timedelta(hours=1)), datetime.now(UTC))
    waiting = iter(signed)

    async def put_next(http: aiohttp.ClientSession) -> None:
        for one in waiting:
            request = one.request
            assert isinstance(request, PutRequest)
            url = URL(request.url, encoded=True)
            async with http.put(url, headers=request.headers, data=content) as answer:
                assert answer.status == 200

    async def put_all() -> None:
        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(put_next(http) for _ in range(16)))

    asyncio.run(put_all())


@pytest.fixture(scope="module")
def running_proxy(seaweedfs: RunningStore) -> Iterator[StoreProxy]:
    with store_proxy(seaweedfs.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy: StoreProxy) -> StoreProxy:
    """A proxy before SeaweedFS that passes everything on, and has counted nothing yet."""
    running_proxy.reset()
    return running_proxy


@pytest.fixture
def inspector(seaweedfs: RunningStore, proxy: StoreProxy) -> S3Inspector:
    return inspector_of(seaweedfs, proxy.origin)


@pytest.fixture(scope="module")
def stored(seaweedfs: RunningStore) -> Sequence[Upload]:
    """Five folders, in one folder, with a thousand files each; empty ones, which take half the time to store."""
    parent = make_folder()
    folders = [f"{parent}/{number}" for number in range(FOLDERS)]
    uploads = [upload for folder in folders for upload in make_uploads(FOLDER_SIZE, folder, b"")]
    put(seaweedfs, uploads, b"")
    return uploads


def answer(method: str, reply: Reply) -> Instead:
    """Answer all requests of one method, and let the store answer the others."""

    async def instead(asked: Asked) -> Reply | None:
        return reply if asked.method == method else None

    return instead


# What it costs


def test_few_files_are_asked_for_one_by_one(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    wanted = stored[:LISTING_PAYS]
    assert set(statuses(wanted, *look(inspector, wanted))) == {Status.STORED}
    assert proxy.asked == {"HEAD": LISTING_PAYS}


def test_a_thousand_files_cost_a_handful_of_requests(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    wanted = stored[:FOLDER_SIZE]
    assert set(statuses(wanted, *look(inspector, wanted))) == {Status.STORED}
    assert proxy.asked.total() <= 5


def test_what_was_asked_ahead_is_not_asked_again(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    wanted = stored[:FOLDER_SIZE]
    folder = wanted[0].key.rpartition("/")[0] + "/"
    assert set(statuses(wanted, look_prepared(inspector, wanted, folder))) == {Status.STORED}
    assert proxy.asked == {"GET": 1}


@pytest.mark.parametrize("chosen", [slice(0, 100), slice(4_900, 5_000), slice(0, 5_000, 50)])
def test_a_folder_that_was_asked_ahead_may_hold_much_more(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload], chosen: slice
) -> None:
    missing = [evolve(upload, key=type(upload.key)(f"{upload.key}.bak")) for upload in stored[chosen]]
    wanted = [*stored[chosen], *missing]
    found = look_prepared(inspector, wanted, stored[0].key.split("/")[0] + "/")
    assert statuses(wanted, found) == [Status.STORED] * 100 + [Status.MISSING] * 100
    assert proxy.asked["GET"] <= FOLDERS + 2


def test_what_was_asked_ahead_may_be_dropped_whatever_comes_of_it(
    inspector: S3Inspector, proxy: StoreProxy, caplog: pytest.LogCaptureFixture
) -> None:
    async def drop() -> None:
        await inspector.start()
        prepared = inspector.prepare("a-folder/", 1_000, datetime.now(UTC))
        assert prepared is not None
        await asyncio.to_thread(wait_until, lambda: bool(proxy.asked))
        prepared.drop()
        prepared.drop()
        await inspector.stop()

    proxy.instead = answer("GET", Reply(500))
    asyncio.run(drop())
    assert not caplog.records
    assert asyncio.run(_prepare_without_start(inspector)) is None


async def _prepare_without_start(inspector: S3Inspector) -> object:
    return inspector.prepare("a-folder/", 1_000, datetime.now(UTC))


def test_more_files_cost_more_in_proportion(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    assert set(statuses(stored, *look(inspector, stored))) == {Status.STORED}
    assert proxy.asked.total() <= FOLDERS + 5


def test_of_thousands_of_files_all_that_follows_the_first_page_is_asked_for_at_once(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    all_but_the_first = asyncio.Barrier(FOLDERS - 1)

    async def wait_for_each_other(_asked: Asked) -> Reply | None:
        if proxy.asked.total() > 1:
            await all_but_the_first.wait()
        return None

    proxy.instead = wait_for_each_other
    assert set(statuses(stored, *look(inspector, stored))) == {Status.STORED}
    assert proxy.asked == {"GET": FOLDERS}
    assert proxy.most_at_once == FOLDERS - 1


def test_files_that_are_missing_cost_nothing_more(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    missing = [evolve(upload, key=type(upload.key)(f"{upload.key}.bak")) for upload in stored[:500]]
    wanted = [*stored[:500], *missing]
    assert statuses(wanted, *look(inspector, wanted)) == [Status.STORED] * 500 + [Status.MISSING] * 500
    assert proxy.asked.total() <= 5


def test_only_what_a_listing_leaves_in_doubt_is_asked_for_itself(
    inspector: S3Inspector, proxy: StoreProxy, seaweedfs: RunningStore
) -> None:
    uploads = make_uploads(60)
    put(seaweedfs, uploads[:40])
    put(seaweedfs, uploads[30:34], OTHER_CONTENT)
    put(seaweedfs, uploads[34:38], CONTENT + b"!")
    expected = [Status.STORED] * 30 + [Status.DIFFERENT] * 8 + [Status.STORED] * 2 + [Status.MISSING] * 20
    assert statuses(uploads, *look(inspector, uploads)) == expected
    assert proxy.asked == {"GET": 1, "HEAD": 4}


def test_a_folder_with_mostly_other_things_is_not_read_to_its_end(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload], seaweedfs: RunningStore
) -> None:
    folder = stored[0].key.rsplit("/", 2)[0]
    strangers = [make_upload(f"{number}.zip", folder=folder) for number in range(20)]
    put(seaweedfs, strangers[:3])
    wanted = [*stored[:: FOLDER_SIZE // 2], *strangers]
    expected = [Status.STORED] * 13 + [Status.MISSING] * 17
    assert statuses(wanted, *look(inspector, wanted)) == expected
    assert proxy.asked["GET"] == 1
    assert proxy.asked["HEAD"] <= len(wanted)


def test_no_more_than_so_many_requests_are_under_way(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    async def slow_and_never_listing(asked: Asked) -> Reply | None:
        await asyncio.sleep(0.02)
        return Reply(403) if asked.method == "GET" else None

    proxy.instead = slow_and_never_listing
    batches = [stored[:60], stored[60:120]]
    for batch, inspection in zip(batches, look(inspector, *batches), strict=True):
        assert set(statuses(batch, inspection)) == {Status.STORED}
    assert 1 < proxy.most_at_once <= CONCURRENCY
    assert proxy.asked == {"GET": 2, "HEAD": 120}


# What a store won't tell


def test_a_bucket_that_may_not_be_listed_is_asked_key_by_key(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    proxy.instead = answer("GET", Reply(403))
    wanted = stored[: LISTING_PAYS + 1]
    assert set(statuses(wanted, *look(inspector, wanted))) == {Status.STORED}
    assert proxy.asked == {"GET": 1, "HEAD": len(wanted)}


def test_what_may_not_be_seen_is_left_out_which_is_no_failure(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    async def instead(asked: Asked) -> Reply | None:
        return Reply(403) if asked.path.endswith("3.csv") else None

    proxy.instead = instead
    wanted = stored[:10]
    (inspection,) = look(inspector, wanted)
    assert inspection.failure is None
    assert inspection.found.keys() == {upload.key for upload in wanted} - {wanted[3].key}


def test_what_a_listing_said_is_forgotten_where_it_was_in_doubt_and_may_not_be_seen(
    inspector: S3Inspector, proxy: StoreProxy, seaweedfs: RunningStore
) -> None:
    uploads = make_uploads(LISTING_PAYS + 1)
    put(seaweedfs, uploads[:2], OTHER_CONTENT)
    put(seaweedfs, uploads[2:])
    proxy.instead = answer("HEAD", Reply(403))
    (inspection,) = look(inspector, uploads)
    assert inspection.failure is None
    assert inspection.found.keys() == {upload.key for upload in uploads[2:]}


def listing(entries: str = "", *, truncated: str = "<IsTruncated>true</IsTruncated>", token: str = "") -> bytes:
    namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f"<ListBucketResult {namespace}>{entries}{truncated}{token}</ListBucketResult>".encode()


def entry(upload: Upload, *, etag: str = "") -> str:
    digest = etag or f'"{upload.file.md5.hex if upload.file.md5 else ""}"'
    return f"<Contents><Key>{upload.key}</Key><Size>{upload.file.length}</Size><ETag>{digest}</ETag></Contents>"


@pytest.mark.parametrize("truncated", ["", "<IsTruncated>true</IsTruncated>"])
def test_a_listing_that_can_not_be_gone_on_from_proves_no_absence(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload], truncated: str
) -> None:
    wanted = stored[:40]
    proxy.instead = answer("GET", Reply(200, listing("".join(map(entry, wanted[:20])), truncated=truncated)))
    assert set(statuses(wanted, *look(inspector, wanted))) == {Status.STORED}
    assert proxy.asked == {"GET": 1, "HEAD": 20}


def test_a_listing_that_goes_round_in_circles_is_left(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    wanted = stored[:40]
    again = listing("".join(map(entry, wanted[:20])), token="<NextContinuationToken>x</NextContinuationToken>")
    proxy.instead = answer("GET", Reply(200, again))
    assert set(statuses(wanted, *look(inspector, wanted))) == {Status.STORED}
    assert proxy.asked == {"GET": 2, "HEAD": 20}


# What fails

GARBAGE = {
    "nothing": Reply(200),
    "half a document": Reply(200, listing()[:-9]),
    "half an answer": Reply(200, listing(), {"Content-Length": "100000"}),
    "no XML": Reply(200, b"It works!"),
    "another document": Reply(200, b"<html><body>Log in</body></html>"),
    "an error with status 200": Reply(200, b"<Error><Code>InternalError</Code></Error>"),
    "an unknown encoding": Reply(200, b'<?xml version="1.0" encoding="martian"?><ListBucketResult/>'),
    "an encoding of several bytes": Reply(200, b'<?xml version="1.0" encoding="shift_jis"?><ListBucketResult/>'),
    "no size": Reply(200, listing("<Contents><Key>a</Key></Contents>")),
    "no number": Reply(200, listing("<Contents><Key>a</Key><Size>many</Size></Contents>")),
    "a negative size": Reply(200, listing("<Contents><Key>a</Key><Size>-1</Size></Contents>")),
    "an endless size": Reply(200, listing(f"<Contents><Key>a</Key><Size>{'9' * 5_000}</Size></Contents>")),
}
STATUSES = {str(status): Reply(status) for status in (204, 206, 301, 307, 400, 401, 404, 429, 500, 501, 502, 503)}


def assert_failed(inspection: Inspection) -> None:
    assert isinstance(inspection.failure, Unavailable)
    assert inspection.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert inspection.found == {}


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in {**GARBAGE, **STATUSES}.items()])
def test_a_listing_that_is_none_is_a_failure(inspector: S3Inspector, proxy: StoreProxy, reply: Reply) -> None:
    proxy.instead = answer("GET", reply)
    assert_failed(*look(inspector, make_uploads(LISTING_PAYS + 1)))
    assert proxy.asked == {"GET": 1}


@pytest.mark.parametrize("status", sorted(STATUSES.keys() - {"404"}))
def test_a_head_that_is_not_answered_as_it_should_be_is_a_failure(
    inspector: S3Inspector, proxy: StoreProxy, status: str
) -> None:
    proxy.instead = answer("HEAD", evolve(STATUSES[status], headers={"Content-Length": "22"}))
    assert_failed(*look(inspector, make_uploads(2)))


def test_an_object_without_a_length_is_a_failure(inspector: S3Inspector, proxy: StoreProxy) -> None:
    proxy.instead = answer("HEAD", Reply(200, headers={"Transfer-Encoding": "chunked", "ETag": '"x"'}))
    assert_failed(*look(inspector, make_uploads(1)))


def test_redirects_are_not_followed(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload], seaweedfs: RunningStore
) -> None:
    with store_proxy(seaweedfs.endpoint_url) as elsewhere:

        async def redirect(asked: Asked) -> Reply:
            return Reply(307, headers={"Location": f"{elsewhere.origin}{asked.path}?{asked.query}"})

        proxy.instead = redirect
        for wanted in (stored[:1], stored[:40]):
            assert_failed(*look(inspector, wanted))
        assert elsewhere.asked == {}


@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_a_store_that_is_not_there_is_a_failure(seaweedfs: RunningStore, count: int) -> None:
    assert_failed(*look(inspector_of(seaweedfs, f"http://127.0.0.1:{free_port()}"), make_uploads(count)))


@contextmanager
def hanging_up() -> Iterator[str]:
    """Serve nothing: every connection is taken, and closed when the request has begun to come."""

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_store_that_hangs_up_is_a_failure(seaweedfs: RunningStore) -> None:
    with hanging_up() as origin:
        for count in (1, LISTING_PAYS + 1):
            assert_failed(*look(inspector_of(seaweedfs, origin), make_uploads(count)))


def test_what_was_learnt_before_a_failure_is_given(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    async def fail_in_the_middle(_asked: Asked) -> Reply | None:
        return Reply(503) if proxy.asked.total() > 1 else None

    proxy.instead = fail_in_the_middle
    (inspection,) = look(inspector, stored)
    assert inspection.failure is not None
    assert len(inspection.found) == FOLDER_SIZE
    told = [upload for upload in stored if upload.key in inspection.found]
    assert set(statuses(told, evolve(inspection, failure=None))) == {Status.STORED}


def test_what_a_listing_leaves_in_doubt_is_not_given_if_there_was_no_time_to_ask(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload]
) -> None:
    wanted = stored[: FOLDER_SIZE + 20]
    doubtful = [entry(wanted[0], etag='"5146991e1c07585745c5a65f06a517e9"'), entry(wanted[1], etag='"x-2"')]
    page = listing(
        "".join([*doubtful, *map(entry, wanted[2:40])]), token="<NextContinuationToken>x</NextContinuationToken>"
    )

    async def fail_in_the_middle(asked: Asked) -> Reply:
        return Reply(503) if "continuation-token" in asked.query else Reply(200, page)

    proxy.instead = fail_in_the_middle
    (inspection,) = look(inspector, wanted)
    assert inspection.failure is not None
    assert inspection.found.keys() == {upload.key for upload in wanted[2:40]}


@pytest.mark.parametrize("count", [10, FOLDERS * FOLDER_SIZE])
def test_a_slow_store_is_not_waited_for(
    inspector: S3Inspector, proxy: StoreProxy, stored: Sequence[Upload], count: int
) -> None:
    async def stall(asked: Asked) -> Reply | None:
        if asked.path.endswith("file-0003.csv") or (asked.method == "GET" and proxy.asked.total() > 1):
            await asked.stall()
        return None

    proxy.instead = stall
    wanted = stored[:count]
    began = time.monotonic()
    (inspection,) = look(inspector, wanted, patience=timedelta(seconds=1))
    assert time.monotonic() - began < 11
    assert inspection.failure is not None
    assert inspection.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert len(inspection.found) == min(count - 1, FOLDER_SIZE)


def test_one_that_was_not_started_or_was_stopped_fails_like_any_other(seaweedfs: RunningStore) -> None:
    inspector, uploads = inspector_of(seaweedfs), make_uploads(1)
    for _ in range(2):
        assert_failed(asyncio.run(inspector.inspect(uploads, datetime.now(UTC), PATIENCE)))
        (inspection,) = look(inspector, uploads)
        assert statuses(uploads, inspection) == [Status.MISSING]


def test_without_valid_credentials_nothing_is_asked(proxy: StoreProxy, seaweedfs: RunningStore) -> None:
    def none_found() -> Credentials:
        raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "none")

    expired = Credentials("id", "secret", "token", datetime.now(UTC) - timedelta(seconds=1))
    for credentials in (none_found, lambda: expired):
        inspector = evolve(inspector_of(seaweedfs, proxy.origin), credentials=credentials)
        for count in (1, LISTING_PAYS + 1):
            (inspection,) = look(inspector, make_uploads(count))
            assert inspection.found == {}
            assert inspection.failure is not None
            assert inspection.failure.code is ErrorCode.CREDENTIALS_UNAVAILABLE
    assert proxy.asked == {}


def test_wrong_credentials_tell_nothing(seaweedfs: RunningStore, stored: Sequence[Upload]) -> None:
    inspector = inspector_of(evolve(seaweedfs, secret_access_key="guessed"))
    for wanted in (stored[:1], stored[:40]):
        (inspection,) = look(inspector, wanted)
        assert inspection.found == {}


# Which digests are believed


def alone_and_in_a_crowd(inspector: S3Inspector, upload: Upload) -> list[FoundObject | None]:
    """Look by a HEAD request, and by a listing."""
    folder = upload.key.removesuffix(f"/{upload.file.path}")
    batches = [[upload], [upload, *make_uploads(LISTING_PAYS, folder)]]
    inspections = look(inspector, *batches)
    assert [inspection.failure for inspection in inspections] == [None, None]
    return [inspection.found[upload.key] for inspection in inspections]


def test_an_object_of_several_parts_has_no_md5_but_those_of_its_parts(
    inspector: S3Inspector, seaweedfs: RunningStore
) -> None:
    content = bytes(5 * 1024**2) + CONTENT
    upload = make_upload(content=content)
    in_parts = TransferConfig(multipart_threshold=1, multipart_chunksize=5 * 1024**2)
    seaweedfs.client().upload_fileobj(io.BytesIO(content), seaweedfs.bucket, upload.key, Config=in_parts)
    composite = composite_of(content[: 5 * 1024**2], CONTENT)
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(content), composite=composite)] * 2


def composite_of(*parts: bytes) -> str:
    """As "Checking object integrity" in the Amazon S3 User Guide describes it."""
    return f"{hashlib.md5(b''.join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_server_side_encryption": "aws:kms"},
        {"x_amz_server_side_encryption": "aws:kms:dsse"},
        {"x_amz_server_side_encryption_customer_algorithm": "AES256"},
        {"etag": 'W/"5146991e1c07585745c5a65f06a517e9"'},
        {"etag": ""},
        {"etag": '"5146991e1c07585745c5a65f06a517e9-0"'},
        {"etag": '"5146991e1c07585745c5a65f06a517e9-2"', "x_amz_server_side_encryption": "aws:kms"},
    ],
    ids=str,
)
def test_an_etag_that_need_not_be_an_md5_is_not_believed(
    inspector: S3Inspector, proxy: StoreProxy, seaweedfs: RunningStore, headers: dict[str, str]
) -> None:
    """A listing doesn't tell how an object is encrypted, so it alone never says `different`."""
    upload = make_upload()
    put(seaweedfs, [upload], OTHER_CONTENT)
    proxy.amend = lambda asked, reply: with_headers(reply, **headers) if asked.method == "HEAD" else reply
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(CONTENT))] * 2


def test_an_object_that_the_store_encrypts_with_a_key_of_its_own_has_its_md5(
    inspector: S3Inspector, proxy: StoreProxy, seaweedfs: RunningStore
) -> None:
    upload = make_upload()
    put(seaweedfs, [upload])
    proxy.amend = lambda _, reply: with_headers(reply, x_amz_server_side_encryption="AES256")
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(CONTENT), upload.file.md5)] * 2


@pytest.mark.parametrize("declared", ["sha256 alone", "both"])
def test_a_stored_checksum_is_told(ministack: RunningStore, declared: str) -> None:
    upload = make_upload()
    if declared != "both":
        upload = evolve(upload, file=evolve(upload.file, md5=None))
    ministack.client().put_object(
        Bucket=ministack.bucket, Key=upload.key, Body=CONTENT, ChecksumSHA256=upload.file.sha256
    )
    alone, in_a_crowd = alone_and_in_a_crowd(inspector_of(ministack), upload)
    whole = FoundObject(len(CONTENT), declare("a.csv").md5, upload.file.sha256)
    assert alone == whole
    # Where the listing's MD5 settles it, the object isn't asked for its checksum.
    assert in_a_crowd == (evolve(whole, sha256=None) if declared == "both" else whole)


def test_a_checksum_of_parts_is_none_of_the_bytes(ministack: RunningStore) -> None:
    client, upload = ministack.client(), make_upload()
    upload = evolve(upload, file=evolve(upload.file, md5=None))
    place = {"Bucket": ministack.bucket, "Key": upload.key}
    upload_id = client.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")["UploadId"]
    part = client.upload_part(
        **place, UploadId=upload_id, PartNumber=1, Body=CONTENT, ChecksumSHA256=upload.file.sha256
    )
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": upload.file.sha256}]
    client.complete_multipart_upload(**place, UploadId=upload_id, MultipartUpload={"Parts": parts})
    assert "-1" in client.head_object(**place, ChecksumMode="ENABLED")["ChecksumSHA256"]
    found = FoundObject(len(CONTENT), composite=composite_of(CONTENT))
    assert alone_and_in_a_crowd(inspector_of(ministack), upload) == [found] * 2


def test_nothing_on_the_way_is_invited_to_compress(
    inspector: S3Inspector, proxy: StoreProxy, seaweedfs: RunningStore
) -> None:
    """A proxy that compresses takes the length of an object's bytes away, and makes the ETag a weak one."""

    def compressing(asked: Asked, reply: Reply) -> Reply:
        if "gzip" not in asked.headers.get("accept-encoding", ""):
            return reply
        return with_headers(reply, Content_Length="7", Content_Encoding="gzip")

    upload = make_upload()
    put(seaweedfs, [upload])
    proxy.amend = compressing
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(CONTENT), upload.file.md5)] * 2
