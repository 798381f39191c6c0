"""`bitstore serve` is told to end while it is asked: whoever was let in is answered, whoever comes later is refused."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import define, field

from tests.effort import EFFORT
from tests.entrypoints.http.live_service import declaration
from tests.hard.lines import Line, Refused, request
from tests.hard.users import SETTINGS, asked, put, questions, signed, some_files
from tests.serve import Serving, serving_process
from tests.tried import Tried

PATIENCE = 60.0
KEPT, ANEW = 8, 4
"""Clients that keep their connections, and clients that come anew for each request."""


def settings(folder: Path, **more: str) -> Mapping[str, str]:
    own = {"STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(folder / "objects"), "TMPDIR": str(folder)}
    return {**SETTINGS, **own, **more}


@define
class Crowd:
    """Clients that ask without a pause until nobody listens any more."""

    origin: str
    answered: int = 0
    _one_more: asyncio.Condition = field(factory=asyncio.Condition, init=False, repr=False)

    async def ask(self, *, anew: bool) -> None:
        """Ask on and on. Raises `Lost`."""
        async with Line(self.origin) as line:
            for message in questions(self.origin):
                try:
                    reply = await line.ask(message)
                except Refused:
                    return
                assert reply.status == 200, reply.body
                self.answered += 1
                async with self._one_more:
                    self._one_more.notify_all()
                if anew:
                    line.close()

    async def has_been_answered(self, times: int) -> None:
        """Wait until so many were answered from now on."""
        wanted = self.answered + times
        async with self._one_more:
            await self._one_more.wait_for(lambda: self.answered >= wanted)


async def drains(origin: str) -> None:
    """Wait until the service says that it ends; over connections of their own, so that each worker is asked."""
    ready = True
    while ready:
        async with Line(origin) as line:
            ready = (await line.ask(request("GET", "/readyz"))).status == 200


async def nobody_listens(origin: str) -> None:
    """Wait until connections are refused."""
    while True:
        async with Line(origin) as line:
            try:
                await line.ask(request("GET", "/healthz"))
            except Refused:
                return


async def upload_of(line: Line, content: bytes) -> bytes:
    """Have a file authorized, and give the request that sends it."""
    files = {"large.bin": declaration(content)}
    (file,) = signed(await line.ask(asked("authorize", "ada", files, accept=["PUT"])))
    return put(file, content)


def end_every_process(serving: Serving) -> None:
    """Tell all of them, not the first alone, as systemd does (systemd.kill(5), "KillMode")."""
    pids = set(map(int, re.findall(r"Started (?:server|parent) process \[(\d+)\]", serving.log.read_text())))
    for pid in {*pids, serving.process.pid}:
        os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_is_lost_when_it_ends(workers: int, tmp_path: Path, tried: Tried) -> None:
    content = bytes(range(256)) * 4096

    async def run(serving: Serving) -> int:
        crowd = Crowd(serving.origin)
        async with Line(serving.origin) as uploader, Line(serving.origin) as idle, asyncio.TaskGroup() as group:
            upload = await upload_of(uploader, content)
            for number in range(KEPT + ANEW):
                group.create_task(crowd.ask(anew=number >= KEPT))
            await crowd.has_been_answered(100)
            await uploader.send(upload[:-100_000])
            await idle.ask(request("GET", "/healthz"))
            end_every_process(serving)
            await drains(serving.origin)
            await crowd.has_been_answered(50)
            # Kept since before: it serves one more request, and says that it was the last.
            assert (await idle.ask(request("GET", "/healthz"))).headers["connection"] == "close"
            serving.process.send_signal(signal.SIGTERM)  # the second one, by which the drain ends
            await nobody_listens(serving.origin)
            await uploader.send(upload[-100_000:])
            answer = await uploader.read()
            assert answer.status == 200, answer.body
        return crowd.answered

    times = 0
    for number in range(EFFORT):
        folder = tmp_path / str(number)
        folder.mkdir()
        with serving_process(folder, settings(folder, DRAIN_SECONDS="3600"), workers=workers) as serving:
            times += asyncio.run(asyncio.wait_for(run(serving), PATIENCE))
            assert serving.process.wait(PATIENCE) == 0, serving.log.read_text()
        assert "Traceback" not in serving.log.read_text()
        assert any(content in file.read_bytes() for file in (folder / "objects").rglob("*") if file.is_file())
    tried("requests during shutdowns", times)


def test_it_ends_by_itself_and_finishes_what_it_has_begun(tmp_path: Path) -> None:
    content = bytes(100_000)

    async def run(serving: Serving) -> None:
        async with Line(serving.origin) as uploader:
            upload = await upload_of(uploader, content)
            await uploader.send(upload[:-1])
            serving.process.send_signal(signal.SIGTERM)
            await nobody_listens(serving.origin)
            await uploader.send(upload[-1:])
            assert (await uploader.read()).status == 200

    with serving_process(tmp_path, settings(tmp_path, DRAIN_SECONDS="1"), workers=2) as serving:
        asyncio.run(asyncio.wait_for(run(serving), PATIENCE))
        assert serving.process.wait(PATIENCE) == 0


def test_what_does_not_end_is_broken_off_after_the_grace(tmp_path: Path) -> None:
    async def run(serving: Serving) -> None:
        async with Line(serving.origin) as uploader, Line(serving.origin) as asker:
            upload = await upload_of(uploader, bytes(100_000))
            await uploader.send(upload[:-1])
            await asker.send(asked("authorize", "ada", some_files(1))[:-1])
            serving.process.send_signal(signal.SIGTERM)
            await drains(serving.origin)
            serving.process.send_signal(signal.SIGTERM)
            for line in (uploader, asker):
                assert (await line.read()).status == 503

    with serving_process(tmp_path, settings(tmp_path, DRAIN_SECONDS="3600", GRACE_SECONDS="1")) as serving:
        asyncio.run(asyncio.wait_for(run(serving), PATIENCE))
        assert serving.process.wait(PATIENCE) == 0
    assert "Traceback" not in serving.log.read_text()


def test_an_interrupt_waits_for_nobody_to_notice(tmp_path: Path) -> None:
    with serving_process(tmp_path, settings(tmp_path, DRAIN_SECONDS="3600")) as serving:
        serving.process.send_signal(signal.SIGINT)
        assert serving.process.wait(PATIENCE) == 0
