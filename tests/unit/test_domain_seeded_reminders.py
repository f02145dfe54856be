"""Rebuild: reminders that were sent are not sent again, and count for the caps."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import MsgspecError
from msgspec.structs import replace

from domain.policy import DEFAULT_POLICY, Policy
from domain.reminders import next_step_ms
from schemas.codec import rfc3339
from schemas.outputs import encode
from tests.unit.domain_builders import (
    AWAKE,
    DAY,
    HOUR,
    T0,
    Shop,
    caps,
    case_of,
    changed,
    confirmed,
    misplaced,
    payment,
    said,
)

NO_GAP = replace(AWAKE, reminders=replace(AWAKE.reminders, per_customer_gap_ms=0))


def rebuilt(*former: Shop, clock: int, events: tuple[Any, ...], policy: Policy = NO_GAP) -> Shop:
    """An empty state that was told what was announced, then the events again."""
    shop = Shop(now=0, policy=policy)
    for each in former:
        for said_once in each.announced:
            shop.ledger.seed(*said_once)
    shop.tell(*events, clock=clock)
    return shop


def sent(value: dict[str, Any], *, at: str, number: int = 1, checkout: str = "k1") -> bytes:
    """A record of the reminder topic."""
    return encode(
        {
            "id": "some id",
            "type": "hitrun.reminder.due",
            "subject": checkout,
            "time": at,
            "data": {"customer_id": "c1", "checkout_id": checkout, "number": number, **value},
        }
    )


def ids(outputs: list[dict[str, Any]]) -> list[str]:
    return [output["id"] for output in said(outputs, "due")]


def test_what_was_sent_is_not_sent_again() -> None:
    events = (confirmed(),)
    former = Shop(policy=NO_GAP)
    former.tell(*events)
    assert len(ids(former.at(T0 + HOUR))) == 1
    without = rebuilt(clock=T0 + 2 * HOUR, events=events)
    assert len(ids(without.at(T0 + 2 * HOUR))) == 1, "nothing else keeps it back"
    shop = rebuilt(former, clock=T0 + 2 * HOUR, events=events)
    assert ids(shop.at(T0 + 2 * HOUR)) == []
    assert shop.ledger.stats.reminders_dropped == {}
    shop.restart()
    assert ids(shop.at(T0 + 3 * HOUR)) == []


@pytest.mark.parametrize(("after", "count"), [(-1, 1), (0, 0), (1, 0)])
def test_a_step_at_or_before_the_last_one_sent_is_done(after: int, count: int) -> None:
    events = (confirmed(method="counter"),)
    policy = replace(NO_GAP, reminders=replace(NO_GAP.reminders, per_checkout=3))
    shop = Shop(now=0, policy=policy)
    at = T0 + 2 * HOUR + after
    shop.ledger.seed("reminder", b"c1", sent({}, at=rfc3339(at)), at)
    shop.tell(*events, clock=at)
    assert len(ids(shop.at(T0 + 3 * HOUR))) == count
    assert len(ids(shop.at(T0 + 20 * HOUR))) == 1, "the one before pay_by comes in its time"


def test_what_quiet_hours_moved_is_done() -> None:
    quiet = replace(NO_GAP, reminders=replace(NO_GAP.reminders, quiet_hours=(21 * 60, 8 * 60)))
    base = T0 + 4 * HOUR  # 19:00 in Jakarta, its step at 21:00, moved to 08:00
    events = (confirmed(method="counter", at=base),)
    former = Shop(policy=quiet)
    former.tell(*events, now=base + 2 * HOUR)
    morning = base + 13 * HOUR
    assert len(ids(former.at(morning))) == 1
    shop = rebuilt(former, clock=morning + HOUR, events=events, policy=quiet)
    assert ids(shop.at(morning + HOUR)) == []
    assert len(ids(shop.at(base + 20 * HOUR))) == 1


def test_a_step_sent_is_not_sent_again_when_pay_by_moves() -> None:
    events = (confirmed(method="counter"), payment("paid", at=T0 + 21 * HOUR, amount=1000))
    former = Shop(policy=NO_GAP)
    former.tell(events[0], now=T0 + 2 * HOUR - 1)
    former.at(T0 + 20 * HOUR)  # both reached: only the one before pay_by is sent
    shop = rebuilt(former, clock=T0 + 21 * HOUR, events=events)
    shop.at(T0 + 21 * HOUR)
    shop.tell(payment("failed", at=T0 + 22 * HOUR), now=T0 + 22 * HOUR)
    assert shop.standings() == {"k1": "open"}
    assert ids(shop.at(T0 + 45 * HOUR)) == []


def test_a_step_that_was_only_dropped_comes_again_when_pay_by_moves() -> None:
    events = (confirmed(method="counter"), payment("paid", at=T0 + 3 * HOUR))
    former = Shop(policy=NO_GAP)
    former.tell(events[0])
    assert len(ids(former.at(T0 + 2 * HOUR))) == 1
    failed = payment("failed", at=T0 + 22 * HOUR)
    shop = rebuilt(former, clock=T0 + 22 * HOUR, events=(*events, failed))
    assert ids(shop.at(T0 + 42 * HOUR - 1)) == []
    (second,) = said(shop.at(T0 + 42 * HOUR), "due")
    assert second["number"] == 2


def test_another_base_keeps_what_was_sent_and_the_caps() -> None:
    events = (confirmed(method="counter"),)
    former = Shop(policy=NO_GAP)
    former.tell(*events)
    assert len(ids(former.at(T0 + 2 * HOUR))) == 1
    shop = rebuilt(former, clock=T0 + 3 * HOUR, events=events)
    shop.at(T0 + 3 * HOUR)
    # told late: both bases had reached their first step when the one was sent
    shop.tell(changed("card", at=T0 + HOUR - 1), now=T0 + 3 * HOUR + 1)
    assert ids(shop.at(T0 + 4 * HOUR)) == []
    shop.tell(changed("counter", at=T0 + 4 * HOUR), now=T0 + 4 * HOUR)
    (second,) = said(shop.at(T0 + 6 * HOUR), "due")
    assert second["number"] == 2
    assert ids(shop.at(T0 + 24 * HOUR)) == []
    assert shop.ledger.stats.reminders_dropped["checkout_cap"] == 1


def test_a_base_that_did_not_begin_yet_is_due_at_its_first_step_left() -> None:
    shop = Shop(now=0)
    shop.ledger.seed("reminder", b"c1", sent({}, at=rfc3339(T0 + 2 * HOUR)), T0 + 2 * HOUR)
    shop.tell(clock=T0)
    customer = shop.ledger.customer("c1")
    assert customer is not None
    case = case_of(confirmed(method="counter"))
    case.checkout.reminded = customer.checkouts[0].reminded
    assert next_step_ms(case, DEFAULT_POLICY.reminders) == T0 + 20 * HOUR


@pytest.mark.parametrize(("gap", "count"), [(16 * HOUR - 1, 0), (16 * HOUR, 1), (16 * HOUR + 1, 1)])
def test_the_gap_counts_from_the_moment_of_sending(gap: int, count: int) -> None:
    late = T0 + 2 * HOUR  # the step was an hour before
    shop = Shop(now=0)
    shop.ledger.seed("reminder", b"c1", sent({}, at=rfc3339(T0 + HOUR), checkout="k0"), late)
    shop.tell(confirmed(at=late + gap - HOUR), clock=late + gap)
    assert len(ids(shop.at(late + gap))) == count


@pytest.mark.parametrize(("after", "count"), [(-1, 0), (0, 1), (1, 1)])
def test_the_week_counts(after: int, count: int) -> None:
    former = Shop()
    for day in range(3):
        former.tell(confirmed(f"k{day}", at=T0 + day * DAY), now=T0 + day * DAY)
        former.at(T0 + day * DAY + HOUR)
    fourth = T0 + 7 * DAY + after
    shop = rebuilt(former, clock=fourth + HOUR, events=(confirmed("k9", at=fourth),), policy=AWAKE)
    assert len(ids(shop.at(fourth + HOUR))) == count
    customer = shop.ledger.customer("c1")
    assert customer is not None
    assert len(customer.reminded_ms) == 3


def test_a_record_read_twice_counts_once() -> None:
    shop = Shop(now=0)
    for _ in range(2):
        shop.ledger.seed("reminder", b"c1", sent({}, at=rfc3339(T0), number=2), T0 + 1)
    shop.tell(clock=T0)
    customer = shop.ledger.customer("c1")
    assert customer is not None
    assert customer.reminded_ms == [T0 + 1]
    (checkout,) = customer.checkouts
    assert checkout.reminded is not None
    assert (checkout.reminded.sent, checkout.reminded.until_ms) == (2, T0)


def test_a_checkout_that_is_not_known_yet_is_no_orphan_and_makes_nothing_a_limit() -> None:
    shop = Shop(now=0, policy=caps(orphans=1))
    for n in range(5):
        value = sent({"id": n}, at=rfc3339(T0), checkout=f"r{n}")
        shop.ledger.seed("reminder", b"c1", value, T0)
    shop.tell(payment("pending", at=T0), misplaced(at=T0, checkout="h1"), clock=T0)
    shop.tell(misplaced(at=T0 + 1, checkout="h2"), clock=T0)
    assert shop.last.dead_letters == []
    # of holds of unknown checkouts the older goes; what was reminded is not the price of one
    assert sorted(shop.standings()) == ["h2", "k1", "r0", "r1", "r2", "r3", "r4"]


def test_a_customer_of_whom_only_a_reminder_is_known_is_forgotten() -> None:
    shop = Shop(now=0)
    shop.ledger.seed("reminder", b"c1", sent({}, at=rfc3339(T0)), T0)
    shop.tell(clock=T0)
    retention = DEFAULT_POLICY.retention.orphan_ms
    shop.at(T0 + retention - 1)
    assert shop.ledger.count == 1
    shop.at(T0 + retention)
    assert shop.ledger.count == 0
    assert shop.changelog == {b"c1": None}


def test_other_records_of_the_topic_are_passed_over_and_unreadable_ones_are_not() -> None:
    shop = Shop(now=0)
    other = encode({"id": "x", "type": "other", "subject": "s", "time": rfc3339(T0), "data": {}})
    for value in (None, other):
        shop.ledger.seed("reminder", b"c1", value, T0)
    shop.tell(clock=T0)
    assert shop.ledger.count == 0
    with pytest.raises(MsgspecError):
        shop.ledger.seed("reminder", b"c1", b"{", T0)
    with pytest.raises(MsgspecError):
        shop.ledger.seed("reminder", b"c1", sent({"number": None}, at=rfc3339(T0)), T0)
