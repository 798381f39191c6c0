"""Whether what a service answers is what its description says."""

import json
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import jsonschema_rs
from attrs import field, frozen

from entrypoints.http.description.document import ERROR_CODES

# Of a longer answer no more is learned, and it would take long.
_MAX_CHECKED_BYTES = 64 * 1024


@frozen
class Conformance:
    """Checks answers against a document. In answers nothing may be that isn't described."""

    document: Mapping[str, Any] = field(repr=False)
    _schemas: Mapping[str, Any] = field(repr=False)
    _validators: dict[str, jsonschema_rs.Validator] = field(factory=dict, repr=False, init=False)

    @classmethod
    def to(cls, document: Mapping[str, Any]) -> Self:
        return cls(document, {name: _closed(schema) for name, schema in document["components"]["schemas"].items()})

    def check(self, method: str, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Fail where an answer of a described operation is none that is described; ignore others."""
        operations = self.document["paths"].get(urlsplit(url).path)
        if operations is None or method == "OPTIONS":
            return
        operation = operations.get("get" if method == "HEAD" else method.lower())
        if operation is None:
            assert status == 405
            return
        answer = operation["responses"].get(str(status))
        assert answer is not None, f"{method} {url} isn't described to answer with {status}: {body[:1_000]!r}"
        for name, header in answer["headers"].items():
            assert name in headers or not header.get("required", "$ref" in header), f"{status} without {name}"
        if method == "HEAD" or "content" not in answer:
            assert not body
            return
        media_type = headers["Content-Type"].partition(";")[0]
        schema = answer["content"][media_type]["schema"]
        if media_type == "application/json" and len(body) <= _MAX_CHECKED_BYTES:
            self._check_json(json.loads(body), schema, answer)

    def _check_json(self, value: Any, schema: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        self.validator(schema).validate(value)
        if ERROR_CODES in answer:
            assert value["error"]["code"] in answer[ERROR_CODES]

    def validator(self, schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
        """Give what checks values of a schema that may refer to others."""
        text = json.dumps(schema)
        if text not in self._validators:
            whole = {**schema, "components": {"schemas": self._schemas}}
            self._validators[text] = jsonschema_rs.Draft202012Validator(whole)
        return self._validators[text]


def _closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Allow no members but those that are named."""
    return {**schema, "additionalProperties": False} if "properties" in schema else schema
