"""Shelf keeps the contract of a store."""

from collections.abc import Iterator

import pytest
from bitstore_shelf import make_store
from shelf_server import Shelf, serving

from adapters.stores.contract import Harness, StoreContract
from entrypoints.environment import EnvironmentReader


class TestShelf(StoreContract):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        shelf = Shelf(secret="s3cret")
        with serving(shelf) as url:
            variables = {"STORAGE_HOSTNAME": url, "STORAGE_BUCKET_NAME": "files", "STORAGE_SHELF_SECRET": "s3cret"}
            store = make_store(EnvironmentReader(variables))
            assert store is not None
            yield Harness(
                store,
                read=lambda key: shelf.read("files", key),
                list_keys=lambda prefix: shelf.list_keys("files", prefix),
                conflict=409,
            )
