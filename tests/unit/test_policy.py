"""The policy file: defaults key by key, units, mistakes with their lines, the version."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policy import DEFAULT_POLICY, Policy, PolicyError, Step, parse_policy, policy_toml
from domain.policy_file import duration_ms, duration_text, lines_of

HOUR = 3_600_000
DAY = 24 * HOUR
DEFAULTS = Path(__file__).parents[2] / "deploy" / "policy.toml"


def policy(text: str) -> Policy:
    return parse_policy(text, name="p.toml")


def problems(text: str) -> list[tuple[int, str]]:
    """(line, text) of each mistake; [] for a good policy."""
    try:
        policy(text)
    except PolicyError as error:
        return [(each.line, each.text) for each in error.problems]
    return []


# What it says


def test_an_empty_file_is_the_default_policy() -> None:
    assert policy("") == DEFAULT_POLICY
    assert policy("# nothing\n[verdict]\n") == DEFAULT_POLICY


def test_the_file_we_ship_says_every_key_with_its_default() -> None:
    text = DEFAULTS.read_text()
    assert parse_policy(text, name="policy.toml") == DEFAULT_POLICY
    shown = tomllib.loads(policy_toml("", name="x"))
    shipped = tomllib.loads(text)
    for section in shown:
        said, known = set(shipped[section]), set(shown[section])
        assert said == known, section


def test_the_defaults_are_the_figures_of_the_rules() -> None:
    p = DEFAULT_POLICY
    assert p.payment_window_ms["card"] == p.payment_window_ms["qris"] == 4 * HOUR
    assert p.payment_window_ms["counter"] == p.payment_window_ms["other"] == 24 * HOUR
    assert "cod" not in p.payment_window_ms
    assert (p.verdict.after_expiry_ms, p.verdict.after_silence_ms) == (13 * HOUR, 96 * HOUR)
    assert (p.strikes.window_days, p.strikes.cod_window_days) == (90, 60)
    assert p.reminders.quiet_hours == (21 * 60, 8 * 60)
    assert p.reminders.steps["e_wallet"] == (Step("1h", HOUR, before_pay_by=False),)
    assert p.reminders.steps["counter"] == (
        Step("2h", 2 * HOUR, before_pay_by=False),
        Step("-4h", 4 * HOUR, before_pay_by=True),
    )
    assert p.caps.method_changes == 16


def test_a_key_that_is_said_leaves_the_others_at_their_defaults() -> None:
    p = policy('[payment_window]\ncard = "90m"\n[caps]\norders = 1')
    assert p.payment_window_ms["card"] == 90 * 60_000
    assert p.payment_window_ms["qris"] == 4 * HOUR
    assert (p.caps.orders, p.caps.payments) == (1, 16)


def test_steps_follow_card_or_virtual_account_unless_named() -> None:
    p = policy('[reminders.steps]\ncard = ["30m"]\nvirtual_account = []\nqris = ["2h", "-1h"]')
    names = {m: [s.name for s in steps] for m, steps in p.reminders.steps.items()}
    assert names["card"] == names["e_wallet"] == ["30m"]
    assert names["qris"] == ["2h", "-1h"]
    assert names["virtual_account"] == names["other"] == []


def test_a_policy_in_seconds_works_as_one_in_days() -> None:
    text = """
    [payment_window]
    card = "6s"\ne_wallet = "6s"\nqris = "6s"\nvirtual_account = "9s"\nbank_transfer = "9s"
    counter = "9s"\ninstallment = "9s"\nother = "9s"
    [verdict]
    after_expiry = "2s"\nafter_silence = "8s"\nprocessing = "5s"\nsuperseded_within = "10s"
    [reminders]
    quiet_hours = []\nlatest_before_pay_by = "250ms"\nper_customer_gap = "0s"
    steps = { card = ["2s"], virtual_account = ["2s", "-3s"] }
    """
    p = policy(text)
    assert p.payment_window_ms["counter"] == 9_000
    assert p.reminders.quiet_hours is None
    assert p.reminders.latest_before_pay_by_ms == 250


def test_customers_to_ignore_are_a_set() -> None:
    p = policy('[input]\nignore_customers = ["guest", "test-1", "guest"]')
    assert p.input.ignore_customers == {"guest", "test-1"}


# Versions


def test_the_version_is_of_the_values_not_of_the_text() -> None:
    other = '# in other words\n[payment_window]\ncard = "240m"\n[strikes]\nwindow = "2160h"'
    assert policy(other).version == DEFAULT_POLICY.version
    one = '[input]\nignore_customers = ["a", "b"]'
    two = '[input]\nignore_customers = ["b", "a", "b"]'
    assert policy(one).version == policy(two).version
    share = "[strikes]\nhuman_review_unpaid_share = "
    assert policy(share + "1").version == policy(share + "1.0").version
    assert len(DEFAULT_POLICY.version) == 12


@pytest.mark.parametrize(
    "text",
    [
        '[payment_window]\nother = "25h"',
        "[strikes]\nhuman_review_unpaid_share = 0.51",
        "[reminders]\nquiet_hours = []",
        '[reminders]\nsteps.qris = ["60m"]',
        '[input]\nignore_customers = ["guest"]',
        "[profile]\nkind_purchases = 4",
        '[retention]\nerased_guard = "31d"',
    ],
)
def test_every_value_counts_for_the_version(text: str) -> None:
    assert policy(text).version != DEFAULT_POLICY.version


def test_the_default_policy_keeps_its_version() -> None:
    # Every announced verdict and every lane's position carries it: a change here makes all
    # customers be judged again, once. It must be meant.
    assert DEFAULT_POLICY.version == "95934f073caa"


def test_shown_and_read_again_it_is_the_same_policy() -> None:
    text = '[reminders]\nquiet_hours = ["22:30", "06:15"]\nsteps.qris = ["90m"]\n'
    shown = policy_toml(text, name="p.toml")
    assert policy(shown) == policy(text)
    assert 'after_silence = "96h"  # default' in shown
    assert 'quiet_hours = ["22:30", "06:15"]\n' in shown


# Mistakes


def test_all_mistakes_are_named_at_once_with_their_lines() -> None:
    text = """# mine
[payment_window]
card = 4
crad = "4h"
[verdict]
after_expiry = "5d"

[caps]
payments = 0
orders = true
"""
    told = problems(text)
    assert [line for line, _ in told] == [3, 4, 6, 9, 10]
    assert "did you mean payment_window.card?" in told[1][1]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[verdict\n", 1, "no TOML"),
        ('x = 1\n[caps]\norders = "', 3, "no TOML"),
        ("[caps]\norders = 1\norders = 2", 3, "no TOML"),
        pytest.param("a = " + "9" * 5_000, 1, "no TOML", id="a number beyond reading"),
        pytest.param("a = " + "[" * 5_000, 1, "no TOML", id="nested beyond reading"),
        ("[verdicts]\n", 1, "verdicts is no section of a policy; did you mean verdict?"),
        ("verdict = 3", 1, "verdict must be a table"),
        ("[caps]\nafter_expiry = '1h'", 2, "did you mean verdict.after_expiry?"),
        ("[caps]\nzzz = 1", 2, "there are method_changes, open_checkouts, orders"),
        ("[reminders.steps]\ncod = []", 2, "reminders.steps.cod is no key"),
        ("[payment_window]\ncod = '4h'", 2, "payment_window.cod is no key"),
        ("[verdict]\nprocessing = '-1h'", 2, "must not be negative (-1h)"),
        ("[verdict]\nprocessing = '1.5h'", 2, "a whole number and ms, s, m, h or d"),
        ("[verdict]\nprocessing = '1w'", 2, "a whole number and ms, s, m, h or d"),
        ("[verdict]\nprocessing = 3600", 2, 'such as "72h"'),
        ("[verdict]\nprocessing = '4000d'", 2, "longer than ten years"),
        ("[payment_window]\nqris = '0s'", 2, "must be longer than 0"),
        ("[strikes]\nwindow = '36h'", 2, 'must be whole days, such as "1d"'),
        ("[retention]\nhistory = '8761h'", 2, 'must be whole days, such as "365d"'),
        ("[strikes]\nhuman_review_unpaid_share = 50", 2, "from 0 to 1"),
        ("[profile]\ndiscount_share = true", 2, "from 0 to 1"),
        ("[caps]\norphans = 2.0", 2, "must be a whole number"),
        ("[profile]\nshort_lived_traits = 7", 2, "from 1 to 6"),
        ("[reminders]\ndefault_time_zone = 'Asia'", 2, '"Asia" is no IANA time zone'),
        ("[reminders]\ndefault_time_zone = 'Asia/Jakatra'", 2, "no IANA time zone"),
        ("[reminders]\nquiet_hours = ['21:00']", 2, 'must be ["HH:MM", "HH:MM"]'),
        ("[reminders]\nquiet_hours = ['21:00', '24:00']", 2, 'must be ["HH:MM", "HH:MM"]'),
        ("[reminders]\nquiet_hours = ['21:00', '21:00']", 2, "the same minute; [] turns"),
        ("[reminders]\nsteps.card = ['1h', '60m']", 2, "says the same step twice"),
        ("[reminders]\nsteps.card = ['soon']", 2, 'a step is like "1h" or "-4h"'),
        ("[reminders]\nsteps.card = ['0m']", 2, "there is no reminder"),
        ("[reminders]\nsteps.card = '1h'", 2, "must be a list of texts"),
        ("[input]\nignore_customers = ['']", 2, "1-128 characters"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, words: str) -> None:
    told = problems(text)
    assert [where for where, _ in told] == [line]
    assert words in told[0][1]


@pytest.mark.parametrize(
    ("good", "bad", "key"),
    [
        ("[verdict]\nafter_expiry = '96h'", "[verdict]\nafter_expiry = '97h'", "after_expiry"),
        (
            "[strikes]\nhuman_review_at = 2",
            "[strikes]\nhuman_review_at = 1",
            "strikes.human_review_at",
        ),
        (
            "[payment_window]\nother = '90d'\n[reminders.steps]\nother = []",
            "[payment_window]\nother = '91d'\n[reminders.steps]\nother = []",
            "payment_window.other",
        ),
        ("[input]\noldest = '94d'", "[input]\noldest = '93d'", "input.oldest"),
        ("[retention]\nsettled = '1d'", "[retention]\nsettled = '23h'", "retention.settled"),
        ("[retention]\nhistory = '90d'", "[retention]\nhistory = '89d'", "retention.history"),
        (
            "[profile]\nloyal_purchases = 4",
            "[profile]\nloyal_purchases = 3",
            "profile.loyal_purchases",
        ),
        # A step that never comes: at its base + offset, or pay_by - offset, there is no room.
        ("[reminders]\nsteps.card = ['225m']", "[reminders]\nsteps.card = ['226m']", "steps.card"),
        ("[reminders]\nsteps.card = ['-15m']", "[reminders]\nsteps.card = ['-14m']", "steps.card"),
        (
            "[reminders]\nsteps.card = ['-14399s']",
            "[reminders]\nsteps.card = ['-4h']",
            "steps.card",
        ),
        ("[payment_window]\ncard = '75m'", "[payment_window]\ncard = '74m'", "steps.card"),
        (
            "[reminders]\nlatest_before_pay_by = '3h'",
            "[reminders]\nlatest_before_pay_by = '181m'",
            "reminders.steps.card",
        ),
    ],
)
def test_a_combination_that_cannot_be_meant_is_a_mistake_one_step_after_its_edge(
    good: str, bad: str, key: str
) -> None:
    assert problems(good) == []
    told = problems(bad)
    assert told
    assert all(line == 2 for line, _ in told)
    assert any(key in text for _, text in told)


def test_of_two_keys_that_do_not_go_together_the_last_one_said_is_blamed() -> None:
    text = "[verdict]\nafter_silence = '1h'\n\nafter_expiry = '2h'"
    ((line, words),) = problems(text)
    assert line == 4
    assert "must not be longer than verdict.after_silence" in words


def test_a_key_that_is_wrong_by_itself_is_not_blamed_twice() -> None:
    assert len(problems("[verdict]\nafter_expiry = '5x'\nafter_silence = '1s'")) == 1


# Lines and units

LINES = '''\ufeff# a comment with [brackets] = and "quotes
top.dotted = 1
[a]
one = "x # no comment" # comment
two = ["[", """
three = 3
""", \'\'\'
four = 4\'\'\',
]
"quo\\"ted" = 'x'
in.line = { five = 5, six = [ { seven = 7 } ] }
[ a . b ]
1.2 = 3.4
[[list]]
last = 2026-01-01T00:00:00Z
'''


def test_keys_are_found_on_their_lines_whatever_stands_around_them() -> None:
    found = lines_of(LINES.removeprefix("\ufeff"))
    assert found["top", "dotted"] == 2
    assert (found[("a",)], found["a", "one"], found["a", "two"]) == (3, 4, 5)
    assert ("a", "three") not in found
    assert found["a", 'quo"ted'] == 10
    assert found["a", "in", "line"] == 11
    assert (found["a", "b"], found["a", "b", "1", "2"]) == (12, 13)
    assert (found["list",], found["list", "last"]) == (14, 15)


def test_lines_count_line_feeds_whatever_the_editor_writes() -> None:
    text = "\ufeff[caps]\r\n\r\norders = 0\r\n"
    assert [line for line, _ in problems(text)] == [3]


printable = st.characters(codec="utf-8", exclude_characters="\r\x7f")
keys = st.text(printable, min_size=1, max_size=8)
texts = st.text(printable, max_size=12)
values = st.one_of(st.integers(0, 99), texts, st.lists(texts))


def toml(value: object) -> str:
    """A value as TOML; JSON's texts and lists are TOML's, too."""
    return json.dumps(value, ensure_ascii=False, indent=1 if isinstance(value, list) else None)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=3), max_size=4))
def test_every_key_of_any_file_has_the_line_it_is_on(tables: dict[str, dict[str, Any]]) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for name, table in tables.items():
        lines += ["# [x", f"[{toml(name)}]"]
        expected[(name,)] = len(lines)
        for key, value in table.items():
            expected[name, key] = len(lines) + 1
            lines += f"{toml(key)} = {toml(value)} # = ".split("\n")
    text = "\n".join(lines)
    assert tomllib.loads(text) == tables
    assert lines_of(text) == expected


@given(st.integers(0, 10**12))
def test_a_duration_reads_as_it_is_written(ms: int) -> None:
    assert duration_ms(duration_text(ms)) == ms


@pytest.mark.parametrize("text", ["", "4", "h", "4 h", "-4h", "4H", "٤h", "1h30m", "9" * 30 + "s"])
def test_what_is_no_duration(text: str) -> None:
    assert duration_ms(text) is None
