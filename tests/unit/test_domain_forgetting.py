"""What a ledger keeps of its customers: caps, forgetting, folding."""

from __future__ import annotations

import pytest

from tests.unit.domain_builders import (
    ALLOWED,
    DAY,
    HOUR,
    T0,
    VERDICT,
    Shop,
    caps,
    confirmed,
    detected_shop,
    misplaced,
    payment,
    said,
)

# caps


def test_the_129th_open_checkout_is_a_dead_letter() -> None:
    shop = Shop(policy=caps(open_checkouts=3))
    shop.tell(*(confirmed(f"k{i}", **ALLOWED) for i in range(4)))
    assert [d.reason for d in shop.last.dead_letters] == ["limit"]
    held = shop.ledger.customer("c1")
    assert held is not None
    assert [(c.checkout_id, c.held) for c in held.checkouts if c.confirmed is None] == [
        ("k3", True)
    ]
    shop.tell(payment("paid", at=T0, checkout="k0"), confirmed("k4", **ALLOWED))
    assert shop.last.dead_letters == []
    shop.tell(confirmed("k5", **ALLOWED))
    assert [d.reason for d in shop.last.dead_letters] == ["limit"]


def test_beyond_the_cap_the_oldest_settled_are_folded() -> None:
    shop = Shop(policy=caps(settled_checkouts=3))
    for i in range(5):
        name = f"k{i}"
        shop.tell(confirmed(name, at=T0 + i), payment("paid", at=T0 + i, checkout=name))
    assert list(shop.standings()) == ["k2", "k3", "k4"]
    customer = shop.ledger.customer("c1")
    assert customer is not None and customer.past is not None
    assert customer.past.purchases == 2
    shop.tell(confirmed("k0", at=T0))  # told again: its payment is forgotten, so it is not new
    assert list(shop.standings()) == ["k2", "k3", "k4"]
    assert shop.ledger.stats.skipped["too_late"] == 1


# forgetting


@pytest.mark.parametrize(("after", "kept"), [(-1, True), (0, False), (1, False)])
def test_a_settled_checkout_goes_thirty_days_after_its_newest_event(
    after: int, *, kept: bool
) -> None:
    shop = Shop()
    shop.tell(confirmed(), payment("paid", at=T0 + HOUR, paid_at=T0))
    shop.at(T0 + HOUR + 30 * DAY + after)
    assert shop.standings() == ({"k1": "paid"} if kept else {})
    customer = shop.ledger.customer("c1")
    assert customer is not None
    assert (customer.past is None) is kept


@pytest.mark.parametrize(("after", "kept"), [(-1, True), (0, False), (1, False)])
def test_orphans_go_after_thirty_days(after: int, *, kept: bool) -> None:
    shop = Shop()
    shop.tell(payment("paid", at=T0))
    shop.at(T0 + 30 * DAY + after)
    assert shop.ledger.knows("c1") is kept
    assert (shop.changelog[b"c1"] is None) is not kept


def test_an_unpaid_checkout_goes_when_its_strike_leaves_the_window_with_tombstones() -> None:
    shop = detected_shop()
    leaves = (VERDICT // DAY + 90) * DAY
    assert shop.at(leaves - 1) == []
    outputs = shop.at(leaves)
    assert [o["type"] for o in outputs] == ["changed", "tombstone"]
    assert outputs[0]["strikes"] == 0
    assert shop.changelog[b"c1"] is None
    assert shop.ledger.count == 0 and shop.ledger.checksum == 0


def test_a_tombstone_ends_the_count_of_versions() -> None:
    shop = detected_shop()
    late = (VERDICT // DAY + 90) * DAY
    changed, tombstone = shop.at(late)
    assert (changed["version"], tombstone["type"]) == (2, "tombstone")
    shop.tell(confirmed("k2", at=late, **ALLOWED))
    (again,) = said(shop.at(late + 100 * HOUR), "changed")
    assert (again["version"], again["strikes"]) == (1, 1)


def test_a_purchase_is_remembered_for_a_year_and_then_the_record_goes() -> None:
    shop = Shop()
    shop.tell(confirmed(), payment("paid", at=T0))
    shop.at(T0 + 31 * DAY)
    end = (T0 // DAY + 365) * DAY
    shop.at(end - 1)
    assert shop.ledger.knows("c1")
    assert shop.at(end) == []
    assert not shop.ledger.knows("c1")


def test_forgetting_a_purchase_does_not_bring_back_what_it_superseded() -> None:
    shop = Shop()
    shop.tell(confirmed("k2", cart_id="c"), payment("paid", at=T0, checkout="k2"))
    shop.tell(confirmed("k1", at=T0 + HOUR, cart_id="c", **ALLOWED))
    shop.tell(
        payment("failed", at=T0 + 29 * DAY, failure_side="buyer"), now=T0 + 29 * DAY
    )  # k1 stays longer
    assert shop.at(T0 + 31 * DAY) == []
    assert shop.standings() == {"k1": "superseded"}
    shop.tell(misplaced(at=T0, checkout="k1"))
    assert shop.standings() == {"k1": "superseded"}


def test_folding_beyond_the_cap_notes_the_standing_a_checkout_has_in_its_cart() -> None:
    shop = Shop(policy=caps(settled_checkouts=2))
    shop.tell(confirmed("k1", cart_id="c", pay_by=T0 + 60 * HOUR, **ALLOWED))
    shop.tell(confirmed("k2", at=T0 + 20 * HOUR, cart_id="c", **ALLOWED))
    shop.tell(confirmed("k3", at=T0 + 40 * HOUR, cart_id="c"), now=T0 + 40 * HOUR)
    shop.tell(payment("paid", at=T0 + 41 * HOUR, checkout="k3"))
    assert shop.standings() == {"k1": "open", "k2": "superseded", "k3": "paid"}
    shop.at(T0 + 121 * HOUR)  # by now k2 alone would be a strike
    events = [confirmed("k4", at=T0 + 121 * HOUR), payment("paid", at=shop.now, checkout="k4")]
    shop.tell(*events)
    assert shop.standings() == {"k1": "open", "k3": "paid", "k4": "paid"}
    (detected,) = said(shop.at(T0 + 156 * HOUR), "detected")
    assert (detected["checkout_id"], detected["rule"]) == ("k1", "12")


def test_forgetting_a_strike_does_not_bring_back_what_it_superseded() -> None:
    shop = Shop()
    events = [confirmed("k1", cart_id="c", **ALLOWED)]
    events.append(confirmed("k2", at=T0 + HOUR, cart_id="c", **ALLOWED))
    shop.tell(*events)
    shop.at(VERDICT + 2 * HOUR)
    assert shop.standings() == {"k1": "unpaid", "k2": "superseded"}
    late = (VERDICT // DAY + 90) * DAY
    for when in range(VERDICT + 25 * DAY, late, 25 * DAY):  # keeps k2 alive
        shop.tell(payment("expired", at=when, checkout="k2"), now=when)
    assert said(shop.at(late), "detected") == []
    assert shop.standings() == {"k2": "superseded"}
    assert said(shop.tell(payment("expired", at=late, checkout="k2")), "detected") == []


@pytest.mark.parametrize(("after", "told"), [(-1, True), (0, False), (1, False)])
def test_what_would_be_forgotten_already_is_not_taken_in(after: int, *, told: bool) -> None:
    shop = Shop(now=T0 + 30 * DAY + after)
    assert said(shop.tell(confirmed(**ALLOWED)), "detected") != [] or not told
    assert shop.ledger.knows("c1") is told
    assert shop.ledger.stats.skipped["too_late"] == (0 if told else 1)


def test_an_orphan_keeps_an_old_checkout_welcome() -> None:
    shop = Shop(now=T0 + 30 * DAY)
    shop.tell(payment("paid", at=T0 + DAY), confirmed())
    assert shop.standings() == {"k1": "paid"}


def test_a_strike_out_of_the_window_when_first_told_is_not_announced() -> None:
    shop = Shop(now=0)
    shop.tell(confirmed(**ALLOWED), clock=T0)
    assert shop.at(T0 + 100 * DAY) == []
    assert shop.ledger.count == 0


def test_while_history_is_read_again_forgetting_goes_by_the_lowest_append_time() -> None:
    shop = Shop(now=0)
    shop.ledger.reading_history(T0 + 30 * DAY - 1)
    shop.tell(confirmed(), payment("paid", at=T0), confirmed("k2", **ALLOWED))
    assert shop.standings() == {"k1": "paid", "k2": "open"}
    shop.ledger.reading_history(T0 + 30 * DAY)
    shop.tell(payment("pending", at=T0, checkout="k3"))
    assert shop.standings() == {"k2": "open"}
    shop.ledger.reading_history(None)
    assert [d["checkout_id"] for d in said(shop.at(T0 + 30 * DAY), "detected")] == ["k2"]
