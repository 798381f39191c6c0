"""`bitstore pull`: the files of datasets into folders, by `entrypoints.client`."""

import argparse

from entrypoints.cli.transfer import Words, carry_out
from entrypoints.client import PullOptions


def pull(options: argparse.Namespace) -> int:
    """Fetch what the arguments name; return 0 only if all of it is there and verified. Raises `Misconfigured`."""
    wanted = PullOptions(options.datasets, owner=options.owner, folder=options.into, dry_run=options.dry_run)
    words = Words("bitstore pull", done="fetched", where="there")
    return carry_out(options, words, lambda client, tally: client.pulling(wanted, tally))
