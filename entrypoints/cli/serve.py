"""`bitstore serve`: run the service on uvicorn, with what its settings came to printed first."""

import logging
import logging.config
import os
import sys
from collections.abc import Iterable
from typing import Any

import uvicorn
from starlette.applications import Starlette

from application.ports import Store
from domain.errors import Misconfigured
from entrypoints.http.app import create_app
from entrypoints.runtime import tune_interpreter
from entrypoints.settings import S3Settings, ServedSettings, Settings
from entrypoints.wiring import wire

KEEP_ALIVE_SECONDS = 30
GRACE_SECONDS = 30


def app_from_environment() -> Starlette:
    """Build the application of one worker process."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_format)
    app = create_app(wire(settings))
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
    for line in describe(settings, f"http://{_reachable(host)}:{port}"):
        print(line)
    sys.stdout.flush()
    uvicorn.run(
        "entrypoints.cli.serve:app_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        **server_options(),
    )
    return 0


def server_options() -> dict[str, Any]:
    """Give the options that every way of serving shares."""
    return {
        "loop": "uvloop" if sys.platform != "win32" else "asyncio",
        "http": "httptools",
        "ws": "none",
        "access_log": False,
        "server_header": False,
        "log_config": None,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }


def describe(settings: Settings, origin: str) -> Iterable[str]:
    """Say in one line each what every setting is, secrets masked, and where things are."""
    width = max(map(len, settings.effective))
    yield "settings:"
    yield from (f"  {name:<{width}} = {value}" for name, value in sorted(settings.effective.items()))
    yield "urls:"
    yield f"  authorize  POST {origin}/{settings.service_name}/authorize"
    yield f"  info       GET  {origin}/{settings.service_name}/info"
    yield f"  presign    GET  {origin}/{settings.service_name}/presign"
    yield f"  health     GET  {origin}/healthz and {origin}/readyz"
    yield f"  uploads go to   {_address(settings.store)}"


def _address(store: S3Settings | ServedSettings | Store) -> str:
    return store.signer.url_prefixes("")[0] if isinstance(store, Store) else store.public.url


def _reachable(host: str) -> str:
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - replaced, not listened on
    return wildcard.get(host, f"[{host}]" if ":" in host else host)


def configure_logging(log_format: str, level: str = "INFO") -> None:
    """Log to standard error, one line per event, for people or for machines."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "console": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
                "json": {"()": "entrypoints.cli.logs.JsonFormatter"},
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": log_format}},
            "root": {"level": level, "handlers": ["stderr"]},
            # The SDKs log whole requests, signatures included, at the levels below.
            "loggers": {name: {"level": "WARNING"} for name in ("azure", "botocore", "urllib3")},
        }
    )
