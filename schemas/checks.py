"""What the types of `schemas.events` cannot say, checked on every decoded event.

One function per type, written out flat: this runs for every event there is (0.2-0.5 us). Each
returns the first problem with its path, or None.
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

_NOT_PRINTABLE: Final = "not printable"
_NO_CURRENCY: Final = "not three capital letters (ISO 4217)"


def problem_of(event: AnyEvent) -> str | None:
    """The first problem of a decoded event, "$.data.by: required when refused", or None."""
    return _CHECKS[type(event)](event)


def _confirmed(event: CheckoutConfirmed) -> str | None:
    data = event.data
    if not (
        event.id.isprintable() and data.customer_id.isprintable() and data.checkout_id.isprintable()
    ):
        return _which(event, "customer_id", "checkout_id")
    currency = data.currency
    if not (currency.isupper() and currency.isalpha() and currency.isascii()):
        return f"$.data.currency: {_NO_CURRENCY}"
    if data.cart_id is not None and not data.cart_id.isprintable():
        return f"$.data.cart_id: {_NOT_PRINTABLE}"
    for number, share in enumerate(data.orders):
        if not share.order_id.isprintable():
            return f"$.data.orders[{number}].order_id: {_NOT_PRINTABLE}"
        if share.seller_id is not None and not share.seller_id.isprintable():
            return f"$.data.orders[{number}].seller_id: {_NOT_PRINTABLE}"
    return None


def _of_checkout(event: MethodChanged | CheckoutCancelled | EventMisplaced) -> str | None:
    data = event.data
    if not (
        event.id.isprintable() and data.customer_id.isprintable() and data.checkout_id.isprintable()
    ):
        return _which(event, "customer_id", "checkout_id")
    return None


def _payment(event: PaymentUpdated) -> str | None:
    data = event.data
    if not (
        event.id.isprintable()
        and data.customer_id.isprintable()
        and data.checkout_id.isprintable()
        and data.payment_id.isprintable()
    ):
        return _which(event, "customer_id", "checkout_id", "payment_id")
    currency = data.currency
    if not (currency.isupper() and currency.isalpha() and currency.isascii()):
        return f"$.data.currency: {_NO_CURRENCY}"
    if data.paid_at is None and data.status == "paid":
        return "$.data.paid_at: required when paid"
    return None


def _order(event: OrderUpdated) -> str | None:
    data = event.data
    if not (
        event.id.isprintable()
        and data.customer_id.isprintable()
        and data.checkout_id.isprintable()
        and data.order_id.isprintable()
    ):
        return _which(event, "customer_id", "checkout_id", "order_id")
    if data.by is None and data.status in ("cancelled", "refused"):
        return f"$.data.by: required when {data.status}"
    return None


def _overturn(event: VerdictOverturn) -> str | None:
    return _which(event, "customer_id", "checkout_id", "decided_by")


def _erase(event: CustomerErase) -> str | None:
    return _which(event, "customer_id")


def _incident(event: IncidentDeclared) -> str | None:
    data = event.data
    if data.payment_methods is None and data.provider is None:
        return "$.data.payment_methods: missing, and provider too"
    if data.until < data.since:
        return "$.data.until: before from"
    return _which(event, "incident_id")


def _which(event: AnyEvent, *names: str) -> str | None:
    """The first of the event's id and these fields of its data that cannot be printed."""
    if not event.id.isprintable():
        return f"$.id: {_NOT_PRINTABLE}"
    for name in names:
        if not getattr(event.data, name).isprintable():
            return f"$.data.{name}: {_NOT_PRINTABLE}"
    return None


_CHECKS: Final[dict[type, Callable[[Any], str | None]]] = {
    CheckoutConfirmed: _confirmed,
    MethodChanged: _of_checkout,
    CheckoutCancelled: _of_checkout,
    PaymentUpdated: _payment,
    OrderUpdated: _order,
    VerdictOverturn: _overturn,
    EventMisplaced: _of_checkout,
    CustomerErase: _erase,
    IncidentDeclared: _incident,
}
