"""How much the tests have tried: counted where it is done, added up at the end of a run."""

from collections import Counter
from collections.abc import Callable

import pytest
from _pytest.terminal import TerminalReporter

_PREFIX = "tried: "

Tried = Callable[[str, int], None]
"""Call with the name of what was tried, in the plural, and how often."""


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Tried:
    """Count what a test has tried. It is told only if the test passes."""
    return lambda what, times: record_property(f"{_PREFIX}{what}", times)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Tell the sums."""
    sums: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        sums.update({name: times for name, times in report.user_properties if name.startswith(_PREFIX)})
    if sums:
        terminalreporter.section("tried, and nothing found")
        for name, times in sorted(sums.items()):
            terminalreporter.write_line(f"{times:>12,} {name.removeprefix(_PREFIX)}")
