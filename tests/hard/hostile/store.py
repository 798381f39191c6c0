"""An embedded store in a process of its own, and what must be true of it whatever is sent to it."""

import hashlib
import json
import os
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from attrs import define, field

from tests import strategies as bits
from tests.entrypoints.http.live_service import MEMORY
from tests.entrypoints.http.live_store import ACCESS_KEY, BUCKET, REGION, SECRET_KEY
from tests.hard.hostile.exchange import Answer, Request, exchange, only
from tests.live import wait_until
from tests.serve import bitstore_serve
from tests.tokens import make_token

OWNER, DATASET = "alice", "tides"
PREFIX = f"{OWNER}/{DATASET}"
CONTENT = b"id,name\n1,Ada\n2,Grace\n"
MD5 = b64encode(hashlib.md5(CONTENT).digest()).decode()
MAX_FILE_BYTES = 1 << 20
BUCKET_PATH = f"/store/{BUCKET}"

Expected = tuple[int, str]
"""A status, and the code of an error."""

DENIED: Expected = (403, "AccessDenied")
MISMATCH: Expected = (403, "SignatureDoesNotMatch")
UNKNOWN_KEY: Expected = (403, "InvalidAccessKeyId")
ARGUMENT: Expected = (400, "InvalidArgument")
POLICY: Expected = (400, "InvalidPolicyDocument")
MALFORMED: Expected = (400, "MalformedPOSTRequest")
FIELDS_TOO_LARGE: Expected = (400, "MaxPostPreDataLengthExceededError")
NO_ONE_FILE: Expected = (400, "IncorrectNumberOfFilesInPostRequest")
NO_FORM: Expected = (412, "RequestIsNotMultiPartContent")
TOO_LARGE: Expected = (400, "EntityTooLarge")
TOO_SMALL: Expected = (400, "EntityTooSmall")
BAD_DIGEST: Expected = (400, "BadDigest")
NO_DIGEST: Expected = (400, "InvalidDigest")
KEY_TOO_LONG: Expected = (400, "KeyTooLongError")
BAD_TOKEN: Expected = (400, "InvalidToken")
PARAMETERS: Expected = (400, "AuthorizationQueryParametersError")
BAD_URI: Expected = (400, "InvalidURI")
NOT_IMPLEMENTED: Expected = (400, "NotImplemented")
NO_LENGTH: Expected = (411, "MissingContentLength")
NO_RANGE: Expected = (416, "InvalidRange")
PRECONDITION: Expected = (412, "PreconditionFailed")
NO_BUCKET: Expected = (404, "NoSuchBucket")
NO_KEY: Expected = (404, "NoSuchKey")
NO_UPLOAD: Expected = (404, "NoSuchUpload")
NO_METHOD: Expected = (405, "MethodNotAllowed")
NO_ROUTE: Expected = (404, "not_found")
NO_HTTP: Expected = (400, "malformed_http")
NO_ANSWER: Expected = (0, "")
"""The request never becomes whole: the connection just ends."""

_EVENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z [A-Z]+ +[\w.]+: .")

_SETTINGS: Mapping[str, str] = {
    **MEMORY,
    "STORAGE_BACKEND": "disk",
    "STORAGE_DISK_ROOT": "root",
    "STORAGE_REGION": REGION,
    "STORAGE_BUCKET_NAME": BUCKET,
    "STORAGE_ACCESS_KEY_ID": ACCESS_KEY,
    "STORAGE_SECRET_ACCESS_KEY": SECRET_KEY,
    "MAX_FILE_BYTES": str(MAX_FILE_BYTES),
    "LOG_REQUESTS": "true",
}


@define
class Target:
    """A service with a disk store that is running, and what was sent to it."""

    origin: str
    root: Path
    log: Path
    _statuses: dict[str, int] = field(factory=dict)
    """What each request was answered with; 0 is nothing."""
    _secrets: set[str] = field(factory=set, repr=False)

    @property
    def host(self) -> str:
        """What clients put into the header Host."""
        return self.origin.removeprefix("http://")

    def contents(self) -> dict[str, tuple[int, int]]:
        """Give the size and the time of each file in the store's folder."""
        files = [os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names]  # noqa: PTH118 - fast
        stats = {file: os.stat(file) for file in files}  # noqa: PTH116 - as above
        return {file: (stat.st_size, stat.st_mtime_ns) for file, stat in stats.items()}

    def ask(self, request: Request, *secrets: str, expected: Expected | None = None) -> Answer:
        """Send a request, of which `secrets` are part, and check what must hold of all answers.

        The answer has the status 0 if there is none.
        """
        request_id = f"s{len(self._statuses)}"
        self._secrets.update(secrets)
        is_head = request.method == "HEAD"
        sent = request.wire(f"X-Request-Id: {request_id}")
        answers = exchange(self.origin, sent, then_ends=expected == NO_ANSWER, is_head=is_head)
        answer = only(answers) if answers else Answer(0, {}, b"")
        self._statuses[request_id] = 0 if answer.code == NO_HTTP[1] else answer.status
        assert answer.status < 500, answer
        shown = f"{answer.headers}{answer.body.decode('latin-1')}"
        path = request.target.partition("?")[0]  # which is told again
        assert not [secret for secret in (*secrets, SECRET_KEY) if secret in shown and secret not in path]
        return answer

    def refuse(self, request: Request, expected: Expected, *secrets: str) -> None:
        """Send what must be refused, and change nothing that is stored."""
        before = self.contents()
        answer = self.ask(request, *secrets, expected=expected)
        if expected == NO_ANSWER:
            assert answer.status == 0
            # It goes on a little longer than its connection, and is told of when it has ended.
            wait_until(lambda: f'"{list(self._statuses)[-1]}"' in self.log.read_text())
            assert self.contents() == before
            return
        code = "" if request.method == "HEAD" and expected != NO_HTTP else expected[1]
        assert (answer.status, answer.code) == (expected[0], code), answer
        assert CONTENT not in answer.body
        assert self.contents() == before

    def begun_upload(self, path: str) -> str:
        """Begin an upload in parts; give its id."""
        body = {
            "metadata": {"owner": OWNER, "name": DATASET},
            "filedata": {path: {"length": len(CONTENT), "md5": MD5}},
            "accept": ["MULTIPART"],
        }
        token = make_token(bits.good_claims(OWNER, now=datetime.now(UTC)))
        answer = urllib3.request("POST", f"{self.origin}/rawstore/authorize", json=body, headers={"Auth-Token": token})
        upload_id: str = answer.json()["filedata"][path]["upload_id"]
        return upload_id

    def is_well(self) -> None:
        """Check that it is alive, has answered nothing by a fault of its own, and has told nothing that it mustn't."""
        assert urllib3.request("GET", f"{self.origin}/readyz").json() == {"status": "ready"}
        metrics = urllib3.request("GET", f"{self.origin}/metrics").data.decode()
        assert 'status="5' not in metrics
        answered = {request_id: status for request_id, status in self._statuses.items() if status}
        told: dict[str, list[dict[str, Any]]] = {}

        def is_all_told() -> bool:
            told.clear()
            told.update(self._events())
            return answered.keys() <= told.keys()

        wait_until(is_all_told)
        for request_id, status in answered.items():
            [line] = told[request_id]
            assert (line["message"], line["status"]) == ("request", str(status))
        assert not [secret for secret in (*self._secrets, SECRET_KEY, "X-Amz", "x-amz") if secret in metrics]

    def is_well_on_the_console(self, *never: str) -> None:
        """Likewise, where the log is for people, and nothing may have been stored.

        `never` are ids of requests that nobody must have read.
        """
        assert not self.contents()
        metrics = urllib3.request("GET", f"{self.origin}/metrics").data.decode()
        assert 'status="5' not in metrics
        last = "the-last-one"
        urllib3.request("GET", f"{self.origin}/readyz", headers={"X-Request-Id": last})
        wait_until(lambda: last in self.log.read_text())
        lines = self.log.read_text("ascii").split("\n")[:-1]
        events = [line for line in lines if _EVENT.match(line)]
        # What it says when it starts is the only thing that is no event.
        assert [line for line in lines if line in events] == lines[len(lines) - len(events) :]
        assert not [line for line in events if not line.isprintable() or " INFO " not in line[:40]]
        assert not [line for line in events if any(f"request_id={name} " in line for name in never)]

    def _events(self) -> Mapping[str, list[dict[str, Any]]]:
        """Read the log: one line of ASCII for each event, no secrets, and nothing worse than a client's fault."""
        log = self.log.read_text("ascii")
        lines = log.split("\n")[:-1]
        assert all(line.isprintable() for line in lines)
        assert not [secret for secret in (*self._secrets, SECRET_KEY, "X-Amz", "x-amz") if secret in log]
        events = defaultdict(list)
        for event in map(json.loads, lines):
            assert event["level"] == "info", event
            events[event.get("request_id", "")].append(event)
        return events


@contextmanager
def hostile_target(folder: Path, *, log_format: str = "json") -> Iterator[Target]:
    """Run a service with a disk store."""
    with bitstore_serve(folder, {**_SETTINGS, "LOG_FORMAT": log_format}) as origin:
        (log,) = folder.glob("bitstore-*.log")
        yield Target(origin, folder / "root", log)
