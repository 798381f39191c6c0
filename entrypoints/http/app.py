"""The HTTP application, declared as data: routes, error handlers, lifespan."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from attrs import evolve
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from application.multipart_uploads import MultipartRequest
from application.ports import Probe, Startable
from domain.errors import Unavailable
from domain.identity import Principal
from entrypoints.drain import Drain
from entrypoints.events import flush_events
from entrypoints.http import metrics, wire, wire_reads
from entrypoints.http.answers import JsonInPieces
from entrypoints.http.audit import Audit
from entrypoints.http.connections import Terms
from entrypoints.http.description.routes import description_routes
from entrypoints.http.dispatch import Dispatch
from entrypoints.http.errors import Refusals
from entrypoints.http.page import page_routes
from entrypoints.http.places import Places
from entrypoints.http.store_endpoint import StoreEndpoint, StoreMount
from entrypoints.http.watch import Routes, Watch
from entrypoints.limits import Limits
from entrypoints.request_context import current_request
from entrypoints.settings import ServedSettings
from entrypoints.wiring import ServedStore, Service
from entrypoints.workers import SharedFigures

PROBE_TIMEOUT_SECONDS = 5.0
# Signed requests and descriptions are for one user, now: no cache may keep them.
_NOT_CACHED = {"Cache-Control": "no-store"}

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Give the present moment; the only clock of the service."""
    return datetime.now(UTC)


def create_app(
    service: Service,
    clock: Clock = utc_now,
    limits: Limits | None = None,
    metrics_folder: Path | None = None,
    drain: Drain | None = None,
) -> Starlette:
    """Build the ASGI application of a wired service.

    `limits` replace those of the settings. Several workers of one service share a `metrics_folder`. With a `drain` it
    says beforehand that it ends.
    """
    limits = limits or service.settings.limits
    drain = drain or Drain()
    audit = Audit(service.counters)
    shared = None if metrics_folder is None else SharedFigures(metrics_folder, partial(metrics.measure, audit.counters))
    api = _Api(evolve(service, probes=[drain, *service.probes]), audit, shared, clock, limits)
    refusals = Refusals(audit, service.settings.service_name)
    root = f"/{service.settings.service_name}"
    routes: list[BaseRoute] = [
        Route(f"{root}/authorize", api.authorize, methods=["POST"]),
        Route(f"{root}/", api.authorize, methods=["POST"]),
        Route(root, api.authorize, methods=["POST"]),
        Route(f"{root}/verify", api.verify, methods=["POST"]),
        Route(f"{root}/info", api.info, methods=["GET"]),
        Route(f"{root}/objects", api.objects, methods=["GET"]),
        Route(f"{root}/presign", api.presign, methods=["GET", "POST"]),
        Route(f"{root}/multipart/resume", api.resume, methods=["POST"]),
        Route(f"{root}/multipart/complete", api.complete, methods=["POST"]),
        Route(f"{root}/multipart/abort", api.abort, methods=["POST"]),
        *description_routes(service),
        Route("/healthz", api.healthz, methods=["GET"]),
        Route("/readyz", api.readyz, methods=["GET"]),
        Route("/metrics", api.metrics, methods=["GET"]),
        *_store_routes(service, clock, limits),
        *page_routes(root, service.store.signer.url_prefixes("")[0]),
    ]
    app = _App(
        routes=routes,
        middleware=[
            Middleware(
                Watch,
                audit=audit,
                routes=_names_of(routes),
                cors_origins=service.settings.cors_origins,
                log_requests=service.settings.log_requests,
            ),
            Middleware(Dispatch, routes=routes, refusals=refusals),
        ],
        lifespan=_lifespan(
            [*service.startables, *([] if shared is None else [shared]), drain], Terms(limits.pace, drain)
        ),
    )
    app.router.redirect_slashes = False
    return app


class _App(Starlette):
    """Starlette but for the middleware that answers errors, which `Watch` and `Dispatch` do."""

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = self.router
        for kind, args, options in reversed(self.user_middleware):
            app = kind(app, *args, **options)
        return app


class _Api:
    """The endpoints: find the principal, read the request, call the use-case, write the answer."""

    def __init__(
        self, service: Service, audit: Audit, shared: SharedFigures | None, clock: Clock, limits: Limits
    ) -> None:
        self._service = service
        self._audit = audit
        self._shared = shared
        self._clock = clock
        self._limits = limits
        self._places = Places(audit.counters, service.turns, limits.requests_at_once)

    async def _principal(self, request: Request, now: datetime) -> Principal:
        principal = await self._service.authenticate(wire.read_token(request), now)
        context = current_request.get()
        if context is not None:
            context.userid = principal.userid
        return principal

    async def authorize(self, request: Request) -> JsonInPieces:
        now = self._clock()
        principal = await self._principal(request, now)
        body = await self._body(request)
        with self._places:
            await self._places.keep_step()
            asked = await wire.parse_upload_request(body, self._service.turns)
            await self._places.keep_step()
            uploads = await self._service.authorize_uploads(principal, asked, now)
            await self._places.keep_step()
            if len(asked.filedata) == 1:
                files: Sequence[bytes] = [wire.render_authorized_at_once(uploads)]
            else:
                files = await self._taking_turns(wire.render_authorized(uploads, self._service.turns))
            await self._places.keep_step()
        self._audit.authorized(principal, uploads)
        return JsonInPieces(wire.frame_authorized(files))

    async def verify(self, request: Request) -> JsonInPieces:
        now = self._clock()
        principal = await self._principal(request, now)
        body = await self._body(request)
        with self._places:
            asked = await wire.parse_upload_request(body, self._service.turns)
            verdicts = await self._service.verify_uploads(principal, asked, now)
            files = await self._taking_turns(wire.render_verdicts(verdicts, self._service.turns))
        return JsonInPieces(wire.frame_verdicts(files))

    async def _taking_turns(self, pieces: Iterator[bytes]) -> Sequence[bytes]:
        """Make the pieces of an answer, and let others have their turn after each."""
        made: list[bytes] = []
        for piece in pieces:
            made.append(piece)
            await self._service.turns.pause()
        return made

    async def _body(self, request: Request) -> bytes:
        return await wire.read_body(request, self._service.settings.max_body_bytes, self._limits.pace.patience_seconds)

    async def resume(self, request: Request) -> Response:
        async with self._multipart(request) as (principal, asked, now):
            resumed = await self._service.resume_upload(principal, asked, now)
            self._audit.resumed(principal, asked)
            return _json(wire.render_resumed(resumed))

    async def complete(self, request: Request) -> Response:
        async with self._multipart(request) as (principal, asked, now):
            verdict = await self._service.complete_upload(principal, asked, now)
            self._audit.completed(principal, asked, verdict.status)
            return _json(wire.render_verdict(verdict))

    async def abort(self, request: Request) -> Response:
        async with self._multipart(request) as (principal, asked, now):
            await self._service.abort_upload(principal, asked, now)
            self._audit.aborted(principal, asked)
            return _json(b'{"aborted":true}')

    @asynccontextmanager
    async def _multipart(self, request: Request) -> AsyncIterator[tuple[Principal, MultipartRequest, datetime]]:
        """Read what is asked of an upload in parts, and keep a place for it."""
        now = self._clock()
        principal = await self._principal(request, now)
        body = await self._body(request)
        with self._places:
            yield principal, wire.parse_multipart_request(body), now

    async def info(self, request: Request) -> Response:
        principal = await self._principal(request, self._clock())
        description = self._service.describe_store(principal)
        return _json(wire.render_description(description, self._service.settings.service_name))

    async def objects(self, request: Request) -> JsonInPieces:
        now = self._clock()
        principal = await self._principal(request, now)
        with self._places:
            stored = await self._service.list_objects(principal, wire_reads.parse_list_request(request), now)
            files = await self._taking_turns(wire_reads.render_stored(stored, self._service.turns))
        return JsonInPieces(wire_reads.frame_stored(files, stored))

    async def presign(self, request: Request) -> ASGIApp:
        now = self._clock()
        principal = await self._principal(request, now)
        if request.method == "POST":
            return await self._presign_many(request, principal, now)
        granted = self._service.presign_download(principal, wire_reads.parse_download_request(request), now)
        self._audit.presigned(principal, granted)
        return _json(wire_reads.render_signed_download(granted.signed))

    async def _presign_many(self, request: Request, principal: Principal, now: datetime) -> JsonInPieces:
        body = await self._body(request)
        with self._places:
            asked = await wire_reads.parse_downloads_request(body, self._service.turns)
            signed = await self._service.presign_downloads(principal, asked, now)
            files = await self._taking_turns(wire_reads.render_signed_downloads(signed, self._service.turns))
        self._audit.presigned_many(principal, len(set(asked.names)))
        return JsonInPieces(wire_reads.frame_signed_downloads(files))

    async def healthz(self, _request: Request) -> Response:
        return _json(b'{"status":"ok"}')

    async def readyz(self, _request: Request) -> Response:
        problems = [problem for problem in await asyncio.gather(*map(_ask, self._service.probes)) if problem]
        if not problems:
            return _json(b'{"status":"ready"}')
        answer = _json(orjson.dumps({"status": "not ready", "problems": problems}), status=503)
        answer.headers["Retry-After"] = "5"
        return answer

    async def metrics(self, _request: Request) -> Response:
        counters = self._audit.counters
        workers = [metrics.measure(counters)] if self._shared is None else await self._shared.of_all()
        return Response(metrics.render(workers), 200, _NOT_CACHED | {"Content-Type": metrics.CONTENT_TYPE})


async def _ask(probe: Probe) -> str | None:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await probe.check()
    except Unavailable as error:
        return error.message
    except TimeoutError:
        return f"no answer within {PROBE_TIMEOUT_SECONDS:.0f} seconds"
    return None


def _json(body: bytes, *, status: int = 200) -> Response:
    return Response(body, status, _NOT_CACHED, "application/json")


def _store_routes(service: Service, clock: Clock, limits: Limits) -> list[BaseRoute]:
    store = service.store
    settings = service.settings.store
    if not isinstance(store, ServedStore) or not isinstance(settings, ServedSettings):
        return []
    endpoint = StoreEndpoint(
        address=settings.public,
        region=settings.region,
        credentials=settings.credentials,
        writer=store.objects,
        reader=store.objects,
        parts=store.objects,
        max_bytes=service.settings.batch.files.max_bytes,
        clock=clock,
        limits=limits,
        counts=service.counters.served,
    )
    return [StoreMount(endpoint)]


def _names_of(routes: Sequence[BaseRoute]) -> Routes:
    paths = {route.path for route in routes if isinstance(route, Route)}
    patterns = {path for path in paths if "{" in path}
    folders = [f"{route.path}/" for route in routes if isinstance(route, StoreMount)]
    return Routes(frozenset(paths - patterns), (*folders, *(path.partition("{")[0] for path in patterns)))


def _lifespan(
    startables: Sequence[Startable], terms: Terms
) -> Callable[[Starlette], AbstractAsyncContextManager[Mapping[str, Any]]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            stack.callback(flush_events)
            for startable in startables:
                stack.push_async_callback(startable.stop)
                await startable.start()
            yield terms.as_state()

    return lifespan
