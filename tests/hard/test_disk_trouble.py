"""The disk refuses one system call, any of all that a request makes: it is said in time, and nothing is lost."""

import asyncio
import errno
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count, cycle
from pathlib import Path
from typing import Any

import pytest
import urllib3
from attrs import define, field, frozen
from urllib3.exceptions import ProtocolError

from adapters.stores.disk import DiskObjects
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import (
    DATASET,
    MEMORY,
    OWNER,
    LiveService,
    batch,
    declaration,
    live_service,
)
from tests.live import wait_until
from tests.tried import Tried

CALLS = ["open", "write", "fsync", "rename", "replace", "link", "unlink", "rmdir", "mkdir", "listdir", "scandir"]
CALLS += ["stat", "lstat", "fstat", "lseek", "pread", "copy_file_range"]
REMOVING = ("unlink", "rmdir")
CODES = [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EMFILE, errno.EDQUOT]
STEP = 3 if EFFORT == 1 else 1

OLD = b"old" * 400_000
NEW = b"new" * 400_000
"""More than one piece, and more than one block."""
PATH = "a.csv"


@define
class Trouble:
    """Of the calls that the disk store makes, the `number`-th fails with `code`; if it `lasts`, all later ones too."""

    number: int
    code: int
    lasts: bool
    refused: list[str] = field(factory=list)
    _made: Iterator[int] = field(factory=lambda: count(1))

    @contextmanager
    def injected(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._troubled(name, getattr(os, name)))
            yield

    def _troubled(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            caller: str = sys._getframe(1).f_globals["__name__"]
            if caller.startswith("adapters.stores.disk"):
                number = next(self._made)
                if number == self.number or (self.lasts and number > self.number):
                    self.refused.append(name)
                    raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call


@frozen
class Asked:
    """A request; what is at `path` before it, and when it is done. None where there is nothing."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    path: str = PATH
    before: bytes | None = OLD
    after: bytes | None = OLD
    good: int = 200
    again: int = 200
    may_be_done: bool = False
    """Whether, after an error, it isn't known what was done."""
    removing: Collection[str] = REMOVING
    """The calls by which it removes something; what one of them leaves is for the next sweep."""


@frozen
class Rig:
    """The service, on a disk that can be made to fail."""

    service: LiveService
    root: Path
    numbers: Iterator[int] = field(factory=count, repr=False)

    @property
    def url(self) -> str:
        return f"{self.service.origin}/store/datasets/{OWNER}/{DATASET}"

    def ask(self, asked: Asked) -> int:
        """Send it, and give the status; 0 if the connection breaks. Only documented errors are allowed."""
        try:
            answer = self.service.http.request(asked.method, asked.url, headers=asked.headers, body=asked.body)
        except ProtocolError:
            return 0
        assert answer.status in (asked.good, asked.again, 503, 507), answer.data
        assert answer.status != 503 or "Retry-After" in answer.headers
        return answer.status

    def content(self, path: str) -> bytes | None:
        answer = self.service.http.request("GET", f"{self.url}/{path}")
        assert answer.status in (200, 403), answer.data
        return answer.data if answer.status == 200 else None

    def sign(self, path: str, content: bytes, **wishes: object) -> dict[str, Any]:
        file: dict[str, Any] = self.service.sign(batch({path: declaration(content)}, None, wishes))[path]
        return file

    def ask_service(self, route: str, body: object, **members: Any) -> Asked:
        headers = {"Auth-Token": self.service.token(), "Content-Type": "application/json"}
        return Asked("POST", f"{self.service.root}/{route}", headers, json.dumps(body).encode(), **members)

    def put(self, path: str, content: bytes, **members: Any) -> Asked:
        file = self.sign(path, content, accept=["PUT"], overwrite="again" not in members)
        return Asked("PUT", file["upload_url"], file["upload_headers"], content, path, after=content, **members)

    def begin(self, path: str) -> tuple[dict[str, Any], dict[str, object]]:
        """Begin an upload in parts, and give what was signed, and the body of requests about it."""
        file = self.sign(path, NEW, accept=["MULTIPART"])
        known = {"metadata": batch()["metadata"], "path": path, "file": declaration(NEW)}
        return file, {**known, "upload_id": file["upload_id"]}

    def send_part(self, path: str) -> tuple[Asked, dict[str, object]]:
        file, known = self.begin(path)
        (part,) = file["parts"]
        return Asked("PUT", part["url"], part["headers"], NEW, path, before=None, after=None), known

    def about_parts(self, what: str, path: str, after: bytes | None, **more: Any) -> Asked:
        """Make a request about an upload whose part has arrived."""
        part, known = self.send_part(path)
        assert self.ask(part) == 200
        return self.ask_service(f"multipart/{what}", known, path=path, before=None, after=after, **more)


def post(rig: Rig, _: str) -> Asked:
    file = rig.sign(PATH, NEW, accept=["POST"])
    body, media_type = urllib3.encode_multipart_formdata([*file["upload_query"].items(), ("file", NEW)])
    return Asked("POST", file["upload_url"], {"Content-Type": media_type}, body, after=NEW, good=204, again=204)


def listing(rig: Rig, _: str) -> Asked:
    assert rig.ask(rig.put("folder/b.csv", OLD)) == 200
    url = f"{rig.service.root}/objects?owner={OWNER}&name={DATASET}"
    return Asked("GET", url, {"Auth-Token": rig.service.token()})


OPERATIONS: Mapping[str, Callable[[Rig, str], Asked]] = {
    "replace by PUT": lambda rig, _: rig.put(PATH, NEW),
    "replace by form": post,
    "add": lambda rig, new: rig.put(new, NEW, before=None, again=412),
    "download": lambda rig, _: Asked("GET", f"{rig.url}/{PATH}"),
    "head": lambda rig, _: Asked("HEAD", f"{rig.url}/{PATH}"),
    "authorize": lambda rig, _: rig.ask_service("authorize", batch({PATH: declaration(OLD)})),
    "verify": lambda rig, _: rig.ask_service("verify", batch({PATH: declaration(OLD), "b.csv": declaration(OLD)})),
    "list": listing,
    "ready": lambda rig, _: Asked("GET", f"{rig.service.origin}/readyz"),
    "begin parts": lambda rig, new: rig.ask_service(
        "authorize", batch({new: declaration(NEW)}, None, {"accept": ["MULTIPART"]}), path=new, before=None, after=None
    ),
    "send a part": lambda rig, new: rig.send_part(new)[0],
    "resume parts": lambda rig, new: rig.about_parts("resume", new, None),
    "complete parts": lambda rig, new: rig.about_parts("complete", new, NEW, may_be_done=True),
    "abort parts": lambda rig, new: rig.about_parts("abort", new, None, removing=(*REMOVING, "listdir")),
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with live_service(MEMORY, STORAGE_BACKEND="disk", STORAGE_DISK_ROOT=str(tmp_path)) as service:
        yield Rig(service, tmp_path)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whichever_call_fails_nothing_is_lost_and_the_next_request_works(
    rig: Rig, operation: str, tried: Tried
) -> None:
    faults = 0
    for lasts, code in troubles():
        for number in count(1, STEP):
            if rig.content(PATH) != OLD:
                assert rig.ask(rig.put(PATH, OLD)) == 200
            asked = OPERATIONS[operation](rig, f"new/{next(rig.numbers)}/a.csv")
            trouble = Trouble(number, next(code), lasts)
            with trouble.injected():
                status = rig.ask(asked)
            if not trouble.refused:
                break
            faults += len(trouble.refused)
            check(rig, asked, status, trouble)
    assert faults
    tried("injected disk faults", faults)


def troubles() -> Iterator[tuple[bool, Iterator[int]]]:
    """Whether it lasts, and the code for each call: another one in turn, with more effort all for each."""
    yield True, cycle(CODES)
    for first in range(min(EFFORT, len(CODES))):
        yield False, cycle([*CODES[first:], *CODES[:first]])


def check(rig: Rig, asked: Asked, status: int, trouble: Trouble) -> None:
    """That the object is as before, or as it should be then, and that the same can be asked again."""
    content = rig.content(asked.path)
    if status in (0, 503, 507):
        may_be_done = asked.may_be_done or trouble.lasts
        assert content == asked.before or (may_be_done and content == asked.after), trouble
        assert trouble.lasts or trouble.refused[0] in asked.removing or not left_over(rig.root), trouble
        assert status != 507 or trouble.code in (errno.ENOSPC, errno.EDQUOT)
    else:
        assert content == asked.after, trouble
    assert rig.ask(asked) in (asked.good, asked.again), trouble
    assert rig.content(asked.path) == asked.after, trouble
    wait_until(lambda: not descriptors_under(rig.root))
    if left_over(rig.root):
        asyncio.run(DiskObjects(rig.root).start())
        assert not left_over(rig.root), trouble


def left_over(root: Path) -> Collection[Path]:
    return list((root / "incoming").iterdir())


def descriptors_under(root: Path) -> Collection[str]:
    """What this process has open there, where the system tells."""
    found = []
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            found.append(str(link.readlink()))
    return [path for path in found if path.startswith(str(root))]
