"""kill -9, a hundred times, at random moments and at every chosen one; two workers under load."""

from __future__ import annotations

import time

from tests.fault.long.scenario import Arena, Crew, Outcome, Scenario, settle, verified
from tests.support.crew import lanes_of
from tests.support.moments import MOMENTS
from tests.support.waiting import poll

KILLS = 100
EVERY_S = 4.5
"""A little more than a start and a takeover take."""


def kills(arena: Arena) -> Outcome:
    """Two workers, one killed every few seconds, every second time at a chosen moment."""
    outcome, dice, wanted = Outcome(), arena.dice, arena.times(KILLS)
    with arena.stage() as stage, Crew(stage, 2, env={"STEP_S": "0.05"}) as crew:
        crew.wait_ready()
        flow = arena.load(stage, seconds=wanted * EVERY_S * 1.5, rate=80)
        chosen = 0
        met: dict[str, int] = dict.fromkeys([*MOMENTS, "random"], 0)
        while outcome.faults < wanted and flow.running:
            place = outcome.faults % 2
            moment = MOMENTS[chosen % len(MOMENTS)]
            if outcome.faults % 4 < 2:
                chosen += 1
                file = crew.at(place, "kill", moment)
                if moment in ("fenced", "restored", "opened", "revoked"):
                    # The next one in its place takes over; or the other one sees a rebalance.
                    crew.kill(1 - place if moment == "revoked" else place)
                    outcome.faults += 1
                poll(
                    lambda file=file: crew.check() and not file.exists(),
                    within_s=40,
                    what=lambda moment=moment: f"nobody came to {moment}",
                )
            else:
                moment = "random"
                time.sleep(dice.uniform(0.2, 3.0))
                crew.kill(place)
            outcome.faults += 1
            met[moment] += 1
            if outcome.faults % 10 == 0:
                arena.say(f"{outcome.faults} kills, {flow.sent} records sent")
            time.sleep(dice.uniform(0.0, 2.5))
            crew.check()
        flow.stop()
        report = outcome.add(verified(stage, settle(stage, None, within_s=180)))
        outcome.demand(outcome.faults >= wanted, f"only {outcome.faults} kills")
        outcome.demand(wanted < 40 or all(met.values()), f"moments not met: {met}")
        outcome.demand(report.right > 10 * wanted, f"only {report.right} verdicts to lose")
        outcome.demand(lanes_of(crew.now()) == 4, "not all lanes are owned")
        outcome.notes = {"met": met, "ends": dict(crew.ends), "verdicts": report.right}
    return outcome


SCENARIOS = [
    Scenario(
        1,
        "kills",
        "two workers, kill -9 at random and at chosen moments, steps of transactions slowed down",
        kills,
    )
]
