"""Every store that runs here as an operator chooses it, by environment variables alone, and a client of the service."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
import urllib3
from attrs import evolve, field, frozen

from domain.uploads import SINGLE_REQUEST, Guarantee, UploadMethod
from tests.adapters.stores.google import key_file, pem, private_key
from tests.entrypoints.http.live_service import OWNER, Answer, LiveService, batch, live_service
from tests.serve import bitstore_serve
from tests.stores.azure_server import RunningAzurite, start_azurite
from tests.stores.ceph import start_ceph
from tests.stores.gcs import RunningGcs, start_fake_gcs
from tests.stores.servers import RunningStore, start_ministack, start_seaweedfs
from tests.tokens import public_pem, rsa_key

Variables = Mapping[str, str]

# A file need not declare a digest, so that a store can be seen to notice another length by the length alone.
OF_THE_SERVICE: Variables = {"DATAHUB_PUBLIC_KEY": public_pem(rsa_key()), "REQUIRE_DIGEST": "false"}

_SIGNATURES = re.compile(r"signature=|[?&]sig=|policy", re.IGNORECASE)


@frozen
class Choice:
    """A store, and the variables that choose it.

    `fixture` gives what `variables` makes them of: a store that runs, or what makes folders. `start` runs another
    store of this kind, in an empty folder, that a test may stop; None for those within the service.
    """

    name: str
    variables: Callable[[Any], Variables]
    fixture: str = "tmp_path_factory"
    start: Callable[[Path], AbstractContextManager[Any]] | None = None
    marks: Sequence[pytest.MarkDecorator] = ()


def _on_disk(folders: pytest.TempPathFactory) -> Variables:
    return {**_embedded("disk"), "STORAGE_DISK_ROOT": str(folders.mktemp("objects"))}


def _in_memory(_: pytest.TempPathFactory) -> Variables:
    return _embedded("memory")


def _embedded(backend: str) -> Variables:
    return {
        "STORAGE_BACKEND": backend,
        "STORAGE_BUCKET_NAME": "bitstore-tests",
        "STORAGE_ACCESS_KEY_ID": "bitstore",
        "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
    }


def s3_variables(store: RunningStore) -> Variables:
    """The variables that the original README names, with the flavour added."""
    return {
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_FLAVOUR": store.flavour,
    }


def azure_variables(store: RunningAzurite) -> Variables:
    """The account's key, and a container."""
    return {
        "STORAGE_BACKEND": "azure",
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_BUCKET_NAME": store.container,
        "STORAGE_ACCESS_KEY_ID": store.account,
        "STORAGE_SECRET_ACCESS_KEY": store.key,
    }


def _gcs(store: RunningGcs) -> Variables:
    return {
        "STORAGE_BACKEND": "gcs",
        "STORAGE_HOSTNAME": store.origin,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_GCS_CREDENTIALS": json.dumps(key_file(store.token_uri)),
    }


CHECKING = (
    Choice("disk", _on_disk),
    Choice("memory", _in_memory),
    Choice("seaweedfs", s3_variables, "seaweedfs", start_seaweedfs),
    Choice("ministack", s3_variables, "ministack", start_ministack),
    Choice("ceph", s3_variables, "ceph", start_ceph, [pytest.mark.debian]),
    Choice("azurite", azure_variables, "azurite", start_azurite),
)
"""The stores that check what was signed."""

# Its name becomes a part of the names of all tests that it passes.
FAKE_GCS = Choice("fake gcs, which checks no signature", _gcs, "fake_gcs", start_fake_gcs)


@frozen
class FileRequest:
    """How one file is to be sent, as the service said it: `parts` are the fields of a form, or the headers of a PUT."""

    method: str
    url: str
    parts: Mapping[str, str]

    @classmethod
    def of(cls, signed: Mapping[str, Any]) -> Self:
        method = signed["upload_method"]
        return cls(method, signed["upload_url"], signed["upload_query" if method == "POST" else "upload_headers"])

    def to(self, key: str, other: str) -> Self:
        """Aim it at another key than the one that was signed."""
        if self.method == "POST":
            return self.saying("key", other)
        return evolve(self, url=self.url.replace(quote(key), quote(other), 1))

    def saying(self, name: str, value: str) -> Self:
        return evolve(self, parts={**self.parts, name: value})

    def silent_on(self, name: str) -> Self:
        return evolve(self, parts={part: value for part, value in self.parts.items() if part != name})

    def lying_about(self, name: str, value: str) -> "list[Self]":
        """Leave out a field or header, and say something else in it; if there is one."""
        return [self.silent_on(name), self.saying(name, value)] if name in self.parts else []


@frozen
class StoreClient(LiveService):
    """A client that holds no credentials of the store, and knows of it what the service says.

    `variables` are those of the service. `enforced` is what /info claims, by the ways in which a file is sent whole.
    """

    variables: Variables = field(repr=False)
    enforced: Mapping[UploadMethod, frozenset[Guarantee]] = field(init=False)

    @enforced.default
    def _as_info_says(self) -> Mapping[UploadMethod, frozenset[Guarantee]]:
        methods = self.info()["store"]["methods"]
        claims = {UploadMethod(name): frozenset(map(Guarantee, told["enforced"])) for name, told in methods.items()}
        return {method: enforced for method, enforced in claims.items() if method in SINGLE_REQUEST}

    def claims(self, guarantee: Guarantee) -> Collection[UploadMethod]:
        """Name the ways in on which the store is said to enforce something."""
        return [method for method, enforced in self.enforced.items() if guarantee in enforced]

    def upload(self, request: FileRequest | Mapping[str, Any], content: bytes) -> int:
        """Send a file in this way, or as the service said; give the status."""
        if not isinstance(request, FileRequest):
            request = FileRequest.of(request)
        if request.method == "PUT":
            headers = {**request.parts, "Content-Length": str(len(content))}
            return self.http.request("PUT", request.url, body=content, headers=headers).status
        file = ("file.bin", content, request.parts.get("Content-Type", "application/octet-stream"))
        return self.http.request("POST", request.url, fields=[*request.parts.items(), ("file", file)]).status

    def ask_of_parts(self, route: str, body: Mapping[str, Any], path: str, upload_id: str) -> Any:
        """Ask what concerns one file of a dataset, which comes in parts."""
        asked = {"metadata": body["metadata"], "path": path, "file": body["filedata"][path], "upload_id": upload_id}
        answer = self.send("POST", f"/rawstore/multipart/{route}", token=self.token(), body=json.dumps(asked).encode())
        assert answer.status in (200, 204), answer.body
        return answer.json if answer.body else None

    def send_part(self, part: Mapping[str, Any], content: bytes, part_size: int) -> int:
        """Send one part of `content` as the service said; give the status."""
        start = (part["number"] - 1) * part_size
        piece = content[start : start + part["length"]]
        return self.http.request("PUT", part["url"], body=piece, headers=part["headers"]).status

    def verify(self, body: object, *, token: str | None = None, expect_unavailable: bool = False) -> Answer:
        """Ask what the store holds."""
        return self.send(
            "POST",
            "/rawstore/verify",
            token=token or self.token(),
            body=json.dumps(body).encode(),
            expect_unavailable=expect_unavailable,
        )

    def statuses(self, body: object) -> dict[str, str]:
        """What /verify says of each file."""
        answer = self.verify(body)
        assert answer.status == 200, answer.body
        return {path: file["status"] for path, file in answer.json["files"].items()}

    def list_page(
        self, name: str, parameters: Variables | None = None, *, token: str | None = None, **options: Any
    ) -> Answer:
        """Ask for a page of a dataset."""
        query = urlencode({"owner": OWNER, "name": name, **(parameters or {})})
        return self.send("GET", f"/rawstore/objects?{query}", token=token or self.token(), **options)

    def list_all(self, name: str, *, limit: int) -> list[dict[str, Any]]:
        """List a dataset to its last page."""
        listed: list[dict[str, Any]] = []
        parameters = {"limit": str(limit)}
        for _ in range(100):
            answer = self.list_page(name, parameters)
            assert answer.status == 200, answer.body
            assert len(answer.json["objects"]) <= limit
            listed += answer.json["objects"]
            if answer.json["next"] is None:
                return listed
            parameters["after"] = answer.json["next"]
        pytest.fail("there is no last page")

    def ask_presign_many(self, body: object, *, token: str | None = None) -> Answer:
        """Ask for many downloads."""
        return self.send("POST", "/rawstore/presign", token=token or self.token(), body=json.dumps(body).encode())

    def presign_many(self, body: object) -> dict[str, dict[str, str]]:
        """Ask for many downloads that must be given."""
        answer = self.ask_presign_many(body)
        assert answer.status == 200, answer.body
        urls: dict[str, dict[str, str]] = answer.json["urls"]
        return urls

    def download(self, object_url: str, *, filename: str | None = None) -> urllib3.BaseHTTPResponse:
        """Fetch an object by a URL that the service presigns."""
        more = "" if filename is None else f"&filename={quote(filename)}"
        answer = self.presign(f"ownerid={OWNER}&url={quote(object_url, safe='')}{more}")
        assert answer.status == 200, answer.body
        return self.http.request("GET", answer.json["url"])


def dataset(files: Mapping[str, object], *, findability: str = "private", **wishes: object) -> dict[str, Any]:
    """Make the body of a request for a dataset that no other test has."""
    return batch(files, {"name": f"set-{uuid4().hex}", "findability": findability}, wishes)


@contextmanager
def client_of(choice: Choice, request: pytest.FixtureRequest, folder: Path) -> Iterator[StoreClient]:
    """Run `bitstore serve` on a store; in the end, look into its log."""
    variables = {**OF_THE_SERVICE, **choice.variables(request.getfixturevalue(choice.fixture))}
    with bitstore_serve(folder, variables) as origin, urllib3.PoolManager(retries=False, timeout=30) as http:
        yield StoreClient(origin, http, variables)
    (log,) = folder.glob("bitstore-*.log")
    _assert_discreet(log.read_text(), variables)


def _assert_discreet(log: str, variables: Variables) -> None:
    assert "STORAGE_BUCKET_NAME" in log
    assert "Traceback" not in log
    assert not _SIGNATURES.search(log)
    for secret in (variables.get("STORAGE_SECRET_ACCESS_KEY"), *pem(private_key()).splitlines()[1:-1]):
        assert secret is None or secret not in log


@contextmanager
def client_in_process(variables: Variables, **more: str) -> Iterator[StoreClient]:
    """Serve with these variables within this process, which takes a tenth of the time of another one."""
    with live_service(variables, more) as service:
        yield StoreClient(service.origin, service.http, {**variables, **more})
