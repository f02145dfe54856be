"""CloudEvents in: from a record's bytes to a checked event, or to the reason why not.

The happy path is one msgspec decode straight into the tagged union of the topic and a few checks
that types cannot say (about 2 us). Only a record that fails is looked at again, slowly, to name
the first fault of the error table and the checkout it was about.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NoReturn

import msgspec
import orjson
from msgspec import Meta

from schemas import events
from schemas.checks import CHECKS, unprintable
from schemas.faults import TOMBSTONE, UNKNOWN_TYPE, RejectRecord, Skip
from schemas.record import Record
from schemas.topics import Stream

MAX_BYTES: Final = 1024 * 1024
"""A record's value at most, inclusive; agents.intake rejects what is larger as `limit`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class _Nobody(events.Event, frozen=True, tag="-"):
    """No event is such. msgspec asks for the tag only where there is a choice, so a topic of one
    type needs another beside it, or an event without `type` would be taken for that one."""

    data: Annotated[int, Meta(ge=1, le=0)]


_UNIONS: Final[dict[Stream, object]] = {
    "checkout": events.CheckoutEvent,
    "payment": events.PaymentUpdated | _Nobody,
    "order": events.OrderUpdated | _Nobody,
    "command": events.CommandEvent,
}
TYPES: Final[dict[Stream, frozenset[str]]] = {
    "checkout": frozenset(
        {
            "marketplace.checkout.confirmed",
            "marketplace.checkout.method_changed",
            "marketplace.checkout.cancelled",
        }
    ),
    "payment": frozenset({"marketplace.payment.updated"}),
    "order": frozenset({"marketplace.order.updated"}),
    "command": frozenset(
        {
            "hitrun.verdict.overturn",
            "hitrun.event.misplaced",
            "hitrun.customer.erase",
            "hitrun.incident.declared",
        }
    ),
}
"""The types each topic carries for us; any other is skipped there, also one of another topic."""

_FAILURES: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def to_ms(at: datetime) -> int:
    """Integer ms since 1970 of an aware datetime. Wire times are rounded to microseconds when they
    are decoded; what is finer than a millisecond is cut here."""
    since = at - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def from_rfc3339(text: str) -> int:
    """ms of a time as outputs spell it. Raises msgspec.ValidationError, ValueError without zone."""
    moment = msgspec.convert(text, datetime)
    if moment.tzinfo is None:
        raise ValueError(f"{text}: no zone")
    return to_ms(moment)


def rfc3339(ms: int) -> str:
    """As all output events say a time: 2026-01-01T00:00:00.000Z."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def reader(stream: Stream) -> Callable[[Record], events.AnyEvent | Skip]:
    """The decoding function of one topic, to be called per record. It returns the checked event, or
    the Skip ("tombstone", "unknown_type"); it raises RejectRecord ("malformed", "invalid")."""
    decoder: msgspec.json.Decoder[events.AnyEvent] = msgspec.json.Decoder(_UNIONS[stream])
    parse, checks = decoder.decode, CHECKS

    def read(record: Record) -> events.AnyEvent | Skip:
        value = record.value
        if value is None:
            return TOMBSTONE
        headers = record.headers
        if headers and _is_binary(record):
            value = _structured(record, value)
        try:
            plain = value.isascii()
            if not plain:
                value.decode()  # msgspec passes over unknown fields without a look at their UTF-8
            event = parse(value)
        except _FAILURES:
            second = _second_look(stream, value)
            if isinstance(second, Skip):
                return second
            event, plain = second, False
        # In plain ASCII only an escape or DEL makes text unprintable: JSON has no raw controls.
        problem = None
        if not plain or b"\\" in value or b"\x7f" in value:
            problem = unprintable(event)
        check = checks.get(type(event))
        if problem is None and check is not None:
            problem = check(event)
        if problem is not None:
            _invalid(problem, event.data)
        return event

    return read


READERS: Final[dict[Stream, Callable[[Record], events.AnyEvent | Skip]]] = {
    stream: reader(stream) for stream in _UNIONS
}
"""Ready made, by topic."""


def decode(stream: Stream, record: Record) -> events.AnyEvent | Skip:
    """One record of a topic: see `reader`, which is faster for many."""
    return READERS[stream](record)


def ids_of(record: Record) -> tuple[str | None, str | None]:
    """customer_id and checkout_id of a record, as far as they can be read."""
    try:
        value = record.value or b""
        if _is_binary(record):
            value = _structured(record, value)
        return _ids(_parse(value))
    except (RejectRecord, ValueError):
        return None, None


# Binary mode


def _is_binary(record: Record) -> bool:
    """Attributes are in `ce_` headers, unless the content type says that the value has them."""
    found = False
    for name, content in record.headers:
        lower = name.lower()
        if lower == "ce_specversion":
            found = True
        elif lower == "content-type" and (content or b"").startswith(b"application/cloudevents"):
            return False
    return found


def _structured(record: Record, data: bytes) -> bytes:
    """The structured form of a binary one, so that there is one way to read them. Raises
    RejectRecord ("malformed")."""
    attributes: dict[str, str] = {}
    try:
        for name, content in record.headers:
            lower = name.lower()
            if lower.startswith("ce_") and content is not None:
                attributes[lower[3:]] = content.decode()
    except UnicodeDecodeError:
        _malformed(f"header {name}: not UTF-8", data, whole=False)
    attributes.pop("data", None)
    # One JSON value and nothing after it: otherwise it could add attributes of its own.
    try:
        data.decode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except _FAILURES as fault:
        raise RejectRecord("malformed", f"$.data: not UTF-8 JSON: {fault}") from None
    head = orjson.dumps(attributes)
    return head[:-1] + (b"," if attributes else b"") + b'"data":' + data + b"}"


# The slow path


def _second_look(stream: Stream, value: bytes) -> events.AnyEvent | Skip:
    """Why a record could not be decoded: no JSON, no CloudEvent, somebody else's type, a field;
    or nothing worse than a null where a field may be absent."""
    try:
        found = _parse(value)
    except ValueError as error:
        raise RejectRecord("malformed", f"not UTF-8 JSON: {error}") from None
    if not isinstance(found, dict):
        raise RejectRecord("malformed", f"not a CloudEvents 1.0 object: {_kind(found)}")
    if found.get("specversion") != "1.0":
        _malformed("$.specversion: not 1.0", value)
    kind = found.get("type")
    if not isinstance(kind, str) or not kind:
        _malformed("$.type: missing, or not a text", value)
    if kind not in TYPES[stream]:
        return UNKNOWN_TYPE
    for name in ("id", "source"):
        if not isinstance(found.get(name), str) or not found[name]:
            _malformed(f"$.{name}: missing, or not a text", value)
    try:
        event: events.AnyEvent = msgspec.convert(_without_nulls(found), _UNIONS[stream])
    except msgspec.ValidationError as error:
        _invalid(_path_first(str(error)), found.get("data"))
    return event


def _parse(value: bytes) -> object:
    """Any JSON by the letter: faster parsers refuse what is well formed but beyond them, such as
    1e400, which is a field's fault. Raises ValueError."""
    try:
        found: object = json.loads(value.decode(), parse_constant=_no_constant)
        if b"\\u" in value:
            json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _without_nulls(found: dict[str, object], depth: int = 2) -> dict[str, object]:
    """Fields that are null left out: of the event, of its data, of the objects in lists there. Not
    deeper, where nothing is ours and the nesting may be endless."""
    kept: dict[str, object] = {}
    for name, value in found.items():
        if depth and isinstance(value, dict):
            kept[name] = _without_nulls(value, depth - 1)
        elif depth and isinstance(value, list):
            kept[name] = [
                _without_nulls(one, depth - 1) if isinstance(one, dict) else one for one in value
            ]
        elif value is not None:
            kept[name] = value
    return kept


_MISSING: Final = "Object missing required field `"


def _path_first(message: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.data.amount_minor`", the path first."""
    why, _, path = message.partition(" - at `")
    path = path.rstrip("`") or "$"
    if why.startswith(_MISSING):
        return f"{path}.{why[len(_MISSING) :].rstrip('`')}: missing"
    return f"{path}: {why}"


def _kind(found: object) -> str:
    return {list: "an array", str: "a string", type(None): "null"}.get(type(found), "a value")


def _malformed(detail: str, value: bytes, *, whole: bool = True) -> NoReturn:
    """`whole`: the value is the event, not only its data."""
    try:
        found = _parse(value)
    except ValueError:
        found = None
    customer_id, checkout_id = _ids(found if whole else {"data": found})
    raise RejectRecord("malformed", detail, customer_id=customer_id, checkout_id=checkout_id)


def _invalid(detail: str, data: object) -> NoReturn:
    customer_id, checkout_id = _ids({"data": data})
    raise RejectRecord("invalid", detail, customer_id=customer_id, checkout_id=checkout_id)


def _ids(found: object) -> tuple[str | None, str | None]:
    data = found.get("data") if isinstance(found, dict) else None
    names = ("customer_id", "checkout_id")
    customer_id, checkout_id = (
        (data.get(name) if isinstance(data, dict) else getattr(data, name, None)) for name in names
    )
    return _usable(customer_id), _usable(checkout_id)


def _usable(value: object) -> str | None:
    if isinstance(value, str) and 1 <= len(value) <= 128 and value.isprintable():
        return value
    return None
