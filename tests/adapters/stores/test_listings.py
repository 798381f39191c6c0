"""Listings over HTTP, in the language of each store: what is asked, what is left out, and what fails.

That they are whole, page by page, is for the contract suite to say, on stores that run; here one answers as it is told.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest
from attrs import frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.azure_inspector import AzureInspector
from adapters.stores.azure_sas import AccountKey
from adapters.stores.gcs_api import BucketApi
from adapters.stores.gcs_inspector import GcsInspector
from adapters.stores.s3_inspector import S3Inspector
from adapters.stores.sigv4 import Credentials
from application.ports import ListingPage, ObjectLister, PageRequest, Startable
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.files import Md5
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from tests.adapters.stores.google import account
from tests.stores.gcs import token_endpoint
from tests.stores.processes import free_port
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy

PATIENCE = timedelta(seconds=30)
FOLDER = ObjectKey("alice/tides")
MD5 = Md5.of(bytes(range(16)))
FOUND = FoundObject(5, MD5)
ACCOUNT_KEY = AccountKey.parse("account", base64.b64encode(b"a-secret-of-the-store").decode())


@frozen
class Language:
    """How a store is asked, and answers: `names` are those of the parameters for folder, size and token."""

    make: Callable[[str, str], tuple[ObjectLister, Startable]]
    write: Callable[[Sequence[str], str], bytes]
    names: tuple[str, str, str]


def _s3(origin: str, _: str) -> tuple[ObjectLister, Startable]:
    inspector = S3Inspector(BucketAddress(origin, "bucket"), "us-east-1", lambda: Credentials("AKID", "secret"))
    return inspector, inspector


def _azure(origin: str, _: str) -> tuple[ObjectLister, Startable]:
    inspector = AzureInspector(BucketAddress(origin, "container", base_path="/account"), lambda: ACCOUNT_KEY)
    return inspector, inspector


def _gcs(origin: str, token_uri: str) -> tuple[ObjectLister, Startable]:
    api = BucketApi(origin, "bucket", account(token_uri))
    return GcsInspector(api), api


def s3_entry(key: str, etag: str = f'"{MD5.hex}"') -> str:
    return f"<Contents><Key>{escape(key)}</Key><Size>5</Size><ETag>{escape(etag)}</ETag></Contents>"


def s3_page(entries: str, token: str = "", *, truncated: bool | None = None) -> bytes:
    is_truncated = str(bool(token) if truncated is None else truncated).lower()
    more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
    return f"<ListBucketResult>{entries}<IsTruncated>{is_truncated}</IsTruncated>{more}</ListBucketResult>".encode()


def azure_entry(name: str, properties: str = "", *, attributes: str = "", blob_type: str = "BlockBlob") -> str:
    known = f"<Content-Length>5</Content-Length><Content-MD5>{MD5}</Content-MD5><BlobType>{blob_type}</BlobType>"
    return f"<Blob><Name{attributes}>{escape(name)}</Name><Properties>{known}{properties}</Properties></Blob>"


def azure_page(entries: str, token: str = "") -> bytes:
    marker = f"<NextMarker>{escape(token)}</NextMarker>"
    return f"<EnumerationResults><Blobs>{entries}</Blobs>{marker}</EnumerationResults>".encode()


def gcs_page(items: Sequence[Mapping[str, object]], token: str = "") -> bytes:
    return json.dumps({"items": items, **({"nextPageToken": token} if token else {})}).encode()


LANGUAGES = {
    "s3": Language(
        _s3,
        lambda keys, token: s3_page("".join(map(s3_entry, keys)), token),
        ("prefix", "max-keys", "continuation-token"),
    ),
    "azure": Language(
        _azure,
        lambda keys, token: azure_page("".join(map(azure_entry, keys)), token),
        ("prefix", "maxresults", "marker"),
    ),
    "gcs": Language(
        _gcs,
        lambda keys, token: gcs_page([{"name": key, "size": "5", "md5Hash": MD5} for key in keys], token),
        ("prefix", "maxResults", "pageToken"),
    ),
}


@frozen
class FakeStore:
    """A store that gives one answer, and notes what it was asked."""

    language: Language
    proxy: StoreProxy
    token_uri: str
    queries: list[dict[str, str]]

    def answers(self, reply: Reply | bytes | None) -> None:
        """Give this answer from now on; with None none comes."""

        async def instead(asked: Asked) -> Reply:
            self.queries.append({name: values[0] for name, values in parse_qs(asked.query).items()})
            if reply is None:
                await asked.stall()
            return reply if isinstance(reply, Reply) else Reply(200, reply or b"")

        self.proxy.instead = instead

    def page(self, token: str = "", *, origin: str = "", patience: timedelta = PATIENCE) -> ListingPage:
        """Ask for a page of 7 objects."""

        async def ask() -> ListingPage:
            lister, startable = self.language.make(origin or self.proxy.origin, self.token_uri)
            await startable.start()
            try:
                return await lister.list_page(PageRequest(FOLDER, 7, token), datetime.now(UTC), patience)
            finally:
                await startable.stop()

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def token_uri() -> Iterator[str]:
    with token_endpoint() as uri:
        yield uri


@pytest.fixture(scope="module")
def proxy() -> Iterator[StoreProxy]:
    with store_proxy("http://127.0.0.1:1") as proxy:
        yield proxy


@pytest.fixture(params=LANGUAGES)
def store(request: pytest.FixtureRequest, proxy: StoreProxy, token_uri: str) -> FakeStore:
    return FakeStore(LANGUAGES[request.param], proxy, token_uri, [])


@pytest.fixture
def speaking(proxy: StoreProxy, token_uri: str) -> Callable[[str], FakeStore]:
    return lambda name: FakeStore(LANGUAGES[name], proxy, token_uri, [])


def listed(page: ListingPage) -> list[tuple[str, FoundObject]]:
    return [(str(one.key), one.found) for one in page.objects]


def test_a_page_is_asked_for_by_folder_size_and_token(store: FakeStore) -> None:
    store.answers(store.language.write(["alice/tides/a b+c.csv", "alice/tides/é/&.csv"], "next/ü+=&"))
    page = store.page()
    assert listed(page) == [("alice/tides/a b+c.csv", FOUND), ("alice/tides/é/&.csv", FOUND)]
    assert page.next_token == "next/ü+=&"
    store.answers(store.language.write(["alice/tides/z.csv"], ""))
    last = store.page(page.next_token)
    assert (listed(last), last.next_token) == ([("alice/tides/z.csv", FOUND)], None)
    folder, size, token = store.language.names
    assert [(query[folder], query[size], query.get(token)) for query in store.queries] == [
        ("alice/tides/", "7", None),
        ("alice/tides/", "7", "next/ü+=&"),
    ]


def test_what_is_no_object_of_ours_is_left_out(store: FakeStore) -> None:
    others = [
        "alice/tides/",
        "alice/tides/sub/",
        "alice/tides2/a.csv",
        "bob/tides/a.csv",
        "alice/tides",
        "alice/tides//a",
    ]
    others += ["alice/tides/../b.csv", "alice/tides/a\\b", "alice/tides/e\u0301.csv", f"alice/tides/{'x' * 256}"]
    store.answers(store.language.write([*sorted(others), "alice/tides/z.csv"], "next"))
    page = store.page()
    assert (listed(page), page.next_token) == ([("alice/tides/z.csv", FOUND)], "next")


def test_a_page_may_be_empty_though_more_follow(store: FakeStore) -> None:
    store.answers(store.language.write([], "next"))
    assert store.page() == ListingPage([], "next")


def assert_unavailable(store: FakeStore, token: str = "", **options: Any) -> None:
    with pytest.raises(Unavailable) as failure:
        store.page(token, **options)
    assert failure.value.code is ErrorCode.STORE_UNAVAILABLE


@pytest.mark.parametrize("status", [204, 206, 302, 400, 401, 403, 404, 412, 429, 500, 503])
def test_a_store_that_doesn_t_list_is_unavailable(store: FakeStore, status: int) -> None:
    store.answers(Reply(status))
    assert_unavailable(store)


@pytest.mark.parametrize("token", ["", "token"])
@pytest.mark.parametrize(
    "body", [b"", b"It works!", b"<html><body>Log in</body></html>", b"[]", b'{"items": [1]}'], ids=range(5)
)
def test_an_answer_that_is_no_listing_is_a_failure(store: FakeStore, body: bytes, token: str) -> None:
    store.answers(body)
    assert_unavailable(store, token)


def test_a_token_that_the_store_refuses_is_the_client_s_fault(store: FakeStore) -> None:
    store.answers(Reply(400))
    with pytest.raises(InvalidInput) as refusal:
        store.page("forged")
    assert refusal.value.code is ErrorCode.INVALID_CURSOR


def test_a_listing_that_goes_round_in_circles_is_a_failure(store: FakeStore) -> None:
    store.answers(store.language.write(["alice/tides/a.csv"], "again"))
    assert store.page().next_token == "again"
    assert_unavailable(store, "again")


def test_a_store_that_hangs_is_not_waited_for(store: FakeStore) -> None:
    store.answers(None)
    assert_unavailable(store, patience=timedelta(seconds=0.2))


def test_a_store_that_isn_t_there_is_unavailable(store: FakeStore) -> None:
    assert_unavailable(store, origin=f"http://127.0.0.1:{free_port()}")


def test_a_listing_of_s3_that_is_cut_off_can_t_be_gone_on_with(speaking: Callable[[str], FakeStore]) -> None:
    store = speaking("s3")
    store.answers(s3_page(s3_entry("alice/tides/a.csv"), truncated=True))
    assert_unavailable(store)


def test_an_etag_that_is_no_md5_isn_t_told_as_one(speaking: Callable[[str], FakeStore]) -> None:
    store = speaking("s3")
    store.answers(s3_page(s3_entry("alice/tides/a.csv", f'"{MD5.hex}-2"')))
    (one,) = store.page().objects
    assert (one.found.length, one.found.md5) == (5, None)


def test_names_that_xml_can_t_hold_and_directories_are_no_blobs(speaking: Callable[[str], FakeStore]) -> None:
    store = speaking("azure")
    entries = azure_entry("alice/tides/%EF%BF%BE.csv", attributes=' Encoded="true"')
    entries += azure_entry("alice/tides/sub", "<ResourceType>directory</ResourceType>")
    entries += azure_entry("alice/tides/%EF%BF%BE2.csv") + azure_entry("alice/tides/page", blob_type="PageBlob")
    store.answers(azure_page(entries))
    assert listed(store.page()) == [
        ("alice/tides/%EF%BF%BE2.csv", FOUND),
        ("alice/tides/page", FoundObject(5, None)),
    ]


def test_a_composite_object_has_no_md5(speaking: Callable[[str], FakeStore]) -> None:
    store = speaking("gcs")
    store.answers(gcs_page([{"name": "alice/tides/a.csv", "size": "5"}]))
    assert listed(store.page()) == [("alice/tides/a.csv", FoundObject(5, None))]
