"""The ledger: what it announces, stores, forgets and restores."""

from __future__ import annotations

from collections import Counter
from typing import Any
from zlib import crc32

import pytest
from msgspec.structs import replace

from domain import intake
from domain import judge as judging
from domain.customer import NEVER_MS, Customer, decode, due_of, encode, open_of
from domain.ledger import Ledger
from domain.policy import DEFAULT_POLICY, Policy
from domain.strikes import Figures, figures
from schemas.faults import RejectRecord
from tests.unit.domain_builders import (
    ALLOWED,
    AWAKE,
    DAY,
    HOUR,
    T0,
    VERDICT,
    Shop,
    cancelled,
    caps,
    confirmed,
    detected_shop,
    misplaced,
    order,
    overturned,
    payment,
    record,
    said,
)

# announcements


def test_silence_is_announced_once_with_all_that_it_rests_on() -> None:
    shop = Shop()
    shop.tell(confirmed(event_id="e1", **ALLOWED))
    shop.tell(payment("expired", at=T0 + HOUR, event_id="e3"))
    shop.tell(payment("failed", at=T0 + 1, event_id="e2", payment_id="p2"))
    assert shop.at(T0 + 17 * HOUR - 1) == []
    detected, changed = shop.at(T0 + 17 * HOUR)
    assert detected["id"] == "ffb1dd1a-4ba1-5b12-a55c-fd4e9e8ae54a" or len(detected["id"]) == 36
    assert detected["time"] == detected["verdict_at"] == "2027-01-16T01:00:00.000Z"
    assert (detected["reason"], detected["rule"], detected["sequence"]) == ("never_paid", "12", 1)
    assert (detected["amount_minor"], detected["due_minor"], detected["received_minor"]) == (
        1000,
        1000,
        0,
    )
    assert (detected["strikes"], detected["checkouts"], detected["unpaid_share"]) == (1, 1, 1.0)
    assert detected["recommended_action"] == "none"
    assert [(e["fact"], e["id"]) for e in detected["evidence"]] == [
        ("confirmed", "e1"),
        ("payment_failed", "e2"),
        ("payment_expired", "e3"),
    ]
    assert (changed["strikes"], changed["version"]) == (1, 1)
    assert shop.at(T0 + 17 * HOUR) == shop.at(T0 + 18 * HOUR) == []


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (payment("paid", at=VERDICT, paid_at=T0 + 4 * HOUR), "paid_in_time"),
        (payment("paid", at=VERDICT, paid_at=T0 + 4 * HOUR + 1), "paid_late"),
        (payment("refunded", at=VERDICT), "paid_in_time"),
        (payment("pending", at=VERDICT), "reopened"),
        (payment("paid", at=VERDICT, amount=1), "partly_paid"),
        (payment("failed", at=VERDICT, failure_side="issuer"), "excused"),
        (cancelled("seller", at=VERDICT), "cancelled"),
        (order("shipped", at=VERDICT), "presumed_paid"),
        (overturned(at=VERDICT), "overturned"),
        (misplaced(at=VERDICT), "held"),
    ],
)
def test_facts_withdraw_a_verdict_with_their_cause(event: Any, cause: str) -> None:
    shop = detected_shop()
    withdrawn, changed = shop.tell(event)
    assert (withdrawn["cause"], withdrawn["sequence"], withdrawn["strikes"]) == (cause, 1, 0)
    assert withdrawn["time"] == "2027-01-19T12:00:00.000Z"
    assert (changed["strikes"], changed["version"]) == (0, 2)


def test_the_same_cart_bought_withdraws_the_verdict() -> None:
    shop = detected_shop(cart_id="cart")
    events = [
        confirmed("k2", at=T0 + HOUR, cart_id="cart"),
        payment("paid", at=T0 + 3 * HOUR, checkout="k2"),
    ]
    (withdrawn,) = said(shop.tell(*events), "withdrawn")
    assert withdrawn["cause"] == "superseded"
    assert withdrawn["time"] == "2027-01-15T11:00:00.000Z"


def test_a_verdict_may_come_again_with_the_next_sequence() -> None:
    shop = detected_shop()
    shop.tell(payment("pending", at=VERDICT))
    (again,) = said(shop.at(VERDICT + 72 * HOUR), "detected")
    assert again["sequence"] == 2
    (withdrawn,) = said(shop.tell(cancelled(at=VERDICT)), "withdrawn")
    assert (withdrawn["sequence"], withdrawn["detected_id"]) == (2, again["id"])


def test_a_paid_checkout_is_never_mentioned() -> None:
    shop = Shop()
    assert shop.tell(payment("paid", at=T0 + 1), confirmed()) == []
    assert shop.at(VERDICT) == []


def test_while_now_is_unknown_nothing_is_said() -> None:
    shop = Shop(now=0)
    assert shop.tell(confirmed(**ALLOWED), clock=VERDICT) == []
    assert len(said(shop.at(VERDICT), "detected")) == 1


def test_net_only_when_everything_comes_at_once() -> None:
    shop = Shop(now=0)
    shop.tell(confirmed(**ALLOWED), payment("paid", at=VERDICT + 1), clock=VERDICT)
    assert shop.at(VERDICT + HOUR) == []


def test_detected_carries_the_figures_of_its_own_day() -> None:
    shop = Shop(now=0)
    events = [confirmed(f"k{i}", at=T0 + i * DAY, **ALLOWED) for i in range(3)]
    shop.tell(*events, clock=T0)
    outputs = shop.at(VERDICT + 30 * DAY)
    assert [d["strikes"] for d in said(outputs, "detected")] == [1, 2, 3]
    (changed,) = said(outputs, "changed")
    assert (changed["strikes"], changed["recommended_action"]) == (3, "human_review")


def test_two_strikes_of_one_cart_are_one() -> None:
    shop = Shop()
    shop.tell(confirmed(cart_id="c", **ALLOWED), confirmed("k2", at=T0 + 1, cart_id="c", **ALLOWED))
    (detected,) = said(shop.at(VERDICT + 1), "detected")
    assert detected["checkout_id"] == "k1"
    outputs = shop.tell(overturned(at=VERDICT))
    assert [w["cause"] for w in said(outputs, "withdrawn")] == ["overturned"]
    assert said(outputs, "detected") == []
    outputs = shop.tell(cancelled(at=VERDICT))  # k1 is no strike any more: k2 is
    assert [d["checkout_id"] for d in said(outputs, "detected")] == ["k2"]


@pytest.mark.parametrize(("after", "told"), [(-1, 0), (0, 1), (1, 1)])
def test_a_strike_ages_out_at_midnight(after: int, told: int) -> None:
    shop = Shop()
    shop.tell(confirmed("other", at=VERDICT), payment("paid", at=VERDICT, checkout="other"))
    shop.tell(confirmed(**ALLOWED))
    shop.at(VERDICT)
    leaves = (VERDICT // DAY + 90) * DAY
    changed = said(shop.at(leaves + after), "changed")
    assert [c["strikes"] for c in changed] == [0] * told


def test_advice_changes_by_time_alone_when_purchases_leave_the_window() -> None:
    shop = Shop()
    for i in range(4):
        shop.tell(confirmed(f"b{i}"), payment("paid", at=T0, checkout=f"b{i}"))
    start = T0 + 40 * DAY
    shop.tell(*(confirmed(f"k{i}", at=start, **ALLOWED) for i in range(3)), now=start)
    (changed,) = said(shop.at(start + 100 * HOUR), "changed")
    assert changed["recommended_action"] == "require_prepayment"
    midnight = (T0 // DAY + 90) * DAY
    assert said(shop.at(midnight - 1), "changed") == []
    (changed,) = said(shop.at(midnight), "changed")
    assert (changed["recommended_action"], changed["checkouts"]) == ("human_review", 3)


def test_a_purchase_that_changes_nothing_of_the_advice_is_not_mentioned() -> None:
    shop = detected_shop()
    assert shop.tell(confirmed("k2", at=VERDICT), payment("paid", at=VERDICT, checkout="k2")) == []


def test_a_checkout_that_leaves_a_cart_no_longer_supersedes_the_others() -> None:
    shop = Shop()
    shop.tell(confirmed("k2", cart_id="c"), payment("paid", at=T0, checkout="k2"))
    shop.tell(confirmed("k1", cart_id="c", **ALLOWED))
    assert shop.standings()["k1"] == "superseded"
    shop.tell(confirmed("k2", at=T0 - 1, cart_id="other"))
    assert shop.standings()["k1"] == "open"


def test_many_verdicts_of_one_day_count_the_customer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, counted = Shop(), Counter[int]()

    def counting(*args: Any, day: int, **options: Any) -> Figures:
        counted[day] += 1
        return figures(*args, day=day, **options)

    monkeypatch.setattr(judging, "figures", counting)
    shop.tell(*(confirmed(f"k{i}", **ALLOWED) for i in range(60)))
    outputs = said(shop.at(VERDICT), "detected")
    assert {detected["strikes"] for detected in outputs} == {60}
    assert len(outputs) == 60
    assert max(counted.values()) <= 2  # once for all verdicts, once for the advice


def test_a_detected_verdict_of_the_default_policy_names_it() -> None:
    shop = Shop(policy=DEFAULT_POLICY)
    shop.tell(confirmed(**ALLOWED))
    (detected,) = said(shop.at(VERDICT), "detected")
    assert detected["policy_version"] == DEFAULT_POLICY.version


# another policy


def stricter(hours: int) -> Policy:
    verdict = replace(AWAKE.verdict, after_silence_ms=hours * HOUR)
    return replace(AWAKE, verdict=verdict, version=f"silence-{hours}h")


def test_another_policy_leaves_an_announced_verdict_until_its_own_facts_change() -> None:
    shop = detected_shop()
    shop.restart(policy=stricter(200))
    shop.ledger.rejudge_all()
    assert shop.ledger.rejudging
    assert shop.at(VERDICT + 1) == []
    assert not shop.ledger.rejudging
    shop.tell(confirmed("other", at=VERDICT))
    assert shop.standings()["k1"] == "unpaid"
    (withdrawn,) = said(shop.tell(payment("failed", at=VERDICT)), "withdrawn")
    assert withdrawn["cause"] == "reopened"


def test_another_policy_judges_what_is_not_announced_yet() -> None:
    shop = Shop()
    shop.tell(confirmed(**ALLOWED))
    shop.at(T0 + 20 * HOUR)
    shop.restart(policy=stricter(10))
    shop.ledger.rejudge_all()
    (detected,) = said(shop.at(T0 + 20 * HOUR + 1), "detected")
    assert (detected["time"], detected["policy_version"]) == (
        "2027-01-15T22:00:00.000Z",
        "silence-10h",
    )


# storing and restoring


def test_a_repeat_writes_nothing() -> None:
    shop = Shop()
    events = [confirmed(), payment("pending", at=T0), order("placed", at=T0)]
    shop.tell(*events)
    assert len(shop.last.changelog) == 1
    shop.tell(*events)
    assert shop.last.changelog == []


def test_a_restored_ledger_goes_on_where_the_other_stopped() -> None:
    shop = Shop()
    shop.tell(confirmed(**ALLOWED), confirmed(customer="c2", **ALLOWED))
    before = (shop.ledger.count, shop.ledger.checksum, shop.ledger.stats.open_checkouts)
    assert before[0] == before[2] == 2
    shop.restart()
    assert (shop.ledger.count, shop.ledger.checksum, shop.ledger.stats.open_checkouts) == before
    assert len(said(shop.at(VERDICT), "detected")) == 2
    shop.restart()
    assert shop.at(VERDICT + 1) == []
    assert shop.ledger.stats.open_checkouts == 0


def test_the_checksum_is_the_sum_over_live_records() -> None:
    shop = Shop()
    for i in range(5):
        shop.tell(confirmed(customer=f"c{i}", **ALLOWED), payment("paid", at=T0 + i, customer="c1"))
    shop.at(VERDICT + 40 * DAY)
    table = shop.ledger.records
    expected = sum(crc32(value, crc32(key)) for key, value in table.items()) % 2**64
    assert shop.ledger.checksum == expected
    assert shop.ledger.count == len(table) == len([v for v in shop.changelog.values() if v])


def test_a_restored_ledger_passes_over_tombstones_and_the_partitions_own_keys() -> None:
    ledger = Ledger(policy=AWAKE)
    value = encode(Customer(), NEVER_MS)
    ledger.restore([(b"a", value), (b"b", value), (b"a", None), (b"\0incident", b"x")])
    ledger.restored()
    assert list(ledger.records) == [b"b"]


def test_a_record_shows_its_due_moment_and_open_checkouts_without_decoding() -> None:
    for count in (0, 1, 127, 128, 255):
        value = encode(Customer(open_count=count), T0)
        assert (due_of(value), open_of(value)) == (T0, count)
        assert decode(value).open_count == count


def test_it_knows_whom_it_has_heard_of() -> None:
    ledger = Ledger(policy=AWAKE)
    assert not ledger.knows("c1")
    ledger.apply(confirmed(), record())
    assert ledger.knows("c1")
    ledger.flush(clock_ms=T0)
    assert ledger.knows("c1")
    assert ledger.customer("c2") is None


def test_due_customers_are_fired_in_slices_the_oldest_first() -> None:
    shop = Shop()
    shop.tell(*(confirmed(customer=f"c{i}", at=T0 - i * HOUR, **ALLOWED) for i in range(5)))
    assert shop.ledger.next_due_ms <= T0 + HOUR
    shop.at(T0 + 50 * HOUR)
    ledger = shop.ledger
    assert ledger.fire(frontier_ms=VERDICT, clock_ms=VERDICT, limit=2) == 2
    flush = ledger.flush(clock_ms=VERDICT)
    assert sorted(o.key for o in flush.outputs if o.role == "verdict") == [b"c3", b"c4"]
    assert ledger.fire(frontier_ms=VERDICT, clock_ms=VERDICT, limit=9) == 3
    ledger.flush(clock_ms=VERDICT)
    assert ledger.fire(frontier_ms=VERDICT, clock_ms=VERDICT) == 0
    assert ledger.next_due_ms > VERDICT


def test_now_never_falls() -> None:
    ledger = Ledger(policy=AWAKE)
    ledger.fire(frontier_ms=T0, clock_ms=T0)
    ledger.fire(frontier_ms=T0 - 1, clock_ms=T0)
    assert ledger.now_ms == T0


# dead letters


def test_a_dead_letter_holds_its_checkout_known_or_not() -> None:
    for before in (True, False):
        shop = Shop()
        if before:
            shop.tell(confirmed(**ALLOWED))
        fault = RejectRecord("invalid", "data.status", customer_id="c1", checkout_id="k1")
        shop.ledger.reject(record(), fault)
        shop.tell()
        assert [d.reason for d in shop.last.dead_letters] == ["invalid"]
        shop.restart()
        if not before:
            shop.tell(confirmed(**ALLOWED))
        assert shop.at(VERDICT) == []
        assert shop.standings() == {"k1": "held"}


def test_a_dead_letter_without_ids_holds_nobody() -> None:
    ledger = Ledger(policy=AWAKE)
    ledger.reject(record(), RejectRecord("malformed", "no JSON"))
    ledger.reject(record(), RejectRecord("key", "wrong", customer_id="c1", checkout_id="k1"))
    flush = ledger.flush(clock_ms=T0)
    assert (len(flush.dead_letters), flush.changelog) == (2, [])
    assert dict(ledger.stats.dead_letters) == {"malformed": 1, "key": 1}


def test_holds_of_unknown_checkouts_are_bounded() -> None:
    shop = Shop(policy=caps(orphans=3))
    for i in range(5):
        fault = RejectRecord("invalid", "x", customer_id="c1", checkout_id=f"k{i}")
        shop.ledger.reject(record(T0 + i), fault)
    shop.tell()
    assert list(shop.standings()) == ["k2", "k3", "k4"]
    assert shop.ledger.stats.holds_dropped == 2


def _trips_over(monkeypatch: pytest.MonkeyPatch, checkout_id: str, amount: int) -> None:
    real = judging.read

    def read(checkout: Any, confirmed: Any, **options: Any) -> Any:
        for paid in checkout.payments:
            if checkout.checkout_id == checkout_id and paid.settled_minor == amount:
                raise ZeroDivisionError("a bug")
        return real(checkout, confirmed, **options)

    monkeypatch.setattr(judging, "read", read)


def test_an_exception_while_judging_costs_only_the_record_that_caused_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _trips_over(monkeypatch, "k1", 666)
    shop = Shop()
    shop.tell(confirmed(**ALLOWED))
    outputs = shop.tell(
        confirmed("k2"),
        payment("paid", at=T0, checkout="k2"),
        payment("paid", at=T0, amount=666),
        confirmed("k3", **ALLOWED),
        confirmed(customer="c2", amount=0),
    )
    assert outputs == []
    (letter,) = shop.last.dead_letters
    assert letter.reason == "internal"
    assert "ZeroDivisionError: a bug" in letter.detail
    assert shop.standings() == {"k1": "open", "k2": "paid", "k3": "open"}
    assert shop.ledger.knows("c2")
    assert [d["checkout_id"] for d in said(shop.at(VERDICT), "detected")] == ["k3"]
    assert shop.standings()["k1"] == "held"


def test_an_exception_while_applying_leaves_the_record_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop()
    shop.tell(confirmed(**ALLOWED))
    shop.ledger.apply(confirmed("k2"), record())

    def half(customer: Customer, *_: Any) -> None:
        customer.checkouts.clear()
        raise ZeroDivisionError

    monkeypatch.setitem(intake._TELL, type(order("placed", at=T0)), half)
    with pytest.raises(ZeroDivisionError):
        shop.ledger.apply(order("placed", at=T0), record())
    shop.tell()
    assert shop.standings() == {"k1": "open", "k2": "open"}


def test_a_customer_that_cannot_be_judged_at_all_is_held_and_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop()
    shop.tell(confirmed(**ALLOWED))

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(judging, "read", broken)
    assert shop.at(VERDICT) == []
    assert shop.at(VERDICT + 1) == []
    assert shop.last.changelog == []  # not tried at every tick
    monkeypatch.undo()
    assert shop.at(VERDICT + HOUR) == []
    assert shop.standings() == {"k1": "held"}
