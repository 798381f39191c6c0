"""The contract's happy paths, as far as fake-gcs-server goes: it keeps objects, and enforces nothing that is signed.

What Cloud Storage enforces is known from its documentation alone (see `adapters.stores.gcs`); that we sign what it asks
for is shown against its SDK. So the suite runs with a store that claims nothing, and that a tampered request succeeds
says something about the fake only: it is no row of the capability matrix that is seen here.
"""

from urllib.parse import quote

import pytest
import urllib3
from attrs import evolve

from adapters.stores.addresses import BucketAddress
from adapters.stores.contract import CROWD, Harness, StoreContract
from adapters.stores.gcs import GcsSigning
from adapters.stores.gcs_api import BucketApi
from adapters.stores.gcs_inspector import LISTING_PAYS, GcsInspector
from application.ports import Store
from domain.uploads import Capabilities
from tests.adapters.stores.google import account
from tests.stores.gcs import RunningGcs


class ClaimsNothing(GcsSigning):
    """A store of which nothing is claimed, which is what a fake enforces."""

    @property
    def capabilities(self) -> Capabilities:
        claimed = super().capabilities
        return evolve(claimed, methods=dict.fromkeys(claimed.methods, frozenset()))


class TestFakeGcsServer(StoreContract):
    @pytest.fixture
    def harness(self, fake_gcs: RunningGcs) -> Harness:
        signer = account(fake_gcs.token_uri)
        signing = ClaimsNothing(BucketAddress(fake_gcs.origin, fake_gcs.bucket), signer, lambda: None)
        api = BucketApi(fake_gcs.origin, fake_gcs.bucket, signer)
        inspector = GcsInspector(api)
        return Harness(
            store=Store(signing, signing, inspector, startables=[api], lister=inspector),
            read=lambda key: _read(fake_gcs, key),
            list_keys=lambda prefix: _list(fake_gcs, prefix),
        )


# What the suite asserts of every store, and a fake can't keep that checks no signature, and wants a file's name.
for name in (
    "test_a_file_part_without_a_file_name_is_served",
    "test_a_broken_signature_is_refused",
    "test_a_signed_put_is_good_for_nothing_else",
    "test_a_download_that_comes_too_late_is_refused",
    "test_strangers_cannot_read_a_private_file",
    "test_a_signed_download_gives_the_bytes_and_nothing_else",
    "test_a_download_is_saved_under_the_name_asked_for",
):
    setattr(TestFakeGcsServer, name, None)


def _read(store: RunningGcs, key: str) -> bytes | None:
    answer = urllib3.request("GET", f"{_objects(store)}/{quote(key, safe='')}?alt=media")
    assert answer.status in (200, 404)
    return answer.data if answer.status == 200 else None


def _list(store: RunningGcs, prefix: str) -> list[str]:
    answer = urllib3.request("GET", _objects(store), fields={"prefix": prefix})
    return [item["name"] for item in answer.json().get("items", [])]


def _objects(store: RunningGcs) -> str:
    return f"{store.origin}/storage/v1/b/{store.bucket}/o"


def test_the_suite_looks_into_the_bucket_in_both_ways() -> None:
    """Few keys are asked for one by one, a crowd is looked for in listings."""
    assert 3 < LISTING_PAYS < CROWD
