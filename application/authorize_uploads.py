"""Authorize uploads: declared files in, one signed request per file out."""

from collections.abc import Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Self

from attrs import define, evolve, field, frozen

from application.multipart import Multipart
from application.ports import Inspection, ObjectInspector, Preparation, Turns, UploadSigner
from domain.batches import Batch, BatchRules, DatasetMetadata, Decision
from domain.errors import InvalidBatch, InvalidInput
from domain.identity import Principal
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey
from domain.multipart import PartPlan
from domain.uploads import SignedMultipart, SignedUpload, Upload, UploadMethod, UploadTerms, UploadWishes
from domain.values import frozen_by_type

_DECIDED_PER_TURN = 200
"""How many files are decided before others have their turn: about a millisecond."""
_SIGNED_AHEAD = 2_000
"""How many files are signed while the store is still being asked what it has; the rest when their answer is made."""

_NOT_TOLD = FoundObject(-1)

_Signed = SignedUpload | SignedMultipart


@frozen_by_type
class UploadRequest:
    """What a client asks: files by relative path, as declared, of one dataset; and how it can send them."""

    metadata: Mapping[str, object]
    filedata: Mapping[str, object]
    wishes: UploadWishes


@frozen_by_type
class Amount:
    """How many files, and how many bytes they have together."""

    files: int
    bytes: int

    @classmethod
    def of(cls, uploads: Collection[Upload]) -> Self:
        """Add up what was declared."""
        return cls(len(uploads), sum([upload.file.length for upload in uploads]))


@frozen_by_type
class _Told:
    """What the store has told of some keys; and whether all others exist, None where that isn't known."""

    found: Mapping[ObjectKey, FoundObject | None]
    others_exist: bool | None = None


_NOTHING_TOLD = _Told({})
_NOTHING_THERE = _Told({}, others_exist=False)


@define
class AuthorizedUploads:
    """The signed requests, in the order of the declarations, each with whether its file is there already.

    They can be iterated over once: each is signed when it is asked for. `amounts` is what was authorized, by how it is
    sent; `existing` counts those of the files given so far that are there already.
    """

    dataset: DatasetMetadata
    amounts: Mapping[UploadMethod, Amount]
    signed: Iterable[_Signed]
    _told: _Told
    existing: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[tuple[_Signed, bool | None]]:
        if self._told.found:
            return self._compared()
        return zip(self.signed, repeat(self._told.others_exist))

    def _compared(self) -> Iterator[tuple[_Signed, bool | None]]:
        for signed in self.signed:
            exists = self.exists(signed.upload)
            if exists:
                self.existing += 1
            yield signed, exists

    def exists(self, upload: Upload) -> bool | None:
        """Whether the file is there already; best effort, so None where the store could not tell, or not in time."""
        found = self._told.found.get(upload.key, _NOT_TOLD)
        if found is _NOT_TOLD:
            return self._told.others_exist
        if found is None:
            return False
        status = compare(upload.file, found)
        return None if status is Status.UNKNOWN else status is Status.STORED


@frozen_by_type
class _Decided:
    """The uploads of a batch; those that are sent whole as they are signed, in order; the others with their plans.

    `method` is how the former are sent, None if there are none.
    """

    uploads: Sequence[Upload]
    method: UploadMethod | None
    whole: Iterator[SignedUpload]
    plans: Mapping[Upload, PartPlan]

    @property
    def amounts(self) -> Mapping[UploadMethod, Amount]:
        if self.method is None:
            return {UploadMethod.MULTIPART: Amount.of(self.uploads)}
        if not self.plans:
            return {self.method: Amount.of(self.uploads)}
        whole = [upload for upload in self.uploads if upload not in self.plans]
        return {self.method: Amount.of(whole), UploadMethod.MULTIPART: Amount.of(self.plans)}


@frozen
class AuthorizeUploads:
    """The use-case. `preferred_method` is the operator's choice, where a client leaves it open.

    With an `inspector` the store is asked which files it has, for as long as `patience`; signing never waits longer.
    `multipart` is None where the store takes no files in parts.
    """

    signer: UploadSigner
    rules: BatchRules
    lifetime: timedelta
    turns: Turns
    preferred_method: UploadMethod | None = None
    inspector: ObjectInspector | None = None
    patience: timedelta = timedelta(seconds=2)
    multipart: Multipart | None = None

    async def __call__(self, principal: Principal, request: UploadRequest, now: datetime) -> AuthorizedUploads:
        """Sign every declared file, in order, or none: all are validated before the first is signed.

        Files in parts need the store, which is asked to begin them after all that. Raises what `Batch.open`,
        `Decision.uploads`, `PartPlan.of`, `UploadWishes.choose_method`, `sign_uploads` and `Multipart.begin` raise.
        """
        multipart = self.multipart if request.wishes.accepts_parts else None
        rules = self.rules if multipart is None else self.rules.in_parts
        batch = Batch.open(principal, request.metadata, request.filedata, rules)
        prepared = None
        if self.inspector is not None:
            prepared = self.inspector.prepare(batch.pattern.folder, len(request.filedata), now)
        try:
            decided = await self._decide(batch, request.wishes, multipart, now)
            told, signed = await self._ask(decided, now, prepared)
        finally:
            if prepared is not None:
                prepared.drop()
        authorized = AuthorizedUploads(batch.dataset, decided.amounts, signed, told)
        if multipart is None or not decided.plans:
            return authorized
        return await _with_parts(multipart, decided, authorized, now)

    async def _decide(self, batch: Batch, wishes: UploadWishes, multipart: Multipart | None, now: datetime) -> _Decided:
        """Decide all uploads, and get ready to sign them."""
        uploads = await decide_uploads(batch, self.turns)
        if self.rules.pattern.needs:
            wishes = evolve(wishes, require=wishes.require | self.rules.pattern.needs)
        plans = {} if multipart is None else self._plans(uploads, wishes, multipart)
        whole = [upload for upload in uploads if upload not in plans] if plans else uploads
        if not whole:
            return _Decided(uploads, None, iter(()), plans)
        method = wishes.choose_method(self.signer.capabilities, self.preferred_method)
        terms = UploadTerms(method, self.lifetime, wishes.overwrite)
        signed = self.signer.sign_uploads(_let_go(list(whole)), terms, now)
        return _Decided(uploads, method, iter(signed), plans)

    def _plans(
        self, uploads: Sequence[Upload], wishes: UploadWishes, multipart: Multipart
    ) -> Mapping[Upload, PartPlan]:
        """Plan the parts of those files that are to come so. Raises `InvalidInput`."""
        longest_whole = multipart.threshold if wishes.accepts_whole_files else -1
        plans, problems = {}, []
        for upload in uploads:
            if upload.file.length > longest_whole:
                try:
                    plans[upload] = PartPlan.of(upload.file, multipart.limits)
                except InvalidInput as error:
                    error.path = upload.file.path
                    problems.append(error)
        if problems:
            raise InvalidBatch(problems)
        if plans:
            wishes.require_parts(self.signer.capabilities)
        return plans

    async def _ask(
        self, decided: _Decided, now: datetime, prepared: Preparation | None
    ) -> tuple[_Told, Iterable[SignedUpload]]:
        """Ask the store what it has, and sign some of many files meanwhile.

        A store that is slow or down doesn't stop signing, so its failure is not ours.
        """
        if self.inspector is None:
            return _NOTHING_TOLD, decided.whole
        if prepared is not None and prepared.nothing_there:
            return _NOTHING_THERE, decided.whole
        answer = self.inspector.inspect(decided.uploads, now, self.patience, prepared)
        if len(decided.uploads) <= _DECIDED_PER_TURN:
            return _Told((await answer).found), decided.whole
        inspection, ahead = await self._sign_while(answer, decided.whole)
        return _Told(inspection.found), chain(ahead, decided.whole)

    async def _sign_while(
        self, answer: Coroutine[None, None, Inspection], signed: Iterator[SignedUpload]
    ) -> tuple[Inspection, Sequence[SignedUpload]]:
        """Await the store's answer, and sign some of many files meanwhile."""
        looking = self.turns.start(answer)
        try:
            ahead: list[SignedUpload] = []
            await self.turns.pause()  # a store that need not be waited for has answered then
            while len(ahead) < _SIGNED_AHEAD and not looking.done():
                some = self.turns.take(signed)
                if not some:
                    break
                ahead += some
                await self.turns.pause()
            return await looking, ahead
        finally:
            looking.cancel()


async def _with_parts(
    multipart: Multipart, decided: _Decided, authorized: AuthorizedUploads, now: datetime
) -> AuthorizedUploads:
    """Begin what comes in parts, and isn't there already."""
    plans = decided.plans
    to_begin = {upload.key: upload for upload in plans if not authorized.exists(upload)}
    begun = await multipart.begin({upload: plans[upload] for upload in to_begin.values()}, now)
    in_parts = {
        upload: evolve(begun[upload.key], upload=upload)
        if upload.key in begun
        else multipart.nothing_to_send(upload, plan, now)
        for upload, plan in plans.items()
    }
    return evolve(authorized, signed=_in_order(decided.uploads, iter(authorized.signed), in_parts))


def _in_order(
    uploads: Iterable[Upload], whole: Iterator[_Signed], in_parts: Mapping[Upload, SignedMultipart]
) -> Iterator[_Signed]:
    for upload in uploads:
        signed = in_parts.get(upload)
        yield next(whole) if signed is None else signed


def _let_go(uploads: list[Upload]) -> Iterator[Upload]:
    """Give the uploads one by one, for the last time: to throw ten thousand away at once would hold others up."""
    uploads.reverse()
    while uploads:
        yield uploads.pop()


async def decide_uploads(batch: Batch, turns: Turns) -> Sequence[Upload]:
    """Decide all uploads of a batch, pausing now and then. Raises what `Decision.uploads` raises."""
    decision = Decision(batch)
    if len(batch.filedata) > _DECIDED_PER_TURN:
        await turns.pause()  # whoever read so many declarations has had a turn
    while decision.go_on(_DECIDED_PER_TURN):
        await turns.pause()
    uploads = decision.uploads()
    if len(uploads) > _DECIDED_PER_TURN:
        await turns.pause()
    return uploads
