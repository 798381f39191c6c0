"""Any ASGI application behind a real server: uvicorn in a thread, on a free port of 127.0.0.1."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from entrypoints.http.connections import Connection

_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.005


@contextmanager
def serving(make_app: Callable[[str], ASGIApp]) -> Iterator[str]:
    """Serve what `make_app` makes for an origin (`http://127.0.0.1:PORT`), and give the origin.

    The application's lifespan runs if it has one. At the end, requests under way have a second to finish.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            make_app(origin),
            http=Connection,
            log_config=None,
            access_log=False,
            lifespan="auto",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name=f"server of {origin}")
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), seconds=_START_SECONDS)
            if not server.started:
                raise RuntimeError("the server ended before it was ready")
            yield origin
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS)
            if thread.is_alive():
                raise RuntimeError("the server did not stop")


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait until the condition holds; TimeoutError if it doesn't within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
