"""Good requests, changed in one random place: whatever comes of that is refused, or is still the user's own."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from tests.effort import EFFORT
from tests.entrypoints.http.live_service import BUCKET, OWNER
from tests.hard.hostile.cases_of_bodies import WITH_BODY
from tests.hard.hostile.service import PLACES, TRIED, Request, Target, Uploads, fits_in_header, good_token, in_header
from tests.tried import Tried

_INTRUDERS = (
    *(b"", b"\0", b"\n", b"\r", b"\x1b", b"\x7f", b"\x80", b"\xff", b"\xc0\xaf", b"\xe2\x80\xae", b"\xed\xa0\x80"),
    b"\xcc\x81",
    *(b'"', b"\\", b"/", b"{", b"}", b"[", b"]", b":", b",", b".", b"..", b"../", b"%", b"%2e", b"%00", b"&", b"="),
    *(b"#", b"?"),
    *(b"-", b"+", b"0", b"9", b"e9", b"1e999", b"NaN", b"null", b"true", b"\\u0000", b"\\ud800", b"${filename}"),
    *(b"bob", b"A"),
)


@composite
def mutated(draw: DrawFn, good: bytes) -> bytes:
    """Replace up to four bytes at one place by others, or by some of the good ones from elsewhere."""
    start = draw(st.integers(0, len(good)))
    gone = draw(st.integers(0, 4))
    elsewhere = draw(st.integers(0, len(good)))
    intruder = draw(st.sampled_from([*_INTRUDERS, good[elsewhere : elsewhere + 8]]) | st.binary(max_size=3))
    return good[:start] + intruder + good[start + gone :]


def tries(
    examples: int, strategy: Callable[[bytes], SearchStrategy[Any]], good: bytes, check: Callable[[Any], None]
) -> int:
    """Check as many changes of what is good as the effort allows, and say how many those were."""
    count = 0

    @settings(max_examples=examples * EFFORT)
    @given(changed=strategy(good))
    def check_all(changed: Any) -> None:
        nonlocal count
        count += 1
        check(changed)

    check_all()
    return count


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("place", PLACES)
def test_a_token_proves_nothing_any_more(target: Target, algorithm: str, place: str, tried: Tried) -> None:
    good = good_token(algorithm).token()

    def check(changed: bytes) -> None:
        token = changed.decode("latin-1")
        if token.strip() != good and (place == "jwt" or fits_in_header(token)):
            asked = PLACES[place](Request("GET", "/info"), token)
            target.refuses(asked, 401, "token_invalid", secret=token.strip())

    tried(TRIED, tries(6, mutated, good.encode(), check))


@pytest.mark.parametrize("kind", WITH_BODY)
def test_a_body_reaches_nothing_else(target: Target, uploads: Uploads, kind: str, tried: Tried) -> None:
    good = uploads.requests[kind]

    def check(changed: bytes) -> None:
        request = evolve(good, body=changed)
        answer = target.ask(in_header(request, target.token))
        assert answer.status in (200, 400, 403, 404, 409, 413)
        if answer.status == 200:
            assert_own(answer.json)

    tried(TRIED, tries(12, mutated, json.dumps(good.body).encode(), check))


@pytest.mark.parametrize("kind", ["presign", "objects"])
def test_a_query_reaches_nothing_else(target: Target, uploads: Uploads, kind: str, tried: Tried) -> None:
    start, _, query = uploads.requests[kind].path.partition("?")

    def check(changed: bytes) -> None:
        path = f"{start}?{changed.decode('latin-1')}"
        answer = target.ask(in_header(Request("GET", path), target.token))
        assert answer.status in (200, 400, 403)
        if answer.status == 200:
            assert_own(answer.json)

    tried(TRIED, tries(20, mutated, query.encode(), check))


def assert_own(answer: Any) -> None:
    """Check that every URL and key of an answer, wherever it is, is alice's."""
    match answer:
        case dict():
            for name, value in answer.items():
                if name in ("url", "object_url"):
                    assert unquote(urlsplit(value).path).startswith(f"/store/{BUCKET}/{OWNER}/")
                elif name == "key":
                    assert value.startswith(f"{OWNER}/")
                else:
                    assert_own(value)
        case list():
            for item in answer:
                assert_own(item)
