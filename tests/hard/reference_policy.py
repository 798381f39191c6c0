"""A second evaluator of POST policies, as small and slow as can be, to compare the store's own with.

Written from "POST Policy" and "POST Object" in the Amazon S3 API reference, with the strictness that the store adds:
JSON that can be read in one way only, `expiration` in one form, exact conditions alone on what AWS lists as exact.
"""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

EXEMPT = {"x-amz-signature", "file", "policy", "awsaccesskeyid", "signature"}
REQUIRED = {"key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"}


class No(Exception):
    """The form isn't allowed."""


def lower(name: str) -> str:
    """Lower the ASCII letters of an ASCII name."""
    return name.lower() if all(ord(letter) < 128 for letter in name) else name


def allows(
    document: bytes, pairs: Sequence[tuple[str, str]], filename: str | None, bucket: str, now: datetime
) -> tuple[str, int, int | None] | None:
    """Give the key, and the least and the greatest length, that a form may have; None if it is refused."""
    try:
        return _allows(document, pairs, filename, bucket, now)
    except No:
        return None


def _allows(
    document: bytes, pairs: Sequence[tuple[str, str]], filename: str | None, bucket: str, now: datetime
) -> tuple[str, int, int | None]:
    fields = {lower(name): value for name, value in pairs}
    _require(len(fields) == len(pairs) and fields.keys() >= REQUIRED)
    policy = _read(document)
    _require(isinstance(policy, dict) and policy.keys() == {"expiration", "conditions"})
    _require(isinstance(policy["conditions"], list))
    _require(now <= _moment(policy["expiration"]))
    last = re.split(r"[/\\]", filename or "")[-1]
    key = fields["key"].replace("${filename}", last)
    values = {**fields, "key": key, "bucket": bucket}
    _require(fields.get("bucket", bucket) == bucket)
    covered, least, greatest = set[str](), 0, list[int]()
    for condition in policy["conditions"]:
        kind, name, value = _condition(condition)
        if kind == "content-length-range":
            least = max(least, name)
            greatest.append(value)
        else:
            covered.add(name)
            _require(name in values and _matches(kind, name, value, values[name]))
    _require({"bucket", "key"} <= covered)
    _require(all(name in covered | EXEMPT or name.startswith("x-ignore-") for name in fields))
    for name, size in (("content-md5", 16), ("x-amz-checksum-sha256", 32)):
        _require(name not in fields or _is_digest(fields[name], size))
    return key, least, min(greatest, default=None)


def _condition(condition: Any) -> tuple[str, Any, Any]:
    if isinstance(condition, dict):
        _require(len(condition) == 1)
        ((name, value),) = condition.items()
        condition = ["eq", f"${name}", value]
    _require(isinstance(condition, list) and len(condition) == 3 and isinstance(condition[0], str))
    kind, name, value = lower(condition[0]), condition[1], condition[2]
    if kind == "content-length-range":
        _require(type(name) is int and type(value) is int and name >= 0)
        return kind, name, value
    _require(kind in ("eq", "starts-with") and isinstance(name, str) and isinstance(value, str))
    _require(len(name) > 1 and name[0] == "$")
    return kind, lower(name[1:]), value


def _matches(kind: str, name: str, wanted: str, given: str) -> bool:
    if kind == "eq":
        return given == wanted
    if name in ("bucket", "success_action_status") or (
        name.startswith("x-amz-") and not name.startswith("x-amz-meta-")
    ):
        return False
    if name == "content-type" and "," in given:
        return all(item.strip(" ").startswith(wanted) for item in given.split(","))
    return given.startswith(wanted)


def _moment(text: Any) -> datetime:
    _require(isinstance(text, str) and text.isascii())
    shape = "".join("0" if letter.isdigit() else letter for letter in text)
    _require(shape in ("0000-00-00T00:00:00Z", "0000-00-00T00:00:00.000Z"))
    try:
        return datetime.strptime(text.rstrip("Z").partition(".")[0], "%Y-%m-%dT%H:%M:%S").replace(
            microsecond=1_000 * int(text[20:23] if "." in text else 0), tzinfo=UTC
        )
    except ValueError:
        return _no()


def _is_digest(text: str, size: int) -> bool:
    try:
        return base64.b64encode(raw := base64.b64decode(text)).decode() == text and len(raw) == size
    except ValueError:
        return False


def _read(document: bytes) -> Any:
    def members(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        pairs = list(pairs)
        _require(len(dict(pairs)) == len(pairs))
        return dict(pairs)

    try:
        value = json.loads(document.decode(), object_pairs_hook=members, parse_constant=lambda _: _no())
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return _no()
    _require(not document.startswith(b"\xef\xbb\xbf") and _depth(value) <= 32)
    return value


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def _require(truth: object) -> None:
    if not truth:
        raise No


def _no() -> NoReturn:
    raise No
