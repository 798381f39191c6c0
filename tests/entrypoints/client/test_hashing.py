"""Digests, of files and of their parts."""

import base64
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoints.client import FileTrouble, Stopped
from entrypoints.client.errors import FileChanged
from entrypoints.client.folder import LocalFile, find_files
from entrypoints.client.hashing import Digests, Wanted, hash_file
from entrypoints.client.retrying import Stop

LONG_AGO = 1_700_000_000


def write(folder: Path, content: bytes = b"hello", name: str = "a.bin") -> LocalFile:
    """Write a file that was last modified long ago."""
    (folder / name).write_bytes(content)
    os.utime(folder / name, (LONG_AGO, LONG_AGO))
    (file,) = find_files([folder / name]).files
    return file


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def digest(file: LocalFile, wanted: Wanted) -> Digests:
    return hash_file(file, wanted, lambda _: None, Stop())[1]


class TestHashing:
    @given(content=st.binary(max_size=300), size=st.integers(1, 400))
    def test_digests_are_those_of_all_bytes_and_of_each_part(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int
    ) -> None:
        file = write(tmp_path_factory.mktemp("files"), content)
        digests = digest(file, Wanted(size, sha256=True))
        assert digests.md5 == b64(hashlib.md5(content).digest())
        assert digests.sha256 == b64(hashlib.sha256(content).digest())
        cut = [content[start : start + size] for start in range(0, len(content), size)]
        assert digests.parts is not None
        assert list(digests.parts.md5 or ()) == [b64(hashlib.md5(part).digest()) for part in cut]

    def test_parts_may_be_longer_than_what_is_read_at_once(self, tmp_path: Path) -> None:
        content = os.urandom(2_500_000)
        digests = digest(write(tmp_path, content), Wanted(1_100_000))
        assert digests.parts is not None
        cut = [content[start : start + 1_100_000] for start in range(0, 2_500_000, 1_100_000)]
        assert list(digests.parts.md5 or ()) == [b64(hashlib.md5(part).digest()) for part in cut]

    def test_a_file_is_hashed_as_it_is_now(self, tmp_path: Path) -> None:
        file = write(tmp_path, b"before")
        write(tmp_path, b"afterwards")
        now, digests = hash_file(file, Wanted(), lambda _: None, Stop())
        assert (now.length, digests.md5) == (10, b64(hashlib.md5(b"afterwards").digest()))

    def test_a_file_that_changes_meanwhile_is_noticed(self, tmp_path: Path) -> None:
        file = write(tmp_path)
        with pytest.raises(FileChanged, match="changed while it was hashed"):
            hash_file(file, Wanted(), lambda _: os.utime(file.source), Stop())

    def test_a_file_that_is_gone_is_told(self, tmp_path: Path) -> None:
        file = write(tmp_path)
        file.source.unlink()
        with pytest.raises(FileTrouble, match="can't read it: no such file"):
            digest(file, Wanted())

    def test_it_can_be_stopped(self, tmp_path: Path) -> None:
        stop = Stop()
        stop.set()
        with pytest.raises(Stopped):
            hash_file(write(tmp_path), Wanted(), lambda _: None, stop)
