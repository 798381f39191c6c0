"""Uploads in parts to the stores whose bytes we serve: what is known of one, wherever its parts lie."""

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Self

from attrs import frozen

from application.ports import DigestMismatch, ObjectAttributes, ObjectInfo, PartsChanged
from domain.files import DeclaredFile, Md5, Sha256
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import Access, Upload

_UPLOAD_HEADER = "x-amz-meta-bitstore-upload"
"""By this an object remembers the upload that it was. Nobody else can set it: x-amz-* headers must be signed for."""
_OUR_ID = re.compile(r"[0-9a-f]{32}")


@frozen
class BegunUpload:
    """What counts of an upload from its beginning on, whatever its parts and later declarations say."""

    key: ObjectKey
    media_type: str
    access: Access
    begun: datetime

    @classmethod
    def of(cls, upload: Upload, now: datetime, *, all_private: bool) -> Self:
        """Take it from the declaration; with `all_private` nobody may read the object without a signature."""
        return cls(upload.key, upload.file.media_type, Access.PRIVATE if all_private else upload.access, now)

    def attributes(self, upload_id: UploadId) -> ObjectAttributes:
        """Give the attributes of the object that it becomes."""
        return ObjectAttributes(self.media_type, self.access, {_UPLOAD_HEADER: upload_id})


def new_upload_id() -> UploadId:
    """Make an id that can't be guessed."""
    return UploadId(secrets.token_hex(16))


def is_our_id(text: str) -> bool:
    """Tell whether `new_upload_id` can have made this; such a text is also a safe name of a file."""
    return _OUR_ID.fullmatch(text) is not None


def became(upload_id: UploadId, info: ObjectInfo) -> bool:
    """Tell whether this object is what the upload became."""
    return info.headers.get(_UPLOAD_HEADER) == upload_id


def arrived_part(number: int, length: int, md5: Md5) -> ArrivedPart:
    """Describe a part; its tag is what its ETag says."""
    return ArrivedPart(number, length, md5.hex, md5)


def require_parts(wanted: Iterable[ArrivedPart], arrived: Mapping[int, ArrivedPart]) -> None:
    """Raise `PartsChanged` unless all these parts are among those that have arrived."""
    for part in wanted:
        there = arrived.get(part.number)
        if there is None or (there.tag, there.length) != (part.tag, part.length):
            raise PartsChanged("parts were replaced, or never came")


def check_digests(file: DeclaredFile, md5: Md5, sha256: Sha256) -> None:
    """Raise `DigestMismatch` if the bytes of all parts have other digests than those that were declared."""
    if file.md5 not in (None, md5) or file.sha256 not in (None, sha256):
        raise DigestMismatch("the parts make other bytes than those that were declared")
