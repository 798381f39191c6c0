"""Answers of stores and of the service, read from HTTP or from what somebody pasted: `curl -i`, a body, a sentence."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import compress
from operator import not_
from typing import Any, Final, Self

from attrs import field, frozen

from entrypoints.cli.explain.redaction import redact, redact_named


class Dialect(StrEnum):
    """Whose answer it is, as far as it tells."""

    S3 = "S3"
    AZURE = "Azure"
    GCS = "Cloud Storage"
    BITSTORE = "BitStore"
    UNKNOWN = "unknown"


# What an error says besides its code that helps, and is no secret. Others, such as StringToSign, are never repeated.
_FACTS: Final = (
    *("Message", "Condition", "HeadersNotSigned", "Region", "Endpoint", "ProposedSize", "MinSizeAllowed"),
    *("MaxSizeAllowed", "Expires", "ServerTime", "RequestTime", "MaxAllowedSkewMilliseconds", "ArgumentName", "Header"),
    *("HeaderName", "QueryParameterName", "Reason", "MessageDetails", "AuthenticationErrorDetail", "CalculatedDigest"),
    *("ExpectedDigest", "UserSpecifiedMd5", "ServerCalculatedMd5", "Method", "ResourceType", "BucketName", "Key"),
    "Resource",
)
_LONG_BY_NATURE: Final = frozenset(
    {"CalculatedDigest", "ExpectedDigest", "UserSpecifiedMd5", "ServerCalculatedMd5", "BucketName", "Key", "Resource"}
)
_TELLING_HEADERS: Final = ("x-amz-bucket-region", "retry-after", "server", "location")
_MAX_FACT = 300
_MAX_DETAILS = 10

_STATUS_LINE = re.compile(r"^(?:< ?)?HTTP/[\d.]+ (\d{3})\b.*$", re.MULTILINE)
_STATUS_WORD = re.compile(
    r"\bstatus(?:[ _]?code)?(?: of)?\W{0,3}(\d{3}|0)\b|^\s*(?:HTTP\W{0,2})?(\d{3}|0)\b", re.IGNORECASE
)
_HEADER_LINE = re.compile(r"^(?:< ?)?([A-Za-z][A-Za-z0-9-]*): ?(.*)$")
_CHATTER = re.compile(r"^(?:[>*] ?|[{}] \[).*\n?", re.MULTILINE)  # what `curl -v` says besides the answer
_ELEMENT = re.compile(r"<([A-Za-z][\w.-]*)(?: [^<>]*)?>([^<]*)</\1>")


@frozen
class Answer:
    """An answer. `status` is 0 where nothing came back, None where nobody said; header names are in lower case.

    `code`, `message` and `members` are those of the error in the body, in XML or JSON, if there is one.
    """

    status: int | None
    headers: Mapping[str, str]
    body: str = field(repr=False)
    code: str = ""
    message: str = ""
    members: Mapping[str, str] = field(factory=dict, repr=False)
    details: Sequence[str] = ()
    dialect: Dialect = Dialect.UNKNOWN

    @classmethod
    def read(cls, status: int | None, headers: Mapping[str, str], body: str) -> Self:
        """Look into the body for what a store, or the service, says of an error."""
        names = {name.lower(): value for name, value in headers.items()}
        document = _json_of(body)
        error = document.get("error")
        if isinstance(error, Mapping):
            return cls._of_json(status, names, body, error)
        members: dict[str, str] = {}
        for name, text in _ELEMENT.findall(body):
            members.setdefault(name, html.unescape(text).strip())
        code = members.get("Code") or names.get("x-ms-error-code", "")
        message = members.get("Message", "")
        problems = document.get("problems")
        if isinstance(problems, list):
            return cls(status, names, body, "not_ready", "; ".join(map(str, problems)), dialect=Dialect.BITSTORE)
        return cls(status, names, body, code, message, members, dialect=_dialect_of(names, body))

    @classmethod
    def _of_json(cls, status: int | None, headers: Mapping[str, str], body: str, error: Mapping[str, Any]) -> Self:
        message = str(error.get("message", ""))
        if isinstance(error.get("code"), int):  # Cloud Storage: the code is the status, and each error has a reason
            reasons = [one.get("reason", "") for one in _objects(error.get("errors"))]
            code = str(reasons[0]) if reasons else ""
            return cls(status or error["code"], headers, body, code, message, dialect=Dialect.GCS)
        details = [
            f"{one.get('path', one.get('field', '?'))}: {one.get('message', one.get('code', ''))}"
            for one in _objects(error.get("details"))
        ]
        return cls(
            status, headers, body, str(error.get("code", "")), message, details=details, dialect=Dialect.BITSTORE
        )

    @property
    def is_page(self) -> bool:
        """Whether this is a web page, which no store sends to a program."""
        return "<html" in self.body[:2_000].lower()

    def facts(self) -> list[tuple[str, str]]:
        """Give what the answer says that helps to find the fault, secrets masked."""
        told = {"Message": self.message, **self.members}
        found = [
            (name, (redact_named if name in _LONG_BY_NATURE else redact)(told[name]))
            for name in _FACTS
            if told.get(name)
        ]
        found += [(name, redact(self.headers[name])) for name in _TELLING_HEADERS if self.headers.get(name)]
        found += [("file", redact(detail)) for detail in self.details[:_MAX_DETAILS]]
        if len(self.details) > _MAX_DETAILS:
            found.append(("file", f"… and {len(self.details) - _MAX_DETAILS} more"))
        return [(name, _in_one_line(text)) for name, text in found]


def parse(text: str) -> Answer:
    """Read what was pasted: the output of `curl -i` or `curl -v`, a body alone, or a status with some words."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n")
    lines = list(_STATUS_LINE.finditer(text))
    if lines:
        # The last of several: before it stand a proxy's answer, 100 Continue, or a redirect that was followed.
        last = lines[-1]
        rest = text[last.end() + 1 :]
        head, body = _split_verbose(rest) if last[0].startswith("<") else _split_at_blank_line(rest)
        return Answer.read(int(last[1]), _headers_of(head), body)
    start = min((place for place in (text.find("<"), text.find("{")) if place >= 0), default=len(text))
    words, body = text[:start], text[start:]
    found = _STATUS_WORD.search(words)
    status = int(found[1] or found[2]) if found else None
    return Answer.read(status, _headers_of(words), body or words)


def _split_at_blank_line(text: str) -> tuple[str, str]:
    if text.startswith("\n"):  # an answer without headers
        return "", text
    head, _, body = text.partition("\n\n")
    return head, body


def _split_verbose(text: str) -> tuple[str, str]:
    """Part what `curl -v` says: "< " stands before each header line."""
    lines = _CHATTER.sub("", text).split("\n")
    is_head = [line == "<" or line.startswith("< ") for line in lines]
    return "\n".join(compress(lines, is_head)), "\n".join(compress(lines, map(not_, is_head)))


def _headers_of(head: str) -> Mapping[str, str]:
    found = (_HEADER_LINE.match(line) for line in head.split("\n"))
    return {match[1]: match[2].strip() for match in found if match}


def _json_of(body: str) -> Mapping[str, Any]:
    start = body.find("{")
    try:
        document = json.JSONDecoder().raw_decode(body[start:])[0] if start >= 0 else None
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, Mapping) else {}


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _dialect_of(headers: Mapping[str, str], body: str) -> Dialect:
    names = " ".join(headers)
    if "x-ms-" in names:
        return Dialect.AZURE
    if "x-goog-" in names or "x-guploader-" in names or "GOOG4-" in body:
        return Dialect.GCS
    return Dialect.S3 if "x-amz-" in names else Dialect.UNKNOWN


def _in_one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_FACT else f"{line[:_MAX_FACT]}…"
