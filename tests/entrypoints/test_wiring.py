"""What is chosen must be safe together, or the service doesn't start."""

from collections.abc import Mapping

import pytest

from domain.errors import ErrorCode, Misconfigured
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.entrypoints.http.live_service import AZURE, GCS, S3, batch, declaration, live_service, sha256


@pytest.mark.parametrize(
    ("flavour", "pattern"),
    [
        ("generic", "{md5_hex}{extension}"),
        ("ceph", "blobs/{sha256_hex}"),
        ("r2", "{sha256_hex}"),
        ("minio", "{md5}/{sha256_hex}"),
    ],
)
def test_users_share_no_keys_on_a_store_that_checks_no_digest(flavour: str, pattern: str) -> None:
    environment = {**S3, "STORAGE_FLAVOUR": flavour, "STORAGE_PATH_PATTERN": pattern}
    with pytest.raises(Misconfigured, match="STORAGE_PATH_PATTERN"):
        wire(Settings.from_environment(environment))
    wire(Settings.from_environment({**environment, "STORAGE_PATH_PATTERN": f"{{owner}}/{pattern}"}))


@pytest.mark.parametrize(
    ("store", "pattern"),
    [
        ({**S3, "STORAGE_FLAVOUR": "seaweedfs"}, "{md5_hex}"),
        ({**S3, "STORAGE_FLAVOUR": "ceph"}, "{md5}"),
        ({**S3, "STORAGE_FLAVOUR": "ministack"}, "{sha256_hex}"),
        (GCS, "{md5_hex}"),
    ],
)
def test_shared_keys_are_signed_only_by_a_method_that_checks_their_digest(
    store: Mapping[str, str], pattern: str
) -> None:
    body = batch({"a.csv": declaration(sha256=sha256())})
    with live_service(store, STORAGE_PATH_PATTERN=pattern) as service:
        refused = service.authorize(body)
        assert (refused.status, refused.code) == (400, ErrorCode.UNSUPPORTED_BY_STORE)
        assert '"accept": ["PUT"]' in refused.json["error"]["message"]
        signed = service.sign({**body, "accept": ["POST", "PUT"]})
        assert signed["a.csv"]["upload_method"] == "PUT"


@pytest.mark.parametrize("pattern", ["{md5_hex}{extension}", "{sha256_hex}"])
def test_users_share_no_keys_on_azure_which_checks_no_digest(pattern: str) -> None:
    with pytest.raises(Misconfigured, match="STORAGE_PATH_PATTERN"):
        wire(Settings.from_environment({**AZURE, "STORAGE_PATH_PATTERN": pattern}))
    wire(Settings.from_environment({**AZURE, "STORAGE_PATH_PATTERN": f"{{owner}}/{pattern}"}))


def test_shared_keys_take_a_form_where_the_store_checks_the_digest() -> None:
    with live_service(STORAGE_PATH_PATTERN="{md5_hex}{extension}") as service:
        assert service.sign(batch())["a.csv"]["upload_method"] == "POST"
