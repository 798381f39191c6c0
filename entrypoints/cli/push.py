"""`bitstore push`: files and folders into a dataset, by `entrypoints.client`."""

import argparse

from entrypoints.cli.transfer import Words, carry_out
from entrypoints.client import PushOptions


def push(options: argparse.Namespace) -> int:
    """Send what the arguments name; return 0 only if all of it is stored and verified. Raises `Misconfigured`."""
    wanted = PushOptions(
        options.sources,
        owner=options.owner,
        dataset=options.dataset,
        findability=options.findability,
        exclude=options.exclude,
        overwrite=options.overwrite,
        dry_run=options.dry_run,
    )
    words = Words("bitstore push", done="sent", where="in the store")
    return carry_out(options, words, lambda client, tally: client.pushing(wanted, tally))
