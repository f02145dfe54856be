"""Workers that stand still for one and a half sessions, as a virtual machine that is moved does:
one, both, and one that has nothing to do. Thawed, they must not add a word."""

from __future__ import annotations

import time

from tests.fault.long.scenario import (
    SESSION_MS,
    Arena,
    Crew,
    Outcome,
    Scenario,
    Stage,
    settle,
    verified,
)
from tests.support.crew import lanes_of
from tests.support.waiting import poll

FREEZES = 24
LONG_S = 1.5 * SESSION_MS / 1000
MOMENTS = ("half", "verdict", "commit", "begin")


def _of_two(arena: Arena, stage: Stage, outcome: Outcome) -> None:
    """At chosen moments and at random, every third time both."""
    dice, wanted = arena.dice, arena.times(FREEZES)
    with Crew(stage, 2) as crew:
        crew.wait_ready()
        flow = arena.load(stage, seconds=wanted * 20, rate=60)
        done = 0
        while done < wanted:
            crew.check()
            place = done % 2
            if done % 3 == 0:
                file = crew.at(place, "freeze", MOMENTS[done // 3 % len(MOMENTS)])
                poll(lambda file=file: not file.exists(), within_s=30, what="no such moment")
            else:
                time.sleep(dice.uniform(0.1, 1.0))
                crew.now()[place].freeze()
            frozen = [crew.now()[place]]
            if done % 3 == 2:
                frozen.append(crew.now()[1 - place])
                frozen[-1].freeze()
            time.sleep(LONG_S + dice.uniform(0.0, 1.5))
            for worker in frozen:
                worker.thaw()
            done += len(frozen)
            poll(
                lambda: crew.check() and lanes_of(crew.now()) == 4,
                within_s=60,
                what=lambda: "\n".join(w.told("lanes without an owner") for w in crew.now()),
            )
            arena.say(f"{done} freezes, {flow.sent} records sent")
        flow.stop()
        report = outcome.add(verified(stage, settle(stage, None, within_s=180)))
        outcome.faults += done
        outcome.demand(report.right > 5 * wanted, f"only {report.right} verdicts to lose")
        outcome.notes["ends"] = dict(crew.ends)


def _idle(arena: Arena, outcome: Outcome) -> None:
    """Two lanes, three workers: one has none; it is frozen, and then the lane owners are, while
    nothing comes in."""
    with arena.stage(partitions=2) as stage, Crew(stage, 3) as crew:
        crew.wait_ready()
        flow = arena.load(stage, seconds=6, rate=60, more=1)
        for idle in (True, False):
            chosen = [w for w in crew.now() if (lanes_of([w]) == 0) is idle]
            outcome.demand(bool(chosen), f"no worker {'without' if idle else 'with'} lanes")
            for worker in chosen:
                worker.freeze()
            time.sleep(LONG_S)
            for worker in chosen:
                worker.thaw()
            outcome.faults += len(chosen)
            poll(
                lambda: crew.check() and lanes_of(crew.now()) == 2,
                within_s=60,
                what="lanes without an owner",
            )
        flow.join()
        now = settle(stage, flow, partitions=2, within_s=120)
        outcome.add(verified(stage, now, partitions=2))


def freezes(arena: Arena) -> Outcome:
    """See the module."""
    outcome = Outcome()
    with arena.stage() as stage:
        _of_two(arena, stage, outcome)
    _idle(arena, outcome)
    return outcome


SCENARIOS = [
    Scenario(
        2,
        "freezes",
        "workers stand still for 1.5 sessions: one, both, at chosen moments, an idle one",
        freezes,
    )
]
