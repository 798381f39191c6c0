"""Authenticate: the token that a client shows in, what it proves out."""

from datetime import datetime

from attrs import frozen

from application.ports import KeyRefresher, TokenVerifier
from domain.errors import UnknownKey
from domain.identity import Principal


@frozen
class Authenticate:
    """The use-case. `keys` is there where the keys of the issuer can change while we run."""

    verifier: TokenVerifier
    keys: KeyRefresher | None = None

    async def __call__(self, token: str, now: datetime) -> Principal:
        """Verify `token` at `now`; one that an unknown key signed is tried again if that brings new keys.

        Raises what `TokenVerifier.verify` raises.
        """
        try:
            return self.verifier.verify(token, now)
        except UnknownKey:
            if self.keys is None or not await self.keys.refresh():
                raise
        return self.verifier.verify(token, now)
