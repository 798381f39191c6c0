"""The routes of a BitStore service, asked again where that can help."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import quote, urlencode

from attrs import evolve, field, frozen

from domain.uploads import UploadMethod
from entrypoints.client.answers import (
    FoundFile,
    Json,
    PartsPage,
    SignedFile,
    StoredObject,
    StoreInfo,
    read_json,
    read_refusal,
)
from entrypoints.client.connections import Answer, Connections
from entrypoints.client.errors import NotUnderstood, Unreachable
from entrypoints.client.retrying import Retries

_ACCEPT = (UploadMethod.MULTIPART.value, UploadMethod.PUT.value, UploadMethod.POST.value)
# Requests are not used when this is left of their time, as a part of all of it.
_MARGIN = 0.1
_SECRET_LENGTH = 12
"""What is shorter, in a token that is none, might as well be an ordinary word."""


@frozen
class Metadata:
    """What is said of all files of a dataset. `findability` is `published`, `unlisted` or `private`."""

    owner: str
    dataset: str
    findability: str | None = None

    def as_json(self) -> Json:
        """Give what the service reads."""
        members = {"owner": self.owner, "name": self.dataset, "findability": self.findability}
        return {name: value for name, value in members.items() if value is not None}


@frozen
class Service:
    """The service at `url` (`https://host/rawstore`), for whoever holds `token`.

    `lifetime` is how many seconds its signed requests are good for, as `info` says; `noted` is told when it must be
    asked again. Every call raises `ServiceRefused`, `Unreachable` (after some attempts), `NotUnderstood` or `Stopped`.
    """

    url: str
    token: str = field(repr=False)
    connections: Connections = field(repr=False)
    retries: Retries = field(factory=Retries)
    lifetime: float = 600.0
    noted: Callable[[str], None] | None = field(default=None, repr=False)

    def info(self) -> StoreInfo:
        """Ask what the store takes and enforces."""
        return StoreInfo.of(self._get("info"))

    def authorize(
        self, metadata: Metadata, files: Mapping[str, Json], *, overwrite: bool = True
    ) -> Mapping[str, SignedFile]:
        """Ask for signed requests for declared files, by path."""
        asked: dict[str, Any] = {"metadata": metadata.as_json(), "filedata": files, "accept": _ACCEPT}
        if not overwrite:
            asked["overwrite"] = False
        fresh_until = self._fresh_until()
        told = _member(self._post("authorize", asked), "fileData")
        return {path: SignedFile.of(_member(told, path), fresh_until) for path in files}

    def verify(self, metadata: Metadata, files: Mapping[str, Json]) -> Mapping[str, FoundFile]:
        """Ask what the store holds of declared files, by path."""
        told = _member(self._post("verify", {"metadata": metadata.as_json(), "filedata": files}), "files")
        return {path: FoundFile.of(_member(told, path)) for path in files}

    def upload(self, metadata: Metadata, path: str, file: Json, upload_id: str, *, overwrite: bool) -> "PartsUpload":
        """Give the upload in parts that `authorize` began, by what was declared of its file."""
        known = {"metadata": metadata.as_json(), "path": path, "file": file, "upload_id": upload_id}
        return PartsUpload(known if overwrite else {**known, "overwrite": False}, self._post, self._fresh_until)

    def objects(self, owner: str, dataset: str) -> Iterator[StoredObject]:
        """List the objects of a dataset, page by page."""
        after: str | None = None
        while True:
            query = {"owner": owner, "name": dataset} | ({} if after is None else {"after": after})
            told = self._get(f"objects?{urlencode(query, quote_via=quote)}")
            for member in told.get("objects") or ():
                yield StoredObject.of(member)
            before, after = after, told.get("next")
            if after is None:
                return
            if after == before:
                raise NotUnderstood("the service's list of objects doesn't end")

    def presign(self, owner: str, dataset: str, paths: Sequence[str]) -> Mapping[str, str]:
        """Ask for signed URLs by which objects can be read, by path."""
        told = _member(self._post("presign", {"metadata": {"owner": owner, "name": dataset}, "paths": paths}), "urls")
        return {path: str(_member(told, path).get("url")) for path in paths}

    def _fresh_until(self) -> float:
        return monotonic() + self.lifetime * (1 - _MARGIN)

    def _get(self, route: str) -> Json:
        return self.retries.run(partial(self._ask, "GET", route, None), self.connections.stop, self.noted)

    def _post(self, route: str, members: Json) -> Json:
        body = json.dumps(members, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return self.retries.run(partial(self._ask, "POST", route, body), self.connections.stop, self.noted)

    def _ask(self, method: str, route: str, body: bytes | None) -> Json:
        headers = {"Auth-Token": self.token, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self.connections.request(method, f"{self.url}/{route}", headers=headers, body=body)
        if 200 <= answer.status < 300:
            return read_json(answer) if answer.body else {}
        answer = self._without_token(answer)
        if answer.is_temporary:
            raise Unreachable(f"the service answers {_words_of(answer)}", retry_after=answer.retry_after)
        raise read_refusal(answer)

    def _without_token(self, answer: Answer) -> Answer:
        """Take the token's parts out of words that will be shown: what stands in for a service may repeat them."""
        body = answer.body
        for part in self.token.split("."):
            if len(part) >= _SECRET_LENGTH:
                body = body.replace(part.encode(), b"********")
        return evolve(answer, body=body)


def _words_of(answer: Answer) -> str:
    try:
        return f"{answer.status}: {read_refusal(answer)}"
    except NotUnderstood:  # a proxy's own page, for example
        return str(answer.status)


@frozen
class PartsUpload:
    """An upload in parts, for whoever knows its declaration. Calls raise what those of `Service` raise."""

    _known: Json = field(repr=False)
    _post: Callable[[str, Json], Json] = field(repr=False)
    _fresh_until: Callable[[], float] = field(repr=False)

    @property
    def upload_id(self) -> str:
        """Give the store's name for it."""
        return str(self._known["upload_id"])

    def resume(self, after: int = 0) -> PartsPage:
        """Ask what it still lacks, among the parts with numbers above `after`."""
        fresh_until = self._fresh_until()
        told = self._post("multipart/resume", {**self._known, "after": after})
        return PartsPage.of(told, self.upload_id, fresh_until)

    def complete(self) -> FoundFile:
        """Have the parts put together, and say how the result compares with the declaration."""
        return FoundFile.of(self._post("multipart/complete", self._known))

    def abort(self) -> None:
        """Drop it, with all that has arrived."""
        self._post("multipart/abort", self._known)


def _member(members: Json, name: str) -> Json:
    value = members.get(name)
    if not isinstance(value, dict):
        raise NotUnderstood(f"the service's answer has no {name}")
    return value
