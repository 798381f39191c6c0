"""Google's SDK as oracle: it signs at a moment, and with a key, that the test chooses."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud import storage
from google.oauth2.service_account import Credentials

from adapters.stores.gcs_account import ServiceAccount

EMAIL = "signer@a-project.iam.gserviceaccount.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"


@cache
def private_key() -> RSAPrivateKey:
    """A key that signs nothing but these tests."""
    return generate_private_key(65_537, 2_048)


def pem(key: Any, *, password_free: PrivateFormat = PrivateFormat.PKCS8) -> str:
    encoded: bytes = key.private_bytes(Encoding.PEM, password_free, NoEncryption())
    return encoded.decode()


def key_file(token_uri: str = TOKEN_URI, email: str = EMAIL) -> dict[str, str]:
    """What is in the key file that Google Cloud hands out for a service account."""
    return {
        "type": "service_account",
        "project_id": "a-project",
        "private_key_id": "0123456789abcdef",
        "private_key": pem(private_key()),
        "client_email": email,
        "client_id": "100000000000000000000",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }


@cache
def account(token_uri: str = TOKEN_URI, email: str = EMAIL) -> ServiceAccount:
    return ServiceAccount.parse(json.dumps(key_file(token_uri, email)))


@cache
def credentials(token_uri: str = TOKEN_URI, email: str = EMAIL) -> Any:
    """The same account as Google's own library holds it."""
    return Credentials.from_service_account_info(key_file(token_uri, email))


@contextmanager
def sdk(now: datetime, email: str = EMAIL) -> Iterator[storage.Client]:
    """Give a client of the SDK for which it is `now`."""
    client = storage.Client("a-project", credentials(email=email))
    with (
        patch("google.cloud.storage._signing._NOW", lambda _zone: now),
        patch("google.cloud.storage.client._NOW", lambda _zone: now),
    ):
        yield client


def sdk_url(now: datetime, bucket: str, key: str, *, virtual: bool, email: str = EMAIL, **options: Any) -> str:
    """Have the SDK sign a URL; `options` are those of `Blob.generate_signed_url`."""
    with sdk(now, email) as client:
        blob = client.bucket(bucket).blob(key)
        url: str = blob.generate_signed_url(version="v4", virtual_hosted_style=virtual, **options)
    return url


def sdk_form(
    now: datetime,
    bucket: str,
    key: str,
    seconds: int,
    length_range: tuple[int, int],
    fields: Mapping[str, str],
    email: str = EMAIL,
) -> dict[str, str]:
    """Have the SDK make the fields of a form."""
    with sdk(now, email) as client:
        form: dict[str, str] = client.generate_signed_post_policy_v4(
            bucket, key, seconds, conditions=[["content-length-range", *length_range]], fields=dict(fields)
        )["fields"]
    return form
