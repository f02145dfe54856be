"""One event into its customer's record: caps first, then the merge. Nothing is judged here.

A telling is all or nothing: what raises has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from msgspec import Struct

from domain.case import read
from domain.customer import Announced, Checkout, Customer, Reminded, Said, Standing
from domain.facts import (
    Confirmed,
    Order,
    cancellation_of,
    change_of,
    is_conflict,
    new_order,
    new_payment,
    older_confirmed,
    overturn_of,
    tell_change,
    tell_confirmed,
    tell_order,
    tell_payment,
)
from domain.flush import Stats
from domain.policy import Policy
from domain.reminders import note_sent
from domain.standing import standing_of
from schemas.codec import to_ms
from schemas.events import (
    CheckoutCancelled,
    CheckoutConfirmed,
    EventMisplaced,
    InputEvent,
    MethodChanged,
    OrderUpdated,
    PaymentUpdated,
    VerdictOverturn,
)
from schemas.faults import RejectRecord


class Hold(Struct, frozen=True):
    """An event of this checkout went to the dead letters; `at_ms` is its append time."""

    checkout_id: str
    at_ms: int


class SeededVerdict(Struct, frozen=True):
    """What the verdict topic last said of a checkout (rebuild)."""

    checkout_id: str
    at_ms: int
    said: Said
    confirmed: Confirmed | None = None
    """As far as a detected verdict tells it; None for a withdrawn one."""
    refused: Order | None = None
    """The refused order of a cash on delivery verdict."""


class SeededAdvice(Struct, frozen=True):
    """What the customer topic last said (rebuild); None: a tombstone."""

    announced: Announced | None


class SeededReminder(Struct, frozen=True):
    """A reminder that was sent (rebuild)."""

    checkout_id: str
    id: str
    number: int
    """Of its checkout, from 1."""
    at_ms: int
    """The moment of its step, after quiet hours."""
    sent_ms: int
    """When it was sent, by the clock."""


Fact = InputEvent | Hold | SeededVerdict | SeededAdvice | SeededReminder


class Desk(Struct, frozen=True):
    """What tellings need besides the record."""

    policy: Policy
    stats: Stats
    now_ms: int
    known_ms: int
    """What was forgotten by now is not taken in again: `now`; 0 while history is read again."""


class Told(Struct, frozen=True, gc=False):
    """A record changed."""

    checkout_id: str | None
    """Which checkout is to be judged."""
    news_ms: int | None
    """Time of the event whose facts changed it; None when no dated fact did."""
    everything: bool = False
    """It may have left another cart: all checkouts are to be judged."""


def tell(customer: Customer, fact: Fact, desk: Desk) -> Told | None:
    """Merges one fact; None when it changed nothing. Raises RejectRecord ("limit", "invalid")."""
    return _TELL[type(fact)](customer, fact, desk)


def _confirmed(customer: Customer, event: CheckoutConfirmed, desk: Desk) -> Told | None:
    at_ms, data = to_ms(event.time), event.data
    new = tell_confirmed(event, at_ms)
    if new.pay_by_ms is not None:
        _check_pay_by(event, new.pay_by_ms, at_ms, desk.policy)
    if len(new.orders) > desk.policy.caps.orders:
        raise _limit(event, f"more than {desk.policy.caps.orders} orders")
    checkout = customer.find(data.checkout_id)
    if checkout is None or checkout.confirmed is None:
        if _is_past(customer, checkout, at_ms, desk):
            desk.stats.skipped["too_late"] += 1
            return None
        if len(customer.checkouts) >= desk.policy.caps.open_checkouts:
            _check_open(customer, event, desk)
        if checkout is None:
            checkout = Checkout(data.checkout_id)
            customer.checkouts.append(checkout)
        winner = new
    elif checkout.from_verdict:
        winner = new
    else:
        if is_conflict(checkout.confirmed, new):
            desk.stats.conflicts += 1
        winner = older_confirmed(checkout.confirmed, new)
    replaced = checkout.confirmed is not None and winner != checkout.confirmed
    changed = checkout.confirmed is None or replaced or checkout.from_verdict
    checkout.confirmed, checkout.from_verdict = winner, False
    told = _told(checkout, at_ms, changed=changed)
    return Told(checkout.checkout_id, at_ms, everything=True) if replaced else told


def _is_past(customer: Customer, checkout: Checkout | None, at_ms: int, desk: Desk) -> bool:
    """First told when it would be forgotten as settled, or folded, already: what it was settled
    by may be forgotten too, so nobody could judge it."""
    newest_ms = at_ms if checkout is None else max(at_ms, checkout.newest_ms)
    if at_ms <= customer.folded_until_ms:
        return True
    return newest_ms + desk.policy.retention.settled_ms <= desk.known_ms


def _check_open(customer: Customer, event: CheckoutConfirmed, desk: Desk) -> None:
    """Counts the open checkouts, judging those whose facts came since they were last judged."""
    unsettled = [
        (c, c.confirmed)
        for c in customer.checkouts
        if c.confirmed is not None and c.standing in (Standing.NEW, Standing.OPEN)
    ]
    if len(unsettled) < desk.policy.caps.open_checkouts:
        return
    still_open = 0
    for checkout, confirmed in unsettled:
        case = read(checkout, confirmed, policy=desk.policy)
        judgement = standing_of(case, now_ms=desk.now_ms, policy=desk.policy)
        still_open += judgement.standing is Standing.OPEN
    if still_open >= desk.policy.caps.open_checkouts:
        raise _limit(event, f"more than {desk.policy.caps.open_checkouts} open checkouts")


def _method_changed(customer: Customer, event: MethodChanged, desk: Desk) -> Told | None:
    at_ms = to_ms(event.time)
    change = change_of(event, at_ms)
    if change.pay_by_ms is not None:
        _check_pay_by(event, change.pay_by_ms, at_ms, desk.policy)
    checkout, is_new = _checkout_of(customer, event, desk)
    changes = list(checkout.changes)
    changed = tell_change(changes, change)
    if len(changes) > desk.policy.caps.method_changes:
        raise _limit(event, f"more than {desk.policy.caps.method_changes} method changes")
    checkout.changes = changes
    if is_new:
        customer.checkouts.append(checkout)
    return _told(checkout, at_ms, changed=changed)


def _cancelled(customer: Customer, event: CheckoutCancelled, desk: Desk) -> Told | None:
    at_ms = to_ms(event.time)
    checkout, is_new = _checkout_of(customer, event, desk)
    new, old = cancellation_of(event, at_ms), checkout.cancelled
    winner = new if old is None else max(old, new)
    checkout.cancelled = winner
    if is_new:
        customer.checkouts.append(checkout)
    return _told(checkout, at_ms, changed=winner != old)


def _payment(customer: Customer, event: PaymentUpdated, desk: Desk) -> Told | None:
    at_ms = to_ms(event.time)
    checkout, is_new = _checkout_of(customer, event, desk)
    payment_id = event.data.payment_id
    for payment in checkout.payments:
        if payment.payment_id == payment_id:
            return _told(checkout, at_ms, changed=tell_payment(payment, event, at_ms))
    if len(checkout.payments) >= desk.policy.caps.payments:
        raise _limit(event, f"more than {desk.policy.caps.payments} payments")
    checkout.payments.append(new_payment(event, at_ms))
    if is_new:
        customer.checkouts.append(checkout)
    else:
        checkout.payments.sort(key=lambda p: p.payment_id)
    return _told(checkout, at_ms, changed=True)


def _order(customer: Customer, event: OrderUpdated, desk: Desk) -> Told | None:
    at_ms = to_ms(event.time)
    checkout, is_new = _checkout_of(customer, event, desk)
    order_id = event.data.order_id
    for order in checkout.orders:
        if order.order_id == order_id:
            return _told(checkout, at_ms, changed=tell_order(order, event, at_ms))
    cap = desk.policy.caps.orders
    listed = 0 if checkout.confirmed is None else len(checkout.confirmed.orders)
    if len(checkout.orders) + listed >= cap and _known_orders(checkout, order_id) > cap:
        raise _limit(event, f"more than {cap} orders")
    checkout.orders.append(new_order(event, at_ms))
    if is_new:
        customer.checkouts.append(checkout)
    else:
        checkout.orders.sort(key=lambda o: o.order_id)
    return _told(checkout, at_ms, changed=True)


def _known_orders(checkout: Checkout, order_id: str) -> int:
    """How many orders, told or only listed, there are with this one."""
    known = {order_id}
    known.update(o.order_id for o in checkout.orders)
    if checkout.confirmed is not None:
        known.update(listed for listed, _ in checkout.confirmed.orders)
    return len(known)


def _overturned(customer: Customer, event: VerdictOverturn, desk: Desk) -> Told | None:
    at_ms = to_ms(event.time)
    checkout, is_new = _checkout_of(customer, event, desk)
    new, old = overturn_of(event, at_ms), checkout.overturned
    winner = new if old is None else min(old, new)
    checkout.overturned = winner
    if is_new:
        customer.checkouts.append(checkout)
    return _told(checkout, at_ms, changed=winner != old)


def _misplaced(customer: Customer, event: EventMisplaced, desk: Desk) -> Told | None:
    return _hold(customer, Hold(event.data.checkout_id, to_ms(event.time)), desk)


def _hold(customer: Customer, hold: Hold, desk: Desk) -> Told | None:
    """Row 9 from now on, also for a checkout that is not known yet."""
    checkout = customer.find(hold.checkout_id)
    if checkout is None:
        bare = [
            c
            for c in customer.checkouts
            if c.confirmed is None and c.reminded is None and c.said is None and _is_bare(c)
        ]
        if len(bare) >= desk.policy.caps.orphans:
            customer.checkouts.remove(min(bare, key=lambda c: (c.newest_ms, c.checkout_id)))
            desk.stats.holds_dropped += 1
        checkout = Checkout(hold.checkout_id)
        customer.checkouts.append(checkout)
    elif checkout.held:
        return None
    checkout.held = True
    if checkout.confirmed is None:
        checkout.newest_ms = max(checkout.newest_ms, hold.at_ms)
    return Told(hold.checkout_id, None)


def _is_bare(checkout: Checkout) -> bool:
    """Without facts: only held, or (rebuild) reminded, or its verdict withdrawn."""
    return not (
        checkout.payments
        or checkout.orders
        or checkout.changes
        or checkout.cancelled
        or checkout.overturned
    )


def _seeded_verdict(customer: Customer, seed: SeededVerdict, _: Desk) -> Told | None:
    """Later ones win; a real confirmed event wins over what a verdict tells of it. After a
    withdrawal nothing is left of the checkout but what was said: why is in the inputs, if
    anywhere, and without them nobody is to be judged again."""
    checkout = customer.find(seed.checkout_id)
    if checkout is None:
        checkout = Checkout(seed.checkout_id)
        customer.checkouts.append(checkout)
    if checkout.said is not None and checkout.said.sequence > seed.said.sequence:
        return None
    said = seed.said
    checkout.said = Said(said.sequence, said.verdict_ms, said.policy_version, said.news_ms)
    if seed.confirmed is not None and (checkout.confirmed is None or checkout.from_verdict):
        checkout.confirmed, checkout.from_verdict = seed.confirmed, True
        if seed.refused is not None and not checkout.orders:
            checkout.orders = [copy(seed.refused)]
    elif seed.confirmed is None and checkout.from_verdict:
        checkout.confirmed, checkout.from_verdict, checkout.orders = None, False, []
    checkout.newest_ms = max(checkout.newest_ms, seed.at_ms)
    return Told(seed.checkout_id, None)


def _seeded_advice(customer: Customer, seed: SeededAdvice, _: Desk) -> Told | None:
    customer.announced = seed.announced
    return Told(None, None)


def _seeded_reminder(customer: Customer, seed: SeededReminder, desk: Desk) -> Told | None:
    """Counts for the caps, and its step is done. The checkout is not known yet, unless by a
    verdict; without facts it is no orphan, but forgotten like one."""
    checkout = customer.find(seed.checkout_id)
    if checkout is None:
        checkout = Checkout(seed.checkout_id)
        customer.checkouts.append(checkout)
    reminded = checkout.reminded or Reminded(0, {})
    if seed.id in reminded.ids:
        return None
    reminded.sent = max(reminded.sent, seed.number)
    reminded.until_ms = max(reminded.until_ms, seed.at_ms)
    reminded.ids += (seed.id,)
    checkout.reminded = reminded
    if checkout.confirmed is None:
        checkout.newest_ms = max(checkout.newest_ms, seed.at_ms)
    note_sent(customer, seed.sent_ms, desk.policy.reminders)
    return Told(seed.checkout_id, None)


def _checkout_of(customer: Customer, event: InputEvent, desk: Desk) -> tuple[Checkout, bool]:
    """The event's checkout, or a new one for orphans (not yet in the record) and True."""
    checkout = customer.find(event.data.checkout_id)
    if checkout is not None:
        return checkout, False
    cap = desk.policy.caps.orphans
    if len(customer.checkouts) >= cap:
        orphans = sum(c.confirmed is None and not _is_bare(c) for c in customer.checkouts)
        if orphans >= cap:
            raise _limit(event, f"more than {cap} unknown checkouts")
    return Checkout(event.data.checkout_id), True


def _told(checkout: Checkout, at_ms: int, *, changed: bool) -> Told | None:
    newer = at_ms > checkout.newest_ms
    if newer:
        checkout.newest_ms = at_ms
    if changed:
        return Told(checkout.checkout_id, at_ms)
    return Told(checkout.checkout_id, None) if newer else None


def _check_pay_by(event: InputEvent, pay_by_ms: int, at_ms: int, policy: Policy) -> None:
    """pay_by may be the event's own moment up to the longest window after it, both inclusive."""
    if not at_ms <= pay_by_ms <= at_ms + policy.input.longest_pay_by_ms:
        data = event.data
        raise RejectRecord(
            "invalid",
            "$.data.pay_by: before the event's time, or too long after it",
            customer_id=data.customer_id,
            checkout_id=data.checkout_id,
        )


def _limit(event: InputEvent, detail: str) -> RejectRecord:
    data = event.data
    return RejectRecord("limit", detail, customer_id=data.customer_id, checkout_id=data.checkout_id)


_TELL: dict[type, Callable[[Customer, Any, Desk], Told | None]] = {
    CheckoutConfirmed: _confirmed,
    MethodChanged: _method_changed,
    CheckoutCancelled: _cancelled,
    PaymentUpdated: _payment,
    OrderUpdated: _order,
    VerdictOverturn: _overturned,
    EventMisplaced: _misplaced,
    Hold: _hold,
    SeededVerdict: _seeded_verdict,
    SeededAdvice: _seeded_advice,
    SeededReminder: _seeded_reminder,
}
