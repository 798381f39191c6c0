"""A loss of power, simulated: what a file system may have kept, at any moment, of what the disk store did to it.

The calls that change something are recorded as they are made. Of those before the moment of the crash, the simulated
medium holds what POSIX promises and what journaling file systems do, and nothing beyond:

- the bytes that a file had when it was synced (fsync); of later ones a beginning, zeros, or none;
- the changes of a directory's names that were made before that directory was synced; of later ones any, or none;
- a rename wholly or not at all, in both directories.

A file that was synced may have no name, and a name no bytes.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest
from attrs import define, field, frozen

Identity = tuple[int, int]
Tree = Mapping[str, "bytes | Tree"]
"""A directory: by name, the bytes of a file or another directory."""


@frozen(eq=False)
class Node:
    """A file, or a directory."""

    is_directory: bool


@frozen
class Appended:
    """Bytes were written at the end of a file."""

    file: Node
    data: bytes


@frozen
class Synced:
    """A file or a directory was synced."""

    node: Node


@frozen
class Renamed:
    """Names in directories changed, all in one step; None takes a name away."""

    changes: Sequence[tuple[Node, str, Node | None]]

    def touches(self, directory: Node) -> bool:
        return any(changed is directory for changed, _, _ in self.changes)


Event = Appended | Synced | Renamed


@define
class Recorder:
    """Notes in `events`, in order, what is done under `base`, a directory that is empty and durable at first.

    Nothing is really synced meanwhile, which only saves time.
    """

    base: Path
    events: list[Event] = field(factory=list)
    root: Node = field(factory=lambda: Node(is_directory=True))
    _nodes: dict[Identity, Node] = field()
    _lock: threading.Lock = field(factory=threading.Lock)

    @_nodes.default
    def _know_base(self) -> dict[Identity, Node]:
        return {_identity(self.base.stat()): self.root}

    def after_death(self, at: int, base: Path) -> Self:
        """Give one that goes on under another `base`, as if all processes had died there after so many events."""
        events = self.events[:at]
        nodes = dict(after_power_loss(self.root, events, LUCKY).write(base))
        return type(self)(base, events, self.root, nodes)

    @contextmanager
    def recording(self) -> Iterator[None]:
        notes: Mapping[str, Callable[..., Event | None]] = {
            "open": self._open,
            "mkdir": self._mkdir,
            "write": self._write,
            "copy_file_range": self._copy,
            "fsync": self._fsync,
            "rename": self._rename,
            "replace": self._rename,
            "link": self._link,
            "unlink": self._unlink,
            "rmdir": self._unlink,
        }
        with pytest.MonkeyPatch.context() as patch:
            for call, note in notes.items():
                patch.setattr(os, call, self._recorded(getattr(os, call), note))
            patch.setattr(os, "fsync", self._recorded(os.fstat, self._fsync))
            yield

    def _recorded(self, real: Callable[..., Any], note: Callable[..., Event | None]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                result = real(*args, **kwargs)
                event = note(result, *args, **kwargs)
                if event is not None:
                    self.events.append(event)
                return result

        return call

    def _open(self, opened: int, path: Any, flags: int, *_: int, dir_fd: int | None = None) -> Event | None:
        if not flags & os.O_CREAT:
            return None
        return self._made(os.fstat(opened), path, dir_fd)

    def _mkdir(self, _result: None, path: Any, *_: int, dir_fd: int | None = None) -> Event | None:
        return self._made(os.stat(path, dir_fd=dir_fd), path, dir_fd)

    def _made(self, status: os.stat_result, path: Any, dir_fd: int | None) -> Event | None:
        directory, name = self._place(path, dir_fd)
        if directory is None:
            return None
        node = Node(is_directory=stat.S_ISDIR(status.st_mode))
        self._nodes[_identity(status)] = node
        return Renamed([(directory, name, node)])

    def _write(self, count: int, descriptor: int, data: Any) -> Event | None:
        file = self._node(os.fstat(descriptor))
        return None if file is None else Appended(file, bytes(data[:count]))

    def _copy(self, count: int, _source: int, target: int, *_: int) -> Event | None:
        file = self._node(os.fstat(target))
        end = os.lseek(target, 0, os.SEEK_CUR)
        return None if file is None else Appended(file, os.pread(target, count, end - count))

    def _fsync(self, status: os.stat_result, _descriptor: int) -> Event | None:
        node = self._node(status)
        return None if node is None else Synced(node)

    def _rename(
        self, _result: None, source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> Event | None:
        (old, old_name), (new, new_name) = self._place(source, src_dir_fd), self._place(target, dst_dir_fd)
        if old is None or new is None:
            return None
        node = self._node(os.stat(target, dir_fd=dst_dir_fd, follow_symlinks=False))
        return Renamed([(old, old_name, None), (new, new_name, node)])

    def _link(self, _result: None, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int, **_: bool) -> Event:
        directory, name = self._place(target, dst_dir_fd)
        assert directory is not None
        return Renamed([(directory, name, self._node(os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)))])

    def _unlink(self, _result: None, path: Any, *, dir_fd: int | None = None) -> Event | None:
        directory, name = self._place(path, dir_fd)
        return None if directory is None else Renamed([(directory, name, None)])

    def _place(self, path: Any, dir_fd: int | None) -> tuple[Node | None, str]:
        """Find the directory in which a name is, None if it is none of ours."""
        if dir_fd is not None:
            return self._node(os.fstat(dir_fd)), str(path)
        return self._node(Path(path).parent.stat()), Path(path).name

    def _node(self, status: os.stat_result) -> Node | None:
        return self._nodes.get(_identity(status))


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


@frozen
class Luck:
    """What the medium holds of that which wasn't synced.

    `keeps` is asked once for each change of names, and `tail` for the bytes at a file's end.
    """

    keeps: Callable[[], bool]
    tail: Callable[[bytes], bytes]


UNLUCKY = Luck(lambda: False, lambda _: b"")
NAMES_ONLY = Luck(lambda: True, lambda _: b"")
ZEROS = Luck(lambda: True, lambda tail: bytes(len(tail)))
LUCKY = Luck(lambda: True, lambda tail: tail)
"""All is kept, as when only the process dies."""


def chance(random: Random) -> Luck:
    """Keep about half of the names, and of the bytes a beginning, all, none, or as many zeros."""

    def tail(unsynced: bytes) -> bytes:
        kept = unsynced[: random.randint(0, len(unsynced))]
        return random.choice([b"", kept, unsynced, kept + bytes(len(unsynced) - len(kept))])

    return Luck(lambda: random.random() < 0.5, tail)


@frozen
class Found:
    """What is found under `root`: the names in each directory, and the bytes of files."""

    root: Node
    names: Mapping[Node, Mapping[str, Node]]
    contents: Mapping[Node, bytes]

    @property
    def tree(self) -> Tree:
        return self._tree(self.root)

    def _tree(self, directory: Node) -> Tree:
        inside = self.names.get(directory, {}).items()
        return {name: self._tree(node) if node.is_directory else self.contents.get(node, b"") for name, node in inside}

    def write(self, folder: Path) -> Mapping[Identity, Node]:
        """Make all of it in a folder that is there; tell which file is which."""
        made: dict[Identity, Node] = {}
        files: dict[Node, Path] = {}
        directories = [(self.root, folder)]
        for directory, path in directories:
            made[_identity(path.stat())] = directory
            for name, node in self.names.get(directory, {}).items():
                place = path / name
                if node.is_directory:
                    place.mkdir(mode=0o700)
                    directories.append((node, place))
                elif node in files:
                    place.hardlink_to(files[node])
                else:
                    place.write_bytes(self.contents.get(node, b""))
                    files[node] = place
                    made[_identity(place.stat())] = node
        return made


def after_power_loss(root: Node, events: Sequence[Event], luck: Luck) -> Found:
    """Tell what is found under `root` when nothing more happened than `events`."""
    written: dict[Node, bytearray] = {}
    durable_bytes: dict[Node, int] = {}
    changes: dict[int, Renamed] = {}
    durable_changes = set[int]()
    for number, event in enumerate(events):
        match event:
            case Appended(file, data):
                written.setdefault(file, bytearray()).extend(data)
            case Renamed():
                changes[number] = event
            case Synced(node) if node.is_directory:
                durable_changes.update(at for at, change in changes.items() if change.touches(node))
            case Synced(node):
                durable_bytes[node] = len(written.get(node, b""))
    kept = [change for number, change in changes.items() if number in durable_changes or luck.keeps()]
    contents = {}
    for file, appended in written.items():
        durable = durable_bytes.get(file, 0)
        contents[file] = bytes(appended[:durable]) + luck.tail(bytes(appended[durable:]))
    return Found(root, _names_after(kept), contents)


def _names_after(all_changes: Sequence[Renamed]) -> Mapping[Node, Mapping[str, Node]]:
    names: dict[Node, dict[str, Node]] = {}
    for renamed in all_changes:
        for directory, name, node in renamed.changes:
            there = names.setdefault(directory, {})
            there.pop(name, None)
            if node is not None:
                there[name] = node
    return names


def read_tree(folder: Path) -> Tree:
    """Read what lies in a folder."""
    return {path.name: read_tree(path) if path.is_dir() else path.read_bytes() for path in folder.iterdir()}
