"""Which request the code at hand works for: what log lines say of it."""

import itertools
import re
import secrets
from contextvars import ContextVar

from attrs import define

_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# Made by counting, which takes a quarter of the time that random ones do; the start tells processes apart.
_PROCESS = secrets.token_hex(8)
_numbers = itertools.count(1)


@define
class RequestContext:
    """A request: its id, and whose it is as soon as that is proven."""

    request_id: str
    userid: str | None = None


current_request: ContextVar[RequestContext | None] = ContextVar("current_request", default=None)
"""The request that this task works for; None outside of requests."""


def request_id_for(given: bytes | None) -> str:
    """Take the id that a client or a proxy gave the request, if it is short and harmless; else make one."""
    if given is not None and _ACCEPTED.fullmatch(given):
        return given.decode("ascii")
    return f"{_PROCESS}{next(_numbers):08x}"
