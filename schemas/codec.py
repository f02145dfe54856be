"""CloudEvents in: from a record's bytes to a checked event, or to the reason why not.

One msgspec decode straight into the tagged union of the stream, then the few checks that types
cannot say. Only what fails is looked at a second time, slowly, to name the fault and to find out
whose checkout it was.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NoReturn

import msgspec

from schemas import events
from schemas.faults import RejectRecord, SkipRecord
from schemas.record import Record
from schemas.topics import Stream

MAX_BYTES = 1024 * 1024
"""A record's value at most."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

_DECODERS: dict[Stream, msgspec.json.Decoder[events.InputEvent]] = {
    "checkout": msgspec.json.Decoder(events.CheckoutEvent),
    "payment": msgspec.json.Decoder(events.PaymentUpdated),
    "order": msgspec.json.Decoder(events.OrderUpdated),
    "command": msgspec.json.Decoder(events.CommandEvent),
}
_TYPES: dict[Stream, object] = {
    "checkout": events.CheckoutEvent,
    "payment": events.PaymentUpdated,
    "order": events.OrderUpdated,
    "command": events.CommandEvent,
}
_NAMES: dict[Stream, frozenset[str]] = {
    "checkout": frozenset(
        {
            "marketplace.checkout.confirmed",
            "marketplace.checkout.method_changed",
            "marketplace.checkout.cancelled",
        }
    ),
    "payment": frozenset({"marketplace.payment.updated"}),
    "order": frozenset({"marketplace.order.updated"}),
    "command": frozenset({"hitrun.verdict.overturn", "hitrun.event.misplaced"}),
}
NOT_YET = frozenset({"hitrun.customer.erase", "hitrun.incident.declared"})
"""Commands of the contract that this version counts and passes over."""


def to_ms(at: datetime) -> int:
    """Integer ms since the epoch; what is finer (microseconds by now) is cut."""
    return (at - _EPOCH) // _MS


def rfc3339(ms: int) -> str:
    """As all output events say a time: 2026-01-01T00:00:00.000Z."""
    text = (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def decode(stream: Stream, record: Record) -> events.InputEvent:
    """The event of a record. Raises RejectRecord (malformed, invalid) or SkipRecord (tombstone,
    unknown_type, not_yet)."""
    value = record.value
    if value is None:
        raise SkipRecord("tombstone")
    if record.headers and any(name == "ce_type" for name, _ in record.headers):
        return _binary(stream, record, value)
    try:
        event = _DECODERS[stream].decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        _explain(stream, value, fault)
    if len(value) > MAX_BYTES:
        _reject_invalid("$", f"more than {MAX_BYTES} bytes", event.data)
    _check(event)
    return event


def _check(event: events.InputEvent) -> None:
    """What the types cannot say. Ids and currencies come from other systems and end up on screens
    and in keys, hence isprintable."""
    data = event.data
    if not event.id.isprintable():
        _reject_invalid("$.id", "not printable", data)
    if not data.customer_id.isprintable():
        _reject_invalid("$.data.customer_id", "not printable", data)
    if not data.checkout_id.isprintable():
        _reject_invalid("$.data.checkout_id", "not printable", data)
    if isinstance(data, events.PaymentData):
        if not data.payment_id.isprintable():
            _reject_invalid("$.data.payment_id", "not printable", data)
        if data.status == "paid" and data.paid_at is None:
            _reject_invalid("$.data.paid_at", "required when paid", data)
        _check_currency(data)
    elif isinstance(data, events.OrderData):
        if not data.order_id.isprintable():
            _reject_invalid("$.data.order_id", "not printable", data)
        if data.by is None and data.status in ("cancelled", "refused"):
            _reject_invalid("$.data.by", f"required when {data.status}", data)
    elif isinstance(data, events.ConfirmedData):
        _check_currency(data)
        for i, share in enumerate(data.orders):
            if not share.order_id.isprintable():
                _reject_invalid(f"$.data.orders[{i}].order_id", "not printable", data)
        if data.cart_id is not None and not data.cart_id.isprintable():
            _reject_invalid("$.data.cart_id", "not printable", data)


def _check_currency(data: events.PaymentData | events.ConfirmedData) -> None:
    currency = data.currency
    if not (currency.isascii() and currency.isalpha() and currency.isupper()):
        _reject_invalid("$.data.currency", "not an ISO 4217 code (three capital letters)", data)


def _reject_invalid(path: str, why: str, data: object) -> NoReturn:
    raise RejectRecord(
        "invalid",
        f"{path}: {why}",
        customer_id=_usable(getattr(data, "customer_id", None)),
        checkout_id=_usable(getattr(data, "checkout_id", None)),
    )


def _usable(identifier: object) -> str | None:
    ok = isinstance(identifier, str) and 1 <= len(identifier) <= 128 and identifier.isprintable()
    return identifier if ok and isinstance(identifier, str) else None


def _explain(stream: Stream, value: bytes, fault: Exception) -> NoReturn:
    """The slow path: not JSON, no CloudEvent, a type of somebody else's, or a bad field."""
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RejectRecord("malformed", f"not UTF-8 JSON: {fault}") from None
    if not isinstance(found, dict):
        raise RejectRecord("malformed", "not a JSON object")
    customer_id, checkout_id = _ids(found)
    if (why := _no_cloud_event(found)) is not None:
        raise RejectRecord("malformed", why, customer_id=customer_id, checkout_id=checkout_id)
    kind = found["type"]
    if kind in NOT_YET and stream == "command":
        raise SkipRecord("not_yet")
    if kind not in _NAMES[stream]:
        raise SkipRecord("unknown_type")
    raise RejectRecord("invalid", _path(fault), customer_id=customer_id, checkout_id=checkout_id)


def ids_of(record: Record) -> tuple[str | None, str | None]:
    """customer_id and checkout_id of a record, as far as they can be read."""
    try:
        found = msgspec.json.decode(record.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    if not isinstance(found, dict):
        return None, None
    return _ids(found if "data" in found else {"data": found})


def _ids(found: dict[str, object]) -> tuple[str | None, str | None]:
    data = found.get("data")
    if not isinstance(data, dict):
        return None, None
    return _usable(data.get("customer_id")), _usable(data.get("checkout_id"))


def _no_cloud_event(found: dict[str, object]) -> str | None:
    if found.get("specversion") != "1.0":
        return "not a CloudEvents 1.0 object: specversion is not 1.0"
    for name in ("id", "source", "type"):
        if not isinstance(found.get(name), str) or not found[name]:
            return f"not a CloudEvents 1.0 object: {name} is not a non-empty string"
    return None


def _path(fault: Exception) -> str:
    """msgspec says 'Expected `int`, got `str` - at `$.data.amount_minor`': path first here."""
    why, _, path = str(fault).partition(" - at `")
    return f"{path.rstrip('`') or '$'}: {why}"


def _binary(stream: Stream, record: Record, value: bytes) -> events.InputEvent:
    """Binary mode: attributes in ce_ headers, data in the value. Rarer, so put together as the
    structured one and judged the same way."""
    found: dict[str, object] = {}
    for name, content in record.headers:
        if name.startswith("ce_"):
            try:
                found[name[3:]] = content.decode()
            except UnicodeDecodeError:
                raise RejectRecord("malformed", f"header {name}: not UTF-8") from None
    try:
        found["data"] = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise RejectRecord("malformed", f"not UTF-8 JSON: {fault}") from None
    try:
        event: events.InputEvent = msgspec.convert(found, type=_TYPES[stream])
    except msgspec.ValidationError as fault:
        _explain(stream, msgspec.json.encode(found), fault)
    _check(event)
    return event
