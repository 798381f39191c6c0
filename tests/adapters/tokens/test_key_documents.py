"""Key documents: which keys of them are used, with which algorithm, and what refuses the whole document."""

import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from hypothesis import given
from hypothesis import strategies as st

from adapters.tokens.jwt import ALGORITHMS, JwtVerifier, KeyRing
from adapters.tokens.key_documents import MAX_KEYS, UnusableKeys, parse_jwks, parse_public_key
from domain.errors import Unauthenticated
from tests import strategies as bits
from tests.adapters.tokens.auth_server import Jwk, jwk, key_set
from tests.adapters.tokens.test_jwt import RULES
from tests.tokens import PrivateKey, ec_key, ed25519_key, private_key, private_pem, public_pem, rsa_key, segment

RSA, EC, ED = jwk(rsa_key(), "rsa"), jwk(ec_key(), "ec"), jwk(ed25519_key(), "ed")
SECRET = segment(b"a secret that nobody may see")


def ring(*keys: object, algorithms: Sequence[str] = ALGORITHMS, **more: object) -> KeyRing:
    return parse_jwks(key_set(keys, **more), algorithms)


def used(*keys: object, algorithms: Sequence[str] = ALGORITHMS) -> Mapping[str | None, str]:
    return {key.kid: key.algorithm for key in ring(*keys, algorithms=algorithms).keys}


def refusal(document: bytes, algorithms: Sequence[str] = ALGORITHMS) -> str:
    with pytest.raises(UnusableKeys) as refused:
        parse_jwks(document, algorithms)
    return str(refused.value)


class TestKeysThatAreUsed:
    @pytest.mark.parametrize("key", [rsa_key(), ec_key(), ed25519_key()], ids=["RSA", "EC", "OKP"])
    def test_are_the_keys_that_were_published(self, key: PrivateKey) -> None:
        (read,) = ring(jwk(key, "name")).keys
        assert (read.public_key, read.kid) == (key.public_key(), "name")
        assert ring(jwk(key, "name")) == KeyRing((read,))

    @pytest.mark.parametrize(
        ("published", "token"),
        [
            (  # RFC 7515, appendix A.3
                {
                    "kty": "EC",
                    "crv": "P-256",
                    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                },
                (
                    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y"
                    "b290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
                ),
            ),
            (  # RFC 8037, appendices A.2 and A.4
                {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
                (
                    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
                ),
            ),
        ],
        ids=["ES256", "EdDSA"],
    )
    def test_verify_the_published_examples(self, published: Jwk, token: str) -> None:
        """The examples' claims are not for us, so that only the signature's place is passed."""
        keys = ring(published)
        checked = JwtVerifier(lambda: keys, RULES)
        with pytest.raises(Unauthenticated) as refused:
            checked.verify(token, bits.NOW)
        assert "signature" not in refused.value.message
        data, _, signature = token.rpartition(".")
        with pytest.raises(Unauthenticated, match="signature"):
            checked.verify(f"{data}.B{signature[1:]}", bits.NOW)

    def test_are_used_with_the_first_configured_algorithm_that_fits_them(self) -> None:
        assert used(RSA, EC, ED) == {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
        assert used(RSA, EC, algorithms=["ES256", "PS256", "RS256"]) == {"rsa": "PS256", "ec": "ES256"}

    def test_are_used_with_the_algorithm_that_they_name(self) -> None:
        assert used({**RSA, "alg": "PS256"}, {**EC, "alg": "ES256"}) == {"rsa": "PS256", "ec": "ES256"}

    @pytest.mark.parametrize(
        "members",
        [
            {"use": "sig"},
            {"key_ops": ["verify"]},
            {"key_ops": ["sign", "verify"]},
            {"x5c": ["AQAB"], "x5u": "http://127.0.0.1:9/x", "x5t": "AQAB", "anything": {"else": None}},
        ],
    )
    def test_may_say_more(self, members: Jwk) -> None:
        assert used({**RSA, **members}) == {"rsa": "RS256"}

    def test_need_no_name_where_there_is_one(self) -> None:
        assert used(jwk(rsa_key())) == {None: "RS256"}
        assert used(jwk(rsa_key()), {**EC, "use": "enc"}) == {None: "RS256"}

    def test_need_a_name_where_there_are_several(self) -> None:
        assert used(jwk(rsa_key()), EC, ED) == {"ec": "ES256", "ed": "EdDSA"}
        assert used(jwk(rsa_key()), EC) == {"ec": "ES256"}
        assert "no key" in refusal(key_set([jwk(rsa_key()), jwk(ec_key())]))

    def test_may_be_many(self) -> None:
        keys = [{**ED, "kid": str(number)} for number in range(64)]
        assert len(ring(*keys).keys) == MAX_KEYS == 64
        assert "more than 64 keys" in refusal(key_set([*keys, EC]))


class TestKeysThatAreLeftOut:
    @pytest.mark.parametrize(
        "other",
        [
            {**RSA, "use": "enc"},
            {**RSA, "use": "SIG"},
            {**RSA, "use": None},
            {**RSA, "use": ["sig"]},
            {**RSA, "key_ops": []},
            {**RSA, "key_ops": ["sign"]},
            {**RSA, "key_ops": "verify"},
            {**RSA, "key_ops": {"verify": 1}},
            {**RSA, "use": "sig", "key_ops": ["encrypt"]},
            {**RSA, "alg": "RS512"},
            {**RSA, "alg": "RSA-OAEP"},
            {**RSA, "alg": "none"},
            {**RSA, "alg": "HS256"},
            {**RSA, "alg": "ES256"},
            {**RSA, "alg": None},
            {**RSA, "alg": ["RS256"]},
            {**RSA, "kid": 1},
            {**RSA, "kid": None},
            {**RSA, "kty": "rsa"},
            {**RSA, "kty": ["RSA"]},
            {**RSA, "n": 65537},
            {**RSA, "n": None},
            {**RSA, "n": ""},
            {**RSA, "n": "é"},
            {**RSA, "n": ["AQAB"]},
            {**RSA, "e": "AQ"},
            {"kty": "RSA", "kid": "rsa"},
            {"kty": "oct", "kid": "rsa"},
            {"kid": "rsa"},
            {},
            jwk(rsa_key(1024), "rsa"),
            jwk(generate_ec_key(SECP384R1()), "rsa"),
            jwk(generate_ec_key(SECP256K1()), "rsa"),
            {**EC, "kid": "rsa", "y": EC["x"]},
            {**EC, "kid": "rsa", "crv": "P-384"},
            {**EC, "kid": "rsa", "crv": ["P-256"]},
            {**ED, "kid": "rsa", "crv": "X25519"},
            {**ED, "kid": "rsa", "crv": "Ed448"},
            {**ED, "kid": "rsa", "x": "AQAB"},
            {"kty": "AKP", "kid": "rsa", "alg": "ML-DSA-44", "pub": "AQAB"},
        ],
        ids=itertools.count(),
    )
    def test_do_not_spoil_the_others(self, other: Jwk, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        assert used(EC, other) == {"ec": "ES256"}
        assert "no key" in refusal(key_set([other]))
        (line, _) = [record.getMessage() for record in caplog.records]
        assert line.startswith("key 2 of the key set")
        assert not any(value in line for value in other.values() if isinstance(value, str) and len(value) > 20)

    @pytest.mark.parametrize(
        ("other", "line"),
        [
            ({**RSA, "use": "enc"}, "(kid 'rsa') is not used: it is not meant for verifying signatures (use, key_ops)"),
            ({**RSA, "alg": "RS512"}, f"(kid 'rsa') is not used: its alg is none of {', '.join(ALGORITHMS)}"),
            ({**RSA, "kty": "rsa"}, "(kid 'rsa') is not used: its kty is none of EC, OKP, RSA"),
            ({**RSA, "kid": 1}, "(kid absent) is not used: its kid is not a string"),
            ({**jwk(rsa_key()), "use": "enc"}, "(kid absent) is not used: it is not meant"),
            ({**RSA, "kid": "a\nb" + "x" * 99, "use": ""}, "(kid 'a\\nb" + "x" * 59 + ") is not used: it is not meant"),
        ],
    )
    def test_are_told_in_the_log(self, other: Jwk, line: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        ring(EC, other)
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.startswith(f"key 2 of the key set {line}")

    def test_are_not_any_without_a_line_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        ring(RSA, EC, ED)
        assert not caplog.records

    def test_are_those_whose_algorithm_is_not_configured(self) -> None:
        assert used(RSA, EC, ED, {**RSA, "kid": "ps", "alg": "PS256"}, algorithms=["RS256", "EdDSA"]) == {
            "rsa": "RS256",
            "ed": "EdDSA",
        }


class TestDocumentsThatAreRefused:
    @pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
    @pytest.mark.parametrize(
        "base", [RSA, EC, ED, {"kty": "oct", "kid": "o"}, {"use": "enc"}], ids=["RSA", "EC", "OKP", "oct", "enc"]
    )
    def test_show_private_or_symmetric_keys(self, base: Jwk, member: str) -> None:
        told = refusal(key_set([jwk(rsa_key(), "good"), {**base, member: SECRET}]))
        assert "private or symmetric" in told
        assert SECRET not in told

    @pytest.mark.parametrize("other", [RSA, EC, {"kty": "oct"}, {**EC, "use": "enc"}], ids=["RSA", "EC", "oct", "enc"])
    def test_name_two_keys_alike(self, other: Jwk) -> None:
        assert "same kid" in refusal(key_set([RSA, ED, {**other, "kid": "rsa"}]))

    @pytest.mark.parametrize(
        "document",
        [
            b"",
            b"null",
            b"[]",
            b'"keys"',
            b"{}",
            b'{"keys": {}}',
            b'{"keys": null}',
            b'{"keys": "AQAB"}',
            b'{"keys": [[]]}',
            b'{"keys": [null]}',
            b'{"keys": []}',
            b'{"Keys": []}',
            b"<html>",
            b"\xff",
            json.dumps([RSA]).encode(),
            json.dumps(RSA).encode(),
            json.dumps({"keys": RSA}).encode(),
            key_set([RSA, "AQAB"]),
            key_set([RSA])[:-1],
            key_set([RSA]) + b"x",
            b"\xef\xbb\xbf" + key_set([RSA]),
            key_set([RSA])[:-1] + b', "keys": []}',
            key_set([RSA]).replace(b'"kid"', b'"kid": "x", "kid"'),
            key_set([RSA], depth=[[[]]]).replace(b"[[[]]]", b"[" * 100_000 + b"]" * 100_000),
            key_set([RSA], number=1).replace(b": 1}", b": NaN}"),
        ],
    )
    def test_are_no_key_sets_in_strict_json(self, document: bytes) -> None:
        assert refusal(document)

    @given(
        keys=st.lists(
            st.dictionaries(
                st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"]),
                bits.json_like
                | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", EC["x"], EC["y"], RSA["n"]]),
            ),
            max_size=3,
        )
    )
    def test_are_refused_in_one_way(self, keys: Sequence[Jwk]) -> None:
        with suppress(UnusableKeys):
            assert ring(*keys).keys

    @given(document=st.binary(max_size=200))
    def test_are_arbitrary_bytes(self, document: bytes) -> None:
        assert refusal(document)
        with pytest.raises(UnusableKeys):
            parse_public_key(document, ALGORITHMS)


class TestAPublicKey:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_is_used_with_the_first_algorithm_that_fits(self, algorithm: str) -> None:
        (key,) = parse_public_key(public_pem(private_key(algorithm)).encode(), [algorithm]).keys
        assert (key.public_key, key.algorithm, key.kid) == (private_key(algorithm).public_key(), algorithm, None)

    @pytest.mark.parametrize(
        ("pem", "why"),
        [
            (private_pem(rsa_key()), "private key"),
            (public_pem(rsa_key(1024)), "1024 bits"),
            (public_pem(ed25519_key()), "fits none"),
            ("a-shared-secret-of-some-length", "not a public key"),
            ("é", "not a public key"),
            ("", "not a public key"),
        ],
    )
    def test_is_refused_where_another_thing_stands(self, pem: str, why: str) -> None:
        with pytest.raises(UnusableKeys, match=why):
            parse_public_key(pem.encode(), ["RS256", "ES256"])
