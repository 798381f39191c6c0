"""`make audit` asks about all that is pinned, and says that all is well only if it was told so."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.adapters.tokens.auth_server import Answer, answering, resetting, serving, stalling
from tests.osv import Advisory, Osv, query
from tests.stores.processes import bare_environment, free_port

ROOT = Path(__file__).parents[1]
ALL_IS_WELL = "No known vulnerabilities found"


def audit(osv_url: str, folder: Path, *, options: str = "", lists: Path | None = None) -> tuple[int, str]:
    """Run `make audit` against another service than OSV, perhaps for another list; its status, and all that it says."""
    command = ["make", "--no-print-directory", "audit", f"ARGS=--osv-url={osv_url} --timeout=5 {options}"]
    # What is installed is taken as it is: tests beside this one use it.
    command += ["--old-file=.venv/.installed-audit", *([f"REQUIREMENTS={lists}"] if lists else [])]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=bare_environment(folder, {"PATH": os.environ["PATH"]}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def pinned() -> dict[str, list[tuple[str, str]]]:
    """Every list of requirements that there is, with the names and versions in it, for whatever platform they are."""
    paths = [*ROOT.glob("*requirements.txt"), *(ROOT / "tests").rglob("*requirements.txt")]
    return {
        path.relative_to(ROOT).as_posix(): re.findall(r"^([^\s=#]+)==([^\s;]+)", path.read_text("utf-8"), re.MULTILINE)
        for path in paths
    }


@pytest.fixture
def two_packages(tmp_path: Path) -> Path:
    path = tmp_path / "two.txt"
    path.write_text("".join(f"{name} \\\n    --hash=sha256:{'0' * 64}\n" for name in ("here==1.0", "there==2.0")))
    return path


def test_every_pinned_package_is_asked_about_and_what_is_affected_fails_the_audit(tmp_path: Path) -> None:
    """It is asked about by name and version, and nothing else is sent; other lists than the affected ones are well."""
    to_test = dict(pinned()["tests/requirements.txt"])
    known = [
        Advisory("PYSEC-2026-1", "pyjwt", to_test["pyjwt"]),
        # For Windows only.
        Advisory("GHSA-aaaa-bbbb-cccc", "colorama", to_test["colorama"]),
        Advisory("PYSEC-2026-2", "starlette", "0.1"),
    ]
    with serving(Osv(known)) as osv:
        status, said = audit(osv.url, tmp_path)

    asked = [(asked["package"]["name"], asked["version"]) for asked in osv.queries]
    assert sorted(asked) == sorted(pin for pins in pinned().values() for pin in pins)
    assert osv.queries == [query(*pin) for pin in asked]
    _, *parts = re.split(r"^(\S*requirements\.txt):\n", said, flags=re.MULTILINE)
    found = {
        path: set(re.findall(r"^(\S+) +(\S+) +((?:PYSEC|GHSA)-\S+)", part, re.MULTILINE))
        for path, part in zip(parts[::2], parts[1::2], strict=True)
    }
    pyjwt = ("pyjwt", to_test["pyjwt"], "PYSEC-2026-1")
    colorama = ("colorama", to_test["colorama"], "GHSA-aaaa-bbbb-cccc")
    assert found == {path: set[object]() for path in pinned()} | {
        "requirements.txt": {pyjwt},
        "tests/requirements.txt": {pyjwt, colorama},
    }
    assert said.count(ALL_IS_WELL) == len(pinned()) - 2
    assert status != 0


def test_where_nothing_is_known_all_is_well(two_packages: Path, tmp_path: Path) -> None:
    """An advisory can be ignored, and no other is with it."""
    with serving(Osv()) as osv:
        status, said = audit(osv.url, tmp_path, lists=two_packages)
        assert (status, said.count(ALL_IS_WELL)) == (0, 1)

        osv.advisories = [Advisory("PYSEC-2026-1", "there", "2.0")]
        status, said = audit(osv.url, tmp_path, options="--ignore-vuln=PYSEC-2026-1", lists=two_packages)
        assert status == 0, said
        assert f"{ALL_IS_WELL}, 1 ignored" in said

        osv.advisories = [*osv.advisories, Advisory("PYSEC-2026-2", "there", "2.0")]
        status, said = audit(osv.url, tmp_path, options="--ignore-vuln=PYSEC-2026-1", lists=two_packages)
        assert status != 0, said


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(stalling, id="no answer"),
        pytest.param(resetting, id="a broken connection"),
        pytest.param(answering(b"{}", status=503), id="an error"),
        pytest.param(answering(b"<p>Welcome</p>"), id="a page"),
        pytest.param(answering(b'{"code":3,"message":"Invalid query."}'), id="other JSON"),
    ],
)
def test_a_service_that_gets_into_trouble_half_way_fails_the_audit(
    trouble: Answer, two_packages: Path, tmp_path: Path
) -> None:
    with serving(Osv(trouble=trouble)) as osv:
        status, said = audit(osv.url, tmp_path, options="--timeout=1", lists=two_packages)

    assert len(osv.queries) == 2
    assert status != 0
    assert ALL_IS_WELL not in said


def test_a_service_that_is_not_there_fails_the_audit(two_packages: Path, tmp_path: Path) -> None:
    status, said = audit(f"http://127.0.0.1:{free_port()}/v1/query", tmp_path, lists=two_packages)

    assert status != 0
    assert ALL_IS_WELL not in said


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param(f"here @ https://files.example/here.whl --hash=sha256:{'0' * 64}", id="without versions"),
    ],
)
def test_a_list_that_nothing_can_be_asked_about_fails_the_audit(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "none.txt"
    if text is not None:
        path.write_text(text)
    with serving(Osv()) as osv:
        status, said = audit(osv.url, tmp_path, lists=path)

    assert status != 0
    assert ALL_IS_WELL not in said
    assert not osv.queries
