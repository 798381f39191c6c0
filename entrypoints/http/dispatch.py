"""From a request to the endpoint that answers it, in one step."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.errors import BitstoreError
from entrypoints.http.errors import Refusals

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class Dispatch:
    """Asks the endpoint whose method and whole path a request has, and leaves all other requests to Starlette's router.

    The router would try one pattern after the other, and have each request and each message of its answer go through
    six functions more: a fifth of the time of a small request.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute], refusals: Refusals) -> None:
        self._app = app
        self._endpoints = endpoints_by_path(routes)
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await endpoint(request)
        except BitstoreError as error:
            answer = await self._refusals.answer(request, error)
        await answer(scope, receive, send)


def endpoints_by_path(routes: Iterable[BaseRoute]) -> Mapping[tuple[str, str], Endpoint]:
    """Give the endpoints of those routes that have one path, by method and path."""
    return {
        (method, route.path): route.endpoint
        for route in routes
        if isinstance(route, Route) and not route.param_convertors
        for method in route.methods or ()
    }
