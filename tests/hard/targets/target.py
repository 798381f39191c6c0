"""What a fuzzed function is."""

from collections.abc import Callable, Sequence

from attrs import frozen


@frozen
class Target:
    """A function that is fuzzed, with inputs to begin with, and words that mean something in them.

    `outcomes` are those that the seeds must come to.
    """

    act: Callable[[bytes], str]
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    outcomes: frozenset[str]
    max_length: int = 1024
