"""Several worker processes that share one socket: uvicorn's supervisor, which also ends them so that nobody notices."""

import os
import signal
import socket
import time
from collections.abc import Sequence

from uvicorn.config import Config
from uvicorn.supervisors.multiprocess import Multiprocess

from entrypoints.drain import SETTLE_SECONDS, refuse_new_connections

_POLL_SECONDS = 0.05


def end_of_drain() -> signal.Signals:
    """Give the signal that tells a worker that its drain is over. It isn't SIGTERM, which all of a service may get."""
    return signal.SIGUSR1


class Supervisor(Multiprocess):
    """Has all workers drain at SIGTERM, for `drain_seconds` or until another SIGTERM; only then their socket is closed.

    As long as anybody has the socket, the kernel accepts connections: so it is closed here as well, and after it has
    been seen to that no connection is begun that no worker would take.
    """

    def __init__(self, config: Config, sockets: Sequence[socket.socket], drain_seconds: float) -> None:
        super().__init__(config, list(sockets))
        self._drain_seconds = drain_seconds
        self._terms = 0  # how often it has been told to end

    def handle_term(self) -> None:
        """End, but not at once."""
        self._terms += 1
        super().handle_term()

    def terminate_all(self) -> None:
        """Tell the workers to end, and see to it that what has begun is answered."""
        super().terminate_all()
        if self._terms:
            self._wait()
            for listener in self.sockets:
                refuse_new_connections(listener)
            time.sleep(SETTLE_SECONDS)
            for process in self.processes:
                if process.pid is not None and process.exitcode is None:
                    os.kill(process.pid, end_of_drain())
        for listener in self.sockets:
            listener.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + self._drain_seconds
        while time.monotonic() < deadline and not self._is_pressed():
            if all(process.exitcode is not None for process in self.processes):
                return
            time.sleep(_POLL_SECONDS)

    def _is_pressed(self) -> bool:
        """Tell whether there was another SIGTERM, perhaps before the first one was dealt with; or Ctrl-C."""
        waiting = self.signal_queue
        return self._terms + waiting.count(signal.SIGTERM) > 1 or signal.SIGINT in waiting
