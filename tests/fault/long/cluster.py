"""Three nodes, every topic on all of them: kill -9 of the node that leads, that coordinates, that
controls; a rolling restart in order; and two of three gone at once, so that nothing can be written.

Three JVMs on a small machine are slow; what is tested is that nothing is lost, not how long it
takes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from tests.fault.long.scenario import Arena, Crew, Flow, Outcome, Scenario, Stage, settle, verified
from tests.support.crew import lanes_of
from tests.support.dumps import write
from tests.support.flow import POLICY, SETTINGS
from tests.support.kafka import Kafka
from tests.support.nodes import active_controller, coordinator_of, in_sync, leader_of
from tests.support.stage import INPUTS, OUTPUTS
from tests.support.waiting import poll

NODES = 3
PARTITIONS = 4
KILLS = 12
SESSION_MS = 6_000
RATE = 40
PATIENT_MS = 180_000
"""The marketplace's own producer waits so long for a cluster that is coming back."""

GONE_S = 10.0
"""How long two of three nodes are away."""

WHOLE_S = 150.0
ROUND_S = 40.0
"""A kill, the restart, and until every copy is up to date again; more than it takes."""


def whole(arena: Arena, crew: Crew) -> None:
    """Until all copies are up to date and all lanes have an owner."""
    poll(lambda: in_sync(arena.kafka, NODES), within_s=WHOLE_S, every_s=0.5, what="not in sync")
    poll(
        lambda: crew.check() and lanes_of(crew.now()) == PARTITIONS,
        within_s=WHOLE_S,
        every_s=0.3,
        what=lambda: "\n".join(w.told("lanes without an owner") for w in crew.now()),
    )


def _targets(arena: Arena, stage: Stage) -> dict[str, Callable[[int], int]]:
    """Whom to hit: name -> the node it is for the n-th kill."""
    kafka = arena.kafka

    def leads(topic: str) -> Callable[[int], int]:
        return lambda number: leader_of(kafka, topic, number % PARTITIONS)

    return {
        "leader of an input": leads(stage.topic("payment")),
        "transaction coordinator": lambda number: coordinator_of(
            kafka, transactional_id=f"{stage.group}-{number % PARTITIONS}"
        ),
        "active controller": lambda _: active_controller(kafka),
        "leader of the changelog": leads(stage.changelog),
        "group coordinator": lambda _: coordinator_of(kafka, group=stage.group),
        "leader of an output": leads(stage.topic("verdict")),
    }


def _kills(arena: Arena, stage: Stage, crew: Crew, flow: Flow, hits: Counter[str]) -> None:
    dice, targets = arena.dice, _targets(arena, stage)
    for number in range(arena.times(KILLS)):
        name = list(targets)[number % len(targets)]
        before = flow.sent
        node = targets[name](number // len(targets))
        arena.broker.kill_node(node)
        hits[name] += 1
        time.sleep(dice.uniform(2.0, 6.0))  # elections take 3-6 s: before, in and after them
        arena.broker.start_node(node)
        whole(arena, crew)
        arena.say(f"node {node}, {name}: {flow.sent - before} records sent meanwhile")


def _rolling(arena: Arena, crew: Crew, hits: Counter[str]) -> None:
    for node in range(1, NODES + 1):
        arena.broker.stop_node(node)
        arena.broker.start_node(node)
        whole(arena, crew)
        hits["restarted in order"] += 1
    arena.say("rolling restart done")


def _too_few(arena: Arena, stage: Stage, crew: Crew, flow: Flow, hits: Counter[str]) -> None:
    """Two nodes at once: what is left may not write, workers wait or are started again."""
    first = leader_of(arena.kafka, stage.topic("checkout"), 0)
    second = first % NODES + 1
    for node in (first, second):
        arena.broker.kill_node(node)
        hits["one of two at once"] += 1
    time.sleep(GONE_S)  # what is tested: how long they are away
    sent = flow.sent
    crew.check()
    for node in (first, second):
        arena.broker.nodes[node - 1].launch()  # neither is ready without the other
    for node in (first, second):
        arena.broker.start_node(node)
    whole(arena, crew)
    poll(lambda: not flow.running or flow.sent > sent + 50, within_s=60, what="nothing is sent")
    arena.say(f"two nodes were gone for {GONE_S:g} s")


def cluster(arena: Arena) -> Outcome:
    """See the module."""
    outcome, hits = Outcome(), Counter[str]()
    patient = Kafka(arena.broker.bootstrap, request_timeout_ms=PATIENT_MS)
    settings = SETTINGS | {"session_timeout_ms": SESSION_MS, "topic_replication": NODES}
    home = arena.home / "stage-1"
    with Stage(patient, home, partitions=PARTITIONS, policy=POLICY, **settings) as stage:
        stage.create_topics()
        seconds = arena.times(KILLS) * ROUND_S + 6 * ROUND_S
        with Crew(stage, 2) as crew:
            crew.wait_ready(within_s=120)
            flow = arena.load(stage, seconds=seconds, rate=RATE)
            _kills(arena, stage, crew, flow, hits)
            _rolling(arena, crew, hits)
            _too_few(arena, stage, crew, flow, hits)
            outcome.demand(flow.running, "the stream ended before the last fault")
            flow.stop()
            now = settle(stage, None, within_s=240)
            report = outcome.add(verified(stage, now))
            if outcome.problems:
                names = [stage.topic(role) for role in (*INPUTS, *OUTPUTS)]
                write(home / "records.ndjson", stage.kafka.read(*names))
    outcome.faults = hits.total()
    outcome.demand(report.right > 20 * outcome.faults, f"only {report.right} verdicts to lose")
    outcome.notes = {"hits": dict(hits), "ends": dict(crew.ends), "verdicts": report.right}
    return outcome


SCENARIOS = [
    Scenario(
        4,
        "cluster",
        "three nodes: kill -9 of leaders, coordinators, the controller; rolling restart; two of "
        "three gone",
        cluster,
        nodes=NODES,
    )
]
