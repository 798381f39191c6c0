"""Key patterns: what starts, what keys they make, and who may reach those."""

import base64
import itertools
import posixpath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.errors import ErrorCode, InvalidInput, Misconfigured
from domain.files import DeclaredFile
from domain.keys import Dataset, ObjectKey, Owner, RelativePath
from domain.patterns import DEFAULT_PATTERN, KeyPattern
from domain.uploads import Guarantee
from tests import strategies as bits
from tests.domain.refusals import assert_fit_to_be_shown, attempt

DEFAULT = KeyPattern.parse(DEFAULT_PATTERN)
ALICE, BOB = Owner("alice"), Owner("bob")
DATASET = Dataset("data")

files = bits.declared_files(both_digests=True)


def file_at(path: str, **changes: object) -> DeclaredFile:
    declaration: bits.Declaration = {"length": 5, "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    return DeclaredFile.parse(path, declaration | changes, bits.RULES)


def key_of(pattern: KeyPattern, owner: Owner, dataset: Dataset | None, file: DeclaredFile) -> ObjectKey:
    return pattern.for_batch(owner, dataset).key_of(file)


def expected_key(template: str, owner: str, dataset: str, file: DeclaredFile) -> str:
    """Fill in a template by Python's own formatting, from functions of the standard library."""
    dirname, basename = posixpath.split(file.path)
    extension = posixpath.splitext(basename)[1]
    md5, sha256 = base64.b64decode(file.md5 or ""), base64.b64decode(file.sha256 or "")
    template = template if dirname else template.replace("{dirname}/", "")
    return template.format(
        owner=owner,
        name=dataset,
        dataset=dataset,
        path=str(file.path),
        dirname=dirname,
        basename=basename,
        extension="" if extension == "." else extension,
        md5=base64.urlsafe_b64encode(md5).decode(),
        md5_hex=md5.hex(),
        sha256_hex=sha256.hex(),
    )


# --- Which templates start ---


@given(template=st.one_of(bits.owner_scoped_templates, bits.content_addressed_templates))
def test_a_good_template_starts_and_is_remembered(template: str) -> None:
    pattern = KeyPattern.parse(template)
    assert pattern.template == template
    assert pattern.is_owner_scoped == template.startswith("{owner}/")
    assert pattern.is_content_addressed == ("{md5" in template or "{sha256_hex}" in template)
    assert pattern.uses_dataset == ("{name}" in template or "{dataset}" in template)
    assert pattern.is_owner_scoped or pattern.is_content_addressed
    assert all(f"{{{name}}}" in template for name in pattern.fields)
    assert len(pattern.fields) == len({part.split("}")[0] for part in template.split("{")[1:]})


@given(miss=bits.near_miss_templates)
def test_what_is_almost_a_template_refuses_to_start(miss: bits.NearMiss) -> None:
    with pytest.raises(Misconfigured) as refusal:
        KeyPattern.parse(str(miss.value))
    assert refusal.value.code is ErrorCode.MISCONFIGURED
    (problem,) = refusal.value.problems
    assert len(problem.encode().splitlines()) == 1


template_parts = st.sampled_from(
    [
        *(
            "{owner}",
            "{owner}/",
            "{name}",
            "{dataset}",
            "{path}",
            "{basename}",
            "{dirname}",
            "{dirname}/",
            "{extension}",
        ),
        *("{md5}", "{md5_hex}", "{sha256_hex}", "{size}", "{path.name}", "{path!r}", "{0}", "{}", "{", "}", "{{", "}}"),
        *("/", ".", "..", "-", " ", "$", "filename", "\\", "%", "a", "\u202e", "e\u0301", "\u0301", "\x00", "\ud800"),
    ]
)
any_template = st.one_of(
    bits.any_text,
    st.lists(template_parts, max_size=8).map("".join),
    st.lists(template_parts, max_size=6).map("".join).map(lambda rest: f"{{owner}}/{rest}"),
)


@given(template=any_template, owner=bits.short_owners, dataset=bits.short_datasets, file=files)
def test_any_template_that_starts_is_safe_and_any_other_says_why(
    template: str, owner: Owner, dataset: Dataset, file: DeclaredFile
) -> None:
    pattern = attempt(KeyPattern.parse, template)
    if not isinstance(pattern, KeyPattern):
        assert isinstance(pattern, Misconfigured)
        assert len(pattern.problems) == 1
        assert pattern.message.encode()
        return
    assert template.split("/", 1)[0] == "{owner}" or pattern.is_content_addressed
    key = attempt(key_of, pattern, owner, dataset, file)
    if isinstance(key, ObjectKey):
        assert bits.is_legal_path(key)
        assert key == expected_key(template, owner, dataset, file)
        assert pattern.allows(owner, key)
        assert not pattern.is_owner_scoped or key.startswith(f"{owner}/")
    else:
        assert isinstance(key, InvalidInput)
        assert key.code is ErrorCode.INVALID_KEY


@pytest.mark.parametrize("text", ["{" * 100_000, "}" * 100_000, "{a" * 50_000, "{owner}/" + "{dirname}" * 10_000])
def test_a_long_template_is_judged_at_once(text: str) -> None:
    with pytest.raises(Misconfigured):
        KeyPattern.parse(text)


FIELDS = (
    "{basename} {dataset} {dirname} {extension} {md5} {md5_hex} {name} {owner} {path} {sha256_hex}"  # by the alphabet
)


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (
            "{owner}/{size}/{0}/{c}/{b}/{d}/{a}/{path}",
            f"unknown field '{{0}}', '{{a}}', '{{b}}', '{{c}}', '{{d}}', '{{size}}'; the fields are {FIELDS}",
        ),
        ("{owner}/{path}}", "a brace that opens or closes no field"),
        ("{owner}/x}/{path}", "a brace that opens or closes no field"),
        ("{owner}/{{path}", "a brace that opens or closes no field"),
        (
            "{name}/{path}",
            "its first segment must be exactly {owner}, or it must contain {md5}, {md5_hex} or {sha256_hex}",
        ),
        ("{owner}/{name}", "it needs {path}, {basename} or a digest, or else all files of a dataset have one key"),
        ("{owner}/x{dirname}/{basename}", "{dirname} must be a whole segment with another behind it"),
        ("{owner}/{basename}/{dirname}", "{dirname} must be a whole segment with another behind it"),
        ("{owner}//{path}", "the key it makes has an empty segment"),
    ],
)
def test_the_refusal_says_what_is_wrong(template: str, fault: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        KeyPattern.parse(template)
    assert refusal.value.problems == (f"key pattern {template!r}: {fault}",)


@pytest.mark.parametrize(
    "template",
    [
        "{path}/{md5}/{path}",
        "{dirname}/{md5}/{path}",
        "x/{path}/{md5_hex}/{dirname}/{basename}",
        "x-{dirname}/{md5}/{path}",
    ],
)
def test_a_digest_that_could_be_any_segment_refuses_to_start(template: str) -> None:
    with pytest.raises(Misconfigured):
        KeyPattern.parse(template)


@pytest.mark.parametrize(
    ("template", "needs"),
    [
        ("{owner}/{name}/{path}", set()),
        ("{owner}/{md5}", set()),
        ("{md5}", {Guarantee.MD5}),
        ("{md5_hex}{extension}", {Guarantee.MD5}),
        ("{owner}-{sha256_hex}", {Guarantee.SHA256}),
        ("{sha256_hex}/{md5}", {Guarantee.MD5, Guarantee.SHA256}),
    ],
)
def test_a_digest_that_names_shared_objects_must_be_enforced(template: str, needs: set[Guarantee]) -> None:
    assert KeyPattern.parse(template).needs == needs


# --- The default pattern ---


@given(owner=bits.owners, dataset=bits.datasets, file=files)
def test_the_default_key_tells_its_owner_dataset_and_path(owner: Owner, dataset: Dataset, file: DeclaredFile) -> None:
    # That the parts can be read back from the key is the proof that no two of them share one.
    assume(len(f"{owner}/{dataset}/{file.path}".encode()) <= 1024)
    key = key_of(DEFAULT, owner, dataset, file)
    assert key.split("/", 2) == [owner, dataset, file.path]


def test_two_places_never_share_a_default_key() -> None:
    words = ["".join(letters) for size in (1, 2) for letters in itertools.product("ab", repeat=size)]
    paths = words + ["/".join(two) for two in itertools.product(words, repeat=2)]
    places = list(itertools.product(map(Owner, words), map(Dataset, words), map(file_at, paths)))
    assert len({key_of(DEFAULT, *place) for place in places}) == len(places)


def test_the_default_key() -> None:
    assert key_of(DEFAULT, ALICE, DATASET, file_at("a/b c+d%20é.csv")) == "alice/data/a/b c+d%20é.csv"


# --- The keys of any pattern ---


@given(pattern=bits.patterns, owner=bits.short_owners, dataset=bits.short_datasets, file=files)
def test_a_key_is_its_template_filled_in_or_the_file_is_refused(
    pattern: KeyPattern, owner: Owner, dataset: Dataset, file: DeclaredFile
) -> None:
    expected = expected_key(pattern.template, owner, dataset, file)
    key = attempt(key_of, pattern, owner, dataset, file)
    if bits.is_legal_path(expected):
        assert key == expected
        assert isinstance(key, ObjectKey)
    else:
        assert isinstance(key, InvalidInput)
        assert key.code is ErrorCode.INVALID_KEY
        assert_fit_to_be_shown(key)


@given(pattern=bits.owner_scoped_patterns, owner=bits.short_owners, dataset=bits.short_datasets, file=files)
def test_a_key_stays_in_its_owners_part_of_the_store(
    pattern: KeyPattern, owner: Owner, dataset: Dataset, file: DeclaredFile
) -> None:
    key = attempt(key_of, pattern, owner, dataset, file)
    assume(isinstance(key, ObjectKey))
    assert isinstance(key, ObjectKey)
    assert key.startswith(f"{owner}/")
    assert key.split("/")[0] == owner == pattern.prefix_of(owner)
    assert posixpath.normpath(key) == key
    assert pattern.allows(owner, key)


@given(pattern=bits.owner_scoped_patterns, alike=bits.look_alike_owners(), dataset=bits.short_datasets, path=bits.paths)
def test_an_owner_may_not_reach_the_keys_of_a_look_alike(
    pattern: KeyPattern, alike: tuple[Owner, Owner, str], dataset: Dataset, path: RelativePath
) -> None:
    owner, other, why = alike
    file = file_at(path, sha256="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
    key = attempt(key_of, pattern, other, dataset, file)
    assume(isinstance(key, ObjectKey))
    assert isinstance(key, ObjectKey)
    assert pattern.allows(other, key)
    assert not pattern.allows(owner, key), why
    assert key != attempt(key_of, pattern, owner, dataset, file), why


@given(pattern=bits.content_addressed_patterns, owner=bits.short_owners, dataset=bits.short_datasets, file=files)
def test_a_content_addressed_key_names_the_content(
    pattern: KeyPattern, owner: Owner, dataset: Dataset, file: DeclaredFile
) -> None:
    key = attempt(key_of, pattern, owner, dataset, file)
    assume(isinstance(key, ObjectKey))
    assert isinstance(key, ObjectKey)
    assert file.md5 is not None
    assert file.sha256 is not None
    spellings = (file.md5.hex, file.sha256.hex, base64.urlsafe_b64encode(file.md5.raw).decode())
    assert any(spelling in key for spelling in spellings)
    assert pattern.allows(owner, key)
    assert pattern.prefix_of(owner) == ""


@pytest.mark.parametrize(
    "template",
    [
        *("{md5_hex}", "{md5}{extension}", "{path}-{md5_hex}", "{md5_hex}-{path}", "{path}{md5}"),
        *("{name}{md5_hex}/{path}", "{path}/{name}{md5_hex}"),
        *("{md5_hex}/{dirname}/{basename}", "{dirname}/{md5_hex}/{basename}", "{path}/{name}/{md5_hex}{extension}"),
        *("{owner}{md5_hex}", "{md5_hex}{owner}", "{md5_hex}{sha256_hex}{extension}", "{name}{md5_hex}{sha256_hex}"),
    ],
)
def test_two_contents_never_share_a_content_addressed_key(template: str) -> None:
    # One content's digest in hexadecimal is offered as text to the other, wherever text may stand.
    pattern = KeyPattern.parse(template)
    contents = [bytes([1]) * 16, bytes([2]) * 16]
    texts = [
        first + raw.hex() + last for raw in contents for first in ("", "f", "d/") for last in ("", "x", ".x", "/b")
    ]
    found: dict[str, str | None] = {}
    for raw, path, name in itertools.product(contents, [*texts, "f", "x"], [*texts, "f", "x"]):
        owner, dataset = Owner(name.replace("/", "-")), Dataset(name.replace("/", "-"))
        sha256 = base64.b64encode(raw * 2).decode()
        key = key_of(pattern, owner, dataset, file_at(path, md5=base64.b64encode(raw).decode(), sha256=sha256))
        assert found.setdefault(key, raw.hex()) == raw.hex()


@given(path=bits.short_paths, owner=bits.short_owners, dataset=bits.short_datasets)
def test_dirname_and_basename_make_the_path(path: RelativePath, owner: Owner, dataset: Dataset) -> None:
    split = KeyPattern.parse("{owner}/{name}/{dirname}/{basename}")
    assert key_of(split, owner, dataset, file_at(path)) == key_of(DEFAULT, owner, dataset, file_at(path))


@pytest.mark.parametrize(
    ("template", "path", "key"),
    [
        ("{owner}/{path}", "a/b.csv", "alice/a/b.csv"),
        ("{owner}/{dataset}/raw/{path}", "a/b.csv", "alice/data/raw/a/b.csv"),
        ("{owner}/{dirname}/v1/{basename}", "b.csv", "alice/v1/b.csv"),
        ("{owner}/{dirname}/v1/{basename}", "a/b.csv", "alice/a/v1/b.csv"),
        ("{dirname}/{md5_hex}", "b.csv", "d41d8cd98f00b204e9800998ecf8427e"),
        ("{dirname}/{md5_hex}", "a/b.csv", "a/d41d8cd98f00b204e9800998ecf8427e"),
        ("{md5}{extension}", "a/b.csv", "1B2M2Y8AsgTpgAmY7PhCfg==.csv"),
        ("{md5_hex}{extension}", "a/LICENSE", "d41d8cd98f00b204e9800998ecf8427e"),
        ("{owner}/{path}{extension}", "{owner}/{path}", "alice/{owner}/{path}"),
    ],
)
def test_keys(template: str, path: str, key: str) -> None:
    assert key_of(KeyPattern.parse(template), ALICE, DATASET, file_at(path)) == key


def test_a_digest_is_always_one_segment() -> None:
    md5 = base64.b64encode(b"\xff" * 16).decode()
    assert md5.startswith("////")
    assert key_of(KeyPattern.parse("{md5}"), ALICE, None, file_at("a", md5=md5)) == "_" * 21 + "w=="


@pytest.mark.parametrize(
    ("template", "dataset", "path"),
    [
        ("{owner}/{name}{path}", "${file", "name}"),
        ("{owner}/{name}{path}", "$", "{FileName}/b"),
        ("{owner}/${path}", "data", "{filename}"),
        ("{owner}/${path}e}", "data", "{filenam"),
    ],
)
def test_the_variable_that_stores_replace_is_never_put_together(template: str, dataset: str, path: str) -> None:
    key = attempt(lambda: key_of(KeyPattern.parse(template), ALICE, Dataset(dataset), file_at(path)))
    assert isinstance(key, InvalidInput | Misconfigured)


def test_a_key_that_is_not_in_nfc_though_its_pieces_are_is_refused() -> None:
    key = attempt(key_of, KeyPattern.parse("{owner}/{name}{path}"), ALICE, Dataset("e"), file_at("\u0301"))
    assert isinstance(key, InvalidInput)
    assert key.code is ErrorCode.INVALID_KEY


def test_a_key_over_1024_bytes_is_refused_though_its_pieces_are_legal() -> None:
    path = "/".join(["x" * 255] * 4)
    assert len(path) == 1023
    key = attempt(key_of, DEFAULT, ALICE, DATASET, file_at(path))
    assert isinstance(key, InvalidInput)
    assert key.code is ErrorCode.INVALID_KEY


# --- What a pattern needs ---


@pytest.mark.parametrize(
    ("template", "given", "field"),
    [("{md5}", "sha256", "md5"), ("{md5_hex}", "sha256", "md5"), ("{owner}/{sha256_hex}", "md5", "sha256")],
)
def test_a_digest_that_keys_are_made_of_is_required(template: str, given: str, field: str) -> None:
    digests = {"md5": "1B2M2Y8AsgTpgAmY7PhCfg==", "sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}
    file = DeclaredFile.parse("a", {"length": 0, given: digests[given]}, bits.RULES)
    refusal = attempt(key_of, KeyPattern.parse(template), ALICE, None, file)
    assert isinstance(refusal, InvalidInput)
    assert (refusal.code, refusal.field) == (ErrorCode.DIGEST_REQUIRED, field)


@given(pattern=bits.patterns, owner=bits.short_owners)
def test_a_dataset_is_required_exactly_if_keys_are_made_of_it(pattern: KeyPattern, owner: Owner) -> None:
    batch = attempt(pattern.for_batch, owner, None)
    if pattern.uses_dataset:
        assert isinstance(batch, InvalidInput)
        assert batch.code is ErrorCode.INVALID_DATASET
    else:
        assert not isinstance(batch, Exception)
        assert batch == pattern.for_batch(owner, DATASET)


# --- Who may reach a key ---


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("alice/data/a.csv", True),
        ("alice/a", True),
        ("alice", False),
        ("alice2/data/a.csv", False),
        ("Alice/data/a.csv", False),
        ("ALICE/data/a.csv", False),
        ("bob/alice/a.csv", False),
        ("alice%2Fdata/a.csv", False),
        ("alic\u0435/data/a.csv", False),
        (" alice/data/a.csv", False),
    ],
)
def test_an_owner_reaches_what_lies_behind_the_own_name(key: str, *, allowed: bool) -> None:
    assert DEFAULT.allows(ALICE, ObjectKey(key)) == allowed


HEX = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("template", "key", "allowed"),
    [
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX}.csv", True),
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX}", True),
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX}/x", False),
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX}.csv/x", False),
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX}.tar.gz", False),
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX}..", False),
        ("{dataset}/{md5_hex}", f"data/{HEX}", True),
        ("{dataset}/{md5_hex}", f"da/ta/{HEX}", False),
        ("{dataset}/{md5_hex}", f"/{HEX}"[1:], False),
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX[1:]}", False),
        ("blobs/{md5_hex}{extension}", f"blobs/{HEX.upper()}", False),
        ("blobs/{md5_hex}{extension}", f"Blobs/{HEX}", False),
        ("blobs/{md5_hex}{extension}", "alice/data/a.csv", False),
        ("blobs/{md5_hex}{extension}", "bob/data/a.csv", False),
        ("{md5}", "1B2M2Y8AsgTpgAmY7PhCfg==", True),
        ("{md5}", "1B2M2Y8AsgTpgAmY7PhCfg", False),
        ("{md5}", "_B2M2Y8A-gTpgAmY7PhCfg==", True),
        ("{md5}", "+B2M2Y8AsgTpgAmY7PhCfg==", False),
        ("{sha256_hex}", HEX * 2, True),
        ("{sha256_hex}", HEX, False),
        ("all.{md5_hex}", f"all.{HEX}", True),
        ("all.{md5_hex}", f"allx{HEX}", False),
        ("{name}/{owner}/{md5_hex}", f"data/alice/{HEX}", True),
        ("{name}/{owner}/{md5_hex}", f"data/bob/{HEX}", False),
        ("{name}/{path}-{md5_hex}", f"data/a/b-{HEX}", True),
        ("{dirname}/{md5_hex}", HEX, True),
        ("{path}/{path}/{md5_hex}", f"a/b/a/b/{HEX}", True),
        ("{path}/{path}/{md5_hex}", f"a/b/a/c/{HEX}", False),
        ("{path}{path}{path}{path}{md5_hex}", "a/" * 511 + "a", False),
    ],
)
def test_only_keys_of_the_patterns_shape_are_content_addressed(template: str, key: str, *, allowed: bool) -> None:
    assert KeyPattern.parse(template).allows(ALICE, ObjectKey(key)) == allowed


def test_an_owners_name_is_text_and_no_expression() -> None:
    pattern = KeyPattern.parse("x/{owner}/{md5_hex}")
    assert not pattern.allows(Owner(".*"), ObjectKey(f"x/bob/{HEX}"))
    assert pattern.allows(Owner(".*"), ObjectKey(f"x/.*/{HEX}"))
    assert not pattern.allows(Owner("bob|alice"), ObjectKey(f"x/bob/{HEX}"))


@pytest.mark.parametrize(
    ("template", "dataset"),
    [
        ("{owner}/e{name}/{path}", "\u0301x"),
        ("{owner}/${name}/{path}", "{filename}"),
        ("{owner}/prefix-{name}/{path}", "é" * 126),
        ("{owner}/{name}x/{path}", "é" * 127 + "y"),
    ],
    ids=["not normalised", "${filename}", "a long segment", "a longer one"],
)
def test_what_text_and_a_name_make_together_keeps_the_rules_of_a_key(template: str, dataset: str) -> None:
    batch = KeyPattern.parse(template).for_batch(ALICE, Dataset(dataset))  # each file of which is refused by itself
    with pytest.raises(InvalidInput) as refusal:
        batch.key_of(file_at("a.csv"))
    assert refusal.value.code is ErrorCode.INVALID_KEY


@given(folder=st.one_of(bits.short_owners, bits.paths), path=bits.paths)
def test_a_path_in_a_folder_is_a_key_exactly_if_both_together_are_one(folder: str, path: RelativePath) -> None:
    joined = f"{folder}/{path}"
    key = attempt(ObjectKey.inside, ObjectKey(str(folder)), path)
    assert (key == joined) if ObjectKey.fault(joined) is None else isinstance(key, InvalidInput)


@given(pattern=bits.patterns, files=st.lists(bits.declared_files(both_digests=True), max_size=4))
def test_many_files_have_the_keys_that_each_has(pattern: KeyPattern, files: list[DeclaredFile]) -> None:
    batch = pattern.for_batch(ALICE, Dataset("data"))
    keys = batch.keys_of(files)
    assert keys == [batch.key_of(file) for file in files]
    assert {type(key) for key in keys} <= {ObjectKey}
