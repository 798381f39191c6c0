"""How a transfer is watched, and what is told of it in the end."""

import threading
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from attrs import evolve, frozen

from entrypoints.client.errors import Problem


class Phase(StrEnum):
    """What is being done."""

    HASH = "hash"
    COMPARE = "compare"
    SEND = "send"
    VERIFY = "verify"
    LIST = "list"
    FETCH = "fetch"


class Watcher:
    """Is told how a transfer goes, from several threads at once. This one takes no notice; override what you need."""

    def phase(self, phase: Phase, files: int, size: int) -> None:
        """See a phase begin, with so many files and bytes ahead of it; the one before is over."""

    def began(self, path: str, length: int) -> None:
        """See the turn of a file come."""

    def moved(self, path: str, count: int) -> None:
        """See so many bytes of a file go by; fewer than none where some must go again."""

    def ended(self, path: str, problem: str | None = None) -> None:
        """See the end of a file in this phase: well, or with a problem."""

    def noted(self, note: str) -> None:
        """Learn of something that a person should know, and that stops nothing."""


class Outcome(StrEnum):
    """What became of a file."""

    SENT = "sent"
    FETCHED = "fetched"
    PRESENT = "present"
    """It was there already."""
    UNVERIFIED = "unverified"
    """It was moved, but nobody can tell whether it arrived with the right digest."""
    FAILED = "failed"
    WAITING = "waiting"
    """Nobody came to it: a dry run, or one that ended early."""


_DONE = frozenset({Outcome.SENT, Outcome.FETCHED, Outcome.PRESENT})


@frozen
class FileResult:
    """What became of one file, and why, where it isn't as wished. `length` is in bytes."""

    path: str
    length: int
    outcome: Outcome
    reason: str | None = None
    object_url: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Give its members by name; those that say nothing are left out."""
        members = {
            "path": self.path,
            "status": self.outcome.value,
            "length": self.length,
            "object_url": self.object_url,
            "reason": self.reason,
        }
        return {name: value for name, value in members.items() if value is not None}


@frozen
class Report:
    """What became of a dataset. `left_out` is what was found and isn't a file to send, with reasons."""

    owner: str
    dataset: str
    files: Sequence[FileResult]
    left_out: Sequence[Problem] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every file is where it should be, with its length and digest."""
        return all(file.outcome in _DONE for file in self.files)

    @property
    def counts(self) -> Counter[Outcome]:
        """How many files had which outcome."""
        return Counter(file.outcome for file in self.files)

    def with_outcome(self, *outcomes: Outcome) -> list[FileResult]:
        """Give the files with one of these outcomes."""
        return [file for file in self.files if file.outcome in outcomes]

    def size_of(self, *outcomes: Outcome) -> int:
        """Give the bytes of the files with one of these outcomes."""
        return sum(file.length for file in self.with_outcome(*outcomes))


class Ledger:
    """What has become of the files so far; threads write into it."""

    def __init__(self) -> None:
        self._results: dict[str, FileResult] = {}

    def expect(self, path: str, length: int, object_url: str | None = None) -> None:
        """Enter a file that nothing has become of yet."""
        self._results[path] = FileResult(path, length, Outcome.WAITING, object_url=object_url)

    def note(self, path: str, outcome: Outcome, reason: str | None = None, *, object_url: str | None = None) -> None:
        """Enter what became of a file; it must be expected."""
        before = self._results[path]
        self._results[path] = evolve(before, outcome=outcome, reason=reason, object_url=object_url or before.object_url)

    def __getitem__(self, path: str) -> FileResult:
        return self._results[path]

    def results(self) -> list[FileResult]:
        """Give all files, in the order of their paths."""
        return [result for _, result in sorted(self._results.items())]


class FailuresInARow:
    """Counts failures without a success in between; called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def count(self) -> int:
        """Count one more, and give how many there are."""
        with self._lock:
            self._count += 1
            return self._count

    def reset(self) -> None:
        """Start anew, after a success."""
        with self._lock:
            self._count = 0
