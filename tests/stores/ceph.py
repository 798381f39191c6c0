"""A Ceph cluster of the least size as a context manager: one monitor, one OSD that keeps all in memory, one gateway."""

import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from tests.debian import program
from tests.stores.processes import Server, ServerFailed, bare_environment, free_port, running
from tests.stores.servers import REGION, RunningStore, started, takes_objects

_TOOL_SECONDS = 60
_MEMORY_BYTES = 2 * 1024**3

# cephx, because without authentication clients wait for ever. No address but 127.0.0.1, no log but standard error, no
# socket in /var/run. Ceph gathers changes of the cluster for a second before it agrees on them; a cluster that is made
# anew has a dozen in a row, one for each pool.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor_port}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
run_dir = {folder}
crash_dir = {folder}
admin_socket =
log_file =
log_to_stderr = true
err_to_stderr = true
debug_rocksdb = 0
mon_data = {folder}/monitor
mon_cluster_log_to_file = false
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_allow_pool_size_one = true
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = {memory_bytes}
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
rgw_rados_pool_pg_num_min = 1
rgw_data = {folder}
rgw_frontends = beast endpoint=127.0.0.1:{gateway_port}
"""

_CAPABILITIES: Mapping[str, Mapping[str, str]] = {
    "mon.": {"mon": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
}


def start_ceph(folder: Path) -> AbstractContextManager[RunningStore]:
    """Ceph's S3 gateway and the cluster below it, with its files in the empty `folder`.

    Raises:
        FileNotFoundError: a program is missing; the message has the Debian package.
        ServerFailed: it can't start; the message has its last log lines.
    """
    return started(_ceph, folder)


@contextmanager
def _ceph(folder: Path) -> Iterator[RunningStore]:
    monitor_port, gateway_port = free_port(), free_port()
    store = RunningStore(
        name="Ceph",
        endpoint_url=f"http://127.0.0.1:{gateway_port}",
        bucket="bitstore-tests",
        access_key_id="bitstore",
        secret_access_key=secrets.token_hex(20),
        region=REGION,
        flavour="ceph",
    )
    fsid = str(uuid4())
    configuration = _CONFIGURATION.format(
        fsid=fsid, folder=folder, monitor_port=monitor_port, gateway_port=gateway_port, memory_bytes=_MEMORY_BYTES
    )
    (folder / "ceph.conf").write_text(configuration)
    _make_keys(folder)
    with _monitor(folder, fsid, monitor_port), _osd(folder):
        _tool(folder, "radosgw-admin", *_user(store))
        with _daemon(folder, "radosgw", "--name", "client.admin") as gateway:
            gateway.wait_until(lambda: _listens(gateway_port))
            store.client().create_bucket(Bucket=store.bucket)
            gateway.wait_until(lambda: takes_objects(store))
            yield store


def _make_keys(folder: Path) -> None:
    for entity, capabilities in _CAPABILITIES.items():
        options = [option for service, allowed in capabilities.items() for option in ("--cap", service, allowed)]
        create = [] if (folder / "keyring").exists() else ["--create-keyring"]
        _tool(folder, "ceph-authtool", "keyring", *create, "--gen-key", "--name", entity, *options)


@contextmanager
def _monitor(folder: Path, fsid: str, port: int) -> Iterator[None]:
    _tool(folder, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}]", "monmap")
    _tool(folder, "ceph-mon", "--id", "a", "--mkfs", "--monmap", "monmap")
    with _daemon(folder, "ceph-mon", "--id", "a") as monitor:
        monitor.wait_until(lambda: _listens(port))
        yield


@contextmanager
def _osd(folder: Path) -> Iterator[None]:
    osd_id = str(uuid4())
    (folder / "osd").mkdir()
    _tool(folder, "ceph", "osd", "new", osd_id, "0")
    _tool(folder, "ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", osd_id)
    with _daemon(folder, "ceph-osd", "--id", "0") as osd:
        # Whoever asks the cluster for something before that is kept waiting for five seconds.
        osd.wait_until(lambda: "1 up" in _tool(folder, "ceph", "osd", "stat"))
        yield


def _user(store: RunningStore) -> list[str]:
    """The words that make the store's user; the secret is seen by `ps`, on a machine of our own and in tests only."""
    names = ["--uid", store.access_key_id, "--display-name", store.access_key_id]
    return ["user", "create", *names, "--access-key", store.access_key_id, "--secret-key", store.secret_access_key]


def _daemon(folder: Path, name: str, *options: str) -> AbstractContextManager[Server]:
    own_folder = folder / f"{name}.running"
    own_folder.mkdir()
    return running(name, [program(name), "--conf", folder / "ceph.conf", "--foreground", *options], own_folder, {})


def _tool(folder: Path, name: str, *words: str) -> str:
    """Run a command that ends by itself once the servers that it needs are there; give what it says.

    Raises:
        ServerFailed: it ended with an error, or not at all; the message has what it said.
    """
    command: list[str | Path] = [program(name), "--conf", folder / "ceph.conf", *words]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=bare_environment(folder, {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TOOL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerFailed(f"{name} {words[0]} had not ended within {_TOOL_SECONDS} s") from error
    if done.returncode:
        raise ServerFailed(f"{name} {words[0]} ended with status {done.returncode}.\n{done.stdout}")
    return done.stdout


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
