"""The JSON API of Cloud Storage, as far as this service asks it: one bucket, read only."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import aiohttp
import orjson
from attrs import define, field, frozen
from yarl import URL

from adapters.stores.connections import body_of, open_connections
from adapters.stores.gcs_account import GRANT_TYPE, ServiceAccount
from adapters.stores.sigv4 import canonical_query, uri_encode
from domain.errors import ErrorCode, Unavailable

CONCURRENCY = 32
"""How many requests are under way at once, over all batches."""

RENEWAL_SECONDS = 300.0
"""How long before its end a token is replaced by a new one."""

_OK, _UNAUTHORIZED = 200, 401
# Not in all, which would count the time that a request of a large batch waits for its turn.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=5)
# All wait for the one request for a token: if it never ended, there would be no other.
_TOKEN_SECONDS = 10.0


def unavailable(reason: str) -> Unavailable:
    """Say, for the operator, why the store can't be asked."""
    return Unavailable(ErrorCode.STORE_UNAVAILABLE, f"Cloud Storage can't be asked: {reason}")


def _no_token(reason: str) -> Unavailable:
    return Unavailable(
        ErrorCode.CREDENTIALS_UNAVAILABLE, f"the service account's token endpoint gives no token: {reason}"
    )


@frozen
class Answer:
    """What the API said: a status, and a body that is JSON if all is well."""

    status: int
    body: bytes = field(repr=False)

    def document(self, failure: Callable[[str], Unavailable] = unavailable) -> Mapping[str, object]:
        """Read the body of an answer with status 200. Raises `Unavailable` for any other answer."""
        if self.status != _OK:
            raise failure(f"it answered {self.status}")
        with suppress(orjson.JSONDecodeError):
            document = orjson.loads(self.body)
            if isinstance(document, dict):
                return document
        raise failure("its answer is no JSON object")


@frozen
class _Token:
    """An access token; `ends` is a reading of the monotonic clock."""

    value: str = field(repr=False)
    ends: float

    def lives_for(self, seconds: float) -> bool:
        return time.monotonic() + seconds < self.ends


@define
class BucketApi:
    """Asks about one bucket at `origin` (`https://storage.googleapis.com`) with a token of `account`.

    A token is fetched when it is first needed, and again in the background before it ends, so that nobody waits.
    """

    origin: str
    bucket: str
    account: ServiceAccount
    _http: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)
    _token: _Token | None = field(default=None, init=False, repr=False)
    _fetching: "asyncio.Task[_Token] | None" = field(default=None, init=False, repr=False)

    async def start(self) -> None:
        """Open the pool of connections; nothing is asked yet."""
        self._http = open_connections(CONCURRENCY, _TIMEOUT)

    async def stop(self) -> None:
        """Close the connections."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait([fetching])
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def get_bucket(self, fields: str) -> Answer:
        """Ask for metadata of the bucket ("Buckets: get"). Raises `Unavailable` where nothing answers, as all do."""
        return await self._get("", {"fields": fields})

    async def get_object(self, key: str, fields: str) -> Answer:
        """Ask for metadata of one object ("Objects: get")."""
        return await self._get(f"/o/{uri_encode(key)}", {"fields": fields})

    async def list_objects(self, query: Mapping[str, str]) -> Answer:
        """Ask for a page of a listing ("Objects: list")."""
        return await self._get("/o", query)

    async def _get(self, path: str, query: Mapping[str, str]) -> Answer:
        token = await self._access_token()
        url = f"{self.origin}/storage/v1/b/{uri_encode(self.bucket)}{path}?{canonical_query(query.items())}"
        answer = await self._send("GET", url, unavailable, headers={"Authorization": f"Bearer {token.value}"})
        if answer.status == _UNAUTHORIZED and self._token is token:
            self._token = None  # it was revoked; whoever asks next comes with another one
        return answer

    async def _send(
        self,
        method: str,
        url: str,
        failure: Callable[[str], Unavailable],
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        if self._http is None:
            raise failure("the client has not been started")
        try:
            async with self._http.request(
                method, URL(url, encoded=True), headers=headers, data=form, allow_redirects=False
            ) as answer:
                return Answer(answer.status, await body_of(answer))
        except (aiohttp.ClientError, OSError, ValueError) as error:  # OSError: TimeoutError too; ValueError: a bad URL
            raise failure(type(error).__name__) from error

    async def _access_token(self) -> _Token:
        """Give a token that is valid. Raises `Unavailable` (`credentials_unavailable`) when there is none to be had."""
        token = self._token
        if token is not None and token.lives_for(RENEWAL_SECONDS):
            return token
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_token())
            self._fetching.add_done_callback(_retrieve)
        if token is not None and token.lives_for(0):
            return token
        # Whoever gives up waiting must not take the token away from all others.
        return await asyncio.shield(self._fetching)

    async def _fetch_token(self) -> _Token:
        began = time.monotonic()
        form = {"grant_type": GRANT_TYPE, "assertion": self.account.assertion(datetime.now(UTC))}
        try:
            async with asyncio.timeout(_TOKEN_SECONDS):
                answer = await self._send("POST", self.account.token_uri, _no_token, form=form)
        except TimeoutError as error:
            raise _no_token("it took too long") from error
        document = answer.document(_no_token)
        value, lifetime = document.get("access_token"), document.get("expires_in")
        if not isinstance(value, str) or not value or not isinstance(lifetime, int | float):
            raise _no_token("there is none in its answer")
        self._token = _Token(value, began + lifetime)
        return self._token


def _retrieve(task: "asyncio.Task[_Token]") -> None:
    # A renewal that failed while the token before it was still good is no news; the next one says so.
    if not task.cancelled():
        task.exception()
