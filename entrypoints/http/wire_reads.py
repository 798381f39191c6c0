"""The wire format of the routes that give files out again: /presign and /objects."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

import orjson
from starlette.requests import Request

from application.list_objects import MAX_OBJECTS, ListRequest, StoredFile, StoredFiles
from application.ports import Turns
from application.presign_download import DownloadRequest
from application.presign_downloads import DownloadsRequest
from domain.errors import ErrorCode, InvalidInput
from domain.files import FileName
from domain.keys import Dataset, Owner
from domain.uploads import SignedDownload
from entrypoints.http.wire import (
    found_members,
    iso_time,
    object_member,
    parse_object,
    query_values,
    render_members,
    string_list,
)

_MAX_EXPIRY_DIGITS, _MAX_LIMIT_DIGITS = 9, 4


def parse_download_request(request: Request) -> DownloadRequest:
    """Read the query of /presign. Raises `InvalidInput`."""
    url, ownerid = _single(request, "url"), _single(request, "ownerid")
    filename, expires_in = _single(request, "filename"), _single(request, "expires_in")
    if url is None or ownerid is None:
        raise InvalidInput(ErrorCode.INVALID_REQUEST, "the query parameters url and ownerid are needed")
    return DownloadRequest(
        url=url,
        owner=Owner(ownerid),
        filename=None if filename is None else FileName(filename),
        lifetime=None if expires_in is None else _seconds(expires_in),
    )


def parse_downloads_request(body: bytes) -> DownloadsRequest:
    """Read the body of a POST to /presign; what it says of each file is not looked at. Raises `InvalidInput`."""
    members = parse_object(body, "metadata, and paths or urls")
    paths, urls = string_list(members, "paths"), string_list(members, "urls")
    names = urls if paths is None else paths
    if names is None or (paths is not None and urls is not None):
        raise InvalidInput(ErrorCode.INVALID_REQUEST, "either paths or urls must be given, and not both")
    expires_in = members.get("expires_in")
    return DownloadsRequest(
        metadata=object_member(members, "metadata"),
        names=names,
        by_path=paths is not None,
        lifetime=None if expires_in is None else _seconds(str(expires_in) if type(expires_in) is int else ""),
    )


def parse_list_request(request: Request) -> ListRequest:
    """Read the query of /objects. Raises `InvalidInput`."""
    owner, name, after, limit = (_single(request, part) for part in ("owner", "name", "after", "limit"))
    if owner is None:
        raise InvalidInput(ErrorCode.INVALID_REQUEST, "the query parameter owner is needed", field="owner")
    return ListRequest(
        owner=Owner(owner),
        dataset=None if name is None else Dataset(name),
        limit=MAX_OBJECTS if limit is None else _page_size(limit),
        after=after,
    )


def _page_size(text: str) -> int:
    size = int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_LIMIT_DIGITS else 0
    if not 1 <= size <= MAX_OBJECTS:
        raise InvalidInput(
            ErrorCode.INVALID_REQUEST, f"limit must be a whole number from 1 to {MAX_OBJECTS}", field="limit"
        )
    return size


def _single(request: Request, name: str) -> str | None:
    values = query_values(request, name)
    if len(values) > 1:
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"{name} is given more than once", field=name)
    return values[0] if values else None


def _seconds(text: str) -> timedelta:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_EXPIRY_DIGITS):
        raise InvalidInput(ErrorCode.INVALID_EXPIRY, "expires_in must be a whole number of seconds", field="expires_in")
    return timedelta(seconds=int(text))


def render_signed_download(signed: SignedDownload) -> bytes:
    """Write the answer of GET /presign."""
    return orjson.dumps(_download(signed))


def _download(signed: SignedDownload) -> dict[str, str]:
    return {"url": signed.url, "expires_at": iso_time(signed.expires_at)}


def render_signed_downloads(signed: Iterable[tuple[str, SignedDownload]], turns: Turns) -> Iterator[bytes]:
    """Write the files of the answer to a POST to /presign, in pieces for `frame_signed_downloads`."""
    return render_members(((name, _download(one)) for name, one in signed), turns)


def frame_signed_downloads(files: Sequence[bytes]) -> Sequence[bytes]:
    """Put the pieces of that answer together."""
    return b'{"urls":{', *files, b"}}"


def render_stored(stored: StoredFiles, turns: Turns) -> Iterator[bytes]:
    """Write the objects of an /objects answer likewise, for `frame_stored`."""
    files, comma = iter(stored.files), b""
    while some := turns.take(files):
        yield comma + orjson.dumps(list(map(_stored, some)))[1:-1]
        comma = b","


def frame_stored(files: Sequence[bytes], stored: StoredFiles) -> Sequence[bytes]:
    """Put the pieces of an /objects answer together."""
    return b'{"objects":[', *files, b'],"next":', orjson.dumps(stored.next_cursor), b"}"


def _stored(file: StoredFile) -> dict[str, object]:
    path = {} if file.path is None else {"path": file.path}
    return {**path, "key": file.key, **found_members(file.found), "object_url": file.object_url}
