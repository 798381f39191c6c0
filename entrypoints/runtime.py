"""How one process shares its interpreter between many small requests and a few huge ones."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from attrs import field, frozen

_T = TypeVar("_T")
_A = TypeVar("_A")

FILES_AT_ONCE = 200
"""How many files a request may have to be worked on at once: a few milliseconds, as long as others can wait."""

_SWITCH_SECONDS = 0.001
_YOUNG_OBJECTS = 50_000


@frozen
class OneBatchAtATime:
    """A `Background` that does the work of large batches in one thread of its own, one after the other.

    Python lets one thread run at a time and changes between them every `sys.getswitchinterval()`, so small requests go
    on beside a large one; of two large ones, both would only be slower.
    """

    _thread: ThreadPoolExecutor = field(
        factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="batches"), init=False, repr=False
    )

    async def __call__(self, work: Callable[[], _T], *, files: int) -> _T:
        """Do the work: at once, or in the thread where there is much of it."""
        if files <= FILES_AT_ONCE:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def while_waiting(
        self, answer: Coroutine[None, None, _A], work: Callable[[], _T], *, files: int
    ) -> tuple[_A, _T]:
        """Start waiting, do the work as above, and give what both give; without the work, the waiting ends too."""
        waiting = asyncio.create_task(answer)
        try:
            await asyncio.sleep(0)  # lets the question go out first
            done = await self(work, files=files)
            return await waiting, done
        finally:
            waiting.cancel()


def tune_interpreter() -> None:
    """Set up a process that does nothing but serve; call it when everything is imported and wired.

    Threads change every millisecond instead of every five, so that a batch can't make others wait. A batch makes
    hundreds of thousands of objects that die together: the collector looks at young objects less often, and never
    again at what was there before the first request.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 100)
