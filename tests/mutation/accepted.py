"""Which survivors are accepted, and why: `survivors.toml`."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from attrs import frozen

from tests.mutation.mutants import Mutant

_FILE = Path(__file__).with_name("survivors.toml")


@frozen
class Accepted:
    """By module and dotted name of the function: pairs of a line as it is and as a mutant has it."""

    pairs: Mapping[str, frozenset[tuple[str, str, str]]]

    @classmethod
    def read(cls, file: Path = _FILE) -> Self:
        """Read the file. `ValueError` unless each entry has a reason."""
        pairs: dict[str, set[tuple[str, str, str]]] = {}
        for entry in tomllib.loads(file.read_text())["survivor"]:
            if not entry["reason"].strip():
                raise ValueError(f"no reason is given for {entry}")
            pairs.setdefault(entry["module"], set()).update(
                (entry.get("where", ""), entry["was"], becomes) for becomes in entry["becomes"]
            )
        return cls({module: frozenset(those) for module, those in pairs.items()})

    def explains(self, path: str, mutant: Mutant) -> bool:
        """Tell whether it is known why no test can notice this one."""
        return (mutant.where, mutant.was, mutant.becomes) in self.pairs.get(path, frozenset())

    def not_among(self, path: str, survived: Iterable[Mutant]) -> Sequence[str]:
        """Give those that are explained and did not survive, or don't exist any more."""
        seen = {(mutant.where, mutant.was, mutant.becomes) for mutant in survived}
        return [f"{where}: {becomes}" for where, _, becomes in sorted(self.pairs.get(path, frozenset()) - seen)]
