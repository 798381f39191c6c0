"""Packages of npm, pinned here and installed by `make install-test`."""

from pathlib import Path

from tests.stores.servers import REPOSITORY, installed


def package_file(path: str) -> Path:
    """Give a file of a package, by its path below `node_modules`."""
    return installed(REPOSITORY / ".venv" / "page-packages" / "node_modules" / path)
