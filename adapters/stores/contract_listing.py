"""The part of the conformance suite on listings: all that is under a folder, page by page, and nothing else."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import pytest

from adapters.stores.contract_client import AWKWARD_PATHS, CONTENT, OTHER_CONTENT, make_folder, make_upload, utc_now
from adapters.stores.contract_harness import ContractPart, Harness
from adapters.stores.contract_inspection import NEIGHBOURS, PATIENCE
from application.ports import ListedObject, ListingPage, PageRequest
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.inspection import Status, compare
from domain.keys import ObjectKey
from domain.uploads import Upload, UploadMethod

_MOST_PAGES = 100
_FOREIGN_TOKENS = ["0", "garbage", "x" * 2_000, "../../etc/passwd", "Größe 🚀", "%00", "e30", "<a>&amp;", "2!8!MDAw"]

Page = Callable[..., ListingPage]


class ListingContract(ContractPart):
    """Who goes on to the last page has been told of everything in the folder, once; and of nothing beside it."""

    @pytest.fixture
    def page(self, harness: Harness, runner: asyncio.Runner) -> Page:
        """Ask for one page."""
        lister = harness.store.lister
        if lister is None:
            pytest.skip("this store has no listings")

        def page(folder: str, token: str = "", *, limit: int = 1_000, patience: timedelta = PATIENCE) -> ListingPage:
            request = PageRequest(ObjectKey(folder), limit, token)
            found = runner.run(lister.list_page(request, utc_now(), patience))
            assert len(found.objects) <= limit
            assert all(isinstance(listed.key, ObjectKey) for listed in found.objects)
            return found

        return page

    def test_an_empty_folder_has_one_page(self, page: Page) -> None:
        assert page(make_folder()) == ListingPage([], None)

    @pytest.mark.parametrize("content", [CONTENT, b""], ids=["some bytes", "no bytes"])
    def test_what_was_sent_is_listed(self, harness: Harness, method: UploadMethod, page: Page, content: bytes) -> None:
        folder = make_folder()
        upload = make_upload("data/file.csv", content, folder=folder)
        self._put(harness, upload, content, method)
        (listed,) = page(folder).objects
        assert listed.key == upload.key
        assert compare(upload.file, listed.found) is Status.STORED
        assert listed.found.md5 == upload.file.md5
        assert listed.found.sha256 in (None, upload.file.sha256)

    def test_what_is_there_now_is_listed(self, harness: Harness, page: Page) -> None:
        folder = make_folder()
        for content in (CONTENT, OTHER_CONTENT + b"!"):
            upload = make_upload(content=content, folder=folder)
            self._put(harness, upload, content)
            assert [compare(upload.file, one.found) for one in page(folder).objects] == [Status.STORED]

    @pytest.mark.parametrize("limit", [1, 3, 1_000])
    def test_every_page_goes_on_where_the_last_one_ended(self, harness: Harness, page: Page, limit: int) -> None:
        folder = make_folder()
        paths = [*AWKWARD_PATHS, "deep/a", "deep/er/a", "deep/er/b", "deep-er/a", "deep.csv", "z/y/x/w.csv"]
        uploads = [self._stored(harness, path, folder) for path in paths]
        assert _keys(_all_pages(page, folder, limit)) == Counter(upload.key for upload in uploads)

    @pytest.mark.parametrize("pair", [pair for two in NEIGHBOURS for pair in (two, two[::-1])], ids=" beside ".join)
    def test_a_neighbour_is_not_listed(self, harness: Harness, page: Page, pair: tuple[str, str]) -> None:
        parent = make_folder()
        folder, neighbour = (f"{parent}/{name}" for name in pair)
        uploads = [self._stored(harness, "x.csv", one) for one in (folder, neighbour)]
        wanted = Counter(upload.key for upload in uploads if upload.key.startswith(f"{folder}/"))
        assert _keys(_all_pages(page, folder, 1)) == _keys(page(folder).objects) == wanted

    def test_an_object_in_the_place_of_the_folder_is_not_listed(self, harness: Harness, page: Page) -> None:
        upload = self._stored(harness, "a")
        assert page(upload.key).objects == []

    def test_what_comes_meanwhile_hides_nothing_and_doubles_nothing(self, harness: Harness, page: Page) -> None:
        folder = make_folder()
        there = [self._stored(harness, f"{name}.csv", folder) for name in ("b", "d/d", "f", "h/h", "k", "m/m")]
        listed: list[ListedObject] = []
        token: str | None = ""
        news: list[Upload] = []
        for _ in range(_MOST_PAGES):
            found = page(folder, token, limit=2)
            listed += found.objects
            token = found.next_token
            if token is None:
                break
            if len(news) < 15:
                new = [f"{name}{len(news)}.csv" for name in ("a", "d/c", "n")]
                news += [self._stored(harness, path, folder) for path in new]
        assert token is None, "there is no last page"
        keys = _keys(listed)
        assert set(keys.values()) == {1}
        assert {upload.key for upload in there} <= keys.keys()
        assert keys.keys() <= {upload.key for upload in (*there, *news)}

    @pytest.mark.parametrize("token", _FOREIGN_TOKENS)
    def test_a_token_that_is_none_is_refused_or_leads_nowhere_else(
        self, harness: Harness, page: Page, token: str
    ) -> None:
        folder = make_folder()
        upload = self._stored(harness, "a.csv", folder)
        assert _keys(_refusable(page, folder, token)) <= Counter([upload.key])

    def test_a_token_of_another_folder_is_refused_or_leads_nowhere_else(self, harness: Harness, page: Page) -> None:
        parent = make_folder()
        one, other = f"{parent}/one", f"{parent}/two"
        uploads = [self._stored(harness, f"{name}.csv", folder) for folder in (one, other) for name in "abc"]
        token = page(one, limit=1).next_token
        assert token
        assert _keys(_refusable(page, other, token)) <= Counter(upload.key for upload in uploads[3:])

    def test_impatience_is_an_error_that_says_so(self, harness: Harness, page: Page) -> None:
        folder = make_folder()
        upload = self._stored(harness, "a.csv", folder)
        with suppress(Unavailable):
            assert _keys(page(folder, patience=timedelta(0)).objects) == Counter([upload.key])


def _all_pages(page: Page, folder: str, limit: int) -> Sequence[ListedObject]:
    listed: list[ListedObject] = []
    token: str | None = ""
    for _ in range(_MOST_PAGES):
        found = page(folder, token, limit=limit)
        listed += found.objects
        token = found.next_token
        if token is None:
            return listed
        assert token, "a page that isn't the last has no token"
    pytest.fail("there is no last page")


def _refusable(page: Page, folder: str, token: str) -> Sequence[ListedObject]:
    refusal: InvalidInput | None = None
    try:
        return page(folder, token).objects
    except InvalidInput as error:
        refusal = error
    assert refusal.code is ErrorCode.INVALID_CURSOR
    return []


def _keys(listed: Sequence[ListedObject]) -> Counter[ObjectKey]:
    return Counter(one.key for one in listed)
