"""`bitstore demo`: the whole round trip on this machine, with keys and a disk store of its own."""

import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import urllib3
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from domain.keys import Owner
from entrypoints.cli.demo_data import dataset, large_file
from entrypoints.cli.interrupted_upload import InterruptedUpload
from entrypoints.cli.local_server import listening_socket, served
from entrypoints.cli.logs import configure_logging
from entrypoints.cli.round_trip import Client, RoundTrip, RoundTripFailed, human_size, md5_base64
from entrypoints.cli.token import load_private_key, mint
from entrypoints.http.app import create_app, utc_now
from entrypoints.settings import Settings
from entrypoints.wiring import wire

OWNER = Owner("demo")
DATASET = "primes"
_TOKEN_LIFETIME = timedelta(hours=12)


@frozen
class _Place:
    """Where a demo keeps what it makes; used again if it is there already."""

    folder: Path

    @property
    def private_key(self) -> Path:
        return self.folder / "demo-private-key.pem"

    @property
    def public_key(self) -> Path:
        return self.folder / "demo-public-key.pem"

    @property
    def storage_secret(self) -> Path:
        return self.folder / "storage-secret"

    @property
    def objects(self) -> Path:
        return self.folder / "store"

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.private_key.exists():
            key = Ed25519PrivateKey.generate()
            _write_secret(self.private_key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self.public_key.write_bytes(public)
        if not self.storage_secret.exists():
            _write_secret(self.storage_secret, secrets.token_urlsafe(30).encode())

    def environment(self, origin: str) -> dict[str, str]:
        return {
            "DATAHUB_PUBLIC_KEY": str(self.public_key),
            "TOKEN_ALGORITHMS": "EdDSA",
            "STORAGE_BACKEND": "disk",
            "STORAGE_DISK_ROOT": str(self.objects),
            "STORAGE_BUCKET_NAME": "demo-bucket",
            "STORAGE_ACCESS_KEY_ID": "demo",
            "STORAGE_SECRET_ACCESS_KEY": self.storage_secret.read_text(),
            "PUBLIC_URL": origin,
        }


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def demo(folder: Path | None, port: int, *, once: bool) -> int:
    """Run the demo; with `once` return 0 only if every byte came back, else go on serving until interrupted."""
    configure_logging("console", level="WARNING")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that nothing is left behind
    place = _Place(folder or Path(tempfile.mkdtemp(prefix="bitstore-demo-")))
    try:
        return _run(place, port, once=once)
    finally:
        if folder is None:
            shutil.rmtree(place.folder, ignore_errors=True)


def _run(place: _Place, port: int, *, once: bool) -> int:
    print("BitStore demo: token → authorize → upload → download, over HTTP, as a client would\n")
    start = time.perf_counter()
    place.prepare()
    _report("keys", f"a key pair for tokens and a secret for the store, in {place.folder}", time.perf_counter() - start)
    start = time.perf_counter()
    with listening_socket(port) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = Settings.from_environment(place.environment(origin))
        with served(create_app(wire(settings)), listener):
            _report("service", f"{origin}/{settings.service_name}, with a disk store", time.perf_counter() - start)
            service_url = f"{origin}/{settings.service_name}"
            token = _token(place, settings.service_name)
            complete = _round_trip(service_url, token)
            if once or not complete:
                return 0 if complete else 1
            print(_what_next(service_url, token))
            sys.stdout.flush()
            _wait_for_interrupt()
    return 0


def _token(place: _Place, service_name: str) -> str:
    start = time.perf_counter()
    key = load_private_key(place.private_key)
    token = mint(key, owner=OWNER, service=service_name, now=utc_now(), lifetime=_TOKEN_LIFETIME)
    _report("token", f"for the user {OWNER!s}, valid for 12 hours", time.perf_counter() - start)
    return token


def _round_trip(service_url: str, token: str) -> bool:
    files = dataset()
    start = time.perf_counter()
    client = Client(service_url, OWNER, token, _report)
    try:
        same = RoundTrip(client).run(DATASET, files)
        print()
        resumed = _interrupted(client).run()
    except (RoundTripFailed, urllib3.exceptions.HTTPError) as error:
        print(f"\nfailed: {error}", file=sys.stderr)
        return False
    contents = [*files.values(), large_file()]
    total = human_size(sum(map(len, contents)))
    seconds = time.perf_counter() - start
    print(f"\n{same + resumed} of {len(contents)} files came back byte for byte ({total} in {seconds:.2f} s)")
    return same + resumed == len(contents)


def _interrupted(client: Client) -> InterruptedUpload:
    another = Client(client.service_url, client.owner, client.token, client.report)
    return InterruptedUpload(client, another, DATASET, "data/residues.bin", large_file())


def _report(step: str, text: str, seconds: float) -> None:
    print(f"  {step:<10} {text:<72} {seconds * 1000:8.1f} ms", flush=True)


def _wait_for_interrupt() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("\nstopping")


def _what_next(service_url: str, token: str) -> str:
    md5 = md5_base64(b"hello, store\n")
    return f"""
The service goes on until Ctrl-C. Open this page in a browser, and drop a folder on it:

{service_url}/upload#token={token}

Or try it from another terminal:

TOKEN={token}

# Ask where a user's files are found, and what the store enforces
curl -s -H "Auth-Token: $TOKEN" {service_url}/info

# Declare a file, get a signed form for it, send it
printf 'hello, store\\n' > hello.txt
curl -s -H "Auth-Token: $TOKEN" {service_url}/authorize -o signed.json \\
  -d '{{"metadata": {{"owner": "{OWNER}", "name": "hello"}},
       "filedata": {{"hello.txt": {{"length": 13, "md5": "{md5}"}}}}}}'
python3 -c '
import json
file = json.load(open("signed.json"))["fileData"]["hello.txt"]
print("url = \\"%s\\"" % file["upload_url"])
for field in file["upload_query"].items(): print("form-string = \\"%s=%s\\"" % field)
print("form = \\"file=@hello.txt\\"")' > upload.curl
curl -s -K upload.curl -w '%{{http_code}}\\n'

# It is public, as the request said nothing else
curl {_store_url(service_url)}/{OWNER}/hello/hello.txt
"""


def _store_url(service_url: str) -> str:
    return f"{service_url.rpartition('/')[0]}/store/demo-bucket"
