"""The upload page at `/{service}/upload`: a handful of files of this package, and what a browser lets them do.

The page has its URLs relative to its own, so it works at whatever origin and behind whatever prefix a proxy adds. Only
what is listed here is served.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from entrypoints.http.answers import Constant

INDEX: Final = "index.html"
HASHING: Final = "hashing_worker.mjs"
"""The one script that runs WebAssembly: a worker has the policy of its own answer, not that of the page."""

_SCRIPT = "text/javascript; charset=utf-8"
ASSETS: Final[Mapping[str, str]] = {
    INDEX: "text/html; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "style.css": "text/css; charset=utf-8",
    HASHING: _SCRIPT,
    "batches.mjs": _SCRIPT,
    "chosen.mjs": _SCRIPT,
    "digests.mjs": _SCRIPT,
    "hashing.mjs": _SCRIPT,
    "items.mjs": _SCRIPT,
    "main.mjs": _SCRIPT,
    "parts.mjs": _SCRIPT,
    "problems.mjs": _SCRIPT,
    "queues.mjs": _SCRIPT,
    "sending.mjs": _SCRIPT,
    "service.mjs": _SCRIPT,
    "summary.mjs": _SCRIPT,
    "table.mjs": _SCRIPT,
    "uploads.mjs": _SCRIPT,
    "words.mjs": _SCRIPT,
    "vendor/hash-wasm-md5.umd.min.js": _SCRIPT,
    "vendor/hash-wasm-LICENSE.txt": "text/plain; charset=utf-8",
}
"""The media types of all that is served, by name below the folder `entrypoints/page`."""

# Content Security Policy Level 3. What a directive doesn't name, it refuses.
_NOTHING: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE: Final = (
    "; script-src 'self'; style-src 'self'; img-src 'self'; worker-src 'self'"
    # No string becomes code (Trusted Types), but for the address of the one worker.
    "; require-trusted-types-for 'script'; trusted-types hashing-worker"
)
_WORKER: Final = "; script-src 'self' 'wasm-unsafe-eval'"

_COMMON_HEADERS: Final = {
    # A page and scripts of two versions don't fit together: browsers ask each time, and mostly get a 304.
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_routes(root: str, store_url: str) -> list[BaseRoute]:
    """Give the routes of the page of the service at the path `root`.

    `store_url` is that of the bucket, without a slash at its end: nowhere else does a browser let the page send files.
    """
    assets = {name: _load(name, media_type, store_url) for name, media_type in ASSETS.items()}

    async def index(request: Request) -> Response:
        return await assets[INDEX].answer(request)

    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params["name"])
        if found is None or found is assets[INDEX]:
            raise HTTPException(404)
        return await found.answer(request)

    return [
        Route(f"{root}/upload", index, methods=["GET"]),
        Route(f"{root}/upload/{{name:path}}", asset, methods=["GET"]),
    ]


def _load(name: str, media_type: str, store_url: str) -> Constant:
    content = files("entrypoints").joinpath("page", name).read_bytes()
    policy = _NOTHING
    if name == INDEX:
        policy += f"{_PAGE}; connect-src 'self' {_sources(store_url)}"
    elif name == HASHING:
        policy += _WORKER
    return Constant.of(content, media_type, {"Content-Security-Policy": policy, **_COMMON_HEADERS})


def _sources(store_url: str) -> str:
    """Name the bucket and all below it; without a path, the host is the bucket's own."""
    # These two end a source or a directive, whatever else is encoded in a URL.
    url = store_url.replace(";", "%3B").replace(",", "%2C")
    return f"{url} {url}/"
