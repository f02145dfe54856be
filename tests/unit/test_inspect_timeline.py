"""A record as a timeline in words: for every scenario, and for what people ask about."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from domain.customer import decode, encode
from domain.policy import DEFAULT_POLICY, Policy
from schemas.codec import rfc3339
from streams.forecast import run_ahead
from streams.inspect import write
from streams.past_steps import WHY_DROPPED
from streams.reasons import ROWS
from streams.timeline import CheckoutStory, Known, Story, data, story
from streams.words import Times, money
from tests.support.real import Real, policy_of
from tests.support.scenarios import Scenario, all_scenarios
from tests.unit.domain_builders import (
    AWAKE,
    DAY,
    HOUR,
    MINUTE,
    T0,
    VERDICT,
    Shop,
    cancelled,
    confirmed,
    order,
    overturned,
    payment,
)

RULES = Path(__file__).parents[2] / "docs" / "rules.md"
DOCS = RULES.with_name("inspect.md")


def told_of(shop: Shop, *, at: int | None = None, policy: Policy | None = None) -> Story:
    policy = policy or shop.ledger.policy
    known = Known(policy, shop.ledger.policy.version, shop.now, shop.now)
    return story("c1", shop.ledger.records[b"c1"], known, at_ms=at)


def checkout_of(told: Story, name: str = "k1") -> CheckoutStory:
    return next(c for c in told.checkouts if c.checkout_id == name)


def kinds(lines: list[object]) -> list[str]:
    return [line.kind for line in lines]  # type: ignore[attr-defined]


def printed(told: Story, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    write(told, out)
    return out.getvalue()


# Every scenario


@pytest.mark.parametrize("scenario", list(all_scenarios()), ids=lambda each: each.id)
def test_every_scenario_has_a_story_whose_forecast_comes_true(scenario: Scenario) -> None:
    real = Real(policy_of(scenario.policy_toml), upstream_delay=scenario.upstream_delay)
    real.run(scenario.records, scenario.until)
    for key, record in real.ledger.records.items():
        known = Known(real.policy, real.policy.version, real.ledger.now_ms, real.ledger.now_ms)
        told = story(key.decode(), record, known)
        names = {c.checkout_id: c.standing for c in told.checkouts if c.rule is not None}
        kept = decode(record).checkouts
        assert names == {c.checkout_id: c.standing.word for c in kept if c.confirmed is not None}
        assert all("The record says" not in c.why for c in told.checkouts)
        assert json.loads(json.dumps(data(told)))["customer_id"] == key.decode()
    if real.ledger.now_ms > 0:
        check_forecasts(real)


def check_forecasts(real: Real) -> None:
    """The ledger itself, run to the same moment, holds the record that was foretold."""
    until = real.ledger.now_ms + 3 * DAY
    foretold = {
        key: run_ahead(
            key.decode(),
            record,
            policy=real.policy,
            now_ms=real.ledger.now_ms,
            clock_ms=real.ledger.now_ms,
            until_ms=until,
        ).record
        for key, record in real.ledger.records.items()
    }
    real.advance(until)
    assert {key: real.ledger.records.get(key) for key in foretold} == foretold


def test_every_row_of_the_rules_has_its_words() -> None:
    rows = re.findall(r"^\| (c?\d+) \|", RULES.read_text(), flags=re.MULTILINE)
    assert len(rows) == 18
    assert set(rows) == set(ROWS)


# Where a checkout stands, and why


def test_an_open_checkout_says_until_when_and_what_comes_next() -> None:
    shop = Shop()
    shop.tell(confirmed(amount=15_000_000))
    told = checkout_of(told_of(shop))
    assert told.title == "150,000 IDR by card: open"
    assert told.rule == "6"
    assert told.why == (
        "There is still time. It is to be paid by 15 Jan 2027 19:00 (12:00 UTC); payments may be "
        "told late, so nobody is judged before 19 Jan 2027 19:00 (12:00 UTC), 4 d later, as "
        "nothing was told."
    )
    assert [(line.at_ms, line.kind) for line in told.next] == [
        (T0 + HOUR, "reminder"),
        (VERDICT, "detected"),
        ((VERDICT // DAY + 90) * DAY, "forgotten"),
    ]


def test_a_strike_says_why_when_it_leaves_and_what_follows_from_it() -> None:
    shop = Shop()
    shop.tell(confirmed())
    shop.at(T0 + HOUR)
    shop.at(VERDICT)
    told = told_of(shop)
    one = checkout_of(told)
    assert (one.standing, one.rule) == ("unpaid", "12")
    assert "no money came, and nothing excuses it" in one.why
    assert "detected" in kinds(list(one.told))
    assert [line.words for line in one.reminders] == ["reminder, 1h after the checkout: sent"]
    assert one.reminders[0].at_ms == T0 + HOUR
    assert told.strikes == 1
    assert told.standing[0] == (
        "a strike of 19 Jan 2027 for k1; it counts until 18 Apr 2027 (days of UTC)"
    )
    assert "advice: none (fewer than 2 strikes)" in told.standing[-1]
    assert told.announced[0].startswith("1 strike, advice: none")
    assert [line.words for line in one.next] == [
        "its strike has left the window, and it is forgotten"
    ]
    assert kinds(list(told.next))[-1] == "gone"


def test_what_was_paid_late_is_no_strike_and_is_forgotten_later() -> None:
    shop = Shop()
    shop.tell(confirmed())
    shop.tell(payment(at=T0 + 5 * HOUR), now=T0 + 6 * HOUR)
    told = checkout_of(told_of(shop))
    assert told.why == (
        "10 IDR came, 10 IDR was due. It was paid 60 min late; paying late is no strike."
    )
    (forgotten,) = told.next
    assert forgotten.words == "it is forgotten, 30 d after the last word of it"
    assert forgotten.at_ms == T0 + 5 * HOUR + 30 * DAY


def test_an_overturned_verdict_says_by_whom_and_that_it_was_withdrawn() -> None:
    shop = Shop()
    shop.tell(confirmed(reminders_allowed=False))
    shop.at(VERDICT)
    shop.tell(overturned(at=VERDICT + HOUR), now=VERDICT + 2 * HOUR)
    told = checkout_of(told_of(shop))
    assert told.standing == "overturned"
    assert "ada decided on" in told.why
    assert "spoke to the buyer" in told.why
    assert {"overturned", "withdrawn"} <= set(kinds(list(told.told)))
    assert "reminders_not_allowed" in kinds(list(told.reminders))


def test_a_held_checkout_says_that_nobody_can_tell() -> None:
    shop = Shop()
    shop.tell(confirmed())
    customer = decode(shop.ledger.records[b"c1"])
    customer.checkouts[0].held = True
    known = Known(AWAKE, AWAKE.version, VERDICT, VERDICT)
    told = story("c1", encode(customer, VERDICT), known)
    (line,) = [line for line in checkout_of(told).told if line.kind == "held"]
    assert "dead letter" in line.words
    assert "waits among the dead letters" in checkout_of(told).why


def test_one_cart_bought_twice_names_the_other_checkout() -> None:
    shop = Shop()
    shop.tell(
        confirmed("k1", cart_id="w"),
        confirmed("k2", cart_id="w", at=T0 + MINUTE),
        payment(at=T0 + 2 * MINUTE, checkout="k2"),
        now=T0 + 3 * MINUTE,
    )
    assert checkout_of(told_of(shop)).why == (
        "The same cart was bought with another checkout (k2): the buyer did not run away."
    )


def test_facts_without_a_checkout_are_told_as_such() -> None:
    shop = Shop()
    shop.tell(payment(at=T0))
    told = checkout_of(told_of(shop))
    assert (told.standing, told.rule) == ("unconfirmed", None)
    assert kinds(list(told.told)) == ["payment_paid"]


def test_a_refusal_and_a_cancellation_are_told_in_words() -> None:
    shop = Shop()
    shop.tell(
        confirmed("k1", method="cod"),
        order("refused", at=T0 + HOUR, by="buyer"),
        confirmed("k2", method="card"),
        cancelled("seller", at=T0 + HOUR, checkout="k2"),
        now=T0 + 2 * HOUR,
    )
    told = told_of(shop)
    assert "The buyer refused an order at the door" in checkout_of(told, "k1").why
    assert "neither by the buyer nor because nobody paid" in checkout_of(told, "k2").why
    assert any("cancelled by the seller" in line.words for line in checkout_of(told, "k2").told)


# Reminders


def test_a_reminder_that_will_be_dropped_says_why() -> None:
    shop = Shop()
    shop.tell(confirmed("k1"), confirmed("k2", at=T0 + MINUTE), now=T0 + 2 * MINUTE)
    (dropped,) = [c for c in checkout_of(told_of(shop), "k2").next if c.kind == "dropped"]
    assert dropped.words.endswith("not sent; the buyer's last reminder is too recent")


def test_a_reminder_that_falls_into_the_night_waits_until_the_morning() -> None:
    policy = replace(
        DEFAULT_POLICY,
        payment_window_ms=DEFAULT_POLICY.payment_window_ms | {"card": 24 * HOUR},
    )
    shop = Shop(policy=policy)
    evening = T0 + 5 * HOUR + 30 * MINUTE  # 20:30 in Jakarta
    shop.tell(confirmed(at=evening), now=evening)
    moved, sent = checkout_of(told_of(shop)).next[:2]
    assert (moved.kind, sent.kind) == ("moved", "reminder")
    assert sent.at_ms == T0 + 17 * HOUR  # 08:00
    shop.at(evening + HOUR)
    (waits,) = checkout_of(told_of(shop)).reminders
    assert "waits until 16 Jan 2027 08:00 (01:00 UTC)" in waits.words


def test_why_one_was_dropped_is_inferred_and_called_so() -> None:
    shop = Shop()
    shop.tell(confirmed("k1"), confirmed("k2", at=T0 + MINUTE), now=T0 + 2 * MINUTE)
    shop.at(T0 + HOUR)
    shop.at(T0 + HOUR + MINUTE)
    (dropped,) = checkout_of(told_of(shop), "k2").reminders
    assert dropped.kind == "reminder_dropped"
    assert "most likely: the buyer had been reminded less than 16 h before" in dropped.words


def test_a_step_after_payment_was_not_needed() -> None:
    shop = Shop()
    shop.tell(confirmed(), payment(at=T0 + MINUTE), now=T0 + 2 * HOUR)
    (step,) = checkout_of(told_of(shop)).reminders
    assert step.words.endswith("not needed, no payment was awaited by then")


def test_every_reason_of_a_dropped_reminder_has_its_words() -> None:
    from typing import get_args

    from domain.reminders import DropReason

    assert set(WHY_DROPPED) == set(get_args(DropReason))


# Another time, another policy, no time


def test_at_a_later_time_it_stands_as_the_rules_say_and_what_happens_before_is_told() -> None:
    shop = Shop()
    shop.tell(confirmed())
    told = told_of(shop, at=VERDICT + DAY)
    assert told.now_ms == VERDICT + DAY
    assert kinds(list(told.until_then)) == ["reminder", "detected", "advice"]
    assert told.until_then[0].words.startswith("k1: ")
    assert checkout_of(told).standing == "unpaid"
    shop.at(T0 + HOUR)
    assert checkout_of(told_of(shop)).standing == "open", "the record itself is as it was"


def test_at_a_time_when_all_is_forgotten_nothing_stands() -> None:
    shop = Shop()
    shop.tell(confirmed())
    told = told_of(shop, at=VERDICT + 400 * DAY)
    assert told.checkouts == []
    assert kinds(list(told.until_then))[-1] == "gone"


def test_another_policy_than_the_workers_is_warned_of() -> None:
    shop = Shop()
    shop.tell(confirmed())
    other = policy_of('[verdict]\nafter_silence = "50h"')
    (warning,) = told_of(shop, policy=other).warnings
    assert AWAKE.version in warning
    assert other.version in warning
    assert told_of(shop).warnings == []


def test_while_time_is_not_known_nothing_is_foretold() -> None:
    shop = Shop()
    shop.tell(confirmed())
    known = Known(AWAKE, AWAKE.version, 0, T0)
    told = story("c1", shop.ledger.records[b"c1"], known, at_ms=VERDICT)
    assert "do not know the time yet" in told.warnings[0]
    assert checkout_of(told).next == []


def test_what_is_long_overdue_shows_that_nobody_works() -> None:
    shop = Shop()
    shop.tell(confirmed())
    known = Known(AWAKE, AWAKE.version, T0 + MINUTE, T0 + HOUR + 6 * MINUTE)
    (warning,) = story("c1", shop.ledger.records[b"c1"], known).warnings
    assert "no worker is at work" in warning
    intended = replace(known, delay_ms=HOUR)
    assert story("c1", shop.ledger.records[b"c1"], intended).warnings == []
    (reminder,) = [
        line
        for line in checkout_of(story("c1", shop.ledger.records[b"c1"], known)).next
        if line.kind == "reminder"
    ]
    assert reminder.at_ms == T0 + HOUR


# On the screen


@pytest.mark.parametrize("width", [40, 60, 120])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_coloured(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    name = "k" * 100
    shop.tell(confirmed(name), payment("pending", at=T0, checkout=name))
    text = printed(told_of(shop), width, monkeypatch)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "Customer c1" in text


def test_text_of_others_moves_no_cursor_and_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    shop.tell(confirmed(reminders_allowed=False))
    shop.at(VERDICT)
    event = overturned(at=VERDICT)
    evil = replace(event, data=replace(event.data, reason="\x1b[2J[bold]hi[/bold]"))
    shop.tell(evil, now=VERDICT + HOUR)
    text = printed(told_of(shop), 100, monkeypatch)
    assert "\x1b" not in text
    assert "[bold]hi[/bold]" in text


def test_the_data_has_the_same_words_with_times_in_rfc_3339() -> None:
    shop = Shop()
    shop.tell(confirmed())
    told = data(told_of(shop))
    (one,) = told["checkouts"]
    assert told["now"] == rfc3339(T0)
    assert one["pay_by"] == rfc3339(T0 + 4 * HOUR)
    assert one["next"][0] == {
        "at": rfc3339(T0 + HOUR),
        "kind": "reminder",
        "words": "reminder 1 is sent",
    }


@pytest.mark.parametrize(
    ("minor", "currency", "words"),
    [
        (15_000_000, "IDR", "150,000 IDR"),
        (1_250, "USD", "12.50 USD"),
        (1_250, "JPY", "1,250 JPY"),
        (1_250, "KWD", "1.250 KWD"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0 EUR"),
    ],
)
def test_money_has_the_minor_units_of_its_currency(minor: int, currency: str, words: str) -> None:
    assert money(minor, currency) == words


def test_times_are_the_buyers_with_utc_beside_them() -> None:
    from zoneinfo import ZoneInfo

    jakarta = Times(ZoneInfo("Asia/Jakarta"))
    assert jakarta(T0) == "15 Jan 2027 15:00 (08:00 UTC)"
    assert jakarta(T0 + 12 * HOUR + 5_000) == "16 Jan 2027 03:00:05 (15 Jan 20:00:05 UTC)"
    assert Times(ZoneInfo("UTC"))(T0) == "15 Jan 2027 08:00 UTC"


def test_the_example_of_the_docs_is_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {
        "amount": 15_000_000,
        "method": "virtual_account",
        "time_zone": "Asia/Makassar",
    }
    shop = Shop(policy=DEFAULT_POLICY)
    shop.tell(
        confirmed("co-1", **told),
        payment("expired", at=T0 + 24 * HOUR, checkout="co-1", amount=15_000_000),
    )
    for hour in range(50):
        shop.at(T0 + hour * HOUR)
    shop.tell(
        confirmed("co-2", at=T0 + 50 * HOUR, **told),
        payment("pending", at=T0 + 51 * HOUR, checkout="co-2", amount=15_000_000),
        now=T0 + 51 * HOUR,
    )
    text = printed(told_of(shop), 90, monkeypatch)
    assert f"```text\n{text}```\n" in DOCS.read_text(), text
