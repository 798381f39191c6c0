"""The demo's dataset: the prime numbers below two million, and the widest gaps between them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import compress, pairwise

LIMIT = 2_000_000

_README = """# Prime numbers

All primes below two million with the gap to the next one, and the record gaps among them.
Computed, not copied: public domain.
"""


def dataset() -> Mapping[str, bytes]:
    """Make the files by relative path: some small ones, one of a few MB, one whose name is not plain ASCII."""
    primes = _primes_below(LIMIT)
    gaps = [(number, prime, following - prime) for number, (prime, following) in enumerate(pairwise(primes), start=1)]
    package = {
        "name": "primes",
        "title": "Prime numbers",
        "resources": [{"path": path, "format": "csv"} for path in ("data/primes.csv", "data/Größte Lücken.csv")],
    }
    return {
        "README.md": _README.encode(),
        "datapackage.json": json.dumps(package, indent=2, ensure_ascii=False).encode(),
        "data/primes.csv": _csv("number,prime,gap", gaps),
        "data/Größte Lücken.csv": _csv("number,prime,gap", _records(gaps)),
        "data/even-primes-above-two.csv": b"",
    }


@cache
def large_file() -> bytes:
    """Make a file of 12 MB: the residues of the primes modulo 256, some times over, since parts are 5 MiB at least."""
    residues = bytes(prime % 256 for prime in _primes_below(LIMIT))
    return b"".join(bytes([turn]) + residues for turn in range(80))


def _primes_below(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return list(compress(range(limit), sieve))


def _records(gaps: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    widest = 0
    for row in gaps:
        if row[2] > widest:
            widest = row[2]
            yield row


def _csv(header: str, rows: Iterator[tuple[int, int, int]] | list[tuple[int, int, int]]) -> bytes:
    lines = [header, *("%d,%d,%d" % row for row in rows)]  # noqa: UP031 - several times faster for 150,000 rows
    return ("\n".join(lines) + "\n").encode()
