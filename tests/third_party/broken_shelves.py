"""The contract kit on stores that break it, each in one way; `test_shelf.py` runs it and sees the kit fail."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import pytest
from attrs import evolve
from bitstore_shelf import ShelfSigning, make_store
from shelf_server import Fault, Shelf, serving

from adapters.stores.contract import Harness, StoreContract
from domain.uploads import Capabilities, Guarantee, SignedUpload, Upload, UploadMethod, UploadTerms
from entrypoints.environment import EnvironmentReader


class ClaimsTooMuch(ShelfSigning):
    """Says that a SHA-256 is checked, and who may read a file; Shelf knows nothing of either."""

    @property
    def capabilities(self) -> Capabilities:
        claimed = super().capabilities
        too_much = claimed.methods[UploadMethod.PUT] | {Guarantee.SHA256, Guarantee.ACCESS}
        return evolve(claimed, methods={UploadMethod.PUT: too_much})


class ClaimsTooLittle(ShelfSigning):
    """Doesn't say that the length is checked."""

    @property
    def capabilities(self) -> Capabilities:
        claimed = super().capabilities
        return evolve(claimed, methods={UploadMethod.PUT: claimed.methods[UploadMethod.PUT] - {Guarantee.LENGTH}})


class SignsAllAtOnce(ShelfSigning):
    """Signs the whole batch before the first upload is asked for."""

    def sign_uploads(self, uploads: Iterable[Upload], terms: UploadTerms, now: datetime) -> Iterable[SignedUpload]:
        return list(super().sign_uploads(uploads, terms, now))


FAULTY_SIGNERS = {
    "claims_too_much": ClaimsTooMuch,
    "claims_too_little": ClaimsTooLittle,
    "signs_all_at_once": SignsAllAtOnce,
}


@pytest.fixture(params=[*Fault, *FAULTY_SIGNERS], scope="module")
def broken(request: pytest.FixtureRequest) -> Iterator[tuple[str, Shelf, str]]:
    """What is wrong, with which Shelf, and its URL."""
    name = request.param
    shelf = Shelf("s3cret", Fault(name) if name in tuple(Fault) else None)
    with serving(shelf) as url:
        yield name, shelf, url


class TestBrokenShelf(StoreContract):
    @pytest.fixture
    def harness(self, broken: tuple[str, Shelf, str]) -> Harness:
        name, shelf, url = broken
        variables = {"STORAGE_HOSTNAME": url, "STORAGE_BUCKET_NAME": "files", "STORAGE_SHELF_SECRET": "s3cret"}
        store = make_store(EnvironmentReader(variables))
        assert store is not None
        if signer := FAULTY_SIGNERS.get(name):
            assert isinstance(store.signer, ShelfSigning)
            store = evolve(store, signer=signer(store.signer.address, store.signer.secret))
        return Harness(
            store,
            read=lambda key: shelf.read("files", key),
            list_keys=lambda prefix: shelf.list_keys("files", prefix),
            conflict=409,
        )
