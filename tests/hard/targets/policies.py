"""POST policies, against a second evaluator."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from adapters.stores.post_policy import PolicyRefused, evaluate, parse_policy, read_form, substitute_filename
from tests.hard import reference_policy
from tests.hard.targets.target import Target

_NOW = datetime(2026, 2, 28, 12, tzinfo=UTC)
_SIGNATURE_FIELDS = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_BUCKET = "datasets"


def policy(data: bytes) -> str:
    """Judge a form, and compare with another evaluator: the policy, the file's name, then names and values, by NUL."""
    document, *texts = data.split(b"\0")
    names = [text.decode("utf-8", "replace") for text in texts]
    filename, *pairs_of = names or [""]
    own = [*zip(pairs_of[::2], pairs_of[1::2], strict=False), *((name, "s") for name in _SIGNATURE_FIELDS)]
    pairs = [*own, ("policy", base64.b64encode(document).decode())]
    expected = reference_policy.allows(document, pairs, filename, _BUCKET, _NOW)
    try:
        fields = read_form(pairs)
        parsed = parse_policy(fields["policy"])
        final = substitute_filename(fields["key"], filename)
        accepted = evaluate(parsed, fields, bucket=_BUCKET, key=final, now=_NOW)
    except PolicyRefused as refusal:
        assert expected is None
        return refusal.s3_code
    assert expected == (accepted.key, accepted.min_length, accepted.max_length)
    return "allowed"


def _form(conditions: Sequence[object], *texts: str, expiration: str = "2026-02-28T12:00:00Z") -> bytes:
    own = [{name: "s"} for name in _SIGNATURE_FIELDS[:3]]
    document = {"expiration": expiration, "conditions": [{"bucket": _BUCKET}, *own, *conditions]}
    return "\0".join([json.dumps(document), *texts]).encode()


POLICY: Final = Target(
    policy,
    seeds=[
        _form([{"key": "a"}, ["content-length-range", 0, 9]], "n", "key", "a"),
        _form(
            [["starts-with", "$key", "a/"], ["eq", "$acl", "private"]],
            "n.csv",
            "key",
            "a/${filename}",
            "acl",
            "private",
        ),
        _form(
            [["starts-with", "$Content-Type", "image/"], {"key": "a"}],
            "",
            "key",
            "a",
            "Content-Type",
            "image/a, image/b",
        ),
        _form(
            [{"key": "a"}, {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}], "", "key", "a", "Content-MD5", "A" * 22 + "=="
        ),
        _form([{"key": "a"}, {"Content-MD5": "x"}], "", "key", "a", "content-md5", "x"),
        _form([{"key": "a"}, {"x-amz-checksum-sha256": "x"}], "", "key", "a", "x-amz-checksum-sha256", "x"),
        _form(
            [{"key": "a"}, ["starts-with", "$x-amz-meta-a", ""]], "", "key", "a", "x-amz-meta-a", "b", "x-ignore-c", "d"
        ),
        _form([{"key": "a"}], "", "key", "b"),
        _form([{"key": "a"}], "", "key", "a", "KEY", "a"),
        _form([{"key": "a"}], "", "key", "a", expiration="2026-02-28T11:59:59.999Z"),
        _form([["eq", "$key"]], "", "key", "a"),
        _form(
            [{"key": "a"}, ["starts-with", "$success_action_status", "2"]],
            "",
            "key",
            "a",
            "success_action_status",
            "201",
        ),
    ],
    words=[
        *(b'"eq"', b'"starts-with"', b'"content-length-range"', b'"$key"', b'"$Content-Type"', b'"conditions"', b"\0"),
        *(
            b'{"acl":"private"}',
            b"\0acl\0private",
            b"\0x-ignore-a\0b",
            b'"expiration"',
            b"${filename}",
            b"$",
            b",",
            b"\\",
        ),
        *(b'["content-length-range",1,2]', b"-1", b"1e2", b"true", b"null", b"\0bucket\0datasets", b".250Z", b"NaN"),
        *(b'{"bucket":"datasets"}', b"\\u0000", b"\\ud800", b"\xe2\x84\xaa", b"\0x-amz-meta-a\0b", b'"$x-amz-meta-a"'),
    ],
    outcomes=frozenset(
        ["allowed", "AccessDenied", "InvalidArgument", "InvalidPolicyDocument", "InvalidDigest", "InvalidRequest"]
    ),
    max_length=1500,
)
