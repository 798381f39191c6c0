"""Whether the store can be reached, what it is, and whether its clock and ours agree."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from entrypoints.cli.doctor.case import Case
from entrypoints.cli.doctor.client import Reason, Unreachable
from entrypoints.cli.doctor.findings import Finding, note, ok, wrong
from entrypoints.cli.doctor.servers import is_a_store, recognise
from entrypoints.cli.explain.answers import Answer
from entrypoints.settings import Backend

REFUSED_SKEW: Final = timedelta(minutes=15)
"""By how much the clocks may differ (Amazon S3 API reference, "Error responses", RequestTimeTooSkewed)."""
PUBLIC_VARIABLE: Final = "STORAGE_PUBLIC_URL"
_NOTED_SKEW: Final = timedelta(seconds=30)
_PRECISION: Final = timedelta(seconds=2)
_STORES: Final = (Backend.S3, "azure", "gcs")

_ADVICE: Final[Mapping[Reason, str]] = {
    Reason.NAME: "is {variable} spelt as it should be, and does this machine's DNS know that name?",
    Reason.NOBODY: "is the store running, and is the port in {variable} the right one? A firewall may refuse as well",
    Reason.SILENT: "is {variable} the right address, and does a firewall or a security group let this machine through?",
    Reason.CERTIFICATE: "give the store a certificate that this machine trusts and that has its name, with the chain",
    Reason.NO_TLS: "write http:// in {variable}, if the store has no certificate: without a scheme it is https",
    Reason.BROKEN: "does something else than a web server listen at that port? If it speaks TLS, write https://",
}


async def check_host(case: Case, url: str, variable: str) -> Finding:
    """Ask the bucket's URL without a signature; whatever an object store says to that will do."""
    try:
        answer = await case.client.send("GET", url)
    except Unreachable as failure:
        return wrong(str(failure), _unreachable_advice(case, failure, variable))
    if "HTTP request to an HTTPS server" in answer.body or "plain HTTP request" in answer.body:
        return wrong(f"{_host_of(url)} speaks TLS at that port", f"write https:// in {variable}")
    if case.backend in _STORES and not is_a_store(url, answer):
        return wrong(
            f"something answers at {url}, but it is no object store: {_describe(answer)}",
            f"is {variable} the store itself, and not its console, a web site or this service? A proxy before it must "
            "pass everything on unchanged",
        )
    case.server = case.server or recognise(url, answer)
    return ok(f"{url} answers: {_describe(answer)}")


def _unreachable_advice(case: Case, failure: Unreachable, variable: str) -> str:
    if failure.reason is Reason.NAME and case.s3 is not None and case.s3.public.bucket_origin != case.s3.public.origin:
        return (
            "STORAGE_ADDRESSING=virtual needs a name for each bucket before the host's own (a wildcard in DNS); where "
            "there is none, set STORAGE_ADDRESSING=path"
        )
    advice = _ADVICE[failure.reason].format(variable=variable)
    elsewhere = ". If clients reach it, and only this machine doesn't, run this where they are"
    return f"{advice}{elsewhere}" if variable == PUBLIC_VARIABLE else advice


def _describe(answer: Answer) -> str:
    server, kind = answer.headers.get("server"), answer.headers.get("content-type", "").partition(";")[0]
    said = [str(answer.status), *filter(None, [answer.code[:64]])]
    if not answer.code and kind:
        said.append(kind)
    return " ".join(said) + (f", Server: {server[:64]}" if server else "")


def _host_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


async def check_server(case: Case) -> Finding:
    """Compare what the server seems to be with what the settings say."""
    server, flavour = case.server, case.flavour
    if server is None:
        return ok("its answers don't tell what it is; what follows shows whether the settings fit")
    if server.backend != case.backend:
        return wrong(
            f"{server.name} answers, and STORAGE_BACKEND is {case.backend}",
            "choose the backend that is meant for it",
            f"export STORAGE_BACKEND={server.backend}",
        )
    if flavour is None or server.flavour in (None, flavour):
        return ok(f"it is {server.name}{f', as STORAGE_FLAVOUR={flavour} says' if flavour else ''}")
    return note(
        f"it is {server.name}, and STORAGE_FLAVOUR is {flavour}",
        "what is claimed of the store is then another one's; choose the flavour that is meant for it",
        f"export STORAGE_FLAVOUR={server.flavour}",
    )


async def check_clock(case: Case) -> Finding:
    """Compare the header Date of an answer with our own clock at that moment."""
    before = case.clock()
    answer = await case.client.send("GET", case.public_url)
    after = case.clock()
    date = _date_of(answer)
    if date is None:
        return note("the store doesn't say what time it is (there is no header Date)")
    case.skew = date - (before + (after - before) / 2)
    size = abs(case.skew)
    if size <= _PRECISION + (after - before):
        return ok("the store's clock and this machine's agree")
    sentence = (
        f"this machine's clock is {_in_words(size)} {'behind' if case.skew > timedelta(0) else 'ahead of'} the store's"
    )
    if size <= _NOTED_SKEW:
        return ok(sentence)
    advice = "set this machine's clock: timedatectl set-ntp true, or chrony"
    if size <= REFUSED_SKEW:
        return note(sentence, f"{advice}; from 15 minutes on, S3 refuses all that is signed here")
    return wrong(sentence, f"{advice}. Stores refuse what was signed more than 15 minutes off, and tokens seem expired")


def _date_of(answer: Answer) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None


def _in_words(time: timedelta) -> str:
    seconds = round(time.total_seconds())
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{seconds} seconds"
