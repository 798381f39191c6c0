"""The capability matrix: which stores can be chosen here, and what each is known to enforce before it is configured."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from importlib.metadata import EntryPoint

from attrs import frozen

from adapters.stores.discovery import Claims, found_stores, load_claims
from adapters.stores.flavours import EMBEDDED, FLAVOURS, Flavour
from domain.errors import Misconfigured
from domain.uploads import Capabilities, Guarantee, UploadMethod
from entrypoints.settings import Backend

NOTES = (
    "A request that breaks what is enforced is refused and leaves nothing behind. A store has only the ways in listed.",
    '"access" holds on s3 and gcs where the bucket takes ACLs, and is looked at only where it is claimed.',
    '"longest request" is the store\'s own limit, for MULTIPART all parts; single requests end at MAX_FILE_BYTES too.',
    '"seen on": the contract suite sees there that what is enforced is refused, and that what isn\'t passes.',
)
UNKNOWN = "?"
_HEADINGS = ("store", "way in", *Guarantee, "longest request", "max lifetime", "known from")
_UNITS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1, "bytes"))
_PERIODS = (
    (timedelta(days=1), "days"),
    (timedelta(hours=1), "hours"),
    (timedelta(minutes=1), "minutes"),
    (timedelta(seconds=1), "seconds"),
)


@frozen
class StoreClaims:
    """What is claimed of a store, or of one flavour of it. `seen_on` is None where it is known from documentation."""

    store: str
    flavour: str | None
    capabilities: Capabilities
    seen_on: str | None

    @property
    def label(self) -> str:
        """The name, with the flavour in parentheses if there is one."""
        return self.store if self.flavour is None else f"{self.store} ({self.flavour})"


@frozen
class ListedStore:
    """A store that STORAGE_BACKEND can name. `distribution` and `version` are None for those that are built in.

    `problem` says in one line why it can't be chosen here. What gives no claims has none.
    """

    name: str
    claims: Sequence[StoreClaims] = ()
    distribution: str | None = None
    version: str | None = None
    problem: str | None = None


def list_stores() -> list[ListedStore]:
    """List the stores that are built in, then those that are found, which are imported. Never raises."""
    built_in = [
        ListedStore(Backend.S3, [_flavour_claims(Backend.S3, flavour, flavour.name) for flavour in FLAVOURS.values()]),
        *(ListedStore(name, [_flavour_claims(name, EMBEDDED)]) for name in (Backend.DISK, Backend.MEMORY)),
    ]
    return [*built_in, *map(_listed, found_stores().values())]


def _flavour_claims(store: str, flavour: Flavour, name: str | None = None) -> StoreClaims:
    return StoreClaims(store, name, flavour.capabilities, flavour.seen_on)


def _listed(found: EntryPoint) -> ListedStore:
    claims: Claims | None = None
    problem = None
    if found.name in tuple(Backend):
        problem = f"the store {found.name!r} can't be chosen: the one that is built in has its name"
    else:
        try:
            claims = load_claims(found.name)
        except Misconfigured as error:
            problem = "; ".join(error.problems)
    distribution = found.dist
    return ListedStore(
        name=found.name,
        claims=[] if claims is None else [StoreClaims(found.name, None, claims.capabilities, claims.seen_on)],
        distribution=UNKNOWN if distribution is None else distribution.name,
        version=UNKNOWN if distribution is None else distribution.version,
        problem=problem,
    )


def matrix_lines(stores: Iterable[ListedStore], *, edge: str = "") -> list[str]:
    """Write the matrix with one line for each way in; with `edge` "|" it is a table in Markdown."""
    rows = [_HEADINGS, *(row for store in stores for claims in store.claims for row in _rows(claims))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f" {edge} ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if not edge:
        return [line.rstrip() for line in lines]
    lines.insert(1, f" {edge} ".join("-" * width for width in widths))
    return [f"{edge} {line} {edge}" for line in lines]


def _rows(claims: StoreClaims) -> Iterable[tuple[str, ...]]:
    for method in UploadMethod:
        enforced = claims.capabilities.methods.get(method)
        if enforced is not None:
            yield (
                claims.label,
                method,
                *("yes" if guarantee in enforced else "-" for guarantee in Guarantee),
                _in_units(longest_upload(claims.capabilities, method)),
                _in_periods(claims.capabilities.max_lifetime),
                "documentation" if claims.seen_on is None else f"seen on {claims.seen_on}",
            )


def longest_upload(capabilities: Capabilities, method: UploadMethod) -> int:
    """Give the longest file in bytes that can be sent in one way: by one request, or by all parts together."""
    in_parts = capabilities.parts if method is UploadMethod.MULTIPART else None
    return capabilities.max_request_bytes if in_parts is None else in_parts.longest_object


def _in_units(length: int) -> str:
    """Write a length in bytes in the largest unit of which it is a whole number."""
    return next(f"{length // size:,} {unit}" for size, unit in _UNITS if length % size == 0)


def _in_periods(time: timedelta) -> str:
    """Write a time in the largest unit of which it is a whole number."""
    whole = (f"{time // period:,} {name}" for period, name in _PERIODS if time >= period and not time % period)
    return next(whole, str(time))
