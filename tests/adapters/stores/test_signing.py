"""What is signed for which store: fields and headers by flavour, ACLs by access, lifetimes by credentials, URLs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from email.message import Message
from email.utils import collapse_rfc2231_value

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores.addresses import Addressing, BucketAddress
from adapters.stores.content_disposition import attachment
from adapters.stores.contract import LIFETIME, declare, make_upload, sign
from adapters.stores.contract_client import md5_of
from adapters.stores.flavours import EMBEDDED, FLAVOURS, Flavour
from adapters.stores.signing import PUBLIC_ACL, S3Signing
from adapters.stores.sigv4 import Credentials, Signer
from domain.errors import ErrorCode, Unavailable
from domain.files import DeclaredParts, FileName
from domain.keys import ObjectKey
from domain.multipart import PartPlan, UploadId
from domain.uploads import (
    SINGLE_REQUEST,
    Access,
    Guarantee,
    MultipartUpload,
    PostForm,
    PutRequest,
    Upload,
    UploadMethod,
    UploadTerms,
)
from tests import strategies as bits
from tests.adapters.stores.aws import BUCKET, EXAMPLE, HOST, NOW, ORIGIN, boto

POST, PUT = UploadMethod.POST, UploadMethod.PUT
MD5, SHA256 = "Content-MD5", "x-amz-checksum-sha256"
ACLS = [None, "public-read", "private", "bucket-owner-full-control", "authenticated-read"]


def make_signing(
    flavour: Flavour = FLAVOURS["aws"],
    *,
    acl: str | None = PUBLIC_ACL,
    addressing: Addressing = Addressing.PATH,
    credentials: Credentials = EXAMPLE,
    others: tuple[BucketAddress, ...] = (),
) -> S3Signing:
    address = BucketAddress(ORIGIN, BUCKET, addressing)
    return S3Signing(address, "us-east-1", flavour, lambda: credentials, lambda: acl, others)


def form(signing: S3Signing, upload: Upload, now: datetime = NOW) -> PostForm:
    request = sign(signing, upload, POST, now=now).request
    assert isinstance(request, PostForm)
    return request


def put(signing: S3Signing, upload: Upload, now: datetime = NOW) -> PutRequest:
    request = sign(signing, upload, PUT, now=now).request
    assert isinstance(request, PutRequest)
    return request


class TestAgainstBoto3:
    @pytest.mark.parametrize("addressing", list(Addressing))
    @given(path=bits.short_paths, access=st.sampled_from(Access))
    def test_forms_are_those_of_boto3(self, addressing: Addressing, path: str, access: Access) -> None:
        signing = make_signing(addressing=addressing)
        upload = Upload(ObjectKey(path), declare(path), access)
        signed = sign(signing, upload, POST, now=NOW)
        assert isinstance(signed.request, PostForm)
        file = upload.file
        fields = {"acl": "public-read" if access is Access.PUBLIC else "private", "Content-Type": file.media_type}
        fields |= {MD5: str(file.md5), SHA256: str(file.sha256)}
        conditions = [
            *({name: value} for name, value in fields.items()),
            ["content-length-range", file.length, file.length],
        ]
        with boto(Signer(EXAMPLE, "us-east-1", NOW), addressing.value) as client:
            theirs = client.generate_presigned_post(BUCKET, path, fields, conditions, int(LIFETIME.total_seconds()))
        assert list(signed.request.fields.items()) == list(theirs["fields"].items())
        assert signed.request.url == theirs["url"].rstrip("/")

    @pytest.mark.parametrize("addressing", list(Addressing))
    @given(path=bits.short_paths)
    def test_puts_are_those_of_boto3(self, addressing: Addressing, path: str) -> None:
        upload = Upload(ObjectKey(path), declare(path), Access.PUBLIC)
        file, request = upload.file, put(make_signing(addressing=addressing), upload)
        params = {
            "Bucket": BUCKET,
            "Key": path,
            "ContentLength": file.length,
            "ContentType": file.media_type,
            "ContentMD5": file.md5,
            "ChecksumSHA256": file.sha256,
            "ACL": "public-read",
        }
        with boto(Signer(EXAMPLE, "us-east-1", NOW), addressing.value) as client:
            assert request.url == client.generate_presigned_url("put_object", params, int(LIFETIME.total_seconds()))

    @pytest.mark.parametrize("addressing", list(Addressing))
    @given(path=bits.short_paths, number=st.integers(1, 3), with_md5=st.booleans())
    def test_parts_are_those_of_boto3(self, addressing: Addressing, path: str, number: int, with_md5: bool) -> None:
        file = declare(path, b"ab" * 20 + b"c")
        md5 = tuple(md5_of(part) for part in (b"ab" * 10, b"ab" * 10, b"c")) if with_md5 else None
        upload = Upload(ObjectKey(path), evolve(file, parts=DeclaredParts(20, md5)), Access.PUBLIC)
        in_parts = MultipartUpload(upload, UploadId("2~an/id+of=theirs"), PartPlan(file.length, 20))
        ours = make_signing(addressing=addressing).sign_parts(in_parts, [number], LIFETIME, NOW)
        (part,) = ours.parts
        params = {
            "Bucket": BUCKET,
            "Key": path,
            "UploadId": in_parts.upload_id,
            "PartNumber": number,
            "ContentLength": part.length,
            **({"ContentMD5": md5[number - 1]} if md5 else {}),
        }
        with boto(Signer(EXAMPLE, "us-east-1", NOW), addressing.value) as client:
            assert part.url == client.generate_presigned_url("upload_part", params, int(LIFETIME.total_seconds()))
        assert (part.number, part.length, ours.expires_at) == (number, (20, 20, 1)[number - 1], NOW + LIFETIME)
        assert part.headers.keys() == {"Content-Length", *([MD5] if md5 else [])}

    @pytest.mark.parametrize("addressing", list(Addressing))
    @given(path=bits.short_paths, name=st.none() | bits.short_paths)
    def test_downloads_are_those_of_boto3(self, addressing: Addressing, path: str, name: str | None) -> None:
        ours = make_signing(addressing=addressing).sign_download(ObjectKey(path), LIFETIME, NOW, name)
        params = {"Bucket": BUCKET, "Key": path}
        if name is not None:
            params["ResponseContentDisposition"] = attachment(name)
        with boto(Signer(EXAMPLE, "us-east-1", NOW), addressing.value) as client:
            assert ours.url == client.generate_presigned_url("get_object", params, int(LIFETIME.total_seconds()))
        assert ours.expires_at == NOW + LIFETIME


class TestFlavours:
    """What is known of the stores: from their documentation, and from what they were seen to do."""

    @pytest.mark.parametrize(
        ("name", "form_fields", "put_headers"),
        [
            ("aws", {MD5: True, SHA256: True}, {MD5: True, SHA256: True}),
            ("ministack", {MD5: True, SHA256: True}, {MD5: True, SHA256: True}),
            ("seaweedfs", {MD5: False, SHA256: True}, {MD5: True, SHA256: True}),
            ("ceph", {MD5: True}, {MD5: True}),
            ("r2", None, {MD5: True}),
            ("generic", {MD5: False, SHA256: False}, {SHA256: False}),
        ],
    )
    def test_a_digest_goes_only_where_the_store_knows_it(
        self, name: str, form_fields: dict[str, bool] | None, put_headers: dict[str, bool]
    ) -> None:
        signing, upload = make_signing(FLAVOURS[name], acl=None), make_upload()
        headers = put(signing, upload).headers
        assert {field: field in headers for field in put_headers} == put_headers
        assert (POST in signing.capabilities.methods) == (form_fields is not None)
        if form_fields is not None:
            fields = form(signing, upload).fields
            assert {field: field in fields for field in form_fields} == form_fields

    @pytest.mark.parametrize("flavour", [*FLAVOURS.values(), EMBEDDED], ids=lambda flavour: flavour.name)
    def test_a_digest_that_is_said_to_be_enforced_is_sent(self, flavour: Flavour) -> None:
        signing, upload = make_signing(flavour), make_upload()
        methods = signing.capabilities.methods
        for method in (way for way in SINGLE_REQUEST if way in methods):
            enforced, request = methods[method], sign(signing, upload, method, now=NOW).request
            sent = request.fields if isinstance(request, PostForm) else request.headers
            assert Guarantee.MD5 not in enforced or sent[MD5] == upload.file.md5
            assert Guarantee.SHA256 not in enforced or sent[SHA256] == upload.file.sha256
            assert sent["Content-Type"] == upload.file.media_type

    @pytest.mark.parametrize("flavour", [*FLAVOURS.values(), EMBEDDED], ids=lambda flavour: flavour.name)
    def test_only_a_put_can_keep_what_is_there(self, flavour: Flavour) -> None:
        methods = make_signing(flavour).capabilities.methods
        assert PUT in methods
        assert Guarantee.NO_OVERWRITE not in methods.get(POST, ())

    def test_files_without_a_digest_are_signed_with_none(self) -> None:
        upload = make_upload()
        bare = evolve(upload, file=evolve(upload.file, md5=None, sha256=None))
        assert not form(make_signing(), bare).fields.keys() & {MD5, SHA256}
        assert not put(make_signing(), bare).headers.keys() & {MD5, SHA256}

    def test_a_mixed_batch_gives_every_file_its_own(self) -> None:
        one, two, three = (make_upload(f"{number}.csv") for number in range(3))
        two = evolve(two, access=Access.PUBLIC, file=evolve(two.file, md5=None))
        three = evolve(three, file=evolve(three.file, sha256=None))
        signed = list(make_signing().sign_uploads([one, two, three, one], UploadTerms(POST, LIFETIME), NOW))
        alone = [sign(make_signing(), upload, POST, now=NOW) for upload in (one, two, three, one)]
        assert signed == alone


class TestAccess:
    @given(acl=st.sampled_from(ACLS), method=st.sampled_from(SINGLE_REQUEST))
    def test_private_files_are_never_signed_for_others(self, acl: str | None, method: UploadMethod) -> None:
        request = sign(make_signing(acl=acl), make_upload(access=Access.PRIVATE), method, now=NOW).request
        sent = request.fields.get("acl") if isinstance(request, PostForm) else request.headers.get("x-amz-acl")
        assert sent == (None if acl is None else "private")

    @given(acl=st.sampled_from(ACLS), method=st.sampled_from(SINGLE_REQUEST))
    def test_public_files_get_the_acl_of_the_bucket(self, acl: str | None, method: UploadMethod) -> None:
        request = sign(make_signing(acl=acl), make_upload(access=Access.PUBLIC), method, now=NOW).request
        sent = request.fields.get("acl") if isinstance(request, PostForm) else request.headers.get("x-amz-acl")
        assert sent == acl

    def test_access_is_enforced_only_where_an_acl_is_signed(self) -> None:
        for methods, enforced in [
            (make_signing(acl=PUBLIC_ACL).capabilities.methods, True),
            (make_signing(acl=None).capabilities.methods, False),
        ]:
            assert all((Guarantee.ACCESS in names) is enforced for names in methods.values())


class TestLifetimes:
    @pytest.mark.parametrize("method", list(SINGLE_REQUEST))
    @given(seconds=st.integers(1, 1_200))
    def test_nothing_outlives_the_credentials(self, method: UploadMethod, seconds: int) -> None:
        end = NOW + timedelta(seconds=seconds)
        signing = make_signing(credentials=Credentials("AKID", "secret", "token", end))
        expected = min(end, NOW + LIFETIME)
        assert sign(signing, make_upload(), method, now=NOW).expires_at == expected
        assert signing.sign_download(ObjectKey("a"), LIFETIME, NOW).expires_at == expected

    @pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=-1), timedelta(hours=1)])
    def test_credentials_that_are_over_sign_nothing(self, late: timedelta) -> None:
        signing = make_signing(credentials=Credentials("AKID", "secret", "token", NOW - late))
        attempts: list[Callable[[], object]] = [
            lambda: sign(signing, make_upload(), POST, now=NOW),
            lambda: sign(signing, make_upload(), PUT, now=NOW),
            lambda: signing.sign_download(ObjectKey("a"), LIFETIME, NOW),
        ]
        for attempt in attempts:
            with pytest.raises(Unavailable) as refused:
                attempt()
            assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE

    def test_the_token_of_temporary_credentials_is_in_every_signed_request(self) -> None:
        signing = make_signing(credentials=Credentials("AKID", "secret", "a/token+"))
        assert form(signing, make_upload()).fields["x-amz-security-token"] == "a/token+"
        for url in (put(signing, make_upload()).url, signing.sign_download(ObjectKey("a"), LIFETIME, NOW).url):
            assert "X-Amz-Security-Token=a%2Ftoken%2B" in url

    def test_credentials_that_were_rotated_sign_from_then_on(self) -> None:
        current = [Credentials("OLD", "secret"), Credentials("NEW", "secret")]
        signing = evolve(make_signing(), credentials=lambda: current[0])
        assert form(signing, make_upload()).fields["x-amz-credential"].startswith("OLD/")
        current.pop(0)
        assert form(signing, make_upload()).fields["x-amz-credential"].startswith("NEW/")


class TestBatches:
    @pytest.mark.parametrize("method", SINGLE_REQUEST)
    def test_many_files_are_signed_as_each_alone(self, method: UploadMethod) -> None:
        signing = make_signing()
        paths = ["data/1.csv", "data/2.csv", "ä %/~+", "data/3.html"]
        uploads = [Upload(ObjectKey(f"alice/{path}"), declare(path), Access.PUBLIC) for path in paths]
        signed = list(signing.sign_uploads(uploads, UploadTerms(method, LIFETIME), NOW))
        assert signed == [sign(signing, upload, method, now=NOW) for upload in uploads]


class TestWhereObjectsAreFound:
    @pytest.mark.parametrize("addressing", list(Addressing))
    @given(owner=bits.short_owners, path=bits.short_paths)
    def test_every_form_of_an_url_is_recognised(self, addressing: Addressing, owner: str, path: str) -> None:
        internal = BucketAddress("http://minio:9000", BUCKET)
        signing = make_signing(addressing=addressing, others=(internal,))
        upload = Upload(ObjectKey(f"{owner}/{path}"), declare(path), Access.PUBLIC)
        signed = sign(signing, upload, POST, now=NOW)
        prefixes = signing.url_prefixes(owner)
        assert signed.object_url.startswith(f"{prefixes[0]}/")
        encoded = signed.object_url.removeprefix(prefixes[0])
        inside = [f"{form.url}{signed.object_url.removeprefix(signing.address.url)}" for form in internal.forms()]
        for url in (*(f"{prefix}{encoded}" for prefix in prefixes), *inside):
            assert signing.key_of_url(url) == upload.key

    def test_addresses_that_only_we_use_are_told_to_nobody(self) -> None:
        signing = make_signing(others=(BucketAddress("http://minio:9000", BUCKET),))
        assert not any("minio" in prefix for prefix in signing.url_prefixes("alice"))

    @pytest.mark.parametrize(
        ("addressing", "prefixes"),
        [
            (Addressing.PATH, [f"https://{HOST}/{BUCKET}", f"https://{BUCKET}.{HOST}"]),
            (Addressing.VIRTUAL, [f"https://{BUCKET}.{HOST}", f"https://{HOST}/{BUCKET}"]),
        ],
    )
    def test_prefixes_have_no_slash_at_the_end(self, addressing: Addressing, prefixes: list[str]) -> None:
        signing = make_signing(addressing=addressing)
        assert signing.url_prefixes("") == prefixes
        assert signing.url_prefixes("a b/ü") == [f"{prefix}/a%20b/%C3%BC" for prefix in prefixes]


class TestAttachment:
    @given(name=bits.any_text)
    def test_is_read_back_by_an_independent_reader(self, name: str) -> None:
        """RFC 6266 and RFC 5987, by the standard library's reader of such headers."""
        if FileName.fault(name) is not None:
            return
        value = attachment(name)
        assert value.isascii()
        assert value.isprintable()
        message = Message()
        message["Content-Disposition"] = f"attachment; {value[value.index('filename*=') :]}"
        read = message.get_param("filename", header="Content-Disposition")
        assert isinstance(read, tuple)
        assert collapse_rfc2231_value(read) == name

    @pytest.mark.parametrize(
        ("name", "plain"), [("a.csv", "a.csv"), ('a"b\\c', "a_b_c"), ("Größe.csv", "Gr__e.csv"), ("50%.csv", "50_.csv")]
    )
    def test_old_readers_get_something_plain(self, name: str, plain: str) -> None:
        assert attachment(name).startswith(f"attachment; filename=\"{plain}\"; filename*=UTF-8''")


def test_no_representation_shows_a_secret_or_a_signature() -> None:
    signing = make_signing(credentials=Credentials("AKID", "a-secret", "a-session-token"))
    signed_form, signed_put = (sign(signing, make_upload(), method, now=NOW) for method in SINGLE_REQUEST)
    download = signing.sign_download(ObjectKey("a"), LIFETIME, NOW)
    shown = "".join(map(repr, (signing, signed_form, signed_put, download))).lower()
    assert not any(secret in shown for secret in ("a-secret", "a-session-token", "signature=", "'policy'"))
