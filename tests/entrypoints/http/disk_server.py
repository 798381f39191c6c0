"""The disk store's endpoint in a process of its own: `python -m tests.entrypoints.http.disk_server ROOT MAX_BYTES`.

Writes its port on standard output once it listens, and serves until it is killed.
"""

import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from adapters.stores.addresses import BucketAddress
from adapters.stores.disk import DiskObjects
from adapters.stores.sigv4 import Credentials
from entrypoints.http.connections import Connection
from entrypoints.http.store_endpoint import StoreEndpoint, StoreMount
from tests.entrypoints.http.live_store import ACCESS_KEY, BUCKET, REGION, SECRET_KEY


def _main(root: str, max_bytes: str) -> None:
    objects = DiskObjects(Path(root))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        endpoint = StoreEndpoint(
            address=BucketAddress(f"http://127.0.0.1:{port}", BUCKET, base_path="/store"),
            region=REGION,
            credentials=Credentials(ACCESS_KEY, SECRET_KEY),
            writer=objects,
            reader=objects,
            parts=objects,
            max_bytes=int(max_bytes),
            clock=lambda: datetime.now(UTC),
        )
        app = Starlette(routes=[StoreMount(endpoint)])
        print(port, flush=True)  # noqa: T201 - whoever started us reads it
        uvicorn.Server(uvicorn.Config(app, http=Connection, log_config=None)).run([listener])


if __name__ == "__main__":
    _main(*sys.argv[1:])
