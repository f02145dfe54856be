"""One of two workers is frozen past its session: the other takes its lanes over. Thawed, it must
not add a word, and what keeps it from that is the fence."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flow import POLICY, SETTINGS, Flow, create_topics, mix, settle, verified
from tests.support.kafka import Kafka
from tests.support.stage import Stage
from tests.support.verifier import Report
from tests.support.waiting import poll

SESSION_MS = 2_000


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, policy=POLICY, session_timeout_ms=SESSION_MS, **SETTINGS) as made:
        create_topics(made)
        yield made


def freeze_one_of_two(stage: Stage, program: tuple[str, str]) -> Report:
    """Under load; returns the verification of the whole. The frozen one is started again should
    it have ended."""
    frozen = stage.worker(name="frozen", program=program).wait_ready()
    other = stage.worker(name="other", program=program).wait_ready()
    poll(
        lambda: frozen.metrics().get("hitrun_lanes") == 2 == other.metrics().get("hitrun_lanes"),
        within_s=20,
        what=lambda: frozen.told("lanes are not shared"),
    )
    flow = Flow(stage, mix(seed=9, checkouts=1200, seconds=12)).start()
    poll(lambda: flow.sent > 700, within_s=20)
    frozen.freeze()
    poll(lambda: other.metrics().get("hitrun_lanes") == 4, within_s=SESSION_MS * 8 / 1000)
    time.sleep(1.5)  # the other has gone on with the frozen one's customers
    frozen.thaw()
    poll(
        lambda: not frozen.alive or frozen.get("/health/ready")[0] == 200,
        within_s=30,
        what=lambda: frozen.told("it neither ended nor joined"),
    )
    if not frozen.alive:
        stage.worker(name="again", program=program).wait_ready()
    return verified(stage, settle(stage, flow))


@pytest.mark.slow
def test_a_frozen_worker_adds_nothing_when_it_thaws(stage: Stage) -> None:
    report = freeze_one_of_two(stage, ("-m", "tests.support.slow"))
    assert report.ok, report.text()
    assert report.right > 250


@pytest.mark.slow
def test_without_the_fence_the_frozen_worker_speaks_again(stage: Stage) -> None:
    """The guard off, the same test must fail: else nobody would miss it."""
    report = freeze_one_of_two(stage, ("-m", "tests.support.unfenced"))
    assert report.duplicates + report.false + report.missed > 0, report.text()
