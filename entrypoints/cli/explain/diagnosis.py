"""The cause of an answer: the first row that fits, of the tables that it could come from."""

from collections.abc import Iterator

from attrs import frozen

from entrypoints.cli.explain.answers import Answer, Dialect
from entrypoints.cli.explain.azure_causes import AZURE
from entrypoints.cli.explain.bitstore_causes import BITSTORE
from entrypoints.cli.explain.causes import Rule, Table, Topic
from entrypoints.cli.explain.gcs_causes import GCS
from entrypoints.cli.explain.general_causes import NOTHING, PAGE, STATUSES, UNKNOWN, WORDS
from entrypoints.cli.explain.s3_causes import S3

_OWN_TABLE = {Dialect.AZURE: AZURE, Dialect.GCS: GCS, Dialect.BITSTORE: BITSTORE}


@frozen
class Diagnosis:
    """Why, what to do, and who says so. `known` is False where that is only a general answer."""

    topic: Topic
    cause: str
    remedy: str
    source: str
    known: bool


def diagnose(answer: Answer) -> Diagnosis:
    """Find the cause of an answer; there is always something to say."""
    for table in _by_code(answer) if answer.code else ():
        for rule in table.rules:
            if rule.fits(answer):
                return _diagnosis(rule, table.source)
    return _without_code(answer)


def _by_code(answer: Answer) -> Iterator[Table]:
    own = _OWN_TABLE.get(answer.dialect)
    if own is not None:
        yield own
    if answer.dialect is not Dialect.BITSTORE:
        yield from (table for table in (S3, AZURE, GCS, BITSTORE) if table is not own)


def _without_code(answer: Answer) -> Diagnosis:
    for rule in () if answer.code else WORDS.rules:
        if rule.fits(answer):
            return _diagnosis(rule, WORDS.source)
    if answer.is_page and answer.status not in (200, 413):
        return _diagnosis(PAGE, STATUSES.source)
    if not answer.status and not answer.code and (answer.status == 0 or not answer.body.strip()):
        return _diagnosis(NOTHING, WORDS.source)
    for rule in STATUSES.rules:
        if rule.fits(answer):
            return _of_unknown_code(rule) if answer.code else _diagnosis(rule, STATUSES.source)
    return Diagnosis(UNKNOWN.topic, UNKNOWN.cause, UNKNOWN.remedy, "", known=False)


def _of_unknown_code(rule: Rule) -> Diagnosis:
    """Say what the status alone tells."""
    cause = f"its code isn't known here; its status says: {rule.cause}"
    return Diagnosis(rule.topic, cause, f"{rule.remedy}; and {UNKNOWN.remedy}", STATUSES.source, known=False)


def _diagnosis(rule: Rule, source: str) -> Diagnosis:
    return Diagnosis(rule.topic, rule.cause, rule.remedy, source, known=True)
