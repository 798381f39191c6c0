"""The service on a small file system of its own, which can get full, or be made read-only while it serves.

It is in memory, and in a namespace where we may mount it: for that the system must allow users to make such namespaces.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import urllib3
from attrs import frozen
from urllib3.exceptions import HTTPError

from tests.live import wait_until
from tests.stores.processes import free_port

_PROJECT = Path(__file__).parents[2]
_UNSHARE = ["unshare", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o size="$SIZE",mode=700 tmpfs "$STORAGE_DISK_ROOT"'
_SCRIPT = f"""
{_MOUNT} || exit
while read -r command; do
    case "$command" in
    start) "$@" >&2 & ;;
    stop) kill $!; wait $!; true ;;
    *) mount -o "remount,$command" "$STORAGE_DISK_ROOT" ;;
    esac
    echo $?
done
kill $!
wait $!
"""


@frozen
class SmallDisk:
    """A service, not yet started, and its disk."""

    origin: str
    _shell: "subprocess.Popen[str]"

    def start(self) -> None:
        self._tell("start")
        wait_until(self._is_up, seconds=30)

    def stop(self) -> None:
        self._tell("stop")

    def make_read_only(self) -> None:
        self._tell("ro")

    def make_writable(self) -> None:
        self._tell("rw")

    def _tell(self, command: str) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\n")
        self._shell.stdin.flush()
        assert self._shell.stdout.readline() == "0\n"

    def _is_up(self) -> bool:
        with suppress(HTTPError):
            return urllib3.request("GET", f"{self.origin}/healthz", retries=False, timeout=5).status == 200
        return False


def can_mount(folder: Path) -> bool:
    """Tell whether the system lets us mount file systems of our own."""
    if shutil.which("unshare") is None:
        return False
    command = [*_UNSHARE, "sh", "-c", _MOUNT]
    environment = {"PATH": os.environ["PATH"], "SIZE": "1m", "STORAGE_DISK_ROOT": str(folder)}
    return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0


@contextmanager
def small_disk(folder: Path, settings: Mapping[str, str], size: str) -> Iterator[SmallDisk]:
    """Give a service whose objects have room for `size` (as tmpfs(5) writes it)."""
    port = str(free_port())
    root = folder / "small"
    root.mkdir()
    place = {"STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(root), "SIZE": size}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PROJECT), **settings, **place}
    serve = [sys.executable, "-m", "entrypoints.cli.main", "serve", "--port", port]
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            [*_UNSHARE, "sh", "-c", _SCRIPT, "sh", *serve],
            cwd=_PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as shell,
    ):
        yield SmallDisk(f"http://127.0.0.1:{port}", shell)
