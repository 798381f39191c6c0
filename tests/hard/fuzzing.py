"""The fuzzer: `python -m tests.hard.fuzzing SEED TARGET=RUNS ...` tries each target so often, guided by coverage.

Atheris (libFuzzer for Python) changes what it has tried, and goes on from whatever reached code that nothing reached
before. The same runs with the same seed try the same inputs. Each target has a process of its own, forked when all is
imported, since libFuzzer ends with its process.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import atheris

_FUZZED = (
    *("domain", "application.list_objects", "python_multipart", "adapters.tokens.jwt"),
    *("adapters.stores.addresses", "adapters.stores.post_policy", "adapters.stores.sigv4_verify"),
    *("entrypoints.http.decoding", "entrypoints.http.form_reader", "entrypoints.http.store_downloads"),
    *("entrypoints.http.store_requests", "entrypoints.http.store_uploads", "entrypoints.http.wire"),
)

with atheris.instrument_imports(include=_FUZZED, enable_loader_override=False):
    from tests.hard.targets import TARGETS
    from tests.hard.targets.target import Target


def fuzz(target: Target, runs: int, seed: int, folder: Path) -> None:
    """Try so often, and end the process: with a status that isn't 0 if the target has found something wrong."""
    corpus, dictionary = folder / "corpus", folder / "words"
    corpus.mkdir()
    for number, example in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(example)
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = {
        "atheris_runs": runs,
        "seed": seed,
        "max_len": target.max_length,
        "dict": dictionary,
        "timeout": 20,
        "verbosity": 0,
        "artifact_prefix": f"{folder}/",
    }
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)], target.act)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main(seed: int, wanted: Sequence[str]) -> int:
    """Fuzz one target after the other, and say of how many something is wrong."""
    logging.disable(logging.CRITICAL)
    failed = 0
    for name, _, runs in (one.partition("=") for one in wanted):
        sys.stdout.write(f"fuzzing {name}\n")
        sys.stdout.flush()
        with tempfile.TemporaryDirectory() as folder:
            child = os.fork()
            if not child:
                fuzz(TARGETS[name], int(runs), seed, Path(folder))
            failed += os.waitpid(child, 0)[1] != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
