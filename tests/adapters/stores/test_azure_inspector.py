"""Looking into Azure containers: what it costs, which digests are believed, and what comes of answers that are none.

How a batch is looked for, and what comes of stores that fail, is tested with S3: `test_s3_inspector.py`.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from attrs import evolve
from azure.storage.blob import BlobBlock, BlobType, ContentSettings

from adapters.stores import batch_inspector
from adapters.stores.addresses import BucketAddress
from adapters.stores.azure import Endpoint
from adapters.stores.azure_inspector import AzureInspector
from adapters.stores.azure_sas import AccountKey, SigningKey
from adapters.stores.batch_inspector import LISTING_PAYS
from adapters.stores.contract import CONTENT, OTHER_CONTENT, make_folder, make_upload
from application.ports import Inspection
from domain.errors import ErrorCode, Unavailable
from domain.files import Md5
from domain.inspection import FoundObject, Status, compare
from domain.uploads import Upload
from tests.adapters.stores.test_azure_sas import DELEGATED
from tests.stores.azure_server import RunningAzurite
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy, with_headers

PATIENCE = timedelta(seconds=30)
MD5 = Md5.of(hashlib.md5(CONTENT).digest())
OTHER_MD5 = Md5.of(hashlib.md5(OTHER_CONTENT).digest())


@pytest.fixture(scope="module")
def running_proxy(azurite: RunningAzurite) -> Iterator[StoreProxy]:
    with store_proxy(azurite.endpoint_url.rpartition("/")[0]) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy: StoreProxy) -> StoreProxy:
    """A proxy before Azurite that passes everything on, and has counted nothing yet."""
    running_proxy.reset()
    return running_proxy


def inspector_of(store: RunningAzurite, origin: str | None = None, *, key: SigningKey | None = None) -> AzureInspector:
    endpoint = Endpoint.parse(store.endpoint_url)
    address = BucketAddress(origin or endpoint.origin, store.container, base_path=endpoint.base_path)
    return AzureInspector(address, lambda: key or AccountKey.parse(store.account, store.key))


@pytest.fixture
def inspector(azurite: RunningAzurite, proxy: StoreProxy) -> AzureInspector:
    return inspector_of(azurite, proxy.origin)


def look(inspector: AzureInspector, uploads: Sequence[Upload]) -> Inspection:
    async def inspect() -> Inspection:
        await inspector.start()
        try:
            return await inspector.inspect(uploads, datetime.now(UTC), PATIENCE)
        finally:
            await inspector.stop()

    return asyncio.run(inspect())


def alone_and_in_a_crowd(inspector: AzureInspector, upload: Upload) -> list[FoundObject | None]:
    """Look by a HEAD request, and by a listing."""
    folder = upload.key.removesuffix(f"/{upload.file.path}")
    crowd = [make_upload(f"missing-{number}.csv", folder=folder) for number in range(LISTING_PAYS)]
    inspections = [look(inspector, batch) for batch in ([upload], [upload, *crowd])]
    assert [inspection.failure for inspection in inspections] == [None, None]
    return [inspection.found[upload.key] for inspection in inspections]


def put(store: RunningAzurite, upload: Upload, content: bytes = CONTENT) -> None:
    store.client().upload_blob(upload.key, content, overwrite=True)


def with_body(reply: Reply, body: bytes) -> Reply:
    """Change the body of an answer, and its length."""
    return evolve(with_headers(reply, content_length=str(len(body))), body=body)


# What it costs


@pytest.mark.parametrize(
    ("wanted", "pages"),
    [
        (40, {2, 3}),  # what is left after the first page fits into another; a last page may be empty
        (60, {5}),  # of what is left, those that begin with 2, 3, 4 and 5 are asked for at once
    ],
)
def test_a_long_listing_is_read_to_its_end(
    azurite: RunningAzurite,
    inspector: AzureInspector,
    proxy: StoreProxy,
    monkeypatch: pytest.MonkeyPatch,
    wanted: int,
    pages: set[int],
) -> None:
    monkeypatch.setattr(batch_inspector, "PAGE_SIZE", 20)
    folder = make_folder()
    uploads = [make_upload(f"{number:02}.csv", folder=folder) for number in range(wanted)]
    for upload in uploads[:-10]:
        put(azurite, upload)
    put(azurite, uploads[0], OTHER_CONTENT)
    inspection = look(inspector, uploads)
    assert inspection.failure is None
    statuses = [compare(upload.file, inspection.found[upload.key]) for upload in uploads]
    assert statuses == [Status.DIFFERENT] + [Status.STORED] * (wanted - 11) + [Status.MISSING] * 10
    # One that the listing left in doubt is asked for itself.
    assert proxy.asked["HEAD"] == 1
    assert proxy.asked["GET"] in pages


def test_few_files_are_asked_for_one_by_one(inspector: AzureInspector, proxy: StoreProxy) -> None:
    uploads = [make_upload() for _ in range(LISTING_PAYS)]
    assert look(inspector, uploads) == Inspection({upload.key: None for upload in uploads})
    assert proxy.asked == {"HEAD": LISTING_PAYS}


# Which digests are believed


def test_the_md5_of_a_single_put_is_that_of_its_bytes(azurite: RunningAzurite, inspector: AzureInspector) -> None:
    upload = make_upload()
    put(azurite, upload)
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(CONTENT), MD5)] * 2


def test_a_block_list_without_an_md5_has_none(azurite: RunningAzurite, inspector: AzureInspector) -> None:
    upload = make_upload()
    blob = azurite.client().get_blob_client(upload.key)
    blob.stage_block("AAAA", CONTENT)
    blob.commit_block_list([BlobBlock("AAAA")])
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(CONTENT))] * 2
    assert compare(upload.file, *alone_and_in_a_crowd(inspector, upload)[:1]) is Status.UNKNOWN


def test_a_copy_has_the_md5_that_its_source_claimed_which_is_not_believed(
    azurite: RunningAzurite, inspector: AzureInspector, proxy: StoreProxy
) -> None:
    # Azurite always tells of copies in its listings; Azure does if it is asked to ("List Blobs", include).
    def amend(asked: Asked, reply: Reply) -> Reply:
        if asked.method == "HEAD" or "include=copy" in asked.query:
            return reply
        return with_body(reply, re.sub(rb"<CopyId>.*?</CopyId>", b"", reply.body))

    proxy.amend = amend
    source, upload = azurite.client().get_blob_client(f"{make_folder()}/forged"), make_upload()
    claimed = ContentSettings(content_md5=bytearray(MD5.raw))
    source.upload_blob(OTHER_CONTENT)
    source.set_http_headers(claimed)
    copy = azurite.client().get_blob_client(upload.key)
    copy.start_copy_from_url(source.url)
    assert bytes(copy.get_blob_properties().content_settings.content_md5 or b"") == MD5.raw
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(OTHER_CONTENT))] * 2


@pytest.mark.parametrize("kind", [BlobType.APPENDBLOB, BlobType.PAGEBLOB])
def test_the_md5_of_a_blob_of_another_type_is_not_believed(
    azurite: RunningAzurite, inspector: AzureInspector, kind: BlobType
) -> None:
    upload = make_upload()
    blob, content = azurite.client().get_blob_client(upload.key), CONTENT.ljust(512, b"\0")
    settings = ContentSettings(content_md5=bytearray(MD5.raw))
    if kind is BlobType.APPENDBLOB:
        blob.create_append_blob(settings)
        blob.append_block(content)
    else:
        blob.create_page_blob(len(content), settings)
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(content))] * 2


@pytest.mark.parametrize("md5", ["", "not base64", MD5.hex, OTHER_MD5[:-4]])
def test_what_is_no_md5_is_none(
    azurite: RunningAzurite, inspector: AzureInspector, proxy: StoreProxy, md5: str
) -> None:
    upload = make_upload()
    put(azurite, upload)

    def amend(asked: Asked, reply: Reply) -> Reply:
        if asked.method == "HEAD":
            return with_headers(reply, content_md5=md5)
        return with_body(reply, reply.body.replace(MD5.encode(), md5.encode()))

    proxy.amend = amend
    assert alone_and_in_a_crowd(inspector, upload) == [FoundObject(len(CONTENT))] * 2


# What is no object


def test_directories_are_none(azurite: RunningAzurite, inspector: AzureInspector, proxy: StoreProxy) -> None:
    """A storage account with a hierarchical namespace lists them among the blobs, and answers for them."""
    upload = make_upload(content=b"")
    put(azurite, upload, b"")

    def amend(asked: Asked, reply: Reply) -> Reply:
        if asked.method == "HEAD":
            return with_headers(reply, x_ms_resource_type="directory")
        entry = b"<Properties><ResourceType>directory</ResourceType>"
        return with_body(reply, reply.body.replace(b"<Properties>", entry))

    proxy.amend = amend
    assert alone_and_in_a_crowd(inspector, upload) == [None, None]


# What fails


def assert_failed(inspection: Inspection, code: ErrorCode = ErrorCode.STORE_UNAVAILABLE) -> None:
    assert isinstance(inspection.failure, Unavailable)
    assert inspection.failure.code is code
    assert inspection.found == {}


@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_a_container_that_is_not_there_is_a_failure(azurite: RunningAzurite, count: int) -> None:
    elsewhere = inspector_of(evolve(azurite, container=f"nobody-made-{uuid4().hex}"))
    assert_failed(look(elsewhere, [make_upload() for _ in range(count)]))


@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_a_key_that_the_service_does_not_know_is_a_failure(
    inspector: AzureInspector, proxy: StoreProxy, count: int
) -> None:
    async def refuse(_asked: Asked) -> Reply:
        return Reply(403, headers={"x-ms-error-code": "AuthenticationFailed"})

    proxy.instead = refuse
    assert_failed(look(inspector, [make_upload() for _ in range(count)]))


@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_a_wrong_key_tells_nothing(azurite: RunningAzurite, count: int) -> None:
    wrong = inspector_of(azurite, key=AccountKey(azurite.account, b"guessed"))
    assert look(wrong, [make_upload() for _ in range(count)]).found == {}


@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_without_a_valid_key_nothing_is_asked(azurite: RunningAzurite, proxy: StoreProxy, count: int) -> None:
    inspector = inspector_of(azurite, proxy.origin, key=evolve(DELEGATED, expires="2020-01-01T00:00:00Z"))
    assert_failed(look(inspector, [make_upload() for _ in range(count)]), ErrorCode.CREDENTIALS_UNAVAILABLE)
    assert proxy.asked == {}


def test_what_may_not_be_seen_is_left_out_which_is_no_failure(inspector: AzureInspector, proxy: StoreProxy) -> None:
    async def refuse(_asked: Asked) -> Reply:
        return Reply(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"})

    proxy.instead = refuse
    assert look(inspector, [make_upload() for _ in range(LISTING_PAYS + 1)]) == Inspection({})
    assert proxy.asked == {"GET": 1, "HEAD": LISTING_PAYS + 1}


def listing(blobs: str = "<Blobs/>", marker: str = "<NextMarker/>") -> bytes:
    return f'<?xml version="1.0"?><EnumerationResults>{blobs}{marker}</EnumerationResults>'.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"It works!",
        listing()[:-9],
        b"<html><body>Log in</body></html>",
        listing(blobs=""),
        listing(marker=""),
        listing("<Blobs><Blob><Name>a</Name></Blob></Blobs>"),
        listing("<Blobs><Blob><Properties/></Blob></Blobs>"),
    ],
)
def test_a_listing_that_is_none_is_a_failure(inspector: AzureInspector, proxy: StoreProxy, body: bytes) -> None:
    async def answer(asked: Asked) -> Reply | None:
        return Reply(200, body) if asked.method == "GET" else None

    proxy.instead = answer
    assert_failed(look(inspector, [make_upload() for _ in range(LISTING_PAYS + 1)]))
    assert proxy.asked == {"GET": 1}


def test_a_blob_without_a_length_is_a_failure(inspector: AzureInspector, proxy: StoreProxy) -> None:
    upload = make_upload()
    folder = upload.key.removesuffix(f"/{upload.file.path}")
    crowd = [upload, *(make_upload(f"{number}.csv", folder=folder) for number in range(LISTING_PAYS))]
    blobs = f"<Blobs><Blob><Name>{upload.key}</Name><Properties/></Blob></Blobs>"

    async def answer(asked: Asked) -> Reply:
        return (
            Reply(200, listing(blobs))
            if asked.method == "GET"
            else Reply(200, headers={"Transfer-Encoding": "chunked"})
        )

    proxy.instead = answer
    for batch in ([upload], crowd):
        assert_failed(look(inspector, batch))


def test_no_representation_shows_a_secret(azurite: RunningAzurite) -> None:
    assert azurite.key not in repr(inspector_of(azurite))
