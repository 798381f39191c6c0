"""The credentials that sign: fixed ones, or whatever the AWS SDK's chain finds, kept fresh in the background."""

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import botocore.session
from attrs import define, field
from botocore.config import Config

from adapters.stores.sigv4 import Credentials
from domain.errors import ErrorCode, Unavailable

REFRESH_SECONDS = 30.0
"""How often the chain is asked. It answers from memory unless its credentials are about to expire."""

RETRY_SECONDS = 5.0
"""How often it is asked while there are none."""

PATIENCE_SECONDS = 10.0
"""How long anybody waits for its answer, which may come later."""

_KEY = re.compile(r"[!-~]+")

# Of the services that the chain asks; the SDK would wait for minutes.
_CLIENT_CONFIG = {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 2}}

_log = logging.getLogger(__name__)


def sdk_session() -> Any:  # noqa: ANN401 - the SDK is untyped
    """Make a session whose credentials say truly when they expire.

    The SDK goes on using an instance role's credentials when the metadata service has no newer ones, and to that end
    moves their expiry by 15 minutes and more. A request signed with them would die before we said that it does.
    """
    session = botocore.session.get_session()
    session.set_default_client_config(Config(**_CLIENT_CONFIG))
    for provider in session.get_component("credential_provider").providers:
        if provider.METHOD == "iam-role":
            # There is no public switch; a test with a metadata service notices if this stops working.
            provider._role_fetcher._evaluate_expiration = lambda _credentials: None  # noqa: SLF001
    return session


class NoCredentials(LookupError):
    """The SDK has looked everywhere. The message repeats nothing that it saw."""


@define
class ChainCredentials:
    """Credentials from the SDK's chain: environment, profile, web identity, container or instance role.

    Asking the chain may use the network, so it happens in the background; signing takes what was found last. Role
    credentials are refreshed by the SDK before they expire. Others are looked up anew each time, so that a key that
    was rotated in a file is picked up while the service runs.

    There may be no end to asking: a process that the chain starts may hang, a server answer byte by byte. So it has a
    thread of its own, for which neither the service's start nor its end waits.
    """

    session: Callable[[], Any] = sdk_session
    _found: Any = field(default=None, init=False, repr=False)
    _current: Credentials | None = field(default=None, init=False, repr=False)
    _asking: asyncio.Task[None] | None = field(default=None, init=False, repr=False)
    _keeper: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    def __call__(self) -> Credentials:
        """Give the credentials that were found last. Raises `Unavailable` when there are none, or they expired."""
        if self._current is None:
            raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "no credentials for the object store have been found")
        return self._current

    async def start(self) -> None:
        """Ask the chain once, and go on asking in the background."""
        await self.refresh()
        self._keeper = asyncio.create_task(self._keep_fresh())

    async def stop(self) -> None:
        """Stop asking."""
        for task in (self._keeper, self._asking):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def check(self) -> None:
        """Raise `Unavailable` while there are no credentials."""
        self()

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS if self._current is None else REFRESH_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Ask the chain, unless it is being asked. Never raises: what was found stays in use until it expires."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        await asyncio.wait([self._asking], timeout=PATIENCE_SECONDS)
        if not self._asking.done():
            _log.warning("the AWS SDK is still looking for credentials")

    async def _ask(self) -> None:
        try:
            self._current = await _in_thread(self._ask_chain)
        # What the SDK was answered it may stumble over in any way, and whoever asks must be there the next time.
        except Exception as error:  # noqa: BLE001 - as above
            self._found = None
            _log.warning("the AWS SDK gave no credentials: %s", _cause(error))

    def _ask_chain(self) -> Credentials:
        if self._found is None or not _is_refreshable(self._found):
            self._found = self.session().get_credentials()
        if self._found is None:
            raise NoCredentials("it found none")
        frozen = self._found.get_frozen_credentials()
        parts = (frozen.access_key, frozen.secret_key, *([] if frozen.token is None else [frozen.token]))
        if not all(isinstance(part, str) and _KEY.fullmatch(part) for part in parts):
            raise NoCredentials("what it found is not whole")
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, _expiry_of(self._found))


async def _in_thread(work: Callable[[], Credentials]) -> Credentials:
    """Do the work in a thread of its own, which ends with the process if it hasn't ended before."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Credentials] = loop.create_future()

    def settle(found: Credentials | None, failure: Exception | None) -> None:
        if result.done():  # nobody waits any more
            return
        if failure is not None:
            result.set_exception(failure)
        elif found is not None:
            result.set_result(found)

    def run() -> None:
        found, failure = None, None
        try:
            found = work()
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits
            failure = error
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, found, failure)

    threading.Thread(target=run, name="credentials", daemon=True).start()
    return await result


def _cause(error: Exception) -> str:
    """Say what went wrong; what others say may repeat what they have read, so of most errors only the name is given."""
    return str(error) if isinstance(error, NoCredentials) else type(error).__name__


def _expiry_of(found: Any) -> datetime | None:  # noqa: ANN401 - the SDK is untyped
    # The SDK tells nobody when role credentials expire but through this attribute, which it has had since 2014.
    expiry: datetime | None = getattr(found, "_expiry_time", None)
    return None if expiry is None else expiry.astimezone(UTC)


def _is_refreshable(found: Any) -> bool:  # noqa: ANN401 - as above
    return hasattr(found, "_expiry_time")
