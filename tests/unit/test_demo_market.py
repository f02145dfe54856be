"""The simulated marketplace and its score, without Kafka."""

import orjson
import pytest

from domain.policy import parse_policy
from streams.demo.market import CASES, LAST_MS, Plan, Truth, encode, plan
from streams.demo.score import Said, complete, judge
from streams.demo.stage import PER_SECOND


def small(seed: int = 1) -> Plan:
    return plan(seed=seed, open_ms=20_000, per_second=PER_SECOND)


def test_the_same_seed_plays_the_same_marketplace() -> None:
    assert small(3) == small(3)
    assert small(3) != small(4)


def test_every_case_is_played_even_in_a_short_demo() -> None:
    assert len({truth.case for truth in small().truths}) >= len(CASES)


def test_acts_come_in_the_order_they_are_appended_and_end_in_time() -> None:
    acts = small().acts
    assert [act.at_ms for act in acts] == sorted(act.at_ms for act in acts)
    assert acts[-1].at_ms <= 20_000 + LAST_MS


def test_the_shares_are_per_mille() -> None:
    assert sum(share for _, share in CASES) == 1000


def test_what_is_told_again_is_the_same_event() -> None:
    from datetime import UTC, datetime

    opened = datetime(2026, 1, 1, tzinfo=UTC)
    acts = [act for act in small().acts if act.data and "paid_at" in act.data]
    first = orjson.loads(encode(acts[0], 1, opened))
    again = orjson.loads(encode(acts[0], 2, opened))
    assert first == again
    assert first["data"]["paid_at"].startswith("2026-01-01T00:")


def test_the_demo_policy_is_a_policy() -> None:
    from importlib import resources

    text = resources.files("streams.demo").joinpath("policy.toml").read_text()
    assert parse_policy(text, name="policy.toml").verdict.after_expiry_ms == 3_000


RUN = Truth("co-1", "buyer-1", "never paid", detected=True)
LATE = Truth("co-2", "buyer-2", "paid after", detected=True, cause="paid_late")
PAID = Truth("co-3", "buyer-3", "paid in time")


def heard(*announcements: tuple[str, str, str, str | None]) -> Said:
    said = Said()
    for announcement in announcements:
        said.hear(*announcement)
    return said


def test_a_perfect_run_scores_perfect() -> None:
    said = heard(
        ("1", "co-1", "detected", None),
        ("2", "co-2", "detected", None),
        ("3", "co-2", "withdrawn", "paid_late"),
    )
    score = judge([RUN, LATE, PAID], said, dead_letters=2, expected_dead=2)
    assert score.perfect
    assert score.right == 3
    assert complete([RUN, LATE, PAID], said)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (heard(("1", "co-2", "detected", None)), "missed"),
        (heard(("1", "co-3", "detected", None)), "false"),
        (heard(("1", "co-9", "detected", None)), "false"),
        (heard(("1", "co-1", "detected", None), ("1", "co-1", "detected", None)), "duplicates"),
    ],
)
def test_each_kind_of_mistake_is_counted(said: Said, field: str) -> None:
    score = judge([RUN, LATE, PAID], said, dead_letters=0, expected_dead=0)
    assert getattr(score, field) >= 1
    assert not score.perfect


def test_a_missing_dead_letter_is_no_perfect_run() -> None:
    said = heard(("1", "co-1", "detected", None))
    assert not judge([RUN], said, dead_letters=0, expected_dead=1).perfect
