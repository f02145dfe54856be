"""A prepared backlog of contract events, about 450 bytes each, with a known number of verdicts."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
from aiokafka import AIOKafkaProducer

from schemas.partition import partition_of
from schemas.topics import Topics

UNPAID_EVERY = 10
"""Every tenth checkout is never paid."""


def rfc(at: datetime) -> str:
    """RFC 3339 with ms."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(kind: str, at: datetime, data: dict[str, object]) -> bytes:
    """A structured CloudEvent."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": "bench/marketplace",
            "type": kind,
            "time": rfc(at),
            "subject": data["checkout_id"],
            "data": data,
        }
    )


def checkout_events(
    customer_id: str,
    at: datetime,
    *,
    paid: bool,
    window: str = "virtual_account",
    after_s: float = 3600,
) -> Iterator[tuple[str, bytes]]:
    """One checkout's life: confirmed, placed, and (unless it is never paid) pending, paid."""
    checkout_id = str(uuid.uuid4())
    ids: dict[str, object] = {"customer_id": customer_id, "checkout_id": checkout_id}
    order_id = str(uuid.uuid4())
    yield (
        "checkout",
        event(
            "marketplace.checkout.confirmed",
            at,
            ids
            | {
                "amount_minor": 15_000_000,
                "currency": "IDR",
                "payment_method": window,
                "orders": [{"order_id": order_id, "seller_id": "s-1", "amount_minor": 15_000_000}],
                "time_zone": "Asia/Jakarta",
                "channel": "app",
            },
        ),
    )
    yield (
        "order",
        event("marketplace.order.updated", at, ids | {"order_id": order_id, "status": "placed"}),
    )
    if not paid:
        return
    payment: dict[str, object] = ids | {
        "payment_id": str(uuid.uuid4()),
        "amount_minor": 15_000_000,
        "currency": "IDR",
        "payment_method": window,
    }
    yield "payment", event("marketplace.payment.updated", at, payment | {"status": "pending"})
    later = at + timedelta(seconds=after_s)
    yield (
        "payment",
        event(
            "marketplace.payment.updated",
            later,
            payment | {"status": "paid", "paid_at": rfc(later)},
        ),
    )


async def fill(
    bootstrap: str, topics: Topics, *, events: int, customers: int, partitions: int, seed: int = 1
) -> tuple[int, int]:
    """Writes at least `events` events, dated 7 to 8 days ago; returns (events, verdicts)."""
    chance = random.Random(seed)
    names = [f"customer-{i:07d}-{chance.getrandbits(64):016x}" for i in range(customers)]
    begin = datetime.now(UTC) - timedelta(days=8)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=900_000, acks="all")
    await producer.start()
    try:
        written = verdicts = number = 0
        builders: dict[tuple[str, int], object] = {}
        futures = []
        while written < events:
            customer_id = names[number % customers]
            at = begin + timedelta(seconds=86_400 * written / events)
            paid = number % UNPAID_EVERY != 0
            number += 1
            verdicts += not paid
            key = customer_id.encode()
            partition = partition_of(key, partitions)
            for role, value in checkout_events(customer_id, at, paid=paid):
                written += 1
                place = (getattr(topics, role), partition)
                builder = builders.get(place) or builders.setdefault(place, producer.create_batch())
                if builder.append(key=key, value=value, timestamp=None) is None:
                    futures.append(
                        await producer.send_batch(builder, place[0], partition=partition)
                    )
                    builder = builders[place] = producer.create_batch()
                    builder.append(key=key, value=value, timestamp=None)
        for (topic, partition), builder in builders.items():
            futures.append(await producer.send_batch(builder, topic, partition=partition))
        await asyncio.gather(*futures)
        return written, verdicts
    finally:
        await producer.stop()
