"""The composition of a store that speaks S3; imported only where it is chosen."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from adapters.stores.s3 import S3Bucket
from adapters.stores.s3_inspector import S3Inspector
from adapters.stores.s3_multipart import S3Multipart
from adapters.stores.s3_remover import S3Remover
from adapters.stores.signing import S3Signing
from adapters.stores.sigv4 import Credentials
from application.ports import Store
from entrypoints.settings import AUTO_ACL, NO_ACL, S3Settings

if TYPE_CHECKING:
    from adapters.stores.credentials import ChainCredentials


def s3_store(settings: S3Settings) -> Store:
    """Wire a bucket. Nothing is asked of it yet."""
    credentials, asked_first = _credentials(settings)
    asked = settings.acl == AUTO_ACL and settings.flavour.has_acl
    chosen = None if settings.acl in (AUTO_ACL, NO_ACL) else settings.acl
    bucket = S3Bucket(settings.internal, settings.region, credentials, acl=chosen, auto_acl=asked)
    signing = S3Signing(
        address=settings.public,
        region=settings.region,
        flavour=settings.flavour,
        credentials=credentials,
        public_acl=bucket.public_acl,
        other_addresses=[settings.internal],
    )
    inspector = S3Inspector(settings.internal, settings.region, credentials)
    multipart = S3Multipart(settings.internal, settings.region, credentials, signing.acl_for)
    return Store(
        signing,
        signing,
        inspector,
        startables=[*asked_first, bucket, inspector, multipart],
        probes=[*asked_first, bucket],
        part_signer=signing,
        multipart=multipart,
        remover=S3Remover(settings.internal, settings.region, credentials),
        lister=inspector,
    )


def _credentials(settings: S3Settings) -> "tuple[Callable[[], Credentials], Sequence[ChainCredentials]]":
    """Give the credentials, and what has to be started before there are any."""
    fixed = settings.credentials
    if fixed is not None:
        return lambda: fixed, []
    from adapters.stores.credentials import ChainCredentials  # noqa: PLC0415 - the SDK takes long to import

    chain = ChainCredentials()
    return chain, [chain]
