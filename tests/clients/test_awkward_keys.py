"""Every name that a file may have survives the whole way, on every store: there, its address, and back."""

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import urllib3

from adapters.stores.contract import AWKWARD_PATHS
from tests.clients.conftest import RunningService, new_owner
from tests.entrypoints.http.live_service import declaration

FILES: Mapping[str, bytes] = {path: f"in {path}".encode() for path in AWKWARD_PATHS}


@pytest.mark.parametrize("service", ["{owner}/{path}"], indirect=True)
class TestAwkwardKeys:
    def test_come_back_by_their_encoded_address(self, service: RunningService) -> None:
        owner = new_owner()
        signed = _send(service, owner, FILES)

        back = {
            path: _download(service, owner, quote(answer["object_url"], safe=""), _get)
            for path, answer in signed.items()
        }

        assert back == FILES

    def test_come_back_by_their_address_as_it_is(self, service: RunningService) -> None:
        """As deployed clients write it. What ends a value, a query, or means an encoding can't be written like that."""
        owner = new_owner()
        files = {path: content for path, content in FILES.items() if not set(path) & set("%&?#")}
        signed = _send(service, owner, files)

        back = {
            path: _download(service, owner, f"{answer['upload_url']}/{answer['upload_query']['key']}", _get_unchanged)
            for path, answer in signed.items()
        }

        assert len(files) > len(FILES) // 2
        assert back == files


def _send(service: RunningService, owner: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Upload all files; give what the service says of each."""
    body = {
        "metadata": {"owner": owner, "findability": "published"},
        "filedata": {path: declaration(content) for path, content in files.items()},
    }
    answer = urllib3.request(
        "POST", f"{service.url}/authorize", headers={"Auth-Token": service.token(owner)}, json=body, retries=False
    )
    assert answer.status == 200, answer.data
    signed: dict[str, Any] = answer.json()["filedata"]
    for path, content in files.items():
        fields = [*signed[path]["upload_query"].items(), ("file", ("file", content, signed[path]["type"]))]
        sent = urllib3.request("POST", signed[path]["upload_url"], fields=fields, retries=False)
        assert sent.status <= 204, (path, sent.data)
    return signed


def _download(service: RunningService, owner: str, url: str, get: Callable[[str, Mapping[str, str]], bytes]) -> bytes:
    headers = {"Auth-Token": service.token(owner)}
    presigned = json.loads(get(f"{service.url}/presign?ownerid={owner}&url={url}", headers))
    return _get(presigned["url"], {})


def _get(url: str, headers: Mapping[str, str]) -> bytes:
    answer = urllib3.request("GET", url, headers=headers, retries=False)
    assert answer.status == 200, (url, answer.data)
    return answer.data


def _get_unchanged(url: str, headers: Mapping[str, str]) -> bytes:
    """Get what is at a URL that goes out as it is, but for what no request line can hold: spaces, and beyond ASCII."""
    parts = urlsplit(url)
    target = "".join(c if "!" <= c <= "~" else quote(c) for c in url.removeprefix(f"{parts.scheme}://{parts.netloc}"))
    lines = [f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), (url, answer)
    return body
