"""How one process shares its one thread between many small requests and a few huge ones; and what else it needs."""

import asyncio
import gc
import sys
import time
from asyncio import Lock, Task
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from typing import TypeVar

from attrs import field, frozen

if sys.platform != "win32":
    import resource

_T = TypeVar("_T")

_TURN_SECONDS = 0.001
_MADE_AT_ONCE = 32
"""How many items are made at most before the clock is looked at: those of a fast signer take a fifth of a turn."""
_YOUNG_OBJECTS = 200_000
"""More than the largest batch has alive at once, so that it never waits for the collector."""
_LARGEST_KEPT_BLOCK = 31 << 20
"""In bytes; a little less than the most that the C library can be made to keep."""

_DESCRIPTORS = 65_536
"""More than connections and files of one process ever need, and few enough for what goes through all of them."""


@frozen
class FairTurns:
    """The `Turns` of an event loop. Of all requests that pause, one goes on at a time, in the order in which they ask.

    So however many large requests there are, a small one waits for a single step of one of them. `clock` counts
    seconds.
    """

    _clock: Callable[[], float] = time.perf_counter
    _one_by_one: Lock = field(factory=Lock, init=False, repr=False)

    @property
    def wanted(self) -> bool:
        """Whether a large request waits for its next step."""
        return self._one_by_one.locked()

    async def pause(self) -> None:
        """Let everything run that can, and then those that paused before us."""
        async with self._one_by_one:
            await asyncio.sleep(0)

    def take(self, items: Iterator[_T]) -> list[_T]:
        """Make items for about a millisecond: one, two more, then four, so that slow ones take little longer."""
        made: list[_T] = []
        ends, size = self._clock() + _TURN_SECONDS, 1
        while some := list(islice(items, size)):
            made += some
            if self._clock() > ends:
                break
            size = min(2 * size, _MADE_AT_ONCE)
        return made

    def start(self, work: Coroutine[None, None, _T]) -> Task[_T]:
        """Begin to do `work` whenever nothing else runs."""
        return asyncio.create_task(work)


def tune_interpreter() -> None:
    """Set up a process that does nothing but serve; call it when everything is imported and wired.

    A batch makes hundreds of thousands of objects, none of which needs the collector to die: it looks at young objects
    seldom, and never again at what was there before the first request.

    An answer of thousands of files takes megabytes, which the GNU C library would give back to the system after each
    one and ask for again, page by page, at the next: that takes as long as signing. It keeps blocks as large as the
    largest that was ever freed (mallopt(3), "dynamic mmap threshold"), and this one costs no memory, being untouched.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 100)
    bytes(_LARGEST_KEPT_BLOCK)


def raise_descriptor_limit() -> None:
    """Let this process, and those that it starts, have as many connections and files as it may have.

    The usual limit of 1,024 is for programs that use select(2), which we don't; it is meant to be raised (systemd's
    documentation, "File Descriptor Limits").
    """
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
