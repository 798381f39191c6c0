"""What S3-compatible stores understand and really enforce, as data.

The figures come from the stores' own documentation (AWS, Cloudflare R2, MinIO) or from what was seen of them when they
ran (SeaweedFS 4.48, Ceph RGW 16.2, MiniStack 1.5): the contract suite tests each claim in both directions wherever the
store can be started here.
"""

from collections.abc import Mapping
from datetime import timedelta

from attrs import frozen

from adapters.stores.sigv4 import MAX_PRESIGNED_SECONDS
from domain.multipart import MIB, PartLimits
from domain.uploads import Capabilities, Guarantee, UploadMethod

GIB = 1024 * MIB
MAX_REQUEST_BYTES = 5 * GIB
"""The longest object of one POST or PUT (Amazon S3 User Guide, "Uploading objects")."""

PART_LIMITS = PartLimits(
    min_part_bytes=5 * MIB, max_part_bytes=5 * GIB, max_parts=10_000, max_object_bytes=5 * 1024 * GIB
)
"""Amazon S3 User Guide, "Amazon S3 multipart upload limits"."""


@frozen
class Flavour:
    """One kind of S3-compatible store: what it enforces of a POST form (None: it takes no forms) and of a signed PUT.

    `parts` is the same for files that come in parts, None where that isn't possible. Digests are never among it: of all
    the bytes of such a file S3 knows none.

    `form_md5` and `form_sha256` say whether a form may have the field `Content-MD5` or `x-amz-checksum-sha256`, and
    `put_sha256` whether a PUT may have the latter as a header: a store that doesn't know a field refuses the request.
    `has_acl` says whether ACLs mean anything to it, and `ascii_policy` whether it understands a policy in which every
    character beyond ASCII is escaped, as AWS wants it ("Creating a POST Policy", character escaping).
    `seen_on` is the server on which the contract suite sees all that is enforced; None: it is known from documentation.
    """

    name: str
    post: frozenset[Guarantee] | None
    put: frozenset[Guarantee]
    parts: frozenset[Guarantee] | None = None
    form_md5: bool = True
    form_sha256: bool = True
    put_sha256: bool = True
    has_acl: bool = True
    ascii_policy: bool = True
    seen_on: str | None = None

    @property
    def methods(self) -> Mapping[UploadMethod, frozenset[Guarantee]]:
        """What is enforced, by method."""
        ways = {UploadMethod.POST: self.post, UploadMethod.PUT: self.put, UploadMethod.MULTIPART: self.parts}
        return {method: enforced for method, enforced in ways.items() if enforced is not None}

    @property
    def capabilities(self) -> Capabilities:
        """What such a store can do, where the bucket takes ACLs if the flavour has them."""
        return Capabilities(
            self.methods,
            MAX_REQUEST_BYTES,
            timedelta(seconds=MAX_PRESIGNED_SECONDS),
            None if self.parts is None else PART_LIMITS,
        )


_BASE = frozenset({Guarantee.KEY, Guarantee.LENGTH, Guarantee.TYPE, Guarantee.EXPIRY})
_DIGESTS = frozenset({Guarantee.MD5, Guarantee.SHA256})
_ACCESS = frozenset({Guarantee.ACCESS})
_CREATE_ONLY = frozenset({Guarantee.NO_OVERWRITE})

EMBEDDED = Flavour(
    "embedded",
    _BASE | _DIGESTS | _ACCESS,
    _BASE | _DIGESTS | _ACCESS | _CREATE_ONLY,
    parts=_BASE | _DIGESTS | _ACCESS | _CREATE_ONLY,
    seen_on="BitStore",
)
"""The store that BitStore serves itself."""

FLAVOURS: Mapping[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            "aws",
            _BASE | _DIGESTS | _ACCESS,
            _BASE | _DIGESTS | _ACCESS | _CREATE_ONLY,
            _BASE | _ACCESS | _CREATE_ONLY,
        ),
        Flavour(
            "seaweedfs",
            _BASE | {Guarantee.SHA256},
            _BASE | _DIGESTS | _CREATE_ONLY,
            _BASE | _CREATE_ONLY,
            form_md5=False,
            has_acl=False,
            seen_on="SeaweedFS",
        ),
        # It takes an escaped surrogate pair (an emoji) for two characters, and the key for another one. Parts are put
        # together whether or not there is an object already.
        Flavour(
            "ceph",
            _BASE | _ACCESS,
            _BASE | _ACCESS | {Guarantee.MD5} | _CREATE_ONLY,
            _BASE | _ACCESS,
            ascii_policy=False,
            seen_on="Ceph",
        ),
        Flavour("minio", _BASE, _BASE | {Guarantee.MD5}, _BASE, form_sha256=False, has_acl=False),
        # What comes in parts is private, whatever acl is asked for.
        Flavour(
            "ministack",
            _BASE | _ACCESS,
            _BASE | _DIGESTS | _ACCESS | _CREATE_ONLY,
            _BASE | _CREATE_ONLY,
            seen_on="MiniStack",
        ),
        Flavour("r2", None, _BASE | {Guarantee.MD5} | _CREATE_ONLY, _BASE, put_sha256=False, has_acl=False),
        Flavour("generic", _BASE, _BASE, _BASE, form_md5=False, form_sha256=False, put_sha256=False),
    )
}
