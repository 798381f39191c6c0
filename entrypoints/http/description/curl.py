"""Commands for the page that can be pasted into a shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from entrypoints.http.description.operations import JSON


def body_of(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the content of an operation's body; nothing if it has none."""
    content: Mapping[str, Any] = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    return content


def curl(path: str, method: str, operation: Mapping[str, Any]) -> str:
    """Write the command that asks what the first example asks, with the variables `$BITSTORE` and `$TOKEN`."""
    parameters = [one for one in operation.get("parameters", ()) if "example" in one]
    first, *others = [
        *(['-H "Auth-Token: $TOKEN"'] if operation["security"] else []),
        *(["-G"] if parameters and method == "GET" else []),
        *(f"--data-urlencode {shlex.quote('{name}={example}'.format(**one))}" for one in parameters),
        *(f"-d {shlex.quote(json.dumps(one['value'], indent=1))}" for one in _first_example(operation)),
        f'"$BITSTORE{path}"',
    ]
    return " \\\n  ".join([f"curl {first}", *others])


def _first_example(operation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(body_of(operation).get("examples", {}).values())[:1]
