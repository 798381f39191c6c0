"""Azure Blob Storage: the store as it is made from the settings, and what is asked of its container."""

import logging
import re
from collections.abc import Callable, Sequence
from typing import Self

from attrs import define, field, frozen
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob.aio import BlobServiceClient

from adapters.stores.addresses import BucketAddress, is_ip_address
from adapters.stores.asking import Asking
from adapters.stores.azure_inspector import AzureInspector
from adapters.stores.azure_keys import UserDelegationKeys
from adapters.stores.azure_multipart import AzureMultipart, AzurePartSigner
from adapters.stores.azure_remover import AzureRemover
from adapters.stores.azure_sas import SERVICE_VERSION, USER_DELEGATION_VERSION, AccountKey, SigningKey
from adapters.stores.azure_signing import CAPABILITIES, AzureSigning
from application.ports import SettingsReader, Startable, Store
from domain.errors import ErrorCode, Unavailable

# What `discovery` looks for.
__all__ = ["CAPABILITIES", "SEEN_ON", "make_store"]

SEEN_ON = "Azurite"
"""The server on which the contract suite sees `CAPABILITIES` kept."""

_log = logging.getLogger(__name__)

_CONNECT_SECONDS, _READ_SECONDS = 2, 5

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}")
_ENDPOINT = re.compile(
    rf"(?:(?P<scheme>https?)://)?(?P<host>(?:{_LABEL}\.)*{_LABEL}|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]{{1,5}})?"
    rf"(?:/(?P<account>{_ACCOUNT_NAME.pattern}))?/?"
)
# `account.blob.core.windows.net`, other clouds, and `account.z01.blob.storage.azure.net`.
_ACCOUNT_HOST = re.compile(rf"({_ACCOUNT_NAME.pattern})(?:\.z[0-9]+)?\.blob\..+")
# "Naming and referencing containers, blobs, and metadata". Not `$web`, which is public whatever its access level is.
_CONTAINER_NAME = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")


@frozen
class Endpoint:
    """Where the blobs of a storage account are: `origin` is `scheme://host[:port]`, `base_path` empty or `/account`.

    `account` is the account that the endpoint names; None where its host is the operator's own name for it.
    """

    origin: str
    base_path: str
    account: str | None

    @property
    def url(self) -> str:
        """The URL of the account, without a trailing slash."""
        return f"{self.origin}{self.base_path}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a host, host:port or http(s) URL, perhaps with the account as its path; raise ValueError.

        Without a scheme it is https.
        """
        parts = _ENDPOINT.fullmatch(text)
        if parts is None or int((parts["port"] or ":1")[1:]) not in range(1, 65_536):
            # The text isn't repeated: if it has an "@", a password may stand before it.
            raise ValueError("not a host, host:port or http(s) URL, with nothing behind it but an account's name")
        host = parts["host"].strip("[]")
        if ":" in host and not is_ip_address(host):
            raise ValueError("not an IP address between the brackets")
        named = _ACCOUNT_HOST.fullmatch(host.lower())
        account = parts["account"]
        origin = f"{parts['scheme'] or 'https'}://{parts['host']}{parts['port'] or ''}"
        return cls(origin, f"/{account}" if account else "", account or (named[1] if named else None))


@define
class AzureContainer:
    """The container as the service itself reaches it: whether it is there, and whether everybody may read it.

    Closes `service`, and `credential` if there is one, at the end.
    """

    service: BlobServiceClient = field(repr=False)
    name: str
    credential: AsyncTokenCredential | None = field(default=None, repr=False)
    _is_public: bool = field(default=False, init=False)
    _asking: Asking = field(init=False, repr=False)

    @_asking.default
    def _asking_until_answered(self) -> Asking:
        return Asking(self._learn_access)

    def is_public(self) -> bool:
        """Tell whether the container is known to be publicly readable, as of when it answered last."""
        return self._is_public

    async def start(self) -> None:
        """Ask for the container's access level; go on in the background if it can't tell."""
        await self._asking.start()

    async def stop(self) -> None:
        """Stop asking."""
        await self._asking.stop()
        await self.service.close()
        if self.credential is not None:
            await self.credential.close()

    async def check(self) -> None:
        """Raise `Unavailable` unless the container answers to our key; take note of its access level."""
        try:
            properties = await self.service.get_container_client(self.name).get_container_properties()
        except (AzureError, OSError) as error:
            raise _unavailable(_cause(error)) from error
        # Whatever else answers, such as a proxy with a page of its own, knows no entity tag of the container.
        if not properties.etag:
            raise _unavailable("no container answers there")
        self._is_public = properties.public_access is not None

    async def _learn_access(self) -> bool:
        try:
            await self.check()
        except Unavailable as error:
            _log.warning("can't ask whether everybody may read the container: %s", error.message)
            return False
        return True


def _unavailable(reason: str) -> Unavailable:
    return Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the container doesn't answer as it should: {reason}")


def _cause(error: Exception) -> str:
    """Name a failure. The SDK's own message quotes what was to be signed."""
    code = getattr(error, "error_code", None) if isinstance(error, HttpResponseError) else None
    return type(error).__name__ if code is None else str(getattr(code, "value", code))


def service_client(endpoint: str, credential: AzureNamedKeyCredential | AsyncTokenCredential) -> BlobServiceClient:
    """Make the SDK's client for the account at a URL; nothing is asked yet.

    Its version of the service is a fixed one, because the SDK's own newest is unknown to other clouds for a while.
    """
    is_named = isinstance(credential, AzureNamedKeyCredential)
    version = SERVICE_VERSION if is_named else USER_DELEGATION_VERSION
    return BlobServiceClient(
        endpoint,
        credential,
        api_version=version,
        # The SDK's own retries take a minute; a service asks its question again later instead.
        retry_total=0,
        connection_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
    )


def make_store(settings: SettingsReader) -> Store | None:
    """Make the store that the settings describe; None when one of them is faulty, which has then been noted.

    STORAGE_BUCKET_NAME is the container, STORAGE_HOSTNAME the account's endpoint (`account.blob.core.windows.net`, or
    a URL such as `http://127.0.0.1:10000/devstoreaccount1`), STORAGE_PUBLIC_URL the one that clients reach if it
    differs. STORAGE_ACCESS_KEY_ID is the account's name and STORAGE_SECRET_ACCESS_KEY its key; without both, the
    identity that the package azure-identity finds signs with user delegation keys.
    """
    container = settings.required("STORAGE_BUCKET_NAME", "the container that files go to")
    if container and not _CONTAINER_NAME.fullmatch(container):
        settings.fault(f"STORAGE_BUCKET_NAME is not the name of a container: {container!r}")
        container = ""
    endpoints = _read_endpoints(settings)
    identity = "the identity that azure-identity finds"
    name = settings.text("STORAGE_ACCESS_KEY_ID", unset=identity)
    secret = settings.text("STORAGE_SECRET_ACCESS_KEY", secret=True, unset=identity)
    if name and secret:
        key = _read_account_key(settings, name, secret)
        if key is None or endpoints is None or not _is_of_account(settings, endpoints, key.account) or not container:
            return None
        return _store_with_account_key(endpoints, container, key, secret)
    if name or secret:
        settings.fault("STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY must both be given, or neither")
        return None
    return None if endpoints is None else _store_with_identity(settings, endpoints, container)


@frozen
class _Endpoints:
    internal: Endpoint
    public: Endpoint


def _read_endpoints(settings: SettingsReader) -> _Endpoints | None:
    hostname = settings.required("STORAGE_HOSTNAME", "the storage account's endpoint, account.blob.core.windows.net")
    internal = settings.parsed("STORAGE_HOSTNAME", Endpoint.parse, hostname)
    public_url = settings.text("STORAGE_PUBLIC_URL", unset="as STORAGE_HOSTNAME")
    public = settings.parsed("STORAGE_PUBLIC_URL", Endpoint.parse, public_url) if public_url else internal
    return None if internal is None or public is None else _Endpoints(internal, public)


def _read_account_key(settings: SettingsReader, name: str, secret: str) -> AccountKey | None:
    if not _ACCOUNT_NAME.fullmatch(name):
        settings.fault(f"STORAGE_ACCESS_KEY_ID is not the name of a storage account: {name!r}")
        return None
    return settings.parsed("STORAGE_SECRET_ACCESS_KEY", lambda text: AccountKey.parse(name, text), secret)


def _is_of_account(settings: SettingsReader, endpoints: _Endpoints, account: str) -> bool:
    # By their accounts, since without STORAGE_PUBLIC_URL both are one.
    named = {endpoints.public.account: "STORAGE_PUBLIC_URL", endpoints.internal.account: "STORAGE_HOSTNAME"}
    others = {other: variable for other, variable in named.items() if other not in (None, account)}
    for other, variable in others.items():
        settings.fault(f"{variable} is of the account {other}, and not of {account}")
    return not others


def _store_with_account_key(endpoints: _Endpoints, container: str, key: AccountKey, secret: str) -> Store:
    service = service_client(endpoints.internal.url, AzureNamedKeyCredential(key.account, secret))
    return _wired(endpoints, AzureContainer(service, container), lambda: key)


def _store_with_identity(settings: SettingsReader, endpoints: _Endpoints, container: str) -> Store | None:
    account = endpoints.internal.account
    if account is None:
        settings.fault("STORAGE_HOSTNAME must name the storage account, unless STORAGE_ACCESS_KEY_ID does")
    elif not endpoints.internal.origin.startswith("https:"):
        settings.fault("STORAGE_HOSTNAME must be https without STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY")
    elif _is_of_account(settings, endpoints, account) and container:
        credential = _found_identity(settings)
        if credential is not None:
            service = service_client(endpoints.internal.url, credential)
            keys = UserDelegationKeys(service, account)
            return _wired(endpoints, AzureContainer(service, container, credential), keys, [keys])
    return None


def _found_identity(settings: SettingsReader) -> AsyncTokenCredential | None:
    try:
        # The one package that an operator with an account key doesn't need.
        from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415
    except ImportError:
        settings.fault(
            "STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY are missing;"
            " to sign without them, pip install azure-identity"
        )
        return None
    return DefaultAzureCredential()


def _wired(
    endpoints: _Endpoints,
    container: AzureContainer,
    key: Callable[[], SigningKey],
    keys: Sequence[UserDelegationKeys] = (),
) -> Store:
    public, internal = (
        BucketAddress(endpoint.origin, container.name, base_path=endpoint.base_path)
        for endpoint in (endpoints.public, endpoints.internal)
    )
    signing = AzureSigning(public, key, container.is_public, other_addresses=[internal])
    inspector, multipart = AzureInspector(internal, key), AzureMultipart(internal, key, container.is_public)
    # Stopped in the opposite order: the container closes the client that the keys are fetched with.
    startables: list[Startable] = [container, *keys, inspector, multipart]
    return Store(
        signing,
        signing,
        inspector,
        startables=startables,
        probes=[*keys, container],
        part_signer=AzurePartSigner(public, key, container.is_public),
        multipart=multipart,
        remover=AzureRemover(internal, key),
        lister=inspector,
    )
