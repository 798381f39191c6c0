"""When something is tried again, and after what pause."""

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoints.client import Retries, Stopped, Unreachable
from entrypoints.client.connections import Answer
from entrypoints.client.retrying import Stop

AT_ONCE = Retries(attempts=3, first_pause=0.0)


class Flaky:
    """Fails so often, and then gives 42."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left, self.error, self.tried = failures, error, 0

    def __call__(self) -> int:
        self.tried += 1
        if self.tried <= self.left:
            raise self.error
        return 42


def test_what_may_pass_is_tried_until_it_does() -> None:
    act, notes = Flaky(2, Unreachable("it is busy")), list[str]()
    assert AT_ONCE.run(act, Stop(), notes.append) == 42
    assert notes == ["it is busy; trying again in 0.0 s"] * 2


def test_the_last_error_is_raised() -> None:
    act = Flaky(3, Unreachable("it is busy"))
    with pytest.raises(Unreachable, match="it is busy"):
        AT_ONCE.run(act, Stop())
    assert act.tried == 3


def test_other_errors_are_raised_at_once() -> None:
    act = Flaky(1, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        AT_ONCE.run(act, Stop())
    assert act.tried == 1


def test_a_pause_can_be_cut_short() -> None:
    stop, slow = Stop(), Retries(first_pause=1_000, longest_pause=1_000)

    def fail() -> None:
        threading.Timer(0.01, stop.set).start()
        raise Unreachable("it is busy")

    with pytest.raises(Stopped):
        slow.run(fail, stop)


def test_nothing_is_tried_after_a_stop() -> None:
    stop, act = Stop(), Flaky(0, ValueError())
    stop.set()
    with pytest.raises(Stopped):
        AT_ONCE.run(act, stop)
    assert act.tried == 0


@given(attempt=st.integers(1, 100), retry_after=st.none() | st.floats(0, 10**6))
def test_pauses_grow_to_a_limit_and_are_never_shorter_than_asked_for(attempt: int, retry_after: float | None) -> None:
    retries = Retries(first_pause=0.5, longest_pause=20, longest_wait=120)
    pause = retries.pause(attempt, retry_after)
    usual = min(0.5 * 2 ** (attempt - 1), 20)
    assert max(usual / 2, min(retry_after or 0, 120)) <= pause <= max(usual, min(retry_after or 0, 120))


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), (" 7 ", 7.0), ("", None), ("soon", None), ("-1", None), ("1.5", None)]
)
def test_servers_say_in_seconds_when_to_come_back(value: str, seconds: float | None) -> None:
    assert Answer(503, {"Retry-After": value}, b"").retry_after == seconds


def test_servers_may_say_it_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    seconds = Answer(503, {"Retry-After": date}, b"").retry_after
    assert seconds is not None
    assert 0 < seconds <= 100
    assert Answer(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"").retry_after == 0
