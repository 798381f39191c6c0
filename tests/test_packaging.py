"""What is handed out works: the pinned lists of requirements, and a wheel in a clean environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("domain", "application", "adapters", "entrypoints")
RUN_LOCK = "requirements.txt"
TEST_LOCK = "tests/requirements.txt"
LOCKS = (RUN_LOCK, TEST_LOCK, "tests/stores/ministack-requirements.txt", "tests/audit-requirements.txt")


@frozen
class Pin:
    """One entry of a lock file: `name==version ; marker`, and the `--hash` options that follow it."""

    requirement: Requirement
    hashes: Sequence[str]


def pins(lock: str) -> Mapping[str, Pin]:
    """The entries of a lock file by canonical name. Raises ValueError for a line that is no pin with hashes."""
    found: dict[str, Pin] = {}
    text = re.sub(r"^\s*#.*\n", "", lock, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        pin = re.fullmatch(
            r"(?P<requirement>[^\s=]+==[^\s;@]+(?: ; .+?)?)(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)", line
        )
        if pin is None:
            raise ValueError(f"not a pinned and hashed requirement: {line}")
        requirement = Requirement(pin["requirement"])
        found[canonicalize_name(requirement.name)] = Pin(requirement, pin["hashes"].split())
    return found


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


@pytest.mark.parametrize("path", LOCKS)
def test_every_requirement_is_pinned_by_version_and_hash(path: str) -> None:
    assert pins(read(path))


@pytest.mark.parametrize("path", LOCKS)
def test_locks_name_no_address_and_no_folder(path: str) -> None:
    lines = [
        line
        for line in read(path).splitlines()
        if re.search(r"://|--index|index-url|--find-links|file:|(?:^|[\s(])/", line)
    ]

    assert lines == []


@pytest.mark.parametrize(
    "line",
    [
        "attrs>=26.1.0 --hash=sha256:" + "0" * 64,
        "attrs==26.1.0",
        "attrs==26.1.0 --hash=md5:" + "0" * 32,
        "attrs @ ../attrs.whl --hash=sha256:" + "0" * 64,
        "--find-links wheels",
        "-e .",
    ],
)
def test_what_is_not_pinned_is_noticed(line: str) -> None:
    with pytest.raises(ValueError, match="not a pinned"):
        pins(line)


@pytest.mark.parametrize("folder", ["tests/stores/azurite", "tests/entrypoints/page/npm"])
def test_packages_of_npm_are_pinned_by_version_and_hash_and_by_no_address(folder: str) -> None:
    wanted = json.loads(read(f"{folder}/package.json"))["dependencies"]
    packages = json.loads(read(f"{folder}/package-lock.json"))["packages"]

    assert packages.pop("")["dependencies"] == wanted
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    for package in packages.values():
        assert package["version"]
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_locks_serve_more_than_one_platform() -> None:
    # Three that are compiled, one of them for every platform, Python version and processor anew.
    assert all(len(pins(read(RUN_LOCK))[name].hashes) > 10 for name in ("cffi", "cryptography", "orjson"))


@pytest.mark.parametrize("path", [RUN_LOCK, TEST_LOCK])
def test_locks_hold_what_the_project_asks_for(path: str) -> None:
    settings = project()
    wanted = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    if path == TEST_LOCK:
        wanted += settings["project"]["optional-dependencies"]["test"]
    locked = pins(read(path))

    for requirement in map(Requirement, wanted):
        pinned = locked[canonicalize_name(requirement.name)].requirement
        (version,) = pinned.specifier
        assert requirement.specifier.contains(version.version), f"{pinned} isn't {requirement}: run `make lock`"


def test_tests_run_on_the_versions_that_the_service_runs_on() -> None:
    tested = pins(read(TEST_LOCK))

    for name, pin in pins(read(RUN_LOCK)).items():
        assert tested[name].requirement.specifier == pin.requirement.specifier


def test_what_the_service_runs_on_here_is_what_is_locked() -> None:
    """Every distribution that the service needs, and whatever that needs, is installed as the lock has it."""
    locked = pins(read(RUN_LOCK))
    waiting, seen = [Requirement(text) for text in project()["project"]["dependencies"]], dict[str, str]()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen[name] = metadata.version(name)
        assert list(locked[name].requirement.specifier) == list(SpecifierSet(f"=={seen[name]}")), f"{name} isn't locked"
        assert requirement.url is None
        waiting += map(Requirement, metadata.requires(name) or ())
    assert len(seen) > 20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # By the build backend itself: no isolated environment, so nothing is fetched.
    run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder], cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}

    expected = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files == expected
    assert files.issuperset(f"{package}/py.typed" for package in PACKAGES)


def test_the_wheel_brings_licence_and_command(wheel: Path) -> None:
    information = f"bitstore_service-{project()['project']['version']}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        assert b"MIT License" in archive.read(f"{information}/licenses/LICENSE")
        assert b"bitstore = entrypoints.cli.main:main" in archive.read(f"{information}/entry_points.txt")


def test_the_wheel_runs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    folder = tmp_path / "empty"
    folder.mkdir()
    install(environment, wheel)
    bitstore = environment / "bin" / "bitstore"

    assert "demo" in run([bitstore, "--help"], cwd=folder)
    run([bitstore, "demo", "--once"], cwd=folder)

    assert list(folder.iterdir()) == []


def install(environment: Path, wheel: Path) -> None:
    """Make an environment of the pinned requirements and the wheel, with uv if there is one, else with pip."""
    python = environment / "bin" / "python"
    if uv := shutil.which("uv", path=f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"):
        run([uv, "venv", "--python", sys.executable, environment], cwd=ROOT)
        pip: list[str | Path] = [uv, "pip", "install", "--python", python]
    else:
        # This environment's pip works on the other one, which is ready sooner without its own.
        run([sys.executable, "-m", "venv", "--without-pip", environment], cwd=ROOT)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--disable-pip-version-check",
            "--no-compile",
        ]
    run([*pip, "--require-hashes", "-r", RUN_LOCK], cwd=ROOT)
    run([*pip, "--no-deps", wheel], cwd=ROOT)


def run(command: Sequence[str | Path], *, cwd: Path) -> str:
    """What `command` prints when it is told nothing by the environment; fails with all that it said if it fails."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "AWS_", "STORAGE_", "DATAHUB_", "PYTEST_", "COV_"))
    }
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
