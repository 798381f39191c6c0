"""The examples of the API's description, made by asking a service. To write them: python -m <this module>."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from attrs import asdict, define, field

from entrypoints.http.description.examples import FILE, Exchange
from tests import strategies as bits
from tests.entrypoints.http.live_service import MEMORY, Answer, LiveService, declaration, live_service
from tests.tokens import make_token

ORIGIN = "https://data.example.org"
NOW = datetime(2030, 6, 1, 12, 0, 0, tzinfo=UTC)
TABLE = b"id,name\n1,Ada\n"
SIZE = 5 * 1024**2
LARGE = bytes(SIZE + 1_000_000)
UPLOAD_ID = "5f1c9a1d0e8b4c6f9d3a7b2e4c8f0a16"
_SIGNATURE = "f3a1" * 16
_PATHS = {
    "resume": "multipart/resume",
    "complete": "multipart/complete",
    "abort": "multipart/abort",
    "presignMany": "presign",
}

PEOPLE: dict[str, Any] = {"owner": "ada", "name": "people"}
FILES = {"data/people.csv": declaration(TABLE)}
PARTS = [declaration(part)["md5"] for part in (LARGE[:SIZE], LARGE[SIZE:])]
CUT = declaration(LARGE, parts={"size": SIZE, "md5": PARTS})


@define
class Asker:
    """Asks a service as `ada`, and keeps what was said."""

    service: LiveService
    token: str = field(init=False)
    exchanges: list[Exchange] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.token = make_token(bits.good_claims("ada", now=NOW))

    def ask(
        self,
        operation: str,
        name: str,
        summary: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        upload_method: str | None = None,
        token: bool = True,
    ) -> Any:
        path = f"/{operation}" if operation.endswith("z") else f"/rawstore/{_PATHS.get(operation, operation)}"
        answer = self._send(path, body, query or {}, self.token if token else None)
        self.exchanges.append(
            Exchange(operation, name, summary, answer.status, answer.json, body, query, upload_method)
        )
        return answer.json

    def _send(self, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str], token: str | None) -> Answer:
        url = f"{path}?{urlencode(query)}" if query else path
        if body is None:
            return self.service.send("GET", url, token=token)
        return self.service.send("POST", url, token=token, body=json.dumps(body).encode())

    def upload(self, signed: Mapping[str, Any], content: bytes) -> None:
        """Send what was signed for `ORIGIN` to where the service really is."""
        host = {"Host": urlsplit(ORIGIN).netloc}
        if signed["upload_method"] == "POST":
            fields = [*signed["upload_query"].items(), ("file", ("file", content, signed["type"]))]
            url = signed["upload_url"].replace(ORIGIN, self.service.origin)
            sent = self.service.http.request("POST", url, fields=fields, headers=host)
            assert sent.status == 204, sent.data
        for part in signed.get("parts", ()):
            start = (part["number"] - 1) * signed["part_size"]
            url = part["url"].replace(ORIGIN, self.service.origin)
            piece = content[start : start + part["length"]]
            sent = self.service.http.request("PUT", url, body=piece, headers={**part["headers"], **host})
            assert sent.status == 200, sent.data


def all_exchanges() -> list[dict[str, Any]]:
    """Ask everything, of a service whose store is empty, and give it in JSON's types."""
    with live_service(MEMORY, STORAGE_BUCKET_NAME="files", PUBLIC_URL=ORIGIN, clock=lambda: NOW) as service:
        asker = Asker(service)
        _ask_of_small_files(asker)
        _ask_of_large_files(asker)
        _ask_of_the_service(asker)
    return [_without_chance(exchange) for exchange in asker.exchanges]


def _ask_of_small_files(asker: Asker) -> None:
    batch = {"metadata": PEOPLE, "filedata": FILES}
    bad = {"../people.csv": declaration(TABLE), "data/b.csv": declaration(TABLE, md5="abc")}
    signed = asker.ask("authorize", "form", "A file, sent as a form", body=batch, upload_method="POST")
    put = {**batch, "accept": ["PUT"], "require": ["md5"], "overwrite": False}
    asker.ask("authorize", "put", "A file, sent by PUT, that replaces none", body=put, upload_method="PUT")
    asker.ask("authorize", "bad-files", "Two bad files", body={"metadata": PEOPLE, "filedata": bad})
    asker.ask("authorize", "no-token", "No token", body=batch, token=False)
    others = {"metadata": {**PEOPLE, "owner": "grace"}, "filedata": FILES}
    asker.ask("authorize", "not-owner", "The part of the store of somebody else", body=others)
    asker.upload(signed["fileData"]["data/people.csv"], TABLE)
    both = {"metadata": PEOPLE, "filedata": {**FILES, "data/more.csv": declaration(b"id\n")}}
    asker.ask("verify", "half", "One of two files has arrived", body=both)


def _ask_of_large_files(asker: Asker) -> None:
    batch = {"metadata": PEOPLE, "filedata": {"data/raw.bin": CUT}, "accept": ["MULTIPART"]}
    answer = asker.ask("authorize", "parts", "A large file, sent in parts", body=batch, upload_method="MULTIPART")
    signed = answer["fileData"]["data/raw.bin"]
    upload = {"metadata": PEOPLE, "path": "data/raw.bin", "file": CUT, "upload_id": signed["upload_id"]}
    asker.ask("complete", "incomplete", "Parts are missing", body=upload, upload_method="MULTIPART")
    asker.upload({**signed, "parts": signed["parts"][:1]}, LARGE)
    rest = asker.ask("resume", "half", "One of two parts has arrived", body=upload, upload_method="MULTIPART")
    asker.upload(rest, LARGE)
    asker.ask("complete", "stored", "The object is as declared", body=upload, upload_method="MULTIPART")
    asker.ask("abort", "gone", "What has been made stays", body=upload, upload_method="MULTIPART")


def _ask_of_the_service(asker: Asker) -> None:
    asker.ask("info", "store", "The store within the service")
    url = f"{ORIGIN}/store/files/ada/people/data/people.csv"
    asker.ask("presign", "download", "For ten minutes", query={"url": url, "ownerid": "ada", "expires_in": "600"})
    elsewhere = {"url": "https://example.com/people.csv", "ownerid": "ada"}
    asker.ask("presign", "elsewhere", "Not in this store", query=elsewhere)
    many = {"metadata": PEOPLE, "paths": ["data/people.csv", "data/raw.bin"], "expires_in": 600}
    asker.ask("presignMany", "by-path", "Two files, for ten minutes", body=many)
    listed = {"owner": "ada", "name": "people", "limit": "100"}
    asker.ask("objects", "dataset", "All of a small dataset", query=listed)
    asker.ask("healthz", "alive", "Alive", token=False)
    asker.ask("readyz", "ready", "Ready", token=False)


def _without_chance(exchange: Exchange) -> dict[str, Any]:
    """Replace the upload's id, which is made by chance, and what is signed of it; and leave out what isn't there."""
    text = json.dumps({name: value for name, value in asdict(exchange).items() if value is not None})
    for found in set(_upload_ids(json.loads(text))):
        text = text.replace(found, UPLOAD_ID)
    text = re.sub(rf"(uploadId={UPLOAD_ID}[^\"]*X-Amz-Signature=)[0-9a-f]{{64}}", rf"\g<1>{_SIGNATURE}", text)
    members: dict[str, Any] = json.loads(text)
    return members


def _upload_ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("upload_id"), str):
            yield value["upload_id"]
        for member in value.values():
            yield from _upload_ids(member)


if __name__ == "__main__":
    Path(str(FILE)).write_text(json.dumps(all_exchanges(), indent=1) + "\n")
