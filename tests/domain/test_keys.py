"""Owners, datasets, relative paths and object keys: what is legal is kept as it is, and everything else is refused."""

import posixpath
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ErrorCode, InvalidInput
from domain.files import FileName, Md5, MediaType, Sha256
from domain.keys import MAX_KEY_BYTES, MAX_SEGMENT_BYTES, Dataset, ObjectKey, Owner, RelativePath
from domain.values import CheckedText
from tests import strategies as bits
from tests.domain.refusals import assert_refused, attempt

SEGMENT_TYPES: list[type[CheckedText]] = [Owner, Dataset]
PATH_TYPES: list[type[CheckedText]] = [RelativePath, ObjectKey]
CODES: dict[type[CheckedText], ErrorCode] = {
    Owner: ErrorCode.INVALID_OWNER,
    Dataset: ErrorCode.INVALID_DATASET,
    RelativePath: ErrorCode.INVALID_PATH,
    ObjectKey: ErrorCode.INVALID_KEY,
}


def assert_judged(kinds: list[type[CheckedText]], text: str, *, legal: bool) -> None:
    """Check that every kind keeps `text` byte for byte if it is `legal`, and else refuses it with its own code."""
    for kind in kinds:
        if legal:
            value = kind(text)
            assert value == text
            assert value.encode() == text.encode()
            assert f"{value}" == str(value) == text
        else:
            assert_refused(kind, text, CODES[kind])


@given(text=bits.segments)
def test_a_legal_segment_is_kept_byte_for_byte(text: str) -> None:
    assert_judged(SEGMENT_TYPES + PATH_TYPES, text, legal=True)


@given(text=bits.path_texts)
def test_a_legal_path_is_kept_byte_for_byte(text: str) -> None:
    assert_judged(PATH_TYPES, text, legal=True)


@given(miss=bits.near_miss_segments)
def test_what_is_almost_a_segment_is_refused(miss: bits.NearMiss) -> None:
    assert_judged(SEGMENT_TYPES, str(miss.value), legal=False)


@given(miss=bits.near_miss_paths)
def test_what_is_almost_a_path_is_refused(miss: bits.NearMiss) -> None:
    assert_judged(SEGMENT_TYPES + PATH_TYPES, str(miss.value), legal=False)


@given(text=bits.any_text)
def test_any_text_is_a_segment_exactly_if_the_rules_say_so(text: str) -> None:
    assert_judged(SEGMENT_TYPES, text, legal=bits.is_legal_segment(text))


@given(text=st.lists(bits.any_text, min_size=1, max_size=3).map("/".join))
def test_any_text_is_a_path_exactly_if_the_rules_say_so(text: str) -> None:
    assert_judged(PATH_TYPES, text, legal=bits.is_legal_path(text))


@given(
    text=st.one_of(
        st.text("aZ0_-. /", max_size=12),
        st.lists(st.integers(0, 258).map(lambda size: "x" * size), min_size=1, max_size=6).map("/".join),
        st.integers(1000, 1040).map(lambda size: "a/" * (size // 2) + "b" * (size % 2 + 1)),
    )
)
def test_plain_text_is_judged_like_any_other(text: str) -> None:
    # What is recognised in one step must be what would have passed every rule.
    assert_judged(PATH_TYPES, text, legal=bits.is_legal_path(text))
    assert (RelativePath.fault(text) is None) == bits.is_legal_path(text)


def test_no_plain_text_around_it_hides_a_forbidden_character() -> None:
    for kind, code in CODES.items():
        for codepoint in (*range(0x20), 0x7F, 0x85, 0x5C, 0x202E, 0xD800, 0xFFFE):
            for text in ("{}", "{}a", "a{}", "a{}b", "a.{}b", "a{} b", "a{} ]b", "a{}/ ]b", "a {}/b"):
                if kind in PATH_TYPES or "/" not in text:
                    assert_refused(kind, text.format(chr(codepoint)), code)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("/a", "starts or ends with '/'"),
        ("a/", "starts or ends with '/'"),
        ("/", "starts or ends with '/'"),
        ("a//b", "has an empty segment"),
        ("a/ /b", "has a segment that is blank, '.' or '..'"),
        ("a/../b", "has a segment that is blank, '.' or '..'"),
        ("a" * 256, "has a segment of more than 255 bytes"),
        ("a/" * 512 + "a", "is longer than 1024 bytes"),
        ("é/" * 342, "is longer than 1024 bytes"),
        ("a\\b", "contains the forbidden character U+005C"),
        ("a${FileName}", "contains ${filename}, which object stores replace"),
        ("e\u0301", "is not in Unicode normalisation form C"),
    ],
)
def test_the_refusal_says_which_rule_is_broken(text: str, fault: str) -> None:
    assert RelativePath.fault(text) == ObjectKey.fault(text) == fault
    assert Owner.fault(text) == Dataset.fault(text) == ("contains '/'" if "/" in text else fault)


@pytest.mark.parametrize("text", ["${filename", "$filename}", "{filename}", "$ {filename}", "${file}"])
def test_what_is_nearly_a_variable_is_text(text: str) -> None:
    assert_judged(SEGMENT_TYPES + PATH_TYPES, text, legal=True)


def test_many_paths_are_what_each_is() -> None:
    assert RelativePath.each(["a", "b/c d"]) == [RelativePath("a"), RelativePath("b/c d")]


def test_a_path_in_a_folder_is_a_key_if_it_is_short_enough() -> None:
    for length in (1, 200, 251, 252, 253, 1_020):
        path = RelativePath("/".join(["x" * 97] * 11)[:length])
        key = ObjectKey.inside(ObjectKey("abc"), path)
        assert (key, type(key)) == (f"abc/{path}", ObjectKey)
        assert [(key, type(key)) for key in ObjectKey.each_inside(ObjectKey("abc"), [RelativePath("a"), path])] == [
            ("abc/a", ObjectKey),
            (f"abc/{path}", ObjectKey),
        ]
    longest = RelativePath("/".join(["x" * 97] * 11)[:1_020])
    assert_refused(lambda path: ObjectKey.inside(ObjectKey("abcd"), path), longest, ErrorCode.INVALID_KEY)
    assert_refused(lambda path: ObjectKey.each_inside(ObjectKey("abcd"), [path]), longest, ErrorCode.INVALID_KEY)
    among_short_ones = [RelativePath("a"), longest, RelativePath("b")]
    assert isinstance(attempt(ObjectKey.each_inside, ObjectKey("abcd"), among_short_ones), InvalidInput)
    assert ObjectKey.each_inside(ObjectKey("abcd"), []) == []


@given(value=bits.not_a_string)
def test_what_is_not_a_string_is_refused(value: object) -> None:
    for kind, code in CODES.items():
        assert_refused(kind, value, code)


def test_every_character_of_the_basic_plane_is_judged_as_the_unicode_database_says() -> None:
    wrong = [
        f"U+{codepoint:04X}"
        for codepoint in range(0x10000)
        if (RelativePath.fault(f"a{chr(codepoint)}b") is None) != bits.is_legal_path(f"a{chr(codepoint)}b")
    ]
    assert wrong == []


def test_no_kind_of_white_space_hides_a_dot_segment() -> None:
    spaces = [space for space in map(chr, range(sys.maxunicode + 1)) if space.isspace()]
    assert len(spaces) >= 25
    accepted = [
        segment
        for space in spaces
        for segment in (space, f"{space}.", f".{space}", f"{space}..", f"..{space}", f"{space}..{space}")
        if RelativePath.fault(segment) is None or RelativePath.fault(f"a/{segment}/b") is None
    ]
    assert accepted == []


def test_the_bidirectional_controls_are_those_of_unicode() -> None:
    # The property Bidi_Control is not in `unicodedata`: it is these classes and three marks.
    classes = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    marks = {unicodedata.lookup(f"{name} MARK") for name in ("LEFT-TO-RIGHT", "RIGHT-TO-LEFT", "ARABIC LETTER")}
    controls = marks | {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.bidirectional(c) in classes}
    assert controls == set(bits.BIDI_CONTROLS)
    assert [control for control in controls if RelativePath.fault(f"a{control}b") is None] == []


@given(text=bits.longest_paths())
def test_a_path_may_have_1024_bytes(text: str) -> None:
    assert len(text.encode()) == MAX_KEY_BYTES == 1024
    assert RelativePath(text) == text
    assert ObjectKey(text) == text


@pytest.mark.parametrize(
    ("unit", "count", "rest"), [("x", 255, ""), ("é", 127, "x"), ("中", 85, ""), ("😀", 63, "xyz")]
)
def test_a_segment_may_have_255_bytes_but_not_256(unit: str, count: int, rest: str) -> None:
    segment = unit * count + rest
    assert len(segment.encode()) == MAX_SEGMENT_BYTES == 255
    assert Owner(segment) == segment
    assert RelativePath(f"a/{segment}/b") == f"a/{segment}/b"
    assert_refused(Owner, f"{segment}x", ErrorCode.INVALID_OWNER)
    assert_refused(RelativePath, f"a/{segment}x/b", ErrorCode.INVALID_PATH)


@pytest.mark.parametrize("segments", [511, 512, 513])
def test_a_path_may_have_as_many_segments_as_fit(segments: int) -> None:
    text = "/".join(["x"] * segments)
    assert (RelativePath.fault(text) is None) == (len(text) <= MAX_KEY_BYTES)


@pytest.mark.parametrize(
    "text",
    [
        "%2e%2e/a",
        "a%2Fb",
        "%00",
        "100%",
        "%",
        "%zz",
        "a+b",
        "a&b=c",
        "?x",
        "#y",
        "~",
        "$filename",
        "${file}",
        "{owner}",
    ],
)
def test_nothing_is_decoded_or_expanded(text: str) -> None:
    assert RelativePath(text) == text


@pytest.mark.parametrize(
    "text", ["${filename}", "a/${filename}", "${FileName}", "x${FILENAME}y/z", "a/${filename}/b", "$${filename}}"]
)
@pytest.mark.parametrize("kind", PATH_TYPES)
def test_the_variable_that_stores_replace_is_refused_anywhere_and_in_any_case(
    kind: type[CheckedText], text: str
) -> None:
    assert_refused(kind, text, CODES[kind])


@given(alike=bits.look_alike_owners())
def test_owners_that_look_alike_are_different_owners(alike: tuple[Owner, Owner, str]) -> None:
    owner, other, why = alike
    assert owner != other, why
    assert len({owner, other}) == 2


@given(first=bits.owners, second=bits.owners)
def test_owners_are_equal_exactly_if_their_bytes_are(first: Owner, second: Owner) -> None:
    assert (first == second) == (first.encode() == second.encode())
    assert Owner(str(first)) == first


@given(path=bits.paths)
def test_a_path_is_its_dirname_and_its_basename(path: RelativePath) -> None:
    assert (path.dirname, path.basename) == posixpath.split(path)
    assert posixpath.join(path.dirname, path.basename) == path


@given(path=bits.paths)
def test_the_extension_is_the_one_that_posixpath_finds(path: RelativePath) -> None:
    # Unlike `splitext`, a name that ends in a dot has no extension: one dot would tell nobody anything.
    found = posixpath.splitext(path)[1]
    assert path.extension == ("" if found == "." else found)
    assert path.basename.endswith(path.extension)


@pytest.mark.parametrize(
    ("path", "extension"),
    [
        ("X.csv", ".csv"),
        ("a.csv", ".csv"),
        ("a.tar.gz", ".gz"),
        ("a.b/c", ""),
        (".profile", ""),
        ("d/.profile", ""),
        (".profile.bak", ".bak"),
        ("...", ""),
        ("..a", ""),
        ("a..b", ".b"),
        ("a.", ""),
        ("a. b", ". b"),
        ("A.CSV", ".CSV"),
        ("表.データ", ".データ"),
    ],
)
def test_extensions(path: str, extension: str) -> None:
    assert RelativePath(path).extension == extension


BODY_LIMIT = 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("start", "unit", "end"),
    [
        ("", "a", ""),
        ("", "a", "\n"),
        ("", "a", "/"),
        ("", "/", ""),
        ("", "a/", "a"),
        ("", "a ", "!"),
        ("", ".", ""),
        ("", "\u0301\u0323", ""),
        ("", "\ud800", ""),
        ("", "${filename", ""),
        ("a/b", "; a=b", ";"),
        ("a/b", ";", ""),
        ('a/b;c="', '\\"', ""),
        ("", "0", "=="),
    ],
)
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Owner, ErrorCode.INVALID_OWNER),
        (RelativePath, ErrorCode.INVALID_PATH),
        (Md5, ErrorCode.INVALID_MD5),
        (Sha256, ErrorCode.INVALID_SHA256),
        (MediaType, ErrorCode.INVALID_TYPE),
        (FileName, ErrorCode.INVALID_NAME),
    ],
)
def test_text_as_long_as_a_request_is_refused_at_once(
    kind: type[CheckedText], code: ErrorCode, start: str, unit: str, end: str
) -> None:
    # Nothing is timed: a check that takes more than linear time wouldn't come back.
    assert_refused(kind, start + unit * (BODY_LIMIT // len(unit)) + end, code)


@pytest.mark.parametrize(
    "text", ["a" * 1023 + "!", "a /" * 341, "-." * 512, ("a" + " " * 253 + "/") * 4, "a/" * 511 + "!!", "$" * 1024]
)
def test_text_within_the_limits_is_judged_at_once(text: str) -> None:
    assert (RelativePath.fault(text) is None) == bits.is_legal_path(text)
