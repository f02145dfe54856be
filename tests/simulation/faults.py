"""What the simulation does to the rules, and what it knows better than the lanes."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from schemas.events import PaymentUpdated
from schemas.topics import Stream
from tests.simulation.kafka import Cluster
from tests.simulation.worker import INPUTS, TOPICS
from tests.support.builders import Record
from tests.support.oracle import output_id
from tests.support.reading import time_ms

JUDGING, APPLYING = "bomb-judge", "bomb-apply"
"""Payments with these ids trip the rules over: a bug of ours, as row `internal` has it."""

STALE_CHECKOUTS = 20
TELLS: dict[Stream, str] = {
    "payment": "marketplace.payment.updated",
    "checkout": "marketplace.checkout.confirmed",
}


class Tripped(Exception):
    """The bug that is simulated."""


def failing_judge(judge: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(customer_id: str, customer: Any, *args: Any, **kwargs: Any) -> Any:
        for checkout in customer.checkouts:
            for payment in checkout.payments:
                if payment.payment_id == JUDGING:
                    raise Tripped(customer_id)
        return judge(customer_id, customer, *args, **kwargs)

    return wrapped


def failing_tell(tell: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(customer: Any, fact: Any, desk: Any) -> Any:
        told = tell(customer, fact, desk)  # half of it is done: it must not stay
        if type(fact) is PaymentUpdated and fact.data.payment_id == APPLYING:
            raise Tripped(fact.data.customer_id)
        return told

    return wrapped


@functools.lru_cache(maxsize=4096)
def _told_at(
    value: bytes, key: bytes, headers: tuple[tuple[str, bytes], ...], type_: str
) -> int | None:
    """The time of a good event of this type."""
    try:
        event = orjson.loads(value)
        if "customer_id" in event:  # binary mode
            event = {name[3:]: text.decode() for name, text in headers} | {"data": event}
        fits = event["type"] == type_ and event["data"]["customer_id"].encode() == key
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return time_ms(event["time"]) if fits and event["source"] != "poison" else None


def silent(
    cluster: Cluster, partition: int, applied: Mapping[Stream, int], fresh_from_ms: int
) -> bool:
    """Whether among what is applied no payment is that fresh, although the 20 newest checkouts are
    all newer than any payment. (Once that was so, the lane may hold for longer.)"""
    newest: dict[Stream, set[int]] = {"payment": {0}, "checkout": set()}
    for stream, times in newest.items():
        log = cluster.log(TOPICS.name(stream), partition)
        for entry in log.readable():
            if entry.offset >= applied.get(stream, 0):
                break
            at_ms = _told_at(entry.value or b"", entry.key or b"", entry.headers, TELLS[stream])
            if at_ms is not None:
                times.add(at_ms)
    payment = max(newest["payment"])
    if payment >= fresh_from_ms:
        return False
    checkouts = sorted(newest["checkout"])[-STALE_CHECKOUTS:]
    return len(checkouts) == STALE_CHECKOUTS and checkouts[0] > payment


def read_all(
    cluster: Cluster, rebuilds: Counter[int], *, true_times: bool
) -> tuple[list[Record], list[tuple[str, int, str]]]:
    """All that is readable, as the verifier wants it, and what workers said too often of dead
    letters: a rebuild reads, and rejects, everything once more.

    What was found on a wrong partition is known to its customer's lane when that is told, not
    before: such records get the append time of the telling. `true_times`: outputs get the broker's
    time, because clocks of workers were wrong.
    """
    told = _misplaced(cluster)
    records: list[Record] = []
    times: Counter[tuple[str, int, str]] = Counter()
    for (topic, partition), log in sorted(cluster.logs.items()):
        if topic == TOPICS.changelog:
            continue
        for entry in log.readable():
            at_ms = entry.broker_ms if true_times else entry.timestamp
            if topic.endswith(".dlq"):
                offset = dict(entry.headers)["hitrun.error.offset"].decode()
                times[topic, partition, offset] += 1
                if times[topic, partition, offset] > 1:
                    continue
            elif told and topic in INPUTS:
                found = told.get(output_id("misplaced", topic, partition, entry.offset), [])
                if found:
                    at_ms = found[0]
                    times[topic, partition, f"{entry.offset}, misplaced"] = len(found)
            records.append(
                Record(
                    topic, entry.value, entry.key, at_ms, partition, entry.offset,
                    list(entry.headers),
                )
            )  # fmt: skip
    return records, [place for place, n in times.items() if n > 1 + rebuilds[place[1]]]


def _misplaced(cluster: Cluster) -> dict[str, list[int]]:
    """When the right lane was told of each record found on a wrong partition, by event id."""
    told: dict[str, list[int]] = {}
    for (topic, _), log in cluster.logs.items():
        if topic == TOPICS.command:
            for entry in log.readable():
                if b"hitrun.event.misplaced" in (entry.value or b""):
                    told.setdefault(orjson.loads(entry.value or b"")["id"], []).append(
                        entry.broker_ms
                    )
    return {id_: sorted(at) for id_, at in told.items()}


assert set(INPUTS) >= {TOPICS.payment, TOPICS.checkout}
