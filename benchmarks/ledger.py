"""What the ledger costs per event on the path of a backlog: apply, judge once per flush, encode.

    python -m benchmarks.ledger [--customers N] [--profile]

Decoding JSON, Kafka and outputs' transport are not in it. Prints one line per case; not a test.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from domain.ledger import Ledger
from domain.policy import DEFAULT_POLICY
from schemas.events import (
    CheckoutConfirmed,
    ConfirmedData,
    InputEvent,
    Item,
    OrderData,
    OrderShare,
    OrderUpdated,
    PaymentData,
    PaymentUpdated,
)
from schemas.record import RawRecord

T0 = 1_800_000_000_000
HOUR = 3_600_000
FLUSH_EVENTS = 20_000
RECORD = RawRecord("marketplace.checkout.v1", 0, 0, T0, b"", b"", ())


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def backlog(customers: int, seed: int = 1) -> list[tuple[int, InputEvent]]:
    """One checkout a customer within 24 h: confirmed, pending, paid (85 %), its order placed."""
    rng = random.Random(seed)

    def new_id() -> str:
        return str(uuid.UUID(int=rng.getrandbits(128)))

    events: list[tuple[int, InputEvent]] = []
    for _ in range(customers):
        customer, checkout, order, payment = new_id(), new_id(), new_id(), new_id()
        at = T0 + rng.randrange(24 * HOUR)
        share = (OrderShare(order, new_id(), 150_000),)
        method = rng.choice(("card", "virtual_account", "e_wallet"))
        confirmed = ConfirmedData(
            customer, checkout, 150_000, "IDR", method, cart_id=new_id(), orders=share,
            time_zone="Asia/Jakarta", channel="app", arrived_by="search",
            items=(Item("shoes", quantity=1, amount_minor=150_000),), ships_to="own",
        )  # fmt: skip

        def add(cls: type, data: object, ms: int) -> None:
            event = cls(specversion="1.0", id=new_id(), source="shop", time=_time(ms), data=data)
            events.append((ms, event))

        add(CheckoutConfirmed, confirmed, at)
        add(OrderUpdated, OrderData(customer, checkout, order, "placed"), at + 50)
        pending = PaymentData(customer, checkout, payment, "pending", 150_000, "IDR")
        add(PaymentUpdated, pending, at + 1000)
        if rng.random() < 0.85:
            paid_at = at + rng.randrange(HOUR)
            paid = PaymentData(
                customer, checkout, payment, "paid", 150_000, "IDR", paid_at=_time(paid_at)
            )
            add(PaymentUpdated, paid, paid_at + 1000)
    events.sort(key=lambda pair: pair[0])
    return events


def _flushes(
    events: list[tuple[int, InputEvent]], size: int
) -> Iterator[list[tuple[int, InputEvent]]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


def drain(
    events: list[tuple[int, InputEvent]], *, known: bool, size: int = FLUSH_EVENTS
) -> tuple[Ledger, float]:
    """Runs all events through a ledger, `size` a flush; `known`: the frontier follows an hour
    behind."""
    ledger = Ledger(policy=DEFAULT_POLICY)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # as the worker does: records are trees, nothing to find
    started = time.process_time()
    for batch in _flushes(events, size):
        for _, event in batch:
            ledger.apply(event, RECORD)
        if known:
            now = batch[-1][0] - HOUR
            while ledger.fire(frontier_ms=now, clock_ms=now, limit=2000) == 2000:
                ledger.flush(clock_ms=now)
        ledger.flush(clock_ms=T0)
    return ledger, time.process_time() - started


def main() -> None:
    """Prints microseconds per event and bytes per record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=60_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    events = backlog(options.customers)
    profile = cProfile.Profile() if options.profile else None
    for known, flush in ((False, FLUSH_EVENTS), (True, FLUSH_EVENTS), (True, 500)):
        if profile is not None:
            profile.enable()
        ledger, seconds = drain(events, known=known, size=flush)
        if profile is not None:
            profile.disable()
        size = sum(len(key) + len(value) for key, value in ledger.records.items())
        print(
            f"frontier {'known' if known else 'unknown'}: {seconds / len(events) * 1e6:.2f}"
            f" us/event, {len(events)} events, {flush} a flush,"
            f" {size / ledger.count:.0f} bytes/customer"
        )
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
