"""JSON that can be read in only one way: what is read, and what is refused, by every parser that it is used with."""

import json
from collections.abc import Callable
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.strict_json import MAX_DEPTH, NotStrictJson, loads, loads_in_steps

Loads = Callable[[bytes], object]


def in_steps(data: bytes) -> object:
    """Read in steps, with others having their turn in between."""
    steps = loads_in_steps(data, orjson.loads)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


LOADS = {"the standard library": loads, "orjson": lambda data: loads(data, orjson.loads), "orjson, in steps": in_steps}
all_readers = pytest.mark.parametrize("read", LOADS.values(), ids=LOADS.keys())

# Names and texts that look like members, with what begins, ends and escapes them.
tricky = st.text(st.sampled_from('":\\,{}[] a\u00e9'), max_size=6) | st.sampled_from(['"a":', ':":', '\\":', "\u2028:"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | tricky,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky, inner, max_size=4),
    max_leaves=20,
)


def written(value: object, *, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode()


@all_readers
@given(value=values, ascii_only=st.booleans())
def test_what_was_written_is_read(read: Loads, value: object, ascii_only: bool) -> None:
    assert read(written(value, ascii_only=ascii_only)) == value


def test_each_pass_over_the_data_is_a_step() -> None:
    passes = ["reading", "counting what may hold others", "counting members", "counting colons"]

    assert len(list(loads_in_steps(b'{"a": [1]}', orjson.loads))) == len(passes) - 1


@all_readers
@given(names=st.lists(tricky, min_size=1, max_size=5), data=st.data(), ascii_only=st.booleans())
def test_a_member_that_stands_twice_is_refused_wherever_it_is(
    read: Loads, names: list[str], data: st.DataObject, ascii_only: bool
) -> None:
    members = [(name, data.draw(values)) for name in names]
    twice = data.draw(st.sampled_from(names))
    members.insert(data.draw(st.integers(0, len(members))), (twice, data.draw(values)))
    text = b", ".join(written(n, ascii_only=ascii_only) + b": " + written(v, ascii_only=True) for n, v in members)
    for around in (b"{%s}", b'[1, {"x": {%s}}]', b'{"y:": [{%s}], "z": ":"}'):
        with pytest.raises(NotStrictJson, match="twice"):
            read(around % text)


@all_readers
def test_two_spellings_of_one_name_are_one_name(read: Loads) -> None:
    with pytest.raises(NotStrictJson, match="twice"):
        read(b'{"a": 1, "\\u0061": 2}')


@all_readers
@pytest.mark.parametrize("open_close", [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
def test_it_may_be_nested_only_so_deep(read: Loads, open_close: tuple[bytes, bytes]) -> None:
    opening, closing = open_close
    read(opening * MAX_DEPTH + (b"1" if opening != b"[" else b"") + closing * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(NotStrictJson):
            read(opening * depth + b"1" + closing * depth)


@all_readers
def test_thirty_two_levels_are_enough_for_anybody(read: Loads) -> None:
    read(b"[" * 32 + b"]" * 32)
    with pytest.raises(NotStrictJson, match="nested more than 32 levels deep"):
        read(b"[" * 33 + b"]" * 33)


@all_readers
@pytest.mark.parametrize("text", ["[[{", '{"a": [', "}"])
def test_text_that_looks_nested_is_only_text(read: Loads, text: str) -> None:
    assert read(json.dumps(text).encode()) == text
    assert read(json.dumps([text]).encode()) == [text]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":\n \xff}', "it is not UTF-8 at byte 7"),
        (b'{"a":\n x}', "Expecting value at line 2, column 2"),
        (b"[NaN]", "NaN is not a number in JSON"),
        (b"[-Infinity]", "-Infinity is not a number in JSON"),
        (b"[" + b"1" * 5_000 + b"]", "it has a number with too many digits"),
        (b"[" * 100_000, "it is nested more than 32 levels deep"),
        (b'{"a": 1, "a": 1}', "a member stands twice in one object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_message_says_what_is_wrong(data: bytes, reason: str) -> None:
    with pytest.raises(NotStrictJson) as refused:
        loads(data)
    assert str(refused.value) == reason


@all_readers
@given(data=st.binary(max_size=60) | st.text(st.sampled_from('{}[]":,\\ue1-+.0Nafin'), max_size=40).map(str.encode))
def test_whatever_the_bytes_are_nothing_else_is_raised(read: Loads, data: bytes) -> None:
    with suppress(NotStrictJson):
        read(data)


@all_readers
@pytest.mark.parametrize(
    "data",
    [b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"\xef\xbb\xbf{}", b'"\xff"', "{}".encode("utf-16"), b"", b"{} {}"],
)
def test_what_parsers_disagree_about_is_refused(read: Loads, data: bytes) -> None:
    with pytest.raises(NotStrictJson):
        read(data)
