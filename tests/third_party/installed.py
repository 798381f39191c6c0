"""The distribution `bitstore-shelf`, installed into a folder from its source, and programs that see it."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

REPOSITORY = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("bitstore-shelf")
SECRET = "s3cret-of-the-shelf"


@frozen
class Installation:
    """`site` has the distribution and its metadata; every Python program that is started here finds them there."""

    site: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """All that a program is told: nothing of the shell in which the tests run."""
        # Where the repository is installed too, it comes first all the same.
        path = os.pathsep.join(map(str, (self.site, REPOSITORY, SOURCE / "tests")))
        return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(
        self, *arguments: str | Path, folder: Path, settings: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `python` with these arguments, in `folder`, to its end."""
        command: Sequence[str | Path] = [sys.executable, *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env={**self.environment, **(settings or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @contextmanager
    def shelf(self) -> Iterator[str]:
        """Run the example's Shelf as a process, and give its URL."""
        command: Sequence[str | Path] = [sys.executable, SOURCE / "tests" / "shelf_server.py", SECRET]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip()
            finally:
                process.kill()


def install(folder: Path) -> Installation:
    """Build the wheel by its own build backend, and install it. Nothing is fetched, and no installer is needed.

    To unpack a wheel that has neither scripts nor data is to install it (Python Packaging User Guide, "Binary
    distribution format", "Installing a wheel").
    """
    command: Sequence[str | Path] = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        folder,
    ]
    subprocess.run(command, cwd=SOURCE, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return Installation(site)
