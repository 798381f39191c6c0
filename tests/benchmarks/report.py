"""What a benchmark has found, and how it is printed: ratios first, each with its target and whether it was met."""

import os
import platform
import re
import ssl
from collections.abc import Iterator, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Self

from attrs import frozen

_NAMED_PACKAGES = ("boto3", "minio", "uvicorn", "orjson")


@frozen
class Spread:
    """A median, and the least and the greatest of what it is the median of."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        return cls(median(samples), min(samples), max(samples))


class Sense(StrEnum):
    """On which side of its limit a target lies."""

    AT_LEAST = "≥"
    AT_MOST = "≤"
    BELOW = "<"


@frozen
class Target:
    sense: Sense
    limit: float

    def is_met(self, value: float) -> bool:
        match self.sense:
            case Sense.AT_LEAST:
                return value >= self.limit
            case Sense.AT_MOST:
                return value <= self.limit
            case Sense.BELOW:
                return value < self.limit


def at_least(limit: float) -> Target:
    return Target(Sense.AT_LEAST, limit)


def at_most(limit: float) -> Target:
    return Target(Sense.AT_MOST, limit)


def below(limit: float) -> Target:
    return Target(Sense.BELOW, limit)


@frozen
class Finding:
    """One line of the report."""

    name: str
    value: Spread
    unit: str
    target: Target | None = None

    @property
    def measured(self) -> str:
        return f"{shown(self.value.median)} {self.unit}"

    @property
    def spread(self) -> str:
        return "" if self.value.low == self.value.high else f"{shown(self.value.low)} - {shown(self.value.high)}"

    @property
    def wanted(self) -> str:
        return "" if self.target is None else f"{self.target.sense} {self.target.limit:g} {self.unit}"

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "ok" if self.target.is_met(self.value.median) else "MISSED"


@frozen
class Findings:
    """What one section has found. `ratios` are what counts: comparisons, and whatever else has a target."""

    title: str
    ratios: Sequence[Finding]
    figures: Sequence[Finding]


def shown(value: float) -> str:
    """Write a number with three digits that count."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def machine() -> str:
    """Say what this was measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    packages = ", ".join(f"{name} {version(name)}" for name in _NAMED_PACKAGES)
    system = f"{platform.system()} {platform.release()}"
    return f"{_processor()}, {cores} cores; {system}; {python}, {ssl.OPENSSL_VERSION}; {packages}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def as_text(sections: Sequence[Findings]) -> Iterator[str]:
    """Write all ratios, then all figures, for a terminal."""
    yield f"{'RATIOS':<74}{'median':>12}  {'of rounds':<19}{'target':<12}"
    for section in sections:
        yield from _block(section.title, section.ratios)
    yield ""
    yield f"{'FIGURES':<74}{'median':>12}  of rounds"
    for section in sections:
        yield from _block(section.title, section.figures)


def _block(title: str, findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        yield title
    for one in findings:
        line = f"  {one.name:<72}{one.measured:>12}  {one.spread:<19}{one.wanted:<12}{one.verdict}"
        yield line.rstrip()


def as_markdown(sections: Sequence[Findings]) -> Iterator[str]:
    """Write the ratios as a table."""
    yield "| | measured | target | |"
    yield "|---|---|---|---|"
    for section in sections:
        yield f"| **{section.title}** | | | |"
        for one in section.ratios:
            yield f"| {one.name} | {one.measured} | {one.wanted} | {one.verdict} |"
