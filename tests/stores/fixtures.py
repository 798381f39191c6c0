"""The running stores as fixtures: each started by the first test that asks for it, once per worker of pytest-xdist."""

import asyncio
from collections.abc import Iterator

import pytest

from adapters.stores.azure_keys import UserDelegationKeys
from adapters.stores.azure_sas import UserDelegationKey
from tests.stores.azure_server import RunningAzurite, identity_client, start_azurite
from tests.stores.ceph import start_ceph
from tests.stores.gcs import RunningGcs, start_fake_gcs
from tests.stores.servers import RunningStore, start_ministack, start_seaweedfs


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """SeaweedFS, with an empty bucket that all tests of the session share: use keys of your own."""
    with start_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """MiniStack, with an empty bucket that all tests of the session share: use keys of your own."""
    with start_ministack(tmp_path_factory.mktemp("ministack")) as store:
        yield store


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGcs]:
    """fake-gcs-server, with an empty bucket that all tests of the session share: use keys of your own."""
    with start_fake_gcs(tmp_path_factory.mktemp("fake-gcs")) as store:
        yield store


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """Ceph's S3 gateway, with an empty bucket that all tests of the session share: use keys of your own.

    Its programs come from Debian: mark tests that ask for it with `debian`.
    """
    with start_ceph(tmp_path_factory.mktemp("ceph")) as store:
        yield store


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAzurite]:
    """Azurite, with an empty private container that all tests of the session share: use keys of your own."""
    with start_azurite(tmp_path_factory.mktemp("azurite")) as store:
        yield store


@pytest.fixture(scope="session")
def azurite_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAzurite]:
    """Another one, over TLS, which gives out user delegation keys."""
    with start_azurite(tmp_path_factory.mktemp("azurite-tls"), tls=True) as store:
        yield store


@pytest.fixture(scope="session")
def user_delegation_key(azurite_tls: RunningAzurite) -> UserDelegationKey:
    """A key that was given to an identity, which only happens over TLS; it is good for every Azurite."""

    async def fetch() -> UserDelegationKey:
        async with identity_client(azurite_tls) as service:
            keys = UserDelegationKeys(service, azurite_tls.account)
            assert await keys.refresh()
            return keys()

    return asyncio.run(fetch())
