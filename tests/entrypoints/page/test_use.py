"""The page without a mouse, without eyes, and with more files than fit on a screen."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.entrypoints.page.chromium import Chromium, Page
from tests.entrypoints.page.npm import package_file
from tests.entrypoints.page.site import Site, embedded_site, refusal
from tests.entrypoints.page.upload_page import UploadPage, make_dataset, only_about, write

pytestmark = pytest.mark.debian

MANY = 450
_TABS = 30
_ASKS = """(() => {
  const leaving = new Event("beforeunload", { cancelable: true });
  dispatchEvent(leaving);
  return leaving.defaultPrevented;
})()"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with embedded_site() as site:
        yield site


def tab_to(page: Page, selector: str, *, back: bool = False) -> None:
    """Press the tab key until an element has the focus, and it is to be seen that it has."""
    for _ in range(_TABS):
        if page.evaluate(f"document.activeElement.matches({json.dumps(selector)})"):
            style = "getComputedStyle(document.activeElement.closest('.views label') ?? document.activeElement)"
            assert page.evaluate(f"{style}.outlineStyle") == "solid"
            return
        page.press("Tab", code=9, shift=back)
    raise AssertionError(f"the focus never came to {selector}")


def enter(page: Page) -> None:
    page.press("Enter", code=13, text="\r")


def test_a_folder_is_uploaded_by_keys_alone(site: Site, browser: Chromium, tmp_path: Path) -> None:
    """From the token to the retry of a file that was refused."""
    folder = tmp_path / "keys"
    files = make_dataset(folder, 6)
    refused = refusal(400, "BadDigest", "The bytes are others")
    with UploadPage.open(browser, site.page) as opened:
        page = opened.page
        page.call("Page.setInterceptFileChooserDialog", enabled=True)
        tab_to(page, "#token")
        page.type(site.client.token())
        enter(page)
        page.wait("document.activeElement.id === 'chooseFolder'")
        enter(page)
        opening = page.wait_for_event("Page.fileChooserOpened")
        page.call("DOM.setFileInputFiles", files=[str(folder)], backendNodeId=opening["backendNodeId"])
        assert opened.chosen().startswith("6 files, ")
        page.wait("document.activeElement.id === 'start'")
        tab_to(page, "#dataset", back=True)
        page.type("by keys")
        tab_to(page, "input[name=findability]")
        page.press("ArrowDown", code=40)
        assert page.evaluate("document.querySelector('#uploadForm').elements.findability.value") == "published"
        tab_to(page, "#start")
        with site.holding("000 plain.csv", refused):
            enter(page)
            tab_to(page, "#cancel")
        page.wait("document.activeElement.id === 'retryAll'")
        assert opened.outcome() == "1 file couldn't be uploaded. The other 5 have arrived."
        assert page.text("#destination") == "To the dataset by keys, for everybody to read."

        site.proxy.reset()
        tab_to(page, "input[name=view]")
        page.press("ArrowRight", code=39)
        page.press("ArrowRight", code=39)
        assert list(opened.statuses()) == ["000 plain.csv"]
        tab_to(page, "#rows button")
        enter(page)
        assert opened.outcome() == "All 6 files are verified: the store holds exactly these bytes."
        tab_to(page, "#another", back=True)
        enter(page)
        page.wait("document.activeElement.id === 'chooseFolder'")
        assert only_about(page.faults(), "000%20plain.csv")
    for path, file in files.items():
        assert site.content_of("by keys", path) == file.read_bytes()
        assert site.client.http.request("GET", site.url_of("by keys", path)).status == 200  # for everybody


class Examiner:
    """Looks at a page by the rules of axe-core, in light and dark."""

    def __init__(self) -> None:
        self._axe = package_file("axe-core/axe.min.js").read_text()

    def complaints(self, page: Page) -> list[object]:
        """What breaks a rule, or can't be told."""
        found = []
        page.call("Runtime.evaluate", expression=self._axe)
        for scheme in ("light", "dark"):
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            found += page.evaluate("axe.run().then(({violations, incomplete}) => [...violations, ...incomplete])")
        return found


def test_it_keeps_the_rules_of_accessibility_in_every_state(site: Site, browser: Chromium, tmp_path: Path) -> None:
    folder = tmp_path / "examined"
    make_dataset(folder, 6)
    write(folder / "large.bin", bytes(3_000_000))
    examiner = Examiner()
    with UploadPage.open(browser, site.page) as opened:
        page = opened.page
        opened.sign_in("nonsense")
        assert examiner.complaints(page) == []
        page.evaluate(f"location.hash = 'token={site.client.token()}'")
        page.wait("!document.querySelector('#choice').hidden")
        assert examiner.complaints(page) == []
        opened.drop(folder)
        assert examiner.complaints(page) == []
        with site.holding("large.bin", refusal(400, "BadDigest", "The bytes are others")):
            opened.start()
            page.wait("document.querySelector('#rows progress')")
            assert examiner.complaints(page) == []
        assert opened.outcome() == page.text("#announcements")
        assert examiner.complaints(page) == []
        site.proxy.reset()
        page.click("#retryAll")
        assert opened.outcome() == page.text("#announcements")
        assert examiner.complaints(page) == []


def test_what_is_dropped_at_the_wrong_time_is_answered(site: Site, browser: Chromium, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make_dataset(one, 3)
    make_dataset(other, 4)
    with UploadPage.open(browser, site.page) as opened:
        opened.page.drop("#tokenForm", [one])
        opened.page.wait("document.querySelector('#tokenProblem').textContent !== ''")
        assert opened.page.text("#tokenProblem") == "A token is needed first."
    with UploadPage.open(browser, site.page_for_alice) as opened, site.holding("plain.csv"):
        opened.drop(one)
        opened.start()
        opened.page.drop("#progress", [other])
        assert opened.outcome() == "This upload is still under way. Wait until it has ended, or cancel it."
    site.proxy.reset()
    with UploadPage.open(browser, site.page_for_alice) as opened:
        opened.upload(one)
        opened.page.drop("#progress", [other])
        assert opened.chosen().startswith("4 files, ")
        assert opened.page.evaluate("document.querySelector('#dataset').value") == "other"


def test_of_many_files_a_page_at_a_time_is_in_the_document(site: Site, browser: Chromium, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    for number in range(MANY):
        write(folder / f"{number}.csv", f"{number}\n".encode())
    with UploadPage.open(browser, site.page_for_alice) as opened:
        assert opened.upload(folder) == "All 450 files are verified: the store holds exactly these bytes."
        page = opened.page
        assert list(opened.statuses()) == [f"{number}.csv" for number in range(200)]
        assert page.text("#extent") == "1 to 200 of 450"
        assert page.evaluate("document.querySelector('#previous').disabled")
        for _ in range(2):
            page.click("#next")
        assert list(opened.statuses()) == [f"{number}.csv" for number in range(400, 450)]
        assert page.evaluate("document.querySelector('#next').disabled")
        opened.show("failed")
        assert (opened.statuses(), page.text("#nothing")) == ({}, "There are none.")
        assert page.faults() == []


def test_who_would_leave_in_the_middle_is_asked(site: Site, browser: Chromium, tmp_path: Path) -> None:
    write(tmp_path / "leaving" / "large.bin", bytes(1_000))
    with UploadPage.open(browser, site.page_for_alice) as opened:
        page = opened.page
        assert not page.evaluate(_ASKS)
        opened.drop(tmp_path / "leaving")
        with site.holding("large.bin"):
            opened.start()
            assert page.evaluate(_ASKS)
        opened.outcome()
        assert not page.evaluate(_ASKS)
