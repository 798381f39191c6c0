"""The client that the conformance suite plays: it declares files, has them signed for, and sends them.

It holds no credentials. `adapters.stores.contract` passes on what tests of stores need of it.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import urllib3
from attrs import evolve

from adapters.stores.contract_cheats import Request
from application.ports import UploadSigner
from domain.files import DeclaredFile, FileName, Md5, MediaType, Sha256
from domain.keys import ObjectKey, RelativePath
from domain.uploads import Access, Guarantee, PutRequest, SignedUpload, Upload, UploadMethod, UploadTerms

CONTENT = b"id,name\n1,Ada\n2,Grace\n"
OTHER_CONTENT = CONTENT.swapcase()
LIFETIME = timedelta(minutes=10)

ACCEPTED = (200, 201, 204)
REFUSED = (400, 401, 403)

AWKWARD_PATHS = [
    "with space.csv",
    "plus+plus.csv",
    "per%20cent%.csv",
    "Größe/übersicht.csv",
    "日本語/データ.csv",
    "emoji-🚀.csv",
    "quote'and\"quote.csv",
    "amp&equals=semi;colon:comma,.csv",
    "brackets[1](2){3}.csv",
    "tilde~star*bang!at@hash#question?.csv",
    "deep/er/and/deep/er/still.csv",
    ".hidden",
    "dollar$and<less>.csv",
]


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def too_early(now: datetime) -> datetime:
    """Give a moment such that what was signed then is not valid any more."""
    return now - LIFETIME - timedelta(seconds=2)


def declare(path: str, content: bytes = CONTENT, media_type: str = "text/csv") -> DeclaredFile:
    """Declare `content` with both digests."""
    relative_path = RelativePath(path)
    return DeclaredFile(
        path=relative_path,
        length=len(content),
        media_type=MediaType(media_type),
        name=FileName(relative_path.basename),
        md5=md5_of(content),
        sha256=Sha256.of(hashlib.sha256(content).digest()),
    )


def md5_of(content: bytes) -> Md5:
    """Give the digest of `content`, or of a part of it."""
    return Md5.of(hashlib.md5(content, usedforsecurity=False).digest())


def without_digest(digest: Guarantee, upload: Upload) -> Upload:
    """Declare a file without one of its digests."""
    if digest is Guarantee.MD5:
        return evolve(upload, file=evolve(upload.file, md5=None))
    return evolve(upload, file=evolve(upload.file, sha256=None))


def make_folder() -> str:
    """Name a folder that no other test uses."""
    return f"contract/{uuid4().hex}"


def make_upload(
    path: str = "data/file.csv", content: bytes = CONTENT, access: Access = Access.PRIVATE, folder: str | None = None
) -> Upload:
    """Decide an upload to a key that no other test uses, or to one in `folder`."""
    return Upload(ObjectKey(f"{folder or make_folder()}/{path}"), declare(path, content), access)


def sign(
    signer: UploadSigner,
    upload: Upload,
    method: UploadMethod,
    *,
    now: datetime | None = None,
    overwrite: bool = True,
) -> SignedUpload:
    """Sign one upload for ten minutes, as of `now`."""
    terms = UploadTerms(method, LIFETIME, overwrite)
    (signed,) = signer.sign_uploads([upload], terms, now or utc_now())
    return signed


def send(
    http: urllib3.PoolManager, request: Request, content: bytes, *, filename: bool = True, chunked: bool = False
) -> int:
    """Carry out a signed request as a client without credentials would; return the status.

    With `chunked` a PUT doesn't say its length; without `filename` a form's file part has no name.
    """
    if isinstance(request, PutRequest):
        length = {} if chunked else {"Content-Length": str(len(content))}
        body = iter([content]) if chunked else content
        return http.request(
            "PUT", request.url, body=body, headers={**request.headers, **length}, chunked=chunked
        ).status
    media_type = request.fields.get("Content-Type", "application/octet-stream")
    part = ("upload.bin", content, media_type) if filename else content
    return http.request("POST", request.url, fields=[*request.fields.items(), ("file", part)]).status
