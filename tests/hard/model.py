"""What the service must hold and answer, as a plain dict has it: the other side of every comparison."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import digest
from typing import Final

from attrs import define, field, frozen

from domain.identity import UPLOAD_PERMISSION
from tests import strategies as bits
from tests.entrypoints.http.live_service import MEMORY, md5
from tests.hard.requests import Form, Signed
from tests.tokens import make_token, rsa_key, segment

LEEWAY: Final = timedelta(seconds=30)
LIFETIME: Final = timedelta(hours=1)
LEAST_PART: Final = 5 * 1024**2


@frozen
class Token:
    """A token, and what it proves: nothing where there is no userid."""

    text: str
    userid: str | None
    until: datetime
    may_upload: bool = True

    def refusal(self, owner: str, now: datetime) -> int | None:
        """Give the status that refuses whoever shows it and asks for something of `owner`; None if they may."""
        if self.userid is None or now >= self.until:
            return 401
        return None if self.may_upload and self.userid == owner else 403


def token_for(userid: str, now: datetime, seconds: int, **changes: object) -> Token:
    """Issue a token; changes to its claims must leave it good."""
    expires = now + timedelta(seconds=seconds)
    claims = bits.good_claims(userid, now, exp=int(expires.timestamp()), **changes)
    return Token(make_token(claims), userid, expires + LEEWAY)


def _signed_by_hmac(token: str) -> str:
    signed = ".".join([segment(b'{"alg":"HS256"}'), token.split(".")[1]])
    return f"{signed}.{segment(digest(MEMORY['DATAHUB_PUBLIC_KEY'].encode(), signed.encode(), 'sha256'))}"


def _with_payload(token: str, userid: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(f"{payload}==")) | {"userid": userid, "forged": True}
    return f"{header}.{segment(json.dumps(claims).encode())}.{signature}"


def _issued(userid: str, now: datetime, /, **changes: object) -> str:
    return make_token(bits.good_claims(userid, now) | changes)


FORGERIES: Final[Mapping[str, Callable[[str, str, datetime], str]]] = {
    "another user in it": lambda token, victim, _: _with_payload(token, victim),
    "no signature": lambda token, victim, _: ".".join(
        [segment(b'{"alg":"none"}'), *_with_payload(token, victim).split(".")[1:2], ""]
    ),
    "signed with the public key": lambda token, victim, _: _signed_by_hmac(_with_payload(token, victim)),
    "signed with another key": lambda _, victim, now: make_token(bits.good_claims(victim, now), key=rsa_key(2056)),
    "cut": lambda token, _, __: token[:-4],
    "for another service": lambda _, victim, now: _issued(victim, now, service="rawstore2"),
    "for later": lambda _, victim, now: _issued(victim, now, nbf=int(now.timestamp()) + 10**6),
    "for ever": lambda _, victim, now: _issued(victim, now, exp=10**11),
    "without an end": lambda _, victim, now: _issued(victim, now, exp=None),
    "a list of users": lambda _, victim, now: _issued(victim, now, userid=[victim]),
    "a user in a path": lambda _, victim, now: _issued(victim, now, userid=f"x/../{victim}"),
    "a second user": lambda _, victim, now: make_token(
        json.dumps(bits.good_claims("x", now)).replace('"userid"', f'"userid":"{victim}","userid"').encode()
    ),
}
"""What proves nothing, by what is wrong with it; made of a good token, for the sake of another user."""


def without_permission(userid: str, now: datetime) -> Token:
    """Issue a token that is good, and allows nothing."""
    permissions = {UPLOAD_PERMISSION: "true"}
    claims = bits.good_claims(userid, now, permissions=permissions)
    return Token(make_token(claims), userid, now + timedelta(hours=1) + LEEWAY, may_upload=False)


@frozen
class Stored:
    """An object. `by` is the user whose token had it signed for, `upload_id` what it was while it came in parts."""

    content: bytes
    media_type: str
    is_public: bool
    by: str
    upload_id: str | None = None


@frozen
class Declared:
    """A file of one user, as it was declared when its upload was signed for."""

    by: str
    dataset: str
    path: str
    key: str
    content: bytes
    media_type: str
    is_public: bool

    def stored(self, upload_id: str | None = None) -> Stored:
        """Give what must be at the key when it has been uploaded."""
        return Stored(self.content, self.media_type, self.is_public, self.by, upload_id)

    def declaration(self) -> dict[str, object]:
        """Write what a client says of it."""
        return {"length": len(self.content), "md5": md5(self.content), "type": self.media_type}


@frozen
class Grant:
    """A signed upload of a whole file, and until when it is good."""

    file: Declared
    request: Form | Signed
    until: datetime
    overwrite: bool


@frozen
class PartGrant:
    """A signed upload of one part; without `is_bound` it is only as long as `content`."""

    number: int
    content: bytes
    is_bound: bool
    request: Signed
    until: datetime


@define(eq=False)
class Parts:
    """An upload in parts: what was declared of it, and what has arrived."""

    file: Declared
    size: int
    with_digests: bool
    upload_id: str
    grants: list[PartGrant] = field(factory=list)
    arrived: dict[int, bytes] = field(factory=dict)
    has_ended: bool = False

    def declaration(self, content: bytes) -> dict[str, object]:
        """Declare these bytes, cut as this upload is."""
        parts: dict[str, object] = {"size": self.size}
        if self.with_digests:
            parts["md5"] = [md5(part) for part in cut(content, self.size)]
        return {"length": len(content), "md5": md5(content), "type": self.file.media_type, "parts": parts}

    def missing(self, content: bytes) -> list[int]:
        """Give the numbers of the parts of `content` that haven't arrived as they were declared."""
        return [
            number
            for number, part in enumerate(cut(content, self.size), start=1)
            if (there := self.arrived.get(number)) is None
            or (there != part if self.with_digests else len(there) != len(part))
        ]


@frozen
class Link:
    """A signed download."""

    key: str
    by: str
    request: Signed
    until: datetime


def cut(content: bytes, size: int) -> list[bytes]:
    """Cut into parts."""
    return [content[start : start + size] for start in range(0, len(content), size)]


def listed(key: str, path: str, stored: Stored, object_url: str) -> dict[str, object]:
    """Give what a listing must say of an object."""
    sha = base64.b64encode(sha256(stored.content).digest()).decode()
    return {
        "key": key,
        "path": path,
        "length": len(stored.content),
        "md5": md5(stored.content),
        "sha256": sha,
        "object_url": object_url,
    }
