"""The OpenAPI document (OpenAPI Specification 3.1) of one service, as it is configured."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from attrs import frozen

from domain.errors import ErrorCode
from domain.uploads import UploadMethod
from entrypoints.http.description.examples import Examples
from entrypoints.http.description.operations import (
    JSON,
    LARGE_FILES,
    OPERATIONS,
    TAGS,
    Answer,
    Operation,
)
from entrypoints.http.description.schemas import Accepted, Schema, make_schemas, parameters_of, ref
from entrypoints.http.error_codes import ANSWERS
from entrypoints.http.wire_types import ErrorAnswer

ERROR_CODES: Final = "x-error-codes"
"""Where an answer has the codes of its errors, for programs."""
SAME_AS: Final = "x-same-as"
"""Where an operation has the name of the one that it is another spelling of."""

_SECURITY: Final = {
    "authToken": {"type": "apiKey", "in": "header", "name": "Auth-Token", "description": "The permission token."},
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The same token."},
    "jwt": {
        "type": "apiKey",
        "in": "query",
        "name": "jwt",
        "description": "The same token. Prefer a header: URLs end up in logs.",
    },
}
_HEADERS: Final[Mapping[int, Schema]] = {
    401: {
        "WWW-Authenticate": {
            "description": "`Bearer`, with `error` if a token was shown (RFC 6750, section 3).",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    503: {
        "Retry-After": {
            "description": "After how many seconds to try again.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}
_REQUEST_ID: Final = {
    "description": "The request's own id, if it had one that is short and harmless, else a new one. Logs have it too.",
    "required": True,
    "schema": {"type": "string"},
}
_INTRODUCTION: Final = """\
A gatekeeper in front of an object store. A client shows a permission token, declares its files, and gets one signed \
request per file that lets exactly that file into the store for a short while. The bytes go straight to the store.

**Tokens.** A request shows one token (a JWT of the auth service) in the header `Auth-Token`, as \
`Authorization: Bearer`, or as `?jwt=`. It must name this service (`service`), and allow uploads.

**Bodies** are JSON whatever their `Content-Type`, and are not compressed. They must be readable in only one way: \
UTF-8, and no member twice in an object. Whole numbers are written without a point or an exponent. \
Members that are not described here are ignored, and answers may get more.

**Errors** always have the shape of `ErrorAnswer`. Programs go by the code, which keeps its meaning; messages are for \
people. Of a batch every bad file is named at once, in `details`. A URL or a method that isn't here is answered with \
`not_found` (404) or `method_not_allowed` (405), what is no HTTP or has too large a head with `malformed_http` (400) \
or `head_too_large` (431), wherever it goes.\
"""
_SERVED_STORE: Final = """

**The store** is a part of this service, at `/store/{bucket}`. It speaks the API of Amazon S3 (POST forms, presigned \
requests, errors in XML), which isn't described here; clients only follow what was signed for them.\
"""


@frozen
class Described:
    """What a description is of."""

    service_name: str
    accepted: Accepted
    has_served_store: bool


def describe(described: Described) -> dict[str, Any]:
    """Make the document."""
    answers = [answer.kind for operation in OPERATIONS for answer in operation.answers if answer.kind is not None]
    bodies = [operation.body for operation in OPERATIONS if operation.body is not None]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "BitStore",
            "version": version("bitstore-service"),
            "summary": "Signed uploads to an object store, one per declared file.",
            "description": _INTRODUCTION + (_SERVED_STORE if described.has_served_store else ""),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to this document (RFC 3986, section 5), and so right behind whatever proxy.
        "servers": [{"url": "..", "description": "Where this document is."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(described),
        "components": {
            "schemas": make_schemas([*bodies, *answers, ErrorAnswer], described.accepted),
            "securitySchemes": _SECURITY,
            "headers": {"RequestId": _REQUEST_ID},
        },
    }


def _paths(described: Described) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    examples = Examples.load(described.accepted.methods)
    for operation in OPERATIONS:
        for number, path in enumerate(operation.paths(described.service_name)):
            made = _describe(operation, examples, described.accepted)
            if number:
                made |= {"operationId": f"{operation.name}{number + 1}", SAME_AS: operation.name}
            paths.setdefault(path, {})[operation.method] = made
    return paths


def _describe(operation: Operation, examples: Examples, accepted: Accepted) -> dict[str, Any]:
    text = operation.text
    if operation.tag == LARGE_FILES and UploadMethod.MULTIPART not in accepted.methods:
        text += "\n\n**This store takes no files in parts**, so the answer is always `unsupported_by_store`."
    made: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": text,
    }
    if operation.query is not None:
        parameters = parameters_of(operation.query, accepted)
        made["parameters"] = [_with_example(one, operation, examples) for one in parameters]
    if operation.body is not None:
        content = {"schema": ref(operation.body), "examples": examples.bodies(operation.name)}
        made["requestBody"] = {"required": True, "content": {JSON: _without_nothing(content)}}
    made["responses"] = _responses(operation, examples)
    made["security"] = [{name: []} for name in _SECURITY] if operation.needs_token else []
    return made


def _with_example(parameter: Schema, operation: Operation, examples: Examples) -> Schema:
    value = examples.parameter(operation.name, parameter["name"])
    if value is None:
        return parameter
    return {**parameter, "example": int(value) if parameter["schema"].get("type") == "integer" else value}


def _responses(operation: Operation, examples: Examples) -> dict[str, Any]:
    responses = {str(answer.status): _success(answer, operation.name, examples) for answer in operation.answers}
    statuses = sorted({ANSWERS[code].status for code in operation.codes})
    return responses | {str(status): _error(status, operation, examples) for status in statuses}


def _success(answer: Answer, operation: str, examples: Examples) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.text, "headers": _headers(answer.status)}
    if answer.kind is not None:
        content = {"schema": ref(answer.kind), "examples": examples.answers(operation, answer.status)}
        made["content"] = {JSON: _without_nothing(content)}
    elif answer.media_type is not None:
        kind = "object" if answer.media_type == JSON else "string"
        made["content"] = {answer.media_type: {"schema": {"type": kind}}}
    return made


def _error(status: int, operation: Operation, examples: Examples) -> dict[str, Any]:
    codes = [code for code in operation.codes if ANSWERS[code].status == status]
    content = {"schema": ref(ErrorAnswer), "examples": examples.answers(operation.name, status)}
    made: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}.\n\n{_listed(codes)}",
        "headers": _headers(status),
        "content": {JSON: _without_nothing(content)},
        ERROR_CODES: [code.value for code in codes],
    }
    if ErrorCode.INVALID_BATCH in codes:
        made["description"] += f"\n\nIn the details of `invalid_batch`:\n\n{_listed(operation.file_codes)}"
    return made


def _headers(status: int) -> dict[str, Any]:
    return {**_HEADERS.get(status, {}), "X-Request-Id": {"$ref": "#/components/headers/RequestId"}}


def _listed(codes: Iterable[ErrorCode]) -> str:
    return "\n".join(f"- `{code.value}`: {ANSWERS[code].meaning}" for code in codes)


def _without_nothing(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value}
