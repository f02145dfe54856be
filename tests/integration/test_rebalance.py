"""Workers come and go under load; lanes change hands and nobody notices from the outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flow import POLICY, SETTINGS, Flow, create_topics, mix, settle, verified
from tests.support.kafka import Kafka
from tests.support.stage import Stage
from tests.support.waiting import poll
from tests.support.worker import Process


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, policy=POLICY, **SETTINGS) as made:
        create_topics(made)
        yield made


def wait_lanes(worker: Process, count: int) -> None:
    poll(
        lambda: worker.metrics().get("hitrun_lanes") == count,
        within_s=30,
        what=lambda: worker.told(f"it has not {count} lanes"),
    )


@pytest.mark.slow
def test_a_worker_joins_and_leaves_under_load(stage: Stage) -> None:
    first = stage.worker(name="first").wait_ready()
    flow = Flow(stage, mix(seed=12, checkouts=1100, seconds=13)).start()
    poll(lambda: flow.sent > 200, within_s=20)
    second = stage.worker(name="second").wait_ready()
    wait_lanes(first, 2)
    wait_lanes(second, 2)
    assert second.stop() == 0
    wait_lanes(first, 4)
    assert flow.running, "all was sent before the lanes had moved twice"
    report = verified(stage, settle(stage, flow))
    assert report.ok, report.text()
    assert report.right > 250
    assert first.stop() == 0
