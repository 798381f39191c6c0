"""Shared access signatures (SAS) for one blob or one container of Azure Blob Storage, rendered once for a whole batch.

("Create a service SAS" and "Create a user delegation SAS" in the Azure Storage REST API reference.) A SAS is a query:
what it allows, until when, and an HMAC-SHA256 over a text of one line per parameter, in which the resource stands as
plain Unicode, not percent-encoded. No request header is part of it. Pure: no network and no clock.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self
from urllib.parse import quote

from attrs import field, frozen

from domain.errors import ErrorCode, Unavailable

SERVICE_VERSION = "2020-12-06"
"""The first version of the service whose signatures by an account key have today's form; every cloud knows it."""

USER_DELEGATION_VERSION = "2026-04-06"
"""The first version whose signatures by a user delegation key have today's form."""

READ = "r"
LIST = "l"
CREATE = "c"
WRITE = "w"
DELETE = "d"
CREATE_OR_REPLACE = CREATE + WRITE
READ_AND_WRITE = READ + WRITE

# What could be signed, and isn't: no start, so that it counts at once; any address; the blob itself; any encryption.
_START = _IP_RANGE = _SNAPSHOT = _ENCRYPTION_SCOPE = ""
_RESPONSE_HEADERS = ("rscc", "rscd", "rsce", "rscl", "rsct")


class SigningKey(Protocol):
    """What signs for an account.

    `owner_lines` and `request_lines` are the lines in which the two kinds of key differ, `query` the parameters that
    name a key which the service doesn't know without; nothing signed outlives `expires_at`.
    """

    @property
    def account(self) -> str:
        """The name of the storage account."""

    @property
    def secret(self) -> bytes:
        """The key of the HMAC."""

    @property
    def version(self) -> str:
        """The version of the service, which also decides how the signed request is understood."""

    @property
    def expires_at(self) -> datetime | None:
        """When the key dies."""

    @property
    def owner_lines(self) -> Sequence[str]:
        """The lines between resource and IP range."""

    @property
    def request_lines(self) -> Sequence[str]:
        """The lines between encryption scope and response headers."""

    @property
    def query(self) -> Sequence[tuple[str, str]]:
        """The parameters that come before the signature."""


@frozen
class AccountKey:
    """One of the two keys of a storage account."""

    account: str
    secret: bytes = field(repr=False)
    version: str = SERVICE_VERSION
    expires_at: datetime | None = field(default=None, init=False)
    owner_lines: Sequence[str] = field(default=("",), init=False)  # no stored access policy
    request_lines: Sequence[str] = field(default=(), init=False)
    query: Sequence[tuple[str, str]] = field(default=(), init=False)

    @classmethod
    def parse(cls, account: str, key: str) -> Self:
        """Read a key as the Azure portal shows it, in base64. Raises ValueError, without the key in its message."""
        try:
            secret = b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        # The decoder is content with too many "=".
        if not secret or b64encode(secret).decode("ascii") != key:
            raise ValueError("not the key of a storage account, which is in base64")
        return cls(account, secret)


@frozen
class UserDelegationKey:
    """A key that the service gave to an identity of Microsoft Entra ID, which signs with that identity's permissions.

    ("Get User Delegation Key".) `starts` and `expires` are texts as the service wrote them.
    """

    account: str
    object_id: str
    tenant_id: str
    starts: str
    expires: str
    service: str
    key_version: str
    secret: bytes = field(repr=False)
    version: str = USER_DELEGATION_VERSION
    expires_at: datetime = field(init=False)

    @expires_at.default
    def _parsed_expiry(self) -> datetime:
        return datetime.fromisoformat(self.expires).astimezone(UTC)

    @property
    def owner_lines(self) -> Sequence[str]:
        """The key's own parameters, and five that only concern single users and directories."""
        return (*(value for _, value in self.query), "", "", "", "", "")

    @property
    def request_lines(self) -> Sequence[str]:
        """No request headers and no query parameters are bound."""
        return ("", "")

    @property
    def query(self) -> Sequence[tuple[str, str]]:
        """The parameters by which the service finds the key again."""
        return (
            ("skoid", self.object_id),
            ("sktid", self.tenant_id),
            ("skt", self.starts),
            ("ske", self.expires),
            ("sks", self.service),
            ("skv", self.key_version),
        )


def expiry(key: SigningKey, lifetime: timedelta, now: datetime) -> datetime:
    """Say until when something signed now is valid: whole seconds, and not longer than the key.

    Raises `Unavailable` when the key has expired.
    """
    ends = (now + lifetime).astimezone(UTC).replace(microsecond=0)
    if key.expires_at is None:
        return ends
    ends = min(ends, key.expires_at.replace(microsecond=0))
    if ends <= now:
        raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "the key that signs for the object store has expired")
    return ends


@frozen
class SasTerms:
    """What a SAS allows: single letters, in the service's order. `expires_at` is in whole seconds.

    With `https_only` the service refuses it over plain HTTP. `disposition` replaces the answer's Content-Disposition.
    """

    permissions: str
    expires_at: datetime
    https_only: bool = True
    disposition: str = ""


def terms_for(origin: str, key: SigningKey, permissions: str, lifetime: timedelta, now: datetime) -> SasTerms:
    """Say on which terms something is signed now, for the store at `origin`: if that is https, for nothing else.

    Raises `Unavailable` when the key has expired.
    """
    return SasTerms(permissions, expiry(key, lifetime, now), origin.startswith("https:"))


class SasTemplate:
    """Signs for the resources below a path, on the same terms: all but their own names is rendered and hashed once."""

    __slots__ = ("_hmac", "_query", "_suffix")

    def __init__(self, key: SigningKey, resource: str, path: str, terms: SasTerms) -> None:
        """Prepare to sign for a kind of resource, `b` or `c`; `path` is what stands before the names."""
        expires = terms.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        protocol = "https" if terms.https_only else ""
        before = [terms.permissions, _START, expires, f"/blob/{key.account}/{path}"]
        after = ["", *key.owner_lines, _IP_RANGE, protocol, key.version, resource, _SNAPSHOT, _ENCRYPTION_SCOPE]
        after += [*key.request_lines, *(terms.disposition if name == "rscd" else "" for name in _RESPONSE_HEADERS)]
        parameters = [("se", expires), ("sp", terms.permissions), ("spr", protocol), ("sv", key.version)]
        parameters += [("sr", resource), ("rscd", terms.disposition), *key.query]
        self._hmac = hmac.new(key.secret, "\n".join(before).encode(), "sha256")
        self._suffix = "\n".join(after)
        self._query = "&".join(f"{name}={quote(value)}" for name, value in parameters if value)

    def sign(self, name: str) -> str:
        """Sign for one resource, by its plain name; give the query that signs its URL, without the "?"."""
        mac = self._hmac.copy()
        mac.update(f"{name}{self._suffix}".encode())
        signature = binascii.b2a_base64(mac.digest(), newline=False).decode("ascii")
        return f"{self._query}&sig={signature.replace('+', '%2B').replace('=', '%3D')}"


def blob_template(key: SigningKey, container: str, terms: SasTerms) -> SasTemplate:
    """Prepare to sign for single blobs of a container, by their names."""
    return SasTemplate(key, "b", f"{container}/", terms)


def container_query(key: SigningKey, container: str, terms: SasTerms) -> str:
    """Sign for a container as a whole, to list it; give the query."""
    return SasTemplate(key, "c", container, terms).sign("")
