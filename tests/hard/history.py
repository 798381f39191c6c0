"""What may be read of a value that several write at once, some of whom never learn whether they did.

It is that of a write which had begun, unless another one began after that had ended, and was acknowledged.
"""

import math
import sys
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field

Value = TypeVar("Value", bound=Hashable)

_NEVER = math.inf
_LAST = sys.float_info.max
"""A moment after all others."""


@define(eq=False)
class Write(Generic[Value]):
    """A write, and when it began; when it ended, at the latest; and when it was acknowledged, if ever."""

    value: Value
    began: float
    ended: float = _NEVER
    acknowledged: float = _NEVER

    def is_after(self, other: "Write[Value]") -> bool:
        return self is not other and self.began >= other.ended


@define
class History(Generic[Value]):
    """The writes of each key. `clock` gives moments in their order; before all, a key has the value `nothing`."""

    clock: Callable[[], float]
    nothing: Value
    _writes: dict[Hashable, list[Write[Value]]] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock, repr=False)

    @property
    def keys(self) -> frozenset[Hashable]:
        with self._lock:
            return frozenset(self._writes)

    def begin(self, key: Hashable, value: Value) -> Write[Value]:
        """Note that a write begins."""
        with self._lock:
            write = Write(value, self.clock())
            self._writes.setdefault(key, [Write(self.nothing, -1, -1, -1)]).append(write)
            return write

    def acknowledge(self, write: Write[Value]) -> None:
        """Note that its client was told that it is done."""
        with self._lock:
            write.ended = write.acknowledged = self.clock()

    def end(self, write: Write[Value]) -> None:
        """Note that it can't take effect any later, if it hasn't."""
        with self._lock:
            write.ended = min(write.ended, self.clock())

    def confirm(self, write: Write[Value]) -> None:
        """Note that it had taken effect when it ended, as was seen later."""
        with self._lock:
            write.acknowledged = write.ended

    def refuse(self, key: Hashable, write: Write[Value]) -> None:
        """Note that its client was told that it has no effect."""
        with self._lock:
            self._writes[key].remove(write)

    def after_death(self, at: float, clock: Callable[[], float]) -> "History[Value]":
        """Give the history of what goes on after a moment at which all writers died."""
        after = History(clock, self.nothing)
        for key, writes in self._writes.items():
            after._writes[key] = [
                Write(
                    write.value,
                    write.began,
                    min(write.ended, at),
                    write.acknowledged if write.acknowledged <= at else _NEVER,
                )
                for write in writes
                if write.began <= at
            ]
        return after

    def settle(self, key: Hashable, value: Value) -> None:
        """Note what was read, when nobody writes: all else is past."""
        with self._lock:
            self._writes[key] = [Write(value, -1, -1, -1)]

    def has_changed(self, key: Hashable) -> bool:
        """Tell whether there were writes since the beginning, or since it was settled."""
        with self._lock:
            return len(self._writes.get(key, ())) > 1

    def possible(self, key: Hashable, at: float = _LAST) -> frozenset[Value]:
        """Give what may be read when everything stops at a moment."""
        with self._lock:
            begun = [write for write in self._writes.get(key, [Write(self.nothing, -1, -1, -1)]) if write.began <= at]
            done = [write for write in begun if write.acknowledged <= at]
            return frozenset(write.value for write in begun if not any(later.is_after(write) for later in done))
