"""The wire format of the routes that give files out again: /presign and /objects."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

import orjson
from starlette.requests import Request

from application.list_objects import ListRequest, StoredFile, StoredFiles
from application.ports import Turns
from application.presign_download import DownloadRequest
from application.presign_downloads import DownloadsRequest
from domain.errors import ErrorCode, InvalidInput
from domain.uploads import SignedDownload
from entrypoints.http.decoding import decode_any_body, decode_query
from entrypoints.http.wire import add_digests, iso_time, render_members
from entrypoints.http.wire_types import ListQuery, PresignAnswer, PresignBody, PresignQuery, StoredObject


def parse_download_request(request: Request) -> DownloadRequest:
    """Read the query of /presign. Raises `InvalidInput`."""
    asked = decode_query(request, PresignQuery)
    return DownloadRequest(asked.url, asked.ownerid, asked.filename, _lifetime(asked.expires_in))


async def parse_downloads_request(body: bytes, turns: Turns) -> DownloadsRequest:
    """Read the body of a POST to /presign; what it says of each file is not looked at. Raises `InvalidInput`."""
    asked = await decode_any_body(body, PresignBody, turns)
    names = asked.urls if asked.paths is None else asked.paths
    if names is None or (asked.paths is not None and asked.urls is not None):
        raise InvalidInput(ErrorCode.INVALID_REQUEST, "either paths or urls must be given, and not both")
    return DownloadsRequest(
        metadata=asked.metadata,
        names=names,
        by_path=asked.paths is not None,
        lifetime=_lifetime(asked.expires_in),
    )


def _lifetime(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def parse_list_request(request: Request) -> ListRequest:
    """Read the query of /objects. Raises `InvalidInput`."""
    asked = decode_query(request, ListQuery)
    return ListRequest(asked.owner, asked.name, asked.limit, asked.after)


def render_signed_download(signed: SignedDownload) -> bytes:
    """Write the answer of GET /presign."""
    return orjson.dumps(_download(signed))


def _download(signed: SignedDownload) -> PresignAnswer:
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


def _stored(file: StoredFile) -> StoredObject:
    told: StoredObject = {"key": file.key, "length": file.found.length, "object_url": file.object_url}
    if file.path is not None:
        told["path"] = file.path
    add_digests(told, file.found)
    return told
