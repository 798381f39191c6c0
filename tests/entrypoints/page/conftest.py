"""A browser that the tests of the page share; each opens tabs of its own."""

from collections.abc import Iterator

import pytest

from tests.entrypoints.page.chromium import Chromium, chromium


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Headless Chromium, from Debian: mark tests that ask for it with `debian`."""
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running
