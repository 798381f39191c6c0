"""The one table of the error codes: the HTTP status of each, and what it means."""

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from domain.errors import ErrorCode


@frozen
class CodeAnswer:
    """How a code is answered: its `meaning` is the end of a sentence, for people."""

    status: int
    meaning: str


ANSWERS: Final[Mapping[ErrorCode, CodeAnswer]] = {
    ErrorCode.INVALID_JSON: CodeAnswer(
        400, "the body is not JSON, or could be read in two ways (a member twice, not UTF-8, nested too deep)"
    ),
    ErrorCode.INVALID_REQUEST: CodeAnswer(400, "a member or a parameter is missing, of another type, or there twice"),
    ErrorCode.INVALID_METADATA: CodeAnswer(400, "`findability` is none of those that there are"),
    ErrorCode.EMPTY_BATCH: CodeAnswer(400, "no file is declared"),
    ErrorCode.TOO_MANY_FILES: CodeAnswer(413, "more files are declared than a request may have"),
    ErrorCode.INVALID_BATCH: CodeAnswer(400, "some files can't be accepted; `details` says which, and why"),
    ErrorCode.UNSUPPORTED_BY_STORE: CodeAnswer(
        400, "the store can't do that, or not enforce what is required, in a way that the client accepts"
    ),
    ErrorCode.UNSUPPORTED_BY_PATTERN: CodeAnswer(400, "keys are not made in a way that allows this"),
    ErrorCode.INVALID_PATH: CodeAnswer(400, "a path breaks the rules of paths"),
    ErrorCode.INVALID_OWNER: CodeAnswer(400, "the owner can't be a segment of a key"),
    ErrorCode.INVALID_DATASET: CodeAnswer(400, "the dataset's name is missing, or can't be a segment of a key"),
    ErrorCode.INVALID_KEY: CodeAnswer(400, "the key that would be made is none: too long, mostly"),
    ErrorCode.KEY_CONFLICT: CodeAnswer(400, "two files would have the same key"),
    ErrorCode.INVALID_FILE: CodeAnswer(400, "a file's declaration is no object"),
    ErrorCode.INVALID_LENGTH: CodeAnswer(400, "a length is missing, or no whole number of bytes"),
    ErrorCode.FILE_TOO_LARGE: CodeAnswer(400, "a file is longer than may be sent in this way"),
    ErrorCode.INVALID_MD5: CodeAnswer(400, "an MD5 is not the canonical base64 of 16 bytes"),
    ErrorCode.INVALID_SHA256: CodeAnswer(400, "a SHA-256 is not the canonical base64 of 32 bytes"),
    ErrorCode.DIGEST_REQUIRED: CodeAnswer(400, "a file declares no digest, or not the one that keys are made of"),
    ErrorCode.INVALID_TYPE: CodeAnswer(400, "a media type is none"),
    ErrorCode.INVALID_NAME: CodeAnswer(400, "a file's name has characters that can't be printed, or is too long"),
    ErrorCode.INVALID_PARTS: CodeAnswer(400, "a file can't be cut as it is declared"),
    ErrorCode.INVALID_UPLOAD_ID: CodeAnswer(400, "the id of an upload in parts is none that was given"),
    ErrorCode.UPLOAD_NOT_FOUND: CodeAnswer(404, "there is no such upload of this file: aborted, or never begun"),
    ErrorCode.UPLOAD_INCOMPLETE: CodeAnswer(409, "parts haven't arrived as declared; resume the upload"),
    ErrorCode.OBJECT_EXISTS: CodeAnswer(409, "an object exists already, and was not to be replaced"),
    ErrorCode.DIGEST_MISMATCH: CodeAnswer(400, "the parts that arrived make other bytes than were declared"),
    ErrorCode.INVALID_URL: CodeAnswer(400, "a URL is not that of an object in this store"),
    ErrorCode.INVALID_EXPIRY: CodeAnswer(400, "a lifetime is no whole number of seconds, or less than one"),
    ErrorCode.INVALID_CURSOR: CodeAnswer(400, "`after` is not the `next` of a page of this dataset"),
    ErrorCode.TOKEN_MISSING: CodeAnswer(401, "no token is shown"),
    ErrorCode.TOKEN_INVALID: CodeAnswer(401, "the token proves nothing here: its signature, format, service or times"),
    ErrorCode.TOKEN_EXPIRED: CodeAnswer(401, "the token's time is over; get another one"),
    ErrorCode.PERMISSION_MISSING: CodeAnswer(403, "the token doesn't allow uploads"),
    ErrorCode.NOT_OWNER: CodeAnswer(403, "the owner is not the user of the token, or an object not the owner's"),
    ErrorCode.OVER_QUOTA: CodeAnswer(403, "more bytes are declared than the token allows"),
    ErrorCode.MALFORMED_HTTP: CodeAnswer(
        400, "this is no HTTP/1.1, or could be read in two ways; the connection is closed"
    ),
    ErrorCode.HEAD_TOO_LARGE: CodeAnswer(431, "the URL and the headers are longer than a request may have them"),
    ErrorCode.BODY_TOO_LARGE: CodeAnswer(413, "the body is longer than a request may be"),
    ErrorCode.BODY_TIMEOUT: CodeAnswer(408, "the body took too long to arrive"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: CodeAnswer(415, "the body is compressed"),
    ErrorCode.NOT_FOUND: CodeAnswer(404, "there is nothing at this URL"),
    ErrorCode.METHOD_NOT_ALLOWED: CodeAnswer(405, "this URL doesn't take this method; `Allow` has those that it takes"),
    ErrorCode.INTERNAL_ERROR: CodeAnswer(500, "a fault of the service; it has been logged"),
    ErrorCode.OVERLOADED: CodeAnswer(503, "too many requests are being worked on"),
    ErrorCode.STORE_UNAVAILABLE: CodeAnswer(503, "the store doesn't answer, or not in time"),
    ErrorCode.CREDENTIALS_UNAVAILABLE: CodeAnswer(503, "the service has no valid credentials for the store just now"),
    ErrorCode.KEYS_UNAVAILABLE: CodeAnswer(503, "no key to verify tokens with has been fetched yet"),
    ErrorCode.MISCONFIGURED: CodeAnswer(500, "the service's settings can't work"),
}
