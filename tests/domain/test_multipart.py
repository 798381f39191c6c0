"""How files are cut into parts, for every legal length and limit, and which parts count as arrived."""

import hashlib
from collections.abc import Mapping

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from domain.errors import ErrorCode, InvalidInput
from domain.files import DeclaredFile, DeclaredParts, FileName, FileRules, Md5, MediaType
from domain.inspection import FoundObject, Status, compare
from domain.keys import RelativePath
from domain.multipart import MIB, USUAL_PART_BYTES, ArrivedPart, PartLimits, PartPlan, UploadId, unfit_parts
from tests.domain.refusals import assert_refused, attempt

TIB = 1024**4
S3 = PartLimits(5 * MIB, 5 * 1024 * MIB, 10_000, 5 * TIB)
AZURE = PartLimits(1, 4_000 * MIB, 50_000, 50_000 * 4_000 * MIB)
TINY = PartLimits(min_part_bytes=2, max_part_bytes=5, max_parts=4, max_object_bytes=100)


@composite
def all_limits(draw: DrawFn) -> PartLimits:
    """Limits of real stores, and of any other that makes sense."""
    least = draw(st.integers(1, 64 * MIB))
    most = draw(st.integers(least, 8 * TIB))
    parts = draw(st.integers(1, 100_000))
    return draw(
        st.sampled_from([S3, AZURE, TINY]) | st.just(PartLimits(least, most, parts, draw(st.integers(1, 8 * TIB))))
    )


def a_file(length: int, parts: DeclaredParts | None = None) -> DeclaredFile:
    return DeclaredFile(RelativePath("a.bin"), length, MediaType("text/csv"), FileName("a.bin"), parts=parts)


def is_legal(plan: PartPlan, limits: PartLimits) -> bool:
    lengths = [plan.length_of(1), plan.length_of(plan.count)]
    return (
        plan.count <= limits.max_parts
        and max(lengths) <= limits.max_part_bytes
        and (plan.count == 1 or plan.part_size >= limits.min_part_bytes)
    )


def assert_covers_exactly(plan: PartPlan) -> None:
    """All parts but the last have the part's size, so these few sums say it of all."""
    assert plan.count >= 1
    assert 1 <= plan.length_of(plan.count) <= plan.part_size
    assert plan.length_of(1) == min(plan.part_size, plan.length)
    assert (plan.count - 1) * plan.part_size + plan.length_of(plan.count) == plan.length


@given(st.data(), all_limits())
def test_every_legal_length_is_covered_exactly_by_legal_parts(data: st.DataObject, limits: PartLimits) -> None:
    length = data.draw(st.integers(1, limits.longest_object) | st.just(limits.longest_object))
    plan = PartPlan.of(a_file(length), limits)
    assert_covers_exactly(plan)
    assert is_legal(plan, limits)


def test_the_usual_size_is_sixteen_mebibytes() -> None:
    assert MIB == 1_048_576
    assert USUAL_PART_BYTES == 16_777_216
    assert PartPlan.of(a_file(100 * MIB), S3).part_size == 16_777_216
    assert PartPlan.of(a_file(100 * MIB), evolve(S3, min_part_bytes=20 * MIB)).part_size == 20 * MIB


@pytest.mark.parametrize(
    ("length", "size", "message"),
    [
        (101, 5, "length is over the limit of 20 bytes"),
        (10, 1, "parts.size is under this store's limit of 2 bytes"),
        (10, 6, "parts.size is over this store's limit of 5 bytes"),
        (6, 6, "parts.size is over this store's limit of 5 bytes"),
        (20, 4, "parts.size makes 5 parts; this store takes 4 at most"),
    ],
)
def test_the_refusal_says_which_limit_it_is(length: int, size: int, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PartPlan.of(a_file(length, DeclaredParts(size)), TINY)
    assert (refused.value.message, refused.value.field) == (message, "length" if length > 20 else "parts")


def test_a_single_part_may_be_short_and_its_size_anything() -> None:
    assert PartPlan.of(a_file(1, DeclaredParts(1)), TINY).count == 1
    assert PartPlan.of(a_file(5, DeclaredParts(99)), TINY).count == 1


@given(st.integers(1, 100), st.integers(1, 20))
def test_lengths_of_parts_add_up(length: int, size: int) -> None:
    plan = PartPlan(length, size)
    lengths = [plan.length_of(number) for number in range(1, plan.count + 1)]
    assert sum(lengths) == length
    assert set(lengths[:-1]) <= {size}
    assert min(lengths) >= 1


@given(st.data(), all_limits())
def test_what_the_client_asks_for_is_kept_or_refused(data: st.DataObject, limits: PartLimits) -> None:
    length = data.draw(st.integers(1, limits.longest_object))
    size = data.draw(st.integers(1, 2 * length) | st.sampled_from([limits.min_part_bytes, limits.max_part_bytes]))
    plan = attempt(PartPlan.of, a_file(length, DeclaredParts(size)), limits)
    if isinstance(plan, PartPlan):
        assert plan.part_size == size
        assert_covers_exactly(plan)
        assert is_legal(plan, limits)
    else:
        assert plan.code is ErrorCode.INVALID_PARTS
        assert not is_legal(PartPlan(length, size), limits)


@given(all_limits())
def test_what_no_store_could_take_is_refused(limits: PartLimits) -> None:
    assert_refused(lambda file: PartPlan.of(file, limits), a_file(0), ErrorCode.INVALID_PARTS)
    too_long = a_file(limits.longest_object + 1)
    assert_refused(lambda file: PartPlan.of(file, limits), too_long, ErrorCode.FILE_TOO_LARGE)


@pytest.mark.parametrize(
    ("length", "limits", "size"),
    [
        (1, S3, USUAL_PART_BYTES),
        (6 * 1024 * MIB, S3, USUAL_PART_BYTES),
        (10_000 * USUAL_PART_BYTES, S3, USUAL_PART_BYTES),
        (10_000 * USUAL_PART_BYTES + 1, S3, 17 * MIB),
        (5 * TIB, S3, 525 * MIB),
        (20, TINY, 5),
    ],
)
def test_parts_are_of_the_usual_size_unless_there_would_be_too_many(length: int, limits: PartLimits, size: int) -> None:
    assert PartPlan.of(a_file(length), limits).part_size == size


# --- What a client declares of parts ---

RULES = FileRules(max_bytes=10 * MIB, require_digest=False, max_bytes_in_parts=TIB)
DIGESTS = [Md5.of(hashlib.md5(bytes([number]), usedforsecurity=False).digest()) for number in range(4)]


def parse(length: object, parts: object, rules: FileRules = RULES) -> DeclaredFile:
    return DeclaredFile.parse("a.bin", {"length": length, "parts": parts}, rules)


def test_parts_are_read() -> None:
    assert parse(7, {"size": 2}).parts == DeclaredParts(2)
    assert parse(7, {"size": 1}).parts == DeclaredParts(1)
    assert parse(7, {"size": 2, "md5": DIGESTS}).parts == DeclaredParts(2, tuple(DIGESTS))
    assert parse(7, {"size": 2, "md5": None, "colour": "red"}).parts == DeclaredParts(2)
    assert parse(7, None).parts is None


@pytest.mark.parametrize(
    "parts",
    [
        [],
        "16",
        16,
        True,
        {},
        {"size": None},
        {"size": 0},
        {"size": -1},
        {"size": True},
        {"size": 2.0},
        {"size": "2"},
        {"size": 2, "md5": "x"},
        {"size": 2, "md5": "four"},
        {"size": 2, "md5": {}},
        {"size": 2, "md5": []},
        {"size": 2, "md5": DIGESTS[:3]},
        {"size": 2, "md5": [*DIGESTS, DIGESTS[0]]},
        {"size": 10**30, "md5": DIGESTS},
    ],
)
def test_parts_that_make_no_sense_are_refused(parts: object) -> None:
    assert_refused(lambda value: parse(7, value), parts, ErrorCode.INVALID_PARTS)
    with pytest.raises(InvalidInput, match=r"^parts") as refusal:
        parse(7, parts)
    assert refusal.value.field == "parts"


@pytest.mark.parametrize("digest", [None, 5, "", DIGESTS[0][:-1], DIGESTS[0].hex])
def test_a_digest_of_a_part_is_one(digest: object) -> None:
    assert_refused(lambda value: parse(3, value), {"size": 2, "md5": [DIGESTS[0], digest]}, ErrorCode.INVALID_MD5)


def test_a_file_that_is_too_long_for_one_request_may_come_in_parts() -> None:
    length = RULES.max_bytes + 1
    with pytest.raises(InvalidInput, match="MULTIPART") as refusal:
        parse(length, None)
    assert refusal.value.code is ErrorCode.FILE_TOO_LARGE
    assert parse(length, None, RULES.in_parts).length == length
    with pytest.raises(InvalidInput, match=f"over the limit of {TIB} bytes$"):
        parse(TIB + 1, None, RULES.in_parts)
    assert parse(RULES.max_bytes, None, evolve(RULES, max_bytes_in_parts=0).in_parts).length == RULES.max_bytes
    for most, hint in ((length, True), (length - 1, False)):
        with pytest.raises(InvalidInput) as refusal:
            parse(length, None, evolve(RULES, max_bytes_in_parts=most))
        assert refusal.value.message.endswith('send "accept": ["MULTIPART", "PUT", "POST"]') == hint
    with pytest.raises(InvalidInput, match=f"over the limit of {RULES.max_bytes} bytes$"):
        parse(length, None, evolve(RULES, max_bytes_in_parts=0))


# --- What has arrived ---


def arrived(plan: PartPlan, file: DeclaredFile) -> dict[int, ArrivedPart]:
    digests = file.parts.md5 if file.parts is not None and file.parts.md5 else [None] * plan.count
    return {
        number: ArrivedPart(number, plan.length_of(number), f"tag {number}", digests[number - 1])
        for number in range(1, plan.count + 1)
    }


FILE = a_file(7, DeclaredParts(2, tuple(DIGESTS)))
PLAN = PartPlan(7, 2)
ALL = arrived(PLAN, FILE)


@given(st.sets(st.sampled_from(sorted(ALL))), st.booleans())
def test_what_has_not_arrived_is_missing(missing: set[int], extra: bool) -> None:
    there = {number: part for number, part in ALL.items() if number not in missing}
    if extra:
        there[9] = ArrivedPart(9, 2, "of no use")
    assert unfit_parts(PLAN, FILE, there) == sorted(missing)


@pytest.mark.parametrize(
    ("change", "file", "is_fit"),
    [
        ({"length": 1}, FILE, False),
        ({"length": 3}, FILE, False),
        ({"md5": DIGESTS[0]}, FILE, False),
        ({"md5": None}, FILE, True),
        ({"md5": DIGESTS[0]}, evolve(FILE, parts=DeclaredParts(2)), True),
        ({"md5": DIGESTS[0]}, evolve(FILE, parts=None), True),
        ({"tag": "another"}, FILE, True),
    ],
)
def test_a_part_must_have_its_length_and_its_declared_digest(
    change: Mapping[str, object], file: DeclaredFile, is_fit: bool
) -> None:
    changed = evolve(ALL[2], **change)  # type: ignore[arg-type]  # whatever the table says
    assert unfit_parts(PLAN, file, {**ALL, 2: changed}) == ([] if is_fit else [2])


def test_a_composite_is_the_digest_of_the_parts_digests_and_their_number() -> None:
    """Of the parts `a` and `b`; md5sum(1) made the digests."""
    parts = DeclaredParts(1, (Md5("DMF1ucDxtqgxw5niaXcmYQ=="), Md5("kutf/uauL+w61xx3dTFXjw==")))
    assert parts.composite == "96e024ba2074fe77e8e965ba43a704be-2"
    assert DeclaredParts(1).composite is None


def test_the_same_parts_are_the_same_file_where_a_store_knows_nothing_else() -> None:
    assert FILE.parts is not None
    composite = FILE.parts.composite
    assert composite is not None
    found = FoundObject(7, composite=composite)
    assert compare(FILE, found) is Status.STORED
    assert compare(evolve(FILE, parts=None), found) is Status.UNKNOWN
    assert compare(evolve(FILE, parts=DeclaredParts(2)), found) is Status.UNKNOWN
    assert compare(FILE, FoundObject(8, composite=composite)) is Status.DIFFERENT
    assert compare(FILE, FoundObject(7, composite=f"{'0' * 32}-4")) is Status.UNKNOWN
    assert (
        compare(evolve(FILE, md5=DIGESTS[0]), FoundObject(7, md5=DIGESTS[1], composite=composite)) is Status.DIFFERENT
    )


# --- Ids ---


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=1024))
def test_an_id_is_whatever_a_store_makes(text: str) -> None:
    assert UploadId(text) == text


@pytest.mark.parametrize("value", [None, 1, "", " ", "a b", "a\n", "é", "a" * 1025, "\x7f", "\ud800"])
def test_what_no_store_makes_is_no_id(value: object) -> None:
    assert_refused(UploadId, value, ErrorCode.INVALID_UPLOAD_ID)


@given(st.text())
def test_an_id_is_printable_ascii(text: str) -> None:
    assume(not (text.isascii() and text.isprintable() and " " not in text and 1 <= len(text) <= 1024))
    assert_refused(UploadId, text, ErrorCode.INVALID_UPLOAD_ID)
