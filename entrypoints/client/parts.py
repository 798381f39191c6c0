"""A file that is sent in parts: several at once, and after an interruption only those that are missing."""

from collections.abc import Mapping
from concurrent.futures import Executor, wait
from functools import partial
from time import monotonic

from attrs import define, field

from domain.uploads import SignedPart
from entrypoints.client.answers import FoundFile, PartsPage
from entrypoints.client.errors import ClientError, ServiceRefused, StoreRefused, TooLate
from entrypoints.client.folder import LocalFile
from entrypoints.client.hashing import Moved
from entrypoints.client.retrying import Retries
from entrypoints.client.sending import Sender, Slice
from entrypoints.client.service import PartsUpload

# How often in a row one asks what is missing, and nothing more arrives.
_IDLE_ROUNDS = 3
# What a store says of a request that came too late, and of an upload that is gone: the service knows more.
_WORTH_ASKING = frozenset({401, 403, 404})


@define
class PartsSender:
    """Sends what `upload` lacks of a file, by `run`; `workers` do it, part by part."""

    upload: PartsUpload
    file: LocalFile
    sender: Sender
    retries: Retries
    workers: Executor
    moved: Moved
    carried_md5: bool = field(default=True, init=False)
    """Whether each part that was sent had a Content-MD5."""
    _idle: int = field(default=0, init=False)

    def run(self, page: PartsPage | None = None) -> FoundFile:
        """Send all that is missing, beginning with the parts of `page`, and have the file put together.

        Raises `ServiceRefused` (`upload_not_found`: begin anew), and what `Sender.send_part` raises.
        """
        if page is None:
            page = self.upload.resume()
            self.moved(page.arrived)
        while not page.is_complete:
            failure = self._send(page)
            if failure is None and page.next_part is not None:
                page = self.upload.resume(after=page.next_part - 1)
                continue
            if failure is None:
                try:
                    return self.upload.complete()
                except ServiceRefused as refused:
                    if refused.code != "upload_incomplete":
                        raise
                    failure = refused
            self._idle += 1
            if self._idle > _IDLE_ROUNDS:
                raise failure
            page = self.upload.resume()
        return self.upload.complete()

    def _send(self, page: PartsPage) -> ClientError | None:
        """Send the parts of a page; give the failure, if there is one that fresh requests may mend."""
        futures = [self.workers.submit(self._send_part, page, part) for part in page.parts]
        mendable: ClientError | None = None
        try:
            for future in futures:
                try:
                    future.result()
                except (StoreRefused, TooLate) as error:
                    if isinstance(error, StoreRefused) and error.status not in _WORTH_ASKING:
                        raise
                    mendable = error
                else:
                    self._idle = 0
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
        return mendable

    def _send_part(self, page: PartsPage, part: SignedPart) -> None:
        piece = Slice(self.file, (part.number - 1) * page.part_size, part.length)
        self.retries.run(partial(self._attempt, page, part, piece), self.sender.connections.stop)

    def _attempt(self, page: PartsPage, part: SignedPart, piece: Slice) -> None:
        if monotonic() > page.fresh_until:
            raise TooLate
        self.sender.send_part(part, piece, self.moved)
        if not has_md5(part.headers):
            self.carried_md5 = False


def has_md5(headers: Mapping[str, str]) -> bool:
    """Whether a request says the MD5 of its bytes, so that a store refuses others (RFC 1864)."""
    return any(name.lower() == "content-md5" for name in headers)
