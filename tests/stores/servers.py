"""SeaweedFS and MiniStack as context managers: two S3 servers that check signatures, for tests that need a real one."""

import json
import secrets
import sysconfig
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import evolve, field, frozen
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.aws_sdk import sdk
from tests.stores.processes import ServerExited, free_port, running

REPOSITORY = Path(__file__).parents[2]
_MINISTACK = REPOSITORY / ".venv" / "ministack" / "bin" / "ministack"
REGION = "us-east-1"
_STARTS = 3

_Running = TypeVar("_Running")


@frozen
class RunningStore:
    """What a client must know of a store that runs: `endpoint_url` is `http://127.0.0.1:PORT`, path-style addressing.

    `flavour` is the STORAGE_FLAVOUR that says what it enforces.
    """

    name: str
    endpoint_url: str
    bucket: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str
    flavour: Literal["seaweedfs", "ministack", "ceph"]

    def client(self, service: str = "s3") -> Any:
        """A boto3 client with this store's credentials; that for S3 is whom tests ask what is stored."""
        return _client(self.endpoint_url, self.access_key_id, self.secret_access_key, self.region, service)


@cache
def _client(endpoint_url: str, access_key_id: str, secret_access_key: str, region: str, service: str = "s3") -> Any:
    config = Config(
        signature_version="s3v4" if service == "s3" else "v4",
        s3={"addressing_style": "path"},
        # One attempt, and no proxy: a test sees the first answer, and only to a request that it made.
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=60,
        proxies={},
        # Otherwise the SDK adds a CRC to every upload, and objects differ from what a plain client stores.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return sdk().client(
        service,
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name=region,
        config=config,
    )


def start_seaweedfs(folder: Path) -> AbstractContextManager[RunningStore]:
    """SeaweedFS, every part of it in one process, with its data in the empty `folder`.

    Raises:
        ServerFailed: it can't start; the message has its last log lines.
    """
    return started(_seaweedfs, folder)


def start_seaweedfs_as(
    options: Sequence[str], environment: Mapping[str, str], store: RunningStore, folder: Path
) -> AbstractContextManager[RunningStore]:
    """SeaweedFS as somebody else's options and environment have it, `store` in short; only its places are our own.

    Raises:
        ServerFailed: it can't start; the message has its last log lines.
    """
    return started(lambda subfolder: _weed_mini(options, environment, store, subfolder), folder)


def start_ministack(folder: Path) -> AbstractContextManager[RunningStore]:
    """MiniStack's S3, IAM and STS, in memory, with its log in the empty `folder`.

    Raises:
        ServerFailed: it can't start; the message has its last log lines.
    """
    return started(_ministack, folder)


@contextmanager
def started(launch: Callable[[Path], AbstractContextManager[_Running]], folder: Path) -> Iterator[_Running]:
    """Launch a store in a subfolder of the empty `folder`; a store that ends at once is given other ports."""
    with ExitStack() as stack:
        yield _launched(launch, folder, stack)


def _launched(launch: Callable[[Path], AbstractContextManager[_Running]], folder: Path, stack: ExitStack) -> _Running:
    """Launch a store, anew if it ends at once: others may take a port between our look at it and the store's."""
    for attempt in range(1, _STARTS):
        with suppress(ServerExited):
            return stack.enter_context(launch(_subfolder(folder, attempt)))
    return stack.enter_context(launch(_subfolder(folder, _STARTS)))


def _subfolder(folder: Path, attempt: int) -> Path:
    subfolder = folder / f"start-{attempt}"
    subfolder.mkdir()
    return subfolder


@contextmanager
def _seaweedfs(folder: Path) -> Iterator[RunningStore]:
    store = RunningStore(
        name="SeaweedFS",
        endpoint_url="",
        bucket="bitstore-tests",
        access_key_id="bitstore",
        secret_access_key=secrets.token_hex(20),
        region=REGION,
        flavour="seaweedfs",
    )
    credentials = {"accessKey": store.access_key_id, "secretKey": store.secret_access_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "bitstore", "credentials": [credentials], "actions": actions}]}
    (folder / "s3.json").write_text(json.dumps(identities))
    options = [f"-bucket={store.bucket}", "-s3.config=s3.json", "-master.telemetry=false", "-admin.ui=false"]
    with _weed_mini([*options, "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"], {}, store, folder) as weed:
        yield weed


@contextmanager
def _weed_mini(
    options: Sequence[str], environment: Mapping[str, str], store: RunningStore, folder: Path
) -> Iterator[RunningStore]:
    """All of SeaweedFS in one process, with its data, sockets and ports where nobody else's are."""
    port = free_port()
    store = evolve(store, endpoint_url=f"http://127.0.0.1:{port}")
    # Its worker looks for the admin server's gRPC at the HTTP port + 10,000, whatever else it is told.
    admin_port = free_port(also_free=10_000)
    grpc_ports = {
        "s3.port.grpc": free_port(),
        "master.port.grpc": free_port(),
        "volume.port.grpc": free_port(),
        "filer.port.grpc": free_port(),
        "admin.port.grpc": admin_port + 10_000,
    }
    places: dict[str, str | int] = {
        "dir": "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.port": port,
        # Relative to the folder: the path of a Unix socket may not be longer than about 100 bytes.
        "s3.localSocket": "s3.sock",
        "filer.localSocket": "filer.sock",
        "master.port": free_port(),
        "volume.port": free_port(),
        "filer.port": free_port(),
        "admin.port": admin_port,
        **grpc_ports,
    }
    weed = installed(Path(sysconfig.get_path("scripts")) / "weed")
    # Of an option that is given twice, the last counts.
    command: list[str | Path] = [weed, "-logtostderr", "mini", *options]
    command += [f"-{name}={value}" for name, value in places.items()]
    try:
        with running(store.name, command, folder, environment) as server:
            server.wait_until(lambda: takes_objects(store))
            yield store
    finally:
        _remove_grpc_sockets(grpc_ports.values())


def _remove_grpc_sockets(ports: Iterable[int]) -> None:
    """SeaweedFS puts a socket per gRPC port into /tmp, which no option moves and SIGKILL leaves behind."""
    for port in ports:
        for socket_file in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
            socket_file.unlink(missing_ok=True)


@contextmanager
def _ministack(folder: Path) -> Iterator[RunningStore]:
    port = free_port()
    # Without BIND_HOST it listens on every address, without AUTH it checks nothing.
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "SERVICES": "s3,iam,sts", "AUTH": "true"}
    with running("MiniStack", [installed(_MINISTACK)], folder, settings) as server:
        server.wait_until(lambda: _answers(port))
        store = _with_ministack_user(f"http://127.0.0.1:{port}")
        store.client().create_bucket(Bucket=store.bucket)
        server.wait_until(lambda: takes_objects(store))
        yield store


def _answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=5):
        return True
    return False


def _with_ministack_user(endpoint_url: str) -> RunningStore:
    """Make a user who may do everything in S3.

    MiniStack's own key `test` won't do: it stands for root, whose signatures MiniStack 1.5.33 checks on presigned URLs
    and forms, and never in headers.
    """
    iam = _client(endpoint_url, "test", "test", REGION, "iam")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.create_user(UserName="bitstore")
    iam.put_user_policy(UserName="bitstore", PolicyName="store", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="bitstore")["AccessKey"]
    return RunningStore(
        name="MiniStack",
        endpoint_url=endpoint_url,
        bucket="bitstore-tests",
        access_key_id=key["AccessKeyId"],
        secret_access_key=key["SecretAccessKey"],
        region=REGION,
        flavour="ministack",
    )


def installed(program: Path) -> Path:
    """Give back the program, if it is there."""
    if not program.exists():
        raise FileNotFoundError(f"{program} is missing: `make install-test` installs it.")
    return program


def takes_objects(store: RunningStore) -> bool:
    """Whether an object can be stored, for which every part of a store must be up; leaves nothing behind."""
    probe = {"Bucket": store.bucket, "Key": "is-it-ready"}
    with suppress(BotoCoreError, ClientError):
        store.client().put_object(**probe, Body=b"yes")
        store.client().delete_object(**probe)
        return True
    return False
