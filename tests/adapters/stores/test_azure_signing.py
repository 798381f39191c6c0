"""What is signed for Azure: headers by file, permissions by terms, lifetimes by keys, nothing private in public."""

from collections.abc import Iterator
from datetime import timedelta, timezone
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from attrs import evolve
from azure.storage.blob import generate_blob_sas
from hypothesis import given

from adapters.stores.addresses import BucketAddress
from adapters.stores.azure_sas import SERVICE_VERSION, SigningKey
from adapters.stores.azure_signing import MAX_BLOB_BYTES, AzureSigning
from adapters.stores.contract import CONTENT, LIFETIME, declare, make_upload, sign
from domain.errors import ErrorCode, InvalidInput, Unavailable
from domain.keys import ObjectKey
from domain.multipart import PartLimits
from domain.uploads import Access, Guarantee, PutRequest, Upload, UploadMethod, UploadTerms
from tests import strategies as bits
from tests.adapters.stores.test_azure_sas import ACCOUNT_KEY, DELEGATED, NOW, SECRET, options, terms_of

PUT = UploadMethod.PUT
CLOUD = BucketAddress("https://datasets.blob.core.windows.net", "uploads")
EMULATOR = BucketAddress("http://127.0.0.1:10000", "uploads", base_path="/datasets")


def make_signing(
    address: BucketAddress = CLOUD, *, key: SigningKey = ACCOUNT_KEY, public: bool = False
) -> AzureSigning:
    return AzureSigning(address, lambda: key, lambda: public)


def put(signing: AzureSigning, upload: Upload, *, overwrite: bool = True) -> PutRequest:
    request = sign(signing, upload, PUT, now=NOW, overwrite=overwrite).request
    assert isinstance(request, PutRequest)
    return request


def query_of(url: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query, strict_parsing=True).items()}


class TestAgainstTheSdk:
    @pytest.mark.parametrize("address", [CLOUD, EMULATOR])
    @given(path=bits.paths)
    def test_urls_are_those_of_the_sdk(self, address: BucketAddress, path: str) -> None:
        upload = Upload(ObjectKey(path), declare("a.csv"), Access.PRIVATE)
        signed = sign(make_signing(address), upload, PUT, now=NOW)
        terms = terms_of("cw", NOW + LIFETIME, address is CLOUD, None)
        with mock.patch("azure.storage.blob._shared_access_signature.X_MS_VERSION", SERVICE_VERSION):
            theirs = generate_blob_sas("datasets", "uploads", path, **options(ACCOUNT_KEY, terms))
        assert signed.request.url == f"{signed.object_url}?{theirs}"
        assert unquote(signed.object_url) == f"{address.url}/{path}"
        assert make_signing(address).key_of_url(signed.object_url) == path

    @given(path=bits.paths, filename=bits.file_names)
    def test_downloads_are_those_of_the_sdk(self, path: str, filename: str) -> None:
        ours = make_signing().sign_download(ObjectKey(path), LIFETIME, NOW, filename)
        terms = terms_of("r", NOW + LIFETIME, True, filename)
        with mock.patch("azure.storage.blob._shared_access_signature.X_MS_VERSION", SERVICE_VERSION):
            theirs = generate_blob_sas("datasets", "uploads", path, **options(ACCOUNT_KEY, terms))
        assert ours.url.partition("?")[2] == theirs
        assert ours.expires_at == NOW + LIFETIME


class TestUploads:
    def test_say_what_the_client_must_send(self) -> None:
        upload = make_upload()
        assert put(make_signing(), upload).headers == {
            "Content-Length": str(len(CONTENT)),
            "Content-Type": "text/csv",
            "Content-MD5": upload.file.md5,
            "x-ms-blob-type": "BlockBlob",
        }

    def test_of_files_without_an_md5_have_no_digest(self) -> None:
        upload = make_upload()
        assert "Content-MD5" not in put(make_signing(), evolve(upload, file=evolve(upload.file, md5=None))).headers

    def test_may_replace_what_is_there_only_if_they_may(self) -> None:
        replacing, creating = (put(make_signing(), make_upload(), overwrite=overwrite) for overwrite in (True, False))
        assert query_of(replacing.url)["sp"] == "cw"
        assert "If-None-Match" not in replacing.headers
        assert query_of(creating.url)["sp"] == "c"
        assert creating.headers["If-None-Match"] == "*"

    @pytest.mark.parametrize(("address", "protocol"), [(CLOUD, "https"), (EMULATOR, None)])
    def test_go_over_tls_where_the_store_does(self, address: BucketAddress, protocol: str | None) -> None:
        assert query_of(put(make_signing(address), make_upload()).url).get("spr") == protocol

    def test_are_signed_when_they_are_asked_for(self) -> None:
        def never_ending() -> Iterator[Upload]:
            while True:
                yield make_upload()

        signed = iter(make_signing().sign_uploads(never_ending(), UploadTerms(PUT, LIFETIME), NOW))
        assert next(signed).upload.key != next(signed).upload.key

    def test_live_no_longer_than_the_key(self) -> None:
        signing, now = make_signing(key=DELEGATED), DELEGATED.expires_at - timedelta(minutes=3)
        signed = sign(signing, make_upload(), PUT, now=now)
        assert signed.expires_at == DELEGATED.expires_at
        assert query_of(signed.request.url)["se"] == DELEGATED.expires
        assert signing.sign_download(make_upload().key, LIFETIME, now).expires_at == DELEGATED.expires_at

    def test_are_not_signed_without_a_valid_key(self) -> None:
        def none_yet() -> SigningKey:
            raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "none yet")

        for signing in (make_signing(key=DELEGATED), evolve(make_signing(), key=none_yet)):
            later = DELEGATED.expires_at
            with pytest.raises(Unavailable):
                signing.sign_uploads([], UploadTerms(PUT, LIFETIME), later)
            with pytest.raises(Unavailable):
                signing.sign_download(make_upload().key, LIFETIME, later)

    def test_claim_only_what_a_signature_binds(self) -> None:
        capabilities = make_signing().capabilities
        assert capabilities.methods == {
            PUT: {Guarantee.KEY, Guarantee.EXPIRY, Guarantee.NO_OVERWRITE},
            # By the URL of a part the whole blob can be put, and replaced.
            UploadMethod.MULTIPART: {Guarantee.KEY, Guarantee.EXPIRY},
        }
        assert capabilities.max_request_bytes == MAX_BLOB_BYTES == 5_000 * 1024**2
        assert capabilities.parts == PartLimits(1, 4_000 * 1024**2, 50_000, 50_000 * 4_000 * 1024**2)

    def test_show_no_secret(self) -> None:
        signed = sign(make_signing(key=DELEGATED), make_upload(), PUT, now=NOW)
        assert "sig=" not in repr(signed)
        assert repr(SECRET) not in repr(make_signing())


class TestPrivacy:
    def test_private_files_never_go_where_everybody_may_read(self) -> None:
        uploads = [*(make_upload(access=Access.PUBLIC) for _ in range(3)), make_upload(access=Access.PRIVATE)]
        with pytest.raises(InvalidInput) as refused:  # before the first is asked for
            make_signing(public=True).sign_uploads(iter(uploads), UploadTerms(PUT, LIFETIME), NOW)
        assert refused.value.code is ErrorCode.UNSUPPORTED_BY_STORE

    @pytest.mark.parametrize(
        ("access", "public"), [(Access.PUBLIC, True), (Access.PUBLIC, False), (Access.PRIVATE, False)]
    )
    def test_all_others_are_signed_alike(self, access: Access, public: bool) -> None:
        uploads = [make_upload(access=access) for _ in range(3)]
        terms = UploadTerms(PUT, LIFETIME)
        signed, expected = (
            [one.request for one in make_signing(public=known).sign_uploads(iter(uploads), terms, NOW)]
            for known in (public, False)
        )
        assert signed == expected

    def test_what_is_known_may_change(self) -> None:
        level = [False]
        signing = evolve(make_signing(), is_public=lambda: level[0])
        sign(signing, make_upload(), PUT)
        level[0] = True
        with pytest.raises(InvalidInput):
            sign(signing, make_upload(), PUT)


class TestAddresses:
    @pytest.mark.parametrize("address", [CLOUD, EMULATOR])
    def test_the_only_prefix_is_that_of_the_objects(self, address: BucketAddress) -> None:
        signing = make_signing(address)
        assert signing.url_prefixes("") == [address.url]
        assert signing.url_prefixes("a b/ü") == [f"{address.url}/a%20b/%C3%BC"]

    def test_urls_of_every_address_are_recognised(self) -> None:
        signing = evolve(make_signing(), other_addresses=[EMULATOR])
        assert signing.key_of_url("https://datasets.blob.core.windows.net/uploads/a%20b.csv") == "a b.csv"
        assert signing.key_of_url("http://127.0.0.1:10000/datasets/uploads/a%20b.csv") == "a b.csv"

    @pytest.mark.parametrize(
        "url",
        [
            "https://datasets.blob.core.windows.net/other/a.csv",
            "https://other.blob.core.windows.net/uploads/a.csv",
            "http://datasets.blob.core.windows.net/uploads/a.csv",
            "https://datasets.blob.core.windows.net/uploads",
            "https://datasets.blob.core.windows.net/uploads/",
            "https://datasets.blob.core.windows.net/uploads/../a.csv",
            "https://uploads.datasets.blob.core.windows.net/a.csv",
            "http://127.0.0.1:10000/uploads/a.csv",
            "http://127.0.0.1:10000/other/uploads/a.csv",
            "https://datasets.blob.core.windows.net/uploads/a.csv?sig=x",
        ],
    )
    def test_others_are_not(self, url: str) -> None:
        assert evolve(make_signing(), other_addresses=[EMULATOR]).key_of_url(url) is None


def test_a_moment_in_another_time_zone_is_the_same_moment() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    upload = make_upload()
    assert sign(make_signing(), upload, PUT, now=elsewhere) == sign(make_signing(), upload, PUT, now=NOW)
