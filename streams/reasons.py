"""Why a checkout stands where it stands, and what was told of it, in words for people who know
buyers and not this program. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from domain.case import Case
from domain.customer import BOUGHT, Checkout, Customer, Standing
from domain.facts import CANCELLED as ORDER_CANCELLED
from domain.facts import (
    CHARGED_BACK,
    FAILED,
    ORDER_STATUSES,
    PAID,
    PAYMENT_STATUSES,
    REFUNDED,
    Order,
    Payment,
)
from domain.policy import Policy
from domain.standing import Judgement
from streams.words import Times, ago, count, listed, method, money, shown, span

_SIDES: Final = {
    "issuer": "at the buyer's bank",
    "provider": "at the payment provider",
    "fraud": "in the checks for fraud",
    "buyer": "at the buyer",
}


class Told(Struct, frozen=True):
    """One line of a checkout's history."""

    at_ms: int | None
    """None: the record does not keep when."""
    kind: str
    words: str


class Row(Struct, frozen=True):
    """What the sentence about a row of the decision table is made of."""

    case: Case
    judgement: Judgement
    policy: Policy
    cart: Sequence[Checkout]
    """The other checkouts of the same cart."""
    when: Times

    def money(self, minor: int) -> str:
        """In the checkout's currency."""
        return money(minor, self.case.confirmed.currency)

    @property
    def pay_by(self) -> str:
        """In words; only for prepaid checkouts."""
        return self.when(self.case.pay_by_ms or 0)

    @property
    def verdict_at(self) -> str:
        """In words, with how it comes about; only for prepaid checkouts."""
        return f"{self.when(self.case.verdict_ms or 0)}, {_how_verdict_at(self.case, self.policy)}"


def why(row: Row) -> str:
    """The sentence about the row that holds."""
    return ROWS[row.judgement.rule](row)


def same_cart(customer: Customer, checkout: Checkout, within_ms: int) -> list[Checkout]:
    """The other checkouts of its cart, as rows 5 and 10 see it."""
    own = checkout.confirmed
    return [
        other
        for other in customer.checkouts
        if other is not checkout
        and own is not None
        and other.confirmed is not None
        and own.cart_id is not None
        and own.cart_id == other.confirmed.cart_id
        and abs(own.at_ms - other.confirmed.at_ms) <= within_ms
    ]


def _how_verdict_at(case: Case, policy: Policy) -> str:
    verdict, at_ms, pay_by_ms = policy.verdict, case.verdict_ms, case.pay_by_ms
    said = case.checkout.said
    assert at_ms is not None
    assert pay_by_ms is not None
    if said is not None and said.verdict_ms is not None and said.policy_version != policy.version:
        return "as it was announced under another policy"
    if case.awaited_ms is not None and at_ms == case.awaited_ms + verdict.processing_ms:
        return f"{span(verdict.processing_ms)} after the last word of a payment under way"
    if at_ms == pay_by_ms + verdict.after_silence_ms:
        return f"{span(verdict.after_silence_ms)} later, as nothing was told"
    if case.checkout.from_verdict:
        return "as it was announced"
    return "as the marketplace said that nobody will pay"


def _row_1(row: Row) -> str:
    if row.case.all_cancelled and row.case.all_excusable:
        return (
            "Every order of it was cancelled, neither by the buyer nor because nobody paid. "
            "There is nothing to pay."
        )
    return "What was cancelled of it leaves nothing to pay."


def _row_2(row: Row) -> str:
    at_ms = row.case.buyer_cancelled_ms
    last = "" if at_ms is None else f", the last one by the buyer on {row.when(at_ms)}"
    return f"Every order of it was cancelled{last}. That was in time: it is no strike."


def _row_3(row: Row) -> str:
    case = row.case
    if not case.due:
        return "There was nothing to pay."
    told = f"{row.money(case.received)} came, {row.money(case.due)} was due."
    if not case.late or case.paid_at_ms is None or case.pay_by_ms is None:
        return told
    late_ms = case.paid_at_ms - case.pay_by_ms
    late = "less than a minute" if late_ms < 60_000 else ago(late_ms)
    return f"{told} It was paid {late} late; paying late is no strike."


def _row_4(row: Row) -> str:
    del row
    return (
        "No payment was told that covers it, but its goods were sent or handed over: "
        "the seller must have been paid."
    )


def _row_5(row: Row) -> str:
    bought = [shown(c.checkout_id) for c in row.cart if c.standing in BOUGHT]
    by = f" ({listed(bought)})" if bought else " (forgotten since)"
    return f"The same cart was bought with another checkout{by}: the buyer did not run away."


def _row_6(row: Row) -> str:
    return (
        f"There is still time. It is to be paid by {row.pay_by}; payments may be told late, so "
        f"nobody is judged before {row.verdict_at}."
    )


def _row_7(row: Row) -> str:
    case = row.case
    return (
        f"{row.money(case.received)} of {row.money(case.due)} came, the rest did not. "
        "Who paid a part is no hit-and-run: it is no strike."
    )


def _row_8(row: Row) -> str:
    failed = [p for p in row.case.checkout.payments if p.rank == FAILED]
    last = max(failed, key=lambda p: p.at_ms)
    side = _SIDES.get(last.failure_side or "", "elsewhere")
    return f"The last attempt to pay failed {side}. The buyer tried: it is no strike."


def _row_9(row: Row) -> str:
    return f"{_held(row)} Nobody can tell whether it was paid, so nobody is accused."


def _held(row: Row) -> str:
    if row.case.checkout.held:
        return "A message about it could not be used and waits among the dead letters."
    return "A payment of it is in another currency."


def _row_10(row: Row) -> str:
    mine = (row.judgement.dated_ms or 0, row.case.checkout.checkout_id)
    others = [
        shown(c.checkout_id)
        for c in row.cart
        if c.dated_ms is not None and (c.dated_ms, c.checkout_id) < mine
    ]
    by = f" ({listed(others)})" if others else " (forgotten since)"
    return f"Another checkout of the same cart counts already{by}: one cart is one strike."


def _row_11(row: Row) -> str:
    return f"It was never paid, but {_overturned(row)}"


def _overturned(row: Row) -> str:
    told = row.case.checkout.overturned
    if told is None:
        return "a person decided that it is no strike."
    reason = f": {shown(told.reason)}" if told.reason else "."
    return (
        f"{shown(told.decided_by)} decided on {row.when(told.at_ms)} that it is no strike{reason}"
    )


def _row_12(row: Row) -> str:
    return (
        f"It was to be paid by {row.pay_by}, no money came, and nothing excuses it. "
        f"It counts as never paid since {row.verdict_at}."
    )


def _row_c1(row: Row) -> str:
    del row
    return "Every order of it was cancelled before the buyer refused any."


def _row_c2(row: Row) -> str:
    del row
    return "It was handed over, or its money came: cash on delivery counts as paid by that."


def _row_c3(row: Row) -> str:
    on = row.when(row.case.refused_ms or 0)
    told = f"The buyer refused an order at the door on {on}"
    if row.judgement.standing is Standing.OPEN:
        return f"{told}, which time has not reached yet."
    if row.judgement.standing is Standing.HELD:
        return f"{told}. {_held(row)} So nobody is accused."
    if row.judgement.standing is Standing.OVERTURNED:
        return f"{told}, but {_overturned(row)}"
    return f"{told}. The first refusal counts, and nothing later undoes it."


def _row_c4(row: Row) -> str:
    del row
    return "An order was refused, but not by the buyer: it is no strike."


def _row_c5(row: Row) -> str:
    return (
        f"Nothing was told for {span(row.policy.verdict.cod_lapses_after_ms)}, so nobody waits for "
        "it any more. That is no strike."
    )


def _row_c6(row: Row) -> str:
    lapses_ms = row.case.base_ms + row.policy.verdict.cod_lapses_after_ms
    return (
        "It is neither handed over nor refused yet. If nothing is told, nobody waits for it after "
        f"{row.when(lapses_ms)}."
    )


ROWS: Final[dict[str, Callable[[Row], str]]] = {
    "1": _row_1,
    "2": _row_2,
    "3": _row_3,
    "4": _row_4,
    "5": _row_5,
    "6": _row_6,
    "7": _row_7,
    "8": _row_8,
    "9": _row_9,
    "10": _row_10,
    "11": _row_11,
    "12": _row_12,
    "c1": _row_c1,
    "c2": _row_c2,
    "c3": _row_c3,
    "c4": _row_c4,
    "c5": _row_c5,
    "c6": _row_c6,
}
"""By the rows of the decision table (docs/rules.md)."""


def facts(checkout: Checkout, when: Times) -> list[Told]:
    """What was told of a checkout, or of one that nobody confirmed yet; by the events' times."""
    told: list[Told] = []
    currency = None
    if checkout.confirmed is not None:
        told += _confirmed(checkout, when)
        currency = checkout.confirmed.currency
    for change in checkout.changes:
        until = "" if change.pay_by_ms is None else f", to be paid by {when(change.pay_by_ms)}"
        words = f"the buyer changed to paying by {method(change.method)}{until}"
        told.append(Told(change.at_ms, "method_changed", words))
    for payment in checkout.payments:
        told += _payment(payment, currency, when)
    for order in checkout.orders:
        told += _order(order, currency)
    if (gone := checkout.cancelled) is not None:
        words = f"the whole checkout was cancelled by {_by(gone.by, timed_out=gone.timed_out)}"
        told.append(Told(gone.at_ms, "cancelled", words))
    if (decided := checkout.overturned) is not None:
        words = f"overturned by {shown(decided.decided_by)}: {shown(decided.reason)}"
        told.append(Told(decided.at_ms, "overturned", words))
    if checkout.held:
        words = (
            "a message about it could not be used: it is a dead letter, and the checkout is held "
            "(operators mend it and send it again)"
        )
        told.append(Told(None, "held", words))
    return told


def _confirmed(checkout: Checkout, when: Times) -> list[Told]:
    confirmed = checkout.confirmed
    assert confirmed is not None
    words = (
        f"the buyer confirmed {money(confirmed.amount_minor, confirmed.currency)} "
        f"by {method(confirmed.method)}"
    )
    if confirmed.pay_by_ms is not None:
        words += f", to be paid by {when(confirmed.pay_by_ms)}"
    if len(confirmed.orders) > 1:
        words += f", {count(len(confirmed.orders), 'order')}"
    if checkout.from_verdict:
        words += " (all that is known of it is the verdict that was announced)"
    return [Told(confirmed.at_ms, "confirmed", words)]


def _payment(payment: Payment, currency: str | None, when: Times) -> list[Told]:
    name = f"payment {shown(payment.payment_id)}"
    by = "" if payment.method is None else f" by {method(payment.method)}"
    sum_ = ""
    if payment.settled_minor is not None:
        sum_ = f", {money(payment.settled_minor, payment.currency)}"
    paid = f"{sum_}{by}"
    if payment.paid_at_ms is not None and payment.paid_at_ms != payment.told_paid_ms:
        paid += f"; the money came on {when(payment.paid_at_ms)}"
    status = PAYMENT_STATUSES[payment.rank]
    now = {
        "pending": f"under way{by}",
        "authorized": f"authorized{by}, not yet paid",
        "paid": f"paid{paid}",
        "failed": f"failed {_SIDES.get(payment.failure_side or '', '(nobody told where)')}",
        "expired": f"ran out{by}: nobody paid",
        "cancelled": f"called off{by}",
        "refunded": f"refunded{sum_}; the money did come, so it stays paid",
        "charged_back": f"charged back{sum_}; the money did come, so it stays paid",
    }[status]
    if payment.rank not in (PAID, REFUNDED, CHARGED_BACK) and payment.told_paid_ms is not None:
        now += "; so what was paid was taken back"
    if currency is not None and payment.currency != currency:
        now += f"; in {payment.currency}, another currency than the checkout's"
    told = [Told(payment.at_ms, f"payment_{status}", f"{name}: {now}")]
    if payment.rank != PAID and payment.told_paid_ms is not None:
        told.append(Told(payment.told_paid_ms, "payment_paid", f"{name}: paid{paid}"))
    told += [
        Told(ms, "payment_failed", f"{name}: failed or called off")
        for ms in payment.failed_ms
        if ms != payment.at_ms
    ]
    return told


def _order(order: Order, currency: str | None) -> list[Told]:
    name, status = f"order {shown(order.order_id)}", ORDER_STATUSES[order.rank]
    words = f"{name}: {status}"
    if order.rank == ORDER_CANCELLED or order.by is not None:
        words += f" by {_by(order.by, timed_out=order.timed_out)}"
    if order.share_minor is not None and currency is not None:
        words += f", {money(order.share_minor, currency)} of the whole"
    if order.delivered and status not in ("delivered", "completed"):
        words += "; it had been handed over before"
    told = [Told(order.at_ms, f"order_{status}", words)]
    if order.refused is not None and order.refused[0] != order.at_ms:
        told.append(Told(order.refused[0], "order_refused", f"{name}: refused by the buyer"))
    other_ms = order.refused_by_other_ms
    if other_ms is not None and other_ms != order.at_ms:
        told.append(Told(other_ms, "order_refused", f"{name}: refused, not by the buyer"))
    return told


def _by(who: str | None, *, timed_out: bool) -> str:
    named = "somebody (nobody told who)" if who is None else f"the {shown(who)}"
    return f"{named}, because nobody paid" if timed_out else named
