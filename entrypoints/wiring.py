"""The composition root: the one place that chooses adapters and hands them to the use-cases."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from attrs import frozen

from adapters.stores.credentials import ChainCredentials
from adapters.stores.disk import DiskObjects
from adapters.stores.flavours import EMBEDDED, Flavour
from adapters.stores.memory import MemoryObjects
from adapters.stores.s3 import S3Bucket
from adapters.stores.s3_inspector import S3Inspector
from adapters.stores.signing import S3Signing
from adapters.tokens.cache import VerifiedTokens
from adapters.tokens.jwt import JwtVerifier, KeyRing
from adapters.tokens.key_sources import FetchedKeys, KeyServer
from application.authenticate import Authenticate
from application.authorize_uploads import AuthorizeUploads
from application.describe_store import DescribeStore
from application.ports import ObjectInspector, Probe, Startable, TokenVerifier, Turns
from application.presign_download import PresignDownload
from application.verify_uploads import VerifyUploads
from domain.errors import Misconfigured
from domain.identity import TokenRules
from domain.patterns import KeyPattern
from entrypoints.runtime import FairTurns
from entrypoints.settings import AUTO_ACL, NO_ACL, S3Settings, ServedSettings, Settings

VERIFY_PATIENCE = timedelta(seconds=20)
"""How long /verify may ask the store, at least: unlike /authorize it has nothing else to answer."""


@frozen
class Store:
    """A wired store. `objects` are there where this service keeps the bytes itself."""

    signing: S3Signing
    inspector: ObjectInspector
    startables: Sequence[Startable] = ()
    probes: Sequence[Probe] = ()
    objects: DiskObjects | MemoryObjects | None = None


@frozen
class Service:
    """Everything that the edges call. `startables` are started in order, and stopped in the opposite one."""

    settings: Settings
    authenticate: Authenticate
    store: Store
    authorize_uploads: AuthorizeUploads
    turns: Turns
    describe_store: DescribeStore
    presign_download: PresignDownload
    verify_uploads: VerifyUploads
    startables: Sequence[Startable]
    probes: Sequence[Probe]


def wire(settings: Settings) -> Service:
    """Build the service; nothing is started, and nothing is asked of any network.

    Raises `Misconfigured` where what was chosen is not safe together.
    """
    store = _served_store(settings.store) if isinstance(settings.store, ServedSettings) else _s3_store(settings.store)
    _refuse_unsafe_pattern(settings.batch.pattern, store.signing.flavour)
    authenticate, fetched_keys = _authentication(settings)
    turns = FairTurns()
    return Service(
        settings=settings,
        authenticate=authenticate,
        store=store,
        authorize_uploads=AuthorizeUploads(
            signer=store.signing,
            rules=settings.batch,
            lifetime=settings.upload_lifetime,
            turns=turns,
            preferred_method=settings.preferred_method,
            inspector=store.inspector if settings.inspect_on_authorize else None,
            patience=settings.inspect_patience,
        ),
        turns=turns,
        describe_store=DescribeStore(store.signing, settings.batch, settings.upload_lifetime),
        presign_download=PresignDownload(store.signing, settings.batch.pattern, settings.download_lifetime),
        verify_uploads=VerifyUploads(
            store.inspector, settings.batch, turns, max(settings.inspect_patience, VERIFY_PATIENCE)
        ),
        startables=[*fetched_keys, *store.startables],
        probes=[*fetched_keys, *store.probes],
    )


def _refuse_unsafe_pattern(pattern: KeyPattern, flavour: Flavour) -> None:
    if not any(pattern.needs <= enforced for enforced in flavour.methods.values()):
        digests = " and ".join(sorted(pattern.needs))
        fault = f"{pattern.template!r} needs a store that checks {digests}, which the flavour {flavour.name} doesn't"
        raise Misconfigured([f"STORAGE_PATH_PATTERN: {fault}; begin it with {{owner}}/"])


def _authentication(settings: Settings) -> tuple[Authenticate, Sequence[FetchedKeys]]:
    if isinstance(settings.token_keys, KeyServer):
        fetched = FetchedKeys(settings.token_keys)
        return Authenticate(_verifier(fetched, settings.token_rules), fetched), [fetched]
    fixed = KeyRing((settings.token_keys,))
    return Authenticate(_verifier(lambda: fixed, settings.token_rules)), []


def _verifier(keys: Callable[[], KeyRing], rules: TokenRules) -> TokenVerifier:
    return VerifiedTokens(JwtVerifier(keys, rules), keys)


def _served_store(settings: ServedSettings) -> Store:
    signing = S3Signing(
        address=settings.public,
        region=settings.region,
        flavour=EMBEDDED,
        credentials=lambda: settings.credentials,
        public_acl=lambda: settings.acl,
    )
    objects = MemoryObjects() if settings.root is None else DiskObjects(settings.root)
    return Store(signing, objects, startables=[objects], probes=[objects], objects=objects)


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
    inspector = S3Inspector(settings.internal, settings.region, credentials)
    if fixed is None:
        return Store(signing, inspector, startables=[chain, bucket, inspector], probes=[chain, bucket])
    return Store(signing, inspector, startables=[bucket, inspector], probes=[bucket])
