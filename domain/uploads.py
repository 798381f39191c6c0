"""Decided uploads, and the shapes of the signed requests that carry them out."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from attrs import field, frozen

from domain.errors import ErrorCode, InvalidInput
from domain.files import DeclaredFile
from domain.keys import ObjectKey
from domain.multipart import PartLimits, PartPlan, UploadId
from domain.values import frozen_by_type


class Access(StrEnum):
    """Who may read an object without a signature."""

    PUBLIC = "public"
    PRIVATE = "private"


class UploadMethod(StrEnum):
    """How a client sends a file: by a form, by one request, or in parts."""

    POST = "POST"
    PUT = "PUT"
    MULTIPART = "MULTIPART"


SINGLE_REQUEST = (UploadMethod.POST, UploadMethod.PUT)
"""The ways in which a file is sent whole, in the order of preference where nothing else decides."""


class Guarantee(StrEnum):
    """What a store can really enforce of a signed upload: it refuses a request that breaks it.

    Of a file in parts, the digests are those of all its bytes.
    """

    KEY = "key"
    LENGTH = "length"
    TYPE = "type"
    EXPIRY = "expiry"
    MD5 = "md5"
    SHA256 = "sha256"
    ACCESS = "access"
    NO_OVERWRITE = "no-overwrite"


@frozen
class Capabilities:
    """What a store can do. `methods` says, for each way in, what the store really enforces there.

    `max_request_bytes` is the longest file of one signed request; `max_lifetime` how long one may be valid. `parts` are
    the limits of files that come in parts, None where `methods` has no MULTIPART.
    """

    methods: Mapping[UploadMethod, frozenset[Guarantee]]
    max_request_bytes: int
    max_lifetime: timedelta = timedelta(days=7)
    parts: PartLimits | None = None

    @cached_property
    def single_request(self) -> Sequence[UploadMethod]:
        """The ways in which a file is sent whole, in the order of preference where nothing else decides."""
        return tuple(method for method in SINGLE_REQUEST if method in self.methods)


@frozen_by_type
class Upload:
    """A decided upload: this file, at this key, readable by these people."""

    key: ObjectKey
    file: DeclaredFile
    access: Access


@frozen_by_type
class PostForm:
    """A multipart/form-data POST: the fields in the order to send them, then the file as the part `file`."""

    url: str
    fields: Mapping[str, str] = field(repr=False)


@frozen_by_type
class PutRequest:
    """A PUT of the bytes to `url`, the whole signed URL, with exactly these headers."""

    url: str = field(repr=False)
    headers: Mapping[str, str]


@frozen_by_type
class MultipartUpload:
    """An upload in parts that its store knows by `upload_id`."""

    upload: Upload
    upload_id: UploadId
    plan: PartPlan


@frozen_by_type
class SignedPart:
    """A PUT of the bytes of one part to `url`, the whole signed URL, with exactly these headers."""

    number: int
    length: int
    url: str = field(repr=False)
    headers: Mapping[str, str]


@frozen_by_type
class SignedUpload:
    """What a client must send to carry out `upload`. `object_url` is where the object will then be found."""

    upload: Upload
    request: PostForm | PutRequest
    object_url: str
    expires_at: datetime

    @property
    def method(self) -> UploadMethod:
        """How the client sends the file."""
        return UploadMethod.POST if isinstance(self.request, PostForm) else UploadMethod.PUT


@frozen_by_type
class SignedMultipart:
    """The requests by which `upload` comes in parts, or some of them: `next_part` is the first that must follow.

    `upload_id` is None, and there are no parts, if the file is there already. `object_url` is as above.
    """

    upload: Upload
    plan: PartPlan
    upload_id: UploadId | None
    parts: Sequence[SignedPart]
    next_part: int | None
    object_url: str
    expires_at: datetime


@frozen
class SignedDownload:
    """A URL that gives the object to whoever holds it, until `expires_at`."""

    url: str = field(repr=False)
    expires_at: datetime


@frozen_by_type
class UploadTerms:
    """How all uploads of a batch are to be signed. With `overwrite` False an object that exists stays as it is."""

    method: UploadMethod
    lifetime: timedelta
    overwrite: bool = True


@frozen_by_type
class UploadWishes:
    """What a client says of the way in: the methods that it can send, and what the store must enforce."""

    accept: frozenset[UploadMethod] | None = None
    overwrite: bool = True
    require: frozenset[Guarantee] = frozenset()

    @property
    def accepts_parts(self) -> bool:
        """Whether the client can send a file in parts."""
        return self.accept is not None and UploadMethod.MULTIPART in self.accept

    @property
    def accepts_whole_files(self) -> bool:
        """Whether the client can send a file in one request."""
        return self.accept is None or not self.accept.isdisjoint(SINGLE_REQUEST)

    def choose_method(self, capabilities: Capabilities, preferred: UploadMethod | None) -> UploadMethod:
        """Pick how whole files are sent: what the client accepts wins over what the operator prefers.

        Among several the one where the store enforces most is picked; a client that accepts nothing in particular
        gets a form, as deployed clients expect, if the store takes forms. Raises `InvalidInput`
        (`unsupported_by_store`) when no method of the store is acceptable or keeps what is required.
        """
        return self._strongest(self._candidates(capabilities, preferred), capabilities)

    def require_parts(self, capabilities: Capabilities) -> None:
        """Raise `InvalidInput` (`unsupported_by_store`) unless the store keeps what is required of files in parts."""
        candidates = [method for method in capabilities.methods if method not in SINGLE_REQUEST]
        self._strongest(candidates, capabilities)

    def _strongest(self, candidates: Sequence[UploadMethod], capabilities: Capabilities) -> UploadMethod:
        required = self.require if self.overwrite else self.require | {Guarantee.NO_OVERWRITE}
        strongest, most = None, -1
        for method in candidates:
            enforced = capabilities.methods[method]
            if required <= enforced and len(enforced) > most:
                strongest, most = method, len(enforced)
        if strongest is None:
            raise InvalidInput(ErrorCode.UNSUPPORTED_BY_STORE, _explain_refusal(candidates, required, capabilities))
        return strongest

    def _candidates(self, capabilities: Capabilities, preferred: UploadMethod | None) -> Sequence[UploadMethod]:
        available = capabilities.single_request
        if self.accept is not None:
            return [method for method in available if method in self.accept]
        return available[:1] if preferred is None or preferred not in available else (preferred,)


def _explain_refusal(
    candidates: Sequence[UploadMethod], required: frozenset[Guarantee], capabilities: Capabilities
) -> str:
    if not candidates:
        offered = " and ".join(capabilities.single_request)
        return f"this store takes uploads by {offered} only; say so in accept"
    enforced = frozenset[Guarantee]().union(*(capabilities.methods[method] for method in candidates))
    missing = ", ".join(sorted(required - enforced)) or "all that is required at once"
    helping = [method for method in capabilities.single_request if required <= capabilities.methods[method]]
    hint = f'; it can by {" or ".join(helping)}: send "accept": ["{helping[0]}"]' if helping else ""
    return f"this store can't enforce {missing} by {' or '.join(candidates)}{hint}"
