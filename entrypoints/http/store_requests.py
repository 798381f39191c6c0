"""Requests to the stores whose bytes we serve, as they come over the wire: path, query, headers, body."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Self
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from attrs import field, frozen
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from adapters.stores.addresses import BucketAddress
from adapters.stores.sigv4 import host_header
from adapters.stores.sigv4_verify import ReceivedRequest
from domain.errors import InvalidInput
from domain.keys import MAX_KEY_BYTES, ObjectKey
from entrypoints.http.s3_errors import S3Refusal
from entrypoints.limits import Pace, Patience

LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 1024 * 1024


class ClientGone(Exception):
    """The client has closed the connection: nobody waits for an answer."""


class RequestBody:
    """The body of a request, in pieces. A client that is slower than `pace` is given up."""

    def __init__(self, receive: Receive, headers: Headers, pace: Pace) -> None:
        self._receive = receive
        self._pace = pace
        self.complete = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the pieces as they arrive. Raises `ClientGone`, or S3Refusal (RequestTimeout)."""
        loop, patience = asyncio.get_running_loop(), Patience(self._pace)
        while not self.complete:
            # Only the client's own time counts: what we do with a piece, such as waiting for the disk, does not.
            start = loop.time()
            try:
                async with asyncio.timeout(patience.left):
                    chunk = await self._next()
            except TimeoutError:
                raise request_timeout() from None
            patience.waited(loop.time() - start, len(chunk))
            if chunk:
                yield chunk

    async def linger(self) -> None:
        """Take what a client still sends after our answer, for a short while.

        If the connection were closed on data that nobody has read, it would be reset, and a client that sends all
        before it reads would never see the answer (RFC 9112, section 9.6).
        """
        taken = 0
        with suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.complete and taken < LINGER_BYTES:
                    taken += len(await self._next())

    async def gone(self) -> None:
        """Return when the client closes the connection; what it sends until then is dropped."""
        with suppress(ClientGone):
            while True:
                await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk


def request_timeout() -> S3Refusal:
    """Make the answer to a client that has been silent for too long."""
    return S3Refusal(
        "RequestTimeout",
        "Your socket connection to the server was not read from or written to within the timeout period.",
    )


@frozen
class StoreRequest:
    """A request under the place where the store is mounted.

    `path` (for people to read), `raw_bucket` and `raw_key` are still percent-encoded; `raw_key` is empty in a request
    for the bucket itself.
    """

    method: str
    path: str
    raw_bucket: bytes
    raw_key: bytes
    raw_query: bytes = field(repr=False)
    headers: Headers = field(repr=False)
    body: RequestBody = field(repr=False)

    @classmethod
    def read(cls, scope: Scope, receive: Receive, pace: Pace) -> Self:
        """Take an ASGI scope apart."""
        raw_path: bytes = scope["raw_path"]
        mount = quote(scope.get("root_path", ""), safe="/").encode() + b"/"
        # A mount point that is spelled in another way than ours leaves no bucket.
        raw_bucket, _, raw_key = (
            raw_path.removeprefix(mount).partition(b"/") if raw_path.startswith(mount) else [b""] * 3
        )
        headers = Headers(scope=scope)
        body = RequestBody(receive, headers, pace)
        return cls(
            scope["method"], raw_path.decode("latin-1"), raw_bucket, raw_key, scope["query_string"], headers, body
        )

    @property
    def query(self) -> dict[str, str]:
        """The parameters, decoded: the last of each name. A signature is judged on `raw_query`, not on these."""
        return dict(parse_qsl(self.raw_query.decode("latin-1"), keep_blank_values=True))

    def as_signed_for(self, address: BucketAddress) -> ReceivedRequest:
        """Give the request as the client signed it: for the bucket's public address.

        A proxy may have cut a prefix off the path, and the header Host may be the proxy's: neither decides anything.
        """
        host = (b"host", host_header(address.bucket_origin).encode())
        return ReceivedRequest(
            self.method,
            quote(address.bucket_path, safe="/").encode() + b"/" + self.raw_key,
            self.raw_query,
            [host, *(header for header in self.headers.raw if header[0] != b"host")],
        )

    def key_to_write(self) -> ObjectKey:
        """Give the key of an object that may come to be. Raises S3Refusal."""
        return checked_key(self._decoded_key())

    def key_to_read(self) -> ObjectKey | None:
        """Give the key; None if no object can ever be there. Raises S3Refusal for a path that is not UTF-8."""
        try:
            return ObjectKey(self._decoded_key())
        except InvalidInput:
            return None

    def _decoded_key(self) -> str:
        try:
            return unquote_to_bytes(self.raw_key).decode()
        except UnicodeDecodeError:
            raise S3Refusal("InvalidURI", "Couldn't parse the specified URI.") from None


def checked_key(text: str) -> ObjectKey:
    """Make the key of an object to write. Raises S3Refusal."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise S3Refusal("KeyTooLongError", "Your key is too long.")
    try:
        return ObjectKey(text)
    except InvalidInput as error:
        raise S3Refusal("InvalidArgument", f"This store doesn't take such a key: {error.message}.") from error
