"""Log lines, for people or for machines. Whatever text is in them, an event is one line, and only its own."""

import asyncio
import json
import logging
import logging.config
import re
from abc import abstractmethod
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

import orjson

from entrypoints.events import Event, send_events_to
from entrypoints.request_context import current_request

EVENTS_WAIT_SECONDS = 0.05
"""How long events may wait for others, to be written together."""
_EVENTS_AT_ONCE = 1_000

_BARE = re.compile(r"[\w.:/+@-]+")


def configure_logging(log_format: str, level: str = "INFO") -> None:
    """Log to standard error, `console` or `json`. Warnings of Python go there too."""
    lines = Lines(JsonFormatter() if log_format == "json" else ConsoleFormatter())
    logging.basicConfig(handlers=[lines], level=level, force=True)
    for name in ("azure", "botocore", "urllib3"):
        # The SDKs log whole requests, signatures included, at the levels below.
        logging.getLogger(name).setLevel("WARNING")
    # It warns of each form that it refuses, which is its sender's business.
    logging.getLogger("python_multipart").setLevel("ERROR")
    logging.captureWarnings(capture=True)
    send_events_to(lines)


class LineFormatter(logging.Formatter):
    """Writes one kind of lines, of records and of events."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record of Python's logging."""
        fields: dict[str, object] = {}
        request = current_request.get()
        if request is not None:
            fields["request_id"] = request.request_id
        fields |= getattr(record, "fields", {})
        traceback = self.formatException(record.exc_info) if record.exc_info else None
        return self.line(Event(record.created, record.name, record.levelno, record.getMessage(), fields), traceback)

    @abstractmethod
    def line(self, event: Event, traceback: str | None = None) -> str:
        """Write an event, and where the fault was that it tells of."""


class JsonFormatter(LineFormatter):
    """Writes an object of ASCII alone: time, level, logger, message, request_id, the event's fields, a traceback."""

    def line(self, event: Event, traceback: str | None = None) -> str:
        """Write an event."""
        line: dict[str, object] = {
            "time": _time(event.created),
            "level": logging.getLevelName(event.level).lower(),
            "logger": event.logger,
            "message": event.message,
        }
        line.update(event.fields)
        if traceback is not None:
            line["traceback"] = traceback
        return _ascii_json({name: value for name, value in line.items() if value is not None})


class ConsoleFormatter(LineFormatter):
    """Writes time, level, logger, message and the fields as name=value; a traceback is on indented lines below."""

    def line(self, event: Event, traceback: str | None = None) -> str:
        """Write an event."""
        fields = "".join([f" {name}={_value(value)}" for name, value in event.fields.items() if value is not None])
        level = logging.getLevelName(event.level)
        line = f"{_time(event.created)} {level:<7} {event.logger}: {_printable(event.message)}{fields}"
        return line if traceback is None else "\n    ".join([line, *map(_printable, traceback.split("\n"))])


class Lines(logging.StreamHandler[TextIO]):
    """Writes records to standard error at once, and events when there are more, or after a moment; all in order.

    So events of the last moment are lost if the process is killed; not if it is asked to end.
    """

    def __init__(self, formatter: LineFormatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._formatter = formatter
        self._events: list[Event] = []

    def take(self, event: Event) -> None:
        """Keep an event until it is written with others."""
        self._events.append(event)
        if len(self._events) == 1:
            try:
                asyncio.get_running_loop().call_later(EVENTS_WAIT_SECONDS, self.flush)
            except RuntimeError:  # nothing runs that would come back to it
                self.flush()
        elif len(self._events) >= _EVENTS_AT_ONCE:
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and before it what happened before."""
        self._write_events()
        super().emit(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._write_events()
            with suppress(OSError, ValueError):  # nobody reads any more
                super().flush()
        finally:
            self.release()

    def _write_events(self) -> None:
        events, self._events = self._events, []
        if events:
            with suppress(OSError, ValueError):
                self.stream.write("".join([f"{self._formatter.line(event)}\n" for event in events]))


def _time(seconds: float) -> str:
    """Write when it happened: ISO 8601, UTC, to the millisecond."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ascii_json(value: object) -> str:
    # Some take more than a line feed for the end of a line: U+0085 and U+2028, for two. Nobody does so in ASCII.
    try:
        text = orjson.dumps(value)
    except TypeError:  # a lone surrogate, which isn't Unicode; or a value that has only a representation
        text = b""
    if text and text.isascii() and b"\x7f" not in text:
        return text.decode()
    return json.dumps(value, default=repr, separators=(",", ":")).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) and _BARE.fullmatch(value) else _ascii_json(value)


def _printable(text: str) -> str:
    """Escape what doesn't show, or would move the cursor."""
    if text.isprintable():
        return text
    return "".join([sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text])
