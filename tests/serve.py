"""`bitstore serve` as a process of its own, configured by environment variables alone, as an operator runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import urllib3
from attrs import frozen
from urllib3.exceptions import HTTPError

from tests.live import wait_until
from tests.stores.processes import free_port

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0


@frozen
class Serving:
    """A running service; `log` has all that it says."""

    origin: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, *, seconds: float = _STOP_SECONDS) -> int:
        """Tell it to end, wait until it has, and give its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def bitstore_serve(folder: Path, settings: Mapping[str, str], *, workers: int = 1) -> Iterator[str]:
    """Run the service in `folder` with nothing but `settings` in its environment; give its origin.

    It is stopped by SIGTERM, without a time for others to notice, and must end well by itself.
    """
    with serving_process(folder, {"DRAIN_SECONDS": "0", **settings}, workers=workers) as serving:
        yield serving.origin
        status = serving.stop()
        assert status == 0, f"it ended with status {status}:\n{serving.log.read_text()}"


@contextmanager
def serving_process(
    folder: Path,
    settings: Mapping[str, str],
    *,
    workers: int = 1,
    port: int | None = None,
    descriptors: int | None = None,
) -> Iterator[Serving]:
    """Run the service on `port`, or a free one, until it serves; at the end whatever is left of it is killed.

    It may have so many `descriptors`, where a number is given.
    """
    port = free_port() if port is None else port
    command = [sys.executable, "-m", "entrypoints.cli.main", "serve", "--port", str(port), "--workers", str(workers)]
    if descriptors is not None:
        command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
    repository = Path(__file__).parents[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(repository), **settings}
    log = folder / f"bitstore-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    origin = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _is_up(origin) or process.poll() is not None, seconds=_START_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"bitstore serve ended at once:\n{log.read_text()}")
        yield Serving(origin, process, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_up(origin: str) -> bool:
    with suppress(HTTPError):
        headers = {"Connection": "close"}
        return urllib3.request("GET", f"{origin}/healthz", headers=headers, retries=False, timeout=5).status == 200
    return False
