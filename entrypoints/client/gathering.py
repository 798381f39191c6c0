"""From folders to hashed files: all that is done before anybody is told of them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

from domain.errors import ErrorCode, InvalidInput
from domain.files import DeclaredFile, FileName, MediaType
from domain.multipart import PartPlan
from entrypoints.client.answers import StoreInfo
from entrypoints.client.cache import Cache
from entrypoints.client.connections import Connections
from entrypoints.client.crew import for_each
from entrypoints.client.datapackage import FILE_NAME, DataPackage
from entrypoints.client.errors import BadSources, FileTrouble, Problem
from entrypoints.client.folder import LocalFile, find_files
from entrypoints.client.hashing import HashedFile, Wanted, hash_file
from entrypoints.client.watching import Phase, Watcher


@frozen
class Gathered:
    """The files to send, in the order of their paths, and what `datapackage.json` says, where there is one."""

    files: Sequence[LocalFile]
    left_out: Sequence[Problem]
    package_name: str | None = None
    media_types: Mapping[str, str] = field(factory=dict)

    @classmethod
    def of(cls, sources: Sequence[Path], exclude: Sequence[str]) -> Self:
        """Find the files of folders, and those that are named one by one. Raises `BadSources`."""
        found = find_files(sources, exclude)
        by_path = {str(file.path): file for file in found.files}
        described = by_path.get(FILE_NAME)
        package = None if described is None else DataPackage.read(described.source)
        problems = list(found.problems)
        if package is not None:
            problems += [*package.problems, *package.missing(by_path)]
        if not found.files and not problems:
            problems.append(Problem(", ".join(map(str, sources)), "there is no file to send"))
        if problems:
            raise BadSources(problems)
        if package is None:
            return cls(found.files, found.left_out)
        return cls(found.files, found.left_out, package.name, package.media_types)


def what_to_know(files: Sequence[LocalFile], info: StoreInfo, part_size: int | None) -> Mapping[LocalFile, Wanted]:
    """Say which digests are needed of each file, for this store; parts are to be of `part_size` bytes where they may.

    Raises `BadSources` for files that the store can't take.
    """
    sha256 = "{sha256" in info.key_pattern
    wanted, problems = {}, []
    for file in files:
        try:
            wanted[file] = Wanted(_part_size(file, info, part_size), sha256)
        except InvalidInput as error:
            problems.append(Problem(file.path, error.message))
    if problems:
        raise BadSources(problems)
    return wanted


def _part_size(file: LocalFile, info: StoreInfo, wished: int | None) -> int | None:
    """Give the size of the file's parts; None if it can be sent whole. Raises `InvalidInput` where neither will do."""
    if file.length <= info.whole_bytes:
        return None
    if info.parts is None:
        raise InvalidInput(
            ErrorCode.FILE_TOO_LARGE, f"it has {file.length} bytes; this service takes {info.whole_bytes} at most"
        )
    declared = DeclaredFile(file.path, file.length, MediaType.of_extension(""), FileName("a file"))
    usual = PartPlan.of(declared, info.parts).part_size
    if wished is None:
        return usual
    least = max(info.parts.min_part_bytes, -(-file.length // info.parts.max_parts))
    return min(max(wished, least), info.parts.max_part_bytes)


@define
class Hasher:
    """Hashes files, in some threads; what the cache knows isn't read again."""

    cache: Cache
    watcher: Watcher
    connections: Connections
    media_types: Mapping[str, str]
    _hashed: dict[str, HashedFile] = field(factory=dict, init=False)
    _problems: list[Problem] = field(factory=list, init=False)

    def run(self, wanted: Mapping[LocalFile, Wanted], threads: int) -> list[HashedFile]:
        """Hash all files, and give them in the order of their paths. Raises `BadSources` for any that can't be read."""
        unknown = []
        for file, wants in wanted.items():
            known = self.cache.digests(file, wants)
            if known is None:
                unknown.append((file, wants))
            else:
                self._take(HashedFile(file, known, self.media_types.get(file.path)))
        self.watcher.phase(Phase.HASH, len(unknown), sum(file.length for file, _ in unknown))
        try:
            for_each(self._hash, unknown, threads=min(threads, os.cpu_count() or 1), cut=self.connections.cut)
        finally:
            self.cache.flush()
        if self._problems:
            raise BadSources(sorted(self._problems, key=str))
        return [self._hashed[path] for path in sorted(self._hashed)]

    def _hash(self, one: tuple[LocalFile, Wanted]) -> None:
        file, wanted = one
        path = str(file.path)
        self.watcher.began(path, file.length)
        try:
            now, digests = hash_file(file, wanted, lambda count: self.watcher.moved(path, count), self.connections.stop)
        except FileTrouble as trouble:
            self._problems.append(Problem(path, str(trouble)))
            self.watcher.ended(path, str(trouble))
            return
        self.cache.keep_digests(now, digests)
        self._take(HashedFile(now, digests, self.media_types.get(path)))
        self.watcher.ended(path)

    def _take(self, file: HashedFile) -> None:
        self._hashed[file.path] = file
