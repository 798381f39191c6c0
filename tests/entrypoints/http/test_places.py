"""How requests go on beside each other."""

import asyncio
from contextlib import ExitStack

import pytest

from domain.errors import Unavailable
from entrypoints.counters import Counters
from entrypoints.http.places import Places
from entrypoints.runtime import FairTurns


async def keep_step(places: Places, log: list[str]) -> None:
    """Keep step beside another request that is ready, and note who goes on first."""
    asyncio.get_running_loop().call_soon(log.append, "other")
    await places.keep_step()
    log.append("this")


def test_others_that_are_ready_come_as_far() -> None:
    log: list[str] = []
    asyncio.run(keep_step(Places(Counters(), FairTurns(), 4), log))
    assert log == ["other", "this"]


def test_nobody_is_waited_for_while_a_large_request_waits_for_its_step() -> None:
    async def run() -> None:
        turns = FairTurns()
        pause = turns.pause()
        pause.send(None)
        await keep_step(Places(Counters(), turns, 4), log)
        pause.close()

    log: list[str] = []
    asyncio.run(run())
    assert log[0] == "this"


@pytest.mark.parametrize(("taken", "first"), [(1, "other"), (2, "this")])
def test_nobody_is_waited_for_where_few_places_are_free(taken: int, first: str) -> None:
    places, log = Places(Counters(), FairTurns(), 4), list[str]()
    with ExitStack() as stack:
        for _ in range(taken):
            stack.enter_context(places)
        asyncio.run(keep_step(places, log))
    assert log[0] == first


def test_whoever_finds_no_place_is_asked_to_come_back() -> None:
    places = Places(Counters(), FairTurns(), 1)
    with places, pytest.raises(Unavailable) as refused, places:
        pass
    assert refused.value.retry_after == 1
    with places:
        pass
