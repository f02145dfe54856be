"""What Prometheus is told: never a fall of a counter, never a 0 for what is not known."""

from __future__ import annotations

import re
import time

from prometheus_client import generate_latest

from domain.frontier import Frontier, FrontierState
from domain.ledger import Ledger
from domain.policy import DEFAULT_POLICY
from schemas.topics import Topics
from streams.lane import Lane, wall_ms
from streams.metrics import Tally, registry
from streams.position import Position


def lane(partition: int, *, frontier_ms: int = 0) -> Lane:
    """One that has read nothing; its producer is not called here."""
    return Lane(
        partition,
        ledger=Ledger(policy=DEFAULT_POLICY, partition=partition, partitions=2),
        frontier=Frontier(
            upstream_delay_ms=0, silence_ms=0, state=FrontierState(frontier_ms=frontier_ms)
        ),
        position=Position(),
        producer=None,
        topics=Topics(),
        commit_interval_s=1.0,
    )


def scrape(lanes: list[Lane], tally: Tally) -> dict[str, float]:
    text = generate_latest(registry(lambda: lanes, tally)).decode()
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def counters(samples: dict[str, float]) -> dict[str, float]:
    return {n: v for n, v in samples.items() if re.search(r"_(total|sum|count)(\{|$)", n)}


def test_no_counter_falls_when_a_lane_goes_and_comes_again() -> None:
    lanes, tally = [lane(0), lane(1)], Tally()
    for number, each in enumerate(lanes, 1):
        each.events, each.commits, each.commit_s = 100 * number, 10 * number, 0.5 * number
        stats = each.ledger.stats
        stats.detected, stats.reminders_sent = number, number
        stats.withdrawn["paid_late"] += number
        stats.dead_letters["key"] += number
        stats.skipped["tombstone"] += number
        stats.reminders_dropped["quiet"] += number
    before = counters(scrape(lanes, tally))
    assert before["hitrun_events_total"] == 300
    assert before["hitrun_transaction_seconds_sum"] == 1.5
    tally.take(lanes.pop())
    assert counters(scrape(lanes, tally)) == before
    lanes.append(lane(1))
    assert counters(scrape(lanes, tally)) == before
    lanes[1].events = 5
    assert scrape(lanes, tally)["hitrun_events_total"] == 305


def test_the_gauges_of_a_lane_go_with_it() -> None:
    gone, tally = lane(0), Tally()
    gone.ledger.stats.open_checkouts = 7
    assert scrape([gone], tally)["hitrun_open_checkouts"] == 7
    tally.take(gone)
    assert scrape([], tally)["hitrun_open_checkouts"] == 0


def test_a_now_that_is_not_known_is_no_lag_of_zero() -> None:
    known, unknown = lane(0, frontier_ms=wall_ms() - 2_000), lane(1)
    unknown.taken_at = time.monotonic() - 60
    samples = scrape([known, unknown], Tally())
    assert samples["hitrun_frontier_unknown_lanes"] == 1
    assert 60 <= samples["hitrun_frontier_lag_seconds"] < 70
    samples = scrape([known], Tally())
    assert samples["hitrun_frontier_unknown_lanes"] == 0
    assert 2 <= samples["hitrun_frontier_lag_seconds"] < 10


def test_every_reason_of_a_dead_letter_is_there_before_the_first_one() -> None:
    assert scrape([], Tally())['hitrun_dead_letters_total{reason="internal"}'] == 0


def test_input_lag_is_the_offsets_not_applied() -> None:
    some = lane(0)
    some.next |= {"payment": 7}
    some.mark(1, {"payment": 10, "checkout": 0}, {})
    samples = scrape([some], Tally())
    assert samples['hitrun_input_lag_records{stream="payment"}'] == 3
    assert samples['hitrun_input_lag_records{stream="checkout"}'] == 0
