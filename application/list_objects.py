"""List a dataset: what the store holds of it, page by page."""

import base64
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from attrs import frozen

from application.object_urls import object_urls
from application.ports import ObjectLister, PageRequest, UploadSigner
from domain.errors import ErrorCode, InvalidInput
from domain.identity import Principal
from domain.inspection import FoundObject
from domain.keys import Dataset, ObjectKey, Owner, RelativePath
from domain.patterns import KeyPattern
from domain.values import frozen_by_type

MAX_OBJECTS = 1_000
"""How many objects one page has at most."""

_CHECK_BYTES = 6


@frozen_by_type
class ListRequest:
    """What a client asks: whose objects, of which dataset, and behind which cursor of the page before."""

    owner: Owner
    dataset: Dataset | None
    limit: int = MAX_OBJECTS
    after: str | None = None


@frozen_by_type
class StoredFile:
    """An object of a dataset. `path` is the one that was declared, where the key tells it."""

    key: ObjectKey
    path: RelativePath | None
    found: FoundObject
    object_url: str


@frozen_by_type
class StoredFiles:
    """A page of a dataset, to be iterated over once; `next_cursor` is None after the last."""

    files: Iterable[StoredFile]
    next_cursor: str | None


@frozen
class ListObjects:
    """The use-case. The store is asked for at most `patience`; `lister` is None where it has no listings."""

    lister: ObjectLister | None
    signer: UploadSigner
    pattern: KeyPattern
    patience: timedelta

    async def __call__(self, principal: Principal, request: ListRequest, now: datetime) -> StoredFiles:
        """Ask the store for a page of what it holds under the dataset's folder.

        Raises `AccessDenied` (`not_owner`, `permission_missing`); `InvalidInput`: what `KeyPattern.for_listing` raises,
        `invalid_key`, `invalid_cursor`, `unsupported_by_store`; and `Unavailable`.
        """
        principal.require_upload_permission()
        principal.require_ownership(request.owner)
        pattern = self.pattern.for_listing(request.owner, request.dataset)
        if self.lister is None:
            raise InvalidInput(ErrorCode.UNSUPPORTED_BY_STORE, "this store has no listings")
        folder = ObjectKey(pattern.folder.removesuffix("/"))
        token = "" if request.after is None else _token_of(request.after, folder)
        page = await self.lister.list_page(PageRequest(folder, request.limit, token), now, self.patience)
        url_of = object_urls(self.signer)
        files = (
            StoredFile(listed.key, pattern.path_of(listed.key), listed.found, url_of(listed.key))
            for listed in page.objects
            if pattern.covers(listed.key)
        )
        return StoredFiles(files, None if page.next_token is None else _cursor_of(page.next_token, folder))


def _cursor_of(token: str, folder: ObjectKey) -> str:
    """Make a cursor of a store's token. It is no secret, and proves nothing: a store gives what is in its folder alone.

    The check is there so that a cursor that was cut, mixed up with another dataset's or made up isn't passed on.
    """
    text = token.encode()
    check = hashlib.sha256(b"%b\0%b" % (folder.encode(), text)).digest()[:_CHECK_BYTES]
    return base64.urlsafe_b64encode(check + text).decode().rstrip("=")


def _token_of(cursor: str, folder: ObjectKey) -> str:
    with suppress(ValueError):  # what isn't base64, or then not UTF-8
        token = base64.urlsafe_b64decode(f"{cursor}==")[_CHECK_BYTES:].decode()
        if token and cursor == _cursor_of(token, folder):
            return token
    raise InvalidInput(ErrorCode.INVALID_CURSOR, "after is not the next of a page of this dataset", field="after")
