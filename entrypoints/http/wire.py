"""The wire format: what HTTP requests say, and what their answers look like. That of reading is in `wire_reads`."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import starmap
from typing import Literal, cast
from urllib.parse import unquote

import orjson
from starlette.requests import Request

from application.authorize_uploads import AuthorizedUploads, UploadRequest
from application.describe_store import StoreDescription
from application.multipart_uploads import MultipartRequest, Resumed
from application.ports import Turns
from application.verify_uploads import Verdict
from domain import inspection
from domain.errors import BitstoreError, ErrorCode, InvalidInput, Unauthenticated
from domain.keys import RelativePath
from domain.uploads import (
    PostForm,
    SignedMultipart,
    SignedUpload,
    UploadMethod,
    UploadWishes,
)
from entrypoints.http.decoding import decode_any_body, decode_body, raw_query_values
from entrypoints.http.wire_types import (
    AuthorizedFile,
    FileVerdict,
    FoundObject,
    InfoAnswer,
    MultipartBody,
    NextSteps,
    Parts,
    PartsUpload,
    ResumeAnswer,
    StoreInfo,
    UploadBody,
)

# What can be done next with an upload in parts: relative to the URL of /authorize (RFC 3986, section 4.2), and so right
# behind whatever proxy.
_THEN: NextSteps = {"resume": "multipart/resume", "complete": "multipart/complete", "abort": "multipart/abort"}


def read_token(request: Request) -> str:
    """Find the one token that a request shows: `Auth-Token`, `Authorization: Bearer` or `?jwt=`.

    Raises `Unauthenticated` for none, or for several that differ: a bad one is never rescued by a good one.
    """
    shown = set[str]()
    for name, value in request.scope["headers"]:  # in lower case, as ASGI has them
        if name == b"auth-token":
            shown.add(value.decode("latin-1"))
        elif name == b"authorization":
            scheme, _, credentials = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                # RFC 9110, section 11.4: only spaces stand there. To Python others are white space too.
                shown.add(credentials.strip(" "))
    if request.scope["query_string"]:
        shown.update(map(unquote, raw_query_values(request, "jwt")))
    if not shown:
        raise Unauthenticated(ErrorCode.TOKEN_MISSING, "a permission token is needed, in the header Auth-Token")
    if len(shown) > 1:
        raise Unauthenticated(ErrorCode.TOKEN_INVALID, "the request shows more than one token")
    return shown.pop()


async def read_body(request: Request, max_bytes: int, timeout_seconds: float) -> bytes:
    """Read a whole body of at most `max_bytes`; it may come in chunks, but not compressed and not forever.

    The time is looked at whenever something has arrived; the server's `Connection` sees to it that something does, be
    it empty. Raises `BitstoreError`: `body_too_large`, `body_timeout`, `unsupported_media_type`.
    """
    for name, value in request.scope["headers"]:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise BitstoreError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "a compressed body is not accepted")
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_bytes:
            raise _too_large(max_bytes)
    chunks, size, deadline = [], 0, time.monotonic() + timeout_seconds
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput(ErrorCode.INVALID_REQUEST, "the body did not arrive whole")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
        if time.monotonic() > deadline:
            raise BitstoreError(ErrorCode.BODY_TIMEOUT, "the body took too long to arrive")


def _too_large(max_bytes: int) -> BitstoreError:
    return BitstoreError(ErrorCode.BODY_TOO_LARGE, f"the body is over the limit of {max_bytes} bytes")


async def parse_upload_request(body: bytes, turns: Turns) -> UploadRequest:
    """Read the body of /authorize and /verify; what it says of each file is not looked at. Raises `InvalidInput`."""
    asked = await decode_any_body(body, UploadBody, turns)
    # Methods that this service doesn't know are no fault of a client that could send them.
    accept = None if asked.accept is None else frozenset(method for method in UploadMethod if method in asked.accept)
    wishes = UploadWishes(accept, asked.overwrite, frozenset(asked.require or ()))
    return UploadRequest(asked.metadata, asked.filedata, wishes)


def parse_multipart_request(body: bytes) -> MultipartRequest:
    """Read the body of /multipart/…; what it says of the file is not looked at. Raises `InvalidInput`."""
    asked = decode_body(body, MultipartBody)
    return MultipartRequest(
        metadata=asked.metadata,
        path=asked.path,
        declaration=asked.file,
        upload_id=asked.upload_id,
        after=asked.after,
        overwrite=asked.overwrite,
    )


@lru_cache(maxsize=16)  # all files of a batch expire together
def iso_time(moment: datetime) -> str:
    """Write a moment as ISO 8601 has it, in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render_authorized(uploads: AuthorizedUploads, turns: Turns) -> Iterator[bytes]:
    """Write the files of an /authorize answer, by declared path, in pieces that `frame_authorized` puts together.

    A piece is what can be made in one turn.
    """
    return render_members(starmap(_member, uploads), turns)


def render_authorized_at_once(uploads: AuthorizedUploads) -> bytes:
    """Write them likewise, in one piece, where there are too few for turns."""
    return orjson.dumps(dict(starmap(_member, uploads)))[1:-1]


def frame_authorized(files: Sequence[bytes]) -> Sequence[bytes]:
    """Put the pieces of an /authorize answer together.

    It has the same object twice: the original README spells its name one way, deployed clients read another.
    """
    return b'{"fileData":{', *files, b'},"filedata":{', *files, b"}}"


def render_verdicts(verdicts: Iterable[tuple[RelativePath, Verdict]], turns: Turns) -> Iterator[bytes]:
    """Write the files of a /verify answer likewise, for `frame_verdicts`."""
    return render_members(((str(path), _verdict(verdict)) for path, verdict in verdicts), turns)


def frame_verdicts(files: Sequence[bytes]) -> Sequence[bytes]:
    """Put the pieces of a /verify answer together."""
    return b'{"files":{', *files, b"}}"


def render_members(members: Iterator[tuple[str, object]], turns: Turns) -> Iterator[bytes]:
    """Write the members of a JSON object, in pieces; a piece is what can be made in one turn."""
    comma = b""
    while some := turns.take(members):
        yield b"".join((comma, memoryview(orjson.dumps(dict(some)))[1:-1]))
        comma = b","


class _WholeUpload(AuthorizedFile, total=False):
    """A `FormUpload` or a `PutUpload`, while it is put together."""

    upload_method: Literal["POST", "PUT"]
    upload_url: str
    upload_query: Mapping[str, str]
    upload_headers: Mapping[str, str]


def _member(signed: SignedUpload | SignedMultipart, exists: bool | None) -> tuple[str, AuthorizedFile]:  # noqa: FBT001 - a value to write
    file = signed.upload.file
    answer: _WholeUpload = {
        "name": file.name,
        "type": file.media_type,
        "length": file.length,
        "object_url": signed.object_url,
        "exists": exists,
        "expires_at": iso_time(signed.expires_at),
    }
    if file.md5 is not None:
        answer["md5-hash"] = file.md5
    if file.sha256 is not None:
        answer["sha256-hash"] = file.sha256
    if isinstance(signed, SignedMultipart):
        return str(file.path), cast(PartsUpload, {**answer, **_parts(signed)})
    request = signed.request
    answer["upload_url"] = request.url
    if isinstance(request, PostForm):
        answer["upload_method"], answer["upload_query"] = "POST", request.fields
    else:
        answer["upload_method"], answer["upload_headers"] = "PUT", request.headers
    return str(file.path), answer


def _parts(signed: SignedMultipart) -> Parts:
    return {
        "upload_method": "MULTIPART",
        "upload_id": signed.upload_id,
        "part_size": signed.plan.part_size,
        "part_count": signed.plan.count,
        "parts": [
            {"number": part.number, "length": part.length, "url": part.url, "headers": part.headers}
            for part in signed.parts
        ],
        "next_part": signed.next_part,
        "then": _THEN,
    }


def render_resumed(resumed: Resumed) -> bytes:
    """Write the answer of /multipart/resume."""
    answer: ResumeAnswer = {
        "complete": resumed.is_complete,
        "arrived": [{"number": part.number, "length": part.length} for part in resumed.arrived],
        **_parts(resumed.signed),
        "expires_at": iso_time(resumed.signed.expires_at),
    }
    return orjson.dumps(answer)


def render_verdict(verdict: Verdict) -> bytes:
    """Write the answer of /multipart/complete."""
    return orjson.dumps(_verdict(verdict))


def _verdict(verdict: Verdict) -> FileVerdict:
    if verdict.found is None:
        return {"status": verdict.status}
    found: FoundObject = {"length": verdict.found.length}
    add_digests(found, verdict.found)
    return {"status": verdict.status, "found": found}


def add_digests(told: FoundObject, found: inspection.FoundObject) -> None:
    """Add what is known of an object's bytes to what is told of it."""
    if found.md5 is not None:
        told["md5"] = found.md5
    if found.sha256 is not None:
        told["sha256"] = found.sha256
    if found.composite is not None:
        told["md5_of_parts"] = found.composite


def render_description(description: StoreDescription, service_name: str) -> bytes:
    """Write the answer of /info."""
    capabilities, rules = description.capabilities, description.rules
    store: StoreInfo = {
        "methods": {method.value: {"enforced": sorted(names)} for method, names in capabilities.methods.items()},
        "key_pattern": rules.pattern.template,
        "max_files": rules.max_files,
        "max_file_bytes": min(rules.files.max_bytes, capabilities.max_request_bytes),
        "digest_required": rules.files.require_digest,
        "upload_expires_seconds": int(description.lifetime.total_seconds()),
    }
    if capabilities.parts is not None:
        store["parts"] = {
            "min_bytes": capabilities.parts.min_part_bytes,
            "max_bytes": capabilities.parts.max_part_bytes,
            "max_count": capabilities.parts.max_parts,
            "max_file_bytes": capabilities.parts.longest_object,
            "threshold_bytes": description.threshold,
        }
    answer: InfoAnswer = {"prefixes": list(description.prefixes), "service": service_name, "store": store}
    return orjson.dumps(answer)
