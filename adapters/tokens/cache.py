"""Tokens that were verified already, since clients show the same one again and again."""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from attrs import define, field

from adapters.tokens.jwt import KeyRing
from application.ports import TokenVerifier
from domain.identity import Principal


@define
class CacheCounts:
    """How many tokens were recognised, and how many had to be verified."""

    hits: int = 0
    misses: int = 0


@define
class VerifiedTokens:
    """A `TokenVerifier` that asks `verifier` only about tokens that it doesn't remember, at most `max_tokens` of them.

    A token is remembered by its digest, and only with an expiry: it counts until then, or until `keys` gives other
    keys, whichever is first. What was refused is not remembered.
    """

    verifier: TokenVerifier
    keys: Callable[[], KeyRing] = field(repr=False)
    max_tokens: int = 10_000
    counts: CacheCounts = field(factory=CacheCounts)
    _principals: dict[bytes, tuple[datetime, Principal]] = field(factory=dict, init=False, repr=False)
    _verified_with: KeyRing | None = field(default=None, init=False, repr=False)

    def verify(self, token: str, now: datetime) -> Principal:
        """Recognise the token, or have it verified, as the port says."""
        keys = self.keys()
        if keys is not self._verified_with:
            self._principals.clear()
            self._verified_with = keys
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._principals.get(digest)
        if known is not None and now < known[0]:
            self.counts.hits += 1
            return known[1]
        self._principals.pop(digest, None)
        self.counts.misses += 1
        principal = self.verifier.verify(token, now)
        if principal.expires_at is not None:
            self._remember(digest, principal.expires_at, principal)
        return principal

    def _remember(self, digest: bytes, expires_at: datetime, principal: Principal) -> None:
        if len(self._principals) >= self.max_tokens:
            del self._principals[next(iter(self._principals))]  # the oldest
        self._principals[digest] = expires_at, principal
