"""Every store, in every configuration, keeps the contract.

`row` is the row of the capability matrix that a class looks at, and `server` what it looks at it on (see
`tests.stores.seen`).
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from adapters.stores.addresses import BucketAddress
from adapters.stores.azure import Endpoint
from adapters.stores.azure_inspector import AzureInspector
from adapters.stores.azure_multipart import AzureMultipart, AzurePartSigner
from adapters.stores.azure_sas import AccountKey, SigningKey, UserDelegationKey
from adapters.stores.azure_signing import AzureSigning
from adapters.stores.batch_inspector import LISTING_PAYS
from adapters.stores.contract import CROWD, Harness, StoreContract
from adapters.stores.disk import DiskObjects
from adapters.stores.disk_format import read_info
from adapters.stores.flavours import EMBEDDED, FLAVOURS
from adapters.stores.memory import MemoryObjects
from adapters.stores.s3_inspector import S3Inspector
from adapters.stores.s3_multipart import S3Multipart
from adapters.stores.signing import PUBLIC_ACL, S3Signing
from adapters.stores.sigv4 import Credentials
from application.ports import Store
from domain.keys import ObjectKey
from tests.entrypoints.http.live_store import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, LiveStore, live_store
from tests.stores.azure_server import RunningAzurite
from tests.stores.servers import RunningStore


def s3_harness(running: RunningStore, signing_credentials: Credentials | None = None) -> Harness:
    """The suite for a store that runs; its own credentials sign, unless others are given."""
    client, flavour = running.client(), FLAVOURS[running.flavour]
    address = BucketAddress(running.endpoint_url, running.bucket)
    credentials = signing_credentials or Credentials(running.access_key_id, running.secret_access_key)
    inspector = S3Inspector(address, running.region, lambda: credentials)
    signing = S3Signing(
        address=address,
        region=running.region,
        flavour=flavour,
        credentials=lambda: credentials,
        public_acl=lambda: PUBLIC_ACL if flavour.has_acl else None,
    )
    multipart = S3Multipart(address, running.region, lambda: credentials, signing.acl_for)
    return Harness(
        store=Store(
            signing,
            signing,
            inspector,
            startables=[inspector, multipart],
            part_signer=signing,
            multipart=multipart,
            lister=inspector,
        ),
        read=lambda key: _read(client, running.bucket, key),
        list_keys=lambda prefix: _list(client, running.bucket, prefix),
    )


def _read(client: Any, bucket: str, key: str) -> bytes | None:
    try:
        body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    return body


def _list(client: Any, bucket: str, prefix: str) -> list[str]:
    answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for entry in answer.get("Contents", [])]


def azure_harness(running: RunningAzurite, key: SigningKey) -> Harness:
    """The suite for a container of Azurite; the SDK tells what is in it, by the account key."""
    endpoint = Endpoint.parse(running.endpoint_url)
    address = BucketAddress(endpoint.origin, running.container, base_path=endpoint.base_path)
    inspector = AzureInspector(address, lambda: key)
    signing = AzureSigning(address, lambda: key, is_public=lambda: False)
    part_signer = AzurePartSigner(address, lambda: key, is_public=lambda: False)
    multipart = AzureMultipart(address, lambda: key, is_public=lambda: False)
    return Harness(
        store=Store(
            signing,
            signing,
            inspector,
            startables=[inspector, multipart],
            part_signer=part_signer,
            multipart=multipart,
            lister=inspector,
        ),
        read=lambda key: _read_blob(running.client(), key),
        list_keys=lambda prefix: list(running.client().list_blob_names(name_starts_with=prefix)),
        # Azure looks at what a SAS permits before it looks at If-None-Match.
        conflict=403,
    )


def _read_blob(client: ContainerClient, key: str) -> bytes | None:
    try:
        return client.download_blob(key).readall()
    except ResourceNotFoundError:
        return None


def served_harness(live: LiveStore) -> Harness:
    """The suite for a store that we serve ourselves; the ground truth is what it has when nobody asks over HTTP."""
    signing = S3Signing(
        address=BucketAddress(live.origin, BUCKET, base_path="/store"),
        region=REGION,
        flavour=EMBEDDED,
        credentials=lambda: Credentials(ACCESS_KEY, SECRET_KEY),
        public_acl=lambda: PUBLIC_ACL,
    )
    return Harness(
        store=Store(
            signing,
            signing,
            live.objects,
            probes=[live.objects],
            part_signer=signing,
            multipart=live.objects,
            lister=live.objects,
        ),
        read=lambda key: asyncio.run(_read_object(live.objects, ObjectKey(key))),
        list_keys=lambda prefix: sorted(key for key in _all_keys(live) if key.startswith(prefix)),
        http=live.http,
    )


async def _read_object(objects: DiskObjects | MemoryObjects, key: ObjectKey) -> bytes | None:
    stored = await objects.open(key)
    if stored is None:
        return None
    try:
        return b"".join([piece async for piece in stored.read(0, stored.info.length)])
    finally:
        await stored.close()


def _all_keys(live: LiveStore) -> Iterator[str]:
    if isinstance(live.objects, MemoryObjects):
        yield from live.objects._objects
        return
    for path in (live.root / "objects").rglob("*.object"):
        with path.open("rb") as file:
            yield read_info(file.fileno()).key


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStore]:
    with live_store("memory", tmp_path_factory.mktemp("memory")) as live:
        yield live


class TestMemory(StoreContract):
    row, server = "memory", "BitStore"

    @pytest.fixture
    def harness(self, memory: LiveStore) -> Harness:
        return served_harness(memory)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStore]:
    with live_store("disk", tmp_path_factory.mktemp("disk")) as live:
        yield live


class TestDisk(StoreContract):
    row, server = "disk", "BitStore"

    @pytest.fixture
    def harness(self, disk: LiveStore) -> Harness:
        return served_harness(disk)


class TestSeaweedFS(StoreContract):
    row, server = "s3 (seaweedfs)", "SeaweedFS"

    @pytest.fixture
    def harness(self, seaweedfs: RunningStore) -> Harness:
        return s3_harness(seaweedfs)


class TestMiniStack(StoreContract):
    row, server = "s3 (ministack)", "MiniStack"

    @pytest.fixture
    def harness(self, ministack: RunningStore) -> Harness:
        return s3_harness(ministack)


class TestAzurite(StoreContract):
    row, server = "azure", "Azurite"

    @pytest.fixture
    def harness(self, azurite: RunningAzurite) -> Harness:
        return azure_harness(azurite, AccountKey.parse(azurite.account, azurite.key))


class TestAzuriteWithAnIdentity(StoreContract):
    row, server = "azure", "Azurite"

    @pytest.fixture
    def harness(self, azurite: RunningAzurite, user_delegation_key: UserDelegationKey) -> Harness:
        return azure_harness(azurite, user_delegation_key)


@pytest.mark.debian
class TestCeph(StoreContract):
    row, server = "s3 (ceph)", "Ceph"

    @pytest.fixture
    def harness(self, ceph: RunningStore) -> Harness:
        return s3_harness(ceph)


def test_the_suite_looks_into_s3_stores_in_both_ways() -> None:
    """Few keys are asked for one by one, a crowd is looked for in listings."""
    assert 3 < LISTING_PAYS < CROWD
