"""A live load at a steady rate: what share of a core the worker takes, and how long after its
deadline a verdict is visible to a read_committed reader.

Deadline = `verdict_at` + upstream_delay: earlier nobody can know that no payment was told. The
producer and the reader are processes of their own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.arena import Arena, Spent, quantile
from benchmarks.backlog import checkout_events
from schemas.codec import to_ms
from schemas.partition import partition_of
from schemas.topics import Topics

POLICY = """
[payment_window]
virtual_account = "3s"
[verdict]
after_silence = "2s"
after_expiry = "1s"
processing = "1s"
[reminders]
quiet_hours = []
latest_before_pay_by = "1s"
[reminders.steps]
virtual_account = ["1s"]
"""
DELAY_MS = 1_000
WARM_S = 8.0
"""Until the first verdicts fall and all code is warm; not counted."""
TICK_S = 0.02
PAID_AFTER_S = 1.0
CUSTOMERS = 200_000
EVENTS_A_CHECKOUT = 3.8


def measure_live(bench: Arena, *, rate: int, seconds: float) -> dict[str, float]:
    """Loads a worker with `rate` events a second for `seconds` and a warm-up."""
    policy = bench.home / "live.toml"
    policy.write_text(POLICY)
    context = multiprocessing.get_context("spawn")
    told: Queue[dict[str, Any]] = context.Queue()
    until = context.Event()
    reader = context.Process(
        target=_read, args=(bench.bootstrap, bench.topics, bench.partitions, until, told)
    )
    with bench.worker(
        f"live-{rate}", policy_file=str(policy), upstream_delay_ms=str(DELAY_MS)
    ) as worker:
        worker.wait_ready()
        reader.start()
        producer = context.Process(
            target=_produce,
            args=(bench.bootstrap, bench.topics, bench.partitions, rate, WARM_S + seconds, told),
        )
        producer.start()
        time.sleep(WARM_S)
        before = worker.metrics()["hitrun_events_total"]
        spent = Spent(worker.pid)
        from_ms = time.time_ns() // 1_000_000
        time.sleep(seconds)
        cpu_s, wall_s = spent.cpu_s, spent.wall_s
        to_ms_ = time.time_ns() // 1_000_000
        applied = worker.metrics()["hitrun_events_total"] - before
        rss_mb = spent.rss_mb
        producer.join(30)
        time.sleep(7)  # the last verdicts
        until.set()
        found: dict[str, Any] = {}
        for _ in range(2):
            found |= told.get(timeout=30)
        reader.join(10)
        worker.stop(within_s=60)
    late = sorted(
        seen - at - DELAY_MS for at, seen in found["seen"] if from_ms <= at + DELAY_MS <= to_ms_
    )
    if len(found["seen"]) != found["unpaid"]:
        raise SystemExit(f"{len(found['seen'])} verdicts, {found['unpaid']} were expected")
    return {
        "wanted_per_s": rate,
        "events_per_s": round(applied / wall_s),
        "cpu_share": round(cpu_s / wall_s, 3),
        "us_per_event": round(cpu_s / applied * 1e6, 1),
        "p50_ms": round(quantile(late, 0.5)),
        "p99_ms": round(quantile(late, 0.99)),
        "p999_ms": round(quantile(late, 0.999)),
        "verdicts": len(late),
        "rss_mb": round(rss_mb),
    }


def _produce(
    bootstrap: str,
    topics: Topics,
    partitions: int,
    rate: int,
    seconds: float,
    told: Queue[dict[str, Any]],
) -> None:
    unpaid = asyncio.run(_load(bootstrap, topics, partitions, rate, seconds))
    told.put({"unpaid": unpaid})


async def _load(bootstrap: str, topics: Topics, partitions: int, rate: int, seconds: float) -> int:
    """Every tick: new checkouts, and the payments of those of a second ago."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1, linger_ms=0)
    await producer.start()
    names = [f"customer-{n:07d}" for n in range(CUSTOMERS)]
    keys = [(name, name.encode(), partition_of(name.encode(), partitions)) for name in names]
    later: list[list[tuple[str, bytes, int, bytes]]] = []
    begin = time.monotonic()
    number = unpaid = tick = 0
    try:
        while (passed := time.monotonic() - begin) < seconds:
            tick += 1
            target = int(min(passed, seconds) * rate / EVENTS_A_CHECKOUT)
            now: list[tuple[str, bytes, int, bytes]] = []
            paid_now: list[tuple[str, bytes, int, bytes]] = []
            while number < target:
                name, key, partition = keys[number % CUSTOMERS]
                paid = number % 10 != 0
                number += 1
                unpaid += not paid
                events = list(checkout_events(name, datetime.now(UTC), paid=paid, after_s=0.2))
                rows = [(getattr(topics, role), key, partition, value) for role, value in events]
                now += rows[:3]
                paid_now += rows[3:]
            later.append(paid_now)
            if len(later) > PAID_AFTER_S / TICK_S:
                now += later.pop(0)
            await _send(producer, now)
            await asyncio.sleep(max(0.0, begin + tick * TICK_S - time.monotonic()))
        for rows in later:
            await _send(producer, rows)
        await producer.flush()
        return unpaid
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, rows: list[tuple[str, bytes, int, bytes]]) -> None:
    builders: dict[tuple[str, int], Any] = {}
    for topic, key, partition, value in rows:
        place = (topic, partition)
        builder = builders.get(place)
        if builder is None:
            builder = builders[place] = producer.create_batch()
        if builder.append(key=key, value=value, timestamp=None) is None:
            await producer.send_batch(builder, topic, partition=partition)
            builder = builders[place] = producer.create_batch()
            builder.append(key=key, value=value, timestamp=None)
    for (topic, partition), builder in builders.items():
        await producer.send_batch(builder, topic, partition=partition)


def _read(
    bootstrap: str, topics: Topics, partitions: int, until: Event, told: Queue[dict[str, Any]]
) -> None:
    told.put({"seen": asyncio.run(_verdicts(bootstrap, topics, partitions, until))})


async def _verdicts(
    bootstrap: str, topics: Topics, partitions: int, until: Event
) -> list[tuple[int, int]]:
    """(verdict_at, seen) of every verdict, ms."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="latest",
        fetch_max_wait_ms=20,
    )
    await reader.start()
    tps = [TopicPartition(topics.verdict, p) for p in range(partitions)]
    reader.assign(tps)
    await reader.seek_to_end(*tps)
    seen: list[tuple[int, int]] = []
    try:
        while not until.is_set():
            found = await reader.getmany(timeout_ms=50)
            now_ms = time.time_ns() // 1_000_000
            for records in found.values():
                for record in records:
                    at = orjson.loads(record.value or b"")["data"]["verdict_at"]
                    seen.append((to_ms(datetime.fromisoformat(at)), now_ms))
        return seen
    finally:
        await reader.stop()
