"""`bitstore serve`: run the service on uvicorn, with what its settings came to printed first."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from starlette.applications import Starlette

from application.ports import Store
from domain.errors import Misconfigured
from entrypoints.cli.logs import configure_logging
from entrypoints.events import log_event
from entrypoints.http.app import create_app
from entrypoints.runtime import tune_interpreter
from entrypoints.settings import S3Settings, ServedSettings, Settings
from entrypoints.wiring import wire

KEEP_ALIVE_SECONDS = 30
GRACE_SECONDS = 30
# How a process tells its workers where they share their figures.
_METRICS_FOLDER = "BITSTORE_METRICS_FOLDER"

_log = logging.getLogger("bitstore")


def app_from_environment() -> Starlette:
    """Build the application of one worker process."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_format)
    folder = os.environ.get(_METRICS_FOLDER)
    app = create_app(wire(settings), metrics_folder=Path(folder) if folder else None)
    tune_interpreter()
    return app


def serve(host: str, port: int, workers: int) -> int:
    """Serve until a signal says to stop; requests in flight are finished within 30 seconds."""
    # Clients of a store that we serve need an address; the workers inherit it.
    os.environ["PUBLIC_URL"] = os.environ.get("PUBLIC_URL") or f"http://{_reachable(host)}:{port}"
    settings = Settings.from_environment(os.environ)
    if isinstance(settings.store, ServedSettings) and settings.store.root is None and workers > 1:
        raise Misconfigured(["STORAGE_BACKEND=memory keeps its objects in one process; use --workers 1"])
    configure_logging(settings.log_format)
    announce(settings, f"http://{_reachable(host)}:{port}")
    with _shared_figures(workers):
        uvicorn.run(
            "entrypoints.cli.serve:app_from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            **server_options(),
        )
    return 0


@contextmanager
def _shared_figures(workers: int) -> Iterator[None]:
    """Give several workers a place to add up what they count; one alone needs none."""
    if workers == 1:
        yield
        return
    with TemporaryDirectory(prefix="bitstore-metrics-") as folder:
        os.environ[_METRICS_FOLDER] = folder
        yield


def server_options() -> dict[str, Any]:
    """Give the options that every way of serving shares."""
    return {
        "loop": "uvloop" if sys.platform != "win32" else "asyncio",
        "http": "entrypoints.http.protocol:StrictHttp",
        "ws": "none",
        "access_log": False,
        "server_header": False,
        "log_config": None,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACE_SECONDS,
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
