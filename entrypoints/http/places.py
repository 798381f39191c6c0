"""How many requests are worked on at a time, and how they go on beside each other."""

import asyncio

from domain.errors import ErrorCode, Unavailable
from entrypoints.counters import Counters
from entrypoints.runtime import FairTurns


class Places:
    """The places for requests that have arrived: so half-sent ones can't keep others out."""

    def __init__(self, counters: Counters, turns: FairTurns, free: int) -> None:
        self._counters = counters
        self._turns = turns
        self._few = free // 2
        counters.free_places = free

    def __enter__(self) -> None:
        if self._counters.free_places < 1:
            raise Unavailable(ErrorCode.OVERLOADED, "too many requests are being worked on; try again", retry_after=1)
        self._counters.free_places -= 1

    def __exit__(self, *_: object) -> None:
        self._counters.free_places += 1

    async def keep_step(self) -> None:
        """Let other requests come as far as this one.

        The code and data of a whole request are more than a processor's nearest caches hold, those of one stage are
        less; so it is faster to take many requests through each stage than each through all stages. (J. Larus and
        M. Parkes, "Using Cohort Scheduling to Enhance Server Performance", USENIX Annual Technical Conference 2002.)

        Nobody is waited for where few places are free, nor where a large request would have a step each time.
        """
        if self._counters.free_places > self._few and not self._turns.wanted:
            await asyncio.sleep(0)
