"""`exists` on SeaweedFS: our listing beside one HEAD per file, and what asking adds to /authorize."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import uvloop
from botocore.config import Config

from domain.batches import plan_uploads
from domain.inspection import Status, compare
from domain.uploads import Upload
from entrypoints.settings import Settings
from entrypoints.wiring import Service, wire
from tests.benchmarks import workload
from tests.benchmarks.load import Clients, ask_each, clients
from tests.benchmarks.report import Finding, Findings, at_least, at_most
from tests.benchmarks.rounds import Rounds, Scale, in_turns
from tests.benchmarks.servers import Server, bitstore
from tests.stores.servers import RunningStore, start_seaweedfs

_THREADS = 32
_PATIENCE = timedelta(seconds=60)
_ANSWERS = 10
_FEW_ROUNDS = 3
"""Of what takes boto3 seconds."""
_ABSENT = "never-sent"
"""A dataset of which nothing is stored."""


def run(scale: Scale) -> Findings:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        (folder / "seaweedfs").mkdir()
        store = stack.enter_context(start_seaweedfs(folder / "seaweedfs"))
        looked = _measure_inspection(store, scale)
        load = stack.enter_context(clients())
        servers = {
            inspect: stack.enter_context(bitstore(folder, _settings(store, inspect=inspect)))
            for inspect in (True, False)
        }
        asked = _measure_authorize(servers, load, scale)
    return Findings(
        f"exists: {scale.files:,} files, SeaweedFS on the same machine",
        [*_inspection_ratios(looked), *_authorize_ratios(asked)],
        [*_inspection_figures(looked, scale), *_authorize_figures(asked)],
    )


def _settings(store: RunningStore, *, inspect: bool) -> Mapping[str, str]:
    return {
        "DATAHUB_PUBLIC_KEY": workload.disk_settings(Path("unused"))["DATAHUB_PUBLIC_KEY"],
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_FLAVOUR": store.flavour,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_REGION": store.region,
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
        "INSPECT_ON_AUTHORIZE": str(inspect).lower(),
    }


def _measure_inspection(store: RunningStore, scale: Scale) -> Rounds:
    service = wire(Settings.from_environment(_settings(store, inspect=True)))
    declared = workload.declarations(scale.files)
    stored, absent = (
        plan_uploads(workload.PRINCIPAL, workload.metadata(dataset), declared, service.settings.batch)
        for dataset in (workload.DATASET, _ABSENT)
    )
    client = _boto_client(store)
    with ThreadPoolExecutor(_THREADS) as threads, _started(service) as runner:
        list(threads.map(lambda item: _put(client, store, *item), enumerate(stored)))

        def head(upload: Upload) -> None:
            found = client.head_object(Bucket=store.bucket, Key=str(upload.key))
            assert found["ContentLength"] == upload.file.length

        return in_turns(
            min(scale.rounds, _FEW_ROUNDS),
            {
                "ours": lambda: runner.run(_inspect(service, stored, Status.STORED)),
                "ours, absent": lambda: runner.run(_inspect(service, absent, Status.MISSING)),
                "boto3": _seconds(lambda: list(map(head, stored))),
                "threads": _seconds(lambda: list(threads.map(head, stored))),
            },
        )


@contextmanager
def _started(service: Service) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for startable in service.startables:
            runner.run(startable.start())
        yield runner
        for startable in reversed(service.startables):
            runner.run(startable.stop())


async def _inspect(service: Service, uploads: Sequence[Upload], expected: Status) -> float:
    """Give the median time of several inspections, which take little time each."""
    samples = []
    for _ in range(_ANSWERS):
        start = time.perf_counter()
        inspection = await service.store.inspector.inspect(uploads, datetime.now(UTC), _PATIENCE)
        samples.append(time.perf_counter() - start)
        assert all(compare(upload.file, inspection.found[upload.key]) is expected for upload in uploads)
    return median(samples)


def _seconds(work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measure


def _boto_client(store: RunningStore) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
        region_name=store.region,
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=_THREADS, proxies={}
        ),
    )


def _put(client: Any, store: RunningStore, number: int, upload: Upload) -> None:
    client.put_object(Bucket=store.bucket, Key=str(upload.key), Body=workload.content(number))


def _measure_authorize(servers: Mapping[bool, Server], load: Clients, scale: Scale) -> Rounds:
    token = workload.token()
    bodies = {
        "stored": workload.body(scale.files),
        "absent": workload.body(scale.files, _ABSENT),
    }

    def seconds(server: Server, body: bytes) -> Callable[[], float]:
        request = workload.request(body, token)
        return lambda: median(load.run(ask_each, server.origin, [request] * _ANSWERS, 1).latencies)

    for server in servers.values():
        server.post(bodies["stored"], token)
    asking, signing = servers[True], servers[False]
    return in_turns(
        scale.rounds,
        {
            **{name: seconds(asking, body) for name, body in bodies.items()},
            "not asked": seconds(signing, bodies["stored"]),
        },
    )


def _inspection_ratios(rounds: Rounds) -> Sequence[Finding]:
    return [
        rounds.ratio("our inspector vs a HEAD per file by boto3", "boto3", "ours", target=at_least(25)),
        rounds.ratio("our inspector vs a HEAD per file by boto3 in 32 threads", "threads", "ours", target=at_least(25)),
    ]


def _authorize_ratios(rounds: Rounds) -> Sequence[Finding]:
    return [
        rounds.ratio(
            f"time of /authorize, {name}: times INSPECT_ON_AUTHORIZE=false", key, "not asked", target=at_most(2)
        )
        for key, name in {"stored": "all stored", "absent": "none stored"}.items()
    ]


def _inspection_figures(rounds: Rounds, scale: Scale) -> Sequence[Finding]:
    names = {
        "ours": "our inspector, all stored",
        "ours, absent": "our inspector, none stored",
        "boto3": "boto3, one after the other",
        "threads": "boto3, in 32 threads",
    }
    return [rounds.figure(f"{name}, a file", "µs", of=key, times=1e6 / scale.files) for key, name in names.items()]


def _authorize_figures(rounds: Rounds) -> Sequence[Finding]:
    names = {"stored": "all stored", "absent": "none stored", "not asked": "INSPECT_ON_AUTHORIZE=false"}
    return [rounds.figure(f"/authorize, {name}", "ms", of=key, times=1e3) for key, name in names.items()]
