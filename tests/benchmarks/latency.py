"""How long single-file requests take, alone and beside a stream of the largest batches; and what such batches take."""

from collections.abc import Sequence
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from tests.benchmarks import workload
from tests.benchmarks.load import Answers, Clients, ask_each, ask_steadily, clients, saturate
from tests.benchmarks.report import Finding, Findings, Spread, below
from tests.benchmarks.rounds import Scale
from tests.benchmarks.servers import Server, bitstore

_PER_SECOND = 200
_CONNECTIONS = 16
_ROUND = 4
"""Rounds are this many times as long as elsewhere, for a p99 of several hundred requests."""
_MEBIBYTE = 1 << 20


@frozen
class _Round:
    alone: Answers
    beside: Answers
    batches: Answers
    batches_alone: Answers


def run(scale: Scale) -> Findings:
    body, token = workload.body(1), workload.token()
    single, batch = workload.request(body, token), workload.request(workload.body(scale.huge), token)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = stack.enter_context(bitstore(folder, workload.disk_settings(folder / "store")))
        load = stack.enter_context(clients(2))
        seconds = scale.seconds * _ROUND
        load.run(ask_steadily, server.origin, single, _CONNECTIONS, _PER_SECOND, seconds)
        before = server.peak_memory()
        rounds = [_measure(server, load, single, batch, seconds) for _ in range(scale.rounds)]
        growth = (server.peak_memory() - before) / _MEBIBYTE
    return _findings(rounds, growth, scale)


def _measure(server: Server, load: Clients, single: bytes, batch: bytes, seconds: float) -> _Round:
    def steadily() -> Answers:
        return load.run(ask_steadily, server.origin, single, _CONNECTIONS, _PER_SECOND, seconds)

    alone = steadily()
    batches_alone = load.run(ask_each, server.origin, [batch] * 5, 1)
    stream = load.start(saturate, server.origin, batch, 1, seconds)
    beside = steadily()
    batches = stream.result()
    return _Round(alone, beside.within(batches), batches, batches_alone)


def _findings(rounds: Sequence[_Round], growth: float, scale: Scale) -> Findings:
    batch = f"batches of {scale.huge:,} files"
    beside = [one.beside for one in rounds]
    alone = [one.alone for one in rounds]
    rates = [one.batches.rate / one.batches_alone.rate * 100 for one in rounds]
    ratios = [
        Finding(f"1 file, p99 beside {batch}", _percentile(99, beside), "ms", below(15)),
        Finding(f"1 file, the slowest of all beside {batch}", Spread.of([_slowest(beside)]), "ms"),
        Finding(
            f"one answer of {scale.huge:,} files complete",
            _percentile(50, [one.batches_alone for one in rounds]),
            "ms",
            below(200),
        ),
        Finding(f"growth of peak memory by {batch}", Spread.of([growth]), "MB", below(64)),
        Finding(f"{batch} beside 1-file requests: of their rate alone", Spread.of(rates), "%"),
    ]
    figures = [
        Finding("1 file, p50 alone", _percentile(50, alone), "ms"),
        Finding("1 file, p99 alone", _percentile(99, alone), "ms"),
        Finding(f"1 file, p50 beside {batch}", _percentile(50, beside), "ms"),
        Finding(f"{batch} alone", Spread.of([one.batches_alone.rate * scale.huge for one in rounds]), "files/s"),
        Finding(f"{batch} beside", Spread.of([one.batches.rate * scale.huge for one in rounds]), "files/s"),
    ]
    title = f"latency: {_PER_SECOND} single-file requests a second, beside a continuous stream of {batch}"
    return Findings(title, ratios, figures)


def _percentile(percent: int, rounds: Sequence[Answers]) -> Spread:
    return Spread.of([_cut(answers.latencies, percent) * 1e3 for answers in rounds])


def _slowest(rounds: Sequence[Answers]) -> float:
    return max(max(answers.latencies) for answers in rounds) * 1e3


def _cut(samples: Sequence[float], percent: int) -> float:
    """Give the least sample that `percent` of them don't exceed."""
    return sorted(samples)[ceil(len(samples) * percent / 100) - 1]
