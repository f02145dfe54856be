"""`hitrun worker --rebuild`: the history is read again, and only the difference is said."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import builders
from tests.support.flow import POLICY, SETTINGS, Flow, create_topics, mix, settle, verified
from tests.support.kafka import Kafka, Sent
from tests.support.stage import Stage
from tests.support.waiting import poll


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


PATIENT = POLICY.replace('card = "1500ms"', 'card = "10m"')
"""Whoever is to be reminded may still be, long after a rebuild."""


@pytest.fixture
def patient(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, policy=PATIENT, **SETTINGS) as made:
        create_topics(made)
        yield made


def reminded(stage: Stage) -> list[str]:
    """Which checkouts, in any order."""
    records = stage.kafka.read(stage.topic("reminder"))
    return sorted(json.loads(record.value or b"")["data"]["checkout_id"] for record in records)


def confirm(stage: Stage, *checkouts: str) -> None:
    """Cards, each of a customer of its own."""
    now_ms = int(time.time() * 1000)
    stage.kafka.produce(
        Sent(
            stage.topic("checkout"),
            builders.encode(builders.checkout(name, customer=f"{name}-c", at=now_ms)),
            f"{name}-c".encode(),
        )
        for name in checkouts
    )


@pytest.mark.slow
def test_a_rebuild_sends_no_reminder_again(patient: Stage) -> None:
    stage = patient
    first = stage.worker().wait_ready()
    before = [f"before{n}" for n in range(20)]
    confirm(stage, *before)
    poll(lambda: reminded(stage) == sorted(before), within_s=40, what="20 reminders")
    assert first.stop() == 0
    # when all lanes are rebuilt while those could be sent still
    stage.worker("--rebuild").wait_ready()
    after = [f"later{n}" for n in range(20)]
    confirm(stage, *after)
    # then lanes that remind others have not reminded the first ones again
    poll(lambda: set(reminded(stage)) >= set(after), within_s=40, what="20 more")
    now = settle(stage, None)
    assert reminded(stage) == sorted(before + after)
    report = verified(stage, now)
    assert report.ok, report.text()
