"""Many files in few requests."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from entrypoints.client.answers import Json
from entrypoints.client.errors import Problem, ServiceRefused
from entrypoints.client.hashing import HashedFile

_Told = TypeVar("_Told")

FILES_AT_ONCE = 500
PARTS_AT_ONCE = 1_000
"""How many files, and parts of files, are declared in one request, at most; a file with more parts goes alone."""

# An answer of the service repeats no more than so many characters of a path.
_ECHOED = 256


def batches(files: Iterable[HashedFile], most: int) -> Iterator[Sequence[HashedFile]]:
    """Cut into batches of at most `most` files, which keep to the limits above."""
    batch: list[HashedFile] = []
    parts = 0
    for file in files:
        more = _parts_of(file)
        if batch and (len(batch) >= min(most, FILES_AT_ONCE) or parts + more > PARTS_AT_ONCE):
            yield batch
            batch, parts = [], 0
        batch.append(file)
        parts += more
    if batch:
        yield batch


def declarations(files: Iterable[HashedFile]) -> Mapping[str, Json]:
    """Give what the service must be told of files, by path."""
    return {file.path: file.declaration for file in files}


def _parts_of(file: HashedFile) -> int:
    parts = file.digests.parts
    return 0 if parts is None or parts.md5 is None else len(parts.md5)


def ask_about(
    batch: Sequence[HashedFile],
    ask: Callable[[Sequence[HashedFile]], Mapping[str, _Told]],
    refuse: Callable[[Problem], None],
) -> Mapping[str, _Told]:
    """Ask about files, by path. `refuse` is told of those that the service refuses; the others are asked for without.

    Raises what `ask` raises, `ServiceRefused` only if it isn't about single files.
    """
    while batch:
        try:
            return ask(batch)
        except ServiceRefused as refused:
            reasons = {file.path: _reason(refused, file.path) for file in batch}
            if not any(reasons.values()):
                raise
            for path, reason in reasons.items():
                if reason is not None:
                    refuse(Problem(path, reason))
            batch = [file for file in batch if reasons[file.path] is None]
    return {}


def _reason(refused: ServiceRefused, path: str) -> str | None:
    return refused.details.get(path) or refused.details.get(f"{path[:_ECHOED]}…")
