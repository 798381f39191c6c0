"""Removing objects from Cloud Storage by a signed URL ("DELETE Object" in the XML API reference).

The access tokens of this service may only read. What a bucket keeps of deleted objects (soft delete, noncurrent
versions) is its own affair, and goes when its policy says so. It takes `storage.objects.delete`.
"""

from datetime import datetime

from attrs import frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.gcs_account import ServiceAccount
from adapters.stores.gcs_v4 import V4Signer
from adapters.stores.removal import carry_out
from adapters.stores.sigv4 import Request
from domain.keys import ObjectKey

_LIFETIME_SECONDS = 3_600


@frozen
class GcsRemover:
    """An `ObjectRemover` of the bucket at `address`, as the service itself reaches it."""

    address: BucketAddress
    account: ServiceAccount

    async def remove(self, key: ObjectKey, now: datetime) -> None:
        """Remove the object, as the port says."""
        signer = V4Signer(self.account.email, self.account.sign, now)
        request = Request("DELETE", self.address.bucket_origin, self.address.path_of(key))
        await carry_out("DELETE", signer.signed_url(request, _LIFETIME_SECONDS))
