"""Where files go, and what a cache knows them by there."""

import hashlib
import json

from attrs import frozen

from entrypoints.client.hashing import HashedFile
from entrypoints.client.service import Metadata


@frozen
class Destination:
    """A dataset of a service, with who may find and read it."""

    service_url: str
    metadata: Metadata

    def place(self, file: HashedFile) -> str:
        """Name the place that a file goes to."""
        return json.dumps([self.service_url, self.metadata.owner, self.metadata.dataset, file.path])

    def identity(self, file: HashedFile) -> str:
        """Name all that is declared: with another digest, type or access it is not the same any more."""
        told = json.dumps([self.metadata.as_json(), file.declaration], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()
