"""Files in parts on Azure: what is signed for them, what Azurite makes of it, and what comes of answers that are none.

What all stores have in common of this is tested by the contract suite.
"""

import asyncio
import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import urllib3
from attrs import evolve, frozen
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobBlock, generate_blob_sas
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores import azure_multipart
from adapters.stores.addresses import BucketAddress
from adapters.stores.azure import Endpoint
from adapters.stores.azure_inspector import AzureInspector
from adapters.stores.azure_multipart import AzureMultipart, AzurePartSigner, Blocks
from adapters.stores.azure_sas import AccountKey, SigningKey, UserDelegationKey
from adapters.stores.azure_signing import PART_LIMITS
from adapters.stores.contract import CONTENT, LIFETIME, OTHER_CONTENT, declare, make_upload, send
from application.ports import ObjectExists, PartsChanged, PendingUpload, Progress
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.files import DeclaredParts, Md5, MediaType
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, PartPlan, UploadId
from domain.uploads import Access, MultipartUpload, PutRequest, SignedPart, Upload
from tests import strategies as bits
from tests.adapters.stores.test_azure_sas import ACCOUNT_KEY, DELEGATED, NOW, SECRET, at_version, options, terms_of
from tests.stores.azure_server import RunningAzurite
from tests.stores.processes import free_port
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy

CLOUD = BucketAddress("https://datasets.blob.core.windows.net", "uploads")
EMULATOR = BucketAddress("http://127.0.0.1:10000", "uploads", base_path="/datasets")
SIZE = 8
KEYS = bits.paths.map(ObjectKey)


def in_parts(upload: Upload, size: int = SIZE, md5: tuple[Md5, ...] | None = None) -> Upload:
    """Declare how a file is cut."""
    return evolve(upload, file=evolve(upload.file, parts=DeclaredParts(size, md5)))


def known(upload: Upload, blocks: Blocks) -> MultipartUpload:
    return MultipartUpload(upload, blocks.upload_id, PartPlan.of(upload.file, PART_LIMITS))


def query_of(url: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query, strict_parsing=True).items()}


class TestBlocks:
    @given(key=KEYS, number=st.integers(0, PART_LIMITS.max_parts))
    def test_are_known_by_their_ids(self, key: ObjectKey, number: int) -> None:
        blocks = Blocks.begin(key)
        assert Blocks.of(key, blocks.upload_id) == blocks
        assert blocks.number_of(blocks.id_of(number)) == number
        assert Blocks.begin(key).number_of(blocks.id_of(number)) is None

    @given(numbers=st.sets(st.integers(0, PART_LIMITS.max_parts), min_size=2, max_size=2))
    def test_have_ids_of_one_length_that_azure_takes(self, numbers: set[int]) -> None:
        ids = {Blocks.begin(ObjectKey("a.csv")).id_of(number) for number in numbers}
        assert len(ids) == 2
        assert {len(block_id) for block_id in ids} == {52}
        assert all(len(base64.b64decode(block_id, validate=True)) <= 64 for block_id in ids)

    @given(rest=st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
    def test_have_no_number_if_somebody_else_named_them(self, rest: str) -> None:
        blocks = Blocks.begin(ObjectKey("a.csv"))
        number = blocks.number_of(blocks.id_of(1)[:-8] + rest)
        assert number is None or base64.b64decode(rest) == f"{number:06}".encode()
        assert blocks.number_of(rest) is None

    @given(key=KEYS, other=KEYS)
    def test_are_those_of_one_key(self, key: ObjectKey, other: ObjectKey) -> None:
        recognised = Blocks.of(other, Blocks.begin(key).upload_id)
        assert (recognised is not None) is (key == other)

    @pytest.mark.parametrize("text", ["0", "f" * 32, "x" * 1024, "../../x", "%00"])
    def test_are_none_of_an_id_that_nobody_gave(self, text: str) -> None:
        assert Blocks.of(ObjectKey("a.csv"), UploadId(text)) is None


class TestSigning:
    @pytest.mark.parametrize("address", [CLOUD, EMULATOR])
    @pytest.mark.parametrize("key", [ACCOUNT_KEY, DELEGATED], ids=["account key", "user delegation key"])
    @given(path=bits.paths)
    def test_urls_are_put_block_with_a_signature_of_the_sdk(
        self, key: AccountKey | UserDelegationKey, address: BucketAddress, path: str
    ) -> None:
        upload = in_parts(Upload(ObjectKey(path), declare("a.csv"), Access.PRIVATE))
        blocks = Blocks.begin(upload.key)
        signed = sign(upload, blocks, address, key=key)
        terms = terms_of("w", NOW + LIFETIME, address is CLOUD, None)
        with at_version(key):
            theirs = generate_blob_sas("datasets", "uploads", path, **options(key, terms))
        assert [part.url for part in signed] == [
            f"{address.url}/{quote(path, safe='/~')}?comp=block&blockid={blocks.id_of(number)}&{theirs}"
            for number in (1, 2, 3)
        ]

    def test_parts_have_their_own_lengths_and_digests(self) -> None:
        digests = tuple(Md5.of(bytes([number]) * 16) for number in range(3))
        upload = in_parts(make_upload(), md5=digests)
        signed = sign(upload, Blocks.begin(upload.key))
        assert [(part.number, part.length) for part in signed] == [(1, 8), (2, 8), (3, len(CONTENT) - 16)]
        assert [part.headers for part in signed] == [
            {"Content-Length": str(part.length), "Content-MD5": digests[part.number - 1]} for part in signed
        ]

    def test_parts_without_a_digest_have_none(self) -> None:
        upload = in_parts(make_upload())
        assert all(part.headers.keys() == {"Content-Length"} for part in sign(upload, Blocks.begin(upload.key)))

    def test_parts_are_signed_when_they_are_asked_for(self) -> None:
        upload, asked = in_parts(make_upload()), []

        def numbers() -> Iterator[int]:
            for number in (2, 3):
                asked.append(number)
                yield number

        parts = iter(signer().sign_parts(known(upload, Blocks.begin(upload.key)), numbers(), LIFETIME, NOW).parts)
        assert (next(parts).number, asked) == (2, [2])

    def test_nothing_outlives_its_key(self) -> None:
        upload = in_parts(make_upload())
        parts, now = known(upload, Blocks.begin(upload.key)), DELEGATED.expires_at - timedelta(minutes=3)
        signed = signer(key=DELEGATED).sign_parts(parts, [1], LIFETIME, now)
        assert signed.expires_at == DELEGATED.expires_at
        assert query_of(next(iter(signed.parts)).url)["se"] == DELEGATED.expires
        with pytest.raises(Unavailable) as refused:
            signer(key=DELEGATED).sign_parts(parts, [1], LIFETIME, DELEGATED.expires_at)
        assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE

    def test_private_files_never_go_where_everybody_may_read(self) -> None:
        private, public = (in_parts(make_upload(access=access)) for access in (Access.PRIVATE, Access.PUBLIC))
        store = AzureMultipart(CLOUD, lambda: ACCOUNT_KEY, lambda: True)
        sign(public, Blocks.begin(public.key), is_public=True)
        assert len(asyncio.run(store.begin([public, public], NOW))) == 2
        with pytest.raises(InvalidInput) as refused:
            asyncio.run(store.begin([public, private], NOW))
        assert refused.value.code is ErrorCode.UNSUPPORTED_BY_STORE
        begun = known(private, Blocks.begin(private.key))
        with pytest.raises(InvalidInput):
            signer(is_public=True).sign_parts(begun, [1], LIFETIME, NOW)
        with pytest.raises(InvalidInput):
            asyncio.run(store.complete(begun, [], NOW))

    def test_no_representation_shows_a_secret(self) -> None:
        upload = in_parts(make_upload())
        (part, *_) = sign(upload, Blocks.begin(upload.key), key=DELEGATED)
        assert "sig=" not in repr(part)
        for keeper in (signer(), AzureMultipart(CLOUD, lambda: ACCOUNT_KEY, lambda: False)):
            assert repr(SECRET) not in repr(keeper)


def signer(
    address: BucketAddress = CLOUD, *, key: SigningKey = ACCOUNT_KEY, is_public: bool = False
) -> AzurePartSigner:
    return AzurePartSigner(address, lambda: key, lambda: is_public)


def sign(
    upload: Upload,
    blocks: Blocks,
    address: BucketAddress = CLOUD,
    *,
    key: SigningKey = ACCOUNT_KEY,
    is_public: bool = False,
) -> list[SignedPart]:
    parts = signer(address, key=key, is_public=is_public).sign_parts(known(upload, blocks), (1, 2, 3), LIFETIME, NOW)
    assert parts.expires_at == NOW + LIFETIME
    return list(parts.parts)


@frozen
class Site:
    """The service, with what runs its coroutines, and a client that has no credentials."""

    azurite: RunningAzurite
    store: AzureMultipart
    signer: AzurePartSigner
    inspector: AzureInspector
    runner: asyncio.Runner
    http: urllib3.PoolManager

    def begin(self, upload: Upload | None = None) -> MultipartUpload:
        upload = in_parts(upload or make_upload())
        (upload_id,) = self.runner.run(self.store.begin([upload], now()))
        return MultipartUpload(upload, upload_id, PartPlan.of(upload.file, PART_LIMITS))

    def part(self, begun: MultipartUpload, number: int, *, when: datetime | None = None) -> PutRequest:
        (part,) = self.signer.sign_parts(begun, [number], LIFETIME, when or now()).parts
        return PutRequest(part.url, part.headers)

    def send(self, begun: MultipartUpload, numbers: Sequence[int] = (1, 2, 3), content: bytes = CONTENT) -> None:
        for number in numbers:
            assert send(self.http, self.part(begun, number), cut(begun, number, content)) == 201

    def progress(self, begun: MultipartUpload) -> Progress | None:
        return self.runner.run(self.store.progress(begun.upload.key, begun.upload_id, now()))

    def arrived(self, begun: MultipartUpload) -> list[ArrivedPart]:
        progress = self.progress(begun)
        assert progress is not None
        assert not progress.is_complete
        return [part for _, part in sorted(progress.arrived.items())]

    def complete(
        self, begun: MultipartUpload, parts: list[ArrivedPart] | None = None, *, overwrite: bool = True
    ) -> None:
        parts = self.arrived(begun) if parts is None else parts
        self.runner.run(self.store.complete(begun, parts, now(), overwrite=overwrite))

    def abort(self, begun: MultipartUpload) -> None:
        self.runner.run(self.store.abort(begun.upload.key, begun.upload_id, now()))

    def read(self, key: str) -> bytes | None:
        """Ask the SDK, by the account key."""
        try:
            return self.azurite.client().download_blob(key).readall()
        except ResourceNotFoundError:
            return None

    def found(self, upload: Upload) -> FoundObject | None:
        inspection = self.runner.run(self.inspector.inspect([upload], now(), timedelta(seconds=30)))
        assert inspection.failure is None
        return inspection.found[upload.key]


def now() -> datetime:
    return datetime.now(UTC)


def cut(begun: MultipartUpload, number: int, content: bytes) -> bytes:
    start = (number - 1) * begun.plan.part_size
    return content[start : start + begun.plan.length_of(number)]


@pytest.fixture(scope="module")
def running_proxy(azurite: RunningAzurite) -> Iterator[StoreProxy]:
    with store_proxy(azurite.endpoint_url.rpartition("/")[0]) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy: StoreProxy) -> StoreProxy:
    """A proxy before Azurite, by which the service alone goes: it passes everything on, and has counted nothing yet."""
    running_proxy.reset()
    return running_proxy


@contextmanager
def running(azurite: RunningAzurite, origin: str, key: SigningKey) -> Iterator[Site]:
    endpoint = Endpoint.parse(azurite.endpoint_url)
    public = BucketAddress(endpoint.origin, azurite.container, base_path=endpoint.base_path)
    internal = evolve(public, origin=origin)
    store, inspector = AzureMultipart(internal, lambda: key, lambda: False), AzureInspector(internal, lambda: key)
    with asyncio.Runner() as runner, urllib3.PoolManager(retries=False) as http:
        for startable in (store, inspector):
            runner.run(startable.start())
        yield Site(azurite, store, signer(public, key=key), inspector, runner, http)
        for startable in (store, inspector):
            runner.run(startable.stop())


@pytest.fixture(params=["account key", "user delegation key"])
def site(request: pytest.FixtureRequest, azurite: RunningAzurite, proxy: StoreProxy) -> Iterator[Site]:
    by_account = request.param == "account key"
    key = (
        AccountKey.parse(azurite.account, azurite.key) if by_account else request.getfixturevalue("user_delegation_key")
    )
    with running(azurite, proxy.origin, key) as site:
        yield site


@pytest.fixture
def one_site(azurite: RunningAzurite, proxy: StoreProxy) -> Iterator[Site]:
    """For what doesn't depend on who signs."""
    with running(azurite, proxy.origin, AccountKey.parse(azurite.account, azurite.key)) as site:
        yield site


class TestOnAzurite:
    def test_parts_in_any_order_make_the_blob_and_nobody_sees_it_before(self, site: Site, proxy: StoreProxy) -> None:
        begun = site.begin()
        assert proxy.asked == {}, "to begin an upload takes no request"
        assert site.progress(begun) == Progress({})
        for sent, number in enumerate([3, 1, 2], 1):
            site.send(begun, [number])
            assert len(site.arrived(begun)) == sent
            assert site.read(begun.upload.key) is None
            assert site.found(begun.upload) is None
        ids = [Blocks(begun.upload_id).id_of(number) for number in (1, 2, 3)]
        assert site.arrived(begun) == [ArrivedPart(n, begun.plan.length_of(n), ids[n - 1]) for n in (1, 2, 3)]
        site.complete(begun)
        assert site.read(begun.upload.key) == CONTENT
        assert site.progress(begun) == Progress({}, is_complete=True)

    def test_the_blob_has_the_declared_type_and_an_md5_of_nobodys(self, site: Site) -> None:
        upload = make_upload()
        begun = site.begin(evolve(upload, file=evolve(upload.file, media_type=MediaType('text/csv; charset="utf-8"'))))
        part = site.part(begun, 1)
        as_page = {"Content-Type": "text/html", "x-ms-blob-content-type": "text/html"}
        assert send(site.http, PutRequest(part.url, {**part.headers, **as_page}), cut(begun, 1, CONTENT)) == 201
        site.send(begun, [2, 3])
        site.complete(begun)
        settings = site.azurite.client().get_blob_client(upload.key).get_blob_properties().content_settings
        assert (settings.content_type, settings.content_md5) == ('text/csv; charset="utf-8"', None)
        assert site.found(begun.upload) == FoundObject(len(CONTENT))

    def test_what_is_complete_can_be_completed_again_by_nobody(self, site: Site) -> None:
        begun = site.begin()
        site.send(begun)
        parts = site.arrived(begun)
        site.complete(begun, parts)
        for overwrite in (True, False):
            with pytest.raises(PartsChanged):
                site.complete(begun, parts, overwrite=overwrite)
        assert site.progress(begun) == Progress({}, is_complete=True)
        site.send(begun, [1], OTHER_CONTENT)
        assert site.progress(begun) == Progress({}, is_complete=True)
        assert site.read(begun.upload.key) == CONTENT

    def test_a_blob_that_was_replaced_is_not_the_uploads_any_more(self, site: Site) -> None:
        begun = site.begin()
        site.send(begun)
        site.complete(begun)
        site.azurite.client().upload_blob(begun.upload.key, OTHER_CONTENT, overwrite=True)
        assert site.progress(begun) == Progress({})

    def test_a_part_that_is_sent_again_takes_the_place_of_the_first(self, site: Site) -> None:
        begun = site.begin()
        site.send(begun, content=OTHER_CONTENT)
        site.send(begun)
        assert len(site.arrived(begun)) == 3
        site.complete(begun)
        assert site.read(begun.upload.key) == CONTENT

    def test_parts_that_are_not_those_one_saw_make_no_blob(self, site: Site) -> None:
        begun = site.begin()
        site.send(begun)
        parts = site.arrived(begun)
        assert send(site.http, site.part(begun, 2), b"longer than it was") == 201
        with pytest.raises(PartsChanged):
            site.complete(begun, parts)
        assert site.read(begun.upload.key) is None
        assert [part.length for part in site.arrived(begun)] == [8, 18, len(CONTENT) - 16]

    def test_parts_that_are_sent_with_a_digest_must_have_it(self, site: Site) -> None:
        begun = site.begin()
        part = site.part(begun, 1)
        wrong = PutRequest(part.url, {**part.headers, "Content-MD5": Md5.of(bytes(16))})
        assert send(site.http, wrong, cut(begun, 1, CONTENT)) == 400
        assert site.arrived(begun) == []

    def test_the_id_of_another_key_names_no_upload(self, site: Site) -> None:
        begun, other = site.begin(), make_upload()
        site.send(begun)
        stolen = evolve(begun, upload=in_parts(other))
        assert site.progress(stolen) is None
        with pytest.raises(PartsChanged):
            site.complete(stolen, site.arrived(begun))
        site.abort(stolen)
        assert len(site.arrived(begun)) == 3

    def test_a_part_goes_to_no_other_key(self, site: Site) -> None:
        begun, other = site.begin(), make_upload()
        part = site.part(begun, 1)
        moved = PutRequest(part.url.replace(quote(begun.upload.key), quote(other.key)), part.headers)
        assert moved.url != part.url
        assert send(site.http, moved, cut(begun, 1, CONTENT)) == 403
        assert site.arrived(begun) == []

    def test_a_part_that_comes_too_late_is_refused(self, site: Site) -> None:
        begun = site.begin()
        late = site.part(begun, 1, when=now() - LIFETIME - timedelta(seconds=2))
        assert send(site.http, late, cut(begun, 1, CONTENT)) == 403
        assert site.arrived(begun) == []

    def test_a_blob_that_exists_is_replaced_only_if_it_may_be(self, site: Site) -> None:
        upload = make_upload(content=OTHER_CONTENT)
        site.azurite.client().upload_blob(upload.key, OTHER_CONTENT)
        begun = site.begin(evolve(upload, file=declare(upload.file.path)))
        site.send(begun)
        with pytest.raises(ObjectExists):
            site.complete(begun, overwrite=False)
        assert site.read(upload.key) == OTHER_CONTENT
        assert len(site.arrived(begun)) == 3
        site.complete(begun)
        assert site.read(upload.key) == CONTENT

    def test_a_blob_that_is_new_needs_no_leave_to_replace(self, site: Site) -> None:
        begun = site.begin()
        site.send(begun)
        site.complete(begun, overwrite=False)
        assert site.read(begun.upload.key) == CONTENT

    def test_of_two_uploads_of_one_blob_neither_has_parts_of_the_other(self, site: Site) -> None:
        upload = make_upload()
        first, second = site.begin(upload), site.begin(upload)
        site.send(first)
        site.send(second, [1, 2], OTHER_CONTENT)
        assert [len(site.arrived(begun)) for begun in (first, second)] == [3, 2]
        site.complete(first)
        assert site.read(upload.key) == CONTENT
        # What was not committed is gone, and can be sent again.
        assert site.progress(second) == Progress({})
        site.send(second, content=OTHER_CONTENT)
        site.complete(second)
        assert site.read(upload.key) == OTHER_CONTENT
        assert [site.progress(begun) for begun in (first, second)] == [Progress({}), Progress({}, is_complete=True)]

    def test_what_a_cheat_puts_beside_the_parts_is_no_part(self, site: Site) -> None:
        begun = site.begin()
        site.send(begun)
        part, mine = site.part(begun, 1), Blocks(begun.upload_id).id_of(1)
        for strange in (mine[:-8] + base64.b64encode(b"one...").decode(), base64.b64encode(b"x" * 39).decode()):
            request = PutRequest(part.url.replace(mine, quote(strange, safe="")), {})
            assert send(site.http, request, OTHER_CONTENT) == 201
        assert [part.number for part in site.arrived(begun)] == [1, 2, 3]
        site.complete(begun)
        assert site.read(begun.upload.key) == CONTENT

    def test_what_was_aborted_never_becomes_a_blob(self, site: Site) -> None:
        begun = site.begin()
        site.send(begun)
        parts = site.arrived(begun)
        for _ in range(2):
            site.abort(begun)
        site.send(begun)
        assert site.progress(begun) is None
        with pytest.raises(PartsChanged):
            site.complete(begun, parts)
        assert site.read(begun.upload.key) is None

    def test_an_upload_can_be_aborted_before_its_first_part(self, site: Site) -> None:
        begun = site.begin()
        site.abort(begun)
        site.send(begun)
        assert site.progress(begun) is None
        assert site.read(begun.upload.key) is None

    def test_to_abort_one_upload_leaves_another_of_the_same_blob_alone(self, site: Site) -> None:
        upload = make_upload()
        first, second = site.begin(upload), site.begin(upload)
        site.send(first)
        site.send(second)
        site.abort(first)
        assert len(site.arrived(second)) == 3
        site.complete(second)
        assert site.read(upload.key) == CONTENT

    def test_to_abort_what_is_complete_does_nothing(self, site: Site, proxy: StoreProxy) -> None:
        begun = site.begin()
        site.send(begun)
        site.complete(begun)
        proxy.reset()
        site.abort(begun)
        assert proxy.asked == {"GET": 1}
        assert site.progress(begun) == Progress({}, is_complete=True)
        assert site.read(begun.upload.key) == CONTENT

    def test_where_others_named_the_blocks_there_is_nothing_to_abort(self, site: Site) -> None:
        begun = site.begin()
        blob = site.azurite.client().get_blob_client(begun.upload.key)
        blob.stage_block("AAAA", OTHER_CONTENT)
        site.abort(begun)
        blob.commit_block_list([BlobBlock("AAAA")])
        assert site.read(begun.upload.key) == OTHER_CONTENT

    def test_none_is_pending(self, site: Site) -> None:
        site.send(site.begin())

        async def collect() -> list[PendingUpload]:
            return [upload async for upload in site.store.pending(now())]

        assert site.runner.run(collect()) == []


class TestRaces:
    """Somebody else is faster: after the service has looked, and before it commits."""

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_the_blob_that_another_request_made_of_the_parts_is_the_uploads_own(
        self, one_site: Site, proxy: StoreProxy, overwrite: bool
    ) -> None:
        begun = one_site.begin()
        one_site.send(begun)
        parts = one_site.arrived(begun)
        blob = one_site.azurite.client().get_blob_client(begun.upload.key)
        plain_ids = [base64.b64decode(part.tag).decode() for part in parts]  # the SDK encodes them again
        overtaken_by(proxy, lambda: blob.commit_block_list(list(map(BlobBlock, plain_ids))))
        with pytest.raises(PartsChanged):
            one_site.complete(begun, parts, overwrite=overwrite)
        assert one_site.progress(begun) == Progress({}, is_complete=True)

    def test_somebody_elses_blob_stays(self, one_site: Site, proxy: StoreProxy) -> None:
        begun = one_site.begin()
        one_site.send(begun)
        blob = one_site.azurite.client().get_blob_client(begun.upload.key)
        overtaken_by(proxy, lambda: blob.upload_blob(OTHER_CONTENT, overwrite=True))
        with pytest.raises(ObjectExists):
            one_site.complete(begun, overwrite=False)
        assert one_site.read(begun.upload.key) == OTHER_CONTENT


def overtaken_by(proxy: StoreProxy, do: Callable[[], object]) -> None:
    async def overtake(asked: Asked) -> None:
        if asked.method == "PUT":
            do()

    proxy.instead = overtake


def block_list(committed: str = "<CommittedBlocks/>", uncommitted: str = "<UncommittedBlocks/>") -> bytes:
    return f'<?xml version="1.0"?><BlockList>{committed}{uncommitted}</BlockList>'.encode()


OPERATIONS: Mapping[str, Callable[[Site, MultipartUpload], object]] = {
    "progress": lambda site, begun: site.progress(begun),
    "complete": lambda site, begun: site.complete(begun, parts_of(begun)),
    "abort": lambda site, begun: site.abort(begun),
}


def parts_of(begun: MultipartUpload) -> list[ArrivedPart]:
    blocks = Blocks(begun.upload_id)
    return [ArrivedPart(n, begun.plan.length_of(n), blocks.id_of(n)) for n in range(1, begun.plan.count + 1)]


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> Callable[[Site, MultipartUpload], object]:
    return OPERATIONS[request.param]


class TestFailures:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(200),
            Reply(200, b"It works!"),
            Reply(200, b"<html><body>Log in</body></html>"),
            Reply(200, block_list()[:-9]),
            Reply(200, block_list(committed="")),
            Reply(200, block_list(uncommitted="")),
            Reply(200, block_list(), {"Content-Length": "10000"}),
            Reply(203, block_list()),
            Reply(302, headers={"Location": "/elsewhere"}),
            Reply(403, headers={"x-ms-error-code": "AuthenticationFailed"}),
            Reply(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"}),
            Reply(404, headers={"x-ms-error-code": "ContainerNotFound"}),
            Reply(409, headers={"x-ms-error-code": "InvalidBlobType"}),
            Reply(429),
            Reply(500),
            Reply(503, headers={"x-ms-error-code": "ServerBusy"}),
        ],
    )
    def test_an_answer_that_is_none_is_a_failure(
        self, one_site: Site, proxy: StoreProxy, operation: Callable[[Site, MultipartUpload], object], reply: Reply
    ) -> None:
        begun = one_site.begin()

        async def answer(_asked: Asked) -> Reply:
            return reply

        proxy.instead = answer
        with pytest.raises(Unavailable) as failed:
            operation(one_site, begun)
        assert failed.value.code is ErrorCode.STORE_UNAVAILABLE
        assert proxy.asked == {"GET": 1}

    @pytest.mark.parametrize("length", ["", "<Size/>", "<Size>-1</Size>", "<Size>many</Size>"])
    def test_a_part_without_a_length_is_a_failure(self, one_site: Site, proxy: StoreProxy, length: str) -> None:
        begun = one_site.begin()
        block = f"<Block><Name>{Blocks(begun.upload_id).id_of(1)}</Name>{length}</Block>"

        async def answer(_asked: Asked) -> Reply:
            return Reply(200, block_list(uncommitted=f"<UncommittedBlocks>{block}</UncommittedBlocks>"))

        proxy.instead = answer
        with pytest.raises(Unavailable):
            one_site.progress(begun)

    @pytest.mark.parametrize(
        ("status", "code", "raised"),
        [
            (400, "InvalidBlockList", PartsChanged),
            (409, "BlobAlreadyExists", ObjectExists),
            (412, "ConditionNotMet", ObjectExists),
            (412, "LeaseIdMissing", Unavailable),
            (409, "BlobImmutableDueToPolicy", Unavailable),
            (400, "InvalidXmlDocument", Unavailable),
            (403, "AuthorizationPermissionMismatch", Unavailable),
            (404, "ContainerNotFound", Unavailable),
            (500, "InternalError", Unavailable),
            (503, "", Unavailable),
            (200, "", Unavailable),
        ],
    )
    def test_what_a_refusal_to_commit_means(
        self, one_site: Site, proxy: StoreProxy, status: int, code: str, raised: type[Exception]
    ) -> None:
        begun = one_site.begin()
        one_site.send(begun)
        parts = one_site.arrived(begun)

        async def refuse(asked: Asked) -> Reply | None:
            return Reply(status, headers={"x-ms-error-code": code} if code else {}) if asked.method == "PUT" else None

        proxy.instead = refuse
        with pytest.raises(raised):
            one_site.complete(begun, parts, overwrite=False)
        proxy.reset()
        assert one_site.arrived(begun) == parts, "after an error the parts are still there"

    @pytest.mark.parametrize("status", [200, 400, 403, 500])
    def test_an_upload_that_could_not_be_marked_is_not_said_to_be_aborted(
        self, one_site: Site, proxy: StoreProxy, status: int
    ) -> None:
        begun = one_site.begin()

        async def refuse(asked: Asked) -> Reply | None:
            return Reply(status) if asked.method == "PUT" else None

        proxy.instead = refuse
        with pytest.raises(Unavailable):
            one_site.abort(begun)

    def test_a_store_that_is_slow_is_not_waited_for(
        self,
        one_site: Site,
        proxy: StoreProxy,
        operation: Callable[[Site, MultipartUpload], object],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        begun = one_site.begin()
        monkeypatch.setattr(azure_multipart, "PATIENCE", timedelta(seconds=0.05))

        async def stall(asked: Asked) -> None:
            await asked.stall()

        proxy.instead = stall
        with pytest.raises(Unavailable, match="too long"):
            operation(one_site, begun)

    def test_a_store_that_is_down_is_a_failure(
        self, azurite: RunningAzurite, operation: Callable[[Site, MultipartUpload], object]
    ) -> None:
        with running(azurite, f"http://127.0.0.1:{free_port()}", ACCOUNT_KEY) as site:
            begun = site.begin()
            with pytest.raises(Unavailable, match="ClientConnectorError"):
                operation(site, begun)

    def test_one_that_was_not_started_asks_nothing(self, one_site: Site, proxy: StoreProxy) -> None:
        begun = one_site.begin()
        one_site.runner.run(one_site.store.stop())
        one_site.runner.run(one_site.store.stop())
        for operation in OPERATIONS.values():
            with pytest.raises(Unavailable, match="not been started"):
                operation(one_site, begun)
        assert proxy.asked == {}

    def test_without_a_valid_key_nothing_is_asked(
        self,
        azurite: RunningAzurite,
        proxy: StoreProxy,
        operation: Callable[[Site, MultipartUpload], object],
    ) -> None:
        with running(azurite, proxy.origin, evolve(DELEGATED, expires="2020-01-01T00:00:00Z")) as site:
            begun = site.begin()
            with pytest.raises(Unavailable) as refused:
                operation(site, begun)
        assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE
        assert proxy.asked == {}

    def test_no_signature_reaches_a_message(
        self, one_site: Site, proxy: StoreProxy, operation: Callable[[Site, MultipartUpload], object]
    ) -> None:
        begun = one_site.begin()

        async def hang_up(_asked: Asked) -> Reply:
            return Reply(200, b"", {"Content-Length": "10"})

        proxy.instead = hang_up
        with pytest.raises(Unavailable) as failed:
            operation(one_site, begun)
        assert "sig=" not in failed.value.message
        assert one_site.azurite.key not in failed.value.message
