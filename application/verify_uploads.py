"""Verify uploads: declared files in, and whether each has arrived whole, out."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from attrs import frozen

from application.authorize_uploads import UploadRequest, decide_uploads
from application.ports import ObjectInspector, Turns
from domain.batches import Batch, BatchRules
from domain.identity import Principal
from domain.inspection import FoundObject, Status, compare
from domain.keys import ObjectKey, RelativePath
from domain.uploads import Upload


@frozen
class Verdict:
    """What was found for one declared file."""

    status: Status
    found: FoundObject | None = None


@frozen
class VerifyUploads:
    """The use-case. The store is asked for at most `patience`; `rules` are those for files that may come in parts."""

    inspector: ObjectInspector
    rules: BatchRules
    turns: Turns
    patience: timedelta

    async def __call__(
        self, principal: Principal, request: UploadRequest, now: datetime
    ) -> Iterable[tuple[RelativePath, Verdict]]:
        """Compare every declared file with what the store holds at its key, in order, each when it is asked for.

        A file that the store won't tell about is `unknown`. Raises what `Batch.open` and `Decision.uploads` raise, and
        `Unavailable` when the store didn't answer, or not in time.
        """
        batch = Batch.open(principal, request.metadata, request.filedata, self.rules)
        uploads = await decide_uploads(batch, self.turns)
        inspection = await self.inspector.inspect(uploads, now, self.patience)
        if inspection.failure is not None:
            raise inspection.failure
        return ((upload.file.path, _verdict(upload, inspection.found)) for upload in uploads)


def _verdict(upload: Upload, found: Mapping[ObjectKey, FoundObject | None]) -> Verdict:
    if upload.key not in found:
        return Verdict(Status.UNKNOWN)
    return Verdict(compare(upload.file, found[upload.key]), found[upload.key])
