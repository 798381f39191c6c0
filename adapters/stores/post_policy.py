r"""Evaluate S3 POST policies, as the Amazon S3 API reference has them in "POST Object" and "POST Policy".

An endpoint that accepts browser uploads goes through these stages, in this order:

    read_form            the fields before the part `file`, each once, none missing     InvalidArgument
    parse_policy         a well-formed document                                         InvalidPolicyDocument
    (the signature of the policy is verified: `sigv4_verify`)
    substitute_filename  the key, if it has a ${filename}
    evaluate             expiry, every condition, every field covered                   AccessDenied
                         readable digests                                               InvalidDigest, InvalidRequest

Names of fields, condition keys and operators are compared without regard to the case of ASCII letters, values exactly.
"""

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping
from datetime import datetime

from attrs import field, frozen

from domain import strict_json

MAX_POLICY_BYTES = 20 * 1024
"""The form data before the file may have 20 KB ("POST Object"), and the encoded policy is part of it."""

_REQUIRED = ("key", "policy", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature")
_UNCOVERED = frozenset({"x-amz-signature", "file", "policy", "awsaccesskeyid", "signature"})
_AUTHENTICATION = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token"})
_EXPIRATION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?Z")
_FILENAME = "${filename}"


class PolicyRefused(Exception):
    """A form that its policy doesn't allow, or a policy that isn't one, with the error code that S3 answers."""

    def __init__(self, s3_code: str, message: str) -> None:
        super().__init__(message)
        self.s3_code = s3_code
        self.message = message


@frozen
class Condition:
    """One condition on a form field: `operator` is "eq" or "starts-with", `name` is lower-case and has no dollar."""

    operator: str
    name: str
    value: str = field(repr=False)
    text: str = field(repr=False)
    """The condition as a JSON list in its own spelling, for messages."""

    def holds(self, actual: str | None) -> bool:
        """Compare with a field's value; a field that is absent meets no condition.

        A Content-Type with commas is a list, each item of which must start as the condition says.
        """
        if actual is None:
            return False
        if self.operator == "eq":
            return actual == self.value
        if _only_exact(self.name):
            return False
        if self.name == "content-type" and "," in actual:
            return all(item.strip(" ").startswith(self.value) for item in actual.split(","))
        return actual.startswith(self.value)


@frozen
class Policy:
    """A well-formed policy; `length_ranges` are pairs of the least and the greatest number of bytes."""

    expiration: datetime
    conditions: tuple[Condition, ...]
    length_ranges: tuple[tuple[int, int], ...]


@frozen
class AcceptedForm:
    """What an allowed form asks for, and what is left to check while its file streams in.

    `fields` are those to keep with the object or to answer by (content-type, acl, success_action_status,
    x-amz-meta-* ...), by lower-case name: all but key, bucket, the ignored ones and those that authenticate.
    """

    key: str
    fields: Mapping[str, str]
    min_length: int
    max_length: int | None
    """No range in the policy, no limit."""
    md5: bytes | None
    sha256: bytes | None


def read_form(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Collect form fields by lower-case name; PolicyRefused if one comes twice or a required one not at all."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        folded = _fold(name)
        if folded in fields:
            raise PolicyRefused("InvalidArgument", "POST takes each form field at most once.")
        fields[folded] = value
    for name in _REQUIRED:
        if name.lower() not in fields:
            raise PolicyRefused(
                "InvalidArgument",
                f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the "
                "fields.",
            )
    return fields


def parse_policy(encoded: str) -> Policy:
    """Parse the field `policy`: strict base64 of strict UTF-8 of strict JSON; PolicyRefused for all else."""
    document = _document(encoded)
    conditions = document.get("conditions")
    if not isinstance(conditions, list):
        raise _malformed("Invalid 'conditions' value: must be a List.")
    parsed: list[Condition] = []
    ranges: list[tuple[int, int]] = []
    for condition in conditions:
        if isinstance(condition, dict):
            parsed.append(_simple_condition(condition))
        elif not isinstance(condition, list) or not condition or not isinstance(condition[0], str):
            raise _malformed("Invalid Condition: must be an Object, or a List that begins with an operation.")
        elif _fold(condition[0]) == "content-length-range":
            ranges.append(_length_range(condition[1:]))
        else:
            parsed.append(_match_condition(condition))
    return Policy(_expiration(document.get("expiration")), tuple(parsed), tuple(ranges))


def substitute_filename(key: str, filename: str | None) -> str:
    """Put the name of the client's file into a key that says `${filename}`.

    Browsers that give a whole path mean what follows its last slash or backslash; no name is an empty one
    ("POST Object", form field `key`).
    """
    return key.replace(_FILENAME, re.split(r"[/\\]", filename or "")[-1])


def evaluate(policy: Policy, fields: Mapping[str, str], *, bucket: str, key: str, now: datetime) -> AcceptedForm:
    """Decide whether a form is allowed, or raise PolicyRefused.

    `fields` come from `read_form`; `bucket` is the one that the URL names, and `key` the final one, after
    substitution. The caller has verified the policy's signature.
    """
    if now > policy.expiration:
        raise _denied("Policy expired.")
    covered = {condition.name for condition in policy.conditions}
    for name in ("bucket", "key"):
        if name not in covered:
            raise _denied(f"Policy must have a condition on {name}.")
    actual = {**fields, "bucket": bucket, "key": key}
    for condition in policy.conditions:
        if not condition.holds(actual.get(condition.name)):
            raise _denied(f"Policy Condition failed: {condition.text}")
    if fields.get("bucket", bucket) != bucket:
        raise _denied("The form field bucket is not the bucket of the request.")
    kept = {
        name: value for name, value in fields.items() if name not in _UNCOVERED and not name.startswith("x-ignore-")
    }
    extra = [name for name in kept if name not in covered]
    if extra:
        raise _denied(f"Extra input fields: {', '.join(extra)}")
    for name in (*_AUTHENTICATION, "bucket", "key"):
        kept.pop(name, None)
    return AcceptedForm(
        key,
        kept,
        max((least for least, _ in policy.length_ranges), default=0),
        min((greatest for _, greatest in policy.length_ranges), default=None),
        _digest(kept.get("content-md5"), 16, "InvalidDigest", "The Content-MD5 you specified is not valid."),
        _digest(
            kept.get("x-amz-checksum-sha256"),
            32,
            "InvalidRequest",
            "Value for x-amz-checksum-sha256 header is invalid.",
        ),
    )


def _fold(name: str) -> str:
    """Lower ASCII names only: no letter of another alphabet becomes an ASCII one."""
    return name.lower() if name.isascii() else name


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _only_exact(name: str) -> bool:
    """Tell the fields whose conditions support exact matching alone (table in "POST Policy")."""
    return name in {"bucket", "success_action_status"} or (
        name.startswith("x-amz-") and not name.startswith("x-amz-meta-")
    )


def _document(encoded: str) -> dict[str, object]:
    if len(encoded) > MAX_POLICY_BYTES:
        raise _malformed("the document is too long.")
    try:
        raw = a2b_base64(encoded, strict_mode=True)
    except ValueError:
        raise _malformed("invalid Base64 encoding.") from None
    try:
        document = strict_json.loads(raw)
    except strict_json.NotStrictJson:
        raise _malformed("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _malformed("it must be an Object.")
    if not document.keys() <= {"expiration", "conditions"}:
        raise _malformed("Unexpected member.")
    return document


def _expiration(value: object) -> datetime:
    if not isinstance(value, str):
        raise _malformed("Policy missing expiration.")
    if not _EXPIRATION.fullmatch(value):
        raise _malformed("Invalid 'expiration' value.")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise _malformed("Invalid 'expiration' value.") from None


def _simple_condition(condition: dict[str, object]) -> Condition:
    if len(condition) != 1:
        raise _malformed("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
    [(name, value)] = condition.items()
    if not isinstance(value, str):
        raise _malformed("Invalid Simple-Condition: value must be a string.")
    return _condition("eq", f"${name}", value)


def _match_condition(condition: list[object]) -> Condition:
    match condition:
        case [str(operator), str(name), str(value)] if _fold(operator) in {"eq", "starts-with"}:
            return _condition(operator, name, value)
        case _:
            raise _malformed("Invalid Condition: an operation is eq or starts-with, and takes a $name and a value.")


def _condition(operator: str, name: str, value: str) -> Condition:
    if len(name) < 2 or not name.startswith("$"):
        raise _malformed("Invalid Condition: a form field is named with a dollar sign.")
    if not _is_unicode(name + value):
        raise _malformed("Invalid Condition: half of a surrogate pair is no text.")
    folded = _fold(name[1:])
    shown = "..." if folded == "x-amz-security-token" else value
    return Condition(_fold(operator), folded, value, json.dumps([operator, name, shown], ensure_ascii=False))


def _length_range(bounds: list[object]) -> tuple[int, int]:
    match bounds:
        case [int(least), int(greatest)] if not any(isinstance(bound, bool) for bound in bounds) and least >= 0:
            return least, greatest
        case _:
            raise _malformed("Invalid content-length-range: it takes two integers, of which the first is not negative.")


def _digest(text: str | None, size: int, s3_code: str, message: str) -> bytes | None:
    """Decode a digest in canonical base64."""
    if text is None:
        return None
    try:
        digest = a2b_base64(text)
    except ValueError:
        digest = b""
    if len(digest) != size or b2a_base64(digest, newline=False).decode() != text:
        raise PolicyRefused(s3_code, message)
    return digest


def _malformed(reason: str) -> PolicyRefused:
    return PolicyRefused("InvalidPolicyDocument", f"Invalid Policy: {reason}")


def _denied(reason: str) -> PolicyRefused:
    return PolicyRefused("AccessDenied", f"Invalid according to Policy: {reason}")
