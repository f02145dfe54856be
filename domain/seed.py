"""What the verdict, customer and reminder topics said, read back (rebuild).

A detected verdict tells enough of its checkout to go on standing as a strike when its confirmed
event is gone from the inputs: `Checkout.from_verdict`. The real event wins once it is read.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from domain.case import COD
from domain.customer import Announced, Said
from domain.facts import REFUSED, Confirmed, Order
from domain.intake import SeededAdvice, SeededReminder, SeededVerdict
from schemas.codec import to_ms

DETECTED = "hitrun.verdict.detected"
WITHDRAWN = "hitrun.verdict.withdrawn"
CHANGED = "hitrun.customer.changed"
REMINDER = "hitrun.reminder.due"


class _Event(Struct, frozen=True):
    type: str
    time: datetime
    data: msgspec.Raw
    id: str = ""


class _Fact(Struct, frozen=True):
    fact: str
    id: str


class _Detected(Struct, frozen=True):
    checkout_id: str
    sequence: int
    policy_version: str
    due_minor: int
    currency: str
    payment_method: str
    confirmed_at: datetime
    verdict_at: datetime
    pay_by: datetime | None = None
    order_ids: tuple[str, ...] = ()
    evidence: tuple[_Fact, ...] = ()


class _Withdrawn(Struct, frozen=True):
    checkout_id: str
    sequence: int
    policy_version: str


class _Changed(Struct, frozen=True):
    version: int
    strikes: int
    recommended_action: str


class _Due(Struct, frozen=True):
    checkout_id: str
    number: int


_event = msgspec.json.Decoder(_Event)
_detected = msgspec.json.Decoder(_Detected)
_withdrawn = msgspec.json.Decoder(_Withdrawn)
_changed = msgspec.json.Decoder(_Changed)
_due = msgspec.json.Decoder(_Due)


def seeded_verdict(value: bytes | None) -> SeededVerdict | None:
    """What a record of the verdict topic said; None when it is none of ours. Raises
    msgspec.MsgspecError when ours cannot be read: then nobody knows what was announced."""
    if value is None:
        return None
    event = _event.decode(value)
    at_ms = to_ms(event.time)
    if event.type == WITHDRAWN:
        withdrawn = _withdrawn.decode(event.data)
        said = Said(withdrawn.sequence, None, withdrawn.policy_version)
        return SeededVerdict(withdrawn.checkout_id, at_ms, said)
    if event.type != DETECTED:
        return None
    told = _detected.decode(event.data)
    verdict_ms = to_ms(told.verdict_at)
    said = Said(told.sequence, verdict_ms, told.policy_version)
    ids = {fact.fact: fact.id for fact in reversed(told.evidence)}
    confirmed = Confirmed(
        at_ms=to_ms(told.confirmed_at),
        event_id=ids.get("confirmed", ""),
        amount_minor=told.due_minor,  # what would have to be paid is what was due
        currency=told.currency,
        method=told.payment_method,
        pay_by_ms=None if told.pay_by is None else to_ms(told.pay_by),
        cart_id=None,
        orders=tuple((order_id, None) for order_id in told.order_ids),
        time_zone=None,
        language=None,
        reminders_allowed=False,
        buying=None,
    )
    refused: Order | None = None
    if told.payment_method == COD:
        event_id = ids.get("order_refused", "")
        order_id = told.order_ids[0] if told.order_ids else ""
        refused = Order(order_id, verdict_ms, REFUSED, event_id, "buyer", timed_out=False)
        refused.refused = (verdict_ms, event_id)
    return SeededVerdict(told.checkout_id, at_ms, said, confirmed, refused)


def seeded_advice(value: bytes | None) -> SeededAdvice | None:
    """What a record of the customer topic said; a tombstone takes it back."""
    if value is None:
        return SeededAdvice(None)
    event = _event.decode(value)
    if event.type != CHANGED:
        return None
    told = _changed.decode(event.data)
    return SeededAdvice(Announced(told.version, told.strikes, told.recommended_action))


def seeded_reminder(value: bytes | None, sent_ms: int) -> SeededReminder | None:
    """What a record of the reminder topic said; `sent_ms` is the record's timestamp, the clock it
    was decided by. Raises msgspec.MsgspecError as above."""
    if value is None:
        return None
    event = _event.decode(value)
    if event.type != REMINDER:
        return None
    told = _due.decode(event.data)
    return SeededReminder(told.checkout_id, event.id, told.number, to_ms(event.time), sent_ms)
