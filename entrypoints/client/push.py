"""A folder on its way to the store: found, hashed, compared, sent, verified."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, evolve, field, frozen

from domain.errors import InvalidInput
from domain.inspection import Status
from domain.keys import Dataset, Owner
from entrypoints.client.answers import FoundFile, StoreInfo
from entrypoints.client.batches import ask_about, batches, declarations
from entrypoints.client.cache import Cache
from entrypoints.client.destination import Destination
from entrypoints.client.errors import BadSources, Problem, ServiceRefused, WrongArguments
from entrypoints.client.folder import paths_of
from entrypoints.client.gathering import Gathered, Hasher, what_to_know
from entrypoints.client.hashing import HashedFile
from entrypoints.client.service import Metadata, Service
from entrypoints.client.shipment import KEPT, Shipment
from entrypoints.client.watching import Ledger, Outcome, Phase, Report, Watcher

_NO_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="


@frozen
class PushOptions:
    """What to send where, and how.

    `sources` is a folder, whose files go by their paths inside it; or any other file, by its name; or several of them.
    `dataset` None takes the name that `datapackage.json` says. `findability` is `published`, `unlisted` or `private`.
    `exclude` are patterns of paths, or of names in them, that stay here. `overwrite` False keeps what is in the store.
    A `dry_run` only says what would be sent.
    """

    sources: Sequence[Path] = field(converter=paths_of)
    owner: str
    dataset: str | None = None
    findability: str | None = None
    exclude: Sequence[str] = ()
    overwrite: bool = True
    dry_run: bool = False


@define
class Push:
    """One push, which `run` carries out; `report` tells of it at any time, also after an error or an interruption."""

    service: Service
    options: PushOptions
    cache: Cache
    watcher: Watcher
    jobs: int
    part_size: int | None = None
    _dataset: str = field(default="", init=False)
    _left_out: Sequence[Problem] = field(default=(), init=False)
    _ledger: Ledger = field(factory=Ledger, init=False)

    @property
    def reports(self) -> Sequence[Report]:
        """The report, as one of those that several datasets would have."""
        return [self.report]

    @property
    def report(self) -> Report:
        """What has become of the files so far."""
        return Report(self.options.owner, self._dataset, self._ledger.results(), self._left_out)

    def run(self) -> Report:
        """Do it all.

        Raises `BadSources` and `WrongArguments` before anything is sent, and any other `ClientError` where there is no
        way on. What concerns single files is in the report.
        """
        gathered = self._gather()
        metadata = self._name(gathered)
        info = self.service.info()
        self.service = evolve(self.service, lifetime=info.upload_seconds)
        wanted = what_to_know(gathered.files, info, self.part_size)
        self._knock(metadata, gathered)
        hasher = Hasher(self.cache, self.watcher, self.service.connections, gathered.media_types)
        files = hasher.run(wanted, self.jobs)
        for file in files:
            self._ledger.expect(file.path, file.length)
        destination = Destination(self.service.url, metadata)
        to_send = self._compare(destination, files, info)
        if not self.options.dry_run:
            shipment = self._shipment(destination, info)
            shipment.send(to_send)
            shipment.verify(to_send)
        return self.report

    def _shipment(self, destination: Destination, info: StoreInfo) -> Shipment:
        return Shipment(
            service=self.service,
            destination=destination,
            info=info,
            cache=self.cache,
            ledger=self._ledger,
            watcher=self.watcher,
            overwrite=self.options.overwrite,
            jobs=self.jobs,
        )

    def _gather(self) -> Gathered:
        gathered = Gathered.of(self.options.sources, self.options.exclude)
        self._left_out = gathered.left_out
        for left_out in gathered.left_out:
            self.watcher.noted(f"left out {left_out}")
        return gathered

    def _name(self, gathered: Gathered) -> Metadata:
        dataset = self.options.dataset or gathered.package_name
        if dataset is None:
            raise WrongArguments("the dataset needs a name, since no datapackage.json says one")
        try:
            self._dataset = str(Dataset(dataset))
            return Metadata(str(Owner(self.options.owner)), self._dataset, self.options.findability)
        except InvalidInput as error:
            raise WrongArguments(error.message) from error

    def _knock(self, metadata: Metadata, gathered: Gathered) -> None:
        """Find out now whether this token may send to this dataset, rather than after hours of hashing."""
        try:
            self.service.verify(metadata, {gathered.files[0].path: {"length": 0, "md5": _NO_MD5}})
        except ServiceRefused as refused:
            if not refused.details:
                raise  # what is wrong with single files is told later, for all of them

    def _compare(self, destination: Destination, files: Sequence[HashedFile], info: StoreInfo) -> list[HashedFile]:
        """Give the files that the store hasn't got. Raises `BadSources` for what the service refuses."""

        def look(batch: Sequence[HashedFile]) -> Mapping[str, FoundFile]:
            return self.service.verify(destination.metadata, declarations(batch))

        self.watcher.phase(Phase.COMPARE, len(files), 0)
        to_send: list[HashedFile] = []
        refused: list[Problem] = []
        for batch in batches(files, info.max_files):
            found = ask_about(batch, look, refused.append)
            known = [file for file in batch if file.path in found]
            to_send += [file for file in known if not self._is_settled(file, found[file.path], destination)]
        if refused:
            raise BadSources(refused)
        return to_send

    def _is_settled(self, file: HashedFile, found: FoundFile, destination: Destination) -> bool:
        """Say whether there is nothing to send for a file, by what the store has of it."""
        kept = found.status == Status.DIFFERENT and not self.options.overwrite
        self.watcher.ended(file.path, KEPT if kept else None)
        if found.status == Status.STORED or self._was_sent(file, found, destination):
            self._ledger.note(file.path, Outcome.PRESENT)
        elif kept:
            self._ledger.note(file.path, Outcome.FAILED, KEPT)
        else:
            replaces = found.status == Status.DIFFERENT
            self._ledger.note(file.path, Outcome.WAITING, "it replaces another one" if replaces else None)
            return False
        return True

    def _was_sent(self, file: HashedFile, found: FoundFile, destination: Destination) -> bool:
        """Whether it is remembered that the store took this file, and has one of its length that it can't tell of."""
        return (
            found.status == Status.UNKNOWN
            and found.length == file.length
            and self.cache.has_arrived(destination.place(file), destination.identity(file))
        )
