"""What clients may take of a process: for how long, how slowly, and how many of them at once."""

from collections.abc import Callable
from types import TracebackType

from attrs import define, field, frozen

from entrypoints.environment import EnvironmentReader

TRANSFERS_AT_ONCE = 256


@frozen
class Pace:
    """How slow a client may be while bytes go to it or come from it.

    It is given up when nothing has moved for `patience_seconds`, and sooner or later when, on average, less than
    `bytes_per_second` does.
    """

    patience_seconds: float = 30.0
    bytes_per_second: int = 1024


@define
class Patience:
    """What is left of the patience with one transfer, in seconds: waiting takes of it, each byte gives some back."""

    pace: Pace
    left: float = field(init=False)

    @left.default
    def _all(self) -> float:
        return self.pace.patience_seconds

    def waited(self, seconds: float, moved: int) -> None:
        """Note that so many bytes have moved while we had nothing to do but wait."""
        earned = moved / self.pace.bytes_per_second
        self.left = min(self.pace.patience_seconds, self.left - seconds + earned)


@define
class AtOnce:
    """Places for what is done at once; whoever finds none free gets what `refuse` makes."""

    free: int
    refuse: Callable[[], Exception]

    def __enter__(self) -> None:
        if self.free < 1:
            raise self.refuse()
        self.free -= 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free += 1


@frozen
class Limits:
    """What one process allows.

    A request's head and a body of JSON have the patience of `pace` to arrive whole. `requests_at_once` are those that
    have arrived and are worked on; `transfers_at_once` uploads into the embedded store, and as many downloads.
    """

    pace: Pace = Pace()
    requests_at_once: int = 512
    transfers_at_once: int = TRANSFERS_AT_ONCE


@frozen
class Farewell:
    """How a process ends that is told to.

    For `drain_seconds` it says that it will, and still does all that it is asked; after that it has `grace_seconds` for
    what is in flight.
    """

    drain_seconds: int = 3
    grace_seconds: int = 30


def read_pace(reader: EnvironmentReader) -> Pace:
    """Read how slow clients may be."""
    return Pace(
        reader.integer("CLIENT_TIMEOUT_SECONDS", 30, low=1, high=3_600),
        reader.integer("CLIENT_MIN_BYTES_PER_SECOND", 1024, low=1, high=10**9),
    )


def read_transfers(reader: EnvironmentReader) -> int:
    """Read how many uploads into the embedded store there may be at once, and how many downloads."""
    return reader.integer("STORAGE_MAX_TRANSFERS", TRANSFERS_AT_ONCE, low=1, high=100_000)


def read_farewell(reader: EnvironmentReader) -> Farewell:
    """Read how long ending takes."""
    return Farewell(
        reader.integer("DRAIN_SECONDS", Farewell().drain_seconds, low=0, high=3_600),
        reader.integer("GRACE_SECONDS", Farewell().grace_seconds, low=1, high=86_400),
    )
