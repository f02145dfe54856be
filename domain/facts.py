"""What checkouts, payments and orders said, and how two tellings of one thing become one.

Every merge here is a join of a semilattice: any order of arrival, any repetition, the same
result. That is what lets a verdict be a pure function of the facts. Each `tell_*` merges one
event into a checkout's facts and returns whether they changed; it never fails half way.
Bounded: the ledger checks the caps before it calls.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec import Struct, msgpack
from msgspec.structs import replace

from schemas.codec import to_ms
from schemas.events import (
    CheckoutCancelled,
    CheckoutConfirmed,
    MethodChanged,
    OrderUpdated,
    PaymentUpdated,
    VerdictOverturn,
)

PENDING, AUTHORIZED, PAID, FAILED, EXPIRED, PAYMENT_CANCELLED, REFUNDED, CHARGED_BACK = range(8)
"""Ranks of a payment's statuses: of two events of one moment the higher rank wins."""

PAYMENT_STATUSES: Final = (
    "pending",
    "authorized",
    "paid",
    "failed",
    "expired",
    "cancelled",
    "refunded",
    "charged_back",
)
PAYMENT_RANK: Final = {status: rank for rank, status in enumerate(PAYMENT_STATUSES)}

PLACED, SHIPPED, DELIVERED, COMPLETED, CANCELLED, REFUSED, RETURNED = range(7)
"""Ranks of an order's statuses, as above."""

ORDER_STATUSES: Final = (
    "placed",
    "shipped",
    "delivered",
    "completed",
    "cancelled",
    "refused",
    "returned",
)
ORDER_RANK: Final = {status: rank for rank, status in enumerate(ORDER_STATUSES)}

KEPT_REVERSALS = 16
"""Of a payment's failed and cancelled events the newest 16 moments are kept (the join of two
"newest 16" is again one): only the first after the newest paid event is ever asked for."""

KEPT_TEXT = 64
"""Free text (zone, language, provider, category, reason) is cut to so many characters."""

MAX_CATEGORIES = 8
"""Beyond so many a purchase, or a customer, simply has "many"; kept are one more than that."""

TIMED_OUT: Final = "payment_timeout"
"""The one reason of a cancellation that excuses nothing: it says that nobody paid."""

_Key = tuple[int, int, str]
"""Time, rank and event id: of two events the greater key is the newer."""
_T = TypeVar("_T", int, str)


class Buying(Struct, array_like=True, frozen=True, gc=False):
    """What a confirmed checkout says of its buyer's habits; never part of a verdict.
    None = not told."""

    channel: str | None = None
    arrived_by: str | None = None
    elsewhere: bool | None = None
    """To another address, or as a gift."""
    discounted: bool | None = None
    categories: tuple[str, ...] = ()
    """Sorted, accessories aside; MAX_CATEGORIES + 1 of them stand for "many"."""


class Confirmed(Struct, array_like=True, frozen=True, gc=False):
    """The confirmed event that won."""

    at_ms: int
    event_id: str
    amount_minor: int
    currency: str
    method: str
    pay_by_ms: int | None
    cart_id: str | None
    orders: tuple[tuple[str, int | None], ...]
    """(order_id, share) as the checkout lists them."""
    time_zone: str | None
    language: str | None
    reminders_allowed: bool
    buying: Buying | None


class MethodChange(Struct, array_like=True, frozen=True, order=True, gc=False):
    """Ordered by time, then event id."""

    at_ms: int
    event_id: str
    method: str
    pay_by_ms: int | None


class Cancellation(Struct, array_like=True, frozen=True, order=True, gc=False):
    """The newest cancellation of the whole checkout."""

    at_ms: int
    event_id: str
    by: str
    timed_out: bool


class Overturn(Struct, array_like=True, frozen=True, order=True, gc=False):
    """The oldest decision of a person that this is no strike."""

    at_ms: int
    event_id: str
    decided_by: str
    reason: str


class Payment(Struct, array_like=True, gc=False):
    """One attempt to pay. The first fields are those of its newest event."""

    payment_id: str
    at_ms: int
    rank: int
    event_id: str
    currency: str
    failure_side: str | None
    provider: str | None
    method: str | None = None
    """As its newest event that names one says."""
    method_key: tuple[int, int, str] | None = None
    """Which event named it; None: the newest one."""
    settled_minor: int | None = None
    """The largest amount said with paid, refunded or charged_back."""
    paid_at_ms: int | None = None
    """The greatest `paid_at` told."""
    told_paid_ms: int | None = None
    """Time of the newest paid event; None: it never was paid."""
    failed_ms: list[int] = []
    """Times of failed and cancelled events, ascending, distinct."""


class Order(Struct, array_like=True, gc=False):
    """One seller's part. The first fields are those of its newest event."""

    order_id: str
    at_ms: int
    rank: int
    event_id: str
    by: str | None
    timed_out: bool
    share_minor: int | None = None
    share_key: tuple[int, int, str] | None = None
    """Which event said the share; None: the newest one."""
    delivered: bool = False
    """Delivered or completed, ever."""
    refused: tuple[int, str] | None = None
    """The buyer's first refusal: time and event id."""
    refused_by_other_ms: int | None = None


def tell_confirmed(event: CheckoutConfirmed, at_ms: int) -> Confirmed:
    """The facts of a confirmed event."""
    data = event.data
    orders: tuple[tuple[str, int | None], ...] = ()
    if data.orders:
        orders = tuple({o.order_id: (o.order_id, o.amount_minor) for o in data.orders}.values())
    return Confirmed(
        at_ms,
        event.id,
        data.amount_minor,
        data.currency,
        data.payment_method,
        None if data.pay_by is None else to_ms(data.pay_by),
        data.cart_id,
        orders,
        data.time_zone and data.time_zone[:KEPT_TEXT],
        data.language and data.language[:KEPT_TEXT],
        data.reminders_allowed,
        _buying(event),
    )


def _buying(event: CheckoutConfirmed) -> Buying | None:
    data = event.data
    elsewhere: bool | None = None
    if data.ships_to is not None or data.gift is not None:
        elsewhere = data.ships_to == "other" or data.gift is True
    discounted = None if data.discount_minor is None else data.discount_minor > 0
    categories: tuple[str, ...] = ()
    if data.items:
        told = {i.category[:KEPT_TEXT] for i in data.items if i.category and not i.accessory}
        categories = tuple(sorted(told)[: MAX_CATEGORIES + 1])
    buying = Buying(data.channel, data.arrived_by, elsewhere, discounted, categories)
    return None if buying == _NOTHING_TOLD else buying


_NOTHING_TOLD = Buying()


def older_confirmed(one: Confirmed, other: Confirmed) -> Confirmed:
    """The one that wins wholly: the older, then the smaller event id. The same id with two
    contents is a producer's fault; the smaller content wins, so that order does not matter."""
    if (one.at_ms, one.event_id) != (other.at_ms, other.event_id):
        return one if (one.at_ms, one.event_id) < (other.at_ms, other.event_id) else other
    return min(one, other, key=msgpack.encode)


def is_conflict(one: Confirmed, other: Confirmed) -> bool:
    """Two confirmed events of one checkout that say different things."""
    return one != replace(other, at_ms=one.at_ms, event_id=one.event_id)


def change_of(event: MethodChanged, at_ms: int) -> MethodChange:
    """The facts of a method change."""
    pay_by = event.data.pay_by
    return MethodChange(
        at_ms, event.id, event.data.payment_method, None if pay_by is None else to_ms(pay_by)
    )


def tell_change(changes: list[MethodChange], new: MethodChange) -> bool:
    """Adds a method change to the time-ordered list; a known one changes nothing."""
    for index, old in enumerate(changes):
        if (old.at_ms, old.event_id) == (new.at_ms, new.event_id):
            if _change_key(new) >= _change_key(old):
                return False
            changes[index] = new
            return True
    changes.append(new)
    changes.sort(key=_change_key)
    return True


def _change_key(change: MethodChange) -> tuple[int, str, str, int]:
    return change.at_ms, change.event_id, change.method, change.pay_by_ms or 0


def cancellation_of(event: CheckoutCancelled, at_ms: int) -> Cancellation:
    """The facts of a cancelled checkout. The newest one wins: `max` of two."""
    return Cancellation(at_ms, event.id, event.data.by, event.data.reason == TIMED_OUT)


def overturn_of(event: VerdictOverturn, at_ms: int) -> Overturn:
    """The facts of an overturn. The oldest one is kept: `min` of two."""
    return Overturn(at_ms, event.id, event.data.decided_by, event.data.reason[:KEPT_TEXT])


def new_payment(event: PaymentUpdated, at_ms: int) -> Payment:
    """A payment of which this event is the first to arrive."""
    data = event.data
    rank = PAYMENT_RANK[data.status]
    return Payment(
        data.payment_id,
        at_ms,
        rank,
        event.id,
        data.currency,
        data.failure_side,
        data.provider and data.provider[:KEPT_TEXT],
        data.payment_method,
        None,
        data.amount_minor if rank in (PAID, REFUNDED, CHARGED_BACK) else None,
        None if data.paid_at is None else to_ms(data.paid_at),
        at_ms if rank == PAID else None,
        [at_ms] if rank in (FAILED, PAYMENT_CANCELLED) else [],
    )


def tell_payment(payment: Payment, event: PaymentUpdated, at_ms: int) -> bool:
    """Merges a further event of a known payment."""
    told = new_payment(event, at_ms)
    changed = False
    if told.method is not None or payment.method is not None:
        changed = _tell_method(payment, told)
    if _payment_key(told) > _payment_key(payment):
        changed = True
        payment.at_ms, payment.rank, payment.event_id = told.at_ms, told.rank, told.event_id
        payment.currency = told.currency
        payment.failure_side, payment.provider = told.failure_side, told.provider
    if _greater(told.settled_minor, payment.settled_minor):
        payment.settled_minor, changed = told.settled_minor, True
    if _greater(told.paid_at_ms, payment.paid_at_ms):
        payment.paid_at_ms, changed = told.paid_at_ms, True
    if _greater(told.told_paid_ms, payment.told_paid_ms):
        payment.told_paid_ms, changed = told.told_paid_ms, True
    if told.failed_ms and at_ms not in payment.failed_ms:
        kept = sorted([*payment.failed_ms, at_ms])[-KEPT_REVERSALS:]
        changed = changed or kept != payment.failed_ms
        payment.failed_ms = kept
    return changed


def _tell_method(payment: Payment, told: Payment) -> bool:
    """Keeps the method of the newest event that names one. Call before the newest event moves."""
    was = (payment.method, payment.method_key)
    payment.method, payment.method_key = _newest_said(
        (payment.at_ms, payment.rank, payment.event_id),
        was,
        (told.at_ms, told.rank, told.event_id),
        told.method,
    )
    return (payment.method, payment.method_key) != was


def _newest_said(
    newest: _Key, known: tuple[_T | None, _Key | None], key: _Key, said: _T | None
) -> tuple[_T | None, _Key | None]:
    """A value that not every event says: that of the newest event which does, with the event's
    key, or None for it when that is the newest event of all. `newest`: the newest event so far."""
    value, value_key = known[0], known[1] or newest
    if said is not None and (value is None or (key, said) > (value_key, value)):
        value, value_key = said, key
    if value is None or value_key == max(newest, key):
        return value, None
    return value, value_key


def _payment_key(payment: Payment) -> tuple[int, int, str, str, str, str]:
    """Newest time, higher rank, greater event id; the rest only orders an id used twice."""
    return (
        payment.at_ms,
        payment.rank,
        payment.event_id,
        payment.currency,
        payment.failure_side or "",
        payment.provider or "",
    )


def _greater(new: int | None, old: int | None) -> bool:
    return new is not None and (old is None or new > old)


def reversed_at_ms(payment: Payment) -> int | None:
    """When a payment that was paid was taken back, or None. It is reversed while its latest
    status is failed or cancelled: at the first such event at or after its newest paid one (at the
    same moment the failure counts as later: its rank is higher)."""
    told_paid_ms = payment.told_paid_ms
    if told_paid_ms is None or payment.rank not in (FAILED, PAYMENT_CANCELLED):
        return None
    return next((at_ms for at_ms in payment.failed_ms if at_ms >= told_paid_ms), None)


def new_order(event: OrderUpdated, at_ms: int) -> Order:
    """An order of which this event is the first to arrive."""
    data = event.data
    rank = ORDER_RANK[data.status]
    refused_by_buyer = rank == REFUSED and data.by == "buyer"
    return Order(
        data.order_id,
        at_ms,
        rank,
        event.id,
        data.by,
        data.reason == TIMED_OUT,
        data.amount_minor,
        None,
        rank in (DELIVERED, COMPLETED),
        (at_ms, event.id) if refused_by_buyer else None,
        at_ms if rank == REFUSED and not refused_by_buyer else None,
    )


def tell_order(order: Order, event: OrderUpdated, at_ms: int) -> bool:
    """Merges a further event of a known order."""
    told = new_order(event, at_ms)
    changed = _tell_share(order, told)
    if _order_key(told) > _order_key(order):
        changed = True
        order.at_ms, order.rank, order.event_id = told.at_ms, told.rank, told.event_id
        order.by, order.timed_out = told.by, told.timed_out
    if told.delivered and not order.delivered:
        order.delivered = changed = True
    if told.refused is not None and (order.refused is None or told.refused < order.refused):
        order.refused, changed = told.refused, True
    other_ms = told.refused_by_other_ms
    if other_ms is not None and (
        order.refused_by_other_ms is None or other_ms < order.refused_by_other_ms
    ):
        order.refused_by_other_ms, changed = other_ms, True
    return changed


def _tell_share(order: Order, told: Order) -> bool:
    """Keeps the share of the newest event that says one. Call before the newest event moves."""
    was = (order.share_minor, order.share_key)
    order.share_minor, order.share_key = _newest_said(
        (order.at_ms, order.rank, order.event_id),
        was,
        (told.at_ms, told.rank, told.event_id),
        told.share_minor,
    )
    return (order.share_minor, order.share_key) != was


def _order_key(order: Order) -> tuple[int, int, str, str, bool]:
    return order.at_ms, order.rank, order.event_id, order.by or "", order.timed_out
