"""Reminders: which steps exist, when they are sent, quiet hours, caps, drops by reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from domain.policy import DEFAULT_POLICY
from domain.reminders import awake_at_ms, steps_of, zone_of
from tests.unit.domain_builders import (
    AWAKE,
    DAY,
    HOUR,
    MINUTE,
    T0,
    Shop,
    case_of,
    changed,
    confirmed,
    misplaced,
    payment,
    said,
)

QUIET = (21 * 60, 8 * 60)


def steps(**options: Any) -> list[tuple[int, str]]:
    return steps_of(case_of(confirmed(**options)), DEFAULT_POLICY.reminders)


def dropped(shop: Shop) -> dict[str, int]:
    return dict(shop.ledger.stats.reminders_dropped)


# which steps exist


def test_steps_by_method() -> None:
    assert steps(method="qris") == [(T0 + HOUR, "1h")]
    assert steps(method="counter") == [(T0 + 2 * HOUR, "2h"), (T0 + 20 * HOUR, "-4h")]
    assert steps_of(case_of(confirmed(method="cod")), DEFAULT_POLICY.reminders) == []


@pytest.mark.parametrize(("after", "exists"), [(-1, False), (0, True), (1, True)])
def test_a_step_after_send_before_does_not_exist(after: int, *, exists: bool) -> None:
    pay_by = T0 + HOUR + 15 * MINUTE + after
    assert steps(pay_by=pay_by) == ([(T0 + HOUR, "1h")] if exists else [])


@pytest.mark.parametrize(("after", "exists"), [(-1, False), (0, False), (1, True)])
def test_a_step_at_or_before_the_base_does_not_exist(after: int, *, exists: bool) -> None:
    names = [name for _, name in steps(method="counter", pay_by=T0 + 4 * HOUR + after)]
    assert ("-4h" in names) is exists


# sending


@pytest.mark.parametrize(("after", "count"), [(-1, 0), (0, 1), (1, 1)])
def test_a_step_is_sent_when_now_reaches_it(after: int, count: int) -> None:
    shop = Shop()
    shop.tell(confirmed())
    assert len(shop.at(T0 + HOUR + after)) == count


def test_it_says_what_is_left_and_when_and_only_once() -> None:
    shop = Shop()
    shop.tell(confirmed(language="id", time_zone="Asia/Makassar"))
    (reminder,) = shop.at(T0 + HOUR + 5)
    assert reminder["template"] == "payment_reminder"
    assert (reminder["number"], reminder["due_minor"], reminder["tone"]) == (1, 1000, "soft")
    assert reminder["time"] == "2027-01-15T09:00:00.000Z"
    assert reminder["pay_by"] == "2027-01-15T12:00:00.000Z"
    assert reminder["send_before"] == "2027-01-15T11:45:00.000Z"
    assert (reminder["time_zone"], reminder["language"]) == ("Asia/Makassar", "id")
    assert shop.tell(misplaced(at=T0, checkout="other")) == []


def test_half_paid_gets_a_balance_reminder() -> None:
    shop = Shop()
    shop.tell(confirmed(), payment("paid", at=T0 + 1, amount=300))
    (reminder,) = shop.at(T0 + HOUR)
    assert (reminder["template"], reminder["due_minor"]) == ("balance_reminder", 700)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (payment("pending", at=T0), "awaited"),
        (payment("authorized", at=T0), "awaited"),
        (misplaced(at=T0), "held"),
        (None, "not_allowed"),
    ],
)
def test_what_keeps_a_reminder_back(event: Any, reason: str) -> None:
    shop = Shop()
    shop.tell(confirmed(reminders_allowed=event is not None), *([event] if event else []))
    assert shop.at(T0 + HOUR) == []
    assert dropped(shop) == {reason: 1}


@pytest.mark.parametrize(("after", "count"), [(-1, 1), (0, 1), (1, 0)])
def test_by_the_clock_it_is_not_sent_after_send_before(after: int, count: int) -> None:
    shop = Shop()
    shop.tell(confirmed())
    send_before = T0 + 4 * HOUR - 15 * MINUTE
    assert len(shop.at(T0 + HOUR, clock=send_before + after)) == count
    assert dropped(shop) == ({} if count else {"too_late": 1})


def test_of_several_steps_reached_at_once_only_the_last_counts() -> None:
    shop = Shop()
    shop.tell(confirmed(method="counter"))
    (reminder,) = shop.at(T0 + 21 * HOUR)
    assert reminder["time"] == "2027-01-16T04:00:00.000Z"
    assert dropped(shop) == {"overtaken": 1}


def test_a_paid_checkouts_step_is_not_made_up_for_when_it_opens_again() -> None:
    shop = Shop()
    shop.tell(confirmed(), payment("paid", at=T0 + 1))
    shop.at(T0 + HOUR)
    assert shop.tell(payment("failed", at=T0 + 2), now=T0 + HOUR + 1) == []
    assert shop.standings() == {"k1": "open"}
    assert dropped(shop) == {"not_open": 1}


def test_another_method_begins_its_steps_anew_and_keeps_the_caps() -> None:
    shop = Shop()
    shop.tell(confirmed())
    assert len(shop.at(T0 + HOUR)) == 1
    shop.tell(changed("counter", at=T0 + 2 * HOUR))
    assert shop.at(T0 + 4 * HOUR) == []  # 2h: within 16 h of the last
    (second,) = shop.at(T0 + 22 * HOUR)  # -4h
    assert second["number"] == 2
    assert dropped(shop) == {"customer_gap": 1}


def test_a_dropped_step_before_pay_by_comes_again_when_pay_by_moves() -> None:
    shop = Shop()
    shop.tell(confirmed(method="counter"))
    shop.tell(payment("paid", at=T0 + HOUR), now=T0 + HOUR)
    shop.at(T0 + 21 * HOUR)
    assert shop.tell(payment("failed", at=T0 + 22 * HOUR), now=T0 + 22 * HOUR) == []
    assert len(shop.at(T0 + 42 * HOUR)) == 1
    assert dropped(shop) == {"not_open": 1}


def test_a_step_sent_is_not_sent_again_when_pay_by_moves() -> None:
    shop = Shop()
    shop.tell(confirmed(method="counter"))
    assert len(shop.at(T0 + 20 * HOUR)) == 1
    shop.tell(payment("paid", at=T0 + 21 * HOUR), now=T0 + 21 * HOUR)
    shop.tell(payment("failed", at=T0 + 22 * HOUR), now=T0 + 22 * HOUR)
    assert said(shop.at(T0 + 45 * HOUR), "due") == []


# caps, by the clock, over what was really sent


@pytest.mark.parametrize(("gap", "count"), [(16 * HOUR - 1, 0), (16 * HOUR, 1), (16 * HOUR + 1, 1)])
def test_sixteen_hours_between_a_customers_reminders(gap: int, count: int) -> None:
    shop = Shop()
    shop.tell(confirmed(), confirmed("k2", at=T0 + gap))
    assert len(shop.at(T0 + HOUR)) == 1
    assert len(said(shop.at(T0 + HOUR + gap), "due")) == count


def test_two_per_checkout() -> None:
    shop = Shop(policy=replace(AWAKE, reminders=replace(AWAKE.reminders, per_customer_gap_ms=0)))
    shop.tell(confirmed(method="counter"))
    assert len(shop.at(T0 + 2 * HOUR)) == 1
    assert len(shop.at(T0 + 20 * HOUR)) == 1
    shop.tell(changed("counter", at=T0 + 21 * HOUR))
    assert shop.at(T0 + 23 * HOUR) == []
    assert dropped(shop) == {"checkout_cap": 1}


@pytest.mark.parametrize(("after", "count"), [(-1, 0), (0, 1), (1, 1)])
def test_three_in_seven_days(after: int, count: int) -> None:
    shop = Shop()
    for day in range(3):
        shop.tell(confirmed(f"k{day}", at=T0 + day * DAY), now=T0 + day * DAY)
        assert len(said(shop.at(T0 + day * DAY + HOUR), "due")) == 1
    fourth = T0 + 7 * DAY + after
    shop.tell(confirmed("k9", at=fourth), now=fourth)
    assert len(said(shop.at(fourth + HOUR), "due")) == count


def test_of_several_checkouts_the_earlier_step_goes_first_then_the_smaller_id() -> None:
    for ids, first in ((("kb", "ka"), "ka"), (("ka", "kb"), "ka")):
        shop = Shop()
        shop.tell(*(confirmed(checkout) for checkout in ids))
        assert [r["checkout_id"] for r in shop.at(T0 + HOUR)] == [first]
    shop = Shop()
    shop.tell(confirmed("ka", at=T0 + 1), confirmed("kb"))
    assert [r["checkout_id"] for r in shop.at(T0 + 2 * HOUR)] == ["kb"]


# quiet hours


def at(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("clock", "awake"),
    [
        ("2027-01-15T20:59:59.999", "2027-01-15T20:59:59.999"),
        ("2027-01-15T21:00", "2027-01-16T08:00"),
        ("2027-01-15T23:59:59.999", "2027-01-16T08:00"),
        ("2027-01-16T00:00", "2027-01-16T08:00"),
        ("2027-01-16T07:59:59.999", "2027-01-16T08:00"),
        ("2027-01-16T08:00", "2027-01-16T08:00"),
    ],
)
def test_quiet_hours_end_at_eight_local_time(clock: str, awake: str) -> None:
    zone = "Asia/Jakarta"
    assert awake_at_ms(at(clock, zone), ZoneInfo(zone), QUIET) == at(awake, zone)


def test_quiet_hours_within_one_day() -> None:
    zone = ZoneInfo("UTC")
    noon, two = at("2027-01-15T12:00", "UTC"), at("2027-01-15T14:00", "UTC")
    assert awake_at_ms(noon, zone, (12 * 60, 14 * 60)) == two
    assert awake_at_ms(two, zone, (12 * 60, 14 * 60)) == two
    assert awake_at_ms(noon, zone, None) == noon


@pytest.mark.parametrize(
    ("clock", "end", "awake"),
    [
        # New York, 2026-03-08: 02:00 EST becomes 03:00 EDT; 02:30 does not exist.
        ("2026-03-08T05:00:00", (2, 30), "2026-03-08T07:00:00"),
        ("2026-03-08T05:00:00", (8, 0), "2026-03-08T12:00:00"),
        # 2026-11-01: 02:00 EDT becomes 01:00 EST; 01:30 comes twice, the first counts.
        ("2026-11-01T04:00:00", (1, 30), "2026-11-01T05:30:00"),
        # Within the second 01:00-01:30 the first has passed already.
        ("2026-11-01T06:10:00", (1, 30), "2026-11-01T06:30:00"),
        ("2026-11-01T04:00:00", (8, 0), "2026-11-01T13:00:00"),
    ],
)
def test_quiet_hours_where_clocks_change(clock: str, end: tuple[int, int], awake: str) -> None:
    quiet = (21 * 60, end[0] * 60 + end[1])
    zone = ZoneInfo("America/New_York")
    assert awake_at_ms(at(clock, "UTC"), zone, quiet) == at(awake, "UTC")


def test_a_moved_step_is_sent_at_eight_and_dated_so() -> None:
    shop = Shop(policy=DEFAULT_POLICY)
    evening = T0 + 6 * HOUR  # 21:00 in Jakarta
    shop.tell(confirmed(method="counter", at=evening - 2 * HOUR), now=evening - 1)
    assert shop.at(evening) == []
    assert shop.at(evening + 11 * HOUR - 1) == []
    shop.restart()
    (reminder,) = shop.at(evening + 11 * HOUR)
    assert reminder["time"] == "2027-01-16T01:00:00.000Z"
    assert dropped(shop) == {}


def test_a_moved_step_is_not_sent_when_it_was_paid_meanwhile() -> None:
    shop = Shop(policy=DEFAULT_POLICY)
    shop.tell(confirmed(method="counter", at=T0 + 4 * HOUR), now=T0 + 6 * HOUR)
    shop.tell(payment("paid", at=T0 + 7 * HOUR), now=T0 + 7 * HOUR)
    assert shop.at(T0 + 18 * HOUR) == []


def test_case_22_moved_past_send_before_is_dropped() -> None:
    shop = Shop(policy=DEFAULT_POLICY)
    shop.tell(confirmed(at=T0 + 5 * HOUR + 45 * MINUTE))  # 20:45 in Jakarta
    assert shop.at(T0 + 6 * HOUR + 45 * MINUTE) == []
    assert said(shop.at(T0 + DAY), "due") == []
    assert dropped(shop) == {"quiet_hours": 1}


def test_moved_exactly_to_send_before_is_sent() -> None:
    for late, count in ((0, 1), (-1, 0)):
        shop = Shop(policy=DEFAULT_POLICY)
        base = T0 + 6 * HOUR
        pay_by = T0 + 17 * HOUR + 15 * MINUTE + late
        shop.tell(confirmed(at=base, pay_by=pay_by), now=base)
        shop.at(base + HOUR)
        assert len(shop.at(T0 + 17 * HOUR)) == count


def test_of_two_steps_moved_to_the_same_morning_only_the_later_counts() -> None:
    shop = Shop(policy=DEFAULT_POLICY)
    base = T0 + 5 * HOUR  # 20:00 in Jakarta: 2h at 22:00, -4h at 06:00
    shop.tell(confirmed(method="counter", at=base, pay_by=base + 14 * HOUR), now=base)
    assert shop.at(base + 2 * HOUR) == []
    assert shop.at(base + 10 * HOUR) == []
    (reminder,) = shop.at(base + 12 * HOUR)
    assert reminder["time"] == "2027-01-16T01:00:00.000Z"
    assert dropped(shop) == {"overtaken": 1}


def test_an_unknown_zone_falls_back_to_the_default_and_is_counted() -> None:
    assert zone_of("Asia/Makassar", "UTC") == (ZoneInfo("Asia/Makassar"), True)
    assert zone_of(None, "UTC") == (ZoneInfo("UTC"), True)
    for name in ("Mars/Base", "../etc/passwd", "", "Asia", "/Asia/Jakarta"):
        assert zone_of(name, "UTC") == (ZoneInfo("UTC"), False)
    shop = Shop()
    shop.tell(confirmed(time_zone="Mars/Base"))
    (reminder,) = shop.at(T0 + HOUR)
    assert reminder["time_zone"] == "Asia/Jakarta"
    assert shop.ledger.stats.unknown_zones == 1


def test_while_now_is_unknown_no_step_is_reached_and_late_ones_follow_once() -> None:
    shop = Shop(now=0)
    assert shop.tell(confirmed(), clock=T0 + 2 * HOUR) == []
    assert len(shop.at(T0 + 2 * HOUR)) == 1
    stale = Shop(now=0)
    stale.tell(confirmed(), clock=T0 + 2 * HOUR)
    assert said(stale.at(T0 + DAY), "due") == []
    assert datetime.fromtimestamp(T0 / 1000, tz=UTC).hour == 8
