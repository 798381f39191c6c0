"""The arguments of `bitstore push` and `bitstore pull`."""

import argparse
from pathlib import Path

_PUSH_EPILOG = """\
A folder's files go by their paths inside it, any other file by its name; hidden files are files like any other.
What the store has already isn't sent, so the same command goes on where it was interrupted. A datapackage.json in the
folder gives the dataset its name, unless --dataset does, and files their media types.

exit codes: 0 all files are stored, with the right length and digest; 1 some aren't; 2 wrong arguments; 130 interrupted
"""
_PULL_EPILOG = """\
The files of a dataset go into a folder of its name. What is there already, with the same length and digest, isn't
fetched, so the same command goes on where it was interrupted.

exit codes: 0 all files are there, with the right length and digest; 1 some aren't; 2 wrong arguments; 130 interrupted
"""
_MOST_JOBS = 128


def add_push(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `bitstore push`."""
    push = commands.add_parser(
        "push",
        help="send files and folders into a dataset",
        description="Send files and folders into a dataset, and see whether they have arrived.",
        epilog=_PUSH_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    push.add_argument("sources", nargs="+", type=Path, metavar="DIR|FILE", help="what to send")
    push.add_argument("--owner", required=True, help="the user id that the dataset belongs to")
    push.add_argument("--dataset", metavar="NAME", help="its name (default: the one in datapackage.json)")
    push.add_argument(
        "--findability", choices=["published", "unlisted", "private"], help="who may find and read it (default: anyone)"
    )
    push.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out what it matches, as a path or as one name in it: '*.tmp', .git, 'raw/*'; may be repeated",
    )
    push.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="replace files that are there with other content (default: yes)",
    )
    _add_common(push, "sent")
    return push


def add_pull(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `bitstore pull`."""
    pull = commands.add_parser(
        "pull",
        help="fetch the files of datasets",
        description="Fetch the files of datasets, and check their lengths and digests.",
        epilog=_PULL_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pull.add_argument("datasets", nargs="+", metavar="DATASET", help="what to fetch")
    pull.add_argument("--owner", required=True, help="the user id that the datasets belong to")
    pull.add_argument(
        "--into", type=Path, default=Path(), metavar="DIR", help="put the folders of the datasets here (default: .)"
    )
    _add_common(pull, "fetched")
    return pull


def _add_common(parser: argparse.ArgumentParser, done: str) -> None:
    parser.add_argument("--url", help="the service, such as https://data.example.org/rawstore (default: $BITSTORE_URL)")
    parser.add_argument("--token", help="the permission token (default: $BITSTORE_TOKEN, which others can't see)")
    parser.add_argument("--jobs", type=_jobs, metavar="N", help="how many files are moved at once (default: 8)")
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument("--cache", type=Path, metavar="FILE", help="remember digests here (default: in ~/.cache)")
    cache.add_argument("--no-cache", action="store_true", help="remember nothing, and read all files anew")
    parser.add_argument("--dry-run", action="store_true", help=f"only say what would be {done}")
    parser.add_argument("--quiet", action="store_true", help="say nothing but what is wrong")
    parser.add_argument("--json", action="store_true", help="print one JSON document about all files at the end")


def _jobs(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= _MOST_JOBS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST_JOBS}")
