"""A second, naive reading of the input contract: what a record says, or why it is no good.

Deliberately shares no code with `schemas/` and `domain/`: json from the standard library, dicts,
and a list of checks one can read beside the contract. Used by the oracle and the verifier only.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

PREPAID = [
    "card",
    "e_wallet",
    "qris",
    "virtual_account",
    "bank_transfer",
    "counter",
    "installment",
    "other",
]
METHODS = [*PREPAID, "cod"]
PAYMENT_RANK = [
    "pending",
    "authorized",
    "paid",
    "failed",
    "expired",
    "cancelled",
    "refunded",
    "charged_back",
]
ORDER_RANK = [
    "placed",
    "shipped",
    "delivered",
    "completed",
    "cancelled",
    "refused",
    "returned",
]


class AnyRecord(Protocol):
    """A Kafka record as every client shows it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(slots=True)
class Fact:
    """One good event: what it says, when it happened (`at`) and when it was appended."""

    kind: str
    customer: str
    checkout: str
    at: int
    id: str
    data: dict[str, Any]
    appended: int
    role: str
    place: int = 0
    """Its number in the order in which the records were handed over."""


@dataclass(slots=True)
class Reading:
    """What became of one record: a fact, a fault (for the dead letters) or a skip."""

    fact: Fact | None = None
    faults: tuple[str, ...] = ()
    """Reasons that are right for it, the likeliest first; more than one only where the
    contract leaves it open."""
    skip: str | None = None
    customer: str | None = None
    checkout: str | None = None


class Bad(Exception):
    def __init__(self, *reasons: str, path: str = "") -> None:
        super().__init__(f"{reasons}: {path}")
        self.reasons = reasons


# ---------------------------------------------------------------- the policy, in plain numbers

_UNIT = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def duration(text: str) -> int:
    """'250ms', '90s', '4h', '-4h', '30d' -> ms."""
    found = re.fullmatch(r"(-?)(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if found is None:
        raise ValueError(f"not a duration: {text!r}")
    sign, number, unit = found.groups()
    return int(float(number) * _UNIT[unit]) * (-1 if sign else 1)


DEFAULT_POLICY_TOML = """
[payment_window]
card = "4h"
e_wallet = "4h"
qris = "4h"
virtual_account = "24h"
bank_transfer = "24h"
counter = "24h"
installment = "24h"
other = "24h"
[verdict]
after_expiry = "13h"
after_silence = "96h"
processing = "72h"
superseded_within = "24h"
cod_lapses_after = "30d"
[strikes]
window = "90d"
cod_window = "60d"
require_prepayment_at = 2
human_review_at = 3
human_review_unpaid_share = 0.5
[reminders]
per_checkout = 2
per_customer_gap = "16h"
per_customer_week = 3
quiet_hours = ["21:00", "08:00"]
default_time_zone = "Asia/Jakarta"
latest_before_pay_by = "15m"
[reminders.steps]
card = ["1h"]
virtual_account = ["2h", "-4h"]
[retention]
settled = "30d"
orphan = "30d"
[input]
future_tolerance = "5m"
oldest = "400d"
longest_pay_by = "90d"
ignore_customers = []
[caps]
open_checkouts = 128
orphans = 64
payments = 16
orders = 32
method_changes = 16
"""


def policy_from(toml: str = "") -> dict[str, Any]:
    """The defaults with `toml` on top, durations as ms, key by key, as {section: {key: value}}.

    Reminder steps become {method: [(name, ms)]} for each prepaid method: e_wallet and qris as
    card, all others as virtual_account, unless they are named themselves.
    """
    policy = tomllib.loads(DEFAULT_POLICY_TOML)
    for section, values in tomllib.loads(toml).items():
        for key, value in values.items():
            if key == "steps":
                policy["reminders"]["steps"] |= value
            else:
                policy.setdefault(section, {})[key] = value
    for section in policy.values():
        for key, value in section.items():
            if isinstance(value, str) and key != "default_time_zone":
                section[key] = duration(value)
    given = policy["reminders"]["steps"]
    policy["reminders"]["steps"] = {
        method: [
            (name, duration(name))
            for name in given.get(
                method,
                given["card" if method in ("e_wallet", "qris") else "virtual_account"],
            )
        ]
        for method in PREPAID
    }
    return policy


# ---------------------------------------------------------------- times and ids

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))"
)


def time_ms(text: str) -> int:
    """RFC 3339 with a zone -> ms: finer input rounded to microseconds, then cut."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, sign, zone_h, zone_m = found.groups()
    whole = datetime(
        int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC
    )
    micros = 0
    if fraction:
        digits = fraction[:7].ljust(7, "0")
        micros = (int(digits) + 5) // 10
    offset = 0
    if sign:
        offset = (int(zone_h) * 60 + int(zone_m)) * (-1 if sign == "-" else 1) * MINUTE
    return int(whole.timestamp()) * 1000 + micros // 1000 - offset


def murmur2(data: bytes) -> int:
    """Java's partitioner hash, made positive as Kafka does."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


# ---------------------------------------------------------------- one record

_ID, _MINOR, _STR, _BOOL, _TIMES, _CUR = (
    "id",
    "minor",
    "str",
    "bool",
    "time",
    "currency",
)
_BY = ("buyer", "seller", "system", "provider")

# field -> (kind or list of choices, required)
_FIELDS: dict[str, dict[str, tuple[Any, bool]]] = {
    "marketplace.checkout.confirmed": {
        "customer_id": (_ID, True),
        "checkout_id": (_ID, True),
        "amount_minor": (_MINOR, True),
        "currency": (_CUR, True),
        "payment_method": (METHODS, True),
        "pay_by": (_TIMES, False),
        "cart_id": (_ID, False),
        "orders": (
            {
                "order_id": (_ID, True),
                "seller_id": (_ID, False),
                "amount_minor": (_MINOR, False),
            },
            False,
        ),
        "time_zone": (_STR, False),
        "channel": (["online", "app", "store", "phone", "other"], False),
        "arrived_by": (
            [
                "search",
                "direct",
                "ad",
                "email",
                "social",
                "referral",
                "affiliate",
                "unknown",
            ],
            False,
        ),
        "items": (
            {
                "category": (_STR, False),
                "accessory": (_BOOL, False),
                "quantity": ("int", False),
                "amount_minor": (_MINOR, False),
            },
            False,
        ),
        "ships_to": (["own", "other"], False),
        "gift": (_BOOL, False),
        "discount_minor": (_MINOR, False),
        "reminders_allowed": (_BOOL, False),
        "language": (_STR, False),
    },
    "marketplace.checkout.method_changed": {
        "customer_id": (_ID, True),
        "checkout_id": (_ID, True),
        "payment_method": (METHODS, True),
        "pay_by": (_TIMES, False),
    },
    "marketplace.checkout.cancelled": {
        "customer_id": (_ID, True),
        "checkout_id": (_ID, True),
        "by": (list(_BY), True),
        "reason": (_STR, False),
    },
    "marketplace.payment.updated": {
        "customer_id": (_ID, True),
        "checkout_id": (_ID, True),
        "payment_id": (_ID, True),
        "status": (PAYMENT_RANK, True),
        "amount_minor": (_MINOR, True),
        "currency": (_CUR, True),
        "paid_at": (_TIMES, False),
        "payment_method": (METHODS, False),
        "failure_side": (["buyer", "issuer", "provider", "fraud", "unknown"], False),
        "provider": (_STR, False),
        "provider_status": (_STR, False),
    },
    "marketplace.order.updated": {
        "customer_id": (_ID, True),
        "checkout_id": (_ID, True),
        "order_id": (_ID, True),
        "status": (ORDER_RANK, True),
        "by": ([*_BY, "courier"], False),
        "reason": (_STR, False),
        "amount_minor": (_MINOR, False),
    },
    "hitrun.verdict.overturn": {
        "customer_id": (_ID, True),
        "checkout_id": (_ID, True),
        "decided_by": (_ID, True),
        "reason": (_STR, True),
    },
    "hitrun.event.misplaced": {"customer_id": (_ID, True), "checkout_id": (_ID, True)},
    "hitrun.customer.erase": {"customer_id": (_ID, True)},
    "hitrun.incident.declared": {
        "incident_id": (_ID, True),
        "payment_methods": ("methods", False),
        "provider": (_STR, False),
        "from": (_TIMES, True),
        "until": (_TIMES, True),
    },
}
MAX_BYTES = 1024 * 1024

_TYPES_OF: dict[str, dict[str, str]] = {
    "checkout": {
        "marketplace.checkout.confirmed": "confirmed",
        "marketplace.checkout.method_changed": "changed",
        "marketplace.checkout.cancelled": "cancelled",
    },
    "payment": {"marketplace.payment.updated": "payment"},
    "order": {"marketplace.order.updated": "order"},
    "command": {
        "hitrun.verdict.overturn": "overturn",
        "hitrun.event.misplaced": "misplaced",
        "hitrun.customer.erase": "erase",
        "hitrun.incident.declared": "incident",
    },
}


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 128 and value.isprintable()


def _checked(value: Any, kind: Any, path: str) -> Any:
    """`value` if it is of `kind` (times as ms); raises Bad('invalid')."""
    good = False
    if kind == _ID:
        good = _is_id(value)
    elif kind == _MINOR:
        good = type(value) is int and 0 <= value < 2**63
    elif kind == "int":
        good = type(value) is int
    elif kind == _STR:
        good = isinstance(value, str)
    elif kind == "methods":
        good = isinstance(value, list) and all(one in METHODS for one in value)
    elif kind == _BOOL:
        good = isinstance(value, bool)
    elif kind == _CUR:
        good = isinstance(value, str) and re.fullmatch("[A-Z]{3}", value) is not None
    elif kind == _TIMES:
        try:
            return time_ms(value)
        except (ValueError, TypeError):
            good = False
    elif isinstance(kind, list):
        good = isinstance(value, str) and value in kind
    elif isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return [_object(one, kind, f"{path}[{i}]") for i, one in enumerate(value)]
    if not good:
        raise Bad("invalid", path=path)
    return value


def _object(value: dict[str, Any], fields: Mapping[str, tuple[Any, bool]], path: str) -> Any:
    out = {}
    for name, (kind, required) in fields.items():
        if value.get(name) is None:
            if required:
                raise Bad("invalid", path=f"{path}.{name}")
        else:
            out[name] = _checked(value[name], kind, f"{path}.{name}")
    return out


def _no_constants(text: str) -> Any:
    raise ValueError(text)


def _json(value: bytes) -> Any:
    try:
        return json.loads(value.decode("utf-8"), parse_constant=_no_constants)
    except (ValueError, RecursionError) as error:
        raise Bad("malformed") from error


def _event_of(record: AnyRecord) -> dict[str, Any]:
    """The CloudEvents object of a record, structured or binary mode."""
    assert record.value is not None
    headers = {name.lower(): value for name, value in record.headers or ()}
    content = headers.get("content-type", b"").decode("utf-8", "replace")
    if "ce_specversion" in headers and not content.startswith("application/cloudevents"):
        try:
            attributes: dict[str, Any] = {
                name[3:]: value.decode("utf-8")
                for name, value in headers.items()
                if name.startswith("ce_")
            }
        except UnicodeDecodeError as error:
            raise Bad("malformed") from error
        attributes["data"] = _json(record.value)
        return attributes
    event = _json(record.value)
    if not isinstance(event, dict):
        raise Bad("malformed")
    return event


@dataclass(slots=True)
class _Seen:
    customer: str | None = None
    checkout: str | None = None
    known_type: bool = field(default=True)


def read(
    role: str,
    record: AnyRecord,
    policy: dict[str, Any],
    *,
    partitions: int = 0,
    upstream_delay: int = 5_000,
    place: int = 0,
) -> Reading:
    """What one record of the input topic with this role says.

    `partitions` 0: the partition of a key is not checked.
    """
    if record.value is None:
        return Reading(skip="tombstone")
    seen = _Seen()
    try:
        return _read(role, record, policy, partitions, upstream_delay, place, seen)
    except Bad as bad:
        return Reading(faults=bad.reasons, customer=seen.customer, checkout=seen.checkout)


def _read(
    role: str,
    record: AnyRecord,
    policy: dict[str, Any],
    partitions: int,
    upstream_delay: int,
    place: int,
    seen: _Seen,
) -> Reading:
    event = _event_of(record)
    data = event.get("data")
    if isinstance(data, dict):
        if _is_id(data.get("customer_id")):
            seen.customer = data["customer_id"]
        if _is_id(data.get("checkout_id")):
            seen.checkout = data["checkout_id"]
    if event.get("specversion") != "1.0":
        raise Bad("malformed", "invalid", path="specversion")
    type_ = event.get("type")
    if not isinstance(type_, str) or not type_:
        raise Bad("malformed", "invalid", path="type")
    if type_ not in _TYPES_OF[role]:
        return Reading(skip="unknown_type", customer=seen.customer)
    for name in ("id", "source"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise Bad("malformed", "invalid", path=name)
    if not _is_id(event["id"]):
        raise Bad("invalid", "malformed", path="id")
    at = _checked(event.get("time"), _TIMES, "time")
    if not isinstance(data, dict):
        raise Bad("invalid", path="data")
    values = _object(data, _FIELDS[type_], "data")
    kind = _TYPES_OF[role][type_]
    _check_together(kind, at, values, policy)
    customer, checkout = values.get("customer_id", ""), values.get("checkout_id", "")
    if kind == "incident":  # nobody's: no key, one record in every partition
        if at > record.timestamp + policy["input"]["future_tolerance"]:
            raise Bad("future")
        return Reading(skip="not_yet")
    if record.key is None or record.key != customer.encode():
        raise Bad("key")
    if partitions and murmur2(record.key) % partitions != record.partition:
        raise Bad("key")
    newest = max(at, values.get("paid_at", at))
    if newest > record.timestamp + policy["input"]["future_tolerance"]:
        raise Bad("future")
    if len(record.value or b"") > MAX_BYTES:
        raise Bad("limit")
    if kind == "erase":
        return Reading(skip="not_yet", customer=customer)
    if customer in policy["input"]["ignore_customers"]:
        return Reading(skip="ignored_customer", customer=customer)
    if at < record.timestamp - upstream_delay - policy["input"]["oldest"]:
        return Reading(skip="too_old", customer=customer)
    fact = Fact(kind, customer, checkout, at, event["id"], values, record.timestamp, role, place)
    return Reading(fact=fact, customer=customer, checkout=checkout)


def _check_together(kind: str, at: int, data: dict[str, Any], policy: dict[str, Any]) -> None:
    """What one field's type cannot say."""
    if kind == "payment" and data["status"] == "paid" and "paid_at" not in data:
        raise Bad("invalid", path="data.paid_at")
    if kind == "order" and data["status"] in ("cancelled", "refused") and "by" not in data:
        raise Bad("invalid", path="data.by")
    if kind == "incident" and (
        not ("payment_methods" in data or "provider" in data) or data["until"] < data["from"]
    ):
        raise Bad("invalid", path="data")
    if kind in ("confirmed", "changed") and "pay_by" in data:
        longest = policy["input"]["longest_pay_by"]
        if not at <= data["pay_by"] <= at + longest:
            raise Bad("invalid", path="data.pay_by")
