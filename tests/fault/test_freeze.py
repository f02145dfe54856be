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
FENCED = ("-m", "tests.support.slow")
UNFENCED = ("-m", "tests.support.unfenced")


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, policy=POLICY, session_timeout_ms=SESSION_MS, **SETTINGS) as made:
        create_topics(made)
        yield made


def freeze_one_of_two(stage: Stage, program: tuple[str, str]) -> Report:
    """Under load; returns the verification of the whole. The frozen one is started again should
    it have ended."""
    flag = stage.home / "freeze-now"
    frozen = stage.worker(name="frozen", program=program, env={"FREEZE_AT": str(flag)}).wait_ready()
    other = stage.worker(name="other", program=program).wait_ready()
    poll(
        lambda: frozen.metrics().get("hitrun_lanes") == 2 == other.metrics().get("hitrun_lanes"),
        within_s=20,
        what=lambda: frozen.told("lanes are not shared"),
    )
    flow = Flow(stage, mix(seed=9, checkouts=1200, seconds=12)).start()
    poll(lambda: flow.sent > 700, within_s=20)
    flag.touch()  # it stops itself with a verdict decided and not yet sent
    poll(lambda: not flag.exists(), within_s=20, what=lambda: frozen.told("it sends no verdict"))
    poll(lambda: other.metrics().get("hitrun_lanes") == 4, within_s=SESSION_MS * 8 / 1000)
    time.sleep(1.5)  # the other has gone on with the frozen one's customers
    frozen.thaw()
    poll(
        lambda: not frozen.alive or frozen.get("/health/ready")[0] == 200,
        within_s=30,
        what=lambda: frozen.told("it neither ended nor joined"),
    )
    try:
        if not frozen.alive:
            stage.worker(name="again", program=program).wait_ready()
        now = settle(stage, flow)
    except AssertionError:
        if program != UNFENCED:
            raise
        now = (
            flow.started_ms
        )  # without the fence a damaged state may halt all: look at what was said
    return verified(stage, now)


@pytest.mark.slow
def test_a_frozen_worker_adds_nothing_when_it_thaws(stage: Stage) -> None:
    report = freeze_one_of_two(stage, FENCED)
    assert report.ok, report.text()
    assert report.right > 250


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_without_the_fence_the_frozen_worker_speaks_again(stage: Stage) -> None:
    """The guard off, the same test must fail: else nobody would miss it. Either the verifier finds
    what was said too much, or what the thawed one wrote damages the state, which the next owner
    sees by count and checksum and refuses."""
    said_too_much = 0
    try:
        report = freeze_one_of_two(stage, UNFENCED)
        said_too_much = report.duplicates + report.false + report.missed
    except AssertionError:  # a worker that refuses its state never gets ready
        pass
    halted = [
        event["why"] for worker in stage.processes for event in worker.events("worker.halted")
    ]
    assert said_too_much or any("is damaged" in why for why in halted)
