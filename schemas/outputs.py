"""The events hitrun writes: their types, their ids and their bytes (structured CloudEvents, JSON).

What decides makes mappings and encodes them (`encode`); who reads them decodes into these types
(`decode_output`). tests/contract holds the two together: all that is said reads back unchanged.
Times here are texts, as on the wire: RFC 3339 in UTC with ms and Z, made by `codec.rfc3339`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Annotated, Final, Literal, cast

import msgspec
import orjson
from msgspec import Meta, Struct

from schemas.events import Currency, Id, Minor, MisplacedData, PaymentMethod

NAMESPACE: Final = uuid.UUID("9d1d647c-dc39-5f43-a8d0-ae112ca5431b")
"""Of every id hitrun makes: the same decision has the same id, on whatever machine."""

SOURCE: Final = "hitrun"
CONTENT_TYPE: Final = b"application/cloudevents+json"
HEADERS: Final[tuple[tuple[str, bytes], ...]] = (("content-type", CONTENT_TYPE),)
"""Of every output record."""

Stamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Number = Annotated[int, Meta(ge=1)]

Action = Literal["none", "require_prepayment", "human_review"]
Cause = Literal[
    "paid_in_time",
    "paid_late",
    "reopened",
    "cancelled",
    "presumed_paid",
    "superseded",
    "partly_paid",
    "excused",
    "held",
    "overturned",
    "lapsed",
]
"""Why a verdict no longer stands: the new standing; for paid whether in time; reopened for open."""


class Evidence(Struct, frozen=True):
    """One fact a verdict rests on; `id` is the input event that told it."""

    fact: str
    """confirmed, method_changed, cancelled, payment_<status> or order_<status>"""
    at: Stamp
    id: str


class DetectedData(Struct, frozen=True, kw_only=True):
    customer_id: Id
    checkout_id: Id
    order_ids: tuple[Id, ...]
    amount_minor: Minor
    """As confirmed."""
    due_minor: Minor
    received_minor: Minor
    currency: Currency
    payment_method: PaymentMethod
    confirmed_at: Stamp
    pay_by: Stamp | None
    """null for cash on delivery"""
    verdict_at: Stamp
    reason: Literal["never_paid", "cod_refused"]
    rule: Literal["12", "c3"]
    evidence: tuple[Evidence, ...]
    """By time."""
    strikes: Count
    checkouts: Count
    unpaid_share: Share
    recommended_action: Action
    advisory: Literal[True]
    """Nobody is to be blocked without a person."""
    policy_version: str
    sequence: Number


class WithdrawnData(Struct, frozen=True, kw_only=True):
    customer_id: Id
    checkout_id: Id
    detected_id: str
    cause: Cause
    at: Stamp
    strikes: Count
    checkouts: Count
    unpaid_share: Share
    recommended_action: Action
    policy_version: str
    sequence: Number
    """Of the verdict withdrawn."""


class ReminderData(Struct, frozen=True, kw_only=True):
    customer_id: Id
    checkout_id: Id
    number: Number
    """Of this checkout's reminders."""
    template: Literal["payment_reminder", "balance_reminder"]
    due_minor: Minor
    """What is left."""
    currency: Currency
    payment_method: PaymentMethod
    pay_by: Stamp
    send_before: Stamp
    time_zone: str | None
    language: str | None
    tone: Literal["soft"]
    policy_version: str


class CustomerData(Struct, frozen=True, kw_only=True):
    customer_id: Id
    strikes: Count
    checkouts: Count
    unpaid_share: Share
    recommended_action: Action
    # Here the profile will stand: history, kind, short_lived, traits, strategy.
    version: Number
    policy_version: str


class _Output(Struct, frozen=True, kw_only=True, tag_field="type"):
    """The attributes of all outputs; `type` is the tag and picks the class."""

    id: str
    time: Stamp
    subject: str
    """checkout_id; customer_id where no checkout is meant"""
    specversion: Literal["1.0"] = "1.0"
    source: Literal["hitrun"] = SOURCE
    datacontenttype: Literal["application/json"] = "application/json"


class VerdictDetected(_Output, frozen=True, kw_only=True, tag="hitrun.verdict.detected"):
    data: DetectedData


class VerdictWithdrawn(_Output, frozen=True, kw_only=True, tag="hitrun.verdict.withdrawn"):
    data: WithdrawnData


class ReminderDue(_Output, frozen=True, kw_only=True, tag="hitrun.reminder.due"):
    data: ReminderData


class CustomerChanged(_Output, frozen=True, kw_only=True, tag="hitrun.customer.changed"):
    data: CustomerData


class EventMisplaced(_Output, frozen=True, kw_only=True, tag="hitrun.event.misplaced"):
    """Read back as an input: `schemas.events.EventMisplaced`."""

    data: MisplacedData


OutputEvent = VerdictDetected | VerdictWithdrawn | ReminderDue | CustomerChanged | EventMisplaced

_decoder: msgspec.json.Decoder[OutputEvent] = msgspec.json.Decoder(OutputEvent)


def event_id(*parts: str | int) -> str:
    """uuid5 over the compact JSON array of `parts` (no spaces, no escapes beyond JSON's own)."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return str(uuid.uuid5(NAMESPACE, text))


def encode(event: Mapping[str, object] | OutputEvent) -> bytes:
    """The value of an output record. A mapping has type, id, subject, time and data; the
    attributes that are always the same are added here."""
    if isinstance(event, Struct):
        event = cast("dict[str, object]", msgspec.to_builtins(event))
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event["id"],
            "source": SOURCE,
            "type": event["type"],
            "time": event["time"],
            "subject": event["subject"],
            "datacontenttype": "application/json",
            "data": event["data"],
        }
    )


def decode_output(value: bytes) -> OutputEvent:
    """An output record's value. Unknown fields are ignored: the profile comes later. Raises
    msgspec.MsgspecError when it is none of ours."""
    return _decoder.decode(value)


def misplaced(
    *, topic: str, partition: int, offset: int, at: str, customer_id: str, checkout_id: str
) -> bytes:
    """`hitrun.event.misplaced`, for the partition where the customer lives. `topic`, `partition`
    and `offset` name the record that lay wrong, `at` is when it was appended."""
    return encode(
        EventMisplaced(
            id=event_id("misplaced", topic, partition, offset),
            time=at,
            subject=checkout_id,
            data=MisplacedData(customer_id, checkout_id),
        )
    )
