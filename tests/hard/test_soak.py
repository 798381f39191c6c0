"""A mixed stream of requests over a long time: memory, descriptors and threads stay what they were, nothing fails."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

from tests.effort import EFFORT
from tests.entrypoints.http.live_service import declaration, md5
from tests.hard.lines import Line, Reply, request
from tests.hard.users import OBJECT, SETTINGS, asked, form, presigned, put, signed, some_files, token_of
from tests.serve import Serving, serving_process
from tests.tried import Tried

CLIENTS = 4
WARM_UP = 4
"""Rounds of each client before anything is measured; then there are twice as many, and more with effort."""

ALLOWED_MIB = 48
"""By how much memory may grow after that. It does so once, while caches fill and until the collector first looks at
what is young, some 5,000 requests later. Should each request leave 2 KiB, an effort of 20 shows it."""

ALLOWED_THREADS = 8
"""Pools make their threads when they first need them."""

PATIENCE = 120.0 + 60.0 * EFFORT
PART = 5 << 20


@define
class Stream:
    """Clients that do all that can be done. Each round has another user, and tokens that nobody has shown before."""

    origin: str
    answered: int = 0
    _users: Iterator[int] = field(factory=itertools.count, init=False, repr=False)

    async def run(self, rounds: int) -> None:
        """Do so many rounds, in several clients at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client(rounds))

    async def _client(self, rounds: int) -> None:
        async with Line(self.origin) as line:
            for _ in range(rounds):
                await self._round(line, f"user-{next(self._users)}")

    async def _round(self, line: Line, userid: str) -> None:
        for count in (1, 100, 1_000):
            await self._ask(line, asked("authorize", userid, some_files(count)))
        (file,) = signed(await self._ask(line, asked("authorize", userid, some_files(1), accept=["PUT"])))
        await self._ask(line, put(file))
        for file in signed(await self._ask(line, asked("authorize", userid, some_files(3)))):
            if not file["exists"]:
                await self._ask(line, form(file), 204)
        await self._parts(line, userid)
        reply = await self._ask(line, asked("verify", userid, some_files(5)))
        assert [file["status"] for file in reply.json["files"].values()] == ["stored"] * 3 + ["missing"] * 2
        listing = request("GET", f"/rawstore/objects?owner={userid}&name=tides", Auth_Token=token_of(userid))
        assert len((await self._ask(line, listing)).json["objects"]) == 3
        reply = await self._ask(line, presigned(self.origin, userid))
        target = reply.json["url"].removeprefix(self.origin)
        assert (await self._ask(line, request("GET", target))).body == OBJECT
        await self._refused(line, userid, target)

    async def _parts(self, line: Line, userid: str) -> None:
        """Begin an upload in parts, ask what is missing, try to complete it, and give it up."""
        parts = {"size": PART, "md5": [md5(b"1"), md5(b"2")]}
        file = {**declaration(length=2 * PART), "parts": parts}
        reply = await self._ask(line, asked("authorize", userid, {"large.bin": file}, accept=["MULTIPART"]))
        (upload,) = signed(reply)
        known = {"path": "large.bin", "file": file, "upload_id": upload["upload_id"]}
        await self._ask(line, asked("multipart/resume", userid, {}, **known))
        await self._ask(line, asked("multipart/complete", userid, {}, **known), 409)
        await self._ask(line, asked("multipart/abort", userid, {}, **known))

    async def _refused(self, line: Line, userid: str, target: str) -> None:
        """Ask for what nobody may have."""
        await self._ask(line, asked("authorize", "somebody", some_files(1), token_of(userid)), 403)
        await self._ask(line, asked("authorize", userid, {f"{number}/../x": {} for number in range(100)}), 400)
        await self._ask(line, asked("authorize", userid, some_files(1), token_of(userid, service="another")), 401)
        await self._ask(line, request("POST", "/rawstore/verify", b"{", Auth_Token=token_of(userid)), 400)
        await self._ask(line, request("GET", f"/{userid}"), 404)
        await self._ask(line, request("GET", f"{target}x"), 403)
        await self._ask(line, request("GET", f"/store/datasets/{userid}"), 403)

    async def _ask(self, line: Line, message: bytes, status: int = 200) -> Reply:
        reply = await line.ask(message)
        assert reply.status == status, (message[:200], reply.status, reply.body[:500])
        self.answered += 1
        return reply


def test_it_needs_no_more_after_thousands_of_requests_than_after_hundreds(tmp_path: Path, tried: Tried) -> None:
    async def run(serving: Serving) -> int:
        stream = Stream(serving.origin)
        await stream.run(WARM_UP)
        before = Needs.of(serving)
        await stream.run(2 * WARM_UP * EFFORT)
        after = Needs.of(serving)
        assert after.memory_mib < before.memory_mib + ALLOWED_MIB
        assert after.descriptors <= before.descriptors + CLIENTS
        assert after.threads <= before.threads + ALLOWED_THREADS
        return stream.answered

    settings = {**SETTINGS, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(tmp_path / "objects")}
    with serving_process(tmp_path, {**settings, "DRAIN_SECONDS": "0"}) as serving:
        tried("requests of a soak", asyncio.run(asyncio.wait_for(run(serving), PATIENCE)))
        assert serving.stop() == 0
    assert "Traceback" not in serving.log.read_text()


@define
class Needs:
    """What a process needs of the machine."""

    memory_mib: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, serving: Serving) -> "Needs":
        """Look (proc(5))."""
        folder = Path(f"/proc/{serving.process.pid}")
        said = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        memory = int(said["VmRSS"].split()[0]) / 1024
        return cls(memory, len(list((folder / "fd").iterdir())), int(said["Threads"]))
