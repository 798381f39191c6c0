"""Files of one dataset that are sent, many at once, and looked for in the store afterwards."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from attrs import define, field

from domain.inspection import Status
from domain.uploads import Guarantee
from entrypoints.client.answers import FoundFile, SignedFile, StoreInfo
from entrypoints.client.batches import ask_about, batches, declarations
from entrypoints.client.cache import Cache
from entrypoints.client.crew import for_each
from entrypoints.client.destination import Destination
from entrypoints.client.errors import (
    ClientError,
    FileTrouble,
    Problem,
    ServiceRefused,
    StoreRefused,
    TooLate,
    Unreachable,
)
from entrypoints.client.hashing import HashedFile
from entrypoints.client.sending import Sender
from entrypoints.client.service import Service
from entrypoints.client.uploading import Sent, Uploader
from entrypoints.client.watching import FailuresInARow, Ledger, Outcome, Phase, Watcher

KEPT = "there is another object at its key, and it isn't to be replaced"
# What a store and the service say of an object that must not be replaced (RFC 9110, section 13.1.2).
_OBJECT_EXISTS = frozenset({409, 412})
_NOT_ALLOWED = frozenset({401, 403})


@define
class Shipment:
    """Sends files, by `send`, and sees whether they have arrived, by `verify`; the ledger says what became of each.

    Both raise `ClientError` where there is no way on: the service or the store can't be reached, or the token isn't
    good any more.
    """

    service: Service
    destination: Destination
    info: StoreInfo
    cache: Cache
    ledger: Ledger
    watcher: Watcher
    overwrite: bool
    jobs: int
    _sent: dict[str, Sent] = field(factory=dict, init=False)
    _unreached: FailuresInARow = field(factory=FailuresInARow, init=False)

    def send(self, files: Sequence[HashedFile]) -> None:
        """Send files; what is wrong with single ones ends nothing."""
        if not files:
            return
        self.watcher.phase(Phase.SEND, len(files), sum(file.length for file in files))
        connections = self.service.connections
        with ThreadPoolExecutor(self.jobs, "bitstore-part") as workers:
            uploader = Uploader(
                service=self.service,
                destination=self.destination,
                sender=Sender(connections, self.jobs),
                cache=self.cache,
                overwrite=self.overwrite,
                workers=workers,
            )
            send = partial(self._send, uploader)
            for_each(send, self._signed(uploader, files), threads=self.jobs, cut=connections.cut)

    def _signed(
        self, uploader: Uploader, files: Sequence[HashedFile]
    ) -> Iterator[tuple[HashedFile, SignedFile | None]]:
        """Have requests signed for files, batch by batch; those with an upload under way need none."""
        for batch in batches(files, self.info.max_files):
            new = [file for file in batch if uploader.pending(file) is None]
            signed = ask_about(new, uploader.sign, self._refuse)
            refused = {file.path for file in new}.difference(signed)
            yield from ((file, signed.get(file.path)) for file in batch if file.path not in refused)

    def _refuse(self, problem: Problem) -> None:
        self.ledger.note(problem.path, Outcome.FAILED, problem.reason)
        self.watcher.ended(problem.path, problem.reason)

    def _send(self, uploader: Uploader, one: tuple[HashedFile, SignedFile | None]) -> None:
        """Send one file. What it raises ends everything."""
        file, signed = one
        self.watcher.began(file.path, file.length)
        try:
            sent = uploader.send(file, signed, partial(self.watcher.moved, file.path))
        except (FileTrouble, ServiceRefused, StoreRefused, TooLate, Unreachable) as error:
            self._take(error, file)
            return
        self._unreached.reset()
        url = None if signed is None else signed.object_url
        if sent is None:
            self.ledger.note(file.path, Outcome.PRESENT, object_url=url)
        else:
            self._sent[file.path] = sent
            self.ledger.note(file.path, Outcome.UNVERIFIED, "it isn't verified yet", object_url=url)
        self.watcher.ended(file.path)

    def _take(self, error: ClientError, file: HashedFile) -> None:
        """Note why a file failed; raise what other files would fail by as well."""
        if isinstance(error, ServiceRefused) and error.status in _NOT_ALLOWED:
            raise error
        if isinstance(error, Unreachable) and self._unreached.count() >= self.jobs:
            raise error
        if isinstance(error, FileTrouble):
            self.cache.forget_digests(file.local)
        reason = KEPT if self._is_kept(error) else str(error)
        # An answer may have been lost: only the store knows whether the other object isn't this very file.
        outcome = Outcome.UNVERIFIED if self._is_kept(error) else Outcome.FAILED
        self.ledger.note(file.path, outcome, reason)
        self.watcher.ended(file.path, reason)

    def _is_kept(self, error: ClientError) -> bool:
        refused = isinstance(error, ServiceRefused | StoreRefused) and error.status in _OBJECT_EXISTS
        return refused and not self.overwrite

    def verify(self, files: Sequence[HashedFile]) -> None:
        """Ask the store whether it has what was sent of these files."""
        sent = [file for file in files if self.ledger[file.path].outcome is Outcome.UNVERIFIED]
        self.watcher.phase(Phase.VERIFY, len(sent), 0)
        for batch in batches(sent, self.info.max_files):
            found = ask_about(
                batch, lambda some: self.service.verify(self.destination.metadata, declarations(some)), self._refuse
            )
            for file in batch:
                if file.path in found:
                    self._conclude(file, found[file.path])
            self._remember(batch, found)

    def _look(self, batch: Sequence[HashedFile]) -> Mapping[str, FoundFile]:
        return self.service.verify(self.destination.metadata, declarations(batch))

    def _conclude(self, file: HashedFile, found: FoundFile) -> None:
        outcome, reason = self._judge(file, found)
        self.ledger.note(file.path, outcome, reason)
        self.watcher.ended(file.path, reason)
        if found.status == Status.DIFFERENT:
            self.cache.forget_digests(file.local)  # perhaps it has changed without a sign of it

    def _remember(self, batch: Sequence[HashedFile], found: Mapping[str, FoundFile]) -> None:
        """Remember the arrival of files that the store will never tell the digests of."""
        arrived = [
            (self.destination.place(file), self.destination.identity(file))
            for file in batch
            if file.path in found
            and found[file.path].status == Status.UNKNOWN
            and self.ledger[file.path].outcome is Outcome.SENT
        ]
        self.cache.keep_arrivals(arrived)

    def _judge(self, file: HashedFile, found: FoundFile) -> tuple[Outcome, str | None]:
        kept = self.ledger[file.path].reason == KEPT
        match found.status:
            case Status.STORED:
                return Outcome.SENT, None
            case Status.MISSING:
                return Outcome.FAILED, "the store doesn't have it"
            case Status.DIFFERENT:
                return Outcome.FAILED, KEPT if kept else "the store has something else at its key"
            case _ if self._was_checked(file, found):
                return Outcome.SENT, None
            case _:
                return Outcome.UNVERIFIED, "the store can't tell its digest"

    def _was_checked(self, file: HashedFile, found: FoundFile) -> bool:
        """Whether the store compared the digest as it took the file, and has one of that length.

        So it is with what AWS encrypts by KMS, and with blobs in parts at Azure: their digests can't be asked for.
        """
        sent = self._sent.get(file.path)
        if sent is None or found.length != file.length:
            return False
        return sent.carried_md5 or Guarantee.MD5 in self.info.enforced.get(sent.method, frozenset())
