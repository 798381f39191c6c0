"""`bitstore explain`: paste what an upload was answered with, and read what it means."""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from domain.errors import Misconfigured
from entrypoints.cli.explain.answers import Answer, parse
from entrypoints.cli.explain.diagnosis import Diagnosis, diagnose
from entrypoints.cli.explain.redaction import redact

_MAX_BYTES = 1 << 20
_WIDTH = 100


def print_explanation(options: argparse.Namespace) -> int:
    """Explain what stands in a file, or comes on standard input. Raises `Misconfigured` if the file can't be read."""
    answer = parse(_read(options.file))
    diagnosis = diagnose(answer)
    if options.json:
        print(json.dumps(_as_json(answer, diagnosis), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_as_text(answer, diagnosis)))
    return 0


def _read(file: Path | None) -> str:
    if file is not None:
        try:
            with file.open("rb") as stream:
                return stream.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise Misconfigured([f"{file} can't be read: {error.strerror}"]) from error
    if sys.stdin.isatty():
        print("Paste what `curl -i` printed, or the status and the body of the answer; then Ctrl-D:", file=sys.stderr)
    return sys.stdin.buffer.read(_MAX_BYTES).decode("utf-8", "replace")


def _heading(answer: Answer) -> str:
    said = [] if answer.status is None else [str(answer.status)]
    said += [redact(answer.code)[:64]] if answer.code else []
    return " ".join(said) or "no status"


def _as_text(answer: Answer, diagnosis: Diagnosis) -> Iterator[str]:
    yield f"{_heading(answer)}: {diagnosis.topic}"
    yield from _paragraph("what", diagnosis.cause)
    yield from _paragraph("to do", diagnosis.remedy)
    for name, text in answer.facts():
        yield from _paragraph("said", f"{name}: {text}")
    if diagnosis.source:
        yield from _paragraph("see", diagnosis.source)


def _paragraph(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {label:<6} ",
        subsequent_indent=" " * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _as_json(answer: Answer, diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "status": answer.status,
        "code": redact(answer.code) or None,
        "topic": diagnosis.topic,
        "cause": diagnosis.cause,
        "remedy": diagnosis.remedy,
        "known": diagnosis.known,
        "source": diagnosis.source or None,
        "said": [{"name": name, "text": text} for name, text in answer.facts()],
    }
