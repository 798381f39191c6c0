"""One change of some bytes, anywhere."""

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

_MEANINGFUL = b"\0\t\n\r\x1b !\"#$%&'()*+,-./0:;=?@A[\\]_`a{|}~\x7f\x80\xc3\xff"
_SHORT = 24


@composite
def _bytes(draw: DrawFn) -> bytes:
    return bytes([draw(st.sampled_from(_MEANINGFUL) | st.integers(0, 255))])


@composite
def changed(draw: DrawFn, good: bytes) -> bytes:
    """Replace, add or leave out a byte or a few, repeat some, or exchange two pieces; never nothing."""
    start = draw(st.integers(0, len(good) - 1))
    end = min(start + draw(st.integers(1, _SHORT)), len(good))
    before, piece, after = good[:start], good[start:end], good[end:]
    bad = draw(
        st.one_of(
            st.builds(lambda byte: before + byte + good[start + 1 :], _bytes()),
            st.builds(lambda byte: before + byte + good[start:], _bytes()),
            st.just(before + good[start + 1 :]),
            st.just(before + after),
            st.just(before + piece + piece + after),
            st.just(before + piece.swapcase() + after),
            st.just(before + piece[::-1] + after),
            st.just(before + after[:_SHORT] + piece + after[_SHORT:]),
        ).filter(lambda bad: bad != good)
    )
    return bytes(bad)


def changed_text(good: str) -> SearchStrategy[str]:
    """Change the Latin-1 of a text likewise."""
    return changed(good.encode("latin-1")).map(lambda bad: bad.decode("latin-1"))
