"""What has to be asked of an S3 bucket over the network: whether it is there, and whether it takes ACLs.

Signing needs none of this; a store that is down doesn't stop it. ("HeadBucket" and "GetBucketOwnershipControls" in the
Amazon S3 API reference.)
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from attrs import define, field

from adapters.stores.addresses import BucketAddress
from adapters.stores.asking import Asking
from adapters.stores.s3_calls import Call, Operation, S3Calls
from adapters.stores.signing import PUBLIC_ACL
from adapters.stores.sigv4 import Credentials
from domain.errors import Unavailable

_log = logging.getLogger(__name__)

_HEAD = Operation("HeadBucket", "HEAD", "s3:ListBucket", seconds=5.0)
_OWNERSHIP = Operation("GetBucketOwnershipControls", "GET", "s3:GetBucketOwnershipControls", seconds=5.0)

_OK, _FORBIDDEN, _BUSY, _NOT_IMPLEMENTED = 200, 403, 429, 501
_CLIENT_ERRORS = range(400, 500)

_REFUSED_SKEW = timedelta(minutes=15)
"""By how much the clocks may differ (Amazon S3 API reference, "Error responses", RequestTimeTooSkewed)."""


@define
class S3Bucket:
    """The bucket behind `address`, as the service itself reaches it.

    `acl` is what the operator chose for public uploads: an acl, None, or `auto` as `auto_acl`.
    """

    address: BucketAddress
    region: str
    credentials: Callable[[], Credentials] = field(repr=False)
    acl: str | None = None
    auto_acl: bool = False
    _s3: S3Calls = field(init=False, repr=False)
    _asking: Asking = field(init=False, repr=False)

    @_s3.default
    def _calls(self) -> S3Calls:
        return S3Calls(self.address, self.region, self.credentials)

    @_asking.default
    def _asking_until_answered(self) -> Asking:
        return Asking(self._learn_acl)

    def public_acl(self) -> str | None:
        """Give the acl of public uploads; while a bucket has not been asked yet, what the original service signed."""
        return self.acl

    async def start(self) -> None:
        """Ask once whether the bucket takes ACLs, if that is left open; go on in the background if it can't tell."""
        await self._s3.start()
        if self.auto_acl:
            self.acl = PUBLIC_ACL
            await self._asking.start()

    async def stop(self) -> None:
        """Stop asking."""
        await self._asking.stop()
        await self._s3.stop()

    async def check(self) -> None:
        """Raise `Unavailable` unless the bucket answers to our credentials."""
        now = datetime.now(UTC)
        answer = await self._s3.answer(Call(_HEAD), now)
        if answer.status == _FORBIDDEN and _differ(answer.headers.get("Date", ""), now):
            raise _HEAD.failure("it answered 403, and its clock and ours differ by more than 15 minutes")
        if answer.status != _OK:
            raise answer.unexpected()

    async def _learn_acl(self) -> bool:
        """Return whether the answer is final."""
        try:
            refuses = await self._refuses_acls()
        except Unavailable as error:
            _log.warning("can't ask the bucket whether it takes ACLs (%s); signing %r", error.message, self.acl)
            return False
        self.acl = None if refuses else PUBLIC_ACL
        return True

    async def _refuses_acls(self) -> bool:
        """Ask for the bucket's ownership controls (Amazon S3 User Guide, "Controlling ownership of objects")."""
        answer = await self._s3.answer(Call(_OWNERSHIP, query=[("ownershipControls", "")]), datetime.now(UTC))
        if answer.status == _FORBIDDEN and answer.code in ("", "AccessDenied"):
            _log.warning("not allowed to ask whether the bucket takes ACLs; set STORAGE_ACL to choose")
        # A store that answers, but has no ownership controls (or won't tell), is treated as the original did.
        if (answer.status in _CLIENT_ERRORS and answer.status != _BUSY) or answer.status == _NOT_IMPLEMENTED:
            return False
        if answer.status != _OK or answer.is_garbled:
            raise answer.unexpected()
        # A store that doesn't know the question may answer another one: it lists the bucket, for example.
        return any(rule.get("ObjectOwnership") == "BucketOwnerEnforced" for rule in answer.each("Rule"))


def _differ(date: str, now: datetime) -> bool:
    """Tell whether a clock is so wrong that all is refused, by the time of an answer."""
    with suppress(ValueError):
        return abs(parsedate_to_datetime(date).astimezone(UTC) - now) > _REFUSED_SKEW
    return False
