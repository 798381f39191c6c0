"""What `datapackage.json` says of a folder."""

import json
from pathlib import Path

import pytest

from entrypoints.client import BadSources
from entrypoints.client.gathering import Gathered
from tests.entrypoints.client.support import make_files


def gather(folder: Path, described: object) -> Gathered:
    make_files(folder, {"datapackage.json": json.dumps(described).encode(), "a.csv": b"1", "data/b.bin": b"2"})
    return Gathered.of([folder], ())


def test_it_gives_the_name_and_the_media_types_and_is_sent_itself(tmp_path: Path) -> None:
    gathered = gather(
        tmp_path,
        {
            "name": "tides",
            "resources": [
                {"path": "a.csv", "mediatype": "text/csv; header=present"},
                {"path": ["data/b.bin", "./a.csv"]},
                {"path": "https://example.org/elsewhere.csv"},
                {"name": "inline", "data": [1, 2, 3]},
            ],
        },
    )
    assert gathered.package_name == "tides"
    assert gathered.media_types == {"a.csv": "text/csv; header=present"}
    assert [str(file.path) for file in gathered.files] == ["a.csv", "data/b.bin", "datapackage.json"]


def test_every_resource_must_be_there(tmp_path: Path) -> None:
    described = {"resources": [{"path": "a.csv"}, {"path": "c.csv"}, {"path": ["../d.csv", "/etc/passwd"]}]}
    with pytest.raises(BadSources) as raised:
        gather(tmp_path, described)
    assert [str(problem) for problem in raised.value.problems] == [
        f"datapackage.json: it names the resource {path}, which isn't among the files to send"
        for path in ("c.csv", "../d.csv", "/etc/passwd")
    ]


def test_a_resource_that_is_left_out_is_missing(tmp_path: Path) -> None:
    make_files(tmp_path, {"datapackage.json": b'{"resources": [{"path": "a.csv"}]}', "a.csv": b""})
    with pytest.raises(BadSources, match=r"it names the resource a\.csv"):
        Gathered.of([tmp_path], ["a.csv"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "it isn't JSON"),
        (b"\xff", "it isn't JSON"),
        (b"[]", "it must be a JSON object"),
        (b'{"resources": [{"path": "a.csv", "mediatype": "csv"}]}', "mediatype of the resource a.csv"),
        (b'{"resources": [{"path": "a.csv", "mediatype": 5}]}', "mediatype of the resource a.csv"),
    ],
)
def test_one_that_makes_no_sense_is_told(tmp_path: Path, text: bytes, reason: str) -> None:
    make_files(tmp_path, {"datapackage.json": text, "a.csv": b""})
    with pytest.raises(BadSources) as raised:
        Gathered.of([tmp_path], ())
    (problem,) = raised.value.problems
    assert problem.path == "datapackage.json"
    assert reason in problem.reason


@pytest.mark.parametrize("described", [{}, {"name": 5, "resources": {}}, {"resources": [5, {"path": 5}]}])
def test_what_it_does_not_say_is_no_matter(tmp_path: Path, described: object) -> None:
    gathered = gather(tmp_path, described)
    assert (gathered.package_name, gathered.media_types) == (None, {})


def test_only_that_of_the_folder_counts(tmp_path: Path) -> None:
    make_files(tmp_path, {"sub/datapackage.json": b"nonsense"})
    assert Gathered.of([tmp_path], ()).package_name is None


def test_nothing_to_send_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSources, match="there is no file to send"):
        Gathered.of([tmp_path], ())
