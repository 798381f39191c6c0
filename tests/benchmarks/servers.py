"""Servers to compare, each in a process of its own on the uvicorn of `bitstore serve`: one worker, the same options.

`python -m tests.benchmarks.servers MODULE:FACTORY PORT` is such a process; the environment says the rest.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import urllib3
import uvicorn
from attrs import frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from urllib3.exceptions import HTTPError

from entrypoints.cli.serve import server_options
from entrypoints.runtime import tune_interpreter
from tests.stores.processes import free_port, running

_ANSWERS = "BENCHMARK_ANSWERS"
_PID_FILE = "server.pid"
_REPOSITORY = Path(__file__).parents[2]


@frozen
class Server:
    origin: str
    pid: int

    def post(self, body: bytes, token: str) -> bytes:
        """Ask /authorize once, and give the whole answer."""
        answer = urllib3.request(
            "POST", f"{self.origin}/rawstore/authorize", body=body, headers={"Auth-Token": token}, timeout=60
        )
        if answer.status != 200:
            raise RuntimeError(f"the answer was {answer.status}: {answer.data[:300]!r}")
        return answer.data

    def peak_memory(self) -> int:
        """Give the most bytes that the process has ever had resident (proc_pid_status(5), VmHWM)."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        if found is None:
            raise RuntimeError("this system doesn't tell a process's peak memory")
        return int(found[1]) * 1024


@contextmanager
def bitstore(folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """The service as `bitstore serve` runs it."""
    with _running("entrypoints.cli.serve:app_from_environment", folder, settings) as server:
        yield server


@contextmanager
def bitstore_with_boto3(folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """The same service, with boto3 as its signer."""
    with _running("tests.benchmarks.rivals:service_with_boto3", folder, settings) as server:
        yield server


@contextmanager
def static(folder: Path, answers: Mapping[int, bytes]) -> Iterator[tuple[Server, Server]]:
    """What answers with bytes that are there already; which, the length of the request's body says.

    The first is as little as ASGI allows, the second is what Starlette makes of it.
    """
    kept = folder / "answers"
    kept.mkdir()
    for length, answer in answers.items():
        (kept / str(length)).write_bytes(answer)
    settings = {_ANSWERS: str(kept)}
    with (
        _running("tests.benchmarks.servers:static_answers", folder, settings) as bare,
        _running("tests.benchmarks.servers:static_answers_by_starlette", folder, settings) as starlette,
    ):
        yield bare, starlette


@contextmanager
def _running(factory: str, folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    place = folder / f"server-{port}"
    place.mkdir()
    command = [sys.executable, "-m", __name__, factory, str(port)]
    with running(factory, command, place, {"PYTHONPATH": str(_REPOSITORY), **settings}) as process:
        origin = f"http://127.0.0.1:{port}"
        process.wait_until(lambda: _is_up(origin))
        yield Server(origin, int((place / _PID_FILE).read_text()))


def _is_up(origin: str) -> bool:
    with suppress(HTTPError):
        return urllib3.request("GET", f"{origin}/healthz", retries=False, timeout=5).status == 200
    return False


class _StaticAnswers:
    def __init__(self, answers: Mapping[int, bytes]) -> None:
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError("there is nothing to start or to stop")
        length, more = 0, True
        while more:
            message = await receive()
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
        answer = self._answers.get(length, b"")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def static_answers() -> _StaticAnswers:
    answers = _kept_answers()
    tune_interpreter()
    return _StaticAnswers(answers)


def static_answers_by_starlette() -> Starlette:
    answers = _kept_answers()

    async def authorize(request: Request) -> Response:
        return Response(answers[len(await request.body())], media_type="application/json")

    async def healthz(_request: Request) -> Response:
        return Response()

    routes = [Route("/rawstore/authorize", authorize, methods=["POST"]), Route("/healthz", healthz)]
    tune_interpreter()
    return Starlette(routes=routes)


def _kept_answers() -> Mapping[int, bytes]:
    return {int(file.name): file.read_bytes() for file in Path(os.environ[_ANSWERS]).iterdir()}


if __name__ == "__main__":
    Path(_PID_FILE).write_text(str(os.getpid()))
    uvicorn.run(
        sys.argv[1],
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        **server_options(),
    )
