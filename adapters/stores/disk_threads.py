"""Where the disk store's work, which blocks, meets the event loop.

Cancelling a task never stops a thread half way: what it does is finished, and what nobody waits for any longer is given
back.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from typing import TypeVar

from adapters.stores.disk_incoming import IncomingFile
from application.ports import StorageError
from domain.errors import ErrorCode, Unavailable
from domain.files import Md5, Sha256

_T = TypeVar("_T")

_BLOCK_BYTES = 1 << 20
"""How much of an upload is gathered before a thread writes it."""


async def finished(job: Future[_T]) -> _T:
    """Wait for a thread's work. If we are cancelled, the work isn't: nothing may be left half done."""
    if job.done():
        return job.result()
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            loop.call_soon_threadsafe(done.set)

    job.add_done_callback(wake)
    await done.wait()
    return job.result()


async def taken(threads: Executor, make: Callable[[], _T], give_back: Callable[[_T], None]) -> _T:
    """Let a thread make something that must be given back; if we are cancelled meanwhile, that thread does so."""
    job = threads.submit(make)
    try:
        return await finished(job)
    except asyncio.CancelledError:
        job.add_done_callback(lambda done: None if done.exception() else give_back(done.result()))
        raise


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Say `Unavailable` (`store_unavailable`) for what the disk can't do now."""
    try:
        yield
    except StorageError as error:
        raise Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the disk store {error}") from error


class Arriving:
    """A file that arrives. Chunks are gathered into blocks; while a thread writes one block, the next is gathered."""

    def __init__(self, file: IncomingFile, threads: Executor) -> None:
        self._file = file
        self._threads = threads
        self._received = 0
        self._gathered = bytearray()
        self._writing: Future[None] | None = None

    @property
    def received(self) -> int:
        """How many bytes have come."""
        return self._received

    async def write(self, chunk: bytes) -> None:
        """Append."""
        self._received += len(chunk)
        self._gathered += chunk
        if len(self._gathered) >= _BLOCK_BYTES:
            await self._hand_over()

    async def digests(self) -> tuple[Md5, Sha256]:
        """Give the digests of all that has come."""
        await self._flush()
        return self._file.digests()

    async def discard(self) -> None:
        """Forget what has come, unless it has found its place."""
        await finished(self._threads.submit(self._file.remove))

    async def _hand_over(self) -> None:
        await self._written()
        block, self._gathered = self._gathered, bytearray()
        self._writing = self._threads.submit(self._file.append, block)

    async def _flush(self) -> None:
        if self._gathered:
            await self._hand_over()
        await self._written()

    async def _written(self) -> None:
        # A write that failed stays here, so that whatever is tried next fails as well.
        if self._writing is not None:
            await finished(self._writing)
