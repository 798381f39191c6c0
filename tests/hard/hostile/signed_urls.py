"""Presigned URLs, each with one thing changed at one stage of its making; what follows the stage is made as usual.

So what is changed before the signature is well signed, and what is changed after it is tampered with. The rules are
those of "Authenticating Requests: Using Query Parameters" in the Amazon S3 API reference.

    claims      what is asked, who signs it, when and for how long: a dict
    query       the parameters, with the signature, encoded: a list of names and values
    target      the path and the query as they are sent: a text
    request     the whole request
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from attrs import evolve

from tests.entrypoints.http.live_store import ACCESS_KEY, REGION, SECRET_KEY
from tests.hard.hostile.exchange import Request
from tests.hard.hostile.forms import Change, Made
from tests.hard.hostile.store import BUCKET_PATH, CONTENT, PREFIX

KEY = f"{PREFIX}/signed url.csv"
# All that there are, in the order in which they are made.
PARAMETERS = (
    *("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"),
)
BASES: Mapping[str, Mapping[str, Any]] = {
    "PUT": {"method": "PUT", "headers": {"content-type": "text/csv"}, "body": CONTENT},
    "GET": {"method": "GET"},
    "HEAD": {"method": "HEAD"},
    "part": {"method": "PUT", "query": {"partNumber": "1", "uploadId": ""}, "body": CONTENT},
}
"""Good requests. The part's `uploadId` and key are known only once the upload has begun."""


def make(base: Mapping[str, Any], host: str, now: datetime, stage: str = "", change: Change | None = None) -> Made:
    """Make a request that is good but for the change; AssertionError if that changes nothing."""

    def at(name: str, value: Any) -> Any:
        if name != stage or change is None:
            return value
        changed = change(value)
        assert changed != value
        return changed

    claims = at("claims", _good_claims(base, host, now))
    query = at("query", _signed_query(claims))
    signature = query[-1][1] if query else ""
    path = quote(claims["path"], safe="/")
    target = at("target", f"{path}?{'&'.join(f'{name}={value}' for name, value in query)}")
    headers = (("Host", host), *((name, value) for name, value in claims["headers"].items()))
    request = at("request", Request(claims["method"], target, headers, claims["body"]))
    return Made(request, (signature,) if len(signature) > 20 else ())


def _good_claims(base: Mapping[str, Any], host: str, now: datetime) -> dict[str, Any]:
    claims = {
        "path": f"{BUCKET_PATH}/{KEY}",
        "query": {},
        "headers": {},
        "body": b"",
        "host": host,
        "algorithm": "AWS4-HMAC-SHA256",
        "access key": ACCESS_KEY,
        "secret": f"AWS4{SECRET_KEY}",
        "date": now.strftime("%Y%m%dT%H%M%SZ"),
        "day": now.strftime("%Y%m%d"),
        "region": REGION,
        "service": "s3",
        "terminator": "aws4_request",
        "expires": "600",
        **base,
    }
    return {**claims, "names": ";".join(sorted(("host", *claims["headers"])))}


def _signed_query(claims: Mapping[str, Any]) -> list[tuple[str, str]]:
    scope = [claims[name] for name in ("day", "region", "service", "terminator")]
    said = {
        **claims["query"],
        "X-Amz-Algorithm": claims["algorithm"],
        "X-Amz-Credential": "/".join((claims["access key"], *scope)),
        "X-Amz-Date": claims["date"],
        "X-Amz-Expires": claims["expires"],
        "X-Amz-SignedHeaders": claims["names"],
    }
    query = [(quote(name, safe=""), quote(value, safe="")) for name, value in said.items()]
    sent = {"host": claims["host"], **claims["headers"]}
    names = claims["names"].split(";")
    canonical = [
        claims["method"],
        quote(claims["path"], safe="/"),
        "&".join(f"{name}={value}" for name, value in sorted(query)),
        *(f"{name}:{sent.get(name, '').strip()}" for name in names),
        "",
        claims["names"],
        "UNSIGNED-PAYLOAD",
    ]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    key: bytes = claims["secret"].encode()
    for step in scope:
        key = hmac.digest(key, step.encode(), "sha256")
    text = "\n".join([claims["algorithm"], claims["date"], "/".join(scope), digest])
    return [*query, ("X-Amz-Signature", hmac.digest(key, text.encode(), "sha256").hex())]


# --- Ways to change ---------------------------------------------------------------------------------------------------


def later(**by: float) -> Change:
    """Sign at another time than now."""

    def change(claims: dict[str, Any]) -> dict[str, Any]:
        moment = datetime.strptime(claims["date"], "%Y%m%dT%H%M%SZ") + timedelta(**by)  # noqa: DTZ007 - it is UTC
        return {**claims, "date": moment.strftime("%Y%m%dT%H%M%SZ"), "day": moment.strftime("%Y%m%d")}

    return change


def for_key(key: str) -> Change:
    """Sign for another key."""
    return lambda claims: {**claims, "path": f"{BUCKET_PATH}/{key}"}


def saying(**parameters: str) -> Change:
    """Sign more parameters."""
    return lambda claims: {**claims, "query": {**claims["query"], **parameters}}


def parameter(name: str, change: Callable[[str], str]) -> Change:
    """Change the encoded value of a parameter."""
    return lambda query: [(other, change(value) if other == name else value) for other, value in query]


def with_headers(*headers: tuple[str, str]) -> Change:
    """Send more headers."""
    return lambda request: evolve(request, headers=(*request.headers, *headers))


def without_header(name: str) -> Change:
    """Send a header less."""
    return lambda request: evolve(request, headers=tuple(header for header in request.headers if header[0] != name))
