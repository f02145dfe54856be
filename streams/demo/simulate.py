"""`hitrun simulate`: a marketplace's traffic, with the truth beside it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
from aiokafka import AIOKafkaProducer

from streams.demo.market import Plan, encode, plan
from streams.settings import Settings, kafka_client_options


def simulate(
    settings: Settings,
    *,
    out: Path | None,
    rate: float,
    customers: int,
    seconds: int,
    seed: int | None,
) -> int:
    """To Kafka in real time, or to `records.ndjson` (for `hitrun replay`) and `truth.ndjson` in
    `out`. Windows are those of the demo's policy."""
    chosen = random.SystemRandom().randrange(1, 100_000) if seed is None else seed
    played = plan(seed=chosen, open_ms=seconds * 1000, per_second=rate, customers=customers)
    if out is None:
        asyncio.run(_send(settings, played))
    else:
        out.mkdir(parents=True, exist_ok=True)
        (out / "records.ndjson").write_bytes(b"\n".join(_records(settings, played)) + b"\n")
        truths = (
            {"checkout_id": t.checkout_id, "case": t.case, "detected": t.detected, "cause": t.cause}
            for t in played.truths
        )
        (out / "truth.ndjson").write_bytes(b"".join(orjson.dumps(t) + b"\n" for t in truths))
    return 0


def _records(settings: Settings, played: Plan) -> Iterator[bytes]:
    opened_at = datetime.now(UTC).replace(microsecond=0)
    opened_ms = int(opened_at.timestamp()) * 1000
    for number, act in enumerate(played.acts):
        yield orjson.dumps(
            {
                "topic": settings.topics.name(act.stream),
                "key": act.customer_id,
                "timestamp": opened_ms + act.at_ms,
                "value": encode(act, number, opened_at).decode(errors="replace"),
            }
        )


async def _send(settings: Settings, played: Plan) -> None:
    producer = AIOKafkaProducer(
        **kafka_client_options(settings), enable_idempotence=True, linger_ms=5
    )
    await producer.start()
    try:
        begin, opened_at = time.monotonic(), datetime.now(UTC)
        for number, act in enumerate(played.acts):
            await asyncio.sleep(max(0.0, act.at_ms / 1000 - (time.monotonic() - begin)))
            await producer.send(
                settings.topics.name(act.stream),
                value=encode(act, number, opened_at),
                key=act.customer_id.encode(),
            )
        await producer.flush()
    finally:
        await producer.stop()
