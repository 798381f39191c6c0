"""What a dishonest client may try with a signed request, for the conformance suite in `contract`.

A request has parts: the fields of a form; the headers and the query parameters of a PUT. Two requests that were signed
for different things show which of their parts carry the difference, so nothing here needs to know what a store calls
its signature, a digest or an acl.
"""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from attrs import evolve, frozen

from domain.uploads import PostForm, PutRequest

Request = PostForm | PutRequest

_Part = tuple[str, str]
"""Where it is (`field`, `header` or `parameter`), and its name."""


@frozen
class Cheat:
    """A request that the client may send and should not; `what` ends the sentence "the client sent a request …".

    With `chunked` it is sent without its length, in chunks (RFC 9112, section 7.1).
    """

    request: Request
    what: str
    chunked: bool = False


def as_signed(request: Request) -> Cheat:
    """Send a request as it was signed, though not with what it was signed for."""
    return Cheat(request, "as it was signed")


def cheats(given: Request, wanted: Request) -> list[Cheat]:
    """Mix the request that the client was given with one that it would rather have, both signed at one moment.

    Of each part in which they differ: leave it out, and take it from the other; one part at a time.
    """
    others = _parts_of(wanted)
    swaps = [
        Cheat(_with(given, part, others[part]), f"with another {' '.join(part)}")
        for part in _differing(given, wanted)
        if part in others
    ]
    return [*omissions(given, wanted), *swaps]


def omissions(given: Request, wanted: Request) -> list[Cheat]:
    """Leave out each part in which the two differ, one at a time."""
    return [
        Cheat(_with(given, part, None), f"without the {' '.join(part)}", part[1].lower() == "content-length")
        for part in _differing(given, wanted)
        if part in _parts_of(given)
    ]


def garblings(given: Request, other: Request) -> list[Cheat]:
    """Change the first character of each part in which a request differs from one that was signed for another key."""
    mine = _parts_of(given)
    return [
        Cheat(_with(given, part, _garbled(mine[part])), f"with a broken {' '.join(part)}")
        for part in _differing(given, other)
        if part in mine
    ]


def with_key(request: Request, old: str, new: str) -> Cheat:
    """Aim a signed request at another key."""
    what = f"for {new} instead of {old}"
    if isinstance(request, PostForm):
        return Cheat(evolve(request, fields={**request.fields, "key": new}), what)
    return Cheat(evolve(request, url=request.url.replace(quote(old), quote(new), 1)), what)


def with_headers(request: PutRequest, headers: Mapping[str, str]) -> Cheat:
    """Add headers to a request, or change them."""
    return Cheat(evolve(request, headers={**request.headers, **headers}), f"with the header {', '.join(headers)}")


def as_whole(part: PutRequest, whole: PutRequest) -> Cheat:
    """Make a request for all of an object of one for a part: with the headers and no other parameters than `whole`."""
    known = {name for name, _ in _parameters(whole.url)}
    query = "&".join(f"{name}={value}" for name, value in _parameters(part.url) if name in known)
    return Cheat(PutRequest(f"{part.url.partition('?')[0]}?{query}", whole.headers), "for the whole object")


def _garbled(text: str) -> str:
    return f"{'1' if text.startswith('0') else '0'}{text[1:]}"


def _differing(one: Request, other: Request) -> list[_Part]:
    left, right = _parts_of(one), _parts_of(other)
    return [part for part in {**left, **right} if left.get(part) != right.get(part)]


def _parts_of(request: Request) -> dict[_Part, str]:
    """Give all parts in order; values of parameters as they stand in the URL, since a signature may cover that text."""
    if isinstance(request, PostForm):
        return {("field", name): value for name, value in request.fields.items()}
    headers = {("header", name): value for name, value in request.headers.items()}
    return headers | {("parameter", name): value for name, value in _parameters(request.url)}


def _parameters(url: str) -> Iterator[tuple[str, str]]:
    for parameter in filter(None, url.partition("?")[2].split("&")):
        name, _, value = parameter.partition("=")
        yield name, value


def _with(request: Request, part: _Part, value: str | None) -> Request:
    """Give a part another value, or leave it out; all others stay as they are, in their order."""
    parts: dict[_Part, str | None] = {**_parts_of(request), part: value}
    kept = {where: text for where, text in parts.items() if text is not None}
    if isinstance(request, PostForm):
        return evolve(request, fields={name: text for (_, name), text in kept.items()})
    headers = {name: text for (place, name), text in kept.items() if place == "header"}
    query = "&".join(f"{name}={text}" for (place, name), text in kept.items() if place == "parameter")
    return PutRequest(f"{request.url.partition('?')[0]}?{query}", headers)
