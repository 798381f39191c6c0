"""Stores by name: those of any installed distribution, found through the entry-point group `bitstore.stores`.

An entry point names a `StoreFactory`. It is imported only when its store is chosen, and with it the packages that the
store needs.

What a store enforces can be asked before anything is configured, if the module that the entry point names says it:

- `CAPABILITIES`, a `domain.uploads.Capabilities`: the most that the store can do, however it is configured;
- `SEEN_ON`, a text: the server on which the contract suite sees all of that. Without it, the claims are known from
  documentation alone.

`bitstore stores` shows both. A store without them can be chosen all the same; it only has no row there.
"""

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from attrs import frozen

from application.ports import SettingsReader, Store
from domain.errors import Misconfigured
from domain.uploads import Capabilities

GROUP = "bitstore.stores"

StoreFactory = Callable[[SettingsReader], Store | None]
"""Reads what its store needs and wires it; nothing is started, nor asked of any network.

What is wrong is noted by the reader's `fault`; then None is given.
"""


@frozen
class Claims:
    """What a store says of itself before it is configured. `seen_on` is None where it is known from documentation."""

    capabilities: Capabilities
    seen_on: str | None = None


def found_stores() -> Mapping[str, EntryPoint]:
    """Give the entry points of all installed stores by name, in order; nothing is imported."""
    return {found.name: found for found in sorted(entry_points(group=GROUP), key=lambda found: found.name)}


def load_factory(name: str) -> StoreFactory:
    """Import the factory of a store that was found.

    Raises `Misconfigured` with one line that says what is missing: the name, a package of an extra, or the factory.
    """
    return _load(_find(name))


def load_claims(name: str) -> Claims | None:
    """Import a store that was found, and give what it says of itself, if it does.

    Raises `Misconfigured` as `load_factory` does, and for claims of the wrong type.
    """
    found = _find(name)
    _load(found)
    module = sys.modules[found.module]
    capabilities = getattr(module, "CAPABILITIES", None)
    if capabilities is None:
        return None
    if not isinstance(capabilities, Capabilities):
        raise _unusable(found, f"{found.module}.CAPABILITIES is not of domain.uploads.Capabilities")
    seen_on = getattr(module, "SEEN_ON", None)
    if not isinstance(seen_on, str | None):
        raise _unusable(found, f"{found.module}.SEEN_ON is not a text")
    return Claims(capabilities, seen_on)


def _find(name: str) -> EntryPoint:
    found = found_stores().get(name)
    if found is None:
        raise Misconfigured([f"no installed distribution has a store named {name!r}"])
    return found


def _load(found: EntryPoint) -> StoreFactory:
    try:
        factory: StoreFactory = found.load()
    except ModuleNotFoundError as error:
        if error.name is None or f"{found.module}.".startswith(f"{error.name}."):
            raise _unusable(found, str(error)) from error
        hint = f"it needs the package {error.name}, which isn't installed{_how_to_install(found)}"
        raise _unusable(found, hint) from error
    except Exception as error:  # a module of others runs as it is imported, and may do anything
        raise _unusable(found, f"{type(error).__name__}: {error}") from error
    if not callable(factory):
        raise _unusable(found, f"{found.value} can't be called")
    return factory


def _unusable(found: EntryPoint, reason: str) -> Misconfigured:
    return Misconfigured([f"the store {found.name!r} can't be used: {' '.join(reason.split())}"])


def _how_to_install(found: EntryPoint) -> str:
    """Name the extra of the store's own distribution, if it has one of the store's name."""
    distribution = found.dist
    extras = [] if distribution is None else distribution.metadata.get_all("Provides-Extra") or []
    if distribution is None or found.name not in extras:
        return ""
    return f": pip install '{distribution.name}[{found.name}]'"
