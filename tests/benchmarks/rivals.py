"""What else could sign: boto3, also as an adapter of our own port, minio-py, and the least that any signer must do."""

import hmac
import os
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import boto3
import minio
from attrs import evolve, frozen
from botocore.config import Config
from minio.datatypes import PostPolicy
from starlette.applications import Starlette

from adapters.stores.signing import S3Signing
from adapters.stores.sigv4 import signing_key, uri_encode_path
from domain.uploads import Capabilities, PostForm, SignedUpload, Upload, UploadTerms
from entrypoints.cli.logs import configure_logging
from entrypoints.http.app import create_app
from entrypoints.runtime import tune_interpreter
from entrypoints.settings import Settings
from entrypoints.wiring import Service, wire


def s3_signing(service: Service) -> S3Signing:
    """Give the signer of a service whose store speaks S3."""
    assert isinstance(service.store.signer, S3Signing)
    return service.store.signer


def boto_client(signing: S3Signing) -> Any:
    """Make a boto3 client that signs for the same bucket, with the same credentials."""
    credentials, address = signing.credentials(), signing.address
    return boto3.session.Session().client(
        "s3",
        endpoint_url=f"{address.origin}{address.base_path}",
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        region_name=signing.region,
        config=Config(signature_version="s3v4", s3={"addressing_style": address.addressing.value}),
    )


def fields_of(signing: S3Signing, upload: Upload) -> dict[str, str]:
    """Give the form fields that are bound beside the key, for files that declare an MD5."""
    fields: dict[str, str] = {"acl": signing.acl_for(upload.access) or "", "Content-Type": upload.file.media_type}
    if upload.file.md5 is not None:
        fields["Content-MD5"] = upload.file.md5
    return fields


@frozen
class BotoSigner:
    """An `UploadSigner` that signs POST forms as most services do: one shared boto3 client, one call per file.

    What isn't signing, it asks of `signing`.
    """

    signing: S3Signing
    client: Any

    @property
    def capabilities(self) -> Capabilities:
        return self.signing.capabilities

    def sign_uploads(self, uploads: Iterable[Upload], terms: UploadTerms, now: datetime) -> Iterator[SignedUpload]:
        seconds = int(terms.lifetime.total_seconds())
        expires_at = now.replace(microsecond=0) + timedelta(seconds=seconds)
        url = self.signing.address.url
        for upload in uploads:
            form = PostForm(url, self.form_of(upload, seconds))
            yield SignedUpload(upload, form, f"{url}/{uri_encode_path(upload.key)}", expires_at)

    def form_of(self, upload: Upload, seconds: int) -> Mapping[str, str]:
        length = upload.file.length
        fields = fields_of(self.signing, upload)
        conditions = [*({name: value} for name, value in fields.items()), ["content-length-range", length, length]]
        bucket = self.signing.address.bucket
        signed = self.client.generate_presigned_post(bucket, upload.key, fields, conditions, seconds)
        form: Mapping[str, str] = signed["fields"]
        return form

    def url_prefixes(self, key_prefix: str) -> Sequence[str]:
        return self.signing.url_prefixes(key_prefix)


def service_with_boto3() -> Starlette:
    """Build the service as `bitstore serve` does, and put the other signer into the same port."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_format)
    service = wire(settings)
    signing = s3_signing(service)
    signer = BotoSigner(signing, boto_client(signing))
    app = create_app(evolve(service, authorize_uploads=evolve(service.authorize_uploads, signer=signer)))
    tune_interpreter()
    return app


@frozen
class MinioSigner:
    """The same forms by minio-py."""

    signing: S3Signing
    client: minio.Minio

    @classmethod
    def of(cls, signing: S3Signing) -> "MinioSigner":
        credentials = signing.credentials()
        host = signing.address.origin.partition("://")[2]
        keys = (credentials.access_key_id, credentials.secret_access_key)
        return cls(signing, minio.Minio(host, *keys, region=signing.region, secure=False))

    def form_of(self, upload: Upload, seconds: int) -> Mapping[str, str]:
        policy = PostPolicy(self.signing.address.bucket, datetime.now(UTC) + timedelta(seconds=seconds))
        policy.add_equals_condition("key", upload.key)
        for name, value in fields_of(self.signing, upload).items():
            policy.add_equals_condition(name, value)
        policy.add_content_length_range_condition(upload.file.length, upload.file.length)
        return self.client.presigned_post_policy(policy)


class Floor:
    """HMAC-SHA256 of the base64 of policies that are there already: no signer of POST forms can do less."""

    def __init__(self, signing: S3Signing, now: datetime, policies: Sequence[bytes]) -> None:
        day = now.astimezone(UTC).strftime("%Y%m%d")
        self._key = signing_key(signing.credentials().secret_access_key, day, signing.region)
        self._policies = policies

    def by_digest(self) -> Iterator[str]:
        """By `hmac.digest`, the fastest that the standard library offers as such."""
        key = self._key
        for policy in self._policies:
            yield hmac.digest(key, b2a_base64(policy, newline=False), "sha256").hex()

    def by_saved_states(self) -> Iterator[str]:
        """By the two SHA-256 states that depend on the key alone (RFC 2104)."""
        block = self._key.ljust(64, b"\0")
        inner, outer = sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))
        for policy in self._policies:
            first, second = inner.copy(), outer.copy()
            first.update(b2a_base64(policy, newline=False))
            second.update(first.digest())
            yield second.hexdigest()
