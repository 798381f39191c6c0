"""S3's errors: the XML that says them, and the one table of HTTP status by S3 error code."""

import html
import re
import secrets
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from adapters.stores.post_policy import PolicyRefused
from adapters.stores.sigv4_verify import SignatureRefused
from application.ports import ObjectExists, StorageError, StorageFull
from entrypoints.request_context import current_request

STATUS_BY_S3_CODE: Final[Mapping[str, int]] = {
    "AccessDenied": 403,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "ExpiredToken": 400,
    "IncorrectNumberOfFilesInPostRequest": 400,
    "InsufficientStorage": 507,  # not one of S3's, which never runs full
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidPolicyDocument": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidToken": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedPOSTRequest": 400,
    "MaxPostPreDataLengthExceededError": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 400,  # S3 says 501, but no request of a client is a fault of ours
    "PreconditionFailed": 412,
    "RequestIsNotMultiPartContent": 412,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
}
"""The table in "Error responses" of the Amazon S3 API reference, as far as this endpoint needs it."""

_MAX_ECHO = 1_100
"""How much of a text is said: enough for the longest key, and the path before it."""

# Production "Char" of XML 1.0, section 2.2.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class S3Refusal(Exception):
    """A request that is answered with an S3 error; `headers` go with the answer."""

    def __init__(self, s3_code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.s3_code = s3_code
        self.message = message
        self.headers = headers or {}


def not_implemented(what: str) -> S3Refusal:
    """Make the answer to a request for something that S3 has and this endpoint hasn't."""
    return S3Refusal("NotImplemented", f"A header or query you provided implies functionality not implemented: {what}.")


def no_such_upload() -> S3Refusal:
    """Make the answer to a part of an upload that has ended, or was never begun at this key."""
    return S3Refusal(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
    )


def slow_down() -> S3Refusal:
    """Make the answer to a transfer that is one too many at once."""
    return S3Refusal("SlowDown", "Please reduce your request rate.", {"Retry-After": "5"})


EXPECTED_ERRORS: Final = (S3Refusal, SignatureRefused, PolicyRefused, ObjectExists, StorageError)
"""What the stages of a request raise on purpose."""


def refusal_of(error: Exception) -> S3Refusal:
    """Translate what the stages of a request raise; anything unknown is an internal error that says nothing more."""
    match error:
        case S3Refusal():
            return error
        case SignatureRefused() | PolicyRefused():
            return S3Refusal(error.s3_code, error.message)
        case ObjectExists():
            return S3Refusal("PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
        case StorageFull():
            return S3Refusal("InsufficientStorage", "There is no room left to store the object.")
        case StorageError():
            return S3Refusal("ServiceUnavailable", "The storage can't be used now. Try again.", {"Retry-After": "5"})
        case _:
            return S3Refusal("InternalError", "We encountered an internal error. Please try again.")


def error_response(refusal: S3Refusal, resource: str) -> Response:
    """Answer with an error about `resource`, the path of the request, still percent-encoded."""
    request = current_request.get()
    request_id = secrets.token_hex(8).upper() if request is None else request.request_id
    members = {
        "Code": refusal.s3_code,
        "Message": refusal.message,
        "Resource": resource,
        "RequestId": request_id,
    }
    headers = {"x-amz-request-id": request_id, "X-Content-Type-Options": "nosniff", **refusal.headers}
    return Response(xml_document("Error", members), STATUS_BY_S3_CODE[refusal.s3_code], headers, "application/xml")


def xml_document(root: str, members: Mapping[str, str]) -> bytes:
    """Write a flat XML document. Texts are escaped and cut, and what XML can't say is left out of them."""
    lines = "".join([f"<{name}>{_xml_text(text)}</{name}>" for name, text in members.items()])
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{lines}</{root}>'.encode()


def _xml_text(text: str) -> str:
    cut = text if len(text) <= _MAX_ECHO else f"{text[:_MAX_ECHO]}…"
    return html.escape(_NOT_XML.sub("", cut), quote=False)
