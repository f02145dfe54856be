"""The decision table, row by row, each edge at, one before and one after."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from domain.case import Case, Incident, read
from domain.policy import DEFAULT_POLICY
from domain.standing import Judgement, standing_of
from schemas.events import InputEvent, OrderShare
from tests.unit.domain_builders import (
    DAY,
    HOUR,
    MINUTE,
    T0,
    cancelled,
    case_of,
    changed,
    checkout_of,
    confirmed,
    judged,
    order,
    overturned,
    payment,
    standing,
)

PAY_BY = T0 + 4 * HOUR
VERDICT = PAY_BY + 96 * HOUR
EDGES = (-1, 0, 1)


def two_orders(*shares: int | None) -> InputEvent:
    listed = tuple(OrderShare(f"o{i}", amount_minor=s) for i, s in enumerate(shares, start=1))
    return confirmed(orders=listed)


# 12 and 6: silence


@pytest.mark.parametrize(
    ("after", "expected"), [(-1, ("open", "6")), (0, ("unpaid", "12")), (1, ("unpaid", "12"))]
)
def test_silence_becomes_a_verdict_at_verdict_at(after: int, expected: tuple[str, str]) -> None:
    assert standing(confirmed(), now=VERDICT + after) == expected


def test_the_strike_is_dated_verdict_at() -> None:
    assert judged(confirmed(), now=VERDICT + DAY).dated_ms == VERDICT


def test_while_now_is_unknown_nothing_passes() -> None:
    assert standing(confirmed(), now=0) == ("open", "6")


# verdict_at


def verdict_at(*events: InputEvent) -> int | None:
    return case_of(*events).verdict_ms


def test_pay_by_is_given_or_follows_from_the_method() -> None:
    assert case_of(confirmed(method="card")).pay_by_ms == T0 + 4 * HOUR
    assert case_of(confirmed(method="virtual_account")).pay_by_ms == T0 + 24 * HOUR
    assert case_of(confirmed(pay_by=T0 + 7)).pay_by_ms == T0 + 7
    assert case_of(confirmed(method="cod", pay_by=T0 + 7)).pay_by_ms is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (T0 + HOUR, PAY_BY + 13 * HOUR),
        (PAY_BY + 13 * HOUR - 1, PAY_BY + 13 * HOUR),
        (PAY_BY + 13 * HOUR + 1, PAY_BY + 13 * HOUR + 1),
        (VERDICT - 1, VERDICT - 1),
        (VERDICT + 1, VERDICT),
        (T0, PAY_BY + 13 * HOUR),
        (T0 - 1, VERDICT),
    ],
)
def test_an_expired_payment_brings_the_verdict_forward(said: int, expected: int) -> None:
    assert verdict_at(confirmed(), payment("expired", at=said)) == expected


def test_an_expired_payment_of_another_method_says_nothing() -> None:
    same = payment("expired", at=T0 + 1, payment_method="card")
    other = payment("expired", at=T0 + 1, payment_method="qris")
    assert verdict_at(confirmed(), same) == PAY_BY + 13 * HOUR
    assert verdict_at(confirmed(), other) == VERDICT


def test_the_method_of_a_payment_is_that_of_its_newest_event_that_names_one() -> None:
    events = [payment("pending", at=T0 + 1, payment_method="qris"), payment("expired", at=T0 + 2)]
    assert verdict_at(confirmed(), *events) == verdict_at(confirmed(), *reversed(events)) == VERDICT


def test_an_expired_payment_says_nothing_while_another_is_pending() -> None:
    expired = payment("expired", at=T0 + 1)
    pending = payment("pending", at=T0 + 2, payment_id="p2")
    assert verdict_at(confirmed(), expired, pending) == VERDICT


def test_the_first_saying_counts() -> None:
    events = [payment("expired", at=PAY_BY + h * HOUR, payment_id=f"p{h}") for h in (30, 20)]
    timeout = order("cancelled", at=PAY_BY + 25 * HOUR, by="system", reason="payment_timeout")
    assert verdict_at(confirmed(), *events, timeout) == PAY_BY + 20 * HOUR
    assert verdict_at(confirmed(), timeout) == PAY_BY + 25 * HOUR


@pytest.mark.parametrize("status", ["pending", "authorized"])
@pytest.mark.parametrize("at", [T0 + 28 * HOUR - 1, T0 + 28 * HOUR, T0 + 28 * HOUR + 1])
def test_a_pending_payment_moves_the_verdict_to_72_h_after_it(status: str, at: int) -> None:
    assert verdict_at(confirmed(), payment(status, at=at)) == max(VERDICT, at + 72 * HOUR)


def test_an_incident_over_the_time_to_pay_moves_the_verdict() -> None:
    checkout = checkout_of(confirmed(), payment("failed", at=T0, provider="midas"))
    assert checkout.confirmed is not None

    def moved(**incident: object) -> bool:
        told = Incident(**{"from_ms": T0, "until_ms": VERDICT, **incident})  # type: ignore[arg-type]
        assert checkout.confirmed is not None
        case = read(checkout, checkout.confirmed, policy=DEFAULT_POLICY, incidents=[told])
        return case.verdict_ms == max(VERDICT, told.until_ms + 24 * HOUR) != VERDICT

    assert moved()
    assert moved(methods=frozenset({"card"}))
    assert not moved(methods=frozenset({"qris"}))
    assert moved(provider="midas")
    assert not moved(provider="other")
    assert moved(from_ms=PAY_BY)
    assert not moved(from_ms=PAY_BY + 1)


# method changes and reversals


def test_another_method_sets_base_and_pay_by_anew() -> None:
    case = case_of(confirmed(), changed("virtual_account", at=T0 + HOUR))
    assert (case.method, case.base_ms) == ("virtual_account", T0 + HOUR)
    assert case.pay_by_ms == T0 + 25 * HOUR


@pytest.mark.parametrize("after", EDGES)
def test_a_method_change_after_pay_by_is_ignored(after: int) -> None:
    case = case_of(confirmed(), changed("cod", at=PAY_BY + after))
    assert case.method == ("cod" if after <= 0 else "card")


@pytest.mark.parametrize("after", EDGES)
def test_a_method_change_after_a_refusal_is_ignored(after: int) -> None:
    refused = order("refused", at=T0 + DAY, by="courier")
    case = case_of(confirmed(method="cod"), refused, changed("card", at=T0 + DAY + after))
    assert case.method == ("card" if after <= 0 else "cod")


def test_method_changes_follow_each_other_in_time_whatever_the_arrival() -> None:
    first = changed("virtual_account", at=T0 + HOUR)
    second = changed("qris", at=T0 + 20 * HOUR)  # in time only because of the first
    case = case_of(confirmed(), second, first)
    assert (case.method, case.pay_by_ms) == ("qris", T0 + 24 * HOUR)


def test_a_reversed_payment_is_awaited_again() -> None:
    settled, denied = payment("paid", at=T0 + HOUR), payment("failed", at=T0 + HOUR + MINUTE)
    case = case_of(confirmed(), settled, denied)
    assert case.pay_by_ms == T0 + 5 * HOUR + MINUTE
    assert standing(confirmed(), settled, denied, now=T0 + 2 * HOUR) == ("open", "6")


def test_a_reversal_never_brings_pay_by_forward() -> None:
    case = case_of(
        confirmed(pay_by=T0 + 9 * HOUR), payment("paid", at=T0), payment("cancelled", at=T0 + 1)
    )
    assert case.pay_by_ms == T0 + 9 * HOUR


def test_a_reversal_lets_a_later_method_change_be_in_time() -> None:
    events = [confirmed(), payment("paid", at=T0), payment("failed", at=PAY_BY)]
    assert case_of(*events, changed("qris", at=PAY_BY + HOUR)).method == "qris"
    assert case_of(*events, changed("qris", at=PAY_BY + 4 * HOUR + 1)).method == "card"


# 1 and 2: cancelled


def test_one_cancelled_by_its_seller_is_cancelled_also_after_the_verdict() -> None:
    late = cancelled("seller", at=VERDICT + DAY)
    assert standing(confirmed(), late, now=VERDICT + 2 * DAY) == ("cancelled", "1")


@pytest.mark.parametrize(
    ("after", "expected"),
    [(-1, ("cancelled", "2")), (0, ("cancelled", "2")), (1, ("unpaid", "12"))],
)
def test_the_buyer_may_cancel_until_verdict_at(after: int, expected: tuple[str, str]) -> None:
    event = cancelled("buyer", at=VERDICT + after)
    assert standing(two_orders(None, None), event, now=VERDICT + 1) == expected


def test_the_buyers_cancellation_by_pay_by_leaves_nothing_due() -> None:
    assert standing(confirmed(), cancelled("buyer", at=PAY_BY), now=VERDICT) == ("cancelled", "1")


def test_a_cancellation_for_want_of_payment_excuses_and_shrinks_nothing() -> None:
    event = cancelled("system", at=PAY_BY, reason="payment_timeout")
    case = case_of(confirmed(), event)
    assert (case.due, case.verdict_ms) == (1000, PAY_BY + 13 * HOUR)
    assert standing(confirmed(), event, now=PAY_BY + 13 * HOUR) == ("unpaid", "12")


def test_a_newer_word_of_the_order_undoes_the_checkouts_cancellation() -> None:
    event = cancelled("seller", at=T0 + 5)
    assert standing(confirmed(), event, order("placed", at=T0 + 5), now=VERDICT)[0] == "cancelled"
    assert standing(confirmed(), event, order("placed", at=T0 + 6), now=VERDICT)[0] == "unpaid"


def test_a_cancelled_checkout_cancels_orders_told_later_too() -> None:
    event = cancelled("seller", at=T0 + 5)
    assert standing(two_orders(400, None), event, order("placed", at=T0), now=VERDICT) == (
        "cancelled",
        "1",
    )


@pytest.mark.parametrize(("share", "due"), [(400, 600), (None, 1000), (2000, 0)])
def test_a_sellers_cancellation_shrinks_the_due_by_a_known_share(
    share: int | None, due: int
) -> None:
    case = case_of(two_orders(share, 300), order("cancelled", at=VERDICT + 9, by="seller"))
    assert case.due == due


@pytest.mark.parametrize(("after", "due"), [(-1, 600), (0, 600), (1, 1000)])
def test_the_buyers_cancellation_shrinks_the_due_until_pay_by(after: int, due: int) -> None:
    event = order("cancelled", at=PAY_BY + after, by="buyer")
    assert case_of(two_orders(400, 600), event).due == due


def test_the_share_an_order_says_itself_wins_over_the_listed_one() -> None:
    event = order("cancelled", at=T0, by="seller", amount_minor=100)
    assert case_of(two_orders(400, 600), event).due == 900


# 3: paid


@pytest.mark.parametrize(("after", "late"), [(-1, False), (0, False), (1, True)])
def test_paid_at_pay_by_is_in_time(after: int, *, late: bool) -> None:
    events = [confirmed(), payment("paid", at=T0 + 9 * DAY, paid_at=PAY_BY + after)]
    assert standing(*events, now=T0) == ("paid", "3")
    assert case_of(*events).late is late


@pytest.mark.parametrize("status", ["refunded", "charged_back"])
def test_money_that_came_and_went_did_come(status: str) -> None:
    event = payment(status, at=PAY_BY + DAY)
    assert standing(confirmed(), event, now=VERDICT) == ("paid", "3")
    assert case_of(confirmed(), event).late is False  # nobody told when it was paid


def test_two_payments_are_late_by_the_one_that_completes_the_due() -> None:
    half = payment("paid", at=T0 + 1, amount=500, payment_id="a")
    rest = payment("paid", at=PAY_BY + 1, amount=500, payment_id="b")
    more = payment("paid", at=PAY_BY + 2, amount=500, payment_id="c")
    assert case_of(confirmed(), more, rest, half).paid_at_ms == PAY_BY + 1


def test_nothing_to_pay_is_paid_when_confirmed() -> None:
    assert standing(confirmed(amount=0), now=0) == ("paid", "3")
    assert case_of(confirmed(amount=0)).paid_at_ms == T0


# 4: presumed paid


@pytest.mark.parametrize("status", ["shipped", "delivered", "completed", "refused", "returned"])
def test_goods_that_moved_were_paid(status: str) -> None:
    event = order(status, at=VERDICT + DAY, by="courier" if status == "refused" else None)
    assert standing(confirmed(), event, now=VERDICT + DAY) == ("presumed_paid", "4")


def test_delivered_once_counts_also_when_the_latest_word_is_another() -> None:
    events = [order("delivered", at=T0 + 1), order("placed", at=T0 + 2)]
    assert standing(confirmed(), *events, now=VERDICT) == ("presumed_paid", "4")


# 5 and 10: the same cart


@pytest.mark.parametrize("apart", [-DAY - 1, -DAY, DAY, DAY + 1])
def test_the_same_cart_bought_within_a_day_supersedes(apart: int) -> None:
    events = [
        confirmed(cart_id="cart"),
        confirmed("k2", at=T0 + apart, cart_id="cart"),
        payment("paid", at=T0 + apart, checkout="k2"),
    ]
    expected = ("superseded", "5") if abs(apart) <= DAY else ("unpaid", "12")
    assert standing(*events, now=VERDICT) == expected


def test_another_cart_or_none_does_not_supersede() -> None:
    for mine, others in (("cart", "other"), (None, None)):
        events = [
            confirmed(cart_id=mine),
            confirmed("k2", cart_id=others),
            payment("paid", at=T0, checkout="k2"),
        ]
        assert standing(*events, now=VERDICT) == ("unpaid", "12")


def test_of_two_unpaid_of_one_cart_the_earlier_date_is_the_strike() -> None:
    events = [confirmed(cart_id="cart"), confirmed("k2", at=T0 - 1, cart_id="cart")]
    assert standing(*events, now=VERDICT) == ("superseded", "10")
    assert standing(*events, now=VERDICT, checkout="k2") == ("unpaid", "12")


def test_ties_of_one_cart_go_to_the_smaller_checkout_id() -> None:
    events = [confirmed("k2", cart_id="cart"), confirmed("k1", cart_id="cart")]
    assert standing(*events, now=VERDICT, checkout="k1") == ("unpaid", "12")
    assert standing(*events, now=VERDICT, checkout="k2") == ("superseded", "10")


def test_an_overturned_strike_still_supersedes_the_later_one() -> None:
    events = [
        confirmed(cart_id="cart"),
        confirmed("k0", at=T0 - 1, cart_id="cart"),
        overturned(at=T0, checkout="k0"),
    ]
    assert standing(*events, now=VERDICT) == ("superseded", "10")
    assert standing(*events, now=VERDICT, checkout="k0") == ("overturned", "11")


def test_one_that_is_still_open_supersedes_nobody() -> None:
    earlier = confirmed("k0", at=T0 - 1, cart_id="cart", method="virtual_account")
    assert standing(confirmed(cart_id="cart"), earlier, now=VERDICT) == ("unpaid", "12")


def test_a_refused_cod_checkout_of_the_cart_supersedes_a_later_strike() -> None:
    cod = confirmed("k0", at=T0 - 1, cart_id="cart", method="cod")
    refused = order("refused", at=VERDICT - 1, by="buyer", checkout="k0")
    assert standing(confirmed(cart_id="cart"), cod, refused, now=VERDICT) == ("superseded", "10")


@pytest.mark.parametrize("unlike", [0, 1])
def test_only_checkouts_within_a_day_of_each_other_are_one_cart_in_row_10(unlike: int) -> None:
    earlier = confirmed("k0", at=T0 - DAY - unlike, cart_id="cart")
    expected = ("superseded", "10") if unlike == 0 else ("unpaid", "12")
    assert standing(confirmed(cart_id="cart"), earlier, now=VERDICT) == expected


def test_what_row_5_superseded_is_no_strike_that_row_10_could_compare() -> None:
    events = [
        confirmed("k0", at=T0 - 30 * HOUR, cart_id="cart"),
        payment("paid", at=T0 - 29 * HOUR, checkout="k0"),
        confirmed("k1", at=T0 - 10 * HOUR, cart_id="cart"),
        confirmed("k2", cart_id="cart"),
    ]
    assert standing(*events, now=VERDICT, checkout="k1") == ("superseded", "5")
    assert standing(*events, now=VERDICT, checkout="k2") == ("unpaid", "12")


@pytest.mark.parametrize("paid", [False, True])
def test_the_table_is_asked_at_most_three_times_of_each_checkout_of_a_cart(
    monkeypatch: pytest.MonkeyPatch, *, paid: bool
) -> None:
    asked: Counter[str] = Counter()

    def counting(case: Case, **options: Any) -> Judgement:
        asked[case.checkout.checkout_id] += 1
        return standing_of(case, **options)

    monkeypatch.setattr("domain.standing.standing_of", counting)
    events: list[InputEvent] = [
        confirmed(f"k{i:03}", at=T0 + i * 30 * MINUTE, cart_id="cart") for i in range(100)
    ]
    if paid:
        events.append(payment("paid", at=T0, checkout="k000"))
    assert standing(*events, now=T0 + 30 * DAY, checkout="k099") == ("superseded", "10")
    assert len(asked) == 100
    assert max(asked.values()) <= 3


# 7, 8, 9, 11


def test_half_paid_is_no_strike() -> None:
    event = payment("paid", at=T0, amount=999)
    assert standing(confirmed(), event, now=VERDICT - 1) == ("open", "6")
    assert standing(confirmed(), event, now=VERDICT) == ("partly_paid", "7")


@pytest.mark.parametrize("side", ["issuer", "provider", "fraud", "buyer", "unknown", None])
def test_a_failure_that_is_not_the_buyers_excuses(side: str | None) -> None:
    event = payment("failed", at=T0 + 1, failure_side=side)
    expected = ("excused", "8") if side in ("issuer", "provider", "fraud") else ("unpaid", "12")
    assert standing(confirmed(), event, now=VERDICT) == expected


@pytest.mark.parametrize(("before", "expected"), [(1, "unpaid"), (0, "excused")])
def test_only_attempts_since_the_base_count(before: int, expected: str) -> None:
    failed = payment("failed", at=T0 + HOUR - before, failure_side="issuer")
    change = changed("qris", at=T0 + HOUR)
    assert standing(confirmed(), failed, change, now=VERDICT + DAY)[0] == expected


def test_the_last_attempt_counts() -> None:
    failed = payment("failed", at=T0 + 1, failure_side="issuer")
    again = payment("expired", at=T0 + 2, payment_id="p2")
    assert standing(confirmed(), failed, again, now=VERDICT) == ("unpaid", "12")


def test_what_could_not_be_read_holds_the_verdict() -> None:
    assert standing(confirmed(), now=VERDICT - 1, held=["k1"]) == ("open", "6")
    assert standing(confirmed(), now=VERDICT, held=["k1"]) == ("held", "9")


def test_a_payment_in_another_currency_holds_and_is_not_received() -> None:
    event = payment("paid", at=T0, currency="USD")
    assert standing(confirmed(), event, now=T0) == ("open", "6")
    assert standing(confirmed(), event, now=VERDICT) == ("held", "9")
    assert standing(event, confirmed(), now=VERDICT) == ("held", "9")


def test_a_person_overturns_but_payment_still_wins() -> None:
    event = overturned(at=VERDICT + 1)
    assert standing(confirmed(), event, now=VERDICT) == ("overturned", "11")
    paid = payment("paid", at=VERDICT + 2)
    assert standing(confirmed(), event, paid, now=VERDICT) == ("paid", "3")


# cash on delivery

COD = confirmed(method="cod")
REFUSED = order("refused", at=T0 + DAY, by="buyer")


def test_cod_cancelled_before_any_refusal() -> None:
    assert standing(COD, cancelled("buyer", at=T0 + 1), now=0) == ("cancelled", "c1")


@pytest.mark.parametrize("status", ["returned", "cancelled"])
def test_cod_refused_stays_a_strike_whatever_the_system_does_later(status: str) -> None:
    later = order(status, at=T0 + 2 * DAY, by="system")
    assert standing(COD, REFUSED, later, now=T0 + 3 * DAY) == ("unpaid", "c3")


def test_cod_refused_then_cancelled_leaves_its_share_due() -> None:
    listed = confirmed(method="cod", orders=(OrderShare("o1", amount_minor=1000),))
    later = order("cancelled", at=T0 + 2 * DAY, by="system")
    assert standing(listed, REFUSED, later, now=T0 + 3 * DAY) == ("unpaid", "c3")


def test_cod_delivered_or_paid_is_paid() -> None:
    delivered = order("delivered", at=T0 + 2 * DAY)
    assert standing(COD, REFUSED, delivered, now=T0 + 3 * DAY) == ("paid", "c2")
    assert standing(COD, payment("paid", at=T0), now=0) == ("paid", "c2")


@pytest.mark.parametrize(("after", "expected"), [(-1, "open"), (0, "unpaid"), (1, "unpaid")])
def test_cod_refusal_counts_from_its_moment(after: int, expected: str) -> None:
    judgement = judged(COD, REFUSED, now=T0 + DAY + after)
    assert (judgement.standing.word, judgement.rule) == (expected, "c3")
    assert judgement.dated_ms == (T0 + DAY if after >= 0 else None)


def test_cod_the_first_refusal_counts() -> None:
    again = order("refused", at=T0 + 2 * DAY, by="buyer", order_id="o2")
    assert judged(COD, again, REFUSED, now=T0 + 3 * DAY).dated_ms == T0 + DAY


def test_cod_refusal_held_or_overturned() -> None:
    now = T0 + DAY
    assert standing(COD, REFUSED, now=now, held=["k1"]) == ("held", "c3")
    assert standing(COD, REFUSED, overturned(at=now), now=now) == ("overturned", "c3")


def test_cod_refused_by_the_courier_is_excused() -> None:
    fault = order("refused", at=T0 + DAY, by="courier")
    assert standing(COD, fault, now=0) == ("excused", "c4")


@pytest.mark.parametrize(
    ("after", "expected"), [(-1, ("open", "c6")), (0, ("lapsed", "c5")), (1, ("lapsed", "c5"))]
)
def test_cod_lapses_after_thirty_days(after: int, expected: tuple[str, str]) -> None:
    assert standing(COD, now=T0 + 30 * DAY + after) == expected


# the policy


def test_every_figure_is_the_policys() -> None:
    verdict = replace(DEFAULT_POLICY.verdict, after_silence_ms=HOUR)
    policy = replace(DEFAULT_POLICY, verdict=verdict)
    assert standing(confirmed(), now=PAY_BY + HOUR, policy=policy) == ("unpaid", "12")
