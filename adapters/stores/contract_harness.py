"""What all parts of the conformance suite stand on: a store that is started and stopped, and files put into it."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import urllib3
from attrs import field, frozen

from adapters.stores.contract_client import ACCEPTED, CONTENT, make_upload, send, sign
from application.ports import Store
from domain.uploads import SINGLE_REQUEST, Guarantee, SignedUpload, Upload, UploadMethod


def _client() -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=30.0, retries=False)


@frozen
class Harness:
    """One configuration of a store, for the suite, which starts and stops it around each test.

    `read` gives an object's bytes by some way other than our own signatures (None: there is no such object), and
    `list_keys` the keys that start with some text: the ground truth. `http` reaches the URLs that the store signs.
    `conflict` is the status of an upload that would replace an object and must not.
    """

    store: Store
    read: Callable[[str], bytes | None]
    list_keys: Callable[[str], list[str]]
    http: urllib3.PoolManager = field(factory=_client)
    conflict: int = 412


class ContractPart:
    """What the parts share: the fixtures, of which a subclass overrides `harness`, and ways to get a file in."""

    _record: Callable[[str, object], None]

    @pytest.fixture(autouse=True)
    def _recorded(self, record_property: Callable[[str, object], None]) -> None:
        self._record = record_property

    @pytest.fixture
    def harness(self) -> Harness:
        """Give the configuration to test."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def runner(self, harness: Harness) -> Iterator[asyncio.Runner]:
        """Start the store and stop it again, and give what runs its coroutines meanwhile."""
        startables = harness.store.startables
        with asyncio.Runner() as runner:
            try:
                for startable in startables:
                    runner.run(startable.start())
                yield runner
            finally:
                for startable in reversed(startables):
                    runner.run(startable.stop())

    @pytest.fixture(params=list(SINGLE_REQUEST))
    def method(self, request: pytest.FixtureRequest, harness: Harness) -> UploadMethod:
        """Give each way into the store in turn in which a file is sent whole."""
        method: UploadMethod = request.param
        if method not in harness.store.signer.capabilities.methods:
            pytest.skip(f"this store takes no {method}")
        return method

    def _stored(self, harness: Harness, path: str, folder: str | None = None) -> Upload:
        upload = make_upload(path, folder=folder)
        self._put(harness, upload, CONTENT)
        return upload

    def _put(
        self, harness: Harness, upload: Upload, content: bytes, method: UploadMethod | None = None
    ) -> SignedUpload:
        signed = sign(harness.store.signer, upload, method or any_method(harness))
        status = send(harness.http, signed.request, content)
        assert status in ACCEPTED, f"the store answered {status} to a request as it was signed"
        return signed

    def _saw(self, method: UploadMethod, guarantee: Guarantee, *, enforced: bool) -> None:
        self._record(f"{method} {guarantee}", enforced)


def any_method(harness: Harness) -> UploadMethod:
    """Give a way into the store in which a file is sent whole, where it doesn't matter which."""
    return harness.store.signer.capabilities.single_request[0]
