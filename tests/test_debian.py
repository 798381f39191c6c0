"""Tests that need Debian's programs say which, and never pass without them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import debian

ROOT = Path(__file__).parents[1]


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "defpath", "/nowhere")

    with pytest.raises(FileNotFoundError) as failure:
        debian.program("radosgw-admin")

    advice = "apt-get install --no-install-recommends ceph-common"
    assert str(failure.value) == f"missing: radosgw-admin. On Debian: {advice}"
    assert debian.missing() == list(debian.PACKAGES)


def test_a_program_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "radosgw"
    program.touch(mode=0o755)
    monkeypatch.setattr(os, "defpath", str(tmp_path))

    assert debian.program("radosgw") == program
    assert "radosgw" not in debian.missing()


def test_make_test_all_ends_at_once_where_programs_are_missing() -> None:
    command = "import os, runpy; os.defpath = '/nowhere'; runpy.run_module('tests.debian', run_name='__main__')"

    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Tests marked `debian` can't run. missing: ceph, ceph-authtool, ")
    assert len(done.stderr.splitlines()) == 1
