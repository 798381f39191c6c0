"""Whether the store knows the credentials, the region and the bucket: by what it says to one signed request."""

import re
from typing import Final
from urllib.parse import urlsplit

from attrs import evolve

from adapters.stores.addresses import Addressing, is_ip_address
from adapters.stores.signing import S3Signing
from domain.errors import Unavailable
from domain.keys import ObjectKey
from entrypoints.cli.doctor.case import LIFETIME, PREFIX, Case, why
from entrypoints.cli.doctor.client import Unreachable
from entrypoints.cli.doctor.findings import Finding, note, ok, skipped, wrong
from entrypoints.cli.doctor.reach import REFUSED_SKEW
from entrypoints.cli.explain.answers import Answer
from entrypoints.cli.explain.causes import Topic
from entrypoints.cli.explain.diagnosis import diagnose
from entrypoints.settings import S3Settings

_REGION: Final = re.compile(r"expecting '([a-z0-9-]+)'")
_KNOWN_TO_THE_STORE: Final = (Topic.MISSING, Topic.PERMISSION, Topic.BUCKET, Topic.SUCCESS)
_NO_WORD_OF_THEM: Final = (Topic.OVERLOAD, Topic.PROXY, Topic.STORE)


async def check_region(case: Case, settings: S3Settings) -> Finding:
    """Look whether the bucket is in the region that signatures name."""
    answer = await case.probe()
    there = _region_of(answer)
    if there is not None and there != settings.region:
        return wrong(
            f"the bucket is in {there}, and signatures name {settings.region}",
            "name the bucket's region; on AWS, STORAGE_HOSTNAME must be that region's as well",
            f"export STORAGE_REGION={there}",
        )
    sentence, diagnosis = why(answer)
    if diagnosis.topic is Topic.REGION:
        return wrong(sentence, diagnosis.remedy)
    return ok(f"the store has nothing against signatures for {settings.region}")


def _region_of(answer: Answer) -> str | None:
    """Give the bucket's region, where the store says it: in a header, or in what it says of a malformed signature."""
    expected = _REGION.search(answer.message)
    return (
        answer.headers.get("x-amz-bucket-region") or answer.members.get("Region") or (expected[1] if expected else None)
    )


async def check_credentials(case: Case) -> Finding:
    """Look whether the store knows who signs."""
    try:
        answer = await case.probe()
    except Unavailable as error:
        return wrong(error.message, "give the service credentials for its store: in its environment, or a role")
    sentence, diagnosis = why(answer)
    if diagnosis.topic in (Topic.CLOCK, Topic.EXPIRED) and abs(case.skew) > REFUSED_SKEW:
        return skipped("the store refuses what is signed at this time: see clock")
    if diagnosis.topic is Topic.PERMISSION and not answer.code:
        return note("the store refuses, and doesn't say whether because of them: what follows tells more")
    if diagnosis.topic in _KNOWN_TO_THE_STORE:
        return ok("the store knows them")
    if diagnosis.topic in _NO_WORD_OF_THEM:
        return note("the store says nothing of them: see bucket")
    return wrong(sentence, diagnosis.remedy)


async def check_addressing(case: Case, settings: S3Settings) -> Finding:
    """Look whether the store understands where the bucket is named: in the path, or in the host's name."""
    style = settings.public.addressing
    if diagnose(await case.probe()).topic is not Topic.BUCKET:
        return ok(f"the store finds the bucket in {_place(style)} (STORAGE_ADDRESSING={style})")
    other = Addressing.PATH if style is Addressing.VIRTUAL else Addressing.VIRTUAL
    if await _works_with(case, settings, other):
        return wrong(
            f"the store doesn't find the bucket in {_place(style)}, and does in {_place(other)}",
            f"set STORAGE_ADDRESSING={other}",
            f"export STORAGE_ADDRESSING={other}",
        )
    return ok(f"the store doesn't find the bucket in {_place(style)}, but nor anywhere else")


def _place(style: Addressing) -> str:
    return "the path" if style is Addressing.PATH else "the host's name"


async def _works_with(case: Case, settings: S3Settings, style: Addressing) -> bool:
    signing = case.service.store.downloads
    host = urlsplit(settings.public.origin).hostname or ""
    if not isinstance(signing, S3Signing) or (style is Addressing.VIRTUAL and is_ip_address(host)):
        return False
    address = evolve(settings.public, addressing=style)
    download = evolve(signing, address=address).sign_download(ObjectKey(f"{PREFIX}/missing"), LIFETIME, case.clock())
    try:
        return diagnose(await case.client.send("GET", download.url)).topic is Topic.MISSING
    except Unreachable:
        return False


async def check_bucket(case: Case) -> Finding:
    """Look whether the bucket is there, and what may be asked of it."""
    name = case.service.settings.effective.get("STORAGE_BUCKET_NAME", "the bucket")
    sentence, diagnosis = why(await case.probe())
    if diagnosis.topic is Topic.MISSING:
        return ok(f"{name} is there")
    if diagnosis.topic is Topic.PERMISSION:
        return note(
            f"{name} doesn't tell whether an object is there: {sentence}",
            "without s3:ListBucket (or its like) `exists` and /verify can't tell either",
        )
    return wrong(sentence, diagnosis.remedy)
