"""How far a transfer has come: what all ways to show it have in common."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from entrypoints.cli.round_trip import human_size
from entrypoints.client import Phase, Watcher

TITLES: Mapping[Phase, str] = {
    Phase.HASH: "hashing",
    Phase.COMPARE: "comparing",
    Phase.SEND: "sending",
    Phase.VERIFY: "verifying",
    Phase.LIST: "listing",
    Phase.FETCH: "fetching",
}
# A rate is that of so many seconds, so that it follows the line and doesn't jump.
_RATE_SECONDS = 15.0
_SAMPLE_SECONDS = 0.5


def printable(text: str) -> str:
    """Make text from elsewhere fit for a terminal: control characters are shown, and do nothing."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def duration(seconds: float) -> str:
    """Write how long something takes, for people."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"


@frozen
class FlyingFile:
    """A file whose turn it is."""

    path: str
    length: int
    moved: int


@define
class State:
    """How far one phase has come, in files and bytes."""

    phase: Phase
    files: int
    size: int
    begun: float
    done: int = 0
    failed: int = 0
    moved: int = 0
    flying: dict[str, FlyingFile] = field(factory=dict)
    _samples: deque[tuple[float, float]] = field(factory=deque)

    @property
    def title(self) -> str:
        """What is being done."""
        return TITLES[self.phase]

    @property
    def share(self) -> float:
        """How much of all is done, from 0 to 1: of the bytes where there are any, else of the files."""
        part, whole = (self.moved, self.size) if self.size else (self.done, self.files)
        return min(max(part / whole, 0.0), 1.0) if whole else 1.0

    def sample(self, now: float) -> None:
        """Remember how far one is, for the rate."""
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, self.moved if self.size else self.done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()

    def rate(self, now: float) -> float:
        """Give the bytes per second of late, or the files where there are no bytes."""
        since, then = self._samples[0] if self._samples else (self.begun, 0)
        reached = self.moved if self.size else self.done
        return max(reached - then, 0) / (now - since) if now > since else 0.0

    def seconds_left(self, now: float) -> float | None:
        """Give how long it takes at that rate; None where nothing moves."""
        rate = self.rate(now)
        left = self.size - self.moved if self.size else self.files - self.done
        return max(left, 0) / rate if rate else None

    def describe(self) -> str:
        """Say how many files and bytes of all are done."""
        files = f"{self.done} of {self.files} files"
        return f"{files}, {human_size(max(self.moved, 0))} of {human_size(self.size)}" if self.size else files

    def describe_speed(self, now: float) -> str:
        """Say how fast it is, and how long it takes."""
        left = self.seconds_left(now)
        speed = f"{human_size(int(self.rate(now)))}/s" if self.size else ""
        return ", ".join(filter(None, [speed, "" if left is None else f"{duration(left)} left"]))


class Tally(Watcher):
    """Counts what happens. To show it is up to `show`, `finish`, `warn` and `complain`, which run under the lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.state: State | None = None

    def phase(self, phase: Phase, files: int, size: int) -> None:
        """See a phase begin."""
        with self.lock:
            self.end()
            if files:
                self.state = State(phase, files, size, self.clock())
                self.state.sample(self.state.begun)
                self.show()

    def end(self) -> None:
        """See the last phase end, however it did."""
        with self.lock:
            if self.state is not None:
                self.finish(self.state)
            self.state = None

    def began(self, path: str, length: int) -> None:
        """See the turn of a file come."""
        with self.lock:
            if self.state is not None:
                self.state.flying[path] = FlyingFile(path, length, 0)

    def moved(self, path: str, count: int) -> None:
        """See bytes of a file go by."""
        with self.lock:
            if self.state is None:
                return
            self.state.moved += count
            flying = self.state.flying.get(path)
            if flying is not None:
                self.state.flying[path] = FlyingFile(path, flying.length, flying.moved + count)
            self.state.sample(self.clock())
            self.show()

    def ended(self, path: str, problem: str | None = None) -> None:
        """See the end of a file."""
        with self.lock:
            if self.state is not None:
                self.state.flying.pop(path, None)
                self.state.done += 1
                self.state.failed += problem is not None
                self.state.sample(self.clock())
                self.show()
            if problem is not None:
                self.complain(f"failed: {printable(path)}: {printable(problem)}")

    def noted(self, note: str) -> None:
        """Learn of something that a person should know."""
        with self.lock:
            self.warn(f"note: {printable(note)}")

    def show(self) -> None:
        """Show how far one is, if it is time to."""

    def finish(self, state: State) -> None:
        """Show what came of a phase."""

    def warn(self, text: str) -> None:
        """Say something that stops nothing."""

    def complain(self, text: str) -> None:
        """Say what went wrong."""
