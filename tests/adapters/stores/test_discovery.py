"""Stores of any distribution are found by name; what is wrong with one is said in one line."""

import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.stores import azure, gcs
from adapters.stores.discovery import Claims, found_stores, load_claims, load_factory
from domain.errors import Misconfigured
from domain.uploads import Capabilities, Guarantee, UploadMethod
from tests.distributions import CLAIMS, FACTORY, install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose distributions are installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def problem_of(name: str) -> str:
    """The line that says why a store can't be used; both ways of loading it say the same."""
    with pytest.raises(Misconfigured) as refusal:
        load_factory(name)
    (said,) = refusal.value.problems
    assert "\n" not in said
    with pytest.raises(Misconfigured) as refusal:
        load_claims(name)
    assert refusal.value.problems == (said,)
    return said


def test_our_own_are_found_and_say_what_they_enforce() -> None:
    assert load_factory("azure") is azure.make_store
    assert load_claims("azure") == Claims(azure.CAPABILITIES, "Azurite")
    assert load_factory("gcs") is gcs.make_store
    assert load_claims("gcs") == Claims(gcs.CAPABILITIES, None)


def test_those_of_others_are_found_in_order_and_not_imported(site: Path) -> None:
    module = install(site, "raise SystemExit('imported')", store="aaa")
    other = install(site, "raise SystemExit('imported')", store="zzz", distribution="another")
    names = list(found_stores())
    assert {"aaa", "azure", "gcs", "zzz"} <= set(names)
    assert names == sorted(names)
    assert not {module, other} & sys.modules.keys()


def test_a_store_need_not_say_what_it_enforces(site: Path) -> None:
    module = install(site, FACTORY)
    assert load_factory("made-up") is sys.modules[module].make_store
    assert load_claims("made-up") is None


@pytest.mark.parametrize(("seen_on", "server"), [("", None), ("SEEN_ON = 'A Server'", "A Server")])
def test_what_a_store_says_is_given(site: Path, seen_on: str, server: str | None) -> None:
    install(site, FACTORY + CLAIMS + seen_on)
    methods = {UploadMethod.PUT: frozenset({Guarantee.KEY, Guarantee.MD5})}
    assert load_claims("made-up") == Claims(Capabilities(methods, 3 * 1024, timedelta(hours=36)), server)


@pytest.mark.parametrize("claims", ["CAPABILITIES = {'PUT': {'key'}}", CLAIMS + "SEEN_ON = True"])
def test_claims_of_another_type_are_refused(site: Path, claims: str) -> None:
    module = install(site, FACTORY + claims)
    with pytest.raises(Misconfigured, match=rf"^the store 'made-up' can't be used: {module}\.\w+ is not "):
        load_claims("made-up")
    assert load_factory("made-up") is sys.modules[module].make_store


def test_an_unknown_name_is_named() -> None:
    assert problem_of("nowhere") == "no installed distribution has a store named 'nowhere'"


def test_a_missing_package_is_named_with_the_extra_that_brings_it(site: Path) -> None:
    install(site, "import a_package_that_is_nowhere.below", extras=["other", "made-up"])
    assert problem_of("made-up") == (
        "the store 'made-up' can't be used: it needs the package a_package_that_is_nowhere, which isn't installed: "
        "pip install 'a-distribution[made-up]'"
    )


@pytest.mark.parametrize("extras", [(), ("other",)])
def test_an_extra_that_there_is_not_is_not_advised(site: Path, extras: tuple[str, ...]) -> None:
    install(site, "import a_package_that_is_nowhere", extras=extras)
    assert problem_of("made-up").endswith("needs the package a_package_that_is_nowhere, which isn't installed")


def test_a_module_that_is_missing_is_no_matter_of_an_extra(site: Path) -> None:
    module = install(site, FACTORY, extras=["made-up"])
    (site / f"{module}.py").unlink()
    assert problem_of("made-up") == f"the store 'made-up' can't be used: No module named '{module}'"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "AttributeError: "),
        ("make_store = 'a text'", r"\w+:make_store can't be called"),
        ("from domain.uploads import Nothing", "ImportError: cannot import name 'Nothing'"),
        ("def make_store(", "SyntaxError: "),
        ("raise RuntimeError('one line\\nand another')", "RuntimeError: one line and another"),
    ],
    ids=["no factory", "no function", "a name that is missing", "no Python", "an error of its own"],
)
def test_a_broken_entry_point_is_told_in_one_line(site: Path, source: str, why: str) -> None:
    install(site, source)
    assert re.match(f"the store 'made-up' can't be used: {why}", problem_of("made-up"))
