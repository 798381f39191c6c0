"""The routes of the description: the document and the page, each made once, when it is first asked for."""

import hashlib
from base64 import b64encode
from typing import Any, Final

import orjson
from starlette.routing import Route

from entrypoints.http.answers import Constant, MadeOnce
from entrypoints.http.description.document import Described, describe
from entrypoints.http.description.operations import JSON
from entrypoints.http.description.page import STYLE, render_page
from entrypoints.http.description.schemas import Accepted
from entrypoints.wiring import ServedStore, Service

_KEPT_SECONDS: Final = 300
_COMMON_HEADERS: Final = {
    "Cache-Control": f"public, max-age={_KEPT_SECONDS}",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STYLE_HASH: Final = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Content Security Policy Level 3: nothing but the one style sheet that is in the page.
_PAGE_HEADERS: Final = {
    **_COMMON_HEADERS,
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
}


def describe_service(service: Service) -> dict[str, Any]:
    """Make the OpenAPI document of a wired service."""
    accepted = Accepted(service.authorize_uploads.rules.in_parts, service.store.signer.capabilities)
    return describe(Described(service.settings.service_name, accepted, isinstance(service.store, ServedStore)))


def description_routes(service: Service) -> list[Route]:
    """Give the routes of the description of a wired service."""
    name = service.settings.service_name

    def document() -> Constant:
        return Constant.of(orjson.dumps(describe_service(service)), JSON, _COMMON_HEADERS)

    def page() -> Constant:
        return Constant.of(render_page(describe_service(service)).encode(), "text/html; charset=utf-8", _PAGE_HEADERS)

    return [
        Route(f"/{name}/openapi.json", MadeOnce(document).answer, methods=["GET"]),
        Route(f"/{name}/docs", MadeOnce(page).answer, methods=["GET"]),
    ]
