"""The command: `python -m tests.benchmarks [section ...] [--markdown] [--quick]`."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module

from entrypoints.runtime import tune_interpreter
from tests.benchmarks.report import Findings, as_markdown, as_text, machine
from tests.benchmarks.rounds import FULL, QUICK, Scale

SECTIONS = ("signer", "body", "service", "latency", "exists")
_BUSY = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print what was found; 0 whatever that is."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"{', '.join(SECTIONS)}; all by default")
    parser.add_argument("--markdown", action="store_true", help="print the ratios as a table for a README")
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.sections).difference(SECTIONS):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    print(f"measured on: {machine()}")
    load = os.getloadavg()[0]
    if load > _BUSY:
        print(f"Other things run here, which shows in the figures: the load was {load:.1f} before the first of them.")
    sys.stdout.flush()
    tune_interpreter()
    found = []
    for name in options.sections or SECTIONS:
        print(f"measuring {name} ...", end=" ", file=sys.stderr, flush=True)
        start = time.monotonic()
        found.append(_section(name)(QUICK if options.quick else FULL))
        print(f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print()
    print("\n".join((as_markdown if options.markdown else as_text)(found)))
    return 0


def _section(name: str) -> Callable[[Scale], Findings]:
    # Not imported above: the processes that only ask import this module too, and start the sooner.
    run: Callable[[Scale], Findings] = import_module(f"tests.benchmarks.{name}").run
    return run


if __name__ == "__main__":
    sys.exit(main())
