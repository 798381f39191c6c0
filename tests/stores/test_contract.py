"""Every store, in every configuration, keeps the contract."""

from typing import Any

import pytest
import urllib3

from adapters.stores.addresses import BucketAddress
from adapters.stores.contract import Harness, StoreContract
from adapters.stores.flavours import FLAVOURS
from adapters.stores.signing import PUBLIC_ACL, S3Signing
from adapters.stores.sigv4 import Credentials
from tests.stores.servers import RunningStore


def s3_harness(running: RunningStore) -> Harness:
    client, flavour = running.client(), FLAVOURS[running.flavour]
    credentials = Credentials(running.access_key_id, running.secret_access_key)
    signing = S3Signing(
        address=BucketAddress(running.endpoint_url, running.bucket),
        region=running.region,
        flavour=flavour,
        credentials=lambda: credentials,
        public_acl=lambda: PUBLIC_ACL if flavour.has_acl else None,
    )
    return Harness(
        store=signing,
        read=lambda key: _read(client, running.bucket, key),
        list_keys=lambda prefix: _list(client, running.bucket, prefix),
        http=urllib3.PoolManager(timeout=30.0, retries=False),
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


class TestSeaweedFS(StoreContract):
    @pytest.fixture
    def harness(self, seaweedfs: RunningStore) -> Harness:
        return s3_harness(seaweedfs)


class TestMiniStack(StoreContract):
    @pytest.fixture
    def harness(self, ministack: RunningStore) -> Harness:
        return s3_harness(ministack)
