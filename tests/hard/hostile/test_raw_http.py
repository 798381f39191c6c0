"""Bytes that nobody would send who means well, on connections to a running service.

Each is refused, or answered as what it is; nobody is left hanging, nothing is answered that nobody asked for, and the
service is well at the end.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from tests.effort import EFFORT
from tests.hard.hostile import cases_of_raw_http as cases
from tests.hard.hostile.exchange import check_each, exchange
from tests.hard.hostile.mutations import changed
from tests.hard.hostile.store import Target, hostile_target
from tests.tried import Tried

TRIED = "hostile requests"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with hostile_target(tmp_path_factory.mktemp("raw"), log_format="console") as running:
        yield running
        running.is_well_on_the_console(cases.HIDDEN)


def test_each_is_answered_as_it_must_be(target: Target, tried: Tried) -> None:
    def check(case: cases.Case) -> None:
        answers = exchange(target.origin, case.sent, then_ends=case.then_ends)
        assert tuple(answer.status for answer in answers) == case.statuses, answers
        assert not [answer for answer in answers if answer.status == 400 and answer.code != "malformed_http"]

    tried(TRIED, check_each(((case.about, case) for case in cases.CASES), check))


def test_a_body_that_breaks_ends_its_connection(target: Target, tried: Tried) -> None:
    def check(case: cases.Case) -> None:
        assert [answer.status for answer in exchange(target.origin, case.sent)] in ([400], [401])

    tried(TRIED, check_each(((case.about, case) for case in cases.BROKEN), check))


def test_floods_are_cut_off(target: Target, tried: Tried) -> None:
    def check(case: cases.Case) -> None:
        answers = exchange(target.origin, case.sent)
        assert len(answers) <= 1, answers
        assert {answer.status for answer in answers} <= {400, 401, 431}, answers

    tried(TRIED, check_each(((case.about, case) for case in cases.FLOODING), check))


@pytest.mark.parametrize("route", [route for route in cases.ROUTES if route != "head"])
def test_no_change_of_a_request_is_a_fault_of_ours(target: Target, route: str, tried: Tried) -> None:
    counted = 0
    good, _ = cases.ROUTES[route]

    @settings(max_examples=12 * EFFORT)
    @given(changed(good))
    def check(bad: bytes) -> None:
        nonlocal counted
        counted += 1
        answers = exchange(target.origin, bad, patience=0.3)
        assert not [answer for answer in answers if answer.status >= 500]

    check()
    tried(TRIED, counted)
