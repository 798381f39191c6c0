"""Stores behind a real server, for the tests of HTTP."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.entrypoints.http.live_store import LiveStore, live_store


@pytest.fixture(scope="session", params=["disk", "memory"])
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStore]:
    with live_store(request.param, tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(shared_store: LiveStore) -> Iterator[LiveStore]:
    """A store that all tests share, with its clock set right: use keys of your own."""
    yield shared_store
    shared_store.clock.ahead = timedelta(0)
