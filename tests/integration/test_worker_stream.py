"""A live stream of every fate and every fault through one worker, judged from the outside."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flow import (
    POLICY,
    SETTINGS,
    Flow,
    create_topics,
    mix,
    poison,
    settle,
    verified,
)
from tests.support.kafka import Kafka
from tests.support.stage import INPUTS, Stage
from tests.support.waiting import poll


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, policy=POLICY, **SETTINGS) as made:
        create_topics(made)
        yield made


@pytest.mark.slow
def test_a_stream_with_every_fate_and_every_fault_is_judged_right(stage: Stage) -> None:
    worker = stage.worker().wait_ready()
    bad = poison(seed=7, at_ms=2_000, partitions=4)
    flow = Flow(stage, mix(seed=7, checkouts=900, seconds=7) + bad).start()
    report = verified(stage, settle(stage, flow))
    assert report.ok, report.text()
    assert report.right > 200
    assert report.withdrawn > 30
    assert report.reminders > 200
    letters = stage.kafka.read(*(stage.dead_letters_of(role) for role in INPUTS))
    reasons = Counter(dict(letter.headers)["hitrun.error.reason"].decode() for letter in letters)
    assert set(reasons) == {"malformed", "invalid", "key", "future", "limit"}, reasons
    assert worker.stop() == 0


@pytest.mark.slow
def test_a_stop_in_mid_stream_loses_and_repeats_nothing(stage: Stage) -> None:
    worker = stage.worker().wait_ready()
    flow = Flow(stage, mix(seed=8, checkouts=700, seconds=7)).start()
    poll(lambda: flow.sent > 600, within_s=20)
    assert worker.stop() == 0
    assert flow.running
    stage.worker().wait_ready()
    report = verified(stage, settle(stage, flow))
    assert report.ok, report.text()
    assert report.right > 150
