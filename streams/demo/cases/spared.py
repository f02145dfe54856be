"""The cases of those who did not pay, or of whom nobody knows, and who are never accused."""

from __future__ import annotations

from streams.demo.play import Buyer


def bought_again(buyer: Buyer) -> None:
    """the same cart bought again and paid"""
    first = buyer.checkout()
    second = buyer.checkout(later_ms=first.window_ms // 3)
    for c in (first, second):
        c.confirm(cart_id=f"cart-{first.id[3:]}")
    second.pay(second.after(0.4))
    first.becomes("superseded", reminders=False)
    second.becomes("paid", reminders=False)


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


# Because a record of theirs could not be used


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
