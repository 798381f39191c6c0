"""A store that somebody else wrote: installed, it keeps the contract, and the service runs on it by its name alone."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest
import urllib3
from attrs import frozen

from domain.errors import Misconfigured
from domain.keys import Owner
from entrypoints.cli.round_trip import md5_base64
from entrypoints.cli.token import mint
from entrypoints.http.app import utc_now
from entrypoints.settings import Settings
from tests.serve import bitstore_serve
from tests.stores.processes import free_port
from tests.third_party.installed import SECRET, SOURCE, Installation, install
from tests.tokens import ed25519_key, public_pem

CONTENT = b"id,name\n1,Ada\n"
KEY_SETTINGS = {"DATAHUB_PUBLIC_KEY": public_pem(ed25519_key()), "TOKEN_ALGORITHMS": "EdDSA"}
BATCH = {
    "metadata": {"owner": "ada", "name": "people"},
    "filedata": {"data/people.csv": {"length": len(CONTENT), "md5": md5_base64(CONTENT)}},
}
MISSING_PACKAGE = (
    "STORAGE_BACKEND: the store 'tape' can't be used: it needs the package tape_drive, which isn't installed:"
    " pip install 'bitstore-tape[tape]'"
)
SERVE = ("-m", "entrypoints.cli.main", "serve")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", SOURCE / "pyproject.toml")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(tmp_path_factory.mktemp("bitstore-shelf"))


@pytest.fixture
def in_process(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the distribution installed for this process too, while a test runs."""
    monkeypatch.syspath_prepend(str(installed.site))
    yield
    sys.modules.pop("bitstore_shelf", None)


def settings(url: str) -> dict[str, str]:
    return {
        **KEY_SETTINGS,
        "STORAGE_BACKEND": "shelf",
        "STORAGE_HOSTNAME": url,
        "STORAGE_BUCKET_NAME": "files",
        "STORAGE_SHELF_SECRET": SECRET,
    }


def test_the_authors_own_run_of_the_kit_passes(installed: Installation, tmp_path: Path) -> None:
    run = installed.run(*PYTEST, SOURCE / "tests", folder=tmp_path)
    assert run.returncode == 0, run.stdout


# The kit on broken stores


@frozen
class Failures:
    """The test functions that failed with one broken store, and all that they said."""

    functions: frozenset[str]
    text: str


@pytest.fixture(scope="module")
def failures(installed: Installation, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Failures]:
    """What fails with each broken store; batches of many files, which have nothing to do with it, are left out."""
    folder = tmp_path_factory.mktemp("broken")
    suite = Path(__file__).with_name("broken_shelves.py")
    run = installed.run(
        *PYTEST,
        "--junit-xml=results.xml",
        "-k",
        "not many and not ahead and not awkward and not neighbour",
        suite,
        folder=folder,
    )
    assert run.returncode == 1, run.stdout
    found: dict[str, Failures] = {}
    for case in ET.parse(folder / "results.xml").iter("testcase"):
        assert case.find("error") is None, run.stdout
        function, _, parameters = case.get("name", "").partition("[")
        store = next(name for name in (*CONTRACT_BREAKERS, "unknown") if parameters.startswith(name))
        before = found.setdefault(store, Failures(frozenset(), ""))
        if (failure := case.find("failure")) is not None:
            found[store] = Failures(before.functions | {function}, before.text + failure.get("message", ""))
    return found


CONTRACT_BREAKERS = {
    "binds_a_prefix": ({"test_another_key_is_refused"}, "key is claimed for PUT, but the store answered 201"),
    "ignores_length": (
        {"test_another_length_is_refused"},
        "length is claimed for PUT, but the store answered 201 to a request as it was signed",
    ),
    "ignores_type": (
        {"test_another_type_is_refused"},
        "type is claimed for PUT, but the store answered 201 to a request without the header Content-Type",
    ),
    "loses_type": ({"test_a_download_has_the_declared_type"}, "the type was lost"),
    "accepts_late": (
        {"test_a_request_that_comes_too_late_is_refused", "test_a_download_that_comes_too_late_is_refused"},
        "expiry is claimed for PUT, but the store answered 201 to a request as it was signed",
    ),
    "skips_md5": (
        {"test_other_bytes_are_refused_by_their_digest"},
        "md5 is claimed for PUT, but the store answered 201 to a request as it was signed",
    ),
    "forgets_create_only": (
        {"test_an_object_that_exists_is_kept_where_overwriting_is_refused"},
        "no-overwrite is claimed for PUT, but the store answered 201",
    ),
    "keeps_what_it_refuses": (
        {
            "test_another_length_is_refused",
            "test_another_type_is_refused",
            "test_other_bytes_are_refused_by_their_digest",
            "test_an_object_that_exists_is_kept_where_overwriting_is_refused",
        },
        "length is claimed for PUT, but an object was stored by a request as it was signed",
    ),
    "needs_no_signature": (
        {
            "test_another_key_is_refused",
            "test_another_type_is_refused",
            "test_a_request_that_comes_too_late_is_refused",
            "test_other_bytes_are_refused_by_their_digest",
            "test_an_object_that_exists_is_kept_where_overwriting_is_refused",
            "test_a_signed_put_is_good_for_nothing_else",
            "test_a_broken_signature_is_refused",
            "test_a_signed_download_gives_the_bytes_and_nothing_else",
        },
        "to a request with a broken parameter signature",
    ),
    "claims_too_much": (
        {"test_other_bytes_are_refused_by_their_digest", "test_private_files_cannot_be_sent_as_public"},
        "sha256 is claimed for PUT, but the store answered 201 to a request as it was signed",
    ),
    "claims_too_little": (
        {"test_another_length_is_refused"},
        "length is not claimed for PUT, yet the store refused each request",
    ),
    "signs_all_at_once": (
        {"test_each_upload_is_signed_when_it_is_asked_for"},
        "uploads were signed before they were asked for",
    ),
}
"""What is wrong with a store; the tests that must fail then, and no others; and what they say."""


@pytest.mark.parametrize("store", CONTRACT_BREAKERS)
def test_a_broken_store_fails_the_tests_of_what_it_breaks(failures: Mapping[str, Failures], store: str) -> None:
    functions, message = CONTRACT_BREAKERS[store]
    assert failures[store].functions == functions
    assert message in failures[store].text


def test_every_broken_store_is_expected_to_fail(failures: Mapping[str, Failures]) -> None:
    assert failures.keys() == CONTRACT_BREAKERS.keys()


# The service on an installed store


@frozen
class Client:
    """A client of the service that holds one user's token."""

    origin: str
    token: str

    def status_of_the_file(self) -> object:
        return self.ask("POST", "/rawstore/verify", BATCH).json()["files"]["data/people.csv"]["status"]

    def ask(self, method: str, path: str, body: object = None) -> urllib3.BaseHTTPResponse:
        headers = {"Auth-Token": self.token}
        return urllib3.request(method, f"{self.origin}{path}", json=body, headers=headers, retries=False, timeout=30)


@contextmanager
def serving(installed: Installation, variables: Mapping[str, str], folder: Path) -> Iterator[Client]:
    with bitstore_serve(folder, {**installed.environment, **variables}) as origin:
        lifetime = timedelta(hours=1)
        token = mint(ed25519_key(), owner=Owner("ada"), service="rawstore", now=utc_now(), lifetime=lifetime)
        yield Client(origin, token)


def put(signed: Mapping[str, Any], content: bytes) -> int:
    return urllib3.request(
        "PUT", signed["upload_url"], body=content, headers=signed["upload_headers"], retries=False, timeout=30
    ).status


def test_the_name_and_its_variables_are_all_that_the_service_needs(installed: Installation, tmp_path: Path) -> None:
    with installed.shelf() as url, serving(installed, settings(url), tmp_path) as client:
        assert client.ask("GET", "/readyz").status == 200
        (enforced,) = client.ask("GET", "/rawstore/info").json()["store"]["methods"].values()
        assert "md5" in str(enforced)

        signed = client.ask("POST", "/rawstore/authorize", BATCH).json()["fileData"]["data/people.csv"]
        assert (signed["upload_method"], signed["exists"]) == ("PUT", False)
        assert put(signed, CONTENT.swapcase()) == 400
        assert client.status_of_the_file() == "missing"
        assert put(signed, CONTENT) == 201
        assert client.status_of_the_file() == "stored"

        presigned = client.ask("GET", f"/rawstore/presign?ownerid=ada&url={quote(signed['object_url'], safe='')}")
        download = urllib3.request("GET", presigned.json()["url"], retries=False, timeout=30)
        assert (download.data, download.headers["Content-Type"]) == (CONTENT, "text/csv")


def test_a_shelf_that_is_down_takes_nothing_else_down(installed: Installation, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with serving(installed, settings(nowhere), tmp_path) as client:
        assert client.ask("GET", "/readyz").status == 503
        assert client.ask("POST", "/rawstore/verify", BATCH).status == 503
        signed = client.ask("POST", "/rawstore/authorize", BATCH).json()["fileData"]["data/people.csv"]
        assert (signed["upload_method"], signed["exists"]) == ("PUT", None)


def test_a_wrong_secret_is_noticed_when_the_service_is_asked_whether_it_is_ready(
    installed: Installation, tmp_path: Path
) -> None:
    with (
        installed.shelf() as url,
        serving(installed, {**settings(url), "STORAGE_SHELF_SECRET": "another"}, tmp_path) as client,
    ):
        answer = client.ask("GET", "/readyz")
        assert (answer.status, "it answered 403" in answer.data.decode()) == (503, True)


@pytest.mark.usefixtures("in_process")
def test_the_secret_is_not_shown() -> None:
    assert Settings.from_environment(settings("http://shelf.example")).effective["STORAGE_SHELF_SECRET"] == "********"


# What is said of settings that can't work


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"STORAGE_SHELF_SECRET": ""},
            "STORAGE_SHELF_SECRET is missing: the secret that the Shelf checks signatures with",
        ),
        ({"STORAGE_HOSTNAME": ""}, "STORAGE_HOSTNAME is missing: the URL of the Shelf, such as https://shelf.example"),
        ({"STORAGE_HOSTNAME": "ftp://shelf"}, "STORAGE_HOSTNAME: not the http(s) URL of a host, and nothing else"),
        ({"STORAGE_HOSTNAME": "http://a:b@shelf"}, "STORAGE_HOSTNAME: not the http(s) URL of a host, and nothing else"),
        (
            {"STORAGE_BUCKET_NAME": "My Files"},
            "STORAGE_BUCKET_NAME: the name of a shelf is 3 to 63 small letters, digits and hyphens",
        ),
        (
            {"STORAGE_SHELF_SECRETS": "x"},
            "STORAGE_SHELF_SECRETS is not a setting; did you mean STORAGE_SHELF_SECRET?",
        ),
        ({"STORAGE_FLAVOUR": "aws"}, "STORAGE_FLAVOUR means nothing to the backend shelf"),
        (
            {"STORAGE_UPLOAD_METHOD": "POST"},
            "STORAGE_UPLOAD_METHOD: a store of the backend shelf doesn't take POST",
        ),
    ],
)
@pytest.mark.usefixtures("in_process")
def test_one_line_says_what_is_wrong(changes: Mapping[str, str], problem: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        Settings.from_environment({**settings("http://shelf.example"), **changes})
    (*others, said) = refusal.value.problems
    assert not others
    assert said == problem


@pytest.mark.usefixtures("in_process")
def test_a_name_that_nobody_has_is_answered_with_those_there_are() -> None:
    with pytest.raises(Misconfigured) as refusal:
        Settings.from_environment({**settings("http://shelf.example"), "STORAGE_BACKEND": "shelve"})
    assert re.match(
        r"STORAGE_BACKEND must be one of s3, .*\bshelf, not 'shelve'; did you mean shelf\?", refusal.value.problems[0]
    )


def test_a_service_that_can_not_start_says_so_in_one_line(installed: Installation, tmp_path: Path) -> None:
    run = installed.run(*SERVE, folder=tmp_path, settings={**settings(""), "STORAGE_HOSTNAME": ""})
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines() == [
        "bitstore can't start:",
        "  - STORAGE_HOSTNAME is missing: the URL of the Shelf, such as https://shelf.example",
    ]


def test_one_line_says_which_package_is_missing(installed: Installation, tmp_path: Path) -> None:
    metadata = tmp_path / "bitstore_tape-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bitstore-tape\nVersion: 1.0\nProvides-Extra: tape\n"
    )
    (metadata / "entry_points.txt").write_text("[bitstore.stores]\ntape = bitstore_tape:make_store\n")
    (tmp_path / "bitstore_tape.py").write_text("import tape_drive\n")
    path = f"{tmp_path}:{installed.environment['PYTHONPATH']}"
    run = installed.run(
        *SERVE, folder=tmp_path, settings={**KEY_SETTINGS, "STORAGE_BACKEND": "tape", "PYTHONPATH": path}
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[1:] == [f"  - {MISSING_PACKAGE}"]


# The doctor on a store of which it knows nothing


def test_the_doctor_tries_it_by_its_ports_alone(installed: Installation, tmp_path: Path) -> None:
    with installed.shelf() as url:
        well = installed.run("-m", "entrypoints.cli.main", "doctor", folder=tmp_path, settings=settings(url))
        wrong = {**settings(url), "STORAGE_SHELF_SECRET": "not-the-secret"}
        ill = installed.run("-m", "entrypoints.cli.main", "doctor", folder=tmp_path, settings=wrong)
    assert (well.returncode, well.stderr) == (0, "")
    assert "PUT md5           content of another MD5 is refused" in well.stdout
    assert "left behind: this kind of store can't delete from here" in well.stdout
    assert (ill.returncode, ill.stderr) == (1, "")
    assert "WRONG   PUT               403" in ill.stdout
