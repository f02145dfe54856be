"""All workers are down for longer than every deadline, with thousands of checkouts in the state and
thousands behind it; everybody is due at once when they come back, and a flood comes with them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.fault.long.scenario import (
    Arena,
    Crew,
    Flow,
    Outcome,
    Scenario,
    Stage,
    settle,
    verified,
)
from tests.support import builders
from tests.support.crew import lanes_of
from tests.support.flow import mix
from tests.support.kafka import Sent
from tests.support.sending import sent
from tests.support.waiting import poll
from tests.support.worker import Process

POLICY = """
[payment_window]
card = "12s"
qris = "12s"
virtual_account = "12s"
[verdict]
after_expiry = "2s"
after_silence = "15s"
processing = "1s"
superseded_within = "1s"
[reminders]
quiet_hours = []
latest_before_pay_by = "1s"
per_customer_gap = "1s"
[reminders.steps]
card = ["10s"]
virtual_account = ["10s"]
"""
DUE_S = 12 + 15
"""From a checkout to its verdict; the policy's hours are seconds here."""
LANES = 4
IN_STATE = 12_000
BEHIND = 12_000
EDGE = 1_000
EDGE_S = 12
"""After a checkout, a reminder is too late and its verdict far enough away to come back before."""
FLOOD = 3_000
SLICE = 2_000
"""The lane's limit for one transaction of what only time made due."""
READY_S = 15
CAUGHT_UP_S = 60


def unpaid(stage: Stage, word: str, count: int) -> Iterator[Sent]:
    """Each of a customer of its own, all confirmed now; the shop allows reminders."""
    at = int(time.time() * 1000)
    for number in range(count):
        event = builders.checkout(f"{word}k{number}", customer=f"{word}{number}", at=at)
        yield sent(stage, event)


def paid(stage: Stage, word: str, count: int, at_ms: int) -> Iterator[Sent]:
    """Every tenth of them was paid in time, and is told now."""
    for number in range(0, count, 10):
        event = builders.payment("p", f"{word}k{number}", customer=f"{word}{number}", at=at_ms)
        yield sent(stage, event)


def downtime(arena: Arena) -> Outcome:
    """Twice: stopped in order and back; killed, and killed again while everybody is judged."""
    outcome = Outcome()
    with arena.stage(policy=POLICY) as stage:
        for word in ("stopped", "killed"):
            now = _down(arena, outcome, stage, word)
        report = outcome.add(verified(stage, now))
    least = arena.times(2 * (IN_STATE + BEHIND) * 8 // 10)
    outcome.demand(report.right >= least, f"only {report.right} verdicts to lose")
    outcome.notes["verdicts"] = report.right
    return outcome


def _down(arena: Arena, outcome: Outcome, stage: Stage, word: str) -> int:
    """Returns what every frontier has reached at the end."""
    start_ms = int(time.time() * 1000)
    _go(arena, outcome, stage, word)
    before = verdicts(stage)
    stage.kafka.produce(unpaid(stage, f"{word}-behind", arena.times(BEHIND)))
    stage.kafka.produce(paid(stage, f"{word}-in", arena.times(IN_STATE), start_ms + 5_000))
    time.sleep(DUE_S - EDGE_S)
    # Of these the reminder is due and too late, and the verdict is still to come.
    stage.kafka.produce(unpaid(stage, f"{word}-edge", arena.times(EDGE)))
    time.sleep(EDGE_S)
    outcome.demand(verdicts(stage) == before, "verdicts without a worker")
    began = time.monotonic()
    with Crew(stage, 2) as crew:
        steps = mix(seed=arena.seed + len(word), checkouts=arena.times(FLOOD), seconds=5)
        flow = Flow(stage, steps).start()
        stage.kafka.produce(paid(stage, f"{word}-behind", arena.times(BEHIND), start_ms + 8_000))
        crew.wait_ready(within_s=4 * READY_S)
        ready_s = time.monotonic() - began
        outcome.demand(ready_s < READY_S, f"ready after {ready_s:.1f} s")
        if word == "killed":
            _kill_while_judging(outcome, stage, crew, before)
        poll(
            lambda: crew.check() and caught_up(crew),
            within_s=4 * CAUGHT_UP_S,
            every_s=0.2,
            what=lambda: "\n".join(w.told("not caught up") for w in crew.now()),
        )
        caught_s = time.monotonic() - began
        arena.say(f"{word}: ready after {ready_s:.1f} s, caught up after {caught_s:.1f} s")
        outcome.demand(caught_s < CAUGHT_UP_S, f"caught up after {caught_s:.1f} s")
        now = settle(stage, flow, within_s=120)
        if word == "stopped":
            _undisturbed(arena, outcome, crew)
    _sliced(arena, outcome, stage, before, word)
    outcome.notes[word] = {"ready_s": round(ready_s, 1), "caught_up_s": round(caught_s, 1)}
    return now


def _go(arena: Arena, outcome: Outcome, stage: Stage, word: str) -> None:
    """Workers take many into their state, and are gone before any reminder is due."""
    with Crew(stage, 2) as crew:
        crew.wait_ready()
        wanted = customers(crew) + arena.times(IN_STATE)
        stage.kafka.produce(unpaid(stage, f"{word}-in", arena.times(IN_STATE)))
        poll(
            lambda: customers(crew) >= wanted,
            within_s=8,
            every_s=0.1,
            what=lambda: f"{customers(crew)} of {wanted} customers are in the state",
        )
        if word == "stopped":
            crew.resize(0)
        outcome.faults += 2


def _kill_while_judging(
    outcome: Outcome, stage: Stage, crew: Crew, before: Counter[tuple[int, int]]
) -> None:
    """Each of them, as soon as more verdicts are out."""
    seen = before.total()
    for place in (0, 1):
        poll(partial(more, crew, stage, seen), within_s=30, what="no verdict")
        crew.kill(place)
        seen = verdicts(stage).total()
        outcome.faults += 1


def more(crew: Crew, stage: Stage, seen: int) -> bool:
    """Whether there are more verdicts than these."""
    return crew.check() and verdicts(stage).total() > seen


def customers(crew: Crew) -> float:
    """In the state of all of them."""
    return sum(w.metrics().get("hitrun_customers", 0.0) for w in crew.now())


def caught_up(crew: Crew) -> bool:
    """All lanes are owned, and no time is behind."""
    found = [w.metrics() for w in crew.now()]
    lags = [each.get("hitrun_frontier_lag_seconds", 1e9) for each in found]
    return lanes_of(crew.now()) == LANES and max(lags) < 2


def _undisturbed(arena: Arena, outcome: Outcome, crew: Crew) -> None:
    """Nobody was thrown out of the group, and what was too late was dropped."""
    outcome.demand(not crew.ends, f"workers ended: {dict(crew.ends)}")
    told = {worker: _since_start(worker) for worker in crew.now()}
    calm = max(
        next(e["timestamp"] for e in events if e["event"] == "rebalance.done")
        for events in told.values()
    )
    for worker, events in told.items():
        expired = [e for e in events if e["event"] == "watchdog.expired"]
        outcome.demand(not expired, f"watchdog: {expired}")
        started = [e for e in events if e["event"] == "rebalance.started"]
        late = [e for e in started if e["timestamp"] > calm]
        outcome.demand(not late, worker.told("a rebalance after all were ready"))
    dropped = sum(
        w.metrics().get('hitrun_reminders_dropped_total{reason="too_late"}', 0.0)
        for w in crew.now()
    )
    outcome.demand(
        dropped >= 0.8 * arena.times(EDGE), f"only {dropped:.0f} reminders were too late"
    )


def _since_start(worker: Process) -> list[dict[str, Any]]:
    """Its log without that of an earlier one of its name."""
    events = worker.events()
    starts = [n for n, event in enumerate(events) if event["event"] == "worker.starting"]
    return events[starts[-1] :]


def _sliced(
    arena: Arena, outcome: Outcome, stage: Stage, before: Counter[tuple[int, int]], word: str
) -> None:
    """Of those in the state no transaction judged more than a slice; nobody was reminded."""
    now = verdicts(stage)
    largest = max((count - before[place] for place, count in now.items()), default=0)
    behind = arena.times(BEHIND + EDGE + FLOOD) // LANES * 2
    outcome.demand(largest <= SLICE + behind, f"{largest} verdicts in one transaction")
    outcome.notes[f"largest, {word}"] = largest
    reminded = {
        json.loads(record.value)["data"]["checkout_id"]
        for record in stage.kafka.read(stage.topic("reminder"))
    }
    wrongly = [checkout for checkout in reminded if checkout.startswith(word)]
    outcome.demand(not wrongly, f"{len(wrongly)} reminders after send_before")


def verdicts(stage: Stage) -> Counter[tuple[int, int]]:
    """How many verdicts a transaction has: (partition, timestamp) -> count."""
    return Counter(
        (record.partition, record.timestamp)
        for record in stage.kafka.read(stage.topic("verdict"))
        if b"hitrun.verdict.detected" in record.value
    )


SCENARIOS = [
    Scenario(
        8,
        "downtime",
        "all workers down past every deadline, tens of thousands due at once, a flood on top; "
        "killed again meanwhile",
        downtime,
    )
]
