"""One connection of a client, bounded: how long it may wait to ask, how slowly it may take an answer, when it ends."""

import asyncio
import logging
import struct
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Self

from attrs import field, frozen
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from domain.errors import BitstoreError, ErrorCode, Unavailable
from entrypoints.drain import Drain
from entrypoints.http.protocol import StrictHttp
from entrypoints.limits import Pace, Patience

if sys.platform != "win32":
    import fcntl
    import resource
    import termios

LAST_CALL_SECONDS = 1.0
"""How long a connection is kept, when the server ends, on which a request may be under way."""

_STATE = "bitstore_terms"
_LINGER_SECONDS = 5.0
# How often a connection is looked at, as a part of the patience: it ends that much later at most.
_LOOKS = 4
# Descriptors that connections leave for files of objects, and for connections of our own: half of them, at most these.
_DESCRIPTORS_FOR_OTHERS: Final = 1024

_log = logging.getLogger(__name__)


@frozen
class Terms:
    """What an application tells the connections of its server, by the state of its lifespan."""

    pace: Pace = field(factory=Pace)
    drain: Drain = field(factory=Drain)

    def as_state(self) -> Mapping[str, Any]:
        """Give the state."""
        return {_STATE: self}

    @classmethod
    def in_state(cls, state: Mapping[str, Any]) -> Self:
        """Find them; the usual ones, if the application said nothing."""
        return state.get(_STATE) or cls()


class Connection(StrictHttp):
    """uvicorn's protocol, which waits for ever for the head of a request, and for an answer to be taken.

    A head has the patience of the `Pace` to arrive whole (408), an answer must be taken at that pace, and what still
    comes of a request that has been answered has a few seconds. None of this costs a request anything: a connection is
    looked at now and then. Whoever waits for more of a body is woken then by a piece that may be empty, to look at the
    time.

    More connections than there are descriptors for are answered with a 503: otherwise no file could be opened either,
    whoever asks for it.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        terms = Terms.in_state(app_state)
        self._drain = terms.drain
        self._pace = terms.pace
        self._in_head = False
        self._has_arrived = True  # the last request, to its end
        self._is_last_call = False
        self._since = 0.0  # when our waiting for the client to ask began
        self._looked = 0.0
        self._taking = Patience(self._pace)
        self._untaken = 0
        self._has_taken = False
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin, if there is room."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look_later()
        if len(self.connections) > most_connections():
            self._end_with(
                Unavailable(ErrorCode.OVERLOADED, "there are too many connections; try again", retry_after=1)
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to read the head of a request."""
        super().on_message_begin()
        self._in_head, self._has_arrived = True, False
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        super().on_headers_complete()
        self._in_head = False
        if self._is_last_call or self._drain.has_begun:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that all of a request has arrived, if need be after its answer."""
        super().on_message_complete()
        self._has_arrived = True
        self._since = self.loop.time()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._since = self.loop.time()
        if self._is_last_call and not self.transport.is_closing():
            self.loop.call_later(LAST_CALL_SECONDS, self._close_unless_asked)

    def resume_writing(self) -> None:
        """Go on with an answer: the client has taken most of what there was."""
        self._has_taken = True
        super().resume_writing()

    def shutdown(self) -> None:
        """End when nothing can be under way any more: called by the server when it takes no new connections.

        Who has asked nothing for a while has had the time of the drain; but a client that was connected or answered
        just now, or is in the middle of a head, may be about to ask.
        """
        self._is_last_call = True
        cycle = self._newest()
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = cycle.keep_alive and cycle.response_started
        elif self._has_arrived and self.loop.time() - self._since > LAST_CALL_SECONDS:
            self.transport.close()
        else:
            self.loop.call_later(LAST_CALL_SECONDS, self._close_unless_asked)

    def _close_unless_asked(self) -> None:
        cycle = self._newest()
        if cycle is None or cycle.response_complete:
            self.transport.close()

    def _look_later(self) -> None:
        self._looked = self.loop.time()
        self._look = self.loop.call_later(self._pace.patience_seconds / _LOOKS, self._look_at)

    def _look_at(self) -> None:
        """Give the client up if it has used up our patience."""
        now = self.loop.time()
        cycle = self._newest()
        if not self._takes_enough(now):
            _log.info("A client was given up: it took too little of an answer.")
            self.transport.abort()
            return
        if cycle is not None and not cycle.response_complete:
            self._since = now
            if cycle.more_body:
                cycle.message_event.set()
        elif not self.transport.is_closing() and now - self._since > self._seconds_to_ask(cycle):
            self._give_up()
        self._look_later()

    def _takes_enough(self, now: float) -> bool:
        untaken = self._count_untaken()
        if self._has_taken or not untaken or not self._untaken:
            self._taking = Patience(self._pace)
        else:
            # Nothing is written while so much is waiting, so whatever is less has been taken.
            self._taking.waited(now - self._looked, max(self._untaken - untaken, 0))
        self._has_taken, self._untaken = False, untaken
        return self._taking.left > 0

    def _count_untaken(self) -> int:
        """Give how many bytes wait for the client: at us and, if there are any, in the kernel."""
        ours = self.transport.get_write_buffer_size()
        return ours and ours + _in_kernel(self.transport.get_extra_info("socket").fileno())

    def _seconds_to_ask(self, cycle: RequestResponseCycle | None) -> float:
        if self._in_head or cycle is None:
            return self._pace.patience_seconds
        return self.timeout_keep_alive if self._has_arrived else _LINGER_SECONDS

    def _give_up(self) -> None:
        if self._in_head:
            self._end_with(BitstoreError(ErrorCode.BODY_TIMEOUT, "the head of the request took too long to arrive"))
        else:
            self.transport.close()


@cache
def most_connections() -> int:
    """Give how many connections a process may have at once."""
    if sys.platform == "win32":
        return sys.maxsize
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        sys.maxsize
        if descriptors == resource.RLIM_INFINITY
        else descriptors - min(descriptors // 2, _DESCRIPTORS_FOR_OTHERS)
    )


def _in_kernel(descriptor: int) -> int:
    """Give how many bytes the kernel holds that the other end has not acknowledged (tcp(7), SIOCOUTQ)."""
    if sys.platform == "win32":
        return 0
    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # not all systems have it, and it may be closed already
        return 0
    (count,) = struct.unpack("i", answer)
    return int(count)
