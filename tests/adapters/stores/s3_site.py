"""An S3 store that takes parts, as tests see it: the service, as far as it is needed, and a client."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import urllib3
from attrs import evolve, field, frozen

from adapters.stores.addresses import BucketAddress
from adapters.stores.contract import CONTENT, LIFETIME, make_upload, send
from adapters.stores.contract_client import md5_of, utc_now, without_digest
from adapters.stores.flavours import FLAVOURS, PART_LIMITS
from adapters.stores.s3_inspector import S3Inspector
from adapters.stores.s3_multipart import S3Multipart
from adapters.stores.signing import PUBLIC_ACL, S3Signing
from adapters.stores.sigv4 import Credentials
from application.ports import PendingUpload, Progress
from domain.files import DeclaredParts
from domain.inspection import FoundObject
from domain.multipart import ArrivedPart, PartPlan
from domain.uploads import Guarantee, MultipartUpload, PutRequest, Upload
from tests.stores.servers import RunningStore

PART_BYTES = PART_LIMITS.min_part_bytes
OK = (200, 204)


@frozen
class Site:
    """One bucket; `running` is asked for the truth."""

    running: RunningStore
    signing: S3Signing
    multipart: S3Multipart
    inspector: S3Inspector
    runner: asyncio.Runner
    http: urllib3.PoolManager = field(factory=lambda: urllib3.PoolManager(timeout=30.0, retries=False))

    def begin(self, upload: Upload | None = None, size: int = PART_BYTES) -> MultipartUpload:
        return self.begin_all([upload or make_upload()], size)[0]

    def begin_all(self, uploads: Sequence[Upload], size: int = PART_BYTES) -> list[MultipartUpload]:
        ids = self.runner.run(self.multipart.begin(uploads, utc_now()))
        return [
            MultipartUpload(upload, upload_id, PartPlan(upload.file.length, size))
            for upload, upload_id in zip(uploads, ids, strict=True)
        ]

    def requests(self, upload: MultipartUpload, numbers: Iterable[int]) -> list[PutRequest]:
        signed = self.signing.sign_parts(upload, numbers, LIFETIME, utc_now())
        return [PutRequest(part.url, part.headers) for part in signed.parts]

    def send(self, upload: MultipartUpload, content: bytes, number: int = 1) -> int:
        start = (number - 1) * upload.plan.part_size
        (request,) = self.requests(upload, [number])
        return send(self.http, request, content[start : start + upload.plan.length_of(number)])

    def progress(self, upload: MultipartUpload) -> Progress | None:
        return self.runner.run(self.multipart.progress(upload.upload.key, upload.upload_id, utc_now()))

    def arrived(self, upload: MultipartUpload) -> list[ArrivedPart]:
        progress = self.progress(upload)
        assert progress is not None
        assert not progress.is_complete
        return [part for _, part in sorted(progress.arrived.items())]

    def complete(self, upload: MultipartUpload, parts: Sequence[ArrivedPart], *, overwrite: bool = True) -> None:
        self.runner.run(self.multipart.complete(upload, parts, utc_now(), overwrite=overwrite))

    def abort(self, upload: MultipartUpload) -> None:
        self.runner.run(self.multipart.abort(upload.upload.key, upload.upload_id, utc_now()))

    def completed(self, upload: Upload | None = None, content: bytes = CONTENT) -> MultipartUpload:
        begun = self.begin(upload or make_upload(content=content))
        for number in range(1, begun.plan.count + 1):
            assert self.send(begun, content, number) in OK
        self.complete(begun, self.arrived(begun))
        return begun

    def is_complete(self, upload: MultipartUpload) -> bool:
        progress = self.progress(upload)
        return progress is not None and progress.is_complete

    def pending(self, folder: str) -> list[PendingUpload]:
        async def collect() -> list[PendingUpload]:
            return [one async for one in self.multipart.pending(utc_now()) if one.key.startswith(f"{folder}/")]

        return self.runner.run(collect())

    def found(self, upload: Upload) -> list[FoundObject | None]:
        """Look by a HEAD request, and by a listing."""
        folder = upload.key.removesuffix(f"/{upload.file.path}")
        crowd = [upload, *(make_upload(f"missing-{number}", folder=folder) for number in range(40))]
        look = self.inspector.inspect
        inspections = [self.runner.run(look(wanted, utc_now(), LIFETIME)) for wanted in ([upload], crowd)]
        assert [inspection.failure for inspection in inspections] == [None, None]
        return [inspection.found[upload.key] for inspection in inspections]

    def read(self, key: str) -> bytes:
        body: bytes = self.running.client().get_object(Bucket=self.signing.address.bucket, Key=key)["Body"].read()
        return body


def make_site(
    running: RunningStore,
    runner: asyncio.Runner,
    *,
    origin: str | None = None,
    bucket: str | None = None,
    credentials: Callable[[], Credentials] | None = None,
) -> Site:
    """Reach a store; the service may do so by another origin than clients, and with other credentials."""
    flavour, own = FLAVOURS[running.flavour], Credentials(running.access_key_id, running.secret_access_key)
    public = BucketAddress(running.endpoint_url, bucket or running.bucket)
    internal = evolve(public, origin=origin or public.origin)
    signing = S3Signing(
        address=public,
        region=running.region,
        flavour=flavour,
        credentials=credentials or (lambda: own),
        public_acl=lambda: PUBLIC_ACL if flavour.has_acl else None,
    )
    multipart = S3Multipart(internal, running.region, signing.credentials, signing.acl_for)
    inspector = S3Inspector(internal, running.region, signing.credentials)
    return Site(running, signing, multipart, inspector, runner)


@contextmanager
def started(site: Site) -> Iterator[Site]:
    startables = (site.multipart, site.inspector)
    for startable in startables:
        site.runner.run(startable.start())
    try:
        yield site
    finally:
        for startable in startables:
            site.runner.run(startable.stop())


def without_digests(upload: Upload) -> Upload:
    return without_digest(Guarantee.MD5, without_digest(Guarantee.SHA256, upload))


def with_part_digests(upload: Upload, content: bytes, size: int = PART_BYTES) -> Upload:
    digests = tuple(md5_of(content[start : start + size]) for start in range(0, len(content), size))
    return evolve(upload, file=evolve(upload.file, parts=DeclaredParts(size, digests)))


def every_method(site: Site, begun: MultipartUpload) -> list[Callable[[], object]]:
    return [
        lambda: site.begin(begun.upload),
        lambda: site.progress(begun),
        lambda: site.complete(begun, [ArrivedPart(1, len(CONTENT), f'"{md5_of(CONTENT).hex}"')]),
        lambda: site.abort(begun),
        lambda: site.pending(""),
    ]
