"""Events and records with defaults, times in readable form.

`checkout("k1", at="+0")` is a CloudEvents dict; `record(event, arrives="+1h")` the Kafka record of
it. Relative times count from `START`: "+2h", "-30s", "+4h+1ms", "+1d-1ms"; an integer is ms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support.reading import duration, time_ms

START = "2026-03-02T03:00:00Z"
"""A Monday, 10:00 in Jakarta: the default reminders fall outside the quiet hours."""
START_MS = time_ms(START)

TOPICS = {
    "checkout": "marketplace.checkout.v1",
    "payment": "marketplace.payment.v1",
    "order": "marketplace.order.v1",
    "command": "hitrun.command.v1",
}
ROLE_OF_TYPE = {
    "marketplace.checkout.confirmed": "checkout",
    "marketplace.checkout.method_changed": "checkout",
    "marketplace.checkout.cancelled": "checkout",
    "marketplace.payment.updated": "payment",
    "marketplace.order.updated": "order",
    "hitrun.verdict.overturn": "command",
    "hitrun.event.misplaced": "command",
}

Event = dict[str, Any]
Time = str | int


def ms(time: Time, start: int = START_MS) -> int:
    """'+1h30m'-like times relative to `start`, RFC 3339 or ms since 1970 -> ms since 1970."""
    if isinstance(time, int):
        return time
    if time == "+0":
        return start
    if not time.startswith(("+", "-")):
        return time_ms(time)
    total, sign = start, 1
    for mark, amount in re.findall(r"([+-]?)(\d+(?:ms|s|m|h|d))", time):
        sign = {"+": 1, "-": -1, "": sign}[mark]
        total += sign * duration(amount)
    return total


def rfc3339(time_ms_: int) -> str:
    """ms since 1970 -> '2026-01-01T00:00:00.000Z'."""
    whole = datetime.fromtimestamp(time_ms_ // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{time_ms_ % 1000:03d}Z"


@dataclass(slots=True)
class Record:
    """A Kafka record as a plain value."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    timestamp: int = START_MS
    partition: int = 0
    offset: int = 0
    headers: Sequence[tuple[str, bytes]] = field(default_factory=list)


def event(
    type: str, data: dict[str, Any], *, at: Time, id: str, start: int = START_MS, **attributes: Any
) -> Event:
    """A CloudEvents 1.0 object; attributes of None are left out, as data of None are."""
    whole = {
        "specversion": "1.0",
        "id": id,
        "source": "shop",
        "type": type,
        "time": rfc3339(ms(at, start)),
        "subject": data.get("checkout_id"),
        "data": {
            name: rfc3339(ms(value, start)) if name in ("pay_by", "paid_at") else value
            for name, value in data.items()
            if value is not None
        },
    } | attributes
    return {name: value for name, value in whole.items() if value is not None}


def checkout(
    checkout_id: str = "k1",
    *,
    at: Time = "+0",
    customer: str = "c1",
    method: str = "card",
    amount: int = 10_000,
    id: str | None = None,
    start: int = START_MS,
    **data: Any,
) -> Event:
    """marketplace.checkout.confirmed; by card, of 100.00, without cart and orders."""
    values = {
        "customer_id": customer,
        "checkout_id": checkout_id,
        "amount_minor": amount,
        "currency": "IDR",
        "payment_method": method,
    } | data
    id = id or f"{customer}/{checkout_id}/confirmed/{at}"
    return event("marketplace.checkout.confirmed", values, at=at, id=id, start=start)


def changed(
    checkout_id: str = "k1",
    *,
    at: Time,
    method: str = "virtual_account",
    customer: str = "c1",
    id: str | None = None,
    start: int = START_MS,
    **data: Any,
) -> Event:
    """marketplace.checkout.method_changed."""
    values = {"customer_id": customer, "checkout_id": checkout_id, "payment_method": method} | data
    id = id or f"{customer}/{checkout_id}/changed/{method}/{at}"
    return event("marketplace.checkout.method_changed", values, at=at, id=id, start=start)


def cancelled(
    checkout_id: str = "k1",
    *,
    at: Time,
    by: str = "buyer",
    customer: str = "c1",
    id: str | None = None,
    start: int = START_MS,
    **data: Any,
) -> Event:
    """marketplace.checkout.cancelled; by the buyer, without a reason."""
    values = {"customer_id": customer, "checkout_id": checkout_id, "by": by} | data
    id = id or f"{customer}/{checkout_id}/cancelled/{by}/{at}"
    return event("marketplace.checkout.cancelled", values, at=at, id=id, start=start)


def payment(
    payment_id: str = "p1",
    checkout_id: str = "k1",
    *,
    at: Time,
    status: str = "paid",
    customer: str = "c1",
    amount: int = 10_000,
    id: str | None = None,
    start: int = START_MS,
    **data: Any,
) -> Event:
    """marketplace.payment.updated; paid in full, `paid_at` its time unless said."""
    values: dict[str, Any] = {
        "customer_id": customer,
        "checkout_id": checkout_id,
        "payment_id": payment_id,
        "status": status,
        "amount_minor": amount,
        "currency": "IDR",
    }
    if status == "paid":
        values["paid_at"] = at
    id = id or f"{customer}/{checkout_id}/{payment_id}/{status}/{at}"
    return event("marketplace.payment.updated", values | data, at=at, id=id, start=start)


def order(
    order_id: str = "o1",
    checkout_id: str = "k1",
    *,
    at: Time,
    status: str = "placed",
    customer: str = "c1",
    id: str | None = None,
    start: int = START_MS,
    **data: Any,
) -> Event:
    """marketplace.order.updated."""
    values: dict[str, Any] = {
        "customer_id": customer,
        "checkout_id": checkout_id,
        "order_id": order_id,
        "status": status,
    } | data
    id = id or f"{customer}/{checkout_id}/{order_id}/{status}/{at}"
    return event("marketplace.order.updated", values, at=at, id=id, start=start)


def overturn(
    checkout_id: str = "k1",
    *,
    at: Time,
    customer: str = "c1",
    decided_by: str = "reviewer-7",
    reason: str = "bank statement shown",
    id: str | None = None,
    start: int = START_MS,
) -> Event:
    """hitrun.verdict.overturn."""
    values = {
        "customer_id": customer,
        "checkout_id": checkout_id,
        "decided_by": decided_by,
        "reason": reason,
    }
    id = id or f"{customer}/{checkout_id}/overturn/{at}"
    return event("hitrun.verdict.overturn", values, at=at, id=id, start=start)


def misplaced(
    checkout_id: str = "k1", *, at: Time, customer: str = "c1", start: int = START_MS
) -> Event:
    """hitrun.event.misplaced, as a worker writes it."""
    return event(
        "hitrun.event.misplaced",
        {"customer_id": customer, "checkout_id": checkout_id},
        at=at,
        id=f"{customer}/{checkout_id}/misplaced/{at}",
        start=start,
        source="hitrun",
    )


def encode(event: Event) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def record(
    event: Event,
    *,
    arrives: Time | None = None,
    role: str | None = None,
    start: int = START_MS,
    **fields: Any,
) -> Record:
    """The record of an event: appended at its time unless `arrives` says otherwise."""
    role = role or ROLE_OF_TYPE[event["type"]]
    given: dict[str, Any] = {
        "topic": TOPICS[role],
        "value": encode(event),
        "timestamp": time_ms(event["time"]) if arrives is None else ms(arrives, start),
    }
    if "key" not in fields:
        given["key"] = str(event["data"]["customer_id"]).encode()
    return Record(**(given | fields))


def binary(event: Event, *, arrives: Time | None = None, **fields: Any) -> Record:
    """The same event in CloudEvents binary mode: attributes in `ce_` headers."""
    whole = record(event, arrives=arrives, **fields)
    whole.headers = [
        (f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data"
    ] + [("content-type", b"application/json")]
    whole.value = encode(event["data"])
    return whole
