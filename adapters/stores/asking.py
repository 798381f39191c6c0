"""What a store is asked when the service starts, and then in the background until it has answered."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from attrs import define, field

RETRY_SECONDS = 30.0


@define
class Asking:
    """Asks until there is an answer. `ask` asks once, says whether that was final, and never raises."""

    ask: Callable[[], Awaitable[bool]]
    task: asyncio.Task[None] | None = field(default=None, init=False, repr=False)
    """What goes on asking, if the first time was in vain."""

    async def start(self) -> None:
        """Ask once, and go on in the background if there was no answer."""
        if not await self.ask():
            self.task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Stop asking."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _go_on(self) -> None:
        answered = False
        while not answered:
            await asyncio.sleep(RETRY_SECONDS)
            answered = await self.ask()
