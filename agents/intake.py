"""What all agents do with a batch: decode, check what needs the record, apply.

Nothing here decides about customers. A record ends in exactly one of three ways: applied, skipped
and counted, or a dead letter; and the line goes on.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from domain.ledger import Ledger, Output
from schemas.codec import decode, ids_of, rfc3339, to_ms
from schemas.events import CheckoutConfirmed, InputEvent, PaymentData, PaymentUpdated
from schemas.faults import Reason, RejectRecord, SkipRecord
from schemas.outputs import misplaced
from schemas.partition import partition_of
from schemas.record import Record
from schemas.topics import Stream


def feed(ledger: Ledger, stream: Stream, records: Sequence[Record]) -> list[int]:
    """Applies a batch of one input topic, in its order. Returns the event times (ms) of the
    payments and confirmed checkouts applied, by which the frontier knows whether payments are
    still coming."""
    beats: list[int] = []
    for record in records:
        try:
            event = decode(stream, record)
            at_ms = check(ledger, event, record)
            ledger.apply(event, record)
            if isinstance(event, PaymentUpdated | CheckoutConfirmed):
                beats.append(at_ms)
        except SkipRecord as skipped:
            ledger.skip(skipped.reason)
        except RejectRecord as fault:
            reject(ledger, record, fault)
        except Exception:  # noqa: BLE001 - one odd record must not kill worker after worker
            customer_id, checkout_id = ids_of(record)
            ledger.reject(
                record,
                RejectRecord(
                    "internal",
                    traceback.format_exc(),
                    customer_id=customer_id,
                    checkout_id=checkout_id,
                ),
            )
    return beats


def check(ledger: Ledger, event: InputEvent, record: Record) -> int:
    """What only the record can tell: is it where it belongs, and not from the future. Returns
    the event time in ms. Raises RejectRecord (key, future) or SkipRecord (too_old,
    ignored_customer)."""
    data, policy = event.data, ledger.policy.input
    customer_id = data.customer_id
    key = record.key
    if key is None or key != customer_id.encode():
        told = "missing" if key is None else "not the customer_id"
        raise _fault(event, "key", f"the record's key is {told}")
    # murmur2 in Python costs as much as all the rest, so: only for customers not known here.
    if ledger.partitions > 1 and not ledger.knows(customer_id):
        right = partition_of(key, ledger.partitions)
        if right != ledger.partition:
            raise _fault(
                event,
                "key",
                f"partition {ledger.partition} is wrong, murmur2 of the key says {right}",
            )
    at_ms = to_ms(event.time)
    limit_ms = record.timestamp + policy.future_tolerance_ms
    if at_ms > limit_ms:
        raise _fault(event, "future", f"$.time: {at_ms - record.timestamp} ms after its append")
    if isinstance(data, PaymentData) and data.paid_at is not None:
        paid_ms = to_ms(data.paid_at)
        if paid_ms > limit_ms:
            raise _fault(
                event, "future", f"$.data.paid_at: {paid_ms - record.timestamp} ms after its append"
            )
    if customer_id in policy.ignore_customers:
        raise SkipRecord("ignored_customer")
    if at_ms < ledger.now_ms - policy.oldest_ms:
        raise SkipRecord("too_old")
    return at_ms


def reject(ledger: Ledger, record: Record, fault: RejectRecord) -> None:
    """A dead letter; when the customer lives in another lane, that lane is told to hold the
    checkout."""
    ledger.reject(record, fault)
    customer_id, checkout_id = fault.customer_id, fault.checkout_id
    if fault.reason != "key" or customer_id is None or checkout_id is None:
        return
    right = partition_of(customer_id.encode(), ledger.partitions)
    if right == ledger.partition and ledger.knows(customer_id):
        return  # held by reject
    ledger.emit(
        Output(
            "command",
            customer_id.encode(),
            misplaced(
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                at=rfc3339(record.timestamp),
                customer_id=customer_id,
                checkout_id=checkout_id,
            ),
            right,
        )
    )


def _fault(event: InputEvent, reason: Reason, detail: str) -> RejectRecord:
    return RejectRecord(
        reason,
        detail,
        customer_id=event.data.customer_id,
        checkout_id=event.data.checkout_id,
    )
