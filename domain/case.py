"""What a checkout's facts come to: the words that the decision table of `standing.py` uses.

Nothing here depends on `now`: method, base and pay_by in force, what is due and received, what
became of the orders, and from when on silence is a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from domain.customer import Checkout
from domain.facts import (
    AUTHORIZED,
    CANCELLED,
    CHARGED_BACK,
    COMPLETED,
    DELIVERED,
    EXPIRED,
    FAILED,
    PAID,
    PENDING,
    REFUNDED,
    REFUSED,
    RETURNED,
    SHIPPED,
    Confirmed,
    MethodChange,
    Payment,
    reversed_at_ms,
)
from domain.policy import Policy

COD = "cod"
_MOVED = frozenset({SHIPPED, DELIVERED, COMPLETED, REFUSED, RETURNED})
_ELSEWHERE = frozenset({"issuer", "provider", "fraud"})


class Incident(Struct, frozen=True):
    """An outage during which nobody can be expected to pay. None are declared yet."""

    from_ms: int
    until_ms: int
    methods: frozenset[str] | None = None
    """None: all."""
    provider: str | None = None


class Case(Struct, gc=False):
    """A checkout, read. Amounts in minor units."""

    checkout: Checkout
    confirmed: Confirmed
    method: str
    base_ms: int
    pay_by_ms: int | None
    """None for cash on delivery."""
    again: bool = False
    """pay_by was set anew because a payment was reversed."""
    due: int = 0
    """The amount less what was cancelled excusably, or by the buyer in time."""
    received: int = 0
    paid_at_ms: int | None = None
    """Of the payment that completed the due; None also when nobody told."""
    all_cancelled: bool = False
    all_excusable: bool = False
    timed_out: bool = False
    """An order was cancelled because nobody paid."""
    buyer_cancelled_ms: int | None = None
    """The buyer's latest cancellation among the cancelled orders."""
    timed_out_ms: int | None = None
    """The first cancellation for want of payment at or after the base."""
    moved: bool = False
    """An order was shipped, delivered, completed, refused or returned."""
    delivered: bool = False
    """An order was delivered or completed, now or ever."""
    refused_ms: int | None = None
    """The buyer's first refusal."""
    refused_by_other: bool = False
    awaited_ms: int | None = None
    """Newest event of a payment that is pending or authorized."""
    failed_elsewhere: bool = False
    """The last attempt since the base failed at issuer, provider or by fraud checks."""
    held: bool = False
    """A dead letter, or a payment in another currency: nobody can tell."""
    verdict_ms: int | None = None
    """None for cash on delivery."""

    @property
    def late(self) -> bool:
        """Paid after pay_by. A payment whose time nobody told is not late."""
        return (
            self.paid_at_ms is not None
            and self.pay_by_ms is not None
            and self.paid_at_ms > self.pay_by_ms
        )


def read(
    checkout: Checkout,
    confirmed: Confirmed,
    *,
    policy: Policy,
    incidents: Sequence[Incident] = (),
) -> Case:
    """Reads the facts of a confirmed checkout."""
    method, base_ms, pay_by_ms = confirmed.method, confirmed.at_ms, confirmed.pay_by_ms
    if method == COD:
        pay_by_ms = None
    elif pay_by_ms is None:
        pay_by_ms = base_ms + policy.payment_window_ms[method]
    case = Case(checkout, confirmed, method, base_ms, pay_by_ms, due=confirmed.amount_minor)
    case.held = checkout.held
    payments = checkout.payments
    if checkout.changes or (payments and any(p.failed_ms for p in payments)):
        _apply_changes(case, policy)
    if checkout.orders or checkout.cancelled is not None:
        _read_orders(case)
    if payments:
        _read_payments(case)
    elif case.received >= case.due and not confirmed.amount_minor:
        case.paid_at_ms = confirmed.at_ms
    if case.pay_by_ms is not None:
        case.verdict_ms = _verdict_ms(case, case.pay_by_ms, policy, incidents)
    return case


def _apply_changes(case: Case, policy: Policy) -> None:
    """Method changes and reversals together, in time order (a reversal first at the same moment).
    A change dated after the pay_by then in force, or after a refusal, is ignored."""
    checkout = case.checkout
    refusals = [o.refused[0] for o in checkout.orders if o.refused]
    refusals += [
        o.refused_by_other_ms for o in checkout.orders if o.refused_by_other_ms is not None
    ]
    refused_ms = min(refusals, default=None)
    reversals = [ms for p in checkout.payments if (ms := reversed_at_ms(p)) is not None]
    steps: list[tuple[int, int, str, MethodChange | None]] = [(ms, 0, "", None) for ms in reversals]
    steps += [(change.at_ms, 1, change.event_id, change) for change in checkout.changes]
    steps.sort(key=lambda step: step[:3])
    for at_ms, _, _, change in steps:
        if change is None:
            if case.pay_by_ms is not None:
                again_ms = at_ms + policy.payment_window_ms[case.method]
                case.again = again_ms > case.pay_by_ms
                case.pay_by_ms = max(case.pay_by_ms, again_ms)
            continue
        if case.pay_by_ms is not None and at_ms > case.pay_by_ms:
            continue
        if refused_ms is not None and at_ms > refused_ms:
            continue
        case.method, case.base_ms, case.again = change.method, at_ms, False
        if change.method == COD:
            case.pay_by_ms = None
        elif change.pay_by_ms is not None:
            case.pay_by_ms = change.pay_by_ms
        else:
            case.pay_by_ms = at_ms + policy.payment_window_ms[change.method]


class _OrderNow(Struct, gc=False):
    """An order with the checkout's cancellation, if that is newer, laid over it."""

    rank: int
    at_ms: int
    by: str | None
    timed_out: bool
    share: int | None
    refused: bool = False
    """By the buyer, ever."""


def _orders_now(case: Case) -> list[_OrderNow]:
    """Every known order: told, or only listed. Without any, one nameless order of the whole
    amount."""
    checkout, gone = case.checkout, case.checkout.cancelled
    listed = dict(case.confirmed.orders)
    orders: list[_OrderNow] = []
    for order in checkout.orders:
        share = listed.pop(order.order_id, None)
        if order.share_minor is not None:
            share = order.share_minor
        key = (order.at_ms, order.rank, order.event_id)
        if gone is not None and (gone.at_ms, CANCELLED, gone.event_id) > key:
            now = _OrderNow(CANCELLED, gone.at_ms, gone.by, gone.timed_out, share)
        else:
            now = _OrderNow(order.rank, order.at_ms, order.by, order.timed_out, share)
        now.refused = order.refused is not None
        orders.append(now)
    if gone is not None:
        shares = list(listed.values()) if orders or listed else [case.confirmed.amount_minor]
        orders += [_OrderNow(CANCELLED, gone.at_ms, gone.by, gone.timed_out, s) for s in shares]
    elif listed:
        orders += [_OrderNow(0, 0, None, timed_out=False, share=s) for s in listed.values()]
    return orders


def _read_orders(case: Case) -> None:
    any_cancelled = case.checkout.cancelled is not None
    for told in case.checkout.orders:
        any_cancelled = any_cancelled or told.rank == CANCELLED
        case.moved = case.moved or told.delivered or told.rank in _MOVED
        case.delivered = case.delivered or told.delivered
        if told.refused is not None:
            at_ms = told.refused[0]
            case.refused_ms = at_ms if case.refused_ms is None else min(case.refused_ms, at_ms)
        case.refused_by_other = case.refused_by_other or told.refused_by_other_ms is not None
    if not any_cancelled:
        return  # nearly always: nothing to shrink and nothing to excuse
    case.moved = case.delivered
    case.all_cancelled = case.all_excusable = True
    for order in _orders_now(case):
        if order.rank != CANCELLED:
            case.all_cancelled = case.all_excusable = False
            case.moved = case.moved or order.rank in _MOVED
            continue
        by_buyer = order.by == "buyer"
        excusable = not by_buyer and not order.timed_out
        case.all_excusable = case.all_excusable and excusable
        if order.timed_out:
            case.timed_out = True
            if order.at_ms >= case.base_ms:
                case.timed_out_ms = min(order.at_ms, case.timed_out_ms or order.at_ms)
        if by_buyer:
            case.buyer_cancelled_ms = max(order.at_ms, case.buyer_cancelled_ms or order.at_ms)
        in_time = by_buyer and (case.pay_by_ms is None or order.at_ms <= case.pay_by_ms)
        if case.method == COD and order.refused:
            continue  # what comes after the buyer's refusal does not undo it
        if (excusable or in_time) and order.share is not None:
            case.due = max(0, case.due - order.share)


def _read_payments(case: Case) -> None:
    currency, base_ms = case.confirmed.currency, case.base_ms
    settled: list[Payment] = []
    last: Payment | None = None
    for payment in case.checkout.payments:
        if payment.currency != currency:
            case.held = True
        elif payment.rank in (PAID, REFUNDED, CHARGED_BACK):
            settled.append(payment)
            case.received += payment.settled_minor or 0
        if payment.rank in (PENDING, AUTHORIZED):
            case.awaited_ms = max(payment.at_ms, case.awaited_ms or payment.at_ms)
        if payment.at_ms >= base_ms and (last is None or _newness(payment) > _newness(last)):
            last = payment
    if last is not None and last.rank == FAILED:
        case.failed_elsewhere = last.failure_side in _ELSEWHERE
    if case.received >= case.due:
        case.paid_at_ms = _completed_at_ms(case, settled)


def _newness(payment: Payment) -> tuple[int, int, str, str]:
    return payment.at_ms, payment.rank, payment.event_id, payment.payment_id


def _completed_at_ms(case: Case, settled: list[Payment]) -> int | None:
    """`paid_at` of the payment that completed the due, in `paid_at` order. One whose `paid_at`
    nobody told takes its turn at its newest event and answers None."""
    if case.due == 0:
        return case.confirmed.at_ms
    if len(settled) > 1:
        settled.sort(
            key=lambda p: (p.at_ms if p.paid_at_ms is None else p.paid_at_ms, p.payment_id)
        )
    total = 0
    for payment in settled:
        total += payment.settled_minor or 0
        if total >= case.due:
            return payment.paid_at_ms
    raise AssertionError("what was received covers the due")


def _verdict_ms(case: Case, pay_by_ms: int, policy: Policy, incidents: Sequence[Incident]) -> int:
    """When silence becomes a verdict: so long after pay_by that a payment would have been told.

    A verdict announced under another policy keeps its moment until its own facts change. One of
    which nothing else is known (rebuild) keeps it too, but what is told since may move it."""
    verdict, said = policy.verdict, case.checkout.said
    announced_ms = None if said is None else said.verdict_ms
    if said is not None and announced_ms is not None and said.policy_version != policy.version:
        return announced_ms
    at_ms = pay_by_ms + verdict.after_silence_ms
    said_ms = _first_saying_ms(case)
    if case.checkout.from_verdict and announced_ms is not None:
        at_ms = announced_ms
    elif said_ms is not None:
        at_ms = min(at_ms, max(pay_by_ms + verdict.after_expiry_ms, said_ms))
    if case.awaited_ms is not None:
        at_ms = max(at_ms, case.awaited_ms + verdict.processing_ms)
    for incident in incidents:
        if _touches(incident, case, pay_by_ms):
            at_ms = max(at_ms, incident.until_ms + verdict.after_incident_ms)
    return at_ms


def _first_saying_ms(case: Case) -> int | None:
    """The first word, at or after the base, that nobody will pay: an order cancelled for want of
    payment, or an expired payment of this method while no other one is pending or authorized."""
    first_ms = case.timed_out_ms
    if case.awaited_ms is not None:
        return first_ms
    for payment in case.checkout.payments:
        if (
            payment.rank == EXPIRED
            and payment.at_ms >= case.base_ms
            and (payment.method is None or payment.method == case.method)
            and (first_ms is None or payment.at_ms < first_ms)
        ):
            first_ms = payment.at_ms
    return first_ms


def _touches(incident: Incident, case: Case, pay_by_ms: int) -> bool:
    if incident.until_ms < case.base_ms or incident.from_ms > pay_by_ms:
        return False
    if incident.provider is not None:
        return any(p.provider == incident.provider for p in case.checkout.payments)
    return incident.methods is None or case.method in incident.methods
