"""The benchmarks run, each section once with hardly any load. What they measure decides nothing here."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from domain.uploads import UploadMethod, UploadTerms
from tests.adapters.stores.aws import frozen
from tests.benchmarks import workload
from tests.benchmarks.report import Finding, Findings, Spread, Target, as_markdown, at_least, at_most, below
from tests.benchmarks.rivals import BotoSigner, boto_client
from tests.benchmarks.signer import make_batch

REPOSITORY = Path(__file__).parents[2]
MEASURED = re.compile(r"\d (x|%|ms|MB)(\s|$)")


def benchmark(*arguments: str) -> Sequence[str]:
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("section", ["signer", "body", "service", "latency", "exists"])
def test_every_section_measures(section: str) -> None:
    first, *report = benchmark(section)
    ratios = report[report.index("") + 1 : report.index("", report.index("") + 1)]

    assert "CPython" in first
    assert "OpenSSL" in first
    assert ratios[1].startswith(section)
    assert len(ratios) > 4
    assert all(MEASURED.search(line) for line in ratios[2:])


def test_the_ratios_can_be_had_as_a_table() -> None:
    findings = [Finding(name, Spread.of([1.0, 3.5, 2.0]), "x", at_least(1.5)) for name in ("first", "second")]

    assert list(as_markdown([Findings("signer", findings, [])]))[2:] == [
        "| **signer** | | | |",
        "| first | 2.00 x | ≥ 1.5 x | ok |",
        "| second | 2.00 x | ≥ 1.5 x | ok |",
    ]


def test_boto3_in_our_port_signs_the_same_requests() -> None:
    batch = make_batch(30)
    terms = UploadTerms(UploadMethod.POST, workload.LIFETIME)
    boto3 = BotoSigner(batch.signing, boto_client(batch.signing))

    now = batch.now.replace(microsecond=0)

    with frozen(now):
        theirs = list(boto3.sign_uploads(batch.uploads, terms, now))

    assert theirs == list(batch.signing.sign_uploads(batch.uploads, terms, now))


@pytest.mark.parametrize(
    ("target", "met", "missed"), [(at_least(30), 30, 29.9), (at_most(2.5), 2.5, 2.51), (below(15), 14.9, 15)]
)
def test_a_target_is_met_or_missed(target: Target, met: float, missed: float) -> None:
    verdicts = [Finding("speed", Spread.of([value]), "x", target).verdict for value in (met, missed)]

    assert verdicts == ["ok", "MISSED"]
