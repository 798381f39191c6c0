"""The cache, which remembers digests and uploads from one run to the next, and what is no cache."""

import hashlib
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from domain.files import Md5
from entrypoints.client.cache import Cache, default_cache
from entrypoints.client.folder import find_files
from entrypoints.client.hashing import Digests, Wanted
from tests.entrypoints.client.test_hashing import LONG_AGO, b64, digest, write

PLACE = "alice/tides/a.bin"


class TestCache:
    @pytest.fixture
    def warnings(self) -> list[str]:
        return []

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "cache" / "bitstore.sqlite3"

    def test_digests_are_known_again(self, tmp_path: Path, place: Path, warnings: list[str]) -> None:
        file, wanted = write(tmp_path), Wanted(2, sha256=True)
        digests = digest(file, wanted)
        cache = Cache.open(place, warnings.append)
        assert cache.digests(file, wanted) is None
        cache.keep_digests(file, digests)
        assert cache.digests(file, wanted) == digests
        cache.close()
        cache = Cache.open(place, warnings.append)
        assert cache.digests(file, wanted) == digests
        cache.forget_digests(file)
        assert cache.digests(file, wanted) is None
        cache.close()
        assert warnings == []

    def test_the_cache_is_for_its_owner_only(self, place: Path, warnings: list[str]) -> None:
        Cache.open(place, warnings.append).close()
        assert place.stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("change", ["length", "mtime", "part size", "sha256"])
    def test_digests_of_what_may_be_another_file_are_not(
        self, tmp_path: Path, place: Path, warnings: list[str], change: str
    ) -> None:
        file, wanted = write(tmp_path), Wanted(2)
        cache = Cache.open(place, warnings.append)
        cache.keep_digests(file, digest(file, wanted))
        assert cache.digests(file, wanted) is not None
        if change == "length":
            file = write(tmp_path, b"hello!")
        elif change == "mtime":
            os.utime(file.source, ns=(0, LONG_AGO * 10**9 + 1))
            (file,) = find_files([file.source]).files
        else:
            wanted = Wanted(3) if change == "part size" else Wanted(2, sha256=True)
        assert cache.digests(file, wanted) is None
        cache.close()

    def test_a_file_that_was_modified_just_now_is_not_remembered(
        self, tmp_path: Path, place: Path, warnings: list[str]
    ) -> None:
        (tmp_path / "new.bin").write_bytes(b"hello")
        cache = Cache.open(place, warnings.append)
        file = find_files([tmp_path / "new.bin"]).files[0]
        digests = Digests(Md5(b64(hashlib.md5(b"hello").digest())))
        os.utime(file.source, ns=(0, 2**62))  # as new as can be, however slow this test is
        file = find_files([tmp_path / "new.bin"]).files[0]
        cache.keep_digests(file, digests)
        assert cache.digests(file, Wanted()) is None
        cache.close()

    def test_uploads_are_known_at_once_to_other_processes(self, place: Path, warnings: list[str]) -> None:
        first, second = Cache.open(place, warnings.append), Cache.open(place, warnings.append)
        assert second.upload(PLACE) is None
        first.keep_uploads([(PLACE, "a file", "an id")])
        assert second.upload(PLACE) == ("a file", "an id")
        second.forget_upload(PLACE)
        assert first.upload(PLACE) is None
        first.close()
        second.close()
        assert warnings == []

    @pytest.mark.parametrize("content", [b"a letter to a friend\n" * 100, b"SQLite format 3\0" + b"\xff" * 4_096])
    def test_what_is_no_cache_is_left_alone_with_a_warning(
        self, tmp_path: Path, place: Path, warnings: list[str], content: bytes
    ) -> None:
        place.parent.mkdir()
        place.write_bytes(content)
        self._assert_in_memory(tmp_path, place, warnings)
        assert place.read_bytes() == content

    def test_a_database_of_others_is_left_alone_with_a_warning(
        self, tmp_path: Path, place: Path, warnings: list[str]
    ) -> None:
        place.parent.mkdir()
        with sqlite3.connect(place) as others:
            others.execute("CREATE TABLE digests (whatever)")
        others.close()
        before = place.read_bytes()
        self._assert_in_memory(tmp_path, place, warnings)
        assert place.read_bytes() == before

    def test_a_place_that_cannot_be_is_told(self, tmp_path: Path, warnings: list[str]) -> None:
        (tmp_path / "file").write_bytes(b"")
        self._assert_in_memory(tmp_path, tmp_path / "file" / "cache", warnings)

    def _assert_in_memory(self, tmp_path: Path, place: Path, warnings: list[str]) -> None:
        cache = Cache.open(place, warnings.append)
        (warning,) = warnings
        assert str(place) in warning
        assert "going on without it" in warning
        file = write(tmp_path)
        cache.keep_digests(file, digest(file, Wanted()))
        assert cache.digests(file, Wanted()) is not None
        cache.close()

    def test_a_cache_that_breaks_meanwhile_ends_nothing(self, tmp_path: Path, place: Path, warnings: list[str]) -> None:
        cache = Cache.open(place, warnings.append)
        with place.open("r+b") as file:
            file.write(b"\xff" * place.stat().st_size)
        known = write(tmp_path)
        cache.keep_uploads([(PLACE, "a file", "an id")])
        assert cache.digests(known, Wanted()) is None
        cache.keep_digests(known, digest(known, Wanted()))
        cache.close()
        (warning,) = warnings
        assert "going on without it" in warning

    def test_a_row_that_makes_no_sense_is_ignored(self, tmp_path: Path, place: Path, warnings: list[str]) -> None:
        file = write(tmp_path)
        cache = Cache.open(place, warnings.append)
        cache.keep_digests(file, digest(file, Wanted()))
        cache.close()
        with sqlite3.connect(place) as broken:
            broken.execute("UPDATE digests SET md5 = 'nonsense'")
        broken.close()
        cache = Cache.open(place, warnings.append)
        assert cache.digests(file, Wanted()) is None
        cache.close()

    def test_many_threads_may_use_it(self, tmp_path: Path, place: Path, warnings: list[str]) -> None:
        files = [write(tmp_path, b"x" * number, f"{number}.bin") for number in range(40)]
        digests = {file: digest(file, Wanted()) for file in files}
        cache = Cache.open(place, warnings.append)

        def work() -> None:
            for file in files:
                cache.keep_digests(file, digests[file])
                cache.flush()
                cache.keep_uploads([(PLACE, file.path, "an id")])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {file: cache.digests(file, Wanted()) for file in files} == digests
        cache.close()
        assert warnings == []


def test_the_cache_is_where_the_desktop_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ada")
    assert default_cache() == Path("/var/cache/ada/bitstore/transfers.sqlite3")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_cache() == Path("/home/ada/.cache/bitstore/transfers.sqlite3")
