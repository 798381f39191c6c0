"""Batches: all files of a request are decided, or none is."""

import unicodedata
from collections.abc import Mapping

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.batches import Batch, BatchRules, DatasetMetadata, Decision, plan_uploads
from domain.errors import AccessDenied, BitstoreError, ErrorCode, InvalidBatch, InvalidInput
from domain.files import FileRules
from domain.identity import Principal
from domain.keys import Dataset, Owner
from domain.patterns import DEFAULT_PATTERN, KeyPattern
from domain.uploads import Access, Upload
from tests import strategies as bits
from tests.domain.refusals import assert_fit_to_be_shown, attempt

RULES = BatchRules(KeyPattern.parse(DEFAULT_PATTERN), bits.RULES)
ALICE = Principal(Owner("alice"), bits.SERVICE, may_upload=True)
METADATA: Mapping[str, object] = {"owner": "alice", "name": "data"}
EMPTY_MD5, OTHER_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg==", "XUFAKrxLKna5cZ2REBfFkg=="
EMPTY_SHA256, OTHER_SHA256 = (
    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
)
FILE: Mapping[str, object] = {"length": 5, "md5": EMPTY_MD5, "type": "text/csv"}


def rules_for(template: str) -> BatchRules:
    return BatchRules(KeyPattern.parse(template), bits.RULES)


def plan(
    filedata: Mapping[str, object],
    metadata: Mapping[str, object] = METADATA,
    principal: Principal = ALICE,
    rules: BatchRules = RULES,
) -> tuple[Upload, ...]:
    return plan_uploads(principal, metadata, filedata, rules)


def refusal_of(
    filedata: Mapping[str, object],
    metadata: Mapping[str, object] = METADATA,
    principal: Principal = ALICE,
    rules: BatchRules = RULES,
) -> BitstoreError:
    found = attempt(plan, filedata, metadata, principal, rules)
    assert isinstance(found, BitstoreError)
    assert_fit_to_be_shown(found)
    return found


def problems_of(filedata: Mapping[str, object], rules: BatchRules = RULES) -> list[tuple[str | None, ErrorCode]]:
    refusal = refusal_of(filedata, rules=rules)
    assert isinstance(refusal, InvalidBatch)
    assert refusal.code is ErrorCode.INVALID_BATCH
    return [(problem.path, problem.code) for problem in refusal.problems]


# --- What is accepted ---


@given(owner=bits.short_owners, dataset=bits.short_datasets, filedata=bits.filedatas())
def test_every_declared_file_becomes_one_upload_in_order_in_its_owners_part(
    owner: Owner, dataset: Dataset, filedata: dict[str, object]
) -> None:
    principal = Principal(owner, bits.SERVICE, may_upload=True)
    uploads = plan(filedata, {"owner": str(owner), "name": str(dataset)}, principal)
    assert [upload.file.path for upload in uploads] == list(filedata)
    assert [upload.key for upload in uploads] == [f"{owner}/{dataset}/{path}" for path in filedata]
    assert len({upload.key for upload in uploads}) == len(filedata)


@given(
    pattern=bits.owner_scoped_patterns,
    owner=bits.short_owners,
    dataset=bits.short_datasets,
    filedata=bits.filedatas(),
)
def test_no_upload_leaves_its_owners_part_under_any_owner_scoped_pattern(
    pattern: KeyPattern, owner: Owner, dataset: Dataset, filedata: dict[str, object]
) -> None:
    principal = Principal(owner, bits.SERVICE, may_upload=True)
    metadata = {"owner": str(owner), "dataset": str(dataset)}
    uploads = attempt(plan, filedata, metadata, principal, BatchRules(pattern, bits.RULES))
    if isinstance(uploads, tuple):
        assert len(uploads) == len(filedata)
        assert all(upload.key.startswith(f"{owner}/") and bits.is_legal_path(upload.key) for upload in uploads)
    else:
        assert isinstance(uploads, InvalidBatch)


@given(
    filedata=bits.filedatas(),
    extra=st.dictionaries(bits.any_text, bits.json_like, max_size=2),
    more=st.dictionaries(bits.any_text, bits.json_like, max_size=2),
)
def test_what_else_a_client_says_changes_no_upload(
    filedata: dict[str, object], extra: dict[str, object], more: dict[str, object]
) -> None:
    extra = {name: value for name, value in extra.items() if name not in {"owner", "name", "dataset", "findability"}}
    more = {name: value for name, value in more.items() if name not in {"length", "md5", "sha256", "type", "name"}}
    wordy = {path: more | declared for path, declared in filedata.items() if isinstance(declared, dict)}
    assert plan(wordy, {**extra, **METADATA}) == plan(filedata)


@pytest.mark.parametrize("member", ["key", "path", "owner", "dataset", "dirname", "basename", "extension", "bucket"])
@pytest.mark.parametrize("template", [DEFAULT_PATTERN, "{md5_hex}{extension}", "{owner}/{dirname}/{basename}"])
def test_a_client_never_names_its_own_key(member: str, template: str) -> None:
    evil = "../bob/evil"
    rules = rules_for(template)
    assert plan({"a/b.csv": {**FILE, member: evil}}, rules=rules) == plan({"a/b.csv": FILE}, rules=rules)


# --- One bad file refuses all ---


@given(
    good=bits.filedatas(max_size=2),
    bad=st.lists(st.tuples(bits.short_paths.map(str), bits.near_miss_declarations()), max_size=2),
    lost=st.lists(st.tuples(bits.near_miss_paths, bits.declarations()), max_size=2),
    data=st.data(),
)
def test_a_batch_with_bad_files_is_refused_whole_and_names_each_once_in_order(
    good: dict[str, object],
    bad: list[tuple[str, bits.NearMiss]],
    lost: list[tuple[bits.NearMiss, bits.Declaration]],
    data: st.DataObject,
) -> None:
    faulty: dict[str, object] = {path: miss.value for path, miss in bad if path not in good}
    faulty |= {str(miss.value): declared for miss, declared in lost}
    assume(faulty)
    order = data.draw(st.permutations(list((good | faulty).items())))
    problems = problems_of(dict(order))
    assert [path for path, _ in problems] == [path for path, _ in order if path in faulty]


def test_every_problem_of_a_batch_says_its_file_and_what_is_wrong() -> None:
    filedata = {
        "good": FILE,
        "/a": FILE,
        "b": {**FILE, "length": -1},
        "c": {**FILE, "md5": "d41d8cd98f00b204e9800998ecf8427e"},
        "d": None,
        "good/too": FILE,
        "e\ud800": FILE,
        "f": {"length": 5},
        "g": {**FILE, "length": bits.MAX_BYTES + 1},
        "": FILE,
        "h": {**FILE, "type": "csv"},
    }
    assert problems_of(filedata) == [
        ("/a", ErrorCode.INVALID_PATH),
        ("b", ErrorCode.INVALID_LENGTH),
        ("c", ErrorCode.INVALID_MD5),
        ("d", ErrorCode.INVALID_FILE),
        ("e\ud800", ErrorCode.INVALID_PATH),
        ("f", ErrorCode.DIGEST_REQUIRED),
        ("g", ErrorCode.FILE_TOO_LARGE),
        ("", ErrorCode.INVALID_PATH),
        ("h", ErrorCode.INVALID_TYPE),
    ]


@pytest.mark.parametrize(("count", "message"), [(1, "1 file can't"), (2, "2 files can't")])
def test_the_refusal_of_a_batch_counts_its_bad_files(count: int, message: str) -> None:
    assert refusal_of({f"/{number}": FILE for number in range(count)}).message.startswith(message)


# --- Two files, one key ---


@pytest.mark.parametrize("template", ["{owner}/{name}/{basename}", "{owner}/{basename}"])
def test_two_files_with_one_key_are_refused_at_the_second(template: str) -> None:
    filedata = {"a/x": FILE, "b/y": FILE, "b/x": {**FILE, "md5": OTHER_MD5}, "c/x": FILE, "d/y": FILE}
    conflict = ErrorCode.KEY_CONFLICT
    assert problems_of(filedata, rules_for(template)) == [("b/x", conflict), ("c/x", conflict), ("d/y", conflict)]


def test_the_longest_path_can_be_named_in_a_conflict() -> None:
    path = "/".join(["\u4e2d" * 80] * 3)
    refusal = refusal_of({f"{path}/x": FILE, "x": FILE}, rules=rules_for("{owner}/{basename}"))
    assert isinstance(refusal, InvalidBatch)
    assert f"{path}/x" in refusal.problems[0].message


@given(paths=st.lists(bits.short_paths, min_size=1, max_size=6, unique=True))
def test_exactly_the_files_after_the_first_of_each_key_conflict(paths: list[str]) -> None:
    names = [path.rpartition("/")[2] for path in paths]
    later = [path for at, path in enumerate(paths) if names[at] in names[:at]]
    filedata = {str(path): FILE for path in paths}
    rules = rules_for("{owner}/{basename}")
    if later:
        assert problems_of(filedata, rules) == [(path, ErrorCode.KEY_CONFLICT) for path in later]
    else:
        assert len(plan(filedata, rules=rules)) == len(paths)


@given(
    pattern=bits.patterns,
    digests=st.dictionaries(
        st.sampled_from(["x", "a/x", "b/x", "a/b/x", "a/y", "x.csv", "a/x.csv"]),
        st.sampled_from([EMPTY_MD5, OTHER_MD5]),
        min_size=2,
    ),
)
def test_whatever_the_pattern_no_two_files_of_different_content_have_one_key(
    pattern: KeyPattern, digests: dict[str, str]
) -> None:
    sha256 = {EMPTY_MD5: EMPTY_SHA256, OTHER_MD5: OTHER_SHA256}
    filedata = {path: {**FILE, "md5": md5, "sha256": sha256[md5]} for path, md5 in digests.items()}
    decided = attempt(plan, filedata, METADATA, ALICE, BatchRules(pattern, bits.RULES))
    if not isinstance(decided, BitstoreError):
        contents = {(upload.key, upload.file.md5) for upload in decided}
        assert len(contents) == len({upload.key for upload in decided})
        if not pattern.is_content_addressed:
            assert len(contents) == len(filedata)


@pytest.mark.parametrize("form", ["NFD", "NFKD"])
def test_two_paths_that_differ_only_by_normalisation_are_refused(form: str) -> None:
    path = "caf\u00e9.csv"
    spelled = unicodedata.normalize(form, path)  # type: ignore[arg-type]  # a literal type, which a list is not
    assert problems_of({path: FILE, spelled: FILE}) == [(spelled, ErrorCode.INVALID_PATH)]


def test_paths_that_differ_by_case_alone_are_two_files() -> None:
    assert [upload.key for upload in plan({"a": FILE, "A": FILE})] == ["alice/data/a", "alice/data/A"]


def test_equal_files_are_one_object_where_keys_are_made_of_the_content() -> None:
    uploads = plan({"a/x.csv": FILE, "b/y.csv": FILE}, rules=rules_for("{md5_hex}{extension}"))
    assert [upload.file.path for upload in uploads] == ["a/x.csv", "b/y.csv"]
    assert len({upload.key for upload in uploads}) == 1


@pytest.mark.parametrize("change", [{"type": "text/plain"}, {"length": 6}])
def test_files_that_contradict_each_other_are_never_one_object(change: Mapping[str, object]) -> None:
    filedata = {"a.csv": FILE, "b.csv": {**FILE, **change}}
    assert problems_of(filedata, rules_for("{md5_hex}{extension}")) == [("b.csv", ErrorCode.KEY_CONFLICT)]


# --- Metadata, owner, access ---


@pytest.mark.parametrize(
    ("metadata", "dataset"),
    [
        ({"name": "data"}, "data"),
        ({"dataset": "data"}, "data"),
        ({"name": "data", "dataset": "data"}, "data"),
        ({"name": "data", "dataset": None}, "data"),
        ({"name": None, "dataset": "data"}, "data"),
        ({}, None),
        ({"name": None, "dataset": None}, None),
    ],
)
def test_a_dataset_has_a_name_by_either_member(metadata: Mapping[str, object], dataset: str | None) -> None:
    assert DatasetMetadata.parse({"owner": "alice", **metadata}).dataset == dataset


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": "data", "dataset": "Data"},
        {"name": "data", "dataset": "data "},
        {"name": "data", "dataset": ""},
        {"name": "", "dataset": "data"},
        {"name": "\u00e9", "dataset": "e\u0301"},
        {"name": "a/b"},
        {"name": ".."},
        {"name": ""},
        {"name": 1},
        {"name": 1, "dataset": True},
        {"name": ["data"]},
        {"dataset": "a/b"},
        {"name": None, "dataset": ".."},
        {},
    ],
)
def test_a_dataset_with_a_bad_name_two_names_or_none_is_refused(metadata: Mapping[str, object]) -> None:
    refusal = refusal_of({"a": FILE}, {"owner": "alice", **metadata})
    assert isinstance(refusal, InvalidInput)
    assert refusal.code is ErrorCode.INVALID_DATASET


def test_what_is_wrong_with_metadata_says_that_it_is_there() -> None:
    for metadata, field in (
        ({"owner": ""}, None),
        ({"owner": "alice", "name": "a", "dataset": "b"}, "name"),
        ({"owner": "alice", "findability": "secret"}, "findability"),
    ):
        refusal = refusal_of({"a": FILE}, metadata)
        assert refusal.message.startswith("metadata: ")
        assert refusal.field == field


def test_names_that_are_nested_deeply_are_refused_like_any_other() -> None:
    def nested() -> object:
        value: object = "data"
        for _ in range(100_000):
            value = [value]
        return value

    refusal = refusal_of({"a": FILE}, {"owner": "alice", "name": nested(), "dataset": nested()})
    assert refusal.code is ErrorCode.INVALID_DATASET


@given(miss=bits.near_miss_segments)
def test_an_owner_or_a_dataset_that_is_no_segment_is_refused(miss: bits.NearMiss) -> None:
    assert refusal_of({"a": FILE}, {**METADATA, "owner": miss.value}).code is ErrorCode.INVALID_OWNER
    assert refusal_of({"a": FILE}, {**METADATA, "name": miss.value}).code is ErrorCode.INVALID_DATASET


@given(alike=bits.look_alike_owners())
def test_nobody_uploads_for_a_look_alike(alike: tuple[Owner, Owner, str]) -> None:
    owner, other, why = alike
    refusal = refusal_of(
        {"a": FILE}, {**METADATA, "owner": str(other)}, Principal(owner, bits.SERVICE, may_upload=True)
    )
    assert isinstance(refusal, AccessDenied), why
    assert refusal.code is ErrorCode.NOT_OWNER, why


@pytest.mark.parametrize(
    ("metadata", "access"),
    [
        ({}, Access.PUBLIC),
        ({"findability": None}, Access.PUBLIC),
        ({"findability": "published"}, Access.PUBLIC),
        ({"findability": "unlisted"}, Access.PUBLIC),
        ({"findability": "private"}, Access.PRIVATE),
    ],
)
def test_findability_decides_who_may_read(metadata: Mapping[str, object], access: Access) -> None:
    assert [upload.access for upload in plan({"a": FILE, "b": FILE}, {**METADATA, **metadata})] == [access, access]


@given(
    findability=st.one_of(bits.json_like, st.sampled_from(["Private", "PRIVATE", "private ", "", "public", "secret"]))
)
def test_an_unknown_findability_is_never_taken_for_public(findability: object) -> None:
    assume(findability is not None)
    refusal = refusal_of({"a": FILE}, {**METADATA, "findability": findability})
    assert (refusal.code, refusal.field) == (ErrorCode.INVALID_METADATA, "findability")


# --- Permission, limits and quota ---


def test_without_the_permission_nothing_else_is_looked_at() -> None:
    stranger = evolve(ALICE, may_upload=False)
    for filedata, metadata in ({"a": FILE}, METADATA), ({}, {}), ({"/": None}, {"owner": "bob"}):
        refusal = refusal_of(filedata, metadata, stranger)
        assert isinstance(refusal, AccessDenied)
        assert refusal.code is ErrorCode.PERMISSION_MISSING


def test_a_batch_of_another_owner_is_refused_before_its_files_are_looked_at() -> None:
    assert refusal_of({"/": None}, {**METADATA, "owner": "bob"}).code is ErrorCode.NOT_OWNER


def test_an_empty_batch_is_refused() -> None:
    refusal = refusal_of({})
    assert (refusal.code, refusal.field) == (ErrorCode.EMPTY_BATCH, "filedata")


def test_a_batch_has_at_most_ten_thousand_files_unless_the_operator_says_otherwise() -> None:
    RULES.check_count(10_000, "filedata")
    with pytest.raises(InvalidInput):
        RULES.check_count(10_001, "filedata")


def test_a_file_that_may_come_in_parts_may_be_longer() -> None:
    rules = evolve(RULES, files=FileRules(max_bytes=4, max_bytes_in_parts=5))
    assert [upload.file.length for upload in plan({"a": FILE}, rules=rules.in_parts)] == [5]
    assert problems_of({"a": FILE}, rules) == [("a", ErrorCode.FILE_TOO_LARGE)]


@given(filedata=bits.filedatas(), bad=st.sets(st.sampled_from(["/a", "..", ""])), step=st.integers(1, 5))
def test_a_batch_that_is_decided_in_steps_comes_to_the_same(
    filedata: dict[str, object], bad: set[str], step: int
) -> None:
    filedata |= dict.fromkeys(bad, FILE)
    decision, steps = Decision(Batch.open(ALICE, METADATA, filedata, RULES)), 1
    while decision.go_on(step):
        steps += 1
    assert steps == -(-len(filedata) // step)
    if bad:
        refusal = attempt(decision.uploads)
        assert isinstance(refusal, InvalidBatch)
        assert [(problem.path, problem.code) for problem in refusal.problems] == problems_of(filedata)
    else:
        assert decision.uploads() == plan(filedata)


MANY: Mapping[str, object] = {f"data/{number}.csv": FILE for number in range(60)}


@pytest.mark.parametrize("template", [DEFAULT_PATTERN, "{owner}/{name}/{basename}", "{owner}/{md5_hex}"])
@pytest.mark.parametrize("step", [1, 7, 25, 60, 100])
def test_many_files_come_to_what_each_alone_comes_to(template: str, step: int) -> None:
    rules = rules_for(template)
    alone = [plan({path: declaration}, rules=rules) for path, declaration in MANY.items()]
    decision = Decision(Batch.open(ALICE, METADATA, MANY, rules))
    while decision.go_on(step):
        pass
    assert decision.uploads() == tuple(upload for uploads in alone for upload in uploads)


@pytest.mark.parametrize("bad", [[0], [59], [3, 30], [20, 21, 22]])
def test_of_many_files_each_bad_one_is_told(bad: list[int]) -> None:
    paths = [f"data/{number}.csv" for number in bad]
    assert problems_of({**MANY, **{path: {"length": 5} for path in paths}}) == [
        (path, ErrorCode.DIGEST_REQUIRED) for path in paths
    ]


def test_of_many_files_none_has_the_key_of_another() -> None:
    assert problems_of({**MANY, "more/30.csv": FILE}, rules_for("{owner}/{name}/{basename}")) == [
        ("more/30.csv", ErrorCode.KEY_CONFLICT)
    ]


@given(limit=st.integers(1, 5), count=st.integers(1, 8))
def test_a_batch_has_at_most_so_many_files(limit: int, count: int) -> None:
    rules = evolve(RULES, max_files=limit)
    filedata = {str(number): FILE for number in range(count)}
    if count <= limit:
        assert len(plan(filedata, rules=rules)) == count
    else:
        refusal = refusal_of(filedata, rules=rules)
        assert isinstance(refusal, InvalidInput)
        assert refusal.code is ErrorCode.TOO_MANY_FILES


@given(
    sizes=st.lists(bits.lengths, min_size=1, max_size=4),
    slack=st.sampled_from([-(10**9), -1, 0, 1, 10**9]),
    findability=st.sampled_from(["published", "unlisted", "private"]),
)
def test_a_batch_fits_in_the_quota_of_its_access_to_the_byte(sizes: list[int], slack: int, findability: str) -> None:
    quota = max(0, sum(sizes) + slack)
    private = findability == "private"
    filedata = {str(number): {**FILE, "length": size} for number, size in enumerate(sizes)}
    metadata = {**METADATA, "findability": findability}

    limited = evolve(ALICE, max_private_bytes=quota) if private else evolve(ALICE, max_public_bytes=quota)
    if sum(sizes) <= quota:
        assert len(plan(filedata, metadata, limited)) == len(sizes)
    else:
        refusal = refusal_of(filedata, metadata, limited)
        assert isinstance(refusal, AccessDenied)
        assert refusal.code is ErrorCode.OVER_QUOTA
    # What the token says of the other access is nothing to this batch.
    unlimited = evolve(ALICE, max_public_bytes=0) if private else evolve(ALICE, max_private_bytes=0)
    assert len(plan(filedata, metadata, unlimited)) == len(sizes)


def test_the_limit_of_one_file_is_that_of_the_service() -> None:
    rules = BatchRules(RULES.pattern, FileRules(max_bytes=4))
    assert problems_of({"a": FILE, "b": {**FILE, "length": 4}}, rules) == [("a", ErrorCode.FILE_TOO_LARGE)]


# --- Any request at all ---


@given(
    metadata=st.one_of(
        st.dictionaries(bits.any_text, bits.json_like, max_size=4),
        st.dictionaries(
            st.sampled_from(["owner", "name", "dataset", "findability"]),
            st.one_of(bits.json_like, st.sampled_from(["alice", "data", "private"])),
        ),
        st.just(METADATA),
    ),
    filedata=st.one_of(
        st.dictionaries(bits.any_text, bits.json_like, max_size=4),
        st.dictionaries(
            st.one_of(bits.any_text, bits.path_texts), st.one_of(bits.declarations(), bits.json_like), max_size=4
        ),
    ),
    pattern=bits.patterns,
)
def test_whatever_is_asked_is_planned_whole_or_refused_with_a_code(
    metadata: Mapping[str, object], filedata: dict[str, object], pattern: KeyPattern
) -> None:
    found = attempt(plan, filedata, metadata, ALICE, BatchRules(pattern, bits.RULES))
    if isinstance(found, tuple):
        assert metadata["owner"] == "alice"
        assert [upload.file.path for upload in found] == list(filedata)
        assert all(bits.is_legal_path(upload.key) for upload in found)
        assert not pattern.is_owner_scoped or all(upload.key.startswith("alice/") for upload in found)
    else:
        assert isinstance(found, InvalidInput | AccessDenied)
        assert_fit_to_be_shown(found)
        if isinstance(found, InvalidBatch):
            bad = [problem.path for problem in found.problems]
            assert bad == [path for path in filedata if path in set(bad)]
