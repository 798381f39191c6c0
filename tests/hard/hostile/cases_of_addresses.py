"""Addresses of what can't be read: of other users' objects, of none, of other buckets and hosts; and URLs of ours."""

from collections.abc import Sequence

from attrs import frozen

from tests.entrypoints.http.live_service import BUCKET

ADDRESS = f"http://{{host}}/store/{BUCKET}"
"""The bucket's; `{host}` stands for the service's host and port."""


@frozen
class Address:
    """The address of an object, or of none, and why it can't be read; `url` as a client has it, not in a query yet."""

    url: str
    code: str

    @property
    def status(self) -> int:
        """What a request for this alone is answered with."""
        return 403 if self.code == "not_owner" else 400

    def at(self, host: str) -> str:
        """Put the host in."""
        return self.url.replace("{host}", host)


_FOREIGN_KEYS = (
    *("bob/a.csv", "mallory/tides/theirs.csv", "alice2/a.csv", "Alice/a.csv", "ALICE/a.csv", "alic/e/a.csv", "a.csv"),
    *("%61lice2/a.csv", "alice%20/a.csv", "%20alice/a.csv", "alice%C2%A0/a.csv", "alice.csv", "alice%252Fa.csv"),
    *("%2561lice/a.csv", "\u0430lice/a.csv", "%D0%B0lice/a.csv", "\uff41lice/a.csv", "alice%E2%80%8B/a.csv"),
    "%EF%BB%BFalice/a",
    *("bob%2Falice/a.csv", "tides/alice/a.csv", "*/a.csv", "{owner}/a.csv", "alice;bob/a.csv", "alice,/a.csv"),
    "@alice/a",
)
_NO_KEYS = (
    *("", "/", "/alice/a.csv", "alice/", "alice//a.csv", "alice/../bob/a.csv", "bob/../alice/a.csv", "alice/./a.csv"),
    *("alice/%2e%2e/bob/a.csv", "alice/%2E%2E/bob", "alice/..%2fbob/a.csv", "alice/.%2e/bob/a.csv"),
    "alice%2F..%2Fbob%2Fa",
    *("%2e%2e/alice/a.csv", "../other/alice/a.csv", "../../healthz", "alice/tides/..", "alice/tides/."),
    *("alice/a%00.csv", "alice/a%0a.csv", "alice/a%0d%0aX-Evil:1", "alice/a%09.csv", "alice/a%1b[2J", "alice/a%7F"),
    *("alice/a%5cb", "alice/a\\b", "alice\\a.csv", "alice/%ff", "alice/%C0%AF", "alice/%ED%A0%80", "alice/%E2%82"),
    *("alice/a.csv?x=1", "alice/a.csv?", "alice/a.csv#x", "alice/a.csv#", "alice/a.csv?versionId=1"),
    "alice/a.csv?uploads",
    *("?alice/a.csv", "#/alice/a.csv", "alice/a.csv?X-Signature=0"),
    *("alice/e%CC%81.csv", "alice/%E2%80%AEgpj.csv", "alice/$%7Bfilename%7D", "alice/${filename}", "alice/%EF%BF%BF"),
    *("alice/" + "x" * 256, "alice/" + "x/" * 600 + "x", "alice/" + "%61" * 5_000),
)
_NO_PLACES = (
    # Of no host, or another
    *("", "x", "/", "alice/tides/a.csv", "//{host}/store/datasets/alice/a.csv", "/store/datasets/alice/a.csv", "http:"),
    *("file:///etc/passwd", "data:text/plain,x", "javascript:alert(1)", "gopher://{host}/_x"),
    "s3://datasets/alice/a.csv",
    *("http://169.254.169.254/latest/meta-data/", "http://localhost/store/datasets/alice/a.csv"),
    "http:///store/datasets/alice/a",
    *("https://example.com/store/datasets/alice/a.csv", "https://{host}/store/datasets/alice/a.csv", "http://"),
    *("ftp://{host}/store/datasets/alice/a.csv", "http+x://{host}/store/datasets/alice/a.csv"),
    "http:/{host}/store/datasets/alice/a",
    *("http:{host}/store/datasets/alice/a.csv", "{host}/store/datasets/alice/a.csv"),
    "http:\\\\{host}\\store\\datasets\\alice\\a",
    *("http://{host}.evil.example/store/datasets/alice/a.csv", "http://evil.example/{host}/store/datasets/alice/a.csv"),
    *("http://{host}.:/store/datasets/alice/a.csv", "http://.{host}/store/datasets/alice/a"),
    "http://datasets.{host}/alice/a",
    *("http://{host}1/store/datasets/alice/a.csv", "http://{host}:80/store/datasets/alice/a"),
    "http://{host}:/store/datasets/alice/a",
    *("http://{host},evil.example/store/datasets/alice/a", "http://{host};evil.example/store/datasets/alice/a"),
    # Of a user
    *("http://evil.example@{host}/store/datasets/alice/a", "http://{host}@evil.example/store/datasets/alice/a"),
    *("http://alice:secret@{host}/store/datasets/alice/a", "http://@{host}/store/datasets/alice/a"),
    "http://:@{host}/store/datasets/alice/a",
    *("http://{host}%40evil.example/store/datasets/alice/a", "http://evil.example\\@{host}/store/datasets/alice/a"),
    *("http://evil.example#@{host}/store/datasets/alice/a", "http://evil.example?@{host}/store/datasets/alice/a"),
    # Of another path or bucket
    *("http://{host}", "http://{host}/", "http://{host}/store", "http://{host}/store/datasets"),
    "http://{host}/datasets/alice/a",
    *("http://{host}/store/other/alice/a.csv", "http://{host}/store/datasets2/alice/a.csv"),
    "http://{host}/store//datasets/alice/a",
    *("http://{host}//store/datasets/alice/a.csv", "http://{host}/STORE/datasets/alice/a.csv"),
    "http://{host}/store/Datasets/alice/a",
    *("http://{host}/./store/datasets/alice/a.csv", "http://{host}/x/../store/datasets/alice/a.csv"),
    "http://{host}/store;/datasets/alice/a",
    *("http://{host}/store/%2564atasets/alice/a", "http://{host}/store/datasets%00/alice/a"),
    "http://{host}/rawstore/info",
    # Of no form
    *("http://[::1/store/datasets/alice/a.csv", "http://[::1]]/store/datasets/alice/a"),
    "http://[]/store/datasets/alice/a",
    *("http://[v1.x]/store/datasets/alice/a", "http://{host}:port/store/datasets/alice/a"),
    "http://{host}:99999/store/datasets/alice/a",
    *("http://{host}:-1/store/datasets/alice/a", "http://{host}:1e3/store/datasets/alice/a"),
    "http://127.0.0.1:\u0661/store/datasets/alice/a",
    *(" http://{host}/store/datasets/alice/a", "http://{host}/store/datasets/alice/a "),
    "ht\ttp://{host}/store/datasets/alice/a",
    *("\x00http://{host}/store/datasets/alice/a", "http://{host}\n/store/datasets/alice/a"),
    "http://{host}/store/datas\nets/alice/a",
    *("http://{host}/store/datasets/alice/a\u2028", "http://\uff0e{host}/store/datasets/alice/a"),
    "http://{host}\u2044store/datasets/alice/a",
    *("http://\u2100{host}/store/datasets/alice/a", "x" * 60_000, "http://" + "a." * 20_000 + "{host}/x"),
    *("%" * 3_000, "?" * 3_000),
)

ADDRESSES: Sequence[Address] = [
    *(Address(f"{ADDRESS}/{key}", "not_owner") for key in _FOREIGN_KEYS),
    *(Address(f"{ADDRESS}/{key}", "invalid_url") for key in _NO_KEYS),
    *(Address(url, "invalid_url") for url in _NO_PLACES),
]
"""What alice can't read, each refused by itself too."""

WRONG_METHODS = [
    *(
        (method, path)
        for path in ("/authorize", "/verify", "/multipart/resume", "/multipart/abort", "")
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
    ),
    *(
        (method, path)
        for path in ("/info", "/objects", "/presign", "/openapi.json", "/docs", "/upload")
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MKCOL")
    ),
]
"""What no URL of ours takes: `method_not_allowed`."""

NOWHERE = (
    *("/x", "//authorize", "/authorize/", "/authorize/x", "/authorize%2f", "/authorize;x", "/authorize%00"),
    "/Authorize",
    *("/authorize.json", "/authorize%20", "/%2e%2e/rawstore/authorize/x", "/info/", "/info%0d%0aX-Evil:1", "/presign/"),
    *("/multipart", "/multipart/", "/multipart/x", "/multipart%2fresume/x", "/objects/alice", "/.env", "/.git/config"),
    *("/%ff", "/%c0%af", "/\u0430uthorize", "/..%2f..%2fetc/passwd", "/%25%30%30", "/*", "/{path}", "/" + "x" * 20_000),
    *("/" + "../" * 50 + "etc/passwd%00", "/authorize%1b[2J", "/openapi.json/", "/openapi.yaml"),
    "/upload/../../../etc/passwd%00",
)
"""Where nothing is: `not_found`."""
