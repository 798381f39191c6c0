"""What the contract suite saw, held against the capability matrix that `bitstore stores` prints.

The suite notes in its tests' reports which guarantees it saw enforced and which not; the class of a harness says by
`row` which row of the matrix it looks at. At the end of a run, whichever processes its tests ran in, any difference
fails it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import pytest

from domain.uploads import Guarantee
from entrypoints.cli.matrix import StoreClaims, list_stores

Seen = Mapping[str, Mapping[str, AbstractSet[bool]]]
"""By the label of a row, and the name of a cell (`PUT md5`): whether it was seen enforced, or not, or both."""

_ROW = "row of the matrix"


def differences(seen: Seen, claims: Iterable[StoreClaims], *, whole: bool) -> list[str]:
    """Say in a line each which claims are otherwise, and, if all of the suite ran, which of them it never looked at.

    Rows of which nothing was seen are passed over.
    """
    rows = {row.label: row for row in claims}
    found = [f"{label}: seen, and not in the matrix" for label in sorted(seen.keys() - rows)]
    for label in sorted(seen.keys() & rows):
        found += [f"{label}, {problem}" for problem in _differences_of_row(seen[label], rows[label], whole=whole)]
    return found


def _differences_of_row(seen: Mapping[str, AbstractSet[bool]], row: StoreClaims, *, whole: bool) -> Iterable[str]:
    cells = {
        f"{method} {guarantee}": guarantee in enforced
        for method, enforced in row.capabilities.methods.items()
        for guarantee in Guarantee
    }
    yield from (f"{cell}: seen, and not in the matrix" for cell in sorted(seen.keys() - cells))
    for cell, claimed in cells.items():
        sights = seen.get(cell, set())
        if (not claimed) in sights:
            yield f"{cell}: seen {'not to be enforced' if claimed else 'enforced'}, and the matrix says otherwise"
        # Where no access is claimed, no request asks for any.
        if whole and not sights and (claimed or not cell.endswith(f" {Guarantee.ACCESS}")):
            yield f"{cell}: the suite never looked at it"


class _Record:
    """Collects what all reports say, and has the last word on the run."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, set[bool]]] = defaultdict(lambda: defaultdict(set))
        self.differences: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        label = dict(report.user_properties).get(_ROW)
        if report.when == "call" and report.passed and label is not None:
            for cell, enforced in report.user_properties:
                if cell != _ROW:
                    self.seen[str(label)][cell].add(bool(enforced))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        claims = [row for store in list_stores() for row in store.claims] if self.seen else []
        self.differences = differences(self.seen, claims, whole=_is_whole(session))
        if self.differences and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.differences:
            terminalreporter.section("the suite and the capability matrix differ", red=True)
            for difference in self.differences:
                terminalreporter.line(difference)


def _is_whole(session: pytest.Session) -> bool:
    """Whether all tests passed, and of each class all ran: only whole files were chosen."""
    chosen = session.config.option
    narrowed = chosen.keyword or chosen.deselect or getattr(chosen, "lf", False)
    narrowed = narrowed or any("::" in argument for argument in session.config.args)
    return session.exitstatus == pytest.ExitCode.OK and not narrowed


def pytest_configure(config: pytest.Config) -> None:
    """Collect where all reports come together, which with pytest-xdist is not where the tests run."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Record())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Name the row in the test's report."""
    row = getattr(getattr(item, "cls", None), "row", None)
    if row is not None:
        item.user_properties.append((_ROW, row))
