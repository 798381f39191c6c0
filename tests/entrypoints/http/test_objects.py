"""GET /objects: what the store holds of a dataset, page by page."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strategies as bits
from tests.entrypoints.http.live_service import (
    BUCKET,
    CONTENT,
    DATASET,
    MEMORY,
    OWNER,
    S3,
    Answer,
    LiveService,
    batch,
    declaration,
    live_service,
    sha256,
)

FILES: Mapping[str, bytes] = {
    **{f"data/part {number}+é.csv": b"%d\n" % number for number in range(7)},
    "README.md": CONTENT,
    "empty.csv": b"",
}


@pytest.fixture(scope="module", params=["memory", "disk"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """One that holds a dataset of FILES, and neighbours of it."""
    root = str(tmp_path_factory.mktemp("objects"))
    on_disk = {"STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": root} if request.param == "disk" else {}
    with live_service(MEMORY, on_disk) as service:
        upload(service, FILES)
        for neighbour in (f"{DATASET}2", DATASET.upper(), f"{DATASET}.bak"):
            upload(service, {"a.csv": CONTENT}, name=neighbour)
        upload(service, {"a.csv": CONTENT}, owner="bob")
        yield service


def upload(service: LiveService, files: Mapping[str, bytes], owner: str = OWNER, name: str | None = DATASET) -> None:
    """Send files by their forms."""
    body = batch({path: declaration(content) for path, content in files.items()}, {"owner": owner, "name": name})
    signed = service.sign(body, token=service.token(owner))
    for path, content in files.items():
        form = urllib3.encode_multipart_formdata([*signed[path]["upload_query"].items(), ("file", content)])
        answer = service.send("POST", signed[path]["upload_url"], body=form[0], headers={"Content-Type": form[1]})
        assert answer.status in (200, 204)


def ask(service: LiveService, query: str, userid: str = OWNER, **options: Any) -> Answer:
    return service.send("GET", f"/rawstore/objects?{query}", token=service.token(userid), **options)


def page(service: LiveService, userid: str = OWNER, **parameters: object) -> Any:
    """Ask for a page that must be given: of alice's dataset, unless the parameters say otherwise."""
    query = {"owner": userid, "name": DATASET, **parameters}
    text = urlencode({name: value for name, value in query.items() if value is not None}, quote_via=quote)
    answer = ask(service, text, userid)
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json.keys() == {"objects", "next"}
    return answer.json


def all_objects(service: LiveService, **parameters: object) -> list[dict[str, Any]]:
    """Go on to the last page."""
    objects, cursor = [], None
    for _ in range(50):
        found = page(service, OWNER, after=cursor, **parameters)
        objects += found["objects"]
        cursor = found["next"]
        if cursor is None:
            return objects
    pytest.fail("there is no last page")


class TestWhatIsListed:
    def test_each_file_of_the_dataset_with_all_that_is_known_of_it(self, service: LiveService) -> None:
        found = page(service)
        assert found["next"] is None
        signed = service.sign(batch({path: declaration(content) for path, content in FILES.items()}))
        assert {one["path"]: one for one in found["objects"]} == {
            path: {
                "path": path,
                "key": f"{OWNER}/{DATASET}/{path}",
                "length": len(content),
                "md5": base64.b64encode(hashlib.md5(content).digest()).decode(),
                "sha256": sha256(content),
                "object_url": signed[path]["object_url"],
            }
            for path, content in FILES.items()
        }
        assert len(found["objects"]) == len(FILES)

    @pytest.mark.parametrize("limit", [1, 2, 5, 1_000])
    def test_pages_make_the_whole(self, service: LiveService, limit: int) -> None:
        assert len(page(service, limit=limit)["objects"]) == min(limit, len(FILES))
        objects = all_objects(service, limit=limit)
        assert sorted(one["path"] for one in objects) == sorted(FILES)

    def test_a_dataset_that_has_nothing_is_empty(self, service: LiveService) -> None:
        for name in ("another", DATASET[:-1], f"{DATASET}-"):
            assert page(service, name=name) == {"objects": [], "next": None}

    def test_what_is_listed_can_be_fetched(self, service: LiveService) -> None:
        for one in page(service)["objects"]:
            answer = service.presign(f"ownerid={OWNER}&url={quote(one['object_url'], safe='')}")
            assert service.send("GET", answer.json["url"]).body == FILES[one["path"]]

    def test_an_owner_and_a_dataset_are_taken_literally(self, service: LiveService) -> None:
        upload(service, {"a.csv": CONTENT}, owner="a b+c%20&é", name="x%2Fy z")
        (one,) = page(service, "a b+c%20&é", name="x%2Fy z")["objects"]
        assert (one["key"], one["path"]) == ("a b+c%20&é/x%2Fy z/a.csv", "a.csv")


PATTERNS = {
    "{owner}/{path}": (f"{OWNER}/data/a.csv", "data/a.csv"),
    "{owner}/sets/{name}/{path}": (f"{OWNER}/sets/{DATASET}/data/a.csv", "data/a.csv"),
    "{owner}/{name}/v1-{path}": (f"{OWNER}/{DATASET}/v1-data/a.csv", None),
    "{owner}/{name}/{dirname}/{basename}": (f"{OWNER}/{DATASET}/data/a.csv", None),
    "{owner}/{name}/{md5_hex}{extension}": (f"{OWNER}/{DATASET}/{hashlib.md5(CONTENT).hexdigest()}.csv", None),
    "{owner}/{md5_hex}": (f"{OWNER}/{hashlib.md5(CONTENT).hexdigest()}", None),
}


class TestPatterns:
    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_what_the_fixed_start_covers_is_listed(self, pattern: str) -> None:
        key, path = PATTERNS[pattern]
        with live_service(STORAGE_PATH_PATTERN=pattern) as service:
            upload(service, {"data/a.csv": CONTENT})
            upload(service, {"data/a.csv": CONTENT}, owner=f"{OWNER}2")
            (one,) = page(service)["objects"]
            assert (one["key"], one.get("path")) == (key, path)
            if "{name}" not in pattern:
                assert page(service, name=None)["objects"] == page(service, name="another")["objects"] == [one]

    def test_what_begins_otherwise_in_the_same_folder_is_not(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """As after a change of the pattern."""
        on_disk = {"STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(tmp_path_factory.mktemp("objects"))}
        with live_service(MEMORY, on_disk) as service:
            upload(service, {"a.csv": CONTENT, "v1-b.csv": CONTENT})
        with live_service(MEMORY, on_disk, STORAGE_PATH_PATTERN="{owner}/{name}/v1-{path}") as service:
            upload(service, {"c.csv": CONTENT})
            start = f"{OWNER}/{DATASET}/v1"
            assert {one["key"] for one in all_objects(service, limit=1)} == {f"{start}-b.csv", f"{start}-c.csv"}

    @pytest.mark.parametrize("pattern", ["{md5_hex}", "blobs/{owner}/{sha256_hex}", "{name}/{md5_hex}{extension}"])
    def test_keys_that_users_share_are_not_listed(self, pattern: str) -> None:
        with live_service(STORAGE_PATH_PATTERN=pattern) as service:
            answer = ask(service, f"owner={OWNER}&name={DATASET}")
            assert (answer.status, answer.code) == (400, "unsupported_by_pattern")
            assert "shared by all users" in answer.json["error"]["message"]

    def test_datasets_that_share_a_folder_are_not_listed(self) -> None:
        with live_service(STORAGE_PATH_PATTERN="{owner}/{name}-{path}") as service:
            answer = ask(service, f"owner={OWNER}&name={DATASET}")
            assert (answer.status, answer.code) == (400, "unsupported_by_pattern")

    def test_a_folder_that_can_be_none_is_refused(self) -> None:
        with live_service(STORAGE_PATH_PATTERN="{owner}/prefix-{name}/{path}") as service:
            answer = ask(service, f"owner={OWNER}&name={'x' * 250}")
            assert (answer.status, answer.code) == (400, "invalid_key")


def seal(folder: str, token: str) -> str:
    """Forge a cursor as the code shows how."""
    check = hashlib.sha256(f"{folder}\0{token}".encode()).digest()[:6]
    return base64.urlsafe_b64encode(check + token.encode()).decode().rstrip("=")


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("owner", "userid"), [("bob", OWNER), (OWNER, "bob"), ("Alice", OWNER), ("alice%20", OWNER)]
    )
    def test_another_owner_than_the_user(self, service: LiveService, owner: str, userid: str) -> None:
        answer = ask(service, f"owner={owner}&name={DATASET}", userid)
        assert (answer.status, answer.code) == (403, "not_owner")

    def test_no_token_or_no_permission(self, service: LiveService) -> None:
        path = f"/rawstore/objects?owner={OWNER}&name={DATASET}"
        assert service.send("GET", path).code == "token_missing"
        answer = service.send("GET", path, token=service.token(permissions={}))
        assert (answer.status, answer.code) == (403, "permission_missing")

    def test_a_cursor_that_was_changed_or_is_of_another_dataset(self, service: LiveService) -> None:
        cursor = page(service, limit=1)["next"]
        changed = [cursor[:-1], cursor + "A", cursor + "=", cursor.swapcase(), cursor[1:], f"{cursor[:9]}-{cursor[9:]}"]
        for garbled in changed:
            assert ask(service, f"owner={OWNER}&name={DATASET}&after={quote(garbled)}").code == "invalid_cursor"
        assert ask(service, f"owner={OWNER}&name={DATASET}2&after={cursor}").code == "invalid_cursor"
        assert ask(service, f"owner=bob&name={DATASET}&after={cursor}", "bob").code == "invalid_cursor"

    def test_a_cursor_that_is_forged_leads_nowhere_else(self, service: LiveService) -> None:
        own = f"{OWNER}/{DATASET}"
        assert ask(service, f"owner={OWNER}&name={DATASET}&after={seal(own, f'{own}/README.md')}").status == 200
        for token in ("bob", "bob/tides/a", "a", "\0", "../bob", f"{own}2/a.csv", f"{OWNER}/..", "zzz", "é" * 2_000):
            answer = ask(service, f"owner={OWNER}&name={DATASET}&after={seal(own, token)}")
            if answer.status == 200:
                assert all(one["key"].startswith(f"{own}/") for one in answer.json["objects"])
            else:
                assert (answer.status, answer.code) == (400, "invalid_cursor")

    @settings(max_examples=40, deadline=None)
    @given(
        value=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
        | bits.any_text.map(lambda text: quote(text, errors="replace"))
    )
    def test_any_query_is_answered_or_refused(self, service: LiveService, value: str) -> None:
        value = value.replace("#", "%23")
        for shape in (
            "{}",
            "owner=alice&name={}",
            "owner=alice&name=tides&after={}",
            "owner=alice&name=tides&limit={}",
        ):
            assert ask(service, shape.replace("{}", value)).status in (200, 400, 403)

    def test_other_methods(self, service: LiveService) -> None:
        for method in ("POST", "PUT", "DELETE"):
            answer = service.send(method, f"/rawstore/objects?owner={OWNER}", token=service.token(), body=b"{}")
            assert (answer.status, answer.code) == (405, "method_not_allowed")


class TestAStoreThatIsDown:
    def test_is_said_to_be_so(self) -> None:
        with live_service(S3, STORAGE_HOSTNAME="http://127.0.0.1:1") as service:
            answer = ask(service, f"owner={OWNER}&name={DATASET}", expect_unavailable=True)
            assert (answer.status, answer.code) == (503, "store_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            # What can be refused without it is.
            assert ask(service, f"owner=bob&name={DATASET}").status == 403

    def test_a_disk_with_a_damaged_file_is_one(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        root = tmp_path_factory.mktemp("objects")
        with live_service(MEMORY, STORAGE_BACKEND="disk", STORAGE_DISK_ROOT=str(root)) as service:
            upload(service, {"a.csv": CONTENT})
            (file,) = root.rglob("*.object")
            file.write_bytes(b"damaged")
            answer = ask(service, f"owner={OWNER}&name={DATASET}", expect_unavailable=True)
            assert (answer.status, answer.code) == (503, "store_unavailable")


def test_a_thousand_objects_are_one_page() -> None:
    """Of the default size; their answer comes in pieces."""
    with live_service() as service:
        paths = {f"{number:04}.csv" for number in range(1_003)}
        signed = service.sign(batch(dict.fromkeys(paths, declaration(b"")), more={"accept": ["PUT"]}))
        for file in signed.values():
            assert service.send("PUT", file["upload_url"], headers=file["upload_headers"], body=b"").status == 200
        first = page(service)
        assert len(first["objects"]) == 1_000
        rest = page(service, after=first["next"])
        assert {one["path"] for one in (*first["objects"], *rest["objects"])} == paths
        assert rest["next"] is None
        assert json.dumps(first).count(BUCKET) == 1_000
