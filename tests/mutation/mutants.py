"""Break a module's source in one place: every way that we know, each a mutant of its own.

Unlike the tools on the package index, this looks at what a module is made of outside its functions too: tables,
limits, patterns and the defaults of records, where most rules of this project stand. What is said to people is left as
it is, and so are annotations and lines in the log.
"""

import ast
import copy
import io
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from attrs import field, frozen

_COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.Div: ast.Mult,
}  # fmt: skip
_CONDITIONS = frozenset({"test", "ifs", "guard"})
_UNCHANGED_ROLES = frozenset({"annotation", "returns", "decorator_list", "bases", "cause"})
_UNCHANGED_KEYWORDS = frozenset({"init", "kw_only"})
_Node = TypeVar("_Node", bound=ast.expr)
_NAMES = dict(
    pair
    for one, other in (
        ("min", "max"), ("any", "all"), ("startswith", "endswith"), ("partition", "rpartition"), ("find", "rfind"),
        ("issubset", "issuperset"), ("lstrip", "rstrip"), ("lower", "upper"),
    )
    for pair in ((one, other), (other, one))
) | {"fullmatch": "match", "isdisjoint": "issubset", "search": "match", "finditer": "findall"}  # fmt: skip
_PATTERN = re.compile(r"""[bf]?r[bf]?["']|[bf]?["'](?=[^ ]*\[[^ ]*\][^ ]*$)""")
_PIECE = re.compile(
    r"(?:\\[xu][0-9a-f]+|[^\\])-(?:\\[xu][0-9a-f]+|[^]\\])"
    r"|\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|.)|\{(?P<count>[0-9]+)(?P<rest>,?[0-9]*\})|\(\?[:!]|[*+?]\+?|[^\\]"
)


@frozen
class Mutant:
    """A module's whole source with one thing changed."""

    source: str = field(repr=False)
    where: str
    """The dotted name of the class or function, empty for the module itself."""
    line: int
    lines: range
    """Those of the statement, in the module as it is: a test that runs none of them can't notice."""
    was: str
    becomes: str
    """The changed lines before and after, as one line each."""


def mutants_of(source: str) -> Iterator[Mutant]:
    """Give all mutants of a module, in the order of its lines."""
    tree, data = ast.parse(source), source.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    scopes = list(_scopes(tree, prefix=""))
    for start, end, text in sorted({*_changed_nodes(tree, starts), *_changed_patterns(source, starts)}):
        first, last = (sum(begin <= at for begin in starts) for at in (start, end - 1))
        mutated = data[:start] + text.encode() + data[end:]
        if not _is_python(mutated):
            continue
        yield Mutant(
            mutated.decode(),
            max((name for lines, name in scopes if first in lines), key=len, default=""),
            first,
            min((lines for lines in _statements(tree) if first in lines), key=len),
            _in_one_line(data[starts[first - 1] : starts[last]]),
            _in_one_line(mutated[starts[first - 1] : len(mutated) - len(data) + starts[last]]),
        )


def _in_one_line(text: bytes) -> str:
    return " ".join(text.decode().split())


def _is_python(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _statements(tree: ast.Module) -> Iterator[range]:
    return (_lines(node) for node in ast.walk(tree) if isinstance(node, ast.stmt))


def _scopes(node: ast.AST, prefix: str) -> Iterator[tuple[range, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield _lines(child), prefix + child.name
            yield from _scopes(child, f"{prefix}{child.name}.")


def _changed_nodes(tree: ast.Module, starts: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Give the place in bytes of what is replaced, and by what."""
    for node, role in _mutable(tree, is_said=False):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        if role in _CONDITIONS and not isinstance(node, ast.Constant):
            yield from ((start, end, outcome) for outcome in ("True", "False"))
        if role == "type" and not isinstance(node, ast.Tuple):
            yield start, end, "()"
        others = _others(node)
        if role == "statement":
            others = (other for other in others if isinstance(other, ast.Call))
        for other in others:
            yield start, end, other if isinstance(other, str) else f"({ast.unparse(other)})"


def _mutable(node: ast.AST, *, is_said: bool) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Walk through what may be changed, with the role that it has in what it belongs to."""
    is_said = is_said or isinstance(node, ast.Raise | ast.Return)
    for role, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or role in _UNCHANGED_ROLES or _is_left_alone(child):
                continue
            if isinstance(child, ast.keyword) and child.arg in _UNCHANGED_KEYWORDS:
                continue
            if (is_said and _is_text(child)) or (role == "slice" and isinstance(child, ast.Tuple)):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child, "statement" if isinstance(node, ast.Expr) else role
            if not isinstance(child, ast.JoinedStr):
                yield from _mutable(child, is_said=is_said)


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(map(_is_text, node.values))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case (
            ast.Expr(value=ast.Constant())
            | ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="_log"))))
            | ast.Assign(targets=[ast.Name(id="__slots__" | "__all__" | "noun" | "_log")])
            | ast.If(test=ast.Name(id="TYPE_CHECKING"))
        ):
            return True
    return False


def _others(node: ast.expr | ast.stmt) -> Iterator[ast.expr | str]:  # noqa: C901, PLR0912 - one case for each kind
    """Give what may stand in the place of a node."""
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                yield _with(node, ops=[*ops[:index], _COMPARISONS[type(op)](), *ops[index + 1 :]])
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            yield from (_without(node, values=index) for index in range(len(values)))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            yield _with(node, op=_ARITHMETIC[type(op)]())
        case ast.Constant(value=bool(value)):
            yield repr(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield from (repr(value + 1), repr(value - 1))
        case ast.Constant(value=str(value)):
            yield repr(value + "X")
        case ast.Constant(value=bytes(value)):
            yield repr(value + b"X")
        case ast.Set(elts=items) | ast.List(elts=items) | ast.Tuple(elts=items):
            yield from (_without(node, elts=index) for index in range(len(items)))
        case ast.Dict(keys=keys):
            yield from (_without(node, keys=index, values=index) for index in range(len(keys)))
        case ast.Call():
            yield from _other_calls(node)
        case ast.Attribute(attr=name) if name in _NAMES:
            yield _with(node, attr=_NAMES[name])
        case ast.Name(id=name) if name in _NAMES:
            yield _with(node, id=_NAMES[name])
        case ast.Subscript(value=value, slice=ast.Slice()):
            yield value
        case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp()):
            yield from ("return True", "return False")
        case ast.Return(value=ast.Constant(value=None | True | False)):
            pass  # what is constant is dealt with as such
        case ast.Return(value=ast.expr()):
            yield "return None"
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Expr() | ast.Delete() | ast.AugAssign():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"


def _other_calls(node: ast.Call) -> Iterator[ast.expr]:
    for index, keyword in enumerate(node.keywords):
        # One that is true or false is turned round already.
        if not isinstance(keyword.value, ast.Constant) or not isinstance(keyword.value.value, bool):
            yield _without(node, keywords=index)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "split" and len(node.args) > 1:
        yield _with(node, func=_with(node.func, attr="rsplit"))
    if len(node.args) > 1:
        yield from (_without(node, args=index) for index in range(len(node.args)))
    if isinstance(node.func, ast.Attribute) and not node.keywords:
        yield node.func.value
    elif len(node.args) == 1 and not node.keywords and not _is_named(node.func, "frozenset"):
        yield node.args[0]


def _is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _with(node: _Node, **changes: object) -> _Node:
    other = copy.copy(node)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def _without(node: _Node, **places: int) -> _Node:
    """Leave out the item at a place of each of these lists."""
    return _with(
        node,
        **{
            name: [item for at, item in enumerate(getattr(node, name)) if at != place] for name, place in places.items()
        },
    )


def _changed_patterns(source: str, starts: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Leave out each piece of each regular expression, and count to one more and one less.

    Raw strings are taken for those, and others without a blank that have a class of characters.
    """
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text, (line, column) = token.string, token.start
        opening = _PATTERN.match(text)
        if token.type != tokenize.STRING or opening is None or text.endswith('"""'):
            continue
        offset = starts[line - 1] + len(token.line[:column].encode())
        for piece in _PIECE.finditer(text, opening.end(), len(text) - 1):
            start, end = (offset + len(text[:place].encode()) for place in piece.span())
            yield start, end, ""
            if piece["count"]:
                yield from ((start, end, f"{{{int(piece['count']) + change}{piece['rest']}") for change in (1, -1))
