"""Removing objects from an S3 bucket, where it keeps versions these too.

("DeleteObject" and "ListObjectVersions" in the Amazon S3 API reference.) It takes `s3:DeleteObject`; in a bucket with
versions also `s3:ListBucketVersions` and `s3:DeleteObjectVersion`.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from urllib.parse import unquote_plus

from attrs import field, frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.batch_inspector import listing_root
from adapters.stores.removal import Removal, carry_out
from adapters.stores.sigv4 import Credentials, Request, Signer
from domain.keys import ObjectKey

_LIFETIME_SECONDS = 3_600
"""An hour: a clock that is late, and with which files could be stored, doesn't keep them from being removed."""


@frozen
class S3Remover:
    """An `ObjectRemover` of the bucket at `address`, as the service itself reaches it."""

    address: BucketAddress
    region: str
    credentials: Callable[[], Credentials] = field(repr=False)

    async def remove(self, key: ObjectKey, now: datetime) -> None:
        """Remove the object; where the bucket only hides it, its versions, of which there may be 1,000, one by one."""
        signer = Signer(self.credentials(), self.region, now)
        removal = await self._send(signer, "DELETE", self.address.path_of(key))
        if removal.headers.get("x-amz-delete-marker") != "true":
            return
        query = [("versions", ""), ("encoding-type", "url"), ("prefix", key)]
        listing = await self._send(signer, "GET", self.address.bucket_path or "/", query)
        for version in _versions(listing.body, key):
            await self._send(signer, "DELETE", self.address.path_of(key), [("versionId", version)])

    async def _send(self, signer: Signer, method: str, path: str, query: Sequence[tuple[str, str]] = ()) -> Removal:
        request = Request(method, self.address.bucket_origin, path, query)
        return await carry_out(method, signer.presign_url(request, _LIFETIME_SECONDS))


def _versions(document: bytes, key: ObjectKey) -> Iterator[str]:
    """Give the versions of exactly `key`, and the marks by which it was deleted."""
    root = listing_root(document, "ListVersionsResult")
    namespace = root.tag.removesuffix("ListVersionsResult")
    decode = unquote_plus if root.findtext(f"{namespace}EncodingType") == "url" else str
    for entry in root:
        name, version = entry.findtext(f"{namespace}Key"), entry.findtext(f"{namespace}VersionId")
        if name is not None and version is not None and decode(name) == key:
            yield version
