"""Key patterns, read the other way round: what lies in a dataset's folder, and what can be told without the content."""

import re

import pytest
from hypothesis import assume, given

from domain.errors import ErrorCode, InvalidInput
from domain.files import DeclaredFile
from domain.keys import Dataset, ObjectKey, Owner, RelativePath
from domain.patterns import DEFAULT_PATTERN, BatchPattern, KeyPattern
from tests import strategies as bits
from tests.domain.refusals import assert_fit_to_be_shown, attempt

ALICE, TIDES = Owner("alice"), Dataset("tides")
DEFAULT = KeyPattern.parse(DEFAULT_PATTERN)

files = bits.declared_files(both_digests=True)


# --- Folders ---


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        (DEFAULT_PATTERN, "alice/tides/"),
        ("{owner}/{dataset}/raw/{path}", "alice/tides/raw/"),
        ("{owner}/data/set-{name}/{path}", "alice/data/set-tides/"),
        ("{owner}/{name}/{md5_hex}{extension}", "alice/tides/"),
        ("{owner}/{name}/v1-{path}", "alice/tides/"),
        ("{owner}/{name}/{dirname}/{name}/{basename}", "alice/tides/"),
        ("{owner}/{path}", "alice/"),
        ("{owner}/data/{path}", "alice/data/"),
        ("{owner}/{md5}", "alice/"),
    ],
)
def test_a_listing_is_that_of_the_fixed_start(template: str, folder: str) -> None:
    assert KeyPattern.parse(template).for_listing(ALICE, TIDES).folder == folder


@pytest.mark.parametrize(
    "template",
    [
        *("{md5_hex}", "blobs/{sha256_hex}{extension}", "{name}/{md5_hex}", "blobs/{owner}/{md5_hex}"),
        *(
            "{owner}/{name}-{path}",
            "{owner}/{dirname}/{name}/{basename}",
            "{owner}/{md5_hex}/{name}",
            "{owner}/{name}{path}",
        ),
    ],
)
def test_a_folder_that_is_shared_has_no_listing(template: str) -> None:
    refusal = attempt(KeyPattern.parse(template).for_listing, ALICE, TIDES)
    assert isinstance(refusal, InvalidInput)
    assert refusal.code is ErrorCode.UNSUPPORTED_BY_PATTERN
    assert_fit_to_be_shown(refusal)


def test_a_dataset_must_be_named_where_it_has_a_folder() -> None:
    refusal = attempt(DEFAULT.for_listing, ALICE, None)
    assert isinstance(refusal, InvalidInput)
    assert (refusal.code, refusal.field) == (ErrorCode.INVALID_DATASET, "name")
    assert KeyPattern.parse("{owner}/{path}").for_listing(ALICE, None).folder == "alice/"


@given(
    pattern=bits.owner_scoped_patterns,
    owner=bits.short_owners,
    dataset=bits.short_datasets,
    other_owner=bits.short_owners,
    other_dataset=bits.short_datasets,
    file=files,
)
def test_all_files_of_a_dataset_lie_in_its_folder_and_no_others(
    pattern: KeyPattern,
    owner: Owner,
    dataset: Dataset,
    other_owner: Owner,
    other_dataset: Dataset,
    file: DeclaredFile,
) -> None:
    listing = attempt(pattern.for_listing, owner, dataset)
    assume(isinstance(listing, BatchPattern))
    assert isinstance(listing, BatchPattern)
    assert listing.folder.startswith(f"{owner}/")
    for whose, which in ((owner, dataset), (owner, other_dataset), (other_owner, dataset)):
        key = attempt(lambda: pattern.for_batch(whose, which).key_of(file))  # noqa: B023 - called at once
        if isinstance(key, ObjectKey):
            own = whose == owner and (which == dataset or not pattern.uses_dataset)
            assert (key.startswith(listing.folder) and listing.covers(key)) == own


# --- Paths ---


@given(pattern=bits.owner_scoped_patterns, owner=bits.short_owners, dataset=bits.short_datasets, file=files)
def test_a_path_that_is_read_off_a_key_is_the_one_that_was_declared(
    pattern: KeyPattern, owner: Owner, dataset: Dataset, file: DeclaredFile
) -> None:
    batch = pattern.for_batch(owner, dataset)
    key = attempt(batch.key_of, file)
    assume(isinstance(key, ObjectKey))
    assert isinstance(key, ObjectKey)
    start = pattern.template.removesuffix("/{path}")
    tells = start != pattern.template and set(re.findall(r"\{(\w+)\}", start)) <= {"owner", "name", "dataset"}
    path = batch.path_of(key)
    assert path == (file.path if tells else None)
    assert path is None or isinstance(path, RelativePath)
    assert batch.keeps_paths_apart == tells


@pytest.mark.parametrize(
    ("template", "key", "path"),
    [
        (DEFAULT_PATTERN, "alice/tides/a/b c.csv", "a/b c.csv"),
        ("{owner}/data/{path}", "alice/data/tides/a.csv", "tides/a.csv"),
        (DEFAULT_PATTERN, "alice/tides2/a.csv", None),
        (DEFAULT_PATTERN, "bob/tides/a.csv", None),
        ("{owner}/{name}/v1-{path}", "alice/tides/v1-a.csv", None),
        ("{owner}/{name}/{path}{extension}", "alice/tides/a.csv.csv", None),
        ("{owner}/{name}/{basename}", "alice/tides/a.csv", None),
        ("{owner}/{name}/{md5_hex}/{path}", "alice/tides/d41d8cd98f00b204e9800998ecf8427e/a.csv", None),
    ],
)
def test_a_path_is_told_only_where_a_key_ends_in_nothing_else(template: str, key: str, path: str | None) -> None:
    assert KeyPattern.parse(template).for_batch(ALICE, TIDES).path_of(ObjectKey(key)) == path


@given(pattern=bits.patterns, owner=bits.short_owners, dataset=bits.short_datasets, file=files)
def test_a_path_alone_makes_the_key_of_its_file_or_none(
    pattern: KeyPattern, owner: Owner, dataset: Dataset, file: DeclaredFile
) -> None:
    key_at = attempt(pattern.for_paths, owner, dataset)
    if pattern.is_content_addressed:
        assert isinstance(key_at, InvalidInput)
        assert (key_at.code, key_at.field) == (ErrorCode.UNSUPPORTED_BY_PATTERN, "paths")
        return
    assert not isinstance(key_at, Exception)
    key, expected = attempt(key_at, file.path), attempt(pattern.for_batch(owner, dataset).key_of, file)
    if isinstance(expected, InvalidInput):
        assert isinstance(key, InvalidInput)
        assert key.code is expected.code is ErrorCode.INVALID_KEY
    else:
        assert key == expected


@pytest.mark.parametrize(
    ("template", "path", "key"),
    [
        ("{owner}/{name}/{dirname}/x-{basename}", "a/b.csv", "alice/data/a/x-b.csv"),
        ("{owner}/{name}/{dirname}/x-{basename}", "b.csv", "alice/data/x-b.csv"),
        ("{owner}/{path}/{basename}{extension}", "a/b.csv", "alice/a/b.csv/b.csv.csv"),
    ],
)
def test_a_path_alone_makes_any_key_that_is_made_of_nothing_else(template: str, path: str, key: str) -> None:
    made = KeyPattern.parse(template).for_paths(Owner("alice"), Dataset("data"))(RelativePath(path))
    assert (made, type(made)) == (key, ObjectKey)
