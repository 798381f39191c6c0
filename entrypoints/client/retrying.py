"""When to ask again, and when to stop."""

import threading
from collections.abc import Callable
from itertools import count
from secrets import SystemRandom
from typing import TypeVar

from attrs import frozen

from entrypoints.client.errors import Stopped, Unreachable

_Result = TypeVar("_Result")
_random = SystemRandom()


class Stop:
    """A wish to end that all threads of a client see. It is never taken back."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def is_set(self) -> bool:
        """Whether all is to end."""
        return self._event.is_set()

    def set(self) -> None:
        """End all."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stopped` if all is to end."""
        if self._event.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until all is to end; then raise `Stopped`."""
        if self._event.wait(seconds):
            raise Stopped


@frozen
class Retries:
    """How often something is tried, and the pauses in between, in seconds.

    A pause grows twofold from `first_pause` to `longest_pause`, and is shortened at random by up to a half, so that
    many clients don't come back at once. A server that says when it wants to be asked again is not asked sooner, and
    waited for at most `longest_wait`.
    """

    attempts: int = 6
    first_pause: float = 0.5
    longest_pause: float = 20.0
    longest_wait: float = 120.0

    def run(self, act: Callable[[], _Result], stop: Stop, noted: Callable[[str], None] | None = None) -> _Result:
        """Act until it succeeds; what it raises passes through, `Unreachable` only after the last attempt.

        `noted` is told why one waits.
        """
        for attempt in count(1):
            stop.check()
            try:
                return act()
            except Unreachable as error:
                if attempt >= self.attempts or stop.is_set:
                    stop.check()
                    raise
                pause = self.pause(attempt, error.retry_after)
                if noted is not None:
                    noted(f"{error}; trying again in {pause:.1f} s")
                stop.sleep(pause)
        raise AssertionError

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Give the seconds to wait after so many attempts."""
        usual = min(self.first_pause * 2 ** (attempt - 1), self.longest_pause)
        shortened: float = usual * _random.uniform(0.5, 1)
        return max(shortened, min(retry_after or 0, self.longest_wait))
