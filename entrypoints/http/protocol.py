"""HTTP/1.1 on one connection: uvicorn's protocol, bounded, and with one meaning for all that arrives.

A proxy in front may read a request in another way than we do, and what is a body to one of us is then a request to the
other. So what can be read in two ways is refused, and the connection with it.
"""

import logging
import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from domain.errors import BitstoreError, ErrorCode
from entrypoints.http.errors import error_response

MAX_HEAD_BYTES = 64 * 1024
"""The most that the head of a request may have, and that may arrive without being part of a body."""

MAX_HEADERS = 100

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_MALFORMED: Final = BitstoreError(ErrorCode.MALFORMED_HTTP, "this is no HTTP request that is understood here")
_TOO_LARGE: Final = BitstoreError(ErrorCode.HEAD_TOO_LARGE, "the URL and the headers are too long")

_log = logging.getLogger(__name__)


class StrictHttp(HttpToolsProtocol):
    """One connection.

    Refused are, besides what httptools refuses: any version but 1.0 and 1.1; a Host that is missing, doubled or none
    (RFC 9112, section 3.2); any Transfer-Encoding but `chunked`, and every one in a request of version 1.0 (section
    6.1); CONNECT. Heads are bounded. Trailers are dropped, not merged into the headers (RFC 9110, section 6.5.1), and
    Upgrade is ignored (section 7.8): what follows is HTTP as before.
    """

    _loose_bytes = 0
    """How many bytes have arrived since there was a whole head or something of a body; those of now are among them."""
    _got_somewhere = False
    _fault = _MALFORMED
    _is_refused = False

    def data_received(self, data: bytes) -> None:
        """Take what has arrived. If anything is wrong with it, that is the end of the connection."""
        self._unset_keepalive_if_required()
        self._loose_bytes += len(data)
        self._got_somewhere = False
        left: bytes | memoryview = data
        try:
            while left:
                left = self._feed(left)
        except HttpParserError:
            self._refuse(self._fault)
            return
        if self._got_somewhere:
            self._loose_bytes = 0
        elif self._loose_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Begin a request, or refuse it."""
        self._check_head()
        self._got_somewhere = True
        super().on_headers_complete()
        self.headers = []  # where trailers go

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._got_somewhere = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Go on with the next request, unless what has arrived since is none."""
        if self._is_refused:
            self.transport.close()
        super().on_response_complete()

    def _feed(self, data: bytes | memoryview) -> bytes | memoryview:
        """Have it parsed, and give what is left of it, which is what stands behind a request for an upgrade."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as pause:
            return memoryview(data)[pause.args[0] :]
        return b""

    def _should_upgrade(self) -> bool:
        return False

    def _check_head(self) -> None:
        """Raise ValueError, of which httptools makes an HttpParserError, for a head that is refused."""
        version = self.parser.get_http_version()
        hosts, codings = [], []
        for name, value in self.headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding":
                codings.append(value.lower())
        if len(self.headers) > MAX_HEADERS or (
            self._loose_bytes > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES
        ):
            self._fault = _TOO_LARGE
        elif (
            (version == "1.1" or (version == "1.0" and not codings))
            and (len(hosts) == 1 or (version == "1.0" and not hosts))
            and (not hosts or _HOST.fullmatch(hosts[0]))
            and (not codings or codings == [b"chunked"])
            and self.parser.get_method() != b"CONNECT"
        ):
            return
        raise ValueError(self._fault.message)

    def _head_bytes(self) -> int:
        return len(self.url) + sum([len(name) + len(value) for name, value in self.headers])

    def _newest(self) -> RequestResponseCycle | None:
        """Give the request whose head has arrived last; those before it that aren't answered have arrived whole."""
        return self.cycle  # which uvicorn has as None at first, against its annotation

    def _refuse(self, error: BitstoreError) -> None:
        """End the connection, after the answers to the requests before the one that is refused."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        _log.info("A connection was ended: %s", error.message)
        cycle = self._newest()
        if cycle is not None and not cycle.response_complete and (self.pipeline or not cycle.more_body):
            cycle.keep_alive = False
            self.pipeline.clear()
        elif cycle is not None and cycle.response_started and cycle.more_body:
            self.transport.close()  # it is in the rest of a request that has its answer
        else:
            self._end_with(error)

    def _end_with(self, error: BitstoreError) -> None:
        """Answer what is no request."""
        answer = error_response(error)
        headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
