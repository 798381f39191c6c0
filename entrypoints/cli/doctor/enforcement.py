"""Whether the store keeps what is claimed of it: a dishonest client tries what must be refused.

What is claimed and not refused is wrong, because clients and key patterns rely on it; what is refused and not claimed
is only worth a note. Which part of a request carries what, nothing here needs to know: see `contract_cheats`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from attrs import evolve, frozen

from adapters.stores.contract_cheats import Cheat, Request, as_signed, cheats, omissions, with_key
from adapters.stores.flavours import FLAVOURS
from domain.files import DeclaredFile, MediaType
from domain.keys import ObjectKey
from domain.uploads import Access, Guarantee, Upload, UploadMethod
from entrypoints.cli.doctor.case import CONTENT, LIFETIME, OTHER_CONTENT, Case, accepted, declare
from entrypoints.cli.doctor.findings import Finding, note, ok, wrong

_MARGIN: Final = timedelta(minutes=5)
_REFUSED: Final = range(400, 500)

_BROKEN_BY: Final[Mapping[Guarantee, str]] = {
    Guarantee.KEY: "another key",
    Guarantee.LENGTH: "another length",
    Guarantee.TYPE: "another media type",
    Guarantee.EXPIRY: "a request that comes too late",
    Guarantee.MD5: "content of another MD5",
    Guarantee.SHA256: "content of another SHA-256",
    Guarantee.ACCESS: "a private file made public",
    Guarantee.NO_OVERWRITE: "a file in place of one that must stay",
}


@frozen
class Tampering:
    """Requests by which `content` would get to a key where it must not be; none where nothing is signed of that."""

    key: ObjectKey
    tried: Sequence[Cheat]
    content: bytes


async def check_guarantee(case: Case, method: UploadMethod, guarantee: Guarantee) -> Finding:
    """Try to break one guarantee, and compare with what is claimed."""
    if guarantee is Guarantee.NO_OVERWRITE:
        tampering = await _replacing(case, method)
    else:
        tampering = _TAMPERINGS[guarantee](case, method)
    got_through, strange = await _try(case, tampering)
    what = _BROKEN_BY[guarantee]
    if guarantee not in case.signer.capabilities.methods[method]:
        return _unclaimed(case, what, tampering, got_through)
    if got_through is not None:
        return wrong(
            f"{what} isn't refused, though {_claimant(case)} claims it: a request {got_through.what} was accepted",
            *_better_claim(case, method, guarantee),
        )
    if strange is not None:
        return wrong(f"to {what} the store answered {strange}, which is no refusal", "look into the store's own log")
    if guarantee is not Guarantee.NO_OVERWRITE and await case.is_there(tampering.key):
        return wrong(f"{what} is refused, but stored all the same", "this store can't be relied on; tell its makers")
    return ok(f"{what} is refused")


def _unclaimed(case: Case, what: str, tampering: Tampering, got_through: Cheat | None) -> Finding:
    if not tampering.tried:
        return ok(f"{what} can't be told from any other: nothing is signed of it, nor claimed")
    if got_through is not None:
        return ok(f"{what} isn't refused, nor claimed to be")
    return note(f"{what} is refused, though {_claimant(case)} doesn't claim it")


async def _try(case: Case, tampering: Tampering) -> tuple[Cheat | None, int | None]:
    """Send each request until one is accepted; give that one, and a status that is neither yes nor no."""
    strange = None
    for cheat in tampering.tried:
        answer = await case.send(tampering.key, cheat.request, tampering.content, chunked=cheat.chunked)
        if accepted(answer):
            return cheat, strange
        if answer.status not in _REFUSED:
            strange = answer.status
    return None, strange


def _claimant(case: Case) -> str:
    return f"STORAGE_FLAVOUR={case.flavour}" if case.flavour else f"the store {case.backend}"


def _better_claim(case: Case, method: UploadMethod, guarantee: Guarantee) -> tuple[str, str]:
    """Say what to do, and a line to paste if another flavour is more modest."""
    seen = case.server.flavour if case.server is not None else None
    for name in filter(None, (seen, "generic")) if case.flavour else ():
        if name != case.flavour and guarantee not in FLAVOURS[name].methods.get(method, ()):
            return f"the flavour is wrong: set STORAGE_FLAVOUR={name}, which doesn't claim it", (
                f"export STORAGE_FLAVOUR={name}"
            )
    return f"don't rely on {guarantee} by {method} with this store, nor offer that method; tell its makers", ""


# How each guarantee is broken


def _pair(case: Case, method: UploadMethod, given: Upload, wanted: Upload) -> tuple[Request, Request]:
    """Sign what a client is given, and what it would rather have, at one moment."""
    first, second = case.sign([given, wanted], method)
    return first.request, second.request


def _other_key(case: Case, method: UploadMethod) -> Tampering:
    upload = case.new_upload()
    other = evolve(upload, key=ObjectKey(f"{upload.key}x"))
    case.remember(other)
    (signed,) = case.sign([upload], method)
    return Tampering(other.key, [with_key(signed.request, upload.key, other.key)], CONTENT)


def _other_length(case: Case, method: UploadMethod) -> Tampering:
    # Without a digest, by which a store could notice as well.
    upload = case.new_upload()
    upload = evolve(upload, file=evolve(upload.file, md5=None, sha256=None))
    content = CONTENT + b"!"
    given, wanted = _pair(case, method, upload, evolve(upload, file=evolve(upload.file, length=len(content))))
    return Tampering(upload.key, [as_signed(given), *omissions(given, wanted)], content)


def _other_type(case: Case, method: UploadMethod) -> Tampering:
    upload = case.new_upload()
    as_page = evolve(upload, file=evolve(upload.file, media_type=MediaType("text/html")))
    return Tampering(upload.key, cheats(*_pair(case, method, upload, as_page)), CONTENT)


def _too_late(case: Case, method: UploadMethod) -> Tampering:
    upload, now = case.new_upload(), case.clock()
    expired = now - LIFETIME - _MARGIN - abs(case.skew)
    late, in_time = (case.sign([upload], method, now=when)[0].request for when in (expired, now))
    return Tampering(upload.key, [as_signed(late), *cheats(late, in_time)], CONTENT)


def _other_bytes_by_md5(case: Case, method: UploadMethod) -> Tampering:
    return _other_bytes(case, method, *(evolve(declare(content), sha256=None) for content in (CONTENT, OTHER_CONTENT)))


def _other_bytes_by_sha256(case: Case, method: UploadMethod) -> Tampering:
    return _other_bytes(case, method, *(evolve(declare(content), md5=None) for content in (CONTENT, OTHER_CONTENT)))


def _other_bytes(case: Case, method: UploadMethod, declared: DeclaredFile, other: DeclaredFile) -> Tampering:
    """Break one digest; the other is left undeclared, so that it can't tell."""
    upload = case.new_upload()
    given, wanted = _pair(case, method, evolve(upload, file=declared), evolve(upload, file=other))
    return Tampering(upload.key, [as_signed(given), *cheats(given, wanted)], OTHER_CONTENT)


def _made_public(case: Case, method: UploadMethod) -> Tampering:
    upload = case.new_upload(access=Access.PRIVATE)
    return Tampering(upload.key, cheats(*_pair(case, method, upload, evolve(upload, access=Access.PUBLIC))), CONTENT)


_TAMPERINGS: Final[Mapping[Guarantee, Callable[[Case, UploadMethod], Tampering]]] = {
    Guarantee.KEY: _other_key,
    Guarantee.LENGTH: _other_length,
    Guarantee.TYPE: _other_type,
    Guarantee.EXPIRY: _too_late,
    Guarantee.MD5: _other_bytes_by_md5,
    Guarantee.SHA256: _other_bytes_by_sha256,
    Guarantee.ACCESS: _made_public,
}


async def _replacing(case: Case, method: UploadMethod) -> Tampering:
    """Store an object that must not be replaced, and try to replace it."""
    upload, now = case.new_upload(), case.clock()
    again = evolve(upload, file=declare(OTHER_CONTENT))
    first, second, freely = (
        case.sign([one], method, now=now, overwrite=overwrite)[0]
        for one, overwrite in ((upload, False), (again, False), (again, True))
    )
    await case.send(upload.key, first.request, CONTENT)
    return Tampering(upload.key, [as_signed(second.request), *cheats(second.request, freely.request)], OTHER_CONTENT)
