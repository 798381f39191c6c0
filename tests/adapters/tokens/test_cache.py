"""Tokens that were verified already: what is remembered, for how long, and what never is."""

from datetime import datetime, timedelta

import pytest
from attrs import define, evolve, field

from adapters.tokens.cache import CacheCounts, VerifiedTokens
from adapters.tokens.jwt import JwtVerifier, KeyRing, load_key
from domain.errors import ErrorCode, Unauthenticated, UnknownKey
from domain.identity import Principal, TokenRules
from tests import strategies as bits
from tests.tokens import make_token, public_pem, rsa_key

NOW = bits.NOW
RULES = TokenRules(bits.SERVICE, leeway=timedelta(seconds=30))
KEYS = KeyRing((load_key(public_pem(rsa_key()), ["RS256"]),))
OTHER_KEYS = KeyRing((evolve(KEYS.keys[0], kid="another"), evolve(KEYS.keys[0], kid="a third")))


@define
class Issuer:
    """The keys that are valid now, and the verifier that is asked only where a token isn't remembered."""

    keys: KeyRing = KEYS
    rules: TokenRules = RULES
    asked: list[str] = field(factory=list)

    def __call__(self) -> KeyRing:
        return self.keys

    def verify(self, token: str, now: datetime) -> Principal:
        self.asked.append(token)
        return JwtVerifier(self, self.rules).verify(token, now)


def token(lifetime: timedelta = timedelta(hours=1), **claims: object) -> str:
    return make_token(bits.good_claims(exp=int((NOW + lifetime).timestamp())) | claims)


def test_a_token_is_verified_once_and_proves_the_same_again() -> None:
    issuer = Issuer()
    tokens, shown = VerifiedTokens(issuer, issuer), token()

    principals = {tokens.verify(shown, NOW + timedelta(minutes=minutes)) for minutes in range(60)}

    assert principals == {JwtVerifier(issuer, RULES).verify(shown, NOW)}
    assert issuer.asked == [shown]


def test_a_remembered_token_proves_nothing_beyond_its_expiry() -> None:
    issuer = Issuer()
    tokens, shown = VerifiedTokens(issuer, issuer), token()
    tokens.verify(shown, NOW)

    tokens.verify(shown, NOW + timedelta(hours=1))
    assert issuer.asked == [shown, shown]  # the leeway is the verifier's to give

    with pytest.raises(Unauthenticated) as refused:
        tokens.verify(shown, NOW + timedelta(hours=1) + RULES.leeway)
    assert refused.value.code is ErrorCode.TOKEN_EXPIRED


def test_other_keys_make_it_forget() -> None:
    issuer = Issuer()
    tokens, shown = VerifiedTokens(issuer, issuer), token()
    tokens.verify(shown, NOW)
    issuer.keys = OTHER_KEYS

    with pytest.raises(Unauthenticated):
        tokens.verify(shown, NOW)

    issuer.keys = KEYS
    tokens.verify(shown, NOW)
    assert len(issuer.asked) == 3


def test_the_same_token_with_another_signature_is_another_token() -> None:
    issuer = Issuer()
    tokens, shown = VerifiedTokens(issuer, issuer), token()
    tokens.verify(shown, NOW)
    head, _, signature = shown.rpartition(".")

    for tampered in (f"{head}.{signature[::-1]}", f"{head}.", f"{head}.{'A' * len(signature)}", f"{shown}\udc80"):
        with pytest.raises(Unauthenticated):
            tokens.verify(tampered, NOW)


def test_what_was_refused_is_asked_about_again() -> None:
    issuer = Issuer()
    tokens, early = VerifiedTokens(issuer, issuer), token(nbf=int((NOW + timedelta(minutes=5)).timestamp()))

    with pytest.raises(Unauthenticated):
        tokens.verify(early, NOW)
    tokens.verify(early, NOW + timedelta(minutes=5))

    foreign = f"{early[:-8]}AAAAAAAA"
    for _ in range(2):
        with pytest.raises(UnknownKey):
            tokens.verify(foreign, NOW)
    assert issuer.asked == [early, early, foreign, foreign]


def test_a_token_without_expiry_is_verified_each_time() -> None:
    issuer = Issuer(rules=evolve(RULES, require_expiry=False))
    tokens, claims = VerifiedTokens(issuer, issuer), dict(bits.good_claims())
    del claims["exp"]
    shown = make_token(claims)

    for _ in range(3):
        tokens.verify(shown, NOW)

    assert len(issuer.asked) == 3


def test_only_so_many_are_remembered_and_the_oldest_goes_first() -> None:
    issuer = Issuer()
    tokens, shown = VerifiedTokens(issuer, issuer, max_tokens=2), [token(jti=str(number)) for number in range(3)]

    for one in (*shown, shown[2], shown[1], shown[0]):
        tokens.verify(one, NOW)

    assert issuer.asked == [*shown, shown[0]]


def test_what_has_expired_takes_nobody_elses_place() -> None:
    issuer = Issuer()
    tokens = VerifiedTokens(issuer, issuer, max_tokens=2)
    first, brief, last = token(jti="1"), token(timedelta(minutes=1), jti="2"), token(jti="3")
    for one in (first, brief):
        tokens.verify(one, NOW)
    with pytest.raises(Unauthenticated):
        tokens.verify(brief, NOW + timedelta(minutes=1) + RULES.leeway)

    for one in (last, first):
        tokens.verify(one, NOW)

    assert issuer.asked == [first, brief, brief, last]


def test_ten_thousand_are_remembered_where_nothing_else_is_said() -> None:
    issuer = Issuer()
    assert VerifiedTokens(issuer, issuer).max_tokens == 10_000


def test_it_counts_what_it_recognised_and_what_it_had_verified() -> None:
    issuer = Issuer()
    tokens, shown = VerifiedTokens(issuer, issuer), token()
    assert tokens.counts == CacheCounts(hits=0, misses=0)

    for _ in range(3):
        tokens.verify(shown, NOW)
    with pytest.raises(Unauthenticated):
        tokens.verify("no token", NOW)

    assert tokens.counts == CacheCounts(hits=2, misses=2)


def test_it_shows_nothing_of_those_whom_it_remembers() -> None:
    issuer = Issuer()
    tokens = VerifiedTokens(JwtVerifier(issuer, RULES), issuer)
    tokens.verify(token(userid="some-user"), NOW)

    shown = repr(tokens)

    assert "some-user" not in shown
    assert "kid" not in shown


def test_no_token_can_be_read_from_what_is_kept() -> None:
    issuer = Issuer()
    tokens, shown = VerifiedTokens(issuer, issuer), token()
    tokens.verify(shown, NOW)

    assert shown.rpartition(".")[2] not in repr(tokens._principals)
