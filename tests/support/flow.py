"""A live stream for tests of the running worker: a seeded mix at a few hundred events a second,
its times scaled to seconds, and the verification of what came of it.

with Stage(kafka, tmp_path, policy=POLICY, **SETTINGS) as stage:
    create_topics(stage)
    flow = Flow(stage, mix(seed=1, checkouts=500, seconds=8)).start()
    ...
    settle(stage, flow)
    assert verified(stage).ok
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from schemas.topics import Topics
from tests.support import builders
from tests.support.builders import ROLE_OF_TYPE, Event, Record
from tests.support.dumps import verify_records
from tests.support.reading import DAY, MINUTE, murmur2, policy_from
from tests.support.stage import INPUTS, OUTPUTS, Stage
from tests.support.verifier import Report
from tests.support.waiting import poll
from tests.support.worker import Process

POLICY = """
[payment_window]
card = "1500ms"
qris = "1500ms"
virtual_account = "2500ms"
[verdict]
after_expiry = "700ms"
after_silence = "1500ms"
processing = "1s"
superseded_within = "1s"
[reminders]
quiet_hours = []
latest_before_pay_by = "100ms"
per_customer_gap = "1s"
[reminders.steps]
card = ["500ms"]
virtual_account = ["800ms"]
"""
LONGEST_S = 4.0
"""From a card checkout to its verdict, and a little more."""
AFTER_MIX_S = 2.0
"""From the last record of a mix, which comes seconds after its last checkout, to the verdicts."""

SEED = int(os.environ.get("FLOW_SEED", "0"))
"""Added to every seed: another run of the same tests on other streams."""

DELAY_MS = 300
SETTINGS: dict[str, str | int] = {"upstream_delay_ms": DELAY_MS, "input_silence_ms": 0}
"""What a Stage needs besides POLICY."""

CLOCKS_MS = 5
"""How far times of the broker and of a worker on one machine may seem to differ."""


@dataclass(slots=True)
class Step:
    """One record of a plan: sent `at_ms` after its start; times of its event count from there."""

    at_ms: int
    role: str
    make: Any
    """start in ms -> Record, whose partition -1 means: by its key."""
    order: float = field(default=0.0)


def _step(event: Event, late_ms: int = 0, *, binary: bool = False, **fields: Any) -> Step:
    at = builders.ms(event["time"])
    shape = builders.binary if binary else builders.record

    def make(start: int) -> Record:
        return shape(_moved(event, start), **({"partition": -1} | fields))

    return Step(at + late_ms, ROLE_OF_TYPE[event["type"]], make)


def _moved(event: Event, by: int) -> Event:
    data = {
        name: builders.rfc3339(builders.ms(value) + by) if name in ("pay_by", "paid_at") else value
        for name, value in event["data"].items()
    }
    return event | {"time": builders.rfc3339(builders.ms(event["time"]) + by), "data": data}


def mix(*, seed: int, checkouts: int, seconds: float) -> list[Step]:
    """Checkouts of every fate over `seconds`, about 2.5 events each: some records twice, some late,
    out of order, or in binary mode. Nothing in it is a dead letter."""
    seed += SEED
    dice = random.Random(seed)
    steps: list[Step] = []
    for number in range(checkouts):
        at = int(seconds * 1000 * number / checkouts)
        customer = f"c{seed}-{dice.randrange(max(checkouts // 2, 1))}"
        for event in _fate(dice, f"k{seed}-{number}", customer, at):
            late = dice.choice([0, 0, 0, 20, 250, 600])
            binary = dice.random() < 0.2
            steps.append(_step(event, late, binary=binary))
            if dice.random() < 0.05:
                steps.append(_step(event, late + 150, binary=binary))
    return steps


def _fate(dice: random.Random, checkout: str, customer: str, at: int) -> list[Event]:
    method = dice.choice(["card", "card", "qris", "virtual_account", "cod"])
    same: dict[str, Any] = {"checkout_id": checkout, "customer": customer}
    cart = f"{customer}-cart" if dice.random() < 0.2 else None
    told = [
        builders.checkout(
            at=at, method=method, cart_id=cart, orders=[{"order_id": f"{checkout}-o"}], **same
        )
    ]
    fate = dice.random()
    order = {"order_id": f"{checkout}-o", **same}
    if method == "cod":
        status = dice.choice(["refused", "refused", "delivered", "shipped"])
        by = dice.choice(["buyer", "courier"]) if status == "refused" else None
        return [*told, builders.order(at=at + 900, status=status, by=by, **order)]
    if fate < 0.35:  # never paid
        if fate < 0.15:
            told.append(builders.payment(at=at + 300, status="failed", **same))
        if fate < 0.08:
            told.append(builders.payment("p2", at=at + 1600, status="expired", **same))
    elif fate < 0.65:  # paid in time, at the last moment too
        late = dice.choice([200, 900, 1400, 1499])
        told.append(builders.payment(at=at + 100, status="pending", **same))
        told.append(builders.payment(at=at + late, **same))
        told.append(builders.order(at=at + late + 400, status="shipped", **order))
    elif fate < 0.75:  # paid after the verdict
        told.append(builders.payment(at=at + 4400, **same))
    elif fate < 0.82:
        told.append(builders.cancelled(at=at + 700, by=dice.choice(["buyer", "seller"]), **same))
    elif fate < 0.90:
        told.append(builders.changed(at=at + 600, method="virtual_account", **same))
    elif fate < 0.95:
        told.append(builders.overturn(at=at + 4300, **same))
    else:
        told.append(
            builders.order(
                at=at + 1800, status="cancelled", by="system", reason="payment_timeout", **order
            )
        )
    return told


def poison(*, seed: int, at_ms: int, partitions: int) -> list[Step]:
    """One record of every row of the error table, some of which hold a checkout of their own that
    would be a verdict otherwise; and what is passed over without a dead letter."""
    name = f"bad{seed}"
    steps: list[Step] = []

    def add(role: str, value: bytes | None, key: bytes | None = b"x", **fields: Any) -> None:
        def make(start: int) -> Record:
            del start
            return Record(builders.TOPICS[role], value, key, **({"partition": -1} | fields))

        steps.append(Step(at_ms, role, make))

    for role in INPUTS:
        add(role, b"garbage \xff", headers=[("trace", b"\x00\x01")])
        add(role, b"")
        add(role, b'{"specversion":"0.3"}')
        add(role, b"[1,2]", key=None)
        add(role, None)  # a tombstone is passed over
        add(role, b'{"specversion":"1.0","id":"u","source":"s","type":"other.thing"}')
    for number, (fault, change, fields) in enumerate(
        [
            ("invalid", {"status": "perhaps"}, {}),
            ("invalid", {"amount_minor": 100.0}, {}),
            ("invalid", {"paid_at": None}, {}),
            ("key", {}, {"key": None}),
            ("key", {}, {"key": b"somebody-else"}),
            ("partition", {}, {}),
            ("future", {"ahead": 10 * MINUTE}, {}),
            ("old", {"ahead": -500 * DAY}, {}),
            ("limit", {"provider_status": "x" * (1024 * 1024)}, {}),
        ]
    ):
        who: dict[str, Any] = {"customer": f"{name}-{number}", "checkout_id": f"{name}-k{number}"}
        confirmed = builders.checkout(at=at_ms, **who)
        steps.append(_step(confirmed))
        if fault == "partition":
            own = murmur2(who["customer"].encode()) % partitions
            fields = {"partition": (own + 1) % partitions}
        paid = builders.payment(at=at_ms + 300, **who)
        ahead = change.get("ahead", 0)
        data = paid["data"] | {k: v for k, v in change.items() if k != "ahead"}
        if data["paid_at"] is None:
            del data["paid_at"]
        paid = paid | {"data": data}
        step = _step(paid, **fields)
        if ahead:
            step = _ahead(paid, ahead)
        steps.append(step)
    return steps


def _ahead(event: Event, by: int) -> Step:
    step = _step(event)
    make = step.make
    step.make = lambda start: make(start + by)
    return step


class Flow:
    """Sends a plan in real time from a thread of its own; `join` raises what went wrong there."""

    def __init__(self, stage: Stage, steps: Sequence[Step]) -> None:
        self.stage = stage
        for number, step in enumerate(steps):
            step.order = number
        self.steps = sorted(steps, key=lambda step: (step.at_ms, step.order))
        self.started_ms = 0
        self.sent = 0
        self._error: BaseException | None = None
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self, *, within_s: float = 60.0) -> None:
        """Waits until everything is sent and acknowledged."""
        self._thread.join(within_s)
        assert not self.running, f"only {self.sent} of {len(self.steps)} records were sent"
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Sends no more, and waits until what was sent is acknowledged."""
        self._over = True
        self.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:  # noqa: BLE001 - handed to the test by join
            self._error = error

    async def _send(self) -> None:
        producer = AIOKafkaProducer(
            **self.stage.kafka.client,
            enable_idempotence=True,
            max_request_size=4 * 1024 * 1024,
            linger_ms=5,
        )
        await producer.start()
        try:
            start = self.started_ms = int(time.time() * 1000)
            futures = []
            for step in self.steps:
                ahead = start + step.at_ms - int(time.time() * 1000)
                if ahead > 0:
                    await asyncio.sleep(ahead / 1000)
                if self._over:
                    break
                record = step.make(start)
                futures.append(
                    await producer.send(
                        self.stage.topic(step.role),
                        value=record.value,
                        key=record.key,
                        partition=None if record.partition < 0 else record.partition,
                        headers=list(record.headers),
                    )
                )
                self.sent += 1
            await asyncio.gather(*futures)
        finally:
            await producer.stop()


def create_topics(stage: Stage, partitions: int = 4) -> None:
    """All topics as `topics.py` wants them, with room for a record that is too large for us."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    for spec in Topics(group=stage.group, **names).specs():
        config = dict(spec.config)
        if spec.role in INPUTS:
            config["max.message.bytes"] = str(4 * 1024 * 1024)
        stage.kafka.create({spec.name: partitions}, **config)


def settle(stage: Stage, flow: Flow | None, *, partitions: int = 4, within_s: float = 60.0) -> int:
    """Waits until all is sent, due and judged; returns what every frontier has reached, ms."""
    if flow is not None:
        flow.join()
    target = int((time.time() + (LONGEST_S if flow is None else AFTER_MIX_S)) * 1000)

    def reached() -> int:
        lanes, lowest = 0.0, 10**15
        for process in alive(stage):
            before = int(time.time() * 1000)
            found = process.metrics()
            lanes += found.get("hitrun_lanes", 0)
            if found.get("hitrun_frontier_unknown_lanes", 0):
                return 0
            if found.get("hitrun_lanes"):
                lag = found.get("hitrun_frontier_lag_seconds", 1e9)
                lowest = min(lowest, before - int(lag * 1000) - 1)
        return lowest if lanes == partitions and target <= lowest < 10**15 else 0

    now = poll(
        reached,
        within_s=within_s,
        every_s=0.3,
        what=lambda: "\n".join(p.told("the frontier stands") for p in stage.processes),
    )
    time.sleep(1.5)  # what the frontier brought about is committed after it moved
    return now


def alive(stage: Stage) -> list[Process]:
    return [p for p in stage.processes if p.alive and p.events("web.listening")]


def verified(stage: Stage, now: int, *, partitions: int = 4, **options: Any) -> Report:
    """The independent verification of all topics of a stage, read committed."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    letters = [stage.dead_letters_of(role) for role in INPUTS]
    records = stage.kafka.read(*names.values(), *letters)
    policy = (stage.home / "policy.toml").read_text()
    return verify_records(
        records,
        names=names,
        policy=policy_from(policy),
        now=now,
        now_upper=int(time.time() * 1000),
        upstream_delay=int(stage.env["HITRUN_UPSTREAM_DELAY_MS"]),
        partitions=partitions,
        slack=CLOCKS_MS,
        **options,
    )
