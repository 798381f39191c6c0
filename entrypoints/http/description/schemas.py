"""The schemas of the description, made of the wire types, the domain's own rules, and what this service accepts.

(JSON Schema draft 2020-12, which is what OpenAPI 3.1 has. Its regular expressions are those of ECMA-262.)
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, get_type_hints

import msgspec
from attrs import frozen

from domain.batches import BatchRules
from domain.errors import ErrorCode
from domain.files import (
    MAX_NAME_BYTES,
    MAX_TYPE_LENGTH,
    MD5_BASE64,
    MEDIA_TYPE,
    SHA256_BASE64,
    UNPRINTABLE_CHARACTERS,
    FileName,
    Md5,
    MediaType,
    Sha256,
)
from domain.keys import FORBIDDEN_CHARACTERS, MAX_KEY_BYTES, MAX_SEGMENT_BYTES, Dataset, Owner, RelativePath
from domain.multipart import UPLOAD_ID, UploadId
from domain.uploads import Capabilities, UploadMethod
from domain.values import CheckedText
from entrypoints.http import wire_types
from entrypoints.http.error_codes import ANSWERS
from entrypoints.http.wire_types import REF_TEMPLATE

Schema = dict[str, Any]

_TYPES: Final = {name: kind for name, kind in vars(wire_types).items() if isinstance(kind, type)}

VALUES: Final = "x-enumDescriptions"
"""Where a schema says what each of its values means, by value; viewers know the name."""

_SEGMENT: Final = f"[^/{FORBIDDEN_CHARACTERS}]+"

# A character has at least one byte, so limits in bytes hold for characters too; what is in no schema is in the words of
# the domain's types.
_TEXTS: Final[Mapping[type[CheckedText], Schema]] = {
    Owner: {"pattern": f"^{_SEGMENT}$", "maxLength": MAX_SEGMENT_BYTES},
    Dataset: {"pattern": f"^{_SEGMENT}$", "maxLength": MAX_SEGMENT_BYTES},
    RelativePath: {"pattern": f"^{_SEGMENT}(?:/{_SEGMENT})*$", "maxLength": MAX_KEY_BYTES},
    Md5: {"pattern": f"^{MD5_BASE64.pattern}$"},
    Sha256: {"pattern": f"^{SHA256_BASE64.pattern}$"},
    MediaType: {"pattern": f"^{MEDIA_TYPE.pattern}$", "maxLength": MAX_TYPE_LENGTH},
    FileName: {"pattern": f"^[^{UNPRINTABLE_CHARACTERS}]*$", "maxLength": MAX_NAME_BYTES},
    UploadId: {"pattern": f"^{UPLOAD_ID.pattern}$"},
}
_UPLOADS: Final[Mapping[UploadMethod, type]] = {
    UploadMethod.POST: wire_types.FormUpload,
    UploadMethod.PUT: wire_types.PutUpload,
    UploadMethod.MULTIPART: wire_types.PartsUpload,
}


@frozen
class Accepted:
    """What this service accepts, and what its store can do; `rules` are those for files that may come in parts."""

    rules: BatchRules
    capabilities: Capabilities

    @property
    def methods(self) -> Sequence[UploadMethod]:
        """How files can be sent here, in the order in which the methods are always named."""
        return [method for method in UploadMethod if method in self.capabilities.methods]


def ref(kind: type) -> Schema:
    """Refer to the schema of a type."""
    return {"$ref": REF_TEMPLATE.format(name=kind.__name__)}


def make_schemas(kinds: Iterable[type], accepted: Accepted) -> dict[str, Schema]:
    """Give the schemas of these types, and of all that they are made of, by name."""
    uploads = [_UPLOADS[method] for method in accepted.methods]
    read_by_the_domain = (wire_types.Metadata, wire_types.FileDeclaration)
    types = [*kinds, *uploads, *read_by_the_domain]
    _, found = msgspec.json.schema_components(types, schema_hook=_schema_of_text, ref_template=REF_TEMPLATE)
    schemas = {name: _in_order(schema, name) for name, schema in sorted(found.items())}
    schemas |= {kind.__name__: _described(kind) for kind in _TEXTS}
    schemas[ErrorCode.__name__] |= {
        "description": "The codes keep their meaning; there may be more of them one day.",
        VALUES: {code.value: f"{answer.status}: {answer.meaning}" for code, answer in ANSWERS.items()},
    }
    _say_what_is_accepted(schemas, accepted)
    _say_how_files_are_sent(schemas, accepted)
    return schemas


def parameters_of(query: type[msgspec.Struct], accepted: Accepted) -> list[Schema]:
    """Describe the parameters of a query."""
    needs_dataset = query is wire_types.ListQuery and accepted.rules.pattern.uses_dataset
    _, found = msgspec.json.schema_components([query], schema_hook=_schema_of_text, ref_template=REF_TEMPLATE)
    schema = found[query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "description": parameter.pop("description"),
            "required": name in schema["required"] or (needs_dataset and name == "name"),
            "schema": _not_null(parameter),
        }
        for name, parameter in schema["properties"].items()
    ]


def _not_null(parameter: Schema) -> Schema:
    # A query has no null: there a parameter is absent.
    parameter.pop("default", None)
    options = [option for option in parameter.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if options else parameter


def _schema_of_text(kind: type) -> Schema:
    if kind in _TEXTS:
        return ref(kind)
    raise NotImplementedError(f"{kind} has no schema")


def _described(kind: type[CheckedText]) -> Schema:
    return {"type": "string", "description": inspect.getdoc(kind), **_TEXTS[kind]}


def _in_order(schema: Schema, name: str) -> Schema:
    """Put members and values into the order in which the type has them, and take away what says nothing."""
    kind = _TYPES[name]
    del schema["title"]
    if issubclass(kind, StrEnum):
        return {**schema, "type": "string", "enum": [member.value for member in kind]}
    properties = schema["properties"]
    order = [member for member in get_type_hints(kind) if member in properties]
    schema["properties"] = {member: _plain(properties[member]) for member in order}
    schema["required"] = [member for member in order if member in schema["required"]]
    return schema


def _plain(member: Schema) -> Schema:
    return {key: value for key, value in member.items() if (key, value) != ("default", None)}


def _say_what_is_accepted(schemas: dict[str, Schema], accepted: Accepted) -> None:
    rules = accepted.rules
    declaration = schemas[wire_types.FileDeclaration.__name__]
    declaration["properties"]["length"]["maximum"] = rules.files.max_bytes
    digests = [name for name in ("md5", "sha256") if any(field.startswith(name) for field in rules.pattern.fields)]
    if digests:
        declaration["allOf"] = [_all_given(digests)]
    elif rules.files.require_digest:
        declaration["anyOf"] = [_all_given([name]) for name in ("md5", "sha256")]
    with_dataset = {"anyOf": [_all_given([name]) for name in ("name", "dataset")]} if rules.pattern.uses_dataset else {}
    for body in (wire_types.UploadBody, wire_types.MultipartBody):
        schemas[body.__name__]["properties"]["metadata"] |= with_dataset
    schemas[wire_types.UploadBody.__name__]["properties"]["filedata"]["maxProperties"] = rules.max_files
    _say_which_files(schemas[wire_types.PresignBody.__name__], rules, with_dataset)


def _say_which_files(body: Schema, rules: BatchRules, with_dataset: Schema) -> None:
    """Either paths or URLs, some of them; and no paths where keys aren't made of them alone."""
    some = {"type": "array", "minItems": 1, "maxItems": rules.max_files}
    by_path = {"paths": some, "urls": {"type": "null"}, "metadata": with_dataset}
    by_url = {"urls": some, "paths": {"type": "null"}}
    ways = {"urls": by_url} if rules.pattern.is_content_addressed else {"paths": by_path, "urls": by_url}
    body["oneOf"] = [{"required": [name], "properties": properties} for name, properties in ways.items()]


def _all_given(names: Sequence[str]) -> Schema:
    # A member that is null counts as absent.
    return {"required": list(names), "properties": {name: {"type": "string"} for name in names}}


def _say_how_files_are_sent(schemas: dict[str, Schema], accepted: Accepted) -> None:
    by_method = {method.value: ref(_UPLOADS[method]) for method in accepted.methods}
    schemas[wire_types.AuthorizedFile.__name__] = {
        "description": "What must be sent, by `upload_method`.",
        "oneOf": list(by_method.values()),
        "discriminator": {
            "propertyName": "upload_method",
            "mapping": {method: kind["$ref"] for method, kind in by_method.items()},
        },
    }
