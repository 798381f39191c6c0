"""Whether a page of a given origin may talk to the store and to the service; and the rule to paste where it may not."""

from collections.abc import Sequence
from typing import Final

from domain.uploads import PutRequest
from entrypoints.cli.doctor.case import Case
from entrypoints.cli.doctor.cors_rules import rule_for, with_origin
from entrypoints.cli.doctor.findings import Finding, ok, wrong
from entrypoints.cli.explain.answers import Answer

_SUCCESS: Final = range(200, 300)
_SET_BY_BROWSERS: Final = ("content-length", "host")
_NEED_NO_RULE: Final = ("GET", "HEAD", "POST")
"""Methods that an answer need not list ("CORS-safelisted method" in the Fetch standard)."""


async def check_store_cors(case: Case, origin: str) -> Finding:
    """Ask as a browser does before it sends a file, or reads one (a preflight request)."""
    refused: dict[str, str] = {}
    headers: list[str] = []
    for method, url, names in _wanted(case):
        headers += names
        answer = await case.client.send(
            "OPTIONS",
            url,
            {
                "Origin": origin,
                "Access-Control-Request-Method": method,
                **({"Access-Control-Request-Headers": ",".join(names)} if names else {}),
            },
        )
        fault = _fault(answer, origin, method, names)
        if fault:
            refused[method] = fault
    if not refused:
        return ok(f"pages of {origin} may send files to the store, and read them")
    said = "; ".join(f"{method}: {fault}" for method, fault in refused.items())
    return wrong(
        f"pages of {origin} may not use the store ({said})",
        "give the store a CORS rule; take over those that it has:"
        if case.served is None
        else "allow that origin, and see that a proxy before the service passes OPTIONS on:",
        rule_for(case, origin, headers),
    )


def _wanted(case: Case) -> Sequence[tuple[str, str, list[str]]]:
    """Give the methods that a page uses, where, and with which headers."""
    wanted = []
    object_url = ""
    for method in case.methods:
        (signed,) = case.sign([case.new_upload()], method)
        object_url = signed.object_url
        sent = signed.request.headers if isinstance(signed.request, PutRequest) else {}
        names = sorted(name.lower() for name in sent if name.lower() not in _SET_BY_BROWSERS)
        wanted.append((str(method), signed.request.url.partition("?")[0], names))
    return [*wanted, ("GET", object_url, [])]


def _fault(answer: Answer, origin: str, method: str, names: Sequence[str]) -> str:
    """Judge the answer to a preflight request as a browser does ("CORS-preflight fetch" in the Fetch standard)."""
    allowed = {name: _items(answer, f"access-control-allow-{name}") for name in ("origin", "methods", "headers")}
    if answer.status not in _SUCCESS:
        return " ".join(filter(None, [str(answer.status), answer.code]))
    if not {origin.lower(), "*"} & allowed["origin"]:
        return "the origin isn't allowed"
    if method not in _NEED_NO_RULE and not {method.lower(), "*"} & allowed["methods"]:
        return "the method isn't allowed"
    missing = [name for name in names if name not in allowed["headers"]]
    return f"not with {', '.join(missing)}" if missing and "*" not in allowed["headers"] else ""


def _items(answer: Answer, header: str) -> set[str]:
    return {item.strip().lower() for item in answer.headers.get(header, "").split(",") if item.strip()}


async def check_service_cors(case: Case, origin: str) -> Finding:
    """Look whether the service itself allows the origin."""
    origins = case.service.settings.cors_origins
    if "*" in origins or origin in origins:
        return ok(f"pages of {origin} may ask the service")
    return wrong(
        f"pages of {origin} may not ask the service",
        "name that origin, too",
        f"export CORS_ALLOW_ORIGINS={with_origin(origins, origin)}",
    )
