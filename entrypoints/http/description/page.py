"""The page of the API's description, made of the document alone. It needs no script, and nothing from elsewhere."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from attrs import frozen

from entrypoints.http.description.curl import body_of, curl
from entrypoints.http.description.document import SAME_AS
from entrypoints.http.description.html import Html, tag
from entrypoints.http.description.operations import JSON
from entrypoints.http.description.schema_words import limits_of, name_of, type_of
from entrypoints.http.description.schemas import VALUES, Schema

STYLE: Final = files("entrypoints").joinpath("http", "description", "page.css").read_text("utf-8")

_SPAN: Final = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*")


@frozen
class _Entry:
    """An operation, and the path and method by which it is known; `also` are other paths of it."""

    path: str
    method: str
    operation: Mapping[str, Any]
    also: Sequence[str]

    @property
    def anchor(self) -> str:
        """The name of its place in the page."""
        return str(self.operation["operationId"])

    @property
    def line(self) -> str:
        """What is asked, as in the first line of a request."""
        return f"{self.method} {self.path}"


def render_page(document: Mapping[str, Any]) -> str:
    """Write the page of an OpenAPI document, as `describe` makes it."""
    entries = _entries(document["paths"])
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    info = document["info"]
    title = f"{info['title']}: the API"
    source = tag("a", "openapi.json", href="openapi.json")
    body = Html.of(
        tag("a", "To the operations", href="#operations", class_="skip"),
        tag("header", tag("h1", title), tag("p", info["summary"], " Version ", info["version"], ", as ", source, ".")),
        _contents(entries),
        tag(
            "main",
            _introduction(document),
            tag("div", *(_group(group, entries, schemas) for group in document["tags"]), id="operations"),
            _types(schemas),
        ),
    )
    head = Html.of(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _entries(paths: Mapping[str, Any]) -> Sequence[_Entry]:
    also: dict[str, list[str]] = {}
    for path, methods in paths.items():
        for operation in methods.values():
            also.setdefault(operation.get(SAME_AS, operation["operationId"]), []).append(path)
    return [
        _Entry(path, method.upper(), operation, also[operation["operationId"]][1:])
        for path, methods in paths.items()
        for method, operation in methods.items()
        if SAME_AS not in operation
    ]


def _contents(entries: Iterable[_Entry]) -> Html:
    links = [
        tag("a", tag("code", entry.line), " ", entry.operation["summary"], href=f"#{entry.anchor}") for entry in entries
    ]
    links.append(tag("a", "Types", href="#types"))
    return tag("nav", tag("ul", *(tag("li", link) for link in links)), aria_label="Contents")


def _introduction(document: Mapping[str, Any]) -> Html:
    here = next(path for path in document["paths"] if path.endswith("/docs"))
    variables = (
        f"In the examples, `$TOKEN` is a permission token, and `$BITSTORE` the URL of this page without `{here}`."
    )
    return tag("section", *_paragraphs(document["info"]["description"]), *_paragraphs(variables))


def _group(group: Mapping[str, str], entries: Iterable[_Entry], schemas: Mapping[str, Schema]) -> Html:
    of_group = [_operation(entry, schemas) for entry in entries if group["name"] in entry.operation["tags"]]
    return tag("section", tag("h2", group["name"]), *_paragraphs(group["description"]), *of_group)


def _operation(entry: _Entry, schemas: Mapping[str, Schema]) -> Html:
    operation = entry.operation
    also = [tag("p", "Also: ", *_joined(tag("code", f"{entry.method} {path}") for path in entry.also))]
    return tag(
        "article",
        tag("h3", operation["summary"]),
        tag("p", tag("code", tag("b", entry.method), f" {entry.path}"), class_="line"),
        *(also if entry.also else ()),
        *_paragraphs(operation["description"]),
        *(() if operation["security"] else [tag("p", "It needs no token.")]),
        *_request(operation, schemas),
        tag("pre", tag("code", curl(entry.path, entry.method, operation)), tabindex="0"),
        tag("h4", "Answers"),
        tag("dl", *(_answer(status, answer) for status, answer in operation["responses"].items())),
        id=entry.anchor,
    )


def _request(operation: Mapping[str, Any], schemas: Mapping[str, Schema]) -> Iterator[Html]:
    parameters = operation.get("parameters", ())
    if parameters:
        yield tag("h4", "Parameters of the query")
        yield tag("dl", *(_member(one["name"], {**one, **one["schema"]}, one["required"]) for one in parameters))
    body = body_of(operation)
    if body:
        yield tag("h4", "Body: ", type_of(body["schema"]))
        yield _members(schemas[name_of(body["schema"])])
        yield from _examples(body, "Body")


def _answer(status: str, answer: Mapping[str, Any]) -> Html:
    parts = [*_paragraphs(answer["description"])]
    for media_type, content in answer.get("content", {}).items():
        parts.append(tag("p", type_of(content["schema"]) if media_type == JSON else tag("code", media_type)))
        parts += _examples(content, "Answer")
    return Html.of(tag("dt", tag("code", status)), tag("dd", *parts))


def _examples(content: Mapping[str, Any], what: str) -> Iterator[Html]:
    for example in content.get("examples", {}).values():
        text = tag("code", json.dumps(example["value"], indent=2, ensure_ascii=False))
        yield tag("details", tag("summary", f"{what}: {example['summary']}"), tag("pre", text, tabindex="0"))


def _types(schemas: Mapping[str, Schema]) -> Html:
    return tag("section", tag("h2", "Types", id="types"), *(_type(name, schema) for name, schema in schemas.items()))


def _type(name: str, schema: Schema) -> Html:
    if "properties" in schema:
        shape = [_members(schema)]
    elif VALUES in schema:
        shape = [tag("dl", *(_value(value, text) for value, text in schema[VALUES].items()))]
    else:
        shape = [tag("p", type_of(schema)), *_limits(schema)]
    return tag("article", tag("h3", name), *_paragraphs(schema.get("description", "")), *shape, id=f"type-{name}")


def _members(schema: Schema) -> Html:
    needed = schema.get("required", ())
    rows = (_member(name, member, name in needed) for name, member in schema["properties"].items())
    return Html.of(tag("dl", *rows), *_limits(schema))


def _value(value: str, text: str) -> Html:
    return Html.of(tag("dt", tag("code", f'"{value}"')), tag("dd", *_paragraphs(text)))


def _member(name: str, schema: Schema, is_needed: bool) -> Html:  # noqa: FBT001 - a value to write
    needed = [tag("b", " needed")] if is_needed else []
    described = [*_paragraphs(schema.get("description", "")), *_limits(schema)]
    return Html.of(tag("dt", tag("code", name), " ", type_of(schema), *needed), tag("dd", *described))


def _limits(schema: Schema) -> Iterator[Html]:
    return (tag("p", limit) for limit in limits_of(schema))


def _paragraphs(text: str) -> Iterator[Html]:
    """Read the little of CommonMark that the document has: paragraphs, lists, code, and what is strong."""
    for block in filter(None, text.split("\n\n")):
        if block.startswith("- "):
            yield tag("ul", *(tag("li", *_spans(item)) for item in block.removeprefix("- ").split("\n- ")))
        else:
            yield tag("p", *_spans(block))


def _spans(text: str) -> Iterator[str]:
    end = 0
    for found in _SPAN.finditer(text):
        yield text[end : found.start()]
        yield tag("code", found["code"]) if found["code"] else tag("strong", found["strong"])
        end = found.end()
    yield text[end:]


def _joined(items: Iterable[Html]) -> Iterator[str]:
    for number, item in enumerate(items):
        yield ", " if number else ""
        yield item
