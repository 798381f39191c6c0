"""Secrets that can be recognised wherever they turn up, however they are written."""

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from urllib.parse import quote, quote_plus

import attrs
from attrs import define, field

_EXPLORED = (list, tuple, set, frozenset)
_SIGNATURES = re.compile(
    r"(?:Signature=|[?&]sig=|[?&]X-(?:Amz|Goog)-Signature=|SharedKey [^:\s]+:|Bearer )([^&,\s]{16,})"
)


@define
class Canaries:
    """Secrets, and in how many texts they have been looked for."""

    secrets: set[str] = field(factory=set, repr=False)
    searched: int = 0

    def plant(self, *secrets: str) -> None:
        """Look for these too."""
        assert all(len(secret) >= 12 for secret in secrets)  # shorter ones would be found by chance
        self.secrets.update(secrets)

    def plant_token(self, token: str) -> str:
        """Look for the claims and the signature of a token; all headers are alike."""
        self.plant(*token.split(".")[1:])
        return token

    def plant_signatures(self, text: str) -> None:
        """Look for what was signed, or shown to somebody, in this request."""
        self.plant(*_SIGNATURES.findall(text))

    def assert_none_in(self, *texts: str) -> None:
        """Fail if a secret is in one of the texts, whichever way it is written."""
        for text in texts:
            self.searched += 1
            found = [spelt for secret in self.secrets for spelt in spellings(secret) if spelt in text]
            # The text is cut: pytest would show all of it.
            assert not found, [text[max(0, text.index(spelt) - 200) :][:400] for spelt in found[:1]]


@cache
def spellings(secret: str) -> Collection[str]:
    """Give a secret as it is, and as it looks in base64, among whatever else, in hex, URLs, JSON and Python."""
    data = secret.encode()
    encoded = (base64.b64encode(bytes(before) + data)[[0, 2, 3][before] :].rstrip(b"=")[:-1] for before in range(3))
    in_base64 = [text.decode() for text in encoded]
    in_base64 += [text.replace("+", "-").replace("/", "_") for text in in_base64]
    written = {data.hex(), data.hex().upper(), quote(secret, safe=""), quote(secret), quote_plus(secret)}
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], *written, *in_base64}


def parts_of(value: object) -> Iterator[object]:
    """Give a value, and all values that it is made of, as far as attrs, collections and bound methods show them."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += _inside(part)


def _inside(part: object) -> Iterable[object]:
    kind = type(part)
    if attrs.has(kind):
        return [getattr(part, one.name) for one in attrs.fields(kind) if hasattr(part, one.name)]
    if isinstance(part, Mapping):
        return [*part.keys(), *part.values()]
    if isinstance(part, _EXPLORED):
        return part
    owner = getattr(part, "__self__", None)
    return [] if owner is None or isinstance(owner, type) else [owner]
