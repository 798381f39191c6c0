"""Looking into Cloud Storage: what it costs, counted in requests, and what comes of a store that misbehaves."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote

import aiohttp
import pytest
from attrs import define, evolve, field
from yarl import URL

from adapters.stores import gcs_inspector
from adapters.stores.addresses import BucketAddress
from adapters.stores.contract import CONTENT, OTHER_CONTENT, declare, make_folder, make_upload
from adapters.stores.gcs import GcsSigning
from adapters.stores.gcs_api import CONCURRENCY, BucketApi
from adapters.stores.gcs_inspector import LISTING_PAYS, GcsInspector
from application.ports import Inspection
from domain.errors import ErrorCode, Unavailable
from domain.inspection import FoundObject, Status, compare
from domain.uploads import PutRequest, Upload, UploadMethod, UploadTerms
from tests.adapters.stores.google import account
from tests.stores.gcs import RunningGcs
from tests.stores.processes import free_port
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy

PATIENCE = timedelta(seconds=30)
PAGE = 50
"""How many objects a page of a listing has in these tests."""

FOLDERS, FOLDER_SIZE = 4, 60


def make_uploads(count: int, folder: str | None = None, content: bytes = CONTENT) -> list[Upload]:
    folder = folder or make_folder()
    return [make_upload(f"file-{number:04}.csv", content, folder=folder) for number in range(count)]


def put(store: RunningGcs, uploads: Sequence[Upload], content: bytes = CONTENT) -> None:
    """Store the same bytes at all keys."""
    signing = GcsSigning(BucketAddress(store.origin, store.bucket), account(), lambda: None)
    described = [evolve(upload, file=declare(upload.file.path, content)) for upload in uploads]
    signed = signing.sign_uploads(described, UploadTerms(UploadMethod.PUT, timedelta(hours=1)), datetime.now(UTC))

    async def put_all() -> None:
        async with aiohttp.ClientSession() as http:
            for one in signed:
                assert isinstance(one.request, PutRequest)
                url = URL(one.request.url, encoded=True)
                async with http.put(url, headers=one.request.headers, data=content) as answer:
                    assert answer.status == 200

    asyncio.run(put_all())


@define
class Watched:
    """A bucket behind a proxy, which notes what is asked of it: listings as `list`, objects by key."""

    proxy: StoreProxy
    api: BucketApi
    asked: list[str] = field(factory=list)
    queries: list[dict[str, str]] = field(factory=list)
    instead: Callable[[str, Asked], Awaitable[Reply | None]] | None = None

    async def _answer(self, asked: Asked) -> Reply | None:
        _, _, key = asked.path.partition("/o/")
        what = unquote(key) or "list"
        self.asked.append(what)
        self.queries.append({name: values[0] for name, values in parse_qs(asked.query).items()})
        return await self.instead(what, asked) if self.instead else None

    @property
    def listings(self) -> int:
        return self.asked.count("list")

    def answer(self, reply: Reply, *, to: str = "") -> None:
        """Give one reply to everything, or to listings, or to one key."""

        async def instead(what: str, _asked: Asked) -> Reply | None:
            return reply if to in ("", what) else None

        self.instead = instead

    def look(self, *batches: Sequence[Upload], patience: timedelta = PATIENCE) -> list[Inspection]:
        """Inspect several batches at once."""

        async def inspect() -> list[Inspection]:
            await self.api.start()
            try:
                inspector, now = GcsInspector(self.api), datetime.now(UTC)
                return await asyncio.gather(*(inspector.inspect(batch, now, patience) for batch in batches))
            finally:
                await self.api.stop()

        return asyncio.run(inspect())

    def statuses(self, uploads: Sequence[Upload]) -> list[Status]:
        """Compare what is found; everything must be told about."""
        (inspection,) = self.look(uploads)
        assert inspection.failure is None
        return [compare(upload.file, inspection.found[upload.key]) for upload in uploads]


@pytest.fixture(scope="module")
def running_proxy(fake_gcs: RunningGcs) -> Iterator[StoreProxy]:
    with store_proxy(fake_gcs.origin) as proxy:
        yield proxy


@pytest.fixture
def bucket(fake_gcs: RunningGcs, running_proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(gcs_inspector, "PAGE_SIZE", PAGE)
    running_proxy.reset()
    api = BucketApi(running_proxy.origin, fake_gcs.bucket, account(fake_gcs.token_uri))
    watched = Watched(running_proxy, api)
    running_proxy.instead = watched._answer
    return watched


@pytest.fixture(scope="module")
def stored(fake_gcs: RunningGcs) -> Sequence[Upload]:
    """Several folders in one folder, each with more files than a page of a listing has entries."""
    parent = make_folder()
    uploads = [one for number in range(FOLDERS) for one in make_uploads(FOLDER_SIZE, f"{parent}/{number}")]
    put(fake_gcs, uploads)
    return uploads


# What it costs


def test_few_files_are_asked_for_one_by_one(bucket: Watched, stored: Sequence[Upload]) -> None:
    wanted = stored[:LISTING_PAYS]
    assert set(bucket.statuses(wanted)) == {Status.STORED}
    assert sorted(bucket.asked) == sorted(upload.key for upload in wanted)


def test_a_page_full_costs_one_request(bucket: Watched, stored: Sequence[Upload]) -> None:
    assert set(bucket.statuses(stored[:PAGE])) == {Status.STORED}
    assert bucket.asked == ["list"]


def test_many_files_cost_a_page_each_page_full(bucket: Watched, stored: Sequence[Upload]) -> None:
    assert set(bucket.statuses(stored)) == {Status.STORED}
    assert set(bucket.asked) == {"list"}
    assert bucket.listings == 1 + -(-(len(stored) - PAGE) // PAGE)


def test_ten_thousand_new_files_cost_one_request(bucket: Watched) -> None:
    assert set(bucket.statuses(make_uploads(10_000))) == {Status.MISSING}
    assert bucket.asked == ["list"]


def test_files_that_are_missing_cost_nothing_more(bucket: Watched, stored: Sequence[Upload]) -> None:
    missing = [evolve(upload, key=type(upload.key)(f"{upload.key}.bak")) for upload in stored[:PAGE]]
    assert bucket.statuses([*stored[:PAGE], *missing]) == [Status.STORED] * PAGE + [Status.MISSING] * PAGE
    assert set(bucket.asked) == {"list"}
    assert bucket.listings <= 2


def test_only_the_range_of_what_is_wanted_is_listed(bucket: Watched, stored: Sequence[Upload]) -> None:
    wanted = stored[FOLDER_SIZE + 3 : FOLDER_SIZE + 33]
    assert set(bucket.statuses(wanted)) == {Status.STORED}
    (query,) = bucket.queries
    assert query["startOffset"] == wanted[0].key
    assert query["endOffset"] == f"{wanted[-1].key}!"
    assert query["prefix"] == f"{wanted[0].key.rpartition('/')[0]}/"
    assert query["maxResults"] == str(PAGE)
    assert query["fields"] == "items(name,size,md5Hash),nextPageToken"


def test_a_folder_with_mostly_other_things_is_not_read_to_its_end(bucket: Watched, stored: Sequence[Upload]) -> None:
    wanted = stored[::10]
    assert len(wanted) > LISTING_PAYS
    assert set(bucket.statuses(wanted)) == {Status.STORED}
    assert bucket.listings == 1
    assert len(bucket.asked) <= len(wanted)


def test_no_more_than_so_many_requests_are_under_way(bucket: Watched, stored: Sequence[Upload]) -> None:
    async def slow_and_never_listing(what: str, _asked: Asked) -> Reply | None:
        await asyncio.sleep(0.02)
        return Reply(403) if what == "list" else None

    bucket.instead = slow_and_never_listing
    batches = [stored[:60], stored[60:120]]
    for batch, inspection in zip(batches, bucket.look(*batches), strict=True):
        assert inspection.failure is None
        assert inspection.found.keys() == {upload.key for upload in batch}
    assert 1 < bucket.proxy.most_at_once <= CONCURRENCY


def test_nothing_is_asked_ahead(bucket: Watched) -> None:
    GcsInspector(bucket.api).prepare("a-folder/", 1_000, datetime.now(UTC))
    assert bucket.asked == []


# What is believed


def page(*items: object, token: str = "") -> Reply:
    return Reply(200, json.dumps({"items": items, **({"nextPageToken": token} if token else {})}).encode())


def entry(upload: Upload, **changes: object) -> dict[str, object]:
    return {"name": upload.key, "size": str(upload.file.length), "md5Hash": upload.file.md5, **changes}


def test_other_bytes_and_other_lengths_are_told_apart(bucket: Watched, fake_gcs: RunningGcs) -> None:
    uploads = make_uploads(30)
    put(fake_gcs, uploads[:10])
    put(fake_gcs, uploads[10:15], OTHER_CONTENT)
    put(fake_gcs, uploads[15:20], CONTENT + b"!")
    expected = [Status.STORED] * 10 + [Status.DIFFERENT] * 10 + [Status.MISSING] * 10
    assert bucket.statuses(uploads) == expected
    assert bucket.statuses(uploads[8:22]) == expected[8:22]


@pytest.mark.parametrize("md5", [None, "", "XrY7u+Ae7tCTyyK7j1rNww", 5, {}])
def test_a_composite_object_has_no_digest(bucket: Watched, md5: object) -> None:
    upload = make_upload()
    bucket.answer(Reply(200, json.dumps(entry(upload, md5Hash=md5)).encode()))
    (inspection,) = bucket.look([upload])
    assert inspection.found == {upload.key: FoundObject(len(CONTENT))}
    assert bucket.statuses([upload]) == [Status.UNKNOWN]


def test_a_page_that_is_not_full_settles_no_more_than_it_holds(bucket: Watched, stored: Sequence[Upload]) -> None:
    """Any page may be the shorter one ("Objects: list", maxResults)."""
    first = True

    async def once(what: str, _asked: Asked) -> Reply | None:
        nonlocal first
        short, first = first and what == "list", False
        return page(*map(entry, stored[:20]), token="next") if short else None

    bucket.instead = once
    assert set(bucket.statuses(stored[:PAGE])) == {Status.STORED}
    assert bucket.asked == ["list", "list"]
    assert bucket.queries[1]["startOffset"] == stored[20].key


def test_a_page_without_objects_that_is_not_the_last_settles_nothing(bucket: Watched, stored: Sequence[Upload]) -> None:
    bucket.answer(page(token="next"), to="list")
    assert set(bucket.statuses(stored[:PAGE])) == {Status.STORED}
    assert bucket.listings == 1
    assert len(bucket.asked) == 1 + PAGE


def test_a_listing_that_goes_round_in_circles_is_left(bucket: Watched, stored: Sequence[Upload]) -> None:
    bucket.answer(page(*map(entry, stored[:20]), token="next"), to="list")
    assert set(bucket.statuses(stored[:PAGE])) == {Status.STORED}
    assert bucket.listings == 2
    assert len(bucket.asked) == 2 + PAGE - 20


# What the store won't tell


def test_a_bucket_that_may_not_be_listed_is_asked_key_by_key(bucket: Watched, stored: Sequence[Upload]) -> None:
    bucket.answer(Reply(403), to="list")
    wanted = stored[: LISTING_PAYS + 1]
    assert set(bucket.statuses(wanted)) == {Status.STORED}
    assert len(bucket.asked) == 1 + len(wanted)


def test_what_may_not_be_seen_is_left_out_which_is_no_failure(bucket: Watched, stored: Sequence[Upload]) -> None:
    wanted = stored[:10]
    bucket.answer(Reply(403), to=wanted[3].key)
    (inspection,) = bucket.look(wanted)
    assert inspection.failure is None
    assert inspection.found.keys() == {upload.key for upload in wanted} - {wanted[3].key}


# What fails

STATUSES = {str(status): Reply(status) for status in (204, 206, 302, 400, 401, 408, 412, 429, 500, 502, 503)}
GARBAGE = {
    "nothing": Reply(200),
    "half an answer": Reply(200, b"{}", {"Content-Length": "1000"}),
    "no JSON": Reply(200, b"<html>Log in</html>"),
    "half a document": Reply(200, b'{"items": [{"name": "a", "si'),
    "a list": Reply(200, b"[]"),
    "another encoding": Reply(200, '{"name": "ä"}'.encode("latin-1")),
}
NO_PAGES: dict[str, Reply] = {
    "missing": Reply(404),
    "items that are none": Reply(200, b'{"items": {"name": "a"}}'),
    "an item that is none": page("a"),
    "an item without a name": page({"size": "1"}),
    "out of order": page({"name": "b", "size": "1"}, {"name": "a", "size": "1"}),
}
NO_SIZES: dict[str, Any] = {
    "none": None,
    "a number": 5,
    "no number": "many",
    "negative": "-1",
    "another script": "\u0665",
    "a square": "\u00b2",
    "endless": "9" * 5_000,
}


def replies(*tables: dict[str, Reply]) -> list[Any]:
    return [pytest.param(reply, id=name) for table in tables for name, reply in table.items()]


def assert_failed(inspection: Inspection, *, code: ErrorCode = ErrorCode.STORE_UNAVAILABLE) -> None:
    assert isinstance(inspection.failure, Unavailable)
    assert inspection.failure.code is code
    assert inspection.found == {}


@pytest.mark.parametrize("reply", replies(STATUSES, GARBAGE, NO_PAGES))
def test_a_listing_that_is_none_is_a_failure(bucket: Watched, reply: Reply) -> None:
    bucket.answer(reply)
    assert_failed(*bucket.look(make_uploads(LISTING_PAYS + 1)))
    assert bucket.asked == ["list"]


@pytest.mark.parametrize("reply", replies(STATUSES, GARBAGE))
def test_metadata_that_is_none_is_a_failure(bucket: Watched, reply: Reply) -> None:
    bucket.answer(reply)
    assert_failed(*bucket.look(make_uploads(2)))


@pytest.mark.parametrize("size", NO_SIZES.values(), ids=NO_SIZES)
@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_an_object_without_a_length_is_a_failure(bucket: Watched, size: object, count: int) -> None:
    uploads = make_uploads(count)
    bad = entry(uploads[0], size=size)
    bucket.answer(Reply(200, json.dumps(bad).encode()) if count == 1 else page(bad))
    assert_failed(*bucket.look(uploads))


def test_redirects_are_not_followed(bucket: Watched, stored: Sequence[Upload], fake_gcs: RunningGcs) -> None:
    async def redirect(_what: str, asked: Asked) -> Reply:
        return Reply(307, headers={"Location": f"{fake_gcs.origin}{asked.path}?{asked.query}"})

    bucket.instead = redirect
    for wanted in (stored[:1], stored[:PAGE]):
        assert_failed(*bucket.look(wanted))


@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_a_store_that_is_not_there_is_a_failure(bucket: Watched, count: int) -> None:
    bucket.api.origin = f"http://127.0.0.1:{free_port()}"
    assert_failed(*bucket.look(make_uploads(count)))


def test_what_was_learnt_before_a_failure_is_given(bucket: Watched, stored: Sequence[Upload]) -> None:
    async def fail_in_the_middle(_what: str, _asked: Asked) -> Reply | None:
        return Reply(503) if bucket.listings > 1 else None

    bucket.instead = fail_in_the_middle
    (inspection,) = bucket.look(stored)
    assert inspection.failure is not None
    assert inspection.found.keys() == {upload.key for upload in stored[:PAGE]}
    told = [upload for upload in stored if upload.key in inspection.found]
    assert {compare(upload.file, inspection.found[upload.key]) for upload in told} == {Status.STORED}


@pytest.mark.parametrize("count", [10, FOLDERS * FOLDER_SIZE])
def test_a_slow_store_is_not_waited_for(bucket: Watched, stored: Sequence[Upload], count: int) -> None:
    slow = stored[3].key

    async def stall(what: str, asked: Asked) -> Reply | None:
        if what == slow or bucket.listings > 1:
            await asked.stall()
        return None

    bucket.instead = stall
    began = time.monotonic()
    (inspection,) = bucket.look(stored[:count], patience=timedelta(seconds=1))
    assert time.monotonic() - began < 11
    assert inspection.failure is not None
    assert inspection.failure.code is ErrorCode.STORE_UNAVAILABLE
    assert len(inspection.found) == min(count - 1, PAGE)


def test_one_that_was_not_started_or_was_stopped_fails_like_any_other(bucket: Watched) -> None:
    uploads = make_uploads(1)
    for _ in range(2):
        assert_failed(
            asyncio.run(GcsInspector(bucket.api).inspect(uploads, datetime.now(UTC), PATIENCE)),
            code=ErrorCode.CREDENTIALS_UNAVAILABLE if bucket.api._token is None else ErrorCode.STORE_UNAVAILABLE,
        )
        assert bucket.statuses(uploads) == [Status.MISSING]


@pytest.mark.parametrize("count", [1, LISTING_PAYS + 1])
def test_without_a_token_nothing_is_asked(bucket: Watched, count: int) -> None:
    bucket.api.account = account(f"http://127.0.0.1:{free_port()}/token")
    assert_failed(*bucket.look(make_uploads(count)), code=ErrorCode.CREDENTIALS_UNAVAILABLE)
    assert bucket.asked == []
