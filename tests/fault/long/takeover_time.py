"""How long a killed worker's lanes are without an owner, at the default session of 10 s."""

from __future__ import annotations

import time
from datetime import datetime

from tests.fault.long.scenario import Arena, Outcome, Scenario, Stage, settle, verified
from tests.support.waiting import poll
from tests.support.worker import Process

KILLS = 8
SESSION_MS = 10_000
BEGINS_WITHIN_S = 13.0
SPEAKS_WITHIN_S = 3.0
"""After the restore: the first output of a lane that was taken over."""


def _at_s(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def _gained_since(worker: Process, since_s: float) -> dict[int, float]:
    """Lane -> when its restore was done, of the takeovers begun since then."""
    begun = {int(e["partition"]) for e in worker.events("partition.gained") if _at_s(e) > since_s}
    done = {
        int(e["partition"]): _at_s(e)
        for e in worker.events("partition.recovered")
        if _at_s(e) > since_s
    }
    return {lane: done[lane] for lane in begun if lane in done}


def _first_output_s(stage: Stage, lane: int, since_s: float) -> float | None:
    """When the first verdict or reminder of a lane after that moment was written."""
    times = [
        record.timestamp / 1000
        for record in stage.kafka.read(stage.topic("verdict"), stage.topic("reminder"))
        if record.partition == lane and record.timestamp / 1000 >= since_s
    ]
    return min(times, default=None)


def takeover_time(arena: Arena) -> Outcome:
    """One of two workers is killed again and again; the other one's takeover is timed."""
    outcome, kills = Outcome(), arena.times(KILLS)
    begins: list[float] = []
    speaks: list[float] = []
    with arena.stage(session_timeout_ms=SESSION_MS) as stage:
        workers = [stage.worker(name=f"first-{n}").wait_ready() for n in (0, 1)]
        flow = arena.load(stage, seconds=kills * 45, rate=80)
        for number in range(kills):
            poll(
                lambda: [w.metrics().get("hitrun_lanes") for w in workers] == [2, 2],
                within_s=60,
                what="the lanes are not shared",
            )
            time.sleep(2)
            victim, other = workers[number % 2], workers[1 - number % 2]
            killed_s = time.time()
            victim.kill()
            found = poll(
                lambda other=other, since=killed_s: (
                    found if len(found := _gained_since(other, since)) == 2 else None
                ),
                within_s=40,
                what=lambda other=other: other.told("it takes nothing over"),
            )
            first = min(_at_s(e) for e in other.events("partition.gained") if _at_s(e) > killed_s)
            begins.append(first - killed_s)
            for lane, restored_s in found.items():
                spoke_s = poll(
                    lambda lane=lane, since=restored_s: _first_output_s(stage, lane, since),
                    within_s=30,
                    what=f"lane {lane} says nothing",
                )
                speaks.append(spoke_s - restored_s)
            outcome.faults += 1
            arena.say(f"begun after {begins[-1]:.1f} s, spoke {speaks[-1]:.1f} s after the restore")
            workers[number % 2] = stage.worker(name=f"again-{number}").wait_ready(within_s=60)
        flow.stop()
        report = outcome.add(verified(stage, settle(stage, None, within_s=120)))
        outcome.demand(max(begins) <= BEGINS_WITHIN_S, f"takeover began after {max(begins):.1f} s")
        outcome.demand(max(speaks) <= SPEAKS_WITHIN_S, f"{max(speaks):.1f} s from restore to word")
        outcome.notes = {
            "begun_s": [round(s, 1) for s in begins],
            "spoke_after_restore_s": [round(s, 1) for s in speaks],
            "verdicts": report.right,
        }
    return outcome


SCENARIOS = [
    Scenario(
        1,
        "takeover-time",
        "one of two workers killed at the default session: how long its lanes have no owner",
        takeover_time,
    )
]
