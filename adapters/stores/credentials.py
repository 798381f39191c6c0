"""The credentials that sign: fixed ones, or whatever the AWS SDK's chain finds, kept fresh in the background."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import botocore.session
from attrs import define, field
from botocore.exceptions import BotoCoreError, ClientError

from adapters.stores.sigv4 import Credentials
from domain.errors import ErrorCode, Unavailable

REFRESH_SECONDS = 30.0
"""How often the chain is asked. It answers from memory unless its credentials are about to expire."""

_log = logging.getLogger(__name__)


def sdk_session() -> Any:  # noqa: ANN401 - the SDK is untyped
    """Make a session whose credentials say truly when they expire.

    The SDK goes on using an instance role's credentials when the metadata service has no newer ones, and to that end
    moves their expiry by 15 minutes and more. A request signed with them would die before we said that it does.
    """
    session = botocore.session.get_session()
    for provider in session.get_component("credential_provider").providers:
        if provider.METHOD == "iam-role":
            # There is no public switch; a test with a metadata service notices if this stops working.
            provider._role_fetcher._evaluate_expiration = lambda _credentials: None  # noqa: SLF001
    return session


@define
class ChainCredentials:
    """Credentials from the SDK's chain: environment, profile, web identity, container or instance role.

    Asking the chain may use the network, so it happens in the background; signing takes what was found last. Role
    credentials are refreshed by the SDK before they expire. Others are looked up anew each time, so that a key that
    was rotated in a file is picked up while the service runs.
    """

    session: Callable[[], Any] = sdk_session
    _found: Any = field(default=None, init=False, repr=False)
    _current: Credentials | None = field(default=None, init=False, repr=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    def __call__(self) -> Credentials:
        """Give the credentials that were found last. Raises `Unavailable` when there are none, or they expired."""
        if self._current is None:
            raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "no credentials for the object store have been found")
        return self._current

    async def start(self) -> None:
        """Ask the chain once, and go on asking in the background."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep_fresh())

    async def stop(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def check(self) -> None:
        """Raise `Unavailable` while there are no credentials."""
        self()

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Ask the chain now. Never raises: what was found before stays in use until it expires."""
        try:
            self._current = await asyncio.to_thread(self._ask_chain)
        except (BotoCoreError, ClientError, OSError, RuntimeError) as error:  # RuntimeError: refreshed, yet expired
            _log.warning("the AWS SDK gave no credentials: %s", type(error).__name__)

    def _ask_chain(self) -> Credentials | None:
        if self._found is None or not _is_refreshable(self._found):
            self._found = self.session().get_credentials()
        if self._found is None:
            return None
        frozen = self._found.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, _expiry_of(self._found))


def _expiry_of(found: Any) -> datetime | None:  # noqa: ANN401 - the SDK is untyped
    # The SDK tells nobody when role credentials expire but through this attribute, which it has had since 2014.
    expiry: datetime | None = getattr(found, "_expiry_time", None)
    return None if expiry is None else expiry.astimezone(UTC)


def _is_refreshable(found: Any) -> bool:  # noqa: ANN401 - as above
    return hasattr(found, "_expiry_time")
