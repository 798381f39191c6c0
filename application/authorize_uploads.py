"""Authorize uploads: declared files in, one signed request per file out."""

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from attrs import evolve, frozen

from application.ports import Inspection, ObjectInspector, Turns, UploadSigner
from domain.batches import Batch, BatchRules, Decision
from domain.identity import Principal
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey
from domain.uploads import SignedUpload, Upload, UploadMethod, UploadTerms, UploadWishes
from domain.values import frozen_by_type

_DECIDED_PER_TURN = 200
"""How many files are decided before others have their turn: about a millisecond."""
_SIGNED_AHEAD = 2_000
"""How many files are signed while the store is still being asked what it has; the rest when their answer is made."""

_NOT_TOLD = FoundObject(-1)


@frozen_by_type
class UploadRequest:
    """What a client asks: files by relative path, as declared, of one dataset; and how it can send them."""

    metadata: Mapping[str, object]
    filedata: Mapping[str, object]
    wishes: UploadWishes


@frozen_by_type
class AuthorizedUploads:
    """The signed requests, in the order of the declarations, and which of the files are there already.

    `signed` can be iterated over once: each request is signed when it is asked for.
    """

    signed: Iterable[SignedUpload]
    _found: Mapping[ObjectKey, FoundObject | None]

    def exists(self, upload: Upload) -> bool | None:
        """Whether the file is there already; best effort, so None where the store could not tell, or not in time."""
        found = self._found.get(upload.key, _NOT_TOLD)
        if found is None or found is _NOT_TOLD:
            return None if found is _NOT_TOLD else False
        status = compare(upload.file, found)
        return None if status is Status.UNKNOWN else status is Status.STORED


@frozen
class AuthorizeUploads:
    """The use-case. `preferred_method` is the operator's choice, where a client leaves it open.

    With an `inspector` the store is asked which files it has, for as long as `patience`; signing never waits longer.
    """

    signer: UploadSigner
    rules: BatchRules
    lifetime: timedelta
    turns: Turns
    preferred_method: UploadMethod | None = None
    inspector: ObjectInspector | None = None
    patience: timedelta = timedelta(seconds=2)

    async def __call__(self, principal: Principal, request: UploadRequest, now: datetime) -> AuthorizedUploads:
        """Sign every declared file, in order, or none: all are validated before the first is signed.

        Raises what `Batch.open`, `Decision.uploads`, `UploadWishes.choose_method` and `sign_uploads` raise.
        """
        batch = Batch.open(principal, request.metadata, request.filedata, self.rules)
        if self.inspector is None:
            _, signed = await self._decide(batch, request.wishes, now)
            return AuthorizedUploads(signed, {})
        prepared = self.inspector.prepare(batch.pattern.folder, len(request.filedata), now)
        try:
            uploads, signed = await self._decide(batch, request.wishes, now)
            answer = self.inspector.inspect(uploads, now, self.patience, prepared)
            if len(uploads) > _DECIDED_PER_TURN:
                inspection, ahead = await self._sign_while(answer, signed)
            else:
                inspection, ahead = await answer, ()
        finally:
            if prepared is not None:
                prepared.drop()
        # A store that is slow or down doesn't stop signing, so its failure is not ours.
        return AuthorizedUploads(chain(ahead, signed), inspection.found)

    async def _decide(
        self, batch: Batch, wishes: UploadWishes, now: datetime
    ) -> tuple[Sequence[Upload], Iterator[SignedUpload]]:
        """Decide all uploads, and get ready to sign them."""
        uploads = await decide_uploads(batch, self.turns)
        if self.rules.pattern.needs:
            wishes = evolve(wishes, require=wishes.require | self.rules.pattern.needs)
        method = wishes.choose_method(self.signer.capabilities, self.preferred_method)
        terms = UploadTerms(method, self.lifetime, wishes.overwrite)
        return uploads, iter(self.signer.sign_uploads(uploads, terms, now))

    async def _sign_while(
        self, answer: Coroutine[None, None, Inspection], signed: Iterator[SignedUpload]
    ) -> tuple[Inspection, Sequence[SignedUpload]]:
        """Await the store's answer, and sign some of many files meanwhile."""
        looking = self.turns.start(answer)
        try:
            ahead: list[SignedUpload] = []
            while len(ahead) < _SIGNED_AHEAD and not looking.done():
                await self.turns.pause()
                some = self.turns.take(signed)
                if not some:
                    break
                ahead += some
            return await looking, ahead
        finally:
            looking.cancel()


async def decide_uploads(batch: Batch, turns: Turns) -> Sequence[Upload]:
    """Decide all uploads of a batch, pausing now and then. Raises what `Decision.uploads` raises."""
    decision = Decision(batch)
    if len(batch.filedata) > _DECIDED_PER_TURN:
        await turns.pause()  # whoever read so many declarations has had a turn
    while decision.go_on(_DECIDED_PER_TURN):
        await turns.pause()
    return decision.uploads()
