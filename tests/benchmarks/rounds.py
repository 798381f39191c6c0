"""Measuring in turns: whatever slows the machine down for a while slows down all that is compared."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen

from tests.benchmarks.report import Finding, Spread, Target


@frozen
class Scale:
    """How long to measure. `seconds` is the time of one round of one thing under load."""

    rounds: int
    seconds: float
    sizes: Sequence[int]
    """Files a request."""
    files: int
    """Files in the batch of which a time per file is taken."""
    huge: int
    """Files in the largest batch that is asked for."""
    fresh_tokens: int
    """Requests of one round whose tokens nobody has seen before."""


FULL = Scale(rounds=5, seconds=0.6, sizes=(1, 100, 1_000, 10_000), files=1_000, huge=10_000, fresh_tokens=800)
QUICK = Scale(rounds=1, seconds=0.05, sizes=(1, 20), files=20, huge=300, fresh_tokens=5)
"""Shows that everything runs; the figures mean nothing."""


@frozen
class Rounds:
    """One sample of each name in each round."""

    samples: Mapping[str, Sequence[float]]

    def figure(self, name: str, unit: str, *, of: str, times: float = 1.0) -> Finding:
        """Tell what was measured of `of`, in another unit."""
        return Finding(name, Spread.of([sample * times for sample in self.samples[of]]), unit)

    def ratio(
        self, name: str, over: str, under: str, *, unit: str = "x", times: float = 1.0, target: Target | None = None
    ) -> Finding:
        """Divide two samples of each round; the median of that is what counts."""
        pairs = zip(self.samples[over], self.samples[under], strict=True)
        return Finding(name, Spread.of([first / second * times for first, second in pairs]), unit, target)


def in_turns(rounds: int, measures: Mapping[str, Callable[[], float]]) -> Rounds:
    """Take a sample of each, `rounds` times, in an order that turns round."""
    samples: dict[str, list[float]] = {name: [] for name in measures}
    order = list(measures)
    for _ in range(rounds):
        for name in order:
            samples[name].append(measures[name]())
        order.reverse()
    return Rounds(samples)


def seconds_each(make: Callable[[], Iterable[object]], count: int, *, at_least: float = 0.0) -> Callable[[], float]:
    """Give a measure of the seconds that one of the `count` things takes that `make` makes.

    A sample takes `at_least` so many seconds: what is quick is made again and again.
    """

    def measure() -> float:
        made, start = 0, time.perf_counter()
        while True:
            deque(make(), maxlen=0)
            made += count
            spent = time.perf_counter() - start
            if spent >= at_least:
                return spent / made

    return measure
