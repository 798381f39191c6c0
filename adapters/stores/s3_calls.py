"""Calling operations of the S3 API: each one signed request, of bounded time, whose answer is a small XML document."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import aiohttp
from attrs import define, field, frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.connections import body_of, open_connections, parse_document
from adapters.stores.s3_api import send
from adapters.stores.sigv4 import Credentials, Request, Signer
from domain.errors import ErrorCode, Unavailable
from domain.keys import ObjectKey

_CONNECTIONS = 128
"""How many calls are under way at once; those that are too many wait, which counts as their time."""

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=2)
"""The rest of the time is what an operation may take."""

_OK, _FORBIDDEN = 200, 403
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,19}")
_NOTHING, _NO_XML = ET.Element(""), ET.Element("")


@frozen
class Operation:
    """An operation by its name in the API reference, the permissions that it takes, and how long it may take."""

    name: str
    method: str
    permissions: str
    seconds: float = 10.0

    def failure(self, reason: str) -> Unavailable:
        """Make the error for a store that doesn't answer as it should."""
        return Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the object store fails at {self.name}: {reason}")


@frozen
class Call:
    """An operation on the object at `key`, or on the bucket."""

    operation: Operation
    key: ObjectKey | None = None
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = field(default=b"", repr=False)


@frozen
class Answer:
    """What the store said to an operation. What is no XML is a document without a name."""

    operation: Operation
    status: int
    headers: Mapping[str, str]
    _root: ET.Element = field(default=_NOTHING, repr=False)

    @classmethod
    def read(cls, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> "Answer":
        """Parse the body. AWS writes blanks before the document while it is at work."""
        document = body.strip()
        try:
            root = parse_document(document) if document else _NOTHING
        except ValueError:
            root = _NO_XML
        return cls(operation, status, headers, root)

    @property
    def document(self) -> str:
        """The name of the document."""
        return self._root.tag.rpartition("}")[2]

    @property
    def is_garbled(self) -> bool:
        """Whether there is a body, which is no XML."""
        return self._root is _NO_XML

    @property
    def code(self) -> str:
        """The code of an error, which can come with status 200 too ("CompleteMultipartUpload"); empty for none."""
        code = self.text("Code") if self.document == "Error" else ""
        return code if _CODE.fullmatch(code) else ""

    def text(self, name: str) -> str:
        """Give the text of a member of the document; empty where there is none."""
        return self._root.findtext(self._namespace + name, "")

    def each(self, name: str) -> Iterator[Mapping[str, str]]:
        """Give the members, as texts, of each element of this name."""
        namespace = self._namespace
        for element in self._root.iter(namespace + name):
            yield {member.tag.removeprefix(namespace): member.text or "" for member in element}

    def number(self, text: str) -> int:
        """Read a number in the document. Raises `Unavailable`."""
        if not _NUMBER.fullmatch(text):
            raise self.operation.failure("its answer lacks a number")
        return int(text)

    def moment(self, text: str) -> datetime:
        """Read a moment in the document, which is in UTC. Raises `Unavailable`."""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise self.operation.failure("its answer lacks a time") from error
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

    def expect(self, document: str) -> None:
        """Raise `Unavailable` unless this is the document that answers the operation."""
        if self.status != _OK or self.document != document:
            raise self.unexpected()

    def unexpected(self) -> Unavailable:
        """Make the error for an answer that is none."""
        told = f"{self.status} ({self.code})" if self.code else str(self.status)
        permissions = f"; may the service do {self.operation.permissions}?" if self.status == _FORBIDDEN else ""
        return self.operation.failure(f"it answered {told}{permissions}")

    @property
    def _namespace(self) -> str:
        return self._root.tag.removesuffix(self.document)


@define
class S3Calls:
    """Calls operations on the bucket at `address`, as the service itself reaches it."""

    address: BucketAddress
    region: str
    credentials: Callable[[], Credentials] = field(repr=False)
    _http: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)

    async def start(self) -> None:
        """Open the pool of connections; nothing is asked yet."""
        self._http = open_connections(_CONNECTIONS, _TIMEOUT)

    async def stop(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def answer(self, call: Call, now: datetime) -> Answer:
        """Send the request of a call, and give the answer, whatever its status.

        What may be asked twice, and meets a connection that has ended, is asked again at a fresh one. Raises
        `Unavailable` when there are no valid credentials, or no answer in time.
        """
        operation = call.operation
        if self._http is None:
            raise operation.failure("the client has not been started")
        signer = Signer(self.credentials(), self.region, now)
        try:
            async with asyncio.timeout(operation.seconds):
                return await self._ask(self._http, signer, call)
        except TimeoutError as error:
            raise operation.failure("it took too long") from error
        except (aiohttp.ClientError, OSError) as error:
            raise operation.failure(type(error).__name__) from error

    async def _ask(self, kept: aiohttp.ClientSession, signer: Signer, call: Call) -> Answer:
        try:
            return await self._send(kept, signer, call)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if call.operation.method == "POST":
                raise
        # What is in trouble closes connections: all that are kept can have ended since they were last used.
        async with open_connections(1, _TIMEOUT) as fresh:
            return await self._send(fresh, signer, call)

    async def _send(self, http: aiohttp.ClientSession, signer: Signer, call: Call) -> Answer:
        async with send(http, signer, self._request_of(call), call.body) as answer:
            return Answer.read(call.operation, answer.status, answer.headers, await body_of(answer))

    def _request_of(self, call: Call) -> Request:
        address = self.address
        path = (address.bucket_path or "/") if call.key is None else address.path_of(call.key)
        return Request(call.operation.method, address.bucket_origin, path, call.query, call.headers)
