"""Seeded worlds of crashes, rebalances, lags and clocks: nothing is lost, false or said twice.

And the proof that this could fail: with a guard taken away, it does.
More of them: python -m tests.simulation --seeds 10000
"""

from collections import Counter

import pytest

from tests.simulation.guards import WITHOUT, finds, found
from tests.simulation.plan import from_text
from tests.simulation.plans import plan_of
from tests.simulation.shrink import shrunk
from tests.simulation.world import play

SEEDS = 150
NEEDED = [
    "right",
    "withdrawn",
    "reminders",
    "letters",
    "fenced",
    "freeze at commit",
    "freeze at committed",
    "kill at send",
    "kill at inited",
    "slow at begin",
    "compact",
    "policy",
    "rebuild",
    "skew",
    "decide",
]
"""What the short form must have met, or it tests less than it seems to."""


def test_many_worlds_end_as_the_rules_say() -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEEDS):
        happened += play(plan_of(seed))
    assert [what for what in NEEDED if not happened[what]] == []


@pytest.mark.parametrize(
    ("guard", "kinds", "seed"),
    [
        ("fencing", ["duplicate"], 6),
        ("generation rule", ["died"], 65),
        ("high watermark when restoring", ["duplicate"], 36),
        ("high watermark of the inputs", ["frontier"], 0),
        ("init before read", ["duplicate"], 30),
        ("reading to the end", ["frontier"], 0),
        ("staleness hold", ["stale"], 3),
        ("position", ["duplicate"], 1),
    ],
)
def test_without_a_guard_the_simulation_finds_what_it_is_for(
    guard: str, kinds: list[str], seed: int
) -> None:
    """`seed` is where it was found when this was written: the search begins a little before."""
    assert finds(guard, kinds, seeds=range(max(0, seed - 2), seed + 60)) is not None


def test_without_record_isolation_one_record_kills_worker_after_worker() -> None:
    assert finds("record isolation", ["died"], seeds=range(40)) is not None


@pytest.mark.parametrize("guard", ["high watermark of the inputs", "reading to the end"])
def test_time_moved_too_far_shows_in_what_is_said(guard: str) -> None:
    seed = finds(guard, ["false", "wrong"], seeds=range(40), watching=False)
    assert seed is not None


def test_every_guard_has_a_test() -> None:
    tested = {"record isolation", "clock hold"} | {  # the latter in test_found.py
        case[0]
        for mark in test_without_a_guard_the_simulation_finds_what_it_is_for.pytestmark  # type: ignore[attr-defined]
        for case in mark.args[1]
    }
    assert tested == set(WITHOUT)


def test_a_plan_comes_to_the_same_every_time_also_as_text() -> None:
    plan = plan_of(7)
    assert play(plan) == play(plan_of(7)) == play(from_text(plan.text()))


def test_a_failing_plan_is_made_small() -> None:
    plan = plan_of(0)
    guard = "reading to the end"
    small = shrunk(plan, lambda p: found(p, without=guard) == "frontier", within_s=5.0)
    assert found(small, without=guard) == "frontier"
    assert len(small.steps) < len(plan.steps) / 4
