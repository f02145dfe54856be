"""The policy file: defaults key by key, versions of values, and every mistake with its line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.policy import DEFAULT_POLICY, PolicyError, Step, parse_policy, policy_toml
from domain.policy_file import LONGEST_MS, duration_ms, duration_text, lines_of

HOUR_MS = 3_600_000
DEPLOYED = Path(__file__).parents[2] / "deploy" / "policy.toml"


def problems(text: str) -> list[str]:
    """What is wrong with a policy, as a person reads it."""
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, name="policy.toml")
    assert [f"policy.toml:{p.line or 1}: {p.text}" for p in raised.value.problems] == str(
        raised.value
    ).splitlines()
    return str(raised.value).splitlines()


def version(text: str) -> str:
    return parse_policy(text, name="test").version


# Defaults


def test_the_deployed_file_says_every_default_and_nothing_else() -> None:
    text = DEPLOYED.read_text()
    assert parse_policy(text, name="policy.toml") == DEFAULT_POLICY
    left_out = [line for line in policy_toml(text, name="x").splitlines() if "# default" in line]
    assert {line.split(" = ")[1] for line in left_out} == {
        '["1h"]  # default',
        '["2h", "-4h"]  # default',
    }  # the steps of the methods that go as another does


def test_the_defaults_are_those_of_the_rules() -> None:
    policy = DEFAULT_POLICY
    assert policy.payment_window_ms == {
        **dict.fromkeys(("card", "e_wallet", "qris"), 4 * HOUR_MS),
        **dict.fromkeys(
            ("virtual_account", "bank_transfer", "counter", "installment", "other"), 24 * HOUR_MS
        ),
    }
    assert policy.verdict.after_expiry_ms == 13 * HOUR_MS
    assert policy.verdict.after_silence_ms == 96 * HOUR_MS
    assert (policy.strikes.window_days, policy.strikes.cod_window_days) == (90, 60)
    assert policy.reminders.quiet_hours == (21 * 60, 8 * 60)
    assert policy.reminders.steps["qris"] == (Step("1h", HOUR_MS, before_pay_by=False),)
    assert policy.reminders.steps["counter"] == (
        Step("2h", 2 * HOUR_MS, before_pay_by=False),
        Step("-4h", 4 * HOUR_MS, before_pay_by=True),
    )
    assert policy.input.ignore_customers == frozenset()
    assert policy.caps.method_changes == 16


def test_one_key_changes_that_key_only() -> None:
    policy = parse_policy('[verdict]\nafter_silence = "48h"', name="test")
    changed = msgspec.structs.replace(
        DEFAULT_POLICY,
        verdict=msgspec.structs.replace(DEFAULT_POLICY.verdict, after_silence_ms=48 * HOUR_MS),
        version=policy.version,
    )
    assert policy == changed


def test_a_policy_does_not_change() -> None:
    with pytest.raises(AttributeError):
        DEFAULT_POLICY.verdict.after_expiry_ms = 0  # type: ignore[misc]


def test_a_demo_may_count_in_seconds() -> None:
    text = """
        [payment_window]
        card = "6s"
        virtual_account = "20s"
        [verdict]
        after_expiry = "2s"
        after_silence = "9s"
        [reminders]
        latest_before_pay_by = "500ms"
        steps = {card = ["2s"], virtual_account = ["3s", "-5s"]}
    """
    policy = parse_policy(text, name="demo")
    assert policy.payment_window_ms["card"] == 6_000
    assert policy.reminders.latest_before_pay_by_ms == 500
    assert policy.reminders.steps["other"][1] == Step("-5s", 5_000, before_pay_by=True)


# Steps


def test_a_method_may_have_steps_of_its_own() -> None:
    text = '[reminders.steps]\ncard = ["30m", "2h"]\nqris = ["90m"]\ncounter = []'
    steps = parse_policy(text, name="test").reminders.steps
    assert [step.name for step in steps["e_wallet"]] == ["30m", "2h"]
    assert [step.name for step in steps["qris"]] == ["90m"]
    assert steps["counter"] == ()
    assert steps["other"] == DEFAULT_POLICY.reminders.steps["other"]


@pytest.mark.parametrize(
    ("window", "fits"),
    [("75m", True), ("74m", False)],
    ids=["at the latest moment", "a minute after it"],
)
def test_a_step_must_come_before_it_is_too_late(window: str, fits: bool) -> None:
    # given the step an hour after the base, and 15 min before pay_by the latest
    text = f'[payment_window]\ncard = "{window}"'
    if fits:
        parse_policy(text, name="test")
    else:
        (problem,) = problems(text)
        assert problem == (
            'policy.toml:2: reminders.steps.card has the step "1h", which never comes:'
            f" payment_window.card is {window} and reminders.latest_before_pay_by is 15m;"
            " say other steps for card ([] for none)"
        )


@pytest.mark.parametrize(
    ("step", "fits"), [("-15m", True), ("-14m", False), ("-1439m", True), ("-24h", False)]
)
def test_a_step_before_pay_by_lies_between_base_and_the_latest(step: str, fits: bool) -> None:
    text = f'[reminders.steps]\nother = ["{step}"]'
    if fits:
        parse_policy(text, name="test")
    else:
        (problem,) = problems(text)
        assert problem.startswith(f'policy.toml:2: reminders.steps.other has the step "{step}"')


def test_without_steps_a_window_may_be_shorter_than_any_reminder() -> None:
    text = '[payment_window]\nqris = "10m"\n[reminders.steps]\nqris = []'
    assert parse_policy(text, name="test").reminders.steps["qris"] == ()


# Versions


def test_the_version_is_that_of_the_values() -> None:
    same = '# other words\n[payment_window]\ncard = "240m"\n[strikes]\nhuman_review_at = 3\n'
    assert version(same) == version("") == DEFAULT_POLICY.version
    assert version('[payment_window]\ncard = "241m"') != DEFAULT_POLICY.version
    assert version('[input]\nignore_customers = ["b", "a", "b"]') == version(
        'input.ignore_customers = ["a", "b"]'
    )


def test_the_defaults_keep_their_version() -> None:
    # Every announced verdict names it: it may change with a figure, not with the code.
    assert DEFAULT_POLICY.version == "95934f073caa"


@pytest.mark.parametrize("text", ["", '[payment_window]\ncard = "5h"', "reminders.quiet_hours=[]"])
def test_the_policy_in_words_is_that_policy(text: str) -> None:
    assert version(policy_toml(text, name="x")) == version(text)


# Mistakes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("verdict.after_expirey = 1", "1: verdict.after_expirey is no key of a policy; did you"),
        ("[verdicts]\n", "1: verdicts is no section of a policy; did you mean verdict?"),
        ("[caps]\nwindow = 1", "2: caps.window is no key of a policy; did you mean strikes.window"),
        ("\nreminders = 3", "2: reminders must be a table: [reminders]"),
        ('[payment_window]\ncod = "1h"', "2: payment_window.cod is no key of a policy"),
        ('[reminders.steps]\ncod = ["1h"]', "2: reminders.steps.cod is no key of a policy"),
        ('[verdict]\nprocessing = "4 h"', '2: verdict.processing is "4 h"; a duration is a text'),
        ("[verdict]\nprocessing = 4", "2: verdict.processing is 4; a duration is a text"),
        ('[verdict]\nprocessing = "-1h"', "2: verdict.processing must not be negative (-1h)"),
        ('[verdict]\nprocessing = "3661d"', "2: verdict.processing is longer than ten years"),
        ('[payment_window]\ncard = "0h"', "2: payment_window.card must be longer than 0"),
        ('[strikes]\nwindow = "36h"', '2: strikes.window must be whole days, such as "1d"'),
        ("[strikes]\nhuman_review_at = -1", "2: strikes.human_review_at must be a whole number"),
        ("[strikes]\nhuman_review_at = 3.0", "2: strikes.human_review_at must be a whole number"),
        ("[caps]\norders = true", "2: caps.orders must be a whole number from 1"),
        ("[profile]\nshort_lived_traits = 7", "2: profile.short_lived_traits must be a whole"),
        ("[profile]\ndiscount_share = 1.01", "2: profile.discount_share must be a number from 0"),
        ("[profile]\ndiscount_share = nan", "2: profile.discount_share must be a number from 0"),
        ('[reminders]\nquiet_hours = ["21:00"]', "2: reminders.quiet_hours must be"),
        ('[reminders]\nquiet_hours = ["21:00", "24:00"]', "2: reminders.quiet_hours must be"),
        ('[reminders]\nquiet_hours = ["8:00", "9:00"]', "2: reminders.quiet_hours must be"),
        ('[reminders]\nquiet_hours = ["08:00", "08:00"]', "2: reminders.quiet_hours begins and"),
        ('[reminders]\ndefault_time_zone = "Asia"', '2: reminders.default_time_zone "Asia" is no'),
        ('[reminders]\ndefault_time_zone = "../x"', '2: reminders.default_time_zone "../x" is no'),
        ('[reminders.steps]\ncard = ["soon"]', '2: reminders.steps.card has the step "soon"'),
        ('[reminders.steps]\ncard = ["0h"]', '2: reminders.steps.card has the step "0h"'),
        ('[reminders.steps]\ncard = ["1h", "60m"]', "2: reminders.steps.card says the same step"),
        ("[input]\nignore_customers = [1]", "2: input.ignore_customers must be a list of texts"),
        ("[verdict\n", "1: this is no TOML: "),
        ("a = 1\na = 2", "2: this is no TOML: "),
        ("a = " + "9" * 5_000, "1: this is no TOML: "),
        ("a = " + "[" * 5_000, "1: this is no TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"policy.toml:{problem}")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[verdict]\nafter_expiry = "97h"', "verdict.after_expiry must not be longer"),
        ('[verdict]\nafter_silence = "12h"', "verdict.after_expiry must not be longer"),
        ("[strikes]\nhuman_review_at = 1", "strikes.human_review_at must not be less"),
        ("[strikes]\nrequire_prepayment_at = 4", "strikes.human_review_at must not be less"),
        ('[payment_window]\nother = "91d"', "payment_window.other must not be longer"),
        ('[input]\noldest = "93d"', "input.oldest must be at least input.longest_pay_by"),
        ('[retention]\nsettled = "23h"', "retention.settled must be at least"),
        ('[retention]\nhistory = "89d"', "retention.history must be at least"),
        ("[profile]\nloyal_purchases = 3", "profile.loyal_purchases must not be less"),
    ],
)
def test_what_cannot_be_meant_together_is_named_where_the_file_says_it(text: str, key: str) -> None:
    assert all(found.startswith("policy.toml:2: ") for found in problems(text))
    assert problems(text)[0].startswith(f"policy.toml:2: {key}")


@pytest.mark.parametrize(
    "text",
    [
        '[verdict]\nafter_expiry = "96h"',
        "[strikes]\nhuman_review_at = 2",
        '[payment_window]\nother = "90d"',
        '[input]\noldest = "94d"',
        '[retention]\nsettled = "24h"',
        '[retention]\nhistory = "90d"',
        "[profile]\nloyal_purchases = 4",
    ],
)
def test_combinations_hold_at_their_edge(text: str) -> None:
    parse_policy(text, name="test")


def test_all_mistakes_are_told_at_once_by_line() -> None:
    text = """\
[verdict]
after_expirey = "13h"
processing = "soon"

[strikes]
human_review_at = 1

[reminders]
quiet_hours = [
    "21:00",  # from
    "9 in the morning",
]
default_time_zone = "Atlantis"
"""
    lines = [int(found.split(":")[1]) for found in problems(text)]
    assert lines == [2, 3, 6, 9, 13]


def test_a_combination_is_not_blamed_on_a_value_that_is_wrong_itself() -> None:
    text = '[verdict]\nafter_expiry = "200h"\nafter_silence = "long"'
    (found,) = problems(text)
    assert found.startswith("policy.toml:3: verdict.after_silence")


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read() -> None:
    text = '\ufeff[verdict]\r\nafter_expiry = "12h"\r\nprocessing = 1\r\n'
    (found,) = problems(text)
    assert found.startswith("policy.toml:3: verdict.processing")


def test_lines_are_found_whatever_the_way_of_writing() -> None:
    text = '''\
a.b = 1  # [no.table]
[ "x.y" . z ]
text = """
[t]
k = 1
"""
'l' = [
  1, {m = 2},
]
[[many]]
n = "a # = [b]"
'''
    assert lines_of(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("x.y",): 2,
        ("x.y", "z"): 2,
        ("x.y", "z", "text"): 3,
        ("x.y", "z", "l"): 7,
        ("many",): 10,
        ("many", "n"): 11,
    }


# Durations


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250),
        ("90s", 90_000),
        ("15m", 900_000),
        ("4h", 14_400_000),
        ("30d", 2_592_000_000),
        ("0s", 0),
        ("", None),
        ("4", None),
        ("h", None),
        ("1h30m", None),
        ("1.5h", None),
        ("4H", None),
        (" 4h", None),
        ("4h\n", None),
        ("٤h", None),
        ("9" * 16 + "d", None),
    ],
)
def test_a_duration_is_a_whole_number_and_a_unit(text: str, ms: int | None) -> None:
    assert duration_ms(text) == ms


@given(st.integers(0, LONGEST_MS))
def test_a_duration_is_written_as_it_is_read(ms: int) -> None:
    assert duration_ms(duration_text(ms)) == ms


@given(st.text(max_size=200))
def test_whatever_the_text_there_is_a_policy_or_a_policy_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_policy(text, name="test")
