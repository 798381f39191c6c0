"""What the README says is so: its walk-through works when it is pasted, and its tables are complete."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from urllib3.exceptions import HTTPError

from entrypoints.settings import Settings
from tests.live import wait_until
from tests.stores.processes import free_port
from tests.tokens import ed25519_key, public_pem

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
_TOOLS = ("bash", "curl", "openssl")


def walk_through(name: str, port: int) -> str:
    """Give the commands of one step, with a port that is free here."""
    found = re.search(rf"<!-- walk-through: {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no step {name}"
    return found[1].replace("8000", str(port))


@contextmanager
def pasted(commands: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run commands as if they were pasted into a shell whose PATH has `bitstore`."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    with subprocess.Popen(
        ["bash", "-euc", commands],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        yield shell


def output_of(commands: str, folder: Path) -> str:
    with pasted(commands, folder) as shell:
        output, _ = shell.communicate(timeout=60)
    assert shell.returncode == 0, output
    return output


@pytest.mark.skipif(
    not all(map(shutil.which, _TOOLS)), reason=f"the walk-through is for people who have {', '.join(_TOOLS)}"
)
def test_the_walk_through_works_when_it_is_pasted(tmp_path: Path) -> None:
    port = free_port()
    with pasted(f"{walk_through('serve', port)}", tmp_path) as server:
        try:
            wait_until(lambda: _answers(port) or server.poll() is not None, seconds=30)
            client = walk_through("upload", port) + walk_through("download", port)
            assert output_of(client, tmp_path) == "204\nid,name\n1,Ada\n"
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def _answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/healthz", retries=False, timeout=5).status == 200
    except HTTPError:
        return False


def test_the_configuration_table_has_every_setting(tmp_path: Path) -> None:
    table = README.split("## Configuration", 1)[1].split("\n## ", 1)[0]
    key = {"DATAHUB_PUBLIC_KEY": public_pem(ed25519_key()), "TOKEN_ALGORITHMS": "EdDSA", "STORAGE_BUCKET_NAME": "files"}
    secrets = {"STORAGE_ACCESS_KEY_ID": "id", "STORAGE_SECRET_ACCESS_KEY": "secret"}
    s3 = Settings.from_environment({**key, **secrets, "STORAGE_HOSTNAME": "store.example"})
    disk = Settings.from_environment({**key, **secrets, "STORAGE_DISK_ROOT": str(tmp_path)})
    assert sorted(name for name in {*s3.effective, *disk.effective} if f"`{name}`" not in table) == []


def test_make_targets_that_are_named_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", README)) | set(
        re.findall(r"^make ([a-z-]+)$", README, re.MULTILINE)
    ):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
