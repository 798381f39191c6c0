"""Describe the store to a client: where its files are found, and what is enforced on the way in."""

from collections.abc import Sequence
from datetime import timedelta

from attrs import frozen

from application.ports import UploadSigner
from domain.batches import BatchRules
from domain.identity import Principal
from domain.uploads import Capabilities


@frozen
class StoreDescription:
    """What `DescribeStore` answers. Every `object_url` that a user is given starts with one of `prefixes`."""

    prefixes: Sequence[str]
    capabilities: Capabilities
    rules: BatchRules
    lifetime: timedelta
    threshold: int


@frozen
class DescribeStore:
    """The use-case. Files of more than `threshold` bytes come in parts, if the store and the client can."""

    signer: UploadSigner
    rules: BatchRules
    lifetime: timedelta
    threshold: int

    def __call__(self, principal: Principal) -> StoreDescription:
        """Describe the store as `principal` sees it. Raises `AccessDenied` without the permission to upload."""
        principal.require_upload_permission()
        prefixes = self.signer.url_prefixes(self.rules.pattern.prefix_of(principal.userid))
        return StoreDescription(prefixes, self.signer.capabilities, self.rules, self.lifetime, self.threshold)
