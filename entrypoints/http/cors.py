"""Cross-origin requests (the Fetch standard, "CORS protocol"), at no cost to clients that are no browsers."""

from collections.abc import Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class BrowserCors:
    """Starlette's CORS middleware, with its options, around those requests that its answer can differ for.

    Without an Origin nothing can, unless only some origins are allowed: then `Vary: Origin` belongs in each answer, or
    a cache would give it to others.
    """

    def __init__(self, app: ASGIApp, /, allow_origins: Sequence[str], **options: Any) -> None:  # noqa: ANN401 - Starlette's
        self._app = app
        self._cors = CORSMiddleware(app, allow_origins=allow_origins, **options)
        self._always = "*" not in allow_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request."""
        cross_origin = self._always or any(name == b"origin" for name, _ in scope.get("headers", ()))
        await (self._cors if cross_origin else self._app)(scope, receive, send)
