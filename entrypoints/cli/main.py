"""The `bitstore` command: reads the arguments and hands over to the command's own module."""

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from domain.errors import Misconfigured
from entrypoints.cli.transfer_arguments import add_pull, add_push

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the process's exit code: 0 done, 1 failed, 2 wrong arguments or settings."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except Misconfigured as error:
        print("bitstore can't start:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        return EXIT_MISCONFIGURED
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bitstore",
        description="A gatekeeper for uploads to an object store: one signed request per declared file.",
    )
    parser.add_argument("--version", action="version", version=f"bitstore {version('bitstore-service')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_token(commands)
    _add_demo(commands)
    _add_stores(commands)
    _add_sweep(commands)
    _add_doctor(commands)
    _add_explain(commands)
    add_push(commands).set_defaults(run=_push)
    add_pull(commands).set_defaults(run=_pull)
    return parser


# Each command's module is imported when it runs: `bitstore token` needs no web server.


def _serve(options: argparse.Namespace) -> int:
    from entrypoints.cli.serve import serve  # noqa: PLC0415

    return serve(options.host, options.port, options.workers)


def _token(options: argparse.Namespace) -> int:
    from entrypoints.cli.token import print_token  # noqa: PLC0415

    return print_token(options)


def _demo(options: argparse.Namespace) -> int:
    from entrypoints.cli.demo import demo  # noqa: PLC0415

    return demo(options.folder, options.port, once=options.once)


def _stores(options: argparse.Namespace) -> int:
    from entrypoints.cli.stores import print_stores  # noqa: PLC0415

    return print_stores(options)


def _sweep(options: argparse.Namespace) -> int:
    from entrypoints.cli.sweep import sweep  # noqa: PLC0415

    return sweep(options)


def _doctor(options: argparse.Namespace) -> int:
    from entrypoints.cli.doctor.command import examine  # noqa: PLC0415

    return examine(options)


def _explain(options: argparse.Namespace) -> int:
    from entrypoints.cli.explain.command import print_explanation  # noqa: PLC0415

    return print_explanation(options)


def _push(options: argparse.Namespace) -> int:
    from entrypoints.cli.push import push  # noqa: PLC0415

    return push(options)


def _pull(options: argparse.Namespace) -> int:
    from entrypoints.cli.pull import pull  # noqa: PLC0415

    return pull(options)


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve", help="run the service", description="Run the service; the settings come from the environment."
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")
    serve.add_argument("--workers", type=_positive, default=1, help="number of processes (default: %(default)s)")
    serve.set_defaults(run=_serve)


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    token = commands.add_parser(
        "token", help="mint a development token", description="Mint a permission token, as the auth service would."
    )
    token.add_argument("--owner", required=True, help="the user id that the token is for")
    token.add_argument("--private-key", required=True, type=Path, help="the auth service's private key, a PEM file")
    token.add_argument("--service", default="rawstore", help="the service that the token is for (default: %(default)s)")
    token.add_argument("--expires-in", type=_positive, default=3600, metavar="SECONDS", help="default: %(default)s")
    token.add_argument("--algorithm", help="default: what the key's type suggests")
    token.set_defaults(run=_token)


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo",
        help="show the whole round trip on this machine",
        description="Make keys and a disk store, start the service, and send a small dataset there and back.",
    )
    demo.add_argument("--folder", type=Path, help="keep keys and objects here (default: a temporary folder)")
    demo.add_argument(
        "--port", type=_port_or_any, default=8000, help="port to listen on; 0 picks a free one (default: %(default)s)"
    )
    demo.add_argument("--once", action="store_true", help="exit after the round trip: 0 only if every byte came back")
    demo.set_defaults(run=_demo)


def _add_stores(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    stores = commands.add_parser(
        "stores",
        help="list the stores that can be chosen, and what each enforces",
        description="List the stores that STORAGE_BACKEND can name here, and what each really enforces of an upload.",
    )
    form = stores.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print what they enforce as a table in Markdown")
    form.add_argument("--json", action="store_true", help="print all of it in JSON")
    stores.set_defaults(run=_stores)


def _add_sweep(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sweep = commands.add_parser(
        "sweep",
        help="abort abandoned uploads in parts",
        description="Abort uploads in parts that were begun long ago and never completed, whoever began them.",
    )
    sweep.add_argument("--older-than", type=_age, default="7d", metavar="AGE", help="7d, 12h, 30m … (default: 7d)")
    sweep.add_argument("--prefix", default="", help="only uploads to keys that start with this (default: all)")
    sweep.add_argument("--dry-run", action="store_true", help="only say what would be aborted")
    form = sweep.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the result in JSON")
    form.add_argument(
        "--print-rule", action="store_true", help="print a life-cycle rule by which an S3 store does it by itself"
    )
    sweep.set_defaults(run=_sweep)


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = commands.add_parser(
        "doctor",
        help="try the settings against the real store, and say what is wrong",
        description="Try the settings of `bitstore serve`, which come from the environment, against the real store. "
        "Small files are stored under bitstore-doctor/, and removed again.",
        epilog="exit code: 0 all is well, 1 something is wrong, 2 the settings or arguments can't be used",
    )
    doctor.add_argument("--origin", help="try CORS for pages of this origin, such as https://portal.example")
    token = doctor.add_mutually_exclusive_group()
    token.add_argument("--token", help="try this token; others on this machine may see it, so prefer a file")
    token.add_argument("--token-file", type=Path, help="try the token in this file (default: BITSTORE_TOKEN, if set)")
    doctor.add_argument("--json", action="store_true", help="print what was found in JSON")
    doctor.set_defaults(run=_doctor)


def _add_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    explain = commands.add_parser(
        "explain",
        help="say what the answer to a failed upload means",
        description="Say what the answer to a failed upload means, and what to do. Paste what `curl -i` printed, or "
        "the status and the body; signatures, policies and tokens in it are not repeated.",
    )
    explain.add_argument("file", nargs="?", type=Path, help="what was answered (default: standard input)")
    explain.add_argument("--json", action="store_true", help="print it in JSON")
    explain.set_defaults(run=_explain)


def _port(text: str) -> int:
    return _whole_number(text, 1, 65_535)


def _port_or_any(text: str) -> int:
    return _whole_number(text, 0, 65_535)


def _age(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isascii() and number.isdigit() and len(number) <= 6 and int(number):
        return timedelta(seconds=int(number) * _UNITS[unit])
    raise argparse.ArgumentTypeError(f"{text!r} is not an age such as 7d, 12h, 30m or 90s")


def _positive(text: str) -> int:
    return _whole_number(text, 1, 10**9)


def _whole_number(text: str, low: int, high: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")


if __name__ == "__main__":
    sys.exit(main())
