"""That the tool does what it says: a mutant that nobody notices is told, and one that somebody notices isn't."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.accepted import Accepted
from tests.mutation.mutants import mutants_of
from tests.mutation.running import ROOT

_MODULE = """
LIMIT = 3

def fits(size):
    if size > LIMIT:
        return False
    return True
"""
_TESTS = """
from fitting import fits

def test_what_is_small_fits():
    assert fits(1)

def test_what_is_large_does_not():
    assert not fits(9)

def test_what_is_just_too_large_does_not():
    assert not fits(4)
"""
_EXPLAINED = """
[[survivor]]
module = "fitting.py"
was = "LIMIT = 3"
becomes = ["LIMIT = 2"]
reason = "A test of the tool."

[[survivor]]
module = "fitting.py"
where = "fits"
was = "if size > LIMIT:"
becomes = ["if (size >= LIMIT):"]
reason = "The same."
"""
_COMMAND = """
import sys
from pathlib import Path
from tests.mutation.__main__ import examine
from tests.mutation.accepted import Accepted
from tests.mutation.running import Target

folder = Path(sys.argv[1])
target = Target("fitting.py", ["test_fitting.py"], root=folder)
sys.exit(not examine(target, Accepted.read(folder / "survivors.toml"), jobs=1))
"""
_LIMIT = """
def test_the_limit_itself_fits():
    assert fits(3)
"""


def changes(source: str) -> set[str]:
    return {mutant.becomes for mutant in mutants_of(source)}


def examined(folder: Path, tests: str, accepted: str = "survivor = []") -> tuple[bool, str]:
    """Try it in a process that has no threads, since it makes copies of itself; give whether it's content, and why."""
    (folder / "fitting.py").write_text(_MODULE)
    (folder / "test_fitting.py").write_text(tests)
    (folder / "survivors.toml").write_text(accepted)
    command = [sys.executable, "-c", _COMMAND, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    return ended.returncode == 0, ended.stdout + ended.stderr


def test_what_no_test_notices_is_told(tmp_path: Path) -> None:
    is_content, told = examined(tmp_path, _TESTS)
    assert not is_content
    assert "fitting.py:2 \n  - LIMIT = 3\n  + LIMIT = 2\n" in told
    assert "fitting.py:5 fits\n  - if size > LIMIT:\n  + if (size >= LIMIT):\n" in told
    assert told.count("  + ") == 2
    assert "mutants, " in told
    assert "0 survived and explained, 2 unexplained" in told


def test_what_is_explained_is_accepted_as_long_as_it_survives(tmp_path: Path) -> None:
    is_content, told = examined(tmp_path, _TESTS, _EXPLAINED)
    assert is_content, told
    others = [mutant for mutant in mutants_of(_MODULE) if mutant.where != "fits"]
    outdated = Accepted.read(tmp_path / "survivors.toml").not_among("fitting.py", others)
    assert outdated == ["fits: if (size >= LIMIT):"]


def test_tests_that_fail_anyway_prove_nothing(tmp_path: Path) -> None:
    is_content, told = examined(tmp_path, "def test_nothing():\n    assert False\n")
    assert not is_content
    assert "the tests of fitting.py don't pass as it is" in told


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('NAMES = frozenset({"jwk", "jku"})', {"NAMES = frozenset(({'jwk'}))", "NAMES = frozenset(({'jku'}))"}),
        ('HEX = re.compile(r"[0-9a-f]{32}")', {'HEX = re.compile(r"[0-9]{32}")', 'HEX = re.compile(r"[0-9a-f]{33}")'}),
        ("lifetime: timedelta = timedelta(days=1)", {"lifetime: timedelta = timedelta(days=2)"}),
        ("class A:\n  key: str = field(repr=False)", {"key: str = field(repr=True)"}),
        ("if kid is None or kid in known: raise Refused()", {"if kid is None or kid in known: pass"}),
        ("x = value.strip()", {"x = (value)"}),
        ("try:\n    a()\nexcept (OSError, ValueError):\n    b()", {"except ((OSError,)):", "except ((ValueError,)):"}),
    ],
)
def test_each_part_of_a_module_is_broken(source: str, expected: set[str]) -> None:
    assert expected <= changes(source)


@pytest.mark.parametrize(
    "source",
    ['"""A text."""', "import os", "x: int", "def f(x: int) -> str: pass", '_log.info("a line of %s", 1)'],
)
def test_what_is_no_rule_is_left_alone(source: str) -> None:
    assert changes(source) == set()
