"""Generated customer histories: everything the topics may say, times clustered at the edges."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.support import builders
from tests.support.builders import START_MS, Event, Record, record
from tests.support.reading import DAY, HOUR, MINUTE, PAYMENT_RANK

EXAMPLES = int(os.environ.get("HITRUN_PROPERTY_EXAMPLES", "60"))
"""How many histories each property tries; 60 is a few seconds, 5000 a night's work."""

thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 60,  # the short form must not fail by chance; the long one searches
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
    phases=[phase for phase in Phase if phase is not Phase.explain],
)

patience = pytest.mark.timeout(0 if EXAMPLES > 60 else 600)
"""A failure takes a while to become small; cut short, it would be shown as something else."""

METHODS = ["card", "qris", "virtual_account", "counter", "other", "cod"]
PREPAID = METHODS[:-1]
WINDOWS = (4 * HOUR, 24 * HOUR)
NEAR = st.sampled_from([0, 0, 0, 1, -1, 1_000, MINUTE, -MINUTE, 15 * MINUTE, HOUR, -HOUR])
LATEST = START_MS + 24 * DAY
"""No event and no end of a history is later: nothing is forgotten before (30 d)."""

# Offsets from a checkout's base at which something turns: steps, pay_by, verdict_at, carts.
EDGES = [
    0,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    17 * HOUR,
    20 * HOUR,
    24 * HOUR,
    37 * HOUR,
    72 * HOUR,
    76 * HOUR,
    100 * HOUR,
    120 * HOUR,
    172 * HOUR,
    192 * HOUR,
]


@st.composite
def moments(draw: st.DrawFn, base: int) -> int:
    """A moment at or near an edge of a checkout with that base, sometimes anywhere."""
    if draw(st.integers(0, 9)) == 0:
        return base + draw(st.integers(0, 9 * DAY))
    return base + draw(st.sampled_from(EDGES)) + draw(NEAR)


def _events_of(
    draw: st.DrawFn, checkout: str, base: int, event_id: Callable[[], str]
) -> list[Event]:
    """Everything said of one checkout."""
    common: dict[str, Any] = {"checkout_id": checkout}
    amount = draw(st.sampled_from([100] * 9 + [0]))
    orders = draw(st.sampled_from([None, None, ["o1"], ["o1", "o2"], ["o1", "o2", "o3"]]))
    method = draw(st.sampled_from(METHODS))
    told: list[Event] = []

    def confirmed(at: int) -> Event:
        shares = draw(st.sampled_from([None, [40, 30, 30], [100, 0, 0]]))
        return builders.checkout(
            checkout,
            at=at,
            id=event_id(),
            method=method,
            amount=amount,
            cart_id=draw(st.sampled_from([None, "basket", "basket", "bag"])),
            pay_by=draw(
                st.sampled_from([None, None, None, at, at + HOUR + 15 * MINUTE, at + 3 * DAY])
            ),
            orders=None
            if orders is None
            else [
                {"order_id": o} | ({} if shares is None else {"amount_minor": shares[i]})
                for i, o in enumerate(orders)
            ],
            reminders_allowed=draw(st.sampled_from([None, None, None, False])),
            discount_minor=draw(st.sampled_from([None, 0, 10])),
        )

    if draw(st.integers(0, 19)):
        told.append(confirmed(base))
    if draw(st.integers(0, 9)) == 0:
        told.append(confirmed(base + draw(NEAR)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at = draw(moments(base))
        told.append(
            builders.changed(
                at=at,
                id=event_id(),
                method=draw(st.sampled_from(METHODS)),
                pay_by=draw(st.sampled_from([None, None, at, at + 2 * HOUR, at + 2 * DAY])),
                **common,
            )
        )
    # Most checkouts of interest are not paid: a lucky one may get any status, others only bad ones.
    statuses = PAYMENT_RANK if draw(st.integers(0, 2)) == 0 else UNLUCKY
    for number in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        told += _payment(draw, f"p{number}", base, event_id, common, statuses)
    goods = GOODS if method == "cod" or draw(st.integers(0, 4)) == 0 else ["placed", "cancelled"]
    for name in draw(st.lists(st.sampled_from(["o1", "o2", "o4"]), max_size=2, unique=True)):
        for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
            told.append(_order(draw, name, base, event_id, common, goods))
    if draw(st.integers(0, 7)) == 0:
        told.append(
            builders.cancelled(
                at=draw(moments(base)),
                id=event_id(),
                by=draw(st.sampled_from(["buyer", "seller", "system"])),
                reason=draw(st.sampled_from([None, "payment_timeout", "payment_timeout"])),
                **common,
            )
        )
    if draw(st.integers(0, 9)) == 0:
        told.append(builders.overturn(at=draw(moments(base)), id=event_id(), **common))
    if draw(st.integers(0, 29)) == 0:
        told.append(builders.misplaced(at=draw(moments(base)), **common))
    return told


UNLUCKY = ["pending", "failed", "failed", "failed", "expired", "expired", "cancelled"]
GOODS = ["placed", "refused", "refused", "refused", "cancelled", "shipped", "delivered", "returned"]


def _payment(
    draw: st.DrawFn,
    name: str,
    base: int,
    event_id: Callable[[], str],
    common: dict[str, Any],
    statuses: list[str],
) -> list[Event]:
    """The events of one payment, in a plausible order or any."""
    currency = draw(st.sampled_from(["IDR"] * 14 + ["USD"]))
    amount = draw(st.sampled_from([100, 100, 100, 50, 60]))
    method = draw(st.sampled_from([None, None, *PREPAID]))
    events = []
    for status in draw(st.lists(st.sampled_from(statuses), min_size=1, max_size=3)):
        at = draw(moments(base))
        data: dict[str, Any] = {}
        if status == "paid":
            data["paid_at"] = draw(st.sampled_from([at, at, max(at - HOUR, base)]))
        elif status == "refunded":
            data["paid_at"] = draw(st.sampled_from([None, None, at - HOUR]))
        if status == "failed":
            data["failure_side"] = draw(
                st.sampled_from([None, "buyer", "issuer", "provider", "fraud", "unknown"])
            )
        events.append(
            builders.payment(
                name,
                at=at,
                id=event_id(),
                status=status,
                currency=currency,
                amount=amount,
                payment_method=method,
                **data,
                **common,
            )
        )
    return events


def _order(
    draw: st.DrawFn,
    name: str,
    base: int,
    event_id: Callable[[], str],
    common: dict[str, Any],
    statuses: list[str],
) -> Event:
    status = draw(st.sampled_from(statuses))
    by: str | None = None
    if status in ("cancelled", "refused"):
        by = draw(st.sampled_from(["buyer", "buyer", "seller", "system", "courier"]))
    return builders.order(
        name,
        at=draw(moments(base)),
        id=event_id(),
        status=status,
        by=by,
        reason=draw(st.sampled_from([None, None, "payment_timeout"]))
        if status == "cancelled"
        else None,
        amount_minor=draw(st.sampled_from([None, None, 40, 60])),
        **common,
    )


@st.composite
def histories(draw: st.DrawFn, *, checkouts: int = 4) -> list[Event]:
    """The events about one customer's checkouts, in no order; a few are there twice."""
    ids = iter(draw(st.permutations(range(100))))

    def event_id() -> str:
        return f"e{next(ids):02}"

    told: list[Event] = []
    base = START_MS
    for number in range(draw(st.integers(1, checkouts))):
        if number:
            base += draw(
                st.sampled_from([0, 0, MINUTE, 3 * HOUR, 24 * HOUR, 24 * HOUR + 1, 30 * HOUR])
            )
        told += _events_of(draw, f"k{number}", base, event_id)
    for copy in draw(st.lists(st.integers(0, max(len(told) - 1, 0)), max_size=3)):
        if told:
            told.append(told[copy])
    return told


@st.composite
def ends(draw: st.DrawFn, events: list[Event]) -> int:
    """A last moment of a history: late, or at the edge of one of its checkouts."""
    bases = [START_MS] + [builders.ms(e["time"]) for e in events]
    if draw(st.booleans()):
        return LATEST
    return min(draw(moments(draw(st.sampled_from(bases)))), LATEST)


def records_of(events: list[Event], *, arrives: int | None = None) -> list[tuple[str, Record]]:
    """(role, record) of events in their order, all appended at one moment or at their times."""
    pairs = []
    for offset, event in enumerate(events):
        role = builders.ROLE_OF_TYPE[event["type"]]
        pairs.append((role, record(event, arrives=arrives, offset=offset)))
    return pairs
