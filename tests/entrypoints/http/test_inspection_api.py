"""What the store holds, as clients are told: `exists` in the answer of /authorize, and POST /verify."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from attrs import frozen

from domain.files import Md5
from entrypoints import wiring
from tests.entrypoints.http.live_service import (
    CONTENT,
    DATASET,
    MEMORY,
    OWNER,
    Answer,
    LiveService,
    batch,
    declaration,
    live_service,
    sha256,
)
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy
from tests.stores.servers import RunningStore

OTHER = CONTENT.swapcase()
DEADLINE = 1
SLACK = 10
BACKENDS = ["memory", "disk", "seaweedfs"]


def environment(store: RunningStore, origin: str) -> Mapping[str, str]:
    """The settings for a store that is reached at `origin`."""
    return {
        "DATAHUB_PUBLIC_KEY": MEMORY["DATAHUB_PUBLIC_KEY"],
        "STORAGE_HOSTNAME": origin,
        "STORAGE_FLAVOUR": store.flavour,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
    }


@contextmanager
def serving_on(backend: str, request: pytest.FixtureRequest, **changes: str) -> Iterator[LiveService]:
    with ExitStack() as stack:
        if backend == "seaweedfs":
            store: RunningStore = request.getfixturevalue("seaweedfs")
            base = environment(store, store.endpoint_url)
        else:
            root = request.getfixturevalue("tmp_path_factory").mktemp("objects")
            base = (
                MEMORY if backend == "memory" else {**MEMORY, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(root)}
            )
        yield stack.enter_context(live_service(base, changes))


@pytest.fixture(scope="module", params=BACKENDS)
def service(request: pytest.FixtureRequest) -> Iterator[LiveService]:
    with serving_on(request.param, request) as service:
        yield service


@pytest.fixture(scope="module")
def memory() -> Iterator[LiveService]:
    with live_service() as service:
        yield service


@pytest.fixture(scope="module", params=BACKENDS)
def by_content(request: pytest.FixtureRequest) -> Iterator[LiveService]:
    """A service that makes keys of the content."""
    with serving_on(request.param, request, STORAGE_PATH_PATTERN="blobs/{sha256_hex}{extension}") as service:
        yield service


def exists(service: LiveService, body: Any) -> dict[str, bool | None]:
    """Ask /authorize; both spellings of the answer say the same."""
    answer = service.authorize(body)
    assert answer.status == 200
    assert answer.json["fileData"] == answer.json["filedata"]
    return {path: file["exists"] for path, file in answer.json["fileData"].items()}


def upload(service: LiveService, body: Any, contents: Mapping[str, bytes]) -> None:
    """Send the files that a batch declares, by its forms."""
    signed = service.sign(body)
    for path, content in contents.items():
        form = urllib3.encode_multipart_formdata([*signed[path]["upload_query"].items(), ("file", content)])
        answer = service.send("POST", signed[path]["upload_url"], body=form[0], headers={"Content-Type": form[1]})
        assert answer.status in (200, 204)


def ask_verify(service: LiveService, body: object, **options: Any) -> Answer:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.send("POST", "/rawstore/verify", **{"token": service.token(), "body": encoded, **options})


def verify(service: LiveService, body: object) -> dict[str, Any]:
    answer = ask_verify(service, body)
    assert answer.status == 200
    assert answer.json.keys() == {"files"}
    files: dict[str, Any] = answer.json["files"]
    return files


def found(content: bytes, stored: Mapping[str, Any]) -> dict[str, object]:
    """What is found of `content`: its length and MD5; its SHA-256 too, where the store has told it."""
    known = {"sha256": sha256(content)} if "sha256" in stored else {}
    return {"length": len(content), "md5": declaration(content)["md5"], **known}


class TestExists:
    def test_is_true_once_these_bytes_are_there(self, service: LiveService) -> None:
        body = batch(metadata={"name": "once"})
        assert exists(service, body) == {"a.csv": False}
        upload(service, body, {"a.csv": CONTENT})
        assert exists(service, body) == {"a.csv": True}

    def test_is_false_for_other_bytes(self, service: LiveService) -> None:
        """Of the same length, of another, at a neighbouring key, in another dataset, by the same digest of old."""
        name = {"name": "other-bytes"}
        upload(service, batch(metadata=name), {"a.csv": CONTENT})
        declared = {
            "a.csv": declaration(OTHER),
            "a.csv.bak": declaration(),
            "A.csv": declaration(),
            "a.cs": declaration(),
            "a.csv/a.csv": declaration(),
        }
        assert exists(service, batch(declared, name)) == dict.fromkeys(declared, False)
        assert exists(service, batch({"a.csv": declaration(CONTENT + b"!")}, name)) == {"a.csv": False}
        assert exists(service, batch(metadata={"name": "other-bytes-2"})) == {"a.csv": False}

    def test_a_second_push_of_a_large_dataset_would_send_nothing_again(self, service: LiveService) -> None:
        contents = {f"data/part {number}+é.csv": b"%d\n" % number for number in range(40)}
        body = batch({path: declaration(content) for path, content in contents.items()}, {"name": "large"})
        first = dict(list(contents.items())[:30])
        upload(service, body, first)
        assert exists(service, body) == {path: path in first for path in contents}
        upload(service, body, contents)
        assert exists(service, body) == dict.fromkeys(contents, True)

    def test_equal_files_are_one_object_where_the_content_makes_the_key(self, by_content: LiveService) -> None:
        same, other = declaration(sha256=sha256()), declaration(OTHER, sha256=sha256(OTHER))
        declared = {"a.csv": same, "copies/b.csv": same, "c.csv": other}
        body = batch(declared)
        assert exists(by_content, body) == dict.fromkeys(declared, False)
        upload(by_content, body, {"copies/b.csv": CONTENT})
        assert exists(by_content, body) == {"a.csv": True, "copies/b.csv": True, "c.csv": False}
        # Another user who has these bytes needn't send them again either.
        answer = by_content.authorize(batch({"a.csv": same}, {"owner": "bob"}), token=by_content.token("bob"))
        assert answer.json["fileData"]["a.csv"]["exists"] is True
        assert {path: file["status"] for path, file in verify(by_content, body).items()} == {
            "a.csv": "stored",
            "copies/b.csv": "stored",
            "c.csv": "missing",
        }

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_is_null_where_the_operator_wants_no_questions(self, backend: str, request: pytest.FixtureRequest) -> None:
        with serving_on(backend, request, INSPECT_ON_AUTHORIZE="false") as service:
            body = batch(metadata={"name": "no-questions"})
            upload(service, body, {"a.csv": CONTENT})
            assert exists(service, body) == {"a.csv": None}
            assert verify(service, body)["a.csv"]["status"] == "stored"


class TestVerify:
    def test_tells_of_each_file_what_came_of_it(self, service: LiveService) -> None:
        declared = {
            "whole.csv": declaration(),
            "changed.csv": declaration(OTHER),
            "cut.csv": declaration(CONTENT + b"more"),
            "absent.csv": declaration(),
            "empty.csv": declaration(b""),
        }
        name = {"name": "each-file"}
        sent = {"whole.csv": CONTENT, "changed.csv": CONTENT, "cut.csv": CONTENT, "empty.csv": b""}
        upload(service, batch({path: declaration(content) for path, content in sent.items()}, name), sent)
        files = verify(service, batch(declared, name))
        assert list(files) == list(declared)
        assert files["absent.csv"] == {"status": "missing"}
        statuses = {"whole.csv": "stored", "changed.csv": "different", "cut.csv": "different", "empty.csv": "stored"}
        for path, status in statuses.items():
            assert files[path] == {"status": status, "found": found(sent[path], files[path]["found"])}

    def test_tells_what_it_can_of_a_file_that_declares_a_sha256_alone(self, service: LiveService) -> None:
        name = {"name": "sha256-alone"}
        upload(service, batch(metadata=name), {"a.csv": CONTENT})
        right_body, wrong_body = (
            batch({"a.csv": declaration(md5=None, sha256=sha256(content))}, name) for content in (CONTENT, OTHER)
        )
        right, wrong = verify(service, right_body)["a.csv"], verify(service, wrong_body)["a.csv"]
        assert right["found"] == wrong["found"] == found(CONTENT, right["found"])
        # SeaweedFS knows the SHA-256 of what came with one, and this came with an MD5 alone.
        knows = "sha256" in right["found"]
        assert (right["status"], wrong["status"]) == (("stored", "different") if knows else ("unknown", "unknown"))
        assert exists(service, right_body) == {"a.csv": True if knows else None}
        assert exists(service, wrong_body) == {"a.csv": False if knows else None}

    def test_what_the_store_will_not_tell_is_unknown(self, seaweedfs: RunningStore) -> None:
        async def forbid(asked: Asked) -> Reply | None:
            return Reply(403) if asked.method == "HEAD" and "secret" in asked.path else None

        with (
            store_proxy(seaweedfs.endpoint_url) as proxy,
            live_service(environment(seaweedfs, proxy.origin)) as service,
        ):
            proxy.instead = forbid
            body = batch({"secret.csv": declaration(), "a.csv": declaration()}, {"name": "forbidden"})
            assert verify(service, body) == {"secret.csv": {"status": "unknown"}, "a.csv": {"status": "missing"}}
            assert exists(service, body) == {"secret.csv": None, "a.csv": False}

    def test_changes_nothing(self, service: LiveService) -> None:
        body = batch(metadata={"name": "nothing-changes"})
        assert verify(service, body) == {"a.csv": {"status": "missing"}}
        assert verify(service, body) == {"a.csv": {"status": "missing"}}

    def test_a_wish_that_concerns_the_upload_alone_does_not_matter(self, service: LiveService) -> None:
        body = batch(metadata={"name": "wishes"}, more={"accept": ["PUT"], "overwrite": False, "require": ["md5"]})
        assert verify(service, body) == {"a.csv": {"status": "missing"}}


# Requests that neither route accepts: with which token, and what. None is no token.
REFUSED: list[tuple[str, str | None, object]] = [
    ("token_missing", None, batch()),
    ("token_invalid", "testing-token", batch()),
    ("not_owner", "bob", batch()),
    ("permission_missing", "no permissions", batch()),
    ("invalid_json", OWNER, b"{"),
    ("invalid_request", OWNER, {"metadata": {}}),
    ("invalid_owner", OWNER, batch(metadata={"owner": None})),
    ("invalid_dataset", OWNER, batch(metadata={"name": ".."})),
    ("empty_batch", OWNER, batch({})),
    ("too_many_files", OWNER, batch({f"{number}.csv": declaration() for number in range(10_001)})),
    ("body_too_large", OWNER, b" " * (8 * 1024**2 + 1)),
    ("invalid_batch", OWNER, batch({"../a.csv": declaration(), "b.csv": {"length": -1}, "c.csv": declaration()})),
]


@pytest.mark.parametrize(("code", "shown", "body"), [pytest.param(*case, id=case[0]) for case in REFUSED])
def test_verify_refuses_what_authorize_refuses(memory: LiveService, code: str, shown: str | None, body: object) -> None:
    tokens = {
        None: None,
        OWNER: memory.token(),
        "bob": memory.token("bob"),
        "no permissions": memory.token(permissions={}),
    }
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    verified, authorized = (
        memory.send("POST", f"/rawstore/{route}", token=tokens.get(shown, shown), body=encoded)
        for route in ("verify", "authorize")
    )
    assert verified.code == code
    assert verified.status == authorized.status
    assert verified.json == authorized.json


def test_verify_is_a_post(memory: LiveService) -> None:
    answer = memory.send("GET", "/rawstore/verify", token=memory.token())
    assert (answer.status, answer.code) == (405, "method_not_allowed")


# When the store is down, or slow


@frozen
class Weak:
    """A service that reaches its store through a proxy, which can be stopped for good."""

    service: LiveService
    proxy: StoreProxy
    stop_store: Callable[[], None]


@pytest.fixture
def weak(seaweedfs: RunningStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weak]:
    """A service with a deadline of a second, for /verify too."""
    monkeypatch.setattr(wiring, "VERIFY_PATIENCE", timedelta(0))
    with ExitStack() as proxy_stack:
        proxy = proxy_stack.enter_context(store_proxy(seaweedfs.endpoint_url))
        settings = environment(seaweedfs, proxy.origin)
        with live_service(settings, INSPECT_TIMEOUT_SECONDS=str(DEADLINE)) as service:
            yield Weak(service, proxy, proxy_stack.close)


def batch_of(count: int) -> tuple[list[str], dict[str, object]]:
    """Declare so many files in a dataset of their own; gives their paths as well."""
    paths = [f"{number}.csv" for number in range(count)]
    return paths, batch({path: declaration() for path in paths}, {"name": uuid4().hex})


def assert_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.code) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("count", [1, 40])
def test_a_store_that_was_stopped_stops_no_signing(weak: Weak, count: int) -> None:
    paths, body = batch_of(count)
    assert exists(weak.service, body) == dict.fromkeys(paths, False)
    weak.stop_store()
    began = time.monotonic()
    assert exists(weak.service, body) == dict.fromkeys(paths)
    assert time.monotonic() - began < DEADLINE + SLACK
    assert_unavailable(ask_verify(weak.service, body, expect_unavailable=True))


@pytest.mark.parametrize("count", [1, 40])
def test_a_store_that_hangs_delays_signing_until_the_deadline_alone(weak: Weak, count: int) -> None:
    async def hang(asked: Asked) -> None:
        await asked.stall()

    weak.proxy.instead = hang
    paths, body = batch_of(count)
    began = time.monotonic()
    assert exists(weak.service, body) == dict.fromkeys(paths)
    assert_unavailable(ask_verify(weak.service, body, expect_unavailable=True))
    assert time.monotonic() - began < 2 * DEADLINE + SLACK
    weak.proxy.instead = None
    assert exists(weak.service, body) == dict.fromkeys(paths, False)


def test_what_was_learnt_in_time_is_told(weak: Weak) -> None:
    async def hang(asked: Asked) -> None:
        if asked.path.endswith("1.csv"):
            await asked.stall()

    _, body = batch_of(2)
    upload(weak.service, body, {"0.csv": CONTENT})
    weak.proxy.instead = hang
    assert exists(weak.service, body) == {"0.csv": True, "1.csv": None}


def test_a_faulty_store_is_no_fault_of_ours(weak: Weak) -> None:
    paths, body = batch_of(40)
    for reply in (Reply(500), Reply(200, b"<html>"), Reply(200, b"<html/>"), Reply(307, headers={"Location": "/"})):

        async def answer(_: Asked, reply: Reply = reply) -> Reply:
            return reply

        weak.proxy.instead = answer
        assert exists(weak.service, body) == dict.fromkeys(paths)
        assert_unavailable(ask_verify(weak.service, body, expect_unavailable=True))


def test_a_failure_tells_neither_keys_nor_addresses(weak: Weak, seaweedfs: RunningStore) -> None:
    weak.stop_store()
    answer = ask_verify(weak.service, batch(), expect_unavailable=True)
    for hidden in (weak.proxy.origin.removeprefix("http://"), seaweedfs.secret_access_key, DATASET):
        assert hidden.encode() not in answer.body


def test_a_disk_that_is_gone_stops_no_signing(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("disk") / "root"
    with live_service(MEMORY, STORAGE_BACKEND="disk", STORAGE_DISK_ROOT=str(root)) as service:
        assert exists(service, batch()) == {"a.csv": False}
        root.rename(root.with_name("elsewhere"))
        assert exists(service, batch()) == {"a.csv": None}
        assert_unavailable(ask_verify(service, batch(), expect_unavailable=True))


def test_the_digests_of_answers_are_those_of_requests(service: LiveService) -> None:
    """Base64, as in the declaration; not the hexadecimal digits of an ETag."""
    body = batch(metadata={"name": "spelling"})
    upload(service, body, {"a.csv": CONTENT})
    told = verify(service, body)["a.csv"]["found"]["md5"]
    assert Md5.fault(told) is None
    assert told == declaration()["md5"]
