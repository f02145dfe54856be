"""Rebuild: what was announced counts as announced, and only the difference is said."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.unit.domain_builders import (
    AWAKE,
    DAY,
    HOUR,
    T0,
    Shop,
    confirmed,
    order,
    overturned,
    payment,
    said,
)

VERDICT = T0 + 100 * HOUR
ALLOWED: dict[str, Any] = {"reminders_allowed": False}


def rebuilt(former: list[Shop], *events: Any, policy: Any = AWAKE) -> Shop:
    """An empty state that was told what the former one announced, then the events again."""
    shop = Shop(now=0, policy=policy)
    for each in former:
        for said_once in each.announced:
            shop.ledger.seed(*said_once)
    shop.tell(*events, clock=T0)
    return shop


def history(*steps: tuple[int, list[Any]]) -> Shop:
    shop = Shop()
    for now, events in steps:
        shop.tell(*events, now=now)
    return shop


def test_the_same_history_says_nothing_again() -> None:
    events = [confirmed(**ALLOWED), payment("failed", at=T0)]
    former = history((T0, events), (VERDICT, []))
    shop = rebuilt([former], *events)
    assert shop.at(VERDICT + HOUR) == []
    assert shop.standings() == {"k1": "unpaid"}
    (withdrawn,) = said(shop.tell(payment("paid", at=VERDICT)), "withdrawn")
    assert (withdrawn["cause"], withdrawn["sequence"]) == ("paid_late", 1)


def test_only_the_difference_is_said() -> None:
    events = [confirmed(**ALLOWED)]
    former = history((T0, events), (VERDICT, []))
    shop = rebuilt([former], *events, payment("paid", at=T0 + HOUR))
    withdrawn, changed = shop.at(VERDICT + HOUR)
    assert (withdrawn["cause"], changed["strikes"], changed["version"]) == ("paid_in_time", 0, 2)


def test_sequence_and_version_go_on() -> None:
    events = [confirmed(**ALLOWED)]
    pending = payment("pending", at=VERDICT)
    former = history((T0, events), (VERDICT, []), (VERDICT, [pending]))
    shop = rebuilt([former], *events, pending)
    assert shop.at(VERDICT + 72 * HOUR - 1) == []
    detected, changed = shop.at(VERDICT + 72 * HOUR)
    assert (detected["sequence"], changed["version"]) == (2, 3)


def test_a_verdict_whose_checkout_is_gone_from_the_inputs_keeps_standing() -> None:
    expired = payment("expired", at=T0)
    former = history((T0, [confirmed(**ALLOWED), expired]), (T0 + 17 * HOUR, []))
    shop = rebuilt([former])
    assert shop.at(T0 + 17 * HOUR) == []
    assert shop.standings() == {"k1": "unpaid"}
    leaves = ((T0 + 17 * HOUR) // DAY + 90) * DAY
    assert shop.at(leaves - 1) == []
    assert [o["type"] for o in shop.at(leaves)] == ["changed", "tombstone"]


def test_and_can_still_be_withdrawn() -> None:
    for event, cause in (
        (payment("paid", at=VERDICT, paid_at=T0 + 1), "paid_in_time"),
        (payment("pending", at=VERDICT), "reopened"),
        (overturned(at=VERDICT), "overturned"),
    ):
        former = history((T0, [confirmed(**ALLOWED)]), (VERDICT, []))
        shop = rebuilt([former])
        shop.at(VERDICT)
        (withdrawn,) = said(shop.tell(event), "withdrawn")
        assert withdrawn["cause"] == cause


def test_a_withdrawn_verdict_whose_checkout_is_gone_from_the_inputs_is_not_said_again() -> None:
    for reason in (payment("paid", at=VERDICT), overturned(at=VERDICT)):
        former = history((T0, [confirmed(**ALLOWED)]), (VERDICT, []), (VERDICT + HOUR, [reason]))
        shop = rebuilt([former])
        assert shop.at(VERDICT + 2 * HOUR) == []
        # Read after all, its event is judged by what is known, and the count goes on.
        (detected,) = said(shop.tell(confirmed(**ALLOWED)), "detected")
        assert detected["sequence"] == 2


def test_a_refused_delivery_keeps_standing_too() -> None:
    events = [confirmed(method="cod"), order("refused", at=T0 + DAY, by="buyer")]
    former = history((T0 + DAY, events))
    shop = rebuilt([former])
    assert shop.at(T0 + DAY) == []
    assert shop.standings() == {"k1": "unpaid"}
    (withdrawn,) = said(shop.tell(order("delivered", at=T0 + 2 * DAY)), "withdrawn")
    assert withdrawn["cause"] == "paid_in_time"


def test_another_policy_leaves_what_was_announced() -> None:
    events = [confirmed(**ALLOWED)]
    former = history((T0, events), (VERDICT, []))
    verdict = replace(AWAKE.verdict, after_silence_ms=200 * HOUR)
    shop = rebuilt([former], *events, policy=replace(AWAKE, verdict=verdict, version="other"))
    assert shop.at(VERDICT + HOUR) == []
    assert shop.standings() == {"k1": "unpaid"}


def test_a_tombstone_takes_the_advice_back() -> None:
    former = history((T0, [confirmed(**ALLOWED)]), (VERDICT, []))
    shop = rebuilt([former], confirmed(**ALLOWED))
    shop.ledger.seed("customer", b"c1", None, VERDICT)
    (changed,) = said(shop.at(VERDICT), "changed")
    assert changed["version"] == 1
