"""Signing in process, per file of a batch: ours, boto3, minio-py, and the least that a signature takes."""

import base64
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from adapters.stores.signing import S3Signing
from adapters.stores.sigv4 import Signer
from domain.batches import plan_uploads
from domain.uploads import PostForm, Upload, UploadMethod, UploadTerms
from entrypoints.settings import Settings
from entrypoints.wiring import wire
from tests.benchmarks import workload
from tests.benchmarks.report import Findings, at_least, at_most
from tests.benchmarks.rivals import BotoSigner, Floor, MinioSigner, boto_client, s3_signing
from tests.benchmarks.rounds import Rounds, Scale, in_turns, seconds_each

_SECONDS = int(workload.LIFETIME.total_seconds())
_TERMS = UploadTerms(UploadMethod.POST, workload.LIFETIME)
_MICROSECONDS = 1e6
_SHORT_ROUNDS = 8
"""Rounds are short here, and there are this many times as many as elsewhere: a machine is seldom quiet for long."""


@frozen
class Batch:
    """Decided uploads, what signs them, and the policies that are signed for them."""

    signing: S3Signing
    uploads: tuple[Upload, ...]
    now: datetime
    policies: tuple[bytes, ...]

    @property
    def floor(self) -> Floor:
        return Floor(self.signing, self.now, self.policies)


def make_batch(files: int) -> Batch:
    service = wire(Settings.from_environment(workload.disk_settings(Path("unused"))))
    signing, now = s3_signing(service), datetime.now(UTC)
    declared = workload.declarations(files)
    uploads = plan_uploads(workload.PRINCIPAL, workload.metadata(), declared, service.settings.batch)
    forms = [signed.request for signed in signing.sign_uploads(uploads, _TERMS, now)]
    policies = tuple(base64.b64decode(form.fields["policy"]) for form in forms if isinstance(form, PostForm))
    return Batch(signing, uploads, now, policies)


def run(scale: Scale) -> Findings:
    rounds = _measure(make_batch(scale.files), scale)
    floor = min(("digest", "states"), key=lambda name: rounds.figure(name, "", of=name).value.median)
    ratio = rounds.ratio
    ratios = [
        ratio("sign_uploads vs boto3 generate_presigned_post", "boto3", "ours", target=at_least(30)),
        ratio("bare PostTemplate.sign vs boto3", "boto3", "bare", target=at_least(30)),
        ratio("sign_uploads vs minio-py presigned_post_policy", "minio", "ours"),
        ratio("sign_uploads: times the best HMAC + base64 floor", "ours", floor, target=at_most(2.5)),
        ratio("bare PostTemplate.sign: times that floor", "bare", floor, target=at_most(2.5)),
    ]
    names = {
        "ours": "S3Signing.sign_uploads",
        "bare": "PostTemplate.sign",
        "boto3": "boto3 generate_presigned_post",
        "minio": "minio-py presigned_post_policy",
        "digest": "floor, by hmac.digest",
        "states": "floor, by saved SHA-256 states",
    }
    figures = [rounds.figure(f"{name}, a file", "µs", of=key, times=_MICROSECONDS) for key, name in names.items()]
    return Findings(f"signer: POST forms of a batch of {scale.files:,} files", ratios, figures)


def _measure(batch: Batch, scale: Scale) -> Rounds:
    signing, uploads, count = batch.signing, batch.uploads, len(batch.uploads)
    boto, minio_py = BotoSigner(signing, boto_client(signing)), MinioSigner.of(signing)
    template = Signer(signing.credentials(), signing.region, batch.now).post_template(
        signing.address.bucket,
        _SECONDS,
        fixed={"acl": signing.acl_for(uploads[0].access) or "", "Content-Type": uploads[0].file.media_type},
    )
    bare = [(upload.key, upload.file.length, upload.file.md5) for upload in uploads]
    few, seconds = uploads[: max(1, count // 10)], scale.seconds / 30
    return in_turns(
        _SHORT_ROUNDS * scale.rounds,
        {
            "ours": seconds_each(lambda: signing.sign_uploads(uploads, _TERMS, batch.now), count, at_least=seconds),
            "bare": seconds_each(lambda: (template.sign(*values) for values in bare), count, at_least=seconds),
            "digest": seconds_each(batch.floor.by_digest, count, at_least=seconds),
            "states": seconds_each(batch.floor.by_saved_states, count, at_least=seconds),
            "boto3": seconds_each(lambda: (boto.form_of(upload, _SECONDS) for upload in few), len(few)),
            "minio": seconds_each(lambda: (minio_py.form_of(upload, _SECONDS) for upload in few), len(few)),
        },
    )
