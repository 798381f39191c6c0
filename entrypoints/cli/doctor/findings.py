"""What a check found, and how it is told: a line for each check, and what to do below those that are wrong."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import frozen

_NAME_WIDTH = 17
_INDENT = " " * 10
_WIDTH = 110


class Level(StrEnum):
    """How it stands with what was checked."""

    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"
    SKIPPED = "skipped"


@frozen
class Finding:
    """A sentence; where it is worth one, what to do about it, and a block to paste."""

    level: Level
    sentence: str
    advice: str = ""
    paste: str = ""


def ok(sentence: str) -> Finding:
    """Say that all is well."""
    return Finding(Level.OK, sentence)


def note(sentence: str, advice: str = "", paste: str = "") -> Finding:
    """Say what isn't wrong, but good to know."""
    return Finding(Level.NOTE, sentence, advice, paste)


def wrong(sentence: str, advice: str, paste: str = "") -> Finding:
    """Say what doesn't work, or isn't safe."""
    return Finding(Level.WRONG, sentence, advice, paste)


def skipped(sentence: str) -> Finding:
    """Say why nothing can be told."""
    return Finding(Level.SKIPPED, sentence)


@frozen
class Result:
    """What one check came to; `logged` are the warnings that the service's own parts gave meanwhile."""

    name: str
    finding: Finding
    logged: Sequence[str] = ()


def as_lines(result: Result, number: int, count: int) -> Iterator[str]:
    """Write a result for people; `number` of `count` shows how far the examination has come."""
    finding, width = result.finding, len(str(count))
    head = f"[{number:>{width}}/{count}] {finding.level:<8}{result.name:<{_NAME_WIDTH}} "
    yield f"{head}{finding.sentence}"
    if finding.advice:
        yield from textwrap.wrap(
            finding.advice,
            _WIDTH,
            initial_indent=f"{_INDENT}-> ",
            subsequent_indent=f"{_INDENT}   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    for line in finding.paste.splitlines():
        yield f"{_INDENT}     {line}"
    for line in result.logged:
        yield f"{_INDENT}   logged: {line}"


def summary(results: Sequence[Result]) -> str:
    """Write in one line what all came to."""
    counts = {level: sum(result.finding.level is level for result in results) for level in Level}
    said = ", ".join(f"{count} {level}" for level, count in counts.items() if count)
    faulty = [result.name for result in results if result.finding.level is Level.WRONG]
    return f"{said}: look at {', '.join(faulty)}" if faulty else f"{said}: all is well"


def as_json(result: Result) -> Mapping[str, Any]:
    """Write a result for programs."""
    finding = result.finding
    return {
        "name": result.name,
        "level": finding.level.lower(),
        "message": finding.sentence,
        "advice": finding.advice or None,
        "paste": finding.paste or None,
        "logged": list(result.logged),
    }
