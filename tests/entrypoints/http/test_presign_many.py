"""POST /presign: signed downloads of many files at once, or of none."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from entrypoints.http.app import create_app
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests import strategies as bits
from tests.entrypoints.http.live_service import (
    AZURE,
    BUCKET,
    DATASET,
    GCS,
    MEMORY,
    OWNER,
    S3,
    Answer,
    LiveService,
    batch,
    declaration,
    live_service,
)
from tests.tokens import make_token

PATHS = ["a.csv", "data/with space+plus.csv", "Größe/übersicht.csv", "100%.csv", "a%2Fb?.csv", "emoji-🚀#.csv"]
METADATA: Mapping[str, object] = {"owner": OWNER, "name": DATASET}


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as running:
        yield running


def ask(service: LiveService, body: object, *, userid: str = OWNER, **options: Any) -> Answer:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.send("POST", "/rawstore/presign", **{"token": service.token(userid), "body": encoded, **options})


def presigned(service: LiveService, body: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Ask for downloads that must be given."""
    answer = ask(service, body)
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json.keys() == {"urls"}
    urls: dict[str, dict[str, str]] = answer.json["urls"]
    assert all(signed.keys() == {"url", "expires_at"} for signed in urls.values())
    return urls


def object_urls(service: LiveService, paths: list[str]) -> dict[str, str]:
    signed = service.sign(batch(dict.fromkeys(paths, declaration())))
    return {path: file["object_url"] for path, file in signed.items()}


def by_paths(*paths: object, **more: object) -> dict[str, object]:
    return {"metadata": METADATA, "paths": list(paths), **more}


def by_urls(*urls: object, **more: object) -> dict[str, object]:
    return {"metadata": {"owner": OWNER}, "urls": list(urls), **more}


STORES: list[tuple[Mapping[str, str], Mapping[str, str]]] = [
    (MEMORY, {}),
    (MEMORY, {"STORAGE_PATH_PATTERN": "{owner}/{name}/{dirname}/v1/{basename}"}),
    (S3, {}),
    (S3, {"STORAGE_ADDRESSING": "virtual", "STORAGE_PATH_PATTERN": "{owner}/{path}"}),
    (AZURE, {}),
    (GCS, {}),
]


@pytest.mark.parametrize(("base", "changes"), STORES)
def test_paths_and_addresses_name_the_same_objects(base: Mapping[str, str], changes: Mapping[str, str]) -> None:
    with live_service(base, changes) as service:
        addresses = object_urls(service, PATHS)
        paths, urls = presigned(service, by_paths(*PATHS)), presigned(service, by_urls(*addresses.values()))
        assert list(paths) == PATHS
        assert list(urls) == list(addresses.values())
        for path, address in addresses.items():
            one = service.presign(f"ownerid={OWNER}&url={quote(address, safe='')}").json["url"]
            for signed in (paths[path]["url"], urls[address]["url"], one):
                assert signed.partition("?")[0] == address
            assert urlsplit(paths[path]["url"]).query


def test_the_urls_give_out_the_files(service: LiveService) -> None:
    contents = {path: path.encode() for path in PATHS}
    body = batch({path: declaration(content) for path, content in contents.items()}, more={"accept": ["PUT"]})
    for path, file in service.sign(body).items():
        sent = service.send("PUT", file["upload_url"], headers=file["upload_headers"], body=contents[path])
        assert sent.status == 200
    signed = presigned(service, by_paths(*PATHS))
    assert {path: service.send("GET", one["url"]).body for path, one in signed.items()} == contents


def test_content_addressed_keys_are_signed_by_address_alone() -> None:
    with live_service(STORAGE_PATH_PATTERN="{md5_hex}{extension}") as service:
        address = f"{service.origin}/store/{BUCKET}/{'0a' * 16}.csv"
        assert presigned(service, by_urls(address)).keys() == {address}
        refused = ask(service, by_paths("a.csv", "b.csv"))
        assert (refused.status, refused.code) == (400, "unsupported_by_pattern")
        assert refused.json["error"]["field"] == "paths"
        assert "object_url" in refused.json["error"]["message"]


def test_a_file_that_is_named_twice_is_signed_once(service: LiveService) -> None:
    assert list(presigned(service, by_paths("b.csv", "a.csv", "b.csv"))) == ["b.csv", "a.csv"]


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 86_400), (1, 1), (60, 60), (86_400, 86_400), (86_401, 86_400), (999_999_999, 86_400)]
)
def test_a_shorter_life_may_be_asked_for(service: LiveService, asked: int | None, seconds: int) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    signed = presigned(service, by_paths("a.csv", expires_in=asked))["a.csv"]
    lifetime = datetime.fromisoformat(signed["expires_at"]) - before
    assert timedelta(seconds=seconds) <= lifetime <= timedelta(seconds=seconds + 20)
    assert f"X-Amz-Expires={seconds}&" in signed["url"]


class TestWhatIsRefused:
    def test_every_bad_path_is_told_and_nothing_is_signed(self, service: LiveService) -> None:
        bad = ["../a.csv", "/a.csv", "a//b", "a\\b", "", "a/${filename}", "x" * 256]
        answer = ask(service, by_paths("good.csv", *bad))
        assert (answer.status, answer.code) == (400, "invalid_batch")
        assert answer.detail_codes == dict.fromkeys(bad, "invalid_path")
        assert b"good.csv" not in answer.body
        assert b"X-Amz" not in answer.body

    def test_every_bad_address_is_told_and_nothing_is_signed(self, service: LiveService) -> None:
        start = f"{service.origin}/store/{BUCKET}"
        bad = {
            f"{start}/bob/tides/a.csv": "not_owner",
            f"{start}/alice2/a.csv": "not_owner",
            f"{start}/alice/../bob/a.csv": "invalid_url",
            f"{start}/alice/%2e%2e/bob/a.csv": "invalid_url",
            f"{start}/alice/a.csv?x=1": "invalid_url",
            f"{start}2/alice/a.csv": "invalid_url",
            "https://example.com/store/datasets/alice/a.csv": "invalid_url",
            "file:///etc/passwd": "invalid_url",
            "": "invalid_url",
        }
        answer = ask(service, by_urls(f"{start}/alice/a.csv", *bad))
        assert (answer.status, answer.code) == (400, "invalid_batch")
        assert answer.detail_codes == bad
        assert b"X-Amz" not in answer.body

    def test_an_address_s_percent_sequences_are_decoded_once(self, service: LiveService) -> None:
        start = f"{service.origin}/store/{BUCKET}/alice"
        answer = ask(service, by_urls(f"{start}/%252e%252e/a.csv", f"{start}/%2e%2e/a.csv"))
        assert answer.detail_codes == {f"{start}/%2e%2e/a.csv": "invalid_url"}

    @pytest.mark.parametrize("owner", ["bob", "Alice", "alice "])
    def test_another_owner_than_the_user(self, service: LiveService, owner: str) -> None:
        for body in (by_paths("a.csv"), by_urls(f"{service.origin}/store/{BUCKET}/alice/a.csv")):
            answer = ask(service, {**body, "metadata": {"owner": owner, "name": DATASET}})
            assert (answer.status, answer.code) == (403, "not_owner")

    def test_no_token_or_no_permission(self, service: LiveService) -> None:
        assert ask(service, by_paths("a.csv"), token=None).code == "token_missing"
        refused = ask(service, by_paths("a.csv"), token=service.token(permissions={}))
        assert (refused.status, refused.code) == (403, "permission_missing")

    def test_a_body_that_is_compressed_or_too_long(self) -> None:
        with live_service(MAX_BODY_BYTES="4096") as service:
            assert ask(service, by_paths("a.csv"), headers={"Content-Encoding": "gzip"}).status == 415
            for chunked in (False, True):
                answer = ask(service, by_paths("x" * 5_000), chunked=chunked)
                assert (answer.status, answer.code) == (413, "body_too_large")

    def test_more_files_than_a_request_may_name(self) -> None:
        with live_service(MAX_FILES="2") as service:
            assert len(presigned(service, by_paths("a", "b"))) == 2
            for body in (by_paths("a", "b", "c"), by_paths("a", "a", "a"), by_urls("a", "b", "c")):
                answer = ask(service, body)
                assert (answer.status, answer.code) == (413, "too_many_files")

    def test_an_error_stays_short_however_much_is_wrong(self, service: LiveService) -> None:
        answer = ask(service, by_urls(*(f"http://{number}.example.com/{'x' * 500}" for number in range(5_000))))
        assert answer.code == "invalid_batch"
        assert len(answer.body) <= 64 * 1024
        assert len(answer.json["error"]["details"]) + answer.json["error"]["details_omitted"] == 5_000

    def test_other_methods_are_named(self, service: LiveService) -> None:
        answer = service.send("PUT", "/rawstore/presign", token=service.token(), body=b"{}")
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))

    @settings(max_examples=60, deadline=None)
    @given(paths=st.lists(bits.any_text, max_size=3), expires_in=bits.json_like, extra=bits.json_like)
    def test_any_body_is_answered_or_refused(
        self, service: LiveService, paths: list[str], expires_in: object, extra: object
    ) -> None:
        for body in (by_paths(*paths), by_urls(*paths), by_paths("a", expires_in=expires_in), by_paths(extra, *paths)):
            assert ask(service, body).status in (200, 400, 413)


def test_others_have_their_turn_while_many_files_are_signed() -> None:
    """Whatever runs beside it gets a turn about every millisecond: the slower the machine is, the more of them."""
    body = json.dumps(by_paths(*(f"data/{number:05}.csv" for number in range(10_000)))).encode()
    token = make_token(bits.good_claims(OWNER, now=datetime.now(UTC)))
    app = create_app(wire(Settings.from_environment({**MEMORY, "PUBLIC_URL": "http://127.0.0.1:8000"})))
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": "POST",
        "path": "/rawstore/presign",
        "query_string": b"",
        "headers": [(b"auth-token", token.encode())],
    }
    statuses, turns = [], list[None]()

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            turns_until_answer.append(len(turns))

    async def take_turns() -> None:
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    async def run() -> None:
        beside = asyncio.create_task(take_turns())
        await app(scope, receive, send)
        beside.cancel()

    turns_until_answer: list[int] = []
    asyncio.run(run())
    assert statuses == [200]
    assert turns_until_answer[0] > 40  # some 300; if nobody has a turn while they are signed, 11
