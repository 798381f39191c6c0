"""Our signatures are those of Microsoft's SDK, byte for byte."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

import pytest
from attrs import evolve
from azure.storage.blob import UserDelegationKey as SdkKey
from azure.storage.blob import generate_blob_sas, generate_container_sas
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores.azure_sas import (
    CREATE,
    CREATE_OR_REPLACE,
    LIST,
    READ,
    READ_AND_WRITE,
    WRITE,
    AccountKey,
    SasTerms,
    SigningKey,
    UserDelegationKey,
    blob_template,
    container_query,
    expiry,
)
from adapters.stores.content_disposition import attachment
from domain.errors import ErrorCode, Unavailable
from tests import strategies as bits

NOW = datetime(2026, 1, 1, 12, 30, 15, tzinfo=UTC)
# Not a key of anybody's.
SECRET = bytes(range(64))
ACCOUNT_KEY = AccountKey("datasets", SECRET)
DELEGATED = UserDelegationKey(
    account="datasets",
    object_id="00000000-0000-0000-0000-000000000002",
    tenant_id="00000000-0000-0000-0000-000000000001",
    starts="2026-01-01T00:00:00Z",
    expires="2026-01-08T00:00:00Z",
    service="b",
    key_version="2026-04-06",
    secret=SECRET,
)

# The rules of Azure, but for the length.
containers = st.from_regex(r"[a-z0-9]{3}(-[a-z0-9]+){0,3}", fullmatch=True)
# As sparse as a name may be, or dense with what is escaped in a URL, in a query or in neither.
names = bits.short_paths | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
moments = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
secrets = st.binary(min_size=1, max_size=200)


def terms_of(permissions: str, expires_at: datetime, https_only: bool, filename: str | None) -> SasTerms:
    return SasTerms(permissions, expires_at, https_only, "" if filename is None else attachment(filename))


all_terms = st.builds(
    terms_of,
    st.sampled_from([READ, CREATE, WRITE, CREATE_OR_REPLACE, READ_AND_WRITE]),
    moments,
    st.booleans(),
    st.none() | bits.file_names,
)


def options(key: SigningKey, terms: SasTerms) -> dict[str, Any]:
    """What the SDK is told, so that it signs the same."""
    delegated = None
    if isinstance(key, UserDelegationKey):
        delegated = SdkKey()  # type: ignore[no-untyped-call]  # the SDK's own omission
        delegated.signed_oid, delegated.signed_tid = key.object_id, key.tenant_id
        delegated.signed_start, delegated.signed_expiry = key.starts, key.expires
        delegated.signed_service, delegated.signed_version = key.service, key.key_version
        delegated.value = base64.b64encode(key.secret).decode()
    return {
        "account_key": None if delegated else base64.b64encode(key.secret).decode(),
        "user_delegation_key": delegated,
        "permission": terms.permissions,
        "expiry": terms.expires_at,
        "protocol": "https" if terms.https_only else None,
        "content_disposition": terms.disposition or None,
    }


def at_version(key: SigningKey) -> "mock._patch[str]":
    """Have the SDK sign for the version of the service that we sign for."""
    return mock.patch("azure.storage.blob._shared_access_signature.X_MS_VERSION", key.version)


@pytest.mark.parametrize("key", [ACCOUNT_KEY, DELEGATED], ids=["account key", "user delegation key"])
class TestAgainstTheSdk:
    @given(container=containers, name=names, terms=all_terms, secret=secrets)
    def test_what_is_signed_for_a_blob(
        self, key: AccountKey | UserDelegationKey, container: str, name: str, terms: SasTerms, secret: bytes
    ) -> None:
        key = evolve(key, secret=secret)
        with at_version(key):
            theirs = generate_blob_sas(key.account, container, name, **options(key, terms))
        assert blob_template(key, container, terms).sign(name) == theirs

    @given(container=containers, terms=all_terms)
    def test_what_is_signed_for_a_container(
        self, key: AccountKey | UserDelegationKey, container: str, terms: SasTerms
    ) -> None:
        terms = evolve(terms, permissions=LIST)
        with at_version(key):
            theirs = generate_container_sas(key.account, container, **options(key, terms))
        assert container_query(key, container, terms) == theirs

    def test_the_newest_version_has_the_same_form(self, key: AccountKey | UserDelegationKey) -> None:
        terms = terms_of(READ, NOW, True, "a b.csv")
        theirs = generate_blob_sas(key.account, "c01", "a b.csv", **options(key, terms))
        newest = parse_qs(theirs)["sv"][0]
        assert newest > key.version
        assert blob_template(evolve(key, version=newest), "c01", terms).sign("a b.csv") == theirs

    def test_a_batch_is_signed_like_one(self, key: AccountKey | UserDelegationKey) -> None:
        terms = terms_of(CREATE, NOW, True, None)
        template = blob_template(key, "c01", terms)
        names = [f"part-{number}.csv" for number in range(3)]
        assert [template.sign(name) for name in names] == [
            blob_template(key, "c01", terms).sign(name) for name in names
        ]


class TestExpiry:
    @given(lifetime=st.integers(1, 604_800), micros=st.integers(0, 999_999))
    def test_is_in_whole_seconds_and_never_later_than_asked(self, lifetime: int, micros: int) -> None:
        now = NOW.replace(microsecond=micros)
        ends = expiry(ACCOUNT_KEY, timedelta(seconds=lifetime), now)
        assert ends.microsecond == 0
        assert timedelta(0) <= now + timedelta(seconds=lifetime) - ends < timedelta(seconds=1)

    def test_is_never_later_than_that_of_the_key(self) -> None:
        assert DELEGATED.expires_at == datetime(2026, 1, 8, tzinfo=UTC)
        assert expiry(DELEGATED, timedelta(days=30), NOW) == DELEGATED.expires_at
        assert expiry(DELEGATED, timedelta(days=1), NOW) == NOW + timedelta(days=1)

    @pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(days=1)])
    def test_nothing_is_signed_by_a_key_that_has_expired(self, late: timedelta) -> None:
        with pytest.raises(Unavailable) as refused:
            expiry(DELEGATED, timedelta(days=1), DELEGATED.expires_at + late)
        assert refused.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE

    def test_the_service_may_write_fractions_of_seconds(self) -> None:
        key = evolve(DELEGATED, expires="2026-01-08T00:00:00.1234567Z")
        assert expiry(key, timedelta(days=30), NOW) == datetime(2026, 1, 8, tzinfo=UTC)


class TestAccountKeys:
    def test_are_read_from_base64(self) -> None:
        assert AccountKey.parse("datasets", base64.b64encode(SECRET).decode()) == ACCOUNT_KEY

    @pytest.mark.parametrize("text", ["", "not base64!", "c2VjcmV0=", "c2Vj\ncmV0", "schlüssel"])
    def test_nothing_else_is_one(self, text: str) -> None:
        with pytest.raises(ValueError, match="not the key of a storage account") as refused:
            AccountKey.parse("datasets", text)
        assert not text or text not in str(refused.value)

    @pytest.mark.parametrize("key", [ACCOUNT_KEY, DELEGATED])
    def test_no_representation_shows_a_secret(self, key: AccountKey | UserDelegationKey) -> None:
        assert repr(SECRET) not in repr(key)
        assert "secret" not in repr(key)
