"""Where an auth service publishes its keys, and how they are written; `key_sources` fetches them."""

from collections.abc import Sequence
from enum import StrEnum

from attrs import field, frozen


class DocumentKind(StrEnum):
    """How the keys are written."""

    PEM = "public key"
    JWKS = "key set"


@frozen
class KeyServer:
    """Where keys are published, and how often to ask.

    They are fetched every `refresh_seconds`, and at once for a token of an unknown key, unless a fetch began less than
    `cooldown_seconds` ago. Each key is used with one of `algorithms`.
    """

    url: str = field(repr=False)
    kind: DocumentKind
    algorithms: Sequence[str]
    refresh_seconds: float = 300.0
    cooldown_seconds: float = 30.0
