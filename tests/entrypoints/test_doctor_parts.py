"""The parts of `bitstore doctor` that need no store: its client, how it knows servers, its bounds, how it speaks."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest
from attrs import evolve

from domain.errors import ErrorCode, Unavailable
from domain.uploads import PutRequest
from entrypoints.cli.doctor.case import Case
from entrypoints.cli.doctor.client import Client, Reason, Unreachable
from entrypoints.cli.doctor.cors import _fault
from entrypoints.cli.doctor.examination import CLEAN_UP, Examination, _bounded, plan
from entrypoints.cli.doctor.findings import Finding, Level, Result, as_lines, note, ok, skipped, summary, wrong
from entrypoints.cli.doctor.servers import is_a_store, recognise
from entrypoints.cli.explain.answers import Answer
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.entrypoints.every_store import OF_THE_SERVICE, s3_variables
from tests.entrypoints.http.live_service import MEMORY
from tests.stores.proxy import Asked, store_proxy
from tests.stores.servers import RunningStore

URL = "http://127.0.0.1:8333/files"

# Headers as these servers sent them; those of AWS, MinIO, R2 and Google as they document them.
SEEN: Mapping[str, Mapping[str, str]] = {
    "SeaweedFS": {"server": "SeaweedFS 8000GB 4.48", "x-amz-request-id": "18EA7B67D19959E836B405E4"},
    "Ceph": {"x-amz-request-id": "tx000000405dbfe2944d732-006b035f35-100f-default"},
    "MiniStack": {
        "x-amz-request-id": "0853202b-02fa-40c9-942e-dfee315ebe86",
        "x-amzn-requestid": "005569f2-54d1-4d40-9aa7-513e55a98662",
    },
    "Azure Blob Storage": {"server": "Azurite-Blob/3.37.0"},
    "Amazon S3": {"server": "AmazonS3", "x-amz-request-id": "7S4JZ8P6N2XW0K1Q", "x-amz-id-2": "abc="},
    "MinIO": {"server": "MinIO", "x-amz-request-id": "17F2A0B1C2D3E4F5"},
    "Google Cloud Storage": {"server": "UploadServer", "x-guploader-uploadid": "ABPtcP"},
}


@pytest.mark.parametrize("name", SEEN)
def test_servers_are_known_by_what_they_send(name: str) -> None:
    answer = Answer.read(403, SEEN[name], "")
    server = recognise(URL, answer)
    assert server is not None
    assert server.name == name
    assert is_a_store(URL, answer)


def test_r2_is_known_by_its_host() -> None:
    answer = Answer.read(400, {"server": "cloudflare"}, "")
    server = recognise("https://account.r2.cloudflarestorage.com/files", answer)
    assert server is not None
    assert server.flavour == "r2"
    assert recognise(URL, answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        Answer.read(200, {"server": "nginx"}, "<html></html>"),
        Answer.read(404, {}, '{"error": {"code": "not_found", "message": "", "details": []}}'),
        Answer.read(200, {"content-type": "application/json"}, "{}"),
        Answer.read(502, {"server": "cloudflare"}, ""),
    ],
)
def test_what_is_no_store(answer: Answer) -> None:
    assert not is_a_store(URL, answer)
    assert recognise(URL, answer) is None


# The client


@contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept connections one after another, and do something with each; give the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        handle(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def reason_for(url: str, client: Client | None = None) -> Reason:
    with pytest.raises(Unreachable) as failure:
        asyncio.run((client or Client()).send("GET", url))
    return failure.value.reason


def hear(connection: socket.socket) -> None:
    connection.recv(10_000)


def hear_and_say_nothing(connection: socket.socket) -> None:
    hear(connection)
    connection.recv(1)


def test_silence_is_not_waited_out() -> None:
    with server(hear_and_say_nothing) as url:
        client = Client(read_seconds=0.1)
        assert reason_for(url, client) is Reason.SILENT
        client.close()


def test_a_connection_that_is_closed_is_told() -> None:
    with server(hear) as url:
        assert reason_for(url) is Reason.BROKEN


def test_a_connection_that_is_closed_before_it_is_used_again_is_no_fault() -> None:
    heard: list[bytes] = []

    def second_time_lucky(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n0\r\n\r\n"):
            request += connection.recv(10_000)
        heard.append(request)
        if len(heard) == 2:
            connection.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")

    with server(second_time_lucky) as url:
        request = PutRequest(f"{url}a.csv", {})
        answer = asyncio.run(Client().upload(request, b"a,b\n", chunked=True))
    assert answer.status == 204
    assert heard[0] == heard[1]
    assert heard[1].endswith(b"\r\n\r\n4\r\na,b\n\r\n0\r\n\r\n")


def test_what_is_no_http_is_told() -> None:
    with server(lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n")) as url:
        assert reason_for(url) is Reason.BROKEN


def test_a_name_that_is_none_is_told() -> None:
    assert reason_for(f"http://{'x' * 70}.example/") is Reason.NAME


def test_no_more_is_read_than_an_error_may_be_long() -> None:
    def endless(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.sendall(bytes(65_536))
        except OSError:
            pass

    with server(endless) as url:
        answer = asyncio.run(Client().send("GET", url))
    assert len(answer.body) <= 2 * 65_536


def test_a_lookup_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()

    def hang(*_: object, **__: object) -> None:
        hung.wait(10)

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def impatient() -> None:
        async with asyncio.timeout(0.05):
            await Client().send("GET", "http://s3.example/")

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert time.monotonic() - began < 5
    hung.set()


# Bounds, and what is left


def test_a_check_that_takes_too_long_is_wrong() -> None:
    async def long() -> Finding:
        await asyncio.sleep(30)
        return ok("at last")

    found = asyncio.run(_bounded(long(), 0.01))
    assert found.level is Level.WRONG
    assert "longer than" in found.sentence


def test_an_error_within_a_check_is_a_finding() -> None:
    async def fail() -> Finding:
        raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "no credentials have been found")

    found = asyncio.run(_bounded(fail(), 1))
    assert (found.level, found.sentence) == (Level.WRONG, "no credentials have been found")


def examined(case: Case) -> dict[str, Result]:
    examination = Examination(case, lambda *_: None)
    asyncio.run(examination.run())
    assert len(examination.results) == len(plan(case)) + 1
    return {result.name: result for result in examination.results}


def case_of(variables: Mapping[str, str]) -> Case:
    service = wire(Settings.from_environment({**OF_THE_SERVICE, **variables}))
    return Case(service, Client(), lambda: datetime.now(UTC), None)


def test_a_store_that_cannot_delete_has_its_keys_named() -> None:
    case = case_of({**MEMORY, "PUBLIC_URL": "http://127.0.0.1:1"})
    case.service = evolve(case.service, store=evolve(case.service.store, remover=None))
    found = examined(case)[CLEAN_UP].finding
    assert found.level is Level.NOTE
    assert "can't delete" in found.sentence
    assert all(key.startswith("bitstore-doctor/") for key in found.paste.splitlines())
    assert len(found.paste.splitlines()) >= 4


def test_what_is_still_under_way_at_an_interrupt_is_waited_for_and_removed(seaweedfs: RunningStore) -> None:
    arrived, let_through = threading.Event(), threading.Event()

    async def hold(asked: Asked) -> None:
        if asked.method == "POST":
            arrived.set()
            await asyncio.to_thread(let_through.wait, 10)

    async def interrupted(case: Case) -> Examination:
        examination = Examination(case, lambda *_: None)
        task = asyncio.create_task(examination.run())
        await asyncio.to_thread(arrived.wait, 10)
        task.cancel()
        await asyncio.wait([task], timeout=0.5)  # so that one who doesn't wait for it has cleaned up too early
        let_through.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return examination

    with store_proxy(seaweedfs.endpoint_url) as proxy:
        proxy.instead = hold
        examination = asyncio.run(interrupted(case_of({**s3_variables(seaweedfs), "STORAGE_HOSTNAME": proxy.origin})))
    assert examination.results[-1].finding == ok("1 object was removed again")
    listing = seaweedfs.client().list_objects_v2(Bucket=seaweedfs.bucket, Prefix="bitstore-doctor/")
    assert listing["KeyCount"] == 0


def test_every_key_is_below_a_prefix_of_its_own(seaweedfs: RunningStore) -> None:
    one, other = (case_of(s3_variables(seaweedfs)) for _ in range(2))
    keys = [case.new_upload().key for case in (one, one, other)]
    assert len(set(keys)) == 3
    assert {key.partition("/")[0] for key in keys} == {"bitstore-doctor"}


# CORS, as browsers judge it

ORIGIN = "https://portal.example"


@pytest.mark.parametrize(
    ("method", "status", "allowed", "fault"),
    [
        ("PUT", 200, {"origin": ORIGIN, "methods": "GET, PUT", "headers": "Content-MD5, content-type"}, ""),
        ("PUT", 204, {"origin": "*", "methods": "*", "headers": "*"}, ""),
        ("PUT", 200, {"origin": "https://other.example", "methods": "PUT", "headers": "*"}, "the origin isn't allowed"),
        ("PUT", 200, {}, "the origin isn't allowed"),
        ("PUT", 200, {"origin": "*", "methods": "GET, POST", "headers": "*"}, "the method isn't allowed"),
        ("PUT", 200, {"origin": "*", "methods": "PUT", "headers": "content-type"}, "not with content-md5"),
        ("POST", 200, {"origin": "*", "headers": "*"}, ""),
        ("PUT", 403, {"origin": "*", "methods": "*", "headers": "*"}, "403"),
    ],
)
def test_preflight_requests_are_judged_as_browsers_do(
    method: str, status: int, allowed: Mapping[str, str], fault: str
) -> None:
    headers = {f"Access-Control-Allow-{name.title()}": text for name, text in allowed.items()}
    assert _fault(Answer.read(status, headers, ""), ORIGIN, method, ["content-md5", "content-type"]) == fault


# Words


def test_a_line_says_how_far_it_has_come_and_what_to_do() -> None:
    result = Result("cors", wrong("it may not", "give it a rule:", "first line\nsecond line"), ["a warning"])
    assert list(as_lines(result, 7, 34)) == [
        "[ 7/34] WRONG   cors              it may not",
        "          -> give it a rule:",
        "               first line",
        "               second line",
        "             logged: a warning",
    ]


def test_the_last_line_counts_and_names_what_is_wrong() -> None:
    findings = {"host": ok("yes"), "clock": note("hm"), "acl": wrong("no", "do"), "POST": wrong("no", "do")}
    results = [Result(name, found) for name, found in findings.items()]
    assert summary(results) == "1 ok, 1 note, 2 WRONG: look at acl, POST"
    assert summary([*results[:2], Result("token", skipped("none"))]) == "1 ok, 1 note, 1 skipped: all is well"
