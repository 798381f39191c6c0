"""`bitstore stores`: which stores can be chosen here, and what each really enforces. Needs no settings."""

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from adapters.stores.flavours import FLAVOURS
from entrypoints.cli.matrix import NOTES, ListedStore, StoreClaims, list_stores, longest_upload, matrix_lines
from entrypoints.settings import Backend


def print_stores(options: argparse.Namespace) -> int:
    """Print the stores and the matrix for people, the matrix alone in Markdown, or all of it in JSON."""
    stores = list_stores()
    if options.json:
        print(json.dumps(_as_json(stores), indent=2, ensure_ascii=False))
        return 0
    lines = _markdown(stores) if options.markdown else _text(stores)
    print("\n".join(lines))
    return 0


def _text(stores: Sequence[ListedStore]) -> Iterable[str]:
    width = max(len(store.name) for store in stores)
    yield "STORAGE_BACKEND can be:"
    yield from (f"  {store.name:<{width}}  {_describe(store)}" for store in stores)
    yield ""
    yield "What each enforces of a signed upload:"
    yield from (f"  {line}" for line in matrix_lines(stores))
    yield ""
    yield from (f"  - {note}" for note in NOTES)


def _markdown(stores: Sequence[ListedStore]) -> Iterable[str]:
    yield from matrix_lines(stores, edge="|")
    yield ""
    yield from (f"- {note}" for note in NOTES)


def _describe(store: ListedStore) -> str:
    if store.distribution is None:
        return f"built in; STORAGE_FLAVOUR can be {', '.join(FLAVOURS)}" if store.name == Backend.S3 else "built in"
    silent = None if store.claims else "it doesn't say what it enforces"
    return "; ".join(filter(None, [f"{store.distribution} {store.version}", store.problem or silent]))


def _as_json(stores: Sequence[ListedStore]) -> dict[str, Any]:
    return {
        "stores": [
            {
                "name": store.name,
                "distribution": store.distribution,
                "version": store.version,
                "problem": store.problem,
            }
            for store in stores
        ],
        "matrix": [row for store in stores for claims in store.claims for row in _json_rows(claims)],
    }


def _json_rows(claims: StoreClaims) -> Iterable[dict[str, Any]]:
    for method, enforced in claims.capabilities.methods.items():
        yield {
            "store": claims.store,
            "flavour": claims.flavour,
            "method": method,
            "enforced": sorted(enforced),
            "max_request_bytes": longest_upload(claims.capabilities, method),
            "max_lifetime_seconds": int(claims.capabilities.max_lifetime.total_seconds()),
            "seen_on": claims.seen_on,
        }
