"""How a process ends that is told to (SIGTERM), so that nobody who asks it for something goes without an answer.

A server that is told to end closes the socket it listens on, and connections on which nothing is asked. Whoever is just
about to ask on one of them, or has been connected by the kernel and not been accepted yet, gets a reset instead of an
answer, and a proxy may not send what isn't idempotent a second time (RFC 9110, section 9.2.2). So there is a time
before that, in which everything is answered, and each answer is the last on its connection (RFC 9112, section 9.6).
"""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Final

from attrs import define, field

from domain.errors import ErrorCode, Unavailable

SETTLE_SECONDS = 0.3
"""How long connections have that have been begun when no others may begin any more: several round trips."""

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
# Classic BPF (Linux, "Linux Socket Filtering"): load byte 13 of the TCP header, its flags; if SYN is among them, keep 0
# bytes of the packet, else all.
_BUT_SYN: Final = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))

_log = logging.getLogger("bitstore")

Handler = Callable[[int, FrameType | None], object]


@define(eq=False)
class Drain:
    """Whether the process is about to end. This one never is: it is stopped from outside."""

    has_begun: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Begin to watch out for the end."""

    async def stop(self) -> None:
        """Let go of everything."""

    async def check(self) -> None:
        """Raise `Unavailable` for a service that is about to end: it is to be asked no more."""
        if self.has_begun:
            raise Unavailable(ErrorCode.OVERLOADED, "the service is about to end")


@define(eq=False)
class SignalledDrain(Drain):
    """At SIGTERM the process goes on for `seconds`; what the server does at SIGTERM, it does only then.

    `cut_short_by` is the signal that ends this time at once: another SIGTERM, or that of a supervisor whose workers
    share one socket. `listeners` are closed by this process alone, so that it may keep others from connecting before.

    To be started within the server, whose handler of SIGTERM it takes the place of.
    """

    seconds: float
    listeners: Sequence[socket.socket] = ()
    cut_short_by: signal.Signals = signal.SIGTERM
    _end: Handler | None = field(default=None, init=False, repr=False)
    _cut_short: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    async def start(self) -> None:
        """Take the signals over."""
        loop = asyncio.get_running_loop()
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler):
            raise TypeError("the server has no handler of SIGTERM")
        self._end = handler
        for number in {signal.SIGTERM, self.cut_short_by}:
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(self._signalled, number))

    async def stop(self) -> None:
        """Stop waiting: the server has ended in another way."""
        if self._task is not None:
            self._task.cancel()

    def _signalled(self, number: int) -> None:
        if number == self.cut_short_by and (self.has_begun or number != signal.SIGTERM):
            self._cut_short.set()
        if not self.has_begun:
            self.has_begun = True
            _log.info("Ending: connections are kept for %g s, for one more request each", self.seconds)
            self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await self._cut_short.wait()
        if self.listeners:
            for listener in self.listeners:
                refuse_new_connections(listener)
            await asyncio.sleep(SETTLE_SECONDS)
        if self._end is not None:
            self._end(signal.SIGTERM, None)


def refuse_new_connections(listener: socket.socket) -> None:
    """Let nobody begin a connection any more, while those that have begun may still be accepted.

    Closing a socket resets the connections that wait to be accepted, and there is no other way to have no new ones:
    after this, the kernel takes no notice of a SYN. It is repeated after a second (RFC 6298), finds the socket closed,
    and is refused; nothing has been sent by then, so that any request may be sent elsewhere. Only Linux can do that.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in _BUT_SYN))
    program = struct.pack("HP", len(_BUT_SYN), ctypes.addressof(code))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        _log.info("Connections that begin now may be reset: %s", os.strerror(error.errno or 0))
