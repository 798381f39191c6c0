"""The service, configured by environment variables, in front of every store that runs here."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from attrs import frozen

from tests import strategies as bits
from tests.entrypoints.http.live_service import live_service
from tests.stores.servers import RunningStore
from tests.tokens import make_token, public_pem, rsa_key

_STORES = ["disk", "seaweedfs", "ministack", pytest.param("ceph", marks=pytest.mark.debian)]


@frozen
class RunningService:
    """A service that runs: `url` is `http://127.0.0.1:PORT/rawstore`, `store` the flavour of its store, or `disk`."""

    url: str
    store: str

    def token(self, owner: str) -> str:
        return make_token(bits.good_claims(owner, now=datetime.now(UTC)))


def new_owner() -> str:
    """Name a user who has nothing in any store yet."""
    return f"owner-{uuid4().hex}"


@pytest.fixture(scope="package", params=_STORES)
def store_settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The variables of the original service, and the flavour."""
    if request.param == "disk":
        return {
            "STORAGE_BACKEND": "disk",
            "STORAGE_DISK_ROOT": str(tmp_path_factory.mktemp("disk")),
            "STORAGE_BUCKET_NAME": "bitstore-tests",
            "STORAGE_ACCESS_KEY_ID": "bitstore",
            "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
        }
    store: RunningStore = request.getfixturevalue(request.param)
    return {
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_FLAVOUR": store.flavour,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
    }


# Deployed clients name no dataset.
@pytest.fixture(scope="package", params=["{owner}/{path}", "{owner}/{md5_hex}{extension}"])
def service(request: pytest.FixtureRequest, store_settings: Mapping[str, str]) -> Iterator[RunningService]:
    """The service with one of two key patterns. Every test of the package shares it: use owners of your own."""
    own_settings = {"DATAHUB_PUBLIC_KEY": public_pem(rsa_key()), "STORAGE_PATH_PATTERN": request.param}
    with live_service({**store_settings, **own_settings}) as service:
        yield RunningService(service.root, store_settings.get("STORAGE_FLAVOUR", "disk"))
