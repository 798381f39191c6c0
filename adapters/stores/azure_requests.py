"""Asking Azure Blob Storage in the service's own name, by signed URLs that live for minutes."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import aiohttp
from yarl import URL

OWN_LIFETIME = timedelta(minutes=10)
"""How long what the service signs for itself is valid."""

NO_CONTAINER = "ContainerNotFound"
"""The error code of an answer that tells nothing of a blob."""


def send(
    http: aiohttp.ClientSession,
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """Send a request to a URL that is encoded and signed. Raises what aiohttp raises."""
    return http.request(method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False)


def error_code(answer: aiohttp.ClientResponse) -> str:
    """Give what the service calls its refusal ("Status and error codes"); empty if it doesn't refuse."""
    return answer.headers.get("x-ms-error-code", "")
