"""The figures of several worker processes, as one: whichever of them is asked tells of all.

Each keeps its own counters, and every second leaves what they say in a folder that all share. What a worker counted
stays there when it ends, so that no total ever falls: Prometheus would take that for a restart.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import orjson
from attrs import define, field, frozen

INTERVAL_SECONDS = 1.0
GONE_SECONDS = 10.0
"""Whoever has left nothing for so long has ended, however that was."""

_SUFFIX = ".json"

_log = logging.getLogger(__name__)

Values = Mapping[str, Mapping[str, float]]
"""Numbers by metric and sample."""


@frozen
class Figures:
    """What one process has counted: `totals`, which only grow, and what is true at `present`."""

    totals: Values
    present: Values


def added(workers: Iterable[Figures]) -> Values:
    """Add up the figures of all."""
    sums: dict[str, dict[str, float]] = {}
    for figures in workers:
        for name, samples in (*figures.totals.items(), *figures.present.items()):
            known = sums.setdefault(name, {})
            for sample, value in samples.items():
                known[sample] = known.get(sample, 0) + value
    return sums


@define
class SharedFigures:
    """A worker's part in a `folder` that it shares with others. `clock` gives the time of files, in seconds."""

    folder: Path
    measure: Callable[[], Figures]
    clock: Callable[[], float] = time.time
    _name: str = field(factory=lambda: token_hex(8), init=False)
    _writing: asyncio.Lock = field(factory=asyncio.Lock, init=False, repr=False)
    _ending: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    async def start(self) -> None:
        """Leave the first figures, and go on in the background."""
        await self._leave()
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Leave the last ones: the totals."""
        self._ending.set()
        if self._task is not None:
            await self._task
        await self._leave(still_here=False)

    async def of_all(self) -> Sequence[Figures]:
        """Give our own figures of this moment, and what the others have left.

        Nothing is told that is not left as well: another worker, asked right after us, must not tell of less.
        """
        own = await self._leave()
        return [own, *await asyncio.to_thread(self._of_others)]

    async def _go_on(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self._ending.wait()
            await self._leave()

    async def _leave(self, *, still_here: bool = True) -> Figures:
        async with self._writing:
            figures = self.measure()
            present = figures.present if still_here else {}
            try:
                await asyncio.to_thread(self._write, orjson.dumps([figures.totals, present]))
            except OSError as error:
                _log.warning("The figures of this worker can't be shared: %s", error.strerror)
        return figures

    def _write(self, content: bytes) -> None:
        unfinished = self.folder / f"{self._name}.unfinished"
        unfinished.write_bytes(content)
        unfinished.replace(self.folder / f"{self._name}{_SUFFIX}")

    def _of_others(self) -> Sequence[Figures]:
        others = sorted(self.folder.glob(f"*{_SUFFIX}"))
        return [self._read(file) for file in others if file.stem != self._name]

    def _read(self, file: Path) -> Figures:
        totals, present = orjson.loads(file.read_bytes())
        is_gone = self.clock() - file.stat().st_mtime > GONE_SECONDS
        return Figures(totals, {} if is_gone else present)
