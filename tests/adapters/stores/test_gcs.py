"""What is signed for Cloud Storage, and how it is set up: against Google's SDK, and as its documentation has it."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores.addresses import BucketAddress
from adapters.stores.content_disposition import attachment
from adapters.stores.contract import LIFETIME, declare, make_upload, sign
from adapters.stores.gcs import CANNED_ACLS, PUBLIC_ACL, GcsBucket, GcsSigning, make_store
from adapters.stores.gcs_account import ServiceAccount
from application.ports import Store
from domain.keys import ObjectKey
from domain.uploads import SINGLE_REQUEST, Access, Guarantee, PostForm, PutRequest, Upload, UploadMethod, UploadTerms
from entrypoints.environment import EnvironmentReader
from tests import strategies as bits
from tests.adapters.stores.aws import NOW
from tests.adapters.stores.google import EMAIL, account, key_file, pem, sdk_form, sdk_url

POST, PUT = UploadMethod.POST, UploadMethod.PUT
BUCKET = "a-bucket"
SECONDS = int(LIFETIME.total_seconds())
BOUND = {Guarantee.KEY, Guarantee.LENGTH, Guarantee.TYPE, Guarantee.EXPIRY}


def make_signing(acl: str | None = PUBLIC_ACL, origin: str = "https://storage.googleapis.com") -> GcsSigning:
    return GcsSigning(BucketAddress(origin, BUCKET), account(), lambda: acl)


def form(signing: GcsSigning, upload: Upload) -> PostForm:
    request = sign(signing, upload, POST, now=NOW).request
    assert isinstance(request, PostForm)
    return request


def put(signing: GcsSigning, upload: Upload, *, overwrite: bool = True) -> PutRequest:
    request = sign(signing, upload, PUT, now=NOW, overwrite=overwrite).request
    assert isinstance(request, PutRequest)
    return request


class TestAgainstTheSdk:
    @given(path=bits.short_paths, access=st.sampled_from(Access), has_acl=st.booleans())
    def test_forms_are_those_of_the_sdk(self, path: str, access: Access, has_acl: bool) -> None:
        upload = Upload(ObjectKey(path), declare(path), access)
        acl = "public-read" if access is Access.PUBLIC else "private"
        fields = {"Content-Type": "text/csv", **({"acl": acl} if has_acl else {})}
        length = upload.file.length
        ours = form(make_signing(PUBLIC_ACL if has_acl else None), upload)
        assert ours.fields == sdk_form(NOW, BUCKET, path, SECONDS, (length, length), fields)
        assert ours.url == f"https://storage.googleapis.com/{BUCKET}"

    @given(path=bits.short_paths, overwrite=st.booleans())
    def test_puts_are_those_of_the_sdk(self, path: str, overwrite: bool) -> None:
        upload = Upload(ObjectKey(path), declare(path), Access.PUBLIC)
        length = upload.file.length
        headers = {"x-goog-content-length-range": f"{length},{length}", "x-goog-acl": "public-read"}
        if not overwrite:
            headers["x-goog-if-generation-match"] = "0"
        ours = put(make_signing(), upload, overwrite=overwrite)
        assert ours.url == sdk_url(
            NOW,
            BUCKET,
            path,
            virtual=False,
            method="PUT",
            expiration=LIFETIME,
            content_type="text/csv",
            content_md5=str(upload.file.md5),
            headers=dict(headers),
        )
        standard = {"Content-Length": str(length), "Content-Type": "text/csv", "Content-MD5": upload.file.md5}
        assert ours.headers == {**standard, **headers}

    @given(path=bits.short_paths, name=st.none() | bits.short_paths)
    def test_downloads_are_those_of_the_sdk(self, path: str, name: str | None) -> None:
        ours = make_signing().sign_download(ObjectKey(path), LIFETIME, NOW, name)
        disposition = None if name is None else attachment(name)
        assert ours.url == sdk_url(
            NOW, BUCKET, path, virtual=False, expiration=LIFETIME, response_disposition=disposition
        )
        assert ours.expires_at == NOW + LIFETIME


class TestUploads:
    def test_are_signed_one_by_one_as_they_are_asked_for(self) -> None:
        signed = 0

        def count(message: bytes) -> bytes:
            nonlocal signed
            signed += 1
            return message[:8]

        class Counting(ServiceAccount):
            def sign(self, message: bytes) -> bytes:
                return count(message)

        counting = Counting(EMAIL, "", None, account()._key)
        signing = GcsSigning(BucketAddress("https://storage.googleapis.com", BUCKET), counting, lambda: None)
        for method in SINGLE_REQUEST:
            signed = 0
            answers = iter(signing.sign_uploads([make_upload(), make_upload()], UploadTerms(method, LIFETIME), NOW))
            assert signed == 0
            next(answers)
            assert signed == 1

    def test_a_mixed_batch_gives_every_file_its_own(self) -> None:
        one, two = make_upload("1.csv"), make_upload("2.csv", access=Access.PUBLIC)
        two = evolve(two, file=evolve(two.file, md5=None))
        for method in SINGLE_REQUEST:
            signed = list(make_signing().sign_uploads([one, two, one], UploadTerms(method, LIFETIME), NOW))
            assert signed == [sign(make_signing(), upload, method, now=NOW) for upload in (one, two, one)]

    def test_a_put_has_a_digest_if_there_is_an_md5_and_a_form_has_none(self) -> None:
        upload = make_upload()
        assert put(make_signing(), upload).headers["Content-MD5"] == upload.file.md5
        bare = evolve(upload, file=evolve(upload.file, md5=None))
        assert "Content-MD5" not in put(make_signing(), bare).headers
        assert "Content-MD5" not in form(make_signing(), upload).fields


class TestCapabilities:
    def test_are_what_the_documentation_says(self) -> None:
        methods = make_signing().capabilities.methods
        assert methods[POST] == BOUND | {Guarantee.ACCESS}
        assert methods[PUT] == BOUND | {Guarantee.ACCESS, Guarantee.MD5, Guarantee.NO_OVERWRITE}

    def test_access_is_enforced_only_where_an_acl_is_signed(self) -> None:
        methods = make_signing(None).capabilities.methods
        assert methods[POST] == BOUND
        assert methods[PUT] == BOUND | {Guarantee.MD5, Guarantee.NO_OVERWRITE}

    @pytest.mark.parametrize("acl", [None, *CANNED_ACLS])
    def test_everything_claimed_of_a_put_is_a_header_that_must_be_sent(self, acl: str | None) -> None:
        signing, upload = make_signing(acl), make_upload()
        request = put(signing, upload, overwrite=False)
        names = {
            Guarantee.LENGTH: "x-goog-content-length-range",
            Guarantee.TYPE: "content-type",
            Guarantee.MD5: "content-md5",
            Guarantee.ACCESS: "x-goog-acl",
            Guarantee.NO_OVERWRITE: "x-goog-if-generation-match",
        }
        signed = request.url.partition("X-Goog-SignedHeaders=")[2].partition("&")[0].split("%3B")
        bound_elsewhere = {Guarantee.KEY, Guarantee.EXPIRY}
        claimed = signing.capabilities.methods[PUT] - bound_elsewhere
        assert set(signed) == {"host", *(names[guarantee] for guarantee in claimed)}
        assert {name.lower() for name in request.headers} == {*signed, "content-length"} - {"host"}

    @pytest.mark.parametrize("acl", [None, *CANNED_ACLS])
    def test_everything_claimed_of_a_form_is_a_condition(self, acl: str | None) -> None:
        signing, upload = make_signing(acl), make_upload()
        policy = json.loads(base64.b64decode(form(signing, upload).fields["policy"]))
        conditions = policy["conditions"]
        assert ["content-length-range", upload.file.length, upload.file.length] in conditions
        assert {"key": upload.key} in conditions
        assert {"Content-Type": upload.file.media_type} in conditions
        claimed = Guarantee.ACCESS in signing.capabilities.methods[POST]
        assert ({"acl": "private"} in conditions) is claimed


class TestAccess:
    @given(acl=st.none() | st.sampled_from(CANNED_ACLS), access=st.sampled_from(Access))
    def test_private_files_are_never_signed_for_others(self, acl: str | None, access: Access) -> None:
        signing, upload = make_signing(acl), make_upload(access=access)
        expected = "private" if acl is not None and access is Access.PRIVATE else acl
        assert form(signing, upload).fields.get("acl") == expected
        assert put(signing, upload).headers.get("x-goog-acl") == expected


class TestWhereObjectsAreFound:
    @given(owner=bits.short_owners, path=bits.short_paths)
    def test_every_form_of_a_url_is_recognised(self, owner: str, path: str) -> None:
        internal = BucketAddress("http://10.0.0.1:4443", BUCKET)
        signing = evolve(make_signing(), other_addresses=[internal])
        upload = Upload(ObjectKey(f"{owner}/{path}"), declare(path), Access.PUBLIC)
        url = sign(signing, upload, POST, now=NOW).object_url
        prefixes = signing.url_prefixes(owner)
        assert url.startswith(f"{prefixes[0]}/")
        rest = url.removeprefix(signing.address.url)
        for prefix in ("https://storage.googleapis.com/a-bucket", "https://a-bucket.storage.googleapis.com"):
            assert signing.key_of_url(f"{prefix}{rest}") == upload.key
        assert signing.key_of_url(f"{internal.url}{rest}") == upload.key

    def test_prefixes_are_both_forms_of_the_bucket(self) -> None:
        prefixes = ["https://storage.googleapis.com/a-bucket", "https://a-bucket.storage.googleapis.com"]
        assert make_signing().url_prefixes("") == prefixes
        assert make_signing().url_prefixes("a b/ü") == [f"{prefix}/a%20b/%C3%BC" for prefix in prefixes]

    def test_a_bucket_at_an_ip_address_has_one_form(self) -> None:
        assert make_signing(origin="http://127.0.0.1:4443").url_prefixes("") == ["http://127.0.0.1:4443/a-bucket"]


def test_no_representation_shows_a_key_or_a_signature() -> None:
    signing = make_signing()
    signed = [sign(signing, make_upload(), method, now=NOW) for method in SINGLE_REQUEST]
    download = signing.sign_download(ObjectKey("a"), LIFETIME, NOW)
    shown = "".join(map(repr, (signing, *signed, download))).lower()
    assert not any(secret in shown for secret in ("rsa", "_key", "signature", "'policy'"))


# Setting it up


def read(environ: dict[str, str]) -> tuple[Store | None, list[str]]:
    reader = EnvironmentReader(environ)
    return make_store(reader), reader.problems


def environment(**changes: str | None) -> dict[str, str]:
    whole = {"STORAGE_BUCKET_NAME": BUCKET, "STORAGE_GCS_CREDENTIALS": json.dumps(key_file()), **changes}
    return {name: value for name, value in whole.items() if value is not None}


def signing_of(environ: dict[str, str]) -> GcsSigning:
    store, problems = read(environ)
    assert problems == []
    assert store is not None
    assert isinstance(store.signer, GcsSigning)
    assert store.downloads is store.signer
    return store.signer


class TestSettings:
    def test_a_bucket_and_a_key_are_enough(self) -> None:
        signing = signing_of(environment())
        assert signing.address.url == f"https://storage.googleapis.com/{BUCKET}"
        assert signing.account == account()

    @pytest.mark.parametrize("name", ["STORAGE_GCS_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"])
    def test_the_key_may_be_in_a_file(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "key.json"
        path.write_text(json.dumps(key_file(email="other@a-project.iam.gserviceaccount.com")))
        signing = signing_of(environment(**{"STORAGE_GCS_CREDENTIALS": None, name: str(path)}))
        assert signing.account.email == "other@a-project.iam.gserviceaccount.com"

    def test_our_own_variable_wins(self) -> None:
        assert signing_of(environment(GOOGLE_APPLICATION_CREDENTIALS="/nowhere")).account == account()

    def test_what_is_shown_of_the_settings_is_no_secret(self) -> None:
        reader = EnvironmentReader(environment())
        assert make_store(reader) is not None
        assert "PRIVATE KEY" not in str(reader.effective)

    def test_clients_may_reach_the_bucket_elsewhere(self) -> None:
        signing = signing_of(
            environment(STORAGE_HOSTNAME="http://gcs:4443/", STORAGE_PUBLIC_URL="https://Files.example:443")
        )
        assert signing.address.url == f"https://files.example/{BUCKET}"
        assert signing.key_of_url(f"http://gcs:4443/{BUCKET}/a") == "a"

    @pytest.mark.parametrize(
        ("setting", "acl", "asked"),
        [
            (None, None, True),
            ("auto", None, True),
            ("none", None, False),
            ("project-private", "project-private", False),
        ],
    )
    def test_the_acl_is_chosen_or_asked_for(self, setting: str | None, acl: str | None, asked: bool) -> None:
        store, problems = read(environment(STORAGE_ACL=setting))
        assert problems == []
        assert store is not None
        (bucket,) = store.probes
        assert isinstance(bucket, GcsBucket)
        assert (bucket.acl, bucket.auto_acl) == (acl, asked)
        assert bucket in store.startables

    def test_everything_that_is_wrong_is_said_at_once(self) -> None:
        store, problems = read(
            {
                "STORAGE_HOSTNAME": "ftp://storage",
                "STORAGE_PUBLIC_URL": "https://me@files.example",
                "STORAGE_ACL": "public",
            }
        )
        assert store is None
        named = [problem.partition(" ")[0].rstrip(":") for problem in problems]
        assert named == [
            "STORAGE_BUCKET_NAME",
            "STORAGE_HOSTNAME",
            "STORAGE_PUBLIC_URL",
            "STORAGE_ACL",
            "STORAGE_GCS_CREDENTIALS",
        ]
        assert not any("me@" in problem for problem in problems)

    @pytest.mark.parametrize("name", ["ab", "UPPER", "-a-bucket", "a..b", "a/b", "a b", "x" * 223, "a" * 64])
    def test_what_is_no_bucket_is_refused(self, name: str) -> None:
        store, problems = read(environment(STORAGE_BUCKET_NAME=name))
        assert store is None
        assert [problem.partition(":")[0] for problem in problems] == ["STORAGE_BUCKET_NAME"]

    @pytest.mark.parametrize("name", ["abc", "a_b-c", "data.example.com", "9" * 63])
    def test_what_is_a_bucket_is_taken(self, name: str) -> None:
        assert signing_of(environment(STORAGE_BUCKET_NAME=name)).address.bucket == name

    @pytest.mark.parametrize(
        "url",
        ["gcs:0", "https://gcs/path", "https://gcs?x", "https://gcs#x", "https://", "https://g cs", "https://gc\ns"],
    )
    def test_what_is_no_origin_is_refused(self, url: str) -> None:
        store, problems = read(environment(STORAGE_HOSTNAME=url))
        assert store is None
        assert [problem.partition(":")[0] for problem in problems] == ["STORAGE_HOSTNAME"]


class TestKeys:
    """Each fault is one clear line, which repeats nothing of what may be secret."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"type": "authorized_user"}, "of the type 'authorized_user'"),
            ({"type": "impersonated_service_account"}, "of the type 'impersonated_service_account'"),
            ({"type": "external_account"}, "of the type 'external_account'"),
            ({"type": None}, "without a type"),
            ({"client_email": ""}, "no client_email"),
            ({"token_uri": 5}, "no token_uri"),
            ({"private_key": None}, "no private_key"),
            ({"private_key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"}, "no RSA key"),
            ({"private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "no RSA key"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_cannot_sign_here_is_refused(self, change: dict[str, object], said: str) -> None:
        text = json.dumps({**key_file(), **change})
        store, problems = read(environment(STORAGE_GCS_CREDENTIALS=text))
        assert store is None
        (problem,) = problems
        assert problem.startswith("STORAGE_GCS_CREDENTIALS: ")
        assert said in problem
        assert "\n" not in problem
        assert "c2VjcmV0" not in problem

    @pytest.mark.parametrize("text", ["{", '{"private_key": "c2VjcmV0', "/nowhere/c2VjcmV0.json"])
    def test_what_cannot_be_read_is_refused(self, text: str) -> None:
        _, (problem,) = read(environment(STORAGE_GCS_CREDENTIALS=text))
        assert problem.startswith("STORAGE_GCS_CREDENTIALS: ")
        assert "c2VjcmV0" not in problem

    def test_a_list_is_no_key(self, tmp_path: Path) -> None:
        path = tmp_path / "key.json"
        path.write_text("[]")
        _, (problem,) = read(environment(STORAGE_GCS_CREDENTIALS=str(path)))
        assert "JSON object" in problem

    def test_what_is_usual_may_be_left_out(self) -> None:
        bare = {name: value for name, value in key_file().items() if name not in ("token_uri", "private_key_id")}
        assert ServiceAccount.parse(json.dumps(bare)) == evolve(account(), key_id=None)


def test_lifetimes_are_those_that_were_asked_for() -> None:
    for method in SINGLE_REQUEST:
        assert sign(make_signing(), make_upload(), method, now=NOW).expires_at == NOW + timedelta(seconds=SECONDS)
