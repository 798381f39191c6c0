"""`bitstore doctor`: the settings of `bitstore serve`, tried against the real store; nothing is left there."""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from domain.errors import Misconfigured
from entrypoints.cli.doctor.case import Case
from entrypoints.cli.doctor.client import Client
from entrypoints.cli.doctor.examination import Examination
from entrypoints.cli.doctor.findings import Level, Result, as_json, as_lines, summary
from entrypoints.environment import service_url
from entrypoints.http.app import Clock, utc_now
from entrypoints.settings import S3Settings, ServedSettings, Settings
from entrypoints.wiring import Service, wire

TOKEN_VARIABLE: Final = "BITSTORE_TOKEN"  # noqa: S105 - the name of a variable
_ORIGIN: Final = re.compile(r"https?://[^/\s?#@]+")
_MAX_TOKEN_FILE: Final = 64 * 1024


def examine(options: argparse.Namespace, clock: Clock = utc_now) -> int:
    """Examine what the environment configures; return 1 if something is wrong. Raises `Misconfigured`."""
    service = wire(Settings.from_environment(os.environ))
    origin, token = _origin(options.origin), _token(options, os.environ)
    case = Case(service, Client(), clock, internal_url(service, os.environ), origin, token)
    examination = Examination(case, _tell_progress if options.json else _tell)
    try:
        asyncio.run(examination.run())
        return _conclude(examination, as_document=options.json)
    except BrokenPipeError:  # whoever read the lines has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        case.client.close()


def _conclude(examination: Examination, *, as_document: bool) -> int:
    well = all(result.finding.level is not Level.WRONG for result in examination.results)
    if as_document:
        document = {
            "well": well,
            "checks": [as_json(result) for result in examination.results],
            "left_behind": examination.left_behind,
        }
        print(json.dumps(document, indent=2, ensure_ascii=False), flush=True)
    else:
        print(f"\n{summary(examination.results)}", flush=True)
    return 0 if well else 1


def internal_url(service: Service, environ: Mapping[str, str]) -> str | None:
    """Give the URL at which the service itself reaches the bucket, if it is another one than clients are told."""
    store = service.settings.store
    if isinstance(store, ServedSettings):
        return None
    if isinstance(store, S3Settings):
        return store.internal.url if store.internal != store.public else None
    hostname = environ.get("STORAGE_HOSTNAME")
    try:
        url = service_url(hostname) if hostname else None
    except ValueError:  # a store of somebody else's may have other addresses than URLs
        return None
    public = urlsplit(store.signer.url_prefixes("")[0])
    return None if url is None or urlsplit(url).netloc == public.netloc else url


def _origin(text: str | None) -> str | None:
    if text is None or _ORIGIN.fullmatch(text):
        return text
    raise Misconfigured([f"--origin must be an origin such as https://portal.example, without a path: {text!r}"])


def _token(options: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    if options.token_file is not None:
        return _token_in(options.token_file)
    token: str | None = options.token or environ.get(TOKEN_VARIABLE)
    return token.strip() if token else None


def _token_in(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_TOKEN_FILE).decode("ascii", "replace").strip()
    except OSError as error:
        raise Misconfigured([f"--token-file can't be read: {error.strerror}"]) from error


def _tell(result: Result, number: int, count: int) -> None:
    for line in as_lines(result, number, count):
        print(line, flush=True)


def _tell_progress(result: Result, number: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"[{number}/{count}] {result.name}", file=sys.stderr, flush=True)
