"""User delegation keys: what signs where the service has an identity of Microsoft Entra ID, and no account key."""

import asyncio
import logging
from base64 import b64decode
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from attrs import define, field
from azure.core.exceptions import AzureError
from azure.storage.blob import UserDelegationKey as SdkKey
from azure.storage.blob.aio import BlobServiceClient

from adapters.stores.azure_sas import UserDelegationKey
from domain.errors import ErrorCode, Unavailable

KEY_LIFETIME = timedelta(days=7)
"""The longest that there is ("Get User Delegation Key"), so that what is signed may live for almost as long."""

REFRESH_SECONDS = 3_600.0
RETRY_SECONDS = 30.0

# An identity may be looked for in many places, some of which don't answer.
_FETCH_SECONDS = 15.0

# The service refuses what is signed by a key that, by its own clock, doesn't count yet.
_CLOCK_SKEW = timedelta(minutes=5)

_log = logging.getLogger(__name__)


@define
class UserDelegationKeys:
    """Fetches a key at start, and a new one every hour; signing takes the one that was fetched last.

    `service` asks with a token credential, and at a version of the service that `azure_sas` signs for; it is closed
    by whoever made it.
    """

    service: BlobServiceClient = field(repr=False)
    account: str
    _current: UserDelegationKey | None = field(default=None, init=False, repr=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    def __call__(self) -> UserDelegationKey:
        """Give the key that was fetched last. Raises `Unavailable` when there is none."""
        if self._current is None:
            raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "no user delegation key has been fetched yet")
        return self._current

    async def start(self) -> None:
        """Fetch a key, and go on in the background."""
        fetched = await self.refresh()
        self._task = asyncio.create_task(self._keep_fresh(fetched=fetched))

    async def stop(self) -> None:
        """Stop fetching."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def check(self) -> None:
        """Raise `Unavailable` while there is no key that still counts."""
        if self().expires_at <= datetime.now(UTC):
            raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "the user delegation key has expired")

    async def refresh(self) -> bool:
        """Fetch a key now, and say whether there was one. Never raises: the one before stays in use.

        Takes a bounded time.
        """
        starts = datetime.now(UTC) - _CLOCK_SKEW
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                fetched = await self.service.get_user_delegation_key(starts, starts + KEY_LIFETIME)
            self._current = _key_of(fetched, self.account)
        # The latter two: an answer without a whole key in it, which the SDK doesn't look for.
        except (AzureError, OSError, ValueError, AttributeError) as error:
            _log.warning("the storage account gave no user delegation key: %s", type(error).__name__)
            return False
        return True

    async def _keep_fresh(self, *, fetched: bool) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS if fetched else RETRY_SECONDS)
            fetched = await self.refresh()


def _key_of(fetched: SdkKey, account: str) -> UserDelegationKey:
    value = b64decode(fetched.value or "", validate=True)
    texts = (
        fetched.signed_oid,
        fetched.signed_tid,
        fetched.signed_start,
        fetched.signed_expiry,
        fetched.signed_service,
        fetched.signed_version,
    )
    oid, tid, starts, expires, service, version = (text or "" for text in texts)
    if not value or not all(texts):
        raise ValueError("not a whole user delegation key")
    return UserDelegationKey(account, oid, tid, starts, expires, service, version, value)
