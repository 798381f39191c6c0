"""Many things done at once by a few threads, until all is done, something fails, or somebody interrupts."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
# How many things per thread are got ready before their turn: enough to keep all busy while more are fetched.
_AHEAD = 4


def for_each(
    act: Callable[[_Item], None], items: Iterable[_Item], *, threads: int, cut: Callable[[], None] | None = None
) -> None:
    """Act on each item, in `threads` threads; `items` are asked for in this one, shortly before their turn.

    The first error, or an interruption of this thread, ends it all: what has not begun is dropped, what has is cut off
    by `cut`, and the error raised.
    """
    ahead = threads * _AHEAD
    room = threading.Semaphore(ahead)
    failures: list[BaseException] = []

    def done(future: Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            failures.append(error)
        room.release()

    def enter() -> None:
        room.acquire()
        if failures:
            raise failures[0]

    with ThreadPoolExecutor(threads, "bitstore") as pool:
        try:
            for item in items:
                enter()
                pool.submit(act, item).add_done_callback(done)
            for _ in range(ahead):
                enter()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            if cut is not None:
                cut()
            raise
