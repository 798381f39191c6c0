"""What the service answers, read once into values that are as they should be."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from attrs import frozen

from domain.multipart import PartLimits
from domain.uploads import PostForm, PutRequest, SignedPart, UploadMethod
from entrypoints.client.connections import Answer
from entrypoints.client.errors import NotUnderstood, ServiceRefused

Json = Mapping[str, Any]


def read_json(answer: Answer) -> Json:
    """Give the object that a service answered with. Raises `NotUnderstood`."""
    try:
        members = json.loads(answer.body)
    except ValueError as error:
        raise NotUnderstood(_what_else(answer)) from error
    if not isinstance(members, dict):
        raise NotUnderstood(_what_else(answer))
    return members


def _what_else(answer: Answer) -> str:
    return f"the service answered {answer.status} with something that isn't its JSON; is its URL right?"


def read_refusal(answer: Answer) -> ServiceRefused:
    """Read an error of the service. Raises `NotUnderstood`."""
    error = read_json(answer).get("error")
    if not isinstance(error, dict):
        raise NotUnderstood(_what_else(answer))
    details = {str(one.get("path")): str(one.get("message")) for one in error.get("details") or ()}
    omitted = error.get("details_omitted", 0)
    return ServiceRefused(answer.status, str(error.get("code")), str(error.get("message")), details, omitted)


@frozen
class StoreInfo:
    """What `GET /info` says of the store.

    `enforced` names, for each way in, what the store refuses to take if it isn't as declared. Files of more than
    `whole_bytes` bytes come in parts, within `parts`; where there are no `parts`, they can't come at all.
    """

    prefixes: Sequence[str]
    key_pattern: str
    max_files: int
    whole_bytes: int
    enforced: Mapping[UploadMethod, frozenset[str]]
    upload_seconds: int
    parts: PartLimits | None

    @classmethod
    def of(cls, told: Json) -> Self:
        """Read an answer. Raises `NotUnderstood`."""
        with _reading("info"):
            store, parts = told["store"], told["store"].get("parts")
            return cls(
                prefixes=tuple(told["prefixes"]),
                key_pattern=str(store["key_pattern"]),
                max_files=int(store["max_files"]),
                whole_bytes=int(parts["threshold_bytes"] if parts else store["max_file_bytes"]),
                enforced={
                    method: frozenset(store["methods"][method]["enforced"])
                    for method in UploadMethod
                    if method in store["methods"]
                },
                upload_seconds=int(store["upload_expires_seconds"]),
                parts=_limits(parts) if parts else None,
            )


def _limits(parts: Json) -> PartLimits:
    return PartLimits(
        int(parts["min_bytes"]), int(parts["max_bytes"]), int(parts["max_count"]), int(parts["max_file_bytes"])
    )


@frozen
class PartsPage:
    """Requests for parts of a file that an upload still lacks; `next_part` is the first that this page doesn't have.

    `arrived` are the bytes that the store is known to hold. A complete upload lacks nothing, and is no upload any more.
    After `fresh_until`, on the clock of `time.monotonic`, a request may come too late.
    """

    upload_id: str
    parts: Sequence[SignedPart]
    next_part: int | None
    part_size: int
    fresh_until: float
    arrived: int = 0
    is_complete: bool = False

    @classmethod
    def of(cls, told: Json, upload_id: str, fresh_until: float) -> Self:
        """Read an answer. Raises `NotUnderstood`."""
        with _reading("parts"):
            parts = [
                SignedPart(int(part["number"]), int(part["length"]), str(part["url"]), _strings(part["headers"]))
                for part in told["parts"]
            ]
            arrived = sum(int(part["length"]) for part in told.get("arrived", ()))
            next_part = None if told["next_part"] is None else int(told["next_part"])
            size = int(told["part_size"])
            return cls(upload_id, parts, next_part, size, fresh_until, arrived, told.get("complete") is True)


@frozen
class SignedFile:
    """How one file is to be sent: by `request`, or in parts; with neither there is nothing to send.

    `exists` says whether the store has it, None where it couldn't tell; `fresh_until` is as that of `PartsPage`.
    """

    request: PostForm | PutRequest | PartsPage | None
    object_url: str
    exists: bool | None
    fresh_until: float

    @classmethod
    def of(cls, told: Json, fresh_until: float) -> Self:
        """Read the answer for one file. Raises `NotUnderstood`."""
        with _reading("authorize"):
            return cls(_request(told, fresh_until), str(told["object_url"]), told["exists"], fresh_until)


def _request(told: Json, fresh_until: float) -> PostForm | PutRequest | PartsPage | None:
    match told["upload_method"]:
        case "POST":
            return PostForm(str(told["upload_url"]), _strings(told["upload_query"]))
        case "PUT":
            return PutRequest(str(told["upload_url"]), _strings(told["upload_headers"]))
        case "MULTIPART":
            upload_id = told["upload_id"]
            return None if upload_id is None else PartsPage.of(told, str(upload_id), fresh_until)
        case _:
            raise NotUnderstood("the service wants a file to be sent in a way that this client doesn't know")


@frozen
class FoundFile:
    """How a declared file compares with what the store holds: `status` as `domain.inspection.Status`."""

    status: str
    length: int | None = None

    @classmethod
    def of(cls, told: Json) -> Self:
        """Read an answer for one file. Raises `NotUnderstood`."""
        with _reading("verify"):
            return cls(str(told["status"]), (told.get("found") or {}).get("length"))


@frozen
class StoredObject:
    """An object of a dataset, as the service lists it.

    Digests are as `domain.inspection.FoundObject` has them, and None where the store doesn't know them; `path` is None
    where keys don't say it.
    """

    key: str
    path: str | None
    length: int
    object_url: str
    md5: str | None = None
    sha256: str | None = None
    md5_of_parts: str | None = None

    @classmethod
    def of(cls, told: Json) -> Self:
        """Read one of the listed objects. Raises `NotUnderstood`."""
        with _reading("objects"):
            return cls(
                key=str(told["key"]),
                path=told.get("path"),
                length=int(told["length"]),
                object_url=str(told["object_url"]),
                md5=told.get("md5"),
                sha256=told.get("sha256"),
                md5_of_parts=told.get("md5_of_parts"),
            )


def _strings(members: Json) -> Mapping[str, str]:
    return {str(name): str(value) for name, value in members.items()}


@contextmanager
def _reading(route: str) -> Iterator[None]:
    """Translate what goes wrong where an answer has another shape than it should."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotUnderstood(f"the service's answer to {route} isn't understood") from error
