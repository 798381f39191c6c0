"""A store that the service serves itself: through the service if that runs, else served here for the time being."""

import socket
from urllib.parse import urlsplit

from attrs import evolve

from entrypoints.cli.doctor.case import Case
from entrypoints.cli.doctor.client import Unreachable
from entrypoints.cli.doctor.findings import Finding, note, ok, wrong
from entrypoints.cli.local_server import listening_socket, served
from entrypoints.http.app import create_app
from entrypoints.settings import ServedSettings


async def check_service(case: Case, settings: ServedSettings) -> Finding:
    """Look whether the service answers at PUBLIC_URL; if it doesn't, serve its store from this process."""
    root = settings.public.url.removesuffix(f"/store/{settings.public.bucket}")
    try:
        answer = await case.client.send("GET", f"{root}/healthz")
    except Unreachable as failure:
        _serve_here(case, settings)
        return note(
            f"the service doesn't run at {root} ({failure.reason}); its store is served by this command meanwhile",
            "clients will be told that address; set PUBLIC_URL to the service as they see it"
            if "PUBLIC_URL" not in _given(case)
            else "start `bitstore serve`, and run this again to see what stands between",
        )
    if answer.body != '{"status":"ok"}':
        _serve_here(case, settings)
        return wrong(
            f"something answers at {root}, but it isn't this service ({answer.status} to /healthz)",
            "set PUBLIC_URL to the service as clients see it, with the path that a proxy adds",
        )
    if settings.root is None:
        _serve_here(case, settings)
        return note(
            f"{root} is the service; what is in its memory can't be seen from here, so a store like it is checked"
        )
    return ok(f"{root} is the service, and serves the store")


def _given(case: Case) -> list[str]:
    return [name for name, value in case.service.settings.effective.items() if not value.endswith("(default)")]


def _serve_here(case: Case, settings: ServedSettings) -> None:
    """Serve the store on a free port. What is signed stays as it is: the endpoint judges by its public address."""
    # The store itself is started elsewhere, and the requests come one at a time: so its objects can be shared.
    app = create_app(evolve(case.service, startables=()), case.clock)
    listener: socket.socket = case.closing.enter_context(listening_socket(0))
    case.closing.enter_context(served(app, listener))
    public = urlsplit(settings.public.url)
    prefix = f"{public.scheme}://{public.netloc}{public.path.removesuffix(f'/store/{settings.public.bucket}')}"
    case.client.detours[prefix] = f"http://127.0.0.1:{listener.getsockname()[1]}"
