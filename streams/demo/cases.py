"""The cases a checkout can play, with their shares: each plays its records and says the truth.

A case's docstring is its name on the screen, in the score and in `hitrun simulate --share`.
What is told late is told clearly late, and nothing lies near an edge, so that a slow machine does
not blur the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streams.demo.play import LONG, PREPAID, SHORT, Buyer

Case = Callable[[Buyer], None]


# Paid


def paid(buyer: Buyer) -> None:
    """paid in time"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.pay(at_ms - c.window_ms // 20, status="pending")
    c.pay(at_ms)
    if buyer.chance.random() < 0.4:
        c.order(at_ms + c.window_ms // 4, "shipped")
    c.becomes("paid", quiet_ms=at_ms - c.window_ms // 20)


def told_three_times(buyer: Buyer) -> None:
    """paid in time, told three times"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.pay(at_ms, times=3)
    c.becomes("paid", quiet_ms=at_ms)


def out_of_order(buyer: Buyer) -> None:
    """paid in time, told in the wrong order"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.after(0.3))
    c.pay(c.after(0.2), status="authorized", told_ms=c.after(0.35))
    c.pay(c.after(0.1), status="pending", told_ms=c.after(0.4))
    c.becomes("paid", quiet_ms=c.after(0.3))


def payment_first(buyer: Buyer) -> None:
    """payment told before its checkout"""
    c = buyer.checkout()
    c.confirm(told_ms=c.after(0.1))
    c.pay(c.after(0.05))
    c.becomes("paid", quiet_ms=c.at_ms)


def free_of_charge(buyer: Buyer) -> None:
    """nothing to pay: a voucher covers it"""
    c = buyer.checkout()
    c.amount = 0
    c.confirm(discount_minor=50_000_00)
    c.becomes("paid", quiet_ms=c.at_ms)


def paid_between(buyer: Buyer) -> None:
    """paid late, but before the verdict"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.silence(0.3))
    c.becomes("paid")


def two_halves(buyer: Buyer) -> None:
    """paid in two halves"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.after(0.1), number=1, amount=c.amount // 2)
    c.pay(c.after(0.8), number=2, amount=c.amount // 2)
    c.becomes("paid", quiet_ms=c.after(0.8))


def refunded(buyer: Buyer) -> None:
    """paid, then refunded or charged back"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.after(0.3))
    c.pay(c.pay_by_ms, status=buyer.chance.choice(("refunded", "charged_back")))
    c.becomes("paid", quiet_ms=c.after(0.3))


def refund_first(buyer: Buyer) -> None:
    """refund told before the payment"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.after(0.6), status="refunded")
    c.pay(c.after(0.4), told_ms=c.after(0.75))
    c.becomes("paid", quiet_ms=c.after(0.6))


def denied_then_paid(buyer: Buyer) -> None:
    """settled, denied a moment later, paid again"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.after(0.2))
    c.pay(c.after(0.3), status="failed", failure_side="buyer")
    c.pay(c.after(0.9), number=2)
    c.becomes("paid", reminders=False)


def other_method_paid(buyer: Buyer) -> None:
    """card given up, another method paid"""
    c = buyer.checkout(SHORT)
    c.confirm()
    c.change_method(c.after(0.4), buyer.chance.choice(LONG))
    c.pay(c.after(0.8))
    c.becomes("paid", reminders=False)


def one_order_cancelled(buyer: Buyer) -> None:
    """one of three orders cancelled by its seller, the rest paid"""
    c = buyer.checkout()
    shares = (c.amount // 2, c.amount // 4, c.amount - c.amount // 2 - c.amount // 4)
    c.confirm(
        orders=[
            {"order_id": c.order_id(n), "seller_id": f"seller-{n}", "amount_minor": share}
            for n, share in enumerate(shares, 1)
        ]
    )
    c.order(c.after(0.2), "cancelled", number=2, by="seller", reason="out_of_stock")
    c.pay(c.after(0.5), amount=c.amount - shares[1])
    c.becomes("paid", quiet_ms=c.after(0.5))


# Never paid


def hit_and_run(buyer: Buyer) -> None:
    """never paid"""
    c = buyer.checkout()
    c.confirm()
    c.becomes("unpaid", detected=True)


def serial(buyer: Buyer) -> None:
    """never paid, three times in a row"""
    method = buyer.chance.choice(PREPAID)
    for number in range(3):
        c = buyer.checkout(method, later_ms=number * buyer.pace.window_ms(method) // 8)
        c.confirm()
        c.becomes("unpaid", detected=True, reminders=False)


def timed_out(buyer: Buyer) -> None:
    """never paid, cancelled by the platform's time-out"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.pay_by_ms + buyer.pace.policy.verdict.after_expiry_ms // 2
    c.cancel(at_ms, "system", reason="payment_timeout")
    c.becomes("unpaid", detected=True)


def expired(buyer: Buyer) -> None:
    """never paid, the virtual account expired"""
    c = buyer.checkout("virtual_account")
    c.confirm()
    c.pay(c.after(0.02), status="pending")
    c.pay(c.pay_by_ms, status="expired")
    c.becomes("unpaid", detected=True, quiet_ms=c.after(0.02))


def wrong_pin(buyer: Buyer) -> None:
    """never paid, the buyer's attempts failed"""
    c = buyer.checkout(SHORT)
    c.confirm()
    for number in (1, 2):
        c.pay(c.after(0.2 * number), status="failed", failure_side="buyer", number=number)
    c.becomes("unpaid", detected=True)


def denied(buyer: Buyer) -> None:
    """settled, denied a moment later, never paid again"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.after(0.2))
    c.pay(c.after(0.3), status="failed", failure_side="buyer")
    c.becomes("unpaid", detected=True, reminders=False)


def other_method_unpaid(buyer: Buyer) -> None:
    """refused by the issuer, another method chosen, nothing paid"""
    c = buyer.checkout("card")
    c.confirm()
    c.pay(c.after(0.15), status="failed", failure_side="issuer")
    c.change_method(c.after(0.4), "virtual_account")
    c.becomes("unpaid", detected=True, reminders=False)


def rest_unpaid(buyer: Buyer) -> None:
    """one of two orders cancelled by its seller, the other never paid"""
    c = buyer.checkout()
    c.confirm(orders=[{"order_id": c.order_id(n), "amount_minor": c.amount // 2} for n in (1, 2)])
    c.order(c.after(0.3), "cancelled", number=2, by="seller", reason="out_of_stock")
    c.becomes("unpaid", detected=True)


def cancelled_too_late(buyer: Buyer) -> None:
    """cancelled by the buyer after the verdict: it stays"""
    c = buyer.checkout()
    c.confirm()
    c.cancel(c.afterwards_ms, "buyer")
    c.becomes("unpaid", detected=True)


def cod_chosen_late(buyer: Buyer) -> None:
    """cash on delivery chosen after the time to pay: ignored"""
    c = buyer.checkout()
    c.confirm()
    c.change_method(c.silence(0.3), "cod")
    c.becomes("unpaid", detected=True)


# Detected, and taken back when more is known


def told_late(buyer: Buyer) -> None:
    """paid in time, told after the verdict"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.some_time(), told_ms=c.afterwards_ms)
    c.becomes("paid", withdrawn="paid_in_time")


def paid_after(buyer: Buyer) -> None:
    """paid after the verdict"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.afterwards_ms)
    c.becomes("paid", withdrawn="paid_late")


def seller_cancels_late(buyer: Buyer) -> None:
    """cancelled by the seller after the verdict"""
    c = buyer.checkout()
    c.confirm()
    c.cancel(c.afterwards_ms, "seller", reason="out_of_stock")
    c.becomes("cancelled", withdrawn="cancelled")


def shipped_late(buyer: Buyer) -> None:
    """goods shipped after the verdict, payment never told"""
    c = buyer.checkout()
    c.confirm()
    c.order(c.afterwards_ms, "shipped")
    c.becomes("presumed_paid", withdrawn="presumed_paid")


def overturned(buyer: Buyer) -> None:
    """overturned by a person"""
    c = buyer.checkout()
    c.confirm()
    c.overturn(c.afterwards_ms)
    c.becomes("overturned", withdrawn="overturned")


def bought_again_late(buyer: Buyer) -> None:
    """the same cart bought again, paid after the verdict"""
    first = buyer.checkout(SHORT)
    wait_ms = (first.verdict_ms - first.at_ms) * 2 // 3
    wait_ms = min(wait_ms, buyer.pace.policy.verdict.superseded_within_ms * 4 // 5)
    second = buyer.checkout(LONG, later_ms=wait_ms)
    for c in (first, second):
        c.confirm(cart_id=f"cart-{first.id[3:]}")
    second.pay(first.afterwards_ms)
    first.becomes("superseded", withdrawn="superseded", reminders=False)
    second.becomes("paid", reminders=False)


# Never accused


def bought_again(buyer: Buyer) -> None:
    """the same cart bought again and paid"""
    first = buyer.checkout()
    second = buyer.checkout(later_ms=first.window_ms // 3)
    for c in (first, second):
        c.confirm(cart_id=f"cart-{first.id[3:]}")
    second.pay(second.after(0.4))
    first.becomes("superseded", reminders=False)
    second.becomes("paid", reminders=False)


def clicked_twice(buyer: Buyer) -> None:
    """the same cart confirmed twice, never paid: one strike"""
    first = buyer.checkout()
    second = buyer.checkout(first.method, later_ms=first.window_ms // 6)
    for c in (first, second):
        c.confirm(cart_id=f"cart-{first.id[3:]}")
    first.becomes("unpaid", detected=True, reminders=False)
    second.becomes("superseded", reminders=False)


def half(buyer: Buyer) -> None:
    """half paid, then silence"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.some_time(), amount=c.amount // 2)
    c.becomes("partly_paid")


def issuer(buyer: Buyer) -> None:
    """refused by the card's issuer, no other attempt"""
    c = buyer.checkout("card")
    c.confirm()
    side = buyer.chance.choice(("issuer", "provider", "fraud"))
    c.pay(c.some_time(), status="failed", failure_side=side)
    c.becomes("excused")


def buyer_cancels(buyer: Buyer) -> None:
    """cancelled by the buyer in time"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.cancel(at_ms, "buyer")
    c.becomes("cancelled", quiet_ms=at_ms)


def seller_cancels(buyer: Buyer) -> None:
    """cancelled by the seller in time"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.cancel(at_ms, "seller", reason="out_of_stock")
    c.becomes("cancelled", quiet_ms=at_ms)


def shipped(buyer: Buyer) -> None:
    """goods shipped, payment never told"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.order(at_ms, "shipped")
    c.becomes("presumed_paid", quiet_ms=at_ms)


def foreign(buyer: Buyer) -> None:
    """paid in another currency: held for a person"""
    c = buyer.checkout()
    c.confirm()
    c.pay(c.some_time(), currency="USD")
    c.becomes("held", reminders=False)


# Never accused, because a record of it could not be used


def from_the_future(buyer: Buyer) -> None:
    """its payment is dated a year ahead: dead letter, held"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.spoiled(at_ms, "future", dated_ms=at_ms + 365 * 86_400_000)
    c.becomes("held", quiet_ms=at_ms)


def amount_in_words(buyer: Buyer) -> None:
    """its payment's amount is no number: dead letter, held"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.spoiled(at_ms, "invalid", amount_minor="a lot")
    c.becomes("held", quiet_ms=at_ms)


def without_key(buyer: Buyer) -> None:
    """its payment's record has no key: dead letter, held"""
    c = buyer.checkout()
    c.confirm()
    at_ms = c.some_time()
    c.spoiled(at_ms, "key", key=None)
    c.becomes("held", reminders=False)


# Cash on delivery


def refused(buyer: Buyer) -> None:
    """cash on delivery, refused at the door"""
    c = buyer.checkout("cod")
    c.confirm()
    c.order(c.after(0.15), "shipped")
    c.order(c.after(0.4), "refused", by="buyer")
    c.order(c.after(0.8), buyer.chance.choice(("returned", "cancelled")), by="system")
    c.becomes("unpaid", detected=True)


def delivered(buyer: Buyer) -> None:
    """cash on delivery, delivered"""
    c = buyer.checkout("cod")
    c.confirm()
    c.order(c.after(0.2), "shipped")
    c.order(c.after(0.6), "delivered")
    c.becomes("paid")


def lost_by_courier(buyer: Buyer) -> None:
    """cash on delivery, the courier's fault"""
    c = buyer.checkout("cod")
    c.confirm()
    c.order(c.after(0.2), "shipped")
    c.order(c.after(0.6), "refused", by="courier")
    c.becomes("excused")


def never_came(buyer: Buyer) -> None:
    """cash on delivery, nothing more heard"""
    c = buyer.checkout("cod")
    c.confirm()
    c.becomes("lapsed")


CASES: Final[tuple[tuple[Case, int], ...]] = (
    (refused, 15),
    (timed_out, 20),
    (expired, 20),
    (hit_and_run, 100),
    (paid, 420),
    (told_late, 30),
    (paid_after, 30),
    (told_three_times, 30),
    (out_of_order, 20),
    (payment_first, 20),
    (free_of_charge, 10),
    (paid_between, 30),
    (two_halves, 15),
    (half, 15),
    (refunded, 15),
    (refund_first, 5),
    (denied_then_paid, 5),
    (denied, 5),
    (other_method_paid, 15),
    (other_method_unpaid, 10),
    (one_order_cancelled, 10),
    (rest_unpaid, 5),
    (serial, 8),
    (wrong_pin, 10),
    (issuer, 20),
    (buyer_cancels, 20),
    (seller_cancels, 10),
    (cancelled_too_late, 5),
    (seller_cancels_late, 10),
    (shipped, 10),
    (shipped_late, 5),
    (overturned, 10),
    (bought_again, 10),
    (bought_again_late, 7),
    (clicked_twice, 7),
    (cod_chosen_late, 5),
    (foreign, 5),
    (from_the_future, 3),
    (amount_in_words, 3),
    (without_key, 3),
    (delivered, 20),
    (lost_by_courier, 5),
    (never_came, 5),
)
"""The cases and their weights: about per mille. The quickest verdicts come first, because each
case is played once in this order before chance decides."""


def words(case: Case) -> str:
    """A case's name for people."""
    return (case.__doc__ or case.__name__).strip()
