"""The stores that other tests trust: they keep bytes, check signatures, and never outlive the tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
from botocore.exceptions import ClientError

from tests.stores import servers
from tests.stores.ceph import start_ceph
from tests.stores.processes import ServerExited, ServerFailed, free_port, running
from tests.stores.servers import REPOSITORY, RunningStore, start_ministack, start_seaweedfs

DEBIAN = pytest.mark.debian


@pytest.fixture(params=["seaweedfs", "ministack", pytest.param("ceph", marks=DEBIAN)])
def store(request: pytest.FixtureRequest) -> RunningStore:
    found: RunningStore = request.getfixturevalue(request.param)
    return found


def test_gives_back_the_bytes_it_was_given(store: RunningStore) -> None:
    body = os.urandom(100_000)
    store.client().put_object(Bucket=store.bucket, Key="servers/some bytes.bin", Body=body)

    answer = store.client().get_object(Bucket=store.bucket, Key="servers/some bytes.bin")

    with answer["Body"] as stream:
        assert stream.read() == body


def test_refuses_a_wrong_secret(store: RunningStore) -> None:
    stranger = attrs.evolve(store, secret_access_key="not-the-secret").client()

    with pytest.raises(ClientError) as refusal:
        stranger.put_object(Bucket=store.bucket, Key="servers/stranger.bin", Body=b"mine")

    assert refusal.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert not _holds(store, "servers/stranger.bin")


def test_refuses_an_unknown_key_id(store: RunningStore) -> None:
    stranger = attrs.evolve(store, access_key_id="nobody").client()

    with pytest.raises(ClientError) as refusal:
        stranger.put_object(Bucket=store.bucket, Key="servers/nobody.bin", Body=b"mine")

    assert refusal.value.response["Error"]["Code"] == "InvalidAccessKeyId"
    assert not _holds(store, "servers/nobody.bin")


def _holds(store: RunningStore, key: str) -> bool:
    listing = store.client().list_objects_v2(Bucket=store.bucket, Prefix=key)
    return any(found["Key"] == key for found in listing.get("Contents", []))


def test_hides_its_secret_from_messages(store: RunningStore) -> None:
    assert store.secret_access_key not in repr(store)


@pytest.mark.parametrize("start", [start_seaweedfs, start_ministack, pytest.param(start_ceph, marks=DEBIAN)])
def test_is_gone_after_use(start: Callable[[Path], AbstractContextManager[RunningStore]], tmp_path: Path) -> None:
    with start(tmp_path) as store:
        port = urlsplit(store.endpoint_url).port
        assert port is not None
        assert _listens(port)

    assert not _listens(port)


def test_starts_again_when_another_process_has_taken_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        ports = iter([other.getsockname()[1], free_port()])
        monkeypatch.setattr(servers, "free_port", lambda: next(ports))

        with start_ministack(tmp_path) as store:
            assert _holds(store, "anything") is False


def test_a_server_that_ends_early_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such disk')"]
    with running("Broken", command, tmp_path, {}) as server, pytest.raises(ServerExited) as failure:
        server.wait_until(lambda: False)

    assert str(failure.value) == "Broken ended with status 1 before it was ready.\nno such disk\n"


def test_a_server_that_ended_is_not_ready_even_if_something_answers(tmp_path: Path) -> None:
    def ended_and_answered() -> bool:
        server._process.wait()
        return True

    with running("Impostor", [sys.executable, "-c", "pass"], tmp_path, {}) as server, pytest.raises(ServerExited):
        server.wait_until(ended_and_answered)


def test_a_server_that_never_serves_says_what_it_wrote(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import signal; print('still thinking', flush=True); signal.pause()"]
    with running("Slow", command, tmp_path, {}) as server:
        _wait_for(lambda: server.log.read_text() != "")
        with pytest.raises(ServerFailed, match=r"Slow.*\nstill thinking"):
            server.wait_until(lambda: False, seconds=0)


def test_a_free_port_leaves_room_above_it() -> None:
    assert all(free_port(also_free=10_000) + 10_000 < 65_536 for _ in range(20))


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    server = (
        "import socket\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "while True: listener.accept()[0].close()\n"
    )
    script = (
        "import pathlib, signal, sys\n"
        "from tests.stores.processes import running\n"
        "with running('Orphan', [sys.executable, '-c', sys.argv[2]], pathlib.Path(sys.argv[1]), {}):\n"
        "    signal.pause()\n"
    )
    log = tmp_path / "server.log"
    with subprocess.Popen([sys.executable, "-c", script, tmp_path, server], cwd=REPOSITORY) as starter:
        _wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
        port = int(log.read_text())
        assert _listens(port)
        starter.kill()

    _wait_for(lambda: not _listens(port))


def _listens(port: int) -> bool:
    with suppress(ConnectionRefusedError, ConnectionResetError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.01)
