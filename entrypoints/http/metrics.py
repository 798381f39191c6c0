"""The one place that writes out what was counted, as text that Prometheus reads.

The format is 0.0.4 of Prometheus' "Exposition formats"; names and units keep its "Metric and label naming". No label
has a value that a client chose, so there are never more series than we have routes, methods, statuses and codes. What
can happen is there from the start, as 0: Prometheus takes no increase from what wasn't there before.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate
from typing import Final, TypeVar

from attrs import frozen

from domain.errors import ErrorCode
from domain.uploads import UploadMethod
from entrypoints.counters import BUCKET_SECONDS, Counters, Durations, PartsEvent, StoreOperation
from entrypoints.http.s3_errors import STATUS_BY_S3_CODE
from entrypoints.workers import Figures, added

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Value = TypeVar("_Value", bound=str)

_BOUNDS: Final = (*map(str, BUCKET_SECONDS), "+Inf")


@frozen
class _Family:
    """A metric. `samples` gives what follows its name in each line, and the number."""

    name: str
    kind: str
    help: str
    samples: Callable[[Counters], Iterable[tuple[str, float]]]

    @property
    def is_total(self) -> bool:
        """Whether it only grows."""
        return self.kind != "gauge"


def measure(counters: Counters) -> Figures:
    """Take down all figures of this process, by family and sample."""
    taken = {family.name: dict(family.samples(counters)) for family in _FAMILIES}
    return Figures(
        totals={family.name: taken[family.name] for family in _FAMILIES if family.is_total},
        present={family.name: taken[family.name] for family in _FAMILIES if not family.is_total},
    )


def render(workers: Sequence[Figures]) -> bytes:
    """Write the figures of all processes together."""
    sums = added(workers)
    lines = list(_head("bitstore_build_info", "gauge", "The versions of BitStore and of the Python it runs on."))
    built = _labels(version=version("bitstore-service"), python=platform.python_version())
    lines.append(f"bitstore_build_info{built} 1")
    for family in _FAMILIES:
        lines += _head(family.name, family.kind, family.help)
        lines += [f"{family.name}{sample} {value}" for sample, value in sums.get(family.name, {}).items()]
    return "\n".join([*lines, ""]).encode()


def _head(name: str, kind: str, explanation: str) -> Iterator[str]:
    yield f"# HELP {name} {explanation}"
    yield f"# TYPE {name} {kind}"


def _labels(**values: str) -> str:
    # These are our own words; none has a quote, a backslash or a line feed.
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"


def _single(value: Callable[[Counters], float]) -> Callable[[Counters], Iterable[tuple[str, float]]]:
    return lambda counters: [("", value(counters))]


def _by(
    label: str, known: Iterable[_Value], counts: Callable[[Counters], Mapping[_Value, int]]
) -> Callable[[Counters], Iterable[tuple[str, float]]]:
    """Give a sample for each value of a label, and 0 for what hasn't happened yet."""
    names = {value: _labels(**{label: str(value)}) for value in known}
    return lambda counters: [(name, counts(counters).get(value, 0)) for value, name in names.items()]


def _store_errors(counters: Counters) -> Mapping[StoreOperation, int]:
    return {**counters.store_errors, StoreOperation.SERVE_OBJECT: counters.served.errors}


def _answers(counters: Counters) -> Iterator[tuple[str, float]]:
    for (route, method, status), durations in counters.answers.items():
        yield _labels(route=route, method=method, status=status), sum(durations.buckets)


def _answer_durations(counters: Counters) -> Iterator[tuple[str, float]]:
    """Give a histogram for each route and method, whatever the status."""
    by_route: dict[tuple[str, str], Durations] = {}
    for (route, method, _), durations in counters.answers.items():
        total = by_route.setdefault((route, method), Durations())
        total.seconds += durations.seconds
        total.buckets = [one + other for one, other in zip(total.buckets, durations.buckets, strict=True)]
    for (route, method), durations in by_route.items():
        yield from _histogram(durations, route=route, method=method)


def _histogram(durations: Durations, **labels: str) -> Iterator[tuple[str, float]]:
    for bound, count in zip(_BOUNDS, accumulate(durations.buckets), strict=True):
        yield f"_bucket{_labels(**labels, le=bound)}", count
    suffix = _labels(**labels) if labels else ""
    yield f"_sum{suffix}", durations.seconds
    yield f"_count{suffix}", sum(durations.buckets)


_FAMILIES: Final = (
    _Family("bitstore_workers", "gauge", "Processes whose figures are added up here.", _single(lambda _: 1)),
    _Family(
        "bitstore_http_requests_total",
        "counter",
        "Requests by route, method and status; none: the client left before there was an answer.",
        _answers,
    ),
    _Family(
        "bitstore_http_request_duration_seconds",
        "histogram",
        "From a request's head to the last byte of its answer; with uploads into the embedded store, their bytes too.",
        _answer_durations,
    ),
    _Family(
        "bitstore_http_requests_in_progress",
        "gauge",
        "Requests that have begun and are not answered yet.",
        _single(lambda counters: counters.in_progress),
    ),
    _Family(
        "bitstore_places_free",
        "gauge",
        "How many more requests that have arrived can be worked on at once; at 0 they are refused as overloaded.",
        _single(lambda counters: counters.free_places),
    ),
    _Family(
        "bitstore_authorized_files_total",
        "counter",
        "Files for which an upload was authorized, by how they are sent.",
        _by("upload_method", UploadMethod, lambda counters: counters.authorized_files),
    ),
    _Family(
        "bitstore_authorized_bytes_total",
        "counter",
        "Declared bytes of these files.",
        _by("upload_method", UploadMethod, lambda counters: counters.authorized_bytes),
    ),
    _Family(
        "bitstore_existing_files_total",
        "counter",
        "Files among these that the store already had.",
        _single(lambda counters: counters.existing_files),
    ),
    _Family(
        "bitstore_refusals_total",
        "counter",
        "Requests that were refused, by the code of the error.",
        _by("code", ErrorCode, lambda counters: counters.refusals),
    ),
    _Family(
        "bitstore_refused_files_total",
        "counter",
        "Bad files in batches that were refused as invalid_batch, by the code of what is wrong with each.",
        _by("code", ErrorCode, lambda counters: counters.refused_files),
    ),
    _Family(
        "bitstore_token_cache_hits_total",
        "counter",
        "Tokens that had been verified before.",
        _single(lambda counters: counters.token_cache.hits),
    ),
    _Family(
        "bitstore_token_cache_misses_total",
        "counter",
        "Tokens whose signature had to be verified.",
        _single(lambda counters: counters.token_cache.misses),
    ),
    _Family(
        "bitstore_inspect_duration_seconds",
        "histogram",
        "How long it took to ask the store what it holds, for a whole batch.",
        lambda counters: _histogram(counters.inspections),
    ),
    _Family(
        "bitstore_store_errors_total",
        "counter",
        "Failures of the store, by what it was asked to do; inspect: to tell what it holds.",
        _by("operation", StoreOperation, _store_errors),
    ),
    _Family(
        "bitstore_parts_uploads_total",
        "counter",
        "Uploads in parts, by what became of them.",
        _by("event", PartsEvent, lambda counters: counters.parts),
    ),
    _Family(
        "bitstore_store_received_bytes_total",
        "counter",
        "Bytes of objects that the embedded store has received.",
        _single(lambda counters: counters.served.received_bytes),
    ),
    _Family(
        "bitstore_store_sent_bytes_total",
        "counter",
        "Bytes of objects that the embedded store has sent.",
        _single(lambda counters: counters.served.sent_bytes),
    ),
    _Family(
        "bitstore_store_refusals_total",
        "counter",
        "Requests that the embedded store has refused, by S3's code.",
        _by("code", STATUS_BY_S3_CODE, lambda counters: counters.served.refusals),
    ),
    _Family(
        "process_cpu_seconds_total", "counter", "User and system CPU time.", _single(lambda _: time.process_time())
    ),
)
