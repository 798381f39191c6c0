"""What schemathesis is told besides the description: who asks, and what no schema can say.

It is another process, which loads this module, that asks the service as `ada`. The environment has an upload in parts
that has been begun there.
"""

import json
import os
import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext
from schemathesis.core.transport import Response

UPLOAD_VARIABLE = "BITSTORE_TEST_UPLOAD"
USER = "ada"

# What depends on the store, on its contents, or on other files of the request.
_BEYOND_ANY_SCHEMA = {
    "invalid_batch",
    "invalid_cursor",
    "invalid_key",
    "invalid_parts",
    "invalid_url",
    "key_conflict",
    "not_owner",
    "object_exists",
    "unsupported_by_store",
    "upload_incomplete",
    "upload_not_found",
}
# The rules that a schema can't have, and that the words beside it have.
_IN_WORDS = re.compile(
    r"(longer|more) than \d+ bytes|segment that is blank|normalisation|\$\{filename\}|both given|for one request"
)


@schemathesis.hook
def map_case(context: HookContext, case: Case[Any]) -> Case[Any]:  # noqa: ARG001 - schemathesis passes it
    """Ask for what is `ada`'s, and half the time for the upload that there is."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    for name in {"owner", "ownerid"} & set(case.query or ()):
        case.query[name] = USER
    if isinstance(case.body, dict):
        body: Any = _in_digits(case.body)
        if case.path.endswith(("/resume", "/complete")) and len(json.dumps(body)) % 2:
            body |= json.loads(os.environ[UPLOAD_VARIABLE])
        body["metadata"]["owner"] = USER
        case.body = body
    return case


def _in_digits(value: Any) -> Any:
    """Write whole numbers without a point. To JSON Schema, and to no one who counts bytes, 5.0 is an integer too."""
    match value:
        case dict():
            return {name: _in_digits(member) for name, member in value.items()}
        case list():
            return [_in_digits(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


@schemathesis.check
def what_fits_the_schemas_is_refused_for_other_reasons(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """Fail where the shape of something is refused that has the shape that the description asks for."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    error = response.json()["error"]
    problems = [error, *error["details"]]
    unforeseen = [problem for problem in problems if not _is_beyond_schemas(problem)]
    assert not unforeseen, f"the description allows what is refused: {unforeseen}"


def _is_beyond_schemas(problem: dict[str, Any]) -> bool:
    return problem["code"] in _BEYOND_ANY_SCHEMA or _IN_WORDS.search(problem["message"]) is not None


@schemathesis.check
def codes_are_described(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """Fail where an error has a code that the operation isn't said to answer with."""
    described = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    if "x-error-codes" in described:
        assert response.json()["error"]["code"] in described["x-error-codes"]
