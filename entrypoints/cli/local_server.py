"""The service within this process, for commands that are their own client."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from domain.errors import Misconfigured
from entrypoints.cli.serve import server_options

_START_SECONDS = 20.0


@contextmanager
def listening_socket(port: int) -> Iterator[socket.socket]:
    """Listen on a port of 127.0.0.1; 0 is any that is free. Raises `Misconfigured`."""
    listener = socket.socket()
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            hint = "choose another with --port (0 picks a free one)"
            raise Misconfigured([f"port {port} can't be listened on: {error.strerror}; {hint}"]) from error
        yield listener


@contextmanager
def served(app: Starlette, listener: socket.socket) -> Iterator[None]:
    """Serve in a thread until the end. Raises `Misconfigured` if it doesn't start."""
    server = uvicorn.Server(uvicorn.Config(app, **server_options()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="bitstore")
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise Misconfigured(["the service didn't start; what it logged says why"])
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()
