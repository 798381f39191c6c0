"""What kind of server answers, by what is seen in its answers."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from entrypoints.cli.explain.answers import Answer, Dialect


@frozen
class Server:
    """A kind of store, and the settings that are meant for it; no `flavour` where STORAGE_FLAVOUR means nothing."""

    name: str
    backend: str
    flavour: str | None = None


_Headers = Mapping[str, str]

# What each sends with every answer: as documented by AWS, Microsoft and Google, and as seen of SeaweedFS 4.48, MinIO,
# Ceph 16.2 (newer ones say their name), MiniStack 1.5 and Azurite 3.37.
_CEPH_REQUEST_ID: Final = re.compile(r"tx[0-9a-f]{21}-[0-9a-f]{10}-[0-9a-f]+-\S+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SIGNS: Final[Sequence[tuple[Server, Callable[[_Headers], object]]]] = (
    (Server("Amazon S3", "s3", "aws"), lambda h: _names(h, "AmazonS3")),
    (Server("SeaweedFS", "s3", "seaweedfs"), lambda h: _names(h, "SeaweedFS")),
    (Server("MinIO", "s3", "minio"), lambda h: _names(h, "MinIO")),
    (
        Server("Ceph", "s3", "ceph"),
        lambda h: _names(h, "Ceph") or _CEPH_REQUEST_ID.fullmatch(h.get("x-amz-request-id", "")),
    ),
    (
        Server("MiniStack", "s3", "ministack"),
        lambda h: "x-amzn-requestid" in h and _UUID.fullmatch(h.get("x-amz-request-id", "")),
    ),
    (Server("Azure Blob Storage", "azure"), lambda h: _names(h, "Windows-Azure-Blob") or _names(h, "Azurite")),
    (Server("Google Cloud Storage", "gcs"), lambda h: _names(h, "UploadServer") or "x-guploader-uploadid" in h),
)
_R2_HOST: Final = ".r2.cloudflarestorage.com"
_ROOTS: Final = ("<ListBucketResult", "<ListAllMyBucketsResult", "<EnumerationResults")


def recognise(url: str, answer: Answer) -> Server | None:
    """Name the server at a URL by an answer of its; None where nothing tells."""
    if (urlsplit(url).hostname or "").endswith(_R2_HOST):
        return Server("Cloudflare R2", "s3", "r2")
    return next((server for server, is_sent in _SIGNS if is_sent(answer.headers)), None)


def is_a_store(url: str, answer: Answer) -> bool:
    """Tell an object store from whatever else answers, such as a proxy, a web site, or this service."""
    speaks = answer.dialect in (Dialect.S3, Dialect.AZURE, Dialect.GCS)
    has_error = bool(answer.code) and answer.dialect is not Dialect.BITSTORE
    return speaks or has_error or any(root in answer.body for root in _ROOTS) or recognise(url, answer) is not None


def _names(headers: _Headers, name: str) -> bool:
    return name.lower() in headers.get("server", "").lower()
