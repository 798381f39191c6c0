"""Figures of several workers: whichever of them is asked tells of all, and no total ever falls."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import urllib3
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoints.workers import GONE_SECONDS, Figures, SharedFigures, added
from tests.live import wait_until
from tests.scraped import Scraped, scrape
from tests.serve import bitstore_serve
from tests.tokens import public_pem, rsa_key


@define
class Worker:
    """A worker that counts one thing, and is here once."""

    total: int = 0

    def measure(self) -> Figures:
        return Figures({"total": {"": self.total}}, {"here": {"": 1}})


async def said_by(shared: SharedFigures) -> Mapping[str, float]:
    return {name: samples[""] for name, samples in added(await shared.of_all()).items()}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=12))
def test_whoever_is_asked_tells_of_all_and_never_less_than_was_told_before(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        folder = tmp_path_factory.mktemp("figures")
        workers = [Worker() for _ in range(3)]
        async with AsyncExitStack() as stack:
            shared = [SharedFigures(folder, worker.measure) for worker in workers]
            for one in shared:
                await one.start()
                stack.push_async_callback(one.stop)
            told = 0
            for number, counted in asked:
                workers[number].total += counted
                told += counted
                assert await said_by(shared[number]) == {"total": told, "here": 3}

    asyncio.run(run())


def test_what_a_worker_counted_outlives_it(tmp_path: Path) -> None:
    async def run() -> None:
        first, second = Worker(5), Worker(7)
        stays, leaves = SharedFigures(tmp_path, first.measure), SharedFigures(tmp_path, second.measure)
        await stays.start()
        await leaves.start()
        assert await said_by(stays) == {"total": 12, "here": 2}
        second.total = 8
        await leaves.stop()
        assert await said_by(stays) == {"total": 13, "here": 1}
        await stays.stop()

    asyncio.run(run())


def test_a_worker_that_was_killed_is_not_here_any_more(tmp_path: Path) -> None:
    killed, later = Worker(5), 0.0
    asyncio.run(said_by(SharedFigures(tmp_path, killed.measure)))
    (file,) = tmp_path.glob("*.json")
    stays = SharedFigures(tmp_path, Worker(1).measure, clock=lambda: file.stat().st_mtime + later)
    assert asyncio.run(said_by(stays)) == {"total": 6, "here": 2}
    later = GONE_SECONDS + 1
    assert asyncio.run(said_by(stays)) == {"total": 6, "here": 1}


def test_a_folder_that_takes_nothing_stops_no_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        shared = SharedFigures(tmp_path / "nowhere", Worker(5).measure)
        await shared.start()
        assert await said_by(shared) == {"total": 5, "here": 1}
        await shared.stop()

    asyncio.run(run())
    assert "can't be shared: No such file or directory" in caplog.text


class TestServe:
    """`bitstore serve --workers 2`, as it is."""

    WORKERS = 2

    def environment(self, folder: Path) -> Mapping[str, str]:
        return {
            "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
            "STORAGE_BACKEND": "disk",
            "STORAGE_DISK_ROOT": str(folder / "objects"),
            "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
            "STORAGE_BUCKET_NAME": "datasets",
            "TMPDIR": str(folder),
        }

    def test_one_scrape_tells_of_all_workers_even_if_one_is_killed(self, tmp_path: Path) -> None:
        with bitstore_serve(tmp_path, self.environment(tmp_path), workers=self.WORKERS) as origin:
            (log,) = tmp_path.glob("bitstore-*.log")
            for _ in range(30):
                urllib3.request("GET", f"{origin}/nowhere", retries=False, headers={"Connection": "close"})
            wait_until(lambda: self.all_say(origin, 30, self.WORKERS))
            first, *_ = map(int, re.findall(r"Started server process \[(\d+)\]", log.read_text()))
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: len(re.findall(r"Application startup complete", log.read_text())) > self.WORKERS)
            assert self.requests(scrape(origin)) == 30
            (folder,) = tmp_path.glob("bitstore-metrics-*")
        assert not folder.exists()

    def all_say(self, origin: str, requests: int, workers: int) -> bool:
        scrapes = [scrape(origin) for _ in range(8)]
        told = [self.requests(scraped) for scraped in scrapes]
        assert told == sorted(told)
        return set(told) == {requests} and {one.value("bitstore_workers") for one in scrapes} == {workers}

    def requests(self, scraped: Scraped) -> float:
        return scraped.value("bitstore_http_requests_total", route="other", status="404")
