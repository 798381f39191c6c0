"""Listing the disk store: the objects under a folder, in the order of the names that their files have, page by page.

Names are hashes, so the order tells nothing; but it never changes. A page goes on behind the key that the page before
ended with, wherever that key's file would lie: so nothing is lost, or told twice, whatever comes or goes meanwhile.

Of a directory no more names are kept than the page has room for, and no more directories are open than a `Walk` keeps.
All of this blocks.
"""

import logging
import os
import re
from collections.abc import Generator
from itertools import islice

from attrs import define, field

from adapters.stores.disk_format import DamagedFile, read_found
from adapters.stores.disk_tree import Tree, failure, open_file
from adapters.stores.disk_walk import Walk, directories_of, file_name, folder_of
from application.ports import ListedObject, ListingPage, PageRequest, StorageFailed
from domain.errors import ErrorCode, InvalidInput
from domain.keys import ObjectKey

_log = logging.getLogger(__name__)

_NAMES_AT_ONCE = 500
"""How many names of a directory are read in one step."""
_DIRECTORIES_PER_PAGE = 5_000
"""After how many directories a page ends, if it has any object."""

_FILE = re.compile(r"[0-9a-f]{64}\.object")
_OURS = re.compile(rf"{_FILE.pattern}|[0-9a-f]{{64}}")
_BEHIND_ALL = "~"


@define
class _Directory:
    """A directory that is being listed: `names` lead to it.

    What it holds up to the name `done` is done; what comes next is `waiting`, the last one first; and if it `is_read`,
    there is nothing behind that.
    """

    names: tuple[str, ...]
    done: str = ""
    waiting: list[str] = field(factory=list)
    is_read: bool = False

    @property
    def has_more(self) -> bool:
        return bool(self.waiting) or not self.is_read


@define
class FolderListing:
    """A page of the objects under a folder, while it is made.

    Raises `InvalidInput` (`invalid_cursor`) if its token, the last key of the page before, isn't a key in there.
    """

    tree: Tree
    request: PageRequest
    _nested: list[_Directory] = field(init=False)
    """The directories that are being listed, each within the one before."""
    _objects: list[ListedObject] = field(factory=list, init=False)

    @_nested.default
    def _where_to_begin(self) -> list[_Directory]:
        top = directories_of(self.request.folder)
        if not self.request.token:
            return [_Directory(tuple(top))]
        names = _names_of(_last_key(self.request))
        return [_Directory(names[:depth], names[depth]) for depth in range(len(top), len(names))]

    def page(self) -> ListingPage:
        """Give what was found, once there are no more steps."""
        more = any(directory.has_more for directory in self._nested)
        return ListingPage(self._objects, self._objects[-1].key if more and self._objects else None)

    def steps(self) -> Generator[None, None, None]:
        """Make the page in small steps. Raises `StorageFailed`, also when a file is damaged."""
        entered = 0
        try:
            with self.tree.walk_by_names() as walk:
                while self._nested and len(self._objects) < self.request.limit:
                    directory = self._nested[-1]
                    if directory.waiting:
                        yield from self._take(directory, walk)
                    elif directory.is_read:
                        self._nested.pop()
                    elif self._objects and entered >= _DIRECTORIES_PER_PAGE:
                        return
                    else:
                        entered += 1
                        yield from self._read(directory, walk)
        except OSError as error:
            raise failure("list objects", error) from error

    def _read(self, directory: _Directory, walk: Walk) -> Generator[None, None, None]:
        """Read which names come next in a directory, as many as the page has room for."""
        yield from _go(walk, directory.names)
        room, names, last = self.request.limit - len(self._objects), list[str](), _BEHIND_ALL
        if walk.directory is not None:
            with os.scandir(walk.directory) as entries:
                while some := [entry.name for entry in islice(entries, _NAMES_AT_ONCE)]:
                    names += [name for name in some if directory.done < name < last and _OURS.fullmatch(name)]
                    names = sorted(names)[:room]
                    if len(names) == room:
                        last = names[-1]
                    yield
        directory.is_read = len(names) < room
        directory.waiting = names[::-1]

    def _take(self, directory: _Directory, walk: Walk) -> Generator[None, None, None]:
        """Note the next object of a directory, or turn to the next directory in there."""
        name = directory.waiting.pop()
        directory.done = name
        names = (*directory.names, name)
        if not _FILE.fullmatch(name):
            self._nested.append(_Directory(names))
            return
        yield from _go(walk, directory.names)
        if walk.directory is not None:
            listed = _listed(names, walk.directory)
            if listed is not None:
                self._objects.append(listed)


def _last_key(request: PageRequest) -> ObjectKey:
    try:
        key = ObjectKey(request.token)
    except InvalidInput as error:
        raise InvalidInput(ErrorCode.INVALID_CURSOR, "the cursor is no key of this store") from error
    if not key.startswith(f"{request.folder}/"):
        raise InvalidInput(ErrorCode.INVALID_CURSOR, "the cursor is of another folder")
    return key


def _names_of(key: ObjectKey) -> tuple[str, ...]:
    """Give the names of the directories that lead to an object's file, and its own."""
    return (*directories_of(folder_of(key)), file_name(key))


def _go(walk: Walk, names: tuple[str, ...]) -> Generator[None, None, None]:
    more = walk.turn("/".join(names))
    while more:
        yield
        more = walk.step()
    yield


def _listed(names: tuple[str, ...], directory: int) -> ListedObject | None:
    """Read what a file says of its object; None if it is gone."""
    descriptor = open_file(names[-1], directory)
    if descriptor is None:
        return None
    try:
        stored, found = read_found(descriptor)
        return ListedObject(_key_at(names, stored), found)
    except DamagedFile as damage:
        _log.error("The file %s is damaged: %s", "/".join(names), damage)
        raise StorageFailed("can't list objects: the file of one is damaged") from damage
    finally:
        os.close(descriptor)


def _key_at(names: tuple[str, ...], stored: str) -> ObjectKey:
    """Give the key that a file says it has, if that is what lies there. Raises `DamagedFile`."""
    try:
        key = ObjectKey(stored)
    except InvalidInput as error:
        raise DamagedFile("it has a key that can't be one") from error
    if _names_of(key) != names:
        raise DamagedFile(f"it holds the object {stored!r}")
    return key
