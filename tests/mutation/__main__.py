"""The command: `python -m tests.mutation [module ...] [--jobs N]`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from tests.mutation.accepted import Accepted
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.running import Target, survivors
from tests.mutation.targets import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Break modules, tell what no test has noticed, and fail if that isn't explained."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="module", help=f"{', '.join(TARGETS)}; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many to try at a time")
    options = parser.parse_args(arguments)
    if unknown := set(options.modules).difference(TARGETS):
        parser.error(f"unknown module {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    accepted = Accepted.read()
    all_explained = True
    for path in options.modules or TARGETS:
        all_explained &= examine(TARGETS[path], accepted, jobs=options.jobs)
    return 0 if all_explained else 1


def examine(target: Target, accepted: Accepted, *, jobs: int) -> bool:
    """Try the mutants of a module, print what became of them, and tell whether all that survived are explained."""
    start = time.monotonic()
    mutants = list(mutants_of(target.source))
    survived = survivors(target, mutants, jobs=jobs)
    explained = [mutant for mutant in survived if accepted.explains(target.path, mutant)]
    unexplained = [mutant for mutant in survived if mutant not in explained]
    for mutant in unexplained:
        print(_diff(target, mutant))
    outdated = accepted.not_among(target.path, explained)
    for line in outdated:
        print(f"{target.path}: no mutant survives that survivors.toml explains so: {line}")
    print(
        f"{target.path}: {len(mutants)} mutants, {len(mutants) - len(survived)} killed, {len(explained)} survived and "
        f"explained, {len(unexplained)} unexplained ({time.monotonic() - start:.0f} s)",
        flush=True,
    )
    return not unexplained and not outdated


def _diff(target: Target, mutant: Mutant) -> str:
    return f"{target.path}:{mutant.line} {mutant.where}\n  - {mutant.was}\n  + {mutant.becomes}"


if __name__ == "__main__":
    sys.exit(main())
