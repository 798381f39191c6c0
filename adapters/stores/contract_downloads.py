"""The part of the conformance suite on reading: what a signed download gives, to whom, and for how long."""

from urllib.parse import quote

import pytest
from attrs import evolve

from adapters.stores.contract_client import CONTENT, LIFETIME, REFUSED, make_upload, sign, too_early, utc_now
from adapters.stores.contract_harness import ContractPart, Harness, any_method
from domain.files import MediaType
from domain.uploads import Access, UploadMethod


class DownloadContract(ContractPart):
    """Whoever has a signed download gets that object, for its lifetime; nobody else gets a private one."""

    def test_a_signed_download_gives_the_bytes_and_nothing_else(self, harness: Harness) -> None:
        upload, other, now = self._stored(harness, "a.csv"), self._stored(harness, "b.csv"), utc_now()
        download = harness.store.downloads.sign_download(upload.key, LIFETIME, now)
        assert now < download.expires_at <= now + LIFETIME, "expires_at is not within the lifetime"
        assert harness.http.request("GET", download.url).data == CONTENT
        elsewhere = download.url.replace(quote(upload.key), quote(other.key))
        assert harness.http.request("GET", elsewhere).status in REFUSED
        assert harness.http.request("DELETE", download.url).status in (*REFUSED, 405)
        assert harness.read(upload.key) == CONTENT

    def test_a_download_that_comes_too_late_is_refused(self, harness: Harness) -> None:
        upload = self._stored(harness, "a.csv")
        url = harness.store.downloads.sign_download(upload.key, LIFETIME, too_early(utc_now())).url
        assert harness.http.request("GET", url).status in REFUSED

    @pytest.mark.parametrize("media_type", ["text/csv", "application/geo+json"])
    def test_a_download_has_the_declared_type(self, harness: Harness, method: UploadMethod, media_type: str) -> None:
        upload = make_upload()
        upload = evolve(upload, file=evolve(upload.file, media_type=MediaType(media_type)))
        self._put(harness, upload, CONTENT, method)
        url = harness.store.downloads.sign_download(upload.key, LIFETIME, utc_now()).url
        assert harness.http.request("GET", url).headers["Content-Type"] == media_type, "the type was lost"

    def test_strangers_cannot_read_a_private_file(self, harness: Harness, method: UploadMethod) -> None:
        signed = self._put(harness, make_upload(access=Access.PRIVATE), CONTENT, method)
        assert 400 <= harness.http.request("GET", signed.object_url).status < 500

    def test_a_download_is_saved_under_the_name_asked_for(self, harness: Harness) -> None:
        upload = self._stored(harness, "a.csv")
        url = harness.store.downloads.sign_download(upload.key, LIFETIME, utc_now(), "Größe 1.csv").url
        answer = harness.http.request("GET", url)
        assert answer.data == CONTENT
        assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.csv" in answer.headers["Content-Disposition"]

    def test_urls_elsewhere_name_no_key(self, harness: Harness) -> None:
        upload, key_of_url = make_upload(), harness.store.downloads.key_of_url
        url = sign(harness.store.signer, upload, any_method(harness)).object_url
        assert key_of_url(url) == upload.key
        for foreign in ("https://example.com/x", f"{url}?versionId=1", f"{url}#x", url.replace("://", "://me@"), ""):
            assert key_of_url(foreign) is None, f"{foreign!r} was taken for the address of an object"
