"""JSON text that can be read in only one way (RFC 8259, and the advice of RFC 7493, "I-JSON").

Two readers that disagree about a document are a security hole: what one has checked, the other has not seen. So what
parsers are known to disagree about is refused: duplicate members, numbers that are not JSON (NaN, Infinity), text that
is not UTF-8, a byte order mark, and nesting deeper than anybody needs.
"""

import json
from typing import Any, NoReturn

MAX_DEPTH = 32
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"
_CONTAINERS = (dict, list)


class NotStrictJson(ValueError):
    """The text is not JSON, or not in only one way. The message says where, and is fit to be shown to the sender."""


def loads(data: bytes) -> object:
    """Read one JSON value. Raises `NotStrictJson` and nothing else, whatever the bytes are."""
    try:
        value: object = _DECODER.decode(data.decode())
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
    if _is_deeper_than(MAX_DEPTH, value):
        raise NotStrictJson(_TOO_DEEP)
    return value


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("a member stands twice in one object")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise NotStrictJson(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)


def _is_deeper_than(limit: int, value: object) -> bool:
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    for _ in range(limit):
        # The decoder makes no subclasses, so exact types are enough, and several times faster to tell.
        level = [
            member
            for parent in level
            for member in (parent.values() if type(parent) is dict else parent)
            if type(member) in _CONTAINERS
        ]
        if not level:
            return False
    return True
