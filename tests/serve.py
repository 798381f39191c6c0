"""`bitstore serve` as a process of its own, configured by environment variables alone, as an operator runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from tests.live import wait_until
from tests.stores.processes import free_port

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0


@contextmanager
def bitstore_serve(folder: Path, settings: Mapping[str, str], *, workers: int = 1) -> Iterator[str]:
    """Run the service in `folder` with nothing but `settings` in its environment; give its origin.

    It is stopped by SIGTERM, and must end by itself.
    """
    port = free_port()
    command = [sys.executable, "-m", "entrypoints.cli.main", "serve", "--port", str(port), "--workers", str(workers)]
    repository = Path(__file__).parents[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(repository), **settings}
    log = folder / f"bitstore-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    origin = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _is_up(origin) or process.poll() is not None, seconds=_START_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"bitstore serve ended at once:\n{log.read_text()}")
        yield origin
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _is_up(origin: str) -> bool:
    with suppress(HTTPError):
        return urllib3.request("GET", f"{origin}/healthz", retries=False, timeout=5).status == 200
    return False
