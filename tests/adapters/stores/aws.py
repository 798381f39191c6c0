"""boto3 and botocore as oracles: they sign at a moment, and with credentials, that the test chooses."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

import botocore.auth
import botocore.credentials
import botocore.signers
from botocore.config import Config
from hypothesis import strategies as st

from adapters.stores.sigv4 import Credentials, Signer
from tests.aws_sdk import sdk

HOST = "s3.example.com:9000"
ORIGIN = f"https://{HOST}"
BUCKET = "a-bucket"
REGIONS = ("us-east-1", "eu-central-1", "auto")
EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2026, 2, 28, 23, 59, 58, tzinfo=UTC)

AWKWARD = (
    "a/b c.csv",
    "a+b%20c%2Fd",
    "~tilde/'single'\"double\"(1)!*.txt",
    "dir//double/./dot/../end/",
    "Ünï/cödé/文件/🦆.json",
    "q?x=1&y=2#frag;a=b,c:d@e$f",
    "back\\slash\nline\ttab\x00nul\x7f",
    "100%.csv",
    "%s%d%(x)s{0}$$",
)
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
keys = (st.sampled_from(AWKWARD) | text).filter(lambda key: "${filename}" not in key)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).filter(str.strip)
moments = st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
lifetimes = st.integers(1, 604_800)
tokens = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
credentials = st.builds(Credentials, tokens, header_values, st.none() | header_values.map(str.strip))
signers = st.builds(Signer, credentials, st.sampled_from(REGIONS), moments)


@cache
def client(region: str, style: str = "path") -> Any:
    """Make a boto3 client that signs and never sends."""
    return sdk().client(
        "s3",
        aws_access_key_id="unset",
        aws_secret_access_key="unset",
        region_name=region,
        endpoint_url=ORIGIN,
        config=Config(
            signature_version="s3v4", s3={"addressing_style": style}, request_checksum_calculation="when_required"
        ),
    )


@contextmanager
def boto(signer: Signer, style: str = "path") -> Iterator[Any]:
    """Give a boto3 client that signs as `signer` should: same moment, region and credentials."""
    made, own = client(signer.region, style), signer.credentials
    signing = botocore.credentials.Credentials(own.access_key_id, own.secret_access_key, own.session_token)
    with frozen(signer.now), patch.object(made._request_signer, "_credentials", signing):
        yield made


@contextmanager
def frozen(now: datetime) -> Iterator[None]:
    """Stop botocore's clock, a little after the whole second."""
    later = now.astimezone(UTC).replace(tzinfo=None) + timedelta(microseconds=999_999)
    with (
        patch.object(botocore.auth, "get_current_datetime", lambda: later),
        patch.object(botocore.signers, "get_current_datetime", lambda: later),
    ):
        yield
