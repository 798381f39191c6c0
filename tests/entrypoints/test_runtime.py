"""How requests take turns on one event loop."""

import asyncio
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest

from entrypoints.runtime import FairTurns


async def steps(turns: FairTurns, log: list[str], name: str, count: int) -> None:
    for _ in range(count):
        log.append(name)
        await turns.pause()


def test_whoever_waits_goes_before_the_one_that_pauses() -> None:
    async def run() -> list[str]:
        turns, log = FairTurns(), list[str]()
        asyncio.get_running_loop().call_soon(log.append, "small")
        await steps(turns, log, "large", 2)
        return log

    assert asyncio.run(run()) == ["large", "small", "large"]


def test_of_many_that_pause_only_one_has_a_step_before_others_are_served() -> None:
    async def run() -> list[str]:
        turns, log = FairTurns(), list[str]()
        large = [asyncio.create_task(steps(turns, log, f"large {number}", 20)) for number in range(8)]
        await asyncio.sleep(0)
        while not all(task.done() for task in large):
            log.append("small")
            await asyncio.sleep(0)
        return log

    log = asyncio.run(run())
    between = " ".join("s" if entry == "small" else "L" for entry in log[8:]).split("s")
    assert max(gap.count("L") for gap in between) == 1


def test_those_that_pause_go_on_in_the_order_in_which_they_asked() -> None:
    async def run() -> list[str]:
        turns, log = FairTurns(), list[str]()
        await asyncio.gather(*(steps(turns, log, str(number), 5) for number in range(4)))
        return log

    assert asyncio.run(run()) == ["0", "1", "2", "3"] * 5


def test_one_that_gives_up_while_pausing_holds_nobody_up() -> None:
    async def run() -> list[str]:
        turns, log = FairTurns(), list[str]()
        quitter = asyncio.create_task(steps(turns, log, "quitter", 1_000))
        await asyncio.sleep(0)
        quitter.cancel()
        await asyncio.wait([quitter])
        await steps(turns, log, "other", 3)
        return log

    assert asyncio.run(run()) == ["quitter", "other", "other", "other"]


def test_what_is_started_goes_on_while_we_pause_and_gives_its_result() -> None:
    async def answer(turns: FairTurns) -> str:
        await turns.pause()
        return "answer"

    async def run() -> str:
        turns = FairTurns()
        running = turns.start(answer(turns))
        while not running.done():
            await turns.pause()
        return await running

    assert asyncio.run(run()) == "answer"


TUNED = """
import resource
from entrypoints.runtime import tune_interpreter
tune_interpreter()
def faults_of_a_large_answer():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"".join([bytes([65]) * 300_000 for _ in range(10)])
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of_a_large_answer()
print(faults_of_a_large_answer())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how the GNU C library treats memory")
def test_the_memory_of_a_large_answer_is_there_for_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", TUNED], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100


@pytest.mark.parametrize(("seconds_each", "made"), [(1.0, 1), (0.0007, 3), (0.0001, 15), (0.00001, 127)])
def test_a_turn_makes_few_items_that_are_slow_and_many_that_are_not(seconds_each: float, made: int) -> None:
    now = 0.0

    def items() -> Iterator[int]:
        nonlocal now
        for number in range(1_000):
            now += seconds_each
            yield number

    assert FairTurns(lambda: now).take(items()) == list(range(made))


def test_turns_give_every_item_once_and_then_none() -> None:
    turns, items, taken = FairTurns(), iter(range(10_000)), list[int]()

    while some := turns.take(items):
        taken += some

    assert taken == list(range(10_000))
