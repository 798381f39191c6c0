"""POST-policy forms, each with one thing changed at one stage of its making; what follows the stage is made as usual.

So what is changed before the signature is well signed, and what is changed after it is tampered with. The rules are
those of "POST Object" and "POST Policy" in the Amazon S3 API reference, and of RFC 7578.

    own         the fields besides those of the signature, each of which the policy binds exactly: a dict
    signer      who signs, when, for which scope: a dict
    policy      the policy: a dict
    document    the policy as JSON: bytes
    encoded     the policy in base64: a text, of which the signature is made
    fields      all fields, with the signature: a list of names and values
    parts       the parts, of which the file is the last: a list of bytes
    body        the body: bytes
    request     the whole request
"""

import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from tests.entrypoints.http.live_store import ACCESS_KEY, BOUNDARY, BUCKET, CONTENT_TYPE, REGION, SECRET_KEY
from tests.hard.hostile.exchange import Request
from tests.hard.hostile.store import (
    BUCKET_PATH,
    CONTENT,
    MD5,
    PREFIX,
    Expected,
)

Change = Callable[[Any], Any]
Row = tuple[str, Expected, Change]
"""What is changed, what comes of it, and how it is changed."""

TAKEN: Expected = (201, "")
KEY = f"{PREFIX}/form.csv"
# In base64 it has a "+" and a "/", wherever it stands.
NOTE = "?????>>>>>"
LENGTH = len(CONTENT)
SIGNED_FIELDS = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "policy", "x-amz-signature")
OWN_FIELDS: Mapping[str, str] = {
    "key": KEY,
    "Content-Type": "text/csv",
    "Content-MD5": MD5,
    "x-amz-meta-note": NOTE,
    "success_action_status": "201",
}


@frozen
class Made:
    """A form, ready to be sent, and what must not be told of it."""

    request: Request
    secrets: tuple[str, ...]


# The key is made of the name of the file, and the policy binds how it begins.
NAMED_FIELDS: Mapping[str, str] = {**OWN_FIELDS, "key": f"{PREFIX}/${{filename}}"}


def make(
    now: datetime,
    stage: str = "",
    change: Change = lambda value: value,
    *,
    own: Mapping[str, str] = OWN_FIELDS,
) -> Made:
    """Make a form that is good but for the change; AssertionError if that changes nothing."""

    def at(name: str, value: Any) -> Any:
        if name != stage:
            return value
        changed = change(value)
        assert changed != value
        return changed

    own = at("own", dict(own))
    signer = at("signer", _good_signer(now))
    policy = at("policy", _policy(own, signer, now))
    document = at("document", json.dumps(policy).encode())
    encoded = at("encoded", b64encode(document).decode())
    signature = _signature(signer, encoded)
    fields = [*own.items(), *_signer_fields(signer).items(), ("policy", encoded), ("x-amz-signature", signature)]
    parts = at("parts", [*(field_part(name, value) for name, value in at("fields", fields)), file_part()])
    body = at("body", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())
    request = Request("POST", BUCKET_PATH, (("Host", "any"), ("Content-Type", CONTENT_TYPE)), body)
    return Made(at("request", request), tuple(secret for secret in (encoded, signature) if len(secret) > 20))


def _good_signer(now: datetime) -> dict[str, Any]:
    return {
        "moment": now,
        "access key": ACCESS_KEY,
        "secret": f"AWS4{SECRET_KEY}",
        "day": now.strftime("%Y%m%d"),
        "region": REGION,
        "service": "s3",
        "terminator": "aws4_request",
        "algorithm": "AWS4-HMAC-SHA256",
        "digest": "sha256",
    }


def _signer_fields(signer: Mapping[str, Any]) -> dict[str, str]:
    scope = (signer[name] for name in ("access key", "day", "region", "service", "terminator"))
    return {
        "x-amz-algorithm": signer["algorithm"],
        "x-amz-credential": "/".join(scope),
        "x-amz-date": signer["moment"].strftime("%Y%m%dT%H%M%SZ"),
    }


def _policy(own: Mapping[str, str], signer: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    exact: list[Any] = [{name: value} for name, value in {**own, **_signer_fields(signer)}.items()]
    if own == NAMED_FIELDS:
        exact[0] = ["starts-with", "$key", f"{PREFIX}/"]
    expiration = (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    length = ["content-length-range", LENGTH, LENGTH]
    return {"expiration": expiration, "conditions": [{"bucket": BUCKET}, length, *exact]}


def _signature(signer: Mapping[str, Any], encoded: str) -> str:
    key: bytes = signer["secret"].encode()
    for step in (*(signer[name] for name in ("day", "region", "service", "terminator")), encoded):
        key = hmac.digest(key, step.encode(), signer["digest"])
    return key.hex()


def field_part(name: str, value: str, *, headers: str = "") -> bytes:
    """Write a field; `headers` end in a line end."""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n{headers}\r\n{value}\r\n'.encode()


def file_part(filename: str = "form.csv", content: bytes = CONTENT) -> bytes:
    """Write the part that is the file."""
    disposition = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    return f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: text/csv\r\n\r\n".encode() + content + b"\r\n"


# --- Ways to change ---------------------------------------------------------------------------------------------------


def setting(**changes: Any) -> Change:
    """Set members of a dict; an underscore stands for a space."""
    named = {name.replace("_", " "): value for name, value in changes.items()}
    return lambda members: {**members, **named}


def putting(name: str, value: Any) -> Change:
    """Set the member of a dict that has this name."""
    return lambda members: {**members, name: value}


def to(value: Any) -> Change:
    """Replace all of it."""
    return lambda _: value


def later(**by: float) -> Change:
    """Sign at another time than now."""
    return lambda signer: _good_signer(signer["moment"] + timedelta(**by))


def adding(*conditions: Any) -> Change:
    """Add conditions to a policy."""
    return lambda policy: {**policy, "conditions": [*policy["conditions"], *conditions]}


def on(name: str, *instead: Any) -> Change:
    """Replace the condition on a field, or leave it out."""

    def change(policy: dict[str, Any]) -> dict[str, Any]:
        kept = [condition for condition in policy["conditions"] if name not in condition]
        return {**policy, "conditions": [*kept, *instead]}

    return change


def without(member: str) -> Change:
    """Leave out a member."""
    return lambda members: {name: value for name, value in members.items() if name != member}


def replacing(old: Any, new: Any) -> Change:
    """Replace the first of something in a text or in bytes."""
    return lambda text: text.replace(old, new, 1)


def field(name: str, change: Callable[[str], str]) -> Change:
    """Change the value of a field."""
    return lambda fields: [(other, change(value) if other == name else value) for other, value in fields]


def more(*fields: tuple[str, str]) -> Change:
    """Add fields behind the others."""
    return lambda known: [*known, *fields]


def renamed(name: str, to: str) -> Change:
    """Give a field another name."""
    return lambda fields: [(to if other == name else other, value) for other, value in fields]


def left_out(name: str) -> Change:
    """Leave a field out."""
    return lambda fields: [field for field in fields if field[0] != name]


def doubled(name: str, as_name: str | None = None) -> Change:
    """Have a field twice."""
    return lambda fields: [*fields, *[(as_name or name, value) for other, value in fields if other == name]]


def part(name: str, change: Callable[[bytes], bytes]) -> Change:
    """Change the part that is a field, or the file."""
    named = f'name="{name}"'.encode()
    return lambda parts: [change(part) if named in part else part for part in parts]


def moved_behind_the_file(name: str) -> Change:
    """Put a field where no field counts."""
    named = f'name="{name}"'.encode()
    return lambda parts: sorted(parts, key=lambda part: named in part)


def requesting(**changes: Any) -> Change:
    """Change members of the request."""
    return lambda request: evolve(request, **changes)


def with_header(name: str, *values: str) -> Change:
    """Replace a header of the request."""

    def change(request: Request) -> Request:
        kept = [header for header in request.headers if header[0] != name]
        return evolve(request, headers=(*kept, *((name, value) for value in values)))

    return change
