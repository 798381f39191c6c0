"""What is no HTTP, or could be read in two ways: good requests with one change in their bytes, and other protocols.

The rules are those of RFC 9112, which says for most of it that it must be refused, and that the connection ends then.
A hidden request is one that must be part of a body, or nothing at all; if it is answered, two have read the same bytes
in two ways.
"""

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

HIDDEN = "hidden"
"""The id of a request that nobody must answer."""

Change = Callable[[bytes], bytes]


@frozen
class Case:
    """Bytes to send, and the statuses of all that is answered; `then_ends` says that no more can come."""

    about: str
    sent: bytes
    statuses: tuple[int, ...]
    then_ends: bool = False


def request(line: str, *headers: str, body: bytes = b"", last: bool = True) -> bytes:
    """Write a request; the last of a connection says so."""
    lines = [line, "Host: any", *headers, *(["Connection: close"] if last else []), "", ""]
    return "\r\n".join(lines).encode() + body


GET = request("GET /healthz HTTP/1.1")
HIDDEN_REQUEST = request("GET /metrics HTTP/1.1", f"X-Request-Id: {HIDDEN}")

# Of each of the routes, how it is asked for with nothing else wrong than a token or a signature that is missing.
ROUTES: Mapping[str, tuple[bytes, int]] = {
    "healthz": (GET, 200),
    "readyz": (request("GET /readyz HTTP/1.1"), 200),
    "metrics": (request("GET /metrics HTTP/1.1"), 200),
    "description": (request("GET /rawstore/openapi.json HTTP/1.1"), 200),
    "page": (request("GET /rawstore/upload HTTP/1.1"), 200),
    "info": (request("GET /rawstore/info HTTP/1.1"), 401),
    "objects": (request("GET /rawstore/objects HTTP/1.1"), 401),
    "presign": (request("GET /rawstore/presign HTTP/1.1"), 401),
    "authorize": (request("POST /rawstore/authorize HTTP/1.1", "Content-Length: 2", body=b"{}"), 401),
    "verify": (request("POST /rawstore/verify HTTP/1.1", "Content-Length: 2", body=b"{}"), 401),
    "resume": (request("POST /rawstore/multipart/resume HTTP/1.1", "Content-Length: 2", body=b"{}"), 401),
    "form": (request("POST /store/datasets HTTP/1.1", "Content-Length: 2", body=b"{}"), 412),
    "put": (request("PUT /store/datasets/a HTTP/1.1", "Content-Length: 2", body=b"{}"), 403),
    "get": (request("GET /store/datasets/a HTTP/1.1"), 403),
    "head": (request("HEAD /store/datasets/a HTTP/1.1"), 403),
    "nothing": (request("GET /nothing HTTP/1.1"), 404),
}


def _line(line: bytes) -> Change:
    return lambda sent: line + b"\r\n" + sent.partition(b"\r\n")[2]


def _headers(*lines: bytes) -> Change:
    return lambda sent: sent.replace(b"Connection:", b"".join(line + b"\r\n" for line in lines) + b"Connection:", 1)


def _replacing(old: bytes, new: bytes) -> Change:
    return lambda sent: sent.replace(old, new, 1)


def _host(value: bytes) -> Change:
    return _replacing(b"Host: any", b"Host: " + value)


# Whatever the route: what breaks a head.
BREAKING: Mapping[str, Change] = {
    "no host": _replacing(b"Host: any\r\n", b""),
    "two hosts": _headers(b"Host: any"),
    "three hosts": _headers(b"Host: a", b"Host: b"),
    "a host that is none": _host(b"a b"),
    "a host with a path": _host(b"any/x"),
    "a host with a user": _host(b"user@any"),
    "a host with NUL": _host(b"a\0b"),
    "a host that is not ASCII": _host(b"\xc3\xa9"),
    "two hosts in one": _host(b"<a>"),
    "line feeds alone": lambda sent: sent.replace(b"\r\n", b"\n"),
    "a line feed alone": _replacing(b"any\r\n", b"any\n"),
    "a carriage return alone": _replacing(b"any\r\n", b"any\r"),
    "carriage returns alone": lambda sent: sent.replace(b"\r\n", b"\r") + b"\r\n\r\n",
    "a folded header": _headers(b"X-Header: a\r\n b"),
    "a folded header with a tab": _headers(b"X-Header: a\r\n\tb"),
    "a blank before the first header": _replacing(b"Host", b" Host"),
    "a blank before a colon": _headers(b"X-Header : a"),
    "a tab before a colon": _headers(b"X-Header\t: a"),
    "a header without a colon": _headers(b"X-Header"),
    "a header without a name": _headers(b": a"),
    "a blank in a header's name": _headers(b"X Header: a"),
    "NUL in a header's name": _headers(b"X\0Header: a"),
    "a header's name that is not ASCII": _headers(b"X-\xc3\xa9: a"),
    "a slash in a header's name": _headers(b"X/Header: a"),
    "NUL in a header": _headers(b"X-Header: a\0b"),
    "a carriage return in a header": _headers(b"X-Header: a\rb"),
    "an escape in a header": _headers(b"X-Header: a\x1b[2J"),
    "a deletion in a header": _headers(b"X-Header: a\x7fb"),
    "a version that there is none of": _replacing(b"HTTP/1.1", b"HTTP/1.2"),
    "the version 0.9": _replacing(b"HTTP/1.1", b"HTTP/0.9"),
    "the version 2": _replacing(b"HTTP/1.1", b"HTTP/2.0"),
    "a version with more digits": _replacing(b"HTTP/1.1", b"HTTP/1.10"),
    "a version in lower case": _replacing(b"HTTP/1.1", b"http/1.1"),
    "no version": _replacing(b" HTTP/1.1", b""),
    "another protocol": _replacing(b"HTTP/1.1", b"HTCPCP/1.0"),
    "text behind the version": _replacing(b"HTTP/1.1", b"HTTP/1.1 x"),
    "a blank behind the version": _replacing(b"HTTP/1.1", b"HTTP/1.1 "),
    "tabs between": lambda sent: sent.replace(b" ", b"\t", 2),
    "a blank in front": lambda sent: b" " + sent,
    "text in front": lambda sent: b"x" + sent,
    "NUL in front": lambda sent: b"\0" + sent,
    "a byte order mark": lambda sent: b"\xef\xbb\xbf" + sent,
    "NUL in the target": _replacing(b" /", b" /\0"),
    "a blank in the target": _replacing(b" /", b" / "),
    "a line feed in the target": _replacing(b" /", b" /\n"),
    "a target that is not ASCII": _replacing(b" /", b" /\xff"),
    "no slash": _replacing(b" /", b" "),
    "only a host": lambda sent: sent.replace(sent.split(b" ")[1], b"any:80", 1),
    "a host that could be a script's": lambda sent: sent.replace(sent.split(b" ")[1], b"javascript:alert(1)", 1),
    "a method in lower case": lambda sent: sent.replace(sent.split(b" ")[0], sent.split(b" ")[0].lower(), 1),
    "a method that there is none of": lambda sent: b"BREW" + sent[sent.index(b" ") :],
    "to be connected": lambda sent: b"CONNECT" + sent[sent.index(b" ") :],
    "to be connected elsewhere": _line(b"CONNECT evil.example:443 HTTP/1.1"),
    "two lengths that differ": _headers(b"Content-Length: 2", b"Content-Length: 9"),
    "two lengths": _headers(b"Content-Length: 2", b"Content-Length: 2"),
    "two lengths in one": _headers(b"Content-Length: 2, 2"),
    "a length that is negative": _headers(b"Content-Length: -1"),
    "a length with a plus": _headers(b"Content-Length: +2"),
    "a length that is no number": _headers(b"Content-Length: x"),
    "a hexadecimal length": _headers(b"Content-Length: 0x2"),
    "a length with a point": _headers(b"Content-Length: 2.0"),
    "a length with an exponent": _headers(b"Content-Length: 2e0"),
    "a length with a blank": _headers(b"Content-Length: 2 2"),
    "a length with a line feed": _headers(b"Content-Length: 2\n"),
    "no length in a length": _headers(b"Content-Length:"),
    "a length that no number holds": _headers(b"Content-Length: 99999999999999999999"),
    "a longer one": _headers(b"Content-Length: " + b"9" * 5_000),
    "a length in other digits": _headers("Content-Length: \uff12".encode()),
    "chunks and a length": _headers(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "a length and chunks": _headers(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "chunks twice": _headers(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunks in chunks": _headers(b"Transfer-Encoding: chunked, chunked"),
    "chunks that are not last": _headers(b"Transfer-Encoding: chunked, identity"),
    "chunks in quotes": _headers(b'Transfer-Encoding: "chunked"'),
    "chunks with a comma": _headers(b"Transfer-Encoding: chunked,"),
    "chunks with a parameter": _headers(b"Transfer-Encoding: chunked;x=1"),
    "chunks with a vertical tab": _headers(b"Transfer-Encoding: \x0bchunked"),
    "chunks with NUL": _headers(b"Transfer-Encoding: chunked\0"),
    "a coding that there is none of": _headers(b"Transfer-Encoding: xchunked"),
    "no coding": _headers(b"Transfer-Encoding:"),
    "the coding that is none": _headers(b"Transfer-Encoding: identity"),
    "compressed chunks": _headers(b"Transfer-Encoding: gzip, chunked"),
    "compressed chunks in two headers": _headers(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
}

FLOODS: Mapping[str, Change] = {
    "a long target": _replacing(b" /", b" /" + b"a" * 100_000),
    "a long query": _replacing(b" HTTP/1.1", b"?" + b"a=b&" * 30_000 + b" HTTP/1.1"),
    "a long method": lambda sent: b"GET" + b"T" * 100_000 + sent,
    "a long header": _headers(b"X-Header: " + b"a" * 100_000),
    "a header with a long name": _headers(b"X" * 100_000 + b": a"),
    "many headers": _headers(*[b"X-Header: a"] * 101),
    "very many headers": _headers(*[b"X: a"] * 100_000),
    "many headers of names that differ": _headers(*[b"X-%d: a" % number for number in range(5_000)]),
    "many cookies": _headers(b"Cookie: " + b"a=b; " * 30_000),
    "a megabyte": _headers(b"X-Header: " + b"a" * 1_000_000),
}
"""Heads that are too large: 431, unless something else in them is noticed first."""


def _chunked(chunks: bytes, *headers: str) -> bytes:
    line = "POST /rawstore/authorize HTTP/1.1"
    return request(line, "Transfer-Encoding: chunked", *headers, last=False, body=chunks) + HIDDEN_REQUEST


# Chunks that are none. Some of them are answered before they come (401), and the connection ends with them.
BROKEN_CHUNKS: Mapping[str, bytes] = {
    "no number": b"zz\r\n\r\n0\r\n\r\n",
    "a negative number": b"-1\r\n\r\n0\r\n\r\n",
    "a number with a plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "a number with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a number with an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "a number that is too large": b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n",
    "a number with a blank in front": b" 2\r\n{}\r\n0\r\n\r\n",
    "a number with a blank behind": b"2 \r\n{}\r\n0\r\n\r\n",
    "a number with a tab behind": b"2\t\r\n{}\r\n0\r\n\r\n",
    "a number with NUL": b"2\0\r\n{}\r\n0\r\n\r\n",
    "no number at all": b"\r\n{}\r\n0\r\n\r\n",
    "line feeds alone": b"2\n{}\n0\n\n",
    "a carriage return alone": b"2\r{}\r\n0\r\n\r\n",
    "a line feed in an extension": b"2;a\n{}\r\n0\r\n\r\n",
    "a chunk that is longer": b"2\r\n{}x\r\n0\r\n\r\n",
    "a chunk that is shorter": b"3\r\n{}\r\n0\r\n\r\n",
    "another end of a chunk": b"2\r\n{}xx0\r\n\r\n",
    "a line feed as the end of a chunk": b"2\r\n{}\n0\r\n\r\n",
    "a length in a trailer": b"2\r\n{}\r\n0\r\nContent-Length: 100\r\n\r\n",
    "a coding in a trailer": b"2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a trailer without a colon": b"2\r\n{}\r\n0\r\nTrailer\r\n\r\n",
    "a folded trailer": b"2\r\n{}\r\n0\r\nTrailer: a\r\n b\r\n\r\n",
}


OTHER_PROTOCOLS: Mapping[str, bytes] = {
    "TLS": bytes.fromhex("1603010200010001fc0303") + b"\x5a" * 508,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO evil.example\r\n",
    "Redis": b"*1\r\n$8\r\nFLUSHALL\r\n",
    "a proxy's": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GET,
    "a proxy's in bytes": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\0" * 12 + GET,
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "noughts": b"\0" * 1_000,
    "noise": bytes(range(256)) * 4,
}

_TAIL = HIDDEN_REQUEST

CASES: Sequence[Case] = [
    Case("good", GET, (200,)),
    Case("an empty line in front", b"\r\n" + GET, (200,)),
    Case("a version without connections that are kept", GET.replace(b"1.1", b"1.0", 1) + _TAIL, (200,)),
    Case("no host in 1.0", b"GET /healthz HTTP/1.0\r\n\r\n" + _TAIL, (200,)),
    Case("two hosts in 1.0", b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n" + _TAIL, (400,)),
    Case(
        "chunks in 1.0",
        b"POST /rawstore/authorize HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _TAIL,
        (400,),
    ),
    Case("a URL of somebody else", request("GET http://evil.example/healthz HTTP/1.1"), (200,)),
    Case("a URL with a password", request("GET http://a:b@evil.example/healthz HTTP/1.1"), (200,)),
    Case("a URL without a path", request("GET http://evil.example HTTP/1.1"), (400,)),
    Case("a URL of nothing", request("GET http:// HTTP/1.1"), (400,)),
    Case("a URL of a file", request("GET file:///etc/passwd HTTP/1.1"), (400,)),
    Case("nothing of a server", request("OPTIONS * HTTP/1.1"), (404,)),
    Case("a path with dots", request("GET /rawstore/../healthz HTTP/1.1"), (404,)),
    Case("an encoded path with dots", request("GET /%2e%2e/healthz HTTP/1.1"), (404,)),
    Case("a path with NUL", request("GET /healthz%00 HTTP/1.1"), (404,)),
    Case("a path with a line end", request("GET /healthz%0d%0aX: HTTP/1.1"), (404,)),
    Case("a path that is not UTF-8", request("GET /%ff%fe HTTP/1.1"), (404,)),
    Case("to be traced", request("TRACE /healthz HTTP/1.1", "Cookie: a=b"), (405,)),
    Case("to be traced with a body", request("TRACE /healthz HTTP/1.1", "Content-Length: 2", body=b"{}"), (405,)),
    *[
        Case(f"the method {method}", request(f"{method} /healthz HTTP/1.1"), (405,))
        for method in ("DELETE", "PATCH", "PUT", "POST", "OPTIONS", "PROPFIND", "PURGE", "M-SEARCH", "SOURCE", "LINK")
    ],
    Case("a hidden request behind the last", GET + HIDDEN_REQUEST, (200,)),
    Case(
        "a hidden request in the body of a GET",
        request("GET /healthz HTTP/1.1", f"Content-Length: {len(HIDDEN_REQUEST)}", body=HIDDEN_REQUEST, last=False)
        + GET,
        (200, 200),
    ),
    Case(
        "a hidden request in a body that nobody reads",
        request(
            "POST /rawstore/authorize HTTP/1.1",
            f"Content-Length: {len(HIDDEN_REQUEST)}",
            body=HIDDEN_REQUEST,
            last=False,
        )
        + GET,
        (401, 200),
    ),
    Case(
        "a hidden request in the body of what isn't here",
        request("POST /nothing HTTP/1.1", f"Content-Length: {len(HIDDEN_REQUEST)}", body=HIDDEN_REQUEST, last=False)
        + GET,
        (404, 200),
    ),
    Case(
        "a hidden request in a chunk",
        request(
            "POST /rawstore/authorize HTTP/1.1",
            "Transfer-Encoding: chunked",
            last=False,
            body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN_REQUEST), HIDDEN_REQUEST),
        )
        + GET,
        (401, 200),
    ),
    Case(
        "a hidden request behind a form that is refused",
        request("POST /store/datasets HTTP/1.1", "Content-Length: 2", body=b"{}" + HIDDEN_REQUEST),
        (412,),
    ),
    Case(
        "a hidden request in a form that is refused",
        request(
            "POST /store/datasets HTTP/1.1", f"Content-Length: {len(HIDDEN_REQUEST)}", body=HIDDEN_REQUEST, last=False
        )
        + GET,
        (412,),
    ),
    Case(
        "a hidden request for an upgrade",
        request(
            "GET /healthz HTTP/1.1", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ", "Connection: Upgrade", last=False
        )
        + request("GET /healthz HTTP/1.1")
        + HIDDEN_REQUEST,
        (200, 200),
    ),
    Case("an upgrade", request("GET /healthz HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade"), (200,)),
    Case("an extension of a chunk", _chunked(b"2;a=b\r\n{}\r\n0\r\n\r\n").replace(_TAIL, GET), (401, 200)),
    Case("a trailer", _chunked(b"2\r\n{}\r\n0\r\nAuth-Token: x\r\n\r\n").replace(_TAIL, GET), (401, 200)),
    Case("an expectation", request("POST /nothing HTTP/1.1", "Content-Length: 2", "Expect: 100-continue"), (404,)),
    Case("an expectation that is none", request("GET /healthz HTTP/1.1", "Expect: 200-maybe"), (200,)),
    *[
        Case(
            f"an expectation of {route}",
            sent.replace(b"Connection", b"Expect: 100-continue\r\nConnection", 1).removesuffix(b"{}"),
            (status,),
        )
        for route, (sent, status) in ROUTES.items()
        if sent.endswith(b"{}") and route != "form"
    ],
    Case("many blanks in a header", _headers(b"X-Header: " + b" " * 60_000)(GET), (200,)),
    Case("another protocol of the same form", b"DESCRIBE rtsp://any/x RTSP/1.0\r\n\r\n", (404,)),
    Case("nothing", b"", (), then_ends=True),
    Case("an empty line", b"\r\n", (), then_ends=True),
    Case("half a line", b"GET /heal", (), then_ends=True),
    Case("a line", b"GET /healthz HTTP/1.1\r\n", (), then_ends=True),
    Case("half a head", b"GET /healthz HTTP/1.1\r\nHost: a", (), then_ends=True),
    Case("a line of the first version", b"GET /healthz\r\n", (), then_ends=True),
    Case("good, and then nonsense", GET.replace(b"close", b"keep-alive") + b"nonsense\r\n\r\n", (200,)),
    *[Case(f"the protocol {name}", sent, (400,)) for name, sent in OTHER_PROTOCOLS.items()],
    *[
        Case(f"{about}, of {route}", change(sent) + HIDDEN_REQUEST, (400,))
        for about, change in BREAKING.items()
        for route, (sent, _) in ROUTES.items()
        if route in ("healthz", "authorize", "form", "put", "get")
    ],
    *[Case(f"good, of {route}", sent, (status,)) for route, (sent, status) in ROUTES.items() if route != "head"],
]

BROKEN: Sequence[Case] = [
    Case(f"{about}, in chunks", _chunked(chunks), (400,)) for about, chunks in BROKEN_CHUNKS.items()
]
"""Answered with a 400, or with what was said of the request before it broke, and then with nothing."""

FLOODING: Sequence[Case] = [
    *[
        Case(f"{about}, of {route}", change(ROUTES[route][0]), (431,))
        for about, change in FLOODS.items()
        for route in ("healthz", "put")
    ],
    Case("line ends", b"\r\n" * 100_000, (431,)),
    Case("many trailers", _chunked(b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 30_000), (431,)),
    Case("a long extension", _chunked(b"2;" + b"a" * 300_000), (431,)),
    Case("a long number", _chunked(b"0" * 300_000 + b"2\r\n{}\r\n0\r\n\r\n"), (431,)),
]
"""Cut off: with a 4xx if there is time for one."""
