"""Listings of the disk store: whole trees in pages, also when the disk is damaged, gone, slow, or hangs."""

import asyncio
import errno
import logging
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.stores import disk, disk_listing
from adapters.stores.disk import DiskObjects
from application.ports import ListingPage, PageRequest
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from tests.adapters.stores.test_disk import PATIENCE, place
from tests.adapters.stores.test_disk_concurrency import Gate, cancelled, until
from tests.adapters.stores.test_disk_faults import Fault
from tests.adapters.stores.test_disk_inspection import LOOP, THREAD, Disk, _remove, open_descriptors
from tests.adapters.stores.test_served_objects import NOW, put

FOLDER = ObjectKey("alice/tides")
NAMES = ["a.csv", "b.csv", "c/a.csv", "c/b.csv", "c/d/a.csv", "c.csv", "e/f/g/h.csv"]


def page_of(
    store: DiskObjects,
    token: str = "",
    *,
    limit: int = 1_000,
    folder: ObjectKey = FOLDER,
    patience: timedelta = PATIENCE,
) -> ListingPage:
    return asyncio.run(store.list_page(PageRequest(folder, limit, token), NOW, patience))


def pages_of(store: DiskObjects, *, limit: int, folder: ObjectKey = FOLDER) -> list[list[ObjectKey]]:
    """The keys of all pages."""
    pages, token = [], ""
    for _ in range(100):
        page = page_of(store, token, limit=limit, folder=folder)
        assert len(page.objects) <= limit
        pages.append([listed.key for listed in page.objects])
        if page.next_token is None:
            return pages
        token = page.next_token
    pytest.fail("there is no last page")


def keys_of(pages: Sequence[Sequence[ObjectKey]]) -> Counter[ObjectKey]:
    return Counter(key for page in pages for key in page)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> DiskObjects:
    return DiskObjects(root)


@pytest.fixture
def keys(store: DiskObjects) -> Sequence[ObjectKey]:
    """Objects that are stored, in the order in which they are listed."""

    async def put_all() -> None:
        for name in NAMES:
            await put(store, name.encode(), ObjectKey(f"{FOLDER}/{name}"))
        await put(store, b"a neighbour's", ObjectKey(f"{FOLDER}2/a.csv"))

    asyncio.run(put_all())
    (keys,) = pages_of(store, limit=1_000)
    return keys


_segments = st.sampled_from(["a", "b", "c", "d"])
_folders = st.lists(_segments, min_size=1, max_size=2).map("/".join)
_keys = st.lists(_segments, min_size=1, max_size=5).map("/".join).map(ObjectKey)


@settings(max_examples=60, deadline=None)
@given(stored=st.sets(_keys, max_size=25), folder=_folders.map(ObjectKey), limit=st.integers(1, 6), data=st.data())
def test_pages_tell_once_of_each_object_under_the_folder(
    stored: set[ObjectKey], folder: ObjectKey, limit: int, data: st.DataObject
) -> None:
    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(disk_listing, "_NAMES_AT_ONCE", data.draw(st.integers(1, 3)))
        patch.setattr(disk_listing, "_DIRECTORIES_PER_PAGE", data.draw(st.integers(1, 5)))
        store = DiskObjects(Path(root))

        async def put_all() -> None:
            for key in stored:
                await put(store, key.encode(), key)

        asyncio.run(put_all())
        expected = Counter(key for key in stored if key.startswith(f"{folder}/"))
        assert keys_of(pages_of(store, limit=limit, folder=folder)) == expected


def test_length_and_digests_are_told(store: DiskObjects) -> None:
    key = ObjectKey(f"{FOLDER}/a.csv")
    info = asyncio.run(put(store, b"hello", key))
    (listed,) = page_of(store).objects
    assert (listed.key, listed.found) == (key, FoundObject(5, info.md5, info.sha256))


def test_a_root_that_is_new_has_no_objects(store: DiskObjects) -> None:
    assert page_of(store) == ListingPage([], None)


def test_a_page_goes_on_behind_an_object_that_is_gone(
    store: DiskObjects, root: Path, keys: Sequence[ObjectKey]
) -> None:
    for end, key in enumerate(keys[:-1], start=1):
        page = page_of(store, limit=end)
        assert page.next_token == key
        place(root, key).unlink()
        assert [one.key for one in page_of(store, key).objects] == keys[end:]
        asyncio.run(put(store, b"again", key))


def test_a_page_goes_on_behind_a_folder_that_is_gone(store: DiskObjects, root: Path, keys: Sequence[ObjectKey]) -> None:
    last = ObjectKey(f"{FOLDER}/c/d/a.csv")
    shutil.rmtree(place(root, ObjectKey(f"{FOLDER}/c/a.csv")).parent)
    left = [key for key in keys[keys.index(last) :] if place(root, key).exists()]
    assert left
    assert [one.key for one in page_of(store, last).objects] == left


def test_a_page_ends_early_where_there_are_mostly_folders(
    store: DiskObjects, keys: Sequence[ObjectKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_listing, "_DIRECTORIES_PER_PAGE", 2)
    pages = pages_of(store, limit=1_000)
    assert len(pages) > 2
    assert keys_of(pages) == Counter(keys)


def test_empty_folders_are_no_end(store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_listing, "_DIRECTORIES_PER_PAGE", 2)
    folders = [ObjectKey(f"{FOLDER}/{number}/a.csv") for number in range(9)]
    for key in folders:
        asyncio.run(put(store, b"", key))
        place(root, key).unlink()
    last = max(folders, key=lambda key: place(root, key))
    asyncio.run(put(store, b"", last))
    assert keys_of(pages_of(store, limit=1)) == Counter([last])


@pytest.mark.parametrize(
    "token", ["alice/tides", "alice/tides2/a.csv", "bob/tides/a.csv", "../a", "alice/tides/../b", "alice/tides//", "\0"]
)
def test_a_token_that_is_no_key_of_the_folder_is_refused(store: DiskObjects, token: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        page_of(store, token)
    assert refusal.value.code is ErrorCode.INVALID_CURSOR


# What else lies on the disk


def test_what_is_not_ours_is_left_out(store: DiskObjects, root: Path, keys: Sequence[ObjectKey]) -> None:
    folder = place(root, ObjectKey(f"{FOLDER}/a.csv")).parent
    for name in (
        ".nfs0000001",
        "lost+found",
        "x.object",
        "A" * 64,
        "a" * 63,
        f"{'a' * 64}.object~",
        f"{'a' * 64}.OBJECT",
    ):
        (folder / name).mkdir() if "+" in name else (folder / name).write_bytes(b"?")
    assert pages_of(store, limit=1_000) == [keys]


def assert_unavailable(store: DiskObjects) -> None:
    before = open_descriptors()
    with pytest.raises(Unavailable) as failure:
        page_of(store)
    assert failure.value.code is ErrorCode.STORE_UNAVAILABLE
    assert open_descriptors() == before


def test_a_damaged_file_is_a_failure_and_nobody_s_absence(
    store: DiskObjects, root: Path, keys: Sequence[ObjectKey], caplog: pytest.LogCaptureFixture
) -> None:
    file = place(root, keys[2])
    file.write_bytes(b"damaged")
    with caplog.at_level(logging.ERROR):
        assert_unavailable(store)
    assert file.name in caplog.text


def test_a_file_in_the_place_of_another_is_damaged(store: DiskObjects, root: Path, keys: Sequence[ObjectKey]) -> None:
    place(root, keys[2]).rename(place(root, ObjectKey(f"{FOLDER}/z.csv")))
    assert_unavailable(store)


def test_another_user_s_folder_is_a_failure(
    store: DiskObjects, root: Path, keys: Sequence[ObjectKey], tmp_path: Path
) -> None:
    folder = place(root, ObjectKey(f"{FOLDER}/c/a.csv")).parent
    assert folder in [place(root, key).parent for key in keys]
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert_unavailable(store)


def test_a_disk_that_is_gone_is_a_failure(store: DiskObjects, root: Path, keys: Sequence[ObjectKey]) -> None:
    assert page_of(store).objects
    assert keys
    root.rename(root.with_name("elsewhere"))
    assert_unavailable(store)


@pytest.mark.parametrize("call", ["open", "scandir", "pread"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_disk_that_refuses_to_tell_is_a_failure(
    store: DiskObjects, keys: Sequence[ObjectKey], call: str, after: int
) -> None:
    assert keys
    with Fault(call, errno.EIO, after=after).injected():
        assert_unavailable(store)


# Where it is looked, and who waits


def test_a_fast_disk_needs_no_thread(
    store: DiskObjects, keys: Sequence[ObjectKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Disk(monkeypatch)
    timed.seconds = lambda: 0.005
    assert pages_of(store, limit=1_000) == [keys]
    assert set(timed.threads) == {LOOP}


def test_after_a_slow_step_a_thread_does_the_rest(
    store: DiskObjects, keys: Sequence[ObjectKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Disk(monkeypatch)
    timed.seconds = lambda: 0.02 if len(timed.threads) == 5 else 0.0
    assert pages_of(store, limit=1_000) == [keys]
    assert timed.threads[:5] == [LOOP] * 5
    assert set(timed.threads[5:]) == {THREAD}


def test_a_slow_disk_is_not_waited_for(
    store: DiskObjects, keys: Sequence[ObjectKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys
    timed = Disk(monkeypatch)
    timed.seconds = lambda: 0.02
    with pytest.raises(Unavailable, match="took too long"):
        page_of(store, patience=timedelta(seconds=0.1))
    assert THREAD in timed.threads


def test_who_is_cancelled_while_a_thread_looks_leaves_nothing_open(
    store: DiskObjects, root: Path, keys: Sequence[ObjectKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_SLOW_SECONDS", -1.0)  # whatever it takes is slow
    name = place(root, keys[2]).name
    gate = Gate(monkeypatch, os, "open", applies=lambda path, *_: path == name)

    async def scenario() -> None:
        listing = asyncio.create_task(store.list_page(PageRequest(FOLDER, 1_000), NOW, PATIENCE))
        await gate.entered()
        await cancelled(listing)
        gate.open()
        await until(lambda: open_descriptors() == before)

    async def count() -> int:
        await asyncio.to_thread(len, "")  # has what a loop with a thread has open
        return open_descriptors()

    before = asyncio.run(count())
    asyncio.run(scenario())


def test_folders_may_be_hundreds_deep(
    store: DiskObjects, root: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: _remove(root))  # its paths are too long for what cleans up after tests
    keys = [ObjectKey("a/" * depth + "b") for depth in (2, 40, 500, 511)]
    most, real = open_descriptors() + 40, os.open

    def limited(*args: Any, **kwargs: Any) -> int:
        assert open_descriptors() < most
        return real(*args, **kwargs)

    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "open", limited)
    for key in keys:
        asyncio.run(put(store, key.encode(), key))
    for limit in (1, 1_000):
        assert keys_of(pages_of(store, limit=limit, folder=ObjectKey("a"))) == Counter(keys)
