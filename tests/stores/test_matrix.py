"""The capability matrix says what the contract suite sees, and the documentation says what the matrix says."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from adapters.stores.contract import StoreContract
from domain.uploads import Capabilities, Guarantee, UploadMethod
from entrypoints.cli.main import main
from entrypoints.cli.matrix import StoreClaims, list_stores
from tests.stores import test_contract, test_gcs_contract
from tests.stores.seen import Seen, differences

REPOSITORY = Path(__file__).parents[2]
OURS = (None, "bitstore-service")


def harnesses(*modules: ModuleType) -> list[type[StoreContract]]:
    """All classes that run the suite."""
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, StoreContract) and found is not StoreContract
    ]


def test_what_is_said_to_be_seen_is_what_a_harness_looks_at() -> None:
    looked_at = {
        (harness.row, harness.server)
        for harness in harnesses(test_contract, test_gcs_contract)
        if hasattr(harness, "row") and hasattr(harness, "server")
    }
    said = {
        (row.label, row.seen_on)
        for store in list_stores()
        for row in store.claims
        if store.distribution in OURS and row.seen_on is not None
    }
    assert said == looked_at


def test_every_store_that_is_ours_has_a_row() -> None:
    assert [store.name for store in list_stores() if store.distribution in OURS and not store.claims] == []


def test_the_documentation_has_the_matrix_as_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stores", "--markdown"]) == 0
    printed = capsys.readouterr().out
    text = (REPOSITORY / "adapters" / "README.md").read_text("utf-8")
    documented = re.findall(r"<!-- capability matrix -->\n\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert documented == [printed], "put the output of `bitstore stores --markdown` between the two comments"


ENFORCED = frozenset({Guarantee.KEY, Guarantee.MD5})
ROW = StoreClaims("made-up", None, Capabilities({UploadMethod.PUT: ENFORCED}, 10, timedelta(days=1)), "Here")
AS_CLAIMED = {
    f"PUT {guarantee}": {guarantee in ENFORCED} for guarantee in Guarantee if guarantee is not Guarantee.ACCESS
}


def without(cell: str) -> Mapping[str, set[bool]]:
    return {name: sights for name, sights in AS_CLAIMED.items() if name != cell}


def test_nothing_differs_where_all_is_seen_as_it_is_claimed() -> None:
    assert differences({"made-up": AS_CLAIMED}, [ROW], whole=True) == []
    assert differences({}, [ROW], whole=True) == []


@pytest.mark.parametrize(
    ("seen", "difference"),
    [
        ({**AS_CLAIMED, "PUT md5": {False}}, "made-up, PUT md5: seen not to be enforced"),
        ({**AS_CLAIMED, "PUT md5": {True, False}}, "made-up, PUT md5: seen not to be enforced"),
        ({**AS_CLAIMED, "PUT sha256": {True}}, "made-up, PUT sha256: seen enforced"),
        ({**AS_CLAIMED, "PUT access": {True}}, "made-up, PUT access: seen enforced"),
        ({**AS_CLAIMED, "POST key": {True}}, "made-up, POST key: seen, and not in the matrix"),
        (without("PUT md5"), "made-up, PUT md5: the suite never looked at it"),
        (without("PUT sha256"), "made-up, PUT sha256: the suite never looked at it"),
    ],
)
def test_every_difference_is_found(seen: Mapping[str, set[bool]], difference: str) -> None:
    (found,) = differences({"made-up": seen}, [ROW], whole=True)
    assert found.startswith(difference)


def test_a_row_that_is_missing_is_found() -> None:
    seen: Seen = {"another": AS_CLAIMED}
    assert differences(seen, [ROW], whole=False) == ["another: seen, and not in the matrix"]


def test_part_of_a_run_may_leave_cells_out() -> None:
    assert differences({"made-up": without("PUT md5")}, [ROW], whole=False) == []


@pytest.mark.parametrize(
    ("enforced", "processes", "status"),
    [(True, [], 0), (False, [], 1), (False, ["-n", "1"], 1)],
    ids=["none seen", "seen in one process", "seen in another process"],
)
def test_a_run_that_sees_a_difference_fails(tmp_path: Path, enforced: bool, processes: list[str], status: int) -> None:
    (tmp_path / "test_made_up.py").write_text(
        "class TestDisk:\n"
        "    row = 'disk'\n"
        f"    def test_md5(self, record_property): record_property('PUT md5', {enforced})\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.stores.seen", "-p", "no:cacheprovider", "-k", "md5"]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [*command, *processes, "test_made_up.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == status, run.stdout + run.stderr
    assert ("disk, PUT md5: seen not to be enforced" in run.stdout) is not enforced
