"""Signed requests as a client has them in its hands, and all that somebody may do to one before sending it."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from attrs import evolve, frozen

from tests.entrypoints.http.live_service import md5
from tests.entrypoints.http.live_store import CONTENT_TYPE, form_body

Pairs = tuple[tuple[str, str], ...]


@frozen
class Form:
    """A POST-policy form and the file that goes with it."""

    url: str
    fields: Pairs
    content: bytes

    @property
    def wire(self) -> tuple[str, str, list[tuple[str, str | bytes]], bytes]:
        """Give method, URL, headers and body."""
        body = form_body(self.fields, self.content)
        return "POST", self.url, [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))], body

    def having(self, **changes: str) -> "Form":
        """Change fields; names are in lower case, and underscores are dashes."""
        named = {name.replace("_", "-"): value for name, value in changes.items()}
        return evolve(self, fields=tuple((name, named.get(name.lower(), value)) for name, value in self.fields))

    def field(self, name: str) -> str:
        """Give a field's value; empty if there is none."""
        return {key.lower(): value for key, value in self.fields}.get(name, "")


@frozen
class Signed:
    """A request whose URL is signed."""

    method: str
    url: str
    headers: Pairs = ()
    content: bytes = b""

    @property
    def wire(self) -> tuple[str, str, list[tuple[str, str | bytes]], bytes]:
        """Give method, URL, headers and body. The length that is sent is always the true one."""
        told: list[tuple[str, str | bytes]] = [
            (name, value) for name, value in self.headers if name.lower() != "content-length"
        ]
        if self.method == "GET":
            return self.method, self.url, told, b""
        told.append(("Content-Length", str(len(self.content))))
        return self.method, self.url, told, self.content

    def having(self, name: str, value: str) -> "Signed":
        """Give a parameter of the query another value."""
        base, _, query = self.url.partition("?")
        changed = [(key, value if key == name else old) for key, old in parse_qsl(query, keep_blank_values=True)]
        return evolve(self, url=f"{base}?{urlencode(changed, quote_via=quote, safe='')}")

    def parameter(self, name: str) -> str:
        """Give a parameter of the query; empty if there is none."""
        return dict(parse_qsl(urlsplit(self.url).query)).get(name, "")

    def at(self, key: str) -> "Signed":
        """Aim at another object."""
        parts = urlsplit(self.url)
        bucket = "/".join(parts.path.split("/")[:3])
        return evolve(self, url=parts._replace(path=f"{bucket}/{quote(key)}").geturl())

    def respelled(self) -> "Signed":
        """Say the same in another way: the query turned round, each letter of the key percent-encoded."""
        parts = urlsplit(self.url)
        *start, key = parts.path.split("/", 3)
        path = "/".join([*start, "".join(f"%{byte:02x}" for byte in key.encode()) if "%" not in key else key])
        return evolve(self, url=parts._replace(path=path, query="&".join(parts.query.split("&")[::-1])).geturl())


def swapped(content: bytes) -> bytes:
    """Other bytes of the same length."""
    return bytes(byte ^ 1 for byte in content[:16]) + content[16:]


def _flipped(hexadecimal: str) -> str:
    return ("1" if hexadecimal[:1] == "0" else "0") + hexadecimal[1:]


def _later(date: str) -> str:
    """Move an X-Amz-Date by a minute, within the day."""
    minute = (int(date[11:13]) + 1) % 60
    return f"{date[:11]}{minute:02d}{date[13:]}"


def _policy_for(form: Form, key: str, moment: datetime | None = None) -> str:
    """Write the policy anew, for another key or until another moment."""
    document = json.loads(base64.b64decode(form.field("policy")))
    for condition in document["conditions"]:
        if isinstance(condition, dict) and "key" in condition:
            condition["key"] = key
        elif isinstance(condition, list) and condition[1] == "$key":
            condition[2] = key
    if moment is not None:
        document["expiration"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return base64.b64encode(json.dumps(document).encode()).decode()


_FAR_OFF = datetime(2030, 1, 1)  # noqa: DTZ001 - it is only written

FORM_TAMPERINGS: Final[Mapping[str, Callable[[Form, str], Form]]] = {
    "another key": lambda form, key: form.having(key=key),
    "another key, and a policy for it": lambda form, key: form.having(key=key, policy=_policy_for(form, key)),
    "a longer key": lambda form, _: form.having(key=f"{form.field('key')}2"),
    "a shorter key": lambda form, _: form.having(key=form.field("key")[:-1]),
    "a key in another case": lambda form, _: form.having(key=form.field("key").swapcase()),
    "the file's name in the key": lambda form, _: form.having(key="${filename}"),
    "a key twice": lambda form, key: evolve(form, fields=(("Key", key), *form.fields)),
    "other bytes": lambda form, _: evolve(form, content=swapped(form.content)),
    "a byte more": lambda form, _: evolve(form, content=form.content + b"x"),
    "a byte less": lambda form, _: evolve(form, content=form.content[:-1]),
    "other bytes and their digest": lambda form, _: evolve(
        form.having(content_md5=md5(swapped(form.content))), content=swapped(form.content)
    ),
    "no digest": lambda form, _: evolve(
        form, fields=tuple(pair for pair in form.fields if pair[0].lower() != "content-md5")
    ),
    "another access": lambda form, _: form.having(
        acl="private" if form.field("acl") == "public-read" else "public-read"
    ),
    "another type": lambda form, _: form.having(content_type="text/html"),
    "a further field": lambda form, _: evolve(form, fields=(*form.fields, ("x-amz-meta-a", "b"))),
    "a redirect": lambda form, _: evolve(
        form, fields=(*form.fields, ("success_action_redirect", "http://evil.example"))
    ),
    "another signature": lambda form, _: form.having(x_amz_signature=_flipped(form.field("x-amz-signature"))),
    "no signature": lambda form, _: form.having(x_amz_signature=""),
    "a later policy": lambda form, _: form.having(policy=_policy_for(form, form.field("key"), _FAR_OFF)),
    "another date": lambda form, _: form.having(x_amz_date=_later(form.field("x-amz-date"))),
    "another credential": lambda form, _: form.having(x_amz_credential="A" + form.field("x-amz-credential")),
    "another bucket": lambda form, _: evolve(form, url=f"{form.url}2"),
}
"""By what is changed; given a form and the key of another user. What comes out is another form, or the same."""

URL_TAMPERINGS: Final[Mapping[str, Callable[[Signed, str], Signed]]] = {
    "another key": lambda request, key: request.at(key),
    "a longer key": lambda request, _: evolve(request, url=request.url.replace("?", "2?", 1)),
    "another bucket": lambda request, _: evolve(request, url=request.url.replace("/datasets/", "/datasets2/", 1)),
    "another signature": lambda request, _: request.having(
        "X-Amz-Signature", _flipped(request.parameter("X-Amz-Signature"))
    ),
    "a longer life": lambda request, _: request.having("X-Amz-Expires", "604800"),
    "two lives": lambda request, _: evolve(request, url=f"{request.url}&X-Amz-Expires=604800"),
    "another date": lambda request, _: request.having("X-Amz-Date", _later(request.parameter("X-Amz-Date"))),
    "fewer signed headers": lambda request, _: request.having("X-Amz-SignedHeaders", "host"),
    "a further parameter": lambda request, _: evolve(request, url=f"{request.url}&response-content-type=text%2Fhtml"),
    "an access in the query": lambda request, _: evolve(request, url=f"{request.url}&x-amz-acl=public-read"),
    "a header of the store's": lambda request, _: evolve(request, headers=(*request.headers, ("x-amz-meta-a", "b"))),
    "another part": lambda request, _: request.having("partNumber", str(int(request.parameter("partNumber") or 0) + 1)),
    "another upload": lambda request, _: request.having(
        "uploadId", hashlib.md5(request.parameter("uploadId").encode(), usedforsecurity=False).hexdigest()
    ),
    "another method": lambda request, _: evolve(request, method="GET" if request.method == "PUT" else "PUT"),
    "a removal": lambda request, _: evolve(request, method="DELETE"),
    "no query": lambda request, _: evolve(request, method="PUT", url=request.url.partition("?")[0]),
    "a byte more": lambda request, _: evolve(request, content=request.content + b"x"),
    "a byte less": lambda request, _: evolve(request, content=request.content[:-1]),
    "other headers": lambda request, _: evolve(
        request,
        headers=tuple((name, value if name == "Content-Length" else f"{value}2") for name, value in request.headers),
    ),
    "no headers": lambda request, _: evolve(request, headers=()),
}
"""Likewise for a request whose URL is signed. The same comes out where nothing of that kind is in it."""
