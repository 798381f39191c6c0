"""The composition root: the one place that chooses adapters and hands them to the use-cases."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from adapters.stores.disk import DiskObjects
from adapters.stores.flavours import EMBEDDED
from adapters.stores.memory import MemoryObjects
from adapters.stores.signing import PRIVATE_ACL, S3Signing
from adapters.tokens.cache import VerifiedTokens
from adapters.tokens.jwt import JwtVerifier, KeyRing
from adapters.tokens.key_servers import KeyServer
from application.authenticate import Authenticate
from application.authorize_uploads import AuthorizeUploads
from application.describe_store import DescribeStore
from application.list_objects import ListObjects
from application.multipart import Multipart
from application.multipart_uploads import AbortUpload, CompleteUpload, KnownUploads, ResumeUpload
from application.ports import Probe, Startable, Store, TokenVerifier, Turns
from application.presign_download import PresignDownload
from application.presign_downloads import PresignDownloads
from application.verify_uploads import VerifyUploads
from domain.batches import BatchRules
from domain.errors import Misconfigured
from domain.identity import TokenRules
from domain.patterns import KeyPattern
from domain.uploads import Capabilities
from entrypoints.counters import Counters
from entrypoints.observed import observed
from entrypoints.runtime import FairTurns
from entrypoints.settings import S3Settings, ServedSettings, Settings
from entrypoints.waiting import CURIOUS_AT_ONCE, LimitedInspector, limited, waiting_room

if TYPE_CHECKING:
    from adapters.tokens.key_sources import FetchedKeys

VERIFY_PATIENCE = timedelta(seconds=20)
"""How long /verify and /objects may ask the store, at least: unlike /authorize they have nothing else to answer."""


@frozen
class ServedStore(Store):
    """A store whose bytes this service keeps itself."""

    objects: DiskObjects | MemoryObjects = field(kw_only=True)


@frozen
class Service:
    """Everything that the edges call. `startables` are started in order, and stopped in the opposite one."""

    settings: Settings
    authenticate: Authenticate
    store: Store
    authorize_uploads: AuthorizeUploads
    turns: FairTurns
    describe_store: DescribeStore
    presign_download: PresignDownload
    presign_downloads: PresignDownloads
    list_objects: ListObjects
    verify_uploads: VerifyUploads
    resume_upload: ResumeUpload
    complete_upload: CompleteUpload
    abort_upload: AbortUpload
    startables: Sequence[Startable]
    probes: Sequence[Probe]
    counters: Counters


def wire(settings: Settings) -> Service:
    """Build the service; nothing is started, and nothing is asked of any network.

    Raises `Misconfigured` where what was chosen is not safe together.
    """
    counters = Counters()
    watched = observed(_store(settings.store), counters)
    store = limited(watched)
    rules = _rules_for(store.signer.capabilities, settings.batch)
    _refuse_unsafe_pattern(rules.pattern, store.signer.capabilities)
    authenticate, fetched_keys = _authentication(settings, counters)
    turns = FairTurns()
    threshold = min(settings.multipart_threshold, rules.files.max_bytes)
    multipart = _multipart(store, threshold, settings.upload_lifetime, turns)
    known = KnownUploads(multipart, rules.in_parts)
    patience = max(settings.inspect_patience, VERIFY_PATIENCE)
    presign = PresignDownload(store.downloads, rules.pattern, settings.download_lifetime)
    return Service(
        settings=settings,
        authenticate=authenticate,
        store=store,
        authorize_uploads=AuthorizeUploads(
            signer=store.signer,
            rules=rules,
            lifetime=settings.upload_lifetime,
            turns=turns,
            preferred_method=settings.preferred_method,
            inspector=(
                LimitedInspector(watched.inspector, waiting_room(CURIOUS_AT_ONCE))
                if settings.inspect_on_authorize
                else None
            ),
            patience=settings.inspect_patience,
            multipart=multipart,
        ),
        turns=turns,
        describe_store=DescribeStore(store.signer, rules, settings.upload_lifetime, threshold),
        presign_download=presign,
        presign_downloads=PresignDownloads(presign, rules, turns),
        list_objects=ListObjects(store.lister, store.signer, rules.pattern, patience),
        verify_uploads=VerifyUploads(store.inspector, rules.in_parts, turns, patience),
        resume_upload=ResumeUpload(known),
        complete_upload=CompleteUpload(known, store.inspector, patience),
        abort_upload=AbortUpload(known),
        startables=[*fetched_keys, *store.startables],
        probes=[*fetched_keys, *store.probes],
        counters=counters,
    )


def _store(settings: S3Settings | ServedSettings | Store) -> Store:
    match settings:
        case ServedSettings():
            return _served_store(settings)
        case S3Settings():
            from entrypoints.s3_wiring import s3_store  # noqa: PLC0415 - its packages take long to import

            return s3_store(settings)
        case Store():
            return settings


def _rules_for(capabilities: Capabilities, rules: BatchRules) -> BatchRules:
    """Accept no file that is longer than one request to the store may be, or all its parts together."""
    longest = min(rules.files.max_bytes, capabilities.max_request_bytes)
    in_parts = 0 if capabilities.parts is None else capabilities.parts.longest_object
    return evolve(rules, files=evolve(rules.files, max_bytes=longest, max_bytes_in_parts=in_parts))


def _multipart(store: Store, threshold: int, lifetime: timedelta, turns: Turns) -> Multipart | None:
    limits = store.signer.capabilities.parts
    if store.multipart is None or store.part_signer is None or limits is None:
        return None
    return Multipart(store.signer, store.part_signer, store.multipart, limits, threshold, lifetime, turns)


def _refuse_unsafe_pattern(pattern: KeyPattern, capabilities: Capabilities) -> None:
    if not any(pattern.needs <= enforced for enforced in capabilities.methods.values()):
        digests = " and ".join(sorted(pattern.needs))
        fault = f"{pattern.template!r} needs a store that checks {digests}, which this one doesn't"
        raise Misconfigured([f"STORAGE_PATH_PATTERN: {fault}; begin it with {{owner}}/"])


def _authentication(settings: Settings, counters: Counters) -> tuple[Authenticate, Sequence["FetchedKeys"]]:
    if isinstance(settings.token_keys, KeyServer):
        from adapters.tokens.key_sources import FetchedKeys  # noqa: PLC0415 - as above

        fetched = FetchedKeys(settings.token_keys)
        return Authenticate(_verifier(fetched, settings.token_rules, counters), fetched), [fetched]
    fixed = KeyRing((settings.token_keys,))
    return Authenticate(_verifier(lambda: fixed, settings.token_rules, counters)), []


def _verifier(keys: Callable[[], KeyRing], rules: TokenRules, counters: Counters) -> TokenVerifier:
    return VerifiedTokens(JwtVerifier(keys, rules), keys, counts=counters.token_cache)


def _served_store(settings: ServedSettings) -> ServedStore:
    signing = S3Signing(
        address=settings.public,
        region=settings.region,
        flavour=EMBEDDED,
        credentials=lambda: settings.credentials,
        public_acl=lambda: settings.acl,
    )
    all_private = settings.acl == PRIVATE_ACL
    objects = (
        MemoryObjects(all_private=all_private)
        if settings.root is None
        else DiskObjects(settings.root, all_private=all_private)
    )
    return ServedStore(
        signing,
        signing,
        objects,
        startables=[objects],
        probes=[objects],
        part_signer=signing,
        multipart=objects,
        remover=objects,
        lister=objects,
        objects=objects,
    )
