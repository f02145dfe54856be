"""The simulated marketplace: its truth agrees with the rules, whatever the seed."""

from __future__ import annotations

import orjson
import pytest

from domain.ledger import DeadLetter, Output
from domain.policy import DEFAULT_POLICY, Policy
from schemas.outputs import ReminderDue, VerdictDetected, decode_output
from schemas.record import RawRecord
from schemas.topics import Topics
from streams.demo.cases import CASES, words
from streams.demo.market import Market, demo_market, demo_policy
from streams.demo.play import Act, Truth
from streams.demo.score import Expected, Heard, Score, judge
from streams.recording import Recorded
from streams.replay import Replay

OPENS_MS = 1_772_420_400_000
"""2026-03-02, 10:00 in Jakarta."""
TOPICS = Topics()


def market(seed: int, *, policy: Policy | None = None, **values: object) -> Market:
    settings: dict[str, object] = {
        "policy": demo_policy() if policy is None else policy,
        "upstream_delay_ms": 500,
        "seed": seed,
        "per_second": 12.0,
        "open_ms": 38_000,
        "alone": 0.4,
    }
    return Market(**(settings | values))  # type: ignore[arg-type]


def score_of(expected: Expected, heard: Heard, played: Market) -> Score:
    return judge(expected, heard, pace=played.pace, slowest_ms=0)


def replayed(
    played: Market, *, late_ms: int = 0, behind_ms: int = 0
) -> tuple[Expected, Heard, dict[str, str]]:
    """The market through the rules, without Kafka: what was expected, what was said, and where
    each checkout stands at the end. `late_ms`: everything is appended so much later than planned;
    `behind_ms`: everything is judged so much later."""
    expected, heard = Expected(), Heard()
    replay = Replay(
        played.policy, topics=TOPICS, upstream_delay_ms=played.upstream_delay_ms + behind_ms
    )

    def hear(said: Output | DeadLetter) -> None:
        if isinstance(said, DeadLetter):
            heard.hear_dead_letter(f"{said.record.topic}/{said.record.offset}", said.reason)
        elif said.value is not None:  # a tombstone: a customer is forgotten
            heard.hear(decode_output(said.value))

    for number, each in enumerate(played.play(opens_ms=OPENS_MS)):
        expected.expect(each)
        if isinstance(each, Truth):
            continue
        at_ms = each.at_ms + late_ms
        record = RawRecord(TOPICS.name(each.stream), 0, number, at_ms, each.key, each.value)
        for said in replay.feed(Recorded(each.stream, record)):
            hear(said)
    for said in replay.until(OPENS_MS + played.open_ms + played.life_ms):
        hear(said)
    standings = {
        checkout.checkout_id: checkout.standing.word
        for customer_id in {truth.customer_id for truth in expected.truths.values()}
        if (customer := replay._ledger.customer(customer_id)) is not None
        for checkout in customer.checkouts
    }
    return expected, heard, standings


@pytest.mark.parametrize("seed", range(1, 13))
def test_the_truth_agrees_with_the_rules(seed: int) -> None:
    played = market(seed)
    expected, heard, standings = replayed(played)
    score = score_of(expected, heard, played)
    assert score.problems == []
    assert score.perfect
    wrong = {
        truth.case: (standings[truth.checkout_id], truth.standing)
        for truth in expected.truths.values()
        if standings[truth.checkout_id] != truth.standing
    }
    assert not wrong


@pytest.mark.parametrize("seed", range(20, 24))
@pytest.mark.parametrize(("late_ms", "behind_ms"), [(0, 1_900), (1_000, 0), (700, 800)])
def test_a_slow_machine_does_not_blur_the_truth(seed: int, late_ms: int, behind_ms: int) -> None:
    played = market(seed)
    expected, heard, _ = replayed(played, late_ms=late_ms, behind_ms=behind_ms)
    assert score_of(expected, heard, played).problems == []


def test_under_the_real_policy_the_truth_is_the_same() -> None:
    played = market(5, policy=DEFAULT_POLICY, upstream_delay_ms=5_000, open_ms=60_000)
    expected, heard, _ = replayed(played)
    assert score_of(expected, heard, played).problems == []
    assert any(truth.cause for truth in expected.truths.values())


def test_the_same_seed_plays_the_same_moved_in_time() -> None:
    one = [orjson.dumps(_shape(each)) for each in market(3).play(opens_ms=OPENS_MS)]
    same = [orjson.dumps(_shape(each)) for each in market(3).play(opens_ms=OPENS_MS)]
    other = [orjson.dumps(_shape(each)) for each in market(4).play(opens_ms=OPENS_MS)]
    later = [each for each in market(3).play(opens_ms=OPENS_MS + 1_000) if isinstance(each, Act)]
    acts = [each for each in market(3).play(opens_ms=OPENS_MS) if isinstance(each, Act)]
    assert one == same != other
    assert [act.at_ms - 1_000 for act in later] == [act.at_ms for act in acts]
    assert [act.key for act in later] == [act.key for act in acts]


def _shape(each: Act | Truth) -> list[str]:
    return [repr(each)]


@pytest.mark.parametrize("seed", range(40, 46))
def test_every_case_is_played_even_in_the_shortest_demo(seed: int) -> None:
    played = demo_market(seed=seed, open_ms=6_000, per_second=12.0, upstream_delay_ms=500)
    cases = {each.case for each in played.play(opens_ms=0) if isinstance(each, Truth)}
    assert cases == {words(case) for case, _ in CASES}


def test_acts_come_in_order_of_appending_and_end_in_time() -> None:
    played = market(9)
    acts = [each for each in played.play(opens_ms=OPENS_MS) if isinstance(each, Act)]
    assert [act.at_ms for act in acts] == sorted(act.at_ms for act in acts)
    assert acts[-1].at_ms <= OPENS_MS + played.open_ms + played.life_ms


def test_nothing_is_left_to_say_when_the_life_of_the_last_checkout_is_over() -> None:
    played = market(10)
    expected, heard = Expected(), Heard()
    replay = Replay(played.policy, topics=TOPICS, upstream_delay_ms=0)
    latest_ms = 0
    for number, each in enumerate(played.play(opens_ms=OPENS_MS)):
        expected.expect(each)
        if isinstance(each, Act):
            record = RawRecord(
                TOPICS.name(each.stream), 0, number, each.at_ms, each.key, each.value
            )
            list(replay.feed(Recorded(each.stream, record)))
    for said in replay.until(OPENS_MS + 10 * played.life_ms):
        event = decode_output(said.value)  # type: ignore[union-attr,arg-type]
        if isinstance(event, VerdictDetected | ReminderDue):
            heard.hear(event)
            latest_ms = max(latest_ms, replay._now_ms)
    assert latest_ms <= OPENS_MS + played.open_ms + played.life_ms


def test_shares_choose_what_is_played() -> None:
    weights = {case.__name__: 0 for case, _ in CASES} | {"hit_and_run": 3, "paid": 1}
    cases = [
        each.case for each in market(1, weights=weights).play(opens_ms=0) if isinstance(each, Truth)
    ]
    assert set(cases) == {"never paid", "paid in time"}
    assert 0.65 < cases.count("never paid") / len(cases) < 0.85


def test_names_of_cases_are_words_and_differ() -> None:
    names = [words(case) for case, _ in CASES]
    assert len(set(names)) == len(names)
    assert all(name == name.strip() and "\n" not in name for name in names)
