"""`bitstore serve` to be killed and started again, on the same port.

`python -m tests.hard.mortal_server LOG ARGUMENT…` has imported everything: for each line that it reads it forks a
`bitstore ARGUMENT…`, which so serves in a tenth of a second, tells its process id, and waits until that has ended.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from attrs import define, field

from entrypoints.cli.main import main
from tests.live import wait_until
from tests.stores.processes import free_port

_IMPORTED_LATE = ["entrypoints.cli.serve", "uvloop", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl"]
_PROJECT = Path(__file__).parents[2]


class Server(Protocol):
    """A service that can be killed."""

    origin: str

    def start(self) -> None:
        """Return when it serves."""

    def kill(self) -> None:
        """Send SIGKILL to all of it, or to a part that will be replaced; return at once."""


@define
class ForkedServer:
    """One process, forked by `forker`."""

    origin: str
    forker: "subprocess.Popen[str]"
    _process_id: int = field(default=0, init=False)

    def start(self) -> None:
        assert self.forker.stdin is not None
        assert self.forker.stdout is not None
        # It reads this when the process before has ended.
        self.forker.stdin.write("\n")
        self.forker.stdin.flush()
        self._process_id = int(self.forker.stdout.readline())
        wait_until(lambda: _listens(urlsplit(self.origin).port), seconds=30)

    def kill(self) -> None:
        if self._process_id:
            os.kill(self._process_id, signal.SIGKILL)
        self._process_id = 0


@contextmanager
def forked_server(folder: Path, settings: Mapping[str, str]) -> Iterator[ForkedServer]:
    """Give a service of one process, not yet started."""
    port = str(free_port())
    command = [sys.executable, "-m", __name__, str(folder / "server.log"), "serve", "--port", port]
    with subprocess.Popen(
        command, cwd=_PROJECT, env=_environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forker:
        server = ForkedServer(f"http://127.0.0.1:{port}", forker)
        try:
            yield server
        finally:
            server.kill()


@define
class ServerOfWorkers:
    """Two worker processes, and one that watches them. The first time one worker is killed, then all, and so on."""

    origin: str
    folder: Path
    settings: Mapping[str, str]
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _kills: int = field(default=0, init=False)
    _started: int = field(default=0, init=False)

    def start(self) -> None:
        if self._process is None:
            port = urlsplit(self.origin).port
            wait_until(lambda: not _listens(port), seconds=30)
            command = [sys.executable, "-m", "entrypoints.cli.main", "serve", "--port", str(port), "--workers", "2"]
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=_PROJECT,
                    env=_environment(self.settings),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._started += 2
        else:
            self._started += 1  # another worker takes the place of the one that was killed
        wait_until(lambda: self._log.read_text().count("Application startup complete") == self._started, seconds=60)

    def kill(self) -> None:
        self._kills += 1
        if self._kills % 2:
            worker = re.findall(r"Started server process \[(\d+)\]", self._log.read_text())[-1]
            os.kill(int(worker), signal.SIGKILL)
        else:
            self.kill_all()

    def kill_all(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"


@contextmanager
def server_of_workers(folder: Path, settings: Mapping[str, str]) -> Iterator[ServerOfWorkers]:
    """Give a service of two workers, not yet started."""
    server = ServerOfWorkers(f"http://127.0.0.1:{free_port()}", folder, settings)
    try:
        yield server
    finally:
        server.kill_all()


def _environment(settings: Mapping[str, str]) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PROJECT), **settings}


def _listens(port: int | None) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _fork(log: str, arguments: Sequence[str]) -> None:
    for module in _IMPORTED_LATE:
        import_module(module)
    while sys.stdin.readline():
        process_id = os.fork()
        if not process_id:
            with Path(log).open("ab") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            sys.exit(main(arguments))
        print(process_id, flush=True)  # noqa: T201 - whoever started us reads it
        os.waitpid(process_id, 0)


if __name__ == "__main__":
    _fork(sys.argv[1], sys.argv[2:])
