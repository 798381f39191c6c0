"""Files in parts on real S3 stores, beyond what the contract suite looks at."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from attrs import evolve

from adapters.stores import s3_multipart
from adapters.stores.contract import CONTENT, LIFETIME, OTHER_CONTENT, make_folder, make_upload, send
from adapters.stores.contract_client import md5_of, utc_now
from adapters.stores.sigv4 import Credentials
from application.ports import ObjectExists, PartsChanged
from domain.errors import ErrorCode, Unavailable
from domain.inspection import FoundObject, Status, compare
from domain.multipart import ArrivedPart, PartPlan, UploadId
from domain.uploads import Access, Guarantee, MultipartUpload, UploadMethod
from tests.adapters.stores.s3_site import (
    OK,
    PART_BYTES,
    Site,
    every_method,
    make_site,
    started,
    with_part_digests,
    without_digests,
)
from tests.stores.servers import RunningStore

ON_EACH = ["seaweedfs", "ministack", pytest.param("ceph", marks=pytest.mark.debian)]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=ON_EACH)
def site(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[Site]:
    """Each store in turn."""
    with started(make_site(request.getfixturevalue(request.param), runner)) as site:
        yield site


# What becomes of an upload


def test_that_it_was_completed_is_told_of_this_upload_alone(site: Site) -> None:
    """Of two to one key, and as long as the object is there."""
    upload = make_upload()
    first, second = site.completed(upload), site.begin(upload)
    assert (site.is_complete(first), site.is_complete(second)) == (True, False)
    assert site.send(second, CONTENT) in OK
    site.complete(second, site.arrived(second))
    assert (site.progress(first), site.is_complete(second)) == (None, True)
    site.running.client().delete_object(Bucket=site.running.bucket, Key=upload.key)
    assert site.progress(second) is None


def test_an_object_of_another_kind_is_not_taken_for_it(site: Site) -> None:
    begun = site.begin()
    key = begun.upload.key
    site.abort(begun)
    site.running.client().put_object(Bucket=site.running.bucket, Key=key, Body=CONTENT, Metadata={"other": "x"})
    assert site.progress(begun) is None


def test_to_complete_again_harms_nothing(site: Site) -> None:
    begun = site.begin()
    site.send(begun, CONTENT)
    parts = site.arrived(begun)
    site.complete(begun, parts)
    with suppress(PartsChanged):
        site.complete(begun, parts)
    assert site.is_complete(begun)
    assert site.read(begun.upload.key) == CONTENT


def test_what_was_aborted_meanwhile_can_not_be_completed(site: Site) -> None:
    begun = site.begin()
    site.send(begun, CONTENT)
    parts = site.arrived(begun)
    site.abort(begun)
    with pytest.raises(PartsChanged):
        site.complete(begun, parts)
    assert site.progress(begun) is None


@pytest.mark.parametrize("upload_id", ["x", "f" * 32, f"{'f' * 32}.x", f"{'f' * 32}k.x"])
def test_what_was_never_begun_can_not_be_completed(site: Site, upload_id: str) -> None:
    upload = make_upload()
    unknown = MultipartUpload(upload, UploadId(upload_id), PartPlan(upload.file.length, PART_BYTES))
    with pytest.raises(PartsChanged):
        site.complete(unknown, [ArrivedPart(1, len(CONTENT), f'"{md5_of(CONTENT).hex}"')])
    assert site.found(upload) == [None, None]


def test_a_part_that_was_replaced_meanwhile_is_not_mixed_in(site: Site) -> None:
    """A store that keeps what it replaced makes the object of the parts that it was given, and others of none."""
    begun = site.begin(without_digests(make_upload()))
    site.send(begun, CONTENT)
    seen = site.arrived(begun)
    site.send(begun, OTHER_CONTENT)
    try:
        site.complete(begun, seen)
    except PartsChanged:
        assert site.running.name != "SeaweedFS"
        site.complete(begun, site.arrived(begun))
        assert site.read(begun.upload.key) == OTHER_CONTENT
    else:
        assert site.running.name == "SeaweedFS"
        assert site.read(begun.upload.key) == CONTENT


def test_of_parts_that_came_in_one_second_the_last_counts(site: Site) -> None:
    """Also next to others; SeaweedFS itself tells only seconds."""
    for _ in range(5):
        content = bytes(PART_BYTES) + uuid4().bytes
        begun = site.begin(without_digests(make_upload(content=content)))
        site.send(begun, content, 1)
        for other in (uuid4().bytes, uuid4().bytes, content[-16:], uuid4().bytes, content[-16:]):
            site.send(begun, bytes(PART_BYTES) + other, 2)
        parts = site.arrived(begun)
        assert [(part.number, part.length) for part in parts] == [(1, PART_BYTES), (2, 16)]
        site.complete(begun, parts)
        assert site.read(begun.upload.key) == content


def test_an_object_that_exists_is_kept_and_the_parts_too(site: Site) -> None:
    upload = site.completed().upload
    again = site.begin(without_digests(upload))
    site.send(again, OTHER_CONTENT)
    parts = site.arrived(again)
    if Guarantee.NO_OVERWRITE in site.signing.capabilities.methods[UploadMethod.MULTIPART]:
        with pytest.raises(ObjectExists):
            site.complete(again, parts, overwrite=False)
        assert site.read(upload.key) == CONTENT
        assert site.arrived(again) == parts
    site.complete(again, parts)
    assert site.read(upload.key) == OTHER_CONTENT


def test_an_object_that_does_not_exist_may_be_made(site: Site) -> None:
    begun = site.begin()
    site.send(begun, CONTENT)
    site.complete(begun, site.arrived(begun), overwrite=False)
    assert site.read(begun.upload.key) == CONTENT


# Digests


def test_a_part_with_another_md5_than_declared_is_refused(site: Site) -> None:
    begun = site.begin(with_part_digests(make_upload(), CONTENT))
    assert site.send(begun, OTHER_CONTENT) == 400
    (given,) = site.requests(begun, [1])
    lying = evolve(given, headers={**given.headers, "Content-MD5": md5_of(OTHER_CONTENT)})
    silent = evolve(given, headers={"Content-Length": given.headers["Content-Length"]})
    assert [send(site.http, request, OTHER_CONTENT) for request in (lying, silent)] == [403, 403]
    assert site.arrived(begun) == []


def test_digests_of_parts_prove_the_object(site: Site) -> None:
    content = bytes(PART_BYTES) + CONTENT
    upload = with_part_digests(make_upload(content=content), content)
    begun = site.begin(upload)
    for number in (1, 2):
        site.send(begun, content, number)
    digests = [md5_of(content[:PART_BYTES]), md5_of(CONTENT)]
    assert [part.md5 for part in site.arrived(begun)] == digests
    site.complete(begun, site.arrived(begun))
    # As "Checking object integrity" in the Amazon S3 User Guide describes it.
    composite = f"{hashlib.md5(digests[0].raw + digests[1].raw).hexdigest()}-2"
    assert site.found(upload) == [FoundObject(len(content), composite=composite)] * 2
    assert [compare(upload.file, found) for found in site.found(upload)] == [Status.STORED] * 2
    other = with_part_digests(upload, content[:-1] + b"!")
    assert [compare(other.file, found) for found in site.found(other)] == [Status.UNKNOWN] * 2


def test_what_kms_encrypts_has_no_digests(ministack: RunningStore, runner: asyncio.Runner) -> None:
    """Which is known later too, of the upload and of the object."""
    bucket, client = f"kms-{uuid4().hex}", ministack.client()
    client.create_bucket(Bucket=bucket)
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:000000000000:key/a"}
    rules = [{"ApplyServerSideEncryptionByDefault": by_default}]
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    upload = with_part_digests(make_upload(), CONTENT)
    with started(make_site(ministack, runner, bucket=bucket)) as first:
        begun = first.begin(upload)
        assert first.send(begun, CONTENT) in OK
    with started(make_site(ministack, runner, bucket=bucket)) as later:
        assert [part.md5 for part in later.arrived(begun)] == [None]
        later.complete(begun, later.arrived(begun))
        assert later.is_complete(begun)
        # A listing doesn't tell how an object is encrypted, so it alone never says `different`.
        assert later.found(upload)[0] == FoundObject(len(CONTENT))


# Who may


def strangers_see(site: Site, access: Access) -> bool:
    key = site.completed(make_upload(access=access)).upload.key
    return site.http.request("GET", f"{site.signing.address.url}/{quote(key)}").status == 200


@pytest.mark.debian
def test_public_files_are_for_strangers(ceph: RunningStore, runner: asyncio.Runner) -> None:
    with started(make_site(ceph, runner)) as site:
        assert [strangers_see(site, access) for access in (Access.PUBLIC, Access.PRIVATE)] == [True, False]


def test_no_files_in_parts_are_for_strangers_on_ministack(ministack: RunningStore, runner: asyncio.Runner) -> None:
    """Also in a bucket that takes ACLs, and where others of its files are."""
    bucket, client = f"with-acls-{uuid4().hex}", ministack.client()
    client.create_bucket(Bucket=bucket, ObjectOwnership="ObjectWriter")
    client.delete_public_access_block(Bucket=bucket)
    with started(make_site(ministack, runner, bucket=bucket)) as site:
        assert [strangers_see(site, access) for access in (Access.PUBLIC, Access.PRIVATE)] == [False, False]


def test_credentials_may_be_replaced_in_the_middle(ministack: RunningStore, runner: asyncio.Runner) -> None:
    root = evolve(ministack, access_key_id="test", secret_access_key="test")
    iam, keys = root.client("iam"), list[dict[str, Any]]()

    def new_key() -> None:
        keys.append(iam.create_access_key(UserName="bitstore")["AccessKey"])

    def newest() -> Credentials:
        return Credentials(keys[-1]["AccessKeyId"], keys[-1]["SecretAccessKey"])

    new_key()
    content = bytes(PART_BYTES) + CONTENT
    with started(make_site(ministack, runner, credentials=newest)) as site:
        begun = site.begin(make_upload(content=content))
        assert site.send(begun, content, 1) in OK
        (early,) = site.requests(begun, [2])
        new_key()
        iam.delete_access_key(UserName="bitstore", AccessKeyId=keys[0]["AccessKeyId"])
        assert send(site.http, early, CONTENT) == 403
        assert site.send(begun, content, 2) in OK
        site.complete(begun, site.arrived(begun))
        assert site.read(begun.upload.key) == content


def test_without_valid_credentials_nothing_is_asked(site: Site) -> None:
    def none_found() -> Credentials:
        raise Unavailable(ErrorCode.CREDENTIALS_UNAVAILABLE, "none")

    expired = Credentials("id", "secret", "token", utc_now() - timedelta(seconds=1))
    begun = site.begin()
    for credentials in (none_found, lambda: expired):
        with started(make_site(site.running, site.runner, credentials=credentials)) as lost:
            for method in every_method(lost, begun):
                with pytest.raises(Unavailable) as caught:
                    method()
                assert caught.value.code is ErrorCode.CREDENTIALS_UNAVAILABLE
    site.abort(begun)


# Many


@pytest.mark.parametrize("site", ON_EACH[1:], indirect=True)  # SeaweedFS has pages of 10,000
def test_more_parts_are_told_than_one_page_has(site: Site) -> None:
    content = bytes(range(256)) * 4
    begun = site.begin(without_digests(make_upload(content=content)), size=1)
    numbers = range(1, begun.plan.count + 1)
    for number, request in zip(numbers, site.requests(begun, numbers), strict=True):
        assert send(site.http, request, content[number - 1 : number]) in OK
    parts = site.arrived(begun)
    assert [part.number for part in parts] == list(numbers)
    assert [part.md5 for part in parts] == [md5_of(content[number - 1 : number]) for number in numbers]
    site.abort(begun)


def test_more_uploads_are_told_than_one_page_has(site: Site) -> None:
    folder = make_folder()
    uploads = [make_upload(f"{number % 1_000}.csv", folder=folder) for number in range(1_020)]
    begun = site.begin_all(uploads)
    pending = site.pending(folder)
    assert sorted(one.key for one in pending) == sorted(upload.key for upload in uploads)
    assert {one.upload_id for one in pending} == {one.upload_id.partition(".")[2] for one in begun}
    assert all(abs(one.begun - utc_now()) < LIFETIME for one in pending)

    async def abort_all() -> None:
        await s3_multipart._for_all(pending, lambda one: site.multipart.abort(one.key, one.upload_id, utc_now()))

    site.runner.run(abort_all())
    assert site.pending(folder) == []
    assert site.progress(begun[0]) is None


def test_uploads_to_keys_that_can_not_be_ours_are_not_told(site: Site) -> None:
    client, folder = site.running.client(), make_folder()
    theirs = client.create_multipart_upload(Bucket=site.running.bucket, Key=f"{folder}/${{filename}}")
    ours = site.begin(make_upload(folder=folder))
    assert [one.key for one in site.pending(folder)] == [ours.upload.key]
    client.abort_multipart_upload(Bucket=site.running.bucket, Key=theirs["Key"], UploadId=theirs["UploadId"])
