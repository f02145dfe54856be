"""Kafka deletes records before a running worker has read them: it halts, whatever follows."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from streams.transport import FETCH_WAIT_MS
from tests.support import builders
from tests.support.flow import POLICY, SETTINGS, create_topics, settle
from tests.support.kafka import Kafka
from tests.support.sending import sent
from tests.support.stage import Stage

WHO: dict[str, Any] = {"checkout_id": "k1", "customer": "c1"}


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    with Stage(kafka, tmp_path, partitions=1, policy=POLICY, **SETTINGS) as made:
        create_topics(made, 1)
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("followed", [True, False], ids=["a record follows", "nothing follows"])
def test_a_payment_deleted_before_it_was_read_halts_the_worker_and_accuses_nobody(
    stage: Stage, kafka: Kafka, followed: bool
) -> None:
    # given a worker that stands still while a payment comes and is deleted
    worker = stage.worker().wait_ready()
    settle(stage, None, partitions=1)
    worker.freeze()
    time.sleep(4 * FETCH_WAIT_MS / 1000)  # a fetch under way is answered, without the payment
    at = int(time.time() * 1000)
    paid = sent(stage, builders.payment(at=at + 1, **WHO))
    kafka.produce([sent(stage, builders.checkout(at=at, **WHO)), paid])
    lost = {TopicPartition(stage.topic("payment"), 0): RecordsToDelete(before_offset=1)}
    kafka.administer(lambda admin: admin.delete_records(lost))
    if followed:
        other = builders.payment(at=at, customer="c2", checkout_id="k2", status="pending")
        kafka.produce([sent(stage, other)])
    # when
    worker.thaw()
    # then
    assert worker.wait(within_s=20) == 4
    why = worker.events("worker.halted")[-1]["why"]
    assert "input lost" in why
    assert "--rebuild" in why
    assert kafka.read(stage.topic("verdict")) == []
