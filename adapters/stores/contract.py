"""The conformance suite that every store runs, shipped for authors of other stores (extra `[contract]`).

Subclass `StoreContract` in a test module, give it a `harness` fixture, and pytest runs one test per behaviour, once per
way into the store. A client that holds no credentials carries out each signed request and must succeed; then each
tampering with it must fail and leave nothing behind, where `Capabilities` says that the store enforces it: also if the
client leaves out the header that tells on it. Where it says that the store doesn't, one of the tamperings is seen to
succeed: so a wrong claim fails in either direction. What was seen is a property of the test's report (`record_property`
of pytest), such as `PUT md5`: true where it was enforced.

A store that is an `ObjectInspector` too is then asked what it holds, for few keys and for many.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote
from uuid import uuid4

import pytest
import urllib3
from attrs import evolve, frozen

from application.ports import DownloadSigner, Inspection, UploadSigner
from domain.files import DeclaredFile, FileName, Md5, MediaType, Sha256
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey, RelativePath
from domain.uploads import (
    Access,
    Guarantee,
    PostForm,
    PutRequest,
    SignedUpload,
    Upload,
    UploadMethod,
    UploadTerms,
)

CONTENT = b"id,name\n1,Ada\n2,Grace\n"
OTHER_CONTENT = CONTENT.swapcase()
LIFETIME = timedelta(minutes=10)

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


class Store(UploadSigner, DownloadSigner, Protocol):
    """What the suite tests: both signers in one object."""


@frozen
class Harness:
    """One configuration of a store, for the suite.

    `read` gives an object's bytes by some way other than our own signatures (None: there is no such object), and
    `list_keys` the keys that start with some text: the ground truth. `http` reaches the URLs that `store` signs.
    `inspect` calls that of an `ObjectInspector`, with patience enough; None where the store can't be looked into.
    `conflict` is the status of an upload that would replace an object and must not.
    """

    store: Store
    read: Callable[[str], bytes | None]
    list_keys: Callable[[str], list[str]]
    http: urllib3.PoolManager
    inspect: Callable[[Sequence[Upload]], Inspection] | None = None
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
    store: Store,
    upload: Upload,
    method: UploadMethod,
    *,
    now: datetime | None = None,
    overwrite: bool = True,
) -> SignedUpload:
    """Sign one upload for ten minutes, as of `now`."""
    terms = UploadTerms(method, LIFETIME, overwrite)
    (signed,) = store.sign_uploads([upload], terms, now or datetime.now(UTC))
    return signed


def send(http: urllib3.PoolManager, request: PostForm | PutRequest, content: bytes, *, filename: bool = True) -> int:
    """Carry out a signed request as a client without credentials would; return the status."""
    if isinstance(request, PutRequest):
        headers = {**request.headers, "Content-Length": str(len(content))}
        return http.request("PUT", request.url, body=content, headers=headers).status
    media_type = request.fields.get("Content-Type", "application/octet-stream")
    part = ("upload.bin", content, media_type) if filename else content
    return http.request("POST", request.url, fields=[*request.fields.items(), ("file", part)]).status


def with_key(request: PostForm | PutRequest, old: str, new: str) -> PostForm | PutRequest:
    """Aim a signed request at another key."""
    if isinstance(request, PostForm):
        return evolve(request, fields={**request.fields, "key": new})
    return evolve(request, url=request.url.replace(quote(old), quote(new), 1))


def with_header(request: PostForm | PutRequest, name: str, value: str) -> PostForm | PutRequest:
    """Change one form field, or one header."""
    if isinstance(request, PostForm):
        return evolve(request, fields={**request.fields, name: value})
    return evolve(request, headers={**request.headers, name: value})


def without_header(request: PostForm | PutRequest, name: str) -> PostForm | PutRequest:
    """Leave out one form field, or one header."""
    if isinstance(request, PostForm):
        return evolve(request, fields={field: value for field, value in request.fields.items() if field != name})
    return evolve(request, headers={header: value for header, value in request.headers.items() if header != name})


def cheats(request: PostForm | PutRequest, name: str, value: str) -> list[PostForm | PutRequest]:
    """Send a request as it was signed, without one header or form field, and with another value of it."""
    sent = request.fields if isinstance(request, PostForm) else request.headers
    return [request, *([without_header(request, name), with_header(request, name, value)] if name in sent else [])]


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

    @pytest.fixture(params=list(UploadMethod))
    def method(self, request: pytest.FixtureRequest, harness: Harness) -> UploadMethod:
        """Give each way into the store in turn."""
        method: UploadMethod = request.param
        if method not in harness.store.capabilities.methods:
            pytest.skip(f"this store takes no {method}")
        return method

    def test_a_signed_request_puts_exactly_the_declared_file_in(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        signed = sign(harness.store, upload, method)
        assert send(harness.http, signed.request, CONTENT) in (200, 201, 204)
        assert harness.read(upload.key) == CONTENT

    def test_an_empty_file_gets_in(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload(content=b"")
        assert send(harness.http, sign(harness.store, upload, method).request, b"") in (200, 201, 204)
        assert harness.read(upload.key) == b""

    @pytest.mark.parametrize("path", AWKWARD_PATHS)
    def test_awkward_keys_go_in_and_come_out(self, harness: Harness, method: UploadMethod, path: str) -> None:
        upload = make_upload(path)
        signed = sign(harness.store, upload, method)
        assert send(harness.http, signed.request, CONTENT) in (200, 201, 204)
        assert harness.list_keys(upload.key) == [upload.key]
        download = harness.store.sign_download(upload.key, LIFETIME, datetime.now(UTC))
        assert harness.http.request("GET", download.url).data == CONTENT
        assert harness.store.key_of_url(signed.object_url) == upload.key

    def test_a_file_part_without_a_file_name_is_served(self, harness: Harness) -> None:
        if UploadMethod.POST not in harness.store.capabilities.methods:
            pytest.skip("this store takes no forms")
        upload = make_upload()
        form = sign(harness.store, upload, UploadMethod.POST).request
        assert send(harness.http, form, CONTENT, filename=False) in (200, 201, 204)
        assert harness.read(upload.key) == CONTENT

    def test_the_answer_comes_in_order_and_says_where_objects_will_be(
        self, harness: Harness, method: UploadMethod
    ) -> None:
        uploads = [make_upload(f"part-{number}.csv") for number in range(3)]
        now = datetime.now(UTC)
        signed = list(harness.store.sign_uploads(uploads, UploadTerms(method, LIFETIME), now))
        assert [one.upload for one in signed] == uploads
        prefixes = tuple(harness.store.url_prefixes("contract"))
        assert all(not prefix.endswith("/") for prefix in prefixes)
        for one in signed:
            assert one.method is method
            assert one.object_url.startswith(prefixes[0])
            assert not one.request.url.endswith("/")
            assert now < one.expires_at <= now + LIFETIME

    # Each tampering: refused, and nothing is stored, where the store says that it enforces it.

    def test_another_key_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload("data/file.csv")
        signed = sign(harness.store, upload, method)
        for other in (f"{upload.key}x", upload.key[:-1], upload.key.replace("data/", "dat/a")):
            tampered = with_key(signed.request, upload.key, other)
            self._assert_enforced(harness, Guarantee.KEY, other, [tampered], CONTENT)

    @pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!", b""], ids=["shorter", "longer", "empty"])
    def test_another_length_is_refused(self, harness: Harness, method: UploadMethod, content: bytes) -> None:
        upload = make_upload()
        # Without a digest, by which a store could notice as well.
        upload = evolve(upload, file=evolve(upload.file, md5=None, sha256=None))
        request = sign(harness.store, upload, method).request
        self._assert_enforced(harness, Guarantee.LENGTH, upload.key, [request], content)

    def test_another_type_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        _, *tampered = cheats(sign(harness.store, upload, method).request, "Content-Type", "text/html")
        self._assert_enforced(harness, Guarantee.TYPE, upload.key, tampered, CONTENT)

    def test_a_request_that_comes_too_late_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        long_ago = datetime.now(UTC) - LIFETIME - timedelta(seconds=2)
        request = sign(harness.store, upload, method, now=long_ago).request
        self._assert_enforced(harness, Guarantee.EXPIRY, upload.key, [request], CONTENT)

    @pytest.mark.parametrize("digest", [Guarantee.MD5, Guarantee.SHA256])
    def test_other_bytes_are_refused_by_their_digest(
        self, harness: Harness, method: UploadMethod, digest: Guarantee
    ) -> None:
        upload, others = make_upload(), declare("data/file.csv", OTHER_CONTENT)
        if digest is Guarantee.MD5:
            file, name, own = evolve(upload.file, sha256=None), "Content-MD5", str(others.md5)
        else:
            file, name, own = evolve(upload.file, md5=None), "x-amz-checksum-sha256", str(others.sha256)
        # As signed; without the digest; and with that of the bytes that are sent.
        tampered = cheats(sign(harness.store, evolve(upload, file=file), method).request, name, own)
        self._assert_enforced(harness, digest, upload.key, tampered, OTHER_CONTENT)

    def test_private_files_cannot_be_sent_as_public(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload(access=Access.PRIVATE)
        name = "acl" if method is UploadMethod.POST else "x-amz-acl"
        _, *tampered = cheats(sign(harness.store, upload, method).request, name, "public-read")
        if Guarantee.ACCESS in harness.store.capabilities.methods[method]:
            assert tampered
            self._assert_enforced(harness, Guarantee.ACCESS, upload.key, tampered, CONTENT)

    def test_an_object_that_exists_is_kept_where_overwriting_is_refused(
        self, harness: Harness, method: UploadMethod
    ) -> None:
        upload = make_upload()
        again = evolve(upload, file=declare("data/file.csv", OTHER_CONTENT))
        signed, signed_again = (sign(harness.store, one, method, overwrite=False) for one in (upload, again))
        assert send(harness.http, signed.request, CONTENT) in (200, 201, 204)
        status = send(harness.http, signed_again.request, OTHER_CONTENT)
        if Guarantee.NO_OVERWRITE in harness.store.capabilities.methods[method]:
            assert status == harness.conflict
            assert harness.read(upload.key) == CONTENT
            status = send(harness.http, without_header(signed_again.request, "If-None-Match"), OTHER_CONTENT)
            assert 400 <= status < 500
            assert harness.read(upload.key) == CONTENT
        else:
            assert status < 300, f"no-overwrite is not claimed for {method}, yet the store refused with {status}"
        self._saw(method, Guarantee.NO_OVERWRITE, enforced=status >= 300)

    def test_the_same_request_may_be_repeated(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        signed = sign(harness.store, upload, method)
        for _ in range(2):
            assert send(harness.http, signed.request, CONTENT) in (200, 201, 204)
        assert harness.read(upload.key) == CONTENT

    def test_a_signed_put_is_good_for_nothing_else(self, harness: Harness) -> None:
        if UploadMethod.PUT not in harness.store.capabilities.methods:
            pytest.skip("this store takes no PUT")
        upload = make_upload()
        request = sign(harness.store, upload, UploadMethod.PUT).request
        assert send(harness.http, request, CONTENT) in (200, 201, 204)
        for verb in ("GET", "DELETE"):
            assert 400 <= harness.http.request(verb, request.url).status < 500
        assert harness.read(upload.key) == CONTENT

    def test_a_broken_signature_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        request = sign(harness.store, upload, method).request
        if isinstance(request, PostForm):
            tampered: PostForm | PutRequest = with_header(request, "x-amz-signature", "0" * 64)
        else:
            url, _, _signature = request.url.rpartition("=")
            tampered = evolve(request, url=f"{url}={'0' * 64}")
        assert send(harness.http, tampered, CONTENT) in (400, 401, 403)
        assert harness.read(upload.key) is None

    # Downloads

    def test_a_signed_download_gives_the_bytes_and_nothing_else(self, harness: Harness) -> None:
        upload, other = self._stored(harness, "a.csv"), self._stored(harness, "b.csv")
        url = harness.store.sign_download(upload.key, LIFETIME, datetime.now(UTC)).url
        assert harness.http.request("GET", url).data == CONTENT
        elsewhere = url.replace(quote(upload.key), quote(other.key))
        assert harness.http.request("GET", elsewhere).status in (400, 401, 403)
        assert harness.http.request("DELETE", url).status in (400, 401, 403, 405)
        assert harness.read(upload.key) == CONTENT

    def test_a_download_that_comes_too_late_is_refused(self, harness: Harness) -> None:
        upload = self._stored(harness, "a.csv")
        long_ago = datetime.now(UTC) - LIFETIME - timedelta(seconds=2)
        url = harness.store.sign_download(upload.key, LIFETIME, long_ago).url
        assert harness.http.request("GET", url).status in (400, 401, 403)

    def test_a_download_is_saved_under_the_name_asked_for(self, harness: Harness) -> None:
        upload = self._stored(harness, "a.csv")
        url = harness.store.sign_download(upload.key, LIFETIME, datetime.now(UTC), "Größe 1.csv").url
        answer = harness.http.request("GET", url)
        assert answer.data == CONTENT
        assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.csv" in answer.headers["Content-Disposition"]

    def test_urls_elsewhere_name_no_key(self, harness: Harness) -> None:
        upload = make_upload()
        url = sign(harness.store, upload, next(iter(harness.store.capabilities.methods))).object_url
        assert harness.store.key_of_url(url) == upload.key
        for foreign in ("https://example.com/x", f"{url}?versionId=1", f"{url}#x", url.replace("://", "://me@"), ""):
            assert harness.store.key_of_url(foreign) is None

    # Inspection

    @pytest.fixture(params=[0, CROWD], ids=["few", "many"])
    def look(self, request: pytest.FixtureRequest, harness: Harness) -> Look:
        """Ask what is at the keys of uploads, in this order: alone, and in a crowd of missing ones in their folder."""
        inspect, crowd = harness.inspect, request.param
        if inspect is None:
            pytest.skip("this store can't be looked into")

        def look(*uploads: Upload) -> list[FoundObject | None]:
            folder = uploads[0].key.removesuffix(f"/{uploads[0].file.path}")
            others = [make_upload(f"missing-{number}.csv", folder=folder) for number in range(crowd)]
            inspection = inspect([*uploads, *others])
            assert inspection.failure is None
            assert inspection.found.keys() == {upload.key for upload in (*uploads, *others)}
            assert all(inspection.found[other.key] is None for other in others)
            return [inspection.found[upload.key] for upload in uploads]

        return look

    @pytest.mark.parametrize("content", [CONTENT, b""], ids=["some bytes", "no bytes"])
    def test_what_was_sent_is_found(self, harness: Harness, method: UploadMethod, look: Look, content: bytes) -> None:
        upload = make_upload(content=content)
        assert look(upload) == [None]
        assert send(harness.http, sign(harness.store, upload, method).request, content) in (200, 201, 204)
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
        assert send(harness.http, sign(harness.store, upload, method).request, CONTENT) in (200, 201, 204)
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

    def _put(self, harness: Harness, upload: Upload, content: bytes) -> None:
        method = next(iter(harness.store.capabilities.methods))
        assert send(harness.http, sign(harness.store, upload, method).request, content) in (200, 201, 204)

    def _assert_enforced(
        self,
        harness: Harness,
        guarantee: Guarantee,
        key: str,
        tampered: Sequence[PostForm | PutRequest],
        content: bytes,
    ) -> None:
        """Every one of the requests must be refused and leave nothing at `key`; or, if that isn't claimed, one not."""
        method = UploadMethod.POST if isinstance(tampered[0], PostForm) else UploadMethod.PUT
        if guarantee not in harness.store.capabilities.methods[method]:
            statuses = [send(harness.http, request, content) for request in tampered]
            assert min(statuses) < 300, f"{guarantee} is not claimed for {method}, yet the store refused: {statuses}"
            self._saw(method, guarantee, enforced=False)
            return
        for request in tampered:
            status = send(harness.http, request, content)
            assert 400 <= status < 500, f"{guarantee} is claimed for {method}, but the store answered {status}"
            assert harness.read(key) is None, f"{guarantee} is claimed for {method}, but an object was stored"
        self._saw(method, guarantee, enforced=True)

    def _saw(self, method: UploadMethod, guarantee: Guarantee, *, enforced: bool) -> None:
        self._record(f"{method} {guarantee}", enforced)


def _paths(uploads: Sequence[Upload]) -> list[str]:
    return [upload.file.path for upload in uploads]


def _statuses(uploads: Sequence[Upload], found: Sequence[FoundObject | None]) -> dict[str, Status]:
    return {upload.file.path: compare(upload.file, one) for upload, one in zip(uploads, found, strict=True)}
