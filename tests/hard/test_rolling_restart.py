"""Two processes of one service: any of them goes on with what another began, and each in turn may be restarted."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define, field

from tests.debian import program
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import declaration, md5
from tests.hard.lines import Line, Refused, request
from tests.hard.users import SETTINGS, asked, form, put, questions, signed, some_files, token_of
from tests.serve import Serving, serving_process
from tests.stores.processes import free_port, running
from tests.stores.servers import RunningStore
from tests.tried import Tried

NGINX = (Path(__file__).parents[2] / "entrypoints" / "deploy" / "nginx.conf").read_text()
ROUNDS = 1 + EFFORT
"""How often each process is restarted."""

PATIENCE = 120.0 + 60.0 * ROUNDS
PART = 5 << 20


@define
class Fleet:
    """Two processes on ports that stay theirs, with equal `settings`."""

    folder: Path
    settings: Mapping[str, str]
    ports: Sequence[int]
    _stacks: list[ExitStack] = field(factory=lambda: [ExitStack(), ExitStack()], init=False)
    _serving: dict[int, Serving] = field(factory=dict, init=False)

    @property
    def origins(self) -> Sequence[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def log(self) -> str:
        """All that they said."""
        return "".join(log.read_text() for log in self.folder.glob("bitstore-*.log"))

    def start(self, number: int) -> None:
        """Start one, and wait until it serves."""
        process = serving_process(self.folder, self.settings, port=self.ports[number])
        self._serving[number] = self._stacks[number].enter_context(process)

    def stop(self, number: int) -> None:
        """Tell one to end, and see that it ends well."""
        serving = self._serving[number]
        assert serving.stop() == 0, serving.log.read_text()
        self._stacks[number].close()

    def kill(self) -> None:
        """End all that run."""
        for stack in self._stacks:
            stack.close()


@contextmanager
def fleet(folder: Path, settings: Mapping[str, str], ports: Sequence[int] | None = None) -> Iterator[Fleet]:
    two = Fleet(folder, settings, ports or [free_port(), free_port()])
    try:
        for number in range(len(two.ports)):
            two.start(number)
        yield two
    finally:
        two.kill()


def on_disk(folder: Path, **more: str) -> Mapping[str, str]:
    return {**SETTINGS, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(folder / "objects"), **more}


def on(store: RunningStore) -> Mapping[str, str]:
    return {
        **SETTINGS,
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_FLAVOUR": store.flavour,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
    }


async def sent_in_parts(origins: Iterator[str], userid: str, content: bytes) -> None:
    """Send a file in parts, and ask for each step at the next of `origins`."""
    parts = [content[start : start + PART] for start in range(0, len(content), PART)]
    file = {**declaration(content), "parts": {"size": PART, "md5": [md5(part) for part in parts]}}

    async def ask(route: str, **members: Any) -> Any:
        async with Line(next(origins)) as line:
            answer = await line.ask(asked(route, userid, {"large.bin": file}, **members))
            assert answer.status == 200, answer.body
            return answer.json

    upload = (await ask("authorize", accept=["MULTIPART"]))["fileData"]["large.bin"]
    known = {"path": "large.bin", "file": file, "upload_id": upload["upload_id"]}
    await sends(upload["parts"][:1], parts)
    missing = (await ask("multipart/resume", **known))["parts"]
    assert [part["number"] for part in missing] == [2]
    await sends(missing, parts)
    assert (await ask("multipart/complete", **known))["status"] == "stored"
    assert (await ask("verify"))["files"]["large.bin"]["status"] == "stored"


async def sends(signed_parts: Sequence[Mapping[str, Any]], parts: Sequence[bytes]) -> None:
    for part in signed_parts:
        url = urlsplit(part["url"])
        async with Line(f"{url.scheme}://{url.netloc}") as line:
            answer = await line.ask(put(part, parts[part["number"] - 1]))
            assert answer.status == 200, answer.body


@pytest.mark.parametrize("backend", ["disk", "seaweedfs"])
def test_what_one_process_begins_any_other_goes_on_with(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = on_disk(tmp_path) if backend == "disk" else on(request.getfixturevalue("seaweedfs"))
    with fleet(tmp_path, {**settings, "DRAIN_SECONDS": "0"}) as two:
        for turn in (0, 1):
            origins = itertools.islice(itertools.cycle(two.origins), turn, None)
            content = bytes([turn]) * (PART + 1)
            asyncio.run(asyncio.wait_for(sent_in_parts(origins, f"user-{turn}", content), PATIENCE))


@contextmanager
def nginx(folder: Path, port: int, ports: Sequence[int]) -> Iterator[None]:
    """Run nginx on `port`, with the file that operators are given, in front of those `ports`."""
    site = folder / "bitstore.conf"
    text = NGINX.replace("listen 80;", f"listen 127.0.0.1:{port};")
    for given, own in zip(("127.0.0.1:8001", "127.0.0.1:8002"), ports, strict=True):
        text = text.replace(given, f"127.0.0.1:{own}")
    site.write_text(text)
    places = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log info;\n"
        f"events {{ worker_connections 512; }}\n"
        f"http {{\naccess_log off;\n{places}\ninclude {site};\n}}\n"
    )
    command: list[str | Path] = [program("nginx"), "-p", folder, "-e", folder / "error.log", "-c", main]
    with running("nginx", command, folder, {}) as server:
        server.wait_until(lambda: asyncio.run(answers(f"http://127.0.0.1:{port}")))
        yield


async def answers(origin: str) -> bool:
    async with Line(origin) as line:
        try:
            return (await line.ask(request("GET", "/healthz"))).status == 200
        except Refused:
            return False


@define
class Crowd:
    """Clients behind the proxy: each request of theirs must succeed."""

    origin: str
    has_ended: bool = False
    answered: int = 0

    async def ask(self, number: int) -> None:
        """Authorize, verify, presign, describe."""
        async with Line(self.origin) as line:
            for message in questions(self.origin, f"asker-{number}"):
                if self.has_ended:
                    return
                await self._succeeds(line, message)

    async def upload(self, number: int, *, by_form: bool) -> None:
        """Have files authorized, send them through the proxy into the embedded store, and look for them."""
        userid = f"uploader-{number}"
        token = token_of(userid)
        async with Line(self.origin) as line:
            while not self.has_ended:
                accept = ["POST"] if by_form else ["PUT"]
                reply = await self._succeeds(line, asked("authorize", userid, some_files(3), token, accept=accept))
                for file in signed(reply):
                    await self._succeeds(line, form(file) if by_form else put(file))
                reply = await self._succeeds(line, asked("verify", userid, some_files(3), token))
                assert {file["status"] for file in reply.json["files"].values()} == {"stored"}

    async def upload_in_parts(self) -> None:
        """Send a large file in parts, each time another one: each request goes to whichever process nginx chooses."""
        for number in itertools.count():
            if self.has_ended:
                return
            await sent_in_parts(itertools.repeat(self.origin), "sender", number.to_bytes(4, "big") * (PART // 4 + 1))
            self.answered += 6

    async def _succeeds(self, line: Line, message: bytes) -> Any:
        reply = await line.ask(message)
        assert reply.status in (200, 204), (message[:60], reply)
        self.answered += 1
        return reply


@pytest.mark.debian
def test_no_request_fails_while_each_process_is_restarted_behind_nginx(tmp_path: Path, tried: Tried) -> None:
    port, *ports = (free_port() for _ in range(3))

    async def run(origin: str, two: Fleet) -> int:
        crowd = Crowd(origin)
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(crowd.ask(number))
            for number, by_form in enumerate((True, False)):
                group.create_task(crowd.upload(number, by_form=by_form))
            group.create_task(crowd.upload_in_parts())
            for number in (0, 1) * ROUNDS:
                before = crowd.answered
                await asyncio.to_thread(two.stop, number)
                await asyncio.to_thread(two.start, number)
                assert crowd.answered > before
            crowd.has_ended = True
        return crowd.answered

    origin = f"http://127.0.0.1:{port}"
    settings = on_disk(tmp_path, PUBLIC_URL=origin)
    with fleet(tmp_path, settings, ports) as two, nginx(tmp_path, port, ports):
        tried("requests during rolling restarts", asyncio.run(asyncio.wait_for(run(origin, two), PATIENCE)))
        assert "Traceback" not in two.log
