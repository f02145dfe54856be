"""A producer that writes rubbish, or to wrong partitions: its lane halts, worker after worker and
restart after restart, until a person accepts it; then everything goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from streams.position import LETTER_MISPLACED, LETTER_SHARE
from tests.fault.long.scenario import Arena, Outcome, Scenario, Stage, settle, verified
from tests.support import builders
from tests.support.kafka import Sent
from tests.support.reading import murmur2
from tests.support.worker import Process

ROUNDS = 2
PARTITIONS = 4
RESTARTS = 3
HALTED = 4
"""The exit code of what only a person can resolve."""
END_S = 40


def broken_producer(arena: Arena) -> Outcome:
    """See the module."""
    outcome, rounds = Outcome(), arena.times(ROUNDS)
    with arena.stage() as stage:
        crew = [stage.worker(name=f"first-{n}") for n in range(2)]
        for worker in crew:
            worker.wait_ready()
        flow = arena.load(stage, seconds=rounds * 150, rate=50)
        for number in range(rounds):
            for kind in ("rubbish", "strays"):
                lane = (number + (kind == "strays")) % PARTITIONS
                bad = rubbish(stage, lane) if kind == "rubbish" else strays(stage, lane, number)
                crew = _halted(outcome, stage, crew, bad, lane, f"{kind}-{number}")
                arena.say(f"{kind}: halted and accepted, {flow.sent} records sent")
        flow.stop()
        report = outcome.add(verified(stage, settle(stage, None, within_s=120)))
        outcome.demand(report.right > 100 * rounds, f"only {report.right} verdicts to lose")
        for worker in crew:
            outcome.demand(worker.stop(within_s=40) == 0, worker.told("it did not stop"))
        outcome.notes = {"dead letters": report.dead_letters, "verdicts": report.right}
    return outcome


def _halted(
    outcome: Outcome, stage: Stage, crew: list[Process], bad: list[Sent], lane: int, word: str
) -> list[Process]:
    """What the producer has sent halts everybody until it is accepted; the workers afterwards."""
    topic = stage.topic("payment")
    stage.kafka.produce(bad)
    for worker in crew:  # the owner, then whoever takes its lane over
        _demand_halt(outcome, worker, topic)
    before = _of_lane(stage, lane)
    for number in range(RESTARTS):
        _demand_halt(outcome, stage.worker(name=f"{word}-again-{number}"), topic)
    after = _of_lane(stage, lane)
    outcome.demand(before == after, f"{word}: a halted lane went on: {before}, then {after}")
    outcome.faults += 1 + RESTARTS
    accept = ("--accept-dead-letters", topic)
    accepted = [stage.worker(*accept, name=f"{word}-accepted-{n}") for n in range(2)]
    _ready(accepted)
    settle(stage, None, within_s=60)
    came = _of_lane(stage, lane)[0]
    outcome.demand(came >= len(bad), f"{word}: {came} dead letters of {len(bad)} bad records")
    for worker in accepted:
        outcome.demand(worker.stop(within_s=40) == 0, worker.told("it did not stop"))
    follow = [stage.worker(name=f"{word}-after-{n}") for n in range(2)]  # accepted for good
    _ready(follow)
    return follow


def _ready(workers: Sequence[Process]) -> None:
    for worker in workers:
        worker.wait_ready(within_s=60)


def _demand_halt(outcome: Outcome, worker: Process, topic: str) -> None:
    code = worker.wait(within_s=END_S)
    said = worker.events("worker.halted")
    told = bool(said) and f"--accept-dead-letters {topic}" in said[-1]["why"]
    outcome.demand(code == HALTED and told, worker.told(f"ended with {code}, not halted"))


def _of_lane(stage: Stage, lane: int) -> tuple[int, int]:
    """How many dead letters and verdicts there are in a partition."""
    letters, verdicts = stage.dead_letters_of("payment"), stage.topic("verdict")
    found = [r.topic for r in stage.kafka.read(letters, verdicts) if r.partition == lane]
    return found.count(letters), found.count(verdicts)


def rubbish(stage: Stage, lane: int) -> list[Sent]:
    """More than a fifth of 10,000 records."""
    count = LETTER_SHARE + 500
    return [Sent(stage.topic("payment"), b"rubbish %d" % n, b"x", lane) for n in range(count)]


def strays(stage: Stage, lane: int, number: int) -> list[Sent]:
    """Good payments on a partition that is not their key's, each of a customer of its own."""
    found: list[Sent] = []
    at = int(time.time() * 1000)
    for each in range(10_000):
        who: dict[str, Any] = {
            "customer": f"stray-{number}-{each}",
            "checkout_id": f"stray-{number}-k{each}",
        }
        if murmur2(who["customer"].encode()) % PARTITIONS != lane:
            made = builders.record(builders.payment(at=at, **who))
            found.append(Sent(stage.topic("payment"), made.value, made.key, lane))
        if len(found) == LETTER_MISPLACED + 5:
            break
    return found


SCENARIOS = [
    Scenario(
        6,
        "broken-producer",
        "rubbish, and records on wrong partitions: halted over restarts until a person accepts",
        broken_producer,
    )
]
