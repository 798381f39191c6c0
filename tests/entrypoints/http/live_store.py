"""The store's endpoint behind a real server, and clients for it: boto3, urllib3, and forms signed by hand."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import urllib3
from attrs import define, field, frozen
from botocore.client import Config
from starlette.applications import Starlette

from adapters.stores.addresses import BucketAddress
from adapters.stores.disk import DiskObjects
from adapters.stores.memory import MemoryObjects
from adapters.stores.sigv4 import Credentials
from entrypoints.http.connections import Terms
from entrypoints.http.store_endpoint import StoreEndpoint, StoreMount
from entrypoints.limits import Limits, Pace
from tests.aws_sdk import sdk
from tests.live import serving

BUCKET = "datasets"
REGION = "eu-north-1"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MAX_BYTES = 1 << 20
BOUNDARY = "frontier"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

Fields = Sequence[tuple[str, str]]


@define
class Clock:
    """The present, or another moment where a test wants one."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@frozen
class Answer:
    """What came back. `code` is that of S3's XML error, empty where there is none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return self.xml.get("Code", "") if self.status >= 400 and self.body else ""

    @property
    def xml(self) -> dict[str, str]:
        assert self.headers["Content-Type"] == "application/xml"
        return {child.tag: child.text or "" for child in ET.fromstring(self.body)}


@frozen
class LiveStore:
    """A store that is being served, at `origin`; the same keys that `boto` has count for everything that is signed."""

    origin: str
    kind: str
    objects: DiskObjects | MemoryObjects
    root: Path
    clock: Clock
    boto: Any = field(repr=False)
    http: urllib3.PoolManager = field(repr=False)

    @property
    def url(self) -> str:
        return f"{self.origin}/store/{BUCKET}"

    def url_of(self, key: str) -> str:
        return f"{self.url}/{quote(key)}"

    def contents(self) -> set[str]:
        """All that the store holds, unfinished uploads included, by names that mean nothing to a test."""
        if isinstance(self.objects, MemoryObjects):
            return set(self.objects._objects)
        return {str(path) for path in self.root.rglob("*") if path.is_file()}

    def send(self, method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; underscores in names of headers are dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.http.request(method, url, body=body, headers=named, redirect=False, decode_content=False)
        return Answer(response.status, response.headers, response.data)

    def post(self, fields: Fields, content: bytes = b"a,b\n", **file: str | None) -> Answer:
        """Send a form; see `form_body`."""
        return self.send("POST", self.url, form_body(fields, content, **file), Content_Type=CONTENT_TYPE)

    def presign(self, operation: str, key: str, **params: object) -> str:
        """Have boto3 sign a URL."""
        url: str = self.boto.generate_presigned_url(operation, {"Bucket": BUCKET, "Key": key, **params})
        return url

    def put(self, key: str, content: bytes, **params: object) -> Answer:
        """Upload with a URL that boto3 signed; ACL="public-read" and ContentType=... are sent as they must be."""
        headers = {"ACL": "x_amz_acl", "ContentType": "Content_Type", "ContentDisposition": "Content_Disposition"}
        sent = {headers[name]: str(value) for name, value in params.items()}
        return self.send("PUT", self.presign("put_object", key, **params), content, **sent)


@contextmanager
def live_store(
    kind: str, root: Path, *, idle_seconds: float = 20.0, max_bytes: int = MAX_BYTES, public: str = ""
) -> Iterator[LiveStore]:
    """Serve an empty store, "disk" or "memory"; `public` is its address where clients see another than its own.

    A client on whose side nothing moves for `idle_seconds` is given up.
    """
    limits = Limits(Pace(idle_seconds))
    objects = MemoryObjects() if kind == "memory" else DiskObjects(root)
    clock = Clock()

    def make_app(origin: str) -> Starlette:
        address = BucketAddress(public or origin, BUCKET, base_path="/bitstore/store" if public else "/store")
        endpoint = StoreEndpoint(
            address=address,
            region=REGION,
            credentials=Credentials(ACCESS_KEY, SECRET_KEY),
            writer=objects,
            reader=objects,
            parts=objects,
            max_bytes=max_bytes,
            clock=clock,
            limits=limits,
        )
        return Starlette(routes=[StoreMount(endpoint)], lifespan=lifespan)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        yield Terms(limits.pace).as_state()

    with serving(make_app) as origin, urllib3.PoolManager(retries=False, timeout=20) as http:
        client = boto_client(origin)
        yield LiveStore(origin, kind, objects, root, clock, client, http)
        client.close()


def boto_client(origin: str, *, secret_key: str = SECRET_KEY, region: str = REGION) -> Any:
    """An S3 client of boto3 that knows the store's keys, or not quite."""
    return sdk().client(
        "s3",
        endpoint_url=f"{origin}/store",
        region_name=region,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def form_body(
    fields: Fields,
    content: bytes | None,
    *,
    filename: str | None = "a.csv",
    media_type: str | None = None,
    after: str | None = None,
) -> bytes:
    """Write a form as browsers do. `content` None leaves out the file; `after` is a field that stands behind it."""
    parts = [_part(f'name="{name}"', value.encode()) for name, value in fields]
    if content is not None:
        named = 'name="file"' if filename is None else f'name="file"; filename="{filename}"'
        parts.append(_part(named, content, *([] if media_type is None else [f"Content-Type: {media_type}"])))
    if after is not None:
        parts.append(_part(f'name="{after}"', b"late"))
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = (f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", "")
    return "\r\n".join(lines).encode() + content + b"\r\n"


def signed_fields(
    conditions: Sequence[object],
    fields: Mapping[str, str],
    *,
    scope: str = "{day}/" + REGION + "/s3/aws4_request",
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    policy: bytes | None = None,
) -> list[tuple[str, str]]:
    """Sign a form with nothing but what the AWS documentation says, so that it can be wrong in any way.

    The conditions on the signature's own fields are added. `policy` replaces the whole document.
    """
    now = datetime.now(UTC)
    day, region, service, terminator = scope.format(day=now.strftime("%Y%m%d")).split("/")
    signature_fields = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{access_key}/{day}/{region}/{service}/{terminator}",
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
    }
    expiration = (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = [{name: value} for name, value in signature_fields.items()]
    document = {"expiration": expiration, "conditions": [*conditions, *own]}
    encoded = base64.b64encode(json.dumps(document).encode() if policy is None else policy).decode()
    key = f"AWS4{secret_key}".encode()
    for step in (day, region, service, terminator, encoded):
        key = hmac.digest(key, step.encode(), "sha256")
    return [*fields.items(), *signature_fields.items(), ("policy", encoded), ("x-amz-signature", key.hex())]
