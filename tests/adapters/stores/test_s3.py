"""What is asked of a bucket: whether it is there, and whether it takes ACLs; by MiniStack, and by stores that fail."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from attrs import evolve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.stores import asking, s3
from adapters.stores.addresses import BucketAddress
from adapters.stores.connections import MAX_ANSWER_BYTES
from adapters.stores.contract import make_upload
from adapters.stores.flavours import FLAVOURS
from adapters.stores.s3 import S3Bucket
from adapters.stores.signing import PUBLIC_ACL, S3Signing
from adapters.stores.sigv4 import Credentials
from domain.errors import ErrorCode, Unavailable
from domain.uploads import Access, PostForm, UploadMethod, UploadTerms
from tests.live import serving
from tests.stores.processes import free_port
from tests.stores.servers import RunningStore
from tests.stores.trouble import Trouble, troubled_store

CREDENTIALS = Credentials("AKIDEXAMPLE", "a-secret-of-the-store")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def bucket_at(origin: str, name: str = "datasets", credentials: Credentials = CREDENTIALS) -> S3Bucket:
    """Make a bucket whose acl is left open, as `STORAGE_ACL=auto` does."""
    return S3Bucket(BucketAddress(origin, name), "us-east-1", lambda: credentials, auto_acl=True)


@asynccontextmanager
async def started(bucket: S3Bucket) -> AsyncIterator[S3Bucket]:
    await bucket.start()
    try:
        yield bucket
    finally:
        await bucket.stop()


def acl_of(bucket: S3Bucket) -> str | None:
    """Start, and give the acl that public uploads are signed with."""

    async def scenario() -> str | None:
        async with started(bucket):
            return bucket.public_acl()

    return asyncio.run(scenario())


def check(bucket: S3Bucket) -> None:
    async def scenario() -> None:
        async with started(evolve(bucket, auto_acl=False)) as asked:
            await asked.check()

    asyncio.run(scenario())


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """Serve one answer to whatever may be asked."""

    async def answer(_request: Request) -> Response:
        return Response(body, status, media_type="application/xml")

    with serving(lambda _: Starlette(routes=[Route("/{path:path}", answer)])) as origin:
        yield origin


def xml_error(code: str) -> str:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'


class TestMiniStack:
    @pytest.fixture
    def bucket(self, ministack: RunningStore) -> S3Bucket:
        """A new bucket."""
        name = f"bucket-{uuid4().hex}"
        ministack.client().create_bucket(Bucket=name)
        credentials = Credentials(ministack.access_key_id, ministack.secret_access_key)
        return bucket_at(ministack.endpoint_url, name, credentials)

    @pytest.mark.parametrize(
        ("ownership", "acl"),
        [("BucketOwnerEnforced", None), ("BucketOwnerPreferred", PUBLIC_ACL), ("ObjectWriter", PUBLIC_ACL)],
    )
    def test_the_ownership_controls_decide(
        self, ministack: RunningStore, bucket: S3Bucket, ownership: str, acl: str | None
    ) -> None:
        ministack.client().put_bucket_ownership_controls(
            Bucket=bucket.address.bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]}
        )
        assert acl_of(bucket) == acl

    def test_without_any_the_acl_is_that_of_the_original(self, ministack: RunningStore, bucket: S3Bucket) -> None:
        ministack.client().delete_bucket_ownership_controls(Bucket=bucket.address.bucket)
        assert acl_of(bucket) == PUBLIC_ACL

    def test_a_bucket_that_answers_is_ready(self, bucket: S3Bucket) -> None:
        check(bucket)

    def test_a_bucket_that_is_not_there_is_not_ready(self, ministack: RunningStore) -> None:
        credentials = Credentials(ministack.access_key_id, ministack.secret_access_key)
        with pytest.raises(Unavailable, match="404"):
            check(bucket_at(ministack.endpoint_url, "nobody-made-this", credentials))

    def test_a_wrong_secret_is_not_ready(self, ministack: RunningStore, bucket: S3Bucket) -> None:
        wrong = Credentials(ministack.access_key_id, "not-the-secret")
        with pytest.raises(Unavailable) as refused:
            check(bucket_at(ministack.endpoint_url, bucket.address.bucket, wrong))
        assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
        assert "secret" not in refused.value.message


class TestAnswersThatSettleIt:
    """A store that answers, whatever it says, is not asked again."""

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (404, xml_error("OwnershipControlsNotFoundError")),
            (403, xml_error("AccessDenied")),
            (405, xml_error("MethodNotAllowed")),
            (501, xml_error("NotImplemented")),
            (403, ""),
            (200, ""),
            (200, "<ListBucketResult><Name>datasets</Name><KeyCount>0</KeyCount></ListBucketResult>"),
            (200, "<OwnershipControls><Rule></Rule></OwnershipControls>"),
        ],
    )
    def test_leave_the_acl_of_the_original(self, status: int, body: str) -> None:
        with answering(status, body) as origin:
            bucket = bucket_at(origin)
            assert acl_of(bucket) == PUBLIC_ACL
            assert bucket._asking.task is None

    def test_a_bucket_that_owns_all_its_objects_takes_none(self) -> None:
        rules = "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"
        with answering(200, f"<OwnershipControls>{rules}</OwnershipControls>") as origin:
            assert acl_of(bucket_at(origin)) is None

    def test_not_being_allowed_to_ask_is_worth_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        with answering(403, xml_error("AccessDenied")) as origin:
            acl_of(bucket_at(origin))
        (record,) = [record for record in caplog.records if record.name == s3.__name__]
        assert record.levelno == logging.WARNING
        assert "STORAGE_ACL" in record.getMessage()


class TestFailures:
    @pytest.mark.parametrize(("status", "body"), [(500, xml_error("InternalError")), (503, ""), (203, "<html>a page")])
    def test_a_store_that_fails_is_asked_again_until_it_answers(
        self, monkeypatch: pytest.MonkeyPatch, status: int, body: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(asking, "RETRY_SECONDS", 0.01)

        async def scenario(failing: str, working: str) -> None:
            bucket = bucket_at(failing)
            async with started(bucket):
                assert bucket.public_acl() == PUBLIC_ACL
                bucket._s3.address = BucketAddress(working, "datasets")
                assert bucket._asking.task is not None
                await asyncio.wait_for(bucket._asking.task, 10)
                assert bucket.public_acl() is None

        rules = "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"
        with answering(status, body) as failing, answering(200, f"<X>{rules}</X>") as working:
            asyncio.run(scenario(failing, working))
        assert "can't ask the bucket" in caplog.text

    def test_a_store_that_is_down_stops_neither_start_nor_signing(self) -> None:
        bucket = bucket_at(f"http://127.0.0.1:{free_port()}")
        signing = S3Signing(
            bucket.address, bucket.region, FLAVOURS["aws"], bucket.credentials, public_acl=bucket.public_acl
        )

        async def scenario() -> PostForm:
            async with started(bucket):
                terms = UploadTerms(UploadMethod.POST, timedelta(minutes=1))
                (signed,) = signing.sign_uploads([make_upload(access=Access.PUBLIC)], terms, NOW)
                assert isinstance(signed.request, PostForm)
                return signed.request

        start = time.monotonic()
        assert asyncio.run(scenario()).fields["acl"] == PUBLIC_ACL
        assert time.monotonic() - start < 30
        with pytest.raises(Unavailable, match="ClientConnectorError"):
            check(bucket)

    def test_a_store_that_never_answers_is_not_waited_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("_HEAD", "_OWNERSHIP"):
            monkeypatch.setattr(s3, name, evolve(getattr(s3, name), seconds=0.1))
        with socket.create_server(("127.0.0.1", 0)) as silent:
            bucket = bucket_at(f"http://127.0.0.1:{silent.getsockname()[1]}")
            assert acl_of(bucket) == PUBLIC_ACL
            with pytest.raises(Unavailable, match="took too long"):
                check(bucket)

    @pytest.mark.parametrize(("behind", "said"), [(-20, "clock"), (20, "clock"), (14, "s3:ListBucket")])
    def test_a_refusal_by_a_clock_that_differs_is_told_apart(self, behind: int, said: str) -> None:
        date = format_datetime(datetime.now(UTC) - timedelta(minutes=behind), usegmt=True)
        refusal = f"HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n"
        with answering(403, "") as origin, troubled_store(origin) as relay:
            relay.choose = lambda _method, _target: Trouble.saying(refusal.encode())
            with pytest.raises(Unavailable, match=said):
                check(bucket_at(relay.origin))

    def test_an_endless_answer_is_none(self) -> None:
        with answering(200, " " * (MAX_ANSWER_BYTES + 1)) as origin:
            assert acl_of(bucket_at(origin)) == PUBLIC_ACL

    def test_without_credentials_the_service_starts_all_the_same(self) -> None:
        def none_yet() -> Credentials:
            raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "none yet")

        bucket = S3Bucket(BucketAddress("http://127.0.0.1:9", "datasets"), "us-east-1", none_yet, auto_acl=True)
        assert acl_of(bucket) == PUBLIC_ACL
        with pytest.raises(Unavailable, match="none yet"):
            check(bucket)


class TestChosenAcls:
    @pytest.mark.parametrize("acl", [None, "private", "bucket-owner-full-control"])
    def test_an_acl_that_was_chosen_is_not_asked_for(self, acl: str | None) -> None:
        bucket = S3Bucket(BucketAddress("http://127.0.0.1:9", "datasets"), "us-east-1", lambda: CREDENTIALS, acl=acl)
        assert acl_of(bucket) == acl


def test_stopping_is_safe_at_any_time() -> None:
    async def scenario() -> None:
        bucket = bucket_at(f"http://127.0.0.1:{free_port()}")
        await bucket.stop()
        await bucket.start()
        await bucket.stop()
        await bucket.stop()

    asyncio.run(scenario())


def test_no_representation_shows_a_secret() -> None:
    assert CREDENTIALS.secret_access_key not in repr(bucket_at("http://127.0.0.1:9"))
