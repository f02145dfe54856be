"""The cases of those who pay: nothing is said of them, whatever is told how."""

from __future__ import annotations

from streams.demo.play import LONG, SHORT, Buyer


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


def delivered(buyer: Buyer) -> None:
    """cash on delivery, delivered"""
    c = buyer.checkout("cod")
    c.confirm()
    c.order(c.after(0.2), "shipped")
    c.order(c.after(0.6), "delivered")
    c.becomes("paid")
