"""Every event hitrun reads: CloudEvents 1.0 with their data, as msgspec types.

The types carry the shape (required, type, range); what a type cannot say (printable ids,
`paid_at` required when paid, ...) is checked by `schemas.codec`. Unknown attributes and unknown
data fields are ignored; null says the same as an absent field. Times are aware datetimes here and
integer milliseconds in `domain/`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Id = Annotated[str, Meta(min_length=1, max_length=128)]
"""1-128 code points; `schemas.codec` also demands `str.isprintable()`."""

Minor = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""An amount in the currency's minor unit (cents, sen); up to what a signed 64-bit integer holds."""

Currency = Annotated[str, Meta(min_length=3, max_length=3)]
"""ISO 4217, three capital letters."""

Time = Annotated[datetime, Meta(tz=True)]
"""RFC 3339 with a zone. msgspec also takes an offset without its colon (`+0700`); it takes no leap
second (`23:59:60`), which Python's datetime cannot hold."""

PaymentMethod = Literal[
    "card",
    "e_wallet",
    "qris",
    "virtual_account",
    "bank_transfer",
    "counter",
    "installment",
    "cod",
    "other",
]
PaymentStatus = Literal[
    "pending", "authorized", "paid", "failed", "expired", "cancelled", "refunded", "charged_back"
]
OrderStatus = Literal[
    "placed", "shipped", "delivered", "completed", "cancelled", "refused", "returned"
]


class OrderShare(Struct, frozen=True, gc=False):
    """One seller's part of a checkout, as the checkout names it."""

    order_id: Id
    seller_id: Id | None = None
    amount_minor: Minor | None = None


class Item(Struct, frozen=True, gc=False):
    """One line of the basket."""

    category: str | None = None
    accessory: bool = False
    quantity: int = 1
    amount_minor: Minor | None = None


class ConfirmedData(Struct, frozen=True):
    customer_id: Id
    checkout_id: Id
    amount_minor: Minor
    currency: Currency
    payment_method: PaymentMethod
    pay_by: Time | None = None
    cart_id: Id | None = None
    orders: tuple[OrderShare, ...] = ()
    time_zone: str | None = None
    channel: Literal["online", "app", "store", "phone", "other"] | None = None
    arrived_by: (
        Literal["search", "direct", "ad", "email", "social", "referral", "affiliate", "unknown"]
        | None
    ) = None
    items: tuple[Item, ...] = ()
    ships_to: Literal["own", "other"] | None = None
    gift: bool | None = None
    discount_minor: Minor | None = None
    reminders_allowed: bool = True
    language: str | None = None


class MethodChangedData(Struct, frozen=True):
    customer_id: Id
    checkout_id: Id
    payment_method: PaymentMethod
    pay_by: Time | None = None


class CheckoutCancelledData(Struct, frozen=True):
    customer_id: Id
    checkout_id: Id
    by: Literal["buyer", "seller", "system", "provider"]
    reason: str | None = None


class PaymentData(Struct, frozen=True):
    customer_id: Id
    checkout_id: Id
    payment_id: Id
    status: PaymentStatus
    amount_minor: Minor
    currency: Currency
    paid_at: Time | None = None
    payment_method: PaymentMethod | None = None
    failure_side: Literal["buyer", "issuer", "provider", "fraud", "unknown"] | None = None
    provider: str | None = None
    provider_status: str | None = None


class OrderData(Struct, frozen=True):
    customer_id: Id
    checkout_id: Id
    order_id: Id
    status: OrderStatus
    by: Literal["buyer", "seller", "system", "provider", "courier"] | None = None
    reason: str | None = None
    amount_minor: Minor | None = None


class OverturnData(Struct, frozen=True):
    customer_id: Id
    checkout_id: Id
    decided_by: Id
    reason: str


class MisplacedData(Struct, frozen=True):
    customer_id: Id
    checkout_id: Id


class EraseData(Struct, frozen=True):
    customer_id: Id


class IncidentData(Struct, frozen=True):
    """Of `payment_methods` and `provider` at least one is told (checked by `schemas.codec`)."""

    incident_id: Id
    since: Time = field(name="from")
    until: Time
    payment_methods: Annotated[tuple[PaymentMethod, ...], Meta(min_length=1)] | None = None
    provider: str | None = None


class Event(Struct, frozen=True, tag_field="type"):
    """The CloudEvents attributes all inputs share; `type` is the tag and picks the class."""

    specversion: Literal["1.0"]
    id: Id
    source: Annotated[str, Meta(min_length=1)]
    time: Time


class CheckoutConfirmed(Event, frozen=True, tag="marketplace.checkout.confirmed"):
    data: ConfirmedData


class MethodChanged(Event, frozen=True, tag="marketplace.checkout.method_changed"):
    data: MethodChangedData


class CheckoutCancelled(Event, frozen=True, tag="marketplace.checkout.cancelled"):
    data: CheckoutCancelledData


class PaymentUpdated(Event, frozen=True, tag="marketplace.payment.updated"):
    data: PaymentData


class OrderUpdated(Event, frozen=True, tag="marketplace.order.updated"):
    data: OrderData


class VerdictOverturn(Event, frozen=True, tag="hitrun.verdict.overturn"):
    data: OverturnData


class EventMisplaced(Event, frozen=True, tag="hitrun.event.misplaced"):
    data: MisplacedData


class CustomerErase(Event, frozen=True, tag="hitrun.customer.erase"):
    data: EraseData


class IncidentDeclared(Event, frozen=True, tag="hitrun.incident.declared"):
    """Concerns the whole partition, not a customer: no key, one record in every partition."""

    data: IncidentData


CheckoutEvent = CheckoutConfirmed | MethodChanged | CheckoutCancelled
InputEvent = CheckoutEvent | PaymentUpdated | OrderUpdated | VerdictOverturn | EventMisplaced
"""What the ledger takes: facts of one checkout."""

NotYet = CustomerErase | IncidentDeclared
"""Read and checked, but nothing acts on them yet."""

CommandEvent = VerdictOverturn | EventMisplaced | NotYet
AnyEvent = InputEvent | NotYet
"""Every type we know on an input topic."""
