"""`bitstore doctor`, on real stores: each thing that can be wrong has a line of its own, and nothing is left behind."""

import asyncio
import base64
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen
from botocore.client import Config
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from entrypoints.cli.doctor.case import PREFIX, Case
from entrypoints.cli.doctor.client import Client
from entrypoints.cli.doctor.command import examine
from entrypoints.cli.doctor.cors import check_service_cors
from entrypoints.cli.doctor.cors_rules import rule_for
from entrypoints.cli.doctor.findings import Finding, Level
from entrypoints.cli.doctor.reach import check_clock
from entrypoints.cli.doctor.tokens import check_keys, check_token
from entrypoints.cli.main import main
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.adapters.tokens.auth_server import answering, auth_server, jwk, key_set
from tests.aws_sdk import sdk
from tests.entrypoints.every_store import (
    CHECKING,
    FAKE_GCS,
    OF_THE_SERVICE,
    Choice,
    Variables,
    azure_variables,
    s3_variables,
)
from tests.entrypoints.http.live_service import AZURE, GCS, MEMORY, S3, live_service
from tests.live import serving
from tests.stores.azure_server import RunningAzurite
from tests.stores.gcs import RunningGcs
from tests.stores.proxy import Asked, Reply, store_proxy
from tests.stores.servers import REGION, RunningStore
from tests.strategies import good_claims
from tests.tokens import ec_key, make_token, public_pem, rsa_key

ORIGIN = "https://portal.example"
REPOSITORY = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:1"


@frozen
class Report:
    """What the command said: its exit code, and what it found by the name of each check."""

    code: int
    checks: Mapping[str, Mapping[str, Any]]
    left_behind: list[str]
    text: str = field(repr=False)

    def level(self, name: str) -> str:
        level: str = self.checks[name]["level"]
        return level

    @property
    def wrong(self) -> list[str]:
        return [name for name, check in self.checks.items() if check["level"] == "wrong"]

    @property
    def noted(self) -> list[str]:
        return [name for name, check in self.checks.items() if check["level"] == "note"]

    @property
    def skipped(self) -> list[str]:
        return [name for name, check in self.checks.items() if check["level"] == "skipped"]

    def all_of(self, name: str) -> str:
        """All that was said of one check."""
        check = self.checks[name]
        return "\n".join([check["message"], check["advice"] or "", check["paste"] or "", *check["logged"]])


Doctor = Callable[..., Report]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Run the command in this process, with nothing but these variables in its environment."""

    def run(variables: Variables, *arguments: str, clock: Callable[[], datetime] | None = None, **more: str) -> Report:
        settings = {**OF_THE_SERVICE, **variables, **more}
        monkeypatch.setattr(os, "environ", {"PATH": os.defpath, **settings})
        capsys.readouterr()
        if clock is None:
            code = main(["doctor", "--json", *arguments])
        else:
            code = examine(Namespace(json=True, origin=None, token=None, token_file=None), clock)
        said = capsys.readouterr()
        assert said.err == ""
        assert_discreet(said.out, settings)
        document = json.loads(said.out)
        assert document["well"] is (code == 0)
        checks = {check["name"]: check for check in document["checks"]}
        assert list(checks)[-1] == "clean up"
        return Report(code, checks, document["left_behind"], said.out)

    return run


def assert_discreet(said: str, settings: Variables) -> None:
    for name in ("STORAGE_SECRET_ACCESS_KEY", "BITSTORE_TOKEN"):
        assert len(settings.get(name, "")) < 8 or settings[name] not in said
    assert "Signature=" not in said
    assert "sig=" not in said
    assert "PRIVATE KEY" not in said


def left_in(store: object, variables: Variables) -> list[str]:
    """All that a doctor has left in a store, of whatever kind it is."""
    match store:
        case RunningStore():
            return objects_in(store)
        case RunningAzurite():
            return list(store.client().list_blob_names(name_starts_with=PREFIX))
        case _:
            root = Path(variables.get("STORAGE_DISK_ROOT", "/nowhere"))
            return [path.name for path in root.rglob("*") if path.is_file()]


def objects_in(store: RunningStore) -> list[str]:
    answer = store.client().list_objects_v2(Bucket=store.bucket, Prefix=PREFIX)
    return [entry["Key"] for entry in answer.get("Contents", [])]


def s3_bucket(store: RunningStore, name: str) -> str:
    """Make a bucket of a test's own."""
    with suppress(store.client().exceptions.BucketAlreadyOwnedByYou):
        store.client().create_bucket(Bucket=name)
    return name


# All is well


@pytest.mark.parametrize("choice", [pytest.param(one, id=one.name, marks=one.marks) for one in CHECKING])
def test_all_is_well_on_a_store_as_it_is_meant_to_be(
    choice: Choice, doctor: Doctor, request: pytest.FixtureRequest
) -> None:
    running = request.getfixturevalue(choice.fixture)
    variables = choice.variables(running)
    report = doctor(variables, BITSTORE_TOKEN=token())
    assert (report.code, report.wrong, report.skipped) == (0, [], ["cors"])
    assert report.noted in ([], ["service"])
    assert "alice" in report.all_of("token")
    assert report.left_behind == []
    guarantees = [name for name in report.checks if " " in name and name.split()[0] in ("POST", "PUT")]
    assert len(guarantees) in (8, 16)
    assert any(report.checks[name]["message"].endswith(" is refused") for name in guarantees)
    assert re.search(r"[1-9] objects were removed again", report.all_of("clean up"))
    assert left_in(running, variables) == []


def test_what_is_printed_for_people_shows_progress(
    seaweedfs: RunningStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", {**OF_THE_SERVICE, **s3_variables(seaweedfs), "STORAGE_FLAVOUR": "aws"})
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[ 1/34] ok      host ")
    (place,) = (number for number, line in enumerate(lines) if "WRONG   POST " in line)
    assert lines[place + 1].strip() == "-> the flavour is wrong: set STORAGE_FLAVOUR=seaweedfs"
    assert lines[place + 2].strip() == "export STORAGE_FLAVOUR=seaweedfs"
    assert "[34/34] ok      clean up " in lines[-3]
    assert lines[-1].endswith("1 WRONG, 10 skipped: look at POST")


def disk(folder: Path) -> Variables:
    return {
        "STORAGE_BACKEND": "disk",
        "STORAGE_DISK_ROOT": str(folder / "objects"),
        "STORAGE_BUCKET_NAME": "bitstore-tests",
        "STORAGE_ACCESS_KEY_ID": "bitstore",
        "STORAGE_SECRET_ACCESS_KEY": "a-secret-of-the-store",
        "PUBLIC_URL": NOBODY,
    }


# Hosts


def wrong_host(report: Report, name: str = "host") -> str:
    """What is said of a host that is wrong, when all that depends on it is skipped, and nothing was stored."""
    assert (report.code, report.wrong) == (1, [name])
    assert {"credentials", "bucket", "POST", "PUT", "POST md5", "download"} <= set(report.skipped)
    assert "depends on" in report.all_of("bucket")
    assert "nothing was stored" in report.all_of("clean up")
    return report.all_of(name)


def test_nothing_listens(seaweedfs: RunningStore, doctor: Doctor) -> None:
    said = wrong_host(doctor(s3_variables(seaweedfs), STORAGE_HOSTNAME=NOBODY))
    assert "127.0.0.1:1 can't be reached: nothing listens there" in said
    assert "STORAGE_HOSTNAME" in said


def test_a_name_that_does_not_resolve(seaweedfs: RunningStore, doctor: Doctor) -> None:
    said = wrong_host(doctor(s3_variables(seaweedfs), STORAGE_HOSTNAME="https://s3.exampel.invalid"))
    assert "s3.exampel.invalid can't be reached: its name doesn't resolve" in said


def test_the_public_host_alone_is_wrong(seaweedfs: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(seaweedfs), STORAGE_PUBLIC_URL=NOBODY)
    assert "STORAGE_PUBLIC_URL" in wrong_host(report, "public host")
    assert report.level("host") == "ok"


def test_the_internal_host_alone_is_wrong(seaweedfs: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(seaweedfs), STORAGE_HOSTNAME=NOBODY, STORAGE_PUBLIC_URL=seaweedfs.endpoint_url)
    assert "STORAGE_HOSTNAME" in wrong_host(report, "host")
    assert report.level("public host") == "ok"


def page(_request: object) -> HTMLResponse:
    return HTMLResponse("<html>Welcome</html>", headers={"Server": "nginx"})


def test_what_answers_is_no_object_store(seaweedfs: RunningStore, doctor: Doctor) -> None:
    with serving(lambda _: Starlette(routes=[Route("/{path:path}", page)])) as origin:
        said = wrong_host(doctor(s3_variables(seaweedfs), STORAGE_HOSTNAME=origin))
    assert "it is no object store: 200 text/html" in said


def test_the_service_itself_is_no_object_store(seaweedfs: RunningStore, doctor: Doctor) -> None:
    with live_service() as service:
        said = wrong_host(doctor(s3_variables(seaweedfs), STORAGE_HOSTNAME=service.origin))
    assert "it is no object store: 404 not_found" in said


def test_https_where_there_is_none(seaweedfs: RunningStore, doctor: Doctor) -> None:
    host = seaweedfs.endpoint_url.removeprefix("http://")
    said = wrong_host(doctor(s3_variables(seaweedfs), STORAGE_HOSTNAME=host))
    assert "it speaks no TLS at that port" in said
    assert "write http://" in said


def test_a_certificate_that_is_not_trusted(azurite_tls: RunningAzurite, doctor: Doctor) -> None:
    report = doctor(azure_variables(azurite_tls))
    assert report.wrong == ["host"]
    assert "its certificate isn't trusted" in report.all_of("host")


def test_http_where_there_is_https(azurite_tls: RunningAzurite, doctor: Doctor) -> None:
    endpoint = azurite_tls.endpoint_url.replace("https:", "http:")
    report = doctor(azure_variables(azurite_tls), STORAGE_HOSTNAME=endpoint)
    assert report.wrong == ["host"]
    assert "https://" in report.all_of("host")


def test_another_kind_of_store(azurite: RunningAzurite, doctor: Doctor) -> None:
    origin = azurite.endpoint_url.rpartition("/")[0]
    report = doctor(
        {
            "STORAGE_HOSTNAME": origin,
            "STORAGE_BUCKET_NAME": "files",
            "STORAGE_ACCESS_KEY_ID": "bitstore",
            "STORAGE_SECRET_ACCESS_KEY": "secret-of-nobody",
        }
    )
    assert report.wrong == ["server"]
    assert "export STORAGE_BACKEND=azure" in report.all_of("server")


def test_two_hosts_that_are_not_one_store(seaweedfs: RunningStore, doctor: Doctor) -> None:
    async def empty(asked: Asked) -> Reply | None:
        if PREFIX not in asked.path:
            return None
        return Reply(204 if asked.method == "DELETE" else 404)

    variables = {**s3_variables(seaweedfs), "STORAGE_PUBLIC_URL": seaweedfs.endpoint_url}
    with store_proxy(seaweedfs.endpoint_url) as proxy:
        proxy.instead = empty
        report = doctor(variables, STORAGE_HOSTNAME=proxy.origin)
    assert report.wrong == ["inspection"]
    assert "STORAGE_HOSTNAME and STORAGE_PUBLIC_URL" in report.all_of("inspection")
    assert sorted(report.left_behind) == objects_in(seaweedfs)
    assert "it was removed, and is still there" in report.all_of("clean up")
    for key in report.left_behind:
        seaweedfs.client().delete_object(Bucket=seaweedfs.bucket, Key=key)


def test_a_public_host_of_its_own(seaweedfs: RunningStore, doctor: Doctor) -> None:
    with store_proxy(seaweedfs.endpoint_url) as proxy:
        report = doctor(s3_variables(seaweedfs), STORAGE_PUBLIC_URL=proxy.origin)
        assert (report.code, report.level("host"), report.level("public host")) == (0, "ok", "ok")
        assert proxy.asked["POST"] > 8


# Credentials, region, clock, bucket


def test_a_wrong_secret(seaweedfs: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(seaweedfs), STORAGE_SECRET_ACCESS_KEY="not-the-secret")
    assert report.wrong == ["credentials"]
    assert "SignatureDoesNotMatch" in report.all_of("credentials")
    assert "STORAGE_SECRET_ACCESS_KEY" in report.all_of("credentials")
    assert {"bucket", "POST", "PUT"} <= set(report.skipped)


def test_an_unknown_key_id(ministack: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(ministack), STORAGE_ACCESS_KEY_ID="AKIDOFNOBODY")
    assert report.wrong == ["credentials"]
    assert "STORAGE_ACCESS_KEY_ID" in report.all_of("credentials")


def test_a_wrong_account_key(azurite: RunningAzurite, doctor: Doctor) -> None:
    wrong_key = base64.b64encode(bytes(range(32))).decode()
    report = doctor(azure_variables(azurite), STORAGE_SECRET_ACCESS_KEY=wrong_key)
    assert report.wrong == ["credentials"]
    assert "STORAGE_SECRET_ACCESS_KEY" in report.all_of("credentials")


def test_a_wrong_region(ministack: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(ministack), STORAGE_REGION="eu-west-9", STORAGE_ACL="none")
    assert report.wrong == ["region"]
    assert "the bucket is in us-east-1, and signatures name eu-west-9" in report.all_of("region")
    assert "export STORAGE_REGION=us-east-1" in report.all_of("region")


def test_a_region_as_aws_tells_it_of_a_malformed_signature(ministack: RunningStore, doctor: Doctor) -> None:
    """As the Amazon S3 API reference has it; no server here answers so."""
    body = (
        b"<Error><Code>AuthorizationQueryParametersError</Code><Message>Error parsing the X-Amz-Credential parameter; "
        b"the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message><Region>eu-west-1</Region></Error>"
    )

    async def refuse(asked: Asked) -> Reply | None:
        headers = {"Content-Type": "application/xml", "x-amz-request-id": "1"}
        return Reply(400, body, headers) if "X-Amz-Signature" in asked.query else None

    with store_proxy(ministack.endpoint_url) as proxy:
        proxy.instead = refuse
        report = doctor(s3_variables(ministack), STORAGE_HOSTNAME=proxy.origin, STORAGE_ACL="none")
    assert report.wrong == ["region"]
    assert "export STORAGE_REGION=eu-west-1" in report.all_of("region")


@pytest.mark.parametrize(("minutes", "words"), [(20, "20 minutes ahead of"), (-20, "20 minutes behind")])
def test_a_clock_that_is_twenty_minutes_off(ministack: RunningStore, doctor: Doctor, minutes: int, words: str) -> None:
    report = doctor(
        s3_variables(ministack), STORAGE_ACL="none", clock=lambda: datetime.now(UTC) + timedelta(minutes=minutes)
    )
    assert report.wrong == ["clock"]
    assert f"this machine's clock is {words} the store's" in report.all_of("clock")
    assert "see clock" in report.all_of("credentials")
    assert objects_in(ministack) == []


def test_a_clock_that_a_lenient_store_forgives(seaweedfs: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(seaweedfs), clock=lambda: datetime.now(UTC) + timedelta(minutes=20))
    assert report.wrong[0] == "clock"
    assert (report.level("POST"), report.level("PUT")) == ("ok", "ok")
    assert objects_in(seaweedfs) == []


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [
        (0, Level.OK, "clock and this machine's agree"),
        (-20, Level.OK, "20 seconds behind"),
        (240, Level.NOTE, "4 minutes ahead of"),
        (-54 * 3_600, Level.WRONG, "2 days behind"),
    ],
)
def test_a_clock_that_is_a_little_off_is_noted(seaweedfs: RunningStore, seconds: int, level: Level, words: str) -> None:
    case = case_of(s3_variables(seaweedfs))
    case.clock = lambda: datetime.now(UTC) + timedelta(seconds=seconds)
    found = asyncio.run(check_clock(case))
    assert found.level is level
    # The store's own clock is told in whole seconds.
    assert words in found.sentence.replace("19 seconds", "20 seconds").replace("21 seconds", "20 seconds")


def test_no_such_bucket(seaweedfs: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(seaweedfs), STORAGE_BUCKET_NAME="of-nobody")
    assert report.wrong == ["bucket"]
    assert "STORAGE_BUCKET_NAME" in report.all_of("bucket")
    # SeaweedFS makes a bucket for whoever writes into one.
    assert "of-nobody" not in [bucket["Name"] for bucket in seaweedfs.client().list_buckets()["Buckets"]]


def test_a_bucket_in_the_name_of_the_host_where_the_store_looks_in_the_path(
    seaweedfs: RunningStore, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def as_a_wildcard_would(host: str, *rest: Any, **more: Any) -> Any:
        return look_up("127.0.0.1" if host.endswith(".test") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", as_a_wildcard_would)
    port = seaweedfs.endpoint_url.rpartition(":")[2]
    report = doctor(s3_variables(seaweedfs), STORAGE_HOSTNAME=f"http://store.test:{port}", STORAGE_ADDRESSING="virtual")
    assert report.wrong == ["addressing"]
    assert "export STORAGE_ADDRESSING=path" in report.all_of("addressing")


def test_a_bucket_whose_name_before_the_host_does_not_resolve(seaweedfs: RunningStore, doctor: Doctor) -> None:
    variables = {**s3_variables(seaweedfs), "STORAGE_HOSTNAME": "http://store.invalid"}
    report = doctor(variables, STORAGE_ADDRESSING="virtual")
    assert report.wrong == ["host"]
    assert "set STORAGE_ADDRESSING=path" in report.all_of("host")


# ACLs and flavours


def test_an_acl_that_the_bucket_does_not_take(ministack: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(ministack), STORAGE_ACL="public-read")
    assert report.wrong == ["acl"]
    assert "AccessControlListNotSupported" in report.all_of("acl")
    assert "export STORAGE_ACL=none" in report.all_of("acl")
    assert (report.level("POST"), report.level("PUT")) == ("ok", "ok")


def test_an_acl_that_the_bucket_takes(ministack: RunningStore, doctor: Doctor) -> None:
    bucket = s3_bucket(ministack, "doctor-with-acls")
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    ministack.client().put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    ministack.client().delete_public_access_block(Bucket=bucket)
    report = doctor(s3_variables(ministack), STORAGE_BUCKET_NAME=bucket, STORAGE_ACL="public-read")
    assert report.wrong == []
    assert "an acl is accepted" in report.all_of("acl")
    assert "is refused" in report.all_of("POST access")


def test_a_bucket_that_blocks_public_acls(ministack: RunningStore, doctor: Doctor) -> None:
    bucket, client = s3_bucket(ministack, "doctor-blocked"), ministack.client()
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    report = doctor(s3_variables(ministack), STORAGE_BUCKET_NAME=bucket)
    assert report.wrong == ["acl"]
    assert "private files get in, and public ones don't: 403 AccessDenied" in report.all_of("acl")
    assert "export STORAGE_ACL=none" in report.all_of("acl")


def test_private_files_that_everybody_can_read(ministack: RunningStore, doctor: Doctor) -> None:
    bucket = s3_bucket(ministack, "doctor-public")
    ministack.client().delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ministack.client().put_bucket_policy(Bucket=bucket, Policy=policy)
    report = doctor(s3_variables(ministack), STORAGE_BUCKET_NAME=bucket, STORAGE_ACL="none")
    assert report.wrong == ["privacy"]


def test_forms_that_the_store_does_not_understand(seaweedfs: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(seaweedfs), STORAGE_FLAVOUR="aws")
    assert report.wrong == ["POST"]
    assert "set STORAGE_FLAVOUR=seaweedfs" in report.all_of("POST")
    assert report.noted == ["server"]
    assert "export STORAGE_FLAVOUR=seaweedfs" in report.all_of("server")
    assert (report.level("PUT"), report.level("PUT md5")) == ("ok", "ok")
    assert objects_in(seaweedfs) == []


@pytest.mark.parametrize(
    ("fixture", "unkept"),
    [
        ("ministack", ["POST md5", "POST sha256"]),
        pytest.param("ceph", ["POST md5", "POST sha256", "PUT sha256"], marks=pytest.mark.debian),
    ],
)
def test_what_is_claimed_and_not_kept(
    fixture: str, unkept: list[str], doctor: Doctor, request: pytest.FixtureRequest
) -> None:
    store: RunningStore = request.getfixturevalue(fixture)
    report = doctor(s3_variables(store), STORAGE_FLAVOUR="aws", STORAGE_ACL="none")
    assert report.wrong == unkept
    for name in unkept:
        assert f"set STORAGE_FLAVOUR={store.flavour}" in report.all_of(name)
        assert "STORAGE_FLAVOUR=aws claims it" in report.all_of(name)
    assert objects_in(store) == []


def test_what_is_kept_and_not_claimed(seaweedfs: RunningStore, doctor: Doctor) -> None:
    report = doctor(s3_variables(seaweedfs), STORAGE_FLAVOUR="generic")
    assert (report.code, report.wrong) == (0, [])
    assert report.noted == ["server", "PUT md5", "PUT no-overwrite"]
    assert "doesn't claim it" in report.all_of("PUT md5")


def test_a_store_that_checks_nothing(fake_gcs: RunningGcs, doctor: Doctor) -> None:
    report = doctor(FAKE_GCS.variables(fake_gcs))
    assert {"POST key", "POST expiry", "PUT md5", "PUT length", "privacy"} <= set(report.wrong)
    assert report.left_behind == []


def test_a_store_that_cannot_be_told_is_tried_all_the_same(ministack: RunningStore, doctor: Doctor) -> None:
    def anonymous(_asked: Asked, reply: Reply) -> Reply:
        return evolve(reply, headers={n: text for n, text in reply.headers.items() if n.lower() != "x-amzn-requestid"})

    with store_proxy(ministack.endpoint_url) as proxy:
        proxy.amend = anonymous
        changes = {"STORAGE_HOSTNAME": proxy.origin, "STORAGE_FLAVOUR": "aws", "STORAGE_ACL": "none"}
        report = doctor(s3_variables(ministack), **changes)
    assert report.wrong == ["POST md5", "POST sha256"]
    assert "STORAGE_FLAVOUR=generic" in report.all_of("POST md5")


# What may not be done


@pytest.fixture
def without_delete(ministack: RunningStore) -> Variables:
    """The variables of a user who may not delete."""
    config = Config(retries={"total_max_attempts": 1})
    iam = sdk().client(
        "iam",
        endpoint_url=ministack.endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name=REGION,
        config=config,
    )
    allowed = ["s3:PutObject", "s3:PutObjectAcl", "s3:GetObject", "s3:ListBucket", "s3:GetBucketOwnershipControls"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_user(UserName="doctor")
    iam.put_user_policy(UserName="doctor", PolicyName="store", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="doctor")["AccessKey"]
    keys = {"STORAGE_ACCESS_KEY_ID": key["AccessKeyId"], "STORAGE_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return {**s3_variables(ministack), **keys, "STORAGE_ACL": "none"}


def test_what_may_not_be_deleted_is_named(ministack: RunningStore, without_delete: Variables, doctor: Doctor) -> None:
    report = doctor(without_delete)
    assert (report.code, report.noted) == (0, ["clean up"])
    assert sorted(report.left_behind) == objects_in(ministack)
    assert report.left_behind
    said = report.all_of("clean up")
    assert "403 AccessDenied" in said
    assert all(key in said for key in report.left_behind)
    for key in report.left_behind:
        ministack.client().delete_object(Bucket=ministack.bucket, Key=key)


def test_an_interrupt_leaves_nothing_behind(seaweedfs: RunningStore, tmp_path: Path) -> None:
    is_sending, interrupted = threading.Event(), threading.Event()

    async def hold(asked: Asked) -> Reply | None:
        if asked.method == "PUT":
            is_sending.set()
            await asyncio.to_thread(interrupted.wait, 30)
        return None

    # Whoever starts the tests may ignore SIGINT, and what they start would too.
    heeding = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heeding}; from entrypoints.cli.main import main; sys.exit(main(['doctor']))"]
    with store_proxy(seaweedfs.endpoint_url) as proxy:
        proxy.instead = hold
        variables = {**s3_variables(seaweedfs), "STORAGE_HOSTNAME": proxy.origin}
        environment = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), **OF_THE_SERVICE, **variables}
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert is_sending.wait(30)
            process.send_signal(signal.SIGINT)
            interrupted.set()
            said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "objects were removed again" in said
    assert objects_in(seaweedfs) == []


# CORS


def test_pages_that_may_not_use_the_store_until_the_rule_is_pasted(ministack: RunningStore, doctor: Doctor) -> None:
    bucket = s3_bucket(ministack, "doctor-cors")
    variables = {**s3_variables(ministack), "STORAGE_BUCKET_NAME": bucket, "STORAGE_ACL": "none"}
    report = doctor(variables, "--origin", ORIGIN)
    assert report.wrong == ["cors"]
    assert "POST: 403 AccessForbidden; PUT: 403 AccessForbidden; GET: 403" in report.all_of("cors")

    command = shlex.split(report.checks["cors"]["paste"].replace("\\\n", ""))
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert command[:3] == ["aws", "s3api", "put-bucket-cors"]
    assert (options["--bucket"], options["--endpoint-url"]) == (bucket, ministack.endpoint_url)
    ministack.client().put_bucket_cors(Bucket=bucket, CORSConfiguration=json.loads(options["--cors-configuration"]))

    assert doctor(variables, "--origin", ORIGIN).level("cors") == "ok"


def case_of(variables: Variables, **more: str) -> Case:
    """A case as the command makes it, nothing started."""
    settings = Settings.from_environment({**OF_THE_SERVICE, **variables, **more})
    return Case(wire(settings), Client(), lambda: datetime.now(UTC), None)


HEADERS = ["content-type", "content-md5", "content-type"]


@pytest.mark.parametrize(
    ("variables", "changes", "lines"),
    [
        (
            S3,
            {"STORAGE_FLAVOUR": "minio"},
            [f"mc admin config set ALIAS api cors_allow_origin={ORIGIN}", "mc admin service restart ALIAS"],
        ),
        (
            AZURE,
            {},
            [
                f"az storage cors add --account-name ourdata --services b --origins {ORIGIN} \\",
                "  --methods GET HEAD PUT OPTIONS --allowed-headers '*' --exposed-headers ETag --max-age 3600",
            ],
        ),
        (
            GCS,
            {},
            [
                (
                    f'echo \'[{{"origin": ["{ORIGIN}"], "method": ["GET", "HEAD", "POST", "PUT"], '
                    '"responseHeader": ["ETag", "content-md5", "content-type"], "maxAgeSeconds": 3600}]\' > cors.json'
                ),
                "gcloud storage buckets update gs://datasets --cors-file=cors.json",
            ],
        ),
        (
            MEMORY,
            {"CORS_ALLOW_ORIGINS": "https://other.example"},
            [f"export CORS_ALLOW_ORIGINS=https://other.example,{ORIGIN}"],
        ),
    ],
    ids=["minio", "azure", "gcs", "memory"],
)
def test_a_rule_for_each_kind_of_store(variables: Variables, changes: dict[str, str], lines: list[str]) -> None:
    assert rule_for(case_of(variables, **changes), ORIGIN, HEADERS).splitlines() == lines


def test_the_service_has_origins_of_its_own() -> None:
    found = asyncio.run(check_service_cors(case_of(MEMORY, CORS_ALLOW_ORIGINS="https://other.example"), ORIGIN))
    assert found.level is Level.WRONG
    assert found.paste == f"export CORS_ALLOW_ORIGINS=https://other.example,{ORIGIN}"
    for origins in ("*", f"https://other.example,{ORIGIN}"):
        assert asyncio.run(check_service_cors(case_of(MEMORY, CORS_ALLOW_ORIGINS=origins), ORIGIN)).level is Level.OK


# Tokens


def token(**changes: object) -> str:
    return make_token(good_claims("alice", now=datetime.now(UTC), **changes))


def finding(check: Callable[[Case], Awaitable[Finding]], variables: Variables, **more: str) -> Finding:
    """What one check alone finds."""
    case = case_of(variables, **more)

    async def run() -> Finding:
        async with case.closing:
            return await check(case)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("shown", "word"),
    [
        (lambda: token(service="other"), "SERVICE_NAME"),
        (lambda: token(exp=int(datetime.now(UTC).timestamp()) - 3_600), "expired"),
        (lambda: token(permissions={}), "datapackage-upload"),
        (lambda: make_token(good_claims("alice", now=datetime.now(UTC)), "ES256"), "RS256"),
        (lambda: "no-token-at-all-but-something-else", "header.payload.signature"),
    ],
    ids=["service", "expired", "permission", "key", "garbage"],
)
def test_a_token_that_is_not_accepted(shown: Callable[[], str], word: str) -> None:
    text = shown()
    found = finding(lambda case: check_token(case, text), MEMORY)
    assert found.level is Level.WRONG
    assert word in f"{found.sentence} {found.advice}"
    assert text not in f"{found.sentence} {found.advice}"


@pytest.mark.parametrize("as_file", [True, False])
def test_a_token_may_be_an_argument_or_in_a_file(tmp_path: Path, doctor: Doctor, as_file: bool) -> None:
    text, file = token(service="other"), tmp_path / "token"
    file.write_text(f"{text}\n")
    report = doctor({**MEMORY, "PUBLIC_URL": NOBODY}, *(["--token-file", str(file)] if as_file else ["--token", text]))
    assert report.wrong == ["token"]
    assert "another service" in report.all_of("token")
    assert text not in report.text


def test_keys_that_are_fetched() -> None:
    without_key = {**MEMORY, "DATAHUB_PUBLIC_KEY": ""}
    with auth_server() as server:
        server.answer = answering(public_pem(rsa_key()).encode())
        assert finding(check_keys, without_key, AUTH_SERVER=server.origin).level is Level.OK
        server.answer = answering(key_set([jwk(rsa_key(), "a"), jwk(ec_key(), "b")]))
        variables = {**without_key, "TOKEN_ALGORITHMS": "RS256,ES256"}
        found = finding(check_keys, variables, AUTH_JWKS_URL=f"{server.origin}/keys?secret=1")
        assert (found.level, found.sentence[-12:]) == (Level.OK, "RS256, ES256")
        assert "secret=1" not in found.sentence
    found = finding(check_keys, without_key, AUTH_SERVER=NOBODY)
    assert found.level is Level.WRONG
    assert f"{NOBODY}/auth/public-key" in found.sentence


def test_keys_that_cannot_be_fetched_are_told_with_the_reason(doctor: Doctor) -> None:
    variables = {**MEMORY, "DATAHUB_PUBLIC_KEY": "", "PUBLIC_URL": NOBODY, "BITSTORE_TOKEN": token()}
    with auth_server() as server:
        report = doctor(variables, AUTH_SERVER=server.origin)
    assert (report.wrong, report.level("token")) == (["auth keys"], "skipped")
    assert "it answered with the status 404" in report.all_of("auth keys")


# The store that the service serves


def test_a_service_that_runs_is_tried_where_clients_reach_it(tmp_path: Path, doctor: Doctor) -> None:
    variables = {name: text for name, text in disk(tmp_path).items() if name != "PUBLIC_URL"}
    with live_service({**OF_THE_SERVICE, **variables}) as service:
        report = doctor(disk(tmp_path), "--origin", ORIGIN, PUBLIC_URL=service.origin)
        assert (report.code, report.noted) == (0, [])
        assert f"{service.origin} is the service" in report.all_of("service")
        report = doctor(disk(tmp_path), PUBLIC_URL=service.origin, STORAGE_SECRET_ACCESS_KEY="another-secret")
        assert report.wrong == ["credentials"]
        report = doctor(disk(tmp_path / "elsewhere"), PUBLIC_URL=service.origin)
        assert report.wrong == ["inspection"]


def test_something_else_at_the_address_of_the_service(tmp_path: Path, doctor: Doctor) -> None:
    with serving(lambda _: PlainTextResponse("hello")) as origin:
        report = doctor(disk(tmp_path), PUBLIC_URL=f"{origin}/files")
    assert report.wrong == ["service"]
    assert "PUBLIC_URL" in report.all_of("service")


def test_a_disk_that_cannot_be_written_to(tmp_path: Path, doctor: Doctor) -> None:
    (tmp_path / "objects").write_text("no folder")
    report = doctor(disk(tmp_path))
    assert report.wrong == ["bucket"]
    assert "Not a directory" in report.all_of("bucket") + report.all_of("credentials")


# The command


@pytest.mark.parametrize(
    ("arguments", "changes", "word"),
    [
        ([], {"STORAGE_FLAVOR": "aws"}, "did you mean STORAGE_FLAVOUR"),
        (["--origin", "portal.example"], {}, "--origin must be an origin"),
        (["--origin", "https://portal.example/"], {}, "--origin must be an origin"),
        (["--token-file", "/nowhere"], {}, "--token-file can't be read: No such file"),
        ([], {"STORAGE_PATH_PATTERN": "{path}"}, "STORAGE_PATH_PATTERN"),
    ],
)
def test_what_it_cannot_start_with(
    arguments: list[str],
    changes: dict[str, str],
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "environ", {**OF_THE_SERVICE, **disk(tmp_path), **changes})
    assert main(["doctor", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("bitstore can't start:")
    assert word in said.err
