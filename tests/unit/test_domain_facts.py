"""Facts merge to the same result in any order and however often they are told."""

from __future__ import annotations

import itertools

import pytest

from domain.customer import Customer
from domain.facts import FAILED, PAID, REFUNDED, reversed_at_ms
from domain.flush import Stats
from domain.intake import Desk, tell
from domain.policy import DEFAULT_POLICY
from schemas.codec import to_ms
from schemas.events import InputEvent, OrderShare
from schemas.faults import RejectRecord
from tests.unit.domain_builders import (
    DAY,
    HOUR,
    T0,
    cancelled,
    changed,
    checkout_of,
    confirmed,
    customer_of,
    order,
    overturned,
    payment,
)


@pytest.mark.parametrize(
    "events",
    [
        [
            payment("pending", at=T0),
            payment("paid", at=T0 + 9, paid_at=T0 + 5),
            payment("failed", at=T0 + 9),
            payment("refunded", at=T0 + 20, amount=1200),
        ],
        [
            payment("failed", at=T0 + 1),
            payment("paid", at=T0 + 2),
            payment("failed", at=T0 + 3),
            payment("cancelled", at=T0 + 4),
        ],
        [
            order("placed", at=T0, amount_minor=300),
            order("shipped", at=T0 + 2),
            order("refused", at=T0 + 3, by="buyer"),
            order("returned", at=T0 + 3, amount_minor=400),
        ],
        [
            order("refused", at=T0 + 3, by="buyer", event_id="b"),
            order("refused", at=T0 + 3, by="buyer", event_id="a"),
            order("refused", at=T0 + 2, by="courier"),
            order("delivered", at=T0 + 1),
        ],
        [
            confirmed(at=T0 + 1, amount=5),
            confirmed(at=T0, event_id="b", amount=6),
            confirmed(at=T0, event_id="a", amount=7),
        ],
        [confirmed(event_id="a", amount=6), confirmed(event_id="a", amount=7)],
        [
            changed("virtual_account", at=T0 + 5, event_id="x"),
            changed("card", at=T0 + 5, event_id="y"),
            changed("qris", at=T0 + 4),
        ],
        [
            cancelled("seller", at=T0 + 5),
            cancelled("buyer", at=T0 + 6),
            overturned(at=T0 + 8),
            overturned(at=T0 + 7),
        ],
    ],
)
def test_any_order_and_any_repetition_give_the_same_facts(events: list[InputEvent]) -> None:
    expected = checkout_of(*events)
    for order_of_arrival in itertools.permutations(events):
        assert checkout_of(*order_of_arrival, *order_of_arrival) == expected


def test_a_repeat_changes_nothing_and_says_so() -> None:
    events: list[InputEvent] = [
        confirmed(),
        payment("paid", at=T0),
        order("placed", at=T0, amount_minor=1),
        changed("qris", at=T0 + 1),
        cancelled(at=T0 + 2),
        overturned(at=T0 + 3),
    ]
    customer, desk = customer_of(*events), Desk(DEFAULT_POLICY, Stats(), 0, 0)
    assert [tell(customer, event, desk) for event in events] == [None] * len(events)


def test_the_newest_event_of_a_payment_wins_and_ties_go_by_rank() -> None:
    (paid,) = checkout_of(payment("failed", at=T0), payment("paid", at=T0)).payments
    assert paid.rank == FAILED
    (paid,) = checkout_of(payment("failed", at=T0), payment("paid", at=T0 + 1)).payments
    assert paid.rank == PAID


def test_a_refund_told_before_its_payment_still_learns_paid_at() -> None:
    late = payment("paid", at=T0 + HOUR, paid_at=T0 + 7, amount=900)
    (paid,) = checkout_of(payment("refunded", at=T0 + 2 * HOUR, amount=1000), late).payments
    assert (paid.rank, paid.paid_at_ms, paid.settled_minor) == (REFUNDED, T0 + 7, 1000)


@pytest.mark.parametrize(
    ("failed", "reversed_at"), [(T0 + 9, None), (T0 + 10, T0 + 10), (T0 + 11, T0 + 11)]
)
def test_a_payment_is_reversed_by_a_failure_at_or_after_its_newest_paid_event(
    failed: int, reversed_at: int | None
) -> None:
    (paid,) = checkout_of(payment("paid", at=T0 + 10), payment("failed", at=failed)).payments
    assert reversed_at_ms(paid) == reversed_at


def test_the_first_failure_after_the_newest_paid_event_counts() -> None:
    events = [payment("paid", at=T0 + 2)]
    events += [payment("failed", at=T0 + at) for at in (1, 3, 4)]
    for arrival in itertools.permutations(events):
        (paid,) = checkout_of(*arrival).payments
        assert reversed_at_ms(paid) == T0 + 3


def test_an_order_keeps_the_share_of_its_newest_event_that_says_one() -> None:
    events = [order("placed", at=T0, amount_minor=1), order("shipped", at=T0 + 1, amount_minor=2)]
    events.append(order("delivered", at=T0 + 2))
    for arrival in itertools.permutations(events):
        (told,) = checkout_of(*arrival).orders
        assert told.share_minor == 2


def test_other_content_of_a_known_checkout_is_counted_a_repeat_is_not() -> None:
    customer, desk = Customer(), Desk(DEFAULT_POLICY, Stats(), 0, 0)
    first = confirmed()
    for event in (first, first, confirmed(at=T0 + 1), confirmed(at=T0 + 1, amount=2)):
        tell(customer, event, desk)
    assert desk.stats.conflicts == 1


@pytest.mark.parametrize(
    ("pay_by", "valid"),
    [
        (T0 - 1, False),
        (T0, True),
        (T0 + 90 * DAY, True),
        (T0 + 90 * DAY + 1, False),
    ],
)
def test_pay_by_lies_within_ninety_days_of_its_event(pay_by: int, *, valid: bool) -> None:
    for event in (confirmed(pay_by=pay_by), changed("qris", at=T0, pay_by=pay_by)):
        if valid:
            customer_of(event)
        else:
            with pytest.raises(RejectRecord) as fault:
                customer_of(event)
            assert fault.value.reason == "invalid"
            assert (fault.value.customer_id, fault.value.checkout_id) == ("c1", "k1")


def _many(what: str, count: int) -> list[InputEvent]:
    if what == "payments":
        return [payment("pending", at=T0, payment_id=f"p{i}") for i in range(count)]
    if what == "orders":
        return [order("placed", at=T0, order_id=f"o{i}") for i in range(count)]
    if what == "method_changes":
        return [changed("qris", at=T0 + i) for i in range(count)]
    return [payment("pending", at=T0, checkout=f"k{i}") for i in range(count)]


@pytest.mark.parametrize("what", ["payments", "orders", "method_changes", "orphans"])
def test_beyond_a_cap_a_fact_is_refused_and_nothing_of_it_stays(what: str) -> None:
    cap: int = getattr(DEFAULT_POLICY.caps, what)
    events = _many(what, cap + 1)
    full = customer_of(*events[:-1])
    same = customer_of(*events[:-1])
    with pytest.raises(RejectRecord) as fault:
        tell(full, events[-1], Desk(DEFAULT_POLICY, Stats(), 0, 0))
    assert fault.value.reason == "limit"
    assert full == same
    assert tell(full, events[0], Desk(DEFAULT_POLICY, Stats(), 0, 0)) is None  # known: a repeat


def test_listed_and_told_orders_share_one_cap() -> None:
    listed = confirmed(orders=_listed(DEFAULT_POLICY.caps.orders))
    customer_of(listed, order("placed", at=T0, order_id="listed0"))
    with pytest.raises(RejectRecord):
        customer_of(listed, order("placed", at=T0, order_id="another"))
    with pytest.raises(RejectRecord):
        customer_of(confirmed(orders=_listed(DEFAULT_POLICY.caps.orders + 1)))


def _listed(count: int) -> tuple[OrderShare, ...]:
    return tuple(OrderShare(f"listed{i}") for i in range(count))


def test_times_are_cut_to_milliseconds() -> None:
    event = confirmed()
    assert to_ms(event.time.replace(microsecond=999)) == T0
    assert to_ms(event.time.replace(microsecond=1000)) == T0 + 1
