"""The operations of the service, as a table: what each is for, what it takes, and how it answers."""

from collections.abc import Sequence
from typing import Final

from attrs import field, frozen
from msgspec import Struct

from domain.errors import ErrorCode
from entrypoints.http import wire_types as types

JSON: Final = "application/json"

UPLOADS, DOWNLOADS, LARGE_FILES, OPERATION = "Uploads", "Downloads", "Large files", "Operation"
TAGS: Final = {
    UPLOADS: "From declared files to stored ones.",
    LARGE_FILES: "Files that come in parts: resumed, completed, or dropped. Nothing is remembered between requests, so"
    " each repeats what was declared.",
    DOWNLOADS: "Reading what is stored.",
    OPERATION: "For who runs the service, and for programs that read this description.",
}


@frozen
class Answer:
    """A success: the type of its body, or the media type of a body that isn't JSON; neither where there is no body."""

    status: int
    text: str
    kind: type | None = None
    media_type: str | None = None


FILE_CODES: Final = (
    ErrorCode.INVALID_PATH,
    ErrorCode.INVALID_KEY,
    ErrorCode.KEY_CONFLICT,
    ErrorCode.INVALID_FILE,
    ErrorCode.INVALID_LENGTH,
    ErrorCode.FILE_TOO_LARGE,
    ErrorCode.INVALID_MD5,
    ErrorCode.INVALID_SHA256,
    ErrorCode.DIGEST_REQUIRED,
    ErrorCode.INVALID_TYPE,
    ErrorCode.INVALID_NAME,
    ErrorCode.INVALID_PARTS,
)
"""What may be wrong with a single file of a batch."""


@frozen
class Operation:
    """A method of a path below the service's name, or of one at the root.

    `codes` are those of its errors, and `file_codes` those of the files of a bad batch. `also` are other paths, below
    the service's name as well, that mean the same.
    """

    name: str
    method: str
    path: str
    tag: str
    summary: str
    text: str
    answers: Sequence[Answer]
    codes: Sequence[ErrorCode] = ()
    query: type[Struct] | None = None
    body: type[Struct] | None = None
    file_codes: Sequence[ErrorCode] = FILE_CODES
    also: Sequence[str] = ()
    is_at_root: bool = field(default=False, kw_only=True)
    needs_token: bool = field(default=True, kw_only=True)

    def paths(self, service_name: str) -> Sequence[str]:
        """Give all paths, that by which it is known first."""
        if self.is_at_root:
            return [self.path]
        return [f"/{service_name}{path}" for path in (self.path, *self.also)]


_ALWAYS: Final = (
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.TOKEN_MISSING,
    ErrorCode.TOKEN_INVALID,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.PERMISSION_MISSING,
    ErrorCode.KEYS_UNAVAILABLE,
)
_BODY: Final = (
    ErrorCode.INVALID_JSON,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.BODY_TIMEOUT,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.OVERLOADED,
)
_DATASET: Final = (
    ErrorCode.INVALID_METADATA,
    ErrorCode.INVALID_OWNER,
    ErrorCode.INVALID_DATASET,
    ErrorCode.NOT_OWNER,
)
_FILES: Final = (ErrorCode.INVALID_BATCH, ErrorCode.OVER_QUOTA)
_STORE: Final = (ErrorCode.STORE_UNAVAILABLE, ErrorCode.CREDENTIALS_UNAVAILABLE)
_BATCH: Final = (*_ALWAYS, *_BODY, *_DATASET, ErrorCode.EMPTY_BATCH, ErrorCode.TOO_MANY_FILES, *_FILES, *_STORE)
_IN_PARTS: Final = (
    *_ALWAYS,
    *_BODY,
    *_DATASET,
    *_FILES,
    ErrorCode.INVALID_PARTS,
    ErrorCode.FILE_TOO_LARGE,
    ErrorCode.INVALID_UPLOAD_ID,
    ErrorCode.UNSUPPORTED_BY_STORE,
    *_STORE,
)

_AUTHORIZE = Operation(
    name="authorize",
    method="post",
    path="/authorize",
    tag=UPLOADS,
    summary="Sign uploads",
    text="Takes the declared files of a dataset, and gives a signed request for each, or one for each part of a large"
    " one. Nothing is signed unless every file is acceptable; the error names all that aren't.\n\nA signed request lets"
    " exactly that file into the store, at that key, for a short while. What of it this store really enforces is in"
    " `store.methods` of /info.",
    answers=[Answer(200, "All files may be sent.", types.AuthorizeAnswer)],
    codes=[*_BATCH, ErrorCode.UNSUPPORTED_BY_STORE],
    body=types.UploadBody,
    also=["/", ""],
)

OPERATIONS: Final = (
    _AUTHORIZE,
    Operation(
        name="verify",
        method="post",
        path="/verify",
        tag=UPLOADS,
        summary="Has a dataset arrived?",
        text="Takes the same body as /authorize, and compares each file with what the store has at its key. How files"
        " are sent, and what is required of the store, doesn't matter here.",
        answers=[Answer(200, "What the store has.", types.VerifyAnswer)],
        codes=_BATCH,
        body=types.UploadBody,
    ),
    Operation(
        name="info",
        method="get",
        path="/info",
        tag=UPLOADS,
        summary="What can be done here",
        text="Tells where this user's files are found, what the store enforces, and the limits.",
        answers=[Answer(200, "The store, as this user sees it.", types.InfoAnswer)],
        codes=_ALWAYS,
    ),
    Operation(
        name="resume",
        method="post",
        path="/multipart/resume",
        tag=LARGE_FILES,
        summary="Go on with an upload",
        text="Tells which parts the store has as they must be, and signs requests for others: the next 1,000 behind"
        " `after`.",
        answers=[Answer(200, "What has arrived, and what hasn't.", types.ResumeAnswer)],
        codes=[*_IN_PARTS, ErrorCode.UPLOAD_NOT_FOUND],
        body=types.MultipartBody,
    ),
    Operation(
        name="complete",
        method="post",
        path="/multipart/complete",
        tag=LARGE_FILES,
        summary="Make the object",
        text="Has the store make the object of its parts, if all have arrived as they must be. It may be asked again:"
        " what is said is what the store has then.",
        answers=[Answer(200, "The object is there.", types.FileVerdict)],
        codes=[
            *_IN_PARTS,
            ErrorCode.UPLOAD_NOT_FOUND,
            ErrorCode.UPLOAD_INCOMPLETE,
            ErrorCode.OBJECT_EXISTS,
            ErrorCode.DIGEST_MISMATCH,
        ],
        body=types.MultipartBody,
    ),
    Operation(
        name="abort",
        method="post",
        path="/multipart/abort",
        tag=LARGE_FILES,
        summary="Drop an upload",
        text="Drops an upload and its parts. An object that has been made stays.",
        answers=[Answer(200, "There is no such upload any more.", types.AbortAnswer)],
        codes=_IN_PARTS,
        body=types.MultipartBody,
    ),
    Operation(
        name="presign",
        method="get",
        path="/presign",
        tag=DOWNLOADS,
        summary="Sign a download",
        text="Gives a URL by which one of the user's own objects can be read. Whether there is an object isn't asked."
        "\n\n`url` may come unencoded, but for `&`, `#`, `?` and `%`; `+` is a plus sign.",
        answers=[Answer(200, "The URL.", types.PresignAnswer)],
        codes=[
            *_ALWAYS,
            ErrorCode.INVALID_REQUEST,
            ErrorCode.INVALID_OWNER,
            ErrorCode.INVALID_NAME,
            ErrorCode.INVALID_URL,
            ErrorCode.INVALID_EXPIRY,
            ErrorCode.NOT_OWNER,
            *_STORE,
        ],
        query=types.PresignQuery,
    ),
    Operation(
        name="presignMany",
        method="post",
        path="/presign",
        tag=DOWNLOADS,
        summary="Sign many downloads",
        text="Gives a URL for each of many objects of one owner, or for none: of those that can't be read by this user,"
        " every one is named. Whether there are such objects isn't asked.",
        answers=[Answer(200, "A URL for each.", types.PresignManyAnswer)],
        codes=[
            *_ALWAYS,
            *_BODY,
            *_DATASET,
            ErrorCode.EMPTY_BATCH,
            ErrorCode.TOO_MANY_FILES,
            ErrorCode.INVALID_BATCH,
            ErrorCode.INVALID_EXPIRY,
            ErrorCode.UNSUPPORTED_BY_PATTERN,
            *_STORE,
        ],
        body=types.PresignBody,
        file_codes=[ErrorCode.INVALID_PATH, ErrorCode.INVALID_KEY, ErrorCode.INVALID_URL, ErrorCode.NOT_OWNER],
    ),
    Operation(
        name="objects",
        method="get",
        path="/objects",
        tag=DOWNLOADS,
        summary="List a dataset",
        text="Tells what the store holds of a dataset, page by page. A page may have fewer objects than `limit`, or"
        " none, though others follow.",
        answers=[Answer(200, "A page.", types.ListAnswer)],
        codes=[
            *_ALWAYS,
            ErrorCode.INVALID_REQUEST,
            ErrorCode.INVALID_OWNER,
            ErrorCode.INVALID_DATASET,
            ErrorCode.INVALID_KEY,
            ErrorCode.INVALID_CURSOR,
            ErrorCode.NOT_OWNER,
            ErrorCode.UNSUPPORTED_BY_PATTERN,
            ErrorCode.UNSUPPORTED_BY_STORE,
            ErrorCode.OVERLOADED,
            *_STORE,
        ],
        query=types.ListQuery,
    ),
    Operation(
        name="healthz",
        method="get",
        path="/healthz",
        tag=OPERATION,
        summary="Is it alive?",
        text="Answers as long as the process does. The store isn't asked.",
        answers=[Answer(200, "It is.", types.Alive)],
        is_at_root=True,
        needs_token=False,
    ),
    Operation(
        name="readyz",
        method="get",
        path="/readyz",
        tag=OPERATION,
        summary="Is it ready?",
        text="Asks the store, and whether keys to verify tokens with have been loaded.",
        answers=[Answer(200, "It is.", types.Ready), Answer(503, "It isn't, or not yet.", types.NotReady)],
        is_at_root=True,
        needs_token=False,
    ),
    Operation(
        name="metrics",
        method="get",
        path="/metrics",
        tag=OPERATION,
        summary="Figures",
        text="Counters and durations in the text format of Prometheus.",
        answers=[Answer(200, "The figures.", media_type="text/plain")],
        is_at_root=True,
        needs_token=False,
    ),
    Operation(
        name="openapi",
        method="get",
        path="/openapi.json",
        tag=OPERATION,
        summary="This description",
        text="The description of the API as an OpenAPI 3.1 document.",
        answers=[Answer(200, "The document.", media_type=JSON), Answer(304, "It is as `If-None-Match` has it.")],
        needs_token=False,
    ),
    Operation(
        name="docs",
        method="get",
        path="/docs",
        tag=OPERATION,
        summary="This description, as a page",
        text="The same for people.",
        answers=[Answer(200, "The page.", media_type="text/html"), Answer(304, "It is as `If-None-Match` has it.")],
        needs_token=False,
    ),
)
