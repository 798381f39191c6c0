"""What the service serves as the upload page: these files, with these headers, and nothing else."""

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from entrypoints.http.page import ASSETS, HASHING, INDEX
from tests.entrypoints.http.live_service import AZURE, GCS, MEMORY, S3, LiveService, live_service
from tests.entrypoints.page.npm import package_file
from tests.scraped import scrape
from tests.stores.servers import REPOSITORY

FOLDER = REPOSITORY / "entrypoints" / "page"
LEAST = {"default-src": ["'none'"], "base-uri": ["'none'"], "form-action": ["'none'"], "frame-ancestors": ["'none'"]}
OTHERS = sorted(ASSETS.keys() - {INDEX})


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as live:
        yield live


def url_of(name: str) -> str:
    return "/rawstore/upload" if name == INDEX else f"/rawstore/upload/{name}"


def policy_of(service: LiveService, name: str = INDEX) -> Mapping[str, list[str]]:
    policy = service.send("GET", url_of(name)).headers["Content-Security-Policy"]
    directives = [directive.split() for directive in policy.split(";")]
    assert len({name for name, *_ in directives}) == len(directives)  # of two alike a browser reads the first
    return {name: sources for name, *sources in directives}


@pytest.mark.parametrize("name", ASSETS)
def test_every_file_is_served_as_it_is(service: LiveService, name: str) -> None:
    answer = service.send("GET", url_of(name))

    assert answer.status == 200
    assert answer.body == (FOLDER / name).read_bytes()
    assert answer.headers["Content-Type"] == ASSETS[name]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Opener-Policy"] == answer.headers["Cross-Origin-Resource-Policy"]
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert policy_of(service, name).items() >= LEAST.items()


def test_every_file_of_the_page_is_served() -> None:
    assert {file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob("*") if file.is_file()} == set(ASSETS)


@pytest.mark.parametrize("name", ASSETS)
def test_a_browser_that_has_it_is_told_so(service: LiveService, name: str) -> None:
    head = service.send("HEAD", url_of(name))
    tag = head.headers["ETag"]

    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) == (FOLDER / name).stat().st_size
    assert head.headers["Cache-Control"] == "no-cache"
    for known in (tag, f'"another", W/{tag}'):
        answer = service.send("GET", url_of(name), headers={"If-None-Match": known})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert service.send("GET", url_of(name), headers={"If-None-Match": '"another"'}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "",
        INDEX,
        "nothing.mjs",
        "vendor",
        "vendor/",
        "../http/page.py",
        "..%2fhttp%2fpage.py",
        "%2e%2e/http/page.py",
        "vendor/../index.html",
        "vendor%5c..%5cindex.html",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "main.mjs%00",
        "MAIN.MJS",
    ],
)
def test_there_is_nothing_else(service: LiveService, path: str) -> None:
    status, _, rest = service.raw(
        f"GET /rawstore/upload/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(), until=b"}}"
    ).partition(b"\r\n")

    assert status.split()[1] == b"404"
    assert b'"code":"not_found"' in rest


@pytest.mark.parametrize("name", [INDEX, "main.mjs"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_can_only_be_read(service: LiveService, method: str, name: str) -> None:
    answer = service.send(method, url_of(name))

    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


class TestPolicy:
    def test_the_page_may_run_what_we_serve_and_talk_to_us_and_the_bucket(self, service: LiveService) -> None:
        bucket = f"{service.origin}/store/datasets"
        assert policy_of(service) == {
            **LEAST,
            "script-src": ["'self'"],
            "style-src": ["'self'"],
            "img-src": ["'self'"],
            "worker-src": ["'self'"],
            "connect-src": ["'self'", bucket, f"{bucket}/"],
            "require-trusted-types-for": ["'script'"],
            "trusted-types": ["hashing-worker"],
        }

    def test_webassembly_runs_in_the_worker_alone_which_talks_to_nobody(self, service: LiveService) -> None:
        assert policy_of(service, HASHING) == {**LEAST, "script-src": ["'self'", "'wasm-unsafe-eval'"]}

    @pytest.mark.parametrize("name", sorted(ASSETS.keys() - {INDEX, HASHING}))
    def test_what_is_opened_by_itself_may_do_nothing(self, service: LiveService, name: str) -> None:
        assert policy_of(service, name) == LEAST

    @pytest.mark.parametrize(
        ("settings", "changes", "bucket"),
        [
            (S3, {}, "https://s3.example.com/datasets"),
            (S3, {"STORAGE_ADDRESSING": "virtual"}, "https://datasets.s3.example.com"),
            (S3, {"STORAGE_PUBLIC_URL": "https://files.example.com"}, "https://files.example.com/datasets"),
            (AZURE, {}, "https://ourdata.blob.core.windows.net/datasets"),
            (GCS, {}, "https://storage.googleapis.com/datasets"),
            (MEMORY, {"PUBLIC_URL": "https://data.example.com/up"}, "https://data.example.com/up/store/datasets"),
        ],
    )
    def test_files_go_to_the_bucket_as_clients_reach_it(
        self, settings: Mapping[str, str], changes: Mapping[str, str], bucket: str
    ) -> None:
        with live_service(settings, changes) as service:
            assert policy_of(service)["connect-src"] == ["'self'", bucket, f"{bucket}/"]

    def test_the_service_signs_for_what_the_page_may_reach(self, service: LiveService) -> None:
        _, *allowed = policy_of(service)["connect-src"]
        for method in ("POST", "PUT"):
            declared = {"filedata": {"a.csv": {"length": 0, "md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}}, "accept": [method]}
            body = {"metadata": {"owner": "alice", "name": "tides"}, **declared}
            url = service.sign(body)["a.csv"]["upload_url"]
            # Content Security Policy Level 3, section 6.7.2.11: a path that ends in a slash stands for all below it.
            assert any(url == source or (source.endswith("/") and url.startswith(source)) for source in allowed)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.found += [value for name in ("src", "href") if (value := named.get(name))]
        if tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)
        self.inline += [name for name in named if name == "style" or name.startswith("on")]


def test_all_links_are_relative_and_served(service: LiveService) -> None:
    """So the page works behind any prefix; and nothing comes from elsewhere."""
    links = _Links()
    links.feed((FOLDER / INDEX).read_text())

    assert links.inline == []
    assert links.found
    page = f"{service.origin}/rawstore/upload"
    for link in links.found:
        assert not re.match(r"[a-z]+:|/", link)
        assert service.send("GET", urljoin(page, link)).status == 200


def test_scripts_import_only_what_is_served() -> None:
    for name in OTHERS:
        text = (FOLDER / name).read_text()
        imports = re.findall(r'^import .*?"(.+?)";|^import "(.+?)";|new URL\("(.+?)", import\.meta', text, re.MULTILINE)
        for link in filter(None, (link for found in imports for link in found)):
            assert urljoin(f"/{name}", link).removeprefix("/") in ASSETS


@pytest.mark.parametrize(
    ("name", "original"),
    [("hash-wasm-md5.umd.min.js", "dist/md5.umd.min.js"), ("hash-wasm-LICENSE.txt", "LICENSE")],
)
def test_what_comes_from_others_is_as_they_published_it(name: str, original: str) -> None:
    """npm has compared the package with the hash in `npm/package-lock.json`."""
    assert (FOLDER / "vendor" / name).read_bytes() == package_file(f"hash-wasm/{original}").read_bytes()


def test_the_page_needs_no_token(service: LiveService) -> None:
    assert service.send("GET", url_of(INDEX), token="nonsense").status == 200


def test_its_files_are_counted_together() -> None:
    with live_service() as service:
        for name in (INDEX, "main.mjs", "vendor/nothing.js"):
            service.send("GET", url_of(name))
        scraped = scrape(service.origin)
    counted = {
        (route, status): scraped.value("bitstore_http_requests_total", route=route, status=status)
        for route in ("/rawstore/upload", "/rawstore/upload/")
        for status in ("200", "404")
    }
    assert {asked: count for asked, count in counted.items() if count} == {
        ("/rawstore/upload", "200"): 1,
        ("/rawstore/upload/", "200"): 1,
        ("/rawstore/upload/", "404"): 1,
    }
