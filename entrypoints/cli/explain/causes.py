"""What causes are made of: a topic for programs, sentences for people, and by what an answer is known to have them."""

import re
from collections.abc import Collection, Sequence
from enum import StrEnum

from attrs import frozen

from entrypoints.cli.explain.answers import Answer


class Topic(StrEnum):
    """What an answer is about; stable, for programs."""

    ACL = "acl"
    BUCKET = "bucket"
    CLOCK = "clock"
    CORS = "cors"
    CREDENTIALS = "credentials"
    DIGEST = "digest"
    EXPIRED = "expired"
    HEADERS = "headers"
    HOST = "host"
    LENGTH = "length"
    MISSING = "missing"
    OVERLOAD = "overload"
    OVERWRITE = "no-overwrite"
    PERMISSION = "permission"
    POLICY = "policy"
    PROXY = "proxy"
    REGION = "region"
    REQUEST = "request"
    SERVICE = "service"
    STORE = "store"
    SUCCESS = "success"
    TOKEN = "token"  # noqa: S105 - a topic, not a secret
    UNKNOWN = "unknown"


@frozen
class Rule:
    """A cause, and the answers that have it: with one of `codes` and of `statuses` (empty: any), saying `says`.

    The status None is that of which nothing was said.
    """

    codes: Collection[str]
    topic: Topic
    cause: str
    remedy: str
    says: re.Pattern[str] | None = None
    statuses: Collection[int | None] = ()

    def fits(self, answer: Answer) -> bool:
        """Whether this is the cause of an answer."""
        return (
            (not self.codes or answer.code in self.codes)
            and (not self.statuses or answer.status in self.statuses)
            and (self.says is None or self.says.search(f"{answer.message}\n{answer.body}") is not None)
        )


@frozen
class Table:
    """Rules of one source, the most particular first."""

    source: str
    rules: Sequence[Rule]


def rule(  # noqa: PLR0913 - the columns of a table
    codes: str, topic: Topic, cause: str, remedy: str, *, says: str = "", statuses: Collection[int | None] = ()
) -> Rule:
    """Write a row: `codes` are separated by spaces, `says` is a pattern in which case doesn't matter."""
    pattern = re.compile(says, re.IGNORECASE | re.DOTALL) if says else None
    return Rule(frozenset(codes.split()), topic, cause, remedy, pattern, frozenset(statuses))
