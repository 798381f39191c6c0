"""Which module may import what: an allow-list per layer, checked on the syntax tree without importing anything.

The rules of the house: `entrypoints` sees all; `adapters` see `application.ports`, `domain` and their own kind, and a
store only its own family and what all stores share; `application` sees `domain`; `domain` sees the standard library and
attrs. Domain and application are pure: no I/O, no clock. HTTP status codes are the business of the HTTP edge.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from attrs import field, frozen

LAYERS = frozenset({"domain", "application", "adapters", "entrypoints"})

_ATTRS = frozenset({"attr", "attrs"})

# What computes on its arguments alone. Not here, and so refused: os, pathlib, socket, time, random, secrets, logging, …
# fmt: off
_PURE_STANDARD_LIBRARY = frozenset({
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "hashlib", "hmac", "ipaddress", "itertools", "json", "math",
    "mimetypes", "operator", "re", "string", "struct", "textwrap", "types", "typing", "unicodedata", "urllib.parse",
})

# What these modules hold all the same that reads a clock or the machine, and the built-in functions that do.
_IMPURE_NAMES = frozenset({
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
    "mimetypes.guess_all_extensions", "mimetypes.guess_extension", "mimetypes.guess_file_type", "mimetypes.guess_type",
    "mimetypes.add_type", "mimetypes.init", "mimetypes.read_mime_types",
    "breakpoint", "eval", "exec", "input", "open", "print",
})

# Imports that the syntax tree doesn't show.
_DYNAMIC_IMPORTS = frozenset({"__import__", "importlib.import_module", "importlib.__import__"})

# Those that hardly are anything else. 200, 400 or 500 may be a limit, and count only next to the word "status".
_STATUSES = frozenset({
    201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 401, 403, 404, 405, 406, 409, 410, 411, 412, 413, 415, 416, 422,
    429, 501, 502, 503, 504, 507,
})
# fmt: on


@frozen
class Zone:
    """What the modules of one part of the house may import; a module's name stands for those below it too."""

    first_party: AbstractSet[str] = frozenset()
    third_party: AbstractSet[str] = frozenset()
    pure: bool = field(default=False, kw_only=True)
    knows_http: bool = field(default=False, kw_only=True)

    def refusal(self, target: str) -> str | None:
        """Why a module of this zone may not import `target`, the dotted name of a module or of something in one."""
        root = target.partition(".")[0]
        if root in LAYERS:
            return None if _is_within(target, self.first_party) else f"may not import {target}"
        if root in sys.stdlib_module_names:
            allowed = not self.pure or _is_within(target, _PURE_STANDARD_LIBRARY)
            return None if allowed else f"may not import {target}: it isn't known to be free of I/O and clocks"
        return None if root in self.third_party else f"may not import {target}, a package of others"


_PORTS_AND_DOMAIN = frozenset({"application.ports", "domain"})
_TOKENS = _PORTS_AND_DOMAIN | {"adapters.tokens"}
_TOKEN_LIBRARIES = _ATTRS | {"aiohttp", "cryptography", "jwt", "orjson"}
_AZURE_SDK = _ATTRS | {"aiohttp", "azure", "yarl"}
_S3_SDK = _ATTRS | {"aiohttp", "boto3", "botocore", "orjson", "yarl"}


def _stores(*names: str) -> AbstractSet[str]:
    return {f"adapters.stores.{name}" for name in names}


# What all stores may share, and then each family of them: a store of another family isn't there for it.
_SHARED = _PORTS_AND_DOMAIN | _stores(
    "addresses", "asking", "batch_inspector", "connections", "content_disposition", "removal", "sigv4"
)
_S3_CLIENTS = _stores("s3", "s3_api", "s3_calls", "s3_inspector", "s3_multipart", "s3_parts")
_S3 = _SHARED | _S3_CLIENTS | _stores("credentials", "flavours", "s3_remover", "s3_upload_ids", "signing")
_DISK_PARTS = ("completion", "files", "format", "incoming", "listing", "multipart", "parts", "threads", "tree", "walk")
_DISK = _stores("disk", *(f"disk_{part}" for part in _DISK_PARTS))
_SERVED = _SHARED | _DISK | _stores("memory", "post_policy", "served_uploads", "sigv4_verify")
_AZURE_PARTS = ("inspector", "keys", "multipart", "remover", "requests", "sas", "signing")
_AZURE = _SHARED | _stores("azure", *(f"azure_{part}" for part in _AZURE_PARTS))
_GCS = _SHARED | _stores("gcs", "gcs_account", "gcs_api", "gcs_inspector", "gcs_remover", "gcs_v4")

# The test suite that is shipped: the modules that hold tests, and what these tests use.
_CONTRACT_PARTS = ("downloads", "harness", "inspection", "listing", "multipart", "uploads")
_CONTRACT_TESTS = _stores("contract", *(f"contract_{part}" for part in _CONTRACT_PARTS))
_CONTRACT = _SHARED | _CONTRACT_TESTS | _stores("contract_cheats", "contract_client")

# A module is in the zone with the longest name that it is below. A new kind of adapter may import nothing until it says
# here what it needs.
ZONES: Mapping[str, Zone] = {
    "domain": Zone({"domain"}, _ATTRS, pure=True),
    "application": Zone({"application", "domain"}, _ATTRS, pure=True),
    "adapters": Zone(),
    "adapters.tokens": Zone(_TOKENS, _TOKEN_LIBRARIES),
    # The client of a foreign server, as adapters.stores.s3 is.
    "adapters.tokens.key_sources": Zone(_TOKENS, _TOKEN_LIBRARIES, knows_http=True),
    "adapters.stores": Zone(_SHARED, _ATTRS),
    # The client of a foreign store: a status code is what that store said.
    **dict.fromkeys(
        _stores("batch_inspector", "connections", "removal"),
        Zone(_SHARED, _ATTRS | {"aiohttp", "yarl"}, knows_http=True),
    ),
    **dict.fromkeys(_stores("credentials", "flavours", "s3_remover", "s3_upload_ids", "signing"), Zone(_S3, _S3_SDK)),
    **dict.fromkeys(_S3_CLIENTS, Zone(_S3, _S3_SDK, knows_http=True)),
    **dict.fromkeys(_SERVED - _SHARED, Zone(_SERVED, _ATTRS | {"orjson"})),
    **dict.fromkeys(_stores("azure", "azure_keys", "azure_requests"), Zone(_AZURE, _AZURE_SDK)),
    **dict.fromkeys(_stores("azure_remover", "azure_sas", "azure_signing"), Zone(_AZURE, _ATTRS)),
    **dict.fromkeys(_stores("azure_inspector", "azure_multipart"), Zone(_AZURE, _AZURE_SDK, knows_http=True)),
    "adapters.stores.gcs": Zone(_GCS, _ATTRS, knows_http=True),
    **dict.fromkeys(_stores("gcs_remover", "gcs_v4"), Zone(_GCS, _ATTRS)),
    "adapters.stores.gcs_account": Zone(_GCS, _ATTRS | {"cryptography", "jwt"}),
    "adapters.stores.gcs_api": Zone(_GCS, _ATTRS | {"aiohttp", "orjson", "yarl"}, knows_http=True),
    "adapters.stores.gcs_inspector": Zone(_GCS, _ATTRS, knows_http=True),
    # They play the client, who sees status codes too.
    **dict.fromkeys(_CONTRACT_TESTS, Zone(_CONTRACT, _ATTRS | {"pytest", "urllib3"}, knows_http=True)),
    "adapters.stores.contract_client": Zone(_CONTRACT, _ATTRS | {"urllib3"}, knows_http=True),
    # It runs where no service does, and must start at once.
    "entrypoints.client": Zone({"domain", "entrypoints.client"}, _ATTRS | {"urllib3"}, knows_http=True),
    "entrypoints.cli.progress_bars": Zone(LAYERS, _ATTRS | {"rich"}),
    "entrypoints": Zone(
        LAYERS,
        _ATTRS
        | {"cryptography", "httptools", "jwt", "msgspec", "orjson", "python_multipart", "starlette", "urllib3"}
        | {"uvicorn"},
        knows_http=True,
    ),
}


@frozen
class Violation:
    """One place that breaks a rule."""

    module: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: {self.reason}"


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """The dotted name and the file of every module of the four layers; that of a package ends in `.__init__`."""
    for layer in sorted(LAYERS):
        for file in sorted((root / layer).rglob("*.py")):
            yield ".".join(file.relative_to(root).with_suffix("").parts), file


def violations(module: str, source: str) -> list[Violation]:
    """What `source`, the text of `module` as `modules` names it, does against the rules, in the order of its lines.

    Raises:
        SyntaxError: `source` is not Python, or of a Python newer than this one.
    """
    name = module.removesuffix(".__init__")
    zone = ZONES[max((zone for zone in ZONES if _is_within(name, [zone])), key=len)]
    tree = ast.parse(source, filename=module)
    imports = list(_imports(tree, package=module.rpartition(".")[0]))
    uses = [(line, target) for line, _, target in imports]
    uses += _uses(tree, {binding: target for _, binding, target in imports})

    found = {(line, refusal) for line, _, target in imports if (refusal := zone.refusal(target))}
    found |= {(line, f"may not import as it runs, by {used}") for line, used in uses if used in _DYNAMIC_IMPORTS}
    if zone.pure:
        found |= {(line, f"may not use {used}: pure code does no I/O") for line, used in uses if used in _IMPURE_NAMES}
    if not zone.knows_http:
        enumerated = {line for line, used in uses if _is_within(used, ["http.HTTPStatus"])}
        found |= {(line, "may not know HTTP status codes") for line in enumerated.union(_lines_with_statuses(tree))}
    return [Violation(name, line, reason) for line, reason in sorted(found)]


def _is_within(name: str, parents: Iterable[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[int, str, str]]:
    """Each import's line, the name that it binds, and the dotted name of what that stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            source = _source_of(node, package)
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, f"{source}.{alias.name}"


def _source_of(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module that is imported from; one that leaves the layers has a name no zone allows."""
    parents = package.split(".")
    above = parents[: len(parents) - node.level + 1] or ["<beyond the top>"]
    return ".".join((above if node.level else []) + ([node.module] if node.module else []))


def _uses(tree: ast.Module, bindings: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """The dotted names that the code uses, each traced to what was imported, and the free functions that it calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).partition(".")
            yield node.lineno, f"{bindings.get(root, root)}.{rest}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, bindings.get(node.func.id, node.func.id)


def _lines_with_statuses(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=int(number)) if number in _STATUSES:
                yield node.lineno
            case ast.Compare() | ast.Assign() | ast.AnnAssign() | ast.keyword() if _names_a_status(node):
                yield node.lineno


def _names_a_status(node: ast.AST) -> bool:
    numbers = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and type(part.value) is int)
    return any(100 <= number < 600 for number in numbers) and "status" in ast.unparse(node).lower()
