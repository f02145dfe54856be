"""The cases of those who are announced as a hit-and-run, for good or until more is known."""

from __future__ import annotations

from streams.demo.play import LONG, PREPAID, SHORT, Buyer

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


def refused(buyer: Buyer) -> None:
    """cash on delivery, refused at the door"""
    c = buyer.checkout("cod")
    c.confirm()
    c.order(c.after(0.15), "shipped")
    c.order(c.after(0.4), "refused", by="buyer")
    c.order(c.after(0.8), buyer.chance.choice(("returned", "cancelled")), by="system")
    c.becomes("unpaid", detected=True)


def clicked_twice(buyer: Buyer) -> None:
    """the same cart confirmed twice, never paid: one strike"""
    first = buyer.checkout()
    second = buyer.checkout(first.method, later_ms=first.window_ms // 6)
    for c in (first, second):
        c.confirm(cart_id=f"cart-{first.id[3:]}")
    first.becomes("unpaid", detected=True, reminders=False)
    second.becomes("superseded", reminders=False)


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
