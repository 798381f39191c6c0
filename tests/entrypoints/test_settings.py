"""Settings: what the environment may say, what it comes to, and how everything wrong with it is said at once."""

import base64
import json
import re
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import asdict
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.stores.addresses import Addressing
from adapters.stores.flavours import FLAVOURS
from adapters.stores.gcs import GcsSigning
from adapters.stores.sigv4 import Credentials
from adapters.tokens.jwt import VerificationKey
from adapters.tokens.key_servers import DocumentKind, KeyServer
from application.ports import Store
from domain.errors import Misconfigured
from domain.uploads import SINGLE_REQUEST, UploadMethod
from entrypoints.limits import Farewell, Limits, Pace
from entrypoints.settings import S3Settings, ServedSettings, Settings
from tests import strategies as bits
from tests.adapters.stores.google import account, key_file
from tests.domain.refusals import attempt
from tests.tokens import ec_key, ed25519_key, private_key, private_pem, public_pem, rsa_key

SECRET = "a-secret-that-nobody-may-see"
ACCOUNT_KEY = base64.b64encode(SECRET.encode()).decode()
SERVICE_ACCOUNT = json.dumps(key_file())
PEM = public_pem(rsa_key())

# What shows if one of them is told, whole or in part.
SECRETS = (SECRET, ACCOUNT_KEY, PEM.splitlines()[1], key_file()["private_key"].splitlines()[1])

Environment = Mapping[str, str]

# Exactly what the original README names.
ORIGINAL: Environment = {
    "SERVICE_NAME": "rawstore",
    "DATAHUB_PUBLIC_KEY": PEM,
    "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "STORAGE_SECRET_ACCESS_KEY": SECRET,
    "STORAGE_HOSTNAME": "s3.amazonaws.com",
    "STORAGE_BUCKET_NAME": "datahub",
}
DISK: Environment = {
    "DATAHUB_PUBLIC_KEY": PEM,
    "STORAGE_BACKEND": "disk",
    "STORAGE_DISK_ROOT": "/srv/bitstore",
    "STORAGE_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "STORAGE_SECRET_ACCESS_KEY": SECRET,
    "STORAGE_BUCKET_NAME": "datahub",
}
FETCHED: Environment = {
    **{name: value for name, value in ORIGINAL.items() if name != "DATAHUB_PUBLIC_KEY"},
    "AUTH_SERVER": "https://auth.example.com",
}
MEMORY: Environment = {name: value for name, value in DISK.items() if name != "STORAGE_DISK_ROOT"} | {
    "STORAGE_BACKEND": "memory"
}

AZURE: Environment = {
    "DATAHUB_PUBLIC_KEY": PEM,
    "STORAGE_BACKEND": "azure",
    "STORAGE_HOSTNAME": "datasets.blob.core.windows.net",
    "STORAGE_BUCKET_NAME": "uploads",
    "STORAGE_ACCESS_KEY_ID": "datasets",
    "STORAGE_SECRET_ACCESS_KEY": ACCOUNT_KEY,
}
GCS: Environment = {
    "DATAHUB_PUBLIC_KEY": PEM,
    "STORAGE_BACKEND": "gcs",
    "STORAGE_BUCKET_NAME": "datahub",
    "STORAGE_GCS_CREDENTIALS": SERVICE_ACCOUNT,
}


def changed(base: Environment, changes: Mapping[str, str | None]) -> Environment:
    """Set some variables, and take away those that are None."""
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def read(base: Environment = ORIGINAL, /, **changes: str | None) -> Settings:
    return Settings.from_environment(changed(base, changes))


def s3(**changes: str | None) -> S3Settings:
    store = read(**changes).store
    assert isinstance(store, S3Settings)
    return store


def fixed_key(**changes: str | None) -> VerificationKey:
    key = read(**changes).token_keys
    assert isinstance(key, VerificationKey)
    return key


def key_server(**changes: str | None) -> KeyServer:
    keys = read(DATAHUB_PUBLIC_KEY=None, **changes).token_keys
    assert isinstance(keys, KeyServer)
    return keys


def served(base: Environment = DISK, /, **changes: str | None) -> ServedSettings:
    store = read(base, **changes).store
    assert isinstance(store, ServedSettings)
    return store


def found(base: Environment, /, **changes: str | None) -> Store:
    store = read(base, **changes).store
    assert isinstance(store, Store)
    return store


def problems(base: Environment, changes: Mapping[str, str | None]) -> tuple[str, ...]:
    """Give what is wrong, and check that no secret is told."""
    with pytest.raises(Misconfigured) as refused:
        Settings.from_environment(changed(base, changes))
    told = "".join(traceback.format_exception(refused.value))
    assert not [secret for secret in SECRETS if secret in told]
    return refused.value.problems


class TestTheOriginalVariablesAlone:
    def test_are_enough(self) -> None:
        settings = read()
        assert settings.service_name == settings.token_rules.service == "rawstore"
        assert fixed_key() == VerificationKey(rsa_key().public_key(), "RS256")
        store = s3()
        assert store.credentials == Credentials("AKIDEXAMPLE", SECRET)
        assert store.public.url == store.internal.url == "https://s3.amazonaws.com/datahub"

    def test_come_to_the_documented_defaults(self) -> None:
        settings, store = read(SERVICE_NAME=None), s3()
        assert settings.service_name == "rawstore"
        assert settings.batch.pattern.template == "{owner}/{name}/{path}"
        assert settings.batch.max_files == 10_000
        assert settings.batch.files.max_bytes == 5 * 1024**3
        assert settings.batch.files.require_digest is True
        assert settings.max_body_bytes == 8 * 1024**2
        assert settings.limits == Limits(Pace(30, 1024), requests_at_once=512, transfers_at_once=256)
        assert settings.farewell == Farewell(drain_seconds=3, grace_seconds=30)
        assert settings.upload_lifetime == timedelta(seconds=3_600)
        assert settings.download_lifetime == timedelta(seconds=86_400)
        assert settings.preferred_method is None
        assert (settings.inspect_on_authorize, settings.inspect_patience) == (True, timedelta(seconds=2))
        assert list(settings.cors_origins) == ["*"]
        assert settings.token_rules.leeway == timedelta(seconds=30)
        assert settings.token_rules.max_lifetime == timedelta(seconds=86_400)
        assert settings.token_rules.require_expiry is True
        assert (settings.token_rules.audience, settings.token_rules.issuer) == (None, None)
        assert (store.region, store.flavour.name, store.acl) == ("us-east-1", "aws", "auto")
        assert store.public.addressing is Addressing.PATH

    def test_may_name_the_service_as_the_stack_does(self) -> None:
        assert read(SERVICE_NAME=None, DATAHUB_SERVICE_NAME="bits").service_name == "bits"
        assert read(SERVICE_NAME="bits", DATAHUB_SERVICE_NAME="bits").service_name == "bits"
        with pytest.raises(Misconfigured, match="differ"):
            read(SERVICE_NAME="first", DATAHUB_SERVICE_NAME="second")

    @pytest.mark.parametrize("origins", ["data.example", "https://data.example/", "https://a.example, b", "null"])
    def test_refuse_origins_that_no_browser_sends(self, origins: str) -> None:
        with pytest.raises(Misconfigured, match="CORS_ALLOW_ORIGINS"):
            read(CORS_ALLOW_ORIGINS=origins)

    def test_may_be_empty_which_means_absent(self) -> None:
        unset = dict.fromkeys(("STORAGE_REGION", "STORAGE_FLAVOUR", "MAX_FILES", "REQUIRE_DIGEST", "LOG_FORMAT"), "")
        assert read(**unset) == read(**dict.fromkeys(unset))


class TestPublicKey:
    def test_is_pem_text(self) -> None:
        assert fixed_key().public_key == rsa_key().public_key()

    def test_is_pem_text_with_escaped_line_ends(self) -> None:
        assert fixed_key(DATAHUB_PUBLIC_KEY=PEM.replace("\n", "\\n")) == fixed_key()

    def test_is_the_path_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_text(PEM)
        assert fixed_key(DATAHUB_PUBLIC_KEY=str(tmp_path / "key.pem")) == fixed_key()

    @pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
    def test_is_used_with_the_configured_algorithm(self, algorithm: str) -> None:
        pem = public_pem(private_key(algorithm))
        assert fixed_key(DATAHUB_PUBLIC_KEY=pem, TOKEN_ALGORITHMS=algorithm).algorithm == algorithm

    def test_is_used_with_the_first_algorithm_that_fits(self) -> None:
        key = fixed_key(DATAHUB_PUBLIC_KEY=public_pem(ec_key()), TOKEN_ALGORITHMS="RS256, ES256")
        assert key.algorithm == "ES256"


class TestFetchedKeys:
    def test_the_auth_server_of_the_stack_publishes_one_key(self) -> None:
        keys = key_server(AUTH_SERVER="https://auth.example.com/")
        assert (keys.url, keys.kind) == ("https://auth.example.com/auth/public-key", DocumentKind.PEM)
        assert list(keys.algorithms) == ["RS256"]

    def test_others_publish_a_key_set(self) -> None:
        keys = key_server(AUTH_JWKS_URL="https://auth.example.com/jwks?tenant=1", TOKEN_ALGORITHMS="ES256,EdDSA")
        assert (keys.url, keys.kind) == ("https://auth.example.com/jwks?tenant=1", DocumentKind.JWKS)
        assert list(keys.algorithms) == ["ES256", "EdDSA"]

    @pytest.mark.parametrize(
        ("server", "url"),
        [
            ("auth.example.com", "https://auth.example.com/auth/public-key"),
            ("auth:8080", "https://auth:8080/auth/public-key"),
            ("http://auth:8080/", "http://auth:8080/auth/public-key"),
            ("https://example.com/some/prefix/", "https://example.com/some/prefix/auth/public-key"),
        ],
    )
    def test_the_auth_server_is_a_host_or_a_url(self, server: str, url: str) -> None:
        assert key_server(AUTH_SERVER=server).url == url

    def test_a_slash_at_the_end_is_part_of_the_url_of_a_key_set(self) -> None:
        assert key_server(AUTH_JWKS_URL="http://auth:8080/keys/").url == "http://auth:8080/keys/"

    def test_how_often_can_be_set(self) -> None:
        keys = key_server(AUTH_SERVER="auth")
        assert (keys.refresh_seconds, keys.cooldown_seconds) == (300, 30)
        keys = key_server(AUTH_SERVER="auth", AUTH_REFRESH_SECONDS="10", AUTH_COOLDOWN_SECONDS="1")
        assert (keys.refresh_seconds, keys.cooldown_seconds) == (10, 1)

    def test_what_a_url_asks_is_not_shown(self) -> None:
        settings = read(DATAHUB_PUBLIC_KEY=None, AUTH_JWKS_URL=f"https://auth.example.com/jwks?key={SECRET}")
        assert SECRET not in repr(settings)
        assert settings.effective["AUTH_JWKS_URL"] == "https://auth.example.com/jwks?********"


class TestValues:
    @pytest.mark.parametrize(
        ("hostname", "url"),
        [
            ("minio", "https://minio/datahub"),
            ("minio:9000", "https://minio:9000/datahub"),
            ("http://minio:9000", "http://minio:9000/datahub"),
            ("http://minio:80/", "http://minio/datahub"),
            ("HTTPS://S3.Example.COM:443", "https://s3.example.com/datahub"),
            ("127.0.0.1:9000", "https://127.0.0.1:9000/datahub"),
            ("http://[::1]:9000", "http://[::1]:9000/datahub"),
        ],
    )
    def test_a_hostname_is_a_host_with_perhaps_a_port_and_a_scheme(self, hostname: str, url: str) -> None:
        assert s3(STORAGE_HOSTNAME=hostname).public.url == url

    def test_clients_may_reach_the_store_at_another_host_than_the_service(self) -> None:
        store = s3(STORAGE_HOSTNAME="http://minio:9000", STORAGE_PUBLIC_URL="https://files.example.com")
        assert store.internal.url == "http://minio:9000/datahub"
        assert store.public.url == "https://files.example.com/datahub"

    def test_the_bucket_can_be_part_of_the_host(self) -> None:
        assert s3(STORAGE_ADDRESSING="virtual").public.url == "https://datahub.s3.amazonaws.com"

    @pytest.mark.parametrize(
        ("hostname", "region"),
        [
            ("s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("s3.amazonaws.com", "us-east-1"),
            ("s3.eu-west-1.amazonaws.com.example.org", "us-east-1"),
        ],
    )
    def test_the_region_follows_from_a_host_of_aws(self, hostname: str, region: str) -> None:
        assert s3(STORAGE_HOSTNAME=hostname).region == region
        assert s3(STORAGE_HOSTNAME=hostname, STORAGE_REGION=region).region == region

    def test_no_key_means_the_chain_of_the_sdk(self) -> None:
        assert s3(STORAGE_ACCESS_KEY_ID=None, STORAGE_SECRET_ACCESS_KEY=None).credentials is None

    @pytest.mark.parametrize("flavour", FLAVOURS)
    def test_every_flavour_can_be_chosen(self, flavour: str) -> None:
        assert s3(STORAGE_FLAVOUR=flavour).flavour is FLAVOURS[flavour]

    @pytest.mark.parametrize("acl", ["auto", "none", "private", "public-read", "bucket-owner-full-control"])
    def test_the_acl_can_be_chosen(self, acl: str) -> None:
        assert s3(STORAGE_ACL=acl).acl == acl

    @pytest.mark.parametrize(
        ("text", "value"), [("true", True), ("True", True), ("1", True), ("on", True), ("no", False), ("0", False)]
    )
    def test_flags(self, text: str, value: bool) -> None:
        settings = read(REQUIRE_DIGEST=text, REQUIRE_TOKEN_EXPIRY=text)
        assert settings.batch.files.require_digest is settings.token_rules.require_expiry is value

    def test_everything_else_that_can_be_set(self) -> None:
        settings = read(
            STORAGE_PATH_PATTERN="{md5_hex}{extension}",
            STORAGE_UPLOAD_METHOD="PUT",
            UPLOAD_EXPIRES_SECONDS="60",
            DOWNLOAD_EXPIRES_SECONDS="604800",
            MAX_FILES="1",
            MAX_BODY_BYTES="1024",
            MAX_FILE_BYTES="1",
            CORS_ALLOW_ORIGINS="https://a.example.com, https://b.example.com",
            TOKEN_MAX_LIFETIME_SECONDS="1",
            TOKEN_LEEWAY_SECONDS="0",
            TOKEN_AUDIENCE="store",
            TOKEN_ISSUER="https://auth.example.com",
            LOG_FORMAT="json",
            INSPECT_ON_AUTHORIZE="false",
            INSPECT_TIMEOUT_SECONDS="60",
            CLIENT_TIMEOUT_SECONDS="1",
            CLIENT_MIN_BYTES_PER_SECOND="2",
            DRAIN_SECONDS="0",
            GRACE_SECONDS="1",
        )
        assert settings.limits.pace == Pace(1, 2)
        assert settings.farewell == Farewell(drain_seconds=0, grace_seconds=1)
        assert read(DISK, STORAGE_MAX_TRANSFERS="7").limits.transfers_at_once == 7
        assert settings.batch.pattern.is_content_addressed
        assert settings.preferred_method is UploadMethod.PUT
        assert (settings.upload_lifetime, settings.download_lifetime) == (timedelta(minutes=1), timedelta(days=7))
        assert (settings.batch.max_files, settings.max_body_bytes, settings.batch.files.max_bytes) == (1, 1024, 1)
        assert settings.cors_origins == ["https://a.example.com", "https://b.example.com"]
        assert (settings.token_rules.max_lifetime, settings.token_rules.leeway) == (timedelta(seconds=1), timedelta(0))
        assert (settings.token_rules.audience, settings.token_rules.issuer) == ("store", "https://auth.example.com")
        assert settings.log_format == "json"
        assert (settings.inspect_on_authorize, settings.inspect_patience) == (False, timedelta(minutes=1))


class TestServedStores:
    def test_a_disk_store_is_found_under_the_services_own_address(self) -> None:
        store = served()
        assert store.root == Path("/srv/bitstore")
        assert store.public.url == "http://127.0.0.1:8000/store/datahub"
        assert store.credentials == Credentials("AKIDEXAMPLE", SECRET)
        assert (store.acl, store.region) == ("public-read", "us-east-1")

    def test_a_proxy_may_add_a_path(self) -> None:
        store = served(PUBLIC_URL="https://data.example.com/bits/")
        assert store.public.url == "https://data.example.com/bits/store/datahub"

    def test_a_folder_alone_says_that_the_store_is_on_disk(self) -> None:
        assert served(STORAGE_BACKEND=None).root == Path("/srv/bitstore")

    def test_a_memory_store_needs_no_folder(self) -> None:
        assert served(MEMORY).root is None

    def test_all_of_it_can_be_private(self) -> None:
        assert served(STORAGE_ACL="private").acl == "private"

    def test_the_address_of_the_service_is_accepted_with_every_backend(self) -> None:
        assert s3(PUBLIC_URL="https://data.example.com/bits").public.url == "https://s3.amazonaws.com/datahub"

    @pytest.mark.parametrize("base", [ORIGINAL, DISK, AZURE, GCS], ids=["s3", "disk", "azure", "gcs"])
    def test_a_name_that_is_no_store_is_all_that_is_said(self, base: Environment) -> None:
        with pytest.raises(Misconfigured) as refusal:
            Settings.from_environment({**base, "STORAGE_BACKEND": "azur"})
        (problem,) = refusal.value.problems
        assert problem.startswith("STORAGE_BACKEND must be one of s3, disk, memory, azure, gcs")
        assert problem.endswith("not 'azur'; did you mean azure?")


class TestAzure:
    def test_an_account_and_its_key_are_enough(self) -> None:
        store = found(AZURE)
        assert list(store.signer.url_prefixes("")) == ["https://datasets.blob.core.windows.net/uploads"]
        assert list(store.signer.capabilities.methods) == [UploadMethod.PUT, UploadMethod.MULTIPART]

    def test_an_emulator_has_the_account_in_its_path(self) -> None:
        store = found(AZURE, STORAGE_HOSTNAME="http://127.0.0.1:10000/datasets")
        assert list(store.signer.url_prefixes("alice")) == ["http://127.0.0.1:10000/datasets/uploads/alice"]

    def test_without_a_key_an_identity_signs(self) -> None:
        unset = {"STORAGE_ACCESS_KEY_ID": None, "STORAGE_SECRET_ACCESS_KEY": None}
        assert len(found(AZURE, **unset).startables) == len(found(AZURE).startables) + 1
        shown = read(AZURE, **unset).effective
        assert {shown[name] for name in unset} == {"the identity that azure-identity finds (default)"}

    def test_what_is_shown_has_the_defaults(self) -> None:
        effective = read(AZURE).effective
        assert effective["STORAGE_PUBLIC_URL"] == "as STORAGE_HOSTNAME (default)"
        assert effective["STORAGE_ACCESS_KEY_ID"] == "datasets"
        assert effective["STORAGE_UPLOAD_METHOD"] == "POST where the store has it (default)"
        assert {"STORAGE_REGION", "STORAGE_ACL", "STORAGE_FLAVOUR", "STORAGE_ADDRESSING"}.isdisjoint(effective)

    def test_all_that_is_missing_is_told_at_once(self) -> None:
        told = problems({"STORAGE_BACKEND": "azure", "STORAGE_ACCESS_KEY_ID": "datasets"}, {})
        assert [problem.split(" ")[0] for problem in told] == [
            "DATAHUB_PUBLIC_KEY",
            "STORAGE_BUCKET_NAME",
            "STORAGE_HOSTNAME",
            "STORAGE_ACCESS_KEY_ID",
        ]


class TestGoogleCloudStorage:
    def test_a_bucket_and_a_service_account_are_enough(self) -> None:
        store = found(GCS)
        assert list(store.signer.url_prefixes("")) == [
            "https://storage.googleapis.com/datahub",
            "https://datahub.storage.googleapis.com",
        ]
        assert set(store.signer.capabilities.methods) == set(SINGLE_REQUEST)

    def test_googles_own_variable_will_do(self, tmp_path: Path) -> None:
        path = tmp_path / "key.json"
        path.write_text(SERVICE_ACCOUNT)
        changes = {"STORAGE_GCS_CREDENTIALS": None, "GOOGLE_APPLICATION_CREDENTIALS": str(path)}
        signer = found(GCS, **changes).signer
        assert isinstance(signer, GcsSigning)
        assert signer.account == account()
        assert read(GCS, **changes).effective["STORAGE_GCS_CREDENTIALS"] == "not set (default)"

    def test_what_is_shown_has_the_defaults(self) -> None:
        effective = read(GCS).effective
        assert effective["STORAGE_HOSTNAME"] == "https://storage.googleapis.com (default)"
        assert effective["STORAGE_PUBLIC_URL"] == "as STORAGE_HOSTNAME (default)"
        assert effective["STORAGE_ACL"] == "auto (default)"
        assert effective["STORAGE_GCS_CREDENTIALS"] == "********"
        assert {"STORAGE_REGION", "STORAGE_ACCESS_KEY_ID", "STORAGE_FLAVOUR"}.isdisjoint(effective)

    def test_all_that_is_missing_is_told_at_once(self) -> None:
        told = problems({"STORAGE_BACKEND": "gcs"}, {})
        assert [problem.split(" ")[0] for problem in told] == [
            "DATAHUB_PUBLIC_KEY",
            "STORAGE_BUCKET_NAME",
            "STORAGE_GCS_CREDENTIALS",
        ]


INJECTED_BY_KUBERNETES = {
    "STORAGE_PORT": "tcp://10.0.0.1:9000",
    "STORAGE_PORT_9000_TCP": "tcp://10.0.0.1:9000",
    "STORAGE_PORT_9000_TCP_ADDR": "10.0.0.1",
    "STORAGE_SERVICE_HOST": "10.0.0.1",
    "STORAGE_SERVICE_PORT": "9000",
    "STORAGE_SERVICE_PORT_HTTP": "9000",
    "STORAGE_API_PORT": "tcp://10.0.0.1:9000",
    "STORAGE_API_PORT_9000_TCP_PROTO": "tcp",
    "STORAGE_API_SERVICE_HOST": "10.0.0.1",
}


def test_what_kubernetes_injects_is_no_fault() -> None:
    assert read(**INJECTED_BY_KUBERNETES) == read()


REFUSALS: list[tuple[Environment, Mapping[str, str | None], str]] = [
    # Names
    (ORIGINAL, {"STORAGE_BUCKET": "x"}, "STORAGE_BUCKET is not a setting; did you mean STORAGE_BUCKET_NAME"),
    (ORIGINAL, {"STORAGE_SECRET_KEY": SECRET}, "STORAGE_SECRET_KEY is not a setting; did you mean STORAGE_SECRET_A"),
    (ORIGINAL, {"STORAGE_XYZZY": "x"}, "STORAGE_XYZZY is not a setting$"),
    (ORIGINAL, {"STORAGE_hostname": "x"}, "STORAGE_hostname is not a setting"),
    *(
        (ORIGINAL, {"SERVICE_NAME": name}, "^SERVICE_NAME must be one plain URL segment")
        for name in (
            "healthz",
            "readyz",
            "metrics",
            "store",
            "a/b",
            "/",
            "a b",
            "..",
            ".",
            "é",
            "a?b",
            "a%2fb",
            "-",
            "x\n",
        )
    ),
    (ORIGINAL, {"SERVICE_NAME": None, "DATAHUB_SERVICE_NAME": "store"}, "SERVICE_NAME must be one plain URL segment"),
    # The key of the auth service
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": None}, "^DATAHUB_PUBLIC_KEY is missing.* AUTH_SERVER or AUTH_JWKS_URL"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": ""}, "^DATAHUB_PUBLIC_KEY is missing"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": private_pem(rsa_key())}, "^DATAHUB_PUBLIC_KEY: .*private key"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": public_pem(rsa_key(1024))}, "^DATAHUB_PUBLIC_KEY: .*1024 bits.* 2048"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": SECRET}, "^DATAHUB_PUBLIC_KEY: it is neither PEM text nor the path"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": "\0"}, "^DATAHUB_PUBLIC_KEY: it is neither PEM text nor the path"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": "/"}, "^DATAHUB_PUBLIC_KEY: it is neither PEM text nor the path"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": "x" * 5000}, "^DATAHUB_PUBLIC_KEY: it is neither PEM text nor the path"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": PEM[:100]}, "^DATAHUB_PUBLIC_KEY: .*not a public key in PEM"),
    (ORIGINAL, {"DATAHUB_PUBLIC_KEY": public_pem(ed25519_key())}, "^DATAHUB_PUBLIC_KEY: .*fits none .*RS256"),
    (
        ORIGINAL,
        {"DATAHUB_PUBLIC_KEY": public_pem(generate_ec_key(SECP384R1())), "TOKEN_ALGORITHMS": "ES256"},
        "^DATAHUB_PUBLIC_KEY: .*P-256",
    ),
    (ORIGINAL, {"AUTH_SERVER": "https://auth.example.com"}, "^DATAHUB_PUBLIC_KEY and AUTH_SERVER exclude one another"),
    (FETCHED, {"AUTH_JWKS_URL": "https://auth.example.com"}, "^AUTH_SERVER and AUTH_JWKS_URL exclude one another"),
    (FETCHED, {"AUTH_SERVER": f"https://me:{SECRET}@auth.example.com"}, "^AUTH_SERVER: .*user name or a password"),
    (FETCHED, {"AUTH_SERVER": f"https://auth.example.com?key={SECRET}"}, "^AUTH_SERVER: a URL with a query"),
    (FETCHED, {"AUTH_SERVER": "ftp://auth.example.com"}, "^AUTH_SERVER: .*is not a host"),
    (FETCHED, {"AUTH_SERVER": None, "AUTH_JWKS_URL": f"file:///etc/x?{SECRET}"}, "^AUTH_JWKS_URL: .*is not a host"),
    *(
        (ORIGINAL, {"TOKEN_ALGORITHMS": f"RS256,{name}"}, f"^TOKEN_ALGORITHMS: '{name}' is not one of")
        for name in ("none", "HS256", "rs256", "RS512")
    ),
    # The store
    (ORIGINAL, {"STORAGE_HOSTNAME": None}, "^STORAGE_HOSTNAME is missing"),
    (ORIGINAL, {"STORAGE_BUCKET_NAME": None}, "^STORAGE_BUCKET_NAME is missing"),
    (ORIGINAL, {"STORAGE_SECRET_ACCESS_KEY": None}, "must both be given"),
    (ORIGINAL, {"STORAGE_ACCESS_KEY_ID": ""}, "must both be given"),
    (ORIGINAL, {"STORAGE_SECRET_ACCESS_KEY": f"{SECRET}\n"}, "^STORAGE_SECRET_ACCESS_KEY has white space"),
    (ORIGINAL, {"STORAGE_ACCESS_KEY_ID": "\udcff"}, "^STORAGE_ACCESS_KEY_ID has white space"),
    *(
        (ORIGINAL, {"STORAGE_BUCKET_NAME": name}, "^STORAGE_BUCKET_NAME is not the name of a bucket")
        for name in ("ab", "a/b", "-abc", "abc.", "a b c", "bücket", "x" * 256, "abc\n")
    ),
    (ORIGINAL, {"STORAGE_HOSTNAME": "https://example.com/minio"}, "^STORAGE_HOSTNAME: .*has a path"),
    (ORIGINAL, {"STORAGE_HOSTNAME": "example.com/datahub/"}, "^STORAGE_HOSTNAME: .*has a path"),
    *(
        (ORIGINAL, {"STORAGE_HOSTNAME": host}, "^STORAGE_HOSTNAME: ")
        for host in (
            *(
                "ftp://example.com",
                "https://",
                "http://:9000",
                "a b",
                "https://example.com?x=1",
                "https://example.com#x",
            ),
            *(
                "https://example.com?",
                "example.com:port",
                "example.com:99999",
                "example.com:0",
                "https://[::1",
                "[::g]",
            ),
            *("my_minio:9000", "-minio", "é.example.com", "a\tb", "a\nb", "a\\b", "a,b", "a..b", "x" * 300, "\udcff"),
        )
    ),
    (
        ORIGINAL,
        {"STORAGE_HOSTNAME": f"https://me:{SECRET}@example.com"},
        "^STORAGE_HOSTNAME: .*user name or a password",
    ),
    (ORIGINAL, {"STORAGE_HOSTNAME": f"https://me:{SECRET}/@example.com"}, "^STORAGE_HOSTNAME: "),
    (ORIGINAL, {"STORAGE_PUBLIC_URL": "https://example.com/files"}, "^STORAGE_PUBLIC_URL: .*has a path"),
    (
        ORIGINAL,
        {"STORAGE_HOSTNAME": "s3.eu-west-1.amazonaws.com", "STORAGE_REGION": "us-east-1"},
        "^STORAGE_REGION is us-east-1, but STORAGE_HOSTNAME is in eu-west-1",
    ),
    (ORIGINAL, {"STORAGE_REGION": "eu west"}, "^STORAGE_REGION is not the name of a region"),
    (ORIGINAL, {"STORAGE_REGION": "eu/west"}, "^STORAGE_REGION is not the name of a region"),
    (ORIGINAL, {"STORAGE_FLAVOUR": "seaweed"}, "^STORAGE_FLAVOUR must be one of .*did you mean seaweedfs"),
    (ORIGINAL, {"STORAGE_ADDRESSING": "vhost"}, "^STORAGE_ADDRESSING must be one of path, virtual"),
    (
        ORIGINAL,
        {"STORAGE_ADDRESSING": "virtual", "STORAGE_HOSTNAME": "127.0.0.1:9000"},
        "^STORAGE_ADDRESSING: an IP address",
    ),
    (
        ORIGINAL,
        {"STORAGE_ADDRESSING": "virtual", "STORAGE_PUBLIC_URL": "http://[::1]:9000"},
        "^STORAGE_ADDRESSING: an IP address",
    ),
    (ORIGINAL, {"STORAGE_ADDRESSING": "virtual", "STORAGE_BUCKET_NAME": "Data"}, "^STORAGE_ADDRESSING: the bucket"),
    (ORIGINAL, {"STORAGE_ADDRESSING": "virtual", "STORAGE_BUCKET_NAME": "a_b"}, "^STORAGE_ADDRESSING: the bucket"),
    (ORIGINAL, {"STORAGE_ACL": "public"}, "^STORAGE_ACL must be one of"),
    (ORIGINAL, {"STORAGE_ACL": "public-read", "STORAGE_FLAVOUR": "r2"}, "^STORAGE_ACL: .*r2 has no ACLs"),
    (ORIGINAL, {"STORAGE_UPLOAD_METHOD": "post"}, "^STORAGE_UPLOAD_METHOD must be one of POST, PUT"),
    (
        ORIGINAL,
        {"STORAGE_UPLOAD_METHOD": "POST", "STORAGE_FLAVOUR": "r2"},
        "^STORAGE_UPLOAD_METHOD: .*doesn't take POST",
    ),
    (ORIGINAL, {"STORAGE_BACKEND": "S3"}, "^STORAGE_BACKEND must be one of s3, disk, memory"),
    (ORIGINAL, {"STORAGE_DISK_ROOT": "/srv"}, "^STORAGE_DISK_ROOT means nothing to the backend s3"),
    *(
        (base, {name: "x"}, f"^{name} means nothing to the backend {backend}")
        for base, backend in ((DISK, "disk"), (MEMORY, "memory"))
        for name in ("STORAGE_HOSTNAME", "STORAGE_PUBLIC_URL", "STORAGE_FLAVOUR", "STORAGE_ADDRESSING")
    ),
    (MEMORY, {"STORAGE_DISK_ROOT": "/srv"}, "^STORAGE_DISK_ROOT means nothing to the backend memory"),
    *(
        (base, {name: "x"}, f"^{name} means nothing to the backend {base['STORAGE_BACKEND']}$")
        for base, own in (
            (AZURE, {"STORAGE_ACL", "STORAGE_GCS_CREDENTIALS"}),
            (GCS, {"STORAGE_ACCESS_KEY_ID", "STORAGE_SECRET_ACCESS_KEY"}),
        )
        for name in sorted(own | {"STORAGE_REGION", "STORAGE_FLAVOUR", "STORAGE_ADDRESSING", "STORAGE_DISK_ROOT"})
    ),
    *(
        (base, {"STORAGE_GCS_CREDENTIALS": "x"}, "^STORAGE_GCS_CREDENTIALS means nothing to the backend ")
        for base in (ORIGINAL, DISK, MEMORY)
    ),
    (DISK, {"STORAGE_DISK_ROOT": None}, "^STORAGE_DISK_ROOT is missing"),
    (DISK, {"STORAGE_ACCESS_KEY_ID": None, "STORAGE_SECRET_ACCESS_KEY": None}, "must both be given"),
    (DISK, {"STORAGE_ACL": "none"}, "^STORAGE_ACL must be one of"),
    (DISK, {"STORAGE_REGION": "a/b"}, "^STORAGE_REGION is not the name of a region"),
    *((base, {"PUBLIC_URL": "ftp://example.com"}, "^PUBLIC_URL: ") for base in (DISK, AZURE, GCS)),
    # Azure
    (AZURE, {"STORAGE_BUCKET_NAME": None}, "^STORAGE_BUCKET_NAME is missing: the container"),
    (AZURE, {"STORAGE_BUCKET_NAME": "Uploads"}, "^STORAGE_BUCKET_NAME is not the name of a container: 'Uploads'"),
    (AZURE, {"STORAGE_HOSTNAME": None}, "^STORAGE_HOSTNAME is missing: the storage account's endpoint"),
    (
        AZURE,
        {"STORAGE_HOSTNAME": f"https://me:{SECRET}@datasets.blob.core.windows.net"},
        "^STORAGE_HOSTNAME: not a host",
    ),
    (AZURE, {"STORAGE_PUBLIC_URL": "https://example.com/a/b"}, "^STORAGE_PUBLIC_URL: not a host"),
    (AZURE, {"STORAGE_HOSTNAME": "others.blob.core.windows.net"}, "^STORAGE_HOSTNAME is of the account others"),
    (AZURE, {"STORAGE_SECRET_ACCESS_KEY": None}, "must both be given, or neither"),
    (AZURE, {"STORAGE_ACCESS_KEY_ID": None}, "must both be given, or neither"),
    (AZURE, {"STORAGE_SECRET_ACCESS_KEY": SECRET}, "^STORAGE_SECRET_ACCESS_KEY: not the key of a storage account"),
    (AZURE, {"STORAGE_ACCESS_KEY_ID": "Data-Sets"}, "^STORAGE_ACCESS_KEY_ID is not the name of a storage account"),
    (
        AZURE,
        {
            "STORAGE_HOSTNAME": "http://datasets.blob.core.windows.net",
            "STORAGE_ACCESS_KEY_ID": None,
            "STORAGE_SECRET_ACCESS_KEY": None,
        },
        "^STORAGE_HOSTNAME must be https without STORAGE_ACCESS_KEY_ID",
    ),
    (
        AZURE,
        {"STORAGE_UPLOAD_METHOD": "POST"},
        "^STORAGE_UPLOAD_METHOD: a store of the backend azure doesn't take POST",
    ),
    # Google Cloud Storage
    (GCS, {"STORAGE_BUCKET_NAME": None}, "^STORAGE_BUCKET_NAME is missing: the bucket"),
    (GCS, {"STORAGE_BUCKET_NAME": "Data"}, "^STORAGE_BUCKET_NAME: 'Data' is not the name of a bucket"),
    (GCS, {"STORAGE_HOSTNAME": "https://storage.googleapis.com/datahub"}, "^STORAGE_HOSTNAME: it must be a host"),
    (GCS, {"STORAGE_PUBLIC_URL": f"https://me:{SECRET}@example.com"}, "^STORAGE_PUBLIC_URL: it must be a host"),
    (GCS, {"STORAGE_ACL": "bucket-owner"}, "^STORAGE_ACL must be one of auto, none, .*did you mean bucket-owner-read"),
    (GCS, {"STORAGE_GCS_CREDENTIALS": None}, "^STORAGE_GCS_CREDENTIALS is missing: .*GOOGLE_APPLICATION_CREDENTIALS"),
    (GCS, {"STORAGE_GCS_CREDENTIALS": "/nowhere/key.json"}, "^STORAGE_GCS_CREDENTIALS: .*can't be read"),
    (GCS, {"STORAGE_GCS_CREDENTIALS": SERVICE_ACCOUNT[:-1]}, "^STORAGE_GCS_CREDENTIALS: .*a JSON object"),
    (
        GCS,
        {"STORAGE_GCS_CREDENTIALS": None, "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"},
        "^GOOGLE_APPLICATION_CREDENTIALS: .*can't be read",
    ),
    (ORIGINAL, {"PUBLIC_URL": f"https://me:{SECRET}@example.com"}, "^PUBLIC_URL: .*user name or a password"),
    # Key patterns
    *(
        (ORIGINAL, {"STORAGE_PATH_PATTERN": pattern}, "^STORAGE_PATH_PATTERN: key pattern")
        for pattern in ("{path}", "{owner}-{path}", "{owner}/{size}", "{owner}/{path.x}", "{owner}/../{path}", "x")
    ),
    # Numbers, flags and choices
    (DISK, {"STORAGE_MAX_TRANSFERS": "0"}, "^STORAGE_MAX_TRANSFERS must be a whole number"),
    (ORIGINAL, {"STORAGE_MAX_TRANSFERS": "7"}, "^STORAGE_MAX_TRANSFERS means nothing to the backend s3"),
    *(
        (ORIGINAL, {name: value}, f"^{name} must be a whole number")
        for name, wrong in {
            "MAX_FILES": ("0", "1000001"),
            "MAX_BODY_BYTES": ("1023", "9999999999"),
            "MAX_FILE_BYTES": ("0", str(5 * 1024**3 + 1)),
            "UPLOAD_EXPIRES_SECONDS": ("0", "604801"),
            "DOWNLOAD_EXPIRES_SECONDS": ("0", "604801"),
            "AUTH_REFRESH_SECONDS": ("9", "86401"),
            "AUTH_COOLDOWN_SECONDS": ("0", "3601"),
            "TOKEN_LEEWAY_SECONDS": ("601", "0" * 20 + "601", "0" * 20 + "9" * 5000),
            "TOKEN_MAX_LIFETIME_SECONDS": ("0", "1" + "0" * 10),
            "INSPECT_TIMEOUT_SECONDS": ("0", "61"),
            "CLIENT_TIMEOUT_SECONDS": ("0", "3601"),
            "CLIENT_MIN_BYTES_PER_SECOND": ("0",),
            "DRAIN_SECONDS": ("3601",),
            "GRACE_SECONDS": ("0",),
        }.items()
        for value in (*wrong, "-1", "1.5", "1e3", "ten", " 1", "1_0", "٣", "²", "9" * 5000)
    ),
    (ORIGINAL, {"REQUIRE_DIGEST": "maybe"}, "^REQUIRE_DIGEST must be true or false"),
    (ORIGINAL, {"REQUIRE_TOKEN_EXPIRY": "2"}, "^REQUIRE_TOKEN_EXPIRY must be true or false"),
    (ORIGINAL, {"LOG_FORMAT": "xml"}, "^LOG_FORMAT must be one of console, json"),
]


@pytest.mark.parametrize(("base", "changes", "problem"), REFUSALS)
def test_a_wrong_setting_is_the_one_problem_that_is_told(
    base: Environment, changes: Mapping[str, str | None], problem: str
) -> None:
    (told,) = problems(base, changes)
    assert re.search(problem, told)


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "SERVICE_NAME": "store",
        "DATAHUB_PUBLIC_KEY": None,
        "STORAGE_SECRET_ACCESS_KEY": None,
        "STORAGE_HOSTNAME": "https://example.com/path",
        "STORAGE_BUCKET_NAME": "x",
        "STORAGE_REGIO": "x",
        "STORAGE_PATH_PATTERN": "{path}",
        "MAX_FILES": "many",
        "LOG_FORMAT": "xml",
    }
    told = problems(ORIGINAL, wrong)
    assert len(told) == len(wrong)
    assert all(any(name in problem for problem in told) for name in wrong)


def test_an_empty_environment_is_told_what_it_needs() -> None:
    told = problems({}, {})
    assert [problem.split(" ")[0] for problem in told] == [
        "DATAHUB_PUBLIC_KEY",
        "STORAGE_BUCKET_NAME",
        "STORAGE_HOSTNAME",
    ]


class TestWhatIsShown:
    @pytest.mark.parametrize("base", [ORIGINAL, DISK, MEMORY, AZURE, GCS])
    def test_no_secret_and_no_key(self, base: Environment) -> None:
        settings = read(base)
        for shown in (repr(settings), str(settings), *settings.effective.values()):
            assert not [secret for secret in SECRETS if secret in shown]
        secret = "STORAGE_GCS_CREDENTIALS" if base is GCS else "STORAGE_SECRET_ACCESS_KEY"
        assert settings.effective[secret] == "********"
        assert settings.effective["DATAHUB_PUBLIC_KEY"] == "a public key for RS256"

    def test_every_setting_and_whether_it_is_a_default(self) -> None:
        effective = read(MAX_FILES="12").effective
        assert effective["MAX_FILES"] == "12"
        assert effective["MAX_BODY_BYTES"] == "8388608 (default)"
        assert effective["SERVICE_NAME"] == "rawstore"
        assert read(SERVICE_NAME=None).effective["SERVICE_NAME"] == "rawstore (default)"
        assert ORIGINAL.keys() <= effective.keys()

    def test_a_secret_is_still_there(self) -> None:
        """Witness that the tests above look at settings that do hold the secret."""
        assert SECRET in str(asdict(read()))


NAMES = sorted(
    {name for base, changes, _ in REFUSALS for name in (*base, *changes)} | {"TOKEN_AUDIENCE", "TOKEN_ISSUER"}
)
PLAUSIBLE = sorted(
    {value for base, changes, _ in REFUSALS for value in (*base.values(), *changes.values()) if value is not None}
)


class TestArbitraryEnvironments:
    @given(
        base=st.sampled_from([ORIGINAL, FETCHED, DISK, MEMORY, AZURE, GCS, {}]),
        changes=st.dictionaries(
            st.sampled_from(NAMES) | bits.any_text.map("STORAGE_{}".format),
            st.none() | st.sampled_from(PLAUSIBLE) | bits.any_text | st.integers().map(str),
            max_size=4,
        ),
    )
    @example(ORIGINAL, {"STORAGE_HOSTNAME": "https://[::1]]"})
    @example(ORIGINAL, {"STORAGE_HOSTNAME": "http://\u2100.example.com"})
    @example(ORIGINAL, {"STORAGE_HOSTNAME": "http://[fe80::1%eth0]:80"})
    def test_give_settings_or_say_what_is_wrong(self, base: Environment, changes: Mapping[str, str | None]) -> None:
        environment = changed(base, changes)
        result = attempt(Settings.from_environment, environment)
        if isinstance(result, Settings):
            store = result.store
            url = store.signer.url_prefixes("")[0] if isinstance(store, Store) else store.public.url
            assert url.isascii()
            assert not url.endswith("/")
        else:
            assert isinstance(result, Misconfigured)
            assert result.problems
            assert all(result.problems)
