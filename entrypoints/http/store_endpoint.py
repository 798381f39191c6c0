"""The S3 endpoint of the stores whose bytes we serve ourselves: an ASGI application, and its place at `/store`.

It takes POST-policy forms at `/{bucket}`, and presigned PUT, GET and HEAD at `/{bucket}/{key}`; public objects are
given to anyone. A presigned PUT may be for a part of an upload; what else S3 has for such uploads, the service does in
its own process. All that goes wrong is answered with S3's XML.
"""

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from attrs import field, frozen
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from adapters.stores.addresses import BucketAddress
from adapters.stores.sigv4 import ALGORITHM, Credentials
from adapters.stores.sigv4_verify import PresignedRequest, Verifier
from application.ports import ObjectReader, ObjectWriter, PartWriter, StorageError
from entrypoints.counters import ServedCounts
from entrypoints.http.s3_errors import (
    EXPECTED_ERRORS,
    S3Refusal,
    error_response,
    not_implemented,
    refusal_of,
    slow_down,
)
from entrypoints.http.store_downloads import Downloads
from entrypoints.http.store_requests import ClientGone, StoreRequest
from entrypoints.http.store_uploads import Uploads
from entrypoints.limits import AtOnce, Limits

# Parameters that make another operation of a request (Amazon S3 API reference, "Actions").
_OTHER_OPERATIONS: Final = frozenset(
    {"accelerate", "acl", "analytics", "append", "attributes", "cors", "delete", "encryption", "intelligent-tiering"}
    | {"inventory", "legal-hold", "lifecycle", "list-type", "location", "logging", "metadataConfiguration"}
    | {"metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy"}
    | {"policyStatus", "publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention"}
    | {"select", "select-type", "session", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning"}
    | {"versions", "website"}
)
_PART_PARAMETERS: Final = frozenset({"partNumber", "uploadId"})
_SIGNATURE_PARAMETERS: Final = frozenset(
    {"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signature", "x-amz-signedheaders"}
)
_OLD_SIGNATURE_PARAMETERS: Final = frozenset({"awsaccesskeyid", "signature"})

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class StoreEndpoint:
    """Serves one bucket, at the public `address`, to whoever signs with `credentials` for `region`.

    `address` may say another host than reaches us, and a longer path, when a proxy is in front. An object is at most
    `max_bytes` long. `clock` gives the present moment as an aware datetime. A client that sends more slowly than
    `limits` has it is given up (`RequestTimeout`); one upload or download too many at once is refused (`SlowDown`).
    Whoever takes too little of an answer is given up by the server's `Connection`. What goes through is added to
    `counts`.
    """

    address: BucketAddress
    region: str
    credentials: Credentials
    writer: ObjectWriter
    reader: ObjectReader
    parts: PartWriter
    max_bytes: int
    clock: Callable[[], datetime]
    limits: Limits = field(factory=Limits)
    counts: ServedCounts = field(factory=ServedCounts)
    _verifier: Verifier = field(init=False, repr=False)
    _uploads: Uploads = field(init=False, repr=False)
    _downloads: Downloads = field(init=False, repr=False)

    @_verifier.default
    def _make_verifier(self) -> Verifier:
        return Verifier({self.credentials.access_key_id: self.credentials}.get, self.region)

    @_uploads.default
    def _make_uploads(self) -> Uploads:
        return Uploads(
            self.address,
            self._verifier,
            self.writer,
            self.parts,
            self.max_bytes,
            self.clock,
            AtOnce(self.limits.transfers_at_once, slow_down),
            self.counts,
        )

    @_downloads.default
    def _make_downloads(self) -> Downloads:
        return Downloads(self.reader, AtOnce(self.limits.transfers_at_once, slow_down), self.counts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        request = StoreRequest.read(scope, receive, self.limits.pace)
        try:
            response = await self._handle(request, send)
        except ClientGone:
            return
        except EXPECTED_ERRORS as error:
            response = self._refuse(error, request)
        except Exception as error:  # noqa: BLE001 - the edge: a fault of ours is logged, and told in XML
            _log.exception("A request to the store failed.")
            response = self._refuse(error, request)
        if response is not None:
            await _finish(request, response, send)

    async def _handle(self, request: StoreRequest, send: Send) -> Response | None:
        """Do what the request asks; the response is still to be sent, unless there is none."""
        if request.raw_bucket != self.address.bucket.encode():
            raise S3Refusal("NoSuchBucket", "The specified bucket does not exist.")
        is_put = request.method == "PUT" and bool(request.raw_key)
        for name in request.query:
            if name in _OTHER_OPERATIONS and not (is_put and name in _PART_PARAMETERS):
                raise not_implemented(name)
        match request.method:
            case "POST" if not request.raw_key:
                return await self._uploads.post_form(request)
            case "PUT" if request.raw_key:
                grant = self._authenticate(request)
                if grant is None:
                    raise S3Refusal("AccessDenied", "Access Denied")
                if _PART_PARAMETERS.isdisjoint(grant.query):
                    return await self._uploads.put(request, grant)
                return await self._uploads.put_part(request, grant)
            case "GET" | "HEAD" if request.raw_key:
                await self._downloads.serve(request, self._authenticate(request), send)
                return None
            case _:
                allowed = "GET, HEAD, PUT" if request.raw_key else "POST"
                raise S3Refusal(
                    "MethodNotAllowed", "The specified method is not allowed against this resource.", {"Allow": allowed}
                )

    def _refuse(self, error: Exception, request: StoreRequest) -> Response:
        refusal = refusal_of(error)
        self.counts.refusals[refusal.s3_code] += 1
        if isinstance(error, StorageError):
            self.counts.errors += 1
        return error_response(refusal, request.path)

    def _authenticate(self, request: StoreRequest) -> PresignedRequest | None:
        """Verify the signature in the query; None for a request that shows none at all."""
        names = {name.lower() for name in request.query}
        if not _SIGNATURE_PARAMETERS.isdisjoint(names):
            return self._verifier.verify_presigned(request.as_signed_for(self.address), self.clock())
        if request.headers.get("authorization", "").startswith(ALGORITHM):
            raise not_implemented("a signature in the header Authorization; use a presigned URL")
        if "authorization" in request.headers:
            raise S3Refusal("InvalidArgument", "Unsupported Authorization Type")
        if not _OLD_SIGNATURE_PARAMETERS.isdisjoint(names):
            raise S3Refusal(
                "InvalidRequest",
                f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.",
            )
        return None


class StoreMount(Mount):
    """The endpoint as a route, for all paths below `/store/`.

    Starlette's own pattern stops at a line end in a path, and what is behind it would not be answered in XML.
    """

    def __init__(self, endpoint: StoreEndpoint) -> None:
        super().__init__("/store", app=endpoint)
        self.path_regex = re.compile(r"/store/(?P<path>.*)", re.DOTALL)


async def _finish(request: StoreRequest, response: Response, send: Send) -> None:
    """Send a response. If the request's body has not been read to its end, the connection can't be used again."""
    if not request.body.complete:
        response.headers["Connection"] = "close"
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    if not request.body.complete:
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        await request.body.linger()
        await send({"type": "http.response.body"})
    else:
        await send({"type": "http.response.body", "body": response.body})
