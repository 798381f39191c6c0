"""Log lines: one for each event, whatever is in them; who did what; and nothing that must stay secret."""

import asyncio
import base64
import io
import json
import logging
import re
import unicodedata
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import pytest
import urllib3
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from entrypoints.cli.logs import ConsoleFormatter, JsonFormatter, Lines
from entrypoints.events import Event, flush_events, log_event, send_events_to
from entrypoints.request_context import RequestContext, current_request
from tests import strategies as bits
from tests.entrypoints.http.live_service import BUCKET, CONTENT, OWNER, LiveService, batch, declaration, live_service
from tests.serve import bitstore_serve
from tests.tokens import make_token, public_pem, rsa_key

SECRET = "canary-secret-of-the-store-0123456789"

# Everything, and more often than by chance what ends lines, moves cursors, or isn't Unicode.
_NASTY = '\n\r\x0b\x0c\x1b\x85\u2028\u2029\u202e\x00\x7f\ud800"\\={}'
texts = st.text(st.characters() | st.sampled_from(_NASTY))


def record(message: str, fields: Mapping[str, object] | None = None) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "a.logger", "levelno": logging.WARNING, "msg": message, "fields": fields or {}}
    )


def fail(text: str) -> NoReturn:
    raise RuntimeError(text)


class TestLines:
    @given(texts, st.dictionaries(st.sampled_from(["userid", "path"]), texts | st.integers()))
    def test_json_says_every_text_as_it_is_in_one_line(self, message: str, fields: Mapping[str, object]) -> None:
        line = JsonFormatter().format(record(message, fields))
        assert len(line.splitlines()) == 1
        assert line.isascii()
        assert line.isprintable()
        read = json.loads(line)
        assert (read.pop("level"), read.pop("logger"), read.pop("message")) == ("warning", "a.logger", message)
        assert datetime.fromisoformat(read.pop("time")).utcoffset() == timedelta(0)
        assert read == fields

    @given(texts, st.dictionaries(st.sampled_from(["userid", "path"]), texts | st.integers()))
    def test_the_console_shows_every_text_in_one_line(self, message: str, fields: Mapping[str, object]) -> None:
        line = ConsoleFormatter().format(record(message, fields))
        assert len(line.splitlines()) == 1
        assert line.isprintable()
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING a\.logger: ", line)

    @given(texts)
    def test_a_field_on_the_console_ends_where_it_ends(self, userid: str) -> None:
        """Nobody can name himself so that it reads like another field."""
        shown = ConsoleFormatter().format(record("refuse", {"userid": userid})).partition(" userid=")[2]
        assert re.fullmatch(r"[^\s=\"\\]+", shown) or json.loads(shown) == userid

    @given(texts)
    def test_a_traceback_forges_no_line(self, text: str) -> None:
        with pytest.raises(RuntimeError) as raised:
            fail(text)
        info = (raised.type, raised.value, raised.tb)
        failed = logging.LogRecord("a.logger", logging.ERROR, "", 0, "it failed", (), info)
        first, *others = ConsoleFormatter().format(failed).split("\n")
        assert first.endswith("a.logger: it failed")
        assert others[0] == "    Traceback (most recent call last):"
        assert all(line.startswith("    ") and line.isprintable() for line in others)
        read = json.loads(JsonFormatter().format(failed))
        assert read["traceback"].startswith("Traceback")
        assert text in read["traceback"]

    def test_arguments_are_put_in(self) -> None:
        said = logging.LogRecord("a.logger", logging.INFO, "", 0, "%s happened\nto ä", ("it",), None)
        assert json.loads(JsonFormatter().format(said))["message"] == "it happened\nto ä"
        assert ConsoleFormatter().format(said).endswith(" a.logger: it happened\\nto ä")

    def test_plain_fields_are_plain_on_the_console(self) -> None:
        fields = {"userid": "ada", "path": "a b.csv", "files": 3, "methods": {"POST": 3}}
        said = ConsoleFormatter().format(record("authorize", fields)).partition(": ")[2]
        assert said == 'authorize userid=ada path="a b.csv" files=3 methods={"POST":3}'

    def test_a_request_is_named_in_its_lines(self) -> None:
        token = current_request.set(RequestContext("an-id"))
        try:
            assert json.loads(JsonFormatter().format(record("x")))["request_id"] == "an-id"
            assert ConsoleFormatter().format(record("x")).endswith("x request_id=an-id")
        finally:
            current_request.reset(token)
        assert "request_id" not in json.loads(JsonFormatter().format(record("x")))

    def test_what_is_no_json_is_shown_all_the_same(self) -> None:
        assert json.loads(JsonFormatter().format(record("x", {"files": {1}, "bytes": 1 << 70})))["bytes"] == 1 << 70

    def test_what_a_field_lacks_is_not_said(self) -> None:
        for formatter in (JsonFormatter(), ConsoleFormatter()):
            assert "userid" not in formatter.format(record("x", {"userid": None, "files": 1}))


class _Stream(io.StringIO):
    """Tells when something has been written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


class TestEvents:
    """Events are written together, and in order with all else."""

    @pytest.fixture
    def lines(self) -> Iterator[Lines]:
        lines = Lines(ConsoleFormatter())
        lines.setStream(io.StringIO())
        send_events_to(lines)
        yield lines
        send_events_to(None)

    @pytest.fixture
    def logger(self, lines: Lines) -> Iterator[logging.Logger]:
        logger = logging.getLogger("bitstore.tests")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(lines)
        yield logger
        logger.removeHandler(lines)
        logger.propagate = True

    def said(self, lines: Lines) -> list[str]:
        assert isinstance(lines.stream, io.StringIO)
        return [line.partition(": ")[2] for line in lines.stream.getvalue().splitlines()]

    def test_they_are_written_at_once_where_nothing_runs(self, lines: Lines, logger: logging.Logger) -> None:
        log_event(logger, "authorize", {"files": 1})
        assert self.said(lines) == ["authorize files=1"]

    def test_they_are_written_before_the_end(self, lines: Lines, logger: logging.Logger) -> None:
        async def run() -> None:
            log_event(logger, "authorize", {"files": 1})
            flush_events()

        asyncio.run(run())
        assert self.said(lines) == ["authorize files=1"]

    def test_a_service_that_ends_leaves_none_unwritten(self, lines: Lines, logger: logging.Logger) -> None:
        class LongWait(Lines):
            def take(self, event: Event) -> None:
                self._events.append(event)

        waiting = LongWait(ConsoleFormatter())
        waiting.stream = lines.stream
        send_events_to(waiting)
        with live_service():
            log_event(logger, "authorize", {})
            assert self.said(lines) == []
        assert self.said(lines) == ["authorize"]

    def test_they_wait_a_moment_for_others(self, lines: Lines, logger: logging.Logger) -> None:
        async def run() -> None:
            for number in range(3):
                log_event(logger, "authorize", {"files": number})
            assert self.said(lines) == []
            stream = _Stream()
            lines.stream = stream
            await stream.written.wait()

        asyncio.run(run())
        assert self.said(lines) == [f"authorize files={number}" for number in range(3)]

    def test_they_come_before_what_happened_after_them(self, lines: Lines, logger: logging.Logger) -> None:
        async def run() -> None:
            log_event(logger, "authorize", {})
            logger.warning("it failed")
            log_event(logger, "refuse", {})

        asyncio.run(run())
        assert self.said(lines) == ["authorize", "it failed"]
        lines.flush()
        assert self.said(lines) == ["authorize", "it failed", "refuse"]

    def test_a_flood_of_them_is_written_as_it_comes(self, lines: Lines, logger: logging.Logger) -> None:
        async def run() -> None:
            for _ in range(2_500):
                log_event(logger, "authorize", {})
            assert len(self.said(lines)) == 2_000

        asyncio.run(run())

    def test_what_a_logger_does_not_log_is_not_written(self, lines: Lines, logger: logging.Logger) -> None:
        log_event(logger, "authorize", {}, logging.DEBUG)
        assert self.said(lines) == []

    def test_nobody_who_reads_is_no_fault_of_a_request(self, lines: Lines, logger: logging.Logger) -> None:
        lines.stream.close()
        log_event(logger, "authorize", {})
        lines.setStream(io.StringIO())
        log_event(logger, "authorize", {})
        assert self.said(lines) == ["authorize"]


def environment(folder: Path, **changes: str) -> Mapping[str, str]:
    return {
        "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
        "STORAGE_BACKEND": "disk",
        "STORAGE_DISK_ROOT": str(folder / "objects"),
        "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "STORAGE_SECRET_ACCESS_KEY": SECRET,
        "STORAGE_BUCKET_NAME": BUCKET,
        "LOG_REQUESTS": "true",
        **changes,
    }


class Session:
    """A client that does everything there is to do, and remembers every secret that it held."""

    def __init__(self, origin: str, http: urllib3.PoolManager) -> None:
        self.service = LiveService(origin, http)
        self.http = http
        self.secrets = {SECRET}

    def token(self, userid: str = OWNER, **changes: object) -> str:
        token = make_token(bits.good_claims(userid, now=datetime.now(UTC), **changes))
        self.secrets |= set(token.split(".")[1:])  # all tokens begin alike
        return token

    def run(self) -> str:
        """Do it, and give what /metrics says at the end."""
        service = self.service
        forms = service.sign(batch(), token=self.token(), headers={"X-Request-Id": "of-the-form"})
        self.post(forms["a.csv"])
        puts = service.sign(batch({"b.csv": declaration()}, more={"accept": ["PUT"]}), token=self.token())
        self.keep(puts["b.csv"]["upload_url"])
        self.http.request("PUT", puts["b.csv"]["upload_url"], body=CONTENT, headers=puts["b.csv"]["upload_headers"])
        tampered = puts["b.csv"]["upload_url"].replace("X-Amz-Expires=3600", "X-Amz-Expires=3601")
        assert self.http.request("PUT", tampered, body=CONTENT).status == 403
        self.in_parts()
        query = f"ownerid={OWNER}&url={forms['a.csv']['object_url']}&jwt={self.token()}"
        self.keep(service.send("GET", f"/rawstore/presign?{query}").json["url"])
        self.refusals()
        return self.http.request("GET", f"{service.origin}/metrics").data.decode()

    def post(self, file: Mapping[str, Any]) -> None:
        fields = file["upload_query"]
        self.secrets |= {fields["x-amz-signature"], fields["policy"]}
        assert base64.b64decode(fields["policy"])
        form = {**fields, "file": ("a.csv", CONTENT)}
        assert self.http.request("POST", file["upload_url"], fields=form).status == 204

    def keep(self, url: str) -> None:
        self.secrets |= {value for name, value in parse_qsl(urlsplit(url).query) if name == "X-Amz-Signature"}

    def in_parts(self) -> None:
        for end in ("abort", "complete"):
            body = batch({"c.bin": declaration()}, more={"accept": ["MULTIPART"]})
            file = self.service.sign(body, token=self.token())["c.bin"]
            self.secrets.add(file["upload_id"])
            (part,) = file["parts"]
            self.keep(part["url"])
            asked = json.dumps(
                {"metadata": body["metadata"], "path": "c.bin", "file": declaration(), "upload_id": file["upload_id"]}
            ).encode()
            resumed = self.service.send("POST", "/rawstore/multipart/resume", token=self.token(), body=asked)
            self.keep(resumed.json["parts"][0]["url"])
            assert self.http.request("PUT", part["url"], body=CONTENT, headers=part["headers"]).status == 200
            answer = self.service.send("POST", f"/rawstore/multipart/{end}", token=self.token(), body=asked)
            assert answer.status == 200

    def refusals(self) -> None:
        service = self.service
        forged = self.token()[:-9] + "AAAAAAAAA"
        self.secrets.add(forged.split(".")[2])
        assert service.authorize(batch(), token=forged).status == 401
        assert service.authorize(batch(), token=self.token(exp=1)).code == "token_expired"
        assert service.authorize(batch(), token=self.token("bob\u2028")).status == 403
        two_bad = {"x": declaration(length=-1), "y": declaration(md5="0"), "z": declaration(length="1")}
        assert service.authorize(batch(two_bad), token=self.token()).code == "invalid_batch"


@frozen
class Remains:
    """What a session left behind: the secrets that its client held, the log, and the metrics."""

    secrets: AbstractSet[str] = field(repr=False)
    log: str = field(repr=False)
    metrics: str = field(repr=False)


@pytest.fixture(scope="module", params=["json", "console"])
def remains(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Remains:
    folder = tmp_path_factory.mktemp(request.param)
    with urllib3.PoolManager(retries=False, timeout=20) as http:
        with bitstore_serve(folder, environment(folder, LOG_FORMAT=request.param)) as origin:
            session = Session(origin, http)
            metrics = session.run()
        (log,) = folder.glob("bitstore-*.log")
        return Remains(session.secrets, log.read_text(), metrics)


def test_no_secret_is_in_the_logs_or_metrics(remains: Remains) -> None:
    assert len(remains.secrets) > 12
    assert all(len(secret) > 8 for secret in remains.secrets)
    assert [secret for secret in remains.secrets if secret in remains.log or secret in remains.metrics] == []


def test_every_line_is_of_one_form(remains: Remains) -> None:
    log = remains.log
    if log.startswith("{"):
        lines = [json.loads(line) for line in log.splitlines()]
        assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
        assert {"bitstore", "bitstore.audit", "uvicorn.error"} <= {line["logger"] for line in lines}
        assert lines[0]["settings"]["STORAGE_SECRET_ACCESS_KEY"] == "********"
    else:
        events = log[log.index("uploads ") :].splitlines()[1:]
        assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z (INFO|WARNING) +[a-z._]+: ", line) for line in events)
    assert all(unicodedata.category(sign) not in ("Cc", "Cf", "Zl") for sign in log.replace("\n", ""))


def test_the_audit_says_who_did_what(remains: Remains) -> None:
    log = remains.log
    if not log.startswith("{"):
        assert re.search(
            rf"INFO +bitstore\.audit: authorize request_id=of-the-form userid={OWNER} owner={OWNER} dataset=tides "
            rf'access=public files=1 bytes={len(CONTENT)} methods={{"POST":1}} existing=0\n',
            log,
        )
        return
    lines = [json.loads(line) for line in log.splitlines()]
    audit = [line for line in lines if line["logger"] == "bitstore.audit"]
    for line in audit:
        assert line.pop("request_id")
        del line["time"], line["logger"]
    who = {"level": "info", "userid": OWNER, "owner": OWNER}
    batch_of_one = {**who, "dataset": "tides", "access": "public", "files": 1, "bytes": len(CONTENT), "existing": 0}
    in_parts = {**who, "dataset": "tides", "access": "public", "path": "c.bin"}
    refused = {"message": "refuse", "level": "info"}
    presigned = {**who, "message": "presign", "key": f"{OWNER}/tides/a.csv"}
    assert datetime.fromisoformat(audit[8].pop("expires_at")) > datetime.now(UTC)
    assert audit == [
        {**batch_of_one, "message": "authorize", "methods": {"POST": 1}},
        {**batch_of_one, "message": "authorize", "methods": {"PUT": 1}},
        {**batch_of_one, "message": "authorize", "methods": {"MULTIPART": 1}},
        {**in_parts, "message": "resume"},
        {**in_parts, "message": "abort"},
        {**batch_of_one, "message": "authorize", "methods": {"MULTIPART": 1}},
        {**in_parts, "message": "resume"},
        {**in_parts, "message": "complete", "status": "stored"},
        presigned,
        {**refused, "code": "token_invalid", "status": 401},
        {**refused, "code": "token_expired", "status": 401},
        {**refused, "code": "not_owner", "status": 403, "userid": "bob\u2028"},
        {
            **refused,
            "code": "invalid_batch",
            "status": 400,
            "userid": OWNER,
            "problems": {"invalid_length": 2, "invalid_md5": 1},
        },
    ]
