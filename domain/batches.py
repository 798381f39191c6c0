"""From what a client declares of a dataset to decided uploads, all of them or none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice, repeat
from typing import Self

from attrs import define, evolve, field, frozen

from domain.errors import AccessDenied, ErrorCode, InvalidBatch, InvalidInput
from domain.files import DeclaredFile, FileRules
from domain.identity import Principal
from domain.keys import Dataset, ObjectKey, Owner
from domain.patterns import BatchPattern, KeyPattern
from domain.uploads import Access, Upload
from domain.values import frozen_by_type

_MANY = 20
"""How many files are decided faster together than one by one."""


class Findability(StrEnum):
    """Who is to find a dataset. Files of a private one can be read by its owner alone."""

    PUBLISHED = "published"
    UNLISTED = "unlisted"
    PRIVATE = "private"


_ACCESS_BY_FINDABILITY: Mapping[str | None, Access] = {
    None: Access.PUBLIC,
    Findability.PUBLISHED: Access.PUBLIC,
    Findability.UNLISTED: Access.PUBLIC,
    Findability.PRIVATE: Access.PRIVATE,
}


@frozen
class BatchRules:
    """What this service accepts of one request, and where it puts the files."""

    pattern: KeyPattern
    files: FileRules
    max_files: int = 10_000

    def check_count(self, files: int, field: str) -> None:
        """Raise `InvalidInput` (`empty_batch`, `too_many_files`) unless one request may name so many, in `field`."""
        if not files:
            raise InvalidInput(ErrorCode.EMPTY_BATCH, f"{field} names no file", field=field)
        if files > self.max_files:
            raise InvalidInput(
                ErrorCode.TOO_MANY_FILES, f"{field} names {files} files; the limit is {self.max_files} per request"
            )

    @property
    def in_parts(self) -> "BatchRules":
        """The rules for files that need not come in one request."""
        return evolve(self, files=self.files.in_parts)


@frozen_by_type
class DatasetMetadata:
    """What a request says of all its files: whose they are, of which dataset, and who may read them."""

    owner: Owner
    dataset: Dataset | None
    access: Access

    @classmethod
    def parse(cls, metadata: Mapping[str, object]) -> Self:
        """Read `owner`, `name` (or `dataset`) and `findability`. Raises `InvalidInput`."""
        try:
            return cls(Owner(metadata.get("owner")), _parse_dataset(metadata), _parse_access(metadata))
        except InvalidInput as error:
            raise InvalidInput(error.code, f"metadata: {error.message}", field=error.field) from error


def _parse_dataset(metadata: Mapping[str, object]) -> Dataset | None:
    name, dataset = metadata.get("name"), metadata.get("dataset")
    first = None if name is None else Dataset(name)
    second = None if dataset is None else Dataset(dataset)
    if first is not None and second is not None and first != second:
        raise InvalidInput(ErrorCode.INVALID_DATASET, "name and dataset are both given, and differ", field="name")
    return second if first is None else first


def _parse_access(metadata: Mapping[str, object]) -> Access:
    findability = metadata.get("findability")
    if isinstance(findability, str | None) and findability in _ACCESS_BY_FINDABILITY:
        return _ACCESS_BY_FINDABILITY[findability]
    raise InvalidInput(
        ErrorCode.INVALID_METADATA, "findability must be published, unlisted or private", field="findability"
    )


@frozen_by_type
class Batch:
    """A request whose principal may upload to the dataset that it names; its files are still to be decided."""

    principal: Principal
    dataset: DatasetMetadata
    filedata: Mapping[str, object]
    rules: BatchRules
    pattern: BatchPattern

    @classmethod
    def open(
        cls, principal: Principal, metadata: Mapping[str, object], filedata: Mapping[str, object], rules: BatchRules
    ) -> Self:
        """Check who asks, for what dataset, and for how many files, which takes no time.

        Raises `AccessDenied` (not the owner, no permission) or `InvalidInput`.
        """
        principal.require_upload_permission()
        dataset = DatasetMetadata.parse(metadata)
        principal.require_ownership(dataset.owner)
        rules.check_count(len(filedata), "filedata")
        return cls(principal, dataset, filedata, rules, rules.pattern.for_batch(dataset.owner, dataset.dataset))


@define
class Decision:
    """The uploads of a batch while they are decided, which may be done in steps."""

    batch: Batch
    _declarations: Iterator[tuple[str, object]] = field(init=False)
    _by_key: dict[ObjectKey, Upload] = field(factory=dict, init=False)
    _uploads: list[Upload] = field(factory=list, init=False)
    _problems: list[InvalidInput] = field(factory=list, init=False)

    @_declarations.default
    def _all_declarations(self) -> Iterator[tuple[str, object]]:
        return iter(self.batch.filedata.items())

    def go_on(self, files: int) -> bool:
        """Decide the next `files` files at most, and say whether there are more."""
        some = list(islice(self._declarations, files))
        uploads = self._decide_together(some) or self._decide_one_by_one(some)
        self._uploads += uploads if self.batch.pattern.keeps_paths_apart else self._with_own_keys(uploads)
        return len(self._uploads) + len(self._problems) < len(self.batch.filedata)

    def _decide_together(self, declared: Sequence[tuple[str, object]]) -> Sequence[Upload]:
        """Decide files in two thirds of the time that it takes one by one; give none unless all is well with them."""
        if len(declared) < _MANY:
            return ()
        try:
            files = DeclaredFile.parse_all(declared, self.batch.rules.files)
            keys = self.batch.pattern.keys_of(files)
        except InvalidInput:
            return ()
        return list(map(Upload, keys, files, repeat(self.batch.dataset.access)))

    def _decide_one_by_one(self, declared: Sequence[tuple[str, object]]) -> Iterator[Upload]:
        """Decide files, and note what is wrong with each that is refused."""
        for path, declaration in declared:
            try:
                file = DeclaredFile.parse(path, declaration, self.batch.rules.files)
                key = self.batch.pattern.key_of(file)
            except InvalidInput as error:
                self._refuse(path, error)
            else:
                yield Upload(key, file, self.batch.dataset.access)

    def _refuse(self, path: str, error: InvalidInput) -> None:
        error.path = path
        self._problems.append(error)

    def uploads(self) -> tuple[Upload, ...]:
        """Give the uploads of all files, in order; what is not decided yet is decided now.

        Raises `InvalidBatch` with every bad file, or `AccessDenied` (over quota).
        """
        while len(self._uploads) + len(self._problems) < len(self.batch.filedata):
            self.go_on(len(self.batch.filedata))
        if self._problems:
            raise InvalidBatch(self._problems)
        _check_quota(self.batch.principal, self.batch.dataset.access, self._uploads)
        return tuple(self._uploads)

    def _with_own_keys(self, uploads: Iterable[Upload]) -> Iterator[Upload]:
        """Give the files that have no earlier one's key, and refuse the others (`key_conflict`).

        Equal files of a dataset are one object where keys are made of the content; anywhere else one would be lost.
        """
        for upload in uploads:
            first, second = self._by_key.setdefault(upload.key, upload).file, upload.file
            if first is second or (
                self.batch.rules.pattern.is_content_addressed
                and first.content == second.content
                and first.media_type == second.media_type
            ):
                yield upload
            else:
                message = f"this file and {str(first.path)!r} would have the same key"
                self._refuse(second.path, InvalidInput(ErrorCode.KEY_CONFLICT, message))


def plan_uploads(
    principal: Principal, metadata: Mapping[str, object], filedata: Mapping[str, object], rules: BatchRules
) -> tuple[Upload, ...]:
    """Decide the uploads of a request in which `principal` declares `filedata`, by relative path, of one dataset.

    Raises what `Batch.open` and `Decision.uploads` raise.
    """
    return Decision(Batch.open(principal, metadata, filedata, rules)).uploads()


def _check_quota(principal: Principal, access: Access, uploads: Iterable[Upload]) -> None:
    quota = principal.max_public_bytes if access is Access.PUBLIC else principal.max_private_bytes
    if quota is None:
        return
    declared = sum(upload.file.length for upload in uploads)
    if declared > quota:
        raise AccessDenied(
            ErrorCode.OVER_QUOTA,
            f"{declared} bytes are declared, but the token allows {quota} bytes of {access.value} storage",
        )
