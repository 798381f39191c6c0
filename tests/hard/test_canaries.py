"""Secrets are planted wherever there are any; then whatever is said, written or kept is searched for them."""

import base64
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from application.authorize_uploads import AuthorizeUploads
from domain.errors import Misconfigured
from entrypoints.cli.main import main
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests import strategies as bits
from tests.adapters.stores.google import key_file
from tests.entrypoints.http.live_service import (
    AZURE,
    GCS,
    MEMORY,
    OWNER,
    S3,
    LiveService,
    batch,
    declaration,
    live_service,
)
from tests.hard.canaries import Canaries, parts_of, spellings
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy
from tests.tokens import make_token, private_pem, rsa_key
from tests.tried import Tried

CANARY = "canary/of+the=store~secret"
IN_URL = "canary-of.the_store~secret"
AZURE_CANARY = base64.b64encode(b"canary of the account's key").decode()
PLACES = "places searched for planted secrets"
Variables = Mapping[str, str]


def key_lines() -> list[str]:
    """The lines of a private key; the first of them is alike in all keys."""
    return private_pem(rsa_key()).splitlines()[2:-2]


BASES: Mapping[str, tuple[Variables, list[str]]] = {
    "memory": ({**MEMORY, "STORAGE_SECRET_ACCESS_KEY": CANARY}, [CANARY]),
    "s3": ({**S3, "STORAGE_SECRET_ACCESS_KEY": CANARY}, [CANARY]),
    "azure": ({**AZURE, "STORAGE_SECRET_ACCESS_KEY": AZURE_CANARY}, [AZURE_CANARY, "canary of the account's key"]),
    "gcs": (GCS, key_lines()),
}


@pytest.fixture
def canaries(tried: Tried) -> Iterator[Canaries]:
    planted = Canaries()
    yield planted
    tried(PLACES, planted.searched)


# What is found


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize(
    "written",
    [str, lambda s: base64.b64encode(s.encode()).decode(), lambda s: s.encode().hex(), quote, repr, json.dumps],
)
def test_a_canary_is_found_however_it_is_written(written: Callable[[str], str], before: str) -> None:
    planted = Canaries({CANARY})
    with pytest.raises(AssertionError):
        planted.assert_none_in(f"key: {written(before + CANARY + 'behind')}")
    planted.assert_none_in(f"key: {written(before + CANARY[::-1])}", f"key: {written(CANARY)}"[:-30])
    assert len(spellings(CANARY)) > 6


# Settings, and all that is made of them


@pytest.mark.parametrize("store", BASES)
def test_nothing_that_is_wired_shows_a_secret(store: str, canaries: Canaries) -> None:
    variables, secrets = BASES[store]
    canaries.plant(*secrets)
    settings = Settings.from_environment(variables)
    parts = list(parts_of(wire(settings)))
    assert len(parts) > 100
    for part in [settings, *parts]:
        if not isinstance(part, str | bytes):  # those which hold a secret are it; what holds them must not show them
            canaries.assert_none_in(repr(part), str(part))


SPOILT: Mapping[str, tuple[str, Variables]] = {
    "a space in it": ("s3", {"STORAGE_SECRET_ACCESS_KEY": f"{CANARY} {CANARY}"}),
    "a control character in it": ("s3", {"STORAGE_SECRET_ACCESS_KEY": f"{CANARY}\x1b"}),
    "no letters of ours": ("memory", {"STORAGE_SECRET_ACCESS_KEY": f"{CANARY}\u00e9"}),
    "half of the pair": ("s3", {"STORAGE_ACCESS_KEY_ID": ""}),
    "a name that is none": ("s3", {"STORAGE_SECRET_KEY": CANARY, "STORAGE_SECRET": CANARY}),
    "a setting of another store": ("memory", {"STORAGE_GCS_CREDENTIALS": CANARY}),
    "an unknown store": ("s3", {"STORAGE_BACKEND": "tape", "STORAGE_TAPE_PASSWORD": CANARY}),
    "in the host's place": ("s3", {"STORAGE_HOSTNAME": f"https://user:{IN_URL}@s3.example.com"}),
    "in the public host's place": (
        "s3",
        {"STORAGE_PUBLIC_URL": f"https://user:{IN_URL}@s3.example.com"},
    ),
    "in the service's place": ("memory", {"PUBLIC_URL": f"https://user:{IN_URL}@data.example.com"}),
    "in the auth server's place": (
        "memory",
        {"DATAHUB_PUBLIC_KEY": "", "AUTH_SERVER": f"https://user:{IN_URL}@auth.example.com"},
    ),
    "a private key for a public one": ("memory", {"DATAHUB_PUBLIC_KEY": private_pem(rsa_key())}),
    "half a private key": ("memory", {"DATAHUB_PUBLIC_KEY": private_pem(rsa_key())[:-60]}),
    "no key at all": ("memory", {"DATAHUB_PUBLIC_KEY": f"-----BEGIN PRIVATE KEY-----\n{CANARY}"}),
    "a key file in halves": ("gcs", {"STORAGE_GCS_CREDENTIALS": GCS["STORAGE_GCS_CREDENTIALS"][:-40]}),
    "a key file in a list": ("gcs", {"STORAGE_GCS_CREDENTIALS": f"[{GCS['STORAGE_GCS_CREDENTIALS']}]"}),
    "a key file of another type": (
        "gcs",
        {"STORAGE_GCS_CREDENTIALS": json.dumps({"type": "authorized_user", "refresh_token": CANARY})},
    ),
    "an account's key that is none": ("azure", {"STORAGE_SECRET_ACCESS_KEY": f"{CANARY}%%"}),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_no_setting_that_is_wrong_shows_a_secret(
    fault: str, canaries: Canaries, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, changes = SPOILT[fault]
    variables, secrets = BASES[store]
    canaries.plant(*secrets, CANARY, IN_URL, *key_lines())
    with pytest.raises(Misconfigured) as told:
        Settings.from_environment({**variables, **changes})
    canaries.assert_none_in(repr(told.value), str(told.value), *told.value.problems)
    for name, value in {**variables, **changes}.items():
        monkeypatch.setenv(name, value)
    for command in (["serve"], ["doctor"], ["doctor", "--json"], ["sweep", "--dry-run"]):
        assert main(command) == 2
        canaries.assert_none_in(*capsys.readouterr())


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Give all that was logged, down to DEBUG, but by urllib3: that is the client of these tests, and it names URLs."""
    lines = [logging.Formatter().format(record) for record in caplog.records if not record.name.startswith("urllib3")]
    return "\n".join(lines)


# A store that says whatever it was told


@pytest.fixture(scope="module")
def _echo() -> Iterator[StoreProxy]:
    with store_proxy("http://127.0.0.1:1") as proxy:
        yield proxy


@pytest.fixture
def echo(_echo: StoreProxy, canaries: Canaries) -> Iterator[StoreProxy]:
    """A server that fails, and gives back each request whose signatures are planted."""

    async def instead(asked: Asked) -> Reply:
        said = "\n".join([f"{asked.method} {asked.path}?{asked.query}", *map(": ".join, asked.headers.items())])
        canaries.plant_signatures(said)
        return Reply(500, said.encode(), {"content-type": "text/plain"})

    _echo.instead = instead
    yield _echo
    _echo.reset()


def on_echo(store: str, echo: StoreProxy) -> Variables:
    changes = {
        "s3": {"STORAGE_HOSTNAME": echo.origin, "STORAGE_ACL": "auto"},
        "azure": {"STORAGE_HOSTNAME": f"{echo.origin}/ourdata"},
        "gcs": {
            "STORAGE_HOSTNAME": echo.origin,
            "STORAGE_GCS_CREDENTIALS": json.dumps(key_file(f"{echo.origin}/token")),
        },
    }
    return {**BASES[store][0], **changes[store], "INSPECT_ON_AUTHORIZE": "true"}


def secrets_of(store: str, variables: Variables) -> list[str]:
    if store == "gcs":
        return str(json.loads(variables["STORAGE_GCS_CREDENTIALS"])["private_key"]).splitlines()[2:-2]
    return BASES[store][1]


@pytest.mark.parametrize("store", ["s3", "azure", "gcs"])
def test_a_service_whose_store_fails_shows_no_secret(
    store: str, canaries: Canaries, echo: StoreProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    variables = on_echo(store, echo)
    canaries.plant(*secrets_of(store, variables))
    with live_service(variables) as service:
        answers = list(whatever_can_be_asked(service, canaries))
        canaries.assert_none_in(*answers)
    assert len(canaries.secrets) > 4
    canaries.assert_none_in(logged(caplog))


def whatever_can_be_asked(service: LiveService, canaries: Canaries) -> Iterator[str]:
    """Ask all routes, and give the answers but those in which something is signed, as it should be."""
    token = canaries.plant_token(make_token(bits.good_claims(OWNER, now=datetime.now(UTC))))
    upload = f"canary-of-an-upload-{'0' * 40}"
    canaries.plant(upload)
    file = {"metadata": batch()["metadata"], "path": "a.csv", "file": declaration(), "upload_id": upload}
    bodies = {
        "authorize": batch(),
        "authorize?": batch(more={"accept": ["MULTIPART"]}),
        "verify": batch(),
        "presign": {"metadata": batch()["metadata"], "paths": ["a.csv", ""]},
        **{f"multipart/{what}": file for what in ("resume", "complete", "abort")},
    }
    shown = [token, token[:-9] + "AAAAAAAAA", f"{token}.{token}", token.replace(".", ". ")]
    for shown_token in shown:
        headers = {"Auth-Token": shown_token}
        for route, body in bodies.items():
            asked = json.dumps(body)
            answer = service.http.request("POST", f"{service.root}/{route.rstrip('?')}", body=asked, headers=headers)
            if answer.status >= 400 or "url" not in answer.data.decode():
                yield f"{answer.headers}\n{answer.data.decode()}"
        for path in (
            f"rawstore/info?jwt={shown_token}",
            f"rawstore/objects?owner={OWNER}&name=tides&jwt={shown_token}",
        ):
            yield service.http.request("GET", f"{service.origin}/{path}jwt={quote(shown_token)}").data.decode()
    for path in ("healthz", "readyz", "metrics", "rawstore/openapi.json", f"nowhere/{token}"):
        yield service.http.request("GET", f"{service.origin}/{path}").data.decode()


SWEPT = {"s3": 1, "azure": 0, "gcs": 2}
"""How `bitstore sweep` ends: Azure sweeps by itself, and for GCS nothing can be swept."""


@pytest.mark.parametrize("store", ["s3", "azure", "gcs"])
@pytest.mark.parametrize("command", [["doctor"], ["doctor", "--json"], ["sweep"], ["sweep", "--json"]], ids=" ".join)
def test_a_command_whose_store_fails_shows_no_secret(
    store: str,
    command: list[str],
    canaries: Canaries,
    echo: StoreProxy,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    variables = on_echo(store, echo)
    canaries.plant(*secrets_of(store, variables))
    token = canaries.plant_token(make_token(bits.good_claims(OWNER, now=datetime.now(UTC))))
    for name, value in {**variables, "BITSTORE_TOKEN": token}.items():
        monkeypatch.setenv(name, value)
    assert main(command) == (1 if command[0] == "doctor" else SWEPT[store])
    canaries.assert_none_in(*capsys.readouterr(), logged(caplog))


# A fault of our own


def test_a_fault_of_our_own_shows_no_secret(
    canaries: Canaries, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError("a fault")

    canaries.plant(CANARY)
    token = canaries.plant_token(make_token(bits.good_claims(OWNER, now=datetime.now(UTC))))
    with live_service(BASES["memory"][0]) as service:
        monkeypatch.setattr(AuthorizeUploads, "__call__", fail)
        url = f"{service.root}/authorize"
        answer = service.http.request("POST", url, body=json.dumps(batch()), headers={"Auth-Token": token})
    assert answer.status == 500
    assert b"a fault" not in answer.data
    assert "RuntimeError: a fault" in logged(caplog)
    canaries.assert_none_in(answer.data.decode(), logged(caplog))


# The client


def files_in(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        yield str(path)
        if path.is_file():
            yield path.read_bytes().decode("latin-1")


@pytest.fixture
def command(canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Push a folder, and pull it, with a token that is planted; tell whether both succeed."""
    token = canaries.plant_token(make_token(bits.good_claims(OWNER, now=datetime.now(UTC))))
    source = tmp_path / "files"
    source.mkdir()
    (source / "a.csv").write_bytes(b"id\n1\n")
    monkeypatch.setenv("BITSTORE_TOKEN", token)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(url: str, *form: str) -> bool:
        shared = ["--url", url, "--owner", OWNER, *form]
        pushed = main(["push", str(source), "--dataset", "canaries", "--findability", "private", *shared])
        pulled = main(["pull", "canaries", "--into", str(tmp_path / "back"), *shared])
        assert pushed == pulled
        return pushed == 0

    return run


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["for people", "json"])
def test_a_client_shows_and_keeps_no_secret(
    form: list[str],
    canaries: Canaries,
    command: Callable[..., bool],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with live_service(BASES["memory"][0]) as service:
        assert command(service.root, *form)
    canaries.plant_signatures(caplog.text)
    assert any(re.fullmatch("[0-9a-f]{64}", secret) for secret in canaries.secrets)
    canaries.assert_none_in(*capsys.readouterr(), logged(caplog), *files_in(tmp_path))


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["for people", "json"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 200])
def test_a_client_does_not_repeat_a_service_that_repeats_the_token(
    status: int,
    form: list[str],
    canaries: Canaries,
    echo: StoreProxy,
    command: Callable[..., bool],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def instead(asked: Asked) -> Reply:
        said = " ".join([*asked.headers.values(), *asked.headers["auth-token"].split(".")])
        error = {"code": "no", "message": said, "details": [{"path": "a.csv", "code": "no", "message": said}]}
        return Reply(status, json.dumps({"error": error}).encode(), {"content-type": "application/json"})

    echo.instead = instead
    assert not command(f"{echo.origin}/rawstore", *form)
    canaries.assert_none_in(*capsys.readouterr(), *files_in(tmp_path))
