"""The whole service under load, beside the same service with boto3 as its signer, and beside no service at all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import workload
from tests.benchmarks.load import Clients, ask_each, clients, saturate
from tests.benchmarks.report import Finding, Findings, Target, at_least
from tests.benchmarks.rounds import Rounds, Scale, in_turns
from tests.benchmarks.servers import Server, bitstore, bitstore_with_boto3, static

_CONNECTIONS = {1: 16, 100: 8, 1_000: 4}
"""How many requests are under way at once, by their size; of larger ones one."""
_SINGLE_CONNECTIONS = 16
_LONG, _FEW_ROUNDS = 5_000, 3
"""With boto3, requests for more files than this take seconds, so there are few rounds of them."""
_JUDGED_FILES, _SHORT_ROUNDS = 1_000, 3
"""What is judged has shorter rounds, and so many times as many of them: a machine is seldom quiet for long."""
# What is compared: with the default settings, and with the store not asked what it has.
_KINDS = {True: "", False: ", INSPECT_ON_AUTHORIZE=false"}
_STATIC = {"static": "a static answer", "Starlette": "a static answer by Starlette"}
"""What a single file is compared with: as little as ASGI allows, and the least that is built as the service is."""


def run(scale: Scale) -> Findings:
    ratios: list[Finding] = []
    figures: list[Finding] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        load = stack.enter_context(clients())
        servers = _start(stack, folder, scale)
        rounds = {files: _measure(files, servers, load, scale) for files in scale.sizes}
        tokens = _measure_tokens(servers, load, scale)
    for files, measured in rounds.items():
        size = f"{files:,} {'file' if files == 1 else 'files'}"
        for inspect, kind in _KINDS.items():
            ours, boto = f"ours {inspect}", f"boto3 {inspect}"
            ratios += [
                measured.ratio(f"{size}{kind}: times boto3 as the signer", ours, boto, target=_judged(files, 15)),
                measured.ratio(
                    f"{size}{kind}: of a static answer", ours, "static", unit="%", times=100, target=_judged(files, 3)
                ),
            ]
        names = {"ours True": "ours", "ours False": "ours, no inspection", "static": "a static answer"}
        names |= {"boto3 True": "boto3 as the signer", "boto3 False": "boto3 as the signer, no inspection"}
        figures += [measured.figure(f"{size}, {name}", "files/s", of=key, times=files) for key, name in names.items()]
    ratios += _token_ratios(tokens)
    figures += [tokens.figure(f"1 file, {name}", "/s", of=name) for name in tokens.samples]
    return Findings("service: bitstore serve on the disk store, default settings", ratios, figures)


def _judged(files: int, limit: float) -> Target | None:
    return at_least(limit) if files == _JUDGED_FILES else None


def _start(stack: ExitStack, folder: Path, scale: Scale) -> Mapping[str, Server]:
    servers: dict[str, Server] = {}
    for inspect in _KINDS:
        settings = workload.disk_settings(folder / "store", inspect=inspect)
        servers[f"ours {inspect}"] = stack.enter_context(bitstore(folder, settings))
        servers[f"boto3 {inspect}"] = stack.enter_context(bitstore_with_boto3(folder, settings))
    bodies = [workload.body(files) for files in scale.sizes]
    answers = {len(body): servers["ours True"].post(body, workload.token()) for body in bodies}
    servers["static"], servers["Starlette"] = stack.enter_context(static(folder, answers))
    return servers


def _measure(files: int, servers: Mapping[str, Server], load: Clients, scale: Scale) -> Rounds:
    body, token = workload.body(files), workload.token()
    request, connections = workload.request(body, token), _CONNECTIONS.get(files, 1)
    compared = {name: server for name, server in servers.items() if name != "Starlette"}
    for server in compared.values():
        server.post(body, token)

    rounds, seconds = scale.rounds, scale.seconds
    if files == _JUDGED_FILES:
        rounds, seconds = _SHORT_ROUNDS * rounds, seconds / 2
    elif files > _LONG:
        rounds = min(_FEW_ROUNDS, rounds)

    def rate_of(server: Server) -> Callable[[], float]:
        return lambda: load.run(saturate, server.origin, request, connections, seconds).rate

    return in_turns(rounds, {name: rate_of(server) for name, server in compared.items()})


def _measure_tokens(servers: Mapping[str, Server], load: Clients, scale: Scale) -> Rounds:
    body = workload.body(1)
    request = workload.request(body, workload.token())
    kinds = {f"ours {inspect}": kind for inspect, kind in _KINDS.items()}
    fresh = {name: iter([_fresh_requests(body, scale.fresh_tokens) for _ in range(scale.rounds)]) for name in kinds}

    def warm(server: Server) -> Callable[[], float]:
        return lambda: load.run(saturate, server.origin, request, _SINGLE_CONNECTIONS, scale.seconds).rate

    def cold(name: str) -> Callable[[], float]:
        return lambda: load.run(ask_each, servers[name].origin, next(fresh[name]), _SINGLE_CONNECTIONS).rate

    measures = {f"warm token{kind}": warm(servers[name]) for name, kind in kinds.items()}
    measures |= {f"new token each time{kind}": cold(name) for name, kind in kinds.items()}
    measures |= {name: warm(servers[key]) for key, name in _STATIC.items()}
    return in_turns(scale.rounds, measures)


def _fresh_requests(body: bytes, number: int) -> Sequence[bytes]:
    return [workload.request(body, workload.token()) for _ in range(number)]


def _token_ratios(tokens: Rounds) -> Sequence[Finding]:
    limits = {"warm token": 50, "new token each time": 25}
    return [
        tokens.ratio(
            f"1 file, {token}{kind}: of {static}",
            f"{token}{kind}",
            static,
            unit="%",
            times=100,
            target=at_least(limit),
        )
        for static in _STATIC.values()
        for kind in _KINDS.values()
        for token, limit in limits.items()
    ]
