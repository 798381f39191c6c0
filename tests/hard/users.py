"""What people ask of the service, as whole requests: each is one that must be answered with 200."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from tests import strategies as bits
from tests.entrypoints.http.live_service import BUCKET, CONTENT, declaration
from tests.hard.lines import Reply, request
from tests.tokens import ed25519_key, make_token, public_pem

SETTINGS: Mapping[str, str] = {
    "DATAHUB_PUBLIC_KEY": public_pem(ed25519_key()),
    "TOKEN_ALGORITHMS": "EdDSA",
    "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
    "STORAGE_BUCKET_NAME": BUCKET,
    "LOG_FORMAT": "json",
}
"""What is left open is the store."""

OBJECT = CONTENT
BOUNDARY = "a-boundary-of-a-form"


def token_of(userid: str, **claims: object) -> str:
    """Make a token that is good now."""
    return make_token(bits.good_claims(userid, now=datetime.now(UTC), **claims), "EdDSA", key=ed25519_key())


def asked(route: str, userid: str, files: Mapping[str, object], token: str | None = None, /, **more: object) -> bytes:
    """Write a request about files of a user's dataset `tides`."""
    body = {"metadata": {"owner": userid, "name": "tides"}, "filedata": files, **more}
    return request("POST", f"/rawstore/{route}", json.dumps(body).encode(), Auth_Token=token or token_of(userid))


def some_files(count: int, *, length: int = len(OBJECT)) -> Mapping[str, object]:
    """Declare so many files of equal content."""
    file = declaration(OBJECT, length=length)
    return {f"data/{number}.csv": file for number in range(count)}


def presigned(origin: str, userid: str, token: str | None = None) -> bytes:
    """Write a request for a download."""
    url = quote(f"{origin}/store/{BUCKET}/{userid}/tides/data/0.csv", safe="")
    return request("GET", f"/rawstore/presign?ownerid={userid}&url={url}", Auth_Token=token or token_of(userid))


def questions(origin: str, userid: str = "ada") -> Iterator[bytes]:
    """Write the everyday requests of a user, again and again; `origin` is where clients see the service."""
    token = token_of(userid)
    return itertools.cycle(
        [
            asked("authorize", userid, some_files(1), token),
            request("GET", "/rawstore/info", Auth_Token=token),
            asked("verify", userid, some_files(3), token),
            presigned(origin, userid, token),
            asked("authorize", userid, some_files(100), token, accept=["PUT"]),
        ]
    )


def signed(reply: Reply) -> Sequence[Any]:
    """Give the signed uploads in an answer, in the order of the files."""
    assert reply.status == 200, reply.body
    return list(reply.json["fileData"].values())


def put(file: Mapping[str, Any], content: bytes = OBJECT) -> bytes:
    """Write the request that sends a file for which a PUT was signed, or a part of one."""
    url = urlsplit(file.get("upload_url") or file["url"])
    headers = file.get("upload_headers") or file.get("headers") or {}
    return request(
        "PUT",
        f"{url.path}?{url.query}",
        content,
        **{"Host": url.netloc, "Content-Length": str(len(content)), **headers},
    )


def form(file: Mapping[str, Any], content: bytes = OBJECT) -> bytes:
    """Write the request that sends a file for which a form was signed."""
    fields = [*file["upload_query"].items()]
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    ]
    parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n')
    body = "".join(parts).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    media_type = f"multipart/form-data; boundary={BOUNDARY}"
    return request("POST", urlsplit(file["upload_url"]).path, body, Content_Type=media_type)
