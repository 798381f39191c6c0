"""What counts as stored: the declared length, and every declared digest that the store knows, of which at least one."""

from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from domain.files import DeclaredFile, DeclaredParts, Md5, Sha256
from domain.inspection import FoundObject, Status, compare
from tests import strategies as bits

FOUND = st.builds(FoundObject, length=bits.lengths, md5=st.none() | bits.md5s, sha256=st.none() | bits.sha256s)
FILES = bits.declared_files()
BOTH = bits.declared_files(both_digests=True)


def as_declared(file: DeclaredFile) -> FoundObject:
    return FoundObject(file.length, file.md5, file.sha256)


@given(FILES)
def test_no_object_is_missing(file: DeclaredFile) -> None:
    assert compare(file, None) is Status.MISSING


@given(FILES)
def test_what_was_declared_is_stored(file: DeclaredFile) -> None:
    assert compare(file, as_declared(file)) is Status.STORED


@given(FILES, FOUND)
def test_another_length_is_different_whatever_the_digests_are(file: DeclaredFile, found: FoundObject) -> None:
    assume(found.length != file.length)
    assert compare(file, found) is Status.DIFFERENT
    assert compare(file, evolve(as_declared(file), length=found.length)) is Status.DIFFERENT


@given(FILES)
def test_a_length_alone_proves_nothing(file: DeclaredFile) -> None:
    assert compare(file, FoundObject(file.length)) is Status.UNKNOWN


@given(FILES)
def test_parts_without_digests_prove_nothing_either(file: DeclaredFile) -> None:
    assert compare(evolve(file, parts=DeclaredParts(file.length)), FoundObject(file.length)) is Status.UNKNOWN


def test_an_answer_says_what_is_stored_in_these_words() -> None:
    assert [status.value for status in Status] == ["stored", "missing", "different", "unknown"]


@given(BOTH)
def test_one_digest_that_both_know_is_enough(file: DeclaredFile) -> None:
    found = as_declared(file)
    assert compare(file, evolve(found, md5=None)) is Status.STORED
    assert compare(file, evolve(found, sha256=None)) is Status.STORED
    assert compare(evolve(file, md5=None), found) is Status.STORED
    assert compare(evolve(file, sha256=None), found) is Status.STORED


@given(BOTH)
def test_digests_of_different_kinds_can_not_be_compared(file: DeclaredFile) -> None:
    assert compare(evolve(file, sha256=None), FoundObject(file.length, None, file.sha256)) is Status.UNKNOWN
    assert compare(evolve(file, md5=None), FoundObject(file.length, file.md5)) is Status.UNKNOWN


@given(BOTH, bits.md5s, bits.sha256s)
def test_one_digest_that_differs_is_enough_against_it(file: DeclaredFile, md5: Md5, sha256: Sha256) -> None:
    assume(md5 != file.md5 and sha256 != file.sha256)
    for differing in (
        evolve(as_declared(file), md5=md5),
        evolve(as_declared(file), sha256=sha256),
        FoundObject(file.length, md5),
        FoundObject(file.length, None, sha256),
        FoundObject(file.length, md5, sha256),
    ):
        assert compare(file, differing) is Status.DIFFERENT


@composite
def near_matches(draw: DrawFn) -> tuple[DeclaredFile, FoundObject]:
    """A declared file, and an object that is like it in any number of ways."""
    file, other = draw(FILES), draw(FOUND)
    length = draw(st.sampled_from([file.length, other.length]))
    md5 = draw(st.sampled_from([file.md5, other.md5, None]))
    sha256 = draw(st.sampled_from([file.sha256, other.sha256, None]))
    return file, FoundObject(length, md5, sha256)


@given(near_matches())
def test_stored_has_the_length_and_a_digest_that_says_so_and_none_that_contradicts_it(
    pair: tuple[DeclaredFile, FoundObject],
) -> None:
    file, found = pair
    digests = [(file.md5, found.md5), (file.sha256, found.sha256)]
    known = [pair for pair in digests if None not in pair]
    is_stored = file.length == found.length and bool(known) and all(declared == stored for declared, stored in known)
    assert (compare(file, found) is Status.STORED) == is_stored
