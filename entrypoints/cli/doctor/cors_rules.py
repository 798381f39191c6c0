"""The CORS rule that a store needs, as commands to paste."""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from entrypoints.cli.doctor.case import Case

_MAX_AGE: Final = 3_600


def rule_for(case: Case, origin: str, headers: Iterable[str]) -> str:
    """Write what lets pages of `origin` send files with these headers, and read them."""
    if case.served is not None:
        return f"export CORS_ALLOW_ORIGINS={with_origin(case.service.settings.cors_origins, origin)}"
    name = case.flavour if case.flavour in _WRITERS else case.backend
    return _WRITERS.get(name or "", _in_words)(case, origin, sorted(set(headers)))


def with_origin(origins: Iterable[str], origin: str) -> str:
    """Add an origin to those that are there, as CORS_ALLOW_ORIGINS has them."""
    return ",".join([*origins, origin])


def _s3(case: Case, origin: str, _headers: Sequence[str]) -> str:
    rule = {
        "AllowedOrigins": [origin],
        "AllowedMethods": ["GET", "HEAD", *case.methods],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": _MAX_AGE,
    }
    endpoint = "" if case.s3 is None else f" --endpoint-url {case.s3.internal.origin}"
    rules = shlex.quote(json.dumps({"CORSRules": [rule]}))
    return f"aws s3api put-bucket-cors --bucket {_bucket(case)}{endpoint} \\\n  --cors-configuration {rules}"


def _minio(_case: Case, origin: str, _headers: Sequence[str]) -> str:
    # It knows one list for the whole server ("MinIO Server Config Guide", api cors_allow_origin).
    return f"mc admin config set ALIAS api cors_allow_origin={shlex.quote(origin)}\nmc admin service restart ALIAS"


def _azure(case: Case, origin: str, _headers: Sequence[str]) -> str:
    account = case.service.settings.effective.get("STORAGE_ACCESS_KEY_ID", "ACCOUNT").partition(" ")[0]
    return (
        f"az storage cors add --account-name {account} --services b --origins {shlex.quote(origin)} \\\n"
        f"  --methods GET HEAD PUT OPTIONS --allowed-headers '*' --exposed-headers ETag --max-age {_MAX_AGE}"
    )


def _gcs(case: Case, origin: str, headers: Sequence[str]) -> str:
    rule = {
        "origin": [origin],
        "method": ["GET", "HEAD", *case.methods],
        "responseHeader": ["ETag", *headers],
        "maxAgeSeconds": _MAX_AGE,
    }
    return (
        f"echo {shlex.quote(json.dumps([rule]))} > cors.json\n"
        f"gcloud storage buckets update gs://{_bucket(case)} --cors-file=cors.json"
    )


def _in_words(case: Case, origin: str, headers: Sequence[str]) -> str:
    return f"origin {origin}; methods GET HEAD {' '.join(case.methods)}; headers {' '.join(headers)}; expose ETag"


def _bucket(case: Case) -> str:
    return case.service.settings.effective.get("STORAGE_BUCKET_NAME", "BUCKET")


_WRITERS: Final[Mapping[str, Callable[[Case, str, Sequence[str]], str]]] = {
    "s3": _s3,
    "minio": _minio,
    "azure": _azure,
    "gcs": _gcs,
}
