"""What the use-cases need of the world: the contracts that adapters keep.

Each port is a Protocol whose docstring is the contract; `adapters/stores/contract.py` tests it. Optional abilities are
small Protocols of their own: a store that can't do a thing doesn't have the method.

Signing is plain CPU work, so it is synchronous and never touches a network. What does I/O is async. No method raises
anything but the errors that its docstring names; adapters translate what their libraries raise.
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from attrs import frozen

from domain.errors import Unavailable
from domain.files import Md5, Sha256
from domain.identity import Principal
from domain.inspection import FoundObject
from domain.keys import ObjectKey
from domain.multipart import ArrivedPart, UploadId
from domain.uploads import (
    Access,
    Capabilities,
    MultipartUpload,
    SignedDownload,
    SignedPart,
    SignedUpload,
    Upload,
    UploadTerms,
)
from domain.values import frozen_by_type

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Running(Awaitable[_T_co], Protocol[_T_co]):
    """Something that was started; awaiting it gives what it gives, or raises what it raises."""

    def done(self) -> bool:
        """Tell whether it has ended."""

    def cancel(self) -> object:
        """End it, unless it has ended."""


class Turns(Protocol):
    """How the requests of one process, which do one thing at a time, take turns."""

    async def pause(self) -> None:
        """Let all others that are waiting go first."""

    def take(self, items: Iterator[_T]) -> list[_T]:
        """Make as many items as there is time for in one turn, at least one; none when there are no more."""

    def start(self, work: Coroutine[None, None, _T]) -> Running[_T]:
        """Begin to do `work` whenever we pause or wait ourselves."""


class TokenVerifier(Protocol):
    """Turns the token that a client shows into what it proves."""

    def verify(self, token: str, now: datetime) -> Principal:
        """Check the signature with a key and an algorithm of our choosing, then the claims, at `now`.

        Whatever the text is, raises only `Unauthenticated` (`UnknownKey` where fetching the keys again could help), or
        `Unavailable` when no key has been loaded yet.
        """


class KeyRefresher(Protocol):
    """Fetches the keys that tokens are verified with, where they come over a network."""

    async def refresh(self) -> bool:
        """Fetch the keys again, and say whether they were fetched after this call began.

        However often it is called, there is at most one fetch at a time, and one per cooldown: a call while one is
        under way waits for it, and a call within the cooldown returns False at once. A fetch that fails changes
        nothing. Takes a bounded time. Never raises.
        """


class UploadSigner(Protocol):
    """Signs requests that let exactly the declared files into the store.

    A signed request must bind the key exactly (never a prefix of it), and every guarantee that `capabilities` names for
    its method: the store refuses a request that breaks one, and keeps nothing of it. A store that can't enforce a thing
    leaves it out of `capabilities`; it never claims it.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do, and what it really enforces. Constant while the process runs."""

    def sign_uploads(self, uploads: Iterable[Upload], terms: UploadTerms, now: datetime) -> Iterable[SignedUpload]:
        """Sign a batch, in order, as of `now`; each upload when it is asked for, to be iterated over once.

        - The method of `terms` is one of `capabilities.methods`; the lifetime at most `capabilities.max_lifetime`.
        - `expires_at` is never later than `now` plus the lifetime, nor than the life of the signing credentials.
        - `object_url` is the upload's URL plus "/" plus the percent-encoded key, and starts with one of the URLs of
          `url_prefixes`.
        - A private upload is never signed so that strangers could read the object.
        - A form's URL doesn't end in "/", and the key is one of its fields.

        Before the first is asked for, raises `Unavailable` when there are no valid credentials to sign with, and
        `InvalidInput` (`unsupported_by_store`) when one is private and the store is known to let strangers read.
        """

    def url_prefixes(self, key_prefix: str) -> Sequence[str]:
        """Give the URLs under which objects whose keys start with `key_prefix` and a slash can be found.

        The first is the form that `object_url` has. An empty `key_prefix` means the whole bucket. None ends in "/".
        """


class DownloadSigner(Protocol):
    """Signs requests to read one object."""

    def sign_download(
        self, key: ObjectKey, lifetime: timedelta, now: datetime, filename: str | None = None
    ) -> SignedDownload:
        """Sign a GET of the object at `key`, whether or not it exists.

        With `filename` the answer asks a browser to save it under that name. `expires_at` is as in `sign_uploads`.
        Raises `Unavailable` when there are no valid credentials to sign with.
        """

    def key_of_url(self, url: str) -> ObjectKey | None:
        """Give the key that `url` names if it is the address of an object in this store, in any form the store has.

        The path is percent-decoded once. A query, fragment or userinfo decides nothing: with one, the answer is None.
        """


@frozen_by_type
class Inspection:
    """What a store said of some keys: None where it has no object. Keys that it did not tell about are left out.

    `failure` says why, if it didn't answer as it should, or not in time.
    """

    found: Mapping[ObjectKey, FoundObject | None]
    failure: Unavailable | None = None


class Preparation(Protocol):
    """Something that was asked of a store ahead of an inspection."""

    @property
    def nothing_there(self) -> bool:
        """Whether it is known already that the store has nothing in the folder: then nobody needs to inspect."""

    def drop(self) -> None:
        """Forget it; there will be no inspection. Never raises."""


class ObjectInspector(Protocol):
    """Tells what the store holds, without trusting the client."""

    def prepare(self, folder: str, files: int, now: datetime) -> Preparation | None:
        """Begin to ask, if that is worth it, while it is still being decided which keys are wanted.

        They will be about `files`, and all start with `folder` (which ends in "/" or is empty). What comes back is
        given to `inspect`, or dropped. Must be called where an event loop runs. Never raises.
        """

    async def inspect(
        self, uploads: Sequence[Upload], now: datetime, patience: timedelta, prepared: Preparation | None = None
    ) -> Inspection:
        """Look at exactly the keys of `uploads`, for at most `patience`. Never raises.

        - An object whose key only starts like a wanted one is never taken for it.
        - A digest is given only if it is one of the object's whole bytes.
        - Before an object of the declared length is said to have other digests than the declared, or none that can be
          compared, the store is asked in the most exact way that it has.
        - What was learnt before a failure, or before time was over, is given.
        """


@frozen_by_type
class PageRequest:
    """Asks for at most `limit` objects, 1 to 1,000, under `folder`; `token` is empty for the first page."""

    folder: ObjectKey
    limit: int
    token: str = ""


@frozen_by_type
class ListedObject:
    """An object, and what the store's listing says of it."""

    key: ObjectKey
    found: FoundObject


@frozen_by_type
class ListingPage:
    """Some of the objects under a folder. `next_token` asks for those behind them; None if there are no more."""

    objects: Sequence[ListedObject]
    next_token: str | None


class ObjectLister(Protocol):
    """Tells which objects there are under a folder, page by page. A store may lack this ability."""

    async def list_page(self, request: PageRequest, now: datetime, patience: timedelta) -> ListingPage:
        """Ask for one page, for at most `patience`.

        - Only objects whose keys are the folder, a slash and more. What others put there under names that are no
          valid keys is left out.
        - A page may hold fewer than `limit`, or none, though more follow; in any order.
        - Who goes on to the last page has been told once of each object that was there all the time, and of none
          twice, whatever else came or went meanwhile.
        - Length and digests are those that a listing has. A digest is that of the whole bytes or None; but for
          objects that S3 encrypts with KMS keys, of which a listing has what only looks like an MD5.
        - The token comes from a client: whatever it is, nothing else is given.

        Raises `InvalidInput` (`invalid_cursor`) for a token that the store doesn't take, and `Unavailable` if it
        doesn't answer as it should, or won't list.
        """


@frozen_by_type
class SignedParts:
    """Requests for some parts of an upload, each signed when it is asked for; to be iterated over once."""

    expires_at: datetime
    parts: Iterable[SignedPart]


class PartSigner(Protocol):
    """Signs requests that let single parts of an upload into the store.

    A request binds the key, and of what `capabilities` names for MULTIPART the length and the expiry; where that is the
    length, the upload and the number of the part as well; and the part's MD5, where it is declared and the store checks
    it.
    """

    def sign_parts(
        self, upload: MultipartUpload, numbers: Iterable[int], lifetime: timedelta, now: datetime
    ) -> SignedParts:
        """Sign a PUT for each of these parts, in order. `expires_at` is as in `sign_uploads`.

        Raises `Unavailable` and `InvalidInput` (`unsupported_by_store`) as `sign_uploads` does.
        """


@frozen_by_type
class Progress:
    """What a store has of an upload: the parts that have arrived, by number; or that it was completed."""

    arrived: Mapping[int, ArrivedPart]
    is_complete: bool = False


@frozen_by_type
class PendingUpload:
    """An upload in parts that was begun, and neither completed nor aborted."""

    key: ObjectKey
    upload_id: UploadId
    begun: datetime


class MultipartStore(Protocol):
    """Puts objects together from parts that clients send by themselves.

    All that is known of an upload is in the store. An upload's id counts for its own key alone: with another key there
    is no such upload. All methods but `pending` take a bounded time; all raise `Unavailable` if the store doesn't
    answer as it should.
    """

    async def begin(self, uploads: Sequence[Upload], now: datetime) -> Sequence[UploadId]:
        """Begin an upload for each, in order; if one can't be begun, the others are aborted as far as possible.

        What the declaration says of media type and access counts from here on, whatever the parts say. Raises
        `InvalidInput` (`unsupported_by_store`) when one is private and the store is known to let strangers read; so
        does `complete`.
        """

    async def progress(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> Progress | None:
        """Tell what has arrived; None if there is no such upload at this key, or it was aborted.

        That it was completed is told for as long as the object that it became is still there.
        """

    async def complete(
        self, upload: MultipartUpload, parts: Sequence[ArrivedPart], now: datetime, *, overwrite: bool = True
    ) -> None:
        """Make the object of exactly these parts, in one step: all of it is visible, or nothing.

        With `overwrite` False and an object already there, raises `ObjectExists`, where the store claims no-overwrite
        for MULTIPART. Raises `DigestMismatch` where it claims a digest that was declared, and the bytes have another;
        `PartsChanged` when the upload has ended meanwhile, or these are no longer its parts. After an error the parts
        are still there.
        """

    async def abort(self, key: ObjectKey, upload_id: UploadId, now: datetime) -> None:
        """Drop an upload and its parts; does nothing if there is none. What was completed stays."""

    def pending(self, now: datetime) -> AsyncIterator[PendingUpload]:
        """Give all uploads that are pending in this store, in any order, whoever began them.

        Empty where the store drops them by itself.
        """


class ObjectRemover(Protocol):
    """Deletes objects. Serving needs none of this; `bitstore doctor` takes away by it what it stored itself."""

    async def remove(self, key: ObjectKey, now: datetime) -> None:
        """Remove the object at exactly `key`, signing as of `now`; do nothing if there is none.

        Takes a bounded time. Raises `Unavailable` with a message for the operator when the store refuses, or isn't
        there.
        """


class Startable(Protocol):
    """Something that has work to do between the start of the service and its end."""

    async def start(self) -> None:
        """Get ready. Must not fail because a network does; what is missing is tried again in the background."""

    async def stop(self) -> None:
        """Give back what was taken. Called once, also if `start` was not awaited to its end."""


class Probe(Protocol):
    """Something that the service depends on, and can be asked whether it is there."""

    async def check(self) -> None:
        """Return if it answers as it should; raise `Unavailable` with a message for the operator if not."""


class SettingsReader(Protocol):
    """Reads what a store needs from the environment; what is wrong is collected and reported together."""

    def text(
        self, name: str, default: str | None = None, *, secret: bool = False, unset: str = "not set"
    ) -> str | None:
        """Give the variable as it stands. `unset` describes, for people, what its absence means."""

    def required(self, name: str, why: str, *, secret: bool = False) -> str:
        """Give a variable that must be there; `why` ends the sentence that asks for it. A secret is never shown."""

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Give a whole number from `low` to `high`."""

    def flag(self, name: str, *, default: bool) -> bool:
        """Give true or false."""

    def choice(self, name: str, options: Collection[str], default: str | None, *, unset: str = "not set") -> str | None:
        """Give one of `options`."""

    def parsed(self, name: str, parse: Callable[[str], _T], text: str | None) -> _T | None:
        """Make a value of `text` by `parse`, whose `Misconfigured` or ValueError becomes a problem of this variable."""

    def fault(self, problem: str) -> None:
        """Note something that is wrong."""


@frozen
class Store:
    """A store, ready to be wired: its abilities, and what must be started and asked for health.

    It takes files in parts if it has both `part_signer` and `multipart`, and `capabilities` say so. Without a `remover`
    nothing can be deleted from here, and without a `lister` there are no listings.
    """

    signer: UploadSigner
    downloads: DownloadSigner
    inspector: ObjectInspector
    startables: Sequence[Startable] = ()
    probes: Sequence[Probe] = ()
    part_signer: PartSigner | None = None
    multipart: MultipartStore | None = None
    remover: ObjectRemover | None = None
    lister: ObjectLister | None = None


@frozen
class ObjectInfo:
    """What a store knows of an object whose bytes we serve. `length` is in bytes; `modified` is in UTC.

    `headers` are those that the uploader chose for downloads (Content-Disposition, x-amz-meta-…), in lower case.
    """

    key: ObjectKey
    length: int
    md5: Md5
    sha256: Sha256
    media_type: str
    access: Access
    modified: datetime
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        """The entity tag as S3 makes it for single-request uploads: the MD5 in hexadecimal, in quotes."""
        return f'"{self.md5.hex}"'

    @property
    def found(self) -> FoundObject:
        """What `inspect` tells of it."""
        return FoundObject(self.length, self.md5, self.sha256)


@frozen
class ObjectAttributes:
    """What an uploader decides of an object besides its bytes."""

    media_type: str
    access: Access
    headers: Mapping[str, str]


class IncomingObject(Protocol):
    """An object whose bytes are arriving. Nobody can see it before `commit` has returned."""

    @property
    def received(self) -> int:
        """How many bytes have been written so far."""

    async def write(self, chunk: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageFailed`."""

    async def digests(self) -> tuple[Md5, Sha256]:
        """Give the digests of all that was written. Raises `StorageFull` or `StorageFailed`."""

    async def commit(self, attributes: ObjectAttributes, now: datetime, *, overwrite: bool = True) -> ObjectInfo:
        """Make the object visible, whole, in one step; return only when it would survive a loss of power.

        Of two writers of one key, one whole object wins. With `overwrite` False and an object already there, raises
        `ObjectExists` and leaves that object alone; this holds also between two writers at the same moment.
        Raises `StorageFull` or `StorageFailed`; then the object that was there before is intact.
        """

    async def discard(self) -> None:
        """Forget what was written; does nothing after `commit`. Never raises."""


class ObjectWriter(Protocol):
    """Takes in bytes, for stores whose bytes we serve ourselves."""

    async def receive(self, key: ObjectKey) -> IncomingObject:
        """Begin to take an object. The caller ends it with `commit` or `discard`, whatever happens.

        Raises `StorageFull` or `StorageFailed`.
        """


class StoredObject(Protocol):
    """An object that is open for reading: a whole one, even if it is replaced or deleted meanwhile."""

    @property
    def info(self) -> ObjectInfo:
        """What is known of it."""

    def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Give the bytes from offset `start` up to, and not including, `end`, in pieces. Raises `StorageFailed`."""

    async def close(self) -> None:
        """Give back what is open. Never raises."""


class IncomingPart(Protocol):
    """A part of an upload whose bytes are arriving; it counts only once `commit` has returned."""

    @property
    def received(self) -> int:
        """How many bytes have been written so far."""

    async def write(self, chunk: bytes) -> None:
        """Append. Raises `StorageFull` or `StorageFailed`."""

    async def digests(self) -> tuple[Md5, Sha256]:
        """Give the digests of all that was written. Raises `StorageFull` or `StorageFailed`."""

    async def commit(self) -> ArrivedPart:
        """Make it the part with its number, in place of an earlier one; return when it would survive a loss of power.

        Raises `PartsChanged` when the upload has ended meanwhile, `StorageFull` or `StorageFailed`.
        """

    async def discard(self) -> None:
        """Forget what was written; does nothing after `commit`. Never raises."""


class PartWriter(Protocol):
    """Takes in the bytes of parts, for stores whose bytes we serve ourselves."""

    async def receive_part(self, key: ObjectKey, upload_id: UploadId, number: int) -> IncomingPart | None:
        """Begin to take a part; None if there is no such upload at this key.

        The caller ends it with `commit` or `discard`, whatever happens. Raises `StorageFull` or `StorageFailed`.
        """


class ObjectReader(Protocol):
    """Gives bytes, for stores whose bytes we serve ourselves."""

    async def open(self, key: ObjectKey) -> StoredObject | None:
        """Open the object at exactly `key`, or give None. Raises `StorageFailed`."""


class StorageError(Exception):
    """What a store of bytes can't do now, though nothing is wrong with the request."""


class StorageFull(StorageError):
    """No room is left."""


class StorageFailed(StorageError):
    """The medium refuses: read-only, an I/O error, no permission."""


class ObjectExists(Exception):
    """There is an object at this key already, and the writer asked not to replace it."""


class DigestMismatch(Exception):
    """The parts that arrived make other bytes than those that were declared."""


class PartsChanged(Exception):
    """The upload has ended, or some of its parts have been replaced, since one looked."""
