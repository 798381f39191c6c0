"""A schema in words, for the page: what type a value is of, and within which limits."""

from collections.abc import Iterator, Sequence
from typing import Final

from entrypoints.http.description.html import Html, tag
from entrypoints.http.description.schemas import Schema

_PLAIN: Final = {"boolean": "true or false"}
_CHOICES: Final = {
    "anyOf": ("At least one is needed: ", "."),
    "oneOf": ("Exactly one is needed: ", "."),
    "allOf": ("Needed: ", "."),
}
_LIMITS: Final = {
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "maxLength": "At most {} characters.",
    "minProperties": "At least {} of them.",
    "maxProperties": "At most {} of them.",
}


def type_of(schema: Schema) -> Html:
    """Say of what type a value is, with links to the types that have names."""
    match schema:
        case {"$ref": str(_)}:
            words = tag("a", name_of(schema), href=f"#type-{name_of(schema)}")
        case {"oneOf": options} | {"anyOf": options} if "properties" not in schema:
            words = _either([type_of(option) for option in options])
        case {"enum": values}:
            words = _either([tag("code", f'"{value}"') for value in values])
        case {"type": "array"}:
            words = Html.of("list of ", type_of(schema["items"]))
        case {"additionalProperties": dict(values)}:
            words = Html.of("object of ", type_of(values))
        case _:
            kind = str(schema.get("type", "anything"))
            words = Html.of(_PLAIN.get(kind, kind))
    return words


def name_of(schema: Schema) -> str:
    """Give the name of the type that a schema refers to."""
    return str(schema["$ref"]).rpartition("/")[2]


def limits_of(schema: Schema) -> Iterator[Html]:
    """Say what else is asked of a value, a sentence each."""
    for option in (schema, *schema.get("anyOf", ())):
        for name, words in _LIMITS.items():
            if name in option:
                yield Html.of(words.format(f"{option[name]:,}"))
    for choice, (before, after) in _CHOICES.items():
        needed = [tag("code", name) for option in schema.get(choice, ()) for name in option.get("required", ())]
        if needed:
            yield Html.of(before, *_separated(needed, ", ", ", "), after)
    if "pattern" in schema:
        yield Html.of("Pattern: ", tag("code", schema["pattern"]))
    if "default" in schema:
        yield Html.of("Absent: ", tag("code", str(schema["default"]).lower()))


def _either(options: Sequence[Html]) -> Html:
    return Html.of(*_separated(options, ", ", " or "))


def _separated(options: Sequence[Html], between: str, before_last: str) -> Iterator[str]:
    for number, option in enumerate(options):
        if number:
            yield before_last if number == len(options) - 1 else between
        yield option
