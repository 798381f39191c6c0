"""Programs that tests take from Debian's packages, since no Python package brings them: tests marked `debian`.

`python -m tests.debian` says which are missing, and ends with status 1 if there are any.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGES: Mapping[str, str] = {
    "ceph": "ceph-common",
    "ceph-authtool": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "monmaptool": "ceph-mon",  # by way of ceph-base, on which it depends
    "radosgw": "radosgw",
    "radosgw-admin": "ceph-common",
    "chromium": "chromium",
    "nginx": "nginx-light",
}
"""The package of each program, by the program's name."""


def program(name: str) -> Path:
    """Find a program of `PACKAGES`. Raises `FileNotFoundError` that says what to install."""
    if path := _find(name):
        return Path(path)
    raise FileNotFoundError(explain([name]))


def missing() -> list[str]:
    """Name the programs of `PACKAGES` that aren't installed."""
    return [name for name in PACKAGES if not _find(name)]


def explain(programs: Iterable[str]) -> str:
    """Say in one line what is missing, and the command that installs it."""
    names = sorted(programs)
    packages = " ".join(sorted({PACKAGES[name] for name in names}))
    return f"missing: {', '.join(names)}. On Debian: apt-get install --no-install-recommends {packages}"


def _find(name: str) -> str | None:
    # Servers run with this PATH, whatever a developer's shell has.
    folders = os.defpath.split(os.pathsep)
    return shutil.which(name, path=os.pathsep.join([*folders, *(re.sub("bin$", "sbin", folder) for folder in folders)]))


if __name__ == "__main__":
    if absent := missing():
        sys.exit(f"Tests marked `debian` can't run. {explain(absent)}")
