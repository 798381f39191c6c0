"""Removing objects over HTTP, whatever language a store speaks: one signed request, and what its answer means."""

import re
from collections.abc import Mapping

import aiohttp
from attrs import field, frozen
from yarl import URL

from adapters.stores.connections import body_of, open_connections
from domain.errors import ErrorCode, Unavailable

_TIMEOUT = aiohttp.ClientTimeout(total=8, sock_connect=2)
_DONE, _MISSING = (200, 202, 204), 404
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


@frozen
class Removal:
    """What a store said to a request that it carried out. `headers` are found in any case."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


async def carry_out(method: str, url: str, headers: Mapping[str, str] | None = None) -> Removal:
    """Send a signed request; that there is no object is as good as having removed it.

    Raises `Unavailable` for any other answer, and for none. The URL, which is signed, is in no message.
    """
    try:
        async with (
            open_connections(1, _TIMEOUT) as http,
            http.request(method, URL(url, encoded=True), headers=headers, allow_redirects=False) as answer,
        ):
            body = await body_of(answer)
    except (aiohttp.ClientError, OSError) as error:
        raise _not_removed(type(error).__name__) from error
    if answer.status not in (*_DONE, _MISSING):
        code = _CODE.search(body)
        raise _not_removed(f"it answered {answer.status}{f' {code[1].decode()}' if code else ''}")
    return Removal(answer.headers, body)


def _not_removed(reason: str) -> Unavailable:
    return Unavailable(ErrorCode.STORE_UNAVAILABLE, f"the object store didn't remove it: {reason}")
