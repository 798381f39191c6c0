"""Tokens that prove nothing, or not enough, are refused by every route, wherever they stand; and odd ones aren't."""

from collections.abc import Mapping

import pytest
from attrs import evolve

from tests.hard.hostile import cases_of_files as files
from tests.hard.hostile import cases_of_signatures as signatures
from tests.hard.hostile import cases_of_tokens as tokens
from tests.hard.hostile.service import (
    KINDS,
    PLACES,
    TRIED,
    Request,
    Target,
    Uploads,
    fits_in_header,
    good_token,
    in_header,
    in_query,
    then,
    turns,
)
from tests.hard.hostile.tokens import claims, header, signature
from tests.tried import Tried

INFO = Request("GET", "/info")


def refused(target: Target, request: Request, token: str, code: str = "token_invalid") -> None:
    answer = target.refuses(request, 401, code, secret=token.strip())
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="rawstore", error="invalid_token"'


class TestWhatProvesNothing:
    @pytest.mark.parametrize(("number", "name"), [*enumerate([*tokens.INVALID, *tokens.NAMING_NO_KEY])])
    def test_in_each_place(self, target: Target, uploads: Uploads, number: int, name: str, tried: Tried) -> None:
        token = (tokens.INVALID | tokens.NAMING_NO_KEY)[name](good_token())
        shows = [*PLACES.values()] if fits_in_header(token) else [in_query]
        (kind,) = turns(KINDS, number // len(shows))[:1]
        for show in turns(shows, number):
            refused(target, show(uploads.requests[kind], token), token)
            tried(TRIED, 1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_at_each_route(self, target: Target, uploads: Uploads, kind: str, tried: Tried) -> None:
        names = ["alg none, unsigned", "HS256 with the public key as secret", "signed by another key", "exp missing"]
        for name in names:
            token = tokens.INVALID[name](good_token())
            refused(target, in_header(uploads.requests[kind], token), token)
        tried(TRIED, len(names))

    @pytest.mark.parametrize(
        ("algorithm", "name"), [(algorithm, name) for algorithm, makers in signatures.BAD.items() for name in makers]
    )
    def test_by_its_signature(self, target: Target, algorithm: str, name: str, tried: Tried) -> None:
        token = signature(signatures.BAD[algorithm][name])(good_token(algorithm))
        refused(target, in_header(INFO, token), token)
        tried(TRIED, 1)

    @pytest.mark.parametrize("member", ["jku", "x5u"])
    def test_though_it_says_where_its_key_is_which_nobody_fetches(
        self, target: Target, member: str, tried: Tried
    ) -> None:
        for path in ("evil", "jwks?evil", "jwks"):
            for kid in ("RS256", "unknown"):
                token = header(kid=kid, **{member: f"{target.auth.origin}/{path}"})(good_token())
                refused(target, in_header(INFO, token), token)
        assert {path for path, _ in target.auth.requests} == {"/jwks"}
        tried(TRIED, 6)


class TestWhatIsGood:
    @pytest.mark.parametrize(("algorithm", "make"), signatures.GOOD)
    def test_by_its_signature(self, target: Target, algorithm: str, make: signatures.Maker) -> None:
        target.grants(INFO, token=signature(make)(good_token(algorithm)))

    @pytest.mark.parametrize("name", tokens.HONEST)
    def test_and_only_looks_odd(self, target: Target, name: str) -> None:
        target.grants(INFO, token=tokens.HONEST[name](good_token()))


class TestWhatIsNotEnough:
    @pytest.mark.parametrize("name", tokens.EXPIRED)
    def test_because_it_has_expired(self, target: Target, uploads: Uploads, name: str, tried: Tried) -> None:
        token = tokens.EXPIRED[name](good_token())
        for kind in KINDS:
            refused(target, in_header(uploads.requests[kind], token), token, "token_expired")
        tried(TRIED, len(KINDS))

    @pytest.mark.parametrize(("number", "name"), [*enumerate(tokens.WITHOUT_PERMISSION)])
    def test_because_it_permits_nothing(
        self, target: Target, uploads: Uploads, number: int, name: str, tried: Tried
    ) -> None:
        token = tokens.WITHOUT_PERMISSION[name](good_token())
        for kind in turns(KINDS, number):
            target.refuses(in_header(uploads.requests[kind], token), 403, "permission_missing", secret=token)
            tried(TRIED, 1)

    @pytest.mark.parametrize("quota", [0, 1, 1e-300, 4.999])
    def test_because_of_its_quota(self, target: Target, uploads: Uploads, quota: float, tried: Tried) -> None:
        for findability, name in (("published", "max_public_storage_mb"), ("private", "max_private_storage_mb")):
            token = claims(permissions={**good_token().permissions, name: quota})(good_token())
            change = then(files.members(length=5_000_000), files.metadata(findability=findability))
            for kind in ("authorize", "verify"):
                asked = in_header(change(uploads.requests[kind]), token)
                target.refuses(asked, 403, "over_quota", secret=token)
        tried(TRIED, 4)

    @pytest.mark.parametrize("kind", KINDS)
    def test_because_it_is_not_where_it_belongs(
        self, target: Target, uploads: Uploads, kind: str, tried: Tried
    ) -> None:
        request, token = uploads.requests[kind], target.token
        ways: list[Mapping[str, str]] = [
            {},
            {"Authorization": f"Basic {token}"},
            {"Authorization": token},
            {"Authorization": f"Bearer\t{token}"},
            {"Token": token},
            {"X-Auth-Token": token},
            {"Cookie": f"Auth-Token={token}; jwt={token}"},
        ]
        for headers in ways:
            answer = target.refuses(evolve(request, headers=headers), 401, "token_missing", secret=token)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="rawstore"'
        sign = "&" if "?" in request.path else "?"
        queries = [f"JWT={token}", f"%6Awt={token}", f"x=jwt={token}", f"jwt[]={token}", f"x;jwt={token}"]
        for query in queries:
            asked = evolve(request, path=f"{request.path}{sign}{query}")
            target.refuses(asked, 401, "token_missing", secret=token)
        tried(TRIED, len(ways) + len(queries))

    def test_because_of_another(self, target: Target, tried: Tried) -> None:
        """A bad one is never rescued by a good one; nor does one of two good ones decide."""
        good, bad = target.token, tokens.INVALID["alg none, unsigned"](good_token())
        others = (bad, good_token(userid="bob").token(), "", "x")
        asked = [
            show(also(INFO, other), good)
            for show in PLACES.values()
            for also in PLACES.values()
            if show is not also or show is in_query
            for other in others
        ]
        for request in asked:
            refused(target, request, bad)
        tried(TRIED, len(asked))
