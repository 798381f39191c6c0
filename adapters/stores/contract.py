"""The conformance suite that every store runs, shipped for authors of other stores (extra `[contract]`).

Subclass `StoreContract` in a test module, give it a `harness` fixture, and pytest runs one test per behaviour, once per
way into the store. A client that holds no credentials carries out each signed request and must succeed; then each
tampering with it must fail and leave nothing behind, where `Capabilities` says that the store enforces it: also if the
client leaves out what tells on it. Where it says that the store doesn't, one of the tamperings is seen to succeed: so a
wrong claim fails in either direction. What was seen is a property of the test's report (`record_property` of pytest),
such as `PUT md5`: true where it was enforced.

The store is then asked what it holds, for few keys and for many. See `adapters/README.md` for a worked example.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote
from uuid import uuid4

import pytest
import urllib3
from attrs import evolve, field, frozen

from adapters.stores.contract_cheats import Cheat, Request, as_signed, cheats, garblings, omissions, with_key
from application.ports import Inspection, Store, UploadSigner
from domain.files import DeclaredFile, FileName, Md5, MediaType, Sha256
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey, RelativePath
from domain.uploads import Access, Guarantee, PutRequest, SignedUpload, Upload, UploadMethod, UploadTerms

CONTENT = b"id,name\n1,Ada\n2,Grace\n"
OTHER_CONTENT = CONTENT.swapcase()
LIFETIME = timedelta(minutes=10)
PATIENCE = timedelta(seconds=30)

ACCEPTED = (200, 201, 204)
REFUSED = (400, 401, 403)

AWKWARD_PATHS = [
    "with space.csv",
    "plus+plus.csv",
    "per%20cent%.csv",
    "Größe/übersicht.csv",
    "日本語/データ.csv",
    "emoji-🚀.csv",
    "quote'and\"quote.csv",
    "amp&equals=semi;colon:comma,.csv",
    "brackets[1](2){3}.csv",
    "tilde~star*bang!at@hash#question?.csv",
    "deep/er/and/deep/er/still.csv",
    ".hidden",
    "dollar$and<less>.csv",
]

# No two of these are one key, though a prefix, a folder, another case or one decoding too many could make them so.
NEIGHBOURS = [
    ("a.csv", "a.csv.bak"),
    ("a.csv", "a.csv/b"),
    ("a.csv", "a.csv/b/c"),
    ("a.csv", "A.csv"),
    ("a.csv", "b/a.csv"),
    ("a b.csv", "a+b.csv"),
    ("a b.csv", "a%20b.csv"),
    ("a/b.csv", "a%2Fb.csv"),
    ("é.csv", "e.csv"),
]

CROWD = 40
"""How many missing keys a batch of many has besides; beyond what any store should still ask for one by one."""

Look = Callable[..., list[FoundObject | None]]


def _client() -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=30.0, retries=False)


@frozen
class Harness:
    """One configuration of a store, for the suite, which starts and stops it around each test.

    `read` gives an object's bytes by some way other than our own signatures (None: there is no such object), and
    `list_keys` the keys that start with some text: the ground truth. `http` reaches the URLs that the store signs.
    `conflict` is the status of an upload that would replace an object and must not.
    """

    store: Store
    read: Callable[[str], bytes | None]
    list_keys: Callable[[str], list[str]]
    http: urllib3.PoolManager = field(factory=_client)
    conflict: int = 412


def declare(path: str, content: bytes = CONTENT, media_type: str = "text/csv") -> DeclaredFile:
    """Declare `content` with both digests."""
    relative_path = RelativePath(path)
    return DeclaredFile(
        path=relative_path,
        length=len(content),
        media_type=MediaType(media_type),
        name=FileName(relative_path.basename),
        md5=Md5.of(hashlib.md5(content, usedforsecurity=False).digest()),
        sha256=Sha256.of(hashlib.sha256(content).digest()),
    )


def make_folder() -> str:
    """Name a folder that no other test uses."""
    return f"contract/{uuid4().hex}"


def make_upload(
    path: str = "data/file.csv", content: bytes = CONTENT, access: Access = Access.PRIVATE, folder: str | None = None
) -> Upload:
    """Decide an upload to a key that no other test uses, or to one in `folder`."""
    return Upload(ObjectKey(f"{folder or make_folder()}/{path}"), declare(path, content), access)


def sign(
    signer: UploadSigner,
    upload: Upload,
    method: UploadMethod,
    *,
    now: datetime | None = None,
    overwrite: bool = True,
) -> SignedUpload:
    """Sign one upload for ten minutes, as of `now`."""
    terms = UploadTerms(method, LIFETIME, overwrite)
    (signed,) = signer.sign_uploads([upload], terms, now or datetime.now(UTC))
    return signed


def send(
    http: urllib3.PoolManager, request: Request, content: bytes, *, filename: bool = True, chunked: bool = False
) -> int:
    """Carry out a signed request as a client without credentials would; return the status.

    With `chunked` a PUT doesn't say its length; without `filename` a form's file part has no name.
    """
    if isinstance(request, PutRequest):
        length = {} if chunked else {"Content-Length": str(len(content))}
        body = iter([content]) if chunked else content
        return http.request(
            "PUT", request.url, body=body, headers={**request.headers, **length}, chunked=chunked
        ).status
    media_type = request.fields.get("Content-Type", "application/octet-stream")
    part = ("upload.bin", content, media_type) if filename else content
    return http.request("POST", request.url, fields=[*request.fields.items(), ("file", part)]).status


@frozen
class Tampering:
    """Requests by which a client tries to get `content` to `key`."""

    method: UploadMethod
    key: str
    tried: Sequence[Cheat]
    content: bytes


class StoreContract:
    """The suite. A subclass overrides `harness`; every test is one behaviour of the ports' contract."""

    _record: Callable[[str, object], None]

    @pytest.fixture(autouse=True)
    def _recorded(self, record_property: Callable[[str, object], None]) -> None:
        self._record = record_property

    @pytest.fixture
    def harness(self) -> Harness:
        """Give the configuration to test."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def runner(self, harness: Harness) -> Iterator[asyncio.Runner]:
        """Start the store and stop it again, and give what runs its coroutines meanwhile."""
        startables = harness.store.startables
        with asyncio.Runner() as runner:
            try:
                for startable in startables:
                    runner.run(startable.start())
                yield runner
            finally:
                for startable in reversed(startables):
                    runner.run(startable.stop())

    @pytest.fixture(params=list(UploadMethod))
    def method(self, request: pytest.FixtureRequest, harness: Harness) -> UploadMethod:
        """Give each way into the store in turn."""
        method: UploadMethod = request.param
        if method not in harness.store.signer.capabilities.methods:
            pytest.skip(f"this store takes no {method}")
        return method

    def test_a_signed_request_puts_exactly_the_declared_file_in(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        self._put(harness, upload, CONTENT, method)
        assert harness.read(upload.key) == CONTENT
        assert harness.list_keys(upload.key) == [upload.key]

    def test_an_empty_file_gets_in(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload(content=b"")
        self._put(harness, upload, b"", method)
        assert harness.read(upload.key) == b""

    @pytest.mark.parametrize("path", AWKWARD_PATHS)
    def test_awkward_keys_go_in_and_come_out(self, harness: Harness, method: UploadMethod, path: str) -> None:
        upload, store = make_upload(path), harness.store
        signed = self._put(harness, upload, CONTENT, method)
        assert harness.list_keys(upload.key) == [upload.key]
        download = store.downloads.sign_download(upload.key, LIFETIME, _now())
        assert harness.http.request("GET", download.url).data == CONTENT
        assert store.downloads.key_of_url(signed.object_url) == upload.key
        assert signed.object_url.startswith(f"{store.signer.url_prefixes(upload.key.rpartition('/')[0])[0]}/")

    def test_a_file_part_without_a_file_name_is_served(self, harness: Harness) -> None:
        if UploadMethod.POST not in harness.store.signer.capabilities.methods:
            pytest.skip("this store takes no forms")
        upload = make_upload()
        form = sign(harness.store.signer, upload, UploadMethod.POST).request
        assert send(harness.http, form, CONTENT, filename=False) in ACCEPTED
        assert harness.read(upload.key) == CONTENT

    def test_the_answer_comes_in_order_and_says_where_objects_will_be(
        self, harness: Harness, method: UploadMethod
    ) -> None:
        uploads, signer, now = [make_upload(f"part-{number}.csv") for number in range(3)], harness.store.signer, _now()
        signed = list(signer.sign_uploads(uploads, UploadTerms(method, LIFETIME), now))
        assert [one.upload for one in signed] == uploads
        store_url, folder_url = signer.url_prefixes("")[0], signer.url_prefixes("contract")[0]
        for prefix in (*signer.url_prefixes(""), *signer.url_prefixes("contract")):
            assert not prefix.endswith("/"), f"the prefix {prefix} ends in a slash"
        for one in signed:
            assert one.method is method
            assert one.object_url.startswith(f"{folder_url}/")
            assert unquote(one.object_url.removeprefix(f"{store_url}/")) == one.upload.key
            assert not one.request.url.endswith("/")
            assert now < one.expires_at <= now + LIFETIME, "expires_at is not within the lifetime"

    def test_each_upload_is_signed_when_it_is_asked_for(self, harness: Harness, method: UploadMethod) -> None:
        asked = []

        def uploads() -> Iterator[Upload]:
            for number in range(3):
                asked.append(number)
                yield make_upload()

        signed = iter(harness.store.signer.sign_uploads(uploads(), UploadTerms(method, LIFETIME), _now()))
        for number in range(3):
            next(signed)
            assert len(asked) == number + 1, "uploads were signed before they were asked for"

    # Each tampering: refused, and nothing is stored, where the store says that it enforces it.

    def test_another_key_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload("data/file.csv")
        signed = sign(harness.store.signer, upload, method)
        for other in (f"{upload.key}x", upload.key[:-1], upload.key.replace("data/", "dat/a")):
            tried = [with_key(signed.request, upload.key, other)]
            self._assert_enforced(harness, Guarantee.KEY, Tampering(method, other, tried, CONTENT))

    @pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!", b""], ids=["shorter", "longer", "empty"])
    def test_another_length_is_refused(self, harness: Harness, method: UploadMethod, content: bytes) -> None:
        # Without a digest, by which a store could notice as well.
        upload = _without(Guarantee.MD5, _without(Guarantee.SHA256, make_upload()))
        given, wanted = _both(harness, method, upload, evolve(upload, file=evolve(upload.file, length=len(content))))
        tried = [as_signed(given), *omissions(given, wanted)]
        self._assert_enforced(harness, Guarantee.LENGTH, Tampering(method, upload.key, tried, content))

    def test_another_type_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        as_page = evolve(upload, file=evolve(upload.file, media_type=MediaType("text/html")))
        tried = cheats(*_both(harness, method, upload, as_page))
        self._assert_enforced(harness, Guarantee.TYPE, Tampering(method, upload.key, tried, CONTENT))

    def test_a_request_that_comes_too_late_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload, now = make_upload(), _now()
        late, in_time = (
            sign(harness.store.signer, upload, method, now=when).request for when in (_too_early(now), now)
        )
        tried = [as_signed(late), *cheats(late, in_time)]
        self._assert_enforced(harness, Guarantee.EXPIRY, Tampering(method, upload.key, tried, CONTENT))

    @pytest.mark.parametrize("digest", [Guarantee.MD5, Guarantee.SHA256])
    def test_other_bytes_are_refused_by_their_digest(
        self, harness: Harness, method: UploadMethod, digest: Guarantee
    ) -> None:
        undeclared = Guarantee.SHA256 if digest is Guarantee.MD5 else Guarantee.MD5
        upload, others = (_without(undeclared, make_upload(content=content)) for content in (CONTENT, OTHER_CONTENT))
        given, wanted = _both(harness, method, upload, evolve(others, key=upload.key))
        tried = [as_signed(given), *cheats(given, wanted)]
        self._assert_enforced(harness, digest, Tampering(method, upload.key, tried, OTHER_CONTENT))

    def test_private_files_cannot_be_sent_as_public(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload(access=Access.PRIVATE)
        tried = cheats(*_both(harness, method, upload, evolve(upload, access=Access.PUBLIC)))
        if Guarantee.ACCESS in _claims(harness, method):
            assert tried, f"{Guarantee.ACCESS} is claimed for {method}, but private files are signed like public ones"
        if tried:
            self._assert_enforced(harness, Guarantee.ACCESS, Tampering(method, upload.key, tried, CONTENT))

    def test_an_object_that_exists_is_kept_where_overwriting_is_refused(
        self, harness: Harness, method: UploadMethod
    ) -> None:
        upload, now = make_upload(), _now()
        again = evolve(upload, file=declare("data/file.csv", OTHER_CONTENT))
        assert (
            send(harness.http, sign(harness.store.signer, upload, method, overwrite=False).request, CONTENT) in ACCEPTED
        )
        given, wanted = (
            sign(harness.store.signer, again, method, now=now, overwrite=overwrite).request
            for overwrite in (False, True)
        )
        status = send(harness.http, given, OTHER_CONTENT)
        if Guarantee.NO_OVERWRITE not in _claims(harness, method):
            assert status < 300, f"no-overwrite is not claimed for {method}, yet the store refused with {status}"
            self._saw(method, Guarantee.NO_OVERWRITE, enforced=False)
            return
        claim = f"{Guarantee.NO_OVERWRITE} is claimed for {method}"
        assert status == harness.conflict, f"{claim}, but the store answered {status}"
        assert harness.read(upload.key) == CONTENT, f"{claim}, but the object was replaced"
        for cheat in cheats(given, wanted):
            status = send(harness.http, cheat.request, OTHER_CONTENT)
            assert 400 <= status < 500, f"{claim}, but the store answered {status} to a request {cheat.what}"
            assert harness.read(upload.key) == CONTENT, f"{claim}, but the object was replaced"
        self._saw(method, Guarantee.NO_OVERWRITE, enforced=True)

    def test_the_same_request_may_be_repeated(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        signed = sign(harness.store.signer, upload, method)
        for _ in range(2):
            assert send(harness.http, signed.request, CONTENT) in ACCEPTED
        assert harness.read(upload.key) == CONTENT

    def test_a_signed_put_is_good_for_nothing_else(self, harness: Harness) -> None:
        if UploadMethod.PUT not in harness.store.signer.capabilities.methods:
            pytest.skip("this store takes no PUT")
        upload = make_upload()
        signed = self._put(harness, upload, CONTENT, UploadMethod.PUT)
        for verb in ("GET", "DELETE"):
            assert 400 <= harness.http.request(verb, signed.request.url).status < 500
        assert harness.read(upload.key) == CONTENT

    def test_a_broken_signature_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        given, other = _both(harness, method, upload, make_upload())
        tried = [*garblings(given, other), *cheats(given, other)]
        assert tried, "a request is signed like one for another key"
        for cheat in tried:
            status = send(harness.http, cheat.request, CONTENT)
            assert status in REFUSED, f"the store answered {status} to a request {cheat.what}"
            assert harness.read(upload.key) is None, f"an object was stored by a request {cheat.what}"

    # Downloads

    def test_a_signed_download_gives_the_bytes_and_nothing_else(self, harness: Harness) -> None:
        upload, other, now = self._stored(harness, "a.csv"), self._stored(harness, "b.csv"), _now()
        download = harness.store.downloads.sign_download(upload.key, LIFETIME, now)
        assert now < download.expires_at <= now + LIFETIME, "expires_at is not within the lifetime"
        assert harness.http.request("GET", download.url).data == CONTENT
        elsewhere = download.url.replace(quote(upload.key), quote(other.key))
        assert harness.http.request("GET", elsewhere).status in REFUSED
        assert harness.http.request("DELETE", download.url).status in (*REFUSED, 405)
        assert harness.read(upload.key) == CONTENT

    def test_a_download_that_comes_too_late_is_refused(self, harness: Harness) -> None:
        upload = self._stored(harness, "a.csv")
        url = harness.store.downloads.sign_download(upload.key, LIFETIME, _too_early(_now())).url
        assert harness.http.request("GET", url).status in REFUSED

    @pytest.mark.parametrize("media_type", ["text/csv", "application/geo+json"])
    def test_a_download_has_the_declared_type(self, harness: Harness, method: UploadMethod, media_type: str) -> None:
        upload = make_upload()
        upload = evolve(upload, file=evolve(upload.file, media_type=MediaType(media_type)))
        self._put(harness, upload, CONTENT, method)
        url = harness.store.downloads.sign_download(upload.key, LIFETIME, _now()).url
        assert harness.http.request("GET", url).headers["Content-Type"] == media_type, "the type was lost"

    def test_strangers_cannot_read_a_private_file(self, harness: Harness, method: UploadMethod) -> None:
        signed = self._put(harness, make_upload(access=Access.PRIVATE), CONTENT, method)
        assert 400 <= harness.http.request("GET", signed.object_url).status < 500

    def test_a_download_is_saved_under_the_name_asked_for(self, harness: Harness) -> None:
        upload = self._stored(harness, "a.csv")
        url = harness.store.downloads.sign_download(upload.key, LIFETIME, _now(), "Größe 1.csv").url
        answer = harness.http.request("GET", url)
        assert answer.data == CONTENT
        assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.csv" in answer.headers["Content-Disposition"]

    def test_urls_elsewhere_name_no_key(self, harness: Harness) -> None:
        upload, key_of_url = make_upload(), harness.store.downloads.key_of_url
        url = sign(harness.store.signer, upload, _any_method(harness)).object_url
        assert key_of_url(url) == upload.key
        for foreign in ("https://example.com/x", f"{url}?versionId=1", f"{url}#x", url.replace("://", "://me@"), ""):
            assert key_of_url(foreign) is None, f"{foreign!r} was taken for the address of an object"

    def test_the_store_says_that_it_is_there(self, harness: Harness, runner: asyncio.Runner) -> None:
        for probe in harness.store.probes:
            runner.run(probe.check())

    # Inspection

    @pytest.fixture(params=[0, CROWD], ids=["few", "many"])
    def look(self, request: pytest.FixtureRequest, harness: Harness, runner: asyncio.Runner) -> Look:
        """Ask what is at the keys of uploads, in this order: alone, and in a crowd of missing ones in their folder."""
        inspect, crowd = harness.store.inspector.inspect, request.param

        def look(*uploads: Upload) -> list[FoundObject | None]:
            others = _neighbours_of(uploads[0], crowd)
            inspection = runner.run(inspect([*uploads, *others], _now(), PATIENCE))
            assert inspection.failure is None
            assert inspection.found.keys() == {upload.key for upload in (*uploads, *others)}
            assert all(inspection.found[other.key] is None for other in others)
            return [inspection.found[upload.key] for upload in uploads]

        return look

    @pytest.mark.parametrize("fate", ["used", "dropped"])
    def test_asking_ahead_changes_no_answer(self, harness: Harness, runner: asyncio.Runner, fate: str) -> None:
        upload, inspector = self._stored(harness, "a.csv"), harness.store.inspector
        wanted = [upload, *_neighbours_of(upload, CROWD)]

        async def look() -> Inspection:
            prepared = inspector.prepare(f"{_folder_of(upload)}/", len(wanted), _now())
            if fate == "dropped" and prepared is not None:
                prepared.drop()
            return await inspector.inspect(wanted, _now(), PATIENCE, None if fate == "dropped" else prepared)

        inspection = runner.run(look())
        assert inspection.failure is None
        assert [one.key for one in wanted if inspection.found[one.key] is not None] == [upload.key]

    def test_impatience_is_no_error(self, harness: Harness, runner: asyncio.Runner) -> None:
        upload = self._stored(harness, "a.csv")
        inspection = runner.run(harness.store.inspector.inspect([upload], _now(), timedelta(0)))
        if inspection.failure is None:
            assert compare(upload.file, inspection.found[upload.key]) is Status.STORED
        assert inspection.found.keys() <= {upload.key}

    @pytest.mark.parametrize("content", [CONTENT, b""], ids=["some bytes", "no bytes"])
    def test_what_was_sent_is_found(self, harness: Harness, method: UploadMethod, look: Look, content: bytes) -> None:
        upload = make_upload(content=content)
        assert look(upload) == [None]
        self._put(harness, upload, content, method)
        (found,) = look(upload)
        assert compare(upload.file, found) is Status.STORED
        assert found is not None
        assert found.md5 == upload.file.md5
        assert found.sha256 in (None, upload.file.sha256)

    def test_what_is_there_now_counts(self, harness: Harness, look: Look) -> None:
        upload = make_upload()
        for content, status in (
            (CONTENT, Status.STORED),
            (OTHER_CONTENT, Status.DIFFERENT),
            (CONTENT + b"!", Status.DIFFERENT),
            (b"", Status.DIFFERENT),
            (CONTENT, Status.STORED),
        ):
            self._put(harness, evolve(upload, file=declare(upload.file.path, content)), content)
            assert compare(upload.file, *look(upload)) is status

    def test_many_files_are_found_among_others(self, harness: Harness, look: Look) -> None:
        folder = make_folder()
        uploads = [self._stored(harness, f"data/part-{number}.csv", folder) for number in range(25)]
        for wanted in (uploads, uploads[9:11]):
            assert _statuses(wanted, look(*wanted)) == dict.fromkeys(_paths(wanted), Status.STORED)

    @pytest.mark.parametrize("pair", [pair for two in NEIGHBOURS for pair in (two, two[::-1])], ids=" beside ".join)
    def test_a_neighbour_is_never_taken_for_it(self, harness: Harness, look: Look, pair: tuple[str, str]) -> None:
        folder = make_folder()
        wanted, neighbour = (make_upload(path, folder=folder) for path in pair)
        self._put(harness, neighbour, CONTENT)
        missing, found = look(wanted, neighbour)
        assert missing is None
        assert compare(neighbour.file, found) is Status.STORED

    def test_awkward_keys_are_found(self, harness: Harness, look: Look) -> None:
        folder = make_folder()
        uploads = [self._stored(harness, path, folder) for path in AWKWARD_PATHS]
        assert _statuses(uploads, look(*uploads)) == dict.fromkeys(_paths(uploads), Status.STORED)

    def test_a_digest_that_the_store_may_not_know_never_counts_against_a_file(
        self, harness: Harness, method: UploadMethod, look: Look
    ) -> None:
        upload = make_upload()
        upload = evolve(upload, file=evolve(upload.file, md5=None))
        self._put(harness, upload, CONTENT, method)
        assert compare(upload.file, *look(upload)) in (Status.STORED, Status.UNKNOWN)
        other = evolve(declare(upload.file.path, OTHER_CONTENT), md5=None)
        assert compare(other, *look(upload)) in (Status.DIFFERENT, Status.UNKNOWN)

    def test_two_files_of_one_key_are_both_found(self, harness: Harness, look: Look) -> None:
        first = self._stored(harness, "a.csv")
        second = evolve(first, file=declare("b.csv"))
        both = [first, second]
        assert _statuses(both, look(*both)) == {"a.csv": Status.STORED, "b.csv": Status.STORED}

    # Helpers

    def _stored(self, harness: Harness, path: str, folder: str | None = None) -> Upload:
        upload = make_upload(path, folder=folder)
        self._put(harness, upload, CONTENT)
        return upload

    def _put(
        self, harness: Harness, upload: Upload, content: bytes, method: UploadMethod | None = None
    ) -> SignedUpload:
        signed = sign(harness.store.signer, upload, method or _any_method(harness))
        status = send(harness.http, signed.request, content)
        assert status in ACCEPTED, f"the store answered {status} to a request as it was signed"
        return signed

    def _assert_enforced(self, harness: Harness, guarantee: Guarantee, tampering: Tampering) -> None:
        """Every one of the requests must be refused and leave nothing; or, if that isn't claimed, one not."""
        method, tried, content = tampering.method, tampering.tried, tampering.content
        if guarantee not in _claims(harness, method):
            statuses = {cheat.what: self._try(harness, cheat, content) for cheat in tried}
            assert min(statuses.values()) < 300, (
                f"{guarantee} is not claimed for {method}, yet the store refused each request: {statuses}"
            )
            self._saw(method, guarantee, enforced=False)
            return
        claim = f"{guarantee} is claimed for {method}"
        assert tried, f"{claim}, but it makes no difference to what is signed"
        for cheat in tried:
            status = self._try(harness, cheat, content)
            assert 400 <= status < 500, f"{claim}, but the store answered {status} to a request {cheat.what}"
            assert harness.read(tampering.key) is None, f"{claim}, but an object was stored by a request {cheat.what}"
        self._saw(method, guarantee, enforced=True)

    def _saw(self, method: UploadMethod, guarantee: Guarantee, *, enforced: bool) -> None:
        self._record(f"{method} {guarantee}", enforced)

    def _try(self, harness: Harness, cheat: Cheat, content: bytes) -> int:
        return send(harness.http, cheat.request, content, chunked=cheat.chunked)


def _now() -> datetime:
    return datetime.now(UTC)


def _too_early(now: datetime) -> datetime:
    """Give a moment such that what was signed then is not valid any more."""
    return now - LIFETIME - timedelta(seconds=2)


def _claims(harness: Harness, method: UploadMethod) -> frozenset[Guarantee]:
    return harness.store.signer.capabilities.methods[method]


def _any_method(harness: Harness) -> UploadMethod:
    return next(iter(harness.store.signer.capabilities.methods))


def _both(harness: Harness, method: UploadMethod, given: Upload, wanted: Upload) -> tuple[Request, Request]:
    """Sign two uploads at the same moment."""
    first, second = harness.store.signer.sign_uploads([given, wanted], UploadTerms(method, LIFETIME), _now())
    return first.request, second.request


def _without(digest: Guarantee, upload: Upload) -> Upload:
    if digest is Guarantee.MD5:
        return evolve(upload, file=evolve(upload.file, md5=None))
    return evolve(upload, file=evolve(upload.file, sha256=None))


def _folder_of(upload: Upload) -> str:
    return upload.key.removesuffix(f"/{upload.file.path}")


def _neighbours_of(upload: Upload, count: int) -> list[Upload]:
    """Decide uploads into the same folder, which nobody carries out."""
    return [make_upload(f"missing-{number}.csv", folder=_folder_of(upload)) for number in range(count)]


def _paths(uploads: Sequence[Upload]) -> list[str]:
    return [upload.file.path for upload in uploads]


def _statuses(uploads: Sequence[Upload], found: Sequence[FoundObject | None]) -> dict[str, Status]:
    return {upload.file.path: compare(upload.file, one) for upload, one in zip(uploads, found, strict=True)}
