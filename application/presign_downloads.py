"""Presign many downloads: files of a dataset in, one signed URL per file out, or none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from application.ports import Turns
from application.presign_download import PresignDownload
from domain.batches import BatchRules, DatasetMetadata
from domain.errors import AccessDenied, BitstoreError, InvalidBatch, InvalidInput
from domain.identity import Principal
from domain.keys import ObjectKey, RelativePath
from domain.uploads import SignedDownload
from domain.values import frozen_by_type


@frozen_by_type
class DownloadsRequest:
    """What a client asks: files of one owner, all named by their paths in a dataset, or all by their `object_url`."""

    metadata: Mapping[str, object]
    names: Sequence[str]
    by_path: bool
    lifetime: timedelta | None = None


@frozen
class PresignDownloads:
    """The use-case. Each file is decided upon, and signed for, as `presign` does it for one."""

    presign: PresignDownload
    rules: BatchRules
    turns: Turns

    async def __call__(
        self, principal: Principal, request: DownloadsRequest, now: datetime
    ) -> Iterator[tuple[str, SignedDownload]]:
        """Sign a GET for each file, under the name that it was given, once; each when it is asked for.

        Raises `AccessDenied` (`not_owner`, `permission_missing`); `InvalidInput`: what `DatasetMetadata.parse` and
        `KeyPattern.for_paths` raise, `empty_batch`, `too_many_files`, `invalid_expiry`; `InvalidBatch` with every file
        that can't be read, or isn't the owner's; and, when the first is asked for, `Unavailable`.
        """
        principal.require_upload_permission()
        dataset = DatasetMetadata.parse(request.metadata)
        principal.require_ownership(dataset.owner)
        self.rules.check_count(len(request.names), "paths" if request.by_path else "urls")
        lifetime = self.presign.lifetime_for(request.lifetime)
        keys = await self._find(request.names, self._finder(dataset, by_path=request.by_path))
        sign = self.presign.signer.sign_download
        return ((name, sign(key, lifetime, now)) for name, key in keys.items())

    def _finder(self, dataset: DatasetMetadata, *, by_path: bool) -> Callable[[str], ObjectKey]:
        if by_path:
            key_of = self.presign.pattern.for_paths(dataset.owner, dataset.dataset)
            return lambda path: key_of(RelativePath(path))
        return lambda url: self.presign.key_at(url, dataset.owner)

    async def _find(self, names: Sequence[str], find: Callable[[str], ObjectKey]) -> Mapping[str, ObjectKey]:
        """Find the keys of all files, or say of each that has none why."""
        keys: dict[str, ObjectKey] = {}
        problems: list[BitstoreError] = []
        answers = (_attempt(find, name) for name in dict.fromkeys(names))
        while some := self.turns.take(answers):
            for name, answer in some:
                if isinstance(answer, BitstoreError):
                    problems.append(answer)
                else:
                    keys[name] = answer
            await self.turns.pause()
        if problems:
            raise InvalidBatch(problems)
        return keys


def _attempt(find: Callable[[str], ObjectKey], name: str) -> tuple[str, ObjectKey | BitstoreError]:
    try:
        return name, find(name)
    except (InvalidInput, AccessDenied) as error:
        error.path = name
        return name, error
