"""What is done with every request, whatever it asks: an id, a count, CORS, and an answer even where we fail."""

import asyncio
import logging
import re
from collections.abc import Collection
from time import perf_counter
from typing import Final

from attrs import frozen
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import ErrorCode, Unavailable
from entrypoints.events import log_event
from entrypoints.http.audit import Audit
from entrypoints.http.errors import error_response, fault_response
from entrypoints.request_context import RequestContext, current_request, request_id_for

_PREFLIGHT_SECONDS = 3_600
_EXPOSED_HEADERS = [
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
    "x-amz-checksum-sha256",
    "x-amz-request-id",
]
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH"})
_OTHER = "other"
_UNANSWERED = "none"
_VARY = (b"vary", b"Origin")
# A query that came as a part of the path, by whatever mistake, may be a signed one all the same.
_QUERY = re.compile(r"\?|x-amz|signature=|jwt=", re.IGNORECASE)

_ENDED: Final = Unavailable(
    ErrorCode.OVERLOADED, "the service ends before this could be done; try again", retry_after=5
)

_log = logging.getLogger(__name__)
_requests = logging.getLogger("bitstore.requests")


@frozen
class Routes:
    """The names under which requests are counted: few, whatever is asked for. `folders` end in "/"."""

    paths: frozenset[str]
    folders: tuple[str, ...] = ()

    def name(self, path: str) -> str:
        """Give the route that takes this path, `other` if there is none."""
        if path in self.paths:
            return path
        return next((folder for folder in self.folders if path.startswith(folder)), _OTHER)


class Watch:
    """The outermost part of the application.

    Each request has an id, its own (`X-Request-Id`) or one of ours, which its answer and its log lines have too. It is
    counted, with the time until the last byte of the answer has been handed over. What
    nobody else caught is logged, and answered with a 500 that scripts of other origins may read like any answer.

    Only browsers send an `Origin`, and only they are led through the CORS middleware: it takes a tenth of the time of
    a small request, to add no more than a `Vary` for anyone else.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        audit: Audit,
        routes: Routes,
        cors_origins: Collection[str],
        log_requests: bool,
    ) -> None:
        self._app, self._app_for_browsers = app, _with_cors(app, cors_origins)
        self._fault, self._fault_for_browsers = fault_response(), _with_cors(fault_response(), cors_origins)
        ended = error_response(_ENDED)
        self._ended, self._ended_for_browsers = ended, _with_cors(ended, cors_origins)
        self._audit = audit
        self._counters = audit.counters
        self._routes = routes
        self._log_requests = log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = None
        from_browser = False
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"origin":
                from_browser = True
        request_id = request_id_for(given)
        current_request.set(RequestContext(request_id))
        id_header = (b"x-request-id", request_id.encode())
        status = _UNANSWERED

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                headers = message.get("headers", ())
                message["headers"] = [*headers, id_header] if from_browser else [*headers, id_header, _VARY]
            await send(message)

        self._counters.in_progress += 1
        start = perf_counter()
        try:
            await (self._app_for_browsers if from_browser else self._app)(scope, receive, send_on)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is raised again, or logged
            last_word = self._last_word(error, has_begun=status != _UNANSWERED, from_browser=from_browser)
            if last_word is not None:
                await last_word(scope, receive, send_on)
        finally:
            self._counters.in_progress -= 1
            self._note(scope, status, perf_counter() - start)

    def _last_word(self, error: BaseException, *, has_begun: bool, from_browser: bool) -> ASGIApp | None:
        """Give what is answered where nobody else caught an error; nothing if the answer `has_begun`."""
        if isinstance(error, asyncio.CancelledError):
            # The server ends, and has waited long enough. It breaks off an answer that isn't whole when we return.
            if has_begun:
                return None
            self._audit.refused(_ENDED, 503)
            return self._ended_for_browsers if from_browser else self._ended
        self._audit.failed()
        if has_begun:
            raise error  # the server logs it, and breaks the connection: the client must not take this for all
        _log.error("A request failed.", exc_info=error)
        return self._fault_for_browsers if from_browser else self._fault

    def _note(self, scope: Scope, status: str, seconds: float) -> None:
        # A path that is a route is its own name, so what is counted under it is found at once from the second time on.
        durations = self._counters.answers.get((scope["path"], scope["method"], status))
        if durations is None:
            route = self._routes.name(scope["path"])
            method = scope["method"] if scope["method"] in _METHODS else _OTHER
            durations = self._counters.answered(route, method, status)
        durations.add(seconds)
        if self._log_requests:
            path = _QUERY.split(scope["path"], maxsplit=1)[0]
            fields = {"method": scope["method"], "path": path, "status": status, "seconds": round(seconds, 6)}
            log_event(_requests, "request", fields)


def _with_cors(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "PUT"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
    )
