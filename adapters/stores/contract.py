"""The conformance suite that every store runs, shipped for authors of other stores (extra `[contract]`).

Subclass `StoreContract` in a test module, give it a `harness` fixture, and pytest runs one test per behaviour, once per
way into the store. A client that holds no credentials carries out each signed request and must succeed; then each
tampering with it must fail and leave nothing behind, where `Capabilities` says that the store enforces it: also if the
client leaves out what tells on it. Where it says that the store doesn't, one of the tamperings is seen to succeed: so a
wrong claim fails in either direction. What was seen is a property of the test's report (`record_property` of pytest),
such as `PUT md5`: true where it was enforced.

The store is then asked what it holds, for few keys and for many; and page by page, if it has listings. See
`adapters/README.md` for a worked example.
"""

import asyncio

from adapters.stores.contract_client import (
    AWKWARD_PATHS,
    CONTENT,
    LIFETIME,
    OTHER_CONTENT,
    declare,
    make_folder,
    make_upload,
    send,
    sign,
)
from adapters.stores.contract_downloads import DownloadContract
from adapters.stores.contract_harness import Harness
from adapters.stores.contract_inspection import CROWD, InspectionContract
from adapters.stores.contract_listing import ListingContract
from adapters.stores.contract_multipart import MultipartContract
from adapters.stores.contract_uploads import UploadContract

__all__ = [
    "AWKWARD_PATHS",
    "CONTENT",
    "CROWD",
    "LIFETIME",
    "OTHER_CONTENT",
    "Harness",
    "StoreContract",
    "declare",
    "make_folder",
    "make_upload",
    "send",
    "sign",
]


# pytest runs the tests of the last base first.
class StoreContract(MultipartContract, ListingContract, InspectionContract, DownloadContract, UploadContract):
    """The suite. A subclass overrides `harness`; every test is one behaviour of the ports' contract."""

    def test_the_store_says_that_it_is_there(self, harness: Harness, runner: asyncio.Runner) -> None:
        for probe in harness.store.probes:
            runner.run(probe.check())
