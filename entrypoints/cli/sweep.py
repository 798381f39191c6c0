"""`bitstore sweep`: abort uploads in parts that somebody began long ago, and never completed."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from application.ports import MultipartStore, PendingUpload, Store
from domain.errors import BitstoreError, Misconfigured
from entrypoints.http.app import utc_now
from entrypoints.http.wire import iso_time
from entrypoints.settings import Settings
from entrypoints.wiring import wire

_DAY = timedelta(days=1)


@frozen
class _Swept:
    """What became of the uploads that were pending."""

    old: Sequence[PendingUpload]
    younger: int
    failed: Mapping[str, str]
    """Why an upload could not be aborted, by its key."""


def sweep(options: argparse.Namespace) -> int:
    """Abort what is older than `--older-than`; return 0 unless something could not be aborted."""
    if options.print_rule:
        print(json.dumps(lifecycle_rule(options.older_than, options.prefix), indent=2))
        return 0
    settings = Settings.from_environment(os.environ)
    store = wire(settings).store
    if store.multipart is None:
        raise Misconfigured(["this store takes no files in parts, so there is nothing to sweep"])
    try:
        swept = asyncio.run(_sweep(store, store.multipart, options, utc_now()))
    except BitstoreError as error:
        print(f"bitstore sweep: {error.message}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(_as_json(swept, dry_run=options.dry_run), indent=2, ensure_ascii=False))
    else:
        print(_summary(swept, options))
    return 1 if swept.failed else 0


async def _sweep(store: Store, parts: MultipartStore, options: argparse.Namespace, now: datetime) -> _Swept:
    old: list[PendingUpload] = []
    younger, failed = 0, dict[str, str]()
    async with AsyncExitStack() as stack:
        for startable in store.startables:
            stack.push_async_callback(startable.stop)
            await startable.start()
        async for upload in parts.pending(now):
            if not upload.key.startswith(options.prefix):
                continue
            if now - upload.begun <= options.older_than:
                younger += 1
                continue
            old.append(upload)
        for upload in old:
            problem = None if options.dry_run else await _abort(parts, upload, now)
            if problem is not None:
                failed[upload.key] = problem
            if not options.json:
                print(_line(upload, problem, dry_run=options.dry_run), flush=True)
    return _Swept(old, younger, failed)


async def _abort(parts: MultipartStore, upload: PendingUpload, now: datetime) -> str | None:
    try:
        await parts.abort(upload.key, upload.upload_id, now)
    except BitstoreError as error:
        return error.message
    return None


def _line(upload: PendingUpload, problem: str | None, *, dry_run: bool) -> str:
    what = "would abort" if dry_run else "aborted" if problem is None else "FAILED"
    reason = f": {problem}" if problem is not None else ""
    return f"{what}  {upload.key}  begun {iso_time(upload.begun)}{reason}"


def _summary(swept: _Swept, options: argparse.Namespace) -> str:
    done = len(swept.old) - len(swept.failed)
    what = "would be aborted" if options.dry_run else "aborted"
    failed = f", {len(swept.failed)} failed" if swept.failed else ""
    return f"{done} {what}{failed}, {swept.younger} younger left alone"


def _as_json(swept: _Swept, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "uploads": [
            {"key": upload.key, "begun": iso_time(upload.begun), "failed": swept.failed.get(upload.key)}
            for upload in swept.old
        ],
        "younger": swept.younger,
    }


def lifecycle_rule(age: timedelta, prefix: str) -> dict[str, Any]:
    """Write a rule by which the store itself aborts such uploads, after whole days.

    (Amazon S3 User Guide, "Configuring a bucket lifecycle configuration to delete incomplete multipart uploads".)
    """
    rule = {
        "ID": "abort-abandoned-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": max(1, -(-age // _DAY))},
    }
    return {"Rules": [rule]}
