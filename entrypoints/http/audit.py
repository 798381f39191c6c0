"""What was decided, and for whom: each decision is counted, and said in one line of the log.

A line has what an operator must be able to tell later (who, whose, which files, how much), and nothing by which anybody
could do anything: no token, no signature, no policy, no query string, no upload id.
"""

import logging
from collections import Counter

from attrs import frozen

from application.authorize_uploads import AuthorizedUploads
from application.multipart_uploads import MultipartRequest
from application.presign_download import GrantedDownload
from domain.batches import DatasetMetadata
from domain.errors import BitstoreError, ErrorCode, InvalidBatch, Unavailable
from domain.identity import Principal
from domain.inspection import Status
from entrypoints.counters import Counters
from entrypoints.events import log_event
from entrypoints.request_context import current_request

_log = logging.getLogger("bitstore.audit")


@frozen
class Audit:
    """Keeps the account of decisions, in `counters` and in the log `bitstore.audit`."""

    counters: Counters

    def authorized(self, principal: Principal, uploads: AuthorizedUploads) -> None:
        """Note a batch whose files have all been signed."""
        counters, dataset, amounts = self.counters, uploads.dataset, uploads.amounts
        files = size = 0
        methods = {}
        for method, amount in amounts.items():
            counters.authorized_files[method] += amount.files
            counters.authorized_bytes[method] += amount.bytes
            methods[str(method)] = amount.files
            files += amount.files
            size += amount.bytes
        counters.existing_files += uploads.existing
        log_event(
            _log,
            "authorize",
            {
                "userid": principal.userid,
                "owner": dataset.owner,
                "dataset": dataset.dataset,
                "access": dataset.access,
                "files": files,
                "bytes": size,
                "methods": methods,
                "existing": uploads.existing,
            },
        )

    def presigned(self, principal: Principal, granted: GrantedDownload) -> None:
        """Note that somebody may read an object; only the owner gets as far as this."""
        expires_at = granted.signed.expires_at.isoformat(timespec="seconds")
        told = {"userid": principal.userid, "owner": principal.userid, "key": granted.key, "expires_at": expires_at}
        log_event(_log, "presign", told)

    def presigned_many(self, principal: Principal, objects: int) -> None:
        """Note likewise how many objects."""
        log_event(_log, "presign", {"userid": principal.userid, "owner": principal.userid, "objects": objects})

    def resumed(self, principal: Principal, request: MultipartRequest) -> None:
        """Note that parts of a file were signed anew."""
        log_event(_log, "resume", _file_in_parts(principal, request))

    def completed(self, principal: Principal, request: MultipartRequest, status: Status) -> None:
        """Note that a file was put together, and what it is to the store."""
        log_event(_log, "complete", _file_in_parts(principal, request) | {"status": status.value})

    def aborted(self, principal: Principal, request: MultipartRequest) -> None:
        """Note that an upload in parts was dropped."""
        log_event(_log, "abort", _file_in_parts(principal, request))

    def refused(self, error: BitstoreError, status: int) -> None:
        """Note a request that was not granted, with the user's name if the token was good."""
        problems = Counter(problem.code for problem in error.problems) if isinstance(error, InvalidBatch) else {}
        self.counters.refusals[error.code] += 1
        self.counters.refused_files.update(problems)
        request = current_request.get()
        told = {
            "userid": None if request is None else request.userid,
            "code": error.code.value,
            "status": status,
            "problems": {code.value: files for code, files in problems.items()} or None,
        }
        log_event(_log, "refuse", told, logging.WARNING if isinstance(error, Unavailable) else logging.INFO)

    def unrouted(self, code: ErrorCode) -> None:
        """Count a request for nothing that is here; whoever looks for holes doesn't get a line for each."""
        self.counters.refusals[code] += 1

    def failed(self) -> None:
        """Count a fault of our own; whoever caught it logs it."""
        self.counters.refusals[ErrorCode.INTERNAL_ERROR] += 1


def _file_in_parts(principal: Principal, request: MultipartRequest) -> dict[str, object]:
    dataset = DatasetMetadata.parse(request.metadata)
    return {
        "userid": principal.userid,
        "owner": dataset.owner,
        "dataset": dataset.dataset,
        "access": dataset.access.value,
        "path": request.path,
    }
