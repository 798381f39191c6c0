"""The composition root: the one place that chooses adapters and hands them to the use-cases."""

from collections.abc import Sequence

from attrs import frozen

from adapters.stores.credentials import ChainCredentials
from adapters.stores.disk import DiskObjects
from adapters.stores.flavours import EMBEDDED
from adapters.stores.memory import MemoryObjects
from adapters.stores.s3 import S3Bucket
from adapters.stores.signing import S3Signing
from adapters.tokens.jwt import JwtVerifier
from application.authorize_uploads import AuthorizeUploads
from application.describe_store import DescribeStore
from application.ports import Probe, Startable, TokenVerifier
from application.presign_download import PresignDownload
from entrypoints.settings import AUTO_ACL, NO_ACL, S3Settings, ServedSettings, Settings


@frozen
class Store:
    """A wired store. `objects` are there where this service keeps the bytes itself."""

    signing: S3Signing
    startables: Sequence[Startable] = ()
    probes: Sequence[Probe] = ()
    objects: DiskObjects | MemoryObjects | None = None


@frozen
class Service:
    """Everything that the edges call."""

    settings: Settings
    verifier: TokenVerifier
    store: Store
    authorize_uploads: AuthorizeUploads
    describe_store: DescribeStore
    presign_download: PresignDownload


def wire(settings: Settings) -> Service:
    """Build the service; nothing is started, and nothing is asked of any network."""
    store = _served_store(settings.store) if isinstance(settings.store, ServedSettings) else _s3_store(settings.store)
    return Service(
        settings=settings,
        verifier=JwtVerifier(settings.token_key, settings.token_rules),
        store=store,
        authorize_uploads=AuthorizeUploads(
            store.signing, settings.batch, settings.upload_lifetime, settings.preferred_method
        ),
        describe_store=DescribeStore(store.signing, settings.batch, settings.upload_lifetime),
        presign_download=PresignDownload(store.signing, settings.batch.pattern, settings.download_lifetime),
    )


def _served_store(settings: ServedSettings) -> Store:
    signing = S3Signing(
        address=settings.public,
        region=settings.region,
        flavour=EMBEDDED,
        credentials=lambda: settings.credentials,
        public_acl=lambda: settings.acl,
    )
    if settings.root is None:
        return Store(signing, objects=MemoryObjects())
    objects = DiskObjects(settings.root)
    return Store(signing, startables=[objects], probes=[objects], objects=objects)


def _s3_store(settings: S3Settings) -> Store:
    fixed, chain = settings.credentials, ChainCredentials()
    credentials = chain if fixed is None else lambda: fixed
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
    if fixed is None:
        return Store(signing, startables=[chain, bucket], probes=[chain, bucket])
    return Store(signing, startables=[bucket], probes=[bucket])
