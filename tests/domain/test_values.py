"""What all checked texts have in common."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from domain.errors import ErrorCode
from domain.files import FileName, Md5, MediaType, Sha256
from domain.keys import ObjectKey, Owner, RelativePath
from domain.values import CheckedText, each_matches
from tests import strategies as bits
from tests.domain.refusals import attempt


class Ruleless(CheckedText):
    """A text whose author has forgotten to say what is wrong with one."""

    __slots__ = ()
    code = ErrorCode.INVALID_NAME
    noun = "the text"


@pytest.mark.parametrize("text", ["", "x", "x" * 1_000])
def test_a_type_without_rules_accepts_nothing(text: str) -> None:
    with pytest.raises(NotImplementedError):
        Ruleless(text)


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (Owner, bits.plain_segments),
        (RelativePath, bits.path_texts),
        (ObjectKey, bits.path_texts),
        (Md5, bits.md5s.map(str)),
        (Sha256, bits.sha256s.map(str)),
        (MediaType, bits.media_types.map(str)),
        (FileName, bits.file_names.map(str)),
    ],
)
@given(data=st.data())
def test_each_of_many_texts_is_what_it_is_alone(
    kind: type[CheckedText], good: SearchStrategy[str], data: DataObject
) -> None:
    long = st.integers(250, 260).map(lambda length: "x" * length)
    bad = st.one_of(bits.any_text, bits.json_like, long, st.tuples(good, good).map("\n".join))
    values: list[object] = data.draw(st.one_of(st.lists(good, max_size=4), st.lists(st.one_of(good, bad), max_size=4)))
    alone = [attempt(kind, value) for value in values]
    together = attempt(kind.each, values)
    refusals = [str(text) for text in alone if isinstance(text, Exception)]
    if isinstance(together, Exception):
        assert str(together) == refusals[0]
    else:
        assert together == alone
        assert {type(text) for text in together} <= {kind}


@example(texts=[])
@example(texts=["b", "ab"])
@example(texts=["b\nb"])
@example(texts=["b", "b\n"])
@example(texts=["", "b"])
@given(texts=st.lists(st.text("ab\n", max_size=3), max_size=4))
def test_each_matches_if_all_do_alone(texts: list[str]) -> None:
    assert each_matches("a*b")(texts) is all(re.fullmatch("a*b", text) for text in texts)
