"""One running service for all hostile requests."""

from collections.abc import Iterator

import pytest

from tests.hard.hostile.service import Target, Uploads, hostile_target


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with hostile_target(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="package")
def uploads(target: Target) -> Uploads:
    return Uploads.into(target)
