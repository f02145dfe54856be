"""What the types of `schemas.events` cannot say, checked on every decoded event.

Two steps, because looking at every id costs more than all the rest: whether a whole record has any
character that could make an id unprintable is asked first (`schemas.codec`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from schemas.events import (
    AnyEvent,
    CheckoutCancelled,
    CheckoutConfirmed,
    CustomerErase,
    EventMisplaced,
    IncidentDeclared,
    MethodChanged,
    OrderUpdated,
    PaymentUpdated,
    VerdictOverturn,
)

_CHECKOUT: Final = ("customer_id", "checkout_id")
_IDS: Final[dict[type, tuple[str, ...]]] = {
    CheckoutConfirmed: (*_CHECKOUT, "cart_id"),
    MethodChanged: _CHECKOUT,
    CheckoutCancelled: _CHECKOUT,
    PaymentUpdated: (*_CHECKOUT, "payment_id"),
    OrderUpdated: (*_CHECKOUT, "order_id"),
    VerdictOverturn: (*_CHECKOUT, "decided_by"),
    EventMisplaced: _CHECKOUT,
    CustomerErase: ("customer_id",),
    IncidentDeclared: ("incident_id",),
}
"""Fields of the data that are ids, by the event's type."""


def unprintable(event: AnyEvent) -> str | None:
    """The first id that is not `str.isprintable()`, "$.data.order_id: not printable", or None. Ids
    are in keys, logs and on people's screens."""
    if not event.id.isprintable():
        return "$.id: not printable"
    for name in _IDS[type(event)]:
        value = getattr(event.data, name)
        if value is not None and not value.isprintable():
            return f"$.data.{name}: not printable"
    if isinstance(event, CheckoutConfirmed):
        for number, share in enumerate(event.data.orders):
            for name, value in (("order_id", share.order_id), ("seller_id", share.seller_id)):
                if value is not None and not value.isprintable():
                    return f"$.data.orders[{number}].{name}: not printable"
    return None


_currencies: Final[set[str]] = set()
"""Codes seen and found good: at most 26 ** 3."""


def _no_currency(code: str) -> str | None:
    if len(code) == 3 and code.isascii() and code.isalpha() and code.isupper():
        _currencies.add(code)
        return None
    return "$.data.currency: not three capital letters (ISO 4217)"


def _confirmed(event: CheckoutConfirmed) -> str | None:
    code = event.data.currency
    return None if code in _currencies else _no_currency(code)


def _payment(event: PaymentUpdated) -> str | None:
    data = event.data
    if data.paid_at is None and data.status == "paid":
        return "$.data.paid_at: required when paid"
    code = data.currency
    return None if code in _currencies else _no_currency(code)


def _order(event: OrderUpdated) -> str | None:
    data = event.data
    if data.by is None and data.status in ("cancelled", "refused"):
        return f"$.data.by: required when {data.status}"
    return None


def _incident(event: IncidentDeclared) -> str | None:
    data = event.data
    if data.payment_methods is None and data.provider is None:
        return "$.data.payment_methods: missing, and provider too"
    if data.until < data.since:
        return "$.data.until: before from"
    return None


CHECKS: Final[dict[type, Callable[[Any], str | None]]] = {
    CheckoutConfirmed: _confirmed,
    PaymentUpdated: _payment,
    OrderUpdated: _order,
    IncidentDeclared: _incident,
}
"""By the event's type, what hangs together in it: the first problem with its path, or None."""
