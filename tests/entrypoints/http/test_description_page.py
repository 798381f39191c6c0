"""The page of the API's description: whole, safe, without scripts, and with commands that can be pasted."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from html import unescape
from html.parser import HTMLParser

import pytest

from entrypoints.http.description.html import Html, tag
from entrypoints.http.description.page import render_page
from tests.entrypoints.http.example_exchanges import FILES, ORIGIN
from tests.entrypoints.http.live_service import MEMORY, LiveService, live_service

# HTML Standard, "Void elements".
_VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What is in a page. Fails where elements aren't closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service(MEMORY, STORAGE_BUCKET_NAME="files", PUBLIC_URL=ORIGIN) as service:
        yield service


@pytest.fixture(scope="module")
def html(service: LiveService) -> str:
    return service.send("GET", "/rawstore/docs").body.decode()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


class TestPage:
    def test_links_lead_somewhere(self, page: Page) -> None:
        names = page.values("id")

        assert len(set(names)) == len(names)
        assert set(page.values("href")) <= {"openapi.json", *(f"#{name}" for name in names)}

    def test_shows_every_operation_and_every_type(self, service: LiveService, page: Page, html: str) -> None:
        document = service.send("GET", "/rawstore/openapi.json").json
        types = {f"type-{name}" for name in document["components"]["schemas"]}

        assert types <= set(page.values("id"))
        assert all(path in html for path in document["paths"])

    def test_has_no_script_and_nothing_from_elsewhere(self, page: Page) -> None:
        names = {name for name, _ in page.elements}

        assert names.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
        assert not page.values("style")
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)

    def test_its_policy_allows_its_style_alone(self, service: LiveService, html: str) -> None:
        policy = service.send("GET", "/rawstore/docs").headers["Content-Security-Policy"]
        (style,) = re.findall("<style>(.*?)</style>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

        assert policy.split("; ") == [
            "default-src 'none'",
            f"style-src 'sha256-{digest}'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]

    def test_can_be_used_without_a_mouse_and_is_for_light_and_dark(self, page: Page, html: str) -> None:
        assert page.named("html") == [{"lang": "en"}]
        assert "prefers-color-scheme: dark" in html
        assert len(page.named("h1")) == 1
        # What scrolls can be reached.
        assert all(attributes.get("tabindex") == "0" for attributes in page.named("pre"))

    def test_text_stays_text(self, service: LiveService) -> None:
        document = service.send("GET", "/rawstore/openapi.json").json
        document["info"]["description"] = "<img src=x> & `<b>` **</p>**"

        html = render_page(document)

        assert "<p>&lt;img src=x&gt; &amp; <code>&lt;b&gt;</code> <strong>&lt;/p&gt;</strong></p>" in html
        assert Page(html).named("img") == []


class TestMarkup:
    def test_only_markup_is_taken_as_it_is(self) -> None:
        assert tag("p", "a<b&c", Html("<br>")) == "<p>a&lt;b&amp;c<br></p>"

    def test_attributes_are_quoted(self) -> None:
        assert tag("a", href='"><script>', class_="x") == '<a href="&quot;&gt;&lt;script&gt;" class="x"></a>'


@pytest.fixture(scope="module")
def answers(service: LiveService, html: str) -> Mapping[str, bytes]:
    """What each command of the page prints, by what it asks for."""
    variables = {"BITSTORE": service.origin, "TOKEN": service.token("ada")}
    commands = [unescape(one) for one in re.findall("<code>(curl .*?)</code>", html, re.DOTALL)]
    answers = {}
    for command in commands:
        method = "POST" if " -d " in command else "GET"
        shell = ["bash", "-c", f"{command} --silent --show-error"]
        done = subprocess.run(shell, env={**os.environ, **variables}, capture_output=True, check=True)
        answers[f"{method} {command.rpartition('$BITSTORE')[2]}".rstrip('"')] = done.stdout
    return answers


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="the commands are for bash and curl")
class TestCommands:
    def test_are_there_for_every_operation(self, service: LiveService, answers: Mapping[str, bytes]) -> None:
        paths = service.send("GET", "/rawstore/openapi.json").json["paths"]
        spellings = {"POST /rawstore", "POST /rawstore/"}

        assert answers.keys() == {f"{method.upper()} {path}" for path in paths for method in paths[path]} - spellings

    def test_can_be_pasted(self, answers: Mapping[str, bytes]) -> None:
        def given(asked: str) -> dict[str, dict[str, object]]:
            return dict(json.loads(answers[asked]))

        assert given("POST /rawstore/authorize")["fileData"].keys() == FILES.keys()
        assert given("POST /rawstore/verify")["files"].keys() > FILES.keys()
        assert given("POST /rawstore/multipart/complete")["error"]["code"] == "upload_not_found"
        assert given("POST /rawstore/presign")["urls"].keys() == {"data/people.csv", "data/raw.bin"}
        assert given("GET /rawstore/presign").keys() == {"url", "expires_at"}
        assert given("GET /rawstore/objects").keys() == {"objects", "next"}
        assert given("GET /rawstore/info").keys() == {"prefixes", "service", "store"}
