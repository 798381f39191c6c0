"""The whole service behind a real server, wired from an environment as in production, and a client for it."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from attrs import field, frozen
from starlette.applications import Starlette

from entrypoints.http.app import Clock, create_app, utc_now
from entrypoints.http.description.routes import describe_service
from entrypoints.limits import Limits
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests import strategies as bits
from tests.entrypoints.http.conformance import Conformance
from tests.live import serving
from tests.tokens import make_token, private_pem, public_pem, rsa_key

OWNER = "alice"
DATASET = "tides"
BUCKET = "datasets"
CONTENT = b"id,name\n1,Ada\n2,Grace\n"

MEMORY: Mapping[str, str] = {
    "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
    "STORAGE_BACKEND": "memory",
    "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
    "STORAGE_BUCKET_NAME": BUCKET,
}
# Signing needs no network, so the store need not be there, as long as nothing is to be asked of it.
S3: Mapping[str, str] = {
    **MEMORY,
    "STORAGE_BACKEND": "s3",
    "STORAGE_HOSTNAME": "s3.example.com",
    "STORAGE_ACL": "none",
    "INSPECT_ON_AUTHORIZE": "false",
}
# Nobody listens there, which is soon known: a container is asked at start who may read it.
AZURE: Mapping[str, str] = {
    "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
    "STORAGE_BACKEND": "azure",
    "STORAGE_HOSTNAME": "http://127.0.0.1:1/ourdata",
    "STORAGE_PUBLIC_URL": "https://ourdata.blob.core.windows.net",
    "STORAGE_BUCKET_NAME": BUCKET,
    "STORAGE_ACCESS_KEY_ID": "ourdata",
    "STORAGE_SECRET_ACCESS_KEY": base64.b64encode(b"a-secret-of-the-store").decode(),
    "INSPECT_ON_AUTHORIZE": "false",
}
GCS: Mapping[str, str] = {
    "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
    "STORAGE_BACKEND": "gcs",
    "STORAGE_BUCKET_NAME": BUCKET,
    "STORAGE_GCS_CREDENTIALS": json.dumps(
        {"type": "service_account", "client_email": "signer@example.com", "private_key": private_pem(rsa_key())}
    ),
    "STORAGE_ACL": "none",
    "INSPECT_ON_AUTHORIZE": "false",
}


@frozen
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json"
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error; the shape of every error is checked in passing."""
        error = self.json["error"]
        assert self.json.keys() == {"error"}
        assert (
            {"code", "message", "details"} <= error.keys() <= {"code", "message", "details", "field", "details_omitted"}
        )
        assert isinstance(error["message"], str)
        return str(error["code"])

    @property
    def detail_codes(self) -> dict[str, str]:
        """The codes of the bad files, by path."""
        return {detail["path"]: detail["code"] for detail in self.json["error"]["details"]}


@frozen
class LiveService:
    """The service at `origin`.

    Every request is checked not to be answered with a fault of our own, and to be answered as the API's description has
    it, where that is given.
    """

    origin: str
    http: urllib3.PoolManager = field(repr=False)
    described: Conformance | None = field(default=None, repr=False, kw_only=True)

    @property
    def root(self) -> str:
        return f"{self.origin}/rawstore"

    def token(self, userid: str = OWNER, **changes: object) -> str:
        """Mint a token that is good now, but for the changes."""
        return make_token(bits.good_claims(userid, now=datetime.now(UTC), **changes))

    def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        expect_unavailable: bool = False,
        chunked: bool = False,
    ) -> Answer:
        """Send a request with the token in its usual place; `path` starts behind the origin."""
        shown = {} if token is None else {"Auth-Token": token}
        url = path if path.startswith("http") else f"{self.origin}{path}"
        answer = self.http.request(method, url, body=body, headers={**shown, **(headers or {})}, chunked=chunked)
        assert answer.status < 500 or (expect_unavailable and answer.status == 503)
        if self.described is not None:
            self.described.check(method, url, answer.status, answer.headers, answer.data)
        return Answer(answer.status, answer.headers, answer.data)

    def authorize(self, body: object, *, token: str | None = None, **options: Any) -> Answer:
        """Ask for signed uploads; `body` is sent as JSON unless it is bytes. The token is alice's by default."""
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", "/rawstore/authorize", token=token or self.token(), body=encoded, **options)

    def sign(self, body: object, **options: Any) -> dict[str, Any]:
        """Ask for signed uploads that must be given."""
        answer = self.authorize(body, **options)
        assert answer.status == 200, answer.body
        files: dict[str, Any] = answer.json["fileData"]
        return files

    def info(self, userid: str = OWNER) -> Any:
        answer = self.send("GET", "/rawstore/info", token=self.token(userid))
        assert answer.status == 200
        return answer.json

    def presign(self, query: str, *, userid: str = OWNER, **options: Any) -> Answer:
        return self.send("GET", f"/rawstore/presign?{query}", token=self.token(userid), **options)

    def raw(self, request: bytes, *, until: bytes = b"\r\n\r\n", seconds: float = 20.0) -> bytes:
        """Send bytes as they are, and give what comes back up to `until`; TimeoutError if that takes too long."""
        parts = urlsplit(self.origin)
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=seconds) as connection:
            connection.sendall(request)
            received = b""
            while until not in received and (chunk := connection.recv(65_536)):
                received += chunk
            return received


def declaration(content: bytes = CONTENT, /, **changes: object) -> dict[str, object]:
    """Declare a file with its length and MD5; changes to None take a member away."""
    members = {"length": len(content), "md5": md5(content), **changes}
    return {name: value for name, value in members.items() if value is not None}


def md5(content: bytes = CONTENT) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def sha256(content: bytes = CONTENT) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def batch(
    files: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Make the body of a request: one good file, unless others are given, and alice's dataset with changes."""
    described = {"owner": OWNER, "name": DATASET, **(metadata or {})}
    return {
        "metadata": {name: value for name, value in described.items() if value is not None},
        "filedata": {"a.csv": declaration()} if files is None else files,
        **(more or {}),
    }


@contextmanager
def live_service(
    base: Mapping[str, str] = MEMORY,
    changes: Mapping[str, str] | None = None,
    /,
    *,
    limits: Limits | None = None,
    clock: Clock = utc_now,
    **more: str,
) -> Iterator[LiveService]:
    """Serve with the settings of `base`, changed; `PUBLIC_URL` is where it is served, unless it is given."""

    document: dict[str, Any] = {}

    def make_app(origin: str) -> Starlette:
        service = wire(Settings.from_environment({"PUBLIC_URL": origin, **base, **(changes or {}), **more}))
        document.update(describe_service(service))
        return create_app(service, clock, limits)

    with serving(make_app) as origin, urllib3.PoolManager(retries=False, timeout=20) as http:
        yield LiveService(origin, http, described=Conformance.to(document))
