"""The format of the disk store's object files. One file holds an object and all that is known of it.

From its start
    the object's bytes
    metadata   JSON (ASCII): key, length, md5, sha256, media_type, access, modified, headers
    footer     16 bytes: the metadata's length and its CRC-32 (unsigned, 32 bits, big-endian each), then "BitStor" and
               a byte with the format's version, 1

With the metadata behind the bytes, an upload is written once, from front to back, and one rename publishes both.

What is known of an upload in parts is a file of its own: JSON (ASCII): key, media_type, access, begun.
"""

import json
import os
import struct
import zlib
from datetime import UTC, datetime
from typing import Any

import orjson

from adapters.stores.served_uploads import BegunUpload
from application.ports import ObjectInfo
from domain.errors import InvalidInput
from domain.files import Md5, MediaType, Sha256
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.uploads import Access

_FOOTER = struct.Struct(">II8s")
_MAGIC = b"BitStor\x01"
_SENSELESS = (InvalidInput, ValueError, TypeError, KeyError)
"""What reading the members of metadata can raise, if somebody else wrote it."""
_DESCRIPTION_BYTES = 16_384
"""How long the description of an upload can be, and more: a key has at most 1,024 bytes."""
_TAIL_BYTES = 1024
"""How much is read at first from the end of a file: in most, metadata and footer are shorter."""


class DamagedFile(Exception):
    """The file is not, or no longer, an object file of this version."""


def encode_trailer(info: ObjectInfo) -> bytes:
    """Make what follows the object's bytes: metadata and footer."""
    metadata = json.dumps(
        {
            "key": info.key,
            "length": info.length,
            "md5": info.md5,
            "sha256": info.sha256,
            "media_type": info.media_type,
            "access": info.access.value,
            "modified": info.modified.isoformat(),
            "headers": dict(info.headers),
        }
    ).encode("ascii")
    return metadata + _FOOTER.pack(len(metadata), zlib.crc32(metadata), _MAGIC)


def read_info(descriptor: int) -> ObjectInfo:
    """Read all that is known of the object in an open file. Raises `DamagedFile` or `OSError`."""
    metadata, object_end = _read_metadata(descriptor)
    try:
        members = _decode(metadata, object_end)
        return ObjectInfo(
            key=ObjectKey(members["key"]),
            length=object_end,
            md5=Md5(members["md5"]),
            sha256=Sha256(members["sha256"]),
            media_type=members["media_type"],
            access=Access(members["access"]),
            modified=datetime.fromisoformat(members["modified"]).astimezone(UTC),
            headers=members["headers"],
        )
    except _SENSELESS as error:
        raise DamagedFile(f"its metadata makes no sense: {error!r}") from error


def read_found(descriptor: int) -> tuple[str, FoundObject]:
    """Read the object's key and what identifies its bytes, at a fraction of the cost. Raises as `read_info`."""
    metadata, object_end = _read_metadata(descriptor)
    try:
        members = _decode(metadata, object_end)
        return members["key"], FoundObject(object_end, Md5(members["md5"]), Sha256(members["sha256"]))
    except _SENSELESS as error:
        raise DamagedFile(f"its metadata makes no sense: {error!r}") from error


def encode_begun(upload: BegunUpload) -> bytes:
    """Make the file that describes an upload in parts."""
    return json.dumps(
        {
            "key": upload.key,
            "media_type": upload.media_type,
            "access": upload.access.value,
            "begun": upload.begun.isoformat(),
        }
    ).encode("ascii")


def read_begun(descriptor: int) -> BegunUpload:
    """Read what is known of an upload in parts. Raises `DamagedFile` or `OSError`."""
    try:
        members = orjson.loads(read_exactly(descriptor, 0, min(os.fstat(descriptor).st_size, _DESCRIPTION_BYTES)))
        return BegunUpload(
            key=ObjectKey(members["key"]),
            media_type=MediaType(members["media_type"]),
            access=Access(members["access"]),
            begun=datetime.fromisoformat(members["begun"]).astimezone(UTC),
        )
    except _SENSELESS as error:
        raise DamagedFile(f"it makes no sense: {error!r}") from error


def _read_metadata(descriptor: int) -> tuple[bytes, int]:
    """Read the metadata and compare it with its checksum. Give it, and the offset where it begins."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    tail_offset = max(size - _TAIL_BYTES, 0)
    tail = read_exactly(descriptor, tail_offset, size - tail_offset)
    if len(tail) < _FOOTER.size:
        raise DamagedFile("it is too short")
    length, checksum, magic = _FOOTER.unpack_from(tail, len(tail) - _FOOTER.size)
    object_end = size - _FOOTER.size - length
    if magic != _MAGIC or object_end < 0:
        raise DamagedFile("it doesn't end with a footer")
    if object_end < tail_offset:
        metadata = read_exactly(descriptor, object_end, length)
    else:
        metadata = tail[object_end - tail_offset : -_FOOTER.size]
    if zlib.crc32(metadata) != checksum:
        raise DamagedFile("its metadata has another checksum")
    return metadata, object_end


def _decode(metadata: bytes, object_end: int) -> dict[str, Any]:
    members: dict[str, Any] = orjson.loads(metadata)
    if members["length"] != object_end:
        raise DamagedFile(f"it has {object_end} bytes in front of its metadata instead of {members['length']}")
    return members


def read_exactly(descriptor: int, offset: int, size: int) -> bytes:
    """Read `size` bytes from `offset` on. Raises `DamagedFile` if there are fewer, or `OSError`."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise DamagedFile("it ends too early")
        data += more
    return data
