"""The format of the disk store's object files. One file holds an object and all that is known of it.

From its start
    the object's bytes
    metadata   JSON (ASCII): key, length, md5, sha256, media_type, access, modified, headers
    footer     16 bytes: the metadata's length and its CRC-32 (unsigned, 32 bits, big-endian each), then "BitStor" and
               a byte with the format's version, 1

With the metadata behind the bytes, an upload is written once, from front to back, and one rename publishes both.
"""

import json
import os
import stat
import struct
import zlib
from datetime import UTC, datetime

from application.ports import ObjectInfo
from domain.errors import InvalidInput
from domain.files import Md5, Sha256
from domain.keys import ObjectKey
from domain.uploads import Access

_FOOTER = struct.Struct(">II8s")
_MAGIC = b"BitStor\x01"


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
    """Read the metadata of an open file, and compare it with the file's size. Raises `DamagedFile` or `OSError`."""
    status = os.fstat(descriptor)
    footer_offset = status.st_size - _FOOTER.size
    if not stat.S_ISREG(status.st_mode) or footer_offset < 0:
        raise DamagedFile("it is too short, or no regular file")
    length, checksum, magic = _FOOTER.unpack(read_exactly(descriptor, footer_offset, _FOOTER.size))
    object_end = footer_offset - length
    if magic != _MAGIC or object_end < 0:
        raise DamagedFile("it doesn't end with a footer")
    metadata = read_exactly(descriptor, object_end, length)
    if zlib.crc32(metadata) != checksum:
        raise DamagedFile("its metadata has another checksum")
    try:
        info = _decode(metadata)
    except (InvalidInput, ValueError, TypeError, KeyError) as error:
        raise DamagedFile(f"its metadata makes no sense: {error!r}") from error
    if info.length != object_end:
        raise DamagedFile(f"it has {object_end} bytes in front of its metadata instead of {info.length}")
    return info


def read_exactly(descriptor: int, offset: int, size: int) -> bytes:
    """Read `size` bytes from `offset` on. Raises `DamagedFile` if there are fewer, or `OSError`."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise DamagedFile("it ends too early")
        data += more
    return data


def _decode(metadata: bytes) -> ObjectInfo:
    members = json.loads(metadata)
    return ObjectInfo(
        key=ObjectKey(members["key"]),
        length=members["length"],
        md5=Md5(members["md5"]),
        sha256=Sha256(members["sha256"]),
        media_type=members["media_type"],
        access=Access(members["access"]),
        modified=datetime.fromisoformat(members["modified"]).astimezone(UTC),
        headers=members["headers"],
    )
