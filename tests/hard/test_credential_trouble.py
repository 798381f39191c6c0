"""Credentials that are replaced while requests are signed, and a clock that isn't the store's."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
from attrs import evolve, frozen

from adapters.stores import credentials
from tests import strategies as bits
from tests.effort import EFFORT
from tests.entrypoints.http.live_service import CONTENT, OWNER, LiveService, batch, declaration, live_service
from tests.hard.store_questions import patient_client
from tests.live import wait_until
from tests.serve import bitstore_serve
from tests.stores.servers import RunningStore
from tests.tokens import make_token, public_pem, rsa_key
from tests.tried import Tried

REPLACEMENTS = 2 * EFFORT
SIGNERS = 2


def settings_for(store: RunningStore, **more: str) -> Mapping[str, str]:
    return {
        "DATAHUB_PUBLIC_KEY": public_pem(rsa_key()),
        "STORAGE_HOSTNAME": store.endpoint_url,
        "STORAGE_FLAVOUR": store.flavour,
        "STORAGE_BUCKET_NAME": store.bucket,
        **more,
    }


@frozen
class Handed:
    """A signed form that was given out."""

    file: Mapping[str, Any]

    @property
    def key_id(self) -> str:
        return str(self.file["upload_query"]["x-amz-credential"].partition("/")[0])

    def send(self, http: urllib3.PoolManager) -> int:
        fields = {**self.file["upload_query"], "file": ("f", CONTENT, self.file["type"])}
        return http.request("POST", self.file["upload_url"], fields=fields).status


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The one place where the SDK's chain finds anything, and is asked often."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(credentials, "REFRESH_SECONDS", 0.1)
    return tmp_path / "credentials"


def write_in_pieces(profile: Path, key: Mapping[str, str], between: Callable[[], None]) -> None:
    """Write a profile as an editor may, with somebody reading it in between."""
    for content in ("", "[default]\n", f"[default]\naws_access_key_id = {key['AccessKeyId']}\n"):
        profile.write_text(content)
        between()
    profile.write_text(f"{content}aws_secret_access_key = {key['SecretAccessKey']}\n")


class Seen:
    """Tells when the chain has been asked once more, from beginning to end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._looks = 0
        ask = credentials.ChainCredentials._ask

        async def ask_and_count(chain: credentials.ChainCredentials) -> None:
            await ask(chain)
            self._looks += 1

        monkeypatch.setattr(credentials.ChainCredentials, "_ask", ask_and_count)

    def wait_for_another_look(self) -> None:
        begun = self._looks
        wait_until(lambda: self._looks >= begun + 2, seconds=30)


def test_keys_that_are_replaced_under_load_sign_what_the_store_takes(
    ministack: RunningStore, profile: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried
) -> None:
    """Nobody is refused meanwhile, and what was signed works for as long as the store knows the key."""
    iam = evolve(ministack, access_key_id="test", secret_access_key="test").client("iam")  # root, as MiniStack has it
    seen = Seen(monkeypatch)
    keys = [new_key(iam, f"rotated-{number}") for number in range(REPLACEMENTS + 1)]
    ended, handed = threading.Event(), list[Handed]()
    write_in_pieces(profile, keys[0], lambda: None)
    with live_service(settings_for(ministack)) as service, ThreadPoolExecutor(SIGNERS) as threads:
        streams = [threads.submit(sign_on, service, f"stream-{number}", handed, ended) for number in range(SIGNERS)]
        try:
            for key in keys[1:]:
                write_in_pieces(profile, key, seen.wait_for_another_look)
                wait_until(partial(was_signed_with, key, handed, streams))
        finally:
            ended.set()
        for stream in streams:
            stream.result()
        assert {one.key_id for one in handed} == {key["AccessKeyId"] for key in keys}
        with ThreadPoolExecutor(8) as senders:
            assert set(senders.map(lambda one: one.send(service.http), handed)) <= {200, 201, 204}

        iam.delete_access_key(UserName="rotated-0", AccessKeyId=keys[0]["AccessKeyId"])
        assert handed[0].send(service.http) == 403
        assert handed[-1].send(service.http) in (200, 201, 204)
    tried("requests under fault", 2 * len(handed))


def new_key(iam: Any, user: str) -> Mapping[str, str]:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="store", PolicyDocument=json.dumps(policy))
    key: Mapping[str, str] = iam.create_access_key(UserName=user)["AccessKey"]
    return key


def sign_on(service: LiveService, stream: str, handed: list[Handed], ended: threading.Event) -> None:
    """Have one file after the other authorized."""
    number = 0
    while not ended.wait(0.02):
        path = f"{stream}/{number}.csv"
        handed.append(Handed(service.sign(batch({path: declaration()}, {"name": "rotated"}))[path]))
        number += 1


def was_signed_with(key: Mapping[str, str], handed: Sequence[Handed], streams: Sequence[Future[None]]) -> bool:
    """Whether the last request was; or something is wrong."""
    return handed[-1].key_id == key["AccessKeyId"] or any(stream.done() for stream in streams)


@pytest.mark.skipif(EFFORT == 1, reason="it takes ten seconds to give up")
def test_a_chain_that_hangs_keeps_the_service_neither_from_starting_nor_from_ending(
    seaweedfs: RunningStore, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = sleep 40\n")
    files = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    with bitstore_serve(tmp_path, settings_for(seaweedfs, **files)) as origin, patient_client() as http:
        service = LiveService(origin, http)
        refused = service.authorize(batch(), expect_unavailable=True)
        assert (refused.status, refused.code) == (503, "credentials_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert service.send("GET", "/readyz", expect_unavailable=True).status == 503
        assert service.info()


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_clock_that_is_minutes_wrong_stops_nobody(seaweedfs: RunningStore, minutes: int) -> None:
    with service_off_by(minutes, seaweedfs) as (service, shown):
        file = f"minutes{minutes}.csv"
        body = batch({file: declaration()}, {"name": "skewed"})
        signed = service.sign(body, token=shown)[file]
        assert Handed(signed).send(service.http) in (200, 201, 204)
        assert verdict(service, shown, file) == {"status": 200, "told": "stored"}
        assert service.sign(body, token=shown)[file]["exists"] is True


@pytest.mark.parametrize("minutes", [-20, 20])
def test_with_a_clock_that_the_store_refuses_nothing_wrong_is_told(seaweedfs: RunningStore, minutes: int) -> None:
    file = f"refused{minutes}.csv"
    seaweedfs.client().put_object(Bucket=seaweedfs.bucket, Key=f"{OWNER}/skewed/{file}", Body=CONTENT)
    with service_off_by(minutes, seaweedfs) as (service, shown):
        body = batch({file: declaration()}, {"name": "skewed"})
        assert service.sign(body, token=shown)[file]["exists"] is None
        assert verdict(service, shown, file) == {"status": 200, "told": "unknown"}
        in_parts = service.authorize({**body, "accept": ["MULTIPART"]}, token=shown, expect_unavailable=True)
        assert (in_parts.status, in_parts.code) == (503, "store_unavailable")


@contextmanager
def service_off_by(minutes: int, store: RunningStore) -> Iterator[tuple[LiveService, str]]:
    """A service with a wrong clock, and a token of an auth service that has the same one."""

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=minutes)

    keys = {"STORAGE_ACCESS_KEY_ID": store.access_key_id, "STORAGE_SECRET_ACCESS_KEY": store.secret_access_key}
    with live_service(settings_for(store, **keys), clock=clock) as service:
        yield service, make_token(bits.good_claims(OWNER, now=clock()))


def verdict(service: LiveService, shown: str, file: str) -> Mapping[str, object]:
    body = json.dumps(batch({file: declaration()}, {"name": "skewed"})).encode()
    answer = service.send("POST", "/rawstore/verify", token=shown, body=body, expect_unavailable=True)
    return {
        "status": answer.status,
        "told": answer.json["files"][file]["status"] if answer.status == 200 else answer.code,
    }
