"""What all agents do with a batch: decode, check what needs the record, apply.

Nothing here decides about customers. A record ends in exactly one of three ways: applied, skipped
and counted, or a dead letter; and the line goes on.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from domain.ledger import Ledger, Output
from schemas.codec import MAX_BYTES, READERS, ids_of, rfc3339, to_ms
from schemas.events import (
    AnyEvent,
    CheckoutConfirmed,
    CustomerErase,
    IncidentDeclared,
    InputEvent,
    PaymentData,
    PaymentUpdated,
)
from schemas.faults import WRONG_PARTITION, Reason, RejectRecord, Skip
from schemas.outputs import misplaced
from schemas.partition import partition_of
from schemas.record import Record
from schemas.topics import Stream

_COMMANDS: Final = (CustomerErase, IncidentDeclared)
"""They are read and checked, but nothing acts on them yet."""

IGNORED: Final = Skip("ignored_customer")
TOO_OLD: Final = Skip("too_old")
NOT_YET: Final = Skip("not_yet")

_BEAT: Final[dict[Stream, type | None]] = {
    "checkout": CheckoutConfirmed,
    "payment": PaymentUpdated,
    "order": None,
    "command": None,
}


class Fed(Struct, gc=False):
    """What a lane wants to know of a batch besides what its ledger took."""

    beats: list[int]
    """Event times (ms) of the payments, or confirmed checkouts, applied: by these the frontier
    knows whether payments are still coming."""
    misplaced: int
    """Records with the right key on a wrong partition: a broken partitioner."""


def feed(ledger: Ledger, stream: Stream, records: Sequence[Record]) -> Fed:
    """Applies a batch of one input topic, in its order. Raises nothing."""
    read, apply, skip = READERS[stream], ledger.apply, ledger.skip
    beat, beats, misplaced_count = _BEAT[stream], [], 0
    for record in records:
        event: AnyEvent | Skip | None = None
        try:
            event = read(record)
            if isinstance(event, Skip):
                skip(event.reason)
                continue
            if isinstance(event, _COMMANDS):
                skip(_check_command(ledger, event, record).reason)
                continue
            checked = check(ledger, event, record)
            if isinstance(checked, Skip):
                skip(checked.reason)
                continue
            apply(event, record)
            if type(event) is beat:
                beats.append(checked)
        except RejectRecord as fault:
            misplaced_count += fault.detail.startswith(WRONG_PARTITION)
            reject(ledger, record, fault)
        except Exception:  # noqa: BLE001 - one odd record must not kill worker after worker
            reject(ledger, record, _internal(event, record))
    return Fed(beats, misplaced_count)


def check(ledger: Ledger, event: InputEvent, record: Record) -> int | Skip:
    """What only the record can tell: whether it is where it belongs, and not from the future.
    Returns the event time in ms, or the Skip ("ignored_customer", "too_old"). Raises RejectRecord:
    "key", "future" (later than the append time and the tolerance; at it is in time), "limit"
    (its size), or "invalid" (its pay_by) when it has that fault besides."""
    data = event.data
    customer_id = data.customer_id
    key = record.key
    if key is None or key != customer_id.encode():
        raise _fault(ledger, event, "key", _key_detail(key))
    # murmur2 in Python costs as much as all the rest, so: only for customers not known here.
    if ledger.partitions > 1 and not ledger.knows(customer_id):
        right = partition_of(key, ledger.partitions)
        if right != ledger.partition:
            detail = f"{WRONG_PARTITION}: {ledger.partition}, the key belongs to {right}"
            raise _fault(ledger, event, "key", detail)
    policy = ledger.policy.input
    at_ms = to_ms(event.time)
    latest_ms = record.timestamp + policy.future_tolerance_ms
    if at_ms > latest_ms:
        raise _fault(ledger, event, "future", _future_detail("$.time", at_ms, record))
    # What is paid at or before the event's time needs no second look.
    if isinstance(data, PaymentData) and data.paid_at is not None and data.paid_at > event.time:
        paid_ms = to_ms(data.paid_at)
        if paid_ms > latest_ms:
            detail = _future_detail("$.data.paid_at", paid_ms, record)
            raise _fault(ledger, event, "future", detail)
    value = record.value
    if value is not None and len(value) > MAX_BYTES:
        raise _fault(ledger, event, "limit", f"{len(value)} bytes, more than {MAX_BYTES}")
    if customer_id in policy.ignore_customers:
        return IGNORED
    # While now is not known yet, the append time is the best lower bound of it.
    if at_ms < (ledger.now_ms or record.timestamp) - policy.oldest_ms:
        return TOO_OLD
    return at_ms


def reject(ledger: Ledger, record: Record, fault: RejectRecord) -> None:
    """Takes a dead letter. Its checkout is held where its customer lives: here, or in the lane that
    is told by `hitrun.event.misplaced`."""
    customer_id, checkout_id = fault.customer_id, fault.checkout_id
    if customer_id is None or checkout_id is None:
        ledger.reject(record, fault)
        return
    if customer_id in ledger.policy.input.ignore_customers:
        ledger.reject(record, RejectRecord(fault.reason, fault.detail))
        return
    lives_here = ledger.knows(customer_id)
    right = ledger.partition
    if not lives_here:
        right = partition_of(customer_id.encode(), ledger.partitions)
        lives_here = right == ledger.partition and fault.reason != "key"
    ledger.reject(record, fault)
    if not lives_here:
        # Perhaps to this very lane: the ledger makes no customer out of a record with a wrong key.
        ledger.emit(_misplaced(record, customer_id, checkout_id, right))


def _misplaced(record: Record, customer_id: str, checkout_id: str, right: int) -> Output:
    value = misplaced(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=rfc3339(record.timestamp),
        customer_id=customer_id,
        checkout_id=checkout_id,
    )
    return Output("command", customer_id.encode(), value, right)


def _check_command(ledger: Ledger, event: CustomerErase | IncidentDeclared, record: Record) -> Skip:
    """As `check`, for commands that are not about a checkout."""
    # An incident is everybody's: it has no key, and lies on every partition.
    if isinstance(event, CustomerErase):
        key = event.data.customer_id.encode()
        if record.key != key:
            raise RejectRecord("key", _key_detail(record.key))
        if partition_of(key, ledger.partitions) != ledger.partition:
            raise RejectRecord("key", f"{WRONG_PARTITION}: {ledger.partition}")
    at_ms = to_ms(event.time)
    if at_ms > record.timestamp + ledger.policy.input.future_tolerance_ms:
        raise RejectRecord("future", _future_detail("$.time", at_ms, record))
    return NOT_YET


def _fault(ledger: Ledger, event: InputEvent, reason: Reason, detail: str) -> RejectRecord:
    """The fault found, or the one of pay_by, which comes before it in the error table. (Alone it is
    found by `ledger.apply`: there is no second look at it for every event.)"""
    data = event.data
    pay_by = getattr(data, "pay_by", None)
    if pay_by is not None:
        after_ms = to_ms(pay_by) - to_ms(event.time)
        if not 0 <= after_ms <= ledger.policy.input.longest_pay_by_ms:
            reason, detail = "invalid", "$.data.pay_by: before the event's time, or too long after"
    return RejectRecord(reason, detail, customer_id=data.customer_id, checkout_id=data.checkout_id)


def _internal(event: AnyEvent | Skip | None, record: Record) -> RejectRecord:
    """Call while handling the exception."""
    if event is None or isinstance(event, Skip):
        customer_id, checkout_id = ids_of(record)
    else:
        customer_id = getattr(event.data, "customer_id", None)
        checkout_id = getattr(event.data, "checkout_id", None)
    detail = traceback.format_exc()
    return RejectRecord("internal", detail, customer_id=customer_id, checkout_id=checkout_id)


def _key_detail(key: bytes | None) -> str:
    return "the record has no key" if key is None else "the record's key is not its customer_id"


def _future_detail(path: str, told_ms: int, record: Record) -> str:
    return f"{path}: {told_ms - record.timestamp} ms after the record was appended"
