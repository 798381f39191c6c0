"""GET /info and GET /presign, and the way of a file from a client to the store and back."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.keys import Owner
from tests import strategies as bits
from tests.entrypoints.http.live_service import (
    AZURE,
    BUCKET,
    CONTENT,
    DATASET,
    GCS,
    MEMORY,
    OWNER,
    S3,
    LiveService,
    batch,
    declaration,
    live_service,
    sha256,
)


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with live_service() as running:
        yield running


class TestInfo:
    def test_says_what_the_store_is_like(self, service: LiveService) -> None:
        everything = ["access", "expiry", "key", "length", "md5", "sha256", "type"]
        assert service.info() == {
            "prefixes": [f"{service.origin}/store/{BUCKET}/alice"],
            "service": "rawstore",
            "store": {
                "methods": {
                    "POST": {"enforced": everything},
                    "PUT": {"enforced": sorted([*everything, "no-overwrite"])},
                    "MULTIPART": {"enforced": sorted([*everything, "no-overwrite"])},
                },
                "key_pattern": "{owner}/{name}/{path}",
                "max_files": 10_000,
                "max_file_bytes": 5 * 1024**3,
                "digest_required": True,
                "upload_expires_seconds": 3_600,
                "parts": {
                    "min_bytes": 5 * 1024**2,
                    "max_bytes": 5 * 1024**3,
                    "max_count": 10_000,
                    "max_file_bytes": 5 * 1024**4,
                    "threshold_bytes": 100 * 1024**2,
                },
            },
        }

    @pytest.mark.parametrize(
        ("base", "changes", "prefixes"),
        [
            (S3, {}, ["https://s3.example.com/datasets/a%20b", "https://datasets.s3.example.com/a%20b"]),
            (
                S3,
                {"STORAGE_ADDRESSING": "virtual"},
                ["https://datasets.s3.example.com/a%20b", "https://s3.example.com/datasets/a%20b"],
            ),
            (S3, {"STORAGE_HOSTNAME": "http://127.0.0.1:9000"}, ["http://127.0.0.1:9000/datasets/a%20b"]),
            (
                S3,
                {"STORAGE_PUBLIC_URL": "http://files.example.com"},
                ["http://files.example.com/datasets/a%20b", "http://datasets.files.example.com/a%20b"],
            ),
            (
                S3,
                {"STORAGE_PATH_PATTERN": "{sha256_hex}"},
                ["https://s3.example.com/datasets", "https://datasets.s3.example.com"],
            ),
            (AZURE, {}, ["https://ourdata.blob.core.windows.net/datasets/a%20b"]),
            (AZURE, {"STORAGE_PUBLIC_URL": ""}, ["http://127.0.0.1:1/ourdata/datasets/a%20b"]),
            (
                GCS,
                {},
                ["https://storage.googleapis.com/datasets/a%20b", "https://datasets.storage.googleapis.com/a%20b"],
            ),
        ],
    )
    def test_gives_every_form_that_a_url_may_have(
        self, base: Mapping[str, str], changes: Mapping[str, str], prefixes: list[str]
    ) -> None:
        with live_service(base, changes) as service:
            assert service.info("a b")["prefixes"] == prefixes


STORES: list[tuple[Mapping[str, str], Mapping[str, str]]] = [
    (MEMORY, {}),
    (MEMORY, {"STORAGE_PATH_PATTERN": "{owner}/{dirname}/{md5_hex}{extension}"}),
    (MEMORY, {"STORAGE_PATH_PATTERN": "blobs/{md5}"}),
    (MEMORY, {"PUBLIC_URL": "https://data.example.com/a/proxy"}),
    (S3, {"STORAGE_PATH_PATTERN": "{owner}/data/{path}"}),
    (S3, {"STORAGE_ADDRESSING": "virtual", "STORAGE_FLAVOUR": "r2"}),
    (AZURE, {}),
    (GCS, {}),
]


@pytest.mark.parametrize(("base", "changes"), STORES)
def test_the_law_of_prefixes(base: Mapping[str, str], changes: Mapping[str, str]) -> None:
    """Every object_url starts with one of its user's prefixes, and under owner-scoped patterns with nobody else's."""
    owner_scoped = changes.get("STORAGE_PATH_PATTERN", "{owner}/").startswith("{owner}/")
    with live_service(base, changes) as service:

        @settings(max_examples=20)
        @given(
            userid=bits.short_owners,
            other=bits.short_owners,
            path=bits.short_paths,
            look_alikes=bits.look_alike_owners(),
        )
        def law(userid: Owner, other: Owner, path: str, look_alikes: tuple[Owner, Owner, str]) -> None:
            for user, stranger in [(userid, other), look_alikes[:2]]:
                body = batch({path: declaration()}, metadata={"owner": user})
                object_url = service.sign(body, token=service.token(user))[path]["object_url"]
                assert any(object_url.startswith(f"{prefix}/") for prefix in service.info(user)["prefixes"])
                if owner_scoped and user != stranger:
                    theirs = service.info(stranger)["prefixes"]
                    assert not any(object_url.startswith(f"{prefix}/") for prefix in theirs)

        law()


def presigned(service: LiveService, url: str, *, owner: str = OWNER, more: str = "") -> Any:
    """Ask for a download that must be given; `url` is put into the query as it is."""
    answer = service.presign(f"ownerid={quote(owner)}&url={url}{more}", userid=owner)
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json.keys() == {"url", "expires_at"}
    return answer.json


def lifetime(signed: Mapping[str, str]) -> timedelta:
    """How long a signed download is valid, as it says itself; it must say the same in both places."""
    query = parse_qs(urlsplit(signed["url"]).query)
    seconds = int(query["X-Amz-Expires"][0])
    start = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert start + timedelta(seconds=seconds) == datetime.fromisoformat(signed["expires_at"])
    return timedelta(seconds=seconds)


AWKWARD_PATHS = [
    *("plain.csv", "with space.csv", "plus+plus.csv", "Größe/übersicht.csv", "日本語/データ.csv", "emoji-🚀.csv"),
    *("quote'and\"quote.csv", "tilde~star*bang!at@.csv", "brackets[1](2){3}.csv", "a;b:c,d=e$f.csv", "a|b^c`d<e>.csv"),
]


class TestPresign:
    def test_gives_a_url_for_a_day(self, service: LiveService) -> None:
        url = f"{service.origin}/store/{BUCKET}/alice/tides/a.csv"
        signed = presigned(service, url)
        assert signed["url"].startswith(f"{url}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
        assert lifetime(signed) == timedelta(days=1)

    @pytest.mark.parametrize("path", AWKWARD_PATHS)
    def test_takes_urls_as_deployed_clients_send_them(self, service: LiveService, path: str) -> None:
        """Not encoded at all: the upload's URL, a slash, and the key."""
        signed = service.sign(batch({path: declaration()}))[path]
        derived = f"{signed['upload_url']}/{signed['upload_query']['key']}"
        expected = urlsplit(signed["object_url"]).path
        assert urlsplit(presigned(service, derived)["url"]).path == expected

    @pytest.mark.parametrize("path", [*AWKWARD_PATHS, "a&b.csv", "a#b.csv", "a?b.csv", "100%.csv", "a%2Fb%20.csv"])
    def test_takes_the_object_url_encoded_as_it_should_be(self, service: LiveService, path: str) -> None:
        object_url = service.sign(batch({path: declaration()}))[path]["object_url"]
        url = presigned(service, quote(object_url, safe=""))["url"]
        assert url.partition("?")[0] == object_url
        assert unquote(object_url).endswith(path)

    @pytest.mark.parametrize(
        ("base", "changes", "starts"),
        [
            (
                S3,
                {"STORAGE_HOSTNAME": "http://minio:9000", "STORAGE_PUBLIC_URL": "https://s3.example.com"},
                [
                    "https://s3.example.com/datasets",
                    "HTTPS://S3.EXAMPLE.COM:443/datasets",
                    "https://datasets.s3.example.com",
                    "http://minio:9000/datasets",
                    "http://datasets.minio:9000",
                ],
            ),
            (
                AZURE,
                {},
                [
                    "https://ourdata.blob.core.windows.net/datasets",
                    "HTTPS://OURDATA.blob.core.windows.net:443/datasets",
                    "http://127.0.0.1:1/ourdata/datasets",
                ],
            ),
            (
                GCS,
                {"STORAGE_PUBLIC_URL": "https://files.example.com"},
                [
                    "https://files.example.com/datasets",
                    "https://datasets.files.example.com",
                    "https://storage.googleapis.com/datasets",
                    "https://datasets.storage.googleapis.com",
                ],
            ),
        ],
    )
    def test_knows_the_bucket_under_every_address(
        self, base: Mapping[str, str], changes: Mapping[str, str], starts: list[str]
    ) -> None:
        with live_service(base, changes) as service:
            for start in starts:
                url = presigned(service, f"{start}/alice/tides/a.csv")["url"]
                assert url.startswith(f"{starts[0]}/alice/tides/a.csv?")
                stranger = service.presign(f"ownerid={OWNER}&url={start}/bob/tides/a.csv")
                assert (stranger.status, stranger.code) == (403, "not_owner")

    @pytest.mark.parametrize("asked", [1, 60, 86_400])
    def test_may_be_asked_for_a_shorter_life(self, service: LiveService, asked: int) -> None:
        url = f"{service.origin}/store/{BUCKET}/alice/a.csv"
        assert lifetime(presigned(service, url, more=f"&expires_in={asked}")) == timedelta(seconds=asked)

    @pytest.mark.parametrize("asked", [86_401, 999_999_999])
    def test_cuts_a_longer_life(self, service: LiveService, asked: int) -> None:
        url = f"{service.origin}/store/{BUCKET}/alice/a.csv"
        assert lifetime(presigned(service, url, more=f"&expires_in={asked}")) == timedelta(days=1)

    @pytest.mark.parametrize("owner", ["bob", "Alice", "alice%20", "%20alice"])
    def test_another_owner_than_the_user_is_refused(self, service: LiveService, owner: str) -> None:
        for key_owner in ("bob", "alice"):
            url = f"{service.origin}/store/{BUCKET}/{key_owner}/a.csv"
            answer = service.presign(f"ownerid={owner}&url={url}")
            assert (answer.status, answer.code) == (403, "not_owner")

    def test_content_addressed_keys_are_anybodys_who_knows_them(self) -> None:
        with live_service(STORAGE_PATH_PATTERN="{md5_hex}{extension}") as service:
            start = f"{service.origin}/store/{BUCKET}"
            presigned(service, f"{start}/{'0a' * 16}.csv")
            for key in ("alice/a.csv", "0a.csv", f"{'0a' * 16}/x.csv", f"x{'0a' * 16}"):
                answer = service.presign(f"ownerid={OWNER}&url={start}/{key}")
                assert (answer.status, answer.code) == (403, "not_owner")

    @settings(max_examples=60)
    @given(
        query=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80)
        | bits.any_text.map(lambda text: quote(text, errors="replace"))
    )
    def test_any_query_is_only_refused(self, service: LiveService, query: str) -> None:
        for shape in ("{}", "ownerid=alice&url={}", "ownerid=alice&url={}&filename=x"):
            assert 400 <= service.presign(shape.replace("{}", query.replace("#", "%23"))).status < 500


class TestRoundTrip:
    """What a client with a token and no credentials can do, from the first request to the same bytes."""

    FILES: Mapping[str, bytes] = {
        "data/tides.csv": CONTENT,
        "Größe/mit + Leerzeichen & so.csv": b"x" * 100_000,
        "empty": b"",
    }

    def send(self, service: LiveService, signed: Mapping[str, Any], content: bytes) -> int:
        if signed["upload_method"] == "PUT":
            headers = signed["upload_headers"]
            return service.http.request("PUT", signed["upload_url"], body=content, headers=headers).status
        fields = [*signed["upload_query"].items(), ("file", ("file", content, signed["type"]))]
        return service.http.request("POST", signed["upload_url"], fields=fields).status

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    @pytest.mark.parametrize("findability", ["published", "private"])
    def test_every_byte_comes_back(self, service: LiveService, method: str, findability: str) -> None:
        dataset = f"{DATASET}-{method}-{findability}"
        files = {path: declaration(content, sha256=sha256(content)) for path, content in self.FILES.items()}
        body = batch(files, metadata={"name": dataset, "findability": findability}, more={"accept": [method]})
        signed = service.sign(body)
        for path, content in self.FILES.items():
            assert signed[path]["upload_method"] == method
            assert self.send(service, signed[path], content) in (200, 204)
            url = presigned(service, quote(signed[path]["object_url"], safe=""))["url"]
            answer = service.http.request("GET", url)
            assert (answer.status, answer.data) == (200, content)
            assert service.sign(body)[path]["exists"] is True
            anonymous = service.http.request("GET", signed[path]["object_url"])
            assert anonymous.status == (200 if findability == "published" else 403)

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_nothing_else_gets_in(self, service: LiveService, method: str) -> None:
        body = batch(metadata={"name": f"guarded-{method}"}, more={"accept": [method]})
        signed = service.sign(body)["a.csv"]
        for content in (CONTENT + b"!", CONTENT[:-1], CONTENT.swapcase(), b""):
            forced = {
                **signed,
                "upload_headers": {**signed.get("upload_headers", {}), "Content-Length": str(len(content))},
            }
            assert 400 <= self.send(service, forced, content) < 500
        url = presigned(service, signed["object_url"])["url"]
        assert service.http.request("GET", url).status == 404

    def test_what_is_there_is_kept_where_overwriting_is_not_wanted(self, service: LiveService) -> None:
        dataset, wishes = {"name": "kept"}, {"accept": ["PUT"], "overwrite": False}
        assert self.send(service, service.sign(batch(None, dataset, wishes))["a.csv"], CONTENT) == 200
        other = CONTENT.swapcase()
        again = service.sign(batch({"a.csv": declaration(other)}, dataset, wishes))["a.csv"]
        assert self.send(service, again, other) == 412
        assert service.http.request("GET", again["object_url"]).data == CONTENT

    def test_a_download_is_saved_under_the_name_asked_for(self, service: LiveService) -> None:
        signed = service.sign(batch(metadata={"name": "named"}))["a.csv"]
        assert self.send(service, signed, CONTENT) == 204
        url = presigned(service, signed["object_url"], more=f"&filename={quote('Größe 1.csv')}")["url"]
        answer = service.http.request("GET", url)
        assert answer.data == CONTENT
        assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.csv" in answer.headers["Content-Disposition"]
