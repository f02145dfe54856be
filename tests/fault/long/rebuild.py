"""From an empty state: with all that was announced, cut short again and again while inputs go on;
after the changelog is gone; and after the verdicts are gone too."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from schemas.topics import Topics
from tests.fault.long.poison import wait_met
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
from tests.support.crew import lanes_of
from tests.support.stage import INPUTS, OUTPUTS
from tests.support.waiting import poll

KILLS = 24
RATE = 50
Heard = tuple[set[tuple[str, int]], set[tuple[str, int]], set[str]]
REBUILD = ("--rebuild",)
PARTITIONS = 4
MOMENTS = ("fenced", "begin", "half", "commit", "committed")
"""Of a rebuild's own transactions, which take the former state away, and of the first after."""


def rebuild(arena: Arena) -> Outcome:
    """See the module. Whatever is gone, the stream goes on, except where the scenario counts."""
    outcome, kills = Outcome(), arena.times(KILLS)
    with arena.stage() as stage:
        flow = arena.load(stage, seconds=60 + kills * 10, rate=RATE)
        with Crew(stage, 2) as crew:
            crew.wait_ready()
            poll(lambda: said(stage)[0], within_s=30, every_s=0.3, what="no verdict")
        outcome.faults += 2
        _cut_short(arena, outcome, stage, flow, kills)
        _state_gone(arena, outcome, stage)
        _verdicts_gone(arena, outcome, stage)
    return outcome


def _cut_short(arena: Arena, outcome: Outcome, stage: Stage, flow: Flow, kills: int) -> None:
    """Two workers that rebuild, killed before they have done so."""
    dice, wanted = arena.dice, outcome.faults + kills
    with Crew(stage, 2, arguments=REBUILD, env={"STEP_S": "0.05"}) as crew:
        while outcome.faults < wanted:
            place, number = outcome.faults % 2, outcome.faults // 2
            if number % 2:
                time.sleep(dice.uniform(0.5, 4.0))
                crew.kill(place)
            else:
                crew.kill(place)  # the next one in its place comes to the moment as it rebuilds
                file = crew.at(place, "kill", MOMENTS[number // 2 % len(MOMENTS)])
                outcome.faults += 1
                wait_met(crew, file)
            outcome.faults += 1
            assert flow.running, "the stream is over: kills were slow"
        crew.wait_ready(within_s=60)
        arena.say(f"{kills} kills in rebuilds, {flow.sent} records sent")
        _owned(crew)
        flow.stop()
        report = verified(stage, settle(stage, None, within_s=120))
        by_log = {p.err: p for p in stage.processes}  # crews share names, and so logs
        rebuilt = sum(len(p.events("partition.rebuilt")) for p in by_log.values())
        outcome.demand(rebuilt >= kills // 2, f"only {rebuilt} lanes were rebuilt")
        outcome.demand(report.right > 10 * kills, f"only {report.right} verdicts to repeat")
        outcome.problems += report.problems
        outcome.notes |= {"rebuilt lanes": rebuilt, "ends": dict(crew.ends)}


def _state_gone(arena: Arena, outcome: Outcome, stage: Stage) -> None:
    """The changelog is deleted and made anew: refused, and then nothing is said twice."""
    before = said(stage)
    recreate(stage, stage.changelog)
    outcome.faults += 1
    refused = stage.worker()
    code = refused.wait(within_s=40)
    outcome.demand(code == 4, refused.told(f"no state, and it ended with {code}"))
    why = refused.events("worker.halted")
    outcome.demand(bool(why) and "--rebuild" in why[-1]["why"], refused.told("it did not say why"))
    outcome.demand(said(stage) == before, "a worker without a state has said something")
    flow = arena.load(stage, seconds=12, rate=RATE, more=1)
    with Crew(stage, 2, arguments=REBUILD) as crew:
        crew.wait_ready()
        now = settle(stage, flow, within_s=120)
        report = outcome.add(verified(stage, now))
        outcome.demand(not crew.ends, f"workers ended: {dict(crew.ends)}")
    _nothing_new(outcome, arena, before, said(stage))
    outcome.notes["verdicts"] = report.right
    arena.say(f"the state was gone; {report.right} verdicts stand")


def _verdicts_gone(arena: Arena, outcome: Outcome, stage: Stage) -> None:
    """State and verdict topic are gone: what stands is said again, what was taken back is not; and
    customers hear what is different only."""
    detected, withdrawn, customers = said(stage)
    standing = {c for c, n in detected if (c, n) not in withdrawn}
    recreate(stage, stage.changelog)
    recreate(stage, stage.topic("verdict"))
    outcome.faults += 2
    with Crew(stage, 2, arguments=REBUILD) as crew:
        crew.wait_ready()
        report = outcome.add(verified(stage, settle(stage, None, within_s=120)))
        crew.kill(0)
        outcome.faults += 1
        _owned(crew)
        flow = arena.load(stage, seconds=6, rate=RATE, more=2)
        outcome.problems += verified(stage, settle(stage, flow, within_s=120)).problems
    now, taken_back, customers_now = said(stage)
    new = f"k{arena.seed + 2}-"
    old = {checkout for checkout, _ in now if not checkout.startswith(new)}
    outcome.demand(old == standing, f"said again {len(old)}, standing were {len(standing)}")
    outcome.demand(
        not {c for c, _ in taken_back if not c.startswith(new)}, "taken back, and never said"
    )
    told = {c for c in customers_now - customers if not c.startswith(f"c{arena.seed + 2}-")}
    outcome.demand(not told, f"customers were told what they knew: {sorted(told)[:5]}")
    outcome.notes["said again"] = len(old)
    arena.say(f"the verdicts were gone; {report.right} said again")


def _nothing_new(outcome: Outcome, arena: Arena, before: Heard, now: Heard) -> None:
    """Of those before the last stream: all was settled, so nothing is different."""
    was, is_now = ([*map(_checkouts, heard[:2]), heard[2]] for heard in (before, now))
    for kind, former, present in zip(
        ("detected", "withdrawn", "customers"), was, is_now, strict=True
    ):
        outcome.demand(present >= former, f"{kind} have gone")
        new = (f"k{arena.seed + 1}-", f"c{arena.seed + 1}-")
        again = sorted(one for one in present - former if not one.startswith(new))
        outcome.demand(not again, f"{kind} that are not different: {again[:5]}")


def _checkouts(heard: set[tuple[str, int]]) -> set[str]:
    return {f"{checkout}/{sequence}" for checkout, sequence in heard}


def said(stage: Stage) -> Heard:
    """(checkout, sequence) of what was detected and withdrawn, and "customer/version"."""
    found: dict[str, set[tuple[str, int]]] = {"detected": set(), "withdrawn": set()}
    customers = set()
    for record in stage.kafka.read(stage.topic("verdict"), stage.topic("customer")):
        if record.value is None:
            continue
        event = json.loads(record.value)
        data, kind = event["data"], event["type"].rsplit(".", 1)[-1]
        if kind in found:
            found[kind].add((data["checkout_id"], data["sequence"]))
        else:
            customers.add(f"{data['customer_id']}/{data['version']}")
    return found["detected"], found["withdrawn"], customers


def recreate(stage: Stage, *topics: str) -> None:
    """Deletes topics and makes them as they were, empty."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    specs = {spec.name: spec for spec in Topics(group=stage.group, **names).specs()}
    stage.kafka.delete(*topics)

    def made(topic: str) -> bool:
        config: dict[str, Any] = dict(specs[topic].config)
        try:
            stage.kafka.create({topic: PARTITIONS}, replication=1, **config)
        except (TopicAlreadyExistsError, UnknownTopicOrPartitionError):
            return False
        return True

    for topic in topics:
        poll(partial(made, topic), within_s=30, every_s=0.3, what=f"no {topic}")


def _owned(crew: Crew) -> None:
    poll(
        lambda: crew.check() and lanes_of(crew.now()) == PARTITIONS,
        within_s=60,
        what=lambda: "\n".join(w.told("lanes without an owner") for w in crew.now()),
    )


SCENARIOS = [
    Scenario(
        9,
        "rebuild",
        "from an empty state, killed half way again and again; the state lost; the verdicts too",
        rebuild,
    )
]
