"""POST policies: AWS's rules in both directions, and forms that boto3 made."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import md5, sha256
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.stores.post_policy import (
    MAX_POLICY_BYTES,
    AcceptedForm,
    Policy,
    PolicyRefused,
    evaluate,
    parse_policy,
    read_form,
    substitute_filename,
)
from adapters.stores.sigv4 import Signer
from tests.adapters.stores.aws import BUCKET, EXAMPLE, NOW, boto, keys, signers, text
from tests.adapters.stores.test_sigv4 import PUBLISHED_POLICY

EXPIRATION = "2026-03-01T01:00:00Z"
BASE: list[Any] = [{"bucket": BUCKET}, {"key": "k"}]


def encoded(document: object) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.b64encode(raw).decode()


def policy(*conditions: Any, expiration: str = EXPIRATION) -> Policy:
    return parse_policy(encoded({"expiration": expiration, "conditions": list(conditions)}))


def judge(conditions: list[Any], fields: dict[str, str] | None = None, **changes: Any) -> AcceptedForm:
    """Evaluate a form that is right, but for what the test adds."""
    arguments: dict[str, Any] = {"bucket": BUCKET, "key": "k", "now": NOW, **changes}
    return evaluate(policy(*BASE, *conditions), {"key": "k", "policy": "", **(fields or {})}, **arguments)


def refusal(act: Callable[[], object]) -> PolicyRefused:
    with pytest.raises(PolicyRefused) as caught:
        act()
    return caught.value


class TestReadForm:
    COMPLETE = ("key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")

    def test_names_are_lowered_and_values_kept(self) -> None:
        pairs = [(name.title(), name) for name in self.COMPLETE]
        assert read_form([*pairs, ("X-Amz-Meta-A", "É")]) == {
            **{name: name for name in self.COMPLETE},
            "x-amz-meta-a": "É",
        }

    def test_a_letter_that_only_looks_like_ascii_stays_what_it_is(self) -> None:
        kelvin = "\N{KELVIN SIGN}ey"
        assert kelvin.lower() == "key"
        assert read_form([*((name, "") for name in self.COMPLETE), (kelvin, "other")])[kelvin] == "other"

    @pytest.mark.parametrize("name", ["key", "Key", "x-amz-meta-a"])
    @pytest.mark.parametrize("value", ["", "k"])
    def test_a_field_that_comes_twice_is_refused(self, name: str, value: str) -> None:
        pairs = [*((name, value) for name in self.COMPLETE), ("x-amz-meta-A", value), (name, value)]
        assert refusal(lambda: read_form(pairs)).s3_code == "InvalidArgument"

    @pytest.mark.parametrize(
        ("missing", "named"), [(name, name.title() if name.startswith("x-") else name) for name in COMPLETE]
    )
    def test_a_missing_field_is_named_as_aws_names_it(self, missing: str, named: str) -> None:
        caught = refusal(lambda: read_form([(name, "") for name in self.COMPLETE if name != missing]))
        assert caught.s3_code == "InvalidArgument"
        assert caught.message == (
            f"Bucket POST must contain a field named '{named}'.  "
            "If it is specified, please check the order of the fields."
        )


class TestParsePolicy:
    def test_the_published_policy(self) -> None:
        """Parse the one of "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)"."""
        parsed = parse_policy(PUBLISHED_POLICY)
        assert parsed.expiration == datetime(2015, 12, 30, 12, tzinfo=UTC)
        assert [(one.operator, one.name, one.value) for one in parsed.conditions] == [
            ("eq", "bucket", "sigv4examplebucket"),
            ("starts-with", "key", "user/user1/"),
            ("eq", "acl", "public-read"),
            ("eq", "success_action_redirect", "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"),
            ("starts-with", "content-type", "image/"),
            ("eq", "x-amz-meta-uuid", "14365123651274"),
            ("eq", "x-amz-server-side-encryption", "AES256"),
            ("starts-with", "x-amz-meta-tag", ""),
            ("eq", "x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
            ("eq", "x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("eq", "x-amz-date", "20151229T000000Z"),
        ]
        assert parsed.length_ranges == ()

    @pytest.mark.parametrize(
        ("expiration", "moment"),
        [
            ("2026-03-01T01:02:03Z", datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC)),
            ("2026-03-01T01:02:03.250Z", datetime(2026, 3, 1, 1, 2, 3, 250_000, tzinfo=UTC)),
            ("2024-02-29T23:59:59.999Z", datetime(2024, 2, 29, 23, 59, 59, 999_000, tzinfo=UTC)),
        ],
    )
    def test_an_expiration(self, expiration: str, moment: datetime) -> None:
        assert policy(expiration=expiration).expiration == moment

    @pytest.mark.parametrize(
        "expiration",
        [
            "2026-03-01T01:02:03",
            "2026-03-01T01:02:03+00:00",
            "2026-03-01 01:02:03Z",
            "2026-03-01T01:02:03z",
            "2026-03-01T01:02Z",
            "2026-03-01T01:02:03.1Z",
            "2026-03-01T01:02:03.123456Z",
            "2026-03-01T01:02:03.Z",
            "2026-02-30T01:02:03Z",
            "2026-03-01T25:02:03Z",
            "2026-03-01T01:02:60Z",
            "20260301T010203Z",
            "2026-03-01",
            " 2026-03-01T01:02:03Z",
            "2026-03-01T01:02:03Z\n",
            "٢٠٢٦-03-01T01:02:03Z",
            "",
            None,
            1_772_326_923,
            True,
        ],
    )
    def test_what_is_no_expiration(self, expiration: Any) -> None:
        assert refusal(lambda: policy(expiration=expiration)).s3_code == "InvalidPolicyDocument"

    @pytest.mark.parametrize(
        "document",
        [
            b"",
            b"null",
            b"[]",
            b'"text"',
            b"{",
            b"{}",
            b'{"conditions": []}',
            b'{"expiration": "2026-03-01T01:00:00Z"}',
            b'{"EXPIRATION": "2026-03-01T01:00:00Z", "conditions": []}',
            b'{"expiration": "2026-03-01T01:00:00Z", "CONDITIONS": []}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": {}}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": null}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [],}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [], "Statement": []}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [], "conditions": []}',
            b'{"expiration": "2026-03-01T01:00:00Z", "expiration": "2036-03-01T01:00:00Z", "conditions": []}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [{"acl": "a", "acl": "a"}]}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [NaN]}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [{"acl": "\xff"}]}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [{"acl": "\\ud800"}]}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [{"\\udfff": "a"}]}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [["eq", "$acl", "\\ud83d"]]}',
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": []} ]',
            b'\xef\xbb\xbf{"expiration": "2026-03-01T01:00:00Z", "conditions": []}',
            b"[" * 15_000,
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": ' + b"[" * 7_000 + b"]" * 7_000 + b"}",
            b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
            b'{"expiration": "2026-03-01T01:00:00Z", "conditions": [' + b"9" * 10_000 + b"]}",
        ],
    )
    def test_what_is_no_policy(self, document: bytes) -> None:
        assert refusal(lambda: parse_policy(encoded(document))).s3_code == "InvalidPolicyDocument"

    @pytest.mark.parametrize("spoil", ["{}=", " {}", "{}\n", "{}A", "-{}", "é{}", "\ud800{}"])
    def test_what_is_no_base64(self, spoil: str) -> None:
        text_of = encoded({"expiration": EXPIRATION, "conditions": [{"acl": "x"}]})
        parse_policy(text_of)
        assert refusal(lambda: parse_policy(spoil.format(text_of))).s3_code == "InvalidPolicyDocument"

    def test_nothing_of_a_policy_can_change_or_be_shown(self) -> None:
        parsed = policy({"acl": "a-value-that-is-signed"}, ["content-length-range", 0, 1])
        assert hash(parsed) == hash(policy({"acl": "a-value-that-is-signed"}, ["content-length-range", 0, 1]))
        assert "a-value-that-is-signed" not in repr(parsed)

    def test_the_longest_policy(self) -> None:
        document = json.dumps({"expiration": EXPIRATION, "conditions": []}).encode()
        longest = encoded(document.ljust(MAX_POLICY_BYTES // 4 * 3))
        assert len(longest) == MAX_POLICY_BYTES == 20_480  # "POST Object" says 20 KB
        assert parse_policy(longest) == policy()
        longer = encoded(document.ljust(MAX_POLICY_BYTES // 4 * 3 + 1))
        assert refusal(lambda: parse_policy(longer)).s3_code == "InvalidPolicyDocument"

    @pytest.mark.parametrize(
        "condition",
        [
            {},
            {"acl": "a", "key": "b"},
            {"acl": 1},
            {"acl": None},
            {"acl": ["a"]},
            {"": "a"},
            [],
            ["eq"],
            ["eq", "$acl"],
            ["eq", "$acl", "a", "b"],
            ["eq", "acl", "a"],
            ["eq", "$", "a"],
            ["eq", "$acl", 1],
            ["eq", "$acl", None],
            ["eq", 1, "a"],
            ["ends-with", "$acl", "a"],
            [None, "$acl", "a"],
            [["eq"], "$acl", "a"],
            ["content-length-range"],
            ["content-length-range", 0],
            ["content-length-range", 0, 1, 2],
            ["content-length-range", -1, 0],
            ["content-length-range", "0", "1"],
            ["content-length-range", 0, "1"],
            ["content-length-range", 0, 1.0],
            ["content-length-range", 0, 1e3],
            ["content-length-range", False, True],
            ["content-length-range", 0, True],
            ["content-length-range", 0, None],
            ["content-length-range", "$key", "a"],
            "acl",
            1,
            None,
            True,
        ],
        ids=json.dumps,
    )
    def test_what_is_no_condition(self, condition: Any) -> None:
        assert refusal(lambda: policy(condition)).s3_code == "InvalidPolicyDocument"


# Conditions that come on top of those on bucket and key; the form's fields; what AWS says, or None where it accepts.
RULES: list[tuple[list[Any], dict[str, str], str | None]] = [
    # "POST Policy", Exact Matches
    ([{"acl": "public-read"}], {"acl": "public-read"}, None),
    ([["eq", "$acl", "public-read"]], {"acl": "public-read"}, None),
    ([{"acl": "public-read"}], {"acl": "public-Read"}, 'Policy Condition failed: ["eq", "$acl", "public-read"]'),
    ([{"acl": "public-read"}], {"acl": "public-read "}, 'Policy Condition failed: ["eq", "$acl", "public-read"]'),
    ([["eq", "$acl", 'a"é']], {"acl": "x"}, 'Policy Condition failed: ["eq", "$acl", "a\\"é"]'),
    # a condition on a field that the form hasn't
    ([{"acl": ""}], {}, 'Policy Condition failed: ["eq", "$acl", ""]'),
    ([["starts-with", "$acl", ""]], {}, 'Policy Condition failed: ["starts-with", "$acl", ""]'),
    # Starts With
    ([["starts-with", "$x-amz-meta-a", "us"]], {"x-amz-meta-a": "user"}, None),
    (
        [["starts-with", "$x-amz-meta-a", "us"]],
        {"x-amz-meta-a": "User"},
        'Policy Condition failed: ["starts-with", "$x-amz-meta-a", "us"]',
    ),
    (
        [["starts-with", "$x-amz-meta-a", "user"]],
        {"x-amz-meta-a": "us"},
        'Policy Condition failed: ["starts-with", "$x-amz-meta-a", "user"]',
    ),
    # Matching Any Content
    ([["starts-with", "$success_action_redirect", ""]], {"success_action_redirect": "http://a"}, None),
    ([["starts-with", "$success_action_redirect", ""]], {"success_action_redirect": ""}, None),
    # Content-Types values for a starts-with condition that include commas are interpreted as lists
    ([["starts-with", "$Content-Type", "image/"]], {"content-type": "image/jpg,image/png,image/gif"}, None),
    ([["starts-with", "$Content-Type", "image/"]], {"content-type": "image/jpg, image/png"}, None),
    (
        [["starts-with", "$Content-Type", "image/"]],
        {"content-type": "image/jpg,text/plain"},
        'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
    ),
    (
        [["starts-with", "$Content-Type", "image/"]],
        {"content-type": "image/jpg,"},
        'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
    ),
    (
        [["starts-with", "$Content-Type", "image/"]],
        {"content-type": "image/jpg,Ximage/png"},
        'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
    ),
    (
        [["starts-with", "$Content-Type", "image/"]],
        {"content-type": " image/jpg"},
        'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
    ),
    ([["eq", "$Content-Type", "image/jpg,text/plain"]], {"content-type": "image/jpg,text/plain"}, None),
    # ... and other values are not
    ([["starts-with", "$x-amz-meta-a", "image/"]], {"x-amz-meta-a": "image/jpg,text/plain"}, None),
    # the table of fields: what supports exact matching alone
    (
        [["starts-with", "$success_action_status", "20"]],
        {"success_action_status": "201"},
        'Policy Condition failed: ["starts-with", "$success_action_status", "20"]',
    ),
    (
        [["starts-with", "$x-amz-storage-class", ""]],
        {"x-amz-storage-class": "STANDARD"},
        'Policy Condition failed: ["starts-with", "$x-amz-storage-class", ""]',
    ),
    ([["starts-with", "$bucket", ""]], {}, 'Policy Condition failed: ["starts-with", "$bucket", ""]'),
    ([["starts-with", "$Filename", ""]], {"filename": "a"}, None),
    # several conditions on a field: all hold
    ([["starts-with", "$acl", "p"], {"acl": "private"}], {"acl": "private"}, None),
    (
        [["starts-with", "$acl", "p"], {"acl": "private"}],
        {"acl": "public-read"},
        'Policy Condition failed: ["eq", "$acl", "private"]',
    ),
    # every field covered, with the documented exceptions
    ([], {"acl": "private"}, "Extra input fields: acl"),
    ([], {"acl": "private", "x-amz-meta-a": ""}, "Extra input fields: acl, x-amz-meta-a"),
    ([["content-length-range", 0, 1]], {"content-length-range": "1"}, "Extra input fields: content-length-range"),
    ([], {"x-amz-signature": "a", "file": "", "awsaccesskeyid": "", "signature": "", "x-ignore-me": "1"}, None),
    ([], {"x-ignore": "1"}, "Extra input fields: x-ignore"),
    ([], {"x-amz-security-token": "a"}, "Extra input fields: x-amz-security-token"),
    # names and operators are case-insensitive
    ([["StArTs-WiTh", "$CoNtEnT-TyPe", "text/"]], {"content-type": "text/csv"}, None),
    ([{"aCl": "private"}], {"acl": "private"}, None),
    ([["eQ", "$acl", "private"]], {"acl": "private"}, None),
    ([["EQ", "$acl", "p"]], {"acl": "private"}, 'Policy Condition failed: ["EQ", "$acl", "p"]'),
    # however short
    ([["eq", "$a", ""]], {"a": ""}, None),
    ([["CONTENT-length-RANGE", 0, 1]], {}, None),
    # the names of buckets
    ([{"bucket": BUCKET}], {"bucket": BUCKET}, None),
    ([], {"bucket": "other"}, "The form field bucket is not the bucket of the request."),
    ([{"bucket": "other"}], {}, 'Policy Condition failed: ["eq", "$bucket", "other"]'),
    # a token isn't shown
    (
        [{"x-amz-security-token": "secret"}],
        {"x-amz-security-token": "b"},
        'Policy Condition failed: ["eq", "$x-amz-security-token", "..."]',
    ),
]


class TestEvaluate:
    @pytest.mark.parametrize(("conditions", "fields", "message"), RULES)
    def test_the_rules_of_aws(self, conditions: list[Any], fields: dict[str, str], message: str | None) -> None:
        if message is None:
            assert judge(conditions, fields).key == "k"
        else:
            caught = refusal(lambda: judge(conditions, fields))
            assert (caught.s3_code, caught.message) == ("AccessDenied", f"Invalid according to Policy: {message}")

    @pytest.mark.parametrize("name", ["bucket", "key"])
    def test_conditions_on_bucket_and_key_are_required(self, name: str) -> None:
        kept = policy(*(one for one in BASE if name not in one))
        caught = refusal(lambda: evaluate(kept, {"key": "k"}, bucket=BUCKET, key="k", now=NOW))
        expected = f"Invalid according to Policy: Policy must have a condition on {name}."
        assert (caught.s3_code, caught.message, str(caught)) == ("AccessDenied", expected, expected)

    @pytest.mark.parametrize("change", [{"bucket": "other"}, {"key": "K"}, {"key": "k/"}, {"key": ""}])
    def test_the_bucket_and_the_key_are_those_of_the_request(self, change: dict[str, Any]) -> None:
        assert refusal(lambda: judge([], **change)).s3_code == "AccessDenied"

    def test_a_policy_expires(self) -> None:
        expires = datetime(2026, 3, 1, 1, tzinfo=UTC)
        judge([], now=expires)
        caught = refusal(lambda: judge([], now=expires + timedelta(microseconds=1)))
        assert (caught.s3_code, caught.message) == ("AccessDenied", "Invalid according to Policy: Policy expired.")

    @pytest.mark.parametrize(
        ("ranges", "least", "greatest"),
        [
            ([], 0, None),
            ([(0, 0)], 0, 0),
            ([(5, 10)], 5, 10),
            ([(0, 10), (5, 20), (1, 15)], 5, 10),
            ([(0, 1), (2, 3)], 2, 1),
        ],
    )
    def test_all_length_ranges_apply(self, ranges: list[tuple[int, int]], least: int, greatest: int | None) -> None:
        accepted = judge([["content-length-range", *one] for one in ranges])
        assert (accepted.min_length, accepted.max_length) == (least, greatest)

    def test_what_is_kept_with_the_object(self) -> None:
        kept = {
            "content-type": "text/csv",
            "acl": "private",
            "success_action_status": "201",
            "redirect": "http://a",
            "x-amz-meta-a": "É",
        }
        dropped = {"x-amz-date": "20260301T000000Z", "x-amz-algorithm": "x", "x-amz-credential": "y", "bucket": BUCKET}
        conditions = [{name: value} for name, value in (kept | dropped).items()]
        accepted = judge(conditions, {**kept, **dropped, "x-ignore-a": "b", "x-amz-signature": "c"})
        assert accepted == AcceptedForm("k", kept, 0, None, None, None)

    @pytest.mark.parametrize(
        ("name", "digest", "code"),
        [("content-md5", md5, "InvalidDigest"), ("x-amz-checksum-sha256", sha256, "InvalidRequest")],
    )
    def test_digests_are_read_strictly(self, name: str, digest: Any, code: str) -> None:
        raw = digest(b"").digest()
        good = base64.b64encode(raw).decode()
        accepted = judge([{name: good}], {name: good})
        assert raw in (accepted.md5, accepted.sha256)
        last = {"md5": "R", "sha256": "V"}[digest().name]
        for bad in (
            "",
            raw.hex(),
            good[:-1],
            f"{good}\n",
            "é",
            base64.b64encode(raw[1:]).decode(),
            f"{good[:-3]}{last}==",
        ):
            assert refusal(partial(judge, [{name: bad}], {name: bad})).s3_code == code


@pytest.mark.parametrize(
    ("key", "filename", "substituted"),
    [
        ("user/${filename}", "a.csv", "user/a.csv"),
        ("user/${filename}", "C:\\Documents\\a.csv", "user/a.csv"),
        ("user/${filename}", "/home/me/a.csv", "user/a.csv"),
        ("user/${filename}", "../../a.csv", "user/a.csv"),
        ("user/${filename}", "", "user/"),
        ("user/${filename}", None, "user/"),
        ("${filename}/${filename}", "a", "a/a"),
        ("user/${filename}", "${filename}", "user/${filename}"),
        ("user/${FILENAME}", "a", "user/${FILENAME}"),
        ("user/plain", "a", "user/plain"),
    ],
)
def test_the_filename_of_the_client_in_a_key(key: str, filename: str | None, substituted: str) -> None:
    assert substitute_filename(key, filename) == substituted


class TestFormsOfBoto3:
    @given(signers, keys, st.integers(0, 2**45), text, st.binary(max_size=8), st.data())
    def test_a_form_allows_its_own_values_and_no_others(
        self, signer: Signer, key: str, length: int, media_type: str, content: bytes, data: st.DataObject
    ) -> None:
        digest = base64.b64encode(md5(content).digest()).decode()
        fields = {"Content-Type": media_type, "Content-MD5": digest}
        conditions = [*({name: value} for name, value in fields.items()), ["content-length-range", length, length]]
        with boto(signer) as client:
            form = client.generate_presigned_post(BUCKET, key, Fields=fields, Conditions=conditions)["fields"]
        read = read_form(form.items())
        parsed = parse_policy(read["policy"])
        accepted = evaluate(parsed, read, bucket=BUCKET, key=key, now=signer.now)
        assert accepted == AcceptedForm(
            key,
            {"content-type": media_type, "content-md5": digest},
            length,
            length,
            md5(content).digest(),
            None,
        )

        name = data.draw(st.sampled_from(sorted(read.keys() - {"policy", "x-amz-signature", "key"})))
        value = data.draw(text)
        assume(value != read[name])
        wrong = refusal(lambda: evaluate(parsed, read | {name: value}, bucket=BUCKET, key=key, now=signer.now))
        assert wrong.s3_code == "AccessDenied"
        assert "Policy Condition failed" in wrong.message
        missing = {one: value for one, value in read.items() if one != name}
        refusal(lambda: evaluate(parsed, missing, bucket=BUCKET, key=key, now=signer.now))
        another = data.draw(keys)
        assume(another != key)
        refusal(lambda: evaluate(parsed, read, bucket=BUCKET, key=another, now=signer.now))
        refusal(lambda: evaluate(parsed, read, bucket=f"{BUCKET}2", key=key, now=signer.now))
        refusal(lambda: evaluate(parsed, read | {"x-amz-meta-more": ""}, bucket=BUCKET, key=key, now=signer.now))
        later = signer.now + timedelta(seconds=3601)
        refusal(lambda: evaluate(parsed, read, bucket=BUCKET, key=key, now=later))

    def test_a_form_of_ours_is_read_the_same(self) -> None:
        form = Signer(EXAMPLE, "us-east-1", NOW).post_template(BUCKET, 60, fixed={"acl": "private"}).sign("k", 5)
        read = read_form(form.items())
        accepted = evaluate(parse_policy(read["policy"]), read, bucket=BUCKET, key="k", now=NOW)
        assert accepted == AcceptedForm("k", {"acl": "private"}, 5, 5, None, None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
operations = st.sampled_from(["eq", "starts-with", "content-length-range", "EQ"])
conditions_ = st.lists(
    anything
    | st.dictionaries(st.text(max_size=5), st.text(), max_size=2)
    | st.tuples(operations, st.text(max_size=5).map("${}".format) | anything, anything),
    max_size=5,
)


class TestWhateverComes:
    @given(st.text())
    def test_any_text(self, garbage: str) -> None:
        refusal(lambda: parse_policy(garbage))

    @given(st.binary())
    def test_any_bytes(self, garbage: bytes) -> None:
        refusal(lambda: parse_policy(encoded(garbage)))

    @given(st.just(EXPIRATION) | anything, conditions_, st.dictionaries(st.text(), st.text()), st.text(), st.text())
    def test_any_json_and_any_form(
        self, expiration: Any, conditions: list[Any], fields: dict[str, str], bucket: str, key: str
    ) -> None:
        document = {"expiration": expiration, "conditions": [*conditions, {"bucket": bucket}, {"key": key}]}
        try:
            parsed = parse_policy(encoded(document))
            accepted = evaluate(parsed, fields, bucket=bucket, key=key, now=NOW)
        except PolicyRefused:
            return
        assert accepted.fields.keys() <= {condition.name for condition in parsed.conditions}

    @given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3))))
    def test_any_fields(self, pairs: list[tuple[str, str]]) -> None:
        assert refusal(lambda: read_form(pairs)).s3_code == "InvalidArgument"
