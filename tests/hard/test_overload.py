"""Too many requests, too slow clients, too many connections: `bitstore serve` goes on serving everybody else."""

import asyncio
import os
import socket
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from entrypoints.runtime import raise_descriptor_limit
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import declaration
from tests.hard.lines import Line, request
from tests.hard.users import SETTINGS, asked, form, presigned, put, questions, signed, some_files, token_of
from tests.live import wait_until
from tests.scraped import scrape
from tests.serve import Serving, serving_process
from tests.tried import Tried

PATIENCE = 60.0 + 5 * EFFORT
OTHERS = "requests beside idle and slow clients"

T = TypeVar("T")


@pytest.fixture(scope="module", autouse=True)
def _many_connections() -> None:
    raise_descriptor_limit()


def disk(folder: Path, **more: str) -> Mapping[str, str]:
    return {**SETTINGS, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(folder / "objects"), **more}


def running(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, PATIENCE))


async def others(origin: str, times: int) -> int:
    """Ask as everybody does, and be answered; give how often that was."""
    async with Line(origin) as line:
        for message, _ in zip(questions(origin, "eve"), range(times), strict=False):
            reply = await line.ask(message)
            assert reply.status == 200, reply.body
    return times


async def lines(origin: str, count: int, stack: AsyncExitStack) -> Sequence[Line]:
    """Connect so many clients."""
    made = [await stack.enter_async_context(Line(origin)) for _ in range(count)]
    for line in made:
        await line.connect()
    return made


@frozen
class Slow:
    """A client that is slow after `sent`: it sends one byte of `rest` after the other, and no more if there is none.

    `answered` is what an answer to it must have, empty where there is none.
    """

    sent: bytes
    rest: bytes = b""
    answered: bytes = b""


PAUSE = 0.05
LARGE = 12 << 20
AUTHORIZE = b"POST /rawstore/authorize HTTP/1.1\r\nHost: bitstore.test\r\n"


def slow_clients(upload: bytes, sent_form: bytes) -> Mapping[str, Slow]:
    head = AUTHORIZE + b"X-Slow: "
    body = asked("authorize", "mallory", some_files(20))
    cut = body.index(b"\r\n\r\n") + 20
    chunked = AUTHORIZE + f"Auth-Token: {token_of('mallory')}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    stored = upload.index(b"\r\n\r\n") + 4
    return {
        "says nothing": Slow(b""),
        "stops in a head": Slow(head, b"", b" 408 "),
        "drips a head": Slow(head, b"x" * 1_000, b" 408 "),
        "stops after an answer": Slow(request("GET", "/healthz") + head, b"", b" 408 "),
        "stops in a body": Slow(body[:cut], b"", b" 408 "),
        "drips a body": Slow(body[:cut], body[cut:], b" 408 "),
        "drips chunks": Slow(chunked, b"1\r\n{\r\n" * 500, b" 408 "),
        "drips a body that nobody reads": Slow(AUTHORIZE + b"Content-Length: 1000\r\n\r\n", b"x" * 1_000, b" 401 "),
        "stops before an upload": Slow(upload[:stored], b"", b"RequestTimeout"),
        "stops in an upload": Slow(upload[: stored + 1_000], b"", b"RequestTimeout"),
        "drips an upload": Slow(upload[: stored + 1_000], upload[stored + 1_000 : stored + 3_000], b"RequestTimeout"),
        "drips the fields of a form": Slow(sent_form[:-10_400], sent_form[-10_400:], b"RequestTimeout"),
        "drips the file of a form": Slow(sent_form[:-9_000], sent_form[-9_000:], b"RequestTimeout"),
    }


async def is_cut(origin: str, client: Slow) -> None:
    """Be slow, until the server has had enough of it."""
    reader, writer = await asyncio.open_connection(urlsplit(origin).hostname, urlsplit(origin).port)
    writer.write(client.sent)
    reading = asyncio.create_task(reader.read())
    for byte in client.rest:
        if reading.done():
            break
        await asyncio.sleep(PAUSE)
        writer.write(bytes([byte]))
    try:
        assert client.answered in await reading
    except ConnectionError:  # what it sent when all was over cost it the answer
        pass
    finally:
        writer.close()


def reluctant(origin: str, kept: int) -> socket.socket:
    """Connect a client whose system takes few bytes on its behalf, and acknowledges them in steps that are not more."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kept)
    client.connect((urlsplit(origin).hostname, urlsplit(origin).port))
    client.setblocking(False)
    return client


async def takes(client: socket.socket, until: int, *, pause: float = 0) -> int:
    """Take an answer, a piece now and then, up to `until` bytes; give how many there were."""
    loop = asyncio.get_running_loop()
    taken = 0
    try:
        while taken < until and (chunk := await loop.sock_recv(client, 1_024 if pause else 1 << 20)):
            taken += len(chunk)
            await asyncio.sleep(pause)
    except ConnectionError:
        pass
    return taken


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("slow")
    settings = disk(folder, CLIENT_TIMEOUT_SECONDS="1", DRAIN_SECONDS="0")
    with serving_process(folder, settings) as serving:
        yield serving
        assert serving.stop() == 0
    assert "Traceback" not in serving.log.read_text()


class TestSlowClients:
    """Clients that take for ever, with and without bad intentions."""

    def test_they_are_cut_and_others_are_served(self, impatient: Serving, tried: Tried) -> None:
        async def run() -> int:
            long = some_files(1, length=10_000)
            async with Line(impatient.origin) as line:
                (put_file,) = signed(await line.ask(asked("authorize", "mallory", long, accept=["PUT"])))
                (post_file,) = signed(await line.ask(asked("authorize", "mallory", long)))
            upload = put(put_file, bytes(10_000))
            clients = slow_clients(upload, form(post_file, bytes(10_000)))
            async with asyncio.TaskGroup() as group:
                for client in clients.values():
                    group.create_task(is_cut(impatient.origin, client))
                asking = [group.create_task(others(impatient.origin, 100 * EFFORT)) for _ in range(2)]
            return sum(task.result() for task in asking)

        tried(OTHERS, running(run()))

    def test_whoever_takes_nothing_of_an_answer_is_cut(self, impatient: Serving) -> None:
        content = bytes(range(256)) * (LARGE // 256)
        batch = asked("authorize", "mallory", some_files(5_000))

        async def run() -> None:
            async with Line(impatient.origin) as line:
                await stored(line, "mallory", content)
                download = await download_of(line, "mallory", impatient.origin)
            for message in (download, batch):
                with reluctant(impatient.origin, 65_536) as client:
                    await asyncio.get_running_loop().sock_sendall(client, message)
                    await nothing_is_in_progress(impatient.origin)
                    assert await takes(client, LARGE) < LARGE // 2  # what the system held for it

        running(run())

    def test_whoever_is_slow_but_steady_is_served(self, impatient: Serving) -> None:
        """Much more slowly than a second for all of it, with pauses that are shorter than that."""
        content = bytes(range(256)) * 200

        async def sends(line: Line, message: bytes) -> None:
            for start in range(0, len(message), len(message) // 40 + 1):
                await line.send(message[start : start + len(message) // 40 + 1])
                await asyncio.sleep(0.1)
            assert (await line.read()).status in (200, 204)

        async def run() -> None:
            async with Line(impatient.origin) as one, Line(impatient.origin) as two:
                files = {"data/0.csv": declaration(content)}
                (put_file,) = signed(await one.ask(asked("authorize", "grace", files, accept=["PUT"])))
                (post_file,) = signed(await two.ask(asked("authorize", "heidi", files)))
                await asyncio.gather(sends(one, put(put_file, content)), sends(two, form(post_file, content)))
                large = bytes(range(256)) * (LARGE // 256)
                await stored(one, "grace", large)
                download = await download_of(one, "grace", impatient.origin)
            with reluctant(impatient.origin, 4_096) as client:
                await asyncio.get_running_loop().sock_sendall(client, download)
                # Some seconds at 20 kB a second, as by a telephone; all of it would take ten minutes.
                assert await takes(client, 80 * 1_024, pause=PAUSE) >= 80 * 1_024
                assert await asyncio.to_thread(in_progress, impatient.origin) == 1

        running(run())


async def stored(line: Line, userid: str, content: bytes) -> None:
    """Upload a user's `data/0.csv`."""
    files = {"data/0.csv": declaration(content)}
    (file,) = signed(await line.ask(asked("authorize", userid, files, accept=["PUT"])))
    assert (await line.ask(put(file, content))).status == 200


async def download_of(line: Line, userid: str, origin: str) -> bytes:
    """Give the request that fetches it."""
    url = urlsplit((await line.ask(presigned(origin, userid))).json["url"])
    return request("GET", f"{url.path}?{url.query}")


async def nothing_is_in_progress(origin: str) -> None:
    """Wait until nothing is being answered."""
    await asyncio.to_thread(wait_until, lambda: in_progress(origin) == 0)


def in_progress(origin: str) -> float:
    """Give how many requests are being answered, but for the one that asks."""
    return scrape(origin).value("bitstore_http_requests_in_progress") - 1


class TestTransfers:
    """Uploads into the embedded store, and downloads from it, at once."""

    MOST = 3

    def test_one_too_many_is_told_to_slow_down_until_another_ends(self, tmp_path: Path) -> None:
        content = bytes(100_000)
        files = {f"data/{number}.csv": declaration(content) for number in range(self.MOST + 1)}

        async def run(origin: str) -> None:
            async with AsyncExitStack() as stack:
                strangers = await lines(origin, self.MOST, stack)
                clients = await lines(origin, self.MOST, stack)
                other, reader = await lines(origin, 2, stack)
                puts = [
                    put(file, content)
                    for file in signed(await other.ask(asked("authorize", "ada", files, accept=["PUT"])))
                ]
                forms = [form(file, content) for file in signed(await other.ask(asked("authorize", "ada", files)))]
                for stranger in strangers:  # who has shown no right to upload
                    await stranger.send(forms[0][:1_000])
                for client, message in zip(clients, (puts[0], forms[1], puts[2]), strict=True):
                    await client.send(message[:-1])
                for message in (puts[-1], forms[-1]):
                    await becomes(other, message, 503)
                    refusal = await other.ask(message)
                    assert b"<Code>SlowDown</Code>" in refusal.body
                    assert int(refusal.headers["retry-after"]) > 0
                await clients[0].send(puts[0][-1:])
                assert (await clients[0].read()).status == 200
                assert (await other.ask(puts[-1])).status == 200
                # Downloads have places of their own.
                assert (await reader.ask(await download_of(reader, "ada", origin))).body == content
                await clients[1].send(forms[1][-1:])
                clients[2].close()
                assert (await clients[1].read()).status == 204
                await becomes(other, forms[-1], 204)

        settings = disk(tmp_path, STORAGE_MAX_TRANSFERS=str(self.MOST), DRAIN_SECONDS="0")
        with serving_process(tmp_path, settings) as serving:
            running(run(serving.origin))
            assert serving.stop() == 0


async def becomes(line: Line, message: bytes, status: int) -> None:
    """Ask until the answer is so: what others have sent may not have been read yet."""
    for _ in range(int(PATIENCE / PAUSE)):
        if (await line.ask(message)).status == status:
            return
        await asyncio.sleep(PAUSE)
    pytest.fail(f"it is never answered with {status}")


class TestConnections:
    """More connections than anybody needs."""

    CROWD = 1_000

    def test_a_thousand_that_ask_nothing_and_thousands_that_never_finish_harm_nobody(
        self, tmp_path: Path, tried: Tried
    ) -> None:
        (file,) = some_files(1)
        half_sent = [
            b"",
            AUTHORIZE,
            asked("authorize", "mallory", some_files(1))[:-1],
            request("PUT", f"/store/datasets/mallory/{file}", Content_Length="100000"),
            request(
                "POST",
                "/store/datasets",
                b"--x\r\n",
                Content_Length="99",
                Content_Type="multipart/form-data; boundary=x",
            ),
        ]

        async def run(origin: str) -> int:
            async with AsyncExitStack() as stack:
                for beginning in half_sent:
                    for line in await lines(origin, self.CROWD // (1 if beginning == b"" else 2), stack):
                        if beginning:
                            await line.send(beginning)
                return sum(await asyncio.gather(*(others(origin, 150 * EFFORT) for _ in range(2))))

        settings = disk(tmp_path, DRAIN_SECONDS="0", GRACE_SECONDS="1")
        with serving_process(tmp_path, settings) as serving:
            tried(OTHERS, running(run(serving.origin)))
            assert serving.stop() == 0
        assert "Traceback" not in serving.log.read_text()

    def test_when_there_are_no_descriptors_left_it_goes_on_with_those_it_has(self, tmp_path: Path) -> None:
        async def run(serving: Serving) -> None:
            async with AsyncExitStack() as stack:
                (known,) = await lines(serving.origin, 1, stack)
                message = asked("authorize", "ada", some_files(1), accept=["PUT"])
                (file,) = signed(await known.ask(message))
                crowd = [await stack.enter_async_context(Line(serving.origin)) for _ in range(self.CROWD // 3)]
                told = await asyncio.gather(*(said_at_once(line) for line in crowd))
                assert sum(b" 503 " in answer and b'"overloaded"' in answer for answer in told) > len(crowd) / 2
                # Files can still be opened, and nobody waits for what can't be had.
                assert (await known.ask(put(file))).status == 200
                before = cpu_seconds(serving)
                await asyncio.sleep(1)
                assert cpu_seconds(serving) - before < 0.5
                for line in crowd:
                    line.close()
                assert await others_again(serving.origin)

        with serving_process(tmp_path, disk(tmp_path, DRAIN_SECONDS="0"), descriptors=128) as serving:
            running(run(serving))
            assert serving.stop() == 0
        assert "Traceback" not in serving.log.read_text()


async def said_at_once(line: Line) -> bytes:
    """Connect, ask nothing, and give what the server says to that."""
    await line.connect()
    try:
        async with asyncio.timeout(5):
            return await line.ended()
    except TimeoutError:
        return b""


async def others_again(origin: str) -> int:
    """Ask as everybody does, as soon as there is room."""
    async with Line(origin) as line:
        await becomes(line, request("GET", "/healthz"), 200)
    return await others(origin, 20)


def cpu_seconds(serving: Serving) -> float:
    """Give the CPU time that a process has used (proc(5))."""
    fields = Path(f"/proc/{serving.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
