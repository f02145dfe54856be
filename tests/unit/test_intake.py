"""What becomes of the records of a batch: applied, skipped and counted, or a dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from agents import checkout, command, intake, order, payment
from domain.ledger import Ledger
from domain.policy import DEFAULT_POLICY, Policy, parse_policy
from schemas.codec import MAX_BYTES
from schemas.faults import WRONG_PARTITION
from schemas.outputs import decode_output, event_id
from schemas.partition import partition_of
from schemas.topics import Stream
from tests.support import builders as b

HERE = partition_of(b"c1", 12)
ELSEWHERE = (HERE + 1) % 12
AGENTS = {"checkout": checkout, "payment": payment, "order": order, "command": command}
GUESTS = parse_policy('[input]\nignore_customers = ["c1"]', name="test")


def a_ledger(partition: int = HERE, policy: Policy = DEFAULT_POLICY, now: b.Time = 0) -> Ledger:
    ledger = Ledger(policy=policy, partition=partition, partitions=12)
    ledger.fire(frontier_ms=b.ms(now), clock_ms=0)
    return ledger


def feed(ledger: Ledger, *records: b.Record, stream: Stream = "payment") -> intake.Fed:
    return AGENTS[stream].feed(ledger, records)


def letters(ledger: Ledger) -> list[tuple[str, str]]:
    return [(letter.reason, letter.detail) for letter in ledger.flush(clock_ms=0).dead_letters]


def held(ledger: Ledger, customer: str = "c1") -> list[str]:
    """The held checkouts of a customer, after a flush."""
    found = ledger.customer(customer)
    return [] if found is None else [one.checkout_id for one in found.checkouts if one.held]


# ------------------------------------------------------------ applied


def test_each_agent_applies_the_events_of_its_topic() -> None:
    ledger = a_ledger()
    feed(ledger, b.record(b.checkout()), b.record(b.changed(at="+1m")), stream="checkout")
    feed(ledger, b.record(b.payment(at="+2m")), stream="payment")
    feed(ledger, b.record(b.order(at="+3m")), stream="order")
    feed(ledger, b.record(b.overturn(at="+4m")), stream="command")
    assert letters(ledger) == []
    assert ledger.stats.events == 5
    found = ledger.customer("c1")
    assert found is not None
    assert [one.checkout_id for one in found.checkouts] == ["k1"]


def test_beats_are_the_event_times_of_payments_and_confirmed_checkouts_applied() -> None:
    ledger = a_ledger()
    records = [
        b.record(b.checkout("k1", at="+1s"), arrives="+1m"),
        b.record(b.changed(at="+2s"), arrives="+1m"),
        b.record(b.checkout("k2", at="+3s"), arrives="+1m"),
        b.record(b.checkout("k3", at="+3s", method="gold"), arrives="+1m"),
    ]
    assert feed(ledger, *records, stream="checkout").beats == [b.ms("+1s"), b.ms("+3s")]
    fed = feed(ledger, b.record(b.payment(at="+4s", paid_at="+1s")), stream="payment")
    assert fed.beats == [b.ms("+4s")]
    assert feed(ledger, b.record(b.order(at="+5s")), stream="order").beats == []


def test_the_line_goes_on_after_any_bad_record() -> None:
    ledger = a_ledger()
    feed(
        ledger,
        b.Record("topic", b"{"),
        b.record(b.payment("p1", at="+0")),
        b.Record("topic", None),
        b.record(b.payment("p2", at="+0", status="nonsense")),
        b.record(b.payment("p3", at="+0")),
    )
    assert ledger.stats.events == 2
    assert [reason for reason, _ in letters(ledger)] == ["malformed", "invalid"]
    assert ledger.stats.skipped == Counter({"tombstone": 1})


def test_a_dead_letter_is_the_record_itself() -> None:
    ledger, record = a_ledger(), b.record(b.payment(at="+0", status="nonsense"))
    feed(ledger, record)
    assert ledger.flush(clock_ms=0).dead_letters[0].record is record


# ------------------------------------------------------------ key and partition


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        (None, "the record has no key"),
        (b"", "the record's key is not its customer_id"),
        (b"c2", "the record's key is not its customer_id"),
        (b"\xff", "the record's key is not its customer_id"),
    ],
)
def test_a_key_that_is_not_the_customer_id_is_a_dead_letter(key: bytes | None, detail: str) -> None:
    ledger = a_ledger()
    fed = feed(ledger, b.record(b.payment(at="+0"), key=key))
    assert letters(ledger) == [("key", detail)]
    assert fed == intake.Fed([], 0)


def test_a_key_is_the_customer_id_in_utf_8() -> None:
    customer = "c-ä😀"
    ledger = a_ledger(partition_of(customer.encode(), 12))
    feed(ledger, b.record(b.payment(at="+0", customer=customer)))
    assert letters(ledger) == []


def test_a_wrong_partition_is_a_dead_letter_and_counted_by_itself() -> None:
    ledger = a_ledger(ELSEWHERE)
    fed = feed(ledger, b.record(b.payment(at="+0")))
    assert fed == intake.Fed([], 1)
    [(reason, detail)] = letters(ledger)
    assert reason == "key"
    assert detail == f"{WRONG_PARTITION}: {ELSEWHERE}, the key belongs to {HERE}"


def test_what_lies_wrong_is_held_where_its_customer_lives() -> None:
    ledger = a_ledger(ELSEWHERE)
    record = b.record(b.payment(at="+0"), arrives="+7s", partition=ELSEWHERE, offset=41)
    feed(ledger, record)
    [output] = ledger.flush(clock_ms=0).outputs
    assert (output.role, output.key, output.partition) == ("command", b"c1", HERE)
    assert output.value is not None
    event = decode_output(output.value)
    assert event.id == event_id("misplaced", record.topic, ELSEWHERE, 41)
    assert event.time == b.rfc3339(b.ms("+7s"))
    assert event.subject == "k1"
    # No customer was made of it here,
    assert ledger.count == 0
    # and the lane it belongs to holds the checkout.
    right = a_ledger(HERE)
    told = b.Record("hitrun.command.v1", output.value, output.key, partition=HERE)
    told.timestamp = b.ms("+8s")
    feed(right, told, stream="command")
    assert letters(right) == []
    assert held(right) == ["k1"]


def test_the_partition_is_not_asked_for_customers_known_here() -> None:
    ledger = Ledger(policy=DEFAULT_POLICY, partition=HERE, partitions=12)
    feed(ledger, b.record(b.payment("p1", at="+0")))
    ledger.partition = ELSEWHERE  # as if it were a stray that came before the check
    feed(ledger, b.record(b.payment("p2", at="+0")))
    assert letters(ledger) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_wrong_key_holds_the_checkout_of_a_customer_of_this_lane(*, known: bool) -> None:
    ledger = a_ledger(HERE)
    if known:
        feed(ledger, b.record(b.checkout()), stream="checkout")
    feed(ledger, b.record(b.payment(at="+0"), key=b"c2"))
    flush = ledger.flush(clock_ms=0)
    assert [letter.reason for letter in flush.dead_letters] == ["key"]
    for output in flush.outputs:  # not known: by way of the command topic, to this very lane
        assert output.partition == HERE
        told = b.Record("hitrun.command.v1", output.value, output.key, partition=HERE)
        feed(ledger, told, stream="command")
    ledger.flush(clock_ms=0)
    assert len(flush.outputs) == (0 if known else 1)
    assert held(ledger) == ["k1"]


@pytest.mark.parametrize("reason", ["invalid", "malformed"])
def test_any_dead_letter_holds_where_its_customer_lives(reason: str) -> None:
    event = b.payment(at="+0", status="nonsense" if reason == "invalid" else "paid")
    event["specversion"] = "1.0" if reason == "invalid" else "0.3"
    here, there = a_ledger(HERE), a_ledger(ELSEWHERE)
    for ledger in (here, there):
        feed(ledger, b.record(event))
    flush = here.flush(clock_ms=0)
    assert [letter.reason for letter in flush.dead_letters] == [reason]
    assert flush.outputs == []
    assert held(here) == ["k1"]
    assert [output.partition for output in there.flush(clock_ms=0).outputs] == [HERE]
    assert there.count == 0


def test_the_same_stray_is_told_with_the_same_id() -> None:
    values = []
    for _ in range(2):
        ledger = a_ledger(ELSEWHERE)
        feed(ledger, b.record(b.payment(at="+0"), offset=5))
        values.append(ledger.flush(clock_ms=0).outputs[0].value)
    assert values[0] == values[1]


# ------------------------------------------------------------ future


@pytest.mark.parametrize(("ahead", "rejected"), [("+5m", False), ("+5m+1ms", True)])
def test_an_event_may_be_dated_five_minutes_after_its_append(ahead: str, rejected: bool) -> None:
    ledger = a_ledger()
    feed(ledger, b.record(b.payment(at=ahead, paid_at="+0"), arrives="+0"))
    found = letters(ledger)
    if rejected:
        assert found == [("future", "$.time: 300001 ms after the record was appended")]
        assert held(ledger) == ["k1"]
    else:
        assert found == []


@pytest.mark.parametrize(("ahead", "rejected"), [("+5m", False), ("+5m+1ms", True)])
def test_paid_at_too(ahead: str, rejected: bool) -> None:
    ledger = a_ledger()
    feed(ledger, b.record(b.payment(at="+0", paid_at=ahead)))
    found = letters(ledger)
    expected = [("future", "$.data.paid_at: 300001 ms after the record was appended")]
    assert found == (expected if rejected else [])


# ------------------------------------------------------------ limit and order of faults


@pytest.mark.parametrize(("size", "rejected"), [(MAX_BYTES, False), (MAX_BYTES + 1, True)])
def test_a_record_has_at_most_a_mebibyte(size: int, rejected: bool) -> None:
    event = b.payment(at="+0", provider_status="")
    event["note"] = "x" * (size - len(b.encode(event | {"note": ""})))
    record = b.record(event)
    assert record.value is not None
    assert len(record.value) == size
    ledger = a_ledger()
    feed(ledger, record)
    expected = [("limit", f"{size} bytes, more than {MAX_BYTES}")]
    assert letters(ledger) == (expected if rejected else [])


PAY_BY = "$.data.pay_by: "


@pytest.mark.parametrize(
    ("event", "record", "reason", "detail"),
    [
        ({"specversion": "0.3"}, {"key": b"c2"}, "malformed", "$.specversion"),
        ({"amount": -1}, {"key": b"c2"}, "invalid", "$.data.amount_minor"),
        ({"pay_by": "-1ms"}, {"key": b"c2"}, "invalid", PAY_BY),
        ({"pay_by": "+90d+1ms"}, {"key": b"c2"}, "invalid", PAY_BY),
        ({"pay_by": "-1ms"}, {"arrives": "-5m-1ms"}, "invalid", PAY_BY),
        ({"pay_by": "+90d"}, {"key": b"c2"}, "key", "the record's key"),
        ({"pay_by": "+0"}, {"arrives": "-5m-1ms"}, "future", "$.time"),
        ({}, {"key": b"c2", "arrives": "-5m-1ms"}, "key", "the record's key"),
    ],
)
def test_of_several_faults_the_first_of_the_table_is_named(
    event: dict[str, Any], record: dict[str, Any], reason: str, detail: str
) -> None:
    version = event.pop("specversion", "1.0")
    ledger = a_ledger()
    told = b.checkout(**event) | {"specversion": version}
    feed(ledger, b.record(told, **record), stream="checkout")
    [(named, why)] = letters(ledger)
    assert named == reason
    assert why.startswith(detail)


# ------------------------------------------------------------ skips


@pytest.mark.parametrize(("age", "skipped"), [("-400d", 0), ("-400d-1ms", 1)])
def test_events_older_than_400_days_before_now_are_skipped(age: str, skipped: int) -> None:
    ledger = a_ledger(now="+0")
    feed(ledger, b.record(b.order(at=age), arrives="+1h"), stream="order")
    assert ledger.stats.skipped["too_old"] == skipped
    assert letters(ledger) == []


@pytest.mark.parametrize(("age", "skipped"), [("-400d", 0), ("-400d-1ms", 1)])
def test_while_now_is_not_known_the_append_time_stands_for_it(age: str, skipped: int) -> None:
    ledger = a_ledger()
    feed(ledger, b.record(b.order(at=age), arrives="+0"), stream="order")
    assert ledger.stats.skipped["too_old"] == skipped


def test_ignored_customers_are_skipped_and_their_dead_letters_hold_nothing() -> None:
    ledger = a_ledger(policy=GUESTS)
    feed(ledger, b.record(b.payment(at="+0")), b.record(b.payment(at="+0", status="odd")))
    assert ledger.stats.skipped == Counter({"ignored_customer": 1})
    assert [reason for reason, _ in letters(ledger)] == ["invalid"]
    assert ledger.count == 0


ERASE = b.event("hitrun.customer.erase", {"customer_id": "c1"}, at="+0", id="e1")
INCIDENT = b.event(
    "hitrun.incident.declared",
    {
        "incident_id": "i1",
        "provider": "acme",
        "from": "2026-03-02T03:00:00Z",
        "until": "2026-03-02T09:00:00Z",
    },
    at="+0",
    id="e2",
)


def test_erasures_and_incidents_are_counted_as_not_done_yet() -> None:
    ledger = a_ledger()
    feed(
        ledger,
        b.record(ERASE, role="command"),
        b.record(INCIDENT, role="command", key=None),
        stream="command",
    )
    assert ledger.stats.skipped == Counter({"not_yet": 2})
    assert letters(ledger) == []


def test_an_incident_has_no_key_an_erasure_has_its_customers() -> None:
    ledger, other = a_ledger(), a_ledger(ELSEWHERE)
    feed(ledger, b.record(ERASE, role="command", key=None), stream="command")
    feed(other, b.record(ERASE, role="command"), stream="command")
    feed(other, b.record(INCIDENT, role="command", key=None), stream="command")
    assert letters(ledger) == [("key", "the record has no key")]
    assert letters(other) == [("key", f"{WRONG_PARTITION}: {ELSEWHERE}")]


def test_commands_of_the_future_are_dead_letters() -> None:
    ledger = a_ledger()
    feed(ledger, b.record(INCIDENT, role="command", key=None, arrives="-6m"), stream="command")
    assert [reason for reason, _ in letters(ledger)] == ["future"]


# ------------------------------------------------------------ faults of ours


class Trips(Ledger):
    """A ledger with a bug."""

    def apply(self, event: Any, record: Any) -> None:  # noqa: ARG002 - as the real one
        raise ZeroDivisionError("a bug of ours")


def test_an_exception_of_ours_is_internal_with_its_traceback_and_holds_the_checkout() -> None:
    ledger = Trips(policy=DEFAULT_POLICY, partition=HERE, partitions=12)
    feed(ledger, b.record(b.payment(at="+0")))
    [(reason, detail)] = letters(ledger)
    assert reason == "internal"
    assert "ZeroDivisionError: a bug of ours" in detail
    assert "test_intake.py" in detail
    assert held(ledger) == ["k1"]


def test_an_exception_while_decoding_is_internal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(record: object) -> None:  # noqa: ARG001 - as the real one
        raise ZeroDivisionError

    monkeypatch.setitem(intake.READERS, "payment", broken)
    ledger = a_ledger()
    feed(ledger, b.record(b.payment(at="+0")), b.Record("topic", b"{"))
    assert [reason for reason, _ in letters(ledger)] == ["internal", "internal"]
    assert held(ledger) == ["k1"]


def test_limits_of_the_ledger_are_dead_letters() -> None:
    ledger = a_ledger()
    records: Sequence[b.Record] = [b.record(b.payment(f"p{n}", at="+0")) for n in range(17)]
    feed(ledger, *records)
    assert [reason for reason, _ in letters(ledger)] == ["limit"]
