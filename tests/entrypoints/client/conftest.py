"""A service on each of three stores: two of its own, and a real one that checks signatures."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve

from tests.entrypoints.every_store import CHECKING, OF_THE_SERVICE, StoreClient, client_in_process
from tests.stores.proxy import StoreProxy, store_proxy
from tests.stores.servers import RunningStore

STORES = {choice.name: choice for choice in CHECKING if choice.name in ("disk", "memory", "seaweedfs", "azurite")}
# Files of more than a million bytes come in parts, so that tests are quick.
SETTINGS = {"MULTIPART_THRESHOLD": "1000000", "REQUIRE_DIGEST": "true"}


@contextmanager
def served(name: str, request: pytest.FixtureRequest) -> Iterator[StoreClient]:
    choice = STORES[name]
    variables = {**OF_THE_SERVICE, **SETTINGS, **choice.variables(request.getfixturevalue(choice.fixture))}
    with client_in_process(variables) as client:
        yield client


@pytest.fixture(scope="package")
def disk(request: pytest.FixtureRequest) -> Iterator[StoreClient]:
    """The service on its disk store, which all tests share: use datasets of your own."""
    with served("disk", request) as client:
        yield client


@pytest.fixture(scope="package")
def memory(request: pytest.FixtureRequest) -> Iterator[StoreClient]:
    """The same in memory."""
    with served("memory", request) as client:
        yield client


@pytest.fixture(scope="package")
def on_seaweedfs(request: pytest.FixtureRequest) -> Iterator[StoreClient]:
    """The same on SeaweedFS, which checks signatures of its own."""
    with served("seaweedfs", request) as client:
        yield client


@pytest.fixture(scope="package")
def on_azurite(request: pytest.FixtureRequest) -> Iterator[StoreClient]:
    """The same on Azurite, which knows no digest of what came in parts."""
    with served("azurite", request) as client:
        yield client


@pytest.fixture(params=["disk", "memory", "on_seaweedfs"])
def service(request: pytest.FixtureRequest) -> StoreClient:
    """The service on each of the first three."""
    client: StoreClient = request.getfixturevalue(request.param)
    return client


@pytest.fixture(scope="package")
def _behind_proxy(seaweedfs: RunningStore) -> Iterator[tuple[StoreClient, StoreProxy]]:
    with store_proxy(seaweedfs.endpoint_url) as proxy:
        variables = STORES["seaweedfs"].variables(evolve(seaweedfs, endpoint_url=proxy.origin))
        with client_in_process({**OF_THE_SERVICE, **SETTINGS, **variables}) as client:
            yield client, proxy


@pytest.fixture
def proxied(_behind_proxy: tuple[StoreClient, StoreProxy]) -> StoreClient:
    """The service on SeaweedFS, all requests to which go through `proxy`."""
    return _behind_proxy[0]


@pytest.fixture
def proxy(_behind_proxy: tuple[StoreClient, StoreProxy]) -> Iterator[StoreProxy]:
    """The proxy in front of SeaweedFS, which passes everything on unless a test says otherwise."""
    _behind_proxy[1].reset()
    yield _behind_proxy[1]
    _behind_proxy[1].reset()
