"""The demo's client against `bitstore serve`, for each store that is chosen by the original README's variables."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.keys import Owner
from entrypoints.cli.demo_data import dataset
from entrypoints.cli.round_trip import RoundTrip
from entrypoints.cli.token import mint
from entrypoints.http.app import utc_now
from tests.serve import bitstore_serve
from tests.stores.servers import RunningStore


def original_variables(store: RunningStore) -> dict[str, str]:
    """The variables that the original README names, with the flavour added."""
    return {
        "STORAGE_ACCESS_KEY_ID": store.access_key_id,
        "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key,
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_BUCKET_NAME": store.bucket,
        "STORAGE_FLAVOUR": store.flavour,
    }


@pytest.mark.parametrize("store", ["seaweedfs", "ministack"])
def test_the_demo_dataset_goes_there_and_back(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    running: RunningStore = request.getfixturevalue(store)
    key = generate_private_key(65_537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    steps: list[str] = []
    with bitstore_serve(tmp_path, {"DATAHUB_PUBLIC_KEY": public, **original_variables(running)}) as origin:
        token = mint(key, owner=Owner("ada"), service="rawstore", now=utc_now(), lifetime=timedelta(hours=1))
        client = RoundTrip(f"{origin}/rawstore", "ada", token, lambda step, _text, _seconds: steps.append(step))
        files = dataset()
        assert client.run("primes", files) == len(files)
    assert steps == ["authorize", *["upload"] * 5, "tamper", *["download"] * 5]
