"""Datasets on their way back: listed, compared with what is there, fetched, checked."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import define, field, frozen

from domain.errors import InvalidInput
from domain.keys import Dataset, Owner
from entrypoints.client.answers import StoredObject
from entrypoints.client.cache import Cache
from entrypoints.client.crew import for_each
from entrypoints.client.errors import (
    ClientError,
    FileTrouble,
    NothingThere,
    StoreRefused,
    Unreachable,
    WrongArguments,
    words_of,
)
from entrypoints.client.fetching import Checker, Fetcher, Target, check_path
from entrypoints.client.folder import PARTIAL_FOLDER, LocalFile
from entrypoints.client.service import Service
from entrypoints.client.watching import FailuresInARow, Ledger, Outcome, Phase, Report, Watcher

_PATHS_AT_ONCE = 500
_NOT_ALLOWED = frozenset({401, 403})


def _names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


@frozen
class PullOptions:
    """Which datasets to fetch, one or several: the files of each go into a folder of its name below `folder`.

    A `dry_run` only says what would be fetched.
    """

    datasets: Sequence[str] = field(converter=_names_of)
    owner: str
    folder: Path = field(default=Path(), converter=Path)
    dry_run: bool = False


@define
class Pull:
    """One pull, which `run` carries out; `reports` tells of it at any time, also after an error or an interruption."""

    service: Service
    options: PullOptions
    cache: Cache
    watcher: Watcher
    jobs: int
    _parcels: "list[_Parcel]" = field(factory=list, init=False)

    @property
    def reports(self) -> list[Report]:
        """What has become of the files so far, by dataset."""
        return [Report(self.options.owner, parcel.dataset, parcel.ledger.results()) for parcel in self._parcels]

    def run(self) -> list[Report]:
        """Do it all.

        Raises `WrongArguments` and `NothingThere` before anything is written, and any other `ClientError` where there
        is no way on. What concerns single files is in the reports.
        """
        names = self._names()
        at_once = min(_PATHS_AT_ONCE, self.service.info().max_files)
        for dataset in names:
            self._parcels.append(self._list(dataset, at_once))
        for parcel in self._parcels:
            to_fetch = parcel.compare()
            if not self.options.dry_run:
                parcel.fetch(to_fetch)
        return self.reports

    def _names(self) -> Sequence[str]:
        try:
            Owner(self.options.owner)
            return [str(Dataset(dataset)) for dataset in dict.fromkeys(self.options.datasets)]
        except InvalidInput as error:
            raise WrongArguments(error.message) from error

    def _list(self, dataset: str, at_once: int) -> "_Parcel":
        self.watcher.phase(Phase.LIST, 0, 0)
        parcel = _Parcel(
            service=self.service,
            owner=self.options.owner,
            dataset=dataset,
            folder=self.options.folder / dataset,
            cache=self.cache,
            watcher=self.watcher,
            jobs=self.jobs,
            paths_at_once=at_once,
        )
        parcel.expect(self.service.objects(parcel.owner, dataset))
        return parcel


@define
class _Parcel:
    """One dataset on its way back."""

    service: Service
    owner: str
    dataset: str
    folder: Path
    cache: Cache
    watcher: Watcher
    jobs: int
    paths_at_once: int
    ledger: Ledger = field(factory=Ledger, init=False)
    _targets: list[Target] = field(factory=list, init=False)
    _unreached: FailuresInARow = field(factory=FailuresInARow, init=False)

    def expect(self, listed: Iterator[StoredObject]) -> None:
        """Note what is to be fetched. Raises `NothingThere`."""
        for stored in listed:
            name = stored.key if stored.path is None else stored.path
            self.ledger.expect(name, stored.length, stored.object_url)
            try:
                self._targets.append(Target(self.folder, check_path(stored), stored))
            except FileTrouble as trouble:
                self._fail(name, trouble)
        if not self.ledger.results():
            raise NothingThere(f"{self.owner} has no dataset {self.dataset}, or there is nothing in it")

    def compare(self) -> list[Target]:
        """Give the targets where the file isn't there already, with the same length and digest."""
        there = [(target, file) for target in self._targets if (file := target.as_local(target.file)) is not None]
        self.watcher.phase(Phase.COMPARE, len(there), sum(file.length for _, file in there))
        try:
            for_each(self._compare, there, threads=self.jobs, cut=self.service.connections.cut)
        finally:
            self.cache.flush()
        return [target for target in self._targets if self.ledger[target.path].outcome is Outcome.WAITING]

    def _compare(self, one: tuple[Target, LocalFile]) -> None:
        target, file = one
        path = str(target.path)
        self.watcher.began(path, file.length)
        checker = Checker(self.cache, self.service.connections)
        with suppress(FileTrouble):  # what can't be read is fetched, and perhaps can't be written either
            if checker.is_same(file, target.stored, partial(self.watcher.moved, path)):
                self.ledger.note(path, Outcome.PRESENT)
        self.watcher.ended(path)

    def fetch(self, targets: Sequence[Target]) -> None:
        """Fetch files; what is wrong with single ones ends nothing. Raises `ClientError` where there is no way on."""
        if not targets:
            return
        self.watcher.phase(Phase.FETCH, len(targets), sum(target.stored.length for target in targets))
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for_each(self._fetch, self._presigned(targets), threads=self.jobs, cut=self.service.connections.cut)
        except OSError as error:
            raise FileTrouble(f"can't make the folder {self.folder.parent}: {words_of(error)}") from error
        finally:
            self.cache.flush()
            with suppress(OSError):  # it may hold what the next attempt goes on from
                (self.folder / PARTIAL_FOLDER).rmdir()

    def _presigned(self, targets: Sequence[Target]) -> Iterator[tuple[Target, str]]:
        for start in range(0, len(targets), self.paths_at_once):
            some = targets[start : start + self.paths_at_once]
            urls = self.service.presign(self.owner, self.dataset, [target.path for target in some])
            yield from ((target, urls[target.path]) for target in some)

    def _fetch(self, one: tuple[Target, str]) -> None:
        """Fetch one file. What it raises ends everything."""
        target, url = one
        path = str(target.path)
        self.watcher.began(path, target.stored.length)
        try:
            checked = self._fetch_by(target, url)
        except (FileTrouble, StoreRefused, Unreachable) as error:
            if isinstance(error, Unreachable) and self._unreached.count() >= self.jobs:
                raise
            self._fail(path, error)
            return
        self._unreached.reset()
        if checked:
            self.ledger.note(path, Outcome.FETCHED)
        else:
            self.ledger.note(path, Outcome.UNVERIFIED, "its length is right; the store can't tell its digest")
        self.watcher.ended(path)

    def _fetch_by(self, target: Target, url: str) -> bool:
        connections = self.service.connections
        fetcher = Fetcher(connections, self.service.retries, Checker(self.cache, connections))
        moved = partial(self.watcher.moved, str(target.path))
        try:
            return fetcher.fetch(target, url, moved)
        except StoreRefused as refused:
            if refused.status not in _NOT_ALLOWED:
                raise
        # Its time may have run out.
        return fetcher.fetch(target, self.service.presign(self.owner, self.dataset, [target.path])[target.path], moved)

    def _fail(self, path: str, error: ClientError) -> None:
        self.ledger.note(path, Outcome.FAILED, str(error))
        self.watcher.ended(path, str(error))
