"""What there is to send: the files of folders, and those that are named one by one."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from attrs import define, field, frozen

from domain.errors import InvalidInput
from domain.keys import RelativePath
from entrypoints.client.errors import Problem, words_of

PARTIAL_FOLDER = ".bitstore-pull"
"""Where files are while they are being fetched, inside the folder of a dataset; never sent."""


AnyPaths = str | Path | Sequence[str | Path]


def paths_of(given: AnyPaths) -> tuple[Path, ...]:
    """Give one path, or several, as a tuple."""
    return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))


@frozen
class LocalFile:
    """A file as it was seen: `path` is the one inside its dataset, `mtime_ns` its last modification since the epoch."""

    path: RelativePath
    source: Path
    length: int
    mtime_ns: int

    def is_same(self, seen: os.stat_result) -> bool:
        """Whether a file that was looked at again seems to be unchanged."""
        return (seen.st_size, seen.st_mtime_ns) == (self.length, self.mtime_ns)


@define
class Found:
    """What a search found: files in the order of their paths, those that can't be sent, and what was left out."""

    files: list[LocalFile] = field(factory=list)
    problems: list[Problem] = field(factory=list)
    left_out: list[Problem] = field(factory=list)


def find_files(sources: Sequence[Path], exclude: Sequence[str] = ()) -> Found:
    """Find all files of `sources`: those of a folder by their paths inside it, any other file by its name.

    Hidden files are files like any other. A pattern of `exclude` (`*`, `?`, `[…]`) leaves out what it matches, as a
    whole path or as one name in it: `*.tmp`, `.git`, `raw/*.csv`. Links inside a folder are followed to files of the
    same folder; links to folders, and those that lead out of it, are left out. Nothing is read.
    """
    search = _Search(tuple(exclude))
    for source in sources:
        if source.is_dir():
            search.look_into(source)
        elif source.exists():
            search.take(source.name, source)
        else:
            search.found.problems.append(Problem(str(source), "there is no such file or folder"))
    return search.finish()


@define
class _Search:
    exclude: Sequence[str]
    found: Found = field(factory=Found)
    _by_path: dict[str, LocalFile] = field(factory=dict)

    def look_into(self, root: Path) -> None:
        real_root = os.path.realpath(root)
        for path, entry in self._entries(root):
            if entry.is_symlink():
                self._follow(path, Path(entry.path), real_root)
            elif entry.is_file(follow_symlinks=False):
                self.take(path, Path(entry.path))
            else:
                self._leave_out(path, "neither a file nor a folder")

    def _entries(self, root: Path) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
        """Walk over everything but folders."""
        folders = [("", str(root))]
        while folders:
            prefix, folder = folders.pop()
            for entry in self._listed(prefix, folder):
                path = f"{prefix}{entry.name}"
                if self._is_excluded(path, entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append((f"{path}/", entry.path))
                else:
                    yield path, entry

    def _listed(self, prefix: str, folder: str) -> Iterable["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except OSError as error:
            self.found.problems.append(Problem(prefix or folder, _cannot("list the folder", error)))
            return ()

    def _is_excluded(self, path: str, name: str) -> bool:
        if name == PARTIAL_FOLDER:
            return True
        return any(fnmatchcase(path, pattern) or fnmatchcase(name, pattern) for pattern in self.exclude)

    def _follow(self, path: str, link: Path, real_root: str) -> None:
        target = Path(os.path.realpath(link))
        if not target.is_relative_to(real_root):
            self._leave_out(path, "a link that leads out of the folder")
        elif target.is_file():
            self.take(path, link)
        elif target.is_dir():
            self._leave_out(path, "a link to a folder, whose files are sent from where they are")
        else:
            self._leave_out(path, "a link that leads nowhere")

    def _leave_out(self, path: str, reason: str) -> None:
        self.found.left_out.append(Problem(path, reason))

    def take(self, path: str, source: Path) -> None:
        """Take a file if it can be sent under this path, or say why not."""
        try:
            file = _look_at(path, source)
        except InvalidInput as error:
            self.found.problems.append(Problem(path, f"{error.message}; rename it, or leave it out with --exclude"))
        except OSError as error:
            self.found.problems.append(Problem(path, _cannot("read it", error)))
        else:
            other = self._by_path.setdefault(path, file)
            if other is not file:
                self.found.problems.append(Problem(path, f"both {other.source} and {source} would have this path"))

    def finish(self) -> Found:
        self.found.files = [self._by_path[path] for path in sorted(self._by_path)]
        return self.found


def _look_at(path: str, source: Path) -> LocalFile:
    """Look at a file. Raises `InvalidInput` for its path, and OSError."""
    relative_path = RelativePath(path)
    seen = source.stat()
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(0, "it is neither a file nor a folder")
    os.close(os.open(source, os.O_RDONLY))  # what can't be opened is told now, and not after hours
    return LocalFile(relative_path, source, seen.st_size, seen.st_mtime_ns)


def _cannot(what: str, error: OSError) -> str:
    return f"can't {what}: {words_of(error)}"
