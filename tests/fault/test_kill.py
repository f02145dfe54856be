"""kill -9 under load, in the middle of transactions: nothing is lost, false or said twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flow import POLICY, SETTINGS, Flow, create_topics, mix, settle, verified
from tests.support.kafka import Kafka
from tests.support.stage import Stage
from tests.support.waiting import poll


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, policy=POLICY, session_timeout_ms=2_000, **SETTINGS) as made:
        create_topics(made)
        yield made


@pytest.mark.slow
def test_killed_workers_lose_and_repeat_nothing(stage: Stage) -> None:
    slow = ("-m", "tests.support.slow")
    workers = [stage.worker(name=f"first-{n}", program=slow) for n in (1, 2)]
    for worker in workers:
        worker.wait_ready()
    flow = Flow(stage, mix(seed=10, checkouts=1300, seconds=14)).start()
    for round_, target in enumerate((500, 1300, 2100), 1):
        poll(lambda target=target: flow.sent > target, within_s=30)
        workers[round_ % 2].kill()
        workers[round_ % 2] = stage.worker(name=f"again-{round_}", program=slow).wait_ready()
    report = verified(stage, settle(stage, flow))
    assert report.ok, report.text()
    assert report.right > 300


@pytest.mark.slow
def test_a_lone_worker_killed_goes_on_where_it_was(stage: Stage) -> None:
    worker = stage.worker().wait_ready()
    flow = Flow(stage, mix(seed=11, checkouts=600, seconds=6)).start()
    poll(lambda: flow.sent > 600, within_s=20)
    worker.kill()
    stage.worker().wait_ready()
    report = verified(stage, settle(stage, flow))
    assert report.ok, report.text()
