"""The ids of uploads in parts: how clients name one, and how its S3 store does.

When an upload has ended, S3 forgets its id. So ours has a nonce as well, which becomes metadata of the object: where it
is found, this very upload was completed. And S3 tells only once, when an upload begins, that its parts will have ETags
which are no digests; so ours says it too.
"""

import re
from typing import Self

from attrs import frozen

from domain.multipart import UploadId

_OURS = re.compile(r"([0-9a-f]{32})(k?)\.(.+)")


@frozen
class S3UploadId:
    """An upload as clients name it: `<nonce>.<id>`, or `<nonce>k.<id>` where ETags are no digests.

    `nonce` is 32 hexadecimal digits in lower case, and `of_store` the store's own id.
    """

    nonce: str
    of_store: str
    has_digests: bool = True

    @classmethod
    def parse(cls, upload_id: UploadId) -> Self | None:
        """Read an id that a client sent; None if it has another form."""
        ours = _OURS.fullmatch(upload_id)
        return cls(ours[1], ours[3], has_digests=not ours[2]) if ours else None

    @property
    def text(self) -> UploadId:
        """What clients see. Raises `InvalidInput` where the store's own id is not fit for that."""
        return UploadId(f"{self.nonce}{'' if self.has_digests else 'k'}.{self.of_store}")


def id_of_store(upload_id: UploadId) -> str:
    """Give the store's own id, whether an id is of our form or is one of its own."""
    ours = S3UploadId.parse(upload_id)
    return upload_id if ours is None else ours.of_store
