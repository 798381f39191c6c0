"""The part of the conformance suite on files that come in parts.

The suite plays the service too: it begins an upload, has its parts signed, looks at what arrived by the rule that the
service has (`domain.multipart.unfit_parts`), and completes. What is claimed for MULTIPART must then hold whatever the
client does with what was signed for it, be it a request for something else than a part.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

import pytest
from attrs import evolve, frozen

from adapters.stores.contract_cheats import Cheat, as_signed, as_whole, cheats, omissions, with_headers, with_key
from adapters.stores.contract_client import (
    ACCEPTED,
    AWKWARD_PATHS,
    CONTENT,
    LIFETIME,
    OTHER_CONTENT,
    REFUSED,
    declare,
    make_upload,
    md5_of,
    send,
    sign,
    too_early,
    utc_now,
    without_digest,
)
from adapters.stores.contract_harness import ContractPart, Harness
from application.ports import (
    DigestMismatch,
    MultipartStore,
    ObjectExists,
    PartsChanged,
    PartSigner,
    PendingUpload,
    Progress,
)
from domain.files import DeclaredParts, MediaType
from domain.inspection import Status, compare
from domain.keys import ObjectKey
from domain.multipart import PartLimits, PartPlan, UploadId, unfit_parts
from domain.uploads import Access, Guarantee, MultipartUpload, PutRequest, Upload, UploadMethod

_MANY = 4096
"""How long a part is where the store doesn't ask for longer ones."""
_FOREIGN_IDS = ["0", "f" * 32, "f" * 32 + ".0", "../../x", "A" * 1024, "%00"]


@frozen
class Site:
    """A store that takes parts, and what runs its coroutines: the service, as far as it is needed here."""

    harness: Harness
    runner: asyncio.Runner
    signer: PartSigner
    parts: MultipartStore
    limits: PartLimits

    def plan(self, upload: Upload) -> PartPlan:
        """Cut a file as the service does."""
        return PartPlan.of(upload.file, self.limits)

    def begin(self, upload: Upload) -> MultipartUpload:
        """Begin an upload."""
        (upload_id,) = self.runner.run(self.parts.begin([upload], utc_now()))
        return MultipartUpload(upload, upload_id, self.plan(upload))

    def request(self, upload: MultipartUpload, number: int, *, early: bool = False) -> PutRequest:
        """Sign for one part."""
        now = too_early(utc_now()) if early else utc_now()
        (part,) = self.signer.sign_parts(upload, [number], LIFETIME, now).parts
        assert (part.number, part.length) == (number, upload.plan.length_of(number))
        return PutRequest(part.url, part.headers)

    def send(self, upload: MultipartUpload, number: int, content: bytes) -> None:
        """Send one part of `content` as an honest client."""
        status = send(self.harness.http, self.request(upload, number), _cut(upload.plan, number, content))
        assert status in ACCEPTED, f"the store answered {status} to a part as it was signed"

    def progress(self, upload: MultipartUpload) -> Progress | None:
        """Ask what has arrived."""
        return self.runner.run(self.parts.progress(upload.upload.key, upload.upload_id, utc_now()))

    def arrived(self, upload: MultipartUpload) -> list[int]:
        """Give the numbers of the parts that have arrived."""
        progress = self.progress(upload)
        return [] if progress is None else sorted(progress.arrived)

    def complete(self, upload: MultipartUpload, *, overwrite: bool = True) -> bool:
        """Complete an upload if the service would, and tell whether the store agreed."""
        progress = self.progress(upload)
        if progress is None or unfit_parts(upload.plan, upload.upload.file, progress.arrived):
            return False
        parts = [progress.arrived[number] for number in range(1, upload.plan.count + 1)]
        try:
            self.runner.run(self.parts.complete(upload, parts, utc_now(), overwrite=overwrite))
        except (ObjectExists, DigestMismatch, PartsChanged):
            return False
        return True

    def abort(self, upload: MultipartUpload) -> None:
        """Abort an upload."""
        self.runner.run(self.parts.abort(upload.upload.key, upload.upload_id, utc_now()))

    def pending(self) -> list[PendingUpload]:
        """List what is pending."""

        async def collect() -> list[PendingUpload]:
            return [upload async for upload in self.parts.pending(utc_now())]

        return self.runner.run(collect())

    def media_type(self, key: ObjectKey) -> str | None:
        """Give the type with which an object is served."""
        download = self.harness.store.downloads.sign_download(key, LIFETIME, utc_now())
        return self.harness.http.request("GET", download.url).headers.get("Content-Type")

    def is_seen_by_anyone(self, key: str) -> bool:
        """Tell whether an object is given to a stranger."""
        url = f"{self.harness.store.signer.url_prefixes('')[0]}/{quote(key)}"
        return self.harness.http.request("GET", url).status == 200


class MultipartContract(ContractPart):
    """Parts make the declared object or none, and nobody sees it before it is whole."""

    @pytest.fixture
    def site(self, harness: Harness, runner: asyncio.Runner) -> Site:
        """Give the store as one that takes parts."""
        store, limits = harness.store, harness.store.signer.capabilities.parts
        if store.multipart is None or store.part_signer is None or limits is None:
            pytest.skip("this store takes no files in parts")
        return Site(harness, runner, store.part_signer, store.multipart, limits)

    def test_parts_are_claimed_where_they_are_taken(self, harness: Harness) -> None:
        store, capabilities = harness.store, harness.store.signer.capabilities
        is_claimed = UploadMethod.MULTIPART in capabilities.methods
        assert (capabilities.parts is not None) is is_claimed
        assert (store.multipart is not None, store.part_signer is not None) == (is_claimed, is_claimed)

    def test_parts_in_any_order_make_exactly_the_declared_file(self, site: Site) -> None:
        upload, content = _large(site.limits)
        begun, key = site.begin(upload), upload.key
        for sent, number in enumerate([3, 1, 2]):
            assert site.harness.read(key) is None
            assert site.harness.list_keys(key) == []
            assert len(site.arrived(begun)) == sent
            site.send(begun, number, content)
        progress = site.progress(begun)
        assert progress is not None
        assert {number: part.length for number, part in progress.arrived.items()} == _lengths(begun.plan)
        assert site.complete(begun)
        assert site.harness.read(key) == content
        assert site.harness.list_keys(key) == [key]
        assert site.media_type(key) == upload.file.media_type

    def test_what_was_completed_is_known_to_be_complete(self, site: Site) -> None:
        begun = self._completed(site)
        for _ in range(2):
            progress = site.progress(begun)
            assert progress is not None
            assert progress.is_complete

    def test_an_object_of_parts_is_found(self, site: Site) -> None:
        upload, content = _large(site.limits)
        begun = site.begin(upload)
        for number in (1, 2, 3):
            site.send(begun, number, content)
        assert site.complete(begun)
        for wanted in ([upload], [upload, *(make_upload(f"missing-{number}") for number in range(40))]):
            inspection = site.runner.run(site.harness.store.inspector.inspect(wanted, utc_now(), LIFETIME))
            found = inspection.found[upload.key]
            assert found is not None
            assert found.length == len(content)
            assert compare(upload.file, found) in (Status.STORED, Status.UNKNOWN)

    def test_a_part_sent_again_takes_the_place_of_the_first(self, site: Site) -> None:
        upload = _without_digests(make_upload(content=CONTENT))
        begun = site.begin(upload)
        for content in (OTHER_CONTENT, CONTENT):
            site.send(begun, 1, content)
        assert site.arrived(begun) == [1]
        assert site.complete(begun)
        assert site.harness.read(upload.key) == CONTENT

    @pytest.mark.parametrize("path", AWKWARD_PATHS)
    def test_awkward_keys_come_in_parts_too(self, site: Site, path: str) -> None:
        begun = self._completed(site, make_upload(path))
        assert site.harness.read(begun.upload.key) == CONTENT

    def test_each_upload_has_an_id_of_its_own(self, site: Site) -> None:
        folder_mates = [make_upload(f"{number}.csv") for number in range(3)]
        twins = [*folder_mates, folder_mates[0]]
        ids = site.runner.run(site.parts.begin(twins, utc_now()))
        assert len(set(ids)) == len(twins)
        first, last = (MultipartUpload(twins[0], upload_id, site.plan(twins[0])) for upload_id in (ids[0], ids[-1]))
        site.send(first, 1, CONTENT)
        assert (site.arrived(first), site.arrived(last)) == ([1], [])
        for upload, upload_id in zip(twins, ids, strict=True):
            site.abort(MultipartUpload(upload, upload_id, site.plan(upload)))

    def test_the_id_of_another_key_is_good_for_nothing(self, site: Site) -> None:
        mine, other = site.begin(make_upload()), make_upload()
        site.send(mine, 1, CONTENT)
        stolen = evolve(mine, upload=other)
        assert site.arrived(stolen) == []
        assert not site.complete(stolen)
        site.abort(stolen)
        assert site.arrived(mine) == [1]
        assert site.complete(mine)

    @pytest.mark.parametrize("upload_id", _FOREIGN_IDS)
    def test_an_id_that_nobody_gave_names_nothing(self, site: Site, upload_id: str) -> None:
        upload = make_upload()
        unknown = MultipartUpload(upload, UploadId(upload_id), site.plan(upload))
        assert site.arrived(unknown) == []
        assert not site.complete(unknown)
        site.abort(unknown)
        assert site.harness.read(upload.key) is None

    def test_what_was_aborted_never_becomes_an_object(self, site: Site) -> None:
        begun = site.begin(make_upload())
        request = site.request(begun, 1)
        site.send(begun, 1, CONTENT)
        for _ in range(2):
            site.abort(begun)
        assert not site.complete(begun)
        send(site.harness.http, request, CONTENT)
        assert site.harness.read(begun.upload.key) is None

    def test_to_abort_what_is_complete_does_nothing(self, site: Site) -> None:
        begun = self._completed(site)
        site.abort(begun)
        assert site.harness.read(begun.upload.key) == CONTENT

    def test_what_is_pending_is_told(self, site: Site) -> None:
        begun, aborted, completed = site.begin(make_upload()), site.begin(make_upload()), self._completed(site)
        site.abort(aborted)
        pending = site.pending()
        keys = [upload.key for upload in pending]
        assert aborted.upload.key not in keys
        assert completed.upload.key not in keys
        if pending:
            (mine,) = [upload for upload in pending if upload.key == begun.upload.key]
            assert abs((mine.begun - utc_now()).total_seconds()) < LIFETIME.total_seconds()
            site.runner.run(site.parts.abort(mine.key, mine.upload_id, utc_now()))
            assert begun.upload.key not in [upload.key for upload in site.pending()]

    # Each tampering: in vain where the store says that it enforces it, and else seen to succeed.

    def test_a_part_goes_to_its_own_key(self, site: Site) -> None:
        begun, other = site.begin(make_upload()), f"{make_upload().key}x"
        tried = [with_key(site.request(begun, 1), begun.upload.key, other)]
        statuses = [send(site.harness.http, cheat.request, CONTENT) for cheat in tried]
        assert set(statuses) <= {400, 401, 403, 404}, f"the store answered {statuses} to a part for another key"
        assert site.harness.read(other) is None
        assert site.arrived(begun) == []
        self._saw(UploadMethod.MULTIPART, Guarantee.KEY, enforced=True)

    def test_a_part_is_bound_to_its_number_and_its_upload(self, site: Site) -> None:
        upload, content = _large(site.limits)
        begun, other = site.begin(upload), site.begin(upload)
        first, second, foreign = site.request(begun, 1), site.request(begun, 2), site.request(other, 1)
        statuses = [
            (cheat.what, send(site.harness.http, cheat.request, _cut(begun.plan, 1, content)))
            for cheat in [*cheats(first, second), *cheats(first, foreign)]
        ]
        if Guarantee.LENGTH not in self._claims(site):
            assert min(status for _, status in statuses) < 300, (
                f"length isn't claimed, yet each was refused: {statuses}"
            )
            return
        assert all(status in (*REFUSED, 404) for _, status in statuses), f"a part was taken for another: {statuses}"
        assert (site.arrived(begun), site.arrived(other)) == ([], [])

    @pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!", b""], ids=["shorter", "longer", "empty"])
    def test_a_part_has_its_declared_length(self, site: Site, content: bytes) -> None:
        upload = _without_digests(make_upload())
        other = evolve(upload, file=evolve(upload.file, length=len(content)))
        begun = site.begin(upload)
        given = site.request(begun, 1)
        tried = [as_signed(given)]
        if content:
            wanted = site.request(evolve(begun, upload=other, plan=site.plan(other)), 1)
            tried += omissions(given, wanted)
        tried += self._as_whole(site, given, other)
        accepted = [cheat.what for cheat in tried if self._attempt(site, cheat, content) < 300]
        self._assert_claim(site, Guarantee.LENGTH, accepted)

    def test_a_part_that_comes_too_late_is_refused(self, site: Site) -> None:
        begun = site.begin(make_upload())
        late, in_time = site.request(begun, 1, early=True), site.request(begun, 1)
        accepted = [
            cheat.what
            for cheat in [as_signed(late), *cheats(late, in_time)]
            if self._attempt(site, cheat, CONTENT) < 300
        ]
        assert accepted or site.arrived(begun) == []
        self._assert_claim(site, Guarantee.EXPIRY, accepted)

    def test_an_object_has_its_declared_type(self, site: Site) -> None:
        upload = make_upload()
        page = evolve(upload, file=evolve(upload.file, media_type=MediaType("text/html")))
        begun = site.begin(upload)
        given = site.request(begun, 1)
        accepted = []
        for cheat in [with_headers(given, {"Content-Type": "text/html"}), *self._as_whole(site, given, page)]:
            self._attempt(site, cheat, CONTENT)
            site.complete(begun)
            if site.harness.read(upload.key) is not None and site.media_type(upload.key) == "text/html":
                accepted.append(cheat.what)
        self._assert_claim(site, Guarantee.TYPE, accepted)

    @pytest.mark.parametrize("digest", [Guarantee.MD5, Guarantee.SHA256])
    def test_an_object_has_its_declared_digest(self, site: Site, digest: Guarantee) -> None:
        upload = without_digest(Guarantee.SHA256 if digest is Guarantee.MD5 else Guarantee.MD5, make_upload())
        begun = site.begin(upload)
        given, other = site.request(begun, 1), evolve(upload, file=declare(upload.file.path, OTHER_CONTENT))
        accepted = []
        for cheat in [as_signed(given), *self._as_whole(site, given, other)]:
            self._attempt(site, cheat, OTHER_CONTENT)
            site.complete(begun)
            if site.harness.read(upload.key) is not None:
                accepted.append(cheat.what)
        self._assert_claim(site, digest, accepted)

    def test_a_part_with_another_digest_than_declared_is_noticed(self, site: Site) -> None:
        upload = _with_part_digests(make_upload(), CONTENT, len(CONTENT))
        begun = site.begin(upload)
        refused = send(site.harness.http, site.request(begun, 1), OTHER_CONTENT) in REFUSED
        progress = site.progress(begun)
        assert progress is not None
        if Guarantee.LENGTH in self._claims(site):
            assert refused or unfit_parts(begun.plan, upload.file, progress.arrived) == [1]
        site.send(begun, 1, CONTENT)
        assert site.complete(begun)
        assert site.harness.read(upload.key) == CONTENT

    def test_private_files_in_parts_are_not_for_strangers(self, site: Site) -> None:
        if Guarantee.ACCESS not in self._claims(site):
            pytest.skip("this store claims nothing of who may read")
        upload = make_upload(access=Access.PRIVATE)
        public = evolve(upload, access=Access.PUBLIC)
        begun = site.begin(upload)
        given = site.request(begun, 1)
        differing = _put_request(site, public).headers.items() - _put_request(site, upload).headers.items()
        accepted = []
        for cheat in [with_headers(given, dict(differing)), *self._as_whole(site, given, public), as_signed(given)]:
            self._attempt(site, cheat, CONTENT)
            site.complete(begun)
            if site.is_seen_by_anyone(upload.key):
                accepted.append(cheat.what)
        assert site.harness.read(upload.key) == CONTENT
        self._assert_claim(site, Guarantee.ACCESS, accepted)

    def test_an_object_that_exists_is_kept_if_parts_may_not_replace_it(self, site: Site) -> None:
        upload = make_upload()
        self._put(site.harness, upload, CONTENT)
        again = _without_digests(evolve(upload, file=declare(upload.file.path, OTHER_CONTENT)))
        begun = site.begin(again)
        given, accepted = site.request(begun, 1), []
        for cheat in [as_signed(given), *self._as_whole(site, given, again)]:
            self._attempt(site, cheat, OTHER_CONTENT)
            site.complete(begun, overwrite=False)
            if site.harness.read(upload.key) != CONTENT:
                accepted.append(cheat.what)
        self._assert_claim(site, Guarantee.NO_OVERWRITE, accepted)

    # Helpers

    def _completed(self, site: Site, upload: Upload | None = None) -> MultipartUpload:
        begun = site.begin(upload or make_upload())
        site.send(begun, 1, CONTENT)
        assert site.complete(begun)
        return begun

    def _claims(self, site: Site) -> frozenset[Guarantee]:
        return site.harness.store.signer.capabilities.methods[UploadMethod.MULTIPART]

    def _as_whole(self, site: Site, given: PutRequest, wanted: Upload) -> Sequence[Cheat]:
        """Try to send all of another file by what was signed for a part."""
        if UploadMethod.PUT not in site.harness.store.signer.capabilities.methods:
            return []
        return [as_whole(given, _put_request(site, wanted))]

    def _attempt(self, site: Site, cheat: Cheat, content: bytes) -> int:
        return send(site.harness.http, cheat.request, content, chunked=cheat.chunked)

    def _assert_claim(self, site: Site, guarantee: Guarantee, accepted: Sequence[str]) -> None:
        if guarantee in self._claims(site):
            assert not accepted, f"{guarantee} is claimed for MULTIPART, but a request {accepted[0]} got through"
        else:
            assert accepted, f"{guarantee} is not claimed for MULTIPART, yet no tampering got through"
        self._saw(UploadMethod.MULTIPART, guarantee, enforced=not accepted)


def _put_request(site: Site, upload: Upload) -> PutRequest:
    request = sign(site.harness.store.signer, upload, UploadMethod.PUT).request
    assert isinstance(request, PutRequest)
    return request


def _large(limits: PartLimits) -> tuple[Upload, bytes]:
    """Decide an upload of three parts, whose digests are declared, and give its content."""
    size = max(limits.min_part_bytes, _MANY)
    content = b"a" * size + b"b" * size + b"the end"
    return _with_part_digests(make_upload(content=content), content, size), content


def _with_part_digests(upload: Upload, content: bytes, size: int) -> Upload:
    digests = tuple(md5_of(content[start : start + size]) for start in range(0, len(content), size))
    return evolve(upload, file=evolve(upload.file, parts=DeclaredParts(size, digests)))


def _without_digests(upload: Upload) -> Upload:
    return without_digest(Guarantee.MD5, without_digest(Guarantee.SHA256, upload))


def _cut(plan: PartPlan, number: int, content: bytes) -> bytes:
    start = (number - 1) * plan.part_size
    return content[start : start + plan.length_of(number)]


def _lengths(plan: PartPlan) -> dict[int, int]:
    return {number: plan.length_of(number) for number in range(1, plan.count + 1)}
