"""Verifying tokens: real keys, honest tokens, and forged ones, each of which is only ever refused."""

import base64
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, cast

import jwt
import pytest
from attrs import evolve
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.tokens.jwt import (
    ALGORITHMS,
    MAX_TOKEN_BYTES,
    JwtVerifier,
    KeyRing,
    VerificationKey,
    load_key,
    verification_key,
)
from domain.errors import ErrorCode, Misconfigured, Unauthenticated, Unavailable, UnknownKey
from domain.identity import UPLOAD_PERMISSION, Principal, TokenRules
from domain.keys import Owner
from tests import strategies as bits
from tests.domain.refusals import assert_fit_to_be_shown
from tests.hard.hostile.cases_of_tokens import (
    FORGERIES,
    HONEST,
    NO_OWNERS,
    NOT_NUMBERS,
    NOT_PERMISSIONS,
    NOT_TRUE,
    OTHER_SERVICES,
)
from tests.hard.hostile.tokens import Good
from tests.tokens import (
    ec_key,
    ed25519_key,
    make_token,
    private_key,
    private_pem,
    public_pem,
    rsa_key,
    segment,
)

NOW = bits.NOW
SECONDS = int(NOW.timestamp())
LEEWAY = 30
MAX_LIFETIME = 86_400
RULES = TokenRules(
    bits.SERVICE, leeway=timedelta(seconds=LEEWAY), max_lifetime=timedelta(seconds=MAX_LIFETIME), require_expiry=True
)
MARKER = "a-user-whom-no-message-names"
CLAIMS = bits.good_claims(MARKER)
GOOD = Good(CLAIMS, {"alg": "RS256", "typ": "JWT"}, SECONDS)


def verifier_of(key: VerificationKey, rules: TokenRules) -> JwtVerifier:
    return JwtVerifier(lambda: KeyRing((key,)), rules)


def verifier(algorithm: str = "RS256", rules: TokenRules = RULES) -> JwtVerifier:
    return verifier_of(load_key(public_pem(private_key(algorithm)), [algorithm]), rules)


def refusal(token: str, algorithm: str = "RS256", rules: TokenRules = RULES, now: datetime = NOW) -> Unauthenticated:
    """Check that a token is refused, and that nothing of it is said, and give the refusal."""
    with pytest.raises(Unauthenticated) as refused:
        verifier(algorithm, rules).verify(token, now)
    error = refused.value
    assert_fit_to_be_shown(error)
    told = "".join(traceback.format_exception(error)) + repr(error)
    assert MARKER not in told
    assert not any(part in told for part in token.split(".") if len(part) > 8)
    return error


class TestHonestTokens:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_tokens_of_pyjwt_prove_their_user(self, algorithm: str) -> None:
        token = jwt.encode(CLAIMS, private_key(algorithm), algorithm)
        assert verifier(algorithm).verify(token, NOW) == Principal(
            Owner(MARKER), bits.SERVICE, may_upload=True, expires_at=NOW + timedelta(hours=1)
        )

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    @settings(max_examples=30)
    @given(claims=bits.claims())
    def test_tokens_made_by_hand_prove_their_user(self, algorithm: str, claims: bits.Claims) -> None:
        payload = json.dumps(claims).encode("utf-8")
        if len(payload) < MAX_TOKEN_BYTES // 2 and b"Infinity" not in payload and b"NaN" not in payload:
            principal = verifier(algorithm).verify(make_token(payload, algorithm), NOW)
            assert (principal.userid, principal.may_upload) == (claims["userid"], True)

    def test_the_published_ed25519_token_is_verified(self) -> None:
        """RFC 8037, appendices A.2 and A.4: the payload is no JSON, so that only the signature's place is passed."""
        x = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
        # RFC 8410, section 4: the fixed start of a SubjectPublicKeyInfo of an Ed25519 key.
        der = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + x).decode()
        pem = f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"
        token = (
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        )
        checked = verifier_of(load_key(pem, ["EdDSA"]), RULES)
        with pytest.raises(Unauthenticated, match="not strict JSON"):
            checked.verify(token, NOW)
        with pytest.raises(Unauthenticated, match="signature"):
            checked.verify(token.replace("hgyY", "hgyZ"), NOW)

    @pytest.mark.parametrize("kid", ["", "any-name", "../../etc/passwd", "' OR 1=1 --"])
    def test_a_name_of_a_key_decides_nothing_where_there_is_one_key(self, kid: str) -> None:
        token = make_token(CLAIMS, header={"alg": "RS256", "kid": kid})
        assert verifier().verify(token, NOW).userid == MARKER

    @pytest.mark.parametrize("name", HONEST)
    def test_tokens_that_only_look_odd_prove_their_user(self, name: str) -> None:
        assert verifier().verify(HONEST[name](GOOD), NOW).userid == MARKER

    def test_every_canonical_base64_is_read(self) -> None:
        header, payload, _ = make_token(CLAIMS).split(".")
        for number in range(64):
            # Each ends in 2, 3 or 4 characters, nearly all of which are the same one of the alphabet's 64.
            endings = [bytes([number << 2 | number >> 4]), (number * 0x410 | number >> 2).to_bytes(2, "big")]
            for data in (*endings, (number * 0x41041).to_bytes(3, "big")):
                token = f"{header}.{payload}.{segment(data)}"
                assert refusal(token).message == "the token is not acceptable: its signature doesn't match"


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_only_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert refusal(FORGERIES[name](GOOD)).code is ErrorCode.TOKEN_INVALID
    assert not caplog.records


@pytest.mark.parametrize(
    ("signed_with", "expected"), [(one, other) for one in ALGORITHMS for other in ALGORITHMS if one != other]
)
@pytest.mark.parametrize("honest", [True, False], ids=["named", "misnamed"])
def test_a_key_is_good_for_its_one_algorithm(signed_with: str, expected: str, honest: bool) -> None:
    token = make_token(CLAIMS, signed_with, header={"alg": signed_with if honest else expected})
    assert refusal(token, expected).code is ErrorCode.TOKEN_INVALID


class TestEllipticCurveSignatures:
    def test_a_signature_in_der_is_refused(self) -> None:
        data = make_token(CLAIMS, "ES256").rpartition(".")[0]
        refusal(f"{data}.{segment(ec_key().sign(data.encode(), ECDSA(SHA256())))}", "ES256")

    @pytest.mark.parametrize("curve", [SECP384R1(), SECP256K1()], ids=["P-384", "secp256k1"])
    def test_a_signature_on_another_curve_is_refused(self, curve: SECP384R1 | SECP256K1) -> None:
        refusal(make_token(CLAIMS, "ES256", key=generate_ec_key(curve)), "ES256")

    @pytest.mark.parametrize("raw", [b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"\0" * 65, b"\0"])
    def test_numbers_out_of_range_are_refused(self, raw: bytes) -> None:
        """Zero and the group's order are no signatures (CVE-2022-21449 was a verifier that took zeros)."""
        data = make_token(CLAIMS, "ES256").rpartition(".")[0]
        refusal(f"{data}.{segment(raw)}", "ES256")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_with_any_bit_flipped_is_refused(algorithm: str) -> None:
    token = make_token(CLAIMS, algorithm)
    assert verifier(algorithm).verify(token, NOW).userid == MARKER
    data, _, encoded = token.rpartition(".")
    raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    for bit in (0, 1, 7, 8, len(raw) * 4, len(raw) * 8 - 9, len(raw) * 8 - 1):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 128 >> bit % 8
        refusal(f"{data}.{segment(bytes(flipped))}", algorithm)
    for shorter in (raw[:-1], raw[1:], raw + b"\0", b"\0" + raw):
        refusal(f"{data}.{segment(shorter)}", algorithm)


OK = None
INVALID = ErrorCode.TOKEN_INVALID
EXPIRED = ErrorCode.TOKEN_EXPIRED


class TestClaims:
    """The rules themselves are the domain's; these are their outcomes through a signed token."""

    def outcome(self, claims: Mapping[str, object] | bytes, rules: TokenRules = RULES) -> ErrorCode | None:
        token = make_token(claims)
        try:
            verifier(rules=rules).verify(token, NOW)
        except Unauthenticated:
            return refusal(token, rules=rules).code
        return None

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("exp", SECONDS - LEEWAY - 1, EXPIRED),
            ("exp", SECONDS - LEEWAY, EXPIRED),
            ("exp", SECONDS - LEEWAY + 1, OK),
            ("exp", SECONDS, OK),
            ("exp", SECONDS + MAX_LIFETIME + LEEWAY, OK),
            ("exp", SECONDS + MAX_LIFETIME + LEEWAY + 1, INVALID),
            ("exp", 0, EXPIRED),
            ("exp", -(10**400), EXPIRED),
            ("exp", 10**400, INVALID),
            ("exp", 1e308, INVALID),
            ("exp", float(SECONDS + 60), OK),
            ("nbf", SECONDS + LEEWAY, OK),
            ("nbf", SECONDS + LEEWAY + 1, INVALID),
            ("nbf", 10**400, INVALID),
            ("iat", SECONDS + LEEWAY, OK),
            ("iat", SECONDS + LEEWAY + 1, INVALID),
            ("iat", 0, OK),
            *((name, value, INVALID) for name in ("exp", "nbf", "iat") for value in NOT_NUMBERS),
        ],
    )
    def test_times_count_to_the_second(self, name: str, value: object, expected: ErrorCode | None) -> None:
        assert self.outcome(CLAIMS | {name: value}) is expected

    def test_a_token_without_expiry_is_accepted_only_if_the_operator_says_so(self) -> None:
        timeless = {name: value for name, value in CLAIMS.items() if name != "exp"}
        assert self.outcome(timeless) is INVALID
        assert self.outcome(timeless, evolve(RULES, require_expiry=False)) is OK

    @pytest.mark.parametrize("service", OTHER_SERVICES)
    def test_another_service_is_refused(self, service: object) -> None:
        assert self.outcome(CLAIMS | {"service": service}) is INVALID

    @pytest.mark.parametrize("name", ["service", "userid"])
    def test_a_missing_claim_is_refused(self, name: str) -> None:
        assert self.outcome({key: value for key, value in CLAIMS.items() if key != name}) is INVALID

    @pytest.mark.parametrize("userid", NO_OWNERS)
    def test_a_user_who_cannot_be_an_owner_is_refused(self, userid: object) -> None:
        assert self.outcome(CLAIMS | {"userid": userid}) is INVALID

    @pytest.mark.parametrize("permission", NOT_TRUE)
    def test_only_true_permits_an_upload(self, permission: object) -> None:
        token = make_token(CLAIMS | {"permissions": {UPLOAD_PERMISSION: permission}})
        assert not verifier().verify(token, NOW).may_upload

    @pytest.mark.parametrize("permissions", NOT_PERMISSIONS)
    def test_permissions_are_an_object(self, permissions: object) -> None:
        assert self.outcome(CLAIMS | {"permissions": permissions}) is INVALID

    def test_the_audience_is_checked_where_one_is_configured(self) -> None:
        rules = evolve(RULES, audience="store")
        assert self.outcome(CLAIMS | {"aud": "anything"}) is OK
        assert self.outcome(CLAIMS | {"aud": "store"}, rules) is OK
        assert self.outcome(CLAIMS | {"aud": ["other", "store"]}, rules) is OK
        for audience in ("other", "Store", "", None, ["other"], [], {"store": 1}, "store other", [["store"]]):
            assert self.outcome(CLAIMS | {"aud": audience}, rules) is INVALID
        assert self.outcome(CLAIMS, rules) is INVALID

    def test_the_issuer_is_checked_where_one_is_configured(self) -> None:
        rules = evolve(RULES, issuer="https://auth.example.com")
        assert self.outcome(CLAIMS | {"iss": "anybody"}) is OK
        assert self.outcome(CLAIMS | {"iss": "https://auth.example.com"}, rules) is OK
        for issuer in ("https://auth.example.com/", "", None, ["https://auth.example.com"]):
            assert self.outcome(CLAIMS | {"iss": issuer}, rules) is INVALID
        assert self.outcome(CLAIMS, rules) is INVALID

    def test_nothing_of_a_forgery_is_believed(self) -> None:
        """A token that is not ours says nothing, not even that it has expired."""
        token = make_token(CLAIMS | {"exp": 1}, key=rsa_key(1024))
        assert refusal(token).code is INVALID


GOOD_TOKENS = {algorithm: make_token(CLAIMS, algorithm) for algorithm in ("RS256", "ES256", "EdDSA")}


class TestArbitraryText:
    @given(text=bits.any_text | st.text("abcXYZ012-_.=+/", max_size=60))
    @example("a.b.c")
    @example("e30.e30.e30")
    def test_is_only_refused(self, text: str) -> None:
        refusal(text)

    @given(
        algorithm=st.sampled_from(sorted(GOOD_TOKENS)),
        edits=st.lists(
            st.tuples(
                st.integers(0, 10_000),
                st.integers(0, 3),
                st.text("ABCabc019-_.=", max_size=3) | st.text(max_size=2),
            ),
            min_size=1,
            max_size=4,
        ),
    )
    def test_in_a_good_token_makes_it_a_bad_one(self, algorithm: str, edits: list[tuple[int, int, str]]) -> None:
        token = GOOD_TOKENS[algorithm]
        for place, removed, inserted in edits:
            start = place % (len(token) + 1)
            token = token[:start] + inserted + token[start + removed :]
        if token == GOOD_TOKENS[algorithm]:
            assert verifier(algorithm).verify(token, NOW).userid == MARKER
        else:
            refusal(token, algorithm)

    @given(header=bits.json_like, payload=bits.json_like)
    def test_as_header_and_payload_is_only_refused(self, header: object, payload: object) -> None:
        token = make_token(json.dumps(payload).encode(), header=json.dumps(header).encode())
        refusal(token)

    @given(extra=st.dictionaries(bits.any_text, bits.json_like, max_size=3))
    def test_in_members_that_we_do_not_know_is_no_fault(self, extra: dict[str, object]) -> None:
        extra = {f"x-{name}": value for name, value in extra.items()}
        token = make_token(extra | CLAIMS, header={"alg": "RS256"} | dict.fromkeys(extra, 1))
        with_numbers = json.dumps(extra)
        if len(token) < MAX_TOKEN_BYTES and "NaN" not in with_numbers and "Infinity" not in with_numbers:
            assert verifier().verify(token, NOW).userid == MARKER


class TestKeys:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_public_key_is_read(self, algorithm: str) -> None:
        key = load_key(public_pem(private_key(algorithm)), [algorithm])
        assert (key.algorithm, key.kid) == (algorithm, None)

    def test_the_first_algorithm_that_fits_is_taken(self) -> None:
        algorithms = ["ES256", "PS256", "RS256", "EdDSA"]
        assert load_key(public_pem(rsa_key()), algorithms).algorithm == "PS256"
        assert load_key(public_pem(ed25519_key()), algorithms).algorithm == "EdDSA"

    def test_the_older_pem_form_of_rsa_keys_is_read(self) -> None:
        pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
        assert load_key(pem, ["RS256"]).public_key == rsa_key().public_key()

    @pytest.mark.parametrize(
        ("pem", "why"),
        [
            (lambda: private_pem(rsa_key()), "private key"),
            (lambda: private_pem(ed25519_key()), "private key"),
            (lambda: "a-shared-secret-of-some-length-12345", "not a public key"),
            (lambda: "", "not a public key"),
            (lambda: "\udcff", "not a public key"),
            (lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
            (lambda: public_pem(rsa_key()).replace("A", "B"), "not a public key"),
            (lambda: public_pem(rsa_key())[:200], "not a public key"),
            (lambda: public_pem(rsa_key(1024)), "1024 bits"),
            (lambda: public_pem(rsa_key(2047)), "2047 bits; an RSA key needs at least 2048"),
            # As Ed25519's, but for the last number of the algorithm's identifier (RFC 8410, section 3): nobody has it.
            (lambda: public_pem(ed25519_key()).replace("MCowBQYDK2VwAy", "MCowBQYDK2VzAy"), "not a public key"),
            (lambda: public_pem(generate_ec_key(SECP384R1())), "secp384r1"),
            (lambda: public_pem(generate_ec_key(SECP256K1())), "secp256k1"),
            (lambda: public_pem(ed25519_key()), "fits none of the algorithms RS256, ES256"),
            (lambda: _pem_of_another_kind(Ed448PrivateKey.generate()), "fits none"),
            (lambda: _pem_of_another_kind(X25519PrivateKey.generate()), "fits none"),
        ],
    )
    def test_what_is_no_fitting_public_key_is_refused(self, pem: Callable[[], str], why: str) -> None:
        text = pem()
        with pytest.raises(Misconfigured, match=why) as refused:
            load_key(text, ["RS256", "ES256"])
        told = "".join(traceback.format_exception(refused.value))
        assert not any(line in told for line in text.splitlines() if len(line) > 10 and not line.startswith("-----"))

    @given(text=bits.any_text | st.text("-BEGINPUBLICKEY \n", max_size=80))
    def test_arbitrary_text_is_only_refused(self, text: str) -> None:
        with pytest.raises(Misconfigured):
            load_key(text, ALGORITHMS)

    def test_a_key_bears_the_name_that_it_is_given(self) -> None:
        assert verification_key(rsa_key().public_key(), ["RS256"], "a name").kid == "a name"
        assert verification_key(rsa_key().public_key(), ["RS256"]).kid is None


@pytest.mark.parametrize("error", [jwt.InvalidKeyError, ValueError, TypeError, UnsupportedAlgorithm])
def test_whatever_a_library_raises_is_a_refusal(error: type[Exception]) -> None:
    class FaultyKey:
        def verify(self, *_: object) -> None:
            raise error(MARKER)

    faulty = VerificationKey(cast("Any", FaultyKey()), "EdDSA")
    with pytest.raises(Unauthenticated) as refused:
        verifier_of(faulty, RULES).verify(make_token(CLAIMS, "EdDSA"), NOW)
    assert refused.value.code is ErrorCode.TOKEN_INVALID
    assert refused.value.message == "the token is not acceptable: its signature doesn't match"


def _pem_of_another_kind(key: Ed448PrivateKey | X25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class TestSeveralKeys:
    RSA = VerificationKey(rsa_key().public_key(), "RS256", "first")
    EC = VerificationKey(ec_key().public_key(), "ES256", "second")

    def verify(self, token: str, *keys: VerificationKey) -> Principal:
        return JwtVerifier(lambda: KeyRing(keys), RULES).verify(token, NOW)

    def token(self, algorithm: str, header: Mapping[str, object]) -> str:
        return make_token(CLAIMS, algorithm, header={"alg": algorithm, **header})

    def test_a_token_names_its_key(self) -> None:
        for algorithm, kid in [("RS256", "first"), ("ES256", "second")]:
            assert self.verify(self.token(algorithm, {"kid": kid}), self.RSA, self.EC).userid == MARKER

    @pytest.mark.parametrize(
        ("algorithm", "header"),
        [
            ("RS256", {}),
            ("RS256", {"kid": "second"}),
            ("ES256", {"kid": "first"}),
            ("ES256", {"kid": "second", "alg": "RS256"}),
            ("RS256", {"kid": "second", "alg": "ES256"}),
            ("EdDSA", {"kid": "first"}),
        ],
    )
    def test_a_token_of_another_key_than_it_names_is_refused(
        self, algorithm: str, header: Mapping[str, object]
    ) -> None:
        with pytest.raises(Unauthenticated) as refused:
            self.verify(self.token(algorithm, header), self.RSA, self.EC)
        # Nothing is to be gained by fetching keys again.
        assert not isinstance(refused.value, UnknownKey)

    @pytest.mark.parametrize("kid", ["", "third", "First", "first "])
    def test_a_name_that_nobody_has_may_be_that_of_a_new_key(self, kid: str) -> None:
        for keys in ((self.RSA, self.EC), (self.RSA,)):
            with pytest.raises(UnknownKey) as refused:
                self.verify(self.token("RS256", {"kid": kid}), *keys)
            assert refused.value.code is ErrorCode.TOKEN_INVALID

    def test_a_single_key_need_not_be_named(self) -> None:
        assert self.verify(self.token("RS256", {}), self.RSA).userid == MARKER

    def test_a_key_without_a_name_may_have_been_replaced(self) -> None:
        token = make_token(CLAIMS, key=rsa_key(1024))
        with pytest.raises(UnknownKey):
            self.verify(token, evolve(self.RSA, kid=None))
        with pytest.raises(Unauthenticated) as refused:
            self.verify(token, self.RSA)
        assert not isinstance(refused.value, UnknownKey)

    def test_without_any_key_yet_the_client_may_try_again(self) -> None:
        with pytest.raises(Unavailable) as refused:
            self.verify(self.token("RS256", {}))
        assert refused.value.code is ErrorCode.KEYS_UNAVAILABLE

    def test_what_is_no_token_is_refused_even_without_a_key(self) -> None:
        with pytest.raises(Unauthenticated):
            self.verify("testing-token")


def test_time_is_an_argument() -> None:
    token = make_token(CLAIMS)
    later = NOW + timedelta(hours=2)
    assert verifier().verify(token, NOW).userid == MARKER
    assert refusal(token, now=later).code is EXPIRED
    assert verifier().verify(token, NOW.astimezone(timezone(timedelta(hours=9)))).userid == MARKER


def test_no_representation_shows_a_key() -> None:
    for algorithm in ALGORITHMS:
        key = VerificationKey(private_key(algorithm).public_key(), algorithm)
        numbers = public_pem(private_key(algorithm)).split("\n")[1]
        assert numbers not in repr(verifier_of(key, RULES))
        # What gives the keys may be anything, and say all that it has.
        assert numbers not in repr(JwtVerifier(partial(cast("Any", KeyRing), numbers), RULES))
