"""Examples: what was really asked of a service, and how it answered. A test asks it all again."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Self

from attrs import frozen

from domain.uploads import UploadMethod

FILE = files("entrypoints").joinpath("http", "description", "examples.json")


@frozen
class Exchange:
    """A request and its answer. With `upload_method`, only a store that takes it can answer so."""

    operation: str
    name: str
    summary: str
    status: int
    answer: Any
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None
    upload_method: str | None = None


@frozen
class Examples:
    """Exchanges that a store can have."""

    exchanges: Sequence[Exchange]

    @classmethod
    def load(cls, methods: Sequence[UploadMethod]) -> Self:
        """Read those that a store with these methods can have."""
        exchanges = [Exchange(**members) for members in json.loads(FILE.read_text("utf-8"))]
        return cls([one for one in exchanges if one.upload_method is None or one.upload_method in methods])

    def bodies(self, operation: str) -> dict[str, Any]:
        """Give the bodies of requests that were granted, by name."""
        return {
            one.name: {"summary": one.summary, "value": one.body}
            for one in self._of(operation)
            if one.body is not None and one.status < 300
        }

    def answers(self, operation: str, status: int) -> dict[str, Any]:
        """Give the answers with this status, by name."""
        return {
            one.name: {"summary": one.summary, "value": one.answer}
            for one in self._of(operation)
            if one.status == status
        }

    def parameter(self, operation: str, name: str) -> str | None:
        """Give a value of a parameter, if there is one."""
        values = (one.query[name] for one in self._of(operation) if one.query and name in one.query)
        return next(values, None)

    def _of(self, operation: str) -> Sequence[Exchange]:
        return [one for one in self.exchanges if one.operation == operation]
