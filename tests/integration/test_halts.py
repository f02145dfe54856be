"""A producer that sends to wrong partitions halts the worker until a person accepts it."""

import time
from pathlib import Path
from typing import Any

import pytest

from schemas.partition import partition_of
from streams.position import LETTER_MISPLACED
from tests.support import builders
from tests.support.flow import POLICY, SETTINGS, create_topics, settle
from tests.support.kafka import Kafka, Sent
from tests.support.stage import Stage
from tests.support.waiting import poll
from tests.support.worker import Process

PARTITIONS = 2


def strays(stage: Stage, count: int, *, prefix: str) -> list[Sent]:
    """Payments in order but for their partition, each of a customer of its own: partition 0 gets
    them, their keys belong to partition 1."""
    found: list[Sent] = []
    number = 0
    while len(found) < count:
        number += 1
        who: dict[str, Any] = {
            "customer": f"{prefix}-{number}",
            "checkout_id": f"{prefix}k{number}",
        }
        if partition_of(who["customer"].encode(), PARTITIONS) == 1:
            made = builders.record(builders.payment(at=int(time.time() * 1000), **who))
            found.append(Sent(stage.topic("payment"), made.value, made.key, 0))
    return found


def letters(stage: Stage) -> int:
    return len(stage.kafka.read(stage.dead_letters_of("payment")))


@pytest.mark.slow
def test_twenty_records_on_wrong_partitions_halt_the_worker_again_and_again_until_accepted(
    kafka: Kafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, partitions=PARTITIONS, policy=POLICY, **SETTINGS) as stage:
        create_topics(stage, PARTITIONS)
        topic = stage.topic("payment")
        # given one fewer than too many, which are borne
        worker = stage.worker().wait_ready()
        kafka.produce(strays(stage, LETTER_MISPLACED - 1, prefix="few"))
        poll(lambda: letters(stage) == LETTER_MISPLACED - 1, within_s=20, every_s=0.3)
        assert worker.stop() == 0, worker.told("it ended")
        # when the next worker gets one more
        worker = stage.worker().wait_ready()
        kafka.produce(strays(stage, 1, prefix="one-more"))
        # then it halts, and so does the next
        assert worker.wait(within_s=20) == 4
        assert letters(stage) == LETTER_MISPLACED
        again = stage.worker()
        assert again.wait(within_s=30) == 4
        for halted in (worker, again):
            assert_told(halted, topic)
        # until a person accepts; then all goes on, from where it was
        accepted = stage.worker("--accept-dead-letters", topic).wait_ready()
        assert accepted.wait_event("dead_letters.accepted")["topic"] == topic
        settle(stage, None, partitions=PARTITIONS)
        assert accepted.stop() == 0
        assert letters(stage) == LETTER_MISPLACED
        # and for good: what was accepted does not halt the next one
        after = stage.worker().wait_ready()
        assert after.stop() == 0


def assert_told(worker: Process, topic: str) -> None:
    (many,) = worker.events("dead_letters.many")
    assert (many["topic"], many["misplaced"]) == (topic, LETTER_MISPLACED)
    why = worker.events("worker.halted")[-1]["why"]
    assert f"--accept-dead-letters {topic}" in why
    assert "Traceback" not in worker.stderr()
