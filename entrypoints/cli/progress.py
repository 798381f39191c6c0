"""Progress on the standard error: bars on a terminal, a line now and then elsewhere, or silence."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from entrypoints.cli.tally import State, Tally, duration

_LINE_SECONDS = 5.0


class Quiet(Tally):
    """Says nothing but what went wrong."""

    def complain(self, text: str) -> None:
        """Print it."""
        print(text, file=sys.stderr, flush=True)


class Lines(Quiet):
    """Prints a line every few seconds, and one at the end of each phase: for logs."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._stream = stream
        self._shown = clock()

    def show(self) -> None:
        """Print a line, unless there was one just now."""
        now = self.clock()
        if self.state is None or now - self._shown < _LINE_SECONDS:
            return
        self._shown = now
        share, speed = f"{self.state.share:.0%}", self.state.describe_speed(now)
        self._print(f"{self.state.title}: {self.state.describe()} ({share}){speed and f', {speed}'}")

    def finish(self, state: State) -> None:
        """Print how far it came."""
        self._print(f"{state.title}: {state.describe()} in {duration(self.clock() - state.begun)}")

    def warn(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def complain(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tally]:
    """Show progress in the way that fits, until the context is left."""
    if quiet:
        yield Quiet()
        return
    if sys.stderr.isatty():
        try:
            from entrypoints.cli.progress_bars import bars  # noqa: PLC0415 - rich may not be installed
        except ImportError:
            pass
        else:
            with bars() as shown:
                yield shown
                shown.end()
            return
    lines = Lines(sys.stderr)
    yield lines
    lines.end()
