"""Google's signing process: byte identity with Google's SDK over generated requests."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.stores.gcs_v4 import MAX_SIGNED_SECONDS, V4Signer
from adapters.stores.sigv4 import Request
from tests.adapters.stores.aws import AWKWARD, NOW, header_values, keys, lifetimes, moments, text, tokens
from tests.adapters.stores.google import EMAIL, account, sdk_form, sdk_url

HOST = "storage.googleapis.com"
ORIGIN = f"https://{HOST}"
BUCKET = "a-bucket"
FIELDS = ("acl", "Content-Type", "Cache-Control", "Content-Disposition", "success_action_status", "x-goog-meta-Ünï %s")
HEADERS = ("Cache-Control", "x-goog-acl", "x-goog-content-length-range", "x-goog-if-generation-match", "X-Goog-Meta-A")

emails = st.just(EMAIL) | tokens.map(lambda name: f"{name}@a+b.example")
ranges = st.tuples(st.integers(0, 2**45), st.integers(0, 2**45))


def some(names: tuple[str, ...], values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.lists(st.sampled_from(names), unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries(dict.fromkeys(chosen, values))
    )


def signer(now: datetime = NOW, email: str = EMAIL) -> V4Signer:
    return V4Signer(email, account().sign, now)


def addressed(key: str, *, virtual: bool) -> tuple[str, str]:
    return (f"https://{BUCKET}.{HOST}", f"/{key}") if virtual else (ORIGIN, f"/{BUCKET}/{key}")


class TestForms:
    @given(moments, emails, keys, ranges, some(FIELDS, text), lifetimes)
    @example(NOW, EMAIL, AWKWARD[-1], (0, 0), {"acl": "%s", "Content-Type": 'a/b; c="\\"'}, 3600)
    def test_are_those_of_the_sdk(
        self,
        now: datetime,
        email: str,
        key: str,
        length_range: tuple[int, int],
        fields: Mapping[str, str],
        seconds: int,
    ) -> None:
        now = now.replace(microsecond=0)
        ours = signer(now, email).post_form(BUCKET, key, length_range, fields, seconds)
        assert ours == sdk_form(now, BUCKET, key, seconds, length_range, fields, email)

    def test_bind_every_field_exactly_and_end_in_time(self) -> None:
        form = signer().post_form(BUCKET, "a/ü.csv", (5, 5), {"Content-Type": "text/csv", "acl": "private"}, 60)
        policy = json.loads(base64.b64decode(form["policy"]))
        bound = {name: value for condition in policy["conditions"][1:] for name, value in condition.items()}
        assert policy["conditions"][0] == ["content-length-range", 5, 5]
        sent = {name: value for name, value in form.items() if name not in ("policy", "x-goog-signature")}
        assert bound == {**sent, "bucket": BUCKET}
        assert datetime.fromisoformat(policy["expiration"]) == signer().expires_at(60) == NOW + timedelta(seconds=60)

    def test_a_key_with_filename_cannot_be_signed(self) -> None:
        with pytest.raises(ValueError, match="filename"):
            signer().post_form(BUCKET, "a/${filename}", (0, 1), {}, 60)


class TestUrls:
    @given(moments, emails, st.booleans(), keys, st.none() | text, lifetimes)
    def test_downloads_are_signed_as_by_the_sdk(
        self, now: datetime, email: str, virtual: bool, key: str, disposition: str | None, seconds: int
    ) -> None:
        query = [] if disposition is None else [("response-content-disposition", disposition)]
        ours = signer(now, email).signed_url(Request("GET", *addressed(key, virtual=virtual), query), seconds)
        assert ours == sdk_url(
            now, BUCKET, key, virtual=virtual, email=email, expiration=seconds, response_disposition=disposition
        )

    @given(
        moments,
        st.booleans(),
        keys,
        st.none() | header_values,
        st.none() | header_values,
        some(HEADERS, header_values),
        lifetimes,
    )
    def test_uploads_are_signed_as_by_the_sdk(
        self,
        now: datetime,
        virtual: bool,
        key: str,
        media_type: str | None,
        md5: str | None,
        others: dict[str, str],
        seconds: int,
    ) -> None:
        standard = {"Content-Type": media_type, "Content-MD5": md5}
        headers = {**others, **{name: value for name, value in standard.items() if value is not None}}
        ours = signer(now).signed_url(Request("PUT", *addressed(key, virtual=virtual), headers=headers), seconds)
        theirs = sdk_url(
            now,
            BUCKET,
            key,
            virtual=virtual,
            method="PUT",
            expiration=seconds,
            content_type=media_type,
            content_md5=md5,
            headers=dict(others),
        )
        assert ours == theirs


@pytest.mark.parametrize("seconds", [-1, 0, MAX_SIGNED_SECONDS + 1])
def test_nothing_is_signed_for_no_time_or_for_more_than_seven_days(seconds: int) -> None:
    for attempt in (
        lambda: signer().expires_at(seconds),
        lambda: signer().post_form(BUCKET, "k", (0, 1), {}, seconds),
        lambda: signer().signed_url(Request("GET", ORIGIN, "/k"), seconds),
    ):
        with pytest.raises(ValueError, match="lives for"):
            attempt()


def test_the_moment_is_a_whole_second_in_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=14))) + timedelta(microseconds=999_999)
    assert signer(there).now == NOW
    assert signer(there).now.tzinfo is UTC
    assert signer(there).credential == f"{EMAIL}/20260228/auto/storage/goog4_request"


def test_no_representation_shows_how_to_sign() -> None:
    assert "sign=" not in repr(signer())
