"""What the page may not do, and what it keeps: its policy in a real browser, and the token."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entrypoints.http.app import create_app
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests import strategies as bits
from tests.entrypoints.http.live_service import MEMORY
from tests.entrypoints.page.chromium import Chromium
from tests.entrypoints.page.site import Site, embedded_site
from tests.entrypoints.page.upload_page import UploadPage, make_dataset, only_about, write
from tests.live import serving, wait_until
from tests.tokens import make_token

pytestmark = pytest.mark.debian

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with embedded_site() as site:
        yield site


class TestPolicy:
    # As a script would that someone had smuggled in.
    @pytest.mark.parametrize(
        ("attempt", "directive"),
        [
            ("fetch('http://127.0.0.1:9/?' + 1)", "connect-src"),
            ("fetch(STORE.replace('bitstore-tests', 'another-bucket'))", "connect-src"),
            ("navigator.sendBeacon('http://127.0.0.1:9/') || Promise.reject(1)", "connect-src"),
            ("new WebSocket('ws://127.0.0.1:9/')", "connect-src"),
            (
                "new Promise((yes, no) => { const i = new Image(); i.onload = yes; i.onerror = no; i.src = OTHER })",
                "img-src",
            ),
            ("document.body.innerHTML = '<b>x</b>'", "require-trusted-types-for"),
            ("setTimeout('1')", "require-trusted-types-for"),
            ("new Worker('data:text/javascript,1')", "require-trusted-types-for"),
            ("trustedTypes.createPolicy('another', {})", "trusted-types"),
            ("trustedTypes.createPolicy('hashing-worker', {})", "trusted-types"),
            ("WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))", "script-src"),
            ("ATTACH('script', { src: OTHER })", "require-trusted-types-for"),
            ("import(OTHER)", "script-src"),
            ("ATTACH('link', { rel: 'stylesheet', href: OTHER })", "style-src"),
            ("ATTACH('iframe', { src: OTHER })", "frame-src"),
        ],
    )
    def test_it_holds(self, site: Site, browser: Chromium, attempt: str, directive: str) -> None:
        with UploadPage.open(browser, site.page_for_alice) as page:
            assert page.page.faults() == []
            prefix = site.client.info()["prefixes"][0]
            page.page.evaluate(
                f"""const STORE = {prefix!r}, OTHER = "http://127.0.0.1:9/";
                const MADE = (name, members) => Object.assign(document.createElement(name), members);
                const ATTACH = (name, members) => document.body.append(MADE(name, members));"""
            )
            page.page.attempt(attempt)
            wait_until(lambda: any(f"CSP: {directive}" in fault for fault in page.page.faults()), seconds=20)

    def test_the_page_can_t_be_framed(self, site: Site, browser: Chromium) -> None:
        with UploadPage.open(browser, f"{site.client.origin}/healthz") as page:
            page.page.evaluate(
                f"document.body.append(Object.assign(document.createElement('iframe'), {{src: {site.page!r}}}))"
            )
            wait_until(lambda: any("frame-ancestors" in fault for fault in page.page.faults()), seconds=20)

    def test_no_form_can_be_sent(self, site: Site, browser: Chromium) -> None:
        with UploadPage.open(browser, site.page) as page:
            page.page.evaluate("HTMLFormElement.prototype.submit.call(document.querySelector('#tokenForm'))")
            wait_until(lambda: any("CSP: form-action" in fault for fault in page.page.faults()), seconds=20)


class TestToken:
    @pytest.mark.parametrize("given", ["in the fragment", "by hand"])
    def test_it_is_nowhere_but_in_memory(self, site: Site, browser: Chromium, tmp_path: Path, given: str) -> None:
        write(tmp_path / "kept" / "a.csv", given.encode())
        token = site.client.token()
        fragment = f"#token={token}" if given == "in the fragment" else ""
        with UploadPage.open(browser, site.page + fragment) as page:
            if not fragment:
                page.sign_in(token)
                page.page.wait("!document.querySelector('#choice').hidden")
            assert page.upload(tmp_path / "kept") == "The file is verified: the store holds exactly these bytes."
            assert page.page.evaluate("location.href") == site.page
            assert page.page.evaluate("history.length") <= 2  # an empty tab, and the page
            assert page.page.evaluate(
                "[localStorage.length, sessionStorage.length, document.cookie, JSON.stringify(history.state)]"
            ) == [0, 0, "", "null"]
            assert page.page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
            assert page.page.evaluate("caches.keys().then((all) => all.length)") == 0
            shown = (
                "document.documentElement.outerHTML + Array.from(document.querySelectorAll('input'), (i) => i.value)"
            )
            assert token not in page.page.evaluate(shown)
            # It goes to the service alone, in a header.
            for asked in page.page.events("Network.requestWillBeSent"):
                url = asked["request"]["url"]
                assert token not in url
                sent = {name.lower() for name in asked["request"]["headers"]}
                assert ("auth-token" in sent) <= url.startswith(f"{site.client.root}/")

    def test_it_is_forgotten_by_a_page_that_is_loaded_anew(self, site: Site, browser: Chromium) -> None:
        with UploadPage.open(browser, site.page_for_alice) as page:
            page.page.call("Page.reload")
            page.page.wait("document.readyState === 'complete' && !document.querySelector('#tokenForm').hidden")
            assert page.page.evaluate("document.querySelector('#choice').hidden")

    @pytest.mark.parametrize(
        ("claims", "problem"),
        [
            ({"exp": 1_700_000_000}, "The token has expired."),
            ({"service": "another"}, "The token is not acceptable: it was issued for another service."),
            ({"permissions": {}}, "The token doesn't carry the permission 'datapackage-upload'."),
        ],
    )
    def test_one_that_isn_t_good_is_refused_in_words(
        self, site: Site, browser: Chromium, claims: dict[str, object], problem: str
    ) -> None:
        token = make_token(bits.good_claims("alice", now=datetime.now(UTC), **claims))
        with UploadPage.open(browser, site.page) as page:
            page.sign_in(token)
            page.page.wait("document.querySelector('#tokenProblem').textContent !== ''")
            assert page.page.text("#tokenProblem") == problem
            assert only_about(page.page.faults(), "/rawstore/info")

    def test_another_one_is_asked_for_when_it_expires(self, browser: Chromium, tmp_path: Path) -> None:
        make_dataset(tmp_path / "late", 5)
        now = datetime.now(UTC)
        clock = [now]
        with serving(
            lambda origin: create_app(
                wire(Settings.from_environment({**MEMORY, "PUBLIC_URL": origin})), clock=lambda: clock[0]
            )
        ) as origin:
            first, second = (
                make_token(bits.good_claims("alice", now=moment)) for moment in (now, now + timedelta(hours=20))
            )
            with UploadPage.open(browser, f"{origin}/rawstore/upload#token={first}") as page:
                page.drop(tmp_path / "late")
                clock[0] += timedelta(hours=20)
                page.start()
                assert page.outcome() == "5 files couldn't be uploaded."
                assert set(page.statuses().values()) == {"The token has expired."}

                page.page.click("#tokenChange")
                page.page.type(second)
                page.page.press("Enter", code=13, text="\r")
                page.page.wait("document.activeElement.id === 'retryAll'")
                page.page.press("Enter", code=13, text="\r")
                assert page.outcome() == "All 5 files are verified: the store holds exactly these bytes."


def test_from_the_demo_s_link(browser: Chromium, tmp_path: Path) -> None:
    """`bitstore demo`, the page that it names, a folder, all verified."""
    make_dataset(tmp_path / "mine", 12)
    command = [sys.executable, "-u", "-m", "entrypoints.cli.main", "demo", "--port", "0"]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
    said = tmp_path / "said"
    with said.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as demo:
        try:
            wait_until(lambda: _link_in(said) is not None or demo.poll() is not None, seconds=60)
            link = _link_in(said)
            assert link is not None, said.read_text()
            with UploadPage.open(browser, link) as page:
                assert page.page.text("#owner") == "demo"
                outcome = page.upload(tmp_path / "mine")
                assert outcome == "All 12 files are verified: the store holds exactly these bytes."
                assert page.page.faults() == []
        finally:
            demo.send_signal(signal.SIGINT)
    assert demo.returncode == 0
    assert said.read_text().endswith("\nstopping\n")


def _link_in(said: Path) -> str | None:
    found = re.search(r"^http://\S+/upload#token=\S+$", said.read_text(), re.MULTILINE)
    return found and found[0]
