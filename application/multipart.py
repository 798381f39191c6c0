"""Files in parts as this service takes them: how an upload is begun, and how requests for its parts are signed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from attrs import frozen

from application.object_urls import object_urls
from application.ports import MultipartStore, PartSigner, Turns, UploadSigner
from domain.errors import BitstoreError
from domain.keys import ObjectKey
from domain.multipart import PartLimits, PartPlan
from domain.uploads import MultipartUpload, SignedMultipart, Upload

PARTS_PER_FILE = 1_000
"""How many parts of a file are signed in one answer, at most."""
PARTS_PER_ANSWER = 10_000
"""How many parts of all files are signed in one answer, at most."""


@frozen
class Multipart:
    """How this service takes files in parts: all that are longer than `threshold` bytes, and whose client can."""

    signer: UploadSigner
    part_signer: PartSigner
    store: MultipartStore
    limits: PartLimits
    threshold: int
    lifetime: timedelta
    turns: Turns

    async def begin(self, plans: Mapping[Upload, PartPlan], now: datetime) -> Mapping[ObjectKey, SignedMultipart]:
        """Begin an upload for each, and sign its first parts. All are begun or none.

        Raises `Unavailable`, and what `begin` of the store raises.
        """
        ids = await self.store.begin(list(plans), now)
        uploads = [
            MultipartUpload(upload, upload_id, plan)
            for (upload, plan), upload_id in zip(plans.items(), ids, strict=True)
        ]
        signed, left = {}, PARTS_PER_ANSWER
        try:
            for upload in uploads:
                page = await self.sign(upload, range(1, upload.plan.count + 1), now, most=min(PARTS_PER_FILE, left))
                signed[upload.upload.key] = page
                left -= min(PARTS_PER_FILE, left, upload.plan.count)
        except BaseException:
            for upload in uploads:
                with suppress(BitstoreError):  # what stays is for the sweep
                    await self.store.abort(upload.upload.key, upload.upload_id, now)
            raise
        return signed

    async def sign(
        self, upload: MultipartUpload, numbers: Sequence[int], now: datetime, most: int = PARTS_PER_FILE
    ) -> SignedMultipart:
        """Sign the first of these parts, at most so many. Raises what `sign_parts` raises."""
        signed = self.part_signer.sign_parts(upload, numbers[:most], self.lifetime, now)
        parts, waiting = [], iter(signed.parts)
        while some := self.turns.take(waiting):
            parts += some
            await self.turns.pause()
        next_part = numbers[most] if len(numbers) > most else None
        url = self._url_of(upload.upload)
        return SignedMultipart(upload.upload, upload.plan, upload.upload_id, parts, next_part, url, signed.expires_at)

    def nothing_to_send(self, upload: Upload, plan: PartPlan, now: datetime) -> SignedMultipart:
        """Answer for a file that is there already."""
        return SignedMultipart(upload, plan, None, (), None, self._url_of(upload), now + self.lifetime)

    def _url_of(self, upload: Upload) -> str:
        return object_urls(self.signer)(upload.key)
