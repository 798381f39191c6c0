"""JSON text that can be read in only one way (RFC 8259, and the advice of RFC 7493, "I-JSON").

Two readers that disagree about a document are a security hole: what one has checked, the other has not seen. So what
parsers are known to disagree about is refused: duplicate members, numbers that are not JSON (NaN, Infinity), text that
is not UTF-8, a byte order mark, and nesting deeper than anybody needs.
"""

import json
import re
from typing import NoReturn

MAX_DEPTH = 32
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"

_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# An unterminated string is taken to the end of the text, so that no part of it is ever scanned twice.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


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
    if _is_deeper_than(MAX_DEPTH, data):
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


def _is_deeper_than(limit: int, data: bytes) -> bool:
    # Taking away all innermost pairs, once per level, is hundreds of times faster than a walk. Only where brackets
    # inside strings stay behind is each one looked at.
    brackets = data.translate(None, _ALL_BUT_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(data):
        if match[0] in (b"{", b"["):
            depth += 1
            if depth > limit:
                return True
        elif match[0] in (b"}", b"]"):
            depth -= 1
    return False
