"""The checks in their order, what each depends on, and how they are run: one after another, none for long."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

from attrs import define, field, frozen

from domain.errors import BitstoreError
from domain.uploads import Guarantee
from entrypoints.cli.doctor import access, cors, enforcement, reach, served, tokens, uploads
from entrypoints.cli.doctor.case import Case
from entrypoints.cli.doctor.client import Unreachable
from entrypoints.cli.doctor.findings import Finding, Level, Result, note, ok, skipped, wrong
from entrypoints.cli.explain.redaction import redact

CHECK_SECONDS: Final = 20.0
"""The most that one check may take; most take some thousandths of that."""
CLEAN_UP: Final = "clean up"
_CLEAN_UP_SECONDS: Final = 60.0
_HOST, _PUBLIC_HOST, _BUCKET, _FILES = "host", "public host", "bucket", "files"


@frozen
class Check:
    """One thing to look at. It is skipped unless all is well, or nearly so, with what it `needs`."""

    name: str
    run: Callable[[], Awaitable[Finding]]
    needs: Sequence[str] = ()


def plan(case: Case) -> list[Check]:
    """List the checks of a case; `files` stands for any of the ways in."""
    methods = case.methods
    by_method = [Check(method, partial(uploads.check_method, case, method), [_BUCKET]) for method in methods]
    enforced = [
        Check(f"{method} {guarantee}", partial(enforcement.check_guarantee, case, method, guarantee), [method])
        for method in methods
        for guarantee in Guarantee
    ]
    return [
        *_reaching(case),
        Check("credentials", partial(access.check_credentials, case), _region(case)),
        *_addressing(case),
        Check(_BUCKET, partial(access.check_bucket, case), ["credentials", "addressing"]),
        Check("acl", partial(uploads.check_acl, case), [_BUCKET]),
        *by_method,
        Check("download", partial(uploads.check_download, case), [_FILES]),
        Check("inspection", partial(uploads.check_inspection, case), [_FILES]),
        Check("privacy", partial(uploads.check_privacy, case), [_FILES]),
        Check("readyz", partial(uploads.check_readiness, case), [_BUCKET]),
        *enforced,
        *_cors(case),
        Check("auth keys", partial(tokens.check_keys, case)),
        _token(case),
    ]


def _reaching(case: Case) -> Iterator[Check]:
    if case.served is not None:
        yield Check("service", partial(served.check_service, case, case.served))
        return
    public = case.public_url
    if case.internal_url is None:
        yield Check(_HOST, partial(reach.check_host, case, public, "STORAGE_HOSTNAME"))
    else:
        yield Check(_HOST, partial(reach.check_host, case, case.internal_url, "STORAGE_HOSTNAME"))
        yield Check(_PUBLIC_HOST, partial(reach.check_host, case, public, reach.PUBLIC_VARIABLE))
    hosts = [_HOST] if case.internal_url is None else [_HOST, _PUBLIC_HOST]
    yield Check("server", partial(reach.check_server, case), hosts)
    yield Check("clock", partial(reach.check_clock, case), hosts)
    if case.s3 is not None:
        yield Check("region", partial(access.check_region, case, case.s3), hosts)


def _region(case: Case) -> Sequence[str]:
    return ["region", "server"] if case.s3 is not None else [] if case.served is not None else ["server"]


def _addressing(case: Case) -> Iterator[Check]:
    if case.s3 is not None:
        yield Check("addressing", partial(access.check_addressing, case, case.s3), ["credentials"])


def _cors(case: Case) -> Iterator[Check]:
    if case.origin is None:
        yield Check("cors", _skip("no origin to try: give --origin https://portal.example"))
        return
    yield Check("cors", partial(cors.check_store_cors, case, case.origin), [_BUCKET])
    yield Check("cors of service", partial(cors.check_service_cors, case, case.origin))


def _token(case: Case) -> Check:
    if case.token is None:
        return Check("token", _skip("no token to try: give --token-file FILE, or BITSTORE_TOKEN in the environment"))
    return Check("token", partial(tokens.check_token, case, case.token), ["auth keys"])


def _skip(sentence: str) -> Callable[[], Awaitable[Finding]]:
    async def skip() -> Finding:
        return skipped(sentence)

    return skip


class _Overheard(logging.Handler):
    """Collects the warnings that the service's own parts log, for the check during which they do."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._messages.append(redact(record.getMessage()))

    def take(self) -> list[str]:
        """Give what was said since the last time, once each."""
        messages, self._messages = list(dict.fromkeys(self._messages)), []
        return messages


@define
class Examination:
    """Runs checks one after another, and tells each result as soon as it is there."""

    case: Case
    tell: Callable[[Result, int, int], None]
    results: list[Result] = field(factory=list, init=False)
    left_behind: list[str] = field(factory=list, init=False)
    _overheard: _Overheard = field(factory=_Overheard, init=False)

    async def run(self) -> None:
        """Run all checks, and then clean up: also when it is interrupted."""
        checks = plan(self.case)
        count = len(checks) + 1
        logger = logging.getLogger()
        logger.addHandler(self._overheard)
        async with self.case.closing:
            try:
                for check in checks:
                    self._note(check.name, await self._outcome(check), count)
            finally:
                self._note(CLEAN_UP, await self._clean_up(), count)
                logger.removeHandler(self._overheard)

    def _note(self, name: str, finding: Finding, count: int) -> None:
        self.results.append(Result(name, finding, self._overheard.take()))
        self.tell(self.results[-1], len(self.results), count)

    async def _outcome(self, check: Check) -> Finding:
        missing = self._missing(check)
        if missing is not None:
            return skipped(f"it depends on {missing}")
        return await _bounded(check.run(), CHECK_SECONDS)

    def _missing(self, check: Check) -> str | None:
        """Name the first of what a check needs that isn't there."""
        bad = {result.name for result in self.results if result.finding.level in (Level.WRONG, Level.SKIPPED)}
        if _FILES in check.needs and not self.case.stored:
            return " or ".join(self.case.methods)
        return next((name for name in check.needs if name in bad), None)

    async def _clean_up(self) -> Finding:
        return await _bounded(self._remove_all(), _CLEAN_UP_SECONDS)

    async def _remove_all(self) -> Finding:
        removed, left = await self.case.clean_up()
        self.left_behind = list(left)
        if not left:
            return ok(f"{_counted(removed)} removed again" if removed else "nothing was stored")
        reasons = "; ".join(dict.fromkeys(left.values()))
        return note(
            f"{_counted(len(left))} left behind: {reasons}",
            "the service itself never deletes, so its credentials needn't be allowed to; delete these by other means:",
            "\n".join(left),
        )


def _counted(objects: int) -> str:
    return "1 object was" if objects == 1 else f"{objects} objects were"


async def _bounded(run: Awaitable[Finding], seconds: float) -> Finding:
    """Wait for a finding, but not for ever; what goes wrong on the way is one, too."""
    try:
        async with asyncio.timeout(seconds):
            return await run
    except TimeoutError:
        return wrong(
            f"it took longer than {seconds:.0f} seconds", "is the store, or what stands before it, overloaded?"
        )
    except Unreachable as failure:
        return wrong(str(failure), "it could be reached before: is it overloaded, or does something cut connections?")
    except BitstoreError as error:
        return wrong(error.message, "the service would say so to its clients")
