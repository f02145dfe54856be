"""Every scenario through the real rules: agents feed a ledger, stepped as `hitrun replay` does."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams import replay
from streams.settings import Settings
from tests.support import scenarios
from tests.support.announcer import Announcer
from tests.support.real import Real, by_rules, comparable, policy_of

SCENARIOS = list(scenarios.all_scenarios())
CASES = [
    pytest.param(
        scenario,
        id=scenario.id,
        marks=[pytest.mark.xfail(reason=scenario.awaits)] if scenario.awaits else [],
    )
    for scenario in SCENARIOS
]


@pytest.mark.parametrize("scenario", CASES)
def test_the_rules_agree_with_the_scenario(scenario: scenarios.Scenario) -> None:
    outcome = by_rules(scenario)
    assert scenarios.problems(scenario, outcome) == []


@pytest.mark.parametrize("scenario", CASES)
def test_the_rules_say_what_the_oracle_says(scenario: scenarios.Scenario) -> None:
    # given both runs, field by field as far as the oracle tells
    announcer = Announcer(scenario.policy())
    announcer.run(
        scenario.records,
        scenario.until,
        held=scenario.held,
        unknown_until=scenario.unknown_until,
    )
    real = Real(policy_of(scenario.policy_toml))
    real.run(
        scenario.records,
        scenario.until,
        held=scenario.held,
        unknown_until=scenario.unknown_until,
    )
    # then
    assert differences(announcer.outputs, real.outputs) == []
    told = Counter((id(r), why) for r, why, _ in real.dead_letters)
    wanted = Counter(
        (id(r), next((w for w in why if (id(r), w) in told), why[0]))
        for r, why in announcer.dead_letters
    )
    assert told == wanted


def differences(
    expected: list[dict[str, Any]], said: list[dict[str, Any]]
) -> list[dict[str, Any] | str]:
    """Where the outputs differ from what the oracle would say, by id."""
    found: list[dict[str, Any] | str] = []
    real = {o["id"]: comparable(o) for o in said if o["role"] != "command"}
    for output in expected:
        other = real.pop(output["id"], None)
        if other is None:
            found.append(f"not said: {output}")
            continue
        wrong = {
            name: (other["data"].get(name, "(absent)"), value)
            for name, value in output["data"].items()
            if other["data"].get(name, "(absent)") != value
        }
        if output["time"] is not None and other["time"] != output["time"]:
            wrong["time"] = (other["time"], output["time"])
        if wrong:
            found.append({"id": output["id"], "type": output["type"]} | wrong)
    found += [f"said besides: {output}" for output in real.values()]
    return found


REPLAYABLE = [
    case
    for case, scenario in zip(CASES, SCENARIOS, strict=True)
    if scenario.held is None and scenario.unknown_until is None
]


@pytest.mark.parametrize("scenario", REPLAYABLE)
def test_replay_of_the_scenarios_file_says_the_same(
    scenario: scenarios.Scenario, tmp_path: Path
) -> None:
    # given the scenario as a file, as a person would run it by hand
    events, policy = tmp_path / "events.ndjson", tmp_path / "policy.toml"
    events.write_text(scenarios.scenario_to_ndjson(scenario))
    policy.write_text(scenario.policy_toml)
    out = io.StringIO()
    # when
    code = replay.run(
        Settings(upstream_delay_ms=scenario.upstream_delay),
        [str(events)],
        until_ms=scenario.until,
        policy_file=policy,
        diff=False,
        out=out,
    )
    # then
    assert code == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    dead = [line for line in lines if line["topic"].endswith(".dlq")]
    said = [line["value"] for line in lines if not line["topic"].endswith(".dlq") and line["value"]]
    told = scenario.expect | {"standings": {}, "skipped": {}, "dead_letters": []}
    expected = replace(scenario, expect={n: v for n, v in told.items() if n != "strikes"})
    outcome = scenarios.Outcome(said, {}, 0, scenario.expect.get("advice", "none"), [], {})
    assert scenarios.problems(expected, outcome) == []
    reasons = Counter(letter["reason"] for letter in scenario.expect.get("dead_letters", []))
    assert Counter(line["reason"] for line in dead) == reasons


def test_a_scenario_can_be_written_for_replay() -> None:
    scenario = next(s for s in SCENARIOS if s.id == "case-03-paid-after-the-verdict/card")
    lines = [json.loads(line) for line in scenarios.scenario_to_ndjson(scenario).splitlines()]
    assert [line["topic"] for line in lines] == [
        "marketplace.checkout.v1",
        "marketplace.payment.v1",
    ]
    assert json.loads(lines[0]["value"])["type"] == "marketplace.checkout.confirmed"
    assert lines[1]["timestamp"] > lines[0]["timestamp"]
