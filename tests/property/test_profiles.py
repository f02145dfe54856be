"""Profiles over years: any order of arrival, any batches, any steps of time, the same profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.property.histories import patience, records_of, thorough
from tests.property.test_orders_of_arrival import POLICY, oracle_of
from tests.support import builders
from tests.support.announcer import Announcer
from tests.support.builders import START_MS, Event
from tests.support.buyer import NOBODY, buyer, said_of
from tests.support.oracle import figures, standings
from tests.support.reading import DAY, HOUR
from tests.support.real import Real

pytestmark = patience

GAPS = [0, 0, 1, 5, 30, 60, 88, 89, 90, 91, 92, 180, 274, 275, 276, 364, 365, 366, 500]
"""Days between one checkout and the next, at the edges of section 6."""

CHECKOUTS: dict[str, list[Any]] = {
    "channel": [None, "online", "app", "app", "online", "store"],
    "arrived_by": [None, "search", "search", "search", "direct", "unknown"],
    "ships_to": [None, "own", "other"],
    "gift": [None, None, False, True],
    "discount_minor": [None, 0, 0, 5, 5],
    "items": [
        None,
        [{"category": "shoes"}],
        [{"category": "shoes"}],
        [{"category": "shoes"}, {"category": "socks", "accessory": True}],
        [{"category": "hats"}],
        [{"category": f"category {n}"} for n in range(10)],
    ],
}


@st.composite
def lives(draw: st.DrawFn, *, all_paid: bool = False) -> list[Event]:
    """Checkouts of one customer over months and years, nearly all of them paid within a day."""
    told, at = [], START_MS + draw(st.sampled_from([0, HOUR, 20 * HOUR]))
    for number in range(draw(st.integers(1, 9))):
        name = f"k{number}"
        data = {field: draw(st.sampled_from(values)) for field, values in CHECKOUTS.items()}
        told.append(builders.checkout(name, at=at, id=f"c{number}", amount=100, **data))
        if all_paid or draw(st.integers(0, 9)):
            later = at + draw(st.sampled_from([HOUR, HOUR, 20 * HOUR]))
            told.append(builders.payment("p", name, at=later, id=f"p{number}", amount=100))
        at += draw(st.sampled_from(GAPS)) * DAY
    return told


def end_of(data: st.DataObject, events: list[Event]) -> int:
    """A moment after the last event, at or near an edge of section 6."""
    last = max(builders.ms(event["time"]) for event in events)
    days = data.draw(st.sampled_from([1, 29, 88, 89, 90, 91, 180, 364, 365, 366]), label="days")
    edge = (last // DAY + days) * DAY
    return max(last + 5 * DAY, edge + data.draw(st.sampled_from([-1, 0, 1]), label="near"))


def check(real: Real, events: list[Event], until: int) -> None:
    """What was said last is what the oracle says of all facts."""
    cases = standings(oracle_of(events, arrives=None), until, POLICY)
    figure = figures(cases, until // DAY, POLICY)
    said = real.said("hitrun.customer.changed")
    if said:
        assert said[-1]["data"]["strikes"] == figure["strikes"]
        assert said[-1]["data"]["recommended_action"] == figure["recommended_action"]
    assert real.profile_says() == buyer(cases, until, POLICY)
    real.check_state()


@given(data=st.data(), events=lives())
@thorough
def test_a_backlog_in_any_order_any_batches_and_any_steps_gives_the_same_profile(
    data: st.DataObject, events: list[Event]
) -> None:
    until = end_of(data, events)
    records = records_of(events)
    repeated = data.draw(st.lists(st.sampled_from(records), max_size=3), label="repeated")
    real = Real()
    for role, one in data.draw(st.permutations([*records, *repeated]), label="order"):
        real.feed(role, one)
        if data.draw(st.booleans()):
            real.flush()
        if data.draw(st.integers(0, 4)) == 0:
            real.flush()
            real.crash()
    real.flush()
    last = max(builders.ms(event["time"]) for event in events)
    for step in sorted(data.draw(st.lists(st.integers(last, until), max_size=4), label="steps")):
        real.fire(step)
        if data.draw(st.booleans()):
            real.crash()
    real.fire(until)
    check(real, events, until)


@given(data=st.data(), events=lives())
@thorough
def test_told_as_it_happens_every_change_is_said_at_its_moment_and_nothing_else(
    data: st.DataObject, events: list[Event]
) -> None:
    until = end_of(data, events)
    records = sorted(records_of(events), key=lambda pair: pair[1].timestamp)
    real, oracle = Real(), Announcer(POLICY)
    real.run(records, until)
    oracle.run(records, until)
    check(real, events, until)
    assert changes(real.outputs, builders.ms) == changes(oracle.outputs, int)


def changes(outputs: list[dict[str, Any]], at: Callable[[Any], int]) -> list[tuple[Any, ...]]:
    """All customer events: when, strikes and advice, profile. (Versions begin anew after a
    tombstone, which the oracle does not say.)"""
    return [
        (at(o["time"]), o["data"]["strikes"], o["data"]["recommended_action"], said_of(o["data"]))
        for o in outputs
        if o["type"] == "hitrun.customer.changed"
    ]


@given(events=lives())
@thorough
def test_every_profile_ends_with_nothing_known_and_no_record(events: list[Event]) -> None:
    real = Real()
    records = sorted(records_of(events), key=lambda pair: pair[1].timestamp)
    real.run(records, records[-1][1].timestamp + 400 * DAY)
    assert real.changelog == {}
    assert real.profile_says() == NOBODY


@given(data=st.data(), events=lives(all_paid=True))
@thorough
def test_looks_are_at_most_one_a_day_and_three_a_purchase(
    data: st.DataObject, events: list[Event]
) -> None:
    real = Real()
    for role, one in data.draw(st.permutations(records_of(events))):
        real.feed(role, one)
    last = max(builders.ms(event["time"]) for event in events)
    real.fire(last + 31 * DAY)  # everything is settled, and forgotten
    days: list[int] = []
    while real.changelog:
        due = real.ledger.next_due_ms
        real.fire(due)
        days.append(due // DAY)
    assert days == sorted(set(days))
    # no longer new, or too long ago; left the year; the end
    assert len(days) <= len(events) // 2 + 3
