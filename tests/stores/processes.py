"""Start a server in a folder of its own, wait until it serves, and stop it whatever happens."""

import os
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

_SUPERVISOR = Path(__file__).with_name("supervise.py")
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.02
_LOG_LINES = 30


class ServerFailed(RuntimeError):
    """A server ended before it was ready, or wasn't ready in time; the message ends with its last log lines."""


class ServerExited(ServerFailed):
    """A server ended before it was ready, as it does when another process has taken one of its ports."""


@frozen
class Server:
    """A running server process, the supervisor of `supervise.py` included."""

    name: str
    folder: Path
    _process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        """What the server has written to its standard output and error."""
        return _log_of(self.folder)

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float = _READY_SECONDS) -> None:
        """Ask `is_ready` again and again until it says so.

        Raises:
            ServerExited: the process ended first.
            ServerFailed: not ready within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            ready = is_ready()
            # A server that ended is never ready, even if another one answered at the port that it wanted.
            if (status := self._process.poll()) is not None:
                raise ServerExited(f"{self.name} ended with status {status} before it was ready.\n{self._last_lines()}")
            if ready:
                return
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} was not ready within {seconds:g} s.\n{self._last_lines()}")
            time.sleep(_POLL_SECONDS)

    def _last_lines(self) -> str:
        with self.log.open(errors="replace") as lines:
            return "".join(deque(lines, _LOG_LINES)) or "It wrote nothing."


@contextmanager
def running(name: str, command: Sequence[str | Path], folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """Run `command` in `folder` with no other environment than `settings`; at the end it is killed, and gone."""
    with (
        _log_of(folder).open("wb") as log,
        # Leaving Popen's context closes the pipe, at which the supervisor stops the command, and waits for both.
        subprocess.Popen(
            [sys.executable, "-I", "-S", _SUPERVISOR, *command],
            cwd=folder,
            env=bare_environment(folder, settings),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        yield Server(name, folder, process)


def bare_environment(folder: Path, settings: Mapping[str, str]) -> Mapping[str, str]:
    """What a program may know of the machine, and `settings`.

    Nothing else, because stores read credentials and bucket names from variables such as AWS_ACCESS_KEY_ID, which a
    developer's shell may well hold.
    """
    return {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), **settings}


def free_port(*, also_free: int = 0) -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now, and neither on the port `also_free` above it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + also_free if also_free else 0))
            except (OSError, OverflowError):  # taken, or no port number
                continue
            return port


def reset_when_closed(connection: socket.socket) -> None:
    """Have a connection broken off when it is closed, without a good-bye (SO_LINGER, socket(7))."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _log_of(folder: Path) -> Path:
    return folder / "server.log"
