"""Everything that reads what strangers write is fuzzed: byte by byte, guided by coverage where the fuzzer runs."""

import random
import re
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoints.http.form_reader import open_form
from entrypoints.http.s3_errors import S3Refusal
from tests.effort import EFFORT
from tests.hard.targets import TARGETS
from tests.hard.targets.forms import DELIMITER, END, finish, part
from tests.tried import Tried

REPOSITORY = Path(__file__).parents[2]
# How often each is tried in a second or less.
RUNS = {"request": 200, "signature": 250, "form": 250, "token": 300, "policy": 500}
USUAL_RUNS = 1_000
_EXECUTED = re.compile(r"^Done (\d+) in ", re.MULTILINE)

every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_the_seeds_of_a_target_come_everywhere(name: str) -> None:
    target = TARGETS[name]
    assert target.outcomes <= {target.act(seed) for seed in target.seeds}


@pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris is made for CPython on Linux, x86-64")
def test_nothing_is_found_by_fuzzing(tried: Tried) -> None:
    seed = 1 if EFFORT == 1 else random.randrange(1, 2**31)
    wanted = [f"{name}={RUNS.get(name, USUAL_RUNS) * EFFORT}" for name in TARGETS]
    done = subprocess.run(
        [sys.executable, "-m", "tests.hard.fuzzing", str(seed), *wanted],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    executed = [int(number) for number in _EXECUTED.findall(done.stdout)]
    assert len(executed) == len(TARGETS)
    tried("fuzz executions", sum(executed))


# --- The memory of the reader of forms -------------------------------------------------------------------------------

ENDLESS_BYTES = 300_000
ALLOWED_BYTES = 150_000
"""More than all that a form may have before its file, with what Python needs to keep it; half of what is sent."""

_FIELD = part(b'name="a"', b"b")
_FILE = part(b'name="file"', b"b")
_HEADER = b"Content-Disposition: form-data; "
_starts = st.sampled_from(
    [
        *(b"", b"--frontier", b"--frontier\r\n", b"--frontier\r\nA", b"--frontier\r\n" + _HEADER, _FIELD[:-2], _FIELD),
        *(_FILE[:-2], _FILE, _FILE + END, _FILE + b"--frontier\r\nA: ", _FILE + _FIELD[:-2]),
    ]
)
_repeated = st.lists(
    st.sampled_from(
        [
            *(DELIMITER, DELIMITER + b"\r\n", b"\r\n--frontie", b"\r\n\r\n", b"\r\n", b"\r", b"\n", b"-", b"\0"),
            *(_HEADER, _FIELD, b'name="a"; ', b"filename=a; ", b"a: a\r\n", b"; a=b", b"a", b"x" * 700),
        ]
    ),
    min_size=1,
    max_size=3,
)


@given(start=_starts, again=_repeated, size=st.sampled_from([7, 1_000, 16_384]))
@settings(max_examples=10 * EFFORT)
def test_a_body_without_an_end_takes_little_memory(start: bytes, again: list[bytes], size: int) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield start
        unit = b"".join(again)
        unit *= -(-size // len(unit))
        for at in cycle(range(0, len(unit), size)):
            taken += size
            if taken > ENDLESS_BYTES:
                return
            yield unit[at : at + size]

    async def read() -> None:
        opened = await open_form("multipart/form-data; boundary=frontier", endless())
        async for _ in opened.chunks:
            pass

    tracemalloc.start()
    try:
        with suppress(S3Refusal):
            finish(read())
        assert tracemalloc.get_traced_memory()[1] < ALLOWED_BYTES
    finally:
        tracemalloc.stop()
