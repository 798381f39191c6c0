"""The part of the conformance suite on single signed requests: what they let in, and that they let nothing else in."""

from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import pytest
from attrs import evolve, frozen

from adapters.stores.contract_cheats import Cheat, Request, as_signed, cheats, garblings, omissions, with_key
from adapters.stores.contract_client import (
    ACCEPTED,
    AWKWARD_PATHS,
    CONTENT,
    LIFETIME,
    OTHER_CONTENT,
    REFUSED,
    declare,
    make_upload,
    send,
    sign,
    too_early,
    utc_now,
    without_digest,
)
from adapters.stores.contract_harness import ContractPart, Harness
from domain.files import MediaType
from domain.uploads import Access, Guarantee, Upload, UploadMethod, UploadTerms


@frozen
class Tampering:
    """Requests by which a client tries to get `content` to `key`."""

    method: UploadMethod
    key: str
    tried: Sequence[Cheat]
    content: bytes


class UploadContract(ContractPart):
    """A request does what it was signed for, and each tampering with it fails or is seen to succeed, as is claimed."""

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
        download = store.downloads.sign_download(upload.key, LIFETIME, utc_now())
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
        uploads, signer, now = (
            [make_upload(f"part-{number}.csv") for number in range(3)],
            harness.store.signer,
            utc_now(),
        )
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

        signed = iter(harness.store.signer.sign_uploads(uploads(), UploadTerms(method, LIFETIME), utc_now()))
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
        upload = without_digest(Guarantee.MD5, without_digest(Guarantee.SHA256, make_upload()))
        given, wanted = _both(harness, method, upload, evolve(upload, file=evolve(upload.file, length=len(content))))
        tried = [as_signed(given), *omissions(given, wanted)]
        self._assert_enforced(harness, Guarantee.LENGTH, Tampering(method, upload.key, tried, content))

    def test_another_type_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload = make_upload()
        as_page = evolve(upload, file=evolve(upload.file, media_type=MediaType("text/html")))
        tried = cheats(*_both(harness, method, upload, as_page))
        self._assert_enforced(harness, Guarantee.TYPE, Tampering(method, upload.key, tried, CONTENT))

    def test_a_request_that_comes_too_late_is_refused(self, harness: Harness, method: UploadMethod) -> None:
        upload, now = make_upload(), utc_now()
        late, in_time = (sign(harness.store.signer, upload, method, now=when).request for when in (too_early(now), now))
        tried = [as_signed(late), *cheats(late, in_time)]
        self._assert_enforced(harness, Guarantee.EXPIRY, Tampering(method, upload.key, tried, CONTENT))

    @pytest.mark.parametrize("digest", [Guarantee.MD5, Guarantee.SHA256])
    def test_other_bytes_are_refused_by_their_digest(
        self, harness: Harness, method: UploadMethod, digest: Guarantee
    ) -> None:
        undeclared = Guarantee.SHA256 if digest is Guarantee.MD5 else Guarantee.MD5
        upload, others = (
            without_digest(undeclared, make_upload(content=content)) for content in (CONTENT, OTHER_CONTENT)
        )
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
        upload, now = make_upload(), utc_now()
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

    # Helpers

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

    def _try(self, harness: Harness, cheat: Cheat, content: bytes) -> int:
        return send(harness.http, cheat.request, content, chunked=cheat.chunked)


def _claims(harness: Harness, method: UploadMethod) -> frozenset[Guarantee]:
    return harness.store.signer.capabilities.methods[method]


def _both(harness: Harness, method: UploadMethod, given: Upload, wanted: Upload) -> tuple[Request, Request]:
    """Sign two uploads at the same moment."""
    first, second = harness.store.signer.sign_uploads([given, wanted], UploadTerms(method, LIFETIME), utc_now())
    return first.request, second.request
