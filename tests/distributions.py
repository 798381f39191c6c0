"""Made-up distributions, installed by putting a folder on the path: a module, and metadata that names its stores."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

CLAIMS = """
from datetime import timedelta
from domain.uploads import Capabilities, Guarantee, UploadMethod

ENFORCED = frozenset({Guarantee.KEY, Guarantee.MD5})
CAPABILITIES = Capabilities({UploadMethod.PUT: ENFORCED}, 3 * 1024, timedelta(hours=36))
"""
FACTORY = "def make_store(settings): return None\n"


def install(
    folder: Path,
    source: str,
    *,
    store: str = "made-up",
    distribution: str = "a-distribution",
    extras: Sequence[str] = (),
) -> str:
    """Write a distribution, version 1.2, whose `store` is made by `make_store` in a module of `source`.

    Returns the name of that module, which no other has.
    """
    module = f"module_{uuid4().hex}"
    (folder / f"{module}.py").write_text(source)
    information = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    information.mkdir()
    provided = "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n{provided}")
    (information / "entry_points.txt").write_text(f"[bitstore.stores]\n{store} = {module}:make_store\n")
    return module
