"""Bodies and queries, decoded by their types. What doesn't fit is refused in the words that the types have for it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeVar, get_args
from urllib.parse import unquote

import msgspec
import orjson
from attrs import frozen
from msgspec import Meta, Struct, ValidationError, structs
from starlette.requests import Request

from application.ports import Turns
from domain import strict_json
from domain.errors import ErrorCode, InvalidInput
from domain.values import CheckedText
from entrypoints.http.wire_types import FAULT, Fault

_MAX_DIGITS: Final = 16
_LONG_BODY: Final = 256 * 1024
"""In bytes: about a millisecond of reading."""
_ANY_FAULT: Final = Fault("be as the description of this service has it")

_Decoded = TypeVar("_Decoded", bound=Struct)


@frozen
class _Member:
    """A member of a type, and what is said where a value doesn't fit."""

    name: str
    type: Any
    is_required: bool
    fault: Fault


@cache
def _members_of(kind: type[Struct]) -> Sequence[_Member]:
    return [_Member(one.name, one.type, one.required, _fault_of(one.type)) for one in structs.fields(kind)]


def _fault_of(annotated: object) -> Fault:
    metas = (meta for meta in get_args(annotated) if isinstance(meta, Meta))
    return next((meta.extra[FAULT] for meta in metas if meta.extra and FAULT in meta.extra), _ANY_FAULT)


def _is_number(annotated: object) -> bool:
    return annotated is int or any(map(_is_number, get_args(annotated)))


@cache
def _parameters_of(kind: type[Struct]) -> Sequence[tuple[str, bool]]:
    """Give the names of a query's parameters, and whether they are numbers."""
    return [(member.name, _is_number(member.type)) for member in _members_of(kind)]


@cache
def _required_by(kind: type[Struct]) -> Sequence[str]:
    return [member.name for member in _members_of(kind) if member.is_required]


def decode_body(body: bytes, kind: type[_Decoded]) -> _Decoded:
    """Read a body that is one JSON object, with the members that `kind` has. Raises `InvalidInput`."""
    try:
        value = strict_json.loads(body, orjson.loads)
    except strict_json.NotStrictJson as error:
        raise _not_strict(error) from error
    return _decode_members(value, kind)


async def decode_any_body(body: bytes, kind: type[_Decoded], turns: Turns) -> _Decoded:
    """Read a body likewise; if it is long, others have their turn meanwhile."""
    if len(body) < _LONG_BODY:
        return decode_body(body, kind)
    steps = strict_json.loads_in_steps(body, orjson.loads)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return _decode_members(end.value, kind)
        except strict_json.NotStrictJson as error:
            raise _not_strict(error) from error
        await turns.pause()


def _not_strict(error: strict_json.NotStrictJson) -> InvalidInput:
    return InvalidInput(ErrorCode.INVALID_JSON, f"the body is not strict JSON: {error}")


def _decode_members(members: object, kind: type[_Decoded]) -> _Decoded:
    if not isinstance(members, dict):
        expected = _listed(_required_by(kind))
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"the body must be a JSON object with {expected}")
    return _decode(members, kind)


def decode_query(request: Request, kind: type[_Decoded]) -> _Decoded:
    """Read the parameters that `kind` has; others are ignored. Raises `InvalidInput`."""
    values: dict[str, object] = {}
    for name, is_number in _parameters_of(kind):
        text = _single(request, name)
        if text is not None:
            values[name] = _number(text) if is_number else text
    required = _required_by(kind)
    if any(name not in values for name in required):
        what = f"parameter {required[0]} is" if len(required) == 1 else f"parameters {_listed(required)} are"
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"the query {what} needed")
    return _decode(values, kind)


def _decode(values: Mapping[str, object], kind: type[_Decoded]) -> _Decoded:
    try:
        return msgspec.convert(values, kind, dec_hook=_by_the_domain)
    except ValidationError as error:
        # What msgspec says is for programmers.
        raise next(filter(None, (_refusal(member, values) for member in _members_of(kind)))) from error


def _by_the_domain(kind: type, value: object) -> object:
    """Make one of the domain's texts, which says itself what is wrong."""
    if not issubclass(kind, CheckedText):
        raise NotImplementedError(f"{kind} can't be decoded")
    return kind(value)


def _refusal(member: _Member, values: Mapping[str, object]) -> InvalidInput | None:
    """Say what is wrong with one member, if it is this one."""
    value, is_there = values.get(member.name), member.name in values
    if not is_there and not member.is_required:
        return None
    with suppress(ValidationError):
        msgspec.convert(value, member.type, dec_hook=_by_the_domain)
        if is_there:
            return None
    return InvalidInput(member.fault.code, f"{member.name} {member.fault.sentence(value)}", field=member.name)


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _number(text: str) -> int | str:
    """Read a whole number; anything else stays text, and so isn't of the type that it must have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else text


def _single(request: Request, name: str) -> str | None:
    values = query_values(request, name)
    if len(values) > 1:
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"{name} is given more than once", field=name)
    return values[0] if values else None


def query_values(request: Request, name: str) -> Sequence[str]:
    """Give the values of a query parameter, percent-decoded once; `+` stays `+`, as in a path.

    Raises `InvalidInput` where a value is not UTF-8.
    """
    try:
        return [unquote(value, errors="strict") for value in raw_query_values(request, name)]
    except UnicodeDecodeError as error:
        raise InvalidInput(ErrorCode.INVALID_REQUEST, f"{name} is not UTF-8", field=name) from error


def raw_query_values(request: Request, name: str) -> Sequence[str]:
    """Give the values of a query parameter as they were sent."""
    query: bytes = request.scope["query_string"]
    if not query:
        return ()
    pairs = (pair.partition("=") for pair in query.decode("latin-1").split("&"))
    return [value for key, _, value in pairs if key == name]
