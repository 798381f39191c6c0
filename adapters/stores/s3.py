"""What has to be asked of an S3 bucket over the network: whether it is there, and whether it takes ACLs.

Signing needs none of this; a store that is down doesn't stop it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import boto3
from attrs import define, field
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from adapters.stores.addresses import Addressing, BucketAddress
from adapters.stores.asking import Asking
from adapters.stores.signing import PUBLIC_ACL
from adapters.stores.sigv4 import Credentials
from domain.errors import BitstoreError, ErrorCode, Unavailable

_log = logging.getLogger(__name__)

# The SDK's defaults retry for minutes (a minute per attempt); a service asks its question again later instead.
_TIMEOUTS = {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 1}}
# The last is what becomes of an answer that is no XML, such as a proxy's page; the SDK has it outside its tree.
_FAILURES = (BotoCoreError, ClientError, ResponseParserError)


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
    _asking: Asking = field(init=False, repr=False)
    _sdk: tuple[Credentials, Any] | None = field(default=None, init=False, repr=False)

    @_asking.default
    def _asking_until_answered(self) -> Asking:
        return Asking(self._learn_acl)

    def public_acl(self) -> str | None:
        """Give the acl of public uploads; while a bucket has not been asked yet, what the original service signed."""
        return self.acl

    async def start(self) -> None:
        """Ask once whether the bucket takes ACLs, if that is left open; go on in the background if it can't tell."""
        if self.auto_acl:
            self.acl = PUBLIC_ACL
            await self._asking.start()

    async def stop(self) -> None:
        """Stop asking."""
        await self._asking.stop()
        if self._sdk is not None:
            self._sdk[1].close()

    async def check(self) -> None:
        """Raise `Unavailable` unless the bucket answers to our credentials."""
        try:
            await asyncio.to_thread(lambda: self._client().head_bucket(Bucket=self.address.bucket))
        except _FAILURES as error:
            raise Unavailable(
                ErrorCode.STORE_UNAVAILABLE, f"the bucket doesn't answer as it should: {_cause(error)}"
            ) from error

    async def _learn_acl(self) -> bool:
        """Return whether the answer is final."""
        try:
            refuses = await asyncio.to_thread(self._refuses_acls)
        except (*_FAILURES, BitstoreError) as error:
            _log.warning("can't ask the bucket whether it takes ACLs (%s); signing %r", _cause(error), self.acl)
            return False
        self.acl = None if refuses else PUBLIC_ACL
        return True

    def _refuses_acls(self) -> bool:
        """Ask for the bucket's ownership controls (Amazon S3 User Guide, "Controlling ownership of objects")."""
        try:
            answer = self._client().get_bucket_ownership_controls(Bucket=self.address.bucket)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            if error.response["Error"]["Code"] in ("AccessDenied", "403"):
                _log.warning("not allowed to ask whether the bucket takes ACLs; set STORAGE_ACL to choose")
            # A store that answers, but has no ownership controls (or won't tell), is treated as the original did.
            if (400 <= status < 500 and status != 429) or status == 501:
                return False
            raise
        # A store that doesn't know the question may answer another one: it lists the bucket, for example.
        rules = answer.get("OwnershipControls", {}).get("Rules", [])
        return any(rule.get("ObjectOwnership") == "BucketOwnerEnforced" for rule in rules)

    def _client(self) -> Any:  # noqa: ANN401 - the SDK is untyped
        credentials = self.credentials()
        if self._sdk is None or self._sdk[0] != credentials:
            self._sdk = (credentials, self._new_client(credentials))
        return self._sdk[1]

    def _new_client(self, credentials: Credentials) -> Any:  # noqa: ANN401 - as above
        session = boto3.Session(
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            region_name=self.region,
        )
        style = "virtual" if self.address.addressing is Addressing.VIRTUAL else "path"
        config = Config(signature_version="s3v4", s3={"addressing_style": style}, **_TIMEOUTS)
        return session.client("s3", endpoint_url=self.address.origin, config=config)


def _cause(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return type(error).__name__
