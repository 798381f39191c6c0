"""A client of a BitStore service: the front door of this package."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import define, evolve, field

from entrypoints.client.answers import StoredObject, StoreInfo
from entrypoints.client.cache import Cache, default_cache
from entrypoints.client.connections import Connections
from entrypoints.client.errors import WrongArguments
from entrypoints.client.pull import Pull, PullOptions
from entrypoints.client.push import Push, PushOptions
from entrypoints.client.retrying import Retries, Stop
from entrypoints.client.service import Service
from entrypoints.client.watching import Report, Watcher

JOBS = 8
"""How many files, or parts of files, are moved at once unless one asks for another number."""

_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", re.IGNORECASE)
_TOKEN = re.compile(r"[!-~]+")


def _without_slash(url: str) -> str:
    return url.rstrip("/")


@define
class Client:
    """A client of the service at `url` (`https://host/rawstore`), for whoever holds `token`.

    `jobs` is how many files, or parts of files, are moved at once. What makes a rerun short, the digests of files and
    the uploads in parts that were interrupted, is kept in the file `cache`; None keeps nothing. Long files come in
    parts of `part_size` bytes, as far as the store allows it; by default in a size that is right for most.

    Methods may be called from several threads, and raise `ClientError`. `KeyboardInterrupt` cuts off what they do, as
    `stop` does; after that the client is of no more use. Raises `WrongArguments`.

        with Client("https://data.example.org/rawstore", token) as client:
            report = client.push(PushOptions("tides", owner="ada", dataset="tides-2024"))
            for file in report.with_outcome(Outcome.FAILED):
                print(file.path, file.reason)
            client.pull(PullOptions("tides-2024", owner="ada", folder="copies"))
    """

    url: str = field(converter=_without_slash)
    token: str = field(repr=False)
    jobs: int = JOBS
    cache: Path | None = field(factory=default_cache)
    retries: Retries = field(factory=Retries)
    part_size: int | None = None
    _service: Service = field(init=False, repr=False)

    @url.validator
    def _check_url(self, _: object, url: str) -> None:
        if not _URL.fullmatch(url):
            raise WrongArguments("the URL of the service must be one such as https://data.example.org/rawstore")

    @token.validator
    def _check_token(self, _: object, token: str) -> None:
        if not _TOKEN.fullmatch(token):
            raise WrongArguments("the token must be one line without blanks")

    @_service.default
    def _make_service(self) -> Service:
        # A file in parts is watched over by one thread, while others send its parts.
        return Service(self.url, self.token, Connections(2 * self.jobs, Stop()), self.retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._service.connections.close()

    def stop(self) -> None:
        """End all that is under way, which raises `Stopped` there. May be called from any thread."""
        self._service.connections.cut()

    def info(self) -> StoreInfo:
        """Ask what the store takes and enforces."""
        return self._service.info()

    def objects(self, owner: str, dataset: str) -> Iterator[StoredObject]:
        """List the objects of a dataset; they are asked for page by page, as one goes on."""
        return self._service.objects(owner, dataset)

    def presign(self, owner: str, dataset: str, paths: Sequence[str]) -> Mapping[str, str]:
        """Ask for signed URLs by which files of a dataset can be read for some time, by path."""
        return self._service.presign(owner, dataset, paths)

    def push(self, options: PushOptions, watcher: Watcher | None = None) -> Report:
        """Send files into a dataset, but for those that are there, and find out whether they have arrived.

        Raises `BadSources` and `WrongArguments` before anything is sent, and any other `ClientError` where there is no
        way on. What concerns single files is in the report. `watcher` is told how it goes.
        """
        with self.pushing(options, watcher) as push:
            return push.run()

    @contextmanager
    def pushing(self, options: PushOptions, watcher: Watcher | None = None) -> Iterator[Push]:
        """Get a push ready, to be run within the context; its report can be read also when it ends early."""
        watcher = watcher or Watcher()
        with closing(Cache.open(self.cache, watcher.noted)) as cache:
            yield Push(evolve(self._service, noted=watcher.noted), options, cache, watcher, self.jobs, self.part_size)

    def pull(self, options: PullOptions, watcher: Watcher | None = None) -> Sequence[Report]:
        """Fetch datasets, but for files that are there with the same length and digest; give a report for each.

        Nothing is written outside the folder. Raises `NothingThere` and `WrongArguments` before anything is written,
        and any other `ClientError` where there is no way on. What concerns single files is in the reports. `watcher`
        is told how it goes.
        """
        with self.pulling(options, watcher) as pull:
            return pull.run()

    @contextmanager
    def pulling(self, options: PullOptions, watcher: Watcher | None = None) -> Iterator[Pull]:
        """Get a pull ready, to be run within the context; its reports can be read also when it ends early."""
        watcher = watcher or Watcher()
        with closing(Cache.open(self.cache, watcher.noted)) as cache:
            yield Pull(evolve(self._service, noted=watcher.noted), options, cache, watcher, self.jobs)
