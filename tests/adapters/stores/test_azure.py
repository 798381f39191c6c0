"""The Azure store as its settings make it, and what is asked of its container: by Azurite, and by stores that fail."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import urllib3
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import PublicAccess
from azure.storage.blob.aio import BlobServiceClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.stores import asking, azure
from adapters.stores.azure import AzureContainer, Endpoint, make_store, service_client
from adapters.stores.azure_keys import UserDelegationKeys
from adapters.stores.contract import CONTENT, LIFETIME, make_upload, send
from application.ports import Store
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.inspection import FoundObject, Status, compare
from domain.multipart import PartPlan
from domain.uploads import Access, MultipartUpload, PutRequest, SignedUpload, UploadMethod, UploadTerms
from entrypoints.environment import EnvironmentReader
from tests.live import serving
from tests.stores.azure_server import Identity, RunningAzurite, identity_client
from tests.stores.processes import free_port

# Base64 of "a secret of the store", and nobody's.
SECRET = "YSBzZWNyZXQgb2YgdGhlIHN0b3Jl"
CLOUD = {
    "STORAGE_BUCKET_NAME": "uploads",
    "STORAGE_HOSTNAME": "datasets.blob.core.windows.net",
    "STORAGE_ACCESS_KEY_ID": "datasets",
    "STORAGE_SECRET_ACCESS_KEY": SECRET,
}
IDENTITY = {name: CLOUD[name] for name in ("STORAGE_BUCKET_NAME", "STORAGE_HOSTNAME")}


def settings_of(store: RunningAzurite, container: str | None = None) -> dict[str, str]:
    return {
        "STORAGE_BUCKET_NAME": container or store.container,
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_ACCESS_KEY_ID": store.account,
        "STORAGE_SECRET_ACCESS_KEY": store.key,
    }


def made(environ: Mapping[str, str]) -> Store:
    reader = EnvironmentReader(environ)
    store = make_store(reader)
    assert reader.problems == []
    assert store is not None
    return store


def problems_of(environ: Mapping[str, str]) -> list[str]:
    reader = EnvironmentReader(environ)
    assert make_store(reader) is None
    return reader.problems


@asynccontextmanager
async def started(store: Store) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for startable in store.startables:
            await startable.start()
            stack.push_async_callback(startable.stop)
        yield


def sign(store: Store, access: Access) -> SignedUpload:
    (signed,) = store.signer.sign_uploads(
        [make_upload(access=access)], UploadTerms(UploadMethod.PUT, LIFETIME), datetime.now(UTC)
    )
    return signed


@pytest.fixture
def container(azurite: RunningAzurite) -> str:
    """A new container, which only its owner may read."""
    name = f"container-{uuid4().hex}"
    azurite.client(name).create_container()
    return name


class TestOnAzurite:
    def test_what_is_sent_is_found(self, azurite: RunningAzurite) -> None:
        async def scenario() -> Status:
            store = made(settings_of(azurite))
            async with started(store):
                for probe in store.probes:
                    await probe.check()
                signed = sign(store, Access.PRIVATE)
                with urllib3.PoolManager(retries=False) as http:
                    assert await asyncio.to_thread(send, http, signed.request, CONTENT) == 201
                key = signed.upload.key
                assert store.downloads.key_of_url(signed.object_url) == key
                inspection = await store.inspector.inspect([signed.upload], datetime.now(UTC), timedelta(seconds=30))
                return compare(signed.upload.file, inspection.found[key])

        assert asyncio.run(scenario()) is Status.STORED

    def test_what_is_sent_in_parts_is_found(self, azurite: RunningAzurite) -> None:
        async def scenario() -> FoundObject | None:
            store, upload, now = made(settings_of(azurite)), make_upload(), datetime.now(UTC)
            assert store.multipart is not None
            assert store.part_signer is not None
            async with started(store):
                (upload_id,) = await store.multipart.begin([upload], now)
                begun = MultipartUpload(upload, upload_id, PartPlan(len(CONTENT), len(CONTENT)))
                (part,) = store.part_signer.sign_parts(begun, [1], LIFETIME, now).parts
                with urllib3.PoolManager(retries=False) as http:
                    assert await asyncio.to_thread(send, http, PutRequest(part.url, part.headers), CONTENT) == 201
                progress = await store.multipart.progress(upload.key, upload_id, now)
                assert progress is not None
                await store.multipart.complete(begun, list(progress.arrived.values()), now)
                inspection = await store.inspector.inspect([upload], now, timedelta(seconds=30))
                return inspection.found[upload.key]

        assert asyncio.run(scenario()) == FoundObject(len(CONTENT))

    @pytest.mark.parametrize("level", [PublicAccess.BLOB, PublicAccess.CONTAINER])
    def test_private_files_are_refused_where_everybody_may_read(
        self, azurite: RunningAzurite, container: str, level: PublicAccess
    ) -> None:
        azurite.client(container).set_container_access_policy({}, public_access=level)

        async def scenario() -> SignedUpload:
            store = made(settings_of(azurite, container))
            sign(store, Access.PRIVATE)  # before it is known
            async with started(store):
                with pytest.raises(InvalidInput) as refused:
                    sign(store, Access.PRIVATE)
                assert refused.value.code is ErrorCode.UNSUPPORTED_BY_STORE
                assert store.multipart is not None
                with pytest.raises(InvalidInput):
                    await store.multipart.begin([make_upload(access=Access.PRIVATE)], datetime.now(UTC))
                return sign(store, Access.PUBLIC)

        signed = asyncio.run(scenario())
        with urllib3.PoolManager(retries=False) as http:
            assert send(http, signed.request, CONTENT) == 201
            assert http.request("GET", signed.object_url).data == CONTENT  # which is why

    def test_a_private_container_keeps_all_files_private(self, azurite: RunningAzurite, container: str) -> None:
        async def scenario() -> SignedUpload:
            store = made(settings_of(azurite, container))
            async with started(store):
                sign(store, Access.PUBLIC)
                return sign(store, Access.PRIVATE)

        signed = asyncio.run(scenario())
        with urllib3.PoolManager(retries=False) as http:
            assert send(http, signed.request, CONTENT) == 201
            assert http.request("GET", signed.object_url).status in (403, 404)

    def test_a_change_is_noticed_when_the_container_is_asked_for_its_health(
        self, azurite: RunningAzurite, container: str
    ) -> None:
        async def scenario() -> list[bool]:
            asked = AzureContainer(client_of(azurite), container)
            await asked.start()
            levels = [asked.is_public()]
            for level in (PublicAccess.BLOB, None):
                azurite.client(container).set_container_access_policy({}, public_access=level)
                await asked.check()
                levels.append(asked.is_public())
            await asked.stop()
            return levels

        assert asyncio.run(scenario()) == [False, True, False]

    def test_an_identity_is_told_too(self, azurite_tls: RunningAzurite) -> None:
        async def scenario() -> None:
            asked = AzureContainer(identity_client(azurite_tls), azurite_tls.container, Identity())
            await asked.start()
            await asked.check()
            assert asked._asking.task is None
            await asked.stop()

        asyncio.run(scenario())

    @pytest.mark.parametrize("fault", ["container", "key"])
    def test_what_does_not_answer_is_not_ready(
        self, azurite: RunningAzurite, fault: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = settings_of(azurite)
        settings |= {"STORAGE_BUCKET_NAME": "nobody-made-this"} if fault == "container" else {}
        settings |= {"STORAGE_SECRET_ACCESS_KEY": SECRET} if fault == "key" else {}

        async def scenario() -> str:
            store = made(settings)
            async with started(store):
                with pytest.raises(Unavailable) as refused:
                    await store.probes[-1].check()
                assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
                return refused.value.message

        message = asyncio.run(scenario())
        assert ("ContainerNotFound" if fault == "container" else "Authori") in message
        for text in (message, caplog.text):
            assert azurite.key not in text
            assert SECRET not in text
            assert "SharedKey" not in text


def client_of(store: RunningAzurite) -> BlobServiceClient:
    return service_client(store.endpoint_url, AzureNamedKeyCredential(store.account, store.key))


@contextmanager
def answering(status: int, headers: Mapping[str, str], body: str = "<html>a page") -> Iterator[str]:
    """Serve one answer to everything."""

    async def answer(_request: Request) -> Response:
        return Response(body, status, headers)

    with serving(lambda _: Starlette(routes=[Route("/{path:path}", answer)])) as origin:
        yield origin


class TestFailures:
    @pytest.mark.parametrize("status", [200, 203, 400, 403, 404, 429, 500, 503])
    def test_a_container_that_fails_is_asked_again_until_it_answers(
        self, monkeypatch: pytest.MonkeyPatch, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(asking, "RETRY_SECONDS", 0.01)

        async def scenario(failing: str, working: str) -> None:
            credential = AzureNamedKeyCredential("datasets", SECRET)
            asked = AzureContainer(service_client(f"{failing}/datasets", credential), "uploads")
            await asked.start()
            assert not asked.is_public()
            assert asked._asking.task is not None
            replaced, asked.service = asked.service, service_client(f"{working}/datasets", credential)
            await asyncio.wait_for(asked._asking.task, 60)
            assert asked.is_public()
            await replaced.close()
            await asked.stop()

        told = {"ETag": '"x"', "x-ms-blob-public-access": "blob", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        with answering(status, {}) as failing, answering(200, told, "") as working:
            asyncio.run(scenario(failing, working))
        assert "can't ask whether everybody may read" in caplog.text

    def test_one_that_is_down_stops_neither_start_nor_signing(self) -> None:
        settings = CLOUD | {"STORAGE_HOSTNAME": f"http://127.0.0.1:{free_port()}/datasets"}

        async def scenario() -> None:
            store = made(settings)
            async with started(store):
                assert sign(store, Access.PRIVATE).request.url.startswith(settings["STORAGE_HOSTNAME"])
                with pytest.raises(Unavailable, match="ServiceRequestError"):
                    await store.probes[0].check()

        start = time.monotonic()
        asyncio.run(scenario())
        assert time.monotonic() - start < 30

    def test_one_that_never_answers_is_not_waited_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(azure, "_READ_SECONDS", 0.1)

        async def scenario(port: int) -> None:
            store = made(CLOUD | {"STORAGE_HOSTNAME": f"http://127.0.0.1:{port}/datasets"})
            async with started(store):
                with pytest.raises(Unavailable, match="Timeout"):
                    await store.probes[0].check()

        with socket.create_server(("127.0.0.1", 0)) as silent:
            asyncio.run(scenario(silent.getsockname()[1]))

    def test_stopping_is_safe_at_any_time(self, azurite: RunningAzurite) -> None:
        async def scenario() -> None:
            asked = AzureContainer(client_of(azurite), "nobody-made-this")
            await asked.stop()
            asked = AzureContainer(client_of(azurite), "nobody-made-this")
            await asked.start()
            task = asked._asking.task
            assert task is not None
            await asked.stop()
            await asked.stop()
            assert task.cancelled()

        asyncio.run(scenario())


class TestEndpoints:
    @pytest.mark.parametrize(
        ("text", "endpoint"),
        [
            ("datasets.blob.core.windows.net", ("https://datasets.blob.core.windows.net", "", "datasets")),
            ("https://datasets.blob.core.windows.net/", ("https://datasets.blob.core.windows.net", "", "datasets")),
            ("datasets.z01.blob.storage.azure.net", ("https://datasets.z01.blob.storage.azure.net", "", "datasets")),
            ("datasets.blob.core.chinacloudapi.cn", ("https://datasets.blob.core.chinacloudapi.cn", "", "datasets")),
            ("files.example.org:8443", ("https://files.example.org:8443", "", None)),
            ("http://127.0.0.1:10000/datasets", ("http://127.0.0.1:10000", "/datasets", "datasets")),
            (
                "http://azurite:10000/devstoreaccount1/",
                ("http://azurite:10000", "/devstoreaccount1", "devstoreaccount1"),
            ),
            ("http://[::1]:10000/datasets", ("http://[::1]:10000", "/datasets", "datasets")),
        ],
    )
    def test_are_read(self, text: str, endpoint: tuple[str, str, str | None]) -> None:
        assert Endpoint.parse(text) == Endpoint(*endpoint)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ftp://datasets.blob.core.windows.net",
            "https://me:password@datasets.blob.core.windows.net",
            "datasets.blob.core.windows.net?sv=2020-12-06&sig=password",
            "datasets.blob.core.windows.net/#x",
            "datasets.blob.core.windows.net/datasets/uploads",
            "datasets.blob.core.windows.net/Datasets",
            "datasets.blob.core.windows.net:0",
            "datasets.blob.core.windows.net:65536",
            "data_sets.example",
            "datasets.blob.core.windows.net\n",
            "http://[nonsense]:10000",
            "http://[1:2:3]/datasets",
            "https://",
        ],
    )
    def test_nothing_else_is_one(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^not ") as refused:
            Endpoint.parse(text)
        assert "password" not in str(refused.value)


class TestSettings:
    def test_the_clients_may_reach_the_store_elsewhere(self) -> None:
        store = made(CLOUD | {"STORAGE_PUBLIC_URL": "https://files.example.org"})
        signed = sign(store, Access.PUBLIC)
        assert signed.object_url.startswith("https://files.example.org/uploads/")
        assert store.downloads.key_of_url(signed.object_url) == signed.upload.key
        internal = signed.object_url.replace("files.example.org", CLOUD["STORAGE_HOSTNAME"])
        assert store.downloads.key_of_url(internal) == signed.upload.key

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"STORAGE_BUCKET_NAME": ""}, "STORAGE_BUCKET_NAME is missing"),
            ({"STORAGE_BUCKET_NAME": "Uploads"}, "STORAGE_BUCKET_NAME is not the name of a container"),
            ({"STORAGE_BUCKET_NAME": "up"}, "STORAGE_BUCKET_NAME is not the name of a container"),
            ({"STORAGE_BUCKET_NAME": "up--loads"}, "STORAGE_BUCKET_NAME is not the name of a container"),
            ({"STORAGE_BUCKET_NAME": "u" * 64}, "STORAGE_BUCKET_NAME is not the name of a container"),
            ({"STORAGE_BUCKET_NAME": "$web"}, "STORAGE_BUCKET_NAME is not the name of a container"),
            ({"STORAGE_HOSTNAME": ""}, "STORAGE_HOSTNAME is missing"),
            ({"STORAGE_HOSTNAME": "a b"}, "STORAGE_HOSTNAME: not a host"),
            ({"STORAGE_HOSTNAME": "other.blob.core.windows.net"}, "STORAGE_HOSTNAME is of the account other"),
            ({"STORAGE_PUBLIC_URL": "a b"}, "STORAGE_PUBLIC_URL: not a host"),
            ({"STORAGE_PUBLIC_URL": "http://127.0.0.1/other"}, "STORAGE_PUBLIC_URL is of the account other"),
            ({"STORAGE_ACCESS_KEY_ID": ""}, "must both be given, or neither"),
            ({"STORAGE_SECRET_ACCESS_KEY": ""}, "must both be given, or neither"),
            ({"STORAGE_ACCESS_KEY_ID": "Data.Sets"}, "STORAGE_ACCESS_KEY_ID is not the name of a storage account"),
            ({"STORAGE_SECRET_ACCESS_KEY": "not base64!"}, "STORAGE_SECRET_ACCESS_KEY: not the key"),
        ],
    )
    def test_one_that_is_wrong_is_named(self, changes: dict[str, str], problem: str) -> None:
        (found,) = problems_of(CLOUD | changes)
        assert problem in found
        assert SECRET not in found
        assert "base64!" not in found

    def test_all_that_are_wrong_are_named_at_once(self) -> None:
        assert len(problems_of({})) == 2
        assert len(problems_of(CLOUD | {"STORAGE_BUCKET_NAME": "U", "STORAGE_SECRET_ACCESS_KEY": "!"})) == 2

    def test_the_secret_is_not_shown(self) -> None:
        reader = EnvironmentReader(CLOUD)
        store = make_store(reader)
        assert reader.effective["STORAGE_SECRET_ACCESS_KEY"] == "********"
        assert SECRET not in repr(store)
        assert "a secret of the store" not in repr(store)


class TestIdentities:
    def test_sign_where_no_account_key_is_given(self) -> None:
        async def scenario() -> None:
            store = made(IDENTITY)
            (keys,) = [one for one in store.startables if isinstance(one, UserDelegationKeys)]
            assert keys in store.probes
            # Nothing has been asked yet, so there is nothing to sign with.
            with pytest.raises(Unavailable) as none_yet:
                sign(store, Access.PUBLIC)
            assert none_yet.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE
            for startable in reversed(store.startables):
                await startable.stop()

        asyncio.run(scenario())

    @pytest.mark.parametrize(
        ("hostname", "problem"),
        [
            ("files.example.org", "STORAGE_HOSTNAME must name the storage account"),
            ("http://datasets.blob.core.windows.net", "STORAGE_HOSTNAME must be https"),
        ],
    )
    def test_need_an_account_and_tls(self, hostname: str, problem: str) -> None:
        (found,) = problems_of(IDENTITY | {"STORAGE_HOSTNAME": hostname})
        assert problem in found

    def test_need_a_package_that_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
        (found,) = problems_of(IDENTITY)
        assert "pip install azure-identity" in found
