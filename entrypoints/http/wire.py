"""The wire format: what HTTP requests say, and what their answers look like. That of reading is in `wire_reads`."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.types import Receive

from application.authorize_uploads import AuthorizedUploads, UploadRequest
from application.describe_store import StoreDescription
from application.multipart_uploads import MultipartRequest, Resumed
from application.ports import Turns
from application.verify_uploads import Verdict
from domain import strict_json
from domain.errors import BitstoreError, ErrorCode, InvalidInput, Unauthenticated
from domain.inspection import FoundObject
from domain.keys import RelativePath
from domain.multipart import UploadId
from domain.uploads import (
    Guarantee,
    PostForm,
    PutRequest,
    SignedMultipart,
    SignedUpload,
    UploadMethod,
    UploadWishes,
)

_POST, _PUT, _MULTIPART = UploadMethod.POST.value, UploadMethod.PUT.value, UploadMethod.MULTIPART.value
# What can be done next with an upload in parts: relative to the URL of /authorize (RFC 3986, section 4.2), and so right
# behind whatever proxy.
_THEN = {name: f"multipart/{name}" for name in ("resume", "complete", "abort")}


def read_token(request: Request) -> str:
    """Find the one token that a request shows: `Auth-Token`, `Authorization: Bearer` or `?jwt=`.

    Raises `Unauthenticated` for none, or for several that differ: a bad one is never rescued by a good one.
    """
    shown = {*_header_values(request, b"auth-token"), *map(unquote, _raw_query_values(request, "jwt"))}
    for value in _header_values(request, b"authorization"):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "bearer":
            shown.add(credentials.strip())
    if not shown:
        raise Unauthenticated(ErrorCode.TOKEN_MISSING, "a permission token is needed, in the header Auth-Token")
    if len(shown) > 1:
        raise Unauthenticated(ErrorCode.TOKEN_INVALID, "the request shows more than one token")
    return shown.pop()


def _header_values(request: Request, name: bytes) -> Sequence[str]:
    # ASGI gives names in lower case.
    return [value.decode("latin-1") for key, value in request.scope["headers"] if key == name]


def query_values(request: Request, name: str) -> Sequence[str]:
    """Give the values of a query parameter, percent-decoded once; `+` stays `+`, as in a path.

    Raises `InvalidInput` where a value is not UTF-8.
    """
    try:
        return [unquote(value, errors="strict") for value in _raw_query_values(request, name)]
    except UnicodeDecodeError as error:
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"{name} is not UTF-8", field=name) from error


def _raw_query_values(request: Request, name: str) -> Sequence[str]:
    query: bytes = request.scope["query_string"]
    if not query:
        return ()
    pairs = (pair.partition("=") for pair in query.decode("latin-1").split("&"))
    return [value for key, _, value in pairs if key == name]


async def read_body(request: Request, max_bytes: int, timeout_seconds: float) -> bytes:
    """Read a whole body of at most `max_bytes`; it may come in chunks, but not compressed and not forever.

    Raises `BitstoreError`: `body_too_large`, `body_timeout`, `unsupported_media_type`.
    """
    if any(coding.lower() != "identity" for coding in _header_values(request, b"content-encoding")):
        raise BitstoreError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "a compressed body is not accepted")
    for declared in _header_values(request, b"content-length"):
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
            raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _arrived(request.receive, max_bytes)
    except TimeoutError as error:
        raise BitstoreError(ErrorCode.BODY_TIMEOUT, "the body took too long to arrive") from error


async def _arrived(receive: Receive, max_bytes: int) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput(ErrorCode.INVALID_REQUEST, "the body did not arrive whole")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> BitstoreError:
    return BitstoreError(ErrorCode.BODY_TOO_LARGE, f"the body is over the limit of {max_bytes} bytes")


def parse_upload_request(body: bytes) -> UploadRequest:
    """Read the body of /authorize and /verify; what it says of each file is not looked at. Raises `InvalidInput`."""
    members = parse_object(body, "metadata and filedata")
    wishes = UploadWishes(
        accept=_accepted(members),
        overwrite=_flag(members, "overwrite", default=True),
        require=_required(members),
    )
    return UploadRequest(object_member(members, "metadata"), object_member(members, "filedata"), wishes)


def parse_multipart_request(body: bytes) -> MultipartRequest:
    """Read the body of /multipart/…; what it says of the file is not looked at. Raises `InvalidInput`."""
    members = parse_object(body, "metadata, path, file and upload_id")
    path, after = members.get("path"), members.get("after", 0)
    if not isinstance(path, str):
        raise InvalidInput(ErrorCode.INVALID_REQUEST, "path must be a string", field="path")
    if type(after) is not int or after < 0:
        raise InvalidInput(ErrorCode.INVALID_REQUEST, "after must be the number of a part", field="after")
    return MultipartRequest(
        metadata=object_member(members, "metadata"),
        path=path,
        declaration=members.get("file"),
        upload_id=UploadId(members.get("upload_id")),
        after=after,
        overwrite=_flag(members, "overwrite", default=True),
    )


def parse_object(body: bytes, expected: str) -> Mapping[str, object]:
    """Read a body that is one JSON object; `expected` says, for people, what is in it. Raises `InvalidInput`."""
    try:
        members = strict_json.loads(body, orjson.loads)
    except strict_json.NotStrictJson as error:
        raise InvalidInput(ErrorCode.INVALID_JSON, f"the body is not strict JSON: {error}") from error
    if not isinstance(members, dict):
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"the body must be a JSON object with {expected}")
    return members


def object_member(members: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Give a member that must be an object. Raises `InvalidInput`."""
    value = members.get(name)
    if not isinstance(value, dict):
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"{name} must be an object", field=name)
    return value


def _flag(members: Mapping[str, object], name: str, *, default: bool) -> bool:
    value = members.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"{name} must be true or false", field=name)
    return value


def string_list(members: Mapping[str, object], name: str) -> Sequence[str] | None:
    """Give a member that must be a list of strings, if it is there. Raises `InvalidInput`."""
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"{name} must be a list of strings", field=name)
    return value


def _accepted(members: Mapping[str, object]) -> frozenset[UploadMethod] | None:
    names = string_list(members, "accept")
    # Methods that this service doesn't know are no fault of a client that could send them.
    return None if names is None else frozenset(method for method in UploadMethod if method in names)


def _required(members: Mapping[str, object]) -> frozenset[Guarantee]:
    names = string_list(members, "require")
    if not names:
        return frozenset()
    unknown = sorted(set(names) - set(Guarantee))
    if unknown:
        known = ", ".join(Guarantee)
        raise InvalidInput(
            ErrorCode.INVALID_REQUEST, f"require has the unknown {unknown[0]!r}; it knows {known}", field="require"
        )
    return frozenset(Guarantee(name) for name in names)


@lru_cache(maxsize=16)  # all files of a batch expire together
def iso_time(moment: datetime) -> str:
    """Write a moment as ISO 8601 has it, in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render_authorized(uploads: AuthorizedUploads, turns: Turns) -> Iterator[bytes]:
    """Write the files of an /authorize answer, by declared path, in pieces that `frame_authorized` puts together.

    A piece is what can be made in one turn.
    """
    return render_members(((one.upload.file.path, _signed_upload(one, exists)) for one, exists in uploads), turns)


def frame_authorized(files: Sequence[bytes]) -> Sequence[bytes]:
    """Put the pieces of an /authorize answer together.

    It has the same object twice: the original README spells its name one way, deployed clients read another.
    """
    return b'{"fileData":{', *files, b'},"filedata":{', *files, b"}}"


def render_verdicts(verdicts: Iterable[tuple[RelativePath, Verdict]], turns: Turns) -> Iterator[bytes]:
    """Write the files of a /verify answer likewise, for `frame_verdicts`."""
    return render_members(((path, _verdict(verdict)) for path, verdict in verdicts), turns)


def frame_verdicts(files: Sequence[bytes]) -> Sequence[bytes]:
    """Put the pieces of a /verify answer together."""
    return b'{"files":{', *files, b"}}"


def render_members(files: Iterator[tuple[str, object]], turns: Turns) -> Iterator[bytes]:
    """Write the members of a JSON object, in pieces; a piece is what can be made in one turn."""
    comma = b""
    while some := turns.take(files):
        yield comma + orjson.dumps({str(path): value for path, value in some})[1:-1]
        comma = b","


def _signed_upload(signed: SignedUpload | SignedMultipart, exists: bool | None) -> dict[str, object]:  # noqa: FBT001 - a value to write
    file = signed.upload.file
    answer: dict[str, object] = {
        "name": file.name,
        "type": file.media_type,
        "length": file.length,
        "object_url": signed.object_url,
        "exists": exists,
        "expires_at": iso_time(signed.expires_at),
        **(_request(signed.request) if isinstance(signed, SignedUpload) else _parts(signed)),
    }
    if file.md5 is not None:
        answer["md5-hash"] = file.md5
    if file.sha256 is not None:
        answer["sha256-hash"] = file.sha256
    return answer


def _request(request: PostForm | PutRequest) -> dict[str, object]:
    if isinstance(request, PostForm):
        return {"upload_method": _POST, "upload_url": request.url, "upload_query": request.fields}
    return {"upload_method": _PUT, "upload_url": request.url, "upload_headers": request.headers}


def _parts(signed: SignedMultipart) -> dict[str, object]:
    return {
        "upload_method": _MULTIPART,
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
    return orjson.dumps(
        {
            "complete": resumed.is_complete,
            "arrived": [{"number": part.number, "length": part.length} for part in resumed.arrived],
            **_parts(resumed.signed),
            "expires_at": iso_time(resumed.signed.expires_at),
        }
    )


def render_verdict(verdict: Verdict) -> bytes:
    """Write the answer of /multipart/complete."""
    return orjson.dumps(_verdict(verdict))


def _verdict(verdict: Verdict) -> dict[str, object]:
    answer: dict[str, object] = {"status": verdict.status}
    if verdict.found is not None:
        answer["found"] = found_members(verdict.found)
    return answer


def found_members(found: FoundObject) -> dict[str, object]:
    """Write what is known of an object."""
    members = {"length": found.length, "md5": found.md5, "sha256": found.sha256, "md5_of_parts": found.composite}
    return {name: value for name, value in members.items() if value is not None}


def render_description(description: StoreDescription, service_name: str) -> bytes:
    """Write the answer of /info."""
    capabilities, rules = description.capabilities, description.rules
    store: dict[str, object] = {
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
    return orjson.dumps({"prefixes": list(description.prefixes), "service": service_name, "store": store})
