"""Log lines, for people or for machines. Whatever text is in them, an event is one line, and only its own."""

import json
import logging
import logging.config
import re
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from entrypoints.events import Event
from entrypoints.request_context import current_request

_BARE = re.compile(r"[\w.:/+@-]+")


def configure_logging(log_format: str, level: str = "INFO") -> None:
    """Log to standard error, `console` or `json`. Warnings of Python go there too."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "console": {"()": "entrypoints.cli.logs.ConsoleFormatter"},
                "json": {"()": "entrypoints.cli.logs.JsonFormatter"},
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": log_format}},
            "root": {"level": level, "handlers": ["stderr"]},
            # The SDKs log whole requests, signatures included, at the levels below.
            "loggers": {name: {"level": "WARNING"} for name in ("azure", "botocore", "urllib3")},
        }
    )
    logging.captureWarnings(capture=True)


class JsonFormatter(logging.Formatter):
    """Writes an object of ASCII alone: time, level, logger, message, request_id, the event's fields, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        _add_fields(line, record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _ascii_json(line)


class ConsoleFormatter(logging.Formatter):
    """Writes time, level, logger, message and the fields as name=value; a traceback is on indented lines below."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        fields: dict[str, object] = {}
        _add_fields(fields, record)
        said = "".join([f" {name}={_value(value)}" for name, value in fields.items()])
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {_printable(record.getMessage())}{said}"
        if record.exc_info:
            lines = self.formatException(record.exc_info).split("\n")
            line = "\n    ".join([line, *map(_printable, lines)])
        return line


def _add_fields(line: dict[str, object], record: logging.LogRecord) -> None:
    request = current_request.get()
    if request is not None:
        line["request_id"] = request.request_id
    if isinstance(record, Event):
        line.update(record.fields)


def _time(record: logging.LogRecord) -> str:
    """Write when it happened: ISO 8601, UTC, to the millisecond."""
    return f"{_second(int(record.created))}.{int(record.msecs):03}Z"


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
