"""The settings, read from the environment once, at start. All that is wrong with them is said at once."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from adapters.stores.addresses import Addressing, BucketAddress, is_ip_address
from adapters.stores.discovery import found_stores, load_factory
from adapters.stores.flavours import EMBEDDED, FLAVOURS, MAX_REQUEST_BYTES, Flavour
from adapters.stores.signing import PRIVATE_ACL, PUBLIC_ACL
from adapters.stores.sigv4 import MAX_PRESIGNED_SECONDS, Credentials
from adapters.tokens.jwt import VerificationKey
from adapters.tokens.key_servers import KeyServer
from application.ports import Store
from domain.batches import BatchRules
from domain.errors import Misconfigured
from domain.files import FileRules
from domain.identity import TokenRules
from domain.patterns import DEFAULT_PATTERN, KeyPattern
from domain.uploads import SINGLE_REQUEST, UploadMethod
from entrypoints.environment import EnvironmentReader, service_url
from entrypoints.limits import Farewell, Limits, read_farewell, read_pace, read_transfers
from entrypoints.token_settings import token_keys, token_rules

RESERVED_NAMES = ("healthz", "readyz", "metrics", "store")
"""Paths at the root that are not the service's own."""

DEFAULT_PUBLIC_URL = "http://127.0.0.1:8000"
DEFAULT_REGION = "us-east-1"
DEFAULT_THRESHOLD = 100 * 1024**2
"""From there on, parts are what AWS recommends (Amazon S3 User Guide, "Multipart upload overview")."""
AUTO_ACL = "auto"
NO_ACL = "none"

# Amazon S3 User Guide, "Access control list (ACL) overview", canned ACLs.
_CANNED_ACLS = (
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
)
# An origin as browsers send it (RFC 6454, section 6.2): no path, not even a slash.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+")
_SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_VIRTUAL_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*[a-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9_-]+")
_CREDENTIAL = re.compile(r"[!-~]+")
_AWS_REGION = re.compile(r"(?:^|\.)s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?$")
# What Kubernetes puts into the environment for services whose names start with "storage".
_INJECTED = re.compile(r"STORAGE_(?:\w+_)?(?:PORT(?:_\w+)?|SERVICE_\w+)")

# Those of the stores that are here; stores of other distributions may read more.
_STORAGE_NAMES = frozenset(
    {
        "STORAGE_BACKEND",
        "STORAGE_ACCESS_KEY_ID",
        "STORAGE_SECRET_ACCESS_KEY",
        "STORAGE_BUCKET_NAME",
        "STORAGE_REGION",
        "STORAGE_ACL",
        "STORAGE_PATH_PATTERN",
        "STORAGE_UPLOAD_METHOD",
        "STORAGE_HOSTNAME",
        "STORAGE_PUBLIC_URL",
        "STORAGE_FLAVOUR",
        "STORAGE_ADDRESSING",
        "STORAGE_DISK_ROOT",
        "STORAGE_GCS_CREDENTIALS",
        "STORAGE_MAX_TRANSFERS",
    }
)


class Backend(StrEnum):
    """The kinds of store that are always there; `discovery` finds others."""

    S3 = "s3"
    DISK = "disk"
    MEMORY = "memory"


@frozen
class S3Settings:
    """An S3 or S3-compatible store. `credentials` is None where the AWS SDK's own chain is to find them.

    `internal` is the bucket as this service reaches it, `public` as clients do. `acl` may be `auto` or `none`.
    """

    internal: BucketAddress
    public: BucketAddress
    region: str
    flavour: Flavour
    acl: str
    credentials: Credentials | None


@frozen
class ServedSettings:
    """A store whose bytes this service keeps: on disk below `root`, or in memory where `root` is None.

    So many `transfers` may go on at once in either direction.
    """

    public: BucketAddress
    region: str
    acl: str
    credentials: Credentials
    root: Path | None
    transfers: int


@frozen
class Settings:
    """Everything that the environment decides. Lifetimes are those of signed requests.

    `token_keys` is the one key that tokens are verified with, or where such keys are fetched.
    """

    service_name: str
    token_keys: VerificationKey | KeyServer = field(repr=False)
    token_rules: TokenRules
    store: S3Settings | ServedSettings | Store
    """A store that was found by name comes wired."""
    batch: BatchRules
    upload_lifetime: timedelta
    download_lifetime: timedelta
    preferred_method: UploadMethod | None
    multipart_threshold: int
    inspect_on_authorize: bool
    inspect_patience: timedelta
    max_body_bytes: int
    limits: Limits
    farewell: Farewell
    cors_origins: Sequence[str]
    log_format: str
    log_requests: bool
    effective: Mapping[str, str]
    """What each setting is, fit to be shown, by the name of its variable."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the environment. Raises `Misconfigured` with one line for each thing that is wrong."""
        reader = EnvironmentReader(environ)
        service_name = _service_name(reader)
        rules = token_rules(reader, service_name)
        keys = token_keys(reader)
        store = _store(reader)
        settings = _rest(reader, service_name, rules, keys, store)
        _refuse_unread_names(reader)
        if reader.problems or settings is None:
            raise Misconfigured(reader.problems)
        return settings


def _rest(
    reader: EnvironmentReader,
    service_name: str,
    rules: TokenRules,
    keys: VerificationKey | KeyServer | None,
    store: S3Settings | ServedSettings | Store | None,
) -> Settings | None:
    pattern_text = reader.text("STORAGE_PATH_PATTERN", DEFAULT_PATTERN)
    pattern = reader.parsed("STORAGE_PATH_PATTERN", KeyPattern.parse, pattern_text)
    file_rules = FileRules(
        max_bytes=reader.integer("MAX_FILE_BYTES", MAX_REQUEST_BYTES, low=1, high=MAX_REQUEST_BYTES),
        require_digest=reader.flag("REQUIRE_DIGEST", default=True),
    )
    max_files = reader.integer("MAX_FILES", 10_000, low=1, high=1_000_000)
    lifetimes = [
        timedelta(seconds=reader.integer(name, default, low=1, high=MAX_PRESIGNED_SECONDS))
        for name, default in (("UPLOAD_EXPIRES_SECONDS", 3_600), ("DOWNLOAD_EXPIRES_SECONDS", 86_400))
    ]
    method = _preferred_method(reader, store)
    threshold = reader.integer("MULTIPART_THRESHOLD", DEFAULT_THRESHOLD, low=1, high=MAX_REQUEST_BYTES)
    inspect = reader.flag("INSPECT_ON_AUTHORIZE", default=True)
    patience = timedelta(seconds=reader.integer("INSPECT_TIMEOUT_SECONDS", 2, low=1, high=60))
    max_body_bytes = reader.integer("MAX_BODY_BYTES", 8 * 1024**2, low=1_024, high=1024**3)
    pace = read_pace(reader)
    farewell = read_farewell(reader)
    cors_origins = _cors_origins(reader)
    log_format = reader.choice("LOG_FORMAT", ("console", "json"), "console") or "console"
    log_requests = reader.flag("LOG_REQUESTS", default=False)
    if pattern is None or keys is None or store is None:
        return None
    return Settings(
        service_name=service_name,
        token_keys=keys,
        token_rules=rules,
        store=store,
        batch=BatchRules(pattern, file_rules, max_files),
        upload_lifetime=lifetimes[0],
        download_lifetime=lifetimes[1],
        preferred_method=method,
        multipart_threshold=threshold,
        inspect_on_authorize=inspect,
        inspect_patience=patience,
        max_body_bytes=max_body_bytes,
        limits=Limits(pace, transfers_at_once=store.transfers) if isinstance(store, ServedSettings) else Limits(pace),
        farewell=farewell,
        cors_origins=cors_origins,
        log_format=log_format,
        log_requests=log_requests,
        effective=reader.effective,
    )


def _refuse_unread_names(reader: EnvironmentReader) -> None:
    """Refuse variables that look like settings, and that nobody asked for."""
    for name in sorted(reader.environ.keys() - reader.effective.keys()):
        if not name.startswith("STORAGE_") or _INJECTED.fullmatch(name):
            continue
        if name not in _STORAGE_NAMES:
            # What they all start with would make them all look alike.
            known = {setting.removeprefix("STORAGE_"): setting for setting in {*_STORAGE_NAMES, *reader.effective}}
            near = difflib.get_close_matches(name.removeprefix("STORAGE_"), known, 1)
            reader.fault(f"{name} is not a setting{f'; did you mean {known[near[0]]}?' if near else ''}")
        elif reader.environ[name]:
            reader.fault(f"{name} means nothing to the backend {_backend_name(reader)}")


def _service_name(reader: EnvironmentReader) -> str:
    other_name = reader.environ.get("DATAHUB_SERVICE_NAME") or "rawstore"
    name = reader.text("SERVICE_NAME", other_name) or other_name
    if name != other_name and reader.environ.get("DATAHUB_SERVICE_NAME"):
        reader.fault("SERVICE_NAME and DATAHUB_SERVICE_NAME are both given, and differ")
    if not _SERVICE_NAME.fullmatch(name) or name in RESERVED_NAMES:
        reader.fault(f"SERVICE_NAME must be one plain URL segment, and none of {', '.join(RESERVED_NAMES)}: {name!r}")
    return name


def _cors_origins(reader: EnvironmentReader) -> Sequence[str]:
    origins = reader.items("CORS_ALLOW_ORIGINS", "*")
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            reader.fault(f"CORS_ALLOW_ORIGINS: {origin!r} is neither * nor an origin such as https://data.example")
    return origins


def _backend_name(reader: EnvironmentReader) -> str:
    """Give the name of the chosen backend; what is implied if it is not one."""
    implied = (
        Backend.DISK
        if not reader.environ.get("STORAGE_HOSTNAME") and reader.environ.get("STORAGE_DISK_ROOT")
        else Backend.S3
    )
    # To look for others, the metadata of every installed distribution is read.
    others = () if reader.environ.get("STORAGE_BACKEND", "") in ("", *Backend) else found_stores()
    return reader.choice("STORAGE_BACKEND", (*Backend, *others), implied) or implied


def _store(reader: EnvironmentReader) -> S3Settings | ServedSettings | Store | None:
    name = _backend_name(reader)
    public_url = reader.parsed("PUBLIC_URL", service_url, reader.text("PUBLIC_URL", DEFAULT_PUBLIC_URL))
    is_no_store = reader.environ.get("STORAGE_BACKEND", "") not in ("", name)  # which has been said
    if is_no_store or name not in tuple(Backend):
        factory = None if is_no_store else reader.parsed("STORAGE_BACKEND", load_factory, name)
        if factory is not None:
            return factory(reader)
        _pass_over_storage_settings(reader)
        return None
    backend = Backend(name)
    bucket = reader.required("STORAGE_BUCKET_NAME", "the bucket that files go to")
    if bucket and not _BUCKET_NAME.fullmatch(bucket):
        reader.fault(f"STORAGE_BUCKET_NAME is not the name of a bucket: {bucket!r}")
    credentials = _credentials(reader, optional=backend is Backend.S3)
    if backend is Backend.S3:
        return _s3_store(reader, bucket, credentials)
    return _served_store(reader, bucket, credentials, backend, public_url)


def _pass_over_storage_settings(reader: EnvironmentReader) -> None:
    """Let all be as if it had been asked for: which of them its store would ask for, only that store could tell."""
    for name in reader.environ:
        if name.startswith("STORAGE_"):
            reader.text(name, secret=True)


def _credentials(reader: EnvironmentReader, *, optional: bool) -> Credentials | None:
    key_id = reader.text("STORAGE_ACCESS_KEY_ID", unset="the AWS SDK's own chain")
    secret = reader.text("STORAGE_SECRET_ACCESS_KEY", secret=True, unset="the AWS SDK's own chain")
    for name, value in (("STORAGE_ACCESS_KEY_ID", key_id), ("STORAGE_SECRET_ACCESS_KEY", secret)):
        if value and not _CREDENTIAL.fullmatch(value):
            reader.fault(f"{name} has white space or a character that no key has")
    if key_id and secret:
        return Credentials(key_id, secret)
    if key_id or secret or not optional:
        reader.fault("STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY must both be given")
    return None


def _s3_store(reader: EnvironmentReader, bucket: str, credentials: Credentials | None) -> S3Settings | None:
    hostname = reader.required("STORAGE_HOSTNAME", "the object store's host, host:port or URL")
    origin = reader.parsed("STORAGE_HOSTNAME", _origin, hostname)
    public_origin = reader.parsed(
        "STORAGE_PUBLIC_URL", _origin, reader.text("STORAGE_PUBLIC_URL", unset="as STORAGE_HOSTNAME")
    )
    flavour = FLAVOURS[reader.choice("STORAGE_FLAVOUR", tuple(FLAVOURS), "aws") or "aws"]
    addressing = Addressing(reader.choice("STORAGE_ADDRESSING", tuple(Addressing), "path") or "path")
    acl = reader.choice("STORAGE_ACL", (AUTO_ACL, NO_ACL, *_CANNED_ACLS), AUTO_ACL) or AUTO_ACL
    if acl in _CANNED_ACLS and not flavour.has_acl:
        reader.fault(f"STORAGE_ACL: a store of the flavour {flavour.name} has no ACLs; use none")
    region = _region(reader, origin)
    if origin is None:
        return None
    hosts = [urlsplit(url).hostname or "" for url in (origin, public_origin) if url]
    if addressing is Addressing.VIRTUAL and any(map(is_ip_address, hosts)):
        reader.fault("STORAGE_ADDRESSING: an IP address can't be addressed in virtual-host style; use path")
    if addressing is Addressing.VIRTUAL and bucket and not _VIRTUAL_BUCKET_NAME.fullmatch(bucket):
        reader.fault(f"STORAGE_ADDRESSING: the bucket {bucket!r} can't be part of a host's name; use path")
    internal = BucketAddress(origin, bucket, addressing)
    return S3Settings(
        internal=internal,
        public=BucketAddress(public_origin or origin, bucket, addressing),
        region=region,
        flavour=flavour,
        acl=acl,
        credentials=credentials,
    )


def _region(reader: EnvironmentReader, origin: str | None) -> str:
    named = _AWS_REGION.search(urlsplit(origin or "").hostname or "")
    default = named[1] if named else DEFAULT_REGION
    region = reader.text("STORAGE_REGION", default) or default
    if named and region != named[1]:
        reader.fault(f"STORAGE_REGION is {region}, but STORAGE_HOSTNAME is in {named[1]}")
    return _checked_region(reader, region)


def _checked_region(reader: EnvironmentReader, region: str) -> str:
    if not _REGION.fullmatch(region):
        reader.fault(f"STORAGE_REGION is not the name of a region: {region!r}")
    return region


def _served_store(
    reader: EnvironmentReader,
    bucket: str,
    credentials: Credentials | None,
    backend: Backend,
    public_url: str | None,
) -> ServedSettings | None:
    why = "the folder in which the objects are kept"
    root = Path(reader.required("STORAGE_DISK_ROOT", why)) if backend is Backend.DISK else None
    acl = reader.choice("STORAGE_ACL", (AUTO_ACL, PUBLIC_ACL, PRIVATE_ACL), AUTO_ACL)
    region = _checked_region(reader, reader.text("STORAGE_REGION", DEFAULT_REGION) or DEFAULT_REGION)
    transfers = read_transfers(reader)
    if credentials is None or public_url is None:
        return None
    parts = urlsplit(public_url)
    address = BucketAddress(public_url, bucket, Addressing.PATH, f"{parts.path.rstrip('/')}/store")
    public_acl = PUBLIC_ACL if acl in (AUTO_ACL, None) else PRIVATE_ACL
    return ServedSettings(address, region, public_acl, credentials, root, transfers)


def _preferred_method(
    reader: EnvironmentReader, store: S3Settings | ServedSettings | Store | None
) -> UploadMethod | None:
    name = reader.choice("STORAGE_UPLOAD_METHOD", SINGLE_REQUEST, None, unset="POST where the store has it")
    method = None if name is None else UploadMethod(name)
    if method is not None and store is not None and method not in _methods(store):
        kind = f"flavour {store.flavour.name}" if isinstance(store, S3Settings) else f"backend {_backend_name(reader)}"
        reader.fault(f"STORAGE_UPLOAD_METHOD: a store of the {kind} doesn't take {method}")
    return method


def _methods(store: S3Settings | ServedSettings | Store) -> Collection[UploadMethod]:
    match store:
        case S3Settings():
            return store.flavour.methods
        case ServedSettings():
            return EMBEDDED.methods
        case Store():
            return store.signer.capabilities.methods


def _origin(text: str) -> str:
    url = service_url(text)
    if urlsplit(url).path:
        raise ValueError(f"{text!r} has a path; object stores are addressed at the root of their host")
    return url
