"""What is shown while a transfer goes on, for a clock that tests set."""

import io
import sys

import pytest
from rich.console import Console

from entrypoints.cli.progress import Lines, Quiet, progress
from entrypoints.cli.progress_bars import Bars
from entrypoints.cli.tally import Tally, duration, printable
from entrypoints.client import Phase


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class TestLines:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def log(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def lines(self, clock: Clock, log: io.StringIO) -> Lines:
        return Lines(log, clock)

    def test_there_is_a_line_every_five_seconds_and_one_at_the_end(
        self, lines: Lines, clock: Clock, log: io.StringIO
    ) -> None:
        lines.phase(Phase.SEND, 2, 100_000)
        lines.began("a.csv", 60_000)
        for _ in range(12):  # 5,000 bytes a second, for 12 seconds
            clock.now += 1
            lines.moved("a.csv", 5_000)
        lines.ended("a.csv")
        lines.phase(Phase.VERIFY, 2, 0)
        lines.end()
        assert log.getvalue().splitlines() == [
            "sending: 0 of 2 files, 25.0 kB of 100.0 kB (25%), 5.0 kB/s, 15 s left",
            "sending: 0 of 2 files, 50.0 kB of 100.0 kB (50%), 5.0 kB/s, 10 s left",
            "sending: 1 of 2 files, 60.0 kB of 100.0 kB in 12 s",
            "verifying: 0 of 2 files in 0 s",
        ]

    def test_the_rate_is_that_of_late(self, lines: Lines, clock: Clock, log: io.StringIO) -> None:
        lines.phase(Phase.SEND, 1, 10**9)
        for _ in range(100):
            clock.now += 1
            lines.moved("a.csv", 10**6)
        for _ in range(30):
            clock.now += 1
            lines.moved("a.csv", 1_000)
        assert ", 1.0 kB/s, " in log.getvalue().splitlines()[-1]

    def test_what_must_go_again_is_taken_back(self, lines: Lines, clock: Clock, log: io.StringIO) -> None:
        lines.phase(Phase.SEND, 1, 1_000)
        lines.moved("a.csv", 1_000)
        lines.moved("a.csv", -1_000)
        clock.now += 6
        lines.moved("a.csv", 0)
        assert log.getvalue().splitlines() == ["sending: 0 of 1 files, 0 B of 1.0 kB (0%), 0 B/s"]

    def test_files_count_where_there_are_no_bytes(self, lines: Lines, clock: Clock, log: io.StringIO) -> None:
        lines.phase(Phase.COMPARE, 4, 0)
        clock.now += 6
        lines.ended("a.csv")
        assert log.getvalue().splitlines() == ["comparing: 1 of 4 files (25%), 18 s left"]

    def test_a_phase_without_files_is_not_worth_a_line(self, lines: Lines, log: io.StringIO) -> None:
        lines.phase(Phase.HASH, 0, 0)
        lines.end()
        assert log.getvalue() == ""

    def test_problems_and_notes_are_told_at_once(self, lines: Lines, log: io.StringIO) -> None:
        lines.phase(Phase.SEND, 2, 10)
        lines.ended("a\x1b[2J.csv", "it can't\nbe")
        lines.noted("something\r")
        assert log.getvalue().splitlines() == ["failed: a\\x1b[2J.csv: it can't\\nbe", "note: something\\r"]


def test_quiet_tells_problems_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as tally:
        assert isinstance(tally, Quiet)
        tally.phase(Phase.SEND, 1, 1)
        tally.noted("something")
        tally.ended("a.csv", "no")
        tally.end()
    assert capsys.readouterr().err == "failed: a.csv: no\n"


class TestBars:
    def test_there_is_one_for_all_and_one_for_each_file_under_way(self) -> None:
        console = Console(file=io.StringIO(), width=80, record=True)
        bars = Bars(console)
        bars.phase(Phase.SEND, 30, 1_000_000)
        for number in range(20):
            bars.began(f"data/[bold]{number}.csv", 10_000)
        bars.moved("data/[bold]0.csv", 250_000)
        console.print(bars.render())
        shown = console.export_text().splitlines()
        assert shown[0].startswith("sending")
        assert " 25%" in shown[0]
        assert shown[1].strip() == "0 of 30 files, 250.0 kB of 1.0 MB"
        assert "data/[bold]0.csv" in shown[2]
        assert len(shown) == 2 + 16

    def test_what_is_over_stays_as_a_line_and_problems_stand_above(self) -> None:
        console = Console(file=io.StringIO(), width=80, record=True)
        bars = Bars(console)
        bars.phase(Phase.SEND, 1, 10)
        bars.ended("[red]a.csv", "no")
        bars.noted("a note")
        bars.end()
        assert console.export_text().splitlines() == [
            "failed: [red]a.csv: no",
            "note: a note",
            "sending    1 of 1 files, 0 B of 10 B in 0 s",
        ]
        console.print(bars.render())
        assert console.export_text().strip() == ""


def test_without_rich_a_terminal_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(quiet=False) as tally:
        assert isinstance(tally, Bars)
    monkeypatch.setitem(sys.modules, "entrypoints.cli.progress_bars", None)
    with progress(quiet=False) as tally:
        assert isinstance(tally, Lines)


def test_nothing_is_counted_between_phases() -> None:
    tally = Tally()
    tally.moved("a.csv", 1)
    tally.began("a.csv", 1)
    tally.ended("a.csv")
    assert tally.state is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3_599, "59 min 59 s"), (90_000, "25 h 0 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("Größe/日本語 🚀.csv") == "Größe/日本語 🚀.csv"
