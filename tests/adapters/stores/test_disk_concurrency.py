"""The disk store when things happen at the same moment: a cancelled request, a rival, a sweep."""

import asyncio
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.stores.disk import DiskObjects
from application.ports import StorageFailed
from domain.keys import ObjectKey
from tests.adapters.stores.test_disk import files, place
from tests.adapters.stores.test_disk_faults import Fault, on_directory
from tests.adapters.stores.test_served_objects import CONTENT, KEY, MIB, NOW, PLAIN, get, put, run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "not" / "yet" / "there"


@pytest.fixture
def store(root: Path) -> DiskObjects:
    return DiskObjects(root)


class Gate:
    """A system call that waits in its thread, when `applies` says so, until it is let through to `then`."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        module: ModuleType,
        call: str,
        then: Callable[..., Any] | None = None,
        applies: Callable[..., bool] = lambda *_: True,
    ) -> None:
        self._real = getattr(module, call)
        self._then = then or self._real
        self._applies = applies
        self._entered = threading.Event()
        self._open = threading.Event()
        monkeypatch.setattr(module, call, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._applies(*args):
            return self._real(*args, **kwargs)
        self._entered.set()
        assert self._open.wait(30), "nobody opened the gate"
        return self._then(*args, **kwargs)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 30), "nobody came to the gate"

    def open(self) -> None:
        self._open.set()


async def done_soon(*tasks: asyncio.Task[Any]) -> set[asyncio.Task[Any]]:
    """Those that don't wait for anything that we hold back. (A slow machine may miss one, but never invents one.)"""
    return (await asyncio.wait(tasks, timeout=0.1))[0] if tasks else set()


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.001)


def test_discard_waits_for_the_thread_that_still_writes(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        gate = Gate(monkeypatch, os, "write")
        incoming = await store.receive(KEY)
        await incoming.write(CONTENT)
        writing = asyncio.create_task(incoming.write(CONTENT))
        await gate.entered()
        await cancelled(writing)
        discarding = asyncio.create_task(incoming.discard())
        assert not await done_soon(discarding)
        gate.open()
        await discarding
        assert files(root) == []
        assert await store.open(KEY) is None

    run(scenario())


def test_cancelled_writes_lose_no_byte(store: DiskObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        # More than there are threads, so that some writes are cancelled before they have begun.
        keys = [ObjectKey(f"many/{number}") for number in range(50)]
        uploads = [await store.receive(key) for key in keys]
        with monkeypatch.context() as patch:
            gate = Gate(patch, os, "write")
            for upload in uploads:
                await upload.write(CONTENT[:MIB])
            writing = [asyncio.create_task(upload.write(CONTENT[MIB : 2 * MIB])) for upload in uploads]
            await gate.entered()
            for task in writing:
                await cancelled(task)
            gate.open()
            for upload in uploads:
                await upload.commit(PLAIN, NOW)
        for key in keys:
            assert await get(store, key) == CONTENT[: 2 * MIB]

    run(scenario())


def test_a_cancelled_receive_leaves_nothing(store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        await store.start()
        gate = Gate(monkeypatch, fcntl, "flock")
        receiving = asyncio.create_task(store.receive(KEY))
        await gate.entered()
        assert len(files(root)) == 1
        await cancelled(receiving)
        gate.open()
        await until(lambda: files(root) == [])

    run(scenario())


def test_a_cancelled_open_keeps_no_file_open(store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        await put(store, CONTENT)
        gate = Gate(monkeypatch, os, "pread")
        closed: list[int] = []
        real = os.close

        def close(descriptor: int) -> None:
            closed.append(os.fstat(descriptor).st_ino)
            real(descriptor)

        monkeypatch.setattr(os, "close", close)
        opening = asyncio.create_task(store.open(KEY))
        await gate.entered()
        await cancelled(opening)
        gate.open()
        await until(lambda: place(root).stat().st_ino in closed)

    run(scenario())


def test_a_cancelled_commit_is_done_whole_or_not_at_all(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        incoming = await store.receive(KEY)
        await incoming.write(CONTENT)
        gate = Gate(monkeypatch, os, "fsync")
        committing = asyncio.create_task(incoming.commit(PLAIN, NOW))
        await gate.entered()
        await cancelled(committing)
        gate.open()
        await incoming.discard()
        assert files(root) == [place(root)]
        assert await get(store) == CONTENT

    run(scenario())


def test_a_reader_may_close_while_a_thread_still_reads(store: DiskObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        await put(store, CONTENT)
        stored = await store.open(KEY)
        assert stored is not None
        gate = Gate(monkeypatch, os, "pread")
        reading = asyncio.ensure_future(anext(stored.read(0, len(CONTENT))))
        await gate.entered()
        await cancelled(reading)
        closing = asyncio.create_task(stored.close())
        assert not await done_soon(closing)
        gate.open()
        await closing
        with pytest.raises(StorageFailed):
            await anext(stored.read(0, 1))

    run(scenario())


def test_an_upload_that_is_swept_before_its_lock_begins_anew(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await store.start()
        with monkeypatch.context() as patch:
            gate = Gate(patch, fcntl, "flock")
            receiving = asyncio.create_task(store.receive(KEY))
            await gate.entered()
            [unlocked] = files(root)
            unlocked.unlink()  # as a sweep in another process would
            gate.open()
            incoming = await receiving
        await incoming.write(CONTENT)
        await incoming.commit(PLAIN, NOW)
        assert await get(store) == CONTENT

    run(scenario())


@pytest.mark.parametrize(
    ("old", "rival"),
    [(b"old", None), (b"old", b"rival"), (None, b"rival")],
    ids=["alone", "with a rival", "with a rival who would replace nothing"],
)
def test_what_is_taken_back_harms_no_other_writer_and_survives_a_sweep(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None, rival: bytes | None
) -> None:
    failing = Fault("fsync", errno.EIO, on_directory)

    async def scenario() -> None:
        await put(store, old or b"")
        if old is None:
            place(root).unlink()
        with monkeypatch.context() as patch:
            gate = Gate(patch, os, "fsync", failing, on_directory)
            unlucky = asyncio.create_task(put(store, b"unlucky"))
            await gate.entered()
        await DiskObjects(root).start()
        others = [asyncio.create_task(put(store, rival, overwrite=old is not None))] if rival else []
        assert not await done_soon(*others)
        gate.open()
        with pytest.raises(StorageFailed):
            await unlucky
        await asyncio.gather(*others)
        assert await get(store) == (rival or old)
        assert files(root) == [place(root)]

    run(scenario())
