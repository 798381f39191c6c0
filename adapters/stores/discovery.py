"""Stores by name: those of any installed distribution, found through the entry-point group `bitstore.stores`.

An entry point names a `StoreFactory`. It is imported only when its store is chosen, and with it the packages that the
store needs.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from application.ports import SettingsReader, Store
from domain.errors import Misconfigured

GROUP = "bitstore.stores"

StoreFactory = Callable[[SettingsReader], Store | None]
"""Reads what its store needs and wires it; nothing is started, nor asked of any network.

What is wrong is noted by the reader's `fault`; then None is given.
"""


def found_stores() -> Mapping[str, EntryPoint]:
    """Give the entry points of all installed stores by name, in order; nothing is imported."""
    return {found.name: found for found in sorted(entry_points(group=GROUP), key=lambda found: found.name)}


def load_factory(name: str) -> StoreFactory:
    """Import the factory of a store that was found.

    Raises `Misconfigured` with one line that says what is missing: the name, a package of an extra, or the factory.
    """
    found = found_stores().get(name)
    if found is None:
        raise Misconfigured([f"no installed distribution has a store named {name!r}"])
    try:
        factory: StoreFactory = found.load()
    except ModuleNotFoundError as error:
        hint = f"it needs the package {error.name}, which isn't installed{_how_to_install(found)}"
        raise Misconfigured([f"the store {name!r} can't be used: {hint}"]) from error
    except (ImportError, AttributeError) as error:
        raise Misconfigured([f"the store {name!r} can't be used: {error}"]) from error
    return factory


def _how_to_install(found: EntryPoint) -> str:
    """Name the extra of the store's own distribution, if it has one of the store's name."""
    distribution = found.dist
    extras = [] if distribution is None else distribution.metadata.get_all("Provides-Extra") or []
    if distribution is None or found.name not in extras:
        return ""
    return f": pip install '{distribution.name}[{found.name}]'"
