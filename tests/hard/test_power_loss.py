"""The power goes at any moment: what the disk store has acknowledged is there, and whatever is there is whole."""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from random import Random
from shutil import rmtree

import pytest
from attrs import define, field

from adapters.stores.disk import DiskObjects
from application.ports import ObjectExists, PageRequest
from domain.keys import ObjectKey
from domain.multipart import PartPlan
from domain.uploads import MultipartUpload
from tests.adapters.stores.test_disk import PATIENCE
from tests.adapters.stores.test_served_objects import NOW, get, put
from tests.adapters.stores.test_served_parts import make_upload, pending, send
from tests.effort import EFFORT
from tests.hard.crash_simulation import (
    LUCKY,
    NAMES_ONLY,
    UNLUCKY,
    ZEROS,
    Luck,
    Recorder,
    after_power_loss,
    chance,
    read_tree,
)
from tests.hard.history import History
from tests.tried import Tried

OWNER = ObjectKey("alice")
KEYS = [ObjectKey(f"alice/{name}") for name in ("data", "data/data", "deep/er/and/deeper/data", "deep/er", "other")]
PLACE = Path("not", "yet", "there")
PART_BYTES = 700
CONTENT_BYTES = 2 * PART_BYTES + 10
CLIENTS = 3
TURNS = 5
LOSSES = 120
KILLS = 30


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def parts_of(content: bytes) -> dict[int, bytes]:
    return {number: content[(number - 1) * PART_BYTES : number * PART_BYTES] for number in (1, 2, 3)}


@define
class Work:
    """What clients do to two stores, which are as two processes on one root, and what they were told.

    The history has, by key, an object's bytes; by ("upload", key), "begun" while an upload in parts is pending; by key
    and number, the MD5 of a part; and None where there is none.
    """

    stores: Sequence[DiskObjects]
    random: Random
    recorder: Recorder
    history: History[bytes | str | None] = field()
    uploads: dict[ObjectKey, bytes] = field(factory=dict)
    begun: dict[ObjectKey, MultipartUpload] = field(factory=dict)

    @history.default
    def _make_history(self) -> History[bytes | str | None]:
        return History(lambda: len(self.recorder.events), None)

    async def run(self) -> None:
        await asyncio.gather(*(store.start() for store in self.stores))
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    def after_death(self, at: int, recorder: Recorder) -> "Work":
        """Give what is to be done after all processes died; what clients were told before stays true."""
        history = self.history.after_death(at, lambda: len(recorder.events))
        return Work([DiskObjects(recorder.base / PLACE)], self.random, recorder, history, self.uploads, self.begun)

    async def go_on(self) -> None:
        """Send what is missing of pending uploads, complete them, and replace some objects."""
        (store,) = self.stores
        await store.start()
        for key, upload in self.begun.items():
            progress = await store.progress(key, upload.upload_id, NOW)
            if progress is None:
                continue
            for number, content in parts_of(self.uploads[key]).items():
                part = progress.arrived.get(number)
                if not progress.is_complete and (part is None or part.tag != md5(content)):
                    await self._send(store, key, number, content)
            await self._complete(store, key)
        for key in self.random.sample(KEYS, 2):
            await self._replace(store, key)

    async def _client(self) -> None:
        doings = [self._replace, self._replace, self._add, self._remove, self._give_up, self._send_parts]
        for doing in self.random.sample(doings, TURNS):
            await doing(self.random.choice(self.stores), self.random.choice(KEYS))

    def _content(self) -> bytes:
        return self.random.randbytes(self.random.choice([0, 10, CONTENT_BYTES]))

    async def _replace(self, store: DiskObjects, key: ObjectKey) -> None:
        content = self._content()
        write = self.history.begin(key, content)
        await put(store, content, key)
        self.history.acknowledge(write)

    async def _add(self, store: DiskObjects, key: ObjectKey) -> None:
        content = self._content()
        write = self.history.begin(key, content)
        try:
            await put(store, content, key, overwrite=False)
        except ObjectExists:
            self.history.refuse(key, write)
        else:
            self.history.acknowledge(write)

    async def _remove(self, store: DiskObjects, key: ObjectKey) -> None:
        write = self.history.begin(key, None)
        await store.remove(key, NOW)
        self.history.acknowledge(write)

    async def _give_up(self, store: DiskObjects, key: ObjectKey) -> None:
        incoming = await store.receive(key)
        await incoming.write(self._content())
        await incoming.digests()
        await incoming.discard()

    async def _send_parts(self, store: DiskObjects, _: ObjectKey) -> None:
        """Begin two uploads and send parts, one of them twice; then complete one, and drop the other or leave it."""
        completed, other = (ObjectKey(f"alice/parts/{len(self.uploads) + number}") for number in range(2))
        await self._begin(store, [completed, other])
        for key in (completed, other):
            parts = parts_of(self.uploads[key])
            for number, content in [(1, b"something else"), (3, parts[3]), (2, parts[2]), (1, parts[1])]:
                await self._send(store, key, number, content)
        await self._complete(store, completed)
        if self.random.random() < 0.5:
            await self._abort(store, other)

    async def _begin(self, store: DiskObjects, keys: Sequence[ObjectKey]) -> None:
        self.uploads.update({key: self.random.randbytes(CONTENT_BYTES) for key in keys})
        beginnings = [self.history.begin(("upload", key), "begun") for key in keys]
        uploads = [make_upload(self.uploads[key], key) for key in keys]
        upload_ids = await store.begin(uploads, NOW)
        for key, upload, upload_id, beginning in zip(keys, uploads, upload_ids, beginnings, strict=True):
            self.begun[key] = MultipartUpload(upload, upload_id, PartPlan(CONTENT_BYTES, PART_BYTES))
            self.history.acknowledge(beginning)

    async def _send(self, store: DiskObjects, key: ObjectKey, number: int, content: bytes) -> None:
        write = self.history.begin((key, number), md5(content))
        await send(store, self.begun[key], number, content)
        self.history.acknowledge(write)

    async def _complete(self, store: DiskObjects, key: ObjectKey) -> None:
        writes = [self.history.begin(key, self.uploads[key]), self.history.begin(("upload", key), None)]
        await complete(store, self.begun[key])
        for write in writes:
            self.history.acknowledge(write)

    async def _abort(self, store: DiskObjects, key: ObjectKey) -> None:
        write = self.history.begin(("upload", key), None)
        await store.abort(key, self.begun[key].upload_id, NOW)
        self.history.acknowledge(write)

    async def assert_intact(self, root: Path, at: int) -> None:
        """That a store in which this is left, after so many events, has lost nothing and can be used as before."""
        store = DiskObjects(root)
        await store.start()
        assert list((root / "incoming").iterdir()) == []
        found = {}
        for key in (*KEYS, *self.uploads):
            content = await read_if_there(store, key)
            assert content in self.history.possible(key, at), key
            if content is not None:
                found[key] = md5(content)
        page = await store.list_page(PageRequest(OWNER, 1_000), NOW, PATIENCE)
        assert {listed.key: listed.found.md5 and listed.found.md5.hex for listed in page.objects} == found
        for key in self.uploads:
            await self._assert_upload_intact(store, key, at)
        for left in await pending(store):
            assert "begun" in self.history.possible(("upload", left.key), at)
            await store.abort(left.key, left.upload_id, NOW)
        assert list((root / "uploads").iterdir()) == []
        assert list((root / "incoming").iterdir()) == []

    async def _assert_upload_intact(self, store: DiskObjects, key: ObjectKey, at: int) -> None:
        possible, upload = self.history.possible(("upload", key), at), self.begun[key]
        progress = await store.progress(key, upload.upload_id, NOW)
        if progress is None or progress.is_complete:
            assert None in possible, key
            return
        assert "begun" in possible, key
        for number, content in parts_of(self.uploads[key]).items():
            part = progress.arrived.get(number)
            assert (part and part.tag) in self.history.possible((key, number), at), (key, number)
            await send(store, upload, number, content)
        await complete(store, upload)
        assert await get(store, key) == self.uploads[key]


async def complete(store: DiskObjects, upload: MultipartUpload) -> None:
    progress = await store.progress(upload.upload.key, upload.upload_id, NOW)
    assert progress is not None
    if progress.is_complete:  # then the service doesn't ask for it
        return
    await store.complete(upload, [part for _, part in sorted(progress.arrived.items())], NOW)


async def read_if_there(store: DiskObjects, key: ObjectKey) -> bytes | None:
    if await store.open(key) is None:
        return None
    return await get(store, key)


@pytest.fixture
def work(tmp_path: Path, seed: int) -> Work:
    """What was done while it was recorded."""
    recorder = Recorder(new_folder(tmp_path / "work"))
    stores = [DiskObjects(recorder.base / PLACE), DiskObjects(recorder.base / PLACE)]
    work = Work(stores, Random(seed), recorder)
    with recorder.recording():
        asyncio.run(work.run())
    # That nothing was done which wasn't recorded.
    assert after_power_loss(recorder.root, recorder.events, LUCKY).tree == read_tree(recorder.base)
    return work


def new_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("seed", range(EFFORT))
def test_nothing_is_lost_when_the_power_goes(work: Work, tmp_path: Path, tried: Tried) -> None:
    moments = work.random.sample(range(len(work.recorder.events) + 1), LOSSES)
    lucks = [UNLUCKY, chance(work.random), NAMES_ONLY, chance(work.random), ZEROS, LUCKY]
    for at, luck in zip(moments, cycle(lucks), strict=False):
        assert_survives(work, at, luck, tmp_path / str(at))
    tried("simulated power losses", LOSSES)


@pytest.mark.parametrize("seed", range(EFFORT))
def test_nothing_is_lost_when_the_power_goes_after_all_was_killed_and_started_again(
    work: Work, tmp_path: Path, tried: Tried
) -> None:
    for at in work.random.sample(range(len(work.recorder.events) + 1), KILLS):
        recorder = work.recorder.after_death(at, new_folder(tmp_path / f"killed {at}"))
        again = work.after_death(at, recorder)
        with recorder.recording():
            asyncio.run(again.go_on())
        assert_survives(again, len(recorder.events), UNLUCKY, tmp_path / str(at))
    tried("simulated power losses", KILLS)


def assert_survives(work: Work, at: int, luck: Luck, folder: Path) -> None:
    """That nothing is lost when the power goes at a moment; in `folder` is put what is left."""
    after_power_loss(work.recorder.root, work.recorder.events[:at], luck).write(new_folder(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # the power goes only once
        asyncio.run(work.assert_intact(folder / PLACE, at))
    rmtree(folder)
