"""The whole of an /authorize request in process, but for its token: the bytes of a body to those of the answer."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import uvloop

from entrypoints.http.answers import JsonInPieces
from entrypoints.http.wire import frame_authorized, parse_upload_request, render_authorized
from entrypoints.settings import Settings
from entrypoints.wiring import Service, wire
from tests.benchmarks import workload
from tests.benchmarks.report import Finding, Findings, Spread, at_most
from tests.benchmarks.rounds import Rounds, Scale, in_turns, seconds_each
from tests.benchmarks.signer import make_batch

_JUDGED_FILES, _SHORT_ROUNDS = 1_000, 6
"""Rounds are short here, and there are this many times as many as elsewhere: a machine is seldom quiet for long."""


def run(scale: Scale) -> Findings:
    ratios: list[Finding] = []
    figures: list[Finding] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        asking, signing = (_started(folder, runner, inspect=inspect) for inspect in (True, False))
        for files in scale.sizes:
            rounds = _measure(files, runner, asking, signing, scale)
            target = at_most(4.5) if files == _JUDGED_FILES else None
            size = f"{files:,} {'file' if files == 1 else 'files'}"
            ratios += [
                rounds.ratio(f"{size}: times the floor", "signing", "floor", target=target),
                rounds.ratio(f"{size}, disk store asked for exists: times the floor", "asking", "floor", target=target),
            ]
            names = {"signing": "", "asking": ", disk store asked for exists", "floor": ", the floor"}
            figures += [rounds.figure(f"{size}{name}, a file", "µs", of=key, times=1e6) for key, name in names.items()]
            length = sum(map(len, runner.run(_answer(signing, workload.body(files))).pieces))
            figures.append(Finding(f"{size}, length of the answer", Spread.of([length / 1e3]), "kB"))
    return Findings("body: a request's bytes to the answer's, floor: decode + HMAC + base64", ratios, figures)


def _started(folder: Path, runner: asyncio.Runner, *, inspect: bool) -> Service:
    service = wire(Settings.from_environment(workload.disk_settings(folder, inspect=inspect)))
    for startable in service.startables:
        runner.run(startable.start())
    return service


def _measure(files: int, runner: asyncio.Runner, asking: Service, signing: Service, scale: Scale) -> Rounds:
    body, floor = workload.body(files), make_batch(files).floor
    seconds = scale.seconds / 6
    decode = seconds_each(lambda: [orjson.loads(body)], files, at_least=seconds)
    sign = seconds_each(floor.by_saved_states, files, at_least=seconds)
    return in_turns(
        _SHORT_ROUNDS * scale.rounds,
        {
            "signing": _seconds_per_file(signing, body, files, runner, seconds),
            "floor": lambda: decode() + sign(),
            "asking": _seconds_per_file(asking, body, files, runner, seconds),
        },
    )


def _seconds_per_file(
    service: Service, body: bytes, files: int, runner: asyncio.Runner, at_least: float
) -> Callable[[], float]:
    async def sample() -> float:
        made, start = 0, time.perf_counter()
        while True:
            await _answer(service, body)
            made += files
            spent = time.perf_counter() - start
            if spent >= at_least:
                return spent / made

    return lambda: runner.run(sample())


async def _answer(service: Service, body: bytes) -> JsonInPieces:
    asked = await parse_upload_request(body, service.turns)
    uploads = await service.authorize_uploads(workload.PRINCIPAL, asked, datetime.now(UTC))
    return JsonInPieces(frame_authorized(list(render_authorized(uploads, service.turns))))
