"""The guide for authors of stores quotes what is there, and what is said."""

import re
from pathlib import Path

import pytest

from application import ports
from tests.third_party.installed import REPOSITORY
from tests.third_party.test_shelf import CONTRACT_BREAKERS, MISSING_PACKAGE

GUIDE = REPOSITORY / "adapters" / "README.md"
TEXT = GUIDE.read_text("utf-8")
QUOTES = re.findall(r"<!-- from (\S+) -->\n```\w+\n(.*?\n)```\n", TEXT, re.DOTALL)


def test_all_code_is_quoted_from_a_file() -> None:
    assert len(QUOTES) == len(re.findall(r"^```(?:python|toml)$", TEXT, re.MULTILINE)) > 0


@pytest.mark.parametrize(("path", "quote"), QUOTES)
def test_quoted_code_is_what_stands_in_the_file(path: str, quote: str) -> None:
    # From the beginning of a line to the end of another.
    assert f"\n{quote}" in f"\n{(REPOSITORY / path).read_text('utf-8')}"


def test_links_lead_somewhere() -> None:
    targets = [Path(GUIDE.parent, target) for target in re.findall(r"\]\(([^)#:]+)\)", TEXT)]
    assert targets
    assert [target for target in targets if not target.exists()] == []


def test_quoted_messages_are_those_that_are_seen() -> None:
    said = {message for _, message in CONTRACT_BREAKERS.values()}
    quoted = re.findall(r"^    (\S+ is (?:not )?claimed .+)$", TEXT, re.MULTILINE)
    assert quoted
    assert set(quoted) <= said
    assert f"      - {MISSING_PACKAGE}\n" in TEXT


def test_ports_that_are_named_exist() -> None:
    named = re.findall(r"^\| `\w+` \| `(\w+)` \| `(\w+)`", TEXT, re.MULTILINE)
    assert len(named) == 5
    for port, member in named:
        assert hasattr(getattr(ports, port), member), f"{port}.{member}"


def test_the_capability_matrix_has_its_place() -> None:
    assert re.search(
        r"^## What each store enforces$.*^<!-- capability matrix -->$.*^<!-- end -->$", TEXT, re.MULTILINE | re.DOTALL
    )
