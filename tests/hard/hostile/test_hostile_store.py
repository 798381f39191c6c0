"""Hostile requests to the embedded store: each is refused with the right code, and leaves nothing, nowhere."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from tests.effort import EFFORT
from tests.hard.hostile import cases_of_forms, cases_of_policies, cases_of_signed_urls, forms, signed_urls
from tests.hard.hostile.exchange import check_each
from tests.hard.hostile.forms import Row
from tests.hard.hostile.mutations import changed, changed_text
from tests.hard.hostile.store import BUCKET_PATH, CONTENT, Expected, Target, hostile_target
from tests.tried import Tried

TRIED = "hostile requests"

Bases = Mapping[str, Mapping[str, Any]]


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


@pytest.fixture(scope="module")
def bases(target: Target) -> Bases:
    """Signed requests that have been accepted."""
    upload_id = target.begun_upload(signed_urls.KEY.rpartition("/")[2])
    part = {**signed_urls.BASES["part"], "query": {"partNumber": "1", "uploadId": upload_id}}
    bases = {**signed_urls.BASES, "part": part}
    for base in bases.values():
        made = signed_urls.make(base, target.host, datetime.now(UTC))
        assert target.ask(made.request, *made.secrets).status == 200
    return bases


def answered(target: Target, made: forms.Made, expected: Expected) -> None:
    """Check that a request is taken, which makes nothing new, or refused."""
    if not 0 < expected[0] < 400:
        target.refuse(made.request, expected, *made.secrets)
        return
    files = len(target.contents())
    answer = target.ask(made.request, *made.secrets)
    assert answer.status == expected[0], answer
    assert answer.body in (b"", CONTENT) or answer.status in (201, 206)
    assert len(target.contents()) == files


@pytest.mark.parametrize("stage", [*cases_of_policies.STAGES, *cases_of_forms.STAGES])
def test_forms(target: Target, stage: str, tried: Tried) -> None:
    def check(row: Row) -> None:
        _, expected, change = row
        answered(target, forms.make(datetime.now(UTC), stage, change), expected)

    rows = {**cases_of_policies.STAGES, **cases_of_forms.STAGES}[stage]
    tried(TRIED, check_each(((row[0], row) for row in rows), check))


def test_names_of_files(target: Target, tried: Tried) -> None:
    def check(row: Row) -> None:
        _, expected, change = row
        answered(target, forms.make(datetime.now(UTC), "parts", change, own=forms.NAMED_FIELDS), expected)

    tried(TRIED, check_each(((row[0], row) for row in cases_of_forms.FILENAMES), check))


@pytest.mark.parametrize("kind", signed_urls.BASES)
@pytest.mark.parametrize("stage", cases_of_signed_urls.STAGES)
def test_signed_urls(target: Target, bases: Bases, kind: str, stage: str, tried: Tried) -> None:
    def check(row: Row) -> None:
        _, expected, change = row
        answered(target, signed_urls.make(bases[kind], target.host, datetime.now(UTC), stage, change), expected)

    rows = cases_of_signed_urls.of(kind, stage)
    tried(TRIED, check_each(((row[0], row) for row in rows), check))


def holds_what_it_held(target: Target, base: Mapping[str, Any], **headers: str) -> None:
    """Check that an object is what it was, with these headers."""
    found = target.ask(signed_urls.make({**base, "method": "GET"}, target.host, datetime.now(UTC)).request)
    assert (found.status, found.body) == (200, CONTENT)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    assert {name: found.headers[name] for name in named} == named


def test_no_change_of_a_form_changes_what_it_means(target: Target, tried: Tried) -> None:
    counted = 0

    @settings(max_examples=150 * EFFORT)
    @given(st.data())
    def check(data: DataObject) -> None:
        nonlocal counted
        counted += 1
        made = forms.make(datetime.now(UTC))
        body = data.draw(changed(made.request.body))
        before = target.contents()
        answer = target.ask(evolve(made.request, body=body), *made.secrets)
        if answer.status < 400:
            assert len(target.contents()) == len(before)
            base = {"path": f"{BUCKET_PATH}/{forms.KEY}"}
            holds_what_it_held(target, base, content_type="text/csv", x_amz_meta_note=forms.NOTE)
        else:
            assert answer.code
            assert target.contents() == before

    check()
    tried(TRIED, counted)


@pytest.mark.parametrize("kind", signed_urls.BASES)
def test_no_change_of_a_signed_url_changes_what_it_means(target: Target, bases: Bases, kind: str, tried: Tried) -> None:
    counted = 0

    @settings(max_examples=60 * EFFORT)
    @given(st.data())
    def check(data: DataObject) -> None:
        nonlocal counted
        counted += 1
        made = signed_urls.make(bases[kind], target.host, datetime.now(UTC))
        bad = data.draw(changed_text(made.request.target).filter(lambda text: not {"\r", "\n"} & {*text}))
        before = target.contents()
        answer = target.ask(evolve(made.request, target=bad))
        assert len(target.contents()) == len(before)
        if answer.status < 400:
            assert answer.body == (CONTENT if kind == "GET" else b"")
        else:
            assert target.contents() == before

    check()
    holds_what_it_held(target, bases["PUT"], content_type="text/csv")
    tried(TRIED, counted)
