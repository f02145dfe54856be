"""`hitrun worker --rebuild`: the history is read again, and only the difference is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flow import POLICY, SETTINGS, Flow, create_topics, mix, settle, verified
from tests.support.kafka import Kafka
from tests.support.stage import Stage


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, policy=POLICY, **SETTINGS) as made:
        create_topics(made)
        yield made


def verdicts(stage: Stage) -> int:
    return len(stage.kafka.read(stage.topic("verdict")))


@pytest.mark.slow
def test_a_rebuild_says_nothing_again_even_when_it_is_cut_short(stage: Stage) -> None:
    first = stage.worker().wait_ready()
    settle(stage, Flow(stage, mix(seed=11, checkouts=300, seconds=4)).start())
    assert first.stop() == 0
    said = verdicts(stage)
    assert said > 50
    # Killed when its first lane has a position again and has not read anything.
    halfway = stage.worker("--rebuild", program=("-m", "tests.support.halfway"))
    assert halfway.wait(within_s=40) == 9
    again = stage.worker().wait_ready()
    settle(stage, None)
    assert again.stop() == 0
    assert verdicts(stage) == said
    whole = stage.worker("--rebuild").wait_ready()
    report = verified(stage, settle(stage, None))
    assert report.ok, report.text()
    assert verdicts(stage) == said
    assert whole.stop() == 0
