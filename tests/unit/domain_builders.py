"""Builders for the domain's tests: events with defaults, and a shop that tells them to a ledger."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from msgspec.structs import replace

from domain.case import Case, read
from domain.customer import Checkout, Customer
from domain.flush import Flush, Stats
from domain.intake import Desk, tell
from domain.ledger import Ledger
from domain.policy import DEFAULT_POLICY, Policy
from domain.standing import Judgement, standings_of
from schemas.events import (
    CheckoutCancelled,
    CheckoutCancelledData,
    CheckoutConfirmed,
    ConfirmedData,
    EventMisplaced,
    InputEvent,
    MethodChanged,
    MethodChangedData,
    MisplacedData,
    OrderData,
    OrderUpdated,
    OverturnData,
    PaymentData,
    PaymentUpdated,
    VerdictOverturn,
)
from schemas.faults import RejectRecord
from schemas.record import RawRecord
from schemas.topics import Announced

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
T0 = 1_800_000_000_000
"""2027-01-15 08:00 UTC, 15:00 in Jakarta."""
VERDICT = T0 + 100 * HOUR
"""When a card checkout confirmed at T0 of which nothing else is told becomes a verdict."""
ALLOWED: dict[str, Any] = {"reminders_allowed": False}
"""Keeps a confirmed event's reminders out of what is said."""

AWAKE: Policy = replace(
    DEFAULT_POLICY, reminders=replace(DEFAULT_POLICY.reminders, quiet_hours=None)
)
"""The default policy without quiet hours."""

_ids = itertools.count(1)


def _attributes(at: int, event_id: str | None) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id or f"event-{next(_ids):06}",
        "source": "shop",
        "time": datetime.fromtimestamp(at / 1000, tz=UTC),
    }


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, tz=UTC)


def confirmed(
    checkout: str = "k1",
    *,
    at: int = T0,
    method: str = "card",
    amount: int = 1000,
    pay_by: int | None = None,
    customer: str = "c1",
    event_id: str | None = None,
    **data: Any,
) -> CheckoutConfirmed:
    told = {"currency": "IDR", **data}
    return CheckoutConfirmed(
        **_attributes(at, event_id),
        data=ConfirmedData(
            customer_id=customer,
            checkout_id=checkout,
            amount_minor=amount,
            payment_method=method,  # type: ignore[arg-type]
            pay_by=_time(pay_by),
            **told,
        ),
    )


def changed(
    method: str,
    *,
    at: int,
    pay_by: int | None = None,
    checkout: str = "k1",
    event_id: str | None = None,
) -> MethodChanged:
    data = MethodChangedData("c1", checkout, method, _time(pay_by))  # type: ignore[arg-type]
    return MethodChanged(**_attributes(at, event_id), data=data)


def cancelled(
    by: str = "seller",
    *,
    at: int,
    reason: str | None = None,
    checkout: str = "k1",
    event_id: str | None = None,
) -> CheckoutCancelled:
    data = CheckoutCancelledData("c1", checkout, by, reason)  # type: ignore[arg-type]
    return CheckoutCancelled(**_attributes(at, event_id), data=data)


def payment(
    status: str = "paid",
    *,
    at: int,
    paid_at: int | None = None,
    amount: int = 1000,
    payment_id: str = "p1",
    checkout: str = "k1",
    customer: str = "c1",
    event_id: str | None = None,
    **data: Any,
) -> PaymentUpdated:
    if status == "paid" and paid_at is None:
        paid_at = at
    told = {"currency": "IDR", **data}
    return PaymentUpdated(
        **_attributes(at, event_id),
        data=PaymentData(
            customer_id=customer,
            checkout_id=checkout,
            payment_id=payment_id,
            status=status,  # type: ignore[arg-type]
            amount_minor=amount,
            paid_at=_time(paid_at),
            **told,
        ),
    )


def order(
    status: str,
    *,
    at: int,
    order_id: str = "o1",
    checkout: str = "k1",
    event_id: str | None = None,
    **data: Any,
) -> OrderUpdated:
    told = OrderData(
        customer_id="c1",
        checkout_id=checkout,
        order_id=order_id,
        status=status,  # type: ignore[arg-type]
        **data,
    )
    return OrderUpdated(**_attributes(at, event_id), data=told)


def overturned(*, at: int, checkout: str = "k1") -> VerdictOverturn:
    data = OverturnData("c1", checkout, "ada", "spoke to the buyer")
    return VerdictOverturn(**_attributes(at, None), data=data)


def misplaced(*, at: int, checkout: str = "k1") -> EventMisplaced:
    return EventMisplaced(**_attributes(at, None), data=MisplacedData("c1", checkout))


def record(at: int = T0) -> RawRecord:
    return RawRecord("marketplace.checkout.v1", 0, 0, at, b"c1", b"{}", ())


def customer_of(*events: InputEvent, policy: Policy = DEFAULT_POLICY) -> Customer:
    """A record that was told these events and never judged."""
    customer = Customer()
    for event in events:
        tell(customer, event, Desk(policy, Stats(), 0, 0))
    return customer


def checkout_of(*events: InputEvent, checkout: str = "k1") -> Checkout:
    found = customer_of(*events).find(checkout)
    assert found is not None
    return found


def case_of(*events: InputEvent, checkout: str = "k1", policy: Policy = DEFAULT_POLICY) -> Case:
    found = checkout_of(*events, checkout=checkout)
    assert found.confirmed is not None
    return read(found, found.confirmed, policy=policy)


def judged(
    *events: InputEvent,
    now: int,
    checkout: str = "k1",
    held: Sequence[str] = (),
    policy: Policy = DEFAULT_POLICY,
) -> Judgement:
    """Where a checkout stands at `now`, its customer's other checkouts being its cart if they
    name the same one."""
    customer = customer_of(*events, policy=policy)
    for each in customer.checkouts:
        each.held = each.checkout_id in held
    cases = [
        read(c, c.confirmed, policy=policy) for c in customer.checkouts if c.confirmed is not None
    ]
    judgements = standings_of(cases, now_ms=now, policy=policy)
    return next(
        judgement
        for case, judgement in zip(cases, judgements, strict=True)
        if case.checkout.checkout_id == checkout
    )


def standing(*events: InputEvent, now: int, **options: Any) -> tuple[str, str]:
    """(standing, rule)"""
    judgement = judged(*events, now=now, **options)
    return judgement.standing.word, judgement.rule


class Shop:
    """A ledger with a frontier: tells it events and remembers what it says."""

    def __init__(self, *, policy: Policy = AWAKE, now: int = T0) -> None:
        self.ledger = Ledger(policy=policy)
        self.now = now
        self.changelog: dict[bytes, bytes | None] = {}
        self.last = Flush()
        self.announced: list[tuple[Announced, bytes, bytes | None, int]] = []
        """The records of the output topics, with their timestamps."""
        self.ledger.fire(frontier_ms=now, clock_ms=now)

    def tell(
        self, *events: InputEvent, now: int | None = None, clock: int | None = None
    ) -> list[dict[str, Any]]:
        """Applies the events, moves the frontier, flushes; returns what was said: the events'
        type (last word), time and data in one dict each."""
        self.now = max(self.now, self.now if now is None else now)
        for event in events:
            try:
                self.ledger.apply(event, record(self.now))
            except RejectRecord as fault:
                self.ledger.reject(record(self.now), fault)
        self.ledger.fire(frontier_ms=self.now, clock_ms=clock or self.now)
        clock = self.now if clock is None else clock
        self.last = self.ledger.flush(clock_ms=clock)
        self.changelog.update(self.last.changelog)
        self.announced += [
            (output.role, output.key, output.value, clock)
            for output in self.last.outputs
            if output.role != "command"
        ]
        return [_plain(output.value) for output in self.last.outputs]

    def at(self, now: int, *, clock: int | None = None) -> list[dict[str, Any]]:
        """Only time passes."""
        return self.tell(now=now, clock=clock)

    def restart(self, *, policy: Policy | None = None) -> None:
        """Another worker takes over from the changelog."""
        ledger = Ledger(policy=policy or self.ledger.policy)
        ledger.restore(self.changelog.items())
        ledger.restored(frontier_ms=self.now)
        self.ledger = ledger

    def standings(self) -> dict[str, str]:
        customer = self.ledger.customer("c1")
        if customer is None:
            return {}
        return {c.checkout_id: c.standing.word for c in customer.checkouts}


def _plain(value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"type": "tombstone"}
    event = orjson.loads(value)
    return {
        **event["data"],
        "type": event["type"].rpartition(".")[2],
        "id": event["id"],
        "time": event["time"],
    }


def said(outputs: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of one type: "detected", "withdrawn", "due", "changed", "tombstone"."""
    return [output for output in outputs if output["type"] == kind]


def caps(**values: int) -> Policy:
    """AWAKE with other caps."""
    return replace(AWAKE, caps=replace(AWAKE.caps, **values))


def detected_shop(*more: Any, **options: Any) -> Shop:
    """k1 was announced as unpaid."""
    shop = Shop()
    shop.tell(confirmed(**ALLOWED, **options), *more)
    assert len(said(shop.at(VERDICT), "detected")) == 1
    return shop
