"""Hostile requests to the embedded store: each is refused with the right code, and leaves nothing, nowhere."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.hard.hostile import cases_of_forms, cases_of_policies, forms
from tests.hard.hostile.store import Target, hostile_target
from tests.tried import Tried

TRIED = "hostile requests"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A store that has taken what is good, and is well at the end."""
    with hostile_target(tmp_path_factory.mktemp("store")) as running:
        now = datetime.now(UTC)
        for own in (forms.OWN_FIELDS, forms.NAMED_FIELDS):
            made = forms.make(now, own=own)
            assert running.ask(made.request, *made.secrets).status == forms.TAKEN[0]
        yield running
        running.is_well()


def answered(target: Target, made: forms.Made, expected: tuple[int, str]) -> None:
    """Check that a form is taken or refused."""
    if expected != forms.TAKEN:
        target.refuse(made.request, expected, *made.secrets)
        return
    files = target.contents().keys()
    answer = target.ask(made.request, *made.secrets)
    assert answer.status == expected[0], answer
    assert target.contents().keys() == files


@pytest.mark.parametrize(
    ("stage", "row"),
    [
        pytest.param(stage, row, id=f"{stage}-{row[0]}")
        for stage, rows in {**cases_of_policies.STAGES, **cases_of_forms.STAGES}.items()
        for row in rows
    ],
)
def test_forms(target: Target, stage: str, row: Any, tried: Tried) -> None:
    _, expected, change = row
    answered(target, forms.make(datetime.now(UTC), stage, change), expected)
    tried(TRIED, 1)


@pytest.mark.parametrize("row", cases_of_forms.FILENAMES, ids=lambda row: row[0])
def test_names_of_files(target: Target, row: Any, tried: Tried) -> None:
    _, expected, change = row
    answered(target, forms.make(datetime.now(UTC), "parts", change, own=forms.NAMED_FIELDS), expected)
    tried(TRIED, 1)
