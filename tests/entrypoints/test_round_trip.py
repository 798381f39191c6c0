"""The same way there and back on every store: `bitstore serve` as a process, a client without credentials, HTTP alone.

From store to store nothing changes but environment variables. What a store must refuse is what /info says of it, so a
claim that is not kept fails here. Whether a store enforces more than is claimed is for the contract suite to say.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from attrs import field, frozen
from azure.storage.blob import PublicAccess

from domain.uploads import SINGLE_REQUEST, Guarantee, UploadMethod
from tests.entrypoints.every_store import (
    CHECKING,
    FAKE_GCS,
    OF_THE_SERVICE,
    Choice,
    FileRequest,
    StoreClient,
    azure_variables,
    client_in_process,
    client_of,
    dataset,
)
from tests.entrypoints.http.live_service import CONTENT, OWNER, declaration, md5, sha256
from tests.live import wait_until
from tests.stores.azure_server import RunningAzurite

DONE = (200, 201, 204)
REFUSED = range(400, 500)
STRANGER = "mallory"

OTHER = CONTENT.swapcase()
FILES: Mapping[str, bytes] = {
    "data/2024/tides.csv": CONTENT,
    "empty.csv": b"",
    "Größe/übersicht 日本語 🚀.csv": b"\xff\x00\r\n" * 1_000,
}
DECLARED = {path: declaration(content) for path, content in FILES.items()}


def _params(choices: Sequence[Choice]) -> list[Any]:
    return [pytest.param(choice, id=choice.name, marks=choice.marks) for choice in choices]


on_every_store = pytest.mark.parametrize("client", _params([*CHECKING, FAKE_GCS]), indirect=True)
on_stores_that_check = pytest.mark.parametrize("client", _params(CHECKING), indirect=True)
private_and_public = pytest.mark.parametrize("findability", ["private", "published"])


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreClient]:
    """A client of a service on one store, which the tests of this module share: use datasets of your own."""
    with client_of(request.param, request, tmp_path_factory.mktemp("service")) as client:
        yield client


# There and back


@on_every_store
@private_and_public
def test_a_dataset_goes_there_and_back(client: StoreClient, findability: str) -> None:
    for accept in (list(SINGLE_REQUEST), *([method] for method in client.enforced)):
        body = dataset(DECLARED, findability=findability, accept=accept)
        signed = client.sign(body)
        (method,) = {file["upload_method"] for file in signed.values()}
        # Of those that are accepted, that on which most is enforced.
        assert len(client.enforced[method]) == max(len(client.enforced.get(one, ())) for one in accept)
        assert {file["exists"] for file in signed.values()} == {False}
        assert client.statuses(body) == dict.fromkeys(FILES, "missing")

        for path, content in FILES.items():
            assert client.upload(signed[path], content) in DONE

        assert client.statuses(body) == dict.fromkeys(FILES, "stored")
        assert {path: file["exists"] for path, file in client.sign(body).items()} == dict.fromkeys(FILES, True)
        prefixes = tuple(f"{prefix}/" for prefix in client.info()["prefixes"])
        assert all(file["object_url"].startswith(prefixes) for file in signed.values())
        assert {path: client.download(file["object_url"]).data for path, file in signed.items()} == FILES


@on_stores_that_check
@pytest.mark.parametrize("digests", ["of the parts", "of all bytes"])
def test_a_large_file_goes_there_in_parts_and_back(client: StoreClient, digests: str) -> None:
    """Broken off and resumed; a small file goes with it in one request."""
    limits = client.info()["store"].get("parts")
    if limits is None:
        pytest.skip("this store takes no files in parts")
    size = max(limits["min_bytes"], 1_000_000)
    pieces = [b"a" * size, b"b" * size, CONTENT]
    content = b"".join(pieces)
    cut = {"size": size, "md5": list(map(md5, pieces))} if digests == "of the parts" else {"size": size}
    files = {"large.bin": declaration(content, parts=cut), "small.csv": declaration()}
    body = dataset(files, accept=["MULTIPART", "PUT"])
    # Azure tells no digest of what came in blocks, and S3 none of all bytes.
    is_known = client.variables.get("STORAGE_BACKEND") != "azure" and digests == "of the parts"
    known = ("stored",) if is_known else ("stored", "unknown")
    with client_in_process(client.variables, MULTIPART_THRESHOLD="1000000") as brief:
        signed = brief.sign(body)
        begun = signed["large.bin"]
        assert (begun["upload_method"], signed["small.csv"]["upload_method"]) == ("MULTIPART", "PUT")
        assert [part["number"] for part in begun["parts"]] == [1, 2, 3]
        for part in begun["parts"][1:]:
            assert brief.send_part(part, content, size) in DONE
        assert brief.upload(signed["small.csv"], CONTENT) in DONE
        assert brief.statuses(body) == {"large.bin": "missing", "small.csv": "stored"}

        resumed = brief.ask_of_parts("resume", body, "large.bin", begun["upload_id"])
        assert [part["number"] for part in resumed["arrived"]] == [2, 3]
        (missing,) = resumed["parts"]
        assert brief.send_part(missing, content, size) in DONE
        for _ in range(2):
            assert brief.ask_of_parts("complete", body, "large.bin", begun["upload_id"])["status"] in known
        brief.ask_of_parts("abort", body, "large.bin", begun["upload_id"])
        assert brief.statuses(body)["large.bin"] in known
        assert brief.download(begun["object_url"]).data == content
        if is_known:
            again = brief.sign(body)["large.bin"]
            assert (again["exists"], again["upload_id"], again["parts"]) == (True, None, [])


@on_every_store
def test_a_second_push_of_many_files_would_send_no_more_than_the_rest(client: StoreClient) -> None:
    """So many that a store is asked for a listing."""
    contents = {f"data/part {number}+é.csv": b"%d\n" % number for number in range(40)}
    body = dataset({path: declaration(content) for path, content in contents.items()}, accept=list(SINGLE_REQUEST))
    signed, there = client.sign(body), list(contents)[::2]
    for path in there:
        assert client.upload(signed[path], contents[path]) in DONE
    assert {path: file["exists"] for path, file in client.sign(body).items()} == {
        path: path in there for path in signed
    }
    assert client.statuses(body) == {path: "stored" if path in there else "missing" for path in signed}


@on_every_store
def test_a_dataset_is_listed_and_fetched_as_a_whole(client: StoreClient) -> None:
    """By those who know of it nothing but its name."""
    contents = {**FILES, **{f"data/part {number}+é.csv": b"%d\n" % number for number in range(9)}}
    declared = {path: declaration(content) for path, content in contents.items()}
    body, neighbour = dataset(declared), dataset({"a.csv": declaration()})
    neighbour["metadata"]["name"] = f"{body['metadata']['name']}2"
    signed = client.sign(body)
    for path, content in contents.items():
        assert client.upload(signed[path], content) in DONE
    assert client.upload(client.sign(neighbour)["a.csv"], CONTENT) in DONE

    listed = client.list_all(body["metadata"]["name"], limit=5)
    assert {one["path"]: one["object_url"] for one in listed} == {
        path: file["object_url"] for path, file in signed.items()
    }
    assert len(listed) == len(contents)
    for one in listed:
        content = contents[one["path"]]
        assert (one["length"], one["md5"]) == (len(content), declared[one["path"]]["md5"])
        assert one.get("sha256") in (None, sha256(content))

    by_path = {"metadata": body["metadata"], "paths": [one["path"] for one in listed]}
    by_url = {"metadata": {"owner": OWNER}, "urls": [one["object_url"] for one in listed]}
    for names in (by_path, by_url):
        urls = client.presign_many(names).values()
        fetched = [client.http.request("GET", one["url"]).data for one in urls]
        assert dict(zip(by_path["paths"], fetched, strict=True)) == contents


@on_every_store
def test_a_client_that_says_nothing_of_methods_is_served(client: StoreClient) -> None:
    """Like the deployed ones, which send forms: wherever the store takes any."""
    body = dataset(DECLARED)
    signed = client.sign(body)
    default = UploadMethod.POST if UploadMethod.POST in client.enforced else UploadMethod.PUT
    assert {file["upload_method"] for file in signed.values()} == {default}
    for path, content in FILES.items():
        assert client.upload(signed[path], content) in DONE
    assert client.statuses(body) == dict.fromkeys(FILES, "stored")


@on_every_store
def test_an_address_is_understood_as_it_is(client: StoreClient) -> None:
    """Deployed clients don't encode it in the query."""
    for file in client.sign(dataset(DECLARED)).values():
        answer = client.presign(f"ownerid={OWNER}&url={file['object_url']}")
        assert answer.status == 200
        assert answer.json["url"].startswith(f"{file['object_url']}?")


@on_stores_that_check
def test_a_download_is_saved_under_the_name_asked_for(client: StoreClient) -> None:
    signed = client.sign(dataset({"a.csv": declaration()}))["a.csv"]
    assert client.upload(signed, CONTENT) in DONE
    answer = client.download(signed["object_url"], filename="Größe 1.csv")
    assert (answer.status, answer.data) == (200, CONTENT)
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment")
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.csv" in disposition


@on_stores_that_check
@private_and_public
def test_strangers_read_no_private_files(client: StoreClient, findability: str) -> None:
    """And public ones where access is enforced; elsewhere the bucket itself decides, and these are private."""
    for method, enforced in client.enforced.items():
        signed = client.sign(dataset({"a.csv": declaration()}, findability=findability, accept=[method]))["a.csv"]
        assert client.upload(signed, CONTENT) in DONE
        answer = client.http.request("GET", signed["object_url"])
        if findability == "published" and Guarantee.ACCESS in enforced:
            assert (answer.status, answer.data) == (200, CONTENT)
        else:
            assert answer.status in REFUSED


@pytest.mark.parametrize("level", [PublicAccess.BLOB, PublicAccess.CONTAINER])
def test_a_container_that_everybody_may_read_takes_no_private_files(
    azurite: RunningAzurite, level: PublicAccess
) -> None:
    container = f"public-{uuid4().hex}"
    azurite.client(container).create_container(public_access=level)
    variables = {**OF_THE_SERVICE, **azure_variables(azurite), "STORAGE_BUCKET_NAME": container}
    with client_in_process(variables) as client:
        refused = client.authorize(dataset({"a.csv": declaration()}, findability="private"))
        assert (refused.status, refused.code) == (400, "unsupported_by_store")
        assert "private files" in refused.json["error"]["message"]
        signed = client.sign(dataset({"a.csv": declaration()}, findability="published"))["a.csv"]
        assert client.upload(signed, CONTENT) in DONE
        assert client.http.request("GET", signed["object_url"]).data == CONTENT


# What the store refuses, and what /verify tells where it doesn't


@on_every_store
def test_other_bytes_of_the_same_length_are_told_apart_or_refused(client: StoreClient) -> None:
    for method in client.enforced:
        body = dataset({"a.csv": declaration()}, accept=[method])
        request = FileRequest.of(client.sign(body)["a.csv"]).silent_on("Content-MD5")
        let_in = client.upload(request, OTHER) in DONE
        assert client.statuses(body) == {"a.csv": "different" if let_in else "missing"}
        assert client.sign(body)["a.csv"]["exists"] is False


@frozen
class Tampering:
    """What a client does with the request for a file that is `declared` so, to send `content` instead.

    Where `guarantee` is claimed, each way is refused and leaves nothing; nothing else that was declared could tell.
    """

    guarantee: Guarantee
    ways: Callable[[FileRequest], Sequence[FileRequest]] = lambda request: [request]
    content: bytes = CONTENT
    declared: Mapping[str, object] = field(factory=declaration)


def _as_public(request: FileRequest) -> Sequence[FileRequest]:
    return request.lying_about("acl" if request.method == "POST" else "x-amz-acl", "public-read")


def _with_other_md5(request: FileRequest) -> Sequence[FileRequest]:
    return [request, *request.lying_about("Content-MD5", str(declaration(OTHER)["md5"]))]


def _with_other_sha256(request: FileRequest) -> Sequence[FileRequest]:
    return [request, *request.lying_about("x-amz-checksum-sha256", sha256(OTHER))]


WITHOUT_DIGEST = declaration(md5=None)
BY_SHA256 = declaration(md5=None, sha256=sha256())

TAMPERINGS: Mapping[str, Tampering] = {
    "one byte more": Tampering(Guarantee.LENGTH, content=CONTENT + b"!", declared=WITHOUT_DIGEST),
    "one byte less": Tampering(Guarantee.LENGTH, content=CONTENT[:-1], declared=WITHOUT_DIGEST),
    "no bytes": Tampering(Guarantee.LENGTH, content=b"", declared=WITHOUT_DIGEST),
    "another type": Tampering(Guarantee.TYPE, lambda request: request.lying_about("Content-Type", "text/html")),
    "other bytes, seen by the md5": Tampering(Guarantee.MD5, _with_other_md5, OTHER),
    "other bytes, seen by the sha256": Tampering(Guarantee.SHA256, _with_other_sha256, OTHER, BY_SHA256),
    "private as public": Tampering(Guarantee.ACCESS, _as_public),
}


@on_stores_that_check
@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_that_the_store_is_said_to_notice_is_refused(client: StoreClient, name: str) -> None:
    tampering = TAMPERINGS[name]
    if not client.claims(tampering.guarantee):
        pytest.skip(f"/info doesn't claim of this store that it enforces {tampering.guarantee}")
    for method in client.claims(tampering.guarantee):
        body = dataset({"a.csv": tampering.declared}, accept=[method])
        ways = tampering.ways(FileRequest.of(client.sign(body)["a.csv"]))
        statuses = [client.upload(way, tampering.content) for way in ways]
        assert statuses, f"there is nothing to tamper with in a {method}"
        assert all(status in REFUSED for status in statuses), (method, statuses)
        assert client.statuses(body) == {"a.csv": "missing"}


@on_stores_that_check
def test_a_request_is_good_for_its_own_key_alone(client: StoreClient) -> None:
    assert client.claims(Guarantee.KEY) == list(client.enforced)
    declared = dict.fromkeys(("data/a.csv", "data/a.csvx", "data/a.cs", "dat/aa.csv"), declaration())
    for method in client.enforced:
        body = dataset(declared, accept=[method])
        key, *others = (f"{OWNER}/{body['metadata']['name']}/{path}" for path in declared)
        request = FileRequest.of(client.sign(body)["data/a.csv"])
        for other in (*others, key.replace(OWNER, STRANGER, 1)):
            assert client.upload(request.to(key, other), CONTENT) in REFUSED, (method, other)
        assert client.statuses(body) == dict.fromkeys(declared, "missing")


@on_stores_that_check
def test_a_request_that_comes_too_late_is_refused(client: StoreClient) -> None:
    with client_in_process(client.variables, UPLOAD_EXPIRES_SECONDS="1") as brief:
        assert brief.claims(Guarantee.EXPIRY) == list(brief.enforced)
        bodies = [dataset({"a.csv": declaration(), "b.csv": declaration()}, accept=[way]) for way in brief.enforced]
        for body, signed in [(body, brief.sign(body)) for body in bodies]:
            _wait_for_the_end_of(brief, signed["a.csv"])
            assert brief.upload(signed["b.csv"], CONTENT) in REFUSED, body["accept"]
            assert brief.statuses(body)["b.csv"] == "missing"


def _wait_for_the_end_of(client: StoreClient, signed: Mapping[str, Any]) -> None:
    ends = datetime.fromisoformat(signed["expires_at"])
    wait_until(lambda: datetime.now(UTC) >= ends)
    # A store that counts whole seconds lets it in until the last one is over.
    wait_until(lambda: client.upload(signed, CONTENT) in REFUSED)


@on_stores_that_check
def test_an_object_that_must_not_be_replaced_is_not(client: StoreClient) -> None:
    for method in client.claims(Guarantee.NO_OVERWRITE):
        body = dataset({"a.csv": declaration()}, accept=[method], overwrite=False)
        again = {**body, "filedata": {"a.csv": declaration(OTHER)}}
        signed, signed_again = (client.sign(one)["a.csv"] for one in (body, again))
        assert client.upload(signed, CONTENT) in DONE
        request = FileRequest.of(signed_again)
        for tampered in (request, request.silent_on("If-None-Match")):
            assert client.upload(tampered, OTHER) in REFUSED, method
        assert client.statuses(body) == {"a.csv": "stored"}


# What the service refuses


@on_every_store
def test_only_what_info_lists_can_be_required(client: StoreClient) -> None:
    for method, enforced in client.enforced.items():
        for guarantee in Guarantee:
            answer = client.authorize(dataset({"a.csv": declaration()}, accept=[method], require=[guarantee]))
            if guarantee in enforced:
                assert answer.status == 200, (method, guarantee)
            else:
                assert (answer.status, answer.code) == (400, "unsupported_by_store"), (method, guarantee)
                assert guarantee in answer.json["error"]["message"]


@on_every_store
def test_a_client_that_can_send_nothing_that_the_store_takes_is_told_what_to_send(client: StoreClient) -> None:
    lacking = [method for method in SINGLE_REQUEST if method not in client.enforced]
    for accept in (*([method] for method in lacking), ["TELEGRAPH"], []):
        answer = client.authorize(dataset({"a.csv": declaration()}, accept=accept))
        assert (answer.status, answer.code) == (400, "unsupported_by_store")
        told = answer.json["error"]["message"]
        assert "accept" in told
        assert [method for method in SINGLE_REQUEST if method in told] == list(client.enforced)


@on_every_store
def test_what_is_anothers_stays_theirs(client: StoreClient) -> None:
    body = dataset({"a.csv": declaration()})
    own = client.sign(body)["a.csv"]["object_url"]
    theirs = own.replace(f"/{OWNER}/", f"/{STRANGER}/")
    assert theirs != own
    stranger = client.token(STRANGER)
    for answer in (
        client.presign(f"ownerid={OWNER}&url={quote(theirs, safe='')}"),
        client.presign(f"ownerid={STRANGER}&url={quote(theirs, safe='')}"),
        client.presign(f"ownerid={OWNER}&url={quote(own, safe='')}", userid=STRANGER),
        client.presign(f"ownerid={STRANGER}&url={quote(own, safe='')}", userid=STRANGER),
        client.authorize(body, token=stranger),
        client.verify(body, token=stranger),
        client.list_page(body["metadata"]["name"], token=stranger),
        client.ask_presign_many({"metadata": body["metadata"], "paths": ["a.csv"]}, token=stranger),
        client.ask_presign_many({"metadata": body["metadata"], "urls": [own]}, token=stranger),
    ):
        assert (answer.status, answer.code) == (403, "not_owner")


@on_every_store
def test_an_address_elsewhere_is_refused(client: StoreClient) -> None:
    own = client.sign(dataset({"a.csv": declaration()}))["a.csv"]["object_url"]
    bucket = client.variables["STORAGE_BUCKET_NAME"]
    for elsewhere in (own.replace(f"/{bucket}/", "/another-bucket/"), "https://example.com/a.csv"):
        answer = client.presign(f"ownerid={OWNER}&url={quote(elsewhere, safe='')}")
        assert (answer.status, answer.code) == (400, "invalid_url")


# Health


@on_every_store
def test_the_service_is_ready(client: StoreClient) -> None:
    answer = client.send("GET", "/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ready"})


@pytest.mark.parametrize("choice", _params([choice for choice in (*CHECKING, FAKE_GCS) if choice.start]))
def test_a_store_that_was_stopped_is_named_and_stops_no_signing(choice: Choice, tmp_path: Path) -> None:
    assert choice.start is not None
    with ExitStack() as stack:
        variables = {**OF_THE_SERVICE, **choice.variables(stack.enter_context(choice.start(tmp_path)))}
        with client_in_process(variables) as client:
            body = dataset({"a.csv": declaration()})
            assert client.send("GET", "/readyz").status == 200
            assert client.sign(body)["a.csv"]["exists"] is False

            stack.close()

            answer = client.send("GET", "/readyz", expect_unavailable=True)
            assert (answer.status, answer.json["status"]) == (503, "not ready")
            assert int(answer.headers["Retry-After"]) > 0
            (problem,) = answer.json["problems"]
            assert re.match(
                r"the container doesn't answer|the object store fails at HeadBucket|Cloud Storage can't be asked",
                problem,
            )
            assert client.sign(body)["a.csv"]["exists"] is None
            for refused in (
                client.verify(body, expect_unavailable=True),
                client.list_page(body["metadata"]["name"], expect_unavailable=True),
            ):
                assert (refused.status, refused.code) == (503, "store_unavailable")
                assert int(refused.headers["Retry-After"]) > 0
