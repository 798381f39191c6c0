"""`bitstore serve`: run the service on uvicorn, with what its settings came to printed first."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from starlette.applications import Starlette

from application.ports import Store
from domain.errors import Misconfigured
from entrypoints.cli.logs import configure_logging
from entrypoints.cli.supervisor import Supervisor, end_of_drain
from entrypoints.drain import SignalledDrain
from entrypoints.events import log_event
from entrypoints.http.app import create_app
from entrypoints.http.connections import Connection
from entrypoints.limits import Farewell
from entrypoints.runtime import raise_descriptor_limit, tune_interpreter
from entrypoints.settings import S3Settings, ServedSettings, Settings
from entrypoints.wiring import wire

KEEP_ALIVE_SECONDS = 30
# How a process tells its workers where they share their figures.
_METRICS_FOLDER = "BITSTORE_METRICS_FOLDER"

_log = logging.getLogger("bitstore")


def app_from_environment() -> Starlette:
    """Build the application of one worker process, which shares its socket with others."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_format)
    # The supervisor ends the drain of all; a worker that alone is to end does so a little later by itself.
    drain = SignalledDrain(settings.farewell.drain_seconds + 1, cut_short_by=end_of_drain())
    return _app(settings, drain)


def _app(settings: Settings, drain: SignalledDrain) -> Starlette:
    folder = os.environ.get(_METRICS_FOLDER)
    app = create_app(wire(settings), metrics_folder=Path(folder) if folder else None, drain=drain)
    tune_interpreter()
    return app


def serve(host: str, port: int, workers: int) -> int:
    """Serve until a signal says to stop. Then requests are still answered for a while, and those in flight finished."""
    # Clients of a store that we serve need an address; the workers inherit it.
    os.environ["PUBLIC_URL"] = os.environ.get("PUBLIC_URL") or f"http://{_reachable(host)}:{port}"
    settings = Settings.from_environment(os.environ)
    if isinstance(settings.store, ServedSettings) and settings.store.root is None and workers > 1:
        raise Misconfigured(["STORAGE_BACKEND=memory keeps its objects in one process; use --workers 1"])
    configure_logging(settings.log_format)
    announce(settings, f"http://{_reachable(host)}:{port}")
    # Being told to end is no failure: the server, when it has ended, raises the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    raise_descriptor_limit()
    where: dict[str, Any] = {"host": host, "port": port, **server_options(settings.farewell)}
    if workers == 1:
        _serve_alone(settings, where)
    else:
        with _shared_figures():
            _serve_by_workers(settings, where, workers)
    return 0


def _serve_alone(settings: Settings, where: Mapping[str, Any]) -> None:
    listeners: list[socket.socket] = []
    app = _app(settings, SignalledDrain(settings.farewell.drain_seconds, listeners))
    config = uvicorn.Config(app, **where)
    listeners.append(config.bind_socket())
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run(listeners)
    if not server.started:
        sys.exit(1)  # what is wrong has been logged


def _serve_by_workers(settings: Settings, where: Mapping[str, Any], workers: int) -> None:
    config = uvicorn.Config("entrypoints.cli.serve:app_from_environment", factory=True, workers=workers, **where)
    Supervisor(config, [config.bind_socket()], settings.farewell.drain_seconds).run()


@contextmanager
def _shared_figures() -> Iterator[None]:
    """Give several workers a place to add up what they count; one alone needs none."""
    with TemporaryDirectory(prefix="bitstore-metrics-") as folder:
        os.environ[_METRICS_FOLDER] = folder
        yield


def server_options(farewell: Farewell | None = None) -> dict[str, Any]:
    """Give the options that every way of serving shares."""
    return {
        "loop": "uvloop" if sys.platform != "win32" else "asyncio",
        "http": Connection,
        "ws": "none",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "log_config": None,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": (farewell or Farewell()).grace_seconds,
    }


def announce(settings: Settings, origin: str) -> None:
    """Say what every setting is, secrets masked, and where things are: in lines for people, or in one for machines."""
    effective = dict(sorted(settings.effective.items()))
    urls = _urls(settings, origin)
    if settings.log_format == "json":
        log_event(_log, "start", {"settings": effective, "urls": urls})
        return
    width = max(map(len, effective))
    print("settings:")
    for name, value in effective.items():
        print(f"  {name:<{width}} = {value}")
    print("urls:")
    for name, url in urls.items():
        print(f"  {name:<10} {url}")
    sys.stdout.flush()


def _urls(settings: Settings, origin: str) -> Mapping[str, str]:
    service = f"{origin}/{settings.service_name}"
    return {
        "authorize": f"POST {service}/authorize",
        "info": f"GET  {service}/info",
        "presign": f"GET  {service}/presign",
        "page": f"GET  {service}/upload, for browsers",
        "health": f"GET  {origin}/healthz and {origin}/readyz",
        "metrics": f"GET  {origin}/metrics",
        "uploads": f"go to {_address(settings.store)}",
    }


def _address(store: S3Settings | ServedSettings | Store) -> str:
    return store.signer.url_prefixes("")[0] if isinstance(store, Store) else store.public.url


def _reachable(host: str) -> str:
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - replaced, not listened on
    return wildcard.get(host, f"[{host}]" if ":" in host else host)
