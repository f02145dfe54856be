"""A lane's loop, and what watches the event loop it runs in."""

import asyncio
import time
from typing import Any, cast

from domain.frontier import Frontier
from domain.ledger import Ledger
from domain.policy import DEFAULT_POLICY
from schemas.topics import Topics
from streams.faults import RestartWorker
from streams.lane import Lane
from streams.loop_watch import MISSED, LoopWatch
from streams.position import Position
from tests.support.waiting import poll

EVERY_S = 0.01


def closed_lane() -> Lane:
    return Lane(
        0,
        ledger=Ledger(policy=DEFAULT_POLICY),
        frontier=Frontier(upstream_delay_ms=0, silence_ms=0),
        position=Position(),
        producer=cast(Any, None),  # a closed lane writes nothing
        topics=Topics(),
        commit_interval_s=EVERY_S,
    )


def test_a_lane_that_is_closed_with_more_due_lets_the_others_run() -> None:
    """The gate closes in the middle of timers that are judged slice by slice: it spun for ever,
    and the rebalance that had closed it never ended."""

    async def look() -> int:
        lane = closed_lane()
        lane._more_due = True
        running = asyncio.create_task(lane.run())
        turns = 0
        until = time.monotonic() + 10 * EVERY_S
        while time.monotonic() < until:
            await asyncio.sleep(0)
            turns += 1
        running.cancel()
        return turns

    assert asyncio.run(look()) > 1


def test_a_loop_that_stands_still_ends_the_process() -> None:
    ends: list[BaseException] = []
    watch = LoopWatch(ends.append, every_s=EVERY_S)
    watch.start()
    poll(lambda: ends, within_s=5, what="it is not noticed")
    assert isinstance(ends[0], RestartWorker)


def test_a_loop_that_goes_on_and_one_that_ended_do_not() -> None:
    ends: list[BaseException] = []
    watch = LoopWatch(ends.append, every_s=EVERY_S)
    watch.start()
    until = time.monotonic() + 3 * MISSED * EVERY_S
    while time.monotonic() < until:
        watch.beat()
        time.sleep(EVERY_S / 4)
    watch.over()
    watch.join(5)
    assert not watch.is_alive()
    assert ends == []
