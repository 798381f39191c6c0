"""The Azurite that other tests trust: it keeps bytes, checks signatures and tokens, and is gone after use."""

import asyncio
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import evolve
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobSasPermissions, generate_blob_sas

from adapters.stores.contract import LIFETIME, make_upload
from tests.stores.azure_server import API_VERSION, RunningAzurite, identity_client, start_azurite


def test_gives_back_the_bytes_it_was_given(azurite: RunningAzurite) -> None:
    body, key = os.urandom(100_000), make_upload().key
    azurite.client().upload_blob(key, body)

    assert azurite.client().download_blob(key).readall() == body


def test_refuses_a_wrong_account_key(azurite: RunningAzurite) -> None:
    stranger, key = evolve(azurite, key="Z3Vlc3NlZA==").client(), make_upload().key

    with pytest.raises(HttpResponseError) as refusal:
        stranger.upload_blob(key, b"mine")

    assert refusal.value.status_code == 403
    assert not azurite.client().get_blob_client(key).exists()


@pytest.mark.parametrize(("key_of_signer", "stored"), [("right", True), ("wrong", False)])
def test_checks_the_signatures_of_the_sdk(azurite: RunningAzurite, key_of_signer: str, stored: bool) -> None:
    key = make_upload().key
    signature = generate_blob_sas(
        azurite.account,
        azurite.container,
        key,
        account_key=azurite.key if key_of_signer == "right" else "Z3Vlc3NlZA==",
        permission=BlobSasPermissions(create=True),
        expiry=datetime.now(UTC) + LIFETIME,
    )
    blob = BlobClient.from_blob_url(f"{azurite.client().url}/{key}", signature, api_version=API_VERSION, retry_total=0)

    with suppress(HttpResponseError):
        blob.upload_blob(b"mine")

    assert azurite.client().get_blob_client(key).exists() is stored


def test_looks_at_tokens(azurite_tls: RunningAzurite) -> None:
    async def is_there(*, known: bool) -> bool:
        async with identity_client(azurite_tls, known=known) as service:
            return await service.get_container_client(azurite_tls.container).exists()

    assert asyncio.run(is_there(known=True))
    with pytest.raises(HttpResponseError):
        asyncio.run(is_there(known=False))


def test_hides_its_key_from_messages(azurite: RunningAzurite) -> None:
    assert azurite.key not in repr(azurite)


def test_is_gone_after_use(tmp_path: Path) -> None:
    with start_azurite(tmp_path) as store:
        port = urlsplit(store.endpoint_url).port
        assert port is not None
        assert _listens(port)

    assert not _listens(port)


def _listens(port: int) -> bool:
    with suppress(ConnectionRefusedError, ConnectionResetError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
