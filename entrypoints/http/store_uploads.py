"""Uploads into the stores whose bytes we serve: POST-policy forms, presigned PUT requests, and parts."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from attrs import frozen
from starlette.responses import Response

from adapters.stores.addresses import BucketAddress
from adapters.stores.flavours import PART_LIMITS
from adapters.stores.post_policy import AcceptedForm, evaluate, parse_policy, read_form, substitute_filename
from adapters.stores.sigv4 import uri_encode_path
from adapters.stores.sigv4_verify import PresignedRequest, Verifier
from application.ports import (
    IncomingObject,
    IncomingPart,
    ObjectAttributes,
    ObjectInfo,
    ObjectWriter,
    PartsChanged,
    PartWriter,
)
from domain.errors import InvalidInput
from domain.files import Md5, Sha256
from domain.keys import ObjectKey
from domain.multipart import UploadId
from domain.uploads import Access
from entrypoints.counters import ServedCounts
from entrypoints.http.form_reader import FileForm, open_form
from entrypoints.http.s3_errors import S3Refusal, no_such_upload, not_implemented, xml_document
from entrypoints.http.store_requests import StoreRequest, checked_key
from entrypoints.limits import AtOnce

DEFAULT_MEDIA_TYPE = "binary/octet-stream"
"""What S3 stores where the uploader says nothing ("PutObject" and "POST Object")."""

MAX_HEADER_BYTES = 1024
MAX_METADATA_BYTES = 2048
"""The names and values of user-defined metadata (Amazon S3 User Guide, "Working with object metadata")."""

_METADATA = "x-amz-meta-"
_DOWNLOAD_HEADERS = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
_ACCESS_BY_ACL: Final[Mapping[str, Access]] = {"private": Access.PRIVATE, "public-read": Access.PUBLIC}
_OTHER_ACLS = frozenset(
    {"public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control"}
    | {"log-delivery-write"}
)
# What else a client may say of an object: the value that it has here anyway, or None where it is dealt with elsewhere.
_UNDERSTOOD: Final[Mapping[str, str | None]] = {
    "x-amz-acl": None,
    "x-amz-checksum-sha256": None,
    "x-amz-content-sha256": None,
    "x-amz-date": None,
    "x-amz-user-agent": None,
    "x-amz-checksum-algorithm": "SHA256",
    "x-amz-sdk-checksum-algorithm": "SHA256",
    "x-amz-storage-class": "STANDARD",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_PART_NUMBER = re.compile(r"[0-9]{1,5}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@frozen
class Expected:
    """What must be true of the bytes: their least and greatest number, and the digests that the client gave."""

    least: int
    greatest: int
    md5: bytes | None
    sha256: bytes | None

    def check_growth(self, size: int) -> None:
        """Refuse an upload as soon as it is too long."""
        if size > self.greatest:
            raise S3Refusal("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")

    async def check(self, incoming: IncomingObject | IncomingPart) -> None:
        """Refuse what has arrived and isn't what was announced."""
        if incoming.received < self.least:
            raise S3Refusal("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
        if self.md5 is None and self.sha256 is None:
            return
        md5, sha256 = await incoming.digests()
        if self.md5 not in (None, md5.raw):
            raise S3Refusal("BadDigest", "The Content-MD5 you specified did not match what we received.")
        if self.sha256 not in (None, sha256.raw):
            raise S3Refusal("BadDigest", "The SHA256 you specified did not match the calculated checksum.")


@frozen
class Uploads:
    """Takes uploads into one bucket; an object that comes in one request is at most `max_bytes` long.

    Only an upload that is allowed takes one of the places `at_once`: strangers can't keep anyone out.
    """

    address: BucketAddress
    verifier: Verifier
    writer: ObjectWriter
    parts: PartWriter
    max_bytes: int
    clock: Callable[[], datetime]
    at_once: AtOnce
    counts: ServedCounts

    async def post_form(self, request: StoreRequest) -> Response:
        """Take a browser-based upload ("POST Object"). Raises what any of its stages refuses."""
        types = request.headers.getlist("content-type")
        form = await open_form(types[0] if len(types) == 1 else None, request.body.chunks())
        accepted = self._judge(form)
        key = checked_key(accepted.key)
        greatest = self.max_bytes if accepted.max_length is None else min(accepted.max_length, self.max_bytes)
        expected = Expected(accepted.min_length, greatest, accepted.md5, accepted.sha256)
        info = await self._store(key, form.chunks, expected, _attributes(accepted.fields))
        return self._answer_form(info, accepted.fields)

    def _judge(self, form: FileForm) -> AcceptedForm:
        now = self.clock()
        fields = read_form(form.fields)
        policy = parse_policy(fields["policy"])
        self.verifier.verify_post(fields, now)
        key = substitute_filename(fields["key"], form.filename)
        return evaluate(policy, fields, bucket=self.address.bucket, key=key, now=now)

    def _answer_form(self, info: ObjectInfo, fields: Mapping[str, str]) -> Response:
        bucket, key, etag = self.address.bucket, info.key, info.etag
        redirect = fields.get("success_action_redirect", fields.get("redirect"))
        target = None if redirect is None else _redirect_target(redirect, bucket, key, etag)
        if target is not None:
            return Response(status_code=303, headers={"ETag": etag, "Location": target})
        location = f"{self.address.url}/{uri_encode_path(key)}"
        headers = {"ETag": etag, "Location": location}
        match fields.get("success_action_status"):
            case "200":
                return Response(status_code=200, headers=headers)
            case "201":
                members = {"Location": location, "Bucket": bucket, "Key": key, "ETag": etag}
                return Response(xml_document("PostResponse", members), 201, headers, "application/xml")
            case _:
                return Response(status_code=204, headers=headers)

    async def put(self, request: StoreRequest, grant: PresignedRequest) -> Response:
        """Take a presigned PUT ("PutObject") whose signature has been verified. Raises what it refuses."""
        key = request.key_to_write()
        length = _content_length(request, self.max_bytes)
        settings = _settings_of(request, grant)
        overwrite = _may_overwrite(request)
        expected = _expected(length, settings)
        attributes = _attributes(settings)
        info = await self._store(key, request.body.chunks(), expected, attributes, overwrite=overwrite)
        return Response(headers={"ETag": info.etag, "x-amz-checksum-sha256": info.sha256})

    async def put_part(self, request: StoreRequest, grant: PresignedRequest) -> Response:
        """Take a part ("UploadPart") by a presigned PUT whose signature has been verified. Raises what it refuses.

        It says nothing of the object: what was said counts since the upload was begun.
        """
        key = request.key_to_write()
        number, upload_id = _part_of(grant)
        length = _content_length(request, PART_LIMITS.max_part_bytes)
        settings = _settings_of(request, grant)
        if not _may_overwrite(request):
            raise not_implemented("if-none-match in the upload of a part")
        expected = _expected(length, settings)
        _attributes(settings)
        with self.at_once:
            incoming = await self.parts.receive_part(key, upload_id, number)
            if incoming is None:
                raise no_such_upload()
            try:
                await self._receive(incoming, request.body.chunks(), expected)
                md5, _ = await incoming.digests()
                await incoming.commit()
            except PartsChanged:
                raise no_such_upload() from None
            finally:
                await incoming.discard()
        return Response(headers={"ETag": f'"{md5.hex}"'})

    async def _store(
        self,
        key: ObjectKey,
        chunks: AsyncIterator[bytes],
        expected: Expected,
        attributes: ObjectAttributes,
        *,
        overwrite: bool = True,
    ) -> ObjectInfo:
        with self.at_once:
            incoming = await self.writer.receive(key)
            try:
                await self._receive(incoming, chunks, expected)
                return await incoming.commit(attributes, self.clock(), overwrite=overwrite)
            finally:
                await incoming.discard()

    async def _receive(
        self, incoming: IncomingObject | IncomingPart, chunks: AsyncIterator[bytes], expected: Expected
    ) -> None:
        async for chunk in chunks:
            expected.check_growth(incoming.received + len(chunk))
            await incoming.write(chunk)
            self.counts.received_bytes += len(chunk)
        await expected.check(incoming)


def _part_of(grant: PresignedRequest) -> tuple[int, UploadId]:
    """Read which part of which upload this is."""
    number, upload_id = grant.query.get("partNumber"), grant.query.get("uploadId")
    if number is None or upload_id is None:
        raise S3Refusal("InvalidArgument", "partNumber and uploadId must be given together.")
    if not _PART_NUMBER.fullmatch(number) or not 1 <= int(number) <= PART_LIMITS.max_parts:
        raise S3Refusal("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    try:
        return int(number), UploadId(upload_id)
    except InvalidInput:
        raise no_such_upload() from None


def _content_length(request: StoreRequest, max_bytes: int) -> int:
    text = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers or not (text.isascii() and text.isdigit()):
        raise S3Refusal("MissingContentLength", "You must provide the Content-Length HTTP header.")
    # More digits than any length has are not worth converting.
    if len(text) > 20 or int(text) > max_bytes:
        raise S3Refusal("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
    return int(text)


def _expected(length: int, settings: Mapping[str, str]) -> Expected:
    md5, sha256 = settings.get("content-md5"), settings.get("x-amz-checksum-sha256")
    return Expected(
        length,
        length,
        None if md5 is None else _md5(md5),
        None if sha256 is None else _sha256(sha256),
    )


def _may_overwrite(request: StoreRequest) -> bool:
    """Read the conditions on the object that is there already; S3 has one that this store keeps."""
    headers = request.headers
    for name in ("if-match", "if-modified-since", "if-unmodified-since"):
        if name in headers:
            raise not_implemented(f"{name} in an upload")
    condition = headers.get("if-none-match")
    if condition not in (None, "*"):
        raise not_implemented("if-none-match in an upload with anything but *")
    return condition is None


def _settings_of(request: StoreRequest, grant: PresignedRequest) -> Mapping[str, str]:
    """Collect what a PUT says of its object, by lower-case name.

    Some SDKs sign x-amz-* headers as query parameters; S3 takes them as the headers that they stand for.
    """
    settings = {name.lower(): value for name, value in grant.query.items() if name.lower().startswith("x-amz-")}
    for raw_name, raw_value in request.headers.raw:
        name = raw_name.decode("latin-1")
        if name in (*_DOWNLOAD_HEADERS, "content-type", "content-md5") or name.startswith("x-amz-"):
            if name in settings:
                raise S3Refusal("InvalidArgument", f"{name} is given more than once.")
            settings[name] = _utf8(raw_value)
    return settings


def _attributes(settings: Mapping[str, str]) -> ObjectAttributes:
    """Read form fields or headers, by lower-case name. What S3 knows and we can't honour is refused, not dropped."""
    headers: dict[str, str] = {}
    metadata_bytes = 0
    for name, value in settings.items():
        if name.startswith(_METADATA):
            metadata_bytes += len(name.removeprefix(_METADATA)) + len(value.encode())
            headers[name] = _header_value(name, value)
        elif name in _DOWNLOAD_HEADERS:
            headers[name] = _header_value(name, value)
        elif name == "tagging" or (name.startswith("x-amz-") and _UNDERSTOOD.get(name, "") not in (None, value)):
            raise not_implemented(name)
    if metadata_bytes > MAX_METADATA_BYTES:
        raise S3Refusal("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")
    if "aws-chunked" in headers.get("content-encoding", "").lower():
        raise not_implemented("content-encoding aws-chunked")
    media_type = _header_value("content-type", settings.get("content-type") or DEFAULT_MEDIA_TYPE)
    return ObjectAttributes(media_type, _access(settings), headers)


def _access(settings: Mapping[str, str]) -> Access:
    acls = {settings[name] for name in ("acl", "x-amz-acl") if name in settings} or {"private"}
    if acls <= _OTHER_ACLS:
        raise not_implemented("this acl; there are private and public-read")
    if len(acls) > 1 or not acls <= _ACCESS_BY_ACL.keys():
        raise S3Refusal("InvalidArgument", "The acl is none that S3 knows.")
    return _ACCESS_BY_ACL[acls.pop()]


def _header_value(name: str, value: str) -> str:
    """Check what will be given back as a response header."""
    if not _HEADER_NAME.fullmatch(name):
        raise S3Refusal("InvalidArgument", "The names of metadata must be tokens of HTTP.")
    if _CONTROL.search(value):
        raise S3Refusal("InvalidArgument", f"{name} has a control character.")
    if not name.startswith(_METADATA) and len(value.encode()) > MAX_HEADER_BYTES:
        raise S3Refusal("InvalidArgument", f"{name} is longer than {MAX_HEADER_BYTES} bytes.")
    return value


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise S3Refusal("InvalidArgument", "Header values must be UTF-8.") from None


def _md5(text: str) -> bytes:
    try:
        return Md5(text).raw
    except InvalidInput:
        raise S3Refusal("InvalidDigest", "The Content-MD5 you specified is not valid.") from None


def _sha256(text: str) -> bytes:
    try:
        return Sha256(text).raw
    except InvalidInput:
        raise S3Refusal("InvalidRequest", "Value for x-amz-checksum-sha256 header is invalid.") from None


def _redirect_target(url: str, bucket: str, key: ObjectKey, etag: str) -> str | None:
    """Add to the URL what was stored; S3 behaves as if a URL that it can't interpret weren't there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    stored = urlencode({"bucket": bucket, "key": key, "etag": etag}, quote_via=quote)
    target = urlunsplit(parts._replace(query=f"{parts.query}&{stored}" if parts.query else stored))
    return quote(target, safe="%/:=&?~#+!$,;'@()*[]")
