"""Every scenario that a recording alone can tell, through `hitrun replay`: the same outputs as the
rules give when they are fed directly."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from schemas.topics import Topics
from streams.replay import run
from streams.settings import Settings
from tests.support.real import Real, comparable, policy_of
from tests.support.scenarios import FOLDER, Scenario, load, scenario_to_ndjson

COMMANDS = Topics().command


def scenarios() -> list[Scenario]:
    """Those without a frontier of their own: a recording has none."""
    found = [each for path in sorted(FOLDER.glob("*.toml")) for each in load(path)]
    return [each for each in found if each.held is None and each.unknown_until is None]


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda each: each.id)
def test_a_scenario_as_a_recording_comes_to_the_same(scenario: Scenario, tmp_path: Path) -> None:
    # given
    real = Real(policy_of(scenario.policy_toml), upstream_delay=scenario.upstream_delay)
    real.run(scenario.records, scenario.until)
    file, policy = tmp_path / "scenario.ndjson", tmp_path / "policy.toml"
    file.write_bytes(scenario_to_ndjson(scenario).encode("utf-8", "surrogateescape"))
    policy.write_text(scenario.policy_toml)
    # when
    out = io.StringIO()
    run(
        Settings.model_construct(upstream_delay_ms=scenario.upstream_delay),
        [str(file)],
        until_ms=scenario.until,
        policy_file=policy,
        diff=False,
        out=out,
    )
    # then
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    letters = [line["reason"] for line in said if line["topic"].endswith(".dlq")]
    assert letters == [reason for _, reason, _ in real.dead_letters]
    outputs = [
        comparable(line["value"])
        for line in said
        if line["value"] is not None  # a tombstone
        and not line["topic"].endswith(".dlq")
        and line["topic"] != COMMANDS
    ]
    assert outputs == [comparable(each) for each in real.outputs if each["role"] != "command"]
