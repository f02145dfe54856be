"""Inputs that lag, stand idle, run ahead, fall silent or are left open: time waits or goes on as it
should, and nobody is accused meanwhile. Policy times are seconds, so minutes of lag are seconds."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fault.long.scenario import (
    Arena,
    Crew,
    Flow,
    Outcome,
    Scenario,
    Stage,
    Step,
    settle,
    verified,
)
from tests.support import builders
from tests.support.builders import Event
from tests.support.flow import _step, mix
from tests.support.reading import DAY, murmur2, time_ms
from tests.support.sending import sent
from tests.support.waiting import poll
from tests.support.worker import Process

PARTITIONS = 4
IDLE = 3
"""The partition that nothing is sent to, but one checkout that is never paid."""
RATE = 60
SILENCE_MS = 1_000
"""Less than from a checkout to its verdict, so that no payment is missed before the hold."""
LAG_S = 24
"""16 payment windows of the policy in use."""
OPEN_S = 8
"""How long an upstream's transaction is left open: more than two verdicts take."""
TAIL_S = 10
HELD = 'hitrun_frontier_held_lanes{{reason="{}"}}'


def partition_of(customer: str) -> int:
    return murmur2(customer.encode()) % PARTITIONS


def names(partition: int, prefix: str) -> Iterator[str]:
    """Customers of one partition, without end."""
    number = 0
    while True:
        number += 1
        if partition_of(name := f"{prefix}{number}") == partition:
            yield name


# ---------------------------------------------------------------- what is sent


class Plan:
    """The times of everything, in ms after the flow's start."""

    def __init__(self, arena: Arena) -> None:
        lag = max(6, arena.times(LAG_S)) * 1000
        self.orders = (4_000, 4_000 + lag)
        self.payments = (self.orders[1] + 6_000, self.orders[1] + 6_000 + lag)
        self.checkouts = (self.payments[1] + 8_000, self.payments[1] + 8_000 + lag)
        self.calm = self.checkouts[1] + 6_000
        self.end = self.calm + 2 * (OPEN_S + 12) * 1000

    def steps(self, seed: int) -> list[Step]:
        """All of it, in no order."""
        seconds = self.end / 1000
        steps = []
        for step in mix(seed=seed, checkouts=int(seconds * RATE), seconds=seconds):
            key = step.make(0).key
            if murmur2(key) % PARTITIONS != IDLE:
                steps.append(step)
        lag(steps, "order", *self.orders)
        lag(steps, "payment", *self.payments)
        lag(steps, "checkout", *self.checkouts)
        idle = next(names(IDLE, "idle"))
        steps.append(_step(builders.checkout("idle", customer=idle, at=1_000)))
        steps += self._ahead()
        steps += self._beats()
        return steps

    def _ahead(self) -> Iterator[Step]:
        """One producer is a year ahead. Whose checkout it pays for is never a verdict."""
        for number, at in enumerate(range(2_000, self.end, 500)):
            who: dict[str, Any] = {"customer": f"early-{number}", "checkout_id": f"early-{number}"}
            if partition_of(who["customer"]) == IDLE:
                continue
            yield _step(builders.checkout(at=at, **who))
            for event in (
                builders.payment(at=at + 365 * DAY, **who),
                builders.checkout(f"far-{number}", customer=who["customer"], at=at + 365 * DAY),
                builders.order("o", at=at + 365 * DAY, status="shipped", **who),
            ):
                step = _step(event)
                step.at_ms = at + 100
                yield step

    def _beats(self) -> Iterator[Step]:
        """Payments go on when the stream has ended: its producer is alive."""
        for partition in set(range(PARTITIONS)) - {IDLE}:
            customer = next(names(partition, "beat"))
            for at in range(self.end - 5_000, self.end + TAIL_S * 1000, 300):
                who: dict[str, Any] = {"customer": customer, "checkout_id": "beat"}
                yield _step(builders.payment(at=at, status="pending", **who))


def lag(steps: list[Step], role: str, begin: int, end: int) -> None:
    """Holds a topic's records of [begin, end) back and sends them after it, at tenfold speed."""
    for step in steps:
        if step.role == role and begin <= step.at_ms < end:
            step.at_ms = end + (step.at_ms - begin) // 10


# ---------------------------------------------------------------- what is seen


class Watch:
    """What the workers' metrics and the verdict topic tell, as the scenario goes on."""

    def __init__(self, stage: Stage, workers: Callable[[], list[Process]]) -> None:
        self.stage = stage
        self.workers = workers

    def metric(self, name: str) -> float:
        """The sum over all workers that answer."""
        return sum(w.metrics().get(name, 0.0) for w in self.workers() if w.alive)

    def lag_s(self) -> float:
        """Of the slowest lane."""
        return max(w.metrics().get("hitrun_frontier_lag_seconds", 0.0) for w in self.workers())

    def wait_held(self, reason: str, lanes: int, *, within_s: float = 20) -> None:
        poll(
            lambda: self.metric(HELD.format(reason)) >= lanes,
            within_s=within_s,
            every_s=0.2,
            what=lambda: "\n".join(w.told(f"not held: {reason}") for w in self.workers()),
        )

    def detected(self, partitions: set[int]) -> int:
        """How many verdicts there are, read committed."""
        return sum(
            record.partition in partitions and b"hitrun.verdict.detected" in record.value
            for record in self.stage.kafka.read(self.stage.topic("verdict"))
        )


def until(flow: Flow, at_ms: int) -> None:
    """Sleeps until a moment of the plan."""
    poll(lambda: flow.started_ms, within_s=20, what="the flow did not start")
    time.sleep(max(0.0, (flow.started_ms + at_ms) / 1000 - time.time()))


def silent(outcome: Outcome, watch: Watch, lanes: set[int], seconds: float, why: str) -> None:
    """No verdict on these lanes for so long."""
    before = watch.detected(lanes)
    time.sleep(seconds)
    said = watch.detected(lanes) - before
    outcome.demand(said == 0, f"{said} verdicts on held lanes: {why}")


def unjust(stage: Stage) -> list[str]:
    """Verdicts on people who had paid in time, as it turned out later."""
    events = [json.loads(r.value) for r in stage.kafka.read(stage.topic("verdict"))]
    return [e["data"]["checkout_id"] for e in events if e["data"].get("cause") == "paid_in_time"]


# ---------------------------------------------------------------- lags


def lags(arena: Arena) -> Outcome:
    """See the module."""
    outcome, plan = Outcome(), Plan(arena)
    busy = set(range(PARTITIONS)) - {IDLE}
    with arena.stage(input_silence_ms=SILENCE_MS) as stage, Crew(stage, 2) as crew:
        crew.wait_ready()
        watch = Watch(stage, crew.now)
        flow = Flow(stage, plan.steps(arena.seed)).start()
        until(flow, plan.orders[0] + 4_000)
        outcome.demand(watch.lag_s() < 5, "orders that lag hold time, which they should not")
        outcome.demand(watch.lag_s() > 0.2, "time runs ahead")
        arena.say("orders lag, time goes on")
        until(flow, plan.payments[0] + 1_500)
        watch.wait_held("stale_payments", len(busy))
        arena.say("payments lag, time is held")
        rest_s = (flow.started_ms + plan.payments[1]) / 1000 - time.time() - 2
        silent(outcome, watch, busy, rest_s, "payments are late")
        outcome.demand(watch.lag_s() > rest_s, "time moved although payments were late")
        poll(
            lambda: watch.metric(HELD.format("stale_payments")) == 0 and watch.lag_s() < 2,
            within_s=20,
            every_s=0.2,
            what="time has not caught up with the payments",
        )
        arena.say("payments have come, time has caught up")
        outcome.faults += 3  # and the checkouts
        until(flow, plan.calm)
        for committed in (True, False):
            _left_open(arena, outcome, stage, watch, committed=committed)
        flow.join(within_s=120)
        report = outcome.add(verified(stage, settle(stage, None, within_s=120)))
        outcome.demand(report.right > 5 * plan.end / 1000, f"only {report.right} verdicts to lose")
        outcome.demand(not unjust(stage), f"had paid in time: {unjust(stage)}")
        outcome.demand(not crew.ends, f"workers ended: {dict(crew.ends)}")
        _ahead_and_idle(outcome, stage)
        outcome.notes["verdicts"] = report.right
    return outcome


def _left_open(
    arena: Arena, outcome: Outcome, stage: Stage, watch: Watch, *, committed: bool
) -> None:
    """A payment in a transaction that stays open for long, and is then committed; or its producer
    is killed, and the broker ends it."""
    customer = next(names(1, f"open-{committed}"))
    who: dict[str, Any] = {"customer": customer, "checkout_id": customer}
    at = int(time.time() * 1000)
    stage.kafka.produce([sent(stage, builders.checkout(at=at, **who))])
    with upstream(stage, builders.payment(at=at + 200, **who)) as producer:
        if not committed:
            producer.kill()
            producer.wait(10)
        time.sleep(1.5)
        others = {0, 2}
        before = watch.detected(others)
        silent(outcome, watch, {1}, OPEN_S - 2, "a payment is in an open transaction")
        outcome.demand(watch.lag_s() > OPEN_S - 3, "time moved over an open transaction")
        outcome.demand(watch.detected(others) > before, "other lanes were held as well")
        behind = watch.metric('hitrun_input_lag_records{stream="payment"}')
        outcome.demand(behind > 0, "no metric tells that payments are waiting")
        if committed:
            assert producer.stdin is not None
            producer.stdin.write(b"\n")
            producer.stdin.flush()
    poll(lambda: watch.lag_s() < 2, within_s=30, every_s=0.2, what="time has not caught up")
    outcome.faults += 1
    poll(
        lambda: committed or customer in verdicts_of(stage),
        within_s=20,
        every_s=0.3,
        what="what was paid in an aborted transaction counts as paid",
    )
    outcome.demand(
        committed is not (customer in verdicts_of(stage)),
        f"payment in a transaction, committed {committed}: judged as if it was not",
    )
    arena.say(f"an upstream's transaction was open, then {'committed' if committed else 'lost'}")


@contextmanager
def upstream(stage: Stage, event: Event) -> Iterator[subprocess.Popen[bytes]]:
    """A producer that has written an event and not committed it."""
    record = sent(stage, event)
    assert record.value is not None and record.key is not None
    words = [base64.b64encode(content).decode() for content in (record.value, record.key)]
    command = [sys.executable, "-m", "tests.support.open_transaction", stage.kafka.bootstrap]
    process = subprocess.Popen(
        [*command, record.topic, *words, str((OPEN_S + 4) * 1000)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        yield process
        process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def verdicts_of(stage: Stage) -> dict[str, list[dict[str, Any]]]:
    """What was said of each checkout, with the record's timestamp as `said`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in stage.kafka.read(stage.topic("verdict")):
        data = json.loads(record.value)["data"] | {"said": record.timestamp}
        found.setdefault(data["checkout_id"], []).append(data)
    return found


def _ahead_and_idle(outcome: Outcome, stage: Stage) -> None:
    """The producer a year ahead filled the dead letters; the idle lane's clock went on."""
    letters = stage.kafka.read(
        *(stage.dead_letters_of(r) for r in ("checkout", "payment", "order"))
    )
    future = sum(dict(r.headers)["hitrun.error.reason"] == b"future" for r in letters)
    outcome.demand(future == len(letters) and future > 20, f"{future} of {len(letters)} future")
    said = verdicts_of(stage)
    early = [checkout for checkout in said if checkout.startswith(("early", "far"))]
    outcome.demand(not early, f"verdicts although a dead letter names them: {early}")
    outcome.demand(len(said.get("idle", [])) == 1, "no verdict on the idle lane")
    for data in said.get("idle", []):
        waited = data["said"] - time_ms(data["verdict_at"])
        outcome.demand(waited < 3_000, f"the idle lane's verdict came after {waited} ms")
    outcome.faults += 2
    outcome.notes["future"] = future


SCENARIOS = [
    Scenario(
        7,
        "lags",
        "a topic lags, a partition idles, a producer is a year ahead, payments are silent or in a "
        "transaction left open",
        lags,
        broker={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"},
    )
]
