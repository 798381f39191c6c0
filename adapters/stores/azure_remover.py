"""Removing blobs from an Azure container by a SAS of our own ("Delete Blob" in the Azure Storage REST API reference).

What an account keeps of deleted blobs (soft delete, versions) is its own affair, and goes when its policy says so.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import field, frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.azure_sas import DELETE, SasTerms, SigningKey, blob_template, expiry
from adapters.stores.removal import carry_out
from adapters.stores.sigv4 import uri_encode_path
from domain.keys import ObjectKey

_LIFETIME = timedelta(hours=1)


@frozen
class AzureRemover:
    """An `ObjectRemover` of the container at `address`, as the service itself reaches it."""

    address: BucketAddress
    key: Callable[[], SigningKey] = field(repr=False)

    async def remove(self, key: ObjectKey, now: datetime) -> None:
        """Remove the blob, as the port says."""
        signing_key = self.key()
        https_only = self.address.origin.startswith("https:")
        terms = SasTerms(DELETE, expiry(signing_key, _LIFETIME, now), https_only)
        query = blob_template(signing_key, self.address.bucket, terms).sign(key)
        await carry_out("DELETE", f"{self.address.url}/{uri_encode_path(key)}?{query}")
