"""An input gets more partitions while a worker runs: nobody would read the new ones."""

from pathlib import Path

import pytest
from aiokafka.admin import NewPartitions

from tests.support.flow import POLICY, SETTINGS, create_topics
from tests.support.kafka import Kafka
from tests.support.stage import Stage


@pytest.mark.slow
def test_a_partition_count_raised_under_a_running_worker_halts_it_within_seconds(
    kafka: Kafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, partitions=2, policy=POLICY, **SETTINGS) as stage:
        create_topics(stage, 2)
        worker = stage.worker().wait_ready()
        topic = stage.topic("payment")
        kafka.administer(lambda admin: admin.create_partitions({topic: NewPartitions(4)}))
        assert worker.wait(within_s=10) == 4
        why = worker.events("worker.halted")[-1]["why"]
        assert f"{topic} has 4 partitions now, and had 2" in why
        assert "docs/repartition.md" in why
        again = stage.worker()
        assert again.wait(within_s=30) == 3
        assert any(topic in each["problem"] for each in again.events("topic.wrong"))
