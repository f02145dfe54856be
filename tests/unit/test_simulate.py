"""`hitrun simulate`: files that `hitrun replay` judges, with the truth beside them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from schemas.outputs import CustomerChanged, ReminderDue, decode_output
from streams.demo.cases import CASES
from streams.demo.market import demo_policy
from streams.demo.play import Pace, Truth
from streams.demo.score import Expected, Heard, judge
from streams.demo.simulate import parse_shares, simulate
from streams.replay import run
from streams.settings import Settings

POLICY_FILE = Path(__file__).parents[2] / "streams" / "demo" / "policy.toml"


@pytest.fixture
def settings() -> Settings:
    values = {"policy_file": POLICY_FILE, "upstream_delay_ms": 500}
    return Settings.model_construct(**values)


def test_its_files_replayed_lead_to_the_truth_beside_them(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = simulate(settings, out=tmp_path / "s", rate=15.0, customers=50, seconds=20, seed=4)
    assert code == 0
    told = capsys.readouterr().err
    assert "seed 4; next: hitrun replay" in told
    records, until = told.split("replay ")[1].split(" --until ")
    out = io.StringIO()
    end_ms = int(_ms(until.strip()))
    assert run(settings, [records], until_ms=end_ms, policy_file=None, diff=False, out=out) == 0

    expected, heard = Expected(), Heard()
    *truths, last = (tmp_path / "s" / "truth.ndjson").read_text().splitlines()
    for line in truths:
        expected.expect(Truth(**json.loads(line)))
    expected.dead_letters.update(json.loads(last)["dead_letters"])
    for number, line in enumerate(out.getvalue().splitlines()):
        said = json.loads(line)
        if "reason" in said:
            heard.hear_dead_letter(str(number), said["reason"])
            continue
        event = decode_output(json.dumps(said["value"]).encode())
        if isinstance(event, CustomerChanged | ReminderDue) or said["topic"] == "hitrun.verdict.v1":
            heard.hear(event)
    score = judge(expected, heard, pace=Pace(demo_policy(), 500), slowest_ms=0)
    assert score.problems == []
    assert score.right > 200


def _ms(text: str) -> int:
    from streams.recording import until_ms

    return until_ms(text)


def test_shares_are_of_cases_by_name() -> None:
    assert parse_shares(["hit_and_run=3", "paid=1"]) == {"hit_and_run": 3, "paid": 1}


@pytest.mark.parametrize("told", ["hit_and_run", "hit_and_run=x", "hit_and_run=-1", "nix=1", ""])
def test_a_share_that_is_none_lists_the_cases(told: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=WEIGHT") as error:
        parse_shares([told])
    assert all(case.__name__ in str(error.value) for case, _ in CASES)


def test_the_same_seed_writes_the_same_truth(settings: Settings, tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate(settings, out=tmp_path / name, rate=20.0, customers=9, seconds=2, seed=1)
    first, second = ((tmp_path / n / "truth.ndjson").read_text() for n in ("a", "b"))
    assert first == second
