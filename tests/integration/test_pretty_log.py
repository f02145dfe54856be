"""`hitrun worker --pretty`: the same events, for people."""

import json

from tests.support.flow import create_topics
from tests.support.stage import Stage
from tests.support.waiting import poll


def test_a_worker_talks_to_people_when_asked_to(stage: Stage) -> None:
    create_topics(stage)
    worker = stage.worker("--pretty")
    poll(
        lambda: "worker.ready" in worker.stderr() or not worker.alive,
        within_s=40,
        what=lambda: worker.told("not ready"),
    )
    assert worker.stop() == 0, worker.told("it did not end in order")
    lines = worker.stderr().splitlines()
    assert worker.events() == [], f"no line is JSON: {json.dumps(lines)}"
    assert "\x1b" not in worker.stderr(), "no colours in a file"
    (recovered,) = [
        line for line in lines if "partition.recovered" in line and "partition=0" in line
    ]
    assert "customers=0" in recovered
    assert "worker.starting" in lines[0]
    assert "worker.stopped" in lines[-1]
