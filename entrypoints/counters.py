"""What one process has counted since it started: plain numbers, which `http/metrics.py` alone writes out."""

from bisect import bisect_left
from collections import Counter
from enum import StrEnum
from typing import Final

from attrs import define, field

from adapters.tokens.cache import CacheCounts
from domain.errors import ErrorCode
from domain.uploads import UploadMethod

# From a signed file without a look into the store to a large upload into the embedded one.
BUCKET_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""The upper bounds, inclusive, of the classes that durations are counted in; above the last there is one more."""


class StoreOperation(StrEnum):
    """What a store is asked to do, apart from signing, which asks nothing."""

    INSPECT = "inspect"
    BEGIN_PARTS = "begin_parts"
    LIST_PARTS = "list_parts"
    COMPLETE_PARTS = "complete_parts"
    ABORT_PARTS = "abort_parts"
    SERVE_OBJECT = "serve_object"
    """The embedded store's own medium: reading and writing."""


class PartsEvent(StrEnum):
    """What becomes of an upload in parts."""

    BEGUN = "begun"
    COMPLETED = "completed"
    ABORTED = "aborted"


@define
class Durations:
    """How long something took, in seconds: the sum, and how often it was in each class of `BUCKET_SECONDS`."""

    seconds: float = 0.0
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKET_SECONDS) + 1))

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.seconds += seconds
        self.buckets[bisect_left(BUCKET_SECONDS, seconds)] += 1


@define
class ServedCounts:
    """What went through the embedded store. Bytes are those of objects, however they came; codes are S3's."""

    received_bytes: int = 0
    sent_bytes: int = 0
    errors: int = 0
    refusals: Counter[str] = field(factory=Counter)


@define
class Counters:
    """All that is counted.

    `answers` are by route, method and status, all of them from short lists of ours. `refusals` are requests by their
    error's code, `refused_files` the single files of refused batches.
    """

    free_places: int = 0
    in_progress: int = 0
    answers: dict[tuple[str, str, str], Durations] = field(factory=dict)
    authorized_files: Counter[UploadMethod] = field(factory=Counter)
    authorized_bytes: Counter[UploadMethod] = field(factory=Counter)
    existing_files: int = 0
    refusals: Counter[ErrorCode] = field(factory=Counter)
    refused_files: Counter[ErrorCode] = field(factory=Counter)
    token_cache: CacheCounts = field(factory=CacheCounts)
    inspections: Durations = field(factory=Durations)
    store_errors: Counter[StoreOperation] = field(factory=Counter)
    parts: Counter[PartsEvent] = field(factory=Counter)
    served: ServedCounts = field(factory=ServedCounts)

    def answered(self, route: str, method: str, status: str) -> Durations:
        """Give what requests with such an answer are counted in."""
        return self.answers.setdefault((route, method, status), Durations())
