"""Workers come and go, 1 -> 2 -> 3 -> 1, under load; some come in the middle of a takeover."""

from __future__ import annotations

import time

from tests.fault.long.scenario import Arena, Crew, Outcome, Scenario, settle, verified
from tests.support.crew import lanes_of
from tests.support.waiting import poll

ROUNDS = 14
"""Of 1 -> 2 -> 3 -> 1: four workers come or go in each."""


def rebalances(arena: Arena) -> Outcome:
    """See the module."""
    outcome, dice, rounds = Outcome(), arena.dice, arena.times(ROUNDS)
    with arena.stage() as stage, Crew(stage, 1) as crew:
        crew.wait_ready()
        flow = arena.load(stage, seconds=rounds * 60, rate=60)
        for round_ in range(rounds):
            hurried = round_ % 2 == 1
            if hurried:  # the third comes while the second takes over
                crew.resize(2)
                worker = crew.now()[1]
                poll(lambda w=worker: w.events("web.listening"), within_s=40)
                time.sleep(dice.uniform(0.0, 0.6))
                crew.resize(3)
            else:
                crew.resize(2)
                crew.wait_ready()
                time.sleep(dice.uniform(0.0, 1.0))
                crew.resize(3)
                crew.wait_ready()
            time.sleep(dice.uniform(0.0, 2.0))
            crew.resize(1)
            outcome.faults += 4
            poll(
                lambda: crew.check() and lanes_of(crew.now()) == 4,
                within_s=60,
                what=lambda: crew.now()[0].told("lanes without an owner"),
            )
            arena.say(f"round {round_ + 1}, {flow.sent} records sent")
        flow.stop()
        report = outcome.add(verified(stage, settle(stage, None, within_s=120)))
        outcome.demand(report.right > 20 * rounds, f"only {report.right} verdicts to lose")
        outcome.notes["ends"] = dict(crew.ends)
    return outcome


SCENARIOS = [
    Scenario(
        3,
        "rebalances",
        "workers come and go, 1 -> 2 -> 3 -> 1, also in the middle of a takeover",
        rebalances,
    )
]
