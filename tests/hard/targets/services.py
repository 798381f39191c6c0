"""Requests to the whole service."""

import base64
import hashlib
import json
from contextlib import ExitStack
from functools import cache
from typing import Final
from urllib.parse import quote

from tests import strategies as bits
from tests.hard.in_process import InProcess, in_process
from tests.hard.targets.forms import END, FILE, part
from tests.hard.targets.target import Target
from tests.tokens import make_token

_ROUTES = (
    *(("POST", "/rawstore/authorize"), ("POST", "/rawstore/verify"), ("POST", "/rawstore/presign")),
    *(("POST", "/rawstore/multipart/resume"), ("POST", "/rawstore/multipart/complete")),
    *(("POST", "/rawstore/multipart/abort"), ("GET", "/rawstore/objects"), ("GET", "/rawstore/presign")),
    *(("GET", "/rawstore/info"), ("POST", "/store/datasets"), ("PUT", "/store/datasets/alice/a")),
    *(("GET", "/store/datasets/alice/a"), ("HEAD", "/store/"), ("OPTIONS", "/rawstore/authorize")),
)


_OPEN = ExitStack()


@cache
def _service() -> InProcess:
    return _OPEN.enter_context(in_process())


def request(data: bytes) -> str:
    """Send a request with a good token: the first byte is its route; a path, a query, headers and a body, by NUL.

    Whatever it is, it is answered, and not with a fault of our own; and nothing comes into the store without a
    signature.
    """
    method, route = _ROUTES[(data or b"\0")[0] % len(_ROUTES)]
    path, query, named, *bodies = (data[1:] + b"\0" * 3).split(b"\0", 3)
    headers = [line.partition(b":") for line in named.replace(b"\r", b"").split(b"\n") if line]
    answer = _service().send(
        method,
        f"{route}{quote(path, safe='/%')}?{quote(query, safe='/%&=+;:@!$,*')}",
        [("Auth-Token", _GOOD_TOKEN), *((name.decode("latin-1"), value.strip()) for name, _, value in headers)],
        [b"".join(bodies)],
    )
    assert not _service().objects._objects
    assert answer.status >= 200
    if answer.status >= 400 and not route.startswith("/store") and method != "OPTIONS":
        assert answer.code
    return str(answer.status)


_GOOD_TOKEN = make_token(bits.good_claims())
_MD5 = base64.b64encode(hashlib.md5(b"abc", usedforsecurity=False).digest()).decode()
_FILE_SAID = {"length": 3, "md5": _MD5, "parts": {"size": 3, "md5": [_MD5]}}
_BATCH = {"metadata": {"owner": "alice", "name": "t"}, "filedata": {"a.csv": _FILE_SAID}, "accept": ["PUT"]}
_OF_PARTS = {"metadata": _BATCH["metadata"], "path": "a.csv", "file": _FILE_SAID, "upload_id": "x"}


def _posted(route: int, body: object) -> bytes:
    return bytes([route]) + b"\0\0\0" + json.dumps(body).encode()


REQUEST: Final = Target(
    request,
    seeds=[
        *(_posted(route, _BATCH) for route in (0, 1)),
        _posted(2, {"metadata": _BATCH["metadata"], "paths": ["a.csv"], "expires_in": 9}),
        *(_posted(route, _OF_PARTS) for route in (3, 4, 5)),
        b"\x06\0owner=alice&name=t&limit=1\0",
        b"\x07\0ownerid=alice&url=http://bitstore.example/store/datasets/alice/a&filename=a.csv\0",
        b"\x08\0\0X-Request-Id: a\nOrigin: http://a.example",
        b"\x09\0\0Content-Type: multipart/form-data; boundary=frontier\0" + part(b'name="key"', b"k") + FILE + END,
        b"\x0a\0X-Amz-Signature=a\0Content-Length: 3\0abc",
        b"\x0b/b\0response-content-type=a\0Range: bytes=0-1",
        b"\x0d\0\0Origin: http://a.example\nAccess-Control-Request-Method: POST",
        b"\x06\0owner=alic&name=t\0",
        b"\x00\0jwt=a\0",
        b"\x00x\0\0",
    ],
    words=[
        *(b'"length":', b'"md5":', b'"sha256":', b'"parts":', b'"size":', b'"type":', b'"name":', b'"overwrite":false'),
        *(b'"require":["md5"]', b'"accept":["MULTIPART"]', b'"findability":"private"', b"null", b"-1", b"1e9", b"[]"),
        *(b"Content-Encoding:gzip", b"Content-Length:99999999999", b"Transfer-Encoding:chunked", b"If-None-Match:*"),
        *(b"Authorization:Bearer a", b"Authorization:AWS4-HMAC-SHA256 a", b"Range:bytes=", b"Host:evil.example"),
        *(b"X-Forwarded-Host:evil.example", b"&after=", b"&limit=", b"&expires_in=", b"uploadId=x&partNumber=1", b"\0"),
        *(b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20240229T120000Z", b"X-Amz-SignedHeaders=host", b"%00", b"%ff"),
    ],
    outcomes=frozenset(["200", "400", "401", "403", "404"]),
    max_length=500,
)
