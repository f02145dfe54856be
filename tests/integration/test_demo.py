"""`hitrun demo` as a newcomer runs it, without a terminal."""

import json
from pathlib import Path

import pytest

from tests.support.worker import Process


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_short_demo_with_two_workers_scores_perfect(tmp_path: Path) -> None:
    score = tmp_path / "score.json"
    arguments = ("demo", "--seconds", "30", "--seed", "7", "--workers", "2", "--score", str(score))
    with Process(*arguments, home=tmp_path, env={}, name="demo") as demo:
        code = demo.wait(within_s=200)
        assert code == 0, demo.stdout()[-3000:] + demo.told("its score is not perfect")
    found = json.loads(score.read_text())
    assert found["right"] == found["checkouts"] > 50
    assert (found["missed"], found["false"], found["duplicates"]) == (0, 0, 0)
    assert "Perfect" in demo.stdout()
