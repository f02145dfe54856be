"""The naive reading itself against the expectations of the scenario files and known figures."""

from __future__ import annotations

import pytest

from tests.support import scenarios
from tests.support.builders import START_MS, ms, rfc3339
from tests.support.oracle import output_id
from tests.support.reading import duration, murmur2, policy_from, time_ms

SCENARIOS = list(scenarios.all_scenarios())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.id)
def test_the_oracle_agrees_with_the_scenario(scenario: scenarios.Scenario) -> None:
    outcome = scenarios.by_oracle(scenario)
    assert scenarios.problems(scenario, outcome) == []


def test_every_tricky_case_has_a_scenario() -> None:
    cases = {scenario.case for scenario in SCENARIOS} - {None}
    assert cases == set(range(1, 31)) - {24, 28}


def test_murmur2_is_javas() -> None:
    # org.apache.kafka.common.utils.UtilsTest
    assert murmur2(b"21") == -973932308 & 0x7FFFFFFF
    assert murmur2(b"foobar") == -790332482 & 0x7FFFFFFF
    assert murmur2(b"a-little-bit-long-string") == -985981536 & 0x7FFFFFFF
    assert murmur2(b"abc") == 479470107


def test_times_are_rounded_to_microseconds_then_cut() -> None:
    assert time_ms("1970-01-01T00:00:01.0019996Z") == 1002
    assert time_ms("1970-01-01T00:00:01.0019994Z") == 1001
    assert time_ms("1970-01-01T07:00:01+07:00") == 1000
    with pytest.raises(ValueError, match="1970"):
        time_ms("1970-01-01T00:00:01")


def test_relative_times() -> None:
    assert ms("+4h+1ms") == START_MS + duration("4h") + 1
    assert ms("+1d2h-1ms") == START_MS + duration("26h") - 1
    assert ms(rfc3339(START_MS + 17)) == START_MS + 17


def test_a_policy_is_the_defaults_with_the_file_on_top() -> None:
    policy = policy_from('[payment_window]\ncard = "6s"\n[reminders.steps]\nqris = ["-1s"]')
    assert policy["payment_window"]["card"] == 6_000
    assert policy["payment_window"]["qris"] == 4 * 3_600_000
    assert policy["reminders"]["steps"]["qris"] == [("-1s", -1_000)]
    assert policy["reminders"]["steps"]["e_wallet"] == [("1h", 3_600_000)]
    assert policy["reminders"]["steps"]["counter"] == [("2h", 7_200_000), ("-4h", -14_400_000)]


def test_ids_are_uuid5_of_compact_json() -> None:
    assert output_id("é", "k", "detected", 1) != output_id("e", "k", "detected", 1)
