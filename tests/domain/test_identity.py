"""Whom a token's claims prove, and what that user may do."""

import math
from collections.abc import Mapping
from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import AccessDenied, ErrorCode, InvalidInput, Unauthenticated
from domain.identity import UPLOAD_PERMISSION, Principal, TokenRules, principal_of
from domain.keys import Owner
from tests import strategies as bits
from tests.domain.refusals import assert_fit_to_be_shown, attempt

NOW = bits.NOW
SECONDS = NOW.timestamp()
LEEWAY = 30
MAX_LIFETIME = 86_400
RULES = TokenRules(
    bits.SERVICE, leeway=timedelta(seconds=LEEWAY), max_lifetime=timedelta(seconds=MAX_LIFETIME), require_expiry=True
)
LENIENT = evolve(RULES, require_expiry=False)

OK = None
INVALID = ErrorCode.TOKEN_INVALID
EXPIRED = ErrorCode.TOKEN_EXPIRED


def outcome(claims: Mapping[str, object], rules: TokenRules = RULES) -> ErrorCode | None:
    """Give the code of the refusal, or None if the claims prove somebody."""
    found = attempt(principal_of, claims, rules, NOW)
    if isinstance(found, Principal):
        return None
    assert isinstance(found, Unauthenticated)
    assert_fit_to_be_shown(found)
    return found.code


@given(claims=bits.claims())
def test_good_claims_prove_their_user(claims: bits.Claims) -> None:
    principal = principal_of(claims, RULES, NOW)
    assert principal.userid == claims["userid"]
    assert principal.service == claims["service"] == bits.SERVICE
    assert principal.may_upload
    permissions = claims["permissions"]
    assert isinstance(permissions, dict)
    for bytes_allowed, name in [
        (principal.max_public_bytes, "max_public_storage_mb"),
        (principal.max_private_bytes, "max_private_storage_mb"),
    ]:
        assert bytes_allowed == (permissions[name] * 10**6 if name in permissions else None)


@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        (SECONDS - 10**9, EXPIRED),
        (0, EXPIRED),
        (-1, EXPIRED),
        (-(10**400), EXPIRED),
        (SECONDS - LEEWAY - 1, EXPIRED),
        (SECONDS - LEEWAY, EXPIRED),  # "on or after which the JWT MUST NOT be accepted" (RFC 7519, section 4.1.4)
        (int(SECONDS) - LEEWAY, EXPIRED),
        (SECONDS - LEEWAY + 0.001, OK),
        (SECONDS - LEEWAY + 1, OK),
        (SECONDS, OK),
        (SECONDS + 1, OK),
        (int(SECONDS) + 3600, OK),
        (SECONDS + MAX_LIFETIME, OK),
        (SECONDS + MAX_LIFETIME + LEEWAY, OK),
        (SECONDS + MAX_LIFETIME + LEEWAY + 0.001, INVALID),
        (SECONDS + MAX_LIFETIME + LEEWAY + 1, INVALID),
        (SECONDS * 1000, INVALID),  # milliseconds
        (10**400, INVALID),
        (1e308, INVALID),
        (math.inf, INVALID),
        (-math.inf, INVALID),
        (math.nan, INVALID),
        (True, INVALID),
        (False, INVALID),
        (None, INVALID),
        (str(int(SECONDS) + 60), INVALID),
        ("", INVALID),
        ("never", INVALID),
        ([SECONDS + 60], INVALID),
        ({}, INVALID),
    ],
)
@pytest.mark.parametrize("rules", [RULES, LENIENT], ids=["expiry required", "expiry optional"])
def test_expiry(expiry: object, expected: ErrorCode | None, rules: TokenRules) -> None:
    assert outcome(bits.good_claims(exp=expiry), rules) == expected


def test_a_token_without_expiry_is_accepted_only_by_a_lenient_service() -> None:
    claims = bits.good_claims()
    del claims["exp"]
    assert outcome(claims, RULES) is INVALID
    assert outcome(claims, LENIENT) is OK


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0, OK),
        (-(10**400), OK),
        (SECONDS, OK),
        (SECONDS + LEEWAY, OK),
        (int(SECONDS) + LEEWAY, OK),
        (SECONDS + LEEWAY + 0.001, INVALID),
        (SECONDS + LEEWAY + 1, INVALID),
        (10**400, INVALID),
        (math.inf, INVALID),
        (-math.inf, INVALID),
        (math.nan, INVALID),
        (True, INVALID),
        (False, INVALID),
        (None, INVALID),
        (str(int(SECONDS)), INVALID),
        ([], INVALID),
    ],
)
def test_a_token_is_not_used_before_its_time(name: str, start: object, expected: ErrorCode | None) -> None:
    assert outcome(bits.good_claims() | {name: start}) == expected


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (bits.SERVICE, OK),
        ("Rawstore", INVALID),
        ("RAWSTORE", INVALID),
        ("rawstore ", INVALID),
        (" rawstore", INVALID),
        ("rawstore\n", INVALID),
        ("rawstore2", INVALID),
        ("raw", INVALID),
        ("r\u0430wstore", INVALID),
        ("", INVALID),
        (None, INVALID),
        (True, INVALID),
        ([bits.SERVICE], INVALID),
        ({bits.SERVICE: True}, INVALID),
    ],
)
def test_the_service_must_be_ours_to_the_letter(service: object, expected: ErrorCode | None) -> None:
    assert outcome(bits.good_claims(service=service)) == expected


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        ("store.example.org", OK),
        (["store.example.org"], OK),
        (["other", "store.example.org"], OK),
        ("Store.example.org", INVALID),
        ("store.example.org.evil.example", INVALID),
        ("store", INVALID),
        (["store", "example.org"], INVALID),
        ([["store.example.org"]], INVALID),
        ({"store.example.org": True}, INVALID),
        ([], INVALID),
        ("", INVALID),
        (None, INVALID),
        (True, INVALID),
    ],
)
def test_the_audience_is_checked_when_it_is_configured(audience: object, expected: ErrorCode | None) -> None:
    claims = bits.good_claims(aud=audience)
    assert outcome(claims, evolve(RULES, audience="store.example.org")) == expected
    assert outcome(claims, RULES) is OK


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("https://auth.example.org", OK),
        ("https://auth.example.org/", INVALID),
        ("http://auth.example.org", INVALID),
        (["https://auth.example.org"], INVALID),
        ("", INVALID),
        (None, INVALID),
    ],
)
def test_the_issuer_is_checked_when_it_is_configured(issuer: object, expected: ErrorCode | None) -> None:
    claims = bits.good_claims(iss=issuer)
    assert outcome(claims, evolve(RULES, issuer="https://auth.example.org")) == expected
    assert outcome(claims, RULES) is OK


def test_an_audience_or_issuer_that_is_configured_must_be_there() -> None:
    assert outcome(bits.good_claims(), evolve(RULES, audience="store.example.org")) is INVALID
    assert outcome(bits.good_claims(), evolve(RULES, issuer="https://auth.example.org")) is INVALID


@given(miss=bits.near_miss_segments)
def test_a_userid_that_can_not_own_a_prefix_proves_nobody(miss: bits.NearMiss) -> None:
    assert outcome(bits.good_claims(userid=str(miss.value))) is INVALID


@given(userid=bits.not_a_string)
def test_a_userid_is_a_string(userid: object) -> None:
    assert outcome(bits.good_claims() | {"userid": userid}) is INVALID


def test_a_token_without_a_userid_proves_nobody() -> None:
    claims = bits.good_claims(sub="alice", username="alice", owner="alice")
    del claims["userid"]
    assert outcome(claims) is INVALID


# --- Permissions and quotas ---


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        (True, True),
        (False, False),
        (1, False),
        (1.0, False),
        ("true", False),
        ("True", False),
        (None, False),
        ([True], False),
        ({"allowed": True}, False),
    ],
)
def test_the_permission_is_true_and_nothing_like_it(permission: object, *, allowed: bool) -> None:
    principal = principal_of(bits.good_claims(permissions={UPLOAD_PERMISSION: permission}), RULES, NOW)
    assert principal.may_upload == allowed
    denied = attempt(principal.require_upload_permission)
    if allowed:
        assert denied is None
    else:
        assert isinstance(denied, AccessDenied)
        assert denied.code is ErrorCode.PERMISSION_MISSING


@pytest.mark.parametrize("name", ["datapackage_upload", "Datapackage-Upload", "datapackage-upload ", "upload", "*"])
def test_another_permission_is_not_the_permission(name: str) -> None:
    assert not principal_of(bits.good_claims(permissions={name: True}), RULES, NOW).may_upload


@pytest.mark.parametrize("permissions", [None, True, "datapackage-upload", ["datapackage-upload"], 1])
def test_permissions_are_an_object(permissions: object) -> None:
    assert outcome(bits.good_claims(permissions=permissions)) is INVALID


def test_a_token_without_permissions_proves_its_user_who_may_not_upload() -> None:
    claims = bits.good_claims()
    del claims["permissions"]
    assert principal_of(claims, RULES, NOW) == Principal(
        Owner("alice"), bits.SERVICE, may_upload=False, expires_at=NOW + timedelta(hours=1)
    )


@pytest.mark.parametrize(
    ("megabytes", "expected"),
    [(0, 0), (-0.0, 0), (1, 10**6), (0.5, 500_000), (1.5, 1_500_000), (100.0, 10**8), (10**400, 10**406)],
)
def test_a_quota_is_in_millions_of_bytes(megabytes: object, expected: int) -> None:
    permissions = {"max_public_storage_mb": megabytes, "max_private_storage_mb": megabytes}
    principal = principal_of(bits.good_claims(permissions=permissions), RULES, NOW)
    assert principal.max_public_bytes == principal.max_private_bytes == expected
    assert type(principal.max_public_bytes) is int


@pytest.mark.parametrize("name", ["max_public_storage_mb", "max_private_storage_mb"])
@pytest.mark.parametrize(
    "megabytes",
    [
        None,
        True,
        False,
        "",
        "100",
        -1,
        -0.5,
        -1e-7,
        -(10**400),
        1e305,
        math.inf,
        -math.inf,
        math.nan,
        [100],
        {"mb": 100},
    ],
)
def test_a_quota_that_is_no_size_refuses_the_token(name: str, megabytes: object) -> None:
    # To take it for "no quota" would give its user more than anybody meant.
    assert outcome(bits.good_claims(permissions={name: megabytes})) is INVALID


def test_each_access_has_its_own_quota() -> None:
    permissions = {"max_public_storage_mb": 1, "max_private_storage_mb": 2}
    principal = principal_of(bits.good_claims(permissions=permissions), RULES, NOW)
    assert (principal.max_public_bytes, principal.max_private_bytes) == (10**6, 2 * 10**6)


# --- What is demanded where nothing else is said ---


def test_rules_are_strict_by_default() -> None:
    assert TokenRules(bits.SERVICE) == TokenRules(
        bits.SERVICE,
        leeway=timedelta(seconds=30),
        max_lifetime=timedelta(hours=24),
        require_expiry=True,
        audience=None,
        issuer=None,
    )


def test_uploading_takes_the_permission_that_the_auth_service_gives() -> None:
    permitted = bits.good_claims(permissions={"datapackage-upload": True})
    assert principal_of(permitted, RULES, NOW).may_upload


# --- Any claims at all ---


@given(
    claims=bits.claims(),
    changes=st.dictionaries(
        st.sampled_from(["service", "userid", "exp", "nbf", "iat", "aud", "iss", "permissions"]),
        st.one_of(bits.json_like, st.dictionaries(st.just("max_public_storage_mb"), bits.json_like)),
    ),
    missing=st.sets(st.sampled_from(["service", "userid", "exp", "permissions"])),
    rules=st.sampled_from([RULES, LENIENT, evolve(RULES, audience="a"), evolve(RULES, issuer="i")]),
)
def test_whatever_the_claims_are_they_prove_somebody_or_nobody(
    claims: bits.Claims, changes: bits.Claims, missing: set[str], rules: TokenRules
) -> None:
    claims = {name: value for name, value in (claims | changes).items() if name not in missing}
    if outcome(claims, rules) is None:
        principal = principal_of(claims, rules, NOW)
        assert principal.userid == claims["userid"]
        assert bits.is_legal_segment(principal.userid)
        assert claims["service"] == bits.SERVICE
        permissions = claims.get("permissions", {})
        assert isinstance(permissions, dict)
        assert principal.may_upload == (permissions.get(UPLOAD_PERMISSION) is True)


@pytest.mark.parametrize(
    "fault",
    [
        {"service": "another"},
        {"userid": "a/b"},
        {"permissions": None},
        {"permissions": {"max_public_storage_mb": "1"}},
        {"iat": "yesterday"},
        {"iat": SECONDS + 3600},
        {"nbf": SECONDS + 3600},
    ],
)
def test_a_token_is_called_expired_only_if_nothing_else_is_wrong_with_it(fault: bits.Claims) -> None:
    assert outcome(bits.good_claims(exp=1)) is EXPIRED
    assert outcome(bits.good_claims() | {"exp": 1} | fault) is INVALID


@given(claims=bits.claims(), later=st.integers(0, 10**7))
def test_a_token_that_has_expired_stays_expired(claims: bits.Claims, later: int) -> None:
    expiry = claims["exp"]
    assert isinstance(expiry, int | float)
    over = max(0.0, expiry - SECONDS) + LEEWAY + 0.01
    refusal = attempt(principal_of, claims, RULES, NOW + timedelta(seconds=over + later))
    assert isinstance(refusal, Unauthenticated)
    assert refusal.code is EXPIRED


# --- Ownership ---


@given(owner=bits.owners)
def test_a_user_owns_what_bears_the_users_own_id(owner: Owner) -> None:
    Principal(owner, bits.SERVICE, may_upload=True).require_ownership(Owner(str(owner)))


@given(alike=bits.look_alike_owners())
def test_a_user_does_not_own_what_bears_a_look_alike(alike: tuple[Owner, Owner, str]) -> None:
    owner, other, why = alike
    for user, wanted in ((owner, other), (other, owner)):
        refusal = attempt(Principal(user, bits.SERVICE, may_upload=True).require_ownership, wanted)
        assert isinstance(refusal, AccessDenied), why
        assert (refusal.code, refusal.field) == (ErrorCode.NOT_OWNER, "owner")
        assert not isinstance(refusal, InvalidInput)
        assert_fit_to_be_shown(refusal)
