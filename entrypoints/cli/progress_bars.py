"""Progress bars on a terminal, by rich, which the extra `push` installs."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from entrypoints.cli.round_trip import human_size
from entrypoints.cli.tally import State, Tally, duration, printable

_PER_SECOND = 8
_TITLE_WIDTH = 10
_BAR_WIDTH = 28
_MOST_FILES = 16


class Bars(Tally):
    """A bar for the phase, and one for each file whose turn it is; drawn anew some times a second."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def finish(self, state: State) -> None:
        """Leave a line where the bar was."""
        self._print(f"{state.title:<{_TITLE_WIDTH}} {state.describe()} in {duration(self.clock() - state.begun)}")

    def warn(self, text: str) -> None:
        """Print it above the bars."""
        self._print(text, "yellow")

    def complain(self, text: str) -> None:
        """Print it above the bars."""
        self._print(text, "red")

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style), soft_wrap=True)

    def render(self) -> RenderableType:
        """Draw the bars as they are now."""
        with self.lock:
            if self.state is None:
                return Text()
            return Group(self._phase(self.state), self._files(self.state))

    def _phase(self, state: State) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=_TITLE_WIDTH)
        table.add_column(width=_BAR_WIDTH)
        table.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=1.0, completed=state.share, width=_BAR_WIDTH)
        table.add_row(state.title, bar, f"{state.share:>4.0%}  {state.describe_speed(self.clock())}")
        return Group(table, Text(" " * (_TITLE_WIDTH + 1) + state.describe()))

    def _files(self, state: State) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=_TITLE_WIDTH)
        table.add_column(width=_BAR_WIDTH)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for file in islice(state.flying.values(), _MOST_FILES):
            bar = ProgressBar(total=max(file.length, 1), completed=max(file.moved, 0), width=_BAR_WIDTH)
            table.add_row("", bar, human_size(file.length), Text(printable(file.path)))
        return table


@contextmanager
def bars() -> Iterator[Bars]:
    """Show bars on the standard error until the context is left."""
    console = Console(stderr=True, highlight=False)
    shown = Bars(console)
    with Live(get_renderable=shown.render, console=console, refresh_per_second=_PER_SECOND, transient=True):
        yield shown
