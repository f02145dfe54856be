"""Forgetting changes nobody's standing or figures; a rebuild says the difference only."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from domain.policy import Policy, ReminderPolicy
from tests.property.histories import LATEST, NEAR, histories, patience, records_of, thorough
from tests.property.test_orders_of_arrival import POLICY, check_the_end, oracle_of
from tests.support import builders
from tests.support.builders import START_MS, Event
from tests.support.oracle import figures, standings
from tests.support.reading import DAY, HOUR, MINUTE
from tests.support.real import Real, policy_of

pytestmark = patience


@given(data=st.data(), events=histories())
@thorough
def test_figures_stay_right_while_everything_is_forgotten(
    data: st.DataObject, events: list[Event]
) -> None:
    real, customer = Real(), oracle_of(events)
    for role, one in records_of(events, arrives=LATEST):
        real.feed(role, one)
    now = START_MS + 10 * DAY
    for days in data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=12), label="days"):
        now += days * DAY
        real.fire(now)
        cases = standings(customer, now, POLICY)
        figure = figures(cases, now // DAY, POLICY)
        assert real.customer_says() == (figure["strikes"], figure["recommended_action"])
        # what is still known stands where it stood, and nothing was taken back
        for checkout, name in real.standings().items():
            assert cases[checkout].name == name
    assert real.said("hitrun.verdict.withdrawn") == []
    real.check_state()


@given(data=st.data(), events=histories())
@thorough
def test_every_record_has_an_end(data: st.DataObject, events: list[Event]) -> None:
    real = Real()
    for role, one in records_of(events, arrives=LATEST):
        real.feed(role, one)
    steps = data.draw(st.lists(st.integers(0, 600), max_size=5), label="steps")
    for step in [*sorted(steps), 600]:
        real.fire(LATEST + step * DAY)
    assert real.changelog == {}
    assert real.customer_says()[0] == 0


@given(data=st.data(), events=histories())
@thorough
def test_a_late_fact_of_what_is_still_known_is_judged_as_if_nothing_were_forgotten(
    data: st.DataObject, events: list[Event]
) -> None:
    real = Real()
    for role, one in records_of(events, arrives=LATEST):
        real.feed(role, one)
    told = list(events)
    now = LATEST
    for number in range(data.draw(st.integers(1, 4))):
        now += data.draw(st.sampled_from([HOUR, 2 * DAY, 5 * DAY, 12 * DAY]))
        real.fire(now)
        known = sorted(real.standings())
        if not known:
            return
        late = _late_fact(data, data.draw(st.sampled_from(known)), now, number)
        told.append(late)
        for role, one in records_of([late]):
            real.feed(role, one)
        real.flush()
        cases = standings(oracle_of(told, arrives=now), now, POLICY)
        stands = real.standings()
        assert stands == {checkout: cases[checkout].name for checkout in stands}
        # (a forgotten one keeps the standing it had: it can no longer become a strike)
        left = {checkout: cases[checkout] for checkout in stands}
        assert real.customer_says()[0] == figures(left, now // DAY, POLICY)["strikes"]


def _late_fact(data: st.DataObject, checkout: str, now: int, number: int) -> Event:
    """Something said of a checkout now, dated now or when it all began."""
    at = data.draw(st.sampled_from([now, START_MS + HOUR]))
    common: dict[str, Any] = {"at": at, "id": f"late{number}"}
    what = data.draw(st.sampled_from(["payment", "order", "cancelled", "overturn"]))
    if what == "payment":
        status = data.draw(st.sampled_from(["paid", "failed", "pending"]))
        return builders.payment("late", checkout, status=status, amount=100, **common)
    if what == "order":
        status = data.draw(st.sampled_from(["shipped", "delivered", "placed"]))
        return builders.order("late", checkout, status=status, **common)
    if what == "cancelled":
        return builders.cancelled(checkout, by="seller", **common)
    return builders.overturn(checkout, **common)


@given(data=st.data(), events=histories())
@thorough
def test_a_rebuild_says_the_difference_only(data: st.DataObject, events: list[Event]) -> None:
    # given a run that had heard a part of the history
    until = data.draw(st.integers(START_MS, LATEST), label="until")
    records = records_of(events, arrives=LATEST)
    cut = data.draw(st.integers(0, len(records)), label="cut")
    first = Real()
    for role, one in records[:cut]:
        first.feed(role, one)
    first.fire(until)
    # when another one starts from nothing, with what was announced and the whole history
    second = Real()
    for output in first.outputs:
        if output["role"] in ("verdict", "customer"):
            key = output["data"]["customer_id"].encode()
            event = {name: value for name, value in output.items() if name != "role"}
            second.ledger.seed(output["role"], key, orjson.dumps(event), until)
            if data.draw(st.booleans()):
                second.flush()
    for role, one in data.draw(st.permutations(records)):
        second.feed(role, one)
        if data.draw(st.integers(0, 3)) == 0:
            second.flush()
    second.flush()
    assert second.outputs == [], "nothing is said before the frontier is known"
    second.fire(until)
    said_anew = [o for o in second.outputs if o["role"] != "reminder"]
    if cut == len(records):
        assert said_anew == []
    # then both together are one right story
    second.outputs = [o for o in first.outputs if o["role"] != "reminder"] + said_anew
    check_the_end(second, events, until)


GAPLESS = policy_of('[reminders]\nquiet_hours = []\nper_customer_gap = "0s"\nper_customer_week = 9')
"""Nothing but the memory of steps and the cap per checkout keeps a reminder back."""


@st.composite
def reminded(draw: st.DrawFn) -> list[Event]:
    """Checkouts that nobody pays for good: other methods are chosen, payments are taken back."""
    told: list[Event] = []
    for number in range(draw(st.integers(1, 3))):
        at = START_MS + draw(st.sampled_from([0, 0, 3, 13, 20])) * HOUR
        common: dict[str, Any] = {"checkout_id": f"k{number}"}
        method = draw(st.sampled_from(["card", "counter", "virtual_account"]))
        told.append(builders.checkout(f"k{number}", at=at, method=method))
        later = at + draw(st.sampled_from([1, 2, 3, 20, 21])) * HOUR + draw(NEAR)
        what = draw(st.sampled_from(["nothing", "changed", "taken back"]))
        if what == "changed":
            told.append(builders.changed(at=later, method="counter", **common))
        elif what == "taken back":
            again = later + draw(st.sampled_from([MINUTE, HOUR]))
            told.append(builders.payment("p1", at=later, status="paid", **common))
            told.append(builders.payment("p1", at=again, status="failed", **common))
    return told


@given(data=st.data(), events=reminded(), policy=st.sampled_from([policy_of(), GAPLESS, GAPLESS]))
@thorough
def test_rebuilds_in_the_middle_say_no_reminder_twice_and_keep_the_caps(
    data: st.DataObject, events: list[Event], policy: Policy
) -> None:
    records = sorted(records_of(events), key=lambda pair: pair[1].timestamp)
    sent: list[tuple[int, dict[str, Any]]] = []
    real, told, now = Real(policy), 0, START_MS
    for _ in range(data.draw(st.integers(4, 12), label="moments")):
        now += data.draw(st.sampled_from([MINUTE, HOUR, HOUR, 2 * HOUR, 16 * HOUR]))
        if data.draw(st.booleans()):  # a rebuild: the topic, then the history again
            real, told = Real(policy), 0
            for clock, output in sent:
                key = output["data"]["customer_id"].encode()
                real.ledger.seed("reminder", key, orjson.dumps(output), clock)
                if data.draw(st.booleans()):
                    real.flush()
        while told < len(records) and records[told][1].timestamp <= now:
            role, one = records[told]
            real.feed(role, one)
            told += 1
        said = len(real.outputs)
        real.fire(now)
        sent += [(now, o) for o in real.outputs[said:] if o["role"] == "reminder"]
    _check_reminders(sent, policy.reminders)


def _check_reminders(sent: list[tuple[int, dict[str, Any]]], rules: ReminderPolicy) -> None:
    """No id twice, the caps of the customer; of each checkout the numbers in their order, and no
    step after a later one of it."""
    ids = [output["id"] for _, output in sent]
    assert len(ids) == len(set(ids)), "an id twice"
    steps: defaultdict[str, list[str]] = defaultdict(list)
    for n, (clock, output) in enumerate(sent):
        mine = steps[output["data"]["checkout_id"]]
        assert all(output["time"] > earlier for earlier in mine)
        mine.append(output["time"])
        assert output["data"]["number"] == len(mine) <= rules.per_checkout
        before = [at for at, _ in sent[:n]]
        assert all(clock - at >= rules.per_customer_gap_ms for at in before)
        assert sum(at > clock - 7 * DAY for at in before) < rules.per_customer_week


CAPPED = policy_of("[caps]\nsettled_checkouts = 1")


@given(data=st.data(), events=histories())
@thorough
def test_folding_beyond_the_cap_changes_nobodys_standing(
    data: st.DataObject, events: list[Event]
) -> None:
    real, customer = Real(CAPPED), oracle_of(events)
    for role, one in records_of(events, arrives=LATEST):
        real.feed(role, one)
    for now in sorted(data.draw(st.lists(st.integers(START_MS, LATEST), min_size=1, max_size=8))):
        real.fire(now)
        cases = standings(customer, now, POLICY)
        for checkout, name in real.standings().items():
            assert cases[checkout].name == name
        figure = figures(cases, now // DAY, POLICY)
        assert real.customer_says() == (figure["strikes"], figure["recommended_action"])
    real.check_state()
