"""The way from an object's key to its file: the names of directories and files, and how one goes from one to the next.

What the tree looks like is told in `disk_tree`.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Self

from domain.keys import ObjectKey

OBJECT = ".object"
"""How the name of an object's file ends, which no directory's name does."""

_KEPT = 16
"""How many directories a walk keeps open: most keys are less deep, and some are hundreds of folders deep."""


def hashed(segment: str) -> str:
    """Give the name that one segment of a key has on the disk."""
    return hashlib.sha256(segment.encode()).hexdigest()


def folder_of(key: ObjectKey) -> str:
    """Give all but the last segment of a key; empty when there is only one."""
    return key.rpartition("/")[0]


def file_name(key: ObjectKey) -> str:
    """Give the name of an object's file in the directory of its folder."""
    return hashed(key.rpartition("/")[2]) + OBJECT


def directories_of(folder: str) -> Sequence[str]:
    """Give the names of the directories that lead to a folder."""
    return [hashed(segment) for segment in folder.split("/")] if folder else []


def path_to(key: ObjectKey) -> str:
    """Give the path of an object's file, below the directory of all objects."""
    folder, _, name = key.rpartition("/")
    return f"{path_of_folder(folder)}{hashed(name)}{OBJECT}"


@lru_cache(maxsize=256)  # a path can have 33 kB
def path_of_folder(folder: str) -> str:
    """Give the path of a folder's directory likewise; with a slash behind each name."""
    return "".join([f"{name}/" for name in directories_of(folder)])


class Walk:
    """A way through the directories of objects, from one folder to the next; to be closed.

    It keeps the last directories on its way open, so that the next folder is near if it is a neighbour. A folder under
    one that isn't there is known not to be there either.
    """

    def __init__(self, objects: int, enter: Callable[[str, int], int], name_of: Callable[[str], str] = hashed) -> None:
        self._enter = enter
        self._name_of = name_of
        self._opened = [(0, objects)]  # how many folders deep, and the descriptor; we are at the last one
        self._way: list[str] = []
        self._missing_at: int | None = None  # how deep the first folder on the way is that isn't there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for _, descriptor in self._opened:
            os.close(descriptor)

    @property
    def directory(self) -> int | None:
        """The folder's directory after the last step, open until the next one; None if there isn't one."""
        return self._opened[-1][1] if self._missing_at is None else None

    def go(self, folder: str) -> int | None:
        """Go all the way to a folder, and give its directory."""
        more = self.turn(folder)
        while more:
            more = self.step()
        return self.directory

    def turn(self, folder: str) -> bool:
        """Head for a folder: go back to the nearest directory that leads there. Say whether there is a way to go."""
        way = folder.split("/") if folder else []
        shared = 0
        for old, new in zip(self._way, way, strict=False):
            if old != new:
                break
            shared += 1
        self._way = way
        if self._missing_at is not None and shared < self._missing_at:
            self._missing_at = None
        while self._opened[-1][0] > shared:
            os.close(self._opened.pop()[1])
        return self._missing_at is None and self._opened[-1][0] < len(way)

    def step(self) -> bool:
        """Open the next directory on the way, and say whether the way goes on behind it."""
        depth, parent = self._opened[-1]
        try:
            self._opened.append((depth + 1, self._enter(self._name_of(self._way[depth]), parent)))
        except FileNotFoundError:
            self._missing_at = depth + 1
            return False
        if len(self._opened) > _KEPT:
            os.close(self._opened.pop(1)[1])
        return depth + 1 < len(self._way)
