"""Same facts, same answer: whatever the order, the repeats, the batches, the restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.histories import LATEST, ends, histories, patience, records_of, thorough
from tests.support import builders
from tests.support.announcer import Announcer
from tests.support.builders import Event
from tests.support.oracle import Customer, figures, standings
from tests.support.reading import DAY, policy_from, read
from tests.support.real import Real, comparable

pytestmark = patience
POLICY = policy_from()


def oracle_of(events: list[Event], *, arrives: int = LATEST) -> Customer:
    """The naive customer of a history."""
    customer = Customer("c1")
    for role, one in records_of(events, arrives=arrives):
        reading = read(role, one, POLICY)
        assert reading.fact is not None, (reading, one)
        customer.add(reading.fact)
    return customer


def check_the_end(real: Real, events: list[Event], until: int) -> None:
    """The record, what was announced and the customer's figures are what the oracle says."""
    cases = standings(oracle_of(events), until, POLICY)
    expected = {id: case.name for id, case in cases.items()}
    assert real.standings() == expected
    unpaid = {id for id, name in expected.items() if name == "unpaid"}
    assert {id for id, stands in real.announced().items() if stands} == unpaid
    figure = figures(cases, until // DAY, POLICY)
    assert real.customer_says() == (figure["strikes"], figure["recommended_action"])
    assert [letter for letter in real.dead_letters if letter[1] == "internal"] == []
    real.check_state()


@given(data=st.data(), events=histories())
@thorough
def test_any_order_any_repeats_any_batches_any_restarts_give_the_same_end(
    data: st.DataObject, events: list[Event]
) -> None:
    until = data.draw(ends(events), label="until")
    order = data.draw(st.permutations(records_of(events, arrives=LATEST)), label="order")
    real = Real()
    unwritten = []
    for role, one in order:
        real.feed(role, one)
        unwritten.append((role, one))
        step = data.draw(
            st.sampled_from(["go on", "go on", "flush", "fire", "crash", "crash after flush"])
        )
        if step == "flush":
            real.flush()
            unwritten = []
        elif step == "fire":
            to = data.draw(st.integers(until - 20 * DAY, until))
            real.fire(max(to, real.now))
            unwritten = []
        elif step == "crash after flush":
            real.flush()
            unwritten = []
            real.crash()
        elif step == "crash":
            real.crash()
            for again, record in unwritten:
                real.feed(again, record)
    real.flush()
    real.fire(until)
    check_the_end(real, events, until)


@given(data=st.data(), events=histories())
@thorough
def test_told_again_after_the_end_nothing_is_said_and_nothing_changes(
    data: st.DataObject, events: list[Event]
) -> None:
    until = data.draw(ends(events), label="until")
    real = Real()
    for role, one in records_of(events, arrives=LATEST):
        real.feed(role, one)
    real.fire(until)
    before = len(real.outputs), dict(real.changelog)
    for role, one in data.draw(st.permutations(records_of(events, arrives=LATEST))):
        real.feed(role, one)
        real.flush()
    assert (len(real.outputs), real.changelog) == before


@given(data=st.data(), events=histories())
@thorough
def test_time_may_pass_in_any_steps(data: st.DataObject, events: list[Event]) -> None:
    until = data.draw(ends(events), label="until")
    steps = data.draw(st.lists(st.integers(until - 24 * DAY, until), max_size=8), label="steps")
    real = Real()
    for role, one in records_of(events, arrives=LATEST):
        real.feed(role, one)
    for step in sorted(steps):
        real.fire(step)
        if data.draw(st.booleans()):
            real.crash()
    real.advance(until) if data.draw(st.booleans()) else real.fire(until)
    check_the_end(real, events, until)
    # and nothing was said that a later moment took back: no fact came meanwhile
    assert real.said("hitrun.verdict.withdrawn") == []


@given(data=st.data(), events=histories(checkouts=3))
@thorough
def test_everything_said_on_the_way_is_what_the_oracle_would_say(
    data: st.DataObject, events: list[Event]
) -> None:
    # given arrivals at or after the event times, judged at every moment as replay does
    delays = data.draw(
        st.lists(
            st.sampled_from([0, 0, 0, 0, 4_999, 5_000, 3_600_000, 7_200_000, 5 * DAY]),
            min_size=len(events),
            max_size=len(events),
        ),
        label="delays",
    )
    records = records_of(events)
    for (_, one), delay in zip(records, delays, strict=True):
        one.timestamp = min(one.timestamp + delay, LATEST)
    records.sort(key=lambda pair: pair[1].timestamp)
    until = data.draw(ends(events), label="until")
    # when
    real, oracle = Real(), Announcer(POLICY)
    real.run(records, until)
    oracle.run(records, until)
    # then
    said = {o["id"]: comparable(o) for o in real.outputs}
    for output in oracle.outputs:
        other = said.pop(output["id"], None)
        assert other is not None, ("not said", output)
        shared = {name: other["data"].get(name, "(absent)") for name in output["data"]}
        assert shared == output["data"], output["type"]
        if output["type"].endswith("withdrawn"):
            # of the newest fact that changed: the oracle does not see which changed nothing
            assert output["time"] is None or other["time"] <= output["time"]
            assert other["time"] == other["data"]["at"]
        else:
            assert other["time"] == output["time"], output["type"]
    assert said == {}


@pytest.mark.parametrize("batches", [1, 2, 7])
def test_a_small_history_by_hand(batches: int) -> None:
    """The machinery above on one known history, so that a broken generator is noticed."""
    events = [
        builders.checkout("k1", at="+0"),
        builders.checkout("k2", at="+1h", cart_id="basket"),
        builders.checkout("k3", at="+2h", cart_id="basket"),
        builders.payment("p3", "k3", at="+3h"),
    ]
    real = Real()
    for number, (role, one) in enumerate(records_of(events, arrives=LATEST)):
        real.feed(role, one)
        if number % batches == 0:
            real.flush()
    real.fire(LATEST)
    check_the_end(real, events, LATEST)
    assert real.standings() == {"k1": "unpaid", "k2": "superseded", "k3": "paid"}
