"""What all benchmarks ask for: a dataset's files, declared as deployed clients do, and tokens that allow it."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from domain.identity import UPLOAD_PERMISSION, Principal
from domain.keys import Owner
from tests.tokens import make_token, public_pem, rsa_key

OWNER = Owner("alice")
DATASET = "tides"
LIFETIME = timedelta(hours=1)
PRINCIPAL = Principal(userid=OWNER, service="rawstore", may_upload=True)


def disk_settings(root: Path, *, inspect: bool = True) -> Mapping[str, str]:
    """Give the environment of a service on a disk store: what must be given, and the defaults otherwise."""
    needed = {
        "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
        "PUBLIC_URL": "http://127.0.0.1:8000",
        "STORAGE_BACKEND": "disk",
        "STORAGE_DISK_ROOT": str(root),
        "STORAGE_BUCKET_NAME": "datasets",
        "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store-of-forty-characters",
    }
    return needed if inspect else {**needed, "INSPECT_ON_AUTHORIZE": "false"}


def content(number: int) -> bytes:
    """Give the bytes of one file: short, and all different."""
    return b"time,height\n%d,%d\n" % (number, number % 97)


def declarations(files: int) -> Mapping[str, object]:
    """Declare files as deployed clients do: length, MD5, type and name."""
    return dict(map(_declaration, range(files)))


def _declaration(number: int) -> tuple[str, object]:
    data, name = content(number), f"measurement-{number:05}.csv"
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    path = f"data/station-{number % 40:03}/{name}"
    return path, {"length": len(data), "md5": md5, "type": "text/csv", "name": name}


def metadata(dataset: str = DATASET) -> Mapping[str, object]:
    return {"owner": OWNER, "name": dataset, "findability": "published"}


def body(files: int, dataset: str = DATASET) -> bytes:
    """Write the body of a request to /authorize."""
    return json.dumps({"metadata": metadata(dataset), "filedata": declarations(files)}).encode()


def token() -> str:
    """Make a token that is good, and that nobody has seen before."""
    claims = {
        "userid": OWNER,
        "service": PRINCIPAL.service,
        "permissions": {UPLOAD_PERMISSION: True},
        "exp": int((datetime.now(UTC) + LIFETIME).timestamp()),
        "jti": secrets.token_hex(8),
    }
    return make_token(claims)


def request(body: bytes, shown_token: str) -> bytes:
    """Write a whole HTTP request to /authorize."""
    head = (
        f"POST /rawstore/authorize HTTP/1.1\r\nHost: 127.0.0.1\r\nAuth-Token: {shown_token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
