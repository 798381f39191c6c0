"""Requests of an honest user that are bad in one way are refused for it, nothing is signed, and others are unharmed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import evolve

from tests.hard.hostile import cases_of_bodies as bodies
from tests.hard.hostile import cases_of_datasets as datasets
from tests.hard.hostile import cases_of_files as files
from tests.hard.hostile import cases_of_reads as reads
from tests.hard.hostile.cases_of_addresses import ADDRESSES, NOWHERE, WRONG_METHODS, Address
from tests.hard.hostile.service import (
    KINDS,
    PLACES,
    STRANGER,
    TRIED,
    Case,
    Request,
    Target,
    Uploads,
    good_token,
    in_header,
    turns,
    with_headers,
)
from tests.tried import Tried

TABLES: Mapping[str, tuple[Sequence[Case], Sequence[str]]] = {
    "not strict JSON": (bodies.NOT_STRICT, bodies.WITH_BODY),
    "not taken": (bodies.NOT_TAKEN, bodies.WITH_BODY),
    "metadata": (datasets.METADATA, datasets.OF_DATASETS),
    "batch": (datasets.BATCHES, ("authorize", "verify")),
    "wish": (datasets.WISHES, ("authorize",)),
    "in parts": (datasets.UPLOADS_IN_PARTS, datasets.IN_PARTS),
    "unknown upload": (datasets.UNKNOWN_UPLOADS, ("resume", "complete")),
    "not a file": (files.NOT_FILES, ("authorize", "verify")),
    "file": (files.FILES, files.DECLARING),
    "path": (files.PATHS, files.OF_PATHS),
    "presign": (reads.PRESIGN, ("presign",)),
    "presign many": (reads.MANY, ("presign paths",)),
    "objects": (reads.OBJECTS, ("objects",)),
}
"""Cases, and the kinds of requests that they are cases of."""

_MAX_TOLD = 256


def tabled() -> Iterator[Any]:
    """Pair each case with the kinds of requests whose turn it is."""
    for table, (cases, kinds) in TABLES.items():
        for number, case in enumerate(cases):
            for kind in turns(kinds, number):
                yield pytest.param(kind, case, id=f"{table}-{kind}-{case.name}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_request_is_granted(target: Target, uploads: Uploads, kind: str) -> None:
    for show in PLACES.values():
        assert target.ask(show(uploads.requests[kind], target.token)).status == 200


def refused(target: Target, good: Request, case: Case) -> None:
    changed = case.change(good)
    assert changed != good
    error = target.refuses(in_header(changed, target.token), case.status, case.code).json["error"]
    if case.detail is not None:
        (detail,) = error["details"]
        (bad,) = {*names_in(changed)} - {*names_in(good), "good.csv"} or names_in(good)
        told = bad if len(bad) <= _MAX_TOLD else f"{bad[:_MAX_TOLD]}…"
        assert (detail["path"], detail["code"]) == (told, case.detail)


def names_in(request: Request) -> Sequence[str]:
    """Give the names of the files that a request is about."""
    body = request.body
    return [body["path"]] if "path" in body else [*(body.get("paths") or body.get("urls") or body.get("filedata"))]


@pytest.mark.parametrize(("kind", "case"), [*tabled()])
def test_a_bad_request_is_refused(target: Target, uploads: Uploads, kind: str, case: Case, tried: Tried) -> None:
    refused(target, uploads.requests[kind], case)
    tried(TRIED, 1)


class TestWhatIsOfOthers:
    @pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: f"{address.url:.60}")
    def test_can_not_be_read(self, target: Target, uploads: Uploads, address: Address, tried: Tried) -> None:
        url = address.at(urlsplit(target.live.origin).netloc)
        alone = Case("presign", reads.address_in_query(url), address.status, address.code)
        among = Case("presign urls", reads.address_among_others(url), 400, "invalid_batch", address.code)
        for case in turns([alone, among], len(address.url)):
            refused(target, uploads.requests[case.name], case)
            tried(TRIED, 1)

    @pytest.mark.parametrize("kind", datasets.IN_PARTS)
    def test_can_not_be_reached_while_it_is_coming(
        self, target: Target, uploads: Uploads, kind: str, tried: Tried
    ) -> None:
        """Neither under its owner's name nor under one's own; and it is unharmed by that."""
        theirs = Request("POST", f"/multipart/{kind}", uploads.theirs)
        target.refuses(in_header(theirs, target.token), 403, "not_owner")
        as_mine = files.metadata(owner="alice")(theirs)
        if kind == "abort":  # of what isn't there nothing needs to be done
            target.grants(as_mine)
        else:
            target.refuses(in_header(as_mine, target.token), 404, "upload_not_found")
        resume = Request("POST", "/multipart/resume", uploads.theirs)
        arrived = target.grants(resume, token=good_token(userid=STRANGER).token()).json["arrived"]
        assert [part["number"] for part in arrived] == [1]
        tried(TRIED, 2)

    def test_is_not_behind_a_cursor_that_was_changed(self, target: Target, uploads: Uploads, tried: Tried) -> None:
        request, cursor = uploads.requests["objects"], uploads.cursor
        target.grants(evolve(request, path=f"{request.path}&after={cursor}"))
        changed = {f"{cursor[:place]}A{cursor[place + 1 :]}" for place in range(len(cursor))}
        for other in changed - {cursor}:
            asked = evolve(request, path=f"{request.path}&after={other}")
            target.refuses(in_header(asked, target.token), 400, "invalid_cursor")
            tried(TRIED, 1)


class TestUrls:
    @pytest.mark.parametrize(("method", "path"), WRONG_METHODS)
    def test_take_only_their_methods(self, target: Target, method: str, path: str, tried: Tried) -> None:
        request = in_header(Request(method, path, b"{}"), target.token)
        overriding = with_headers(request, X_HTTP_Method_Override="POST", X_Method_Override="GET")
        for asked in turns([request, overriding], len(path)):
            answer = target.ask(asked)
            assert answer.status == 405
            assert method == "HEAD" or answer.code == "method_not_allowed"
            tried(TRIED, 1)

    @pytest.mark.parametrize("path", NOWHERE, ids=lambda path: f"{path:.60}")
    def test_have_one_spelling(self, target: Target, path: str, tried: Tried) -> None:
        for method in turns(["GET", "POST"], len(path)):
            target.refuses(in_header(Request(method, path), target.token), 404, "not_found")
            tried(TRIED, 1)
