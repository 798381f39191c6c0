"""JSON text that can be read in only one way (RFC 8259, and the advice of RFC 7493, "I-JSON").

Two readers that disagree about a document are a security hole: what one has checked, the other has not seen. So what
parsers are known to disagree about is refused: duplicate members, numbers that are not JSON (NaN, Infinity), text that
is not UTF-8, a byte order mark, and nesting deeper than anybody needs.
"""

import json
import re
from collections.abc import Callable, Generator
from typing import Any, NoReturn

MAX_DEPTH = 32
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"
_CONTAINERS = frozenset({dict, list})
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"{[:"))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')


class NotStrictJson(ValueError):
    """The text is not JSON, or not in only one way. The message says where, and is fit to be shown to the sender."""


def _refuse_constant(name: str) -> NoReturn:
    raise NotStrictJson(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _parse(data: bytes) -> object:
    return _DECODER.decode(data.decode())


def loads(data: bytes, parse: Callable[[bytes], object] = _parse) -> object:
    """Read one JSON value. Raises `NotStrictJson` and nothing else, whatever the bytes are.

    `parse` reads JSON in UTF-8 into plain dicts and lists, and raises ValueError for anything else; the default is the
    standard library's.
    """
    value = _parsed(data, parse)
    structure = _structure_of(data)
    _refuse_duplicates(data, structure, _count_members(value, structure))
    return value


def loads_in_steps(data: bytes, parse: Callable[[bytes], object]) -> Generator[None, None, object]:
    """Read likewise, for whoever must not do all of it at once. Nothing is given before all has been checked."""
    value = _parsed(data, parse)
    yield
    structure = _structure_of(data)
    yield
    members = _count_members(value, structure)
    yield
    _refuse_duplicates(data, structure, members)
    return value


def _parsed(data: bytes, parse: Callable[[bytes], object]) -> object:
    try:
        return parse(data)
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"it is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise NotStrictJson(_TOO_DEEP) from error
    except NotStrictJson:
        raise
    except ValueError as error:  # Python's limit on the digits of an integer
        raise NotStrictJson("it has a number with too many digits") from error


def _structure_of(data: bytes) -> bytes:
    """Leave nothing of a text but what opens containers or ends names, in strings too: most of it is neither."""
    return data.translate(None, _NOT_STRUCTURE)


def _count_members(value: object, structure: bytes) -> int:
    """Count the members of all objects in `value`, and refuse it if it is too deep.

    There can't be more containers in it than were opened, so when so many were seen, nothing is looked into for more.
    """
    members, depth, unseen = 0, 0, structure.count(b"{") + structure.count(b"[")
    level: list[Any] = [value]  # if it is no container, there is none in it either
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise NotStrictJson(_TOO_DEEP)
        unseen -= len(level)
        below: list[Any] = []
        # No parser makes subclasses, so exact types are enough; and most containers hold no others.
        for container in level:
            if type(container) is dict:
                members += len(container)
            if unseen > 0:
                items = container.values() if type(container) is dict else container
                below += [item for item in items if type(item) in _CONTAINERS]
        level = below
    return members


def _refuse_duplicates(data: bytes, structure: bytes, kept: int) -> None:
    # A parser keeps one of several members of the same name, and each that was written has a colon behind its name. So
    # when there are no more colons than members were kept, none was lost; colons in strings are looked at only then.
    if structure.count(b":") != kept and _STRING.sub(b"", data).count(b":") != kept:
        raise NotStrictJson("a member stands twice in one object")
