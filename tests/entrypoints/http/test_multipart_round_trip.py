"""A file in parts through the whole service, by plain HTTP, on the stores whose bytes it serves itself."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from tests.entrypoints.http.live_service import (
    DATASET,
    MEMORY,
    OWNER,
    LiveService,
    batch,
    declaration,
    live_service,
    sha256,
)

MIB = 1 << 20
PART_BYTES = 5 * MIB
CONTENT = b"".join(hashlib.sha512(number.to_bytes(4, "big")).digest() for number in range(11 * MIB // 64)) + b"tail"
PATH = "tides/räw 1.bin"


@pytest.fixture(scope="module", params=["disk", "memory"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    if request.param == "memory":
        return MEMORY
    return {**MEMORY, "STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(tmp_path_factory.mktemp("objects"))}


@pytest.fixture(scope="module")
def service(base: Mapping[str, str]) -> Iterator[LiveService]:
    # Less than a part: what bounds single requests doesn't bound parts.
    with live_service(base, MAX_FILE_BYTES=str(MIB)) as running:
        yield running


def declared() -> dict[str, object]:
    return declaration(CONTENT, sha256=sha256(CONTENT), type="text/x-tides", parts={"size": PART_BYTES})


def authorize(service: LiveService, **metadata: object) -> dict[str, Any]:
    wishes = {"accept": ["MULTIPART"], "overwrite": False, "require": ["length", "md5", "sha256", "type", "access"]}
    file: dict[str, Any] = service.sign(batch({PATH: declared()}, metadata, wishes))[PATH]
    assert file["upload_method"] == "MULTIPART"
    return file


def ask(service: LiveService, what: str, upload_id: str, **metadata: object) -> dict[str, Any]:
    body = {
        "metadata": {"owner": OWNER, "name": DATASET, **metadata},
        "path": PATH,
        "file": declared(),
        "upload_id": upload_id,
        "overwrite": False,
    }
    answer = service.send("POST", f"/rawstore/multipart/{what}", token=service.token(), body=json.dumps(body).encode())
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json
    return told


def send(http: urllib3.PoolManager, parts: Sequence[Mapping[str, Any]]) -> None:
    for part in parts:
        start = (part["number"] - 1) * PART_BYTES
        body = CONTENT[start : start + part["length"]]
        answer = http.request("PUT", part["url"], body=body, headers=part["headers"])
        assert answer.status == 200, answer.data
        assert answer.headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


def test_a_file_goes_in_by_parts_and_comes_out_whole(service: LiveService) -> None:
    begun = authorize(service, findability="private")
    assert (begun["exists"], begun["part_size"], begun["part_count"]) == (False, PART_BYTES, 3)
    assert [part["length"] for part in begun["parts"]] == [PART_BYTES, PART_BYTES, len(CONTENT) - 2 * PART_BYTES]
    upload_id = begun["upload_id"]
    send(service.http, [begun["parts"][2]])
    resumed = ask(service, "resume", upload_id, findability="private")
    assert resumed["arrived"] == [{"number": 3, "length": len(CONTENT) - 2 * PART_BYTES}]
    assert [part["number"] for part in resumed["parts"]] == [1, 2]
    send(service.http, resumed["parts"])
    assert service.http.request("GET", begun["object_url"]).status == 403
    for _ in range(2):
        assert ask(service, "complete", upload_id, findability="private")["status"] == "stored"
    assert ask(service, "resume", upload_id, findability="private")["complete"] is True

    assert service.http.request("GET", begun["object_url"]).status == 403
    presigned = service.presign(f"url={quote(begun['object_url'], safe='')}&ownerid={OWNER}")
    download = service.http.request("GET", presigned.json["url"])
    assert download.data == CONTENT
    assert download.headers["Content-Type"] == "text/x-tides"
    again = authorize(service, findability="private")
    assert (again["exists"], again["upload_id"], again["parts"]) == (True, None, [])
    # Once the object is there, its URLs are good for nothing.
    late = service.http.request("PUT", begun["parts"][0]["url"], body=CONTENT[:PART_BYTES])
    assert late.status == 404
    assert b"<Code>NoSuchUpload</Code>" in late.data


def test_an_upload_that_was_aborted_takes_no_more_parts(service: LiveService) -> None:
    begun = authorize(service, name="aborted")
    send(service.http, begun["parts"][:1])
    assert ask(service, "abort", begun["upload_id"], name="aborted") == {"aborted": True}
    late = service.http.request("PUT", begun["parts"][1]["url"], body=CONTENT[PART_BYTES : 2 * PART_BYTES])
    assert late.status == 404
    assert authorize(service, name="aborted")["exists"] is False


@pytest.mark.parametrize(("acl", "status"), [("auto", 200), ("private", 403)])
def test_public_files_are_for_all_unless_the_operator_keeps_all_private(
    base: Mapping[str, str], acl: str, status: int
) -> None:
    with live_service(base, STORAGE_ACL=acl) as service:
        file = service.sign(batch({PATH: declared()}, {"name": acl}, {"accept": ["MULTIPART"]}))[PATH]
        send(service.http, file["parts"])
        assert ask(service, "complete", file["upload_id"], name=acl)["status"] == "stored"
        assert service.http.request("GET", file["object_url"]).status == status
