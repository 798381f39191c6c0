"""The case that is examined: the wired service, and what one check learns that another needs."""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Final

from attrs import define, evolve, field

from application.ports import UploadSigner
from domain.errors import InvalidInput, Unavailable
from domain.files import DeclaredFile, FileName, Md5, MediaType, Sha256
from domain.keys import ObjectKey, RelativePath
from domain.uploads import Access, PostForm, PutRequest, SignedUpload, Upload, UploadMethod, UploadTerms
from entrypoints.cli.doctor.client import AT_ONCE, Client, Unreachable
from entrypoints.cli.doctor.servers import Server
from entrypoints.cli.explain.answers import Answer
from entrypoints.cli.explain.causes import Topic
from entrypoints.cli.explain.diagnosis import Diagnosis, diagnose
from entrypoints.http.app import Clock
from entrypoints.settings import Backend, S3Settings, ServedSettings
from entrypoints.wiring import Service

PREFIX: Final = "bitstore-doctor"
CONTENT: Final = b"id,name\n1,Ada\n2,Grace\n"
OTHER_CONTENT: Final = CONTENT.swapcase()
LIFETIME: Final = timedelta(minutes=10)
PATIENCE: Final = timedelta(seconds=5)
_DONE: Final = (200, 201, 204)
_UNEXPLAINED: Final = (Topic.PERMISSION, Topic.REQUEST, Topic.STORE, Topic.TOKEN, Topic.UNKNOWN)
"""What an answer without a code may be about, of which nothing is known but its status."""


def declare(content: bytes = CONTENT) -> DeclaredFile:
    """Declare a small file with both digests."""
    path = RelativePath("doctor.csv")
    return DeclaredFile(
        path=path,
        length=len(content),
        media_type=MediaType("text/csv"),
        name=FileName(path.basename),
        md5=Md5.of(hashlib.md5(content, usedforsecurity=False).digest()),
        sha256=Sha256.of(hashlib.sha256(content).digest()),
    )


def accepted(answer: Answer) -> bool:
    """Whether a store took the file."""
    return answer.status in _DONE


def why(answer: Answer) -> tuple[str, Diagnosis]:
    """Say in words how a store refused, and what is known of that."""
    diagnosis = diagnose(answer)
    if not answer.code and diagnosis.topic in _UNEXPLAINED:
        diagnosis = evolve(diagnosis, remedy="the store doesn't say why; its own log may")
    said = " ".join(filter(None, [str(answer.status or ""), answer.code[:64]]))
    return f"{said}: {diagnosis.cause}", diagnosis


@define(eq=False)
class Case:
    """The service that the settings make, and what is known of its store so far.

    `signer` signs the uploads: the store's own, or what it would be with one fault mended, so that others are seen too.
    `stored` has one upload for each way into the store that works. `skew` is how far the store's clock is ahead.
    """

    service: Service
    client: Client
    clock: Clock
    internal_url: str | None
    origin: str | None = None
    token: str | None = field(default=None, repr=False)
    signer: UploadSigner = field(init=False)
    access: Access = field(default=Access.PRIVATE, init=False)
    server: Server | None = field(default=None, init=False)
    skew: timedelta = field(default=timedelta(0), init=False)
    stored: dict[UploadMethod, SignedUpload] = field(factory=dict, init=False)
    closing: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    """What must be given back in the end."""
    sent: dict[ObjectKey, Upload] = field(factory=dict, init=False)
    """All that could have been stored."""
    _accepted: set[ObjectKey] = field(factory=set, init=False)
    _sending: "set[asyncio.Task[Answer]]" = field(factory=set, init=False)
    _name: str = field(factory=lambda: secrets.token_hex(8), init=False)
    _is_started: bool = field(default=False, init=False)
    _probe: Answer | None = field(default=None, init=False)

    @signer.default
    def _own_signer(self) -> UploadSigner:
        return self.service.store.signer

    @property
    def s3(self) -> S3Settings | None:
        """The settings of an S3 store, if it is one."""
        store = self.service.settings.store
        return store if isinstance(store, S3Settings) else None

    @property
    def served(self) -> ServedSettings | None:
        """The settings of a store that the service serves itself, if it does."""
        store = self.service.settings.store
        return store if isinstance(store, ServedSettings) else None

    @property
    def backend(self) -> str:
        """The name of the backend, as STORAGE_BACKEND has it."""
        if self.served is not None:
            return Backend.MEMORY if self.served.root is None else Backend.DISK
        return Backend.S3 if self.s3 is not None else self.service.settings.effective["STORAGE_BACKEND"]

    @property
    def flavour(self) -> str | None:
        """The name of the flavour, where there is one to choose."""
        return None if self.s3 is None else self.s3.flavour.name

    @property
    def public_url(self) -> str:
        """The URL of the bucket, as clients are told."""
        return self.service.store.signer.url_prefixes("")[0]

    @property
    def methods(self) -> Sequence[UploadMethod]:
        """The ways into the store."""
        return self.signer.capabilities.single_request

    async def start_store(self) -> None:
        """Start what the store consists of, once; it is stopped in the end."""
        if not self._is_started:
            self._is_started = True
            for startable in self.service.store.startables:
                self.closing.push_async_callback(startable.stop)
                await startable.start()

    async def probe(self) -> Answer:
        """Ask, with a signed URL, for an object that isn't there: what the store says to that tells most.

        Raises `Unavailable` without credentials, and `Unreachable`.
        """
        if self._probe is None:
            await self.start_store()
            key = ObjectKey(f"{PREFIX}/{self._name}-missing")
            download = self.service.store.downloads.sign_download(key, LIFETIME, self.clock())
            self._probe = await self.client.send("GET", download.url)
        return self._probe

    def new_upload(self, content: bytes = CONTENT, access: Access | None = None) -> Upload:
        """Decide an upload to a key that nobody else has."""
        key = ObjectKey(f"{PREFIX}/{self._name}-{len(self.sent)}.csv")
        upload = Upload(key, declare(content), access or self.access)
        self.remember(upload)
        return upload

    def remember(self, upload: Upload) -> None:
        """Note that there may be an object at its key before long."""
        self.sent[upload.key] = upload

    def sign(
        self,
        uploads: Sequence[Upload],
        method: UploadMethod,
        *,
        now: datetime | None = None,
        overwrite: bool = True,
        signer: UploadSigner | None = None,
    ) -> list[SignedUpload]:
        """Sign uploads at one moment. Where nothing can be private, what is signed is public."""
        terms = UploadTerms(method, LIFETIME, overwrite)
        moment, signing = now or self.clock(), signer or self.signer
        try:
            return list(signing.sign_uploads(uploads, terms, moment))
        except InvalidInput:
            self.access = Access.PUBLIC
            public = [evolve(upload, access=Access.PUBLIC) for upload in uploads]
            return list(signing.sign_uploads(public, terms, moment))

    async def store_one(
        self, method: UploadMethod, access: Access | None = None, signer: UploadSigner | None = None
    ) -> tuple[SignedUpload, Answer]:
        """Send a file as an honest client would. Raises `Unreachable` and `Unavailable`."""
        (signed,) = self.sign([self.new_upload(access=access)], method, signer=signer)
        return signed, await self.send(signed.upload.key, signed.request, CONTENT)

    async def send(
        self, key: ObjectKey, request: PostForm | PutRequest, content: bytes, *, chunked: bool = False
    ) -> Answer:
        """Carry out a request by which an object may get to `key`. Raises `Unreachable`."""
        sending = asyncio.create_task(self.client.upload(request, content, chunked=chunked))
        self._sending.add(sending)
        sending.add_done_callback(lambda done: self._end(done, key))
        # Who is interrupted, or gives up, must still know in the end what was stored.
        return await asyncio.shield(sending)

    def _end(self, sending: "asyncio.Task[Answer]", key: ObjectKey) -> None:
        self._sending.discard(sending)
        if not sending.cancelled() and sending.exception() is None and accepted(sending.result()):
            self._accepted.add(key)

    async def is_there(self, key: ObjectKey) -> bool | None:
        """Whether there is an object at a key; None where the store won't tell."""
        inspector = self.service.store.inspector
        inspection = await inspector.inspect([self.sent[key]], self.clock(), PATIENCE)
        return None if key not in inspection.found else inspection.found[key] is not None

    async def clean_up(self) -> tuple[int, dict[ObjectKey, str]]:
        """Remove all that was stored. Say how many objects there were, and why which ones are left."""
        if not self.sent:
            return 0, {}
        if self._sending:
            await asyncio.wait(self._sending)
        inspector = self.service.store.inspector
        inspection = await inspector.inspect(list(self.sent.values()), self.clock(), PATIENCE)
        there = [key for key in self.sent if key in self._accepted or inspection.found.get(key) is not None]
        places = asyncio.Semaphore(AT_ONCE)
        reasons = await asyncio.gather(*(self._remove(key, places) for key in there))
        left = {key: reason for key, reason in zip(there, reasons, strict=True) if reason is not None}
        return len(there) - len(left), left

    async def _remove(self, key: ObjectKey, places: asyncio.Semaphore) -> str | None:
        """Remove an object; say why it is left, if it is."""
        store, now = self.service.store, self.clock()
        if store.remover is None:
            return "this kind of store can't delete from here"
        try:
            async with places:
                await store.remover.remove(key, now)
                # By the address at which it was stored, which may be another store's.
                answer = await self.client.send("GET", store.downloads.sign_download(key, LIFETIME, now).url)
        except Unavailable as error:
            return error.message
        except Unreachable as failure:
            return str(failure)
        return "it was removed, and is still there" if accepted(answer) else None
