"""What the flavours change in a form's policy. What they claim of stores is tested by the contract suite."""

import base64
import json
from datetime import UTC, datetime

import pytest

from adapters.stores.addresses import BucketAddress
from adapters.stores.contract import LIFETIME, make_upload
from adapters.stores.flavours import FLAVOURS, Flavour
from adapters.stores.signing import S3Signing
from adapters.stores.sigv4 import Credentials
from domain.uploads import PostForm, Upload, UploadMethod, UploadTerms

AWKWARD = '"Größe" 100% 日本 🚀\u2028\'s.csv'


def policy_of(flavour: Flavour, upload: Upload) -> bytes:
    signing = S3Signing(
        address=BucketAddress("https://s3.example.com", "files"),
        region="us-east-1",
        flavour=flavour,
        credentials=lambda: Credentials("AKIDEXAMPLE", "secret"),
        public_acl=lambda: None,
    )
    terms = UploadTerms(UploadMethod.POST, LIFETIME)
    (signed,) = signing.sign_uploads([upload], terms, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert isinstance(signed.request, PostForm)
    return base64.b64decode(signed.request.fields["policy"])


@pytest.mark.parametrize("flavour", [flavour for flavour in FLAVOURS.values() if flavour.post], ids=lambda it: it.name)
def test_a_policy_names_the_key_however_it_is_written(flavour: Flavour) -> None:
    upload = make_upload(AWKWARD)

    policy = policy_of(flavour, upload)

    assert {"key": upload.key} in json.loads(policy)["conditions"]
    assert policy.isascii() is flavour.ascii_policy


def test_a_policy_for_ceph_escapes_nothing_beyond_ascii() -> None:
    policy = policy_of(FLAVOURS["ceph"], make_upload(AWKWARD)).decode()

    assert "\\u" not in policy
    assert "🚀" in policy
