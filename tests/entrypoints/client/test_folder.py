"""Which files are found in a folder, and what is said of the others."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrypoints.client.folder import Found, find_files
from tests.entrypoints.client.support import make_files


def paths(found: Found) -> list[str]:
    return [str(file.path) for file in found.files]


def reasons(found: Found) -> dict[str, str]:
    return {problem.path: problem.reason for problem in found.problems}


def left_out(found: Found) -> dict[str, str]:
    return {problem.path: problem.reason for problem in found.left_out}


def test_all_files_are_found_hidden_ones_too_in_the_order_of_their_paths(tmp_path: Path) -> None:
    make_files(tmp_path, {"b/c/d.csv": b"123", "a.csv": b"", ".hidden": b"1", ".git/config": b"1", "b.csv": b"1"})
    (tmp_path / "empty").mkdir()
    found = find_files([tmp_path])
    assert paths(found) == [".git/config", ".hidden", "a.csv", "b.csv", "b/c/d.csv"]
    assert (found.problems, found.left_out) == ([], [])
    file = found.files[-1]
    seen = (tmp_path / "b/c/d.csv").stat()
    assert (file.source, file.length, file.mtime_ns) == (tmp_path / "b/c/d.csv", 3, seen.st_mtime_ns)


def test_a_file_is_found_under_its_name_wherever_it_is(tmp_path: Path) -> None:
    make_files(tmp_path, {"here/deep/a.csv": b"", "there/b.csv": b"", "there/c/d.csv": b""})
    assert paths(find_files([tmp_path / "here/deep/a.csv", tmp_path / "there"])) == ["a.csv", "b.csv", "c/d.csv"]


def test_two_files_may_not_have_one_path(tmp_path: Path) -> None:
    make_files(tmp_path, {"one/a.csv": b"1", "two/a.csv": b"2"})
    found = find_files([tmp_path / "one", tmp_path / "two"])
    assert reasons(found) == {"a.csv": f"both {tmp_path}/one/a.csv and {tmp_path}/two/a.csv would have this path"}


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("*.tmp", [".git/a.csv", "a.csv", "raw/a.csv", "raw/deep/b.csv"]),
        (".git", ["a.csv", "b.tmp", "raw/a.csv", "raw/deep/b.csv"]),
        ("raw", [".git/a.csv", "a.csv", "b.tmp"]),
        ("raw/*.csv", [".git/a.csv", "a.csv", "b.tmp"]),
        ("raw/deep/b.csv", [".git/a.csv", "a.csv", "b.tmp", "raw/a.csv"]),
        ("[ab].csv", ["b.tmp"]),
        ("A.csv", [".git/a.csv", "a.csv", "b.tmp", "raw/a.csv", "raw/deep/b.csv"]),
    ],
)
def test_what_a_pattern_matches_stays(tmp_path: Path, pattern: str, kept: list[str]) -> None:
    names = [".git/a.csv", "a.csv", "b.tmp", "raw/a.csv", "raw/deep/b.csv"]
    make_files(tmp_path, dict.fromkeys(names, b""))
    assert paths(find_files([tmp_path], [pattern])) == kept


def test_links_are_followed_to_files_of_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "folder", {"data/a.csv": b"123"})
    make_files(tmp_path, {"folder-2/secret.csv": b"s", "secret.csv": b"s"})
    (folder / "inside.csv").symlink_to("data/a.csv")
    (folder / "loop").symlink_to(folder)
    (folder / "out.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "beside.csv").symlink_to(tmp_path / "folder-2/secret.csv")
    (folder / "gone.csv").symlink_to("nothing.csv")
    (folder / "data/etc").symlink_to("/etc")
    found = find_files([folder])
    assert paths(found) == ["data/a.csv", "inside.csv"]
    assert found.files[1].length == 3
    assert left_out(found) == {
        "loop": "a link to a folder, whose files are sent from where they are",
        "out.csv": "a link that leads out of the folder",
        "beside.csv": "a link that leads out of the folder",
        "gone.csv": "a link that leads nowhere",
        "data/etc": "a link that leads out of the folder",
    }


def test_a_folder_may_itself_be_behind_a_link(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "folder", {"a.csv": b"123"})
    (folder / "b.csv").symlink_to("a.csv")
    (tmp_path / "link").symlink_to(folder)
    assert paths(find_files([tmp_path / "link"])) == ["a.csv", "b.csv"]


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert left_out(find_files([tmp_path])) == {"pipe": "neither a file nor a folder"}


def test_partial_downloads_stay(tmp_path: Path) -> None:
    make_files(tmp_path, {".bitstore-pull/1234.part": b"", "a.csv": b""})
    assert paths(find_files([tmp_path])) == ["a.csv"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("u\u0308bersicht.csv", "is not in Unicode normalisation form C"),
        ("back\\slash.csv", "contains the forbidden character U+005C"),
        ("new\nline.csv", "contains the forbidden character U+000A"),
        (" ", "has a segment that is blank"),
        (os.fsdecode(b"latin-\xe9.csv"), "contains the forbidden character U+DCE9"),
    ],
)
def test_names_that_the_service_refuses_are_told_before_it_is_asked(tmp_path: Path, name: str, reason: str) -> None:
    make_files(tmp_path, {name: b"", "good.csv": b""})
    found = find_files([tmp_path])
    (problem,) = found.problems
    assert problem.path == name
    assert reason in problem.reason
    assert "--exclude" in problem.reason


def test_what_cannot_be_read_is_told() -> None:
    with tempfile.TemporaryDirectory() as name, as_nobody(Path(name)):
        folder = make_files(Path(name, "folder"), {"secret.csv": b"", "closed/a.csv": b""})
        (folder / "secret.csv").chmod(0)
        (folder / "closed").chmod(0)
        assert reasons(find_files([folder])) == {
            "closed/": "can't list the folder: permission denied",
            "secret.csv": "can't read it: permission denied",
        }


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Be somebody whom permissions apply to, with a folder of one's own."""
    before = os.geteuid()
    if before == 0:
        os.chown(folder, 65_534, -1)
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert reasons(find_files([tmp_path / "nothing"])) == {str(tmp_path / "nothing"): "there is no such file or folder"}
