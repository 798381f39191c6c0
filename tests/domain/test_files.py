"""Declared files: digests, lengths, media types, names, and all of them together."""

import base64
import hashlib
import string
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from attrs import astuple
from hypothesis import assume, example, given
from hypothesis import strategies as st

from domain.errors import ErrorCode, InvalidInput
from domain.files import DEFAULT_MEDIA_TYPE, DeclaredFile, FileName, FileRules, Md5, MediaType, Sha256
from domain.keys import RelativePath
from tests import strategies as bits
from tests.domain.refusals import assert_fit_to_be_shown, assert_refused, attempt

MD5_OF_NOTHING = "1B2M2Y8AsgTpgAmY7PhCfg=="
SHA256_OF_NOTHING = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
PATH = "data/a.csv"
GOOD: Mapping[str, object] = {"length": 5, "md5": MD5_OF_NOTHING, "type": "text/csv", "name": "a.csv"}

DIGESTS = [(Md5, 16, ErrorCode.INVALID_MD5), (Sha256, 32, ErrorCode.INVALID_SHA256)]


def parse(**changes: object) -> DeclaredFile:
    return DeclaredFile.parse(PATH, {**GOOD, **changes}, bits.RULES)


def refusal_of(path: object, declaration: object, rules: FileRules = bits.RULES) -> InvalidInput:
    with pytest.raises(InvalidInput) as refusal:
        DeclaredFile.parse(path, declaration, rules)
    return refusal.value


# --- Digests ---


def is_canonical(text: str, size: int) -> bool:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return len(raw) == size and base64.b64encode(raw).decode() == text


def test_digests_are_those_of_hashlib() -> None:
    assert Md5.of(hashlib.md5(b"").digest()) == MD5_OF_NOTHING
    assert Sha256.of(hashlib.sha256(b"").digest()) == SHA256_OF_NOTHING
    assert Md5(MD5_OF_NOTHING).hex == hashlib.md5(b"").hexdigest()
    assert Sha256(SHA256_OF_NOTHING).hex == hashlib.sha256(b"").hexdigest()


@given(raw=st.binary(min_size=16, max_size=16))
def test_an_md5_is_its_16_bytes(raw: bytes) -> None:
    digest = Md5.of(raw)
    assert digest == base64.b64encode(raw).decode()
    assert Md5(digest) == digest
    assert (digest.raw, digest.hex) == (raw, raw.hex())


@given(raw=st.binary(min_size=32, max_size=32))
def test_a_sha256_is_its_32_bytes(raw: bytes) -> None:
    digest = Sha256.of(raw)
    assert digest == base64.b64encode(raw).decode()
    assert Sha256(digest) == digest
    assert (digest.raw, digest.hex) == (raw, raw.hex())


@pytest.mark.parametrize(("kind", "size", "code"), DIGESTS)
@given(data=st.data())
def test_what_is_almost_a_digest_is_refused(
    kind: type[Md5 | Sha256], size: int, code: ErrorCode, data: st.DataObject
) -> None:
    miss = data.draw(bits.near_miss_digests(size))
    assert_refused(kind, miss.value, code)


@pytest.mark.parametrize(("kind", "size", "code"), DIGESTS)
@given(data=st.data())
def test_a_digest_is_accepted_exactly_if_encoding_it_again_gives_the_same_text(
    kind: type[Md5 | Sha256], size: int, code: ErrorCode, data: st.DataObject
) -> None:
    usual_length = len(base64.b64encode(bytes(size)))
    padding = "=" * (-size % 3)
    letters = st.text(string.ascii_letters + string.digits + "+/", min_size=size, max_size=usual_length)
    text = data.draw(st.one_of(bits.any_text, letters, letters.map(lambda text: text[: -len(padding)] + padding)))
    if is_canonical(text, size):
        assert kind(text).raw == base64.b64decode(text)
    else:
        assert_refused(kind, text, code)


@pytest.mark.parametrize(("kind", "size", "code"), DIGESTS)
def test_every_last_letter_of_a_digest_is_judged_by_its_stray_bits(
    kind: type[Md5 | Sha256], size: int, code: ErrorCode
) -> None:
    padding = "=" * (-size % 3)
    bare = base64.b64encode(bytes(size)).decode().rstrip("=")
    for letter in string.ascii_letters + string.digits + "+/-_":
        text = f"{bare[:-1]}{letter}{padding}"
        if is_canonical(text, size):
            assert kind(text) == text
        else:
            assert_refused(kind, text, code)


@pytest.mark.parametrize("raw", [b"", bytes(15), bytes(17), bytes(31), bytes(33)])
def test_a_digest_is_never_made_of_another_number_of_bytes(raw: bytes) -> None:
    assert_refused(Md5.of, raw, ErrorCode.INVALID_MD5)
    assert_refused(Sha256.of, raw, ErrorCode.INVALID_SHA256)


@pytest.mark.parametrize("member", ["md5", "sha256"])
def test_a_digest_in_hexadecimal_is_refused_with_a_hint(member: str) -> None:
    for hexadecimal in (hashlib.new(member).hexdigest(), hashlib.new(member).hexdigest().upper()):
        assert "base64" in refusal_of(PATH, {**GOOD, member: hexadecimal}).message
        assert "hexadecimal" in refusal_of(PATH, {**GOOD, member: hexadecimal}).message
    good = hashlib.new(member).hexdigest()
    for other in (good[1:], f"{good}0", f"{good[:-1]}g", f"g{good[1:]}", "=" * len(good)):
        assert "hexadecimal" not in refusal_of(PATH, {**GOOD, member: other}).message


# --- Lengths ---


@given(length=bits.lengths)
def test_a_length_is_kept(length: int) -> None:
    assert parse(length=length).length == length


@given(miss=bits.near_miss_lengths)
@example(miss=bits.NearMiss(-1, "negative"))
def test_what_is_almost_a_length_is_refused(miss: bits.NearMiss) -> None:
    too_large = type(miss.value) is int and miss.value > 0
    refusal = refusal_of(PATH, {**GOOD, "length": miss.value})
    assert refusal.code is (ErrorCode.FILE_TOO_LARGE if too_large else ErrorCode.INVALID_LENGTH)
    assert refusal.field == "length"
    assert len(refusal.message) < 200


@given(limit=st.integers(0, 2**50), over=st.integers(1, 2**70))
def test_the_limit_itself_is_within_the_limit(limit: int, over: int) -> None:
    rules = FileRules(max_bytes=limit)
    assert DeclaredFile.parse(PATH, {**GOOD, "length": limit}, rules).length == limit
    assert refusal_of(PATH, {**GOOD, "length": limit + over}, rules).code is ErrorCode.FILE_TOO_LARGE


# --- Media types and names ---


@given(media_type=bits.media_types)
def test_a_media_type_is_kept_byte_for_byte(media_type: MediaType) -> None:
    assert parse(type=str(media_type)).media_type == media_type
    assert media_type.isascii()
    assert media_type.isprintable()


@given(miss=bits.near_miss_media_types)
def test_what_is_almost_a_media_type_is_refused(miss: bits.NearMiss) -> None:
    assert_refused(MediaType, miss.value, ErrorCode.INVALID_TYPE)
    assert refusal_of(PATH, {**GOOD, "type": miss.value}).code is ErrorCode.INVALID_TYPE


@given(text=bits.any_text, media_type=bits.media_types, at=st.integers(0, 255))
def test_no_accepted_media_type_could_break_a_header(text: str, media_type: MediaType, at: int) -> None:
    for candidate in (text, f"{media_type[:at]}{text}{media_type[at:]}", f"{media_type};{text}"):
        accepted = attempt(MediaType, candidate)
        if isinstance(accepted, MediaType):
            assert accepted == candidate
            assert accepted.isascii()
            assert accepted.replace("\t", " ").isprintable()
            assert accepted == accepted.strip()
            assert "/" in accepted
            assert len(accepted) <= 255
        else:
            assert accepted.code is ErrorCode.INVALID_TYPE


@pytest.mark.parametrize(("size", "accepted"), [(254, True), (255, True), (256, False)])
def test_a_media_type_has_at_most_255_characters(size: int, *, accepted: bool) -> None:
    assert (MediaType.fault("a/".ljust(size, "b")) is None) == accepted


@pytest.mark.parametrize(
    "text",
    [
        "text/plain;charset=utf-8",
        "text/plain; charset=utf-8",
        'text/plain; charset="utf-8"',
        'multipart/mixed; boundary="a b;c=\\"d\\""',
        "application/vnd.oasis.opendocument.text",
        "image/svg+xml",
        "a/b;c=d;e=f",
        'a/b; c=""',
        "a/b\t;\tc=d",
        "*/*",
    ],
)
def test_media_types_of_the_grammar_are_accepted(text: str) -> None:
    assert MediaType(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "text/csv charset=utf-8",
        "text/csv*a=b",
        "text/csv;;a=b",
        "text/csv; a b=c",
        "text/csv;[a=b",
        "text/csv; a",
        "text/csv; a=",
        "text/csv;",
        "text/${filename}",
        "text/csv; a=${FileName}",
        'text/csv; a="${filename}"',
        'text/csv; a="${FileName}"',
    ],
)
def test_what_the_grammar_or_a_store_would_read_differently_is_refused(text: str) -> None:
    assert_refused(MediaType, text, ErrorCode.INVALID_TYPE)


def test_a_quoted_value_has_printable_ascii_with_two_of_them_escaped() -> None:
    for number in range(256):
        character = chr(number)
        printable = 0x20 <= number <= 0x7E
        for text, accepted in (
            (f'a/b; c="x{character}"', printable and character not in '"\\'),
            (f'a/b; c="x\\{character}"', printable),
        ):
            assert isinstance(attempt(MediaType, text), MediaType) == accepted, text


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("a.csv", "text/csv"),
        ("a.md", "text/markdown"),
        ("a.parquet", "application/vnd.apache.parquet"),
        ("a.yaml", "application/yaml"),
        ("a.yml", "application/yaml"),
        ("A.CSV", "text/csv"),
        ("d.json/a.txt", "text/plain"),
        ("a.json", "application/json"),
        ("a.png", "image/png"),
        ("a.geojson", "application/geo+json"),
        ("a.tsv", "text/tab-separated-values"),
        ("a.tar.pdf", "application/pdf"),
        ("csv", "application/octet-stream"),
        (".csv", DEFAULT_MEDIA_TYPE),
        ("a.csv.", DEFAULT_MEDIA_TYPE),
        ("a.nobody-knows", DEFAULT_MEDIA_TYPE),
    ],
)
def test_without_a_type_the_extension_tells(path: str, media_type: str) -> None:
    assert MediaType.of_extension(RelativePath(path).extension) == media_type
    assert type(MediaType.of_extension(RelativePath(path).extension)) is MediaType
    declaration = {name: value for name, value in GOOD.items() if name != "type"}
    assert DeclaredFile.parse(path, declaration, bits.RULES).media_type == media_type
    assert DeclaredFile.parse(path, {**declaration, "type": None}, bits.RULES).media_type == media_type


@given(name=bits.file_names)
def test_a_name_is_kept_byte_for_byte(name: FileName) -> None:
    assert parse(name=str(name)).name == name


@given(miss=bits.near_miss_file_names)
def test_what_is_almost_a_name_is_refused(miss: bits.NearMiss) -> None:
    assert_refused(FileName, miss.value, ErrorCode.INVALID_NAME)
    assert refusal_of(PATH, {**GOOD, "name": miss.value}).code is ErrorCode.INVALID_NAME


@pytest.mark.parametrize("unit", ["x", "é", "中", "😀"])
def test_a_name_has_at_most_1024_bytes(unit: str) -> None:
    name = unit * (1023 // len(unit.encode()))
    name += "x" * (1024 - len(name.encode()))
    assert FileName(name) == name
    assert_refused(FileName, f"{name}x", ErrorCode.INVALID_NAME)


@given(path=bits.paths)
def test_without_a_name_the_last_segment_is_the_name(path: RelativePath) -> None:
    assert DeclaredFile.parse(path, {"length": 0, "md5": MD5_OF_NOTHING}, bits.RULES).name == path.basename


# --- All together ---


@given(path=bits.path_texts, declaration=bits.declarations())
def test_a_declared_file_says_what_was_declared(path: str, declaration: bits.Declaration) -> None:
    file = DeclaredFile.parse(path, declaration, bits.RULES)
    assert file.path == path
    assert file.length == declaration["length"]
    assert file.md5 == declaration.get("md5")
    assert file.sha256 == declaration.get("sha256")
    assert file.media_type == declaration.get("type", file.media_type)
    assert file.name == declaration.get("name", file.name)
    assert file.content == (declaration["length"], declaration.get("md5"), declaration.get("sha256"))


@given(declaration=bits.declarations(), extra=st.dictionaries(bits.any_text, bits.json_like, max_size=5))
def test_what_else_a_client_says_changes_nothing(declaration: bits.Declaration, extra: bits.Declaration) -> None:
    known = {"length", "md5", "sha256", "type", "name"}
    extra = {member: value for member, value in extra.items() if member not in known}
    file = DeclaredFile.parse(PATH, declaration, bits.RULES)
    assert DeclaredFile.parse(PATH, extra | declaration, bits.RULES) == file


@pytest.mark.parametrize("member", ["path", "key", "owner", "acl", "MD5", "Length", "content-type", "__class__"])
def test_a_member_of_almost_the_right_name_changes_nothing(member: str) -> None:
    assert parse(**{member: "../../evil"}) == parse()


@given(declaration=bits.declarations())
def test_a_member_that_is_null_counts_as_absent(declaration: bits.Declaration) -> None:
    nulls: bits.Declaration = {"md5": None, "sha256": None, "type": None, "name": None}
    assert DeclaredFile.parse(PATH, nulls | declaration, bits.RULES) == DeclaredFile.parse(
        PATH, declaration, bits.RULES
    )


@given(miss=bits.near_miss_declarations())
def test_one_fault_is_enough_to_refuse_a_file(miss: bits.NearMiss) -> None:
    assert_fit_to_be_shown(refusal_of(PATH, miss.value))


@given(miss=bits.near_miss_paths, declaration=bits.declarations())
def test_a_bad_path_refuses_a_good_file(miss: bits.NearMiss, declaration: bits.Declaration) -> None:
    assert refusal_of(miss.value, declaration).code is ErrorCode.INVALID_PATH


def test_a_declaration_may_be_any_mapping() -> None:
    assert DeclaredFile.parse(PATH, MappingProxyType(dict(GOOD)), bits.RULES) == parse()


def test_rules_are_strict_by_default() -> None:
    assert FileRules(5) == FileRules(max_bytes=5, require_digest=True, max_bytes_in_parts=0)


def test_a_digest_is_required_unless_the_operator_waived_it() -> None:
    bare = {"length": 5}
    refusal = refusal_of(PATH, bare)
    assert (refusal.code, refusal.field) == (ErrorCode.DIGEST_REQUIRED, "md5")
    waived = FileRules(max_bytes=10, require_digest=False)
    assert DeclaredFile.parse(PATH, bare, waived).content == (5, None, None)
    assert refusal_of(PATH, {**bare, "md5": "x"}, waived).code is ErrorCode.INVALID_MD5


@given(declaration=bits.json_like)
def test_a_declaration_that_is_no_object_is_refused(declaration: object) -> None:
    assume(not isinstance(declaration, dict))
    assert refusal_of(PATH, declaration).code is ErrorCode.INVALID_FILE


@given(
    path=st.one_of(bits.json_like, bits.any_text, bits.path_texts),
    declaration=st.one_of(
        bits.json_like,
        st.fixed_dictionaries(
            {"length": st.one_of(bits.lengths, bits.json_like)},
            optional={
                "md5": st.one_of(bits.md5s, bits.json_like),
                "sha256": st.one_of(bits.sha256s, bits.json_like),
                "type": st.one_of(bits.media_types, bits.json_like),
                "name": bits.json_like,
            },
        ),
    ),
)
def test_whatever_is_declared_is_a_file_or_a_refusal_with_a_code(path: object, declaration: object) -> None:
    file = attempt(DeclaredFile.parse, path, declaration, bits.RULES)
    if isinstance(file, DeclaredFile):
        assert file.path == path
        assert bits.is_legal_path(file.path)
        assert file.md5 is not None or file.sha256 is not None
        assert 0 <= file.length <= bits.MAX_BYTES
    else:
        assert isinstance(file, InvalidInput)
        assert_fit_to_be_shown(file)


# --- Many files together ---

_TOGETHER: list[object] = [
    GOOD,
    MappingProxyType(dict(GOOD)),
    {"length": 0, "md5": MD5_OF_NOTHING},
    {"length": 0, "sha256": SHA256_OF_NOTHING},
    {"length": 0, "md5": MD5_OF_NOTHING, "sha256": SHA256_OF_NOTHING},
    *({**GOOD, "length": length} for length in (bits.MAX_BYTES, bits.MAX_BYTES + 1, -1, True, 5.0, None)),
    *({**GOOD, "type": media_type} for media_type in (None, "text/x; a=b", "text", "", 5, ["text/csv"])),
    *({**GOOD, "name": name} for name in (None, "é", "n" * 256, "n" * 1025, "\x07", "", 5)),
    *({**GOOD, "md5": md5} for md5 in (None, "", MD5_OF_NOTHING[:-1], f"{MD5_OF_NOTHING}\n", 5)),
    *({**GOOD, "sha256": sha256} for sha256 in (SHA256_OF_NOTHING, "", MD5_OF_NOTHING, 5)),
    *({**GOOD, "parts": parts} for parts in (None, {"size": 3}, {"size": 3, "md5": [MD5_OF_NOTHING] * 2}, {}, 1)),
    {},
    None,
    [],
]


def assert_together_as_alone(declared: list[tuple[object, object]], rules: FileRules) -> None:
    alone = [attempt(DeclaredFile.parse, path, declaration, rules) for path, declaration in declared]
    together = attempt(DeclaredFile.parse_all, declared, rules)
    if isinstance(together, InvalidInput):
        assert together.code in [file.code for file in alone if isinstance(file, InvalidInput)]
    else:
        assert together == alone
        values = [astuple(file, recurse=False) for file in together]
        assert [[type(value) for value in file] for file in values] == [
            [type(value) for value in astuple(file, recurse=False)] for file in alone if isinstance(file, DeclaredFile)
        ]


@pytest.mark.parametrize("declaration", _TOGETHER)
@pytest.mark.parametrize(
    "neighbours", [[], [GOOD], [GOOD, {"length": 0, "sha256": SHA256_OF_NOTHING}], [{"length": 1}]]
)
@pytest.mark.parametrize("require_digest", [True, False])
def test_a_file_that_is_parsed_with_others_is_what_it_is_alone(
    declaration: object, neighbours: list[object], require_digest: bool
) -> None:
    rules = FileRules(bits.MAX_BYTES, require_digest=require_digest)
    assert_together_as_alone([("a.txt", declaration), *((PATH, other) for other in neighbours)], rules)
    assert_together_as_alone([*((PATH, other) for other in neighbours), ("a.txt", declaration)], rules)


@pytest.mark.parametrize(
    "path", ["a", "a b", "a/b", "a\nb", "a\n", "é", "/a", "a" * 256, "/".join(["a" * 90] * 4), "", 5]
)
def test_a_path_that_is_parsed_with_others_is_what_it_is_alone(path: object) -> None:
    assert_together_as_alone([("a.txt", GOOD), (path, GOOD)], bits.RULES)
    assert_together_as_alone([(path, GOOD)], bits.RULES)


def test_no_files_are_none() -> None:
    assert DeclaredFile.parse_all([], bits.RULES) == []


_whatever_path = st.one_of(bits.plain_segments, bits.path_texts, bits.near_miss_paths.map(lambda miss: miss.value))
_whatever_declaration = st.one_of(
    st.sampled_from(_TOGETHER), bits.declarations(), bits.near_miss_declarations().map(lambda miss: miss.value)
)


@given(declared=st.lists(st.tuples(_whatever_path, _whatever_declaration), max_size=4), require_digest=st.booleans())
def test_files_that_are_parsed_together_are_what_each_is_alone(
    declared: list[tuple[object, object]], require_digest: bool
) -> None:
    assert_together_as_alone(declared, FileRules(bits.MAX_BYTES, require_digest=require_digest))
