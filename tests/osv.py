"""OSV's query API (https://google.github.io/osv.dev/post-v1-query/) as a script that knows few advisories."""

import json
from collections.abc import Mapping, Sequence
from http.server import ThreadingHTTPServer
from typing import Any

from attrs import frozen

from tests.adapters.tokens.auth_server import Answer, Exchange, answering

_PATH = "/v1/query"


@frozen
class Advisory:
    """A vulnerability of one version of a Python package."""

    id: str
    package: str
    version: str

    @property
    def record(self) -> Mapping[str, object]:
        """What OSV's schema makes of it."""
        return {
            "schema_version": "1.6.0",
            "id": self.id,
            "modified": "2026-01-01T00:00:00Z",
            "summary": "It does what it shouldn't.",
            "affected": [{"package": {"ecosystem": "PyPI", "name": self.package}, "versions": [self.version]}],
        }


def query(package: str, version: str) -> Mapping[str, object]:
    """The whole question about one version of a Python package."""
    return {"package": {"name": package, "ecosystem": "PyPI"}, "version": version}


class _Query(Exchange):
    """One question."""

    # Head and body of an answer go out together, otherwise each waits for the client's delayed acknowledgement.
    wbufsize = -1

    def do_POST(self) -> None:  # noqa: N802 - http.server looks for this name
        osv = self.server
        assert isinstance(osv, Osv)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        osv.queries.append(asked)
        if self.path != _PATH:
            answering(b'{"code":5,"message":"Not Found"}', status=404)(self)
        elif osv.trouble is not None and len(osv.queries) > 1:
            osv.trouble(self)
        else:
            affecting = [known.record for known in osv.advisories if query(known.package, known.version) == asked]
            # Where OSV has nothing to tell it leaves the list out.
            answering(json.dumps({"vulns": affecting} if affecting else {}).encode())(self)


class Osv(ThreadingHTTPServer):
    """Answers as OSV would if it knew `advisories` only; if there is `trouble`, it answers the first question only."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, advisories: Sequence[Advisory] = (), *, trouble: Answer | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Query)
        self.advisories = advisories
        self.trouble = trouble
        self.queries: list[Mapping[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{_PATH}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""
