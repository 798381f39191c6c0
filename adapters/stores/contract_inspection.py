"""The part of the conformance suite on looking into the store: what it says that it holds, for few keys and many."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from attrs import evolve

from adapters.stores.contract_client import (
    AWKWARD_PATHS,
    CONTENT,
    OTHER_CONTENT,
    declare,
    make_folder,
    make_upload,
    utc_now,
)
from adapters.stores.contract_harness import ContractPart, Harness
from application.ports import Inspection
from domain.inspection import FoundObject, Status, compare
from domain.uploads import Upload, UploadMethod

PATIENCE = timedelta(seconds=30)

# No two of these are one key, though a prefix, a folder, another case or one decoding too many could make them so.
NEIGHBOURS = [
    ("a.csv", "a.csv.bak"),
    ("a.csv", "a.csv/b"),
    ("a.csv", "a.csv/b/c"),
    ("a.csv", "A.csv"),
    ("a.csv", "b/a.csv"),
    ("a b.csv", "a+b.csv"),
    ("a b.csv", "a%20b.csv"),
    ("a/b.csv", "a%2Fb.csv"),
    ("é.csv", "e.csv"),
]

CROWD = 40
"""How many missing keys a batch of many has besides; beyond what any store should still ask for one by one."""

Look = Callable[..., list[FoundObject | None]]


class InspectionContract(ContractPart):
    """What was sent is found, what is there now counts, and nothing else is taken for it."""

    @pytest.fixture(params=[0, CROWD], ids=["few", "many"])
    def look(self, request: pytest.FixtureRequest, harness: Harness, runner: asyncio.Runner) -> Look:
        """Ask what is at the keys of uploads, in this order: alone, and in a crowd of missing ones in their folder."""
        inspect, crowd = harness.store.inspector.inspect, request.param

        def look(*uploads: Upload) -> list[FoundObject | None]:
            others = _neighbours_of(uploads[0], crowd)
            inspection = runner.run(inspect([*uploads, *others], utc_now(), PATIENCE))
            assert inspection.failure is None
            assert inspection.found.keys() == {upload.key for upload in (*uploads, *others)}
            assert all(inspection.found[other.key] is None for other in others)
            return [inspection.found[upload.key] for upload in uploads]

        return look

    @pytest.mark.parametrize("fate", ["used", "dropped"])
    def test_asking_ahead_changes_no_answer(self, harness: Harness, runner: asyncio.Runner, fate: str) -> None:
        upload, inspector = self._stored(harness, "a.csv"), harness.store.inspector
        wanted = [upload, *_neighbours_of(upload, CROWD)]

        async def look() -> Inspection:
            prepared = inspector.prepare(f"{_folder_of(upload)}/", len(wanted), utc_now())
            assert prepared is None or not prepared.nothing_there
            if fate == "dropped" and prepared is not None:
                prepared.drop()
            return await inspector.inspect(wanted, utc_now(), PATIENCE, None if fate == "dropped" else prepared)

        inspection = runner.run(look())
        assert inspection.failure is None
        assert [one.key for one in wanted if inspection.found[one.key] is not None] == [upload.key]

    def test_asking_ahead_where_nothing_is_finds_nothing(self, harness: Harness, runner: asyncio.Runner) -> None:
        upload, inspector = make_upload(), harness.store.inspector
        wanted = [upload, *_neighbours_of(upload, CROWD)]
        nothing = Inspection(dict.fromkeys(one.key for one in wanted))

        async def look() -> Inspection:
            prepared = inspector.prepare(f"{_folder_of(upload)}/", len(wanted), utc_now())
            if prepared is not None and prepared.nothing_there:
                return nothing
            return await inspector.inspect(wanted, utc_now(), PATIENCE, prepared)

        assert runner.run(look()) == nothing

    def test_impatience_is_no_error(self, harness: Harness, runner: asyncio.Runner) -> None:
        upload = self._stored(harness, "a.csv")
        inspection = runner.run(harness.store.inspector.inspect([upload], utc_now(), timedelta(0)))
        if inspection.failure is None:
            assert compare(upload.file, inspection.found[upload.key]) is Status.STORED
        assert inspection.found.keys() <= {upload.key}

    @pytest.mark.parametrize("content", [CONTENT, b""], ids=["some bytes", "no bytes"])
    def test_what_was_sent_is_found(self, harness: Harness, method: UploadMethod, look: Look, content: bytes) -> None:
        upload = make_upload(content=content)
        assert look(upload) == [None]
        self._put(harness, upload, content, method)
        (found,) = look(upload)
        assert compare(upload.file, found) is Status.STORED
        assert found is not None
        assert found.md5 == upload.file.md5
        assert found.sha256 in (None, upload.file.sha256)

    def test_what_is_there_now_counts(self, harness: Harness, look: Look) -> None:
        upload = make_upload()
        for content, status in (
            (CONTENT, Status.STORED),
            (OTHER_CONTENT, Status.DIFFERENT),
            (CONTENT + b"!", Status.DIFFERENT),
            (b"", Status.DIFFERENT),
            (CONTENT, Status.STORED),
        ):
            self._put(harness, evolve(upload, file=declare(upload.file.path, content)), content)
            assert compare(upload.file, *look(upload)) is status

    def test_many_files_are_found_among_others(self, harness: Harness, look: Look) -> None:
        folder = make_folder()
        uploads = [self._stored(harness, f"data/part-{number}.csv", folder) for number in range(25)]
        for wanted in (uploads, uploads[9:11]):
            assert _statuses(wanted, look(*wanted)) == dict.fromkeys(_paths(wanted), Status.STORED)

    @pytest.mark.parametrize("pair", [pair for two in NEIGHBOURS for pair in (two, two[::-1])], ids=" beside ".join)
    def test_a_neighbour_is_never_taken_for_it(self, harness: Harness, look: Look, pair: tuple[str, str]) -> None:
        folder = make_folder()
        wanted, neighbour = (make_upload(path, folder=folder) for path in pair)
        self._put(harness, neighbour, CONTENT)
        missing, found = look(wanted, neighbour)
        assert missing is None
        assert compare(neighbour.file, found) is Status.STORED

    def test_awkward_keys_are_found(self, harness: Harness, look: Look) -> None:
        folder = make_folder()
        uploads = [self._stored(harness, path, folder) for path in AWKWARD_PATHS]
        assert _statuses(uploads, look(*uploads)) == dict.fromkeys(_paths(uploads), Status.STORED)

    def test_a_digest_that_the_store_may_not_know_never_counts_against_a_file(
        self, harness: Harness, method: UploadMethod, look: Look
    ) -> None:
        upload = make_upload()
        upload = evolve(upload, file=evolve(upload.file, md5=None))
        self._put(harness, upload, CONTENT, method)
        assert compare(upload.file, *look(upload)) in (Status.STORED, Status.UNKNOWN)
        other = evolve(declare(upload.file.path, OTHER_CONTENT), md5=None)
        assert compare(other, *look(upload)) in (Status.DIFFERENT, Status.UNKNOWN)

    def test_two_files_of_one_key_are_both_found(self, harness: Harness, look: Look) -> None:
        first = self._stored(harness, "a.csv")
        second = evolve(first, file=declare("b.csv"))
        both = [first, second]
        assert _statuses(both, look(*both)) == {"a.csv": Status.STORED, "b.csv": Status.STORED}


def _folder_of(upload: Upload) -> str:
    return upload.key.removesuffix(f"/{upload.file.path}")


def _neighbours_of(upload: Upload, count: int) -> list[Upload]:
    """Decide uploads into the same folder, which nobody carries out."""
    return [make_upload(f"missing-{number}.csv", folder=_folder_of(upload)) for number in range(count)]


def _paths(uploads: Sequence[Upload]) -> list[str]:
    return [upload.file.path for upload in uploads]


def _statuses(uploads: Sequence[Upload], found: Sequence[FoundObject | None]) -> dict[str, Status]:
    return {upload.file.path: compare(upload.file, one) for upload, one in zip(uploads, found, strict=True)}
