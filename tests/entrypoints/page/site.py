"""A service with the page, and a proxy in front of its store, through which tests make the store fail."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from attrs import frozen

from tests.entrypoints.every_store import CHECKING, OF_THE_SERVICE, StoreClient, Variables, client_in_process
from tests.stores.proxy import Asked, Reply, StoreProxy, store_proxy
from tests.stores.servers import RunningStore

# In the end also if nobody releases it, so that a test fails and goes on.
_HELD_SECONDS = 60.0
_CHOICES = {choice.name: choice for choice in CHECKING}


@frozen
class Site:
    """What there is to be used and asked: the service, and the proxy, with whose origin all is signed."""

    client: StoreClient
    proxy: StoreProxy

    @property
    def page(self) -> str:
        """The page's URL."""
        return f"{self.client.root}/upload"

    @property
    def page_for_alice(self) -> str:
        """The page's URL, with a token in its fragment."""
        return f"{self.page}#token={self.client.token()}"

    def url_of(self, dataset: str, path: str) -> str:
        """Say where an object of alice's is."""
        prefix = self.client.info()["prefixes"][0]
        return f"{prefix}/{quote(dataset)}/{quote(path)}"

    def content_of(self, dataset: str, path: str) -> bytes:
        """Download what has arrived."""
        answer = self.client.download(self.url_of(dataset, path))
        assert answer.status == 200
        return answer.data

    @contextmanager
    def holding(self, name: str, reply: Reply | None = None) -> Iterator[None]:
        """Let what is put at keys that end so wait; then answer in the store's place, if there is what to answer."""
        released = threading.Event()

        async def instead(asked: Asked) -> Reply | None:
            if asked.method != "PUT" or not asked.path.endswith(quote(name)):
                return None
            await asyncio.to_thread(released.wait, _HELD_SECONDS)
            return reply

        self.proxy.instead = instead
        try:
            yield
        finally:
            released.set()

    def refuse(self, name: str, reply: Reply, *, part: int | None = None, times: int | None = None) -> list[str]:
        """Answer in the store's place what is put at keys that end so, for so many times; give the list of them."""
        answered: list[str] = []

        async def instead(asked: Asked) -> Reply | None:
            is_meant = asked.method == "PUT" and asked.path.endswith(quote(name))
            if part is not None:
                is_meant = is_meant and f"partNumber={part}" in asked.query.split("&")
            if not is_meant or len(answered) == times:
                return None
            answered.append(asked.path)
            return reply

        self.proxy.instead = instead
        return answered


def refusal(status: int, code: str, message: str) -> Reply:
    """An error as S3 has it, that scripts of any page may read."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return Reply(status, body, {"Content-Type": "application/xml", "Access-Control-Allow-Origin": "*"})


@contextmanager
def embedded_site(folder: Path | None = None, **more: str) -> Iterator[Site]:
    """Serve with a store of our own: on disk in `folder`, or in memory."""
    variables = {**OF_THE_SERVICE, **_CHOICES["memory"].variables(None), **more}
    if folder is not None:
        variables |= {"STORAGE_BACKEND": "disk", "STORAGE_DISK_ROOT": str(folder)}
    with store_proxy("") as proxy, client_in_process(variables, PUBLIC_URL=proxy.origin) as client:
        proxy.upstream = client.origin
        yield Site(client, proxy)


@contextmanager
def seaweedfs_site(store: RunningStore, *, origins: Sequence[str] | None = None, **more: str) -> Iterator[Site]:
    """Serve with a bucket of its own in SeaweedFS, which lets in pages of these origins: if none are named, of ours."""
    bucket = f"page-{uuid4().hex}"
    store.client().create_bucket(Bucket=bucket)
    variables: Variables = {**OF_THE_SERVICE, **_CHOICES["seaweedfs"].variables(store), "STORAGE_BUCKET_NAME": bucket}
    with (
        store_proxy(store.endpoint_url) as proxy,
        client_in_process(variables, STORAGE_PUBLIC_URL=proxy.origin, **more) as client,
    ):
        rule = {
            "AllowedOrigins": origins or [client.origin],
            "AllowedMethods": ["GET", "POST", "PUT"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"],
        }
        store.client().put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
        yield Site(client, proxy)
