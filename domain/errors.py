"""Everything that can go wrong, as exceptions that carry a stable code.

    BitstoreError
    ├── InvalidInput            what the client sent can't be accepted
    │   └── InvalidBatch        some of its files can't; `problems` lists every one
    ├── Unauthenticated         no token, or one that proves nothing
    │   └── UnknownKey          as far as we know our keys
    ├── AccessDenied            a valid token that doesn't allow this
    ├── Unavailable             something we depend on is down; trying again later may help
    └── Misconfigured           the operator's settings contradict themselves or the store

A code is part of the API: clients switch on it, so it never changes its meaning. A message is for a person and may
change. Neither a token, nor a signature, nor a policy ever appears in a message.
"""

from collections.abc import Sequence
from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable codes of the API, grouped as the errors above."""

    # The request as a whole
    INVALID_JSON = "invalid_json"
    INVALID_REQUEST = "invalid_request"
    INVALID_METADATA = "invalid_metadata"
    EMPTY_BATCH = "empty_batch"
    TOO_MANY_FILES = "too_many_files"
    INVALID_BATCH = "invalid_batch"
    UNSUPPORTED_BY_STORE = "unsupported_by_store"
    UNSUPPORTED_BY_PATTERN = "unsupported_by_pattern"

    # Keys and their parts
    INVALID_PATH = "invalid_path"
    INVALID_OWNER = "invalid_owner"
    INVALID_DATASET = "invalid_dataset"
    INVALID_KEY = "invalid_key"
    KEY_CONFLICT = "key_conflict"

    # Files
    INVALID_FILE = "invalid_file"
    INVALID_LENGTH = "invalid_length"
    FILE_TOO_LARGE = "file_too_large"
    INVALID_MD5 = "invalid_md5"
    INVALID_SHA256 = "invalid_sha256"
    DIGEST_REQUIRED = "digest_required"
    INVALID_TYPE = "invalid_type"
    INVALID_NAME = "invalid_name"
    INVALID_PARTS = "invalid_parts"

    # Uploads in parts
    INVALID_UPLOAD_ID = "invalid_upload_id"
    UPLOAD_NOT_FOUND = "upload_not_found"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    OBJECT_EXISTS = "object_exists"
    DIGEST_MISMATCH = "digest_mismatch"

    # Downloads and listings
    INVALID_URL = "invalid_url"
    INVALID_EXPIRY = "invalid_expiry"
    INVALID_CURSOR = "invalid_cursor"

    # Tokens and permissions
    TOKEN_MISSING = "token_missing"  # noqa: S105 - an error code, not a secret
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - as above
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - as above
    PERMISSION_MISSING = "permission_missing"
    NOT_OWNER = "not_owner"
    OVER_QUOTA = "over_quota"

    # HTTP
    MALFORMED_HTTP = "malformed_http"
    HEAD_TOO_LARGE = "head_too_large"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INTERNAL_ERROR = "internal_error"

    # Dependencies and configuration
    OVERLOADED = "overloaded"
    STORE_UNAVAILABLE = "store_unavailable"
    CREDENTIALS_UNAVAILABLE = "credentials_unavailable"
    KEYS_UNAVAILABLE = "keys_unavailable"
    MISCONFIGURED = "misconfigured"


class BitstoreError(Exception):
    """The root of every error that BitStore raises on purpose.

    `path` names the declared file, and `field` the member or setting, that is at fault, where there is one.
    """

    def __init__(self, code: ErrorCode, message: str, *, path: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
        self.field = field


class InvalidInput(BitstoreError):
    """The request is malformed or unacceptable; sending it again unchanged can't help."""


class InvalidBatch(InvalidInput):
    """At least one of the files is unacceptable, so nothing of the batch is signed.

    `problems` holds one error per bad file, in the order in which the files were named.
    """

    def __init__(self, problems: Sequence[BitstoreError]) -> None:
        count = len(problems)
        files = "1 file" if count == 1 else f"{count} files"
        super().__init__(ErrorCode.INVALID_BATCH, f"{files} can't be accepted, so nothing was signed")
        self.problems = tuple(problems)


class Unauthenticated(BitstoreError):
    """No token was shown, or what was shown proves nothing: signature, time, format or service."""


class UnknownKey(Unauthenticated):
    """None of the keys that we know has signed this token; keys that were fetched again just now might have."""


class AccessDenied(BitstoreError):
    """The token is valid, but doesn't allow this: permission, owner or quota."""


class Unavailable(BitstoreError):
    """Something that we depend on doesn't answer now. `retry_after` is in seconds."""

    def __init__(self, code: ErrorCode, message: str, *, retry_after: int = 5) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class Misconfigured(BitstoreError):
    """The operator's settings can't work; `problems` says all that is wrong, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(ErrorCode.MISCONFIGURED, "\n".join(problems))
        self.problems = tuple(problems)
