"""What `bitstore push` and `bitstore pull` have in common: the client, the way they end, and what is said of that."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from attrs import frozen

from domain.errors import Misconfigured
from entrypoints.cli.progress import progress
from entrypoints.cli.round_trip import human_size
from entrypoints.cli.tally import Tally, printable
from entrypoints.client import (
    JOBS,
    BadSources,
    Client,
    ClientError,
    Outcome,
    Report,
    ServiceRefused,
    WrongArguments,
    default_cache,
)

EXIT_COMPLETE = 0
EXIT_INCOMPLETE = 1
EXIT_INTERRUPTED = 130

_THERE = (Outcome.SENT, Outcome.FETCHED, Outcome.PRESENT)


class Transfer(Protocol):
    """A push or a pull: `run` does it, and `reports` tell of it however it ended."""

    @property
    def reports(self) -> Sequence[Report]:
        """What has become of the files so far."""

    def run(self) -> object:
        """Do it all. Raises `ClientError`."""


@frozen
class Words:
    """How a command speaks of what it does: `done` to files, and `where` they are then."""

    command: str
    done: str
    where: str


@frozen
class Ending:
    """How a transfer ended."""

    reports: Sequence[Report]
    is_dry_run: bool
    error: ClientError | None = None
    is_interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        if self.is_interrupted:
            return EXIT_INTERRUPTED
        return EXIT_COMPLETE if self._is_well else EXIT_INCOMPLETE

    @property
    def _is_well(self) -> bool:
        if self.error is not None:
            return False
        if self.is_dry_run:
            return not any(report.counts[Outcome.FAILED] for report in self.reports)
        return all(report.is_complete for report in self.reports)


def carry_out(
    options: argparse.Namespace, words: Words, prepare: Callable[[Client, Tally], AbstractContextManager[Transfer]]
) -> int:
    """Do what `prepare` gets ready, show how it goes, and say how it ended; return the exit code.

    Raises `Misconfigured`: nothing was done.
    """
    with _make_client(options) as client, _as_interrupt(signal.SIGTERM):
        with progress(quiet=options.quiet) as tally, prepare(client, tally) as transfer:
            ending = _end(transfer, is_dry_run=options.dry_run)
        if options.json:
            print(json.dumps(_as_json(ending), indent=2))
        elif not options.quiet:
            for report in ending.reports:
                _print_report(report, ending, words)
        _print_error(ending, words)
    return ending.exit_code


def _make_client(options: argparse.Namespace) -> Client:
    url, token = options.url or os.environ.get("BITSTORE_URL"), options.token or os.environ.get("BITSTORE_TOKEN")
    problems = []
    if not url:
        problems.append("the URL of the service is needed: --url, or BITSTORE_URL in the environment")
    if not token:
        problems.append("a permission token is needed: BITSTORE_TOKEN in the environment, or --token")
    if not url or not token:
        raise Misconfigured(problems)
    cache = None if options.no_cache else options.cache or default_cache()
    try:
        return Client(url, token, jobs=options.jobs or JOBS, cache=cache)
    except WrongArguments as error:
        raise Misconfigured([str(error)]) from error


@contextmanager
def _as_interrupt(number: signal.Signals) -> Iterator[None]:
    """Have a signal end what is done as Ctrl-C does."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _end(transfer: Transfer, *, is_dry_run: bool) -> Ending:
    """Run to the end, whatever it is. Raises `Misconfigured`."""
    try:
        transfer.run()
    except KeyboardInterrupt:
        return Ending(transfer.reports, is_dry_run, is_interrupted=True)
    except WrongArguments as error:
        raise Misconfigured([str(error)]) from error
    except ClientError as error:
        return Ending(transfer.reports, is_dry_run, error)
    return Ending(transfer.reports, is_dry_run)


def _print_report(report: Report, ending: Ending, words: Words) -> None:
    waiting = report.with_outcome(Outcome.WAITING)
    if not report.files:
        return
    if ending.is_dry_run and ending.error is None:
        for file in waiting:
            why = f" ({file.reason})" if file.reason else ""
            print(f"would be {words.done}: {printable(file.path)}, {human_size(file.length)}{why}")
    there = report.with_outcome(*_THERE)
    files = f"{len(there)} of {len(report.files)} files ({human_size(report.size_of(*_THERE))})"
    print(f"{report.dataset}: {files} are {words.where}{_details(report, words)}")


def _details(report: Report, words: Words) -> str:
    counts = report.counts
    moved = report.size_of(Outcome.SENT, Outcome.FETCHED)
    told = {
        f"{words.done} and verified ({human_size(moved)})": counts[Outcome.SENT] + counts[Outcome.FETCHED],
        "there already": counts[Outcome.PRESENT],
        f"{words.done}, but not verified": counts[Outcome.UNVERIFIED],
        "failed": counts[Outcome.FAILED],
        f"not {words.done}": counts[Outcome.WAITING],
    }
    return ": " + ", ".join(f"{count} {what}" for what, count in told.items() if count)


def _print_error(ending: Ending, words: Words) -> None:
    """Say why it ended, and what to do; on the standard error, so that it is never lost."""
    if ending.is_interrupted:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    elif isinstance(ending.error, BadSources):
        print(f"nothing was {words.done}:", file=sys.stderr)
        for problem in ending.error.problems:
            print(f"  - {printable(str(problem))}", file=sys.stderr)
    elif ending.error is not None:
        print(f"{words.command} can't go on: {printable(str(ending.error))}", file=sys.stderr)
    elif ending.exit_code != EXIT_COMPLETE:
        print("not all is well; the same command tries again what is missing", file=sys.stderr)


def _as_json(ending: Ending) -> dict[str, Any]:
    return {
        "complete": ending.exit_code == EXIT_COMPLETE,
        "dry_run": ending.is_dry_run,
        "interrupted": ending.is_interrupted,
        "error": None if ending.error is None else _error_as_json(ending.error),
        "datasets": [_report_as_json(report) for report in ending.reports if report.dataset],
    }


def _error_as_json(error: ClientError) -> dict[str, Any]:
    told: dict[str, Any] = {"message": str(error)}
    if isinstance(error, ServiceRefused):
        told["code"] = error.code
    if isinstance(error, BadSources):
        told["message"] = f"{len(error.problems)} problems; nothing was sent"
        told["problems"] = [{"path": problem.path, "reason": problem.reason} for problem in error.problems]
    return told


def _report_as_json(report: Report) -> dict[str, Any]:
    return {
        "owner": report.owner,
        "dataset": report.dataset,
        "counts": {outcome.value: report.counts[outcome] for outcome in Outcome},
        "bytes": {outcome.value: report.size_of(outcome) for outcome in Outcome},
        "files": [file.as_json() for file in report.files],
        "left_out": [{"path": one.path, "reason": one.reason} for one in report.left_out],
    }
